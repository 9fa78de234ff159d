"""What `--offload` changes in the bill of a rank, to the byte. It knows no optimizer and no stage file."""

from collections.abc import Sequence
from dataclasses import replace

from zero_ref.layout import FlatLayout
from zero_ref.plan.formulas import Bill, passes_of


def in_memory(n: int, block: int) -> int:
    """Elements whose state is on the device at most while n are updated: two blocks, and a shorter rest."""
    return min(n // block, 2) * block + n % block


def bill_of_offload(
    bill: Bill,
    keeps: dict[str, str],
    layouts: Sequence[FlatLayout],
    rank: int,
    tier: str,
    block: int,
    *,
    state_bytes: int,
    itemsize: int,
    accumulate: int | None = None,
    micro_batches: int = 1,
    gathered_until: str = "used",
    shards: bool = False,
) -> Bill:
    """The bill of the same run with its optimizer's state in `tier`, "host" or "disk".

    bill: without; block: elements that are updated at a time; shards: parameters and gradient lie there, too,
    where the stage KEEPS 1/N of both; the others as in formulas.bill.
    """
    whole = keeps["optimizer"] == "all"
    held = [each.padded if whole else each.counts[rank] for each in layouts]
    state = state_bytes * sum(held)
    rest, peak = dict(bill.resting_bytes), dict(bill.peak_bytes)
    away, mapped = state, 0
    rest["optimizer"] = 0
    peak["optimizer"] = state_bytes * max(in_memory(n, block) for n in held)
    if shards:
        own = sum(each.counts[rank] for each in layouts)
        param, grad = itemsize * own, (accumulate or itemsize) * own
        away += param + grad
        # Parameters: whenever they are gathered, and in the update. Gradients: in each sum, for the
        # norm, in the update, and when they are cleared.
        gathers = passes_of(keeps, micro_batches, gathered_until)["all_gather"]
        mapped = (gathers + 1) * param + (micro_batches + 3) * grad
        rest |= {"parameter": 0, "gradient": 0}
        peak["parameter"] = 0
        peak["gradient"] -= grad
    moved = {"read": state, "written": state, "mapped": mapped}
    return replace(
        bill,
        resting_bytes=rest,
        peak_bytes=peak,
        away_bytes=bill.away_bytes | {tier: away},
        moved_bytes_per_step=moved,
    )
