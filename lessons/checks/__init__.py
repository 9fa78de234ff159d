"""Two files per exercise: what is tried and what each wrong answer leaves (.py), and the words (.toml).

FUNCTIONS        what the student writes
RANKS            how many processes the largest trial needs
cases(random)    the trials, smallest first: dictionaries for JSON with "size", the number of ranks
run_trial        on a rank: one trial with the student's functions; what happened, for JSON
diagnose         in the checker: the diagnosis of what happened in all trials, None if all is right
"""

import importlib
from random import Random
from types import ModuleType
from typing import Any


def check_of(exercise: str) -> ModuleType:
    """The module of an exercise."""
    return importlib.import_module(f"lessons.checks.{exercise}")


def cases_of(exercise: str, seed: str) -> list[dict[str, Any]]:
    """The trials of an exercise, the same for the same seed: on the ranks and in the checker."""
    return check_of(exercise).cases(Random(seed))
