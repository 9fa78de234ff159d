"""Grade a class: run again what students have handed in, with other numbers than theirs.

python -m lessons grade DIR                  DIR has one folder or one .zip per student
python -m lessons grade DIR --out grades     where the tables, the JSON files and the page go
python -m lessons grade DIR --secret TEXT    the same numbers again as in the grading with this secret

What a student's own checks have said is advice; the grade comes from this run. It stops accidents and not
malice: students' code runs with the rights of whoever grades.
"""

import argparse
import ast
import contextlib
import hashlib
import hmac
import json
import math
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zero_ref
from lessons import ROOT
from lessons.checker import shadows, stub, words
from lessons.checker.ranks import runner
from lessons.checker.ranks.launcher import find_mpirun
from lessons.checker.ranks.processes import marked_with
from lessons.checker.teacher import extract, gradebook
from lessons.checker.teacher.extract import Extract
from lessons.checker.teacher.gradebook import FORMATS
from lessons.checker.teacher.results import Grading, Record, student_lines, titles_and_points
from lessons.checker.teacher.submissions import HandedIn, read_all
from lessons.checks import check_of
from zero_ref.launch import CleanEnd, one_line, say, tell
from zero_ref.launch import language as language_here
from zero_ref.launch.cli import check_texts
from zero_ref.launch.terminal import fold


class Unusable(Exception):
    """What was asked for cannot be done: one line."""


@dataclass
class Work:
    """One student's work on its way: what was taken of each file, and why there is nothing of others."""

    handed: HandedIn
    extracts: dict[str, Extract] = field(default_factory=dict)
    unclear: dict[str, str] = field(default_factory=dict)


def add_options(p: argparse.ArgumentParser, language: str) -> None:
    """The options of `grade`."""
    p.add_argument("dir", metavar="DIR", help=words.say("grade_help_dir", language))
    p.add_argument("--out", metavar="DIR", default="grades", help=words.say("grade_help_out", language))
    for name in FORMATS:
        p.add_argument(f"--{name}", action="store_true", help=words.say(f"grade_help_{name}", language))
    p.add_argument("--secret", metavar="TEXT", help=words.say("grade_help_secret", language))
    p.add_argument("--exercises", metavar="06,07", help=words.say("grade_help_exercises", language))
    p.add_argument(
        "--limit", metavar="S", type=float, default=runner.LIMIT, help=words.say("grade_help_limit", language)
    )
    p.add_argument("--jobs", metavar="J", type=int, default=1, help=words.say("grade_help_jobs", language))
    p.add_argument("--language", choices=words.LANGUAGES, help=words.say("grade_help_language", language))


def run(o: argparse.Namespace, language: str) -> int:
    """Returns the exit code: 0 graded, 2 where that cannot be, 130 interrupted."""
    try:
        exercises = choose_exercises(o.exercises, language)
        folder, out = check_folders(o, language)
        works, others = read_class(folder, exercises, language)
    except Unusable as error:
        print(error)
        return 2
    if others:
        print(fold(words.say("grade_others", language, names=others)))
    secret = o.secret or secrets.token_hex(16)
    grading = Grading(secret, language, o.limit, zero_ref.__version__, titles_and_points(exercises, language))
    grading.equal = find_equal(works, exercises)
    try:
        unsaid = check_everyone(works, grading, o.jobs)
    except KeyboardInterrupt:
        return 130
    chosen = [name for name in FORMATS if getattr(o, name)] or list(FORMATS)
    try:
        written = gradebook.write(grading, out, chosen)
    except OSError as error:
        print(words.say("grade_not_written", language, path=out, text=error.strerror or error))
        return 2
    lines = [words.say("grade_written", language, path=out.absolute(), files=written)]
    if "html" in chosen:
        lines.append(words.say("grade_page", language, path=out.absolute() / "class.html"))
    unsaid += print_line("\n".join([*lines, words.say("grade_secret", language, secret=secret)]))
    if unsaid:
        tell(f"{one_line(unsaid[0])}\n")
    return 1 if unsaid else 0


