"""After a run with `--own`: the reference trains the same beside it, and every bit is compared.

Somebody's own rings and steps may be right up to rounding, or wrong in a place that no loss shows. So the
same run is made once more, by zero_ref's stage on `--reduce ring`, from the same start over the same samples,
and nothing that it holds or sends is booked. What is compared: all losses and norms, what every step leaves
in every unit's parameters on every rank, and the whole model in the end.
"""

import argparse
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from zero_ref.checkpoint import Checkpoint, saving, weights
from zero_ref.extras.own import Trail
from zero_ref.launch.terminal import folded, words_of
from zero_ref.ledger import ledger
from zero_ref.train import choose, options
from zero_ref.train.choose import Run
from zero_ref.train.watch import watch

History = dict[str, Any]


def compare(
    fit: Callable[..., Any],
    o: argparse.Namespace,
    run: Run,
    steps: range,
    history: History,
    checkpoint: Checkpoint | None,
) -> dict[str, Any]:
    """`own` of the record: equal, and first, what differs first. All ranks call it together.

    fit: trains, see train/run.py, which imports this
    first: step, what ("loss", "norm", or a unit's name, "the model" where only the gathered one differs),
    rank, and mine and right (numbers) where they are known; None where all is equal
    """
    with ledger.set_aside(), np.errstate(over="ignore", invalid="ignore"):
        plain, trail = reference(o, run, checkpoint)
        theirs = fit(plain, steps, choose.schedule(o, steps.stop), lambda _: None)[0]
        mine = next(differences(run, history, theirs, trail, steps.start), None)
        found = [each for each in run.world.everyone(mine) if each]
        number = number_that_differs(run, plain)
    first = min(found, key=lambda each: each["step"], default=None)
    if first is None and number is not None:
        first = {"step": steps.stop, "what": "the model", "rank": 0}
    return {"equal": first is None, "first": first and {**first, "number": number}}


def reference(o: argparse.Namespace, run: Run, checkpoint: Checkpoint | None) -> tuple[Run, Trail]:
    """The run of the options without --own, set up, and the trail of its steps."""
    o = argparse.Namespace(**vars(o) | {"own": None, "reduce": "ring"})
    comm, stage = choose.comm(o), choose.stage(o)
    watch(comm, o.timeout)
    shares = options.model_rule(o, comm.size)[1]
    init = functools.partial(weights.read_tensor, o.init) if o.init else None
    units = choose.units(o, run.task, comm.size, checkpoint.tensor if checkpoint else init)
    batches = choose.batches(o, choose.data_set(o), run.world, shares=shares)
    plain = Run(stage, units, comm, run.world, choose.guard(o, units), batches, run.task)
    stage.setup(units, comm, choose.optimizer(o))
    if checkpoint:
        saving.restore(checkpoint, plain)
    trail = Trail(stage.step)
    traced = type(stage)(stage.__name__)
    traced.__dict__.update(vars(stage) | {"step": trail.step})
    return dataclasses.replace(plain, stage=traced), trail


def differences(
    run: Run, mine: History, theirs: History, trail: Trail, start: int
) -> Iterator[dict[str, Any]]:
    """Of this rank, step by step: what a step leaves in the parameters, and what it returns."""
    rank = run.world.rank
    for n, pair in enumerate(zip(run.stage.trail.steps, trail.steps)):
        for name in ("loss", "grad_norm"):
            ours, right = mine[name][n], theirs[name][n]
            if repr(ours) != repr(right):
                yield {
                    "step": start + n + 1,
                    "what": name,
                    "rank": rank,
                    "mine": repr(ours),
                    "right": repr(right),
                }
        for u, ours, right in zip(run.units, *pair):
            if ours != right:
                yield {"step": start + n + 1, "what": u.layout.name, "rank": rank}


def number_that_differs(run: Run, plain: Run) -> dict[str, Any] | None:
    """The first number of the trained model that is another one: its tensor, its place, and both values.

    All ranks go through both models to their ends, as each unit is a collective call at stage 3.
    """
    found = None
    both = (weights.named_tensors(each.stage, each.units, each.comm) for each in (run, plain))
    for (name, ours), (_, right) in zip(*both, strict=True):
        differ = np.argwhere(ours.view(f"u{ours.itemsize}") != right.view(f"u{right.itemsize}"))
        if differ.size and found is None:
            place = tuple(differ[0].tolist())
            values = {"mine": repr(float(ours[place])), "right": repr(float(right[place]))}
            found = {"name": f"{name}{list(place)}", "differ": len(differ), "of": ours.size, **values}
    return found


def said(record: dict[str, Any], language: str | None) -> str:
    """The end of what is told of such a run: equal or not, where first; and joy where all is right."""
    word = words_of("zero_ref.report", language)
    own, ranks = record["own"], record["ranks"]
    if not own["equal"]:
        first, number = own["first"], own["first"]["number"]
        lines = [word["own_differs"].format(**first)]
        if "mine" in first:
            lines.append(word["own_values"].format(**first))
        if number:
            lines.append(word["own_number"].format(**number))
        return "\n".join(part for line in lines for part in folded(line))
    sent = [sum(rank["sent_bytes_per_step"].values()) for rank in ranks]
    right = [sum(rank["formula"]["sent_bytes_per_step"].values()) for rank in ranks]
    lines = [word["own_equal"].format(steps=len(record["loss"]))]
    if sent != right:
        rank = next(r for r in range(len(ranks)) if sent[r] != right[r])
        return "\n".join(
            [*lines, word["own_sent"].format(rank=rank, sent=f"{sent[rank]:,}", right=f"{right[rank]:,}")]
        )
    return "\n".join([*lines, word["own_joy"].format(stage=record["stage"], ranks=len(ranks))])
