"""On a rank: call a student's function, and write down what happened in a form that JSON can hold."""

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np

from lessons.checker.ranks.messages import Talk

MOST = 4096  # elements of an array that are reported
LONGEST = 100_000  # characters of a text


class Unfit(ValueError):
    """What one of our calls was given does not fit it.

    about: the call and its argument, the unit, what that should be and is, and a unit's two lengths
    """

    def __init__(self, **about: Any) -> None:
        super().__init__("{argument} of {call} has to be {wanted} and is {got}".format(**about))
        self.about = about


def encode(value: Any) -> Any:
    """`value` for JSON: arrays with their type and shape; unknown things by their type."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in "fiubU":
        return {"other": f"{type(value).__name__} {value.dtype}"}
    if isinstance(value, np.ndarray):
        numbers = np.asarray(value).flat[:MOST]  # of a subclass only the numbers
        numbers = numbers.astype(float if value.dtype.kind == "f" else value.dtype)
        return {"array": numbers.tolist(), "dtype": str(value.dtype), "shape": list(value.shape)}
    if isinstance(value, np.generic):
        number = float(value) if value.dtype.kind == "f" else value.item()  # item() leaves a longdouble one
        return {"scalar": number, "dtype": str(value.dtype)}
    if isinstance(value, list | tuple | dict) and len(value) > MOST:
        return {"other": f"{type(value).__name__}[{len(value)}]"}
    if isinstance(value, str) and len(value) > LONGEST:
        return {"other": f"str[{len(value)}]"}
    if isinstance(value, int) and value.bit_length() > 1024:  # JSON has no room for 10**5000
        return {"other": type(value).__name__}
    if isinstance(value, list | tuple):
        return {type(value).__name__ if type(value) in (list, tuple) else "tuple": [encode(v) for v in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(v)] for key, v in value.items()]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"plain": value}
    return {"other": type(value).__name__}


def find_arrays(value: Any) -> Iterator[np.ndarray]:
    """The arrays in lists, tuples and dicts."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from find_arrays(part)
    elif isinstance(value, dict):
        for part in value.values():
            yield from find_arrays(part)


class ReturnLine:
    """Within it, the line at which `function` returned: `line`."""

    def __init__(self, function: Callable) -> None:
        self.code = getattr(function, "__code__", None)
        self.line: int | None = None

    def __enter__(self) -> "ReturnLine":
        sys.setprofile(self._notice)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _notice(self, frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_code is self.code:
            self.line = frame.f_lineno


def observe(comm: Talk, function: Callable, *arguments: Any, **named: Any) -> dict[str, Any]:
    """What function(*arguments) gives, changes and sends, and whether it gives a part of an argument."""
    given = list(arguments)
    before = [[array.copy() for array in find_arrays(argument)] for argument in given]
    comm.events.clear()
    with ReturnLine(function) as returned:
        value = function(*arguments, **named)
    changed = [
        number
        for number, copies in enumerate(before)
        for now, then in zip(find_arrays(given[number]), copies)
        if now.tobytes() != then.tobytes()
    ]
    shared = any(
        np.shares_memory(part, array)
        for part in find_arrays(value)
        for argument in given
        for array in find_arrays(argument)
    )
    return {
        "value": encode(value),
        "changed": sorted(set(changed)),
        "shared": shared,
        "events": list(comm.events),
        "line": returned.line,
    }
