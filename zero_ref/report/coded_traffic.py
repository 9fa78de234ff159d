"""To which ranks a call that sends codes or second copies sends, and how much of it to each."""

from typing import Any

from zero_ref.layout import bounds
from zero_ref.plan.zeropp import coded_bytes


def weigh_receivers(
    name: str, sender: int, counts: list[int], ranks: int, config: dict[str, Any]
) -> dict[int, int]:
    """By rank a proportion, perhaps with one of the sender; nothing for a call that sends no codes.

    counts: elements of the ranks of a group, of all ranks without groups.
    """
    group, code = len(counts), config.get("code_gradients")
    near = config.get("machine") or group
    mine, place = divmod(sender, near)
    neighbours = range(mine * near, (mine + 1) * near)
    if name == "await_second_copy":
        return dict.fromkeys(neighbours, 1)
    if code and name == "sum_between_groups":  # parts to groups that add them up, and the sum of mine back
        ends = bounds(counts[place], [1] * (ranks // group))
        parts = [coded_bytes(b - a, code) for a, b in zip(ends, ends[1:])]
        return {rank: parts[rank // group] + parts[mine] for rank in range(place, ranks, group)}
    if name not in ("reduce_inside", "await_reduce_inside", "reduce_between"):
        return {}
    nbytes = [coded_bytes(n, config["code_gradients"]) for n in counts]
    if name != "reduce_between":  # a neighbour gets what all ranks at its place will need
        return {rank: sum(nbytes[rank % near :: near]) for rank in neighbours}
    return {rank: nbytes[rank] for rank in range(place, group, near)}
