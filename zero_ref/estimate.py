"""What a rank should hold and send, from formulas and sizes alone; the ledger says what it did.

First the paper's formulas. Then `predict`, which walks through one step of a stage as its file is
written and books every array: model state, gathered units, activations, buffers. A test holds the
prediction and the ledger equal to the byte.
"""

import argparse
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zero_ref import compiled
from zero_ref.array import on_gpu, staged
from zero_ref.data import Task
from zero_ref.layout import LONG, PIECE, FlatLayout
from zero_ref.ledger import Ledger
from zero_ref.model import Unit
from zero_ref.optim import BLOCK


def model_state_bytes(
    stage: int, psi: float, ranks: int, parameter: float = 4, gradient: float = 4, optimizer: float = 8
) -> dict[str, float]:
    """Bytes that one of `ranks` ranks keeps between steps, by kind, for psi (padded) parameters.

    parameter, gradient, optimizer: bytes per parameter. The defaults are Adam in float32: 16 psi,
    8 psi + 8 psi/N, 4 psi + 12 psi/N, 16 psi/N. The paper's mixed precision is 2, 2 and 12 (K):
    16 psi, 4 psi + 12 psi/N, 2 psi + 14 psi/N, 16 psi/N (arXiv 1910.02054, section 5, figure 1).
    """
    return {
        "parameter": parameter * psi / (ranks if stage >= 3 else 1),
        "gradient": gradient * psi / (ranks if stage >= 2 else 1),
        "optimizer": optimizer * psi / (ranks if stage >= 1 else 1),
    }


def sent_elements(stage: int, psi: float, ranks: int, micro_batches: int = 1) -> dict[str, float]:
    """Elements that one rank sends in one step, by collective, for psi (padded) parameters.

    In all 2 psi (N-1)/N at stages 0 and 1, (k + 1) psi (N-1)/N at stage 2 and 3k psi (N-1)/N at
    stage 3 with k micro-batches (the paper, section 7, leaves (N-1)/N out and has k = 1).
    """
    once = psi * (ranks - 1) / ranks
    return {name: once * times for name, times in passes(stage, micro_batches).items()}


def passes(stage: int, micro_batches: int = 1) -> dict[str, int]:
    """How often the whole model goes through each collective in one step; a unit is one call of each."""
    return {
        "reduce_scatter": micro_batches if stage >= 2 else 1,
        "all_gather": 2 * micro_batches if stage >= 3 else 1,
    }


@dataclass(frozen=True)
class Leg:
    """One sort of collective in one step: `calls` of it for each unit, among `ranks` ranks, and the
    elements that one rank sends in all of them, to ranks of its own group and to others."""

    collective: str
    calls: float
    ranks: int
    inside: float
    between: float


def legs(stage: int, psi: float, ranks: int, micro_batches: int = 1, group: int | None = None) -> list[Leg]:
    """Sharded over all ranks. To each of the N-1 others a rank sends as much; G-1 are in its group."""
    group = group or ranks
    return [
        Leg(name, n, ranks, n * psi / ranks * (group - 1), n * psi / ranks * (ranks - group))
        for name, n in passes(stage, micro_batches).items()
    ]


def legs_in_groups(stage: int, psi: float, ranks: int, group: int, micro_batches: int = 1) -> list[Leg]:
    """Sharded inside each group of G ranks, replicated over the R = N/G groups.

    The ranks with the same shard all-reduce its gradient once a step: 2 psi/G (R-1)/R (hybrid shard of
    PyTorch FSDP, arXiv 2304.11277, whose formula 2 psi (N-1)/(GN) is a little too high; MiCS, arXiv
    2205.00119).
    """
    replicas = ranks // group
    across = sent_elements(0, psi / group, replicas)
    return legs(stage, psi, group, micro_batches) + [Leg(n, 1, replicas, 0, x) for n, x in across.items()]


def legs_hpz(psi: float, ranks: int, group: int, micro_batches: int = 1) -> list[Leg]:
    """hpZ: stage 3 over all ranks, where each group keeps a second copy of the 16-bit parameters.

    The copy, psi/G on each rank, is kept after the forward pass; the backward pass gathers it inside the
    group (ZeRO++, arXiv 2306.10209).
    """
    k, inside = micro_batches, sent_elements(0, psi, group)["all_gather"]
    forward = legs(2, psi, ranks, k, group)[0]  # k times over all ranks, as the gather of the forward pass
    return [forward, replace(forward, collective="all_gather"), Leg("all_gather", k, group, k * inside, 0)]


