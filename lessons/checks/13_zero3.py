"""Exercise 13: the student's step() of stage 3 beside the real one."""

from functools import partial

from lessons.checker.stages import act as stage
from lessons.checker.stages import mistakes

FUNCTIONS = ("step",)
RANKS = 4

cases = stage.cases
act = partial(stage.act, 3)
diagnose = partial(mistakes.diagnose, 3)
