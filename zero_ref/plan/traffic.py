"""Which bytes of a step stay inside a machine, and which go between machines, direct and around a ring.

The calls of a dry run say who sends how much (report/page.py: to whom), by the algorithm of the ledger: a
rank sends to each of the others what is theirs. Of M bytes that go through a collective over N ranks on
machines of G, all G ranks of a machine together send to other machines

    direct, each to each               G M (N - G)/N
    around a ring, machine by machine    M (N - 1)/N       one rank of a machine sends to the next machine

which for many machines are G M and M. What papers say of traffic "between nodes" is mostly a ring's: the 3 M
of stage 3 in ZeRO++ (arXiv 2306.10209), for one.
"""

import argparse
import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from zero_ref.comm import Call
from zero_ref.ledger import ledger
from zero_ref.plan.formulas import Leg
from zero_ref.report.coded_traffic import weigh_receivers
from zero_ref.report.page import receivers
from zero_ref.train.choose import Run

HOPS = {"reduce_inside", "await_reduce_inside", "reduce_between"}  # between machines, where there are some
REDUCES = HOPS | {"reduce_scatter", "finish_reduce_scatter", "sum_between_groups"}
IN_ONE = {"sum_between_groups": 2}  # a reduce-scatter and an all-gather


@dataclass
class Calls:
    """How often one rank calls what about which unit (None: about none), sending how much: an observer of
    its Comms."""

    run: Run
    found: Counter[tuple[str, int | None, int]] = field(default_factory=Counter)
    now: int = 0

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Count what is called in here."""
        with contextlib.ExitStack() as until_the_end:
            for each in (self.run.comm, self.run.world):
                each.observers.append(self)
                until_the_end.callback(each.observers.remove, self)
            until_the_end.callback(setattr, ledger, "events", None)
            ledger.events = self
            yield

    def array(self, kind: str, nbytes: int, which: int) -> None:
        """The ledger tells of arrays, too, which are no traffic."""

    def sent(self, nbytes: int) -> None:
        """The ledger counts bytes that have been sent."""
        self.now += nbytes

    def before(self, call: Call) -> None:
        """A collective begins."""
        self.now = 0

    def after(self, call: Call) -> None:
        """It ends. What has only been begun is counted where it ends, and of two hops what there is."""
        one_hop = call.name in HOPS and not self.now
        if not call.name.startswith("start_") and not one_hop:
            units = self.run.units
            unit = next((number for number, u in enumerate(units) if u.layout is call.layout), None)
            self.found[call.name, unit, self.now] += 1


def legs_of_calls(calls: Calls, o: argparse.Namespace, near: int) -> list[Leg]:
    """What the calls of one step add up to: a leg for each sort of call. near: so many neighbours share a
    machine. The norm and the loss, one number from each, are gathers."""
    found: dict[tuple[str, int], Leg] = {}
    units = len(calls.run.units)
    for (name, unit, nbytes), times in calls.found.items():
        ranks, between = circle_of(calls.run, o, name, unit, nbytes, near)
        kind = "reduce_scatter" if name in REDUCES else "all_gather"
        leg = found.get((name, ranks), Leg(kind, 0, ranks, 0, 0))
        found[name, ranks] = replace(
            leg,
            calls=leg.calls + IN_ONE.get(name, 1) * times / units,
            inside=leg.inside + times * (nbytes - between),
            between=leg.between + times * between,
        )
    return list(found.values())


def circle_of(
    run: Run, o: argparse.Namespace, name: str, unit: int | None, nbytes: int, near: int
) -> tuple[int, float]:
    """Among how many ranks a call is, and how many of its bytes go to other machines."""
    rank, size, group = run.world.rank, run.world.size, run.comm.size
    if near >= size == group and name not in HOPS:  # all share a machine; who gets what need not be known
        return size, 0.0
    if unit is None:  # the norm is summed inside a group, the loss by all
        first = rank // group * group
        weights = dict.fromkeys(range(first, first + group) if nbytes == 8 * (group - 1) else range(size), 1)
    else:
        counts = run.units[unit].layout.counts
        weights = weigh_receivers(name, rank, counts, size, vars(o))
        weights = weights or receivers(name, rank, counts, size, False)
    here = [other for other in weights if other // near == rank // near]
    if len(here) == len(weights):
        return len(weights), 0.0
    if o.reduce == "ring" and unit is not None:  # one of those here sends to the next machine
        return len(weights), nbytes / len(here)
    others = {other: weight for other, weight in weights.items() if other != rank}
    far = sum(weight for other, weight in others.items() if other not in here)
    return len(weights), nbytes * far / (sum(others.values()) or 1)


def to_others(legs: Sequence[Leg], near: int) -> tuple[float, float]:
    """What a machine of `near` ranks sends to other machines, directly and around a ring."""
    direct = sum(near * leg.between for leg in legs)
    around = sum(
        leg.inside + leg.between if leg.inside and leg.between else near * leg.between for leg in legs
    )
    return direct, around
