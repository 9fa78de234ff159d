"""The same for a terminal: memory over one step drawn with letters, and tables of bytes held and sent.

Colours only on a terminal, and never with NO_COLOR (no-color.org); the letters say everything without.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from zero_ref import launch
from zero_ref.launch.cli import table
from zero_ref.ledger import COLLECTIVES, KINDS
from zero_ref.report.page import formula, levels, numbers, origin, words

# From the bottom up: the letter, and the colour by its ANSI number.
LETTERS = {
    "parameter": ("P", 34),
    "gradient": ("G", 33),
    "optimizer": ("S", 32),
    "gathered": ("p", 94),
    "full_gradient": ("g", 93),
    "activation": ("a", 35),
    "buffer": ("b", 90),
}
PASSES = {"forward": "F", "backward": "B", "update": "U"}
AHEAD = {"start_all_gather": "a", "finish_all_gather": "w"}
CALLS = {**PASSES, "all_gather": "A", **AHEAD, "reduce_scatter": "R", "sum": "+"}
HEIGHT, AXIS = 16, 9  # rows of the chart; columns of the numbers beside it


def make_text(record: dict[str, Any], language: str | None = None) -> str:
    """All of it, in the language that is asked for, or that the environment asks for."""
    record = launch.show_names(record)
    word = words_for(record, language or launch.language())
    parts = [memory_table(record, word), traffic_table(record, word), word["text_note"]]
    if record.get("recorded_step"):
        parts.insert(0, chart(record, word))
    if origin(record) == "dry":
        parts.insert(0, word["text_dry"])
    return printable("\n\n".join(parts))


def words_for(record: dict[str, Any], language: str) -> dict[str, str]:
    """Every word in a language, as it is where the numbers of this record come from (see page.origin)."""
    word = {key: texts[language] for key, texts in words().items()}
    own = f"_{origin(record)}"
    return word | {key.removesuffix(own): text for key, text in word.items() if key.endswith(own)}


def printable(text: str) -> str:
    """`text` with question marks for what stdout cannot show."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: int) -> str:
    return f"\033[{colour}m{text}\033[0m" if coloured() else text


# The chart


def chart(record: dict[str, Any], word: dict[str, str]) -> str:
    """Bytes alive over one step on the rank that holds most, and what runs."""
    step = record["recorded_step"]
    alive = [[dict(live) for live in levels(rank)] for rank in step["ranks"]]
    rank = max(range(len(alive)), key=lambda r: max(sum(live.values()) for live in alive[r]))
    totals = [sum(live.values()) for live in alive[rank]]
    columns = max(20, min(shutil.get_terminal_size((100, 24)).columns, 120) - AXIS - 2)
    shown = highest_in_each(totals, columns)
    running = calls_open(step["ranks"][rank]["events"])
    expected = step["ranks"][rank]["predicted"]["peak_total_bytes"]
    unit = max(*totals, expected) / (HEIGHT - 0.25)  # bytes a row
    compared = origin(record) != "dry"  # which is compared with nothing: it is what would be expected
    rows = []
    for row in reversed(range(HEIGHT)):
        background = "-" if compared and row == int(expected / unit) else " "
        line = [letter_at(alive[rank][at], (row + 0.5) * unit, background) for at in shown]
        label = short(row * unit) if row % 5 == 0 else ""
        rows.append(f"{label:>{AXIS}} |{joined(line)}")
    calls = "".join(CALLS.get(running[at], "?") if running[at] else " " for at in shown)
    title = word["text_title"].format(
        step=step["step"], rank=numbers(record)[rank], peak=f"{max(totals):,}", expected=f"{expected:,}"
    )
    kinds = [kind for kind in LETTERS if any(live[kind] for live in alive[rank])]
    legend = [f"{paint(LETTERS[kind][0], LETTERS[kind][1])} {word[kind]}" for kind in kinds]
    under = [f"{letter} {word[name]}" for name, letter in CALLS.items() if letter in calls]
    under += [f"--- {word['text_line']}"] if compared else []
    edge = " " * AXIS + " +" + "-" * len(shown)
    return "\n".join(
        [title, "", *rows, edge, f"{'':{AXIS}}  {calls}", "", "  ".join(legend), "  ".join(under)]
    )


