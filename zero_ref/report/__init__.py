"""Pictures of a run, made from its record: a page, a trace for Perfetto, a chart for the terminal.

    python -m zero_ref.report OUT.html RECORD.json [RECORD.json ...]
    python -m zero_ref.report --text RECORD.json

Needs no MPI. page.py puts the records into page.html; there the pictures are drawn: step.js follows a step
event by event, pictures.js draws. words.json has every word of page and terminal in both languages.
"""

import argparse
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from zero_ref import launch
from zero_ref.files import in_one_piece
from zero_ref.launch import UsageError
from zero_ref.ledger import KINDS

Natural = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]  # what a page's numbers hold exactly
Bytes = dict[str, Natural]


class Peaks(msgspec.Struct):
    peak_bytes: Bytes
    peak_total_bytes: Natural


class Measured(Peaks):
    samples: Natural
    resting_bytes: Bytes
    sent_bytes_per_step: Bytes
    calls_per_step: Bytes


class Rank(Measured):
    predicted: Measured


class Unit(msgspec.Struct):
    name: str
    shapes: dict[str, list[Natural]]
    elements: Natural
    counts: list[Natural]


What = Literal["born", "died", "begin", "end"]
Event = tuple[float, What, str, Natural | None, int, Natural, Natural]


class RecordedRank(msgspec.Struct):
    kept: list[dict[str, tuple[Natural, Natural]]]
    elements: list[Natural]
    predicted: Peaks
    places: list[str]
    events: list[Event]


class RecordedStep(msgspec.Struct):
    step: Natural
    file: str
    source: str
    itemsize: Literal[2, 4, 8]
    units: list[Unit]
    ranks: list[RecordedRank]


class Record(msgspec.Struct):
    """What a page needs of a record (see zero_ref/record.py)."""

    config: dict[str, Any]
    world_size: Annotated[int, msgspec.Meta(ge=1)]
    stage: Literal[0, 1, 2, 3]
    parameters: Natural
    parameters_padded: Natural
    first_step: Natural
    loss: Annotated[list[float | None], msgspec.Meta(min_length=1)]
    weights_sha256: str
    test: dict[str, float | None] | None
    seconds_per_step: float
    ranks: list[Rank]
    recorded_step: RecordedStep | None = None


def read(path: str, option: str = "") -> dict[str, Any]:
    """The record in a file; UsageError, which begins with `option` and the path, if it holds none."""
    try:
        data = Path(path).read_bytes()
        record = msgspec.json.decode(data, type=Record)
        if problem := inconsistency(record):
            raise ValueError(problem)
        return json.loads(data)
    except OSError as error:
        raise UsageError(f"{option}{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise UsageError(f"{option}{path}: is not a record of a run ({error})") from None


def inconsistency(record: Record) -> str:
    """What in a record contradicts the rest of it; "" if nothing does."""
    step = record.recorded_step
    if len(record.ranks) != record.world_size:
        return f"{len(record.ranks)} ranks of {record.world_size}"
    if step is None:
        return ""
    if len(step.ranks) != record.world_size or any(len(u.counts) != record.world_size for u in step.units):
        return "recorded_step has another number of ranks"
    for number, rank in enumerate(step.ranks):
        if len(rank.kept) != len(step.units) or len(rank.elements) != len(step.units):
            return f"recorded_step has another number of units on rank {number}"
        for _, what, name, unit, _, _, place in rank.events:
            known = name in KINDS or what in ("begin", "end")
            if not known or place >= len(rank.places) or (unit is not None and unit >= len(step.units)):
                return f"an event on rank {number} names what is not there"
    return ""


def of_training(o: argparse.Namespace, record: dict[str, Any]) -> None:
    """Write and print what the options of zero_ref.train ask for. On one rank."""
    from zero_ref.report import page, text, trace

    if o.trace:
        write(o.trace, "--trace", json.dumps(trace.of(record)))
    if o.report:
        runs = {o.report: record}
        compared = {o.compare: read(o.compare, "--compare ")} if o.compare else {}
        write(o.report, "--report", page.of(runs, compared, o.language))
    if o.chart and not o.quiet:
        launch.say(text.of(record, o.language))


def write(path: str, option: str, text: str) -> None:
    """Write a file of UTF-8 in one piece; UsageError, which begins with `option`, if that fails."""
    with in_one_piece(path, option) as part:
        Path(part).write_text(text, encoding="utf-8")
