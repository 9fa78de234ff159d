"""Lesson and exercise 24: the loop of one process, which calls hooks in passing."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from zero_ref.autograd import Tensor, cross_entropy
from zero_ref.layout import FlatLayout
from zero_ref.model import Unit, build
from zero_ref.optim import SGD, Adam

if TYPE_CHECKING:
    from zero_ref.comm import Comm

MOMENTS = ("before forward", "after forward", "before backward", "gradient ready")
Hooks = dict[str, list[Callable[[Unit], None]]]  # moment -> what is called with the unit
Tell = Callable[[str, Unit], None]  # is told each moment of each unit


def lend(u: Unit, what: str, vector: np.ndarray) -> None:
    """Let the unit's tensors be views of a flat vector (padded,), as their `what`: "data" or "grad"."""
    for name, view in u.layout.views(vector).items():
        setattr(u.tensors[name], what, view)


def caller(hooks: Hooks) -> Tell:
    """What calls, at a moment of a unit, the functions that hang on that moment."""

    def tell(moment: str, u: Unit) -> None:
        for hook in hooks.get(moment, []):
            hook(u)

    return tell


def marker(x: Tensor, passed: Callable[[], None]) -> Tensor:
    """x once more; passed() is called when the backward pass comes by."""

    def backward(g: np.ndarray) -> None:
        passed()
        x.add_grad(np.multiply, g, 1)

    return Tensor(x.data, (x,), backward, x.wants_grad)


def layer(u: Unit, x: Tensor, tell: Tell) -> Tensor:
    """The unit's output for x, with a marker before and after."""
    tell("before forward", u)
    y = u.compute(marker(x, lambda: tell("gradient ready", u)), u.tensors)
    tell("after forward", u)
    return marker(y, lambda: tell("before backward", u))


def there_and_back(
    units: Sequence[Unit], x: np.ndarray, y: np.ndarray, samples: int, tell: Tell, wants_grad: bool = True
) -> float:
    """Forward and backward of one micro-batch, x (own, features) and y (own,); `samples`: of all ranks.

    wants_grad: of the data. Returns what these samples add to the loss.
    """
    h = Tensor(x, wants_grad=wants_grad)
    for u in units:
        h = layer(u, h, tell)
    loss = cross_entropy(h, y, samples)
    loss.backward(1.0)
    return float(loss.data)


def new_units(stage: ModuleType, comm: "Comm", optimizer: str, size: int) -> list[Unit]:
    """Units of 63, 50 and 18 parameters on `size` ranks, none of which 4 divides, as `stage` sets them up."""
    make = {
        "adam": lambda n: Adam(n, "float64", lr=0.01),
        "sgd": lambda n: SGD(n, "float64", lr=0.1, momentum=0.9),
    }
    units = build([6, 9, 5, 3], lambda name, shapes: FlatLayout(name, shapes, size), "float64", seed=1)
    stage.setup(units, comm, make[optimizer])
    return units
