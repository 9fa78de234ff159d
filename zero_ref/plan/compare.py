"""Predicted beside measured: records of zero_ref.train --record against dry runs and timing.py.

The prediction is made anew from the record's options and data, as if nothing had run. Bytes must be
equal to the last one; a time is predicted from another measurement, and is shown with its error.
"""

import argparse
import dataclasses
import math
from typing import Any

from zero_ref import launch
from zero_ref.comm import Comm
from zero_ref.data import DataSet
from zero_ref.launch import CleanEnd, UsageError
from zero_ref.launch.singular import number_of
from zero_ref.launch.terminal import fitting, fold, words_of
from zero_ref.layout import RULES
from zero_ref.meta import Meta, Silence, dry
from zero_ref.plan import ways
from zero_ref.plan.sizing import rehearsed, row_of, times, work_of
from zero_ref.plan.timing import Machine, Times
from zero_ref.report.record import read
from zero_ref.train import choose, family, options
from zero_ref.train.dry_run import Forecast
from zero_ref.train.family import ZEROPP
from zero_ref.train.options import model_rule

BYTES = ("resting_bytes", "peak_bytes", "peak_total_bytes", "sent_bytes_per_step", "calls_per_step")
NEWER = ("between_bytes_per_step", "away_bytes", "moved_bytes_per_step")  # older records have none
PLACES = (None, "cpu", "compiled", "gpu", "staged")  # None: an older record does not say
COLUMNS = (
    ("ranks", "stage", "at_rest", "peak", "sent", "as_predicted"),
    ("ranks", "stage", "measured", "predicted", "error", "compute", "bandwidth", "latency"),
)
# What is gone through for all ranks together; more would take minutes, and is in no record that was measured.
MOST = {
    "passes through units": 1 << 17,
    "samples": 1 << 22,
    "parts of batches": 1 << 20,
    "blocks of parameters": 1 << 20,
}


# What makes another run of the same training, and is not among the lasting options (see train/options.py).
PASSED_OVER = ("own", "transport", *sorted(family.PASSING | {"prefetch"}))
BESIDE = sorted({*PASSED_OVER, *ZEROPP, "accumulate"} - {"transport"})  # what tables name a run after


def expected(record: dict[str, Any], machine: Machine) -> tuple[list[Forecast], Times]:
    """What every rank should have held and sent, and how long a full step should have taken.

    Before anything is made of the sizes that a record names, they are compared with each other and with MOST.
    """
    o, ranks = asked(record["config"]), record["world_size"]
    data = data_of(o)
    check_sizes(o, data, record)
    size, near = o.group or ranks, neighbours(o, machine, ranks)
    shares = model_rule(o, size)[1] or [1] * size
    units = choose.units(o, data.task, size)
    tokens = data.task.features if data.task.alphabet else 1
    found, times_of = [], []
    for rank in range(ranks):
        with dry("cpu"):  # ids of samples have numbers, and x and y none
            batches = choose.batches(o, data, Comm(Silence(rank, ranks)), shares=shares)
        parts = [batches.parts(*divmod(step, batches.steps_per_epoch)) for step in steps_of(o, record, data)]
        sizes = [tuple(len(ids) for ids in step) for step in parts]
        said = rehearsed(o, data.task, rank, ranks, sorted(set(sizes)), near, o.place)
        found.append(said.forecast)
        work = work_of(o, units, max(map(sum, sizes)), size, tokens)
        times_of.append(times(row_of(o.stage, said, work), machine, ranks, near, o.reduce == "ring"))
    return found, max(times_of, key=lambda t: t.total)


def neighbours(o: argparse.Namespace, machine: Machine, ranks: int) -> int:
    """How many ranks shared a machine: as the run was told, or as on the machines that were measured."""
    near = o.group or o.machine or machine.group or ranks
    return near if ranks % near == 0 else ranks


def asked(config: dict[str, Any]) -> argparse.Namespace:
    """The options of a record, as zero_ref.train reads them; UsageError for what it does not read."""
    unknown = set(config) - set(vars(options.parse([]))) - {"place"}
    if unknown or config.get("place") not in PLACES:
        raise UsageError("its options are not those of zero_ref.train")
    line = options.lasting(argparse.Namespace(**{n: v for n, v in config.items() if n != "place"}))
    line += ways.said({name: config[name] for name in PASSED_OVER if config.get(name)})
    if sum(map(len, line)) > options.MOST_LETTERS:
        raise UsageError(f"its options have more than {options.MOST_LETTERS:,} letters")
    o = options.parse(line)
    o.place = config.get("place")
    return o


def data_of(o: argparse.Namespace) -> DataSet:
    """The shapes of the data set; a file is read, made-up samples are not made."""
    if o.data != "synthetic":
        data = choose.data_set(o)
        shapes: dict[str, Any] = {name: Meta(a.shape, a.dtype) for name, a in (("x", data.x), ("y", data.y))}
        return dataclasses.replace(data, **shapes)
    y: Any = Meta((o.samples,), "int64") if o.classes else Meta((o.samples, 1), o.dtype)
    return DataSet(Meta((o.samples, o.features), o.dtype), y, o.classes)  # type: ignore[arg-type]


