"""Measuring a machine for timing.py, by the code that the stages call, under mpirun."""

import argparse
import functools
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zero_ref import array, launch, model, optim
from zero_ref.clip import sum_of_squares
from zero_ref.comm import AutoComm, Comm
from zero_ref.extras.codes import Code
from zero_ref.extras.groups import part_of
from zero_ref.extras.storage import Disk, Host
from zero_ref.launch import CleanEnd, UsageError
from zero_ref.launch.files import check_writable
from zero_ref.launch.terminal import fold, words_of, written
from zero_ref.launch.together import check_started_alike, on_rank_0
from zero_ref.layout import FlatLayout
from zero_ref.plan.timing import Link, Machine, hops, write
from zero_ref.train.choose import connect

SIZES = [1 << e for e in range(4, 23, 2)]  # elements of the vectors, 64 bytes to 16 MiB
WIDTHS, SAMPLES = (2, 8, 32, 64, 128, 256, 512), 32  # of the layers
COLLECTIVES = ("reduce_scatter", "all_gather")
CODED, OUTSIDE = 1 << 20, 1 << 24  # numbers; bytes, as long as the longest vector
LASTS = 0.2  # seconds of one measurement


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


def calibrate(comm: Comm, folder: str = ".") -> Machine:
    """Measure this machine, or the machines on which the ranks are, with all ranks working at the same time.

    folder: whose disk is measured. UsageError where a host has another number of ranks than the others, or
    its ranks are no neighbours.
    """
    if comm.size == 1:
        raise UsageError("--calibrate measures messages: mpirun -n 2 python -m zero_ref.plan --calibrate ...")
    group = ranks_of_a_host(comm)
    first, place = comm.rank // group * group, comm.rank % group
    inside = AutoComm(part_of(comm.mpi, range(first, first + group)))
    across = AutoComm(part_of(comm.mpi, range(place, comm.size, group)))
    near = comm if group in (1, comm.size) else inside  # one rank a host has no other link
    links = {name: link([points(comm, near, name)], near.size) for name in COLLECTIVES}
    update_call, update = line_through(SIZES, [_slowest(comm, _update(n)) for n in SIZES])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    passes = [_unit(width) for width in WIDTHS]
    pass_call, per_flop = line_through([n for n, _ in passes], [_slowest(comm, both) for _, both in passes])
    nbytes, addition = _addition(1 << 21)
    places = {"host": Host(OUTSIDE)} | disk_everywhere(comm, folder)
    more: dict[str, Any] = {
        name: 2 * OUTSIDE / _slowest(comm, _there_and_back(s)) for name, s in places.items()
    }
    if group < comm.size:
        both = [points(comm, across, name) for name in COLLECTIVES]
        more |= {"group": group, "between": link(both, across.size)}
    return Machine(
        reduce_scatter=links["reduce_scatter"],
        all_gather=links["all_gather"],
        hops="halving",
        flops=1 / max(per_flop, 1e-15),
        update=update,
        memory=nbytes / _slowest(comm, addition),
        pass_call=pass_call,
        update_call=update_call,
        loss_call=_slowest(comm, _loss()),
        ranks=group,
        cores=cores,
        code=_slowest(comm, _codes(CODED)) / (2 * CODED),
        **more,
    )


def disk_everywhere(comm: Comm, folder: str) -> dict[str, Any]:
    """A store on the disk of `folder`; none where it cannot be on one of the ranks."""
    try:
        here = {"disk": Disk(folder, OUTSIDE)}
    except CleanEnd:
        here = {}
    return here if all(comm.everyone(bool(here))) else {}


def ranks_of_a_host(comm: Comm) -> int:
    """How many neighbours share a host, the same on each."""
    hosts = comm.everyone(host_of(comm.rank))
    group = hosts.count(hosts[0])
    blocks = [set(hosts[i : i + group]) for i in range(0, comm.size, group)]
    alone = all(len(block) == 1 for block in blocks) and len(set.union(*blocks)) == len(blocks)
    if comm.size % group or not alone:
        raise UsageError(f"--calibrate: hosts with {group} neighbouring ranks each are needed, not {hosts}")
    return group


def host_of(rank: int) -> str:
    """The name of the host of this rank."""
    return platform.node()


