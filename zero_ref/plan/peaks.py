"""At what moment a stage needs most, and what is alive then: by a dry run, and by the law of peaks.

The law, in numbers of which the model has psi, a rank psi/N, and the unit that is gathered at that moment
psi_u; K bytes of optimizer state and e of parameter and gradient each, with one micro-batch:

    peak 0 - peak 1 = K (psi - psi/N)            the state of the others
    peak 1 - peak 2 = e (psi - psi/N)            the gradients of the others
    peak 3 - peak 2 = e (psi_u + psi/N - psi)    a unit is gathered, and the parameters of the others are gone

It holds where both stages need most in the same place, in the backward pass of the largest unit. So stage 3
needs more than stage 2 just where psi_u > (1 - 1/N) psi: it gathers nearly the whole model at once.
"""

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zero_ref.data import Task
from zero_ref.ledger import KINDS, ledger
from zero_ref.plan.formulas import passes
from zero_ref.plan.sizing import deal
from zero_ref.stages import STAGES
from zero_ref.train.dry_run import on_rank, samples, step
from zero_ref.train.events import Events


@dataclass(frozen=True)
class Peak:
    """The moment of one step at which a rank holds most.

    live: bytes by kind; file, line, text: in the stage's file; unit: whose; units: how many there are; psi,
    own, largest: parameters of all units, of this rank, of the largest unit, with padding; itemsize: of one,
    in bytes; state: bytes of optimizer state of one; calls: of reduce-scatter and all-gather in one step
    """

    stage: int
    live: dict[str, int]
    file: str
    line: int
    text: str
    unit: str
    units: int
    psi: int
    own: int
    largest: int
    itemsize: int
    state: float
    calls: int

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(self.live.values())


def rank_of_most(o: argparse.Namespace, ranks: int) -> int:
    """The first of the ranks that compute most samples: equal slices make them alike in all else."""
    dealt = deal(o, ranks)
    return dealt.index(max(dealt))


def peak_of(o: argparse.Namespace, task: Task, ranks: int) -> Peak:
    """The peak of zero_ref.train with the options `o` on a full batch, on the rank that computes most."""
    rank = rank_of_most(o, ranks)
    with on_rank(o, task, rank, ranks) as run:
        live, layouts = Counter(ledger.live), [u.layout for u in run.units]
        held = live["optimizer"]
        events = Events(0, run)
        with events.watching(0):
            step(run, samples(o, task, (deal(o, ranks)[rank],) * o.micro_batches))
        most, line, unit = dict(live), 0, ""
        for _, what, name, number, nbytes, at, _ in events.rows:
            live[name] += nbytes if what in ("born", "died") else 0
            if sum(live.values()) > sum(most.values()):
                most, line, unit = dict(live), at, "" if number is None else layouts[number].name
        psi, own = sum(each.padded for each in layouts), sum(each.counts[run.comm.rank] for each in layouts)
        path = Path(str(run.stage.__file__))
        return Peak(
            o.stage,
            {kind: most[kind] for kind in KINDS},
            f"{path.parent.name}/{path.name}",
            line,
            path.read_text(encoding="utf-8").splitlines()[line - 1].strip() if line else "",
            unit,
            len(layouts),
            psi,
            own,
            max(each.padded for each in layouts),
            np.dtype(o.dtype).itemsize,
            held / (psi if run.stage.KEEPS["optimizer"] == "all" else own),
            sum(passes(o.stage, o.micro_batches).values()) * len(layouts),
        )


def law(peak: Peak) -> dict[tuple[int, int], float]:
    """Bytes that the first of two stages needs less than the second, which is negative if it needs more."""
    others = peak.psi - peak.own
    return {
        (0, 1): -peak.state * others,
        (1, 2): -peak.itemsize * others,
        (2, 3): peak.itemsize * (peak.largest - others),
    }


def law_of_groups(peak: Peak, alone: Peak) -> float:
    """Bytes that a stage in groups (`peak`) needs more than over all ranks: its shards are longer.

    They are of the optimizer's state at stage 1, and of gradients and parameters, too, at stages 2 and 3.
    """
    keeps = STAGES[peak.stage].KEEPS
    each = {"optimizer": peak.state, "gradient": peak.itemsize, "parameter": peak.itemsize}
    more = {"1/N": peak.own - alone.own, "all": peak.psi - alone.psi}  # the latter is padding
    return sum(each[kind] * more[kept] for kind, kept in keeps.items())
