"""The page: page.html, with page.css (and several.css), SCRIPTS, words.json and the records in it.

Everything that comes from a record goes into the page as JSON in which "<", ">" and "&" are escaped, and
the script makes text of it, never markup. A content-security policy allows this style sheet and this
script, by their hashes, and nothing else: no other script, no request. What is too long for a page is
thinned out, and the page says so: see MOST_EVENTS and thin.py.
"""

import base64
import hashlib
import html
import itertools
import json
import re
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from zero_ref import launch
from zero_ref.launch.singular import SINGULAR
from zero_ref.layout import bounds
from zero_ref.report.coded_traffic import weigh_receivers
from zero_ref.report.compare import changes, difference, weights
from zero_ref.report.packed import packed
from zero_ref.report.theatre import against_stage_0, lanes
from zero_ref.report.thin import thinned_events, thinned_points
from zero_ref.report.vocabulary import origin, words_for
from zero_ref.stages import STAGES

SCRIPTS = (  # in this order; a page of one run has none of COMPARING, one of dry runs alone no lanes
    "elements",
    "step",
    "phases",
    "pictures",
    "scene",
    "travel",
    "lanes",
    "theatre",
    "figure",
    "runs",
    "page",
)
COMPARING = ("figure", "runs")
SHOWN = ("config", "world_size", "parameters", "weights_sha256", "test", "seconds_per_step")
MOST_EVENTS = 8000  # of all ranks of a run together
MOST_RANKS = 16  # that are drawn
MOST_COUNTS = 64  # ranks whose every shard is named


def make_page(
    runs: dict[str, dict[str, Any]], compared: dict[str, dict[str, Any]], language: str | None = None
) -> str:
    """The page of one record, or of several side by side. Names (of files) -> records.

    compared: records of which only the loss is shown, beside the first of `runs`.
    """
    runs, compared = told_apart(launch.show_names(runs), launch.show_names(compared))
    named = [*runs.items(), *compared.items()]
    computed = [(name, record) for name, record in named if origin(record) != "dry"]
    others = dict(computed[1:])
    several = len(runs) > 1
    data = {
        "language": language or launch.language(),
        "words": words_for([record for _, record in named], several),
        "singular": SINGULAR,
        "runs": [for_page(name, record) for name, record in runs.items()],
        "compared": [losses(name, record) for name, record in compared.items()],
        "differences": [difference(name, computed[0][1], record) for name, record in others.items()],
        "weights": weights(runs, lambda record: origin(record) != "dry") if several else None,
        "changes": changes(list(runs.values())) if several else [],
    }
    style, script = style_and_script(several, bool(computed), bool(others))
    return Template(template("page.html")).substitute(
        title=html.escape(title(list(runs.values()))),
        style=style,
        script=script,
        style_hash=digest(style),
        script_hash=digest(script),
        data=json_for_html(data),
    )


def told_apart(*groups: dict[str, Any]) -> list[dict[str, Any]]:
    """The same under names without the folders that all have in common; a name alone stays as it is."""
    parts = {name: Path(name).parts for group in groups for name in group}
    folders = [set(level) for level in zip(*(each[:-1] for each in parts.values()))]
    common = next((i for i, level in enumerate(folders) if len(level) > 1), len(folders))
    if len(parts) == 1:
        return list(groups)
    return [{"/".join(parts[name][common:]): record for name, record in group.items()} for group in groups]


def style_and_script(several: bool, computed: bool, compared: bool = False) -> tuple[str, str]:
    """What a page of one run, or of several, looks like and does; nothing of times, if none was computed.

    compared: whether there are losses of more than one run.
    """
    left_out = (() if several else COMPARING) + (() if computed else ("lanes",))
    names = [name for name in SCRIPTS if name not in left_out]
    style = template("page.css") + (template("several.css") if several or compared else "")
    script = "\n".join(template(f"{name}.js") for name in names)
    return re.sub(r" *([{:,;]) *", r"\1", shortened(style)), shortened(script)


def shortened(text: str) -> str:
    """A script or a style sheet without indents, comments, and line ends beside brackets and `;`."""
    text = re.sub(r"\n *(//.*)?", "\n", text)
    text = re.sub(r" // .*$", "", text, flags=re.MULTILINE)
    return re.sub(r"\n(?=[})\]\n])", "", re.sub(r"(?<=[;{,(\[])\n+", "", text))


def title(records: list[dict[str, Any]]) -> str:
    dry = ", dry run" if all(origin(record) == "dry" for record in records) else ""
    stages = ", ".join(f"ZeRO stage {r['stage']}" for r in records)
    return f"{stages}, N = {records[0]['world_size']}{dry}"


def numbers(record: dict[str, Any]) -> list[int]:
    """The numbers of the ranks that the record tells of, in its order."""
    return record.get("shown_ranks") or list(range(record["world_size"]))


def formula(rank: dict[str, Any]) -> dict[str, Any]:
    """What the formulas say of a rank."""
    return rank.get("formula") or rank["predicted"]


def template(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


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
    given = {option: value for option, value in record["config"].items() if value not in (None, False)}
    return result | {
        "config": given,
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
    events: dict[str, Any] = {"events_drawn": sum(counts[0]), "events_recorded": sum(counts[1])}
    events["rows"] = pack(ranks)
    units = [unit_for_page(unit, drawn) for unit in step["units"]]
    return step | events | {"ranks": ranks, "units": units}


def pack(ranks: list[dict[str, Any]]) -> list[list[Any]]:
    """Put in place of each rank's events short ones, or the row of a rank with the same; give their rows.

    Most ranks of a dry run do the same.
    """
    events, rows = packed([rank["events"] for rank in ranks])
    whole = [(rank["places"], short) for rank, short in zip(ranks, events)]
    for row, rank in enumerate(ranks):
        first = whole.index(whole[row])
        rank["events"] = events[row] if first == row else first
    return rows


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
                weights = weigh_receivers(name, sender, counts, ranks, record["config"]) or weights
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
