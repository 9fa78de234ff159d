"""Exercise 13: the student's step() of stage 3 beside the real one."""

from functools import partial

from lessons.checker.stages import act, mistakes

FUNCTIONS = ("step",)
RANKS = 4
EXPECTS = {  # what a step calls -> what it takes and gives
    "forward": "u.forward(param (psi,), x (samples, inputs)) -> outputs",
    "backward": "u.backward(param (psi,), g) -> (g, grad (psi,))",
    "all_gather": "comm.all_gather(shard (psi/N,), u.layout) -> (psi,)",
    "reduce_scatter": "comm.reduce_scatter(full (psi,), u.layout) -> (psi/N,)",
    "shard": "comm.shard(full (psi,), u.layout) -> (psi/N,)",
    "all_reduce": "comm.all_reduce(full (psi,), u.layout) -> None",
    "loss_grad": "loss_grad(outputs, y) -> (g, part)",
    "clip": "clip(comm, [(psi/N,), ...]) -> (norm, scale)",
    "update": "u.optimizer.update(param (psi/N,), grad (psi/N,), scale) -> None",
}

cases = act.cases
run_trial = partial(act.run_trial, 3)
diagnose = partial(mistakes.diagnose, 3)
