"""`--device meta --ranks N`: a run that never takes place, on N ranks that need not be there.

    python -m zero_ref.train --device meta --ranks 1024 --data synthetic --features 12288 --hidden 12288,12288

The options are those of any run, and so are summary, --record, --report, --trace and --chart. Of many ranks
a few are looked at. Nothing is computed, so there is no loss, and no time: events are numbered.
"""

import argparse
from typing import Any

from zero_ref import array
from zero_ref.comm import Comm
from zero_ref.data import Batches, DataSet
from zero_ref.ledger import ledger
from zero_ref.meta import Meta
from zero_ref.report import record
from zero_ref.train import choose
from zero_ref.train.choose import Run
from zero_ref.train.dry_run import forecast_of_ledger, on_rank, samples, step
from zero_ref.train.events import Events
from zero_ref.train.run import check_files, report


def rehearse(o: argparse.Namespace) -> dict[str, Any]:
    """Do what the options say, as far as it needs no numbers; return the record, of some of the ranks."""
    place = "staged" if o.transport == "nccl" else array.place()
    data = shapes_of(o)
    with on_rank(o, data.task, 0, o.ranks, place) as run:
        chosen = ranks_to_look_at(run)
        check_files(o, run)
    found = [train_on(o, data, rank, place) for rank in chosen]
    history = {
        "loss": [None],
        "grad_norm": [None],
        "weights_sha256": "",
        "test": None,
        "seconds_per_step": 0.0,
    }
    with on_rank(o, data.task, 0, o.ranks, place) as run:
        result = record.make_record(o, run, range(1), history, [entry for entry, _ in found])
        result["shown_ranks"] = chosen
        if o.report or o.trace or o.chart:
            steps = [recorded for _, recorded in found]
            result["recorded_step"] = steps[0] | {"ranks": [rank for each in steps for rank in each["ranks"]]}
        report(o, run, result)
    return result


def train_on(
    o: argparse.Namespace, data: DataSet, rank: int, place: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A rank's entry of the record, and its recorded step: the one with most samples."""
    with on_rank(o, data.task, rank, o.ranks, place, data) as run:
        assert run.batches is not None
        resting, sizes = dict(ledger.live), sizes_of_steps(o, run.batches)
        events = Events(0, run)
        for number, each in enumerate(sizes):
            with events.watching(number):
                step(run, samples(o, data.task, each))
            if number == 0:
                peaks = {"peak_bytes": dict(ledger.peak), "peak_total_bytes": ledger.peak_total}
        found = {"samples": sum(sizes[0])} | vars(forecast_of_ledger(resting))
        entry = found | {"predicted": found, "formula": vars(record.bill(o, run))}
        return entry, events.of_step([events.of_this_rank(peaks)])


def memory_of(o: argparse.Namespace) -> str:
    """What a dry run says of the memory that this rank of a real run needs, for when it was not there."""
    world, data = Comm(), shapes_of(o)
    with on_rank(o, data.task, world.rank, world.size, array.place(), data) as run:
        assert run.batches is not None
        resting = sum(ledger.live.values())
        step(run, samples(o, data.task, tuple(len(part) for part in run.batches.parts(0, 0))))
        peak = ledger.peak_total
    values = data.x.nbytes + data.y.nbytes
    return (
        f"a dry run says that rank {world.rank} of {world.size} needs {peak:,} bytes in a step and "
        f"{resting:,} between steps, besides {values:,} of data"
    )


def shapes_of(o: argparse.Namespace) -> DataSet:
    """The data set of the options; made-up samples are not made."""
    if o.data != "synthetic":
        return choose.data_set(o)
    kind = "float64" if o.dtype == "float64" else "float32"
    y = Meta((o.samples,), "int64") if o.classes else Meta((o.samples, 1), kind)
    return DataSet(Meta((o.samples, o.features), o.dtype), y, o.classes)  # type: ignore[arg-type]


def ranks_to_look_at(run: Run) -> list[int]:
    """All of up to four ranks; else the first, the last, and those with the largest and smallest shares."""
    size = run.world.size
    if size <= 4:
        return list(range(size))
    owned = record.owned(run)
    return sorted({0, size - 1, owned.index(max(owned)), owned.index(min(owned))})


def sizes_of_steps(o: argparse.Namespace, batches: Batches) -> list[tuple[int, ...]]:
    """The different steps of a run by this rank's samples in each micro-batch, the largest first.

    Only the hash rule deals in another way in each epoch.
    """
    epoch = batches.steps_per_epoch
    last = o.steps or o.epochs * epoch
    steps = range(last if o.shard_data == "hash" else min(last, epoch))
    parts = (batches.parts(*divmod(number, epoch)) for number in steps)
    return sorted({tuple(len(part) for part in each) for each in parts}, key=sum, reverse=True)
