"""What answer.py prints, as numbers: bytes held and sent, and work, of each stage for a model of some shape.

`formulas` works for any size, from the formulas of formulas.py; `trained_here` is exact to the byte, for
models that zero_ref.train can run. Neither needs MPI.
"""

import argparse
import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from zero_ref.data import Task
from zero_ref.extras.recompute import Recompute
from zero_ref.layout import FlatLayout, bounds
from zero_ref.ledger import ledger
from zero_ref.model import Unit
from zero_ref.plan.formulas import Leg, legs, legs_hpz, legs_in_groups, model_state_bytes, passes
from zero_ref.plan.timing import Machine, Times, Work, by_link, compute, gradient_bytes_moved, outside
from zero_ref.plan.traffic import Calls, legs_of_calls
from zero_ref.plan.zeropp import coded_numbers
from zero_ref.report.record import orthogonalised
from zero_ref.stages import STAGES
from zero_ref.train import choose
from zero_ref.train.choose import Run
from zero_ref.train.dry_run import Forecast, forecast_of_ledger, on_rank, samples, step
from zero_ref.train.family import ZEROPP
from zero_ref.train.options import model_rule


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


@functools.cache  # a layout of a million ranks is asked thirty times for three numbers
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
    def calls(self) -> float:
        """Collectives of one rank in one step."""
        return sum(leg.calls for leg in self.legs) * self.work.units

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


@dataclass(frozen=True)
class Rehearsed:
    """A dry run of one rank: what it holds and sends, to whom, and what it computes beside its layers.

    coded: numbers to and from codes in a step; products: multiplications and additions of Newton-Schulz.
    """

    forecast: Forecast
    legs: list[Leg]
    coded: int
    products: int


def rehearsed(
    o: argparse.Namespace,
    task: Task,
    rank: int,
    ranks: int,
    steps: Sequence[tuple[int, ...]],
    near: int,
    place: str | None = None,
) -> Rehearsed:
    """One rank of `ranks`, of which `near` neighbours share a machine. steps, place: see dry_run.forecast;
    the legs are those of the last step."""
    with on_rank(o, task, rank, ranks, place) as run:
        resting, calls = dict(ledger.live), Calls(run)
        for sizes in steps[:-1]:
            step(run, samples(o, task, sizes))
        with calls.watching():
            step(run, samples(o, task, steps[-1]))
        return Rehearsed(
            forecast_of_ledger(resting),
            legs_of_calls(calls, o, near),
            numbers_of_codes(o, run),
            (orthogonalised(o, run) or [0] * ranks)[rank],
        )


def numbers_of_codes(o: argparse.Namespace, run: Run) -> int:
    """How many numbers become codes, or come back, on this rank in one step."""
    asked: dict[str, Any] = {name: getattr(o, name, None) for name in ZEROPP}  # older records have none
    return coded_numbers(
        run.stage.KEEPS,
        [u.layout for u in run.units],
        run.comm.rank,
        o.micro_batches,
        **asked,
        gathered_until="backward" if o.keep_after_forward else "used",
        groups=run.world.size // run.comm.size,
        group=run.world.rank // run.comm.size,
    )


def trained_here(
    o: argparse.Namespace, task: Task, ranks: int, near: int | None = None, name: str | None = None
) -> Row:
    """A way to run a model of zero_ref.train, by its options, on full batches, exact to the byte.

    near: so many neighbours share a machine (default: all).
    """
    units = choose.units(o, task, o.group or ranks)
    sizes = deal(o, ranks)
    first_of: dict[Any, int] = {}  # ranks that hold, send and compute the same need one dry run
    for rank in range(ranks):
        first_of.setdefault((sizes[rank], *shares_of(o, units, rank, ranks)), rank)
    found = [
        rehearsed(o, task, rank, ranks, [(sizes[rank],) * o.micro_batches], near or ranks)
        for rank in first_of.values()
    ]
    tokens = task.features if task.alphabet else 1
    work = work_of(o, units, o.micro_batches * max(sizes), o.group or ranks, tokens)
    most = max(found, key=lambda each: each.forecast.peak_total_bytes)
    return row_of(o.stage, most, work, name)


