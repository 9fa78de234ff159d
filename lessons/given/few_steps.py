"""A small model, random samples and a few steps of any stage: what lessons 16 to 26 measure."""

import functools
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from zero_ref.checkpoint.weights import named_tensors
from zero_ref.layout import FlatLayout, bounds
from zero_ref.ledger import ledger
from zero_ref.model import Unit, build, loss_grad
from zero_ref.optim import Adam

if TYPE_CHECKING:
    from zero_ref.comm import Comm


def mlp(widths: Sequence[int], ranks: int, dtype: str = "float32", seed: int = 3) -> list[Unit]:
    """The units of an MLP, each to be cut into a shard for every one of so many ranks."""
    return build(widths, functools.partial(FlatLayout, size=ranks), dtype, seed)


def own(array: np.ndarray, comm: "Comm") -> np.ndarray:
    """This rank's samples of all, (samples, ...): neighbours, and one more or fewer than the others have."""
    cuts = bounds(len(array), [1] * comm.size)
    return array[cuts[comm.rank] : cuts[comm.rank + 1]]


def samples(
    comm: "Comm", number: int, features: int, classes: int, dtype: str = "float32"
) -> tuple[np.ndarray, np.ndarray]:
    """This rank's part of so many random samples: x (own, features), and the class of each, y (own,)."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(number, features)).astype(dtype), random.integers(0, classes, number)
    return own(x, comm), own(y, comm)


def adam(dtype: str, lr: float = 0.01) -> Callable[[int], Adam]:
    """What a stage's `setup` takes: makes an Adam for n elements."""
    return lambda n: Adam(n, dtype, lr=lr)


def steps(
    number: int, stage: ModuleType, units: list[Unit], comm: "Comm", x: np.ndarray, y: np.ndarray
) -> list[float]:
    """Steps on this rank's samples, each with all of them and without clipping: its part of each one's loss.

    Afterwards the bytes sent, the calls and the peaks in the ledger are those of the last step.
    """
    of_all, parts = int(comm.sum(float(len(x)))), []
    for _ in range(number):
        ledger.forget_sent()
        ledger.forget_peaks()
        part, _ = stage.step(units, comm, [(x, y)], loss_grad(True, of_all), lambda *_: (0.0, 1.0))
        parts.append(part)
    return parts


def weights(stage: ModuleType, units: list[Unit], comm: "Comm") -> bytes:
    """All parameters of the model, on every rank, in model order and without padding."""
    return b"".join(view.tobytes() for _, view in named_tensors(stage, units, comm))
