"""What the theatre of a page shows beside the events: the run against stage 0, and all ranks over time."""

import itertools
from typing import Any

from zero_ref.plan.zeropp import OWED
from zero_ref.report.meetings import meetings, spans
from zero_ref.stages import STAGES

MOST_SPANS = 4000  # of all lanes together
SIZES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}  # bytes of a number


def against_stage_0(record: dict[str, Any], numbers: list[int]) -> dict[str, Any] | None:
    """What the rank that keeps most keeps of each kind, beside stage 0, and how many times as much is sent.

    Stage 0 keeps all of a vector, with its padding, and reduces and gathers the gradients once a step among
    all ranks: N - 1 of them get each element, twice. sent is null where nothing is sent; numbers: of
    the ranks in the record. shards: of each of these, the first element and how many it owns, of `padded`.
    None of an older record without a recorded step, which does not say who owns what.
    """
    ranks = record["world_size"]
    keeps, group = STAGES[record["stage"]].KEEPS, record["config"].get("group") or ranks
    owned = owned_in_a_group(record, group)
    if not owned:
        return None
    ends, padded = [0, *itertools.accumulate(owned)], sum(owned)
    rank, own = max(zip(record["ranks"], (owned[n % group] for n in numbers)), key=lambda pair: pair[1])
    held, away = held_by(rank, own, record), sum(rank.get("away_bytes", {}).values())
    kinds = {}
    for kind, now in held.items():
        dealt = now - (OWED * padded if kind == "gradient" and record["config"].get("error_feedback") else 0)
        kinds[kind] = [now, dealt * padded // max(1, own) if keeps[kind] == "1/N" else dealt]
    sent = [
        sum(each["sent_bytes_per_step"][n] for n in ("reduce_scatter", "all_gather"))
        for each in record["ranks"]
    ]
    whole = 2 * (ranks - 1) / ranks * kinds["parameter"][1]
    return {
        "kinds": kinds,
        "padded": padded,
        "away": away,
        "shards": [[ends[number % group], owned[number % group]] for number in numbers],
        "kept": sum(now for now, _ in kinds.values()),
        "kept_0": sum(before for _, before in kinds.values()),
        "sent": sum(sent) / len(sent) / whole if whole else None,
    }


def held_by(rank: dict[str, Any], own: int, record: dict[str, Any]) -> dict[str, int]:
    """Bytes by kind that a rank keeps on the device and, with --offload, outside of it.

    What lies outside is not told kind by kind: the optimizer's state, and with --offload-shards its `own`
    parameters and as many gradients before it.
    """
    held = {kind: rank["resting_bytes"][kind] for kind in ("parameter", "gradient", "optimizer")}
    away = sum(rank.get("away_bytes", {}).values())
    if away and record["config"].get("offload_shards"):
        size = SIZES[record["config"]["dtype"]]
        held["parameter"] += own * size
        held["gradient"] += own * size
        away -= 2 * own * size
    held["optimizer"] += away
    return held


def owned_in_a_group(record: dict[str, Any], group: int) -> list[int]:
    """How many elements, with padding, each rank of a group owns; [] if the record does not say."""
    step = record.get("recorded_step")
    if not step:
        return (record.get("owned") or [])[:group]
    return [sum(unit["counts"][place] for unit in step["units"]) for place in range(group)]


def lanes(record: dict[str, Any], most_ranks: int) -> list[list[list[Any]]]:
    """Per rank its calls: name, unit, begin, end, and until when it waited for others; [] without one clock.

    A call inside another is left out. Of long steps nothing is drawn: see MOST_SPANS.
    """
    found = meetings(record)
    if not found:
        return []
    until = {(span.row, span.begin, span.name): m.last().begin for m in found for span in m.ends}
    result: list[list[list[Any]]] = []
    for row, rank in enumerate(record["recorded_step"]["ranks"][:most_ranks]):
        lane: list[list[Any]] = []
        for span in spans(row, rank["events"]):
            if not lane or span.begin >= lane[-1][3]:
                waits = min(span.end, max(span.begin, until.get((row, span.begin, span.name), span.begin)))
                lane.append([span.name, span.unit, span.begin, span.end, waits])
        result.append(lane)
    return result if sum(map(len, result)) <= MOST_SPANS else []
