"""One check of the student's file as it is at this moment, noted in progress and kept for its picture.

    python -m lessons.checker.student.attempt 06_ring_reduce_scatter [--use reference] [--limit 10]

The exit code is that of `python -m lessons run`. While a student works, every check is such a process: it
can be given up at any time, and ends its ranks when it is.
"""

import argparse
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lessons.checker import checking, progress, shadows, words
from lessons.checker.checking import Result
from lessons.checker.evidence import Diagnosis
from lessons.checker.ranks.runner import LIMIT, Job, Outcome
from lessons.checks import cases_of

EVENTS = 2000  # of a rank that are kept for the picture
PRINTED = 100_000  # characters
NO_VERDICT = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
SOURCE = 400_000

Data = dict[str, Any]


def check(exercise: str, reference: bool = False, limit: float = LIMIT, counted: bool = True) -> Data:
    """Check, note it, keep it; returns what is kept.

    What is checked is a copy: whoever saves during the check does not get half of each version.
    """
    job = checking.job_of(exercise, reference)
    file = Path(job.file)
    in_the_way = shadows.find(shadows.places())
    with tempfile.TemporaryDirectory(prefix="zero_ref_copy_") as folder:
        copy = Path(folder) / file.name
        try:
            copy.write_bytes(file.read_bytes())
        except OSError as error:
            missing = Diagnosis("unreadable", {"text": error.strerror or type(error).__name__})
            result = Result(job, Outcome(), missing, 0.0)
        else:
            job.file = str(copy)
            result = shadowed(job, *in_the_way[0]) if in_the_way else judged(job, limit)
        data = describe_result(result, copy)
    key = result.diagnosis.key if result.diagnosis else None
    progress.note_result(exercise, result.state, key, counted)
    progress.save_last(exercise, data)
    return data


def shadowed(job: Job, file: str, module: str) -> Result:
    """The result where a file of the student's would be taken for a module: no rank could begin."""
    return Result(job, Outcome(), Diagnosis("shadowed", {"file": file, "module": module}), 0.0)


def judged(job: Job, limit: float) -> Result:
    """The result of a check; a diagnosis, too, where the ranks reported what cannot have happened."""
    try:
        return checking.check([job], limit)[0]
    except NO_VERDICT as error:
        text = "".join(traceback.format_exception_only(error)).strip()[:300]
        return Result(job, Outcome(), Diagnosis("no_verdict", {"text": text}), 0.0)


def describe_result(result: Result, file: Path) -> Data:
    """A result as JSON can hold it: texts for the diagnosis, one trial with its events, the source."""
    try:
        source = file.read_text(encoding="utf-8-sig", errors="replace")[:SOURCE]
    except OSError:
        source = ""
    trial = choose_trial(result)
    return {
        "exercise": result.job.exercise,
        "when": time.strftime("%Y-%m-%d %H:%M:%S"),
        "state": result.state,
        "seconds": round(result.seconds, 3),
        "diagnosis": describe_diagnosis(result.diagnosis) if result.diagnosis else None,
        "file": file.name,
        "functions": list(checking.functions(result.job.exercise)),
        "source": source.splitlines(),
        "printed": shorten_paths(result.outcome.printed, file)[:PRINTED],
        "trial": trial,
        "hang": hang_of(result, trial),
    }


def shorten_paths(text: str, file: Path) -> str:
    """What was printed, with files by their names only: Python's warnings begin with a long path."""
    text = text.replace(f"{file.parent}{os.sep}", "")
    return re.sub(r"/\S*/site-packages/", "", text)


def describe_diagnosis(diagnosis: Diagnosis) -> Data:
    """A diagnosis whose values are texts."""
    case = diagnosis.case
    return {
        "key": diagnosis.key,
        "params": {name: words.to_text(value) for name, value in diagnosis.params.items()},
        "line": list(diagnosis.line) if isinstance(diagnosis.line, tuple) else diagnosis.line,
        "case": None if case is None else words.visible(case),
        "head": list(diagnosis.head),
        "rows": [[words.to_text(cell) for cell in row] for row in diagnosis.rows],
        "state": diagnosis.state,
    }


def diagnosis_of(data: Data) -> Diagnosis | None:
    """The diagnosis of a run that was kept."""
    return Diagnosis(**data["diagnosis"]) if data["diagnosis"] else None


def choose_trial(result: Result) -> Data | None:
    """The trial of the picture: that of the diagnosis, else where it stopped, else of the largest one whose
    arrows show what they carry, if there is one."""
    reports = result.outcome.reports
    if not reports:
        return None
    cases = cases_of(result.job.exercise, result.job.seed)
    wanted = result.diagnosis.case if result.diagnosis else None
    stopped = [case for case, ranks in reports.items() if any("evidence" not in r for r in ranks.values())]
    matching = [case for case in reports if wanted is not None and cases[case] == wanted]
    number = next(iter(matching + stopped), None)
    if number is None:
        number = max(reports, key=lambda n: (cases[n].get("size", 0), carries_codes(reports[n]), n))
    size = cases[number].get("size", 1)
    return {
        "number": number,
        "size": size,
        "case": words.visible(cases[number]),
        "ranks": [describe_rank(reports[number].get(rank)) for rank in range(size)],
    }


def carries_codes(ranks: Data) -> bool:
    """Whether messages of a trial hold codes (see barcode.py)."""
    return any("codes" in event for report in ranks.values() for event in find_events(report))


def hang_of(result: Result, trial: Data | None) -> Data | None:
    """What is known of a hang, if it is in the trial of the picture that it happened."""
    hang = result.outcome.hang
    return hang if hang and trial and hang["case"] == trial["number"] else None


def describe_rank(report: Data | None) -> Data:
    """What one rank did: how it ended ("returned", "raised", "stopped", "unknown"), and its events."""
    if report is None:
        return {"end": "unknown", "place": None, "events": [], "more": 0}
    end = next((name for name in ("evidence", "raised", "stopped") if name in report), "unknown")
    found = list(find_events(report.get(end)))
    return {
        "end": "returned" if end == "evidence" else end,
        "place": report.get("raised", {}).get("place"),
        "events": found[:EVENTS],
        "more": max(0, len(found) - EVENTS),
    }


def find_events(value: Any) -> Iterator[Data]:
    """All events of a rank: a check that calls several functions has several lists of them."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name == "events" and isinstance(part, list):
                yield from (event for event in part if isinstance(event, dict) and "what" in event)
            elif name != "value":
                yield from find_events(part)
    elif isinstance(value, list):
        for part in value:
            yield from find_events(part)


def give_up(signum: int, _: object) -> None:
    """Leave as after Ctrl-C, so that the ranks are ended."""
    raise KeyboardInterrupt(signum)


def main() -> int:
    """Returns 0 passed, 1 wrong, 2 not started; 3 if no check could be made, and says why on stderr."""
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, give_up)
    p = argparse.ArgumentParser(prog="python -m lessons.checker.student.attempt")
    p.add_argument("exercise")
    p.add_argument("--use", choices=("own", "reference"), default="own")
    p.add_argument("--limit", type=float, default=LIMIT)
    o = p.parse_args()
    try:
        return checking.EXIT[check(o.exercise, o.use == "reference", o.limit)["state"]]
    except KeyboardInterrupt:
        return 130
    except (OSError, json.JSONDecodeError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
