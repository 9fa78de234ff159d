"""The run record: one JSON object that other programs read. summary.py tells it to people.

config               the options, complete, and where arrays lived (see array.place)
world_size, stage    N and 0 to 3
model, task, units   in words; of how many units
parameters           how many, without padding; parameters_padded: with it, over all ranks; owned: by rank,
                     with --group the same in every group
shown_ranks          only of a dry run (--device meta), which has no loss, weights or times: the numbers of
                     the ranks that `ranks` and `recorded_step` are about
drift                with --error-feedback: a bound on the norm of what all gradients lack that have been sent
                     since the last reset (extras/feedback.py); null without it, absent in older records
newton_schulz        of Muon: multiplications and additions of all iterations of a step, by rank; null without
first_step           0, or the steps done before in a resumed run; the rest is about this run alone
samples_per_step     of all ranks together: --batch-size, or all samples to train on where these are fewer
loss, grad_norm      one number per optimizer step: the global mean loss; the norm before clipping,
                     null where it is not finite (a step that float16 left out)
lr                   one number per optimizer step: the learning rate; null, or absent in older records, where
                     each has that of `config`
last_epoch           loss: mean over the samples of the last `steps` steps, which are a `whole` epoch if
                     this run has one; absent in older records and without steps
weights_sha256       of the gathered parameters in model order, little-endian, without padding
test                 loss, and accuracy or r2; null without test samples. Of text also bits (the loss once
                     more) and unigram: the loss of who knows only how often each character stands
held_out             with --eval-every: per test step, loss, and accuracy or r2; best: the least of these
                     losses and its step, with --save also of what was done before this run; absent in
                     older records
own                  only with --own: equal (to the reference in every bit), and first, what differs first:
                     see train/beside.py
text                 what a GPT writes after training, from nothing; null with --quiet, absent likewise
seconds_per_step     median, on rank 0; check_seconds_per_step: mean share of --check in it, null without
ranks                per rank: samples (computed in the whole run), resting_bytes and peak_bytes by
                     kind, peak_total_bytes, sent_bytes_per_step, calls_per_step, between_bytes_per_step
                     (those of the bytes sent that went to other groups, to sum gradients; absent in older
                     records), away_bytes and moved_bytes_per_step (what --offload has put outside the
                     device, by tier, and how much of it is read, written, and used in a mapping: the most of
                     any step; absent in older records); `predicted`, with the same keys, by a dry run of the
                     same code (train/dry_run.py); and `formula`, with those keys of which the papers'
                     formulas speak (plan/formulas.py, `bill`)
recorded_step        only with --report, --trace or --chart: one step, event by event (see train/events.py):
                     step (from 1), file and source of the stage, itemsize (bytes of a number), units (name,
                     shapes, elements without padding, counts: elements per rank of a group with padding), per
                     rank: kept (per unit: bytes and length of what lies there between steps, by kind),
                     elements (per unit: how many of its own are not padding), predicted (peaks of this
                     step by a dry run), places, and events: rows of microseconds, what, name, unit,
                     bytes, line, place. clocks, by rank: the number of its host, and within how many
                     microseconds its clock is known beside that of rank 0; absent in older records,
                     whose ranks have each a zero of their own, and in dry runs
"""

import argparse
import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from zero_ref import array, model, optim
from zero_ref.extras import offload, storage
from zero_ref.extras.tensors import matrices
from zero_ref.launch import UsageError
from zero_ref.launch.files import check_readable, in_one_piece
from zero_ref.launch.singular import number_of
from zero_ref.ledger import KINDS
from zero_ref.plan import formulas, muon, zeropp
from zero_ref.plan.offload import bill_of_offload
from zero_ref.train import dry_run
from zero_ref.train.choose import Run
from zero_ref.train.family import ZEROPP

MOST_BYTES = 1 << 30  # of a record; a longer file is not read into memory


# -- making one --


def rank_entry(
    o: argparse.Namespace, run: Run, measured: dict[str, Any], sizes: list[tuple[int, ...]]
) -> dict[str, Any]:
    """One entry of `ranks`: what train.run.fit measured on this rank, and what was to be expected."""
    samples = {"samples": sum(map(sum, sizes))}
    expected = {"predicted": samples | forecast_of(o, run, sizes), "formula": vars(bill(o, run))}
    return samples | measured | expected


