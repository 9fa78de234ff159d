"""A small problem with awkward sizes, and a run of it at any stage, for the tests under mpirun."""

import functools
import os
from argparse import Namespace
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zero_ref import model
from zero_ref.checkpoint.weights import named_tensors, sha256
from zero_ref.comm import Comm
from zero_ref.data import Batches, DataSet
from zero_ref.extras import gpt
from zero_ref.ledger import ledger
from zero_ref.train import choose, options

NARROW = ("float16", "bfloat16")
TRANSPORT = os.environ.get("ZERO_REF_TEST_TRANSPORT", "mpi")
SAMPLES, BATCH, STEPS = 41, 12, 20  # batches of 12, 12, 12 and 5; the last is split in 2 and 3


def data(classes: bool, dtype: str) -> DataSet:
    """41 samples with 6 features, in 3 classes or with 2 numbers as targets."""
    random = np.random.default_rng(5)
    x = random.normal(size=(SAMPLES, 6))
    hidden = np.tanh(x @ random.normal(size=(6, 3)))
    wide = "float32" if dtype in NARROW else dtype
    y = hidden.argmax(1) if classes else (hidden[:, :2] + 0.3 * x[:, :2]).astype(wide)
    return DataSet(x.astype(dtype), y, 3 if classes else 0)


@functools.cache
def defaults() -> Namespace:
    """The options of zero_ref.train, none of them given."""
    return options.parse([])


def ranks_with(reduce: str, dtype: str, transport: str = TRANSPORT) -> Comm:
    """All ranks, with the sums of --reduce."""
    return choose.comm(Small(3, reduce=reduce, dtype=dtype, transport=transport).options())