def highest_in_each(totals: Sequence[int], columns: int) -> list[int]:
    """For each column the position at which most is alive; a short step has fewer columns."""
    number = min(columns, len(totals))
    cuts = [len(totals) * i // number for i in range(number + 1)]
    return [max(range(a, b), key=totals.__getitem__) for a, b in zip(cuts, cuts[1:])]


def calls_open(events: list[list[Any]]) -> list[str]:
    """The innermost call that runs at each position, "" where none does."""
    inside, running = [""], [""]
    for _, what, name, *_ in events:
        if what == "begin":
            inside.append(name)
        elif what == "end":
            inside.pop()
        running.append(inside[-1])
    return running


def letter_at(live: dict[str, int], height: float, background: str) -> tuple[str, int]:
    """The letter and colour of the kind that lies at this height of the stack."""
    top = 0
    for kind, letter in LETTERS.items():
        top += live[kind]
        if height < top:
            return letter
    return background, 0


def joined(line: list[tuple[str, int]]) -> str:
    """Letters in a row; neighbours of one colour are painted together."""
    text, start = "", 0
    for i in range(1, len(line) + 1):
        if i == len(line) or line[i] != line[start]:
            letters = line[start][0] * (i - start)
            text += paint(letters, line[start][1]) if line[start][1] else letters
            start = i
    return text.rstrip(" ")


# The tables


def memory_table(record: dict[str, Any], word: dict[str, str]) -> str:
    """Bytes between steps by kind, and at most, for each rank."""
    kinds = [kind for kind in KINDS if any(rank["resting_bytes"][kind] for rank in record["ranks"])]
    peaks = {
        "old": [word["peak"]],
        "run": [word["peak"], word["peak_by_kind"], word["dry_run"]],
        "dry": [word["peak"], word["peak_by_kind"]],
    }[origin(record)]
    rows = [[word["rank"], *(word[kind] for kind in kinds), word["at_rest"], *peaks]]
    for number, rank in zip(numbers(record), record["ranks"]):
        rest = rank["resting_bytes"]
        rows.append(
            [
                str(number),
                *(f"{rest[kind]:,}" for kind in kinds),
                beside(sum(rest.values()), sum(formula(rank)["resting_bytes"].values())),
                *peak_of(rank, origin(record), word)[: len(peaks)],
            ]
        )
    return f"{word['text_memory']}\n\n{table(rows[1:], rows[0])}"


def peak_of(rank: dict[str, Any], source: str, word: dict[str, str]) -> list[str]:
    """A rank's peak, the kinds of which the formulas say otherwise, and the peak by the dry run."""
    peak, predicted = rank["peak_total_bytes"], rank["predicted"]["peak_total_bytes"]
    if source == "old":
        return [beside(peak, predicted)]
    kinds = [
        f"{word[kind]} {beside(rank['peak_bytes'][kind], says)}"
        for kind, says in formula(rank)["peak_bytes"].items()
        if rank["peak_bytes"][kind] != says
    ]
    return [f"{peak:,}", "; ".join(kinds) or "=", f"{predicted:,}"]


def traffic_table(record: dict[str, Any], word: dict[str, str]) -> str:
    """Bytes in one step by collective, for each rank."""
    names = [word[f"collective_{name}"] for name in COLLECTIVES]
    rows = [[word["rank"], *names, word["total"]]]
    for number, rank in zip(numbers(record), record["ranks"]):
        measured, says = rank["sent_bytes_per_step"], formula(rank)["sent_bytes_per_step"]
        cells = [beside(measured[name], says[name]) for name in COLLECTIVES]
        rows.append([str(number), *cells, beside(sum(measured.values()), sum(says.values()))])
    return f"{word['text_traffic']}\n\n{table(rows[1:], rows[0])}"


def beside(measured: int, says: int) -> str:
    return f"{measured:,} =" if measured == says else f"{measured:,} ({says:,})"


def short(nbytes: float) -> str:
    """Bytes with three digits and a unit."""
    units = ["B", "kB", "MB", "GB", "TB", "PB"]
    power = 0
    while nbytes >= 999.5 and power < len(units) - 1:
        nbytes, power = nbytes / 1000, power + 1
    return f"{nbytes:.0f} {units[power]}" if nbytes >= 99.95 or not power else f"{nbytes:.3g} {units[power]}"
