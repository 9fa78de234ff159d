"""For lesson 16: the real stages on batches that nothing divides; what errors are divided by is chosen."""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI

from lessons.given.few_steps import adam, mlp
from zero_ref.checkpoint.weights import named_tensors
from zero_ref.clip import clip
from zero_ref.comm import Comm
from zero_ref.data import Batches
from zero_ref.datasets import synthetic
from zero_ref.model import loss_grad
from zero_ref.optim import SGD
from zero_ref.stages import zero0

DATA = synthetic(53, 12, 3, seed=0, dtype="float64")  # 53 samples, 12 features, 3 classes
OPTIMIZERS: dict[str, Callable[[int], Any]] = {
    "SGD": lambda n: SGD(n, "float64", lr=0.5),
    "Adam": adam("float64"),
}
Divisor = Callable[[int, int], float]  # (samples of the whole step, own ones) -> what an error is divided by


class Outcome(NamedTuple):
    """The loss and the norm of every step, (12,) each, and the weights in the end, (parameters,)."""

    losses: np.ndarray
    norms: np.ndarray
    weights: np.ndarray


def batches(comm: Comm, k: int) -> Batches:
    """Steps of 20, 20 and 13 samples, each in k micro-batches, dealt to the ranks of comm."""
    return Batches(DATA, np.arange(53), 20, k, rank=comm.rank, shares=[1] * comm.size)


def run(
    comm: Comm,
    stage: ModuleType,
    k: int,
    divisor: Divisor = lambda whole, own: whole,
    kind: str = "SGD",
    max_norm: float | None = None,
) -> Outcome:
    """Train for 12 steps by a stage."""
    units, dealt, history = mlp([12, 9, 3], comm.size, "float64", seed=0), batches(comm, k), []
    stage.setup(units, comm, OPTIMIZERS[kind])
    for when in np.ndindex(4, 3):  # epoch and step
        whole = len(dealt.global_batch(*when))

        def loss(outputs: np.ndarray, y: np.ndarray, whole: int = whole) -> tuple[np.ndarray, float]:
            return loss_grad(True, divisor(whole, max(1, len(y))))(outputs, y)

        arrays = dealt.arrays(dealt.parts(*when))
        part, norm = stage.step(units, comm, arrays, loss, partial(clip, max_norm=max_norm))
        history.append((comm.sum(part), norm))
    tensors = [tensor.ravel() for _, tensor in named_tensors(stage, units, comm)]
    return Outcome(*np.array(history).T, np.concatenate(tensors))


def by_one_process(kind: str = "SGD") -> Outcome:
    """What should come out: every rank computes all of it by itself, each step in one piece."""
    return run(Comm(MPI.COMM_SELF), zero0, 1, kind=kind)
