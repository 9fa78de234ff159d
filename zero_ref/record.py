"""The run record: one JSON object that other programs read, and the summary that people read.

config               the options, complete, and where arrays lived (see estimate.place_here)
world_size, stage    N and 0 to 3
parameters           how many, without padding; parameters_padded: with it, over all ranks
first_step           0, or the steps done before in a resumed run; the rest is about this run alone
loss, grad_norm      one number per optimizer step: the global mean loss; the norm before clipping,
                     null where it is not finite (a step that float16 left out)
weights_sha256       of the gathered parameters in model order, little-endian, without padding
test                 loss, and accuracy or r2; null without test samples
seconds_per_step     median, on rank 0; check_seconds_per_step: mean share of --check in it, null without
ranks                per rank: samples (computed in the whole run), resting_bytes and peak_bytes by
                     kind, peak_total_bytes, sent_bytes_per_step, calls_per_step, and `predicted`,
                     with the same keys, by estimate.py
recorded_step        only with --report, --trace or --chart: one step, event by event (see events.py):
                     step (from 1), file and source of the stage, itemsize (bytes of a number), units (name,
                     shapes, elements without padding, counts: elements per rank with padding), and per
                     rank: kept (per unit: bytes and length of what lies there between steps, by kind),
                     elements (per unit: how many of its own are not padding), predicted (peaks of this
                     step by estimate.py), places, and events: rows of microseconds, what, name, unit,
                     bytes, line, place
"""

import argparse
import json
import math
from typing import Any

import tabulate

from zero_ref.comm import Comm
from zero_ref.data import Task
from zero_ref.estimate import of_options, place_here, predict
from zero_ref.files import in_one_piece
from zero_ref.model import Unit

tabulate.MIN_PADDING = 0


def of_rank(
    o: argparse.Namespace,
    units: list[Unit],
    comm: Comm,
    task: Task,
    measured: dict[str, Any],
    sizes: list[tuple[int, ...]],
) -> dict[str, Any]:
    """One entry of `ranks`: what training.fit measured on this rank, and what was to be expected."""
    samples = {"samples": sum(map(sum, sizes))}
    return samples | measured | {"predicted": samples | expected(o, units, comm, task, sizes)}


def expected(
    o: argparse.Namespace, units: list[Unit], comm: Comm, task: Task, sizes: list[tuple[int, ...]]
) -> dict[str, Any]:
    """What estimate.py says of steps with so many samples in each micro-batch on this rank."""
    run = of_options(o, units, task, comm.rank, comm.size)
    return vars(predict(run, sorted(set(sizes))))


def of_run(
    o: argparse.Namespace,
    units: list[Unit],
    comm: Comm,
    steps: range,
    history: dict[str, Any],
    weights_sha256: str,
    test: dict[str, Any] | None,
    ranks: list[dict[str, Any]],
) -> dict[str, Any]:
    """The whole record."""
    return {
        "config": vars(o) | {"place": place_here()},
        "world_size": comm.size,
        "stage": o.stage,
        "parameters": sum(u.layout.elements for u in units),
        "parameters_padded": sum(u.layout.padded for u in units),
        "first_step": steps.start,
        "loss": history["loss"],
        "grad_norm": history["grad_norm"],
        "weights_sha256": weights_sha256,
        "test": test,
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


def summary(result: dict[str, Any], units: list[Unit], task: Task) -> str:
    """The run in words and one table: per rank, bytes held and sent, each beside its formula."""
    config, test = result["config"], result["test"]
    widths = "-".join(map(str, [task.features, *config["hidden"], task.outputs]))
    owned = [sum(u.layout.counts[r] for u in units) for r in range(result["world_size"])]
    rows = []
    for rank, (entry, elements) in enumerate(zip(result["ranks"], owned)):
        rest, formula = entry["resting_bytes"], entry["predicted"]
        sent, sent_formula = (sum(e["sent_bytes_per_step"].values()) for e in (entry, formula))
        rows.append(
            [
                rank,
                f"{entry['samples']:,}",
                f"{elements / sum(owned):.1%}",
                *(f"{rest[kind]:,}" for kind in ("parameter", "gradient", "optimizer")),
                *_beside(sum(rest.values()), sum(formula["resting_bytes"].values())),
                *_beside(entry["peak_total_bytes"], formula["peak_total_bytes"]),
                *_beside(sent, sent_formula),
            ]
        )
    header = ["rank", "samples", "share", "parameter", "gradient", "optimizer"]
    header += ["at rest", "formula", "peak", "formula", "sent/step", "formula"]
    checks = result["check_seconds_per_step"]
    kind, classes = config["model"], f"{task.classes} classes" if task.classes else "numbers"
    scores = [f"{name} {value:.4f}" for name, value in (test or {}).items() if value is not None]
    return "\n".join(
        [
            f"ZeRO stage {config['stage']} on {result['world_size']} ranks ({config['device']}), "
            f"{config['optimizer']}, {config['dtype']}",
            f"model    {kind} {widths}: {result['parameters']:,} parameters in {len(units)} units, "
            f"{result['parameters_padded']:,} with padding",
            f"data     {config['data']}, {classes}: {len(result['loss'])} steps of {config['batch_size']} "
            f"samples, {1e3 * result['seconds_per_step']:.2f} ms each",
            f"loss     {result['loss'][0]:.4f} at first, {result['loss'][-1]:.4f} at last; "
            f"test: {', '.join(scores) or 'no samples'}",
            f"weights  sha256 {result['weights_sha256'][:16]}...; "
            f"largest share over mean share {max(owned) * len(owned) / sum(owned):.3f}",
            *([] if checks is None else [f"check    {1e3 * checks:.2f} ms of each step"]),
            "",
            tabulate.tabulate(rows, header, disable_numparse=True, colalign=["right"] * len(header)),
            "Bytes a rank holds between steps and at most, and sends in a step; '=': as the formula says.",
        ]
    )


def _beside(measured: int, predicted: int) -> tuple[str, str]:
    return f"{measured:,}", "=" if measured == predicted else f"{predicted:,}"