def forecast_of(o: argparse.Namespace, run: Run, sizes: list[tuple[int, ...]]) -> dict[str, Any]:
    """What a dry run says of steps with so many samples in each micro-batch on this rank."""
    return vars(dry_run.forecast(o, run.task, run.world.rank, run.world.size, sorted(set(sizes))))


def bill(o: argparse.Namespace, run: Run) -> formulas.Bill:
    """What the formulas say of this rank."""
    kind, itemsize = optim.KINDS[o.optimizer], np.dtype(o.dtype).itemsize
    keeps, layouts, rank = run.stage.KEEPS, [u.layout for u in run.units], run.comm.rank
    about = {
        "itemsize": itemsize,
        "state_bytes": formulas.state_bytes(kind, itemsize, momentum=o.momentum),
        "micro_batches": o.micro_batches,
        "accumulate": np.dtype(o.accumulate).itemsize if o.accumulate else None,
    }
    groups = {
        "groups": run.world.size // run.comm.size,
        "group": run.world.rank // run.comm.size,
    }
    until = "backward" if o.keep_after_forward else "used"
    found = formulas.bill(
        keeps,
        layouts,
        rank,
        **about,
        prefetch=o.prefetch,
        overlap=o.overlap,
        gathered_until=until,
        ring=o.reduce == "ring",
        **groups,
    )
    if o.offload:
        where = storage.tier(o.offload), offload.BLOCK
        about |= {"gathered_until": until, "shards": o.offload_shards}
        found = bill_of_offload(found, keeps, layouts, rank, *where, **about)
    asked: dict[str, Any] = {name: getattr(o, name, None) for name in ZEROPP}  # older records have none
    if any(asked.values()):
        asked |= {"gathered_until": until, **groups}
        found = zeropp.coded_bill(found, keeps, layouts, rank, itemsize, o.micro_batches, **asked)
    if o.optimizer == "muon":
        names, wide = matrices(run.units), max(itemsize, 4)
        found = muon.with_muon(found, keeps, layouts, names, rank, wide, o.reduce == "ring", asked["machine"])
    return found


def orthogonalised(o: argparse.Namespace, run: Run) -> list[int] | None:
    """Multiplications and additions of Muon's Newton-Schulz in one step, by rank; None without it."""
    if o.optimizer != "muon":
        return None
    found = muon.work(run.stage.KEEPS, [u.layout for u in run.units], matrices(run.units))
    return found * (run.world.size // run.comm.size)


def owned(run: Run) -> list[int]:
    """How many parameters, with padding, each rank owns: in every group all of them."""
    size = run.comm.size
    return [sum(u.layout.counts[rank % size] for u in run.units) for rank in range(run.world.size)]


def make_record(
    o: argparse.Namespace,
    run: Run,
    steps: range,
    history: dict[str, Any],
    ranks: list[dict[str, Any]],
) -> dict[str, Any]:
    """The whole record. ranks: the entries of all."""
    return {
        "config": vars(o) | {"place": array.place()},
        "world_size": run.world.size,
        "stage": o.stage,
        "model": model.describe(run.units),
        "task": f"{run.task.classes} classes" if run.task.classes else "numbers",
        "parameters": sum(u.layout.elements for u in run.units),
        "parameters_padded": sum(u.layout.padded for u in run.units),
        "owned": owned(run),
        "units": len(run.units),
        "drift": history.get("drift"),
        "newton_schulz": orthogonalised(o, run),
        "first_step": steps.start,
        "samples_per_step": min(o.batch_size, len(run.batches.ids)) if run.batches else o.batch_size,
        "loss": history["loss"],
        "grad_norm": history["grad_norm"],
        "lr": history.get("lr"),
        "last_epoch": history.get("last_epoch"),
        "weights_sha256": history["weights_sha256"],
        "test": history["test"],
        "held_out": history.get("held_out", []),
        "best": history.get("best"),
        "text": history.get("text"),
        "seconds_per_step": history["seconds_per_step"],
        "check_seconds_per_step": history.get("check_seconds_per_step"),
        "ranks": ranks,
    }


def write(path: str, result: dict[str, Any]) -> None:
    """Write the record to `path` in one piece; UsageError, and no trace of it, if that fails."""
    with in_one_piece(path, "--record") as part, open(part, "w", encoding="utf-8") as file:
        json.dump(finite(result), file, indent=1, allow_nan=False)


def finite(value: Any) -> Any:
    """`value` with null for the numbers that JSON does not have."""
    if isinstance(value, dict):
        return {name: finite(v) for name, v in value.items()}
    if isinstance(value, list):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# -- reading one --


Natural = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]  # what a page's numbers hold exactly
Bytes = dict[str, Natural]


