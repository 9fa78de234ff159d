"""What is too long for a page, made shorter without losing a byte or a peak."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

from zero_ref.ledger import KINDS

MOST_POINTS = 1400  # of a curve


def thinned_points(points: list[tuple[int, Any]], most: int = MOST_POINTS) -> list[tuple[int, Any]]:
    """At most about `most` of (number, value): of neighbours the lowest, the highest and the last."""
    if len(points) <= most:
        return points
    size = math.ceil(3 * len(points) / most)
    kept: set[tuple[int, Any]] = {points[0]}
    for start in range(0, len(points), size):
        part = points[start : start + size]
        finite = [p for p in part if p[1] is not None] or part
        kept |= {min(finite, key=lambda p: p[1] or 0), max(finite, key=lambda p: p[1] or 0), part[-1]}
    return sorted(kept, key=lambda p: p[0])


def thinned_events(rank: dict[str, Any], most: int) -> list[list[Any]]:
    """At most about `most` events of a rank: neighbours become one, without losing a byte or a peak.

    What is "several" then, and in place of bytes there is a list of [kind, unit, bytes]; two more fields are
    the number of events and the calls that are open after them. A group is cut where it holds most. If that
    is enough, only arrays are taken together, and every call keeps its beginning and its end.
    """
    events = rank["events"]
    if len(events) <= most:
        return events
    runs = [list(run) for _, run in itertools.groupby(events, lambda event: event[1] in ("begin", "end"))]
    gentle = thinned_parts([part for run in runs for part in (singly(run) or [run])])
    if len(gentle) <= most:
        return gentle
    size = math.ceil(2 * len(events) / most)
    return thinned_parts([events[start : start + size] for start in range(0, len(events), size)])


def singly(run: list[list[Any]]) -> list[list[list[Any]]]:
    """Beginnings and ends of calls one by one; [] of arrays."""
    return [[event] for event in run if event[1] in ("begin", "end")]


def thinned_parts(parts: list[list[list[Any]]]) -> list[list[Any]]:
    """Two events of each part at most, cut where it holds most."""
    result: list[list[Any]] = []
    open_calls: list[list[Any]] = []
    for part in parts:
        changes = [event[4] if event[1] in ("born", "died") else 0 for event in part]
        alive = list(itertools.accumulate(changes))
        cut = alive.index(max(alive)) + 1
        for group in filter(None, (part[:cut], part[cut:])):
            open_calls = open_after(group, open_calls)
            result.append(group[0] if len(group) == 1 else merged(group, open_calls))
    return result


def merged(group: list[list[Any]], open_calls: list[list[Any]]) -> list[Any]:
    """One event in place of a group, at the time and line of its last."""
    changes: dict[tuple[str, Any], int] = {}
    for _, what, name, unit, nbytes, _, _ in group:
        if what in ("born", "died"):
            changes[name, unit] = changes.get((name, unit), 0) + nbytes
    rows = [[kind, unit, nbytes] for (kind, unit), nbytes in changes.items() if nbytes]
    microseconds, *_, line, place = group[-1]
    return [microseconds, "several", "", None, rows, line, place, len(group), open_calls]


def open_after(group: list[list[Any]], open_calls: list[list[Any]]) -> list[list[Any]]:
    """The calls, as [name, unit], that have begun and not ended after a group of events."""
    calls = list(open_calls)
    for _, what, name, unit, *_ in group:
        if what == "begin":
            calls.append([name, unit])
        elif what == "end":
            calls.pop()
    return calls


def levels(rank: dict[str, Any]) -> Iterator[dict[str, int]]:
    """Bytes alive by kind: before the step, and after each of its events (one dict, changed)."""
    live = dict.fromkeys(KINDS, 0)
    for kept in rank["kept"]:
        for kind, (nbytes, _) in kept.items():
            live[kind] += nbytes
    yield live
    for _, what, name, _, nbytes, _, _ in rank["events"]:
        if what in ("born", "died"):
            live[name] += nbytes
        yield live