def choose_exercises(text: str | None, language: str) -> list[str]:
    """The exercises of --exercises, in their order; all without it."""
    every = words.exercises()
    if text is None:
        return every
    found = set()
    for name in filter(None, (part.strip() for part in text.split(","))):
        exercise = words.find_exercise(name)
        if exercise is None:
            raise Unusable(words.say("unknown_exercise", language, name=name, names=every))
        found.add(exercise)
    if not found:
        raise Unusable(words.say("unknown_exercise", language, name=text, names=every))
    return sorted(found)


def check_folders(o: argparse.Namespace, language: str) -> tuple[Path, Path]:
    """The folder to read and the folder to write, if they can be that."""
    folder, out = Path(o.dir), Path(o.out)
    if not folder.is_dir():
        raise Unusable(words.say("grade_no_folder", language, path=folder))
    if out.resolve().is_relative_to(folder.resolve()):
        raise Unusable(words.say("grade_out_inside", language, path=out))
    if not (math.isfinite(o.limit) and o.limit > 0) or o.jobs < 1:
        raise Unusable(words.say("grade_numbers", language))
    if found := shadows.find(shadows.places()):
        raise Unusable(words.say("doctor_shadowed", language, file=found[0][0], module=found[0][1]))
    if find_mpirun() is None:
        raise Unusable(words.say("grade_no_mpirun", language))
    try:
        out.mkdir(parents=True, exist_ok=True)  # before the work, and not after it, when it would be lost
    except OSError as error:
        raise Unusable(words.say("grade_not_written", language, path=out, text=error.strerror)) from None
    return folder, out


def read_class(folder: Path, exercises: list[str], language: str) -> tuple[list[Work], list[str]]:
    """What every student has handed in, and of each file what will be run; and names of what is nobody's."""
    try:
        if any(folder.glob("[0-9][0-9]_*.py")) or (folder / "student.toml").exists():
            raise Unusable(words.say("grade_one_student", language, path=folder))
        handed_in, others = read_all(folder, exercises)
    except OSError as error:
        raise Unusable(words.say("grade_no_folder", language, path=f"{folder} ({error.strerror})")) from None
    if not any(handed.files or handed.unclear for handed in handed_in):
        raise Unusable(words.say("grade_nothing", language, path=folder))
    return [extract_functions(handed) for handed in handed_in], others


def extract_functions(handed: HandedIn) -> Work:
    """Take of each file what is asked for."""
    work = Work(handed, unclear=dict(handed.unclear))
    for exercise, content in handed.files.items():
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            work.unclear[exercise] = "grade_not_utf8"
            continue
        work.extracts[exercise] = extract.take(text, check_of(exercise).FUNCTIONS)
    return work


def seed_of(secret: str, student: str, exercise: str) -> str:
    """The numbers of one student and exercise: nobody can foretell them who has not the secret."""
    return hmac.new(secret.encode(), f"{student}/{exercise}".encode(), hashlib.sha256).hexdigest()


def print_line(text: str) -> list[str]:
    """Print at once; what went wrong. Grades are not lost because nobody can be told of them."""
    try:
        say(fold(text))
    except CleanEnd as error:
        return [str(error)]
    return []


def check_everyone(works: list[Work], grading: Grading, jobs: int) -> list[str]:
    """Check all students, `jobs` at once, and say of each how it went; what could not be said."""
    unsaid: list[str] = []
    token, running = uuid.uuid4().hex, set()
    folder = tempfile.mkdtemp(prefix="zero_ref_grade_")
    environment = {"ZERO_REF_GRADE": token, "TMPDIR": folder, "PYTHONUTF8": "1"}
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = [pool.submit(check_student, work, grading, environment, running) for work in works]
        for work, future in zip(works, futures):
            found, seconds = future.result()
            mine = [make_record(work, exercise, found, grading) for exercise in grading.exercises]
            grading.add(work.handed, mine, seconds)
            unsaid += print_line(student_lines(work.handed, mine, seconds, grading.language))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(running):  # only where it was interrupted
            process.terminate()
        pool.shutdown()
        end_what_is_left(token)
        shutil.rmtree(folder, ignore_errors=True)
    return unsaid


