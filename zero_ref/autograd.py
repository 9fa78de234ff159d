"""Reverse-mode automatic differentiation on NumPy or CuPy arrays, for the layers of this project.

An op computes its result and returns a Tensor that knows its parents and how to hand the gradient
back to them. A closure holds *nodes*, never their arrays: stage 3 drops a parameter after the
forward pass and gives it back, gathered anew, before the backward pass. A closure that held `w.data` would
keep every gathered parameter alive. For the same reason a parameter enters only whole ops
such as `linear`; a `reshape` node on it would be a view, and a view keeps the whole buffer.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

from zero_ref.array import Array, track, xp

_creation = itertools.count()


class Tensor:
    """An array in a computation, and its gradient after `backward()`.

    data: the value; None while a parameter is not here.
    grad: dL/d data, of the same shape; None before the first contribution.
    buffer: where the gradient is to be written, if somebody has a place for it.
    wants_grad: False for inputs; nothing is computed for them.
    """

    def __init__(
        self,
        data: Array,
        parents: tuple["Tensor", ...] = (),
        backward: Callable[[Array], None] | None = None,
        wants_grad: bool = True,
    ) -> None:
        self.data = data
        self.grad: Array = None
        self.buffer: Array = None
        self.wants_grad = wants_grad
        self.parents = parents
        self.hand_back = backward
        self.number = next(_creation)  # parents are always older than their children

    def add_grad(self, operation: Callable[..., Array], *operands: Array, **options: Any) -> None:
        """grad += operation(*operands); the first contribution is computed straight into `buffer`."""
        if not self.wants_grad:
            return
        if self.grad is not None:
            self.grad += track("activation", operation(*operands, **options))
        elif self.buffer is not None:
            self.grad = operation(*operands, out=self.buffer, **options)
        else:
            self.grad = track("activation", operation(*operands, **options))

    def backward(self, g: Array) -> None:
        """Add dL/d(leaf) to every leaf below this tensor, given g = dL/d(this)."""
        self.grad = g
        reached, to_visit = {self.number: self}, [self]
        while to_visit:
            for parent in to_visit.pop().parents:
                if parent.number not in reached:
                    reached[parent.number] = parent
                    to_visit.append(parent)
        for number in sorted(reached, reverse=True):  # children first: newest to oldest
            node = reached.pop(number)
            if node.hand_back is not None and node.grad is not None:
                node.hand_back(node.grad)
                node.grad = None  # only leaves keep theirs


def linear(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """y = x w^T + b for a batch: x (samples, inputs), w (outputs, inputs), b (outputs,)."""
    y = track("activation", xp.matmul(x.data, w.data.T))  # (samples, outputs)
    y += b.data

    def backward(g: Array) -> None:  # g = dL/dy, (samples, outputs)
        # For one sample and one weight, y = w x + b, so by the chain rule
        #     dL/dw = dL/dy * dy/dw = dL/dy * x,    dL/db = dL/dy * 1,    dL/dx = dL/dy * w.
        # A batch adds up its samples' contributions; for dL/dw the matrix product is that sum.
        w.add_grad(xp.matmul, g.T, x.data)  # (outputs, inputs)
        b.add_grad(xp.sum, g, axis=0)  # (outputs,)
        x.add_grad(xp.matmul, g, w.data)  # (samples, inputs)

    return Tensor(y, (x, w, b), backward)


def add(a: Tensor, b: Tensor) -> Tensor:
    """a + b for two tensors of one shape (ValueError otherwise)."""
    if a.data.shape != b.data.shape:
        raise ValueError(f"add: shapes {a.data.shape} and {b.data.shape} differ")

    def backward(g: Array) -> None:
        a.add_grad(xp.multiply, g, 1)
        b.add_grad(xp.multiply, g, 1)

    return Tensor(track("activation", xp.add(a.data, b.data)), (a, b), backward)


def relu(x: Tensor) -> Tensor:
    """max(x, 0), element by element; the gradient at 0 is 0."""

    def backward(g: Array) -> None:
        positive = track("activation", xp.greater(x.data, 0))  # a byte an element
        x.add_grad(xp.multiply, g, positive)

    return Tensor(track("activation", xp.maximum(x.data, 0)), (x,), backward)


def gelu(x: Tensor) -> Tensor:
    """x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), element by element (arXiv 1606.08415, section 2)."""
    c = math.sqrt(2 / math.pi)

    def tanh() -> Array:
        return xp.tanh(c * (x.data + 0.044715 * x.data**3))

    def backward(g: Array) -> None:
        t = tanh()
        slope = 0.5 * (1 + t) + 0.5 * x.data * (1 - t * t) * c * (1 + 3 * 0.044715 * x.data**2)
        x.add_grad(xp.multiply, g, track("activation", slope))

    return Tensor(track("activation", 0.5 * x.data * (1 + tanh())), (x,), backward)


def cross_entropy(logits: Tensor, labels: Array, samples: int) -> Tensor:
    """Sum over the batch of -log softmax(logits)[label], divided by `samples`: a Python float.

    logits (batch, classes), labels (batch,) whole numbers. `samples` counts the whole optimizer
    step, all ranks and micro-batches, so that gradients are only ever summed, never averaged.
    """
    rows = track("activation", xp.arange(len(labels)))
    highest = track("activation", logits.data.max(axis=1, keepdims=True))  # (batch, 1)
    p = track("activation", xp.subtract(logits.data, highest))  # (batch, classes)
    true = track("activation", p[rows, labels])  # (batch,)
    xp.exp(p, out=p)
    total = track("activation", p.sum(axis=1, keepdims=True))  # (batch, 1)
    xp.divide(p, total, out=p)  # softmax
    xp.log(total, out=total)
    xp.subtract(total[:, 0], true, out=true)

    def backward(g: float) -> None:
        # d(-log softmax_y)/d logits = softmax - onehot(y)
        p[rows, labels] -= 1
        logits.add_grad(xp.multiply, p, g / samples)

    return Tensor(float(true.sum()) / samples, (logits,), backward)


def mean_squared_error(outputs: Tensor, targets: Array, samples: int) -> Tensor:
    """Sum over the batch of mean((output - target)^2), divided by `samples`: a Python float.

    outputs and targets (batch, numbers per sample); `samples` as in `cross_entropy`.
    """
    difference = track("activation", xp.subtract(outputs.data, targets))
    numbers = samples * targets.shape[1]

    def backward(g: float) -> None:
        outputs.add_grad(xp.multiply, difference, 2 * g / numbers)

    squared = track("activation", xp.square(difference))
    return Tensor(float(squared.sum()) / numbers, (outputs,), backward)
