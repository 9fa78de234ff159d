"""What a run would hold and send, found out by running it on arrays without numbers (see meta.py).

The stage, the Comm, the units and the optimizers are those of the options, so this follows whatever runs:
every stage and extra, and somebody's own stage. No MPI is needed, and ranks are looked at one by one.
`--device meta` makes a record of it (see rehearsal.py).
"""

import argparse
import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from zero_ref import array, model
from zero_ref.array import Array, track
from zero_ref.comm import Comm
from zero_ref.data import DataSet, Task
from zero_ref.ledger import ledger
from zero_ref.meta import Meta, Silence, dry
from zero_ref.train import choose
from zero_ref.train.choose import Run


@dataclass
class Forecast:
    """Bytes at rest and at most, by kind; the most at any one moment; per step bytes sent and calls.

    between_bytes_per_step: those of the bytes sent that go to other groups. away_bytes, by tier: what lies
    outside the device; moved_bytes_per_step: how much of it is read, written, and used in a mapping.
    """

    resting_bytes: dict[str, int]
    peak_bytes: dict[str, int]
    peak_total_bytes: int
    sent_bytes_per_step: dict[str, int]
    calls_per_step: dict[str, int]
    between_bytes_per_step: dict[str, int]
    away_bytes: dict[str, int]
    moved_bytes_per_step: dict[str, int]


def forecast(
    o: argparse.Namespace,
    task: Task,
    rank: int,
    ranks: int,
    steps: Iterable[tuple[int, ...]],
    place: str | None = None,
) -> Forecast:
    """The forecast for one rank of `ranks`.

    steps: this rank's samples in each micro-batch, for each step. Steps of the same sizes need to be given
    only once. place: where arrays would live, see array.place(); here, if it is not given.
    """
    with on_rank(o, task, rank, ranks, place) as run:
        resting = dict(ledger.live)
        for sizes in steps:
            step(run, samples(o, task, sizes))
        return forecast_of_ledger(resting)


@contextlib.contextmanager
def on_rank(
    o: argparse.Namespace,
    task: Task,
    rank: int,
    ranks: int,
    place: str | None = None,
    data: DataSet | None = None,
) -> Iterator[Run]:
    """In here arrays have no numbers, and the run of the options is set up on `rank`, with its samples."""
    with dry(place or array.place()):
        comm, world = choose.comm(o, Silence(rank, ranks)), Comm(Silence(rank, ranks))
        units = choose.units(o, task, comm.size, start=lambda name: Meta(0))
        shares = choose.model_rule(o, comm.size)[1]
        batches = choose.batches(o, data, world, shares=shares) if data else None
        run = Run(choose.stage(o), units, comm, world, choose.guard(o, units), batches, task)
        run.stage.setup(units, comm, choose.optimizer(o))
        ledger.forget_peaks()
        yield run


def samples(o: argparse.Namespace, task: Task, sizes: tuple[int, ...]) -> Iterator[tuple[Array, Array]]:
    """x and y of each micro-batch. Only the stage holds them, as it does those of data.Batches."""
    kind = "int64" if task.classes else "float64" if o.dtype == "float64" else "float32"
    targets = (task.features,) if task.alphabet else () if task.classes else (task.outputs,)
    for n in sizes:
        shapes = ((n, task.features), "int32" if task.alphabet else o.dtype), ((n, *targets), kind)
        yield tuple(track("activation", Meta(*each)) for each in shapes)


def step(run: Run, micro_batches: Iterator[tuple[Array, Array]]) -> None:
    """One step of the run, as train.run.fit makes it."""
    ledger.forget_sent()
    loss_grad = run.guard.listen(model.loss_grad(run.task.classes > 0, 1, run.guard.scale))
    loss, _ = run.stage.step(run.units, run.comm, micro_batches, loss_grad, run.guard)
    run.world.sum(loss)


def forecast_of_ledger(resting: dict[str, int]) -> Forecast:
    """What the ledger has seen of the steps."""
    sent, calls, between = dict(ledger.sent), dict(ledger.calls), dict(ledger.between)
    outside = dict(ledger.away), dict(ledger.moved)
    return Forecast(resting, dict(ledger.peak), ledger.peak_total, sent, calls, between, *outside)