def start(widths: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The starting weights, float64 values that float32 can hold."""
    random = np.random.default_rng(6)
    return [
        (
            random.normal(size=(b, a), scale=a**-0.5).astype("f4"),
            random.normal(size=b, scale=0.1).astype("f4"),
        )
        for a, b in zip(widths, widths[1:])
    ]


@dataclass
class Small:
    """One run: its settings, then its results."""

    stage: int
    hidden: tuple[int, ...] = (7, 5)  # units of 49, 40 and 18 or 12 parameters
    classes: bool = True
    dtype: str = "float64"
    optimizer: str = "adamw"
    settings: dict = field(default_factory=lambda: {"lr": 0.01, "weight_decay": 0.01})
    clip_norm: float | None = None
    micro_batches: int = 1
    batch_size: int = BATCH
    steps: int = STEPS
    rule: str = "contiguous"
    shares: Any = None
    shard_data: str = "contiguous"
    reduce: str = "native"
    prefetch: bool = False
    overlap: bool = False
    keep_after_forward: bool = False
    reduce_once: bool = False
    recompute: bool = False
    accumulate: str | None = None
    group: int | None = None
    machine: int | None = None
    code_weights: str | None = None
    code_gradients: str | None = None
    hpz: bool = False
    error_feedback: str | None = None
    bucket: int | None = None
    tiles: int | None = None
    offload: str | None = None
    offload_shards: bool = False
    transport: str = TRANSPORT
    seed: int = 3

    def run(self) -> "Small":
        with np.errstate(over="ignore", invalid="ignore"):  # as train.run.train does
            return self._run()

    def options(self) -> Namespace:
        """The settings as options of zero_ref.train."""
        o = Namespace(**vars(defaults()))
        settings = {"momentum": 0.0, "weight_decay": 0.0} | self.settings
        names = ("stage", "dtype", "optimizer", "clip_norm", "micro_batches", "batch_size", "shard_data")
        names += (
            "overlap",
            "keep_after_forward",
            "reduce_once",
            "reduce",
            "prefetch",
            "transport",
            "seed",
            "accumulate",
            "recompute",
            "group",
            "bucket",
            "tiles",
            "offload",
            "offload_shards",
        )
        names += ("machine", "code_weights", "code_gradients", "hpz", "error_feedback")
        vars(o).update({name: getattr(self, name) for name in names}, **settings)
        o.hidden, o.shard_model = list(self.hidden), self.shares or self.rule
        o.prefetch = self.prefetch or (self.overlap and self.stage == 3)  # as options.parse has it
        return o

    def _run(self) -> "Small":
        """Train on all ranks; afterwards `tensors`, `sha256`, `losses`, `norms`, `resting`, `units`."""
        o, problem = self.options(), self.problem(self.dtype)
        self.comm, self.world, self.task = choose.comm(o), Comm(), problem.task
        self.units = choose.units(o, problem.task, self.comm.size, self.weights().__getitem__)
        self.batches = self.batches_of(self.world.rank)
        self.module = choose.stage(o)
        self.module.setup(self.units, self.comm, choose.optimizer(o))
        self.guard = choose.guard(o, self.units)
        ledger.forget_peaks()
        self.losses, self.norms, self.sizes = [], [], []
        for number in range(self.steps):
            where = divmod(number, self.batches.steps_per_epoch)
            samples = len(self.batches.global_batch(*where))
            loss_grad = model.loss_grad(self.classes, samples, self.guard.scale)
            parts = self.batches.parts(*where)
            self.sizes.append(tuple(map(len, parts)))
            ledger.forget_sent()
            arrays = self.batches.arrays(parts)
            self.comm.step = number + 1
            loss, norm = self.module.step(self.units, self.comm, arrays, loss_grad, self.guard)
            self.losses.append(self.world.sum(loss))
            self.norms.append(norm)
        self.resting, self.peak, self.peak_total = dict(ledger.live), dict(ledger.peak), ledger.peak_total
        self.sent, self.calls, self.between = dict(ledger.sent), dict(ledger.calls), dict(ledger.between)
        self.away, self.moved = dict(ledger.away), dict(ledger.moved)
        self.tensors = [t.copy() for _, t in named_tensors(self.module, self.units, self.comm)]
        self.sha256 = sha256(named_tensors(self.module, self.units, self.comm))
        return self

    def batches_of(self, rank: int) -> Batches:
        """A rank's samples; in every group of ranks the shares are the same."""
        where = (self.micro_batches, self.shard_data, self.seed)
        shares = (self.shares or [1]) * (self.world.size // len(self.shares or [1]))
        problem = self.problem(self.dtype)
        return Batches(problem, np.arange(SAMPLES), self.batch_size, *where, rank=rank, shares=shares)

    @property
    def widths(self) -> list[int]:
        """Of the MLP."""
        return [6, *self.hidden, 3 if self.classes else 2]

    def problem(self, dtype: str) -> DataSet:
        """What is learned."""
        return data(self.classes, dtype)

    def weights(self) -> dict[str, np.ndarray]:
        """The starting weights, by name."""
        return {
            f"layers.{i}.{name}": values
            for i, pair in enumerate(start(self.widths))
            for name, values in zip(("weight", "bias"), pair)
        }

    def nouns(self) -> choose.Run:
        """The run, for what takes one."""
        return choose.Run(self.module, self.units, self.comm, self.world, self.guard, self.batches, self.task)

    def global_batches(self):
        """The batches of the run as one process would read them."""
        problem = self.problem("float64")
        for number in range(self.steps):
            ids = self.batches.global_batch(*divmod(number, self.batches.steps_per_epoch))
            yield problem.x[ids], problem.y[ids]


LAYERS, WIDTH, HEADS, CONTEXT, SYMBOLS = 2, 12, 3, 7, 11  # units of 216, 1,884 (twice) and 156 parameters


@dataclass
class SmallGpt(Small):
    """The same of a GPT: 41 windows of 7 tokens, 10 symbols and one for all others."""

    def options(self) -> Namespace:
        o = super().options()
        o.model, o.layers, o.width, o.heads, o.context = "gpt", LAYERS, WIDTH, HEADS, CONTEXT
        return o

    def problem(self, dtype: str) -> DataSet:
        random = np.random.default_rng(9)
        x = random.integers(0, SYMBOLS, (SAMPLES, CONTEXT)).astype("int32")
        y = (x.astype("int64") * 3 + np.roll(x, 1, axis=1)) % SYMBOLS  # of a token and the one before it
        return DataSet(x, y, SYMBOLS, alphabet="abcdefghij", held_out=0)

    def weights(self) -> dict[str, np.ndarray]:
        """Larger than a GPT starts with, so that every part of it matters; biases, too."""
        shapes = {
            f"h.{i}.{name}": shape
            for i in range(LAYERS)
            for name, shape in gpt.shapes_of_block(WIDTH).items()
        }
        shapes |= {"wte.weight": (SYMBOLS, WIDTH), "wpe.weight": (CONTEXT, WIDTH)}
        shapes |= {"ln_f.weight": (WIDTH,), "ln_f.bias": (WIDTH,), "lm_head.weight": (SYMBOLS, WIDTH)}
        random, found = np.random.default_rng(10), {}
        for name, shape in sorted(shapes.items()):
            noise = random.normal(size=shape, scale=0.3)
            found[name] = (noise + (1 if "ln_" in name and name.endswith("weight") else 0)).astype("f4")
        return found