def points(comm: Comm, among: Comm, name: str) -> list[tuple[float, float]]:
    """Bytes sent and seconds of a collective among the ranks of `among`, for vectors of several sizes, while
    the other ranks of `comm` do the same among theirs."""
    found = []
    for n in SIZES:
        n = -(-n // among.size) * among.size
        found.append((4.0 * n * (among.size - 1) / among.size, _slowest(comm, _collective(among, name, n))))
    return found


def link(measured: Sequence[list[tuple[float, float]]], ranks: int) -> Link:
    """The link through points of collectives among so many ranks."""
    alpha, beta = line_through(*zip(*(point for each in measured for point in each)))
    return Link(alpha / hops("halving", ranks), 1 / max(beta, 1e-15))


def calibrate_to(path: str, language: str | None = None) -> None:
    """The command: measure on all ranks, and rank 0 writes FILE.json and says what it found."""
    check_started_alike(connect(), argparse.Namespace(calibrate=path))
    comm = AutoComm()
    on_rank_0(comm, lambda: check_writable({"--calibrate": path}))
    folder = os.path.dirname(os.path.abspath(path))
    machine = calibrate(comm, folder)

    def report() -> None:
        write(path, machine)
        launch.say(f"{summary(machine, language)}\n\n{written({'machine': path}, language)}")

    on_rank_0(comm, report)


def summary(m: Machine, language: str | None = None) -> str:
    """What was measured, in words."""
    word = words_of(__package__, language)
    assert m.flops and m.memory
    calls = {"passes": m.pass_call, "update": m.update_call, "loss": m.loss_call}
    links = [
        word["link"].format(
            name=f"{name:16}",
            alpha=f"{1e6 * link.latency:,.1f}",
            bandwidth=f"{link.bandwidth / 1e9:.2f}",
        )
        for name, link in (("reduce_scatter", m.reduce_scatter), ("all_gather", m.all_gather))
    ]
    lines = [
        word["calibrated"].format(ranks=m.ranks, cores=m.cores),
        *links,
        word["layers"].format(flops=f"{m.flops / 1e9:.1f}"),
        word["vectors"].format(memory=f"{m.memory / 1e9:.1f}"),
        word["updates"].format(update=f"{1e9 * m.update:.2f}"),
        word["calls"].format(**{name: f"{1e6 * seconds:.0f}" for name, seconds in calls.items()}),
        word["coding"].format(code=f"{1e9 * m.code:.2f}"),
    ]
    rates = [(name, rate) for name, rate in (("host", m.host), ("disk", m.disk)) if rate]
    lines += [word[f"outside_{name}"].format(rate=f"{rate / 1e9:.1f}") for name, rate in rates]
    if m.between and m.group:
        alpha, rate = f"{1e6 * m.between.latency:,.1f}", f"{m.between.bandwidth / 1e9:.2f}"
        lines.insert(3, word["links_between"].format(alpha=alpha, bandwidth=rate, group=m.group))
    return fold("\n".join(lines))


def _slowest(comm: Comm, action: Callable[[], Any]) -> float:
    """Seconds of action() on the slowest rank, all ranks doing it at the same time.

    The lower quartile of many: a machine that others use, too, makes the slower half slower still.
    """
    action()
    comm.mpi.Barrier()
    first = max(comm.everyone(_seconds(action)))
    repeats = min(max(15, int(LASTS / first)), 1000)
    seconds = sorted(_seconds(action) for _ in range(repeats))
    return max(comm.everyone(seconds[repeats // 4]))


def _seconds(action: Callable[[], Any]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _collective(comm: Comm, name: str, n: int) -> Callable[[], Any]:
    layout = FlatLayout("calibrate", {"values": (n,)}, comm.size)
    full = array.zeros(n, "float32", "buffer")
    if name == "reduce_scatter":
        return lambda: comm.reduce_scatter(full, layout)
    shard = comm.shard(full, layout).copy()
    return lambda: comm.all_gather(shard, layout)


def _update(n: int) -> Callable[[], Any]:
    """Adam's update of n parameters, block by block as without numba, and the squares of their gradient."""
    adam, param, grad = optim.Adam(n, "float32"), np.zeros(n, "float32"), np.ones(n, "float32")

    def update() -> None:
        sum_of_squares(grad)
        adam.update(param, grad, 1.0)

    return update


def _unit(width: int) -> tuple[float, Callable[[], Any]]:
    """A hidden layer width -> width for SAMPLES samples: its operations, and its two passes."""
    layout = functools.partial(FlatLayout, size=1)
    _, unit, _ = model.build([width] * 4, layout, "float32", 0)  # with ReLU and a gradient of its input
    param, x = unit.initial("buffer"), np.ones((SAMPLES, width), "float32")

    def both() -> None:
        unit.forward(param, x)
        unit.backward(param, x)

    return 6.0 * SAMPLES * width**2, both


def _addition(n: int) -> tuple[float, Callable[[], Any]]:
    a, b = np.zeros(n, "float32"), np.ones(n, "float32")
    return 12.0 * n, lambda: np.add(a, b, out=a)  # two read, one written, 4 bytes each


def _loss() -> Callable[[], Any]:
    outputs, labels = np.ones((SAMPLES, 10), "float32"), np.zeros(SAMPLES, "int64")
    loss_grad = model.loss_grad(True, SAMPLES)
    return lambda: loss_grad(outputs, labels)


def _codes(n: int) -> Callable[[], Any]:
    """n numbers become codes, and come back."""
    code, numbers = Code("8", 256), np.ones(n, "float32")
    coded = np.zeros(code.nbytes(n), "uint8")

    def both() -> None:
        code.encode(numbers, coded)
        code.decode(coded, numbers)

    return both


def _there_and_back(store: Any) -> Callable[[], Any]:
    """A block of OUTSIDE bytes is written to a store, and read from it."""
    block = np.zeros(OUTSIDE // 4, "float32")

    def both() -> None:
        store.write(block, 0)
        store.read(block, 0)

    return both
