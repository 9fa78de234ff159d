"""What optim.py has, for vectors on a GPU: each update is one kernel that touches every number once.

Taken operation by operation, an update on a GPU would read and write its vectors a dozen times. The
kernels do what optim.py does in the same order and without fused multiply-adds, so the same gradient
gives the same bits as on the CPU, unless a number is subnormal: CuPy has the compiler flush those to 0.

Kernels are made when they are first called, where a GPU has been selected.
"""

import functools
from collections.abc import Callable
from typing import Any

from zero_ref import optim
from zero_ref.array import Array, cupy_here
from zero_ref.extras import rules
from zero_ref.extras.rules import Rule


@functools.cache
def kernel(cupy: Any, lines: tuple[str, ...], numbers: tuple[str, ...], vectors: tuple[str, ...]) -> Any:
    """A kernel that takes grad, scale, numbers and vectors (by name), and changes the vectors in place.

    T is the type of the parameters, G that of the gradient.
    """
    inputs = ", ".join(["G grad", "T scale", *(f"T {name}" for name in numbers)])
    outputs = ", ".join(f"T {name}" for name in vectors)
    body = " ".join(f"{line};" for line in ("T g = T(grad) * scale", *lines))
    return cupy.ElementwiseKernel(inputs, outputs, body, "update", options=("--fmad=false",), no_return=True)


def update(rule_of: Callable[[Any], Rule], optimizer: Any, param: Array, grad: Array, scale: float) -> None:
    """One step of `optimizer`, as its own update() would make it."""
    if scale == 0:
        return
    optimizer.steps += 1
    rule = rule_of(optimizer)
    vectors = {**rule.vectors, "p": param}
    step = kernel(cupy_here(), rule.lines, tuple(rule.numbers), tuple(vectors))
    step(grad, scale, *rule.numbers.values(), *vectors.values())


class SGD(optim.SGD):
    """optim.SGD in one kernel."""

    def update(self, param: Array, grad: Array, scale: float) -> None:
        """One step on `param` (n,) in place, with the gradient scale * `grad` (n,). None for scale 0."""
        update(rules.sgd_rule, self, param, grad, scale)


class Adam(optim.Adam):
    """optim.Adam in one kernel: reads 16 bytes a parameter in float32, writes 12."""

    def update(self, param: Array, grad: Array, scale: float) -> None:
        """One step on `param` (n,) in place, with the gradient scale * `grad` (n,). None for scale 0."""
        update(rules.adam_rule, self, param, grad, scale)


class AdamW(Adam, optim.AdamW):
    """optim.AdamW in one kernel."""

    decoupled = True


FAST = {optim.SGD: SGD, optim.Adam: Adam, optim.AdamW: AdamW}  # the class of optim.py -> its faster version


@functools.cache
def reduction(cupy: Any) -> Any:
    """The kernel of sum_of_squares. CuPy's fast reduction knows its operands by these names only."""
    return cupy.ReductionKernel(
        "T in0", "float64 out0", "double(in0) * double(in0)", "a + b", "out0 = a", "0", "sum_of_squares"
    )


def sum_of_squares(vector: Array) -> Array:
    """The sum of the squares of a vector (n,), in float64, as an array () on the GPU."""
    return reduction(cupy_here())(vector)
