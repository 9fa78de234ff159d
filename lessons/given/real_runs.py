"""The real training command inside a lesson, on the lesson's ranks; and a rank's numbers in its record."""

from typing import TYPE_CHECKING, Any

from zero_ref.train import options, run

if TYPE_CHECKING:
    from zero_ref.comm import Comm

Record = dict[str, Any]


def train(line: str, *more: str) -> Record:
    """The record of `python -m zero_ref.train --quiet` with the options in `line`, and `more` as they are."""
    return run.train(options.parse(["--quiet", *line.split(), *more]))


def resting(record: Record, comm: "Comm") -> int:
    """Bytes that this rank keeps between steps."""
    return sum(record["ranks"][comm.rank]["resting_bytes"].values())


def sent(record: Record, comm: "Comm") -> int:
    """Bytes that this rank sends in a step, but for sums of single numbers."""
    by_collective = record["ranks"][comm.rank]["sent_bytes_per_step"]
    return by_collective["reduce_scatter"] + by_collective["all_gather"]
