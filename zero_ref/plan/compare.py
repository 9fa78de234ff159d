"""Predicted beside measured: records of zero_ref.train --record against dry runs and timing.py.

The prediction is made anew from the record's options and data, as if nothing had run. Bytes must be
equal to the last one; a time is predicted from another measurement, and is shown with its error.
"""

import argparse
from typing import Any

from zero_ref import launch
from zero_ref.comm import Comm
from zero_ref.launch import CleanEnd, UsageError
from zero_ref.launch.cli import table
from zero_ref.meta import Silence
from zero_ref.plan.sizing import row_of, times, work_of
from zero_ref.plan.timing import Machine, Times
from zero_ref.report.record import read
from zero_ref.train import choose
from zero_ref.train.dry_run import Forecast, forecast
from zero_ref.train.options import model_rule

BYTES = ("resting_bytes", "peak_bytes", "peak_total_bytes", "sent_bytes_per_step", "calls_per_step")


def expected(record: dict[str, Any], machine: Machine) -> tuple[list[Forecast], Times]:
    """What every rank should have held and sent, and how long a full step should have taken."""
    o, ranks = argparse.Namespace(**record["config"]), record["world_size"]
    data = choose.data_set(o)
    shares = model_rule(o, ranks)[1] or [1] * ranks
    units = choose.units(o, data.task, ranks)
    found, times_of = [], []
    for rank in range(ranks):
        batches = choose.batches(o, data, Comm(Silence(rank, ranks)), shares=shares)
        steps = range(record["first_step"], record["first_step"] + len(record["loss"]))
        parts = [batches.parts(*divmod(step, batches.steps_per_epoch)) for step in steps]
        sizes = [tuple(len(ids) for ids in step) for step in parts]
        found.append(forecast(o, data.task, rank, ranks, sorted(set(sizes)), o.place))
        work = work_of(o, units, max(map(sum, sizes)), ranks)
        times_of.append(times(row_of(o.stage, found[-1], work, ranks), machine, ranks))
    return found, max(times_of, key=lambda t: t.total)


def differences(record: dict[str, Any], found: list[Forecast]) -> list[str]:
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
        record = read(path, "--compare ")
        if record.get("shown_ranks") is not None:
            raise UsageError(f"--compare {path}: is of a dry run, which has measured nothing")
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