def steps_of(o: argparse.Namespace, record: dict[str, Any], data: DataSet) -> range:
    """Steps that have all sizes of a run's steps; only the hash rule deals in another way in each epoch."""
    steps = len(record["loss"])
    epoch = -(-len(data.x) // o.batch_size)  # or less, without the samples of the test
    return range(
        record["first_step"], record["first_step"] + (steps if o.shard_data == "hash" else min(steps, epoch))
    )


def check_sizes(o: argparse.Namespace, data: DataSet, record: dict[str, Any]) -> None:
    """UsageError unless the model has the size that the record says, and all is small enough to go through.

    Layouts of equal slices are sums alone; those of other rules have a number for each block of parameters.
    """
    ranks = record["world_size"]
    if o.hidden and (len(o.hidden) + 1) * ranks > MOST["passes through units"]:
        raise UsageError(
            f"it has {len(o.hidden)} hidden layers on {ranks:,} ranks, which are too many to go through"
        )
    units = choose.units(o, data.task, 1, rule="contiguous")
    elements = [u.layout.elements for u in units]
    if (sum(elements), len(units)) != (record["parameters"], record["units"]):
        raise UsageError(
            f"its model has {record['parameters']:,} parameters in {number_of(record['units'], 'units')}, "
            f"and that of its options {sum(elements):,} in {len(units)}"
        )
    moves = isinstance(o.shard_model, str) and RULES.get(o.shard_model) is not None
    blocks = sum(max(8 * ranks, math.ceil(n / 1024)) for n in elements) if moves else 0
    there = {
        "passes through units": len(units) * o.micro_batches,
        "samples": len(data.x),
        "parts of batches": len(steps_of(o, record, data)) * o.micro_batches,
        "blocks of parameters": blocks,
    }
    for what, number in there.items():
        if number * ranks > MOST[what]:
            raise UsageError(
                f"it has {number:,} {what} on {ranks:,} ranks; {MOST[what]:,} in all can be gone through"
            )


def differences(record: dict[str, Any], found: list[Forecast]) -> list[str]:
    """Where what was measured is not what was predicted."""
    return [
        f"rank {rank}: {name} measured {entry[name]}, predicted {getattr(said, name)}"
        for rank, (entry, said) in enumerate(zip(record["ranks"], found))
        for name in (*BYTES, *(name for name in NEWER if name in entry))
        if entry[name] != getattr(said, name)
    ]


def compare(paths: list[str], machine: Machine, language: str | None = None) -> None:
    """Print the tables; CleanEnd if any number of bytes is not as predicted."""
    held, timed, wrong, seen = [], [], [], []
    word = words_of(__package__, language)
    for path in paths:
        record, found, t = predicted(path, machine)
        off = differences(record, found)
        wrong += [f"{path}: {difference}" for difference in off]
        most = max(record["ranks"], key=lambda entry: entry["peak_total_bytes"])
        run = [f"{record['world_size']}", f"{record['config']['stage']}"]
        sizes = [
            sum(most["resting_bytes"].values()),
            most["peak_total_bytes"],
            sum(most["sent_bytes_per_step"].values()),
        ]
        held.append([*run, *(f"{n:,}" for n in sizes), word["no_of_bytes"] if off else "="])
        measured = record["seconds_per_step"]
        error = f"{t.total / measured - 1:+.0%}" if measured else ""
        timed.append([*run, *(f"{1e3 * x:.2f}" for x in (measured, t.total)), error])
        seen.append((made_with(record["config"]), t))
    shown = columns_of([t for _, t in seen])
    for row, (_, t) in zip(timed, seen):
        row += [f"{1e3 * seconds_of(t, name):.2f}" for name in shown]
    said = tables(held, timed, machine, word, (*COLUMNS[1][:5], *shown))
    runs = [word["compared_with"].format(row=i, extras=each) for i, (each, _) in enumerate(seen, 1) if each]
    launch.say(fold("\n".join([said, *runs])))
    if wrong:
        raise CleanEnd("; ".join(wrong))


def seconds_of(t: Times, name: str) -> float:
    """A column of times; bandwidth is that inside a machine."""
    return t.bandwidth - t.between if name == "bandwidth" else getattr(t, name)


def columns_of(found: list[Times]) -> list[str]:
    """The parts of a step that are shown: codes, outside and between where a run has any."""
    names = ("compute", "codes", "outside", "bandwidth", "between", "latency")
    return [name for name in names if name in COLUMNS[1] or any(seconds_of(t, name) for t in found)]


def made_with(config: dict[str, Any]) -> str:
    """The options of a record that make its run another than that of its stage."""
    asked = {name: config[name] for name in BESIDE if config.get(name)}
    asked |= {"optimizer": "muon"} if config.get("optimizer") == "muon" else {}
    return ways.written(asked)


def predicted(path: str, machine: Machine) -> tuple[dict[str, Any], list[Forecast], Times]:
    """A record, and what is expected of it."""
    record = read(path, "--compare ")
    if record.get("shown_ranks") is not None:
        raise UsageError(f"--compare {path}: is of a dry run, which has measured nothing")
    try:
        return record, *expected(record, machine)
    except UsageError as error:
        raise UsageError(f"--compare {path}: {error}") from None
    except (AttributeError, KeyError, TypeError) as error:
        raise UsageError(f"--compare {path}: is not a record of zero_ref.train: {error}") from error


def tables(
    held: list[list[str]],
    timed: list[list[str]],
    machine: Machine,
    word: dict[str, str],
    names: tuple[str, ...] = COLUMNS[1],
) -> str:
    """Bytes, and then times, a row for each record. names: of the columns of times."""
    b, ms = word["bytes"], word["milliseconds"]
    of_bytes, of_times = ([word[name] for name in columns] for columns in (COLUMNS[0], names))
    units = ["", "", ms, ms, "", *[ms] * (len(names) - 5)]
    crowd = word["compared_crowd"].format(ranks=machine.ranks, cores=machine.cores)
    return "\n".join(
        [
            fitting([["", "", b, b, b, ""], *held], of_bytes, keep=2),
            word["compared_bytes"],
            "",
            fitting([units, *timed], of_times, keep=2),
            word["compared_times"],
            *([crowd] if machine.ranks else []),
        ]
    )
