"""How long a step takes: the alpha-beta model, and what it needs to know of a machine.

    time of a step = compute + codes + outside + bandwidth + latency
    bandwidth      = sum over collectives of bytes sent / bandwidth     (beta is 1 / bandwidth)
    latency        = sum over collectives of alpha * hops
    outside        = bytes read and written of what --offload has put away / bandwidth of where it lies

Nothing overlaps. A collective has N-1 hops around a ring, as for long vectors, or ceil(log2 N) by halving
and doubling, as MPI does it for short ones. calibrate.py measures a machine and writes it as a JSON file.

Between machines there is another link, and a collective over several machines of G ranks takes

    direct     inside / bandwidth inside + between / bandwidth between: a rank sends to each of the others
    ring       all / the smaller of: bandwidth inside, G times bandwidth between

for around a ring in the order of machines one rank of each sends to the next machine, and has for itself the
link that all G share where they send directly.
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
    between: the link between machines, of a rank while all ranks of its machine send, where it differs;
        group: of how many ranks a machine was, where several were measured
    host, disk: bytes a second read or written of what lies there (--offload)
    code: seconds of a number that becomes a code, or comes back from one (--code-weights, --code-gradients)
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
    group: Annotated[int, msgspec.Meta(ge=1)] | None = None
    host: Rate | None = None
    disk: Rate | None = None
    code: Seconds = 0.0

    def crowding(self, ranks: int) -> float:
        """How many times longer everything takes with `ranks` ranks on these cores than as measured. Ranks
        and cores are those of one machine."""
        if self.cores is None or self.ranks is None:
            return 1.0
        return max(1.0, ranks / self.cores) / max(1.0, self.ranks / self.cores)


@dataclass(frozen=True)
class Work:
    """What one rank computes in one step. flop: multiplications and additions; updated: parameters that
    it updates; moved: bytes that handling the gradient reads and writes; units, micro_batches: how many;
    coded: numbers that become codes or come back; away: bytes read, written or used by tier (ledger.TIERS).
    """

    flop: float
    updated: float
    moved: float
    units: int
    micro_batches: int
    coded: float = 0.0
    away: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Times:
    """Seconds of one step, by what they are spent on. between: of `bandwidth`, what is between machines."""

    compute: float
    bandwidth: float
    latency: float
    codes: float = 0.0
    outside: float = 0.0
    between: float = 0.0

    @property
    def parts(self) -> dict[str, float]:
        """What adds up to the step, by name."""
        return {name: seconds for name, seconds in vars(self).items() if name != "between"}

    @property
    def total(self) -> float:
        """Of the whole step."""
        return sum(self.parts.values())

    @property
    def largest(self) -> str:
        """The name of the largest part."""
        return max(self.parts, key=lambda name: self.parts[name])


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


def outside(work: Work, machine: Machine) -> float:
    """Seconds for what lies outside the device; none where the machine's file has no bandwidth for it."""
    rates = {"host": machine.host, "disk": machine.disk}
    return sum(nbytes / rate for tier, nbytes in work.away if (rate := rates[tier]))


def communication(
    legs: Sequence[Leg], units: int, machine: Machine, near: int = 1, ring: bool = False
) -> tuple[float, float]:
    """Seconds for (bandwidth, latency) of one step. legs: of formulas.py, with bytes in place of elements.

    near: ranks of a machine; ring: collectives over several machines go around a ring in their order.
    """
    inside, between, latency = by_link(legs, units, machine, near, ring)
    return inside + between, latency


def by_link(
    legs: Sequence[Leg], units: int, machine: Machine, near: int = 1, ring: bool = False
) -> tuple[float, float, float]:
    """Seconds for (bandwidth inside, between machines, latency) of one step.

    A ring is as slow as its slowest link, all of which is counted as between where that is the slower one.
    Directly, as many hops are inside as a collective of one machine has; in a ring the others wait for the
    slowest at each hop.
    """
    inside = between = latency = 0.0
    for leg in legs:
        link = machine.reduce_scatter if leg.collective == "reduce_scatter" else machine.all_gather
        other = machine.between or link
        calls, there = leg.calls * units, hops(machine.hops, leg.ranks)
        if ring and leg.inside and leg.between:
            together = (leg.inside + leg.between) / min(link.bandwidth, near * other.bandwidth)
            inside += together if link.bandwidth <= near * other.bandwidth else 0.0
            between += together if link.bandwidth > near * other.bandwidth else 0.0
            latency += calls * hops("ring", leg.ranks) * max(link.latency, other.latency)
            continue
        inside += leg.inside / link.bandwidth
        between += leg.between / other.bandwidth
        here = there if not leg.between else hops(machine.hops, near) if leg.inside else 0
        latency += calls * (here * link.latency + (there - here) * other.latency)
    return inside, between, latency


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
