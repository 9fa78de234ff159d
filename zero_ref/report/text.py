"""The same for a terminal: memory over one step drawn with letters, and tables of bytes held and sent.

Colours only on a terminal, and never with NO_COLOR (no-color.org); the letters say everything without.
"""

import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

from zero_ref import launch
from zero_ref.ledger import COLLECTIVES, KINDS
from zero_ref.report.page import levels, words

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


def of(record: dict[str, Any], language: str | None = None) -> str:
    """All of it, in the language that is asked for, or that the environment asks for."""
    word = {key: texts[language or launch.language()] for key, texts in words().items()}
    parts = [held(record, word), sent(record, word), word["text_note"]]
    if record.get("recorded_step"):
        parts.insert(0, chart(record, word))
    return printable("\n\n".join(parts))


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
    formula = step["ranks"][rank]["predicted"]["peak_total_bytes"]
    unit = max(*totals, formula) / (HEIGHT - 0.25)  # bytes a row
    rows = []
    for row in reversed(range(HEIGHT)):
        background = "-" if row == int(formula / unit) else " "
        line = [letter_at(alive[rank][at], (row + 0.5) * unit, background) for at in shown]
        label = short(row * unit) if row % 5 == 0 else ""
        rows.append(f"{label:>{AXIS}} |{joined(line)}")
    calls = "".join(CALLS.get(running[at], "?") if running[at] else " " for at in shown)
    title = word["text_title"].format(
        step=step["step"], rank=rank, peak=f"{max(totals):,}", formula=f"{formula:,}"
    )
    kinds = [kind for kind in LETTERS if any(live[kind] for live in alive[rank])]
    legend = [f"{paint(LETTERS[kind][0], LETTERS[kind][1])} {word[kind]}" for kind in kinds]
    under = [f"{letter} {word[name]}" for name, letter in CALLS.items() if letter in calls]
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


def held(record: dict[str, Any], word: dict[str, str]) -> str:
    """Bytes between steps by kind, and at most, for each rank."""
    kinds = [kind for kind in KINDS if any(rank["resting_bytes"][kind] for rank in record["ranks"])]
    rows = [[word["rank"], *(word[kind] for kind in kinds), word["at_rest"], word["peak"]]]
    for number, rank in enumerate(record["ranks"]):
        rest, formula = rank["resting_bytes"], rank["predicted"]
        rows.append(
            [
                str(number),
                *(f"{rest[kind]:,}" for kind in kinds),
                beside(sum(rest.values()), sum(formula["resting_bytes"].values())),
                beside(rank["peak_total_bytes"], formula["peak_total_bytes"]),
            ]
        )
    return f"{word['text_memory']}\n\n{table(rows)}"


def sent(record: dict[str, Any], word: dict[str, str]) -> str:
    """Bytes in one step by collective, for each rank."""
    names = [word[f"collective_{name}"] for name in COLLECTIVES]
    rows = [[word["rank"], *names, word["total"]]]
    for number, rank in enumerate(record["ranks"]):
        measured, formula = rank["sent_bytes_per_step"], rank["predicted"]["sent_bytes_per_step"]
        cells = [beside(measured[name], formula[name]) for name in COLLECTIVES]
        rows.append([str(number), *cells, beside(sum(measured.values()), sum(formula.values()))])
    return f"{word['text_traffic']}\n\n{table(rows)}"


def beside(measured: int, formula: int) -> str:
    return f"{measured:,} =" if measured == formula else f"{measured:,} ({formula:,})"


def table(rows: list[list[str]]) -> str:
    """Columns to the right, the first row over a line."""
    widths = [max(map(width, column)) for column in zip(*rows)]
    lines = ["  ".join(" " * (w - width(cell)) + cell for cell, w in zip(row, widths)) for row in rows]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def width(text: str) -> int:
    """Columns that `text` takes on a terminal: two for a Chinese character."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def short(nbytes: float) -> str:
    """Bytes with three digits and a unit."""
    units = ["B", "kB", "MB", "GB", "TB", "PB"]
    power = 0
    while nbytes >= 999.5 and power < len(units) - 1:
        nbytes, power = nbytes / 1000, power + 1
    return f"{nbytes:.0f} {units[power]}" if nbytes >= 99.95 or not power else f"{nbytes:.3g} {units[power]}"