class Peaks(msgspec.Struct):
    peak_bytes: Bytes
    peak_total_bytes: Natural


class Measured(Peaks, kw_only=True):
    samples: Natural
    resting_bytes: Bytes
    sent_bytes_per_step: Bytes
    calls_per_step: Bytes
    between_bytes_per_step: Bytes = {}  # older records have none
    away_bytes: Bytes = {}  # likewise, and the next
    moved_bytes_per_step: Bytes = {}


class Formula(msgspec.Struct):
    resting_bytes: Bytes
    peak_bytes: Bytes
    sent_bytes_per_step: Bytes
    between_bytes_per_step: Bytes = {}
    away_bytes: Bytes = {}
    moved_bytes_per_step: Bytes = {}


class Rank(Measured, kw_only=True):
    predicted: Measured
    formula: Formula | None = None  # older records have none: `predicted` was the formulas'


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
    clocks: list[tuple[Natural, float]] | None = None


class Record(msgspec.Struct):
    """What a page needs of a record (see zero_ref/report/record.py)."""

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
    model: str = ""
    samples_per_step: Natural | None = None
    shown_ranks: list[Natural] | None = None
    held_out: list[tuple[Natural, float | None, float | None]] | None = None
    recorded_step: RecordedStep | None = None


def read(path: str, option: str = "") -> dict[str, Any]:
    """The record in a file; UsageError, which begins with `option` and the path, if it holds none."""
    try:
        check_readable(path, option.rstrip(), MOST_BYTES)
        data = Path(path).read_bytes()
        record = msgspec.json.decode(data, type=Record)
        if problem := inconsistency(record):
            raise ValueError(problem)
        return json.loads(data)
    except OSError as error:
        raise UsageError(f"{option}{path}: {error.strerror}") from None
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # of 0.22 on, the first is the second
        raise UsageError(f"{option}{path}: is not a record of a run ({error})") from None


def inconsistency(record: Record) -> str:
    """What in a record contradicts the rest of it; "" if nothing does."""
    shown, ranks = record.shown_ranks, record.ranks
    if not ranks or len(ranks) != (record.world_size if shown is None else len(shown)):
        return f"{number_of(len(ranks), 'ranks')} of {record.world_size}"
    if shown is not None and (len(set(shown)) < len(shown) or max(shown) >= record.world_size):
        return f"shown_ranks are not ranks of {record.world_size}"
    group = record.config.get("group")
    if group is not None and (not isinstance(group, int) or group < 1 or record.world_size % group):
        return f"groups of {group} of {number_of(record.world_size, 'ranks')}"
    if any((rank.formula is None) != (ranks[0].formula is None) for rank in ranks):
        return "some ranks have a formula and some have none"
    for rank in ranks:
        if rank.formula and not set(rank.formula.peak_bytes) <= set(KINDS) & set(rank.peak_bytes):
            return "a formula speaks of a kind that is not there"
    return inconsistency_of_step(record, record.recorded_step) if record.recorded_step else ""


def inconsistency_of_step(record: Record, step: RecordedStep) -> str:
    """The same of the recorded step."""
    counts = {len(unit.counts) for unit in step.units}
    if len(step.ranks) != len(record.ranks) or counts != {record.config.get("group") or record.world_size}:
        return "recorded_step has another number of ranks"
    if step.clocks is not None and len(step.clocks) != len(step.ranks):
        return "recorded_step has clocks of another number of ranks"
    for number, rank in enumerate(step.ranks):
        if len(rank.kept) != len(step.units) or len(rank.elements) != len(step.units):
            return f"recorded_step has another number of units on rank {number}"
        for _, what, name, unit, _, _, place in rank.events:
            known = name in KINDS or what in ("begin", "end")
            if not known or place >= len(rank.places) or (unit is not None and unit >= len(step.units)):
                return f"an event on rank {number} names what is not there"
    return ""
