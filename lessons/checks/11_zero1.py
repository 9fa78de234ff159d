"""Exercise 11: the student's step() of stage 1 beside the real one."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from lessons.checker import stage_mistakes, stages
from lessons.checker.evidence import Diagnosis, Trial
from lessons.checker.talk import Talk

FUNCTIONS = ("step",)
RANKS = 4
STAGE = 1

cases = stages.cases


def act(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """All steps of one trial."""
    return stages.act(case, comm, student.step, STAGE)


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """As every stage."""
    return stage_mistakes.diagnose(trials, STAGE)