def transformer_parameters(layers: int, hidden: int) -> int:
    """12 l h^2: the blocks without biases, norms and embeddings (reported of arXiv 2104.07857)."""
    return 12 * layers * hidden**2


def transformer_activation_bytes(
    samples: int, sequence: int, layers: int, hidden: int, heads: int, itemsize: int, checkpointing: bool
) -> int:
    """Bytes of activations of one micro-batch of `samples` sequences, an estimate.

    12 h numbers a token and layer (arXiv 1910.02054, section 3.2: 60 GB for GPT-2 of 1.5B parameters,
    sequences of 1024, batch 32). With checkpointing, the input of every block, h numbers a token, and
    what one block needs while it is computed again, 8 h + heads * sequence numbers a token (reported of
    ZeRO-Infinity, arXiv 2104.07857): 7.5 GB, where the first paper says about 8.
    """
    tokens = samples * sequence
    if not checkpointing:
        return itemsize * 12 * hidden * tokens * layers
    return itemsize * tokens * (hidden * layers + 8 * hidden + heads * sequence)


@dataclass
class Layer:
    """One unit as the estimate sees it: inputs -> outputs, with or without ReLU."""

    layout: FlatLayout
    inputs: int
    outputs: int
    relu: bool


@dataclass
class Run:
    """What a prediction depends on. itemsize: bytes per number; state_bytes: of the optimizer, per
    parameter (Adam 8 in float32, 12 beside 16 bits); target_bytes: bytes of y per sample."""

    stage: int
    layers: Sequence[Layer]
    rank: int
    ranks: int
    itemsize: int
    state_bytes: int
    classes: bool
    target_bytes: int
    reduce: str = "auto"
    prefetch: bool = False  # the next unit is gathered while one computes
    place: str = "cpu"  # where arrays live, see place_here()


def state_bytes(optimizer: str, momentum: float, itemsize: int) -> int:
    """Bytes of optimizer state per parameter: 0 to 2 numbers, and the master of 16-bit parameters."""
    numbers = 2 if optimizer != "sgd" else 1 if momentum else 0
    return 4 * (numbers + 1) if itemsize == 2 else itemsize * numbers


def place_here() -> str:
    """Where arrays live in this process, as Run.place: what takes scratch memory depends on it.

    "cpu"; "compiled", there, with numba; "gpu"; "staged", where MPI takes host memory only, which the
    ledger does not count.
    """
    if on_gpu():
        return "staged" if staged() else "gpu"
    return "compiled" if importlib.util.find_spec("numba") else "cpu"


def sums(o: argparse.Namespace, itemsize: int) -> str:
    """How a reduce-scatter adds, as Run.reduce: --reduce, "nccl", or "native" for somebody's own."""
    if o.own:
        return "native"
    if itemsize == 2:
        return "ordered"
    return "nccl" if o.transport == "nccl" and o.reduce == "auto" else o.reduce


def of_options(o: argparse.Namespace, units: Sequence[Unit], task: Task, rank: int, ranks: int) -> Run:
    """The run of zero_ref.train with the options `o` (see options.parse), for one rank."""
    widths = [task.features, *o.hidden, task.outputs]
    itemsize = np.dtype(o.dtype).itemsize
    return Run(
        o.stage,
        [Layer(u.layout, a, b, relu=u is not units[-1]) for u, a, b in zip(units, widths, widths[1:])],
        rank,
        ranks,
        itemsize=itemsize,
        state_bytes=state_bytes(o.optimizer, o.momentum, itemsize),
        classes=task.classes > 0,
        target_bytes=task.target_bytes,
        reduce=sums(o, itemsize),
        prefetch=o.prefetch,
        place=o.place if hasattr(o, "place") else place_here(),
    )


@dataclass
class Prediction:
    """Bytes at rest and at most, by kind; the most at any one moment; per step bytes sent and calls."""

    resting_bytes: dict[str, int]
    peak_bytes: dict[str, int]
    peak_total_bytes: int
    sent_bytes_per_step: dict[str, int]
    calls_per_step: dict[str, int]


def predict(run: Run, steps: Iterable[tuple[int, ...]]) -> Prediction:
    """The prediction for one rank. `steps`: this rank's samples in each micro-batch, for each step.

    Steps of the same sizes need to be given only once; all must have the same number of micro-batches.
    """
    walk = _Walk(run)
    resting = dict(walk.book.live)
    for sizes in steps:
        walk.book.forget_sent()
        walk.step(sizes)
    book = walk.book
    return Prediction(resting, dict(book.peak), book.peak_total, dict(book.sent), dict(book.calls))


