"""What a rank sends and holds with ZeRO++ (see extras/zeropp.py): the formulas, which run none of it.

First a bill without it is made (plan/formulas.py, by the direct algorithm); here it is changed.
"""

from collections.abc import Sequence
from dataclasses import replace

from zero_ref.layout import FlatLayout, bounds
from zero_ref.plan.formulas import Bill, passes_of

OWED = 4  # bytes of what is owed of an element: float32


def coded_bytes(n: int, code: str) -> int:
    """Bytes of n numbers as a code that is named KIND/BLOCK: a float32 for each block, and bits for each."""
    kind, block = code.split("/")
    scales, codes = 4 * -(-n // int(block)), n if kind in ("8", "fp8") else (n + 1) // 2
    return scales + codes + -(scales + codes) % 4


def coded_bill(
    plain: Bill,
    keeps: dict[str, str],
    layouts: Sequence[FlatLayout],
    rank: int,
    itemsize: int,
    micro_batches: int = 1,
    machine: int | None = None,
    code_weights: str | None = None,
    code_gradients: str | None = None,
    hpz: bool = False,
    error_feedback: str | None = None,
    gathered_until: str = "used",
    groups: int = 1,
    group: int = 0,
) -> Bill:
    """`plain` with what the options of these names change; the other arguments are those of `bill`.

    layouts: of each unit, over all ranks of a group; machine: ranks on each machine.
    """
    size = len(layouts[0].counts)
    near = machine or size
    times = passes_of(keeps, micro_batches, gathered_until)
    resting, peak = dict(plain.resting_bytes), dict(plain.peak_bytes)
    over_groups = dict(plain.between_bytes_per_step)  # of which what follows knows nothing
    sent = {name: n - over_groups[name] for name, n in plain.sent_bytes_per_step.items()}
    between = dict.fromkeys(sent, 0)

    copies = itemsize * count_copies(layouts, near, rank % near) if hpz else None
    peak["parameter"] += copies or 0
    sent["all_gather"], between["all_gather"] = coded_gathers(
        sent["all_gather"], layouts, rank, near, times["all_gather"], code_weights, copies
    )

    # A reduce-scatter sends every other rank its shard.
    others = sum(n for each in layouts for r, n in enumerate(each.counts) if r != rank)
    far = sum(n for each in layouts for r, n in enumerate(each.counts) if r // near != rank // near)
    between["reduce_scatter"] = sent["reduce_scatter"] // max(1, others) * far
    if code_gradients:  # those at its place get what the whole machine has for them
        inside, across = coded_hops(layouts, rank, near, code_gradients)
        once = times["reduce_scatter"]
        sent["reduce_scatter"], between["reduce_scatter"] = once * (inside + across), once * across
        own = [each.counts[rank] for each in layouts]
        reduces, gathers = (once * n for n in coded_between_groups(own, groups, group, code_gradients))
        over_groups |= {"reduce_scatter": reduces, "all_gather": gathers}
    for kept in (resting, peak) if error_feedback else ():
        kept["gradient"] += OWED * sum(each.padded for each in layouts)
    sent, between = ({name: n + over_groups[name] for name, n in each.items()} for each in (sent, between))
    moving = {"sent_bytes_per_step": sent, "between_bytes_per_step": between}
    return replace(plain, resting_bytes=resting, peak_bytes=peak, **moving)


def coded_gathers(
    plain: int,
    layouts: Sequence[FlatLayout],
    rank: int,
    near: int,
    times: int,
    code: str | None,
    copies: int | None,
) -> tuple[int, int]:
    """Bytes of all gathers of a step, of which there are `times`: sent, and of that between machines.

    plain: sent without ZeRO++. The own shard goes to N - 1 other ranks, of which N - G are far; with second
    copies, of which this rank has so many bytes, every second gather is of them, in the machine.
    """
    size = len(layouts[0].counts)
    to_each = plain // max(1, size - 1)
    if code:
        to_each = times * sum(coded_bytes(each.counts[rank], code) for each in layouts)
    if copies is None:
        return to_each * (size - 1), to_each * (size - near)
    again = times // 2 * copies * (near - 1)
    return to_each // 2 * (size - 1) + again, to_each // 2 * (size - near)


def count_copies(layouts: Sequence[FlatLayout], near: int, place: int) -> int:
    """Elements of the second copies of all units at a place, 0 to near - 1, of a machine of `near` ranks."""
    ends = [bounds(each.padded, [1] * near) for each in layouts]
    return sum(each[place + 1] - each[place] for each in ends)


def coded_hops(layouts: Sequence[FlatLayout], rank: int, near: int, code: str) -> tuple[int, int]:
    """Bytes of a reduce-scatter of all units in two hops: inside a machine of `near` ranks, and between."""
    nbytes = [[coded_bytes(n, code) for n in each.counts] for each in layouts]
    inside = sum(n for each in nbytes for r, n in enumerate(each) if r % near != rank % near)
    across = sum(n for each in nbytes for r, n in enumerate(each) if r % near == rank % near and r != rank)
    return inside, across


def coded_numbers(
    keeps: dict[str, str],
    layouts: Sequence[FlatLayout],
    rank: int,
    micro_batches: int = 1,
    machine: int | None = None,
    code_weights: str | None = None,
    code_gradients: str | None = None,
    hpz: bool = False,
    error_feedback: str | None = None,
    gathered_until: str = "used",
    groups: int = 1,
    group: int = 0,
) -> int:
    """How many numbers a rank makes codes of, and brings back from codes, in one step. See `coded_bill`.

    A gather codes the own shard and brings back all of them. A hop codes what goes to others, and brings back
    as much as it keeps from each of them. Who remembers what a code has lost brings back what it has coded.
    """
    size = len(layouts[0].counts)
    near = machine or size
    place, times, found = rank % near, passes_of(keeps, micro_batches, gathered_until), 0
    if code_weights:
        gathers = times["all_gather"] // (2 if hpz else 1)
        found += gathers * sum(each.counts[rank] + each.padded for each in layouts)
    for each in layouts if code_gradients else ():
        own, at_my_place = each.counts[rank], sum(each.counts[place::near])
        ends = bounds(own, [1] * groups)
        part = ends[group + 1] - ends[group]
        # inside, between machines, between groups, and the gather of the latter
        coded = [each.padded - at_my_place, at_my_place - own, own - part, part * (groups > 1)]
        back = [(near - 1) * at_my_place, (size // near - 1) * own, (groups - 1) * part, own * (groups > 1)]
        found += times["reduce_scatter"] * (sum(coded) * (2 if error_feedback else 1) + sum(back))
    return found


def coded_between_groups(own: Sequence[int], groups: int, group: int, code: str) -> tuple[int, int]:
    """Bytes to sum shards of `own` elements over groups: reduced, and gathered."""
    reduced = gathered = 0
    for n in own:
        ends = bounds(n, [1] * groups)
        parts = [coded_bytes(b - a, code) for a, b in zip(ends, ends[1:])]
        reduced += sum(parts) - parts[group]
        gathered += parts[group] * (groups - 1)
    return reduced, gathered
