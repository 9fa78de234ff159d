"""Which calls of a recorded step belong together: each collective has one on every rank that takes part.

None ends before its last rank has begun: what a rank spends until then is waiting, and only the rest is
transfer. That needs one clock (train/clocks.py).
"""

from typing import Any, NamedTuple

COMPUTE = ("forward", "backward", "update")
PARTS = {
    "start_all_gather": "all_gather",
    "finish_all_gather": "all_gather",
}  # of one collective in two calls


class Span(NamedTuple):
    """A call on one rank, `row`: times in microseconds, bytes that it has sent."""

    row: int
    name: str
    unit: int | None
    begin: float
    end: float
    sent: int


class Meeting(NamedTuple):
    """One collective: the calls that are waited for, and the calls that wait, one on each rank.

    They are the same but for an all-gather in two calls, whose second waits for the first ones, and for a
    rank without a shard of the unit: it is not waited for in an all-gather, nor does it wait in a
    reduce-scatter.
    """

    begins: list[Span]
    ends: list[Span]

    def last(self) -> Span:
        """The call for which the others wait."""
        return max(self.begins, key=lambda span: span.begin)


def spans(row: int, events: list[list[Any]]) -> list[Span]:
    """The calls of a rank, in the order in which they begin."""
    result: list[Span] = []
    open_calls: list[int] = []
    for microseconds, what, name, unit, nbytes, _, _ in events:
        if what == "begin":
            open_calls.append(len(result))
            result.append(Span(row, name, unit, microseconds, microseconds, 0))
        elif what == "end":
            at = open_calls.pop()
            result[at] = result[at]._replace(end=microseconds, sent=nbytes)
    return result


def has_one_clock(record: dict[str, Any]) -> bool:
    """Whether times of different ranks can be compared: not in dry runs and older records."""
    return bool((record.get("recorded_step") or {}).get("clocks"))


def meetings(record: dict[str, Any]) -> list[Meeting]:
    """All collectives of the recorded step, by the time of their first call; [] without one clock."""
    step = record.get("recorded_step")
    if not step or not has_one_clock(record):
        return []
    group = record["config"].get("group") or record["world_size"]
    found: dict[Any, Meeting] = {}
    for rank, recorded in enumerate(step["ranks"]):
        seen: dict[Any, int] = {}
        for span in spans(rank, recorded["events"]):
            if span.name in COMPUTE:
                continue
            name = PARTS.get(span.name, span.name)
            key = (name, span.unit, circle(span, rank, group))
            turn = seen.setdefault((span.name, *key), 0)
            seen[span.name, *key] += 1
            meeting = found.setdefault((*key, turn), Meeting([], []))
            counts = [1] * group if span.unit is None else step["units"][span.unit]["counts"]
            mine = counts[rank % group] > 0
            if span.name != "finish_all_gather" and (mine or name != "all_gather"):
                meeting.begins.append(span)
            if span.name != "start_all_gather" and (mine or name == "all_gather"):
                meeting.ends.append(span)
    real = [meeting for meeting in found.values() if meeting.begins]
    return sorted(real, key=lambda meeting: min(span.begin for span in meeting.begins))


def circle(span: Span, rank: int, group: int) -> str:
    """Among whom a collective is, as a name that is the same on all of them."""
    if span.name == "sum_between_groups":
        return f"place {rank % group}"
    if span.unit is None and span.sent != 8 * (group - 1):
        return "all"  # the loss, summed over all groups; the norm is summed inside one
    return f"group {rank // group}"
