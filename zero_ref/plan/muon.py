"""What Muon (extras/muon.py) holds and sends, by formulas: what a bill of one vector of state lacks.

Of psi elements a rank owns psi_r; h of these are of hidden matrices, and s is the itemsize of the state:

    optimizer state        s (h + 2 (psi_r - h))     a momentum, or AdamW's two
    sent more, gathered    s psi_r (N - 1)           of each unit with matrices that are cut; once a step
    gathered, at most      s psi                     of such a unit
"""

from collections.abc import Sequence
from dataclasses import replace

from zero_ref.extras.muon import is_whole, operations, where
from zero_ref.layout import FlatLayout
from zero_ref.plan.formulas import Bill


def hidden(layout: FlatLayout, names: set[str], rank: int) -> int:
    """How many of a rank's elements are of the matrices `names`."""
    spans = [(start, stop) for start, stop, _ in where(layout, names)]
    pairs = [(max(a, c), min(b, d)) for a, b in spans for c, d in layout.ranges(rank)]
    return sum(max(0, high - low) for low, high in pairs)


def is_cut(layout: FlatLayout, names: set[str]) -> bool:
    """Whether a matrix of the unit has several owners."""
    return not all(is_whole(layout, each) for each in where(layout, names))


def with_muon(
    bill: Bill,
    keeps: dict[str, str],
    layouts: Sequence[FlatLayout],
    names: set[str],
    rank: int,
    itemsize: int,
    ring: bool = False,
    machine: int | None = None,
) -> Bill:
    """The bill of a rank, which has one vector of state (and a master), with what Muon has besides.

    names: of the model's matrices; itemsize: of the state; machine: how many ranks share one.
    """
    size, everything = len(layouts[0].counts), keeps["optimizer"] == "all"
    own = sum(each.padded if everything else each.counts[rank] for each in layouts)
    ranks = range(size) if everything else (rank,)
    rest = itemsize * (own - sum(hidden(each, names, r) for r in ranks for each in layouts))
    resting = bill.resting_bytes | {"optimizer": bill.resting_bytes["optimizer"] + rest}
    peak = bill.peak_bytes | {"optimizer": bill.peak_bytes["optimizer"] + rest}
    cut = [] if everything else [each for each in layouts if is_cut(each, names)]
    sent, between = dict(bill.sent_bytes_per_step), dict(bill.between_bytes_per_step)
    for each in cut:
        right = each.counts[(rank + 1) % size]
        between["all_gather"] += itemsize * each.counts[rank] * (size - (machine or size))
        sent["all_gather"] += itemsize * (each.padded - right if ring else each.counts[rank] * (size - 1))
    peak["gathered"] = max([peak["gathered"], *(itemsize * each.padded for each in cut)])
    found = {"resting_bytes": resting, "peak_bytes": peak, "sent_bytes_per_step": sent}
    return replace(bill, **found, between_bytes_per_step=between)


def work(keeps: dict[str, str], layouts: Sequence[FlatLayout], names: set[str]) -> list[int]:
    """Operations of Newton-Schulz in one step, by rank."""
    found = [0] * len(layouts[0].counts)
    for each in layouts:
        everywhere = keeps["optimizer"] == "all" or is_cut(each, names)
        for start, stop, shape in where(each, names):
            for rank in range(len(found)):
                mine = any(a <= start and stop <= b for a, b in each.ranges(rank))
                found[rank] += operations(*shape) if mine or everywhere else 0
    return found