def shares_of(o: argparse.Namespace, units: list[Unit], rank: int, ranks: int) -> Iterator[int]:
    """What one rank may have more of than another: of each unit its shard, and its part of that between
    groups, or of the second copy in a machine."""
    size = o.group or ranks
    for layout in (u.layout for u in units):
        own = layout.counts[rank % size]
        yield own
        if size < ranks:
            ends = bounds(own, [1] * (ranks // size))
            yield ends[rank // size + 1] - ends[rank // size]
        elif o.machine:
            ends = bounds(layout.padded, [1] * o.machine)
            yield ends[rank % o.machine + 1] - ends[rank % o.machine]


def row_of(stage: int, found: Rehearsed, work: Work, name: str | None = None) -> Row:
    """The row of a dry run of one rank. work: of its layers."""
    said = found.forecast
    state: dict[str, float] = {
        kind: said.resting_bytes[kind] for kind in ("parameter", "gradient", "optimizer")
    }
    moved = sum(said.moved_bytes_per_step.values())
    away = tuple((tier, float(moved)) for tier, nbytes in said.away_bytes.items() if nbytes)
    work = replace(work, flop=work.flop + found.products, coded=found.coded, away=away)
    return Row(
        name or str(stage), stage, state, said.peak_total_bytes - sum(state.values()), found.legs, work
    )


def deal(o: argparse.Namespace, ranks: int) -> list[int]:
    """The samples of a full batch that each rank computes in each micro-batch (see data.Batches)."""
    size = o.group or ranks
    shares = (model_rule(o, size)[1] or [1] * size) * (ranks // size)
    ends = bounds(o.batch_size // o.micro_batches, shares)
    return [b - a for a, b in zip(ends, ends[1:])]


def work_of(o: argparse.Namespace, units: list[Unit], samples: int, ranks: int, tokens: int = 1) -> Work:
    """The work of one step of zero_ref.train for a rank that computes `samples` samples.

    tokens: in each of them, as far as a layer is computed for every one.
    """
    products = samples * tokens * sum(products_of(u, tokens) for u in units)
    psi = sum(u.layout.padded for u in units)
    itemsize = np.dtype(o.dtype).itemsize
    return _work(2.0 * products, o.stage, psi, ranks, itemsize, len(units), o.micro_batches)


def products_of(u: Unit, tokens: int) -> int:
    """Numbers multiplied by a unit's forward and backward pass for one sample, or token.

    A layer's forward pass is a product of inputs * outputs, and so are its weight's and its input's gradient;
    nobody wants the gradient of the first input. A unit that recomputes has another forward pass. Positions
    are added, and an embedding has a product for its gradient alone; in attention every token is multiplied
    with all `tokens`, twice.
    """
    times, first, found = 3 + isinstance(u, Recompute), u.first, 0
    for name, shape in u.layout.shapes.items():
        n = math.prod(shape)
        if len(shape) < 2 or name.endswith("wpe.weight"):
            continue
        found += n if name.endswith("wte.weight") else (times - first) * n
        if name.endswith("c_attn.weight"):
            found += times * 2 * tokens * shape[1]
        first = False
    return found


def most_parameters(stage: int, memory: float, ranks: int, itemsize: int, k: float) -> float:
    """The largest psi whose model state fits into `memory` bytes: what Table 2 of the paper is made of."""
    return memory / sum(model_state_bytes(stage, 1, ranks, itemsize, itemsize, k).values())


def times(row: Row, machine: Machine, ranks: int, near: int | None = None, ring: bool = False) -> Times:
    """Seconds of one step on `ranks` ranks, of which `near` share a machine (default: all); see timing.py."""
    near = near or ranks
    crowded = machine.crowding(near)
    inside, between, latency = by_link(row.legs, row.work.units, machine, near, ring)
    return Times(
        crowded * compute(row.work, machine),
        crowded * (inside + between),
        crowded * latency,
        crowded * row.work.coded * machine.code,
        crowded * outside(row.work, machine),
        crowded * between,
    )
