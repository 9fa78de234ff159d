"""What a step of one stage does, in order, and on vectors of the right length."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lessons.checker.ranks.messages import Talk
from lessons.checker.stages.world import optimizer_of
from zero_ref import model


class Log:
    """What a step did, in order: [what, unit, elements, line of the student's file]."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.entries: list[list] = []

    def __call__(self, what: str, unit: str, elements: int) -> None:
        self.entries.append([what, unit, elements, self.talk._student_line(sys._getframe(1))])


class Optimizer:
    """One of zero_ref's optimizers, for n elements, that tells the log of its updates.

    The update of a longer vector gets a state of that length: so a step that updates more than the rank's
    shard comes to its end, and can be told what it has done.
    """

    def __init__(self, case: dict[str, Any], log: Log, n: int) -> None:
        self.case, self.log, self.unit, self.n = case, log, "", n
        self.parts = {n: optimizer_of(case, n)}

    def update(self, param: np.ndarray, grad: np.ndarray, scale: float) -> None:
        """As zero_ref's."""
        self.log("update", self.unit, param.size)
        if param.shape != grad.shape or param.size < self.n:
            shapes = f"param {param.shape}, grad {grad.shape}"
            raise ValueError(f"update of {self.unit} takes {self.n} elements and got {shapes}")
        if param.size not in self.parts:
            self.parts[param.size] = optimizer_of(self.case, param.size)
        self.parts[param.size].update(param, grad, scale)

    def state(self) -> dict[str, np.ndarray]:
        """The vectors that it uses, by length and name."""
        used = {n: part for n, part in self.parts.items() if part.steps} or self.parts
        return {f"{n}/{k}": v for n, part in used.items() for k, v in part.state().items()}


def watch_unit(u: model.Unit, log: Log) -> None:
    """Have a unit's passes and updates told to the log, and its vectors' lengths looked at."""
    name, padded = u.layout.name, u.layout.padded
    forward, backward = u.forward, u.backward
    u.optimizer.unit = name

    def watched_forward(param: np.ndarray, x: np.ndarray) -> np.ndarray:
        check_length("forward", name, param, padded)
        log("forward", name, len(x))
        return forward(param, x)

    def watched_backward(param: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        check_length("backward", name, param, padded)
        log("backward", name, len(g))
        return backward(param, g)

    u.forward, u.backward = watched_forward, watched_backward  # type: ignore[method-assign]


def check_length(what: str, name: str, vector: np.ndarray, wanted: int) -> None:
    """Raise ValueError for a vector of a length that this call does not take."""
    if np.shape(vector) != (wanted,):
        raise ValueError(f"{what} of {name} takes {wanted} elements and got shape {np.shape(vector)}")


def watched_clip(clip: Callable, log: Log, max_norm: float | None) -> Callable:
    """zero_ref's clip with this limit, told to the log."""

    def clipping(comm: Any, shards: Sequence[np.ndarray]) -> tuple[float, float]:
        shards = list(shards)
        log("clip", "", sum(np.size(shard) for shard in shards))
        return clip(comm, shards, max_norm)

    return clipping
