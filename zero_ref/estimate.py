"""What a rank should hold and send, from formulas and sizes alone; the ledger says what it did.

First the paper's formulas. Then `predict`, which walks through one step of a stage as its file is
written and books every array: model state, gathered units, activations, buffers. A test holds the
prediction and the ledger equal to the byte.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from zero_ref.layout import LONG, PIECE, FlatLayout
from zero_ref.ledger import Ledger
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
    return {
        "reduce_scatter": once * (micro_batches if stage >= 2 else 1),
        "all_gather": once * (2 * micro_batches if stage >= 3 else 1),
    }


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
    counts_scratch: bool = True  # on a GPU, MPI's scratch is host memory, which no ledger counts


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
        whole = sum(layer.layout.padded for layer in run.layers)
        own = sum(layer.layout.counts[run.rank] for layer in run.layers)
        self.take("parameter", run.itemsize * (own if run.stage >= 3 else whole))
        self.take("gradient", run.itemsize * (own if run.stage >= 2 else whole))
        self.take("optimizer", run.state_bytes * (own if run.stage >= 1 else whole))

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
            self.passing("buffer", 8 * min(BLOCK, shard // e))
        self.drop("buffer", at_clip)
        held = 0  # the last shard taken from the parameters
        for layout, shard, copy in zip(layouts, own, copied):
            if run.stage in (1, 2):
                self.take("buffer", copy)
                self.drop("buffer", held)
                held = copy
            size = layout.padded if run.stage == 0 else shard // e
            self.passing("buffer", 2 * min(BLOCK, size) * self.wide)
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
        auto = pieces if full >= LONG else 0
        ring = 2 * max(layout.counts) * e
        scratch = {"auto": auto, "native": 0, "ordered": pieces, "ring": ring}[run.reduce]
        self.take("buffer", copy)
        self.take("gradient", own)
        self.passing("buffer", scratch if run.counts_scratch else 0)
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
