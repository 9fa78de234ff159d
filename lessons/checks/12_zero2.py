"""Exercise 12: the student's step() of stage 2 beside the real one."""

from functools import partial

from lessons.checker.stages import act, mistakes

FUNCTIONS = ("step",)
RANKS = 4

cases = act.cases
run_trial = partial(act.run_trial, 2)
diagnose = partial(mistakes.diagnose, 2)