class _Walk:
    """One step of a stage, array by array, in a ledger of its own.

    take() is an array that is born, drop() one that dies; both in bytes.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.book = run, Ledger()
        self.wide = max(4, run.itemsize)  # bytes of a number that is computed with
        self.on_gpu = run.place in ("gpu", "staged")
        whole = sum(layer.layout.padded for layer in run.layers)
        own = sum(layer.layout.counts[run.rank] for layer in run.layers)
        self.take("parameter", run.itemsize * (own if run.stage >= 3 else whole))
        self.take("gradient", run.itemsize * (own if run.stage >= 2 else whole))
        self.take("optimizer", run.state_bytes * (own if run.stage >= 1 else whole))

    def update_scratch(self, n: int) -> int:
        """Elements of scratch memory that an update of n elements takes."""
        if self.on_gpu or (self.run.place == "compiled" and compiled.takes(n, self.run.itemsize == 2)):
            return 0
        return 2 * min(BLOCK, n)

    def take(self, kind: str, nbytes: int) -> None:
        self.book.add(kind, nbytes)

    def drop(self, kind: str, nbytes: int) -> None:
        self.book.add(kind, -nbytes)

    def passing(self, kind: str, nbytes: int) -> None:
        """An array that is born and dies before the next one is born."""
        self.take(kind, nbytes)
        self.drop(kind, nbytes)

    def step(self, sizes: tuple[int, ...]) -> None:
        run, e, last = self.run, self.run.itemsize, self.run.layers[-1]
        left_over = 0  # outputs and targets of the micro-batch before, alive until the next is bound
        for s in sizes:
            target, logits = s * run.target_bytes, s * last.outputs * e
            self.take("activation", s * run.layers[0].inputs * e + target)
            self.drop("activation", left_over)
            left_over = target + logits
            for layer in self.gathered(run.layers):
                self.forward(layer, s)
            self.loss_and_gradient(s)
            for layer in self.gathered(run.layers[::-1]):
                self.backward(layer, s)
        self.update()
        self.drop("activation", left_over)
        self.scalars(2)  # the norm and the loss

    def gathered(self, layers: Sequence[Layer]) -> Iterator[Layer]:
        """Each layer, with its parameters at stage 3; with prefetch the next one's are coming, too."""
        started = 0
        for number, layer in enumerate(layers):
            if self.run.stage == 3:
                ahead = number + (2 if self.run.prefetch else 1)
                for other in layers[started:ahead]:
                    self.start_all_gather(other.layout)
                started = ahead
                self.finish_all_gather(layer.layout)
            yield layer

    def forward(self, layer: Layer, s: int) -> None:
        self.matmul(s, layer.inputs, layer.outputs)
        if layer.relu:
            self.take("activation", s * layer.outputs * self.run.itemsize)
        if self.run.stage == 3:
            self.drop("gathered", layer.layout.padded * self.run.itemsize)

    def matmul(self, rows: int, inner: int, columns: int, new: bool = True) -> None:
        """A product of matrices, into a new activation or a place that exists."""
        wide = 4 * (rows * inner + inner * columns + rows * columns) if self.run.itemsize == 2 else 0
        self.take("activation", rows * columns * self.run.itemsize if new else 0)
        self.passing("buffer", wide)

    def loss_and_gradient(self, s: int) -> None:
        e, numbers = self.wide, s * self.run.layers[-1].outputs
        copy = 4 * numbers if self.run.itemsize == 2 else 0
        kept = numbers * e + (8 * s if self.run.classes else 0)  # softmax and row numbers; differences
        self.take("activation", kept + copy)
        if self.run.classes:
            self.passing("activation", 3 * s * e)  # the highest, the true and the total of each row
            self.drop("activation", copy)
        else:
            self.drop("activation", copy)
            self.passing("activation", numbers * e)  # squares
        self.take("activation", numbers * self.run.itemsize)  # g
        self.drop("activation", kept)

    def backward(self, layer: Layer, s: int) -> None:
        run, e = self.run, self.run.itemsize
        first, last = layer is run.layers[0], layer is run.layers[-1]
        full, inputs, outputs = layer.layout.padded * e, s * layer.inputs * e, s * layer.outputs * e
        self.take("full_gradient", full)
        if layer.relu:
            self.take("activation", s * layer.outputs)  # where the input was positive
            self.take("activation", outputs)  # gradient of the linear part's output
            self.drop("activation", s * layer.outputs)
        self.matmul(layer.outputs, s, layer.inputs, new=False)  # for the weight
        self.passing("buffer", 4 * layer.outputs if e == 2 else 0)  # for the bias
        if not first:
            self.matmul(s, layer.outputs, layer.inputs)  # the g for the unit below
        if layer.relu:
            self.drop("activation", 2 * outputs)  # that gradient, and the linear part's output
        if run.stage == 3:
            self.drop("gathered", full)
        if not last:
            self.drop("activation", outputs)  # the unit's output; the model's is still bound
        if first:
            self.drop("activation", inputs)  # the batch
        self.drop("activation", outputs)  # the g from the unit above
        if run.stage >= 2:
            self.drop("gradient", self.reduce_scatter(layer.layout))
        self.drop("full_gradient", full)

    def update(self) -> None:
        run, e = self.run, self.run.itemsize
        layouts = [layer.layout for layer in run.layers]
        own = [layout.counts[run.rank] * e for layout in layouts]
        copied = [b if layout.blocks is not None else 0 for b, layout in zip(own, layouts)]
        if run.stage == 0:
            for layout in layouts:
                shard = self.reduce_scatter(layout)
                self.all_gather_into(layout)
                self.drop("gradient", shard)
        if run.stage == 1:
            for layout in layouts:
                self.reduce_scatter(layout)  # the shards stay until the step ends
        at_clip = sum(copied) if run.stage == 0 else 0
        self.take("buffer", at_clip)
        for shard in own:
            self.passing("buffer", 0 if self.on_gpu else 8 * min(BLOCK, shard // e))  # squares, in float64
        self.drop("buffer", at_clip)
        held = 0  # the last shard taken from the parameters
        for layout, shard, copy in zip(layouts, own, copied):
            if run.stage in (1, 2):
                self.take("buffer", copy)
                self.drop("buffer", held)
                held = copy
            size = layout.padded if run.stage == 0 else shard // e
            self.passing("buffer", self.update_scratch(size) * self.wide)
            if run.stage in (1, 2):
                self.all_gather_into(layout)
        self.drop("buffer", held)
        if run.stage == 1:
            self.drop("gradient", sum(own))

    def reduce_scatter(self, layout: FlatLayout) -> int:
        """Book the call, and its result, which the caller drops; return the result's bytes."""
        run, e = self.run, self.run.itemsize
        full, own = layout.padded * e, layout.counts[run.rank] * e
        copy = full if layout.blocks is not None else 0
        piece = min(max(layout.counts), PIECE)
        pieces = (run.ranks - 1) * piece * e + (4 * piece if e == 2 else 0)  # the others', a float32 sum
        pieces = pieces if run.ranks > 1 else 0
        auto = pieces if full >= LONG or run.place == "staged" else 0
        uneven = pieces if len(set(layout.counts)) > 1 else 0  # equal ones NCCL reduces itself
        ring = 2 * max(layout.counts) * e if run.place != "staged" else 0
        scratch = {"auto": auto, "native": 0, "ordered": pieces, "ring": ring, "nccl": uneven}[run.reduce]
        self.take("buffer", copy)
        self.take("gradient", own)
        self.passing("buffer", scratch)
        self.drop("buffer", copy)
        self.book.count_sent("reduce_scatter", full - own)
        return own

    def start_all_gather(self, layout: FlatLayout) -> None:
        """Book the result, which the caller drops, and what is taken until it is there."""
        full = layout.padded * self.run.itemsize
        self.take("gathered", full)
        self.take("buffer", full if layout.blocks is not None else 0)

    def finish_all_gather(self, layout: FlatLayout) -> None:
        """Book what was sent."""
        run, e = self.run, self.run.itemsize
        full, own = layout.padded * e, layout.counts[run.rank] * e
        self.drop("buffer", full if layout.blocks is not None else 0)
        right = layout.counts[(run.rank + 1) % run.ranks] * e
        self.book.count_sent("all_gather", full - right if run.reduce == "ring" else own * (run.ranks - 1))

    def all_gather_into(self, layout: FlatLayout) -> None:
        """An all-gather into an array that exists."""
        self.take("buffer", layout.padded * self.run.itemsize if layout.blocks is not None else 0)
        self.finish_all_gather(layout)

    def scalars(self, number: int) -> None:
        for _ in range(number):
            self.book.count_sent("other", 8 * (self.run.ranks - 1))
