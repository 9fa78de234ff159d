"""Checkpoints for tests, of any number of ranks, without MPI: the ranks are threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import ml_dtypes  # noqa: F401
import numpy as np

from zero_ref.array import zeros
from zero_ref.checkpoint import Manifest, owner, saving
from zero_ref.layout import FlatLayout
from zero_ref.model import build
from zero_ref.optim import SGD, Adam
from zero_ref.precision import Guard, LossScale, Master
from zero_ref.stages import STAGES
from zero_ref.train import options

WIDTHS = [6, 7, 5, 3]  # units of 49, 40 and 18 parameters
ARGUMENTS = options.lasting(options.parse(["--hidden", "7,5"]))
MANIFEST = Manifest(arguments=ARGUMENTS, data_sha256="0" * 64, features=6, outputs=3, classes=3)
STEP = 17


class Threads:
    """A Comm of one rank among `size` threads, as far as saving needs one."""

    def __init__(self, size, rank, board=None, barrier=None):
        self.size, self.rank = size, rank
        self.board, self.barrier = board or [None], barrier or threading.Barrier(1)

    def everyone(self, value):
        self.board[self.rank] = value
        self.barrier.wait(20)
        values = list(self.board)
        self.barrier.wait(20)
        return values


def on_threads(size, work):
    """work(comm) on `size` ranks; what each returns or raises, by rank."""
    board, barrier = [None] * size, threading.Barrier(size)

    def attempt(rank):
        try:
            return work(Threads(size, rank, board, barrier))
        except Exception as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(attempt, range(size)))


def optimizer(kind, dtype):
    """A function that makes the optimizer for n elements."""
    wide = "float32" if np.dtype(dtype).itemsize == 2 else dtype
    make = partial(Adam, dtype=wide) if kind == "adam" else partial(SGD, dtype=wide, momentum=0.9)
    return make if wide == dtype else partial(Master, make=make)


def values(unit, vector, elements, dtype):
    """Numbers that stand for one vector of one unit, in model order: all different."""
    first = 1 + 1000 * int(unit.rpartition(".")[2]) + 100 * len(vector)
    return np.sin(first + np.arange(elements)).astype(dtype)  # no bit is for nothing


class Case:
    """Units as a stage keeps them, on one of `size` ranks, as in a Run; `fill` gives them known state."""

    def __init__(self, comm, stage=3, rule="contiguous", kind="adam", dtype="float32", shares=None):
        self.comm = self.world = comm
        self.number, self.stage, self.dtype = stage, STAGES[stage], dtype

        def layout(name, shapes):
            return FlatLayout(name, shapes, comm.size, rule, shares, seed=3)

        self.units = build(WIDTHS, layout, dtype, 0)
        self.guard = (LossScale if dtype == "float16" else Guard)(self.units, None)
        make = optimizer(kind, dtype)
        for u in self.units:
            own = u.layout.counts[comm.rank]
            u.param = zeros(own if stage == 3 else u.layout.padded, dtype, "parameter")
            u.optimizer = make(u.layout.padded if stage == 0 else own)

    def expected(self, u, name, vector):
        """What `vector` of the unit holds on this rank: its values, and zeros as padding."""
        full = np.zeros(u.layout.padded, vector.dtype)
        full[: u.layout.elements] = values(u.layout.name, name, u.layout.elements, vector.dtype)
        whole = self.number < (3 if name == "param" else 1)
        return full if whole else u.layout.shard(full, self.comm.rank)

    def fill(self):
        for u in self.units:
            for name, vector in saving.vectors(u).items():
                vector[...] = self.expected(u, name, vector)
            u.optimizer.steps = 11
        self.guard.steps = STEP
        if self.dtype == "float16":
            self.guard.scale, self.guard.good, self.guard.skipped = 512.0, 5, 6
        return self

    def save(self, folder, step=STEP, keep=None):
        try:
            saving.save(str(folder), keep, MANIFEST, step, self)
        finally:
            if self.comm.rank == 0:
                owner.give_back()


def written(folder, size=3, step=STEP, keep=None, **settings):
    """The path of a new checkpoint by `size` ranks."""
    for end in on_threads(size, lambda comm: Case(comm, **settings).fill().save(folder, step, keep)):
        if end is not None:
            raise end
    return folder / f"step-{step:08d}"
