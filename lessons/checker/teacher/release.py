"""Make what students get: the project with exercises that are not begun, and without their solutions.

python -m lessons release TARGET    a new folder; it must not lie in the project

Afterwards the folder is searched for the functions of tests/answers, whatever their variables are called
there. What is found outside of REFERENCE ends in an error, and nothing is left at TARGET.
"""

import argparse
import ast
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lessons import ROOT
from lessons.checker import stub, words
from lessons.checker.teacher.extract import DEFINITIONS, fingerprint
from zero_ref.launch import language as language_here
from zero_ref.launch.cli import check_texts
from zero_ref.launch.terminal import fold

WHOLE = ("zero_ref", "lessons", "docs")
FILES = ("Makefile", "README*.md", "LICENSE", "pyproject.toml", "requirements*.txt", ".gitignore")
EXERCISES = Path("lessons") / "exercises"
SOLUTIONS = Path("tests") / "answers"

# What students are to read, and what their functions are replaced by where they have written none yet.
REFERENCE = ("zero_ref/", "lessons/checker/ranks/reference.py")
SHORT = 30  # nodes; a function with fewer may be equal to another by chance, so its name has to be equal, too
SHORT_TEXT = 60  # characters without spaces; the same for text that is no program


class Unusable(Exception):
    """What was asked for cannot be done: one line."""


@dataclass
class Solution:
    """A function of tests/answers."""

    exercise: str
    name: str
    mark: str
    parts: int
    text: str


def add_options(p: argparse.ArgumentParser, language: str) -> None:
    """The options of `release`."""
    p.add_argument("target", metavar="TARGET", help=words.say("release_help_target", language))
    p.add_argument("--language", choices=words.LANGUAGES, help=words.say("release_help_language", language))


def run(o: argparse.Namespace, language: str, root: Path = ROOT) -> int:
    """Returns the exit code: 0 made, 1 a solution would have gone out with it, 2 it cannot be made."""
    target = Path(o.target)
    try:
        solutions = read_solutions(root, language)
        check_target(target, root, language)
    except Unusable as error:
        print(error)
        return 2
    try:
        number = copy_project(root, target)
    except OSError as error:
        if target.is_dir():
            empty_folder(target)
        print(words.say("release_not_written", language, path=target, text=error.strerror or error))
        return 2
    found = list(find_leaks(target, solutions))
    bad = [(path, solution) for path, solution in found if not path.startswith(REFERENCE)]
    for path, solution in bad:
        print(words.say("release_leak", language, path=path, exercise=solution.exercise, name=solution.name))
    if bad:
        empty_folder(target)
        print(words.say("release_undone", language))
        return 1
    for path, solution in found:
        print(
            words.say(
                "release_reference", language, path=path, exercise=solution.exercise, name=solution.name
            )
        )
    made = {"path": os.path.abspath(target), "files": number, "exercises": len(words.exercises())}
    print(fold(words.say("release_made", language, **made)))
    return 0


def check_target(target: Path, root: Path, language: str) -> None:
    """Whether TARGET can be written. Raises Unusable."""
    here, there = root.resolve(), target.resolve()
    if there.is_relative_to(here) or here.is_relative_to(there):
        raise Unusable(words.say("release_inside", language, path=target))
    if target.exists() and not target.is_dir():
        raise Unusable(words.say("release_a_file", language, path=target))
    if target.exists() and any(target.iterdir()):
        raise Unusable(words.say("release_not_empty", language, path=target))


def copy_project(root: Path, target: Path) -> int:
    """Write the tree; how many files it has."""
    target.mkdir(parents=True, exist_ok=True)
    number = 0
    for path in choose_files(root):
        copy = target / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, copy)
        shutil.copymode(root / path, copy)
        if path.match("README*.md"):
            leave_out_tests(copy)
        number += 1
    for exercise in words.exercises():
        (target / EXERCISES / f"{exercise}.py").write_text(stub.text(exercise), encoding="utf-8")
        number += 1
    return number


def leave_out_tests(file: Path) -> None:
    """Take from a page the lines that offer tests, which are not released."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(line for line in lines if "`make test" not in line), encoding="utf-8")


def choose_files(root: Path) -> Iterator[Path]:
    """The files that are copied as they are: no caches, nothing hidden, and no exercise of somebody's."""
    for pattern in FILES:
        yield from (path.relative_to(root) for path in sorted(root.glob(pattern)))
    for folder in WHOLE:
        for file in sorted((root / folder).rglob("*")):
            path = file.relative_to(root)
            hidden = any(part.startswith(".") or part == "__pycache__" for part in path.parts)
            begun = path.is_relative_to(EXERCISES) and not path.name.startswith("_")
            if file.is_file() and not (hidden or begun or file.is_symlink()):
                yield path


def empty_folder(target: Path) -> None:
    """Take away what was written."""
    for path in target.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def read_solutions(root: Path, language: str) -> list[Solution]:
    """The functions of tests/answers, less those that students are given. Raises Unusable without any."""
    found = []
    for file in sorted((root / SOLUTIONS).glob("[0-9][0-9]_*.py")):
        given = (
            {m for _, m, _ in fingerprints(stub.text(file.stem))} if file.stem in words.exercises() else set()
        )
        text = file.read_text(encoding="utf-8")
        for node in outermost_functions(ast.parse(text)):
            mark, parts = fingerprint(node)
            if mark not in given:
                found.append(Solution(file.stem, node.name, mark, parts, squeeze(body_of(node, text))))
    if not found:
        raise Unusable(words.say("release_nothing_known", language, path=SOLUTIONS))
    return found


def outermost_functions(tree: ast.Module) -> Iterator[Any]:
    """Functions and methods; a function within one of them is a part of it, which a lesson may well show."""
    for node in tree.body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        yield from (each for each in inner if isinstance(each, DEFINITIONS[:2]))


def fingerprints(text: str) -> Iterator[tuple[Any, str, int]]:
    """Every function of a program, its fingerprint, and of how many nodes it is."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, DEFINITIONS[:2]):
            yield node, *fingerprint(node)


def body_of(node: Any, text: str) -> str:
    """A function's lines after its signature and docstring."""
    first = node.body[1 if ast.get_docstring(node) is not None and len(node.body) > 1 else 0]
    return "\n".join(text.splitlines()[first.lineno - 1 : node.end_lineno])


def find_leaks(target: Path, solutions: list[Solution]) -> Iterator[tuple[str, Solution]]:
    """(file, solution) for each that is in the tree, as a function or as text."""
    for file in sorted(path for path in target.rglob("*") if path.is_file()):
        path = file.relative_to(target).as_posix()
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        here = {(mark, node.name) for node, mark, _ in fingerprints(text)} if file.suffix == ".py" else set()
        plain, alike = squeeze(text), {mark for mark, _ in here}
        for each in solutions:
            equal = (each.mark, each.name) in here if each.parts < SHORT else each.mark in alike
            if equal or (len(each.text) >= SHORT_TEXT and each.text in plain):
                yield path, each


def squeeze(text: str) -> str:
    """`text` without what differs between a program and the same program in a page, a table or a notebook."""
    return re.sub(r"\\n|[\s\"'\\]", "", text)


def main(given: list[str] | None = None) -> int:
    """The command of `python -m lessons`. Returns the exit code."""
    p = argparse.ArgumentParser(prog="python -m lessons release")
    add_options(p, language_here())
    o = p.parse_args(given)
    check_texts(p, o)
    return run(o, o.language or language_here())


if __name__ == "__main__":
    sys.exit(main())
