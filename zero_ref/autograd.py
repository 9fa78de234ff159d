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

from zero_ref.array import Array, empty, scalar, track, xp

_creation = itertools.count()


class Tensor:
    """An array in a computation, and its gradient after `backward()`.

    data: the value; None while a parameter is not here.
    grad: dL/d data, of the same shape; None before the first contribution.
    buffer: where the gradient is to be written, if somebody has a place for it.
    wants_grad: False for inputs; nothing is computed for them.
    parents, hand_back: what it was computed from, and the op's function that gives them gradients.
    number: counts creations; parents are always older than their children.
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
        self.number = next(_creation)

    def add_grad(self, operation: Callable[..., Array], *operands: Array) -> None:
        """grad += operation(*operands); the first contribution is computed straight into `buffer`."""
        if not self.wants_grad:
            return
        first = self.grad is None
        place = self.buffer if first else None
        if place is None:
            place = empty(self.data.shape, self.data.dtype, "activation")
        operation(*operands, out=place)
        if first:
            self.grad = place
        else:
            self.grad += place

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


def rows(a: Array) -> Array:
    """`a` (..., n) as rows: (product of the other lengths, n); a view."""
    return a.reshape(math.prod(a.shape[:-1]), a.shape[-1])  # -1 would not do: there may be no samples


def matmul(a: Array, b: Array, out: Array) -> Array:
    """The rows of out = a @ b. Numbers of 16 bits are multiplied and summed in float32, and rounded once."""
    if a.itemsize > 2:
        return xp.matmul(a, b, out=rows(out))
    wide_a, wide_b = track("buffer", a.astype("float32")), track("buffer", b.astype("float32"))
    return rounded(track("buffer", xp.matmul(wide_a, wide_b)), rows(out))


def sum_rows(a: Array, out: Array) -> Array:
    """out = the sum over the samples of `a` (samples, n): (n,); for 16 bits summed in float32, too."""
    if out.itemsize > 2:
        return xp.sum(a, axis=0, out=out)
    return rounded(track("buffer", xp.sum(a, axis=0, dtype="float32")), out)


def rounded(a: Array, out: Array) -> Array:
    """out = a, in the type of `out`."""
    out[...] = a
    return out


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """y = x w^T + b for each row: x (..., inputs), w (outputs, inputs), b (outputs,) or none."""
    y = empty((*x.data.shape[:-1], len(w.data)), x.data.dtype, "activation")  # (..., outputs)
    matmul(rows(x.data), w.data.T, out=y)
    if b:
        y += b.data

    def backward(g: Array) -> None:  # g = dL/dy, (..., outputs)
        # For one sample and one weight, y = w x + b, so by the chain rule
        #     dL/dw = dL/dy * dy/dw = dL/dy * x,    dL/db = dL/dy * 1,    dL/dx = dL/dy * w.
        # A batch adds up its samples' contributions; for dL/dw the matrix product is that sum.
        g = rows(g)
        w.add_grad(matmul, g.T, rows(x.data))  # (outputs, inputs)
        if b:
            b.add_grad(sum_rows, g)  # (outputs,)
        x.add_grad(matmul, g, w.data)  # (..., inputs)

    return Tensor(y, (x, w, b) if b else (x, w), backward)


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
    """x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), element by element (arXiv 1606.08415, section 2).

    The tanh is kept for the backward pass: it is most of the work.
    """
    c = math.sqrt(2 / math.pi)

    def bounded() -> Array:  # beyond +-10 tanh is +-1 in every type, and x^3 would overflow
        return xp.minimum(xp.maximum(x.data, -10), 10)

    near = track("activation", bounded())
    t = track("activation", near * near * near)  # NumPy's power would take thirty times as long
    t *= 0.044715
    t += near
    t *= c
    xp.tanh(t, out=t)
    y = track("activation", x.data.copy())
    y *= 0.5  # in place: bfloat16 times a Python number is float32
    y *= 1 + t

    def backward(g: Array) -> None:
        near = track("activation", bounded())
        slope = track("activation", 1 - t * t)
        slope *= near
        near *= near
        near *= 3 * 0.044715
        near += 1
        slope *= near
        slope *= c
        slope += t
        slope += 1
        slope *= 0.5
        x.add_grad(xp.multiply, g, slope)

    return Tensor(y, (x,), backward)


def at_least_float32(a: Array) -> Array:
    """`a` itself, or a float32 copy of 16-bit numbers."""
    return a if a.itemsize > 2 else track("activation", a.astype("float32"))


def narrowed(a: Array, dtype: Any) -> Array:
    """`a` itself, or a copy of it rounded to 16 bits."""
    return a if a.dtype == dtype else track("activation", a.astype(dtype))


def once(hand_back: Callable[[float], None]) -> Callable[[float], None]:
    """The backward function of a loss, which writes over what it kept: RuntimeError on a second call."""
    calls = itertools.count()

    def hand_back_once(g: float) -> None:
        if next(calls):
            raise RuntimeError("backward() of this loss was called before; compute the loss anew")
        hand_back(g)

    return hand_back_once


def cross_entropy(logits: Tensor, labels: Array, samples: int) -> Tensor:
    """Sum over the batch of -log softmax(logits)[label], divided by `samples`.

    logits (batch, classes), labels (batch,) whole numbers; `data` of the result is a number (see
    array.scalar), and 1.0 is where its backward() begins. `samples` counts the whole optimizer
    step, all ranks and micro-batches, so that gradients are only ever summed, never averaged.
    A sample may be a window of tokens, logits (batch, tokens, classes) and labels (batch, tokens): its
    loss is the mean over them.
    """
    numbers = samples * math.prod(labels.shape[1:])
    labels = labels.reshape(-1)
    each = track("activation", xp.arange(len(labels)))
    z = at_least_float32(rows(logits.data))
    highest = track("activation", z.max(axis=1, keepdims=True))  # (batch, 1)
    p = track("activation", xp.subtract(z, highest))  # (batch, classes)
    true = track("activation", p[each, labels])  # (batch,)
    xp.exp(p, out=p)
    total = track("activation", p.sum(axis=1, keepdims=True))  # (batch, 1)
    xp.divide(p, total, out=p)  # softmax
    xp.log(total, out=total)
    xp.subtract(total[:, 0], true, out=true)

    def backward(g: float) -> None:
        # d(-log softmax_y)/d logits = softmax - onehot(y)
        p[each, labels] -= 1
        xp.multiply(p, g / numbers, out=p)
        logits.add_grad(rounded, p.reshape(logits.data.shape))

    return Tensor(scalar(true.sum()) / numbers, (logits,), once(backward))


def mean_squared_error(outputs: Tensor, targets: Array, samples: int) -> Tensor:
    """Sum over the batch of mean((output - target)^2), divided by `samples`.

    outputs and targets (batch, numbers per sample); `samples` as in `cross_entropy`.
    """
    difference = track("activation", xp.subtract(at_least_float32(outputs.data), targets))
    numbers = samples * targets.shape[1]

    def backward(g: float) -> None:
        xp.multiply(difference, 2 * g / numbers, out=difference)
        outputs.add_grad(rounded, difference)

    squared = track("activation", xp.square(difference))
    return Tensor(scalar(squared.sum()) / numbers, (outputs,), once(backward))
