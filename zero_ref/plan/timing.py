"""How long a step takes: the alpha-beta model, and what it needs to know of a machine.

    time of a step = compute + bandwidth + latency
    bandwidth      = sum over collectives of bytes sent / bandwidth     (beta is 1 / bandwidth)
    latency        = sum over collectives of alpha * hops

Nothing overlaps. A collective has N-1 hops around a ring, as for long vectors, or ceil(log2 N) by halving
and doubling, as MPI does it for short ones. calibrate.py measures a machine and writes it as a JSON file.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from zero_ref.launch import UsageError
from zero_ref.launch.files import check_readable, in_one_piece
from zero_ref.plan.formulas import Leg

MOST_BYTES = 1 << 20  # of a machine's file

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Rate = Annotated[float, msgspec.Meta(gt=0)]


class Link(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One collective. latency: alpha, seconds a hop; bandwidth: bytes a second that a rank sends."""

    latency: Seconds
    bandwidth: Rate


def hops(kind: str, ranks: int) -> int:
    """Hops of one collective, by "ring" or "halving"."""
    return ranks - 1 if kind == "ring" else math.ceil(math.log2(ranks))


class Machine(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What a step's time depends on beside the model.

    flops: multiplications and additions a second in matrix products, one rank; None: not known, and
        compute is left out
    update: seconds of the optimizer a parameter; memory: bytes a second read or written by simple
        arithmetic; both of one rank
    pass_call, update_call, loss_call: seconds that a unit's forward and backward pass, a unit's update
        and a micro-batch's loss take however small they are: what Python and NumPy cost
    ranks, cores: where it was measured, how many ranks ran on how many cores. More ranks than cores
        take turns, so everything takes longer by their ratio.
    between: links between groups, where they differ
    """

    reduce_scatter: Link
    all_gather: Link
    between: Link | None = None
    hops: Literal["ring", "halving"] = "ring"
    flops: Rate | None = None
    update: Seconds = 0.0
    memory: Rate | None = None
    pass_call: Seconds = 0.0
    update_call: Seconds = 0.0
    loss_call: Seconds = 0.0
    ranks: Annotated[int, msgspec.Meta(ge=1)] | None = None
    cores: Annotated[int, msgspec.Meta(ge=1)] | None = None

    def crowding(self, ranks: int) -> float:
        """How many times longer everything takes with `ranks` ranks on these cores than as measured."""
        if self.cores is None or self.ranks is None:
            return 1.0
        return max(1.0, ranks / self.cores) / max(1.0, self.ranks / self.cores)


@dataclass(frozen=True)
class Work:
    """What one rank computes in one step. flop: multiplications and additions; updated: parameters that
    it updates; moved: bytes that handling the gradient reads and writes; units, micro_batches: how many."""

    flop: float
    updated: float
    moved: float
    units: int
    micro_batches: int


@dataclass(frozen=True)
class Times:
    """Seconds of one step, by what they are spent on."""

    compute: float
    bandwidth: float
    latency: float

    @property
    def total(self) -> float:
        """Of the whole step."""
        return self.compute + self.bandwidth + self.latency

    @property
    def largest(self) -> str:
        """The name of the largest of the three."""
        return max(vars(self), key=lambda name: vars(self)[name])


def gradient_bytes_moved(own: float, micro_batches: int) -> float:
    """Bytes read and written by handling the gradient of which a rank keeps `own` bytes: per micro-batch as
    much is added to it, two read, one written; once a step it is read for the norm, and cleared."""
    return micro_batches * 3 * own + 2 * own


def compute(work: Work, machine: Machine) -> float:
    """Seconds of one rank's own work in one step."""
    if machine.flops is None:
        return 0.0
    calls = work.units * (machine.pass_call * work.micro_batches + machine.update_call)
    calls += machine.loss_call * work.micro_batches
    moving = work.moved / machine.memory if machine.memory else 0.0
    return work.flop / machine.flops + machine.update * work.updated + moving + calls


def communication(legs: Sequence[Leg], units: int, machine: Machine) -> tuple[float, float]:
    """Seconds for (bandwidth, latency) of one step. legs: of formulas.py, with bytes in place of elements.

    A collective that leaves its group has the latency of the link between groups at every hop.
    """
    bandwidth = latency = 0.0
    for leg in legs:
        link = machine.reduce_scatter if leg.collective == "reduce_scatter" else machine.all_gather
        between = machine.between or link
        bandwidth += leg.inside / link.bandwidth + leg.between / between.bandwidth
        alpha = between.latency if leg.between else link.latency
        latency += leg.calls * units * hops(machine.hops, leg.ranks) * alpha
    return bandwidth, latency


def read(path: str, option: str = "--machine") -> Machine:
    """The machine in FILE.json; UsageError, in one line, for a file that is not one."""
    try:
        check_readable(path, option, MOST_BYTES)
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=Machine)
    except OSError as error:
        raise UsageError(f"{option} {path}: {error.strerror or error}") from error
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UsageError(f"{option} {path}: is not a file of --calibrate: {error}") from error


def write(path: str, machine: Machine) -> None:
    """Write FILE.json in one piece; UsageError if that fails."""
    with in_one_piece(path, "--calibrate") as part, open(part, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(machine), indent=1) + b"\n")
