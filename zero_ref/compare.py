"""Predicted beside measured: records of zero_ref.train --record against estimate.py and timing.py.

The prediction is made anew from the record's options and data, as if nothing had run. Bytes must be
equal to the last one; a time is predicted from another measurement, and is shown with its error.
"""

import argparse
import json
from typing import Any

from zero_ref import launch
from zero_ref.data import Batches, data_set_of, split
from zero_ref.estimate import Prediction, of_options, predict
from zero_ref.launch import CleanEnd, UsageError
from zero_ref.options import model_rule
from zero_ref.paper import table
from zero_ref.sizing import of_prediction, times, units_of, work_of
from zero_ref.timing import Machine, Times

BYTES = ("resting_bytes", "peak_bytes", "peak_total_bytes", "sent_bytes_per_step", "calls_per_step")


def read(path: str) -> dict[str, Any]:
    """The record in FILE.json; UsageError, in one line, for a file that is not one."""
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        names = ("config", "world_size", "first_step", "loss", "seconds_per_step", "ranks")
        missing = [name for name in names if name not in record]
        if missing or len(record["ranks"]) != record["world_size"]:
            raise UsageError(
                f"--compare {path}: is not a record of zero_ref.train: {missing or 'ranks'} missing"
            )
        return record
    except OSError as error:
        raise UsageError(f"--compare {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError, TypeError) as error:
        raise UsageError(f"--compare {path}: is not a record of zero_ref.train: {error}") from error


def expected(record: dict[str, Any], machine: Machine) -> tuple[list[Prediction], Times]:
    """What every rank should have held and sent, and how long a full step should have taken."""
    o, ranks = argparse.Namespace(**record["config"]), record["world_size"]
    data = data_set_of(o)
    shares = model_rule(o, ranks)[1] or [1] * ranks
    units = units_of(o, data.task, ranks)
    ids = split(len(data.x), o.test_fraction, o.seed)[0]
    found, times_of = [], []
    for rank in range(ranks):
        batches = Batches(
            data,
            ids,
            o.batch_size,
            o.micro_batches,
            o.shard_data,
            o.seed,
            not o.no_shuffle,
            rank=rank,
            shares=shares,
        )
        steps = range(record["first_step"], record["first_step"] + len(record["loss"]))
        parts = [batches.parts(*divmod(step, batches.steps_per_epoch)) for step in steps]
        sizes = [tuple(len(ids) for ids in step) for step in parts]
        found.append(predict(of_options(o, units, data.task, rank, ranks), sorted(set(sizes))))
        work = work_of(o, units, data.task, max(map(sum, sizes)), ranks)
        times_of.append(times(of_prediction(o.stage, found[-1], work, ranks), machine, ranks))
    return found, max(times_of, key=lambda t: t.total)


def differences(record: dict[str, Any], found: list[Prediction]) -> list[str]:
    """Where what was measured is not what was predicted."""
    return [
        f"rank {rank}: {name} measured {entry[name]}, predicted {getattr(said, name)}"
        for rank, (entry, said) in enumerate(zip(record["ranks"], found))
        for name in BYTES
        if entry[name] != getattr(said, name)
    ]


def compare(paths: list[str], machine: Machine) -> None:
    """Print the table; CleanEnd if any number of bytes is not as predicted."""
    rows, wrong = [], []
    for path in paths:
        record = read(path)
        try:
            found, t = expected(record, machine)
        except (AttributeError, KeyError, TypeError) as error:
            raise UsageError(f"--compare {path}: is not a record of zero_ref.train: {error}") from error
        off = differences(record, found)
        wrong += [f"{path}: {difference}" for difference in off]
        most = max(record["ranks"], key=lambda entry: entry["peak_total_bytes"])
        measured = record["seconds_per_step"]
        rows.append(
            [
                f"{record['world_size']}",
                f"{record['config']['stage']}",
                f"{sum(most['resting_bytes'].values()):,}",
                f"{most['peak_total_bytes']:,}",
                f"{sum(most['sent_bytes_per_step'].values()):,}",
                "no" if off else "=",
                *(f"{1e3 * x:.2f}" for x in (measured, t.total)),
                f"{t.total / measured - 1:+.0%}",
                *(f"{1e3 * x:.2f}" for x in (t.compute, t.bandwidth, t.latency)),
            ]
        )
    header = ["ranks", "stage", "at rest", "peak", "sent/step", "formula"]
    header += ["measured", "predicted", "error", "compute", "bandwidth", "latency"]
    units = ["", "", "bytes", "bytes", "bytes", "", "ms", "ms", "", "ms", "ms", "ms"]
    crowd = f"; calibrated with {machine.ranks} ranks on {machine.cores} cores" if machine.ranks else ""
    launch.say(
        f"{table([units, *rows], header)}\n"
        "Bytes of the rank with the highest peak; '=': those of every rank are as predicted. Times are of\n"
        f"one step: the median of the run, and compute + bandwidth + latency{crowd}."
    )
    if wrong:
        raise CleanEnd("; ".join(wrong))
