"""The functions of earlier exercises that a later one builds on: the student's own, or the reference.

An exercise says `from _exercise import ring_reduce_scatter`. It gets the student's own function when that
has passed, else the one of zero_ref, so that one missing exercise does not block all others.
"""

import importlib
from collections.abc import Callable
from pathlib import Path

from lessons.checker.ranks.load import load

# Function -> the exercise in which it is written.
WRITTEN_IN = {
    "ring_reduce_scatter": "06_ring_reduce_scatter",
    "ring_all_gather": "07_all_gather",
}

_files: dict[str, str] = {}
_current: list[str] = []


def without(exercise: str, files: dict[str, str]) -> dict[str, str]:
    """These functions' files, less the functions that the exercise itself writes."""
    return {name: file for name, file in files.items() if WRITTEN_IN[name] != exercise}


def use_files(files: dict[str, str], exercise: str) -> None:
    """Take these functions from the student's files: function -> path. All others are the reference.

    exercise: the one that is checked; its own functions are not to be had
    """
    _files.clear()
    _files.update(files)
    _current[:] = [exercise]


def get_function(name: str) -> Callable:
    """An earlier function by name. Raises AttributeError for one that no exercise writes, or this one."""
    if name not in WRITTEN_IN or WRITTEN_IN[name] in _current:
        raise AttributeError(name)
    if path := _files.get(name):
        return getattr(load(Path(path), (name,)), name)
    return getattr(importlib.import_module("lessons.checker.ranks.reference"), name)


def is_own(name: str) -> bool:
    """Whether get_function() gives the student's own."""
    return name in _files
