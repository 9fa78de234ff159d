"""Measuring a machine for timing.py, by the code that the stages call, under mpirun."""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zero_ref import array, model, optim
from zero_ref.clip import sum_of_squares
from zero_ref.comm import Comm
from zero_ref.launch import UsageError
from zero_ref.layout import FlatLayout
from zero_ref.timing import Link, Machine, hops

SIZES = [1 << e for e in range(4, 23, 2)]  # elements of the vectors, 64 bytes to 16 MiB
REPEATS = 15  # of each measurement, of which the median counts


def line_through(x: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """(a, b), neither negative, of seconds = a + b x with the smallest sum of squared relative errors."""
    weight = 1 / np.array(seconds)
    terms = np.stack([weight, weight * np.array(x)], axis=1)
    a, b = np.linalg.lstsq(terms, np.ones(len(x)), rcond=None)[0].tolist()
    if b <= 0:
        return statistics.median(seconds), 0.0
    if a < 0:  # the best line through the origin
        rate = terms[:, 1]
        return 0.0, float(rate.sum() / (rate @ rate))
    return a, b


def calibrate(comm: Comm) -> Machine:
    """Measure this machine with all ranks of `comm` working at the same time."""
    if comm.size == 1:
        raise UsageError("--calibrate measures messages: mpirun -n 2 python -m zero_ref.plan --calibrate ...")
    links = {}
    for name in ("reduce_scatter", "all_gather"):
        sent, seconds = [], []
        for n in SIZES:
            n = -(-n // comm.size) * comm.size
            sent.append(4.0 * n * (comm.size - 1) / comm.size)
            seconds.append(_slowest(comm, _collective(comm, name, n)))
        alpha, beta = line_through(sent, seconds)
        links[name] = Link(alpha / hops("halving", comm.size), 1 / max(beta, 1e-15))
    update_call, update = line_through(SIZES, [_slowest(comm, _update(n)) for n in SIZES])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    flop, product = _product(256, 512, 512)
    nbytes, addition = _addition(1 << 21)
    return Machine(
        reduce_scatter=links["reduce_scatter"],
        all_gather=links["all_gather"],
        hops="halving",
        flops=flop / _slowest(comm, product),
        update=update,
        memory=nbytes / _slowest(comm, addition),
        pass_call=_slowest(comm, _small_unit()),
        update_call=update_call,
        loss_call=_slowest(comm, _small_loss()),
        ranks=comm.size,
        cores=cores,
    )


def _slowest(comm: Comm, action: Callable[[], Any]) -> float:
    """Median seconds of action() on the slowest rank; all begin together."""
    action()
    seconds = []
    for _ in range(REPEATS):
        comm.mpi.Barrier()
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return max(comm.everyone(statistics.median(seconds)))


def _collective(comm: Comm, name: str, n: int) -> Callable[[], Any]:
    layout = FlatLayout("calibrate", {"values": (n,)}, comm.size)
    full = array.zeros(n, "float32", "buffer")
    if name == "reduce_scatter":
        return lambda: comm.reduce_scatter(full, layout)
    shard = comm.shard(full, layout).copy()
    return lambda: comm.all_gather(shard, layout)


def _update(n: int) -> Callable[[], Any]:
    """Adam's update of n parameters, and the squares of their gradient."""
    adam, param, grad = optim.Adam(n, "float32"), np.zeros(n, "float32"), np.ones(n, "float32")

    def update() -> None:
        sum_of_squares(grad)
        adam.update(param, grad, 1.0)

    return update


def _product(rows: int, inner: int, columns: int) -> tuple[float, Callable[[], Any]]:
    a, b = np.ones((rows, inner), "float32"), np.ones((inner, columns), "float32")
    out = np.empty((rows, columns), "float32")
    return 2.0 * rows * inner * columns, lambda: np.matmul(a, b, out=out)


def _addition(n: int) -> tuple[float, Callable[[], Any]]:
    a, b = np.zeros(n, "float32"), np.ones(n, "float32")
    return 12.0 * n, lambda: np.add(a, b, out=a)  # two read, one written, 4 bytes each


def _small_unit() -> Callable[[], Any]:
    """The forward and backward pass of a hidden layer with next to nothing in it."""

    def layout(name: str, shapes: dict[str, tuple[int, ...]]) -> FlatLayout:
        return FlatLayout(name, shapes, 1)

    unit = model.build([2, 2, 2, 2], layout, "float32", 0)[1]
    param, x = unit.initial("buffer"), np.ones((1, 2), "float32")

    def both() -> None:
        unit.forward(param, x)
        unit.backward(param, x)

    return both


def _small_loss() -> Callable[[], Any]:
    outputs, labels = np.ones((1, 2), "float32"), np.zeros(1, "int64")
    return lambda: model.loss_grad(True, 1)(outputs, labels)
