"""Exercises 08, 11, 12 and 13: a student's step() of one stage, on real units, over the exercises' `comm`.

What each rank has after each step, holds and sends goes to the checker; so does what it should be.
mistakes.py compares the two.
"""

import gc
import weakref
from collections.abc import Callable
from functools import partial
from importlib import import_module
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker.ranks import prerequisites
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import ReturnLine, encode
from lessons.checker.stages.log import Log, Optimizer, watch_unit, watched_clip
from lessons.checker.stages.world import World, batches_of, loss_grad_of, units_of
from zero_ref import model
from zero_ref.ledger import ledger

TRIALS = (  # micro-batch, rank -> samples; the optimizer; step -> the norm to clip to
    ([[3]], "SGD", (None, 0.02)),
    ([[2, 3]], "SGD", (None, 0.02)),
    ([[3, 2], [1, 4]], "SGD", (None, 0.02)),
    ([[2, 0, 3]], "Adam", (0.02, None, None)),
    ([[3, 0, 2, 1], [1, 0, 0, 2]], "AdamW", (None, 0.02)),
)


def cases(random: Random) -> list[dict[str, Any]]:
    """One worker; then two, three and four, with one micro-batch or two.

    samples: of rank 0, of rank 1, ...; micro-batches with a plus between them. "numbers" are not shown.
    """
    found = []
    for samples, optimizer, clips in TRIALS:
        counts = [[n and n + random.randrange(2) for n in row] for row in samples]
        of_ranks = ["+".join(map(str, of_rank)) for of_rank in zip(*counts)]
        found.append(
            {
                "size": len(counts[0]),
                "micro_batches": len(counts),
                "optimizer": optimizer,
                "samples": ", ".join(of_ranks),
                "numbers": {"seed": random.randrange(1 << 20), "counts": counts, "clips": clips},
            }
        )
    return found


def run_trial(stage: int, case: dict[str, Any], talk: Talk, student: ModuleType) -> dict[str, Any]:
    """The student's step; then, without a message, what the real one would have held and sent on this rank.

    Rank 0 adds what all ranks should have got, to the last bit if the ring adds as the reference does.
    """
    from lessons.checker.stages.comm import SilentComm, WatchedComm

    module, log = import_module(f"zero_ref.stages.zero{stage}"), Log(talk)
    line, steps = run_steps(case, WatchedComm(talk, log), log, student.step, module)
    _, real = run_steps(case, SilentComm(talk, log), log, module.step, module)
    found = {"value": steps[0]["value"], "line": line, "steps": steps, "real": real, "events": talk.events}
    if talk.rank == 0:
        found["right"] = [[encode(of_rank) for of_rank in ranks] for ranks in World(case, stage).run()]
        found["own_ring"] = prerequisites.is_own("ring_reduce_scatter")
    return found


def run_steps(
    case: dict[str, Any], comm: Any, log: Log, step: Callable, module: Any
) -> tuple[int | None, list[dict]]:
    """All steps of a trial: the line at which `step` returned, and what this rank has after each."""
    from zero_ref.clip import clip

    gc.collect()  # what an earlier step has left in circles must not die while this one is measured
    before, found, units = dict(ledger.live), [], units_of(case)
    module.setup(units, comm, partial(Optimizer, case, log))
    for u in units:
        watch_unit(u, log)
    given = Given(units)
    for number, max_norm in enumerate(case["numbers"]["clips"]):
        ledger.forget_peaks()
        ledger.forget_sent()
        log.entries = []
        with ReturnLine(step) as returned:
            value = step(
                units,
                comm,
                batches_of(case, number)[comm.rank],
                loss_grad_of(case),
                watched_clip(clip, log, max_norm),
            )
        found.append(describe_step(units, value, log.entries, before) | {"rebound": given.rebound()})
    for u in units:
        del u.forward, u.backward  # the watched ones hold the unit, which would not die at once
    return returned.line, found


class Given:
    """The arrays that a stage has hung on the units; they are kept alive by nothing here."""

    def __init__(self, units: list[model.Unit]) -> None:
        self.units = units
        self.arrays = [{name: weakref.ref(getattr(u, name)) for name in ("param", "grad")} for u in units]

    def rebound(self) -> list[str]:
        """The names that stand for another array by now, once each."""
        pairs = [(u, name, of) for u, each in zip(self.units, self.arrays) for name, of in each.items()]
        return sorted({f"u.{name}" for u, name, of in pairs if getattr(u, name) is not of()})


def describe_step(units: list[model.Unit], value: Any, log: list, before: dict) -> dict[str, Any]:
    """What a rank returned, has, holds, held at most, and sent, after one step."""
    kinds = ("gathered", "full_gradient")
    return {
        "value": encode(value),
        "params": [encode(u.param) for u in units],
        "cleared": [not np.any(u.grad) for u in units],
        "state": [sum(v.size for v in u.optimizer.state().values()) for u in units],
        "held": {name: [bytes_held(getattr(u, name)) for u in units] for name in ("param", "grad")},
        "alive": {kind: ledger.live[kind] - before[kind] for kind in kinds},
        "peak": {kind: ledger.peak[kind] - before[kind] for kind in kinds},
        "sent": dict(ledger.sent),
        "log": log,
    }


def bytes_held(array: Any) -> int:
    """The bytes that an array keeps in memory: those of the array that it is a view of."""
    while isinstance(getattr(array, "base", None), np.ndarray):
        array = array.base
    return int(getattr(array, "nbytes", 0))