def check_student(
    work: Work, grading: Grading, environment: dict, running: set
) -> tuple[dict[str, dict], float]:
    """Exercise -> what a process of its own found of one student's; less where that process ended early."""
    exercises = {
        exercise: {"text": each.text, "seed": seed_of(grading.secret, work.handed.student, exercise)}
        for exercise, each in work.extracts.items()
    }
    if not exercises:
        return {}, 0.0
    begun = time.monotonic()
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    process = subprocess.Popen(
        [sys.executable, "-m", "lessons.checker.teacher.student_process"],
        env=os.environ | environment | {"PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,  # Ctrl-C comes to it through check_everyone(), which lets it end its ranks
    )
    running.add(process)
    plan = {"exercises": exercises, "limit": grading.limit, "language": grading.language}
    out, _ = process.communicate(json.dumps(plan))
    running.discard(process)
    found = {}
    for line in out.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            answer = json.loads(line)
            found[answer["exercise"]] = answer
    return found, time.monotonic() - begun


def make_record(work: Work, exercise: str, found: dict[str, dict], grading: Grading) -> Record:
    """One student's result in one exercise."""
    handed, each = work.handed, work.extracts.get(exercise)
    own = handed.progress.get(exercise, {})
    made = Record(handed.student, handed.name, exercise, max_points=grading.exercises[exercise]["points"])
    made.version = grading.version
    made.hints_used, made.attempts = (whole_number(own.get(key)) for key in ("hints", "attempts"))
    made.gave_up = own.get("gave_up") if isinstance(own.get("gave_up"), bool) else None
    if each is None:
        made.status = "error" if exercise in work.unclear else "missing"
        key = work.unclear.get(exercise, "grade_missing")
        made.key = key.removeprefix("grade_")
        made.says = words.say(key, grading.language, name=f"{exercise}.py")
        return made
    made.sha256, made.left_out = each.sha256, each.left_out
    made.imports = sorted(set(each.project) - stub_imports(exercise))
    answer = found.get(exercise) or {
        "status": "error",
        "key": "ended",
        "says": words.say("grade_ended", grading.language),
    }
    for key, value in answer.items():
        setattr(made, key, value)
    made.score = 1.0 if made.status == "passed" else 0.0
    made.points = made.score * made.max_points
    return made


def whole_number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def stub_imports(exercise: str) -> set[str]:
    """What a student's file imports of this project from the beginning."""
    functions = check_of(exercise).FUNCTIONS
    return set(extract.project_imports(ast.parse(stub.text(exercise)))) - {
        f"_exercise.{name}" for name in functions
    }


def find_equal(works: list[Work], exercises: list[str]) -> list[dict[str, Any]]:
    """Functions of several students that differ in names only. No verdict: short ones are often equal."""
    groups: dict[tuple[str, str, str, int], list[str]] = {}
    for exercise in exercises:
        functions = check_of(exercise).FUNCTIONS
        fresh = extract.take(stub.text(exercise), functions).functions
        untouched = {extract.fingerprint(node)[0] for node in fresh.values()}
        for work in works:
            each = work.extracts.get(exercise)
            for name, node in (each.functions if each else {}).items():
                mark, parts = extract.fingerprint(node)
                if mark not in untouched:
                    groups.setdefault((exercise, name, mark, parts), []).append(work.handed.student)
    return [
        {"exercise": exercise, "function": name, "parts": parts, "students": students}
        for (exercise, name, _, parts), students in groups.items()
        if len(students) > 1
    ]


def end_what_is_left(token: str) -> None:
    """End processes of students that outlived the one that ran them; that is so only where it was killed."""
    for _ in range(100):  # while they start others
        found = list(marked_with(f"ZERO_REF_GRADE={token}"))
        if not found:
            return
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def main(given: list[str] | None = None) -> int:
    """The command of `python -m lessons`. Returns the exit code."""
    p = argparse.ArgumentParser(prog="python -m lessons grade")
    add_options(p, language_here())
    o = p.parse_args(given)
    check_texts(p, o)
    return run(o, o.language or language_here())


if __name__ == "__main__":
    sys.exit(main())
