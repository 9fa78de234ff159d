"""What optim.py and clip.py have, compiled by numba for long vectors: one pass in place of many.

The operations are those of NumPy there in the same order, and none are contracted. So the bits are the same,
and it makes no difference whose shard was long enough. Without numba (requirements-fast.txt), and for
gradients of another type than the parameters, updates are optim.py's.
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from zero_ref import optim
from zero_ref.array import Array, on_meta
from zero_ref.extras import rules
from zero_ref.extras.rules import Rule

WORTH_COMPILING = 1 << 20  # elements from which on; to compile takes about 0.3 s, once a process


def compiles(n: int, narrow: bool) -> bool:
    """Whether updates of n elements are compiled; narrow: the gradient has another type, of 16 bits."""
    return n >= WORTH_COMPILING and not narrow


def numba_here() -> bool:
    """Whether there is a numba."""
    return importlib.util.find_spec("numba") is not None


@functools.cache
def loop(lines: tuple[str, ...], numbers: tuple[str, ...], vectors: tuple[str, ...]) -> Callable[..., None]:
    """A compiled function of grad, scale, numbers and vectors (by name) that changes the vectors in place."""
    import numba

    arguments = ["grad", "scale", *numbers, *(f"all_{name}" for name in vectors)]
    loads = [f"{name} = all_{name}[i]" for name in vectors]
    stores = [f"all_{name}[i] = {name}" for name in vectors]
    body = "".join(f"        {line}\n" for line in (*loads, "g = grad[i] * scale", *lines, *stores))
    text = f"def update({', '.join(arguments)}):\n    for i in range(grad.size):\n{body}"
    made: dict[str, Any] = {"sqrt": np.sqrt}
    exec(text, made)
    return numba.njit(error_model="numpy")(made["update"])


def update(rule_of: Callable[[Any], Rule], optimizer: Any, param: Array, grad: Array, scale: float) -> bool:
    """One step of `optimizer`, as its own update() would make it; False where nothing is compiled."""
    if scale == 0 or not compiles(param.size, param.dtype != grad.dtype):
        return False
    if on_meta():
        return True  # without numbers there is nothing to do, and no scratch memory is taken
    if not numba_here():
        return False
    optimizer.steps += 1
    rule = rule_of(optimizer)
    vectors = {**rule.vectors, "p": param}
    run = loop(rule.lines, tuple(rule.numbers), tuple(vectors))
    run(grad, *map(param.dtype.type, (scale, *rule.numbers.values())), *vectors.values())
    return True


@functools.cache
def squares_loop() -> Callable[[Array, Array], None]:
    """A compiled function of vector and lanes, see `add_squares`."""
    import numba

    def run(vector: Array, lanes: Array) -> None:
        for start in range(0, vector.size, lanes.size):
            row = vector[start : start + lanes.size]
            for i in range(row.size):  # several at a time: no lane waits for another
                wide = np.float64(row[i])
                lanes[i] += wide * wide

    return numba.njit(error_model="numpy")(run)


def add_squares(vector: Array, lanes: Array) -> bool:
    """Add the square of vector[i] to lanes[i mod L], L in float64; False where nothing is compiled."""
    if on_meta() or not compiles(vector.size, vector.itemsize == 2) or not numba_here():
        return False
    squares_loop()(vector, lanes)
    return True


class SGD(optim.SGD):
    """optim.SGD, compiled for long vectors."""

    def update(self, param: Array, grad: Array, scale: float) -> None:
        """One step on `param` (n,) in place, with the gradient scale * `grad` (n,). None for scale 0."""
        if not update(rules.sgd_rule, self, param, grad, scale):
            super().update(param, grad, scale)


class Adam(optim.Adam):
    """optim.Adam, compiled for long vectors."""

    def update(self, param: Array, grad: Array, scale: float) -> None:
        """One step on `param` (n,) in place, with the gradient scale * `grad` (n,). None for scale 0."""
        if not update(rules.adam_rule, self, param, grad, scale):
            super().update(param, grad, scale)


class AdamW(Adam, optim.AdamW):
    """optim.AdamW, compiled for long vectors."""

    decoupled = True


FAST = {optim.SGD: SGD, optim.Adam: Adam, optim.AdamW: AdamW}  # the class of optim.py -> its faster version
