"""The same for a terminal: memory over one step drawn with letters, above the tables of summary.py.

Colours only on a terminal, and never with NO_COLOR (no-color.org); the letters say everything without.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import wcwidth

from zero_ref import launch
from zero_ref.launch.terminal import columns
from zero_ref.report.page import numbers
from zero_ref.report.summary import holdings, traffic, words_for
from zero_ref.report.thin import levels
from zero_ref.report.vocabulary import origin

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
AHEAD |= {"start_reduce_scatter": "r", "finish_reduce_scatter": "v"}
CALLS = {**PASSES, "all_gather": "A", **AHEAD, "reduce_scatter": "R", "sum_between_groups": "G", "sum": "+"}
CALLS |= {
    "reduce_inside": "I",
    "await_reduce_inside": "i",
    "reduce_between": "O",
    "start_second_copy": "c",
    "await_second_copy": "C",
}
HEIGHT, AXIS = 16, 9  # rows of the chart; columns of the numbers beside it


def make_text(record: dict[str, Any], language: str | None = None, below_summary: bool = False) -> str:
    """All of it, in the language that is asked for, or that the environment asks for.

    below_summary: without what that has said.
    """
    record = launch.show_names(record)
    word = words_for(record, language)
    parts = [traffic(record, word)]
    if not below_summary:
        parts.insert(0, holdings(record, word))
        parts.append(word["text_note"])
    if record.get("recorded_step"):
        parts.insert(0, chart(record, word))
    if origin(record) == "dry" and not below_summary:
        parts.insert(0, word["text_dry"])
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
    places = columns() - AXIS - 2
    shown = highest_in_each(totals, places)
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
    below = [*wrapped(legend), *wrapped(under)]
    edge = " " * AXIS + " +" + "-" * len(shown)
    return "\n".join([title, "", *rows, edge, f"{'':{AXIS}}  {calls}", "", *below])


def wrapped(parts: Sequence[str]) -> list[str]:
    """Lines of parts with two blanks between, none wider than the terminal."""
    lines = [parts[0]]
    for part in parts[1:]:
        whole = f"{lines[-1]}  {part}"
        lines[-1:] = [whole] if wcwidth.width(whole) <= columns() else [lines[-1], part]
    return lines


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


# Numbers


def short(nbytes: float) -> str:
    """Bytes with three digits and a unit."""
    units = ["B", "kB", "MB", "GB", "TB", "PB"]
    power = 0
    while nbytes >= 999.5 and power < len(units) - 1:
        nbytes, power = nbytes / 1000, power + 1
    return f"{nbytes:.0f} {units[power]}" if nbytes >= 99.95 or not power else f"{nbytes:.3g} {units[power]}"
