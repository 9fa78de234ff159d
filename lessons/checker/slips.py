"""Numbers that no known mistake explains: one slip in the rule that gives them, or how they lie to the right.

What is said here is always so: it was computed, and compared with everything that came.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from types import CodeType
from typing import Any

import numpy as np

from lessons.checker.edits import explaining_edit
from lessons.checker.evidence import Diagnosis, Trial, same

Names = dict[str, Any]


def find_slip(
    found: Diagnosis | None,
    trials: Sequence[Trial],
    rule: str,
    known: Callable[[Trial, int], Names],
    result: Callable[[Names], Any],
    name: str,
) -> Diagnosis | None:
    """The same diagnosis, or "near": the rule with one edit that gives what every rank returned.

    rule: assignments; known: what they may use; result: the value, of all names afterwards; name: what the
    student's function gives
    """
    if found is None or not found.key.startswith("unknown"):
        return found

    def fits(code: CodeType) -> bool:
        for trial in trials:
            for rank, value in enumerate(trial.values()):
                names = {"np": np, "math": math} | known(trial, rank)
                exec(code, names)
                if not same(value, result(names)):
                    return False
        return True

    with np.errstate(all="ignore"):
        formula = explaining_edit(rule, (), fits)
    if formula is not None:
        found.key, found.params = "near", {"name": name, "formula": formula}
    return found


def name_relation(found: Diagnosis | None) -> Diagnosis | None:
    """The same diagnosis, or how all wrong numbers of the trial that it shows lie to the right ones."""
    if found is None or found.key != "unknown" or found.pair is None:
        return found
    got, want = (list(numbers(part)) for part in found.pair)
    if len(got) != len(want) or not got or not all(map(math.isfinite, got + want)):
        return found
    off = [a - b for a, b in zip(got, want)]
    ratios = [a / b for a, b in zip(got, want) if b]
    if not any(got):
        found.key = "all_zero"
    elif len(ratios) > 1 and same(got, [ratios[0] * b for b in want]):
        found.key, found.params = "all_times", {"factor": ratios[0]}
    elif len(off) > 1 and same(off, [off[0]] * len(off)):
        found.key, found.params = "all_plus", {"more": off[0]}
    elif len(got) > 1 and same(sorted(got), sorted(want)):
        found.key = "all_moved"
    return found


def numbers(value: Any) -> Iterator[float]:
    """All numbers in arrays, lists, tuples and dictionaries, in order."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from numbers(part)
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            yield from numbers(value[key])
    elif isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        yield from value.ravel().astype(float).tolist()
    elif isinstance(value, int | float | np.number):
        yield float(value)
