"""What answer.py prints, as numbers: bytes held and sent, and work, of each stage for a model of some shape.

`formulas` works for any size, from the formulas of formulas.py; `trained_here` is exact to the byte, for
models that zero_ref.train can run. Neither needs MPI.
"""

import argparse
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zero_ref.data import Task
from zero_ref.extras.recompute import Recompute
from zero_ref.layout import FlatLayout, bounds
from zero_ref.model import Unit
from zero_ref.plan.formulas import Leg, legs, legs_hpz, legs_in_groups, model_state_bytes, passes
from zero_ref.plan.timing import Machine, Times, Work, communication, compute, gradient_bytes_moved
from zero_ref.stages import STAGES
from zero_ref.train import choose
from zero_ref.train.dry_run import Forecast, forecast


@dataclass(frozen=True)
class Setting:
    """One model on one set of ranks.

    parameters: psi; units: in how many units, one collective each; itemsize: bytes of a parameter and of
    its gradient; k: bytes of optimizer state a parameter; group: ranks in a group, or None
    embeddings: of the parameters those of one unit more, beside units that are alike
    activation: bytes of one micro-batch on one rank; whole_units: count one unit's whole gradient, and at
    stage 3 its gathered parameters, as memory that a step needs
    flop: multiplications and additions of one rank in one step
    """

    parameters: int
    units: int
    itemsize: int
    k: float
    ranks: int
    group: int | None = None
    micro_batches: int = 1
    embeddings: int = 0
    activation: int = 0
    whole_units: bool = False
    flop: float = 0.0

    @property
    def unit(self) -> int:
        """Parameters of the largest unit, padded to a multiple of N."""
        alike = -(-(self.parameters - self.embeddings) // self.units)
        return padded(max(alike, self.embeddings), self.ranks)

    @property
    def padded(self) -> int:
        """Parameters of all units, each padded to a multiple of N; units differ by one at most."""
        smaller, larger = divmod(self.parameters - self.embeddings, self.units)
        alike = (self.units - larger) * padded(smaller, self.ranks) + larger * padded(smaller + 1, self.ranks)
        return alike + padded(self.embeddings, self.ranks)

    @property
    def calls(self) -> int:
        """Units in all: so often each collective is called when the whole model goes through it."""
        return self.units + (self.embeddings > 0)


def padded(n: int, ranks: int) -> int:
    """n elements, padded to a multiple of `ranks`."""
    return FlatLayout("", {"": (n,)}, ranks).padded


@dataclass(frozen=True)
class Row:
    """One way to run the model, for the rank that needs most.

    state: bytes between steps by kind; step: bytes that a step needs on top; legs: its collectives, in
    bytes (see formulas.Leg); work: what it computes
    """

    name: str
    stage: int
    state: dict[str, float]
    step: float
    legs: list[Leg]
    work: Work

    @property
    def rest(self) -> float:
        """Bytes between steps."""
        return sum(self.state.values())

    @property
    def needed(self) -> float:
        """Bytes at most."""
        return self.rest + self.step

    @property
    def inside(self) -> float:
        """Bytes that one rank sends in one step to ranks of its own group."""
        return sum(leg.inside for leg in self.legs)

    @property
    def between(self) -> float:
        """Bytes that one rank sends in one step to ranks of other groups."""
        return sum(leg.between for leg in self.legs)

    @property
    def sent(self) -> float:
        """Bytes that one rank sends in one step."""
        return self.inside + self.between


def paper_rows(s: Setting) -> list[tuple[dict[str, float], float]]:
    """By stage, the paper's convention: bytes by kind, and bytes sent without (N-1)/N; no padding."""
    return [
        (
            model_state_bytes(stage, s.parameters, s.ranks, s.itemsize, s.itemsize, s.k),
            s.itemsize * s.parameters * sum(passes(stage, s.micro_batches).values()),
        )
        for stage in range(4)
    ]


def formulas(s: Setting) -> list[Row]:
    """Stages 0 to 3 over all ranks; with a group also stages 1 to 3 inside it, and hpZ."""
    psi, n, g, k = s.padded, s.ranks, s.group, s.micro_batches
    rows = [_row(s, str(stage), stage, n, legs(stage, psi, n, k, g)) for stage in range(4)]
    if g is None:
        return rows
    for stage in (1, 2, 3):
        rows.append(_row(s, f"{stage} in groups", stage, g, legs_in_groups(stage, psi, n, g, k)))
    hpz = _row(s, "hpZ", 3, n, legs_hpz(psi, n, g, k))
    second_copy = s.itemsize * psi / g
    return [*rows, replace(hpz, state=hpz.state | {"parameter": hpz.state["parameter"] + second_copy})]


def _row(s: Setting, name: str, stage: int, shards: int, elements: list[Leg]) -> Row:
    """A stage that cuts the model into `shards`."""
    psi, e = s.padded, s.itemsize
    gathers = STAGES[stage].KEEPS["parameter"] == "1/N"
    whole_units = (2 if gathers else 1) * e * s.unit if s.whole_units else 0
    return Row(
        name,
        stage,
        model_state_bytes(stage, psi, shards, e, e, s.k),
        s.activation + whole_units,
        [replace(leg, inside=e * leg.inside, between=e * leg.between) for leg in elements],
        _work(s.flop, stage, psi, shards, e, s.calls, s.micro_batches),
    )


def _work(flop: float, stage: int, psi: float, ranks: int, e: int, units: int, micro_batches: int) -> Work:
    has = {"all": psi, "1/N": psi / ranks}
    keeps = STAGES[stage].KEEPS
    moved = gradient_bytes_moved(e * has[keeps["gradient"]], micro_batches)
    return Work(flop, has[keeps["optimizer"]], moved, units, micro_batches)


def trained_here(o: argparse.Namespace, task: Task, ranks: int) -> Row:
    """One stage of zero_ref.train with the options `o` on full batches, exact to the byte."""
    units = choose.units(o, task, ranks)
    sizes = [deal(o.batch_size, o.micro_batches, rank, ranks) for rank in range(ranks)]
    first_of: dict[Any, int] = {}  # ranks that hold and compute the same need one dry run
    for rank in range(ranks):
        first_of.setdefault((sizes[rank], *(u.layout.counts[rank] for u in units)), rank)
    found = [forecast(o, task, rank, ranks, [sizes[rank]]) for rank in first_of.values()]
    work = work_of(o, units, max(map(sum, sizes)), ranks)
    return row_of(o.stage, max(found, key=lambda p: p.peak_total_bytes), work, ranks)


def row_of(stage: int, found: Forecast, work: Work, ranks: int) -> Row:
    """The row of what a dry run says of one rank. "other", one number from each, is a gather."""
    state: dict[str, float] = {
        kind: found.resting_bytes[kind] for kind in ("parameter", "gradient", "optimizer")
    }
    sent = [
        Leg("all_gather" if c == "other" else c, found.calls_per_step[c] / work.units, ranks, nbytes, 0)
        for c, nbytes in found.sent_bytes_per_step.items()
    ]
    return Row(str(stage), stage, state, found.peak_total_bytes - sum(state.values()), sent, work)


def deal(batch_size: int, micro_batches: int, rank: int, ranks: int) -> tuple[int, ...]:
    """The samples of a full batch that a rank computes in each micro-batch (see data.Batches)."""
    part = bounds(batch_size // micro_batches, [1] * ranks)
    return (part[rank + 1] - part[rank],) * micro_batches


def work_of(o: argparse.Namespace, units: list[Unit], samples: int, ranks: int) -> Work:
    """The work of one step of zero_ref.train for a rank that computes `samples` samples.

    A layer's forward pass is a product of 2 * samples * inputs * outputs multiplications and additions, and
    so are its weight's and its input's gradient; nobody wants the gradient of the first input. A unit that
    recomputes has another forward pass.
    """
    products = []
    for u in units:
        matrices = [math.prod(shape) for shape in u.layout.shapes.values() if len(shape) == 2]
        products += [(3 + isinstance(u, Recompute)) * n for n in matrices]
        if u.first and matrices:
            products[-len(matrices)] -= matrices[0]
    psi = sum(u.layout.padded for u in units)
    itemsize = np.dtype(o.dtype).itemsize
    return _work(2.0 * samples * sum(products), o.stage, psi, ranks, itemsize, len(units), o.micro_batches)


def most_parameters(stage: int, memory: float, ranks: int, itemsize: int, k: float) -> float:
    """The largest psi whose model state fits into `memory` bytes: what Table 2 of the paper is made of."""
    return memory / sum(model_state_bytes(stage, 1, ranks, itemsize, itemsize, k).values())


def times(row: Row, machine: Machine, ranks: int) -> Times:
    """Seconds of one step on `ranks` ranks; see timing.py."""
    crowded = machine.crowding(ranks)
    bandwidth, latency = communication(row.legs, row.work.units, machine)
    return Times(crowded * compute(row.work, machine), crowded * bandwidth, crowded * latency)
