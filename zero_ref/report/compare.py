"""What a page says of several runs together: whether their weights are the same, and what their code changes.

Runs are comparable if they train the same thing: one model from one start with the same samples, steps and
optimizer. How they do it (stage, ranks, micro-batches, whose shard) changes roundings at most.
"""

import ast
import difflib
import json
import math
from collections.abc import Callable
from typing import Any

from zero_ref.report.thin import thinned_points
from zero_ref.train.options import PASSING

# Options that say how a run trains, and not what: only roundings hang on them.
HOW = {"stage", "shard_model", "shard_data", "reduce", "micro_batches", "accumulate", "place"}
WRITTEN = {"record", "report", "compare", "trace", "chart", "export", "save", "save_every", "keep", "resume"}
WRITTEN |= {"language", "quiet", "timeout", "check", "verify_every", "eval_every", "ranks", "epochs", "steps"}
AROUND = 2  # lines of code beside a change
MOST_LINES = 400  # of the changes between two files


def weights(runs: dict[str, dict[str, Any]], computed: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Whether the runs that were computed (name -> record) ended in the same weights, bit for bit.

    groups: names by hash, the first run's first; what, how: [option, its value in each of `names`] of
    options that differ, by whether they say what is trained. Of what differs in `what` nothing can be said,
    even if two hashes agree.
    """
    ran = {name: record for name, record in runs.items() if computed(record)}
    by_hash: dict[str, list[str]] = {}
    for name, record in ran.items():
        by_hash.setdefault(record["weights_sha256"], []).append(name)
    rows = [settings(record) for record in ran.values()]
    options = list(dict.fromkeys(option for row in rows for option in row))
    differing = {option: [shown(row.get(option)) for row in rows] for option in options}
    differing = {option: values for option, values in differing.items() if len(set(values)) > 1}
    how = HOW | (PASSING - {"init"})
    what = [[option, values] for option, values in differing.items() if option not in how | {"N"}]
    return {
        "names": list(ran),
        "dry": [name for name in runs if name not in ran],
        "groups": list(by_hash.values()),
        "hash": next(iter(by_hash), "")[:16],
        "steps": max((record["first_step"] + len(record["loss"]) for record in ran.values()), default=0),
        "what": what,
        "how": [[option, values] for option, values in differing.items() if option in how | {"N"}],
        "same": len(ran) > 1 and len(by_hash) == 1 and not what,
    }


def settings(record: dict[str, Any]) -> dict[str, Any]:
    """The options of a run that decide numbers, with N and the steps it ends after."""
    options = {name: value for name, value in record["config"].items() if name not in WRITTEN}
    steps = record["first_step"] + len(record["loss"])
    return {"stage": record["stage"], "N": record["world_size"], **options, "steps": steps}


def shown(value: Any) -> str:
    """A value of an option, equal for equal ones; an option that older records lack is as one not given."""
    if value is None or value is False or value == []:
        return "–"
    return value if isinstance(value, str) else json.dumps(value)


def changes(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What each run's stage file has instead of the one before: rows of "-", "+", " " or "…" and a line.

    Runs without a recorded step are passed over, and neighbours with one file have no rows.
    """
    known = [(i, record["recorded_step"]) for i, record in enumerate(records) if record.get("recorded_step")]
    return [
        {"from": i, "to": j, "files": [a["file"], b["file"]], "rows": rows(a["source"], b["source"])}
        for (i, a), (j, b) in zip(known, known[1:])
    ]


def rows(before: str, after: str) -> list[list[str]]:
    """The changed lines of two files, without the words on top, with AROUND others beside each."""
    found: list[list[str]] = []
    lines = difflib.unified_diff(code(before), code(after), lineterm="", n=AROUND)
    for line in list(lines)[2:]:
        found.append(["…", ""] if line.startswith("@@") else [line[0], line[1:]])
    return found[1:MOST_LINES]


def code(source: str) -> list[str]:
    """The lines of a file behind its docstring."""
    lines = source.splitlines()
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError):
        return lines  # somebody else's record: it is shown as it stands
    first = body[0] if body else None
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return lines[first.end_lineno :] if first is not None and is_text else lines


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
