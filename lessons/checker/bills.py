"""Answers without ranks: the trial that shows it, and dictionaries of numbers by name."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lessons.checker.evidence import Diagnosis, Right, Trial, kind_of, same


def first(trials: Sequence[Trial], look: Callable[[Trial], Diagnosis | None]) -> Diagnosis | None:
    """What `look` finds in the first trial in which it finds something; with that trial's line and case."""
    for trial in trials:
        if found := look(trial):
            found.line, found.case = trial.ranks[0]["line"], trial.case
            return found
    return None


def of_case(make: Callable[[dict[str, Any]], Any]) -> Right:
    """A right answer, or a mistake, that depends on what was asked alone."""
    return lambda trial, _: make(trial.case)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)


def no_bill(value: Any, want: dict[str, float]) -> Diagnosis | None:
    """What is wrong with a dictionary before its numbers are looked at: its type, its keys, their types."""
    if value is None:
        return Diagnosis("returns_nothing", {"wanted": "dict"})
    if not isinstance(value, dict):
        total = is_number(value) and same(value, sum(want.values()))
        params = {"wanted": "dict", "got": kind_of(value), "total": value if total else ""}
        return Diagnosis("total_only" if total else "returns_type", params)
    if value.keys() != want.keys():
        missing, more = want.keys() - value.keys(), map(str, value.keys() - want.keys())
        return Diagnosis("keys", {"missing": sorted(missing) or "-", "more": sorted(more) or "-"})
    for name, number in value.items():
        if not is_number(number):
            return Diagnosis("returns_type", {"wanted": f"{name}: int", "got": kind_of(number)})
    return None
