"""The page: page.html, with page.css, SCRIPTS, words.json and the records in it.

Everything that comes from a record goes into the page as JSON in which "<", ">" and "&" are escaped, and
the script makes text of it, never markup. A content-security policy allows this style sheet and this
script, by their hashes, and nothing else: no other script, no request. What is too long for a page is
thinned out, and the page says so: see MOST_EVENTS and MOST_POINTS.
"""

import base64
import hashlib
import html
import itertools
import json
import math
import re
from collections.abc import Iterator
from importlib import resources
from string import Template
from typing import Any

from zero_ref import launch
from zero_ref.launch.singular import SINGULAR
from zero_ref.launch.terminal import both_languages
from zero_ref.layout import bounds
from zero_ref.ledger import KINDS
from zero_ref.report.in_codes import in_codes
from zero_ref.report.theatre import against_stage_0, lanes
from zero_ref.stages import STAGES

SCRIPTS = ("elements", "step", "phases", "pictures", "scene", "lanes", "theatre", "page")
SHOWN = ("config", "world_size", "parameters", "weights_sha256", "test", "seconds_per_step")
TERMINAL = ("summary_", "text_")  # words that no page says
MOST_EVENTS = 8000  # of all ranks of a run together
MOST_POINTS = 1400  # of a curve
MOST_RANKS = 16  # that are drawn
MOST_COUNTS = 64  # ranks whose every shard is named


def make_page(
    runs: dict[str, dict[str, Any]], compared: dict[str, dict[str, Any]], language: str | None = None
) -> str:
    """The page of one record, or of several side by side. Names (of files) -> records.

    compared: records of which only the loss is shown, beside the first of `runs`.
    """
    runs, compared = launch.show_names(runs), launch.show_names(compared)
    named = [*runs.items(), *compared.items()]
    computed = [(name, record) for name, record in named if origin(record) != "dry"]
    others = dict(computed[1:])
    data = {
        "language": language or launch.language(),
        "words": {key: said for key, said in words().items() if not key.startswith(TERMINAL)},
        "singular": SINGULAR,
        "runs": [for_page(name, record) for name, record in runs.items()],
        "compared": [losses(name, record) for name, record in compared.items()],
        "differences": [difference(name, computed[0][1], record) for name, record in others.items()],
    }
    style, script = template("page.css"), "\n".join(template(f"{name}.js") for name in SCRIPTS)
    style, script = (re.sub(r"\n *(//.*)?", "\n", each) for each in (style, script))  # short
    return Template(template("page.html")).substitute(
        title=html.escape(title(list(runs.values()))),
        style=style,
        script=script,
        style_hash=digest(style),
        script_hash=digest(script),
        data=json_for_html(data),
    )


def title(records: list[dict[str, Any]]) -> str:
    dry = ", dry run" if all(origin(record) == "dry" for record in records) else ""
    stages = ", ".join(f"ZeRO stage {r['stage']}" for r in records)
    return f"{stages}, N = {records[0]['world_size']}{dry}"


def origin(record: dict[str, Any]) -> str:
    """ "run"; "dry" where nothing was computed; "old" where `predicted` is by formulas, not by a dry run."""
    if record["config"].get("device") == "meta":
        return "dry"
    return "run" if record["ranks"][0].get("formula") else "old"


def numbers(record: dict[str, Any]) -> list[int]:
    """The numbers of the ranks that the record tells of, in its order."""
    return record.get("shown_ranks") or list(range(record["world_size"]))


def formula(rank: dict[str, Any]) -> dict[str, Any]:
    """What the formulas say of a rank."""
    return rank.get("formula") or rank["predicted"]


