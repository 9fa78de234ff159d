"""A diagnosis, and everything else that is said, in Chinese and in English: lessons/checks/*.toml.

common.toml has what all exercises share, NN_name.toml an exercise: its text, its hints and its diagnoses.
A diagnosis is a key with parameters; in the catalogues a key has for each language

    says   what is wrong, in one line
    ask    a question that helps
    hint   a direction, where the student asks for one
"""

import functools
import shutil
import sys
import textwrap
import tomllib
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lessons import ROOT
from lessons.checker.evidence import Diagnosis

FOLDER = ROOT / "lessons" / "checks"
LANGUAGES = ("zh", "en")
COLUMNS = 80


@functools.cache
def catalogue(name: str) -> dict[str, Any]:
    """One file of the catalogue: "common", or an exercise."""
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def exercises() -> list[str]:
    """The names of all exercises, in order."""
    return sorted(path.stem for path in FOLDER.glob("[0-9][0-9]_*.toml"))


def entry(exercise: str, key: str) -> dict[str, Any]:
    """What the catalogues have for a diagnosis; the exercise's own words come first."""
    return catalogue(exercise).get(key) or catalogue("common")[key]


def say(key: str, language: str, /, **params: Any) -> str:
    """A string of the interface: common.toml, [ui]."""
    return catalogue("common")["ui"][key][language].format(**{k: plain(v) for k, v in params.items()})


def part(exercise: str, diagnosis: Diagnosis, what: str, language: str) -> str:
    """What a diagnosis says, asks or hints at."""
    params = {name: plain(value) for name, value in diagnosis.params.items()}
    return entry(exercise, diagnosis.key)[language][what].format(**params)


def plain(value: Any) -> str:
    """A parameter or a cell of a table as text."""
    if isinstance(value, np.ndarray) and value.ndim <= 1 and value.size <= 6:
        return f"[{' '.join(map(plain, value.reshape(-1).tolist()))}]"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, tuple) and value and all(isinstance(v, int | np.integer) for v in value):
        return " → ".join(map(str, value))
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(v)}" for key, v in value.items())
    if isinstance(value, float | np.floating):
        return f"{value:.7g}"
    return str(value)


def width(text: str) -> int:
    """Columns that a terminal gives to `text`."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def wrapped(text: str, room: int) -> list[str]:
    """`text` in lines of at most `room` columns; Chinese breaks between any two characters."""
    lines = [""]
    for word in _words(" ".join(text.split())):
        if width(lines[-1] + word.rstrip()) > room and lines[-1].strip():
            lines.append("")
        lines[-1] += word if lines[-1] else word.lstrip()
    return [line.rstrip() for line in lines]


def _words(text: str) -> list[str]:
    words = [""]
    for char in text:
        wide = unicodedata.east_asian_width(char) in "WF"
        closing = char in ",.;:!?)，。；：！？）、”》"
        if words[-1] and not closing and (wide or words[-1][-1] == " " or _wide_end(words[-1])):
            words.append("")
        words[-1] += char
    return words


def _wide_end(word: str) -> bool:
    return unicodedata.east_asian_width(word[-1]) in "WF" and word[-1] not in "（“《"


def indented(label: str, text: str, first: int = 0) -> list[str]:
    """A label, and beside it as many lines as `text` takes."""
    room = max(first, width(label)) + 2
    lines = wrapped(text, COLUMNS - room)
    return [
        (label + " " * (room - width(label)) if i == 0 else " " * room) + line for i, line in enumerate(lines)
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Rows under a head, in columns as wide as they need; in a table that is too wide long cells are cut."""
    cells = [[plain(cell) for cell in row] for row in [head, *rows]]
    if 3 * len(head) + sum(max(map(width, column)) for column in zip(*cells)) > COLUMNS:
        room = (COLUMNS - 3 * len(head) - 12) // max(1, len(head) - 1)
        cells = [[cut(cell, max(12, room)) for cell in row] for row in cells]
    widths = [max(width(row[column]) for row in cells) for column in range(len(head))]
    return [
        "   " + "   ".join(c + " " * (w - width(c)) for c, w in zip(row, widths)).rstrip() for row in cells
    ]


def cut(text: str, room: int) -> str:
    """`text`, or as much of it as `room` columns hold."""
    if len(text) < 10 * room and width(text) <= room:
        return text
    kept, taken = "", 0
    for char in text:
        if (taken := taken + width(char)) > room - 3:
            break
        kept += char
    return kept + "..."


def colours() -> bool:
    """Whether to colour the terminal."""
    import os

    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and shutil.get_terminal_size().columns > 0


def bold(text: str, colour: int) -> str:
    """`text` in a colour, if the terminal has some."""
    return f"\033[1;{colour}m{text}\033[0m" if colours() else text


def line_text(file: Path, number: int) -> str:
    """A line of a student's file."""
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()[number - 1].strip()
    except (OSError, UnicodeError, IndexError):
        return ""


def heading(exercise: str, language: str) -> str:
    """The number and the title of an exercise."""
    return f"{exercise[:2]} {catalogue(exercise)['exercise']['title'][language]}"


def shown(exercise: str, file: Path, diagnosis: Diagnosis | None, language: str) -> str:
    """The result of a check for a terminal of 80 columns."""
    title = bold(heading(exercise, language), 36)
    if diagnosis is None:
        return f"{title}\n{bold('✓ ' + say('passed', language), 32)}"
    says = part(exercise, diagnosis, "says", language)
    if diagnosis.state == "not_started":
        mark, colour = "○ ", 33
    elif diagnosis.state == "note":
        mark, colour = f"✓ {say('passed_but', language)}", 32
    else:
        mark, colour = "✗ ", 31
    lines = [title, *(bold(line, colour) for line in wrapped(mark + says, COLUMNS))]
    if diagnosis.rows:
        head = [column_name(name, language) for name in diagnosis.head]
        lines += table(head, diagnosis.rows[:12])
    if diagnosis.case is not None:
        given = diagnosis.case.get("given", diagnosis.case)  # a function's arguments, where no rank is asked
        known = {"N" if k == "size" else k: v for k, v in given.items() if not isinstance(v, dict | list)}
        case = ", ".join(f"{name} = {plain(value)}" for name, value in known.items())
        lines += indented("  " + say("smallest", language), case)
    labels = max(width(say(name, language)) for name in ("look", "think"))
    if diagnosis.line:
        where, number = (
            diagnosis.line if isinstance(diagnosis.line, list | tuple) else (file.name, diagnosis.line)
        )
        code = line_text(file.parent / where, number)
        place = f"{where}:{number}"
        lines += [
            f"{pad(say('look', language), labels)}  {place}",
            *([" " * labels + "      " + code] if code else []),
        ]
    if ask := part(exercise, diagnosis, "ask", language):
        lines += indented(pad(say("think", language), labels), ask)
    return "\n".join(lines)


def column_name(name: str, language: str) -> str:
    """The head of a column: from the catalogue if it is there."""
    words = catalogue("common")["column"]
    return words[name][language] if name in words else name


def pad(text: str, room: int) -> str:
    """`text` with as many spaces as fill `room` columns."""
    return text + " " * (room - width(text))


def paragraphs(text: str) -> str:
    """A text of the catalogue for the terminal: its paragraphs wrapped."""
    return "\n".join("\n".join(wrapped(p, COLUMNS)) for p in textwrap.dedent(text).strip().split("\n\n"))
