"""Models as lists of units. A unit is one layer that is given its parameters, uses them and drops them.

Where the parameters come from, a unit does not know: at stages 0 to 2 they lie on this rank, at
stage 3 they have just been gathered. What a stage keeps on this rank it hangs on the unit:
`unit.param`, `unit.grad` and `unit.optimizer`.
"""

import argparse
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from zero_ref.array import Array, copy, empty, zeros
from zero_ref.autograd import Tensor, cross_entropy, linear, mean_squared_error, relu
from zero_ref.data import Task
from zero_ref.layout import FlatLayout

DRAWN = 1 << 16  # starting values that are drawn at a time, in float64

Tensors = dict[str, Tensor]
LayoutOf = Callable[..., FlatLayout]  # a unit's name and shapes, and a prefix of its tensors -> its layout
Load = Callable[[str], Array]  # a tensor's name -> its starting values
LossGrad = Callable[[Array, Array], tuple[Array, Any]]


class Unit:
    """One layer, its flat layout, and one pass at a time through it.

    compute(x, tensors) -> Tensor: the layer, in autograd's ops
    starting_values() -> NumPy arrays that one after another fill its tensors; the same on every rank
    first: nobody wants the gradient of this unit's input
    """

    param: Array  # set by a stage: this rank's parameters, all or its shard
    grad: Array  # set by a stage: this rank's gradient, all or its shard
    optimizer: Any  # set by a stage

    def __init__(
        self,
        layout: FlatLayout,
        compute: Callable[[Tensor, Tensors], Tensor],
        starting_values: Callable[[], Iterable[np.ndarray]],
        dtype: Any,
        first: bool,
    ) -> None:
        self.layout = layout
        self.compute = compute
        self.starting_values = starting_values
        self.dtype = np.dtype(dtype)
        self.first = first
        self.tensors: Tensors = {name: Tensor(None) for name in layout.shapes}
        self.forget()

    def initial(self, kind: str) -> Array:
        """The starting parameters, (padded,), counted as `kind`. One unit at a time, never a model."""
        param = zeros(self.layout.padded, self.dtype, kind)
        start = 0
        for piece in self.starting_values():
            copy(param[start : start + piece.size], piece.reshape(-1).astype(self.dtype, copy=False))
            start += piece.size
        return param

    def forward(self, param: Array, x: Array) -> Array:
        """The layer's output for x (samples, inputs), with parameters (padded,) that are not kept."""
        self._lend(param)
        self.input = Tensor(x, wants_grad=not self.first)
        self.output = self.compute(self.input, self.tensors)
        self._take_back()
        return self.output.data  # (samples, outputs)

    def backward(self, param: Array, g: Array) -> tuple[Array, Array]:
        """From g = dL/d output to (dL/d input, dL/d parameters), the latter new and (padded,).

        `param` must hold what the forward pass was given. Activations are dropped here.
        """
        self._lend(param)
        grad = empty(self.layout.padded, self.dtype, "full_gradient")  # written whole by the layer
        grad[self.layout.elements :] = 0  # padding is summed and squared like the rest
        for name, view in self.layout.views(grad).items():
            self.tensors[name].buffer = view
        self.output.backward(g)
        g = self.input.grad
        self._take_back()
        self.forget()
        return g, grad

    def forget(self) -> None:
        """Drop the activations of the last forward pass."""
        self.input = self.output = Tensor(None)

    def _lend(self, param: Array) -> None:
        for name, view in self.layout.views(param).items():
            self.tensors[name].data = view

    def _take_back(self) -> None:
        for tensor in self.tensors.values():
            tensor.data = tensor.grad = tensor.buffer = None


def dense(x: Tensor, t: Tensors) -> Tensor:
    """A linear layer: the last of an MLP, and the whole of the linear model."""
    return linear(x, t["weight"], t["bias"])


def dense_relu(x: Tensor, t: Tensors) -> Tensor:
    """A hidden layer of an MLP."""
    return relu(linear(x, t["weight"], t["bias"]))


def build(
    widths: Sequence[int],
    layout: LayoutOf,
    dtype: Any,
    seed: int,
    load: Load | None = None,
) -> list[Unit]:
    """The units of an MLP with layers widths[0] -> widths[1] -> ...; two widths are a linear model.

    layout(name, shapes) makes each unit's layout. Tensors start uniform in +-1/sqrt(inputs) by seed
    and layer alone, or as load(name) gives them. Tensors are named "layers.0.weight" ...
    """
    units = []
    for i, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        shapes: dict[str, tuple[int, ...]] = {"weight": (outputs, inputs), "bias": (outputs,)}

        def starting_values(i: int = i, shapes: dict = shapes) -> Iterable[np.ndarray]:
            random, limit = np.random.default_rng([seed, i]), 1 / math.sqrt(shapes["weight"][1])
            for name, shape in shapes.items():
                if load is not None:
                    yield load(f"layers.{i}.{name}")
                    continue
                for left in range(math.prod(shape), 0, -DRAWN):
                    yield random.uniform(-limit, limit, min(left, DRAWN))

        compute = dense if i == len(widths) - 2 else dense_relu
        units.append(Unit(layout(f"layers.{i}", shapes), compute, starting_values, dtype, i == 0))
    return units


def build_dense(o: argparse.Namespace, task: Task, layout: LayoutOf, load: Load | None = None) -> list[Unit]:
    """The units of --model linear and mlp for a task: layers of the widths that --hidden names."""
    return build([task.features, *o.hidden, task.outputs], layout, o.dtype, o.seed, load)


MODELS: dict[str, Callable[..., list[Unit]]] = {"linear": build_dense, "mlp": build_dense}  # by --model


def originals(units: Sequence[Unit]) -> list[FlatLayout]:
    """The units of the model as it is written, whatever has been merged or cut since: their layouts."""
    return list({part.of.name: part.of for u in units for part in u.layout.parts}.values())


def describe(units: Sequence[Unit]) -> str:
    """The widths of a chain of linear layers: 64-128-10, or where many are equal 64-128x96-10; else names."""
    layouts = originals(units)
    weights = [each.shapes.get("weight", ()) for each in layouts]
    if any(len(shape) != 2 for shape in weights):
        alike = itertools.groupby(layouts, lambda each: list(each.shapes.items()))
        names = [[each.name for each in group] for _, group in alike]
        return ", ".join(f"{run[0]} ... {run[-1]}" if len(run) > 1 else run[0] for run in names)
    widths = itertools.groupby([weights[0][1], *(outputs for outputs, _ in weights)])
    runs = [
        [n] * times if times <= 3 else [f"{n}x{times}"] for n, times in ((n, len([*s])) for n, s in widths)
    ]
    return "-".join(str(each) for run in runs for each in run)


def loss_grad(classes: bool, samples: int, scale: float = 1.0) -> LossGrad:
    """A function (outputs, targets) -> (scale dL/d outputs, loss), where L is the mean over `samples`.

    Cross-entropy for classes, squared error for numbers. `samples` counts the whole step. The loss is
    a number, on a GPU one that lies there (see array.scalar).
    """
    loss_of = cross_entropy if classes else mean_squared_error

    def loss_grad(outputs: Array, targets: Array) -> tuple[Array, float]:
        out = Tensor(outputs)
        loss = loss_of(out, targets, samples)
        loss.backward(scale)
        return out.grad, loss.data

    return loss_grad