def template(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def words() -> dict[str, dict[str, str]]:
    """Every word of the page and of the terminal: key -> language -> text."""
    return both_languages(__package__)


def digest(text: str) -> str:
    """How a content-security policy names this text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def json_for_html(data: Any) -> str:
    """JSON that cannot end the element that it stands in."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def for_page(name: str, record: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of a record."""
    step = record.get("recorded_step")
    result = losses(name, record) | {key: record[key] for key in SHOWN}
    return result | {
        "model": record.get("model", ""),
        "samples_per_step": record.get("samples_per_step") or record["config"].get("batch_size") or 0,
        "numbers": numbers(record),
        "ranks": [rank | {"formula": formula(rank)} for rank in record["ranks"]],
        "keeps": STAGES[record["stage"]].KEEPS,
        "traffic": traffic(record),
        "against": against_stage_0(record, numbers(record)),
        "lanes": lanes(record, MOST_RANKS),
        "last_loss": (record.get("last_epoch") or {"loss": record["loss"][-1]})["loss"],
        "recorded_step": step and step_for_page(step, numbers(record)[:MOST_RANKS]),
    }


def step_for_page(step: dict[str, Any], drawn: list[int]) -> dict[str, Any]:
    """The recorded step, of the ranks that are drawn and of at most about MOST_EVENTS events.

    drawn: the numbers of the first of its ranks.
    """
    shown = step["ranks"][: len(drawn)]
    most = MOST_EVENTS // len(shown)
    ranks = [rank | {"events": thinned_events(rank, most)} for rank in shown]
    counts = [[len(rank["events"]) for rank in each] for each in (ranks, step["ranks"])]
    events = {"events_drawn": sum(counts[0]), "events_recorded": sum(counts[1])}
    units = [unit_for_page(unit, drawn) for unit in step["units"]]
    return step | events | {"ranks": ranks, "units": units}


def unit_for_page(unit: dict[str, Any], drawn: list[int]) -> dict[str, Any]:
    """A unit with its length, the first element and the length of the shard of each rank that is drawn, and
    the smallest and largest shard; with `counts` of all ranks (of a group) only where not too many."""
    counts = unit["counts"]
    ends = [0, *itertools.accumulate(counts)]
    return unit | {
        "counts": counts if len(counts) <= MOST_COUNTS else [],
        "padded": ends[-1],
        "shards": [[ends[place], counts[place]] for place in (number % len(counts) for number in drawn)],
        "least": min(counts),
        "most": max(counts),
    }


def losses(name: str, record: dict[str, Any]) -> dict[str, Any]:
    """The loss of every step, or the lowest and highest of neighbours where there are too many.

    held_out: the same of what --eval-every found. Of a dry run none.
    """
    about = {"name": name, "stage": record["stage"], "origin": origin(record)}
    points = [] if about["origin"] == "dry" else list(enumerate(record["loss"], record["first_step"] + 1))
    held_out = [(step, value) for step, value, _ in record.get("held_out") or []]
    return about | {
        "steps": len(points),
        "loss": thinned_points(points),
        "held_out": thinned_points(held_out),
    }


def thinned_points(points: list[tuple[int, Any]], most: int = MOST_POINTS) -> list[tuple[int, Any]]:
    """At most about `most` of (number, value): of neighbours the lowest, the highest and the last."""
    if len(points) <= most:
        return points
    size = math.ceil(3 * len(points) / most)
    kept: set[tuple[int, Any]] = {points[0]}
    for start in range(0, len(points), size):
        part = points[start : start + size]
        finite = [p for p in part if p[1] is not None] or part
        kept |= {min(finite, key=lambda p: p[1] or 0), max(finite, key=lambda p: p[1] or 0), part[-1]}
    return sorted(kept, key=lambda p: p[0])


def difference(name: str, ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """max |difference of the loss| over the steps so far, for the steps that both have."""
    first = max(ours["first_step"], theirs["first_step"])
    a, b = (r["loss"][max(0, first - r["first_step"]) :] for r in (ours, theirs))
    so_far, most = [], 0.0
    for number, (x, y) in enumerate(zip(a, b)):
        most = max(most, difference_of(x, y))
        so_far.append((first + number + 1, most))
    # It only rises: the first of each run of equal numbers is enough, and the last.
    steps = [p for i, p in enumerate(so_far) if i in (0, len(so_far) - 1) or p[1] != so_far[i - 1][1]]
    return {
        "name": name,
        "steps": len(so_far),
        "same_weights": ours["weights_sha256"] == theirs["weights_sha256"],
        "most": most if math.isfinite(most) else None,
        "so_far": [(step, value) for step, value in thinned_points(steps) if math.isfinite(value)],
    }


def difference_of(x: float | None, y: float | None) -> float:
    """|x - y| of two losses; None stands for one that is not finite, which equals only its like."""
    if x is None or y is None:
        return 0.0 if x is y else math.inf
    return abs(x - y)


def traffic(record: dict[str, Any]) -> list[list[int]] | None:
    """Bytes from rank (row) to rank (column) in the recorded step; None if not all ranks are known.

    By the algorithm by which the ledger counts: direct, or around the ring. Each row adds up to what
    the rank has sent. The sum of one number goes from everyone to everyone.
    """
    step, ranks = record.get("recorded_step"), record["world_size"]
    if not step or len(step["ranks"]) < ranks:
        return None
    ring = record["config"].get("reduce") == "ring"
    group = record["config"].get("group") or ranks
    sent = [[0] * ranks for _ in range(ranks)]
    for sender, recorded in zip(numbers(record), step["ranks"]):
        for _, what, name, unit, nbytes, _, _ in recorded["events"]:
            if what != "end" or nbytes == 0:
                continue
            if unit is None:  # the norm is summed inside a group, the loss by all
                inside = nbytes == 8 * (group - 1)
                first = sender // group * group
                weights = dict.fromkeys(range(first, first + group) if inside else range(ranks), 1)
            else:
                counts = step["units"][unit]["counts"]
                weights = receivers(name, sender, counts, ranks, ring)
                weights = in_codes(name, sender, counts, ranks, record["config"]) or weights
            weights.pop(sender, None)
            for rank, weight in weights.items():
                sent[sender][rank] += nbytes * weight // sum(weights.values())
    return sent


def receivers(name: str, sender: int, counts: list[int], ranks: int, ring: bool) -> dict[int, int]:
    """To which ranks a collective about one unit sends, and in which proportion; perhaps to the sender, too.

    counts: elements of the ranks of a group.
    """
    group = len(counts)
    mine, place = divmod(sender, group)
    first = mine * group
    if name == "sum_between_groups":  # a reduce-scatter of the shard, then an all-gather
        ends = bounds(counts[place], [1] * (ranks // group))
        parts = [b - a for a, b in zip(ends, ends[1:])]
        if ring:
            return {(sender + group) % ranks: 1}
        return {rank: parts[rank // group] + parts[mine] for rank in range(place, ranks, group)}
    if ring:
        return {first + (place + 1) % group: 1}
    if name in ("reduce_scatter", "finish_reduce_scatter"):  # each gets its own shard
        return {first + other: count for other, count in enumerate(counts)}
    return dict.fromkeys(range(first, first + group), 1)


def thinned_events(rank: dict[str, Any], most: int) -> list[list[Any]]:
    """At most about `most` events of a rank: neighbours become one, without losing a byte or a peak.

    What is "several" then, and in place of bytes there is a list of [kind, unit, bytes]; two more fields are
    the number of events and the calls that are open after them. A group is cut where it holds most. If that
    is enough, only arrays are taken together, and every call keeps its beginning and its end.
    """
    events = rank["events"]
    if len(events) <= most:
        return events
    runs = [list(run) for _, run in itertools.groupby(events, lambda event: event[1] in ("begin", "end"))]
    gentle = thinned_parts([part for run in runs for part in (singly(run) or [run])])
    if len(gentle) <= most:
        return gentle
    size = math.ceil(2 * len(events) / most)
    return thinned_parts([events[start : start + size] for start in range(0, len(events), size)])


def singly(run: list[list[Any]]) -> list[list[list[Any]]]:
    """Beginnings and ends of calls one by one; [] of arrays."""
    return [[event] for event in run if event[1] in ("begin", "end")]


def thinned_parts(parts: list[list[list[Any]]]) -> list[list[Any]]:
    """Two events of each part at most, cut where it holds most."""
    result: list[list[Any]] = []
    open_calls: list[list[Any]] = []
    for part in parts:
        changes = [event[4] if event[1] in ("born", "died") else 0 for event in part]
        alive = list(itertools.accumulate(changes))
        cut = alive.index(max(alive)) + 1
        for group in filter(None, (part[:cut], part[cut:])):
            open_calls = open_after(group, open_calls)
            result.append(group[0] if len(group) == 1 else merged(group, open_calls))
    return result


def merged(group: list[list[Any]], open_calls: list[list[Any]]) -> list[Any]:
    """One event in place of a group, at the time and line of its last."""
    changes: dict[tuple[str, Any], int] = {}
    for _, what, name, unit, nbytes, _, _ in group:
        if what in ("born", "died"):
            changes[name, unit] = changes.get((name, unit), 0) + nbytes
    rows = [[kind, unit, nbytes] for (kind, unit), nbytes in changes.items() if nbytes]
    microseconds, *_, line, place = group[-1]
    return [microseconds, "several", "", None, rows, line, place, len(group), open_calls]


def open_after(group: list[list[Any]], open_calls: list[list[Any]]) -> list[list[Any]]:
    """The calls, as [name, unit], that have begun and not ended after a group of events."""
    calls = list(open_calls)
    for _, what, name, unit, *_ in group:
        if what == "begin":
            calls.append([name, unit])
        elif what == "end":
            calls.pop()
    return calls


def levels(rank: dict[str, Any]) -> Iterator[dict[str, int]]:
    """Bytes alive by kind: before the step, and after each of its events (one dict, changed)."""
    live = dict.fromkeys(KINDS, 0)
    for kept in rank["kept"]:
        for kind, (nbytes, _) in kept.items():
            live[kind] += nbytes
    yield live
    for _, what, name, _, nbytes, _, _ in rank["events"]:
        if what in ("born", "died"):
            live[name] += nbytes
        yield live
