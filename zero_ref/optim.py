"""SGD and Adam on one flat vector. An optimizer does not know whether the vector is a shard.

Update rules and defaults are PyTorch's (torch.optim.SGD, Adam, AdamW). Updates run block by block
with little scratch memory. Each element depends on itself alone, so a shard gets the same bits as
the whole vector would.

A new optimizer is one class as below and its entry in KINDS. All else follows from the class: the options
are the parameters of __init__ with these names, their defaults are its defaults, and what is saved and
predicted is what `vectors` names. Where no faster version is written (extras/compiled.py, extras/kernels.py),
the class itself serves.
"""

import inspect
import math
from collections.abc import Iterator
from typing import Any

from zero_ref.array import Array, empty, starts, xp, zeros

BLOCK = 32768  # elements; a block and its scratch stay in the cache


def walk(vector: Array) -> Iterator[tuple[Array, Array, Array, slice]]:
    """For each block of `vector`: its view, two scratch arrays of its size, and its slice."""
    size = min(BLOCK, vector.size)
    scratch = empty((2, size), vector.dtype, "buffer")
    for start in starts(vector.size, BLOCK):
        view = vector[start : start + BLOCK]
        yield view, scratch[0, : view.size], scratch[1, : view.size], slice(start, start + view.size)


class SGD:
    """v = momentum v + g;  p = p - lr v.  Weight decay adds weight_decay p to g.

    n: elements of the vector. State: v, where momentum is not 0. steps: updates made.
    """

    def __init__(
        self, n: int, dtype: Any, lr: float = 1e-3, momentum: float = 0.0, weight_decay: float = 0.0
    ):
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.velocity = zeros(n, dtype, "optimizer") if momentum else None
        self.steps = 0

    @staticmethod
    def vectors(momentum: float = 0.0, **settings: Any) -> tuple[str, ...]:
        """The names of the vectors (n,) of state, with these settings."""
        return ("velocity",) if momentum else ()

    def state(self) -> dict[str, Array]:
        """The vectors (n,) that have to outlive a stop of the run, by name; `steps` has to, too."""
        return {} if self.velocity is None else {"velocity": self.velocity}

    def update(self, param: Array, grad: Array, scale: float) -> None:
        """One step on `param` (n,) in place, with the gradient scale * `grad` (n,). None for scale 0."""
        if scale == 0:
            return
        self.steps += 1
        for p, g, t, block in walk(param):
            xp.multiply(grad[block], scale, out=g, dtype=g.dtype)
            if self.weight_decay:
                xp.multiply(p, self.weight_decay, out=t)
                g += t
            if self.velocity is not None:
                v = self.velocity[block]
                v *= self.momentum
                v += g
                g = v
            xp.multiply(g, self.lr, out=t)
            p -= t


class Adam:
    """m and v are running means of g and g^2;  p = p - lr m' / (sqrt(v') + eps), bias corrected.

    arXiv 1412.6980, algorithm 1. n: elements of the vector. State: m and v.
    """

    decoupled = False  # weight decay adds weight_decay p to g

    def __init__(
        self,
        n: int,
        dtype: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        self.lr, self.betas, self.eps, self.weight_decay = lr, betas, eps, weight_decay
        self.m = zeros(n, dtype, "optimizer")
        self.v = zeros(n, dtype, "optimizer")
        self.steps = 0

    @staticmethod
    def vectors(**settings: Any) -> tuple[str, ...]:
        """The names of the vectors (n,) of state."""
        return ("m", "v")

    def state(self) -> dict[str, Array]:
        """The vectors (n,) that have to outlive a stop of the run, by name; `steps` has to, too."""
        return {"m": self.m, "v": self.v}

    def corrected(self) -> tuple[float, float]:
        """lr and eps for this step, which hold both bias corrections: m and v began at 0."""
        beta1, beta2 = self.betas
        root = math.sqrt(1 - beta2**self.steps)
        return self.lr * root / (1 - beta1**self.steps), self.eps * root

    def update(self, param: Array, grad: Array, scale: float) -> None:
        """One step on `param` (n,) in place, with the gradient scale * `grad` (n,). None for scale 0."""
        if scale == 0:
            return
        self.steps += 1
        beta1, beta2 = self.betas
        rate, eps = self.corrected()
        for p, g, t, block in walk(param):
            m, v = self.m[block], self.v[block]
            xp.multiply(grad[block], scale, out=g, dtype=g.dtype)
            if self.decoupled:
                p *= 1 - self.lr * self.weight_decay
            elif self.weight_decay:
                xp.multiply(p, self.weight_decay, out=t)
                g += t
            xp.subtract(g, m, out=t)
            t *= 1 - beta1
            m += t  # m = beta1 m + (1 - beta1) g
            g *= g
            g *= 1 - beta2
            v *= beta2
            v += g  # v = beta2 v + (1 - beta2) g^2
            xp.sqrt(v, out=g)
            g += eps
            xp.divide(m, g, out=t)
            t *= rate
            p -= t


class AdamW(Adam):
    """Adam with p = p - lr weight_decay p apart from the gradient (arXiv 1711.05101)."""

    decoupled = True

    def __init__(
        self,
        n: int,
        dtype: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(n, dtype, lr, betas, eps, weight_decay)


KINDS: dict[str, type] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}  # by the name of --optimizer


def settings(kind: type) -> dict[str, Any]:
    """What can be set of an optimizer, and its defaults: of lr, weight_decay, momentum those that it has."""
    found = inspect.signature(kind).parameters
    return {name: found[name].default for name in ("lr", "weight_decay", "momentum") if name in found}


def whole_state(optimizer: Any) -> dict[str, Array]:
    """An optimizer's state as vectors (n,) by name, as checkpoints have it.

    It is `state()`, unless the optimizer keeps less for some elements (extras/muon.py): then copies, which
    `take_state` takes back.
    """
    return getattr(optimizer, "whole_state", optimizer.state)()


def take_state(optimizer: Any, vectors: dict[str, Array]) -> None:
    """Put what `whole_state` has given, and somebody has filled, where it belongs."""
    if take := getattr(optimizer, "take_state", None):
        take(vectors)
