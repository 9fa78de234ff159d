"""What optim.py has, for vectors on a GPU: each update is one kernel that touches every number once.

Taken operation by operation, an update on a GPU would read and write its vectors a dozen times. The
kernels do what optim.py does in the same order and without fused multiply-adds, so the same gradient
gives the same bits as on the CPU, unless a number is subnormal: CuPy has the compiler flush those to 0.

Only imported where a GPU has been selected (see optim.for_device).
"""

import functools

import cupy

from zero_ref import optim
from zero_ref.array import Array

# Lines of CUDA. T is the type of the parameters, G that of the gradient.
DECAY = "g = g + p * decay;"
DECOUPLED_DECAY = "p = p * decay;"
MOMENTUM = "velocity = velocity * momentum + g; g = velocity;"
ADAM = """
    m = m + (g - m) * rest1;
    v = v * beta2 + (g * g) * rest2;
    p = p - m / (sqrt(v) + eps) * rate;
"""


@functools.cache
def kernel(name: str, scalars: str, vectors: str, lines: str) -> cupy.ElementwiseKernel:
    """A kernel that takes grad, scale, `scalars` and `vectors` (names), and changes the vectors in place."""
    inputs = ", ".join(["G grad", "T scale", *(f"T {name}" for name in scalars.split())])
    outputs = ", ".join(f"T {name}" for name in vectors.split())
    body = f"T g = T(grad) * scale; {lines}"
    return cupy.ElementwiseKernel(inputs, outputs, body, name, options=("--fmad=false",), no_return=True)


class SGD(optim.SGD):
    """optim.SGD in one kernel."""

    def update(self, param: Array, grad: Array, scale: float) -> None:
        """One step on `param` (n,) in place, with the gradient scale * `grad` (n,). None for scale 0."""
        if scale == 0:
            return
        self.steps += 1
        lines, state = DECAY if self.weight_decay else "", []
        if self.velocity is not None:
            lines, state = lines + MOMENTUM, [self.velocity]
        vectors = "velocity p" if state else "p"
        step = kernel("sgd", "decay momentum lr", vectors, lines + "p = p - g * lr;")
        step(grad, scale, self.weight_decay, self.momentum, self.lr, *state, param)


class Adam(optim.Adam):
    """optim.Adam in one kernel: reads 16 bytes a parameter in float32, writes 12."""

    def update(self, param: Array, grad: Array, scale: float) -> None:
        """One step on `param` (n,) in place, with the gradient scale * `grad` (n,). None for scale 0."""
        if scale == 0:
            return
        self.steps += 1
        beta1, beta2 = self.betas
        rate, eps = self.corrected()
        decay, lines = self.weight_decay, DECAY if self.weight_decay else ""
        if self.decoupled:
            decay, lines = 1 - self.lr * self.weight_decay, DECOUPLED_DECAY
        step = kernel("adam", "decay rest1 beta2 rest2 eps rate", "m v p", lines + ADAM)
        step(grad, scale, decay, 1 - beta1, beta2, 1 - beta2, eps, rate, self.m, self.v, param)


class AdamW(Adam, optim.AdamW):
    """optim.AdamW in one kernel."""

    decoupled = True


# CuPy's fast reduction knows its operands by these names only.
sum_of_squares = cupy.ReductionKernel(
    "T in0", "float64 out0", "double(in0) * double(in0)", "a + b", "out0 = a", "0", "sum_of_squares"
)
