"""One student's exercises, in a process of their own, which grade.py starts.

Every exercise gets ranks of its own as well. A job leaves much behind in the process that did it: imported
modules, numpy with other functions in it, threads, another folder or environment, signal handlers, a limit
of recursion, warnings turned into errors. None of that can be undone with certainty, so nothing is shared:
0.4 seconds more for an exercise, and no file can change the result of another.

On stdin comes what to do, on stdout goes one JSON object a line for each exercise.
"""

import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lessons.checker import checking, words
from lessons.checker.ranks import prerequisites
from lessons.checker.ranks.runner import Job

SLACK = 60.0  # seconds for the checker itself; it takes a moment


def main() -> None:
    """All exercises in their order: later ones build on the earlier ones that have passed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that ranks that run are ended
    plan = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing but answers goes there
    own: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="zero_ref_grade_") as name:
        for exercise, job in plan["exercises"].items():
            file = Path(name) / f"{exercise}.py"
            file.write_text(job["text"], encoding="utf-8")
            found = check_exercise(exercise, file, job["seed"], own, plan["limit"], plan["language"])
            if found["status"] == "passed":
                own |= {
                    f: str(file) for f, written in prerequisites.WRITTEN_IN.items() if written == exercise
                }
            print(json.dumps(found | {"exercise": exercise}), file=answers, flush=True)


def check_exercise(
    exercise: str, file: Path, seed: str, own: dict[str, str], limit: float, language: str
) -> dict[str, Any]:
    """The checked part of a record."""
    files = prerequisites.without(exercise, own)
    try:
        with at_most(2 * limit + SLACK):
            result = checking.check([Job(exercise, str(file), seed, files)], limit)[0]
            return describe_result(exercise, result, str(file.parent), language)
    except Exception as error:  # the checker's own: no student is to lose points by it
        text = "".join(traceback.format_exception_only(error)).strip()
        return {"status": "error", "key": "checker_failed", "says": text, "params": {"text": text}}


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises TimeoutError where the checker itself does not end: one result must not hold up a class."""

    def late(*_: object) -> None:
        raise TimeoutError(f"the checker has taken more than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def describe_result(exercise: str, result: checking.Result, folder: str, language: str) -> dict[str, Any]:
    """A result for the record. Paths and addresses that differ from run to run are left out of it."""
    found = {
        "status": "passed" if result.state == "note" else result.state,
        "seconds": round(result.seconds, 2),
    }
    if diagnosis := result.diagnosis:
        if diagnosis.key == "died":  # which rank and which code were seen first is chance
            diagnosis.params = {}
        for name, value in diagnosis.params.items():
            diagnosis.params[name] = drop_addresses(value, folder) if isinstance(value, str) else value
        found |= {"key": diagnosis.key, "params": to_json(diagnosis.params), "case": to_json(diagnosis.case)}
        found |= {"line": line_of(diagnosis.line), "says": says(exercise, diagnosis, language)}
    return found


def says(exercise: str, diagnosis: Any, language: str) -> str:
    """A diagnosis's words, or its key where the catalogue cannot say it."""
    if diagnosis.key == "died":
        return words.say("grade_died", language, **diagnosis.params)
    try:
        return words.diagnosis_text(exercise, diagnosis, "says", language)
    except (KeyError, IndexError, ValueError):
        return diagnosis.key


def drop_addresses(text: str, folder: str) -> str:
    """`text` without names of temporary folders and addresses of objects."""
    text = re.sub(re.escape(tempfile.gettempdir()) + r"/zero_ref_\w+/?", "", text.replace(folder + "/", ""))
    return re.sub(r"0x[0-9a-f]{6,}", "0x...", text)


def line_of(line: Any) -> int | None:
    """The number of a line."""
    return line[1] if isinstance(line, list | tuple) else line


def to_json(value: Any) -> Any:
    """`value` for JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


if __name__ == "__main__":
    main()
