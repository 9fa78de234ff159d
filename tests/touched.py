"""Test the lessons that a change touches: make check-lessons.

    python tests/touched.py [--since REF] [--all] [--list]

A change is what differs from REF; without it what is not committed, and if nothing is, the last commit.
A lesson is touched if one of its own files is changed (the lesson, its exercise, check, answers), or a
module that one of them imports. Most of zero_ref is imported by most lessons: of a module three lessons
are tried, those nearest to it. --all tries every lesson, and the commands of students and teachers.
"""

import argparse
import ast
import functools
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
LESSONS = sorted(path.stem for path in (ROOT / "lessons").glob("[0-9][0-9]_*.py"))
OWN = ("lessons", "lessons/exercises", "lessons/checks", "tests/answers", "tests/wrong")  # a file in each
OF_LESSONS = ["lessons", "reading", "notebooks", "exercises"]  # the tests that have a case for each lesson
OF_COMMANDS = ["learn", "grade"]
FEW = 3  # lessons that are tried for a file that more of them import


def own_files(lesson: str) -> set[str]:
    """The files that are this lesson's alone."""
    return {f"{folder}/{lesson}{end}" for folder in OWN for end in (".py", ".toml")}


def module_file(name: str) -> str | None:
    """The file of a module of this project, from the root; None if it is none."""
    base = name.replace(".", "/")
    for file in (f"{base}.py", f"{base}/__init__.py", f"lessons/{base}.py"):
        if (ROOT / file).is_file():
            return file
    return None


@functools.cache
def imports(file: str) -> frozenset[str]:
    """The files of this project that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(filter(None, map(module_file, names)))


def needs(lesson: str) -> dict[str, int]:
    """A lesson's own files, and everything that they import: file -> by how many steps."""
    found: dict[str, int] = {}
    new, steps = {file for file in own_files(lesson) if (ROOT / file).exists()}, 0
    while new:
        found |= dict.fromkeys(new, steps)
        new = {more for file in new if file.endswith(".py") for more in imports(file)} - found.keys()
        steps += 1
    return found


def touched(changed: set[str]) -> tuple[list[str], list[str]]:
    """(lessons to be tried, all lessons that are touched)."""
    needed = {lesson: {f: n for f, n in needs(lesson).items() if f in changed} for lesson in LESSONS}
    every = [lesson for lesson in LESSONS if needed[lesson]]
    chosen = {lesson for lesson in LESSONS if own_files(lesson) & changed}
    others = [lesson for lesson in every if lesson not in chosen]
    for file in sorted(
        changed
    ):  # those that are nearest to it, and of them those with the fewest wrong answers
        near = [lesson for lesson in others if file in needed[lesson]]
        near.sort(key=lambda lesson: (needed[lesson][file], len(wrong_answers(lesson))))
        have = sum(file in needed[lesson] for lesson in chosen)
        chosen |= set([lesson for lesson in near if lesson not in chosen][: max(0, FEW - have)])
    return sorted(chosen), every


def wrong_answers(lesson: str) -> str:
    """How long it takes to check a lesson goes with the length of this."""
    return (ROOT / "tests" / "wrong" / f"{lesson}.py").read_text(encoding="utf-8")


def changes(since: str | None) -> set[str]:
    """The files that differ from `since`, from the root."""

    def git(*words: str) -> list[str]:
        found = subprocess.run(["git", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        if found.returncode:  # git has said why
            sys.exit(2)
        return found.stdout.splitlines()

    def differing(ref: str) -> set[str]:
        return {*git("diff", "--name-only", ref, "--"), *git("ls-files", "--others", "--exclude-standard")}

    return differing(since) if since else differing("HEAD") or differing("HEAD~1")


def commands(o: argparse.Namespace) -> list[list[str]]:
    """The calls of pytest; what is tried is printed."""
    if o.all:
        return [[*map(file_of, OF_LESSONS + OF_COMMANDS)]]
    changed = changes(o.since)
    chosen, every = touched(changed)
    print(f"touched: {', '.join(name[:2] for name in every) or 'no lesson'}", flush=True)
    if chosen != every:
        print(
            f"tried: {', '.join(name[:2] for name in chosen)}; all others: make check-lessons ALL=1",
            flush=True,
        )
    found = [[*map(file_of, OF_LESSONS), "-k", " or ".join(chosen)]] if chosen else []
    if any(file.startswith(("lessons/checker", "lessons/reader", "lessons/__")) for file in changed):
        found.append(["--part", "quick", *map(file_of, [*OF_COMMANDS, *OF_LESSONS])])
    return found


def file_of(test: str) -> str:
    return f"tests/test_{test}.py"


def main() -> int:
    p = argparse.ArgumentParser(description="test the lessons that a change touches")
    p.add_argument("--since", metavar="REF", help="of git: what differs from it is the change")
    p.add_argument("--all", action="store_true", help="every lesson, whatever is changed")
    p.add_argument("--list", action="store_true", help="say what would be tried, and try nothing")
    o = p.parse_args()
    codes = [0]
    for words in commands(o):
        if not o.list:
            codes.append(subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT).returncode)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
