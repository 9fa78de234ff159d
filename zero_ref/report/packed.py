"""Events in few bytes: what is the same in many of them is written once.

A unit does at one time what another does at another time. So an event is its time, a number of a unit, and
the number of a row in which units are counted from that one. step.js makes events of it again.
"""

import json
from typing import Any


def packed(ranks: list[list[list[Any]]]) -> tuple[list[list[list[Any]]], list[list[Any]]]:
    """The events of some ranks as [microseconds, unit or null, row], and the rows."""
    numbers: dict[str, int] = {}
    found = []
    for events in ranks:
        mine = []
        for event in events:
            unit = unit_of(event)
            row = json.dumps(counted_from(unit, event))
            mine.append([event[0], unit, numbers.setdefault(row, len(numbers))])
        found.append(mine)
    return found, [json.loads(row) for row in numbers]


def unit_of(event: list[Any]) -> int | None:
    """The unit of an event; of several in one, the first that is named."""
    if event[1] != "several":
        return event[3]
    units = [unit for _, unit, _ in event[4]] + [unit for _, unit in event[8]]
    return next((unit for unit in units if unit is not None), None)


def counted_from(first: int | None, event: list[Any]) -> list[Any]:
    """The event without its time, with units as their distance from the first; null stays null."""

    def away(unit: int | None) -> int | None:
        return None if unit is None or first is None else unit - first

    _, what, name, unit, nbytes, line, place, *more = event
    if what != "several":
        return [what, name, away(unit), nbytes, line, place]
    number, calls = more
    changes = [[kind, away(u), size] for kind, u, size in nbytes]
    return [what, name, None, changes, line, place, number, [[call, away(u)] for call, u in calls]]
