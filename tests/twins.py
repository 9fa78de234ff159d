"""An answer beside its twin: the one of tests/wrong that was written to make the mistake which is said of it.

Whoever wrote the twin made one mistake on purpose, and its name is the statement. So where an answer does in
every trial, on every rank, what the twin does, the statement is as true of it as of the twin; nothing is used
of the checker's formulas. One trial at least has to be wrong, or both would only do what is right.
"""

import math
from typing import Any

from lessons.checker.checking import Result

PLACES = {"line", "lines", "line_back", "place", "trace", "stack"}  # where, not what


def does_as(mine: Result, twin: Result, right: Result, parts: tuple[str, ...] = ()) -> bool:
    """Whether an answer does what its twin does, and not what the solution does.

    parts: of the ranks' reports; all of them, if none is named
    """
    shown = False
    for case, ranks in mine.outcome.reports.items():
        for rank, report in ranks.items():
            theirs = twin.outcome.reports.get(case, {}).get(rank)
            if "evidence" not in report:
                continue
            if theirs is None or "evidence" not in theirs:
                return False
            one, other = (only(each["evidence"], parts) for each in (report, theirs))
            if not alike(one, other):
                return False
            solution = right.outcome.reports[case][rank]["evidence"]
            shown |= not alike(one, only(solution, parts))
    return shown


def only(report: Any, parts: tuple[str, ...]) -> Any:
    """These parts of a report, at whatever depth; all of it, but for places, if none is named."""
    if isinstance(report, dict):
        kept = {key: value for key, value in report.items() if key not in PLACES}
        if parts and (parts_here := {key: kept[key] for key in parts if key in kept}):
            return {key: only(value, ()) for key, value in parts_here.items()}
        return {key: only(value, parts) for key, value in kept.items()}
    if isinstance(report, list):
        if len(report) == 2 and str(report[0]).endswith(".py"):
            return None  # a file and a line
        return [only(each, parts) for each in report]
    return report if not parts else None


def alike(a: Any, b: Any) -> bool:
    """Whether two reports say the same, but for rounding."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, float) or isinstance(b, float):
        numbers = all(isinstance(x, int | float) for x in (a, b))
        return numbers and (math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) or (a != a and b != b) or a == b)
    return type(a) is type(b) and a == b
