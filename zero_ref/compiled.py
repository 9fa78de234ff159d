"""What optim.py has, compiled by numba for long vectors: one pass over them in place of a dozen over blocks.

The operations are those of optim.py in the same order, and none are contracted. So the bits are the same,
and it makes no difference whose shard was long enough. Without numba (requirements-fast.txt), and for
gradients of another type than the parameters, updates are optim.py's.
"""

import functools
from collections.abc import Callable

import numpy as np

from zero_ref import optim
from zero_ref.array import Array

LONG = 1 << 20  # elements; to compile takes about 0.3 s, once a process


@functools.cache
def loop(make: Callable[..., Callable], *kind: bool) -> Callable | None:
    """make(*kind), compiled; None without numba."""
    try:
        import numba
    except ImportError:
        return None
    return numba.njit(error_model="numpy")(make(*kind))


def loop_for(param: Array, grad: Array, make: Callable, *kind: bool) -> Callable | None:
    """The compiled loop, if it is of use for these vectors (n,)."""
    return loop(make, *kind) if takes(param.size, param.dtype != grad.dtype) else None


def takes(n: int, narrow: bool) -> bool:
    """Whether updates of n elements are compiled; narrow: the gradient has another type, of 16 bits."""
    return n >= LONG and not narrow


def sgd(decays: bool, moves: bool) -> Callable:
    """The loop of optim.SGD, with or without weight decay and momentum."""

    def update(p, velocity, grad, scale, decay, momentum, lr):  # type: ignore[no-untyped-def]
        for i in range(p.size):
            g = grad[i] * scale
            if decays:
                g = g + p[i] * decay
            if moves:
                g = velocity[i] * momentum + g
                velocity[i] = g
            p[i] = p[i] - g * lr

    return update


def adam(decays: bool, decoupled: bool) -> Callable:
    """The loop of optim.Adam, with weight decay added to the gradient, or apart from it, or neither."""

    def update(p, m, v, grad, scale, decay, rest1, beta2, rest2, eps, rate):  # type: ignore[no-untyped-def]
        for i in range(p.size):
            g = grad[i] * scale
            if decoupled:
                p[i] = p[i] * decay
            elif decays:
                g = g + p[i] * decay
            m[i] = m[i] + (g - m[i]) * rest1
            v[i] = v[i] * beta2 + (g * g) * rest2
            p[i] = p[i] - m[i] / (np.sqrt(v[i]) + eps) * rate

    return update


class SGD(optim.SGD):
    """optim.SGD, compiled for long vectors."""

    def update(self, param: Array, grad: Array, scale: float) -> None:
        """One step on `param` (n,) in place, with the gradient scale * `grad` (n,). None for scale 0."""
        run = loop_for(param, grad, sgd, self.weight_decay != 0, self.velocity is not None)
        if scale == 0 or run is None:
            return super().update(param, grad, scale)
        self.steps += 1
        numbers = map(param.dtype.type, (scale, self.weight_decay, self.momentum, self.lr))
        run(param, param if self.velocity is None else self.velocity, grad, *numbers)


class Adam(optim.Adam):
    """optim.Adam, compiled for long vectors."""

    def update(self, param: Array, grad: Array, scale: float) -> None:
        """One step on `param` (n,) in place, with the gradient scale * `grad` (n,). None for scale 0."""
        run = loop_for(param, grad, adam, self.weight_decay != 0, self.decoupled)
        if scale == 0 or run is None:
            return super().update(param, grad, scale)
        self.steps += 1
        beta1, beta2 = self.betas
        rate, eps = self.corrected()
        decay = 1 - self.lr * self.weight_decay if self.decoupled else self.weight_decay
        numbers = map(param.dtype.type, (scale, decay, 1 - beta1, beta2, 1 - beta2, eps, rate))
        run(param, self.m, self.v, grad, *numbers)


class AdamW(Adam, optim.AdamW):
    """optim.AdamW, compiled for long vectors."""

    decoupled = True
