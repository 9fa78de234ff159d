"""What a step of one stage does, in order, and on vectors of the right length."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lessons.checker.evidence import kind_of
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import Unfit
from lessons.checker.stages.world import optimizer_of
from zero_ref import model
from zero_ref.layout import FlatLayout


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
        self.case, self.log, self.n = case, log, n
        self.layout: Any = None  # of its unit, see watch_unit()
        self.parts = {n: optimizer_of(case, n)}

    def update(self, param: np.ndarray, grad: np.ndarray, scale: float) -> None:
        """As zero_ref's."""
        self.log("update", self.layout.name, param.size)
        if param.size < self.n or (param.shape != grad.shape and grad.size == self.n):
            check_length("update", "param", self.layout, param, self.n)
        check_length("update", "grad", self.layout, grad, param.size)
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
    u.optimizer.layout = u.layout

    def watched_forward(param: np.ndarray, x: np.ndarray) -> np.ndarray:
        check_length("forward", "param", u.layout, param, padded)
        check_samples("forward", "x", u.layout, x)
        log("forward", name, len(x))
        return forward(param, x)

    def watched_backward(param: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        check_length("backward", "param", u.layout, param, padded)
        check_samples("backward", "g", u.layout, g)
        log("backward", name, len(g))
        return backward(param, g)

    u.forward, u.backward = watched_forward, watched_backward  # type: ignore[method-assign]


def check_length(call: str, argument: str, layout: FlatLayout, vector: Any, wanted: int) -> None:
    """Raise Unfit for a vector of a length that this call does not take, and for what is none."""
    if shape_of(vector) != (wanted,):
        raise unfit(call, argument, layout, f"({wanted},)", vector)


def check_samples(call: str, argument: str, layout: FlatLayout, values: Any) -> None:
    """Raise Unfit for what are no samples, one a row."""
    if len(shape_of(values)) != 2:
        raise unfit(call, argument, layout, "(samples, ...)", values)


def unfit(call: str, argument: str, layout: FlatLayout, wanted: str, got: Any) -> Unfit:
    """What is told of an argument; psi, own: elements of the unit's whole vector and of a shard."""
    about = {"call": call, "argument": argument, "unit": layout.name, "wanted": wanted, "got": kind_of(got)}
    return Unfit(**about, psi=layout.padded, own=layout.counts[-1])


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of an array, or of what can be made one; () of anything else."""
    try:
        return np.shape(value)
    except ValueError:  # a list of unequal ones
        return ()


def watched_clip(clip: Callable, log: Log, max_norm: float | None) -> Callable:
    """zero_ref's clip with this limit, told to the log."""

    def clipping(comm: Any, shards: Sequence[np.ndarray]) -> tuple[float, float]:
        shards = list(shards)
        log("clip", "", sum(np.size(shard) for shard in shards))
        return clip(comm, shards, max_norm)

    return clipping
