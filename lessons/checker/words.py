"""A diagnosis, and everything else that is said, in Chinese and in English: lessons/checks/*.toml.

common.toml has what all exercises share, NN_name.toml an exercise: its text, its hints and its diagnoses.
A diagnosis is a key with parameters; in the catalogues a key has for each language

    says   what is wrong, in one line
    ask    a question that helps
    hint   a direction, where the student asks for one
"""

import functools
import os
import re
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
from zero_ref.launch import printable
from zero_ref.launch.singular import Text

FOLDER = ROOT / "lessons" / "checks"
LANGUAGES = ("zh", "en")
COLUMNS = 80
SIGNS = {"passed": ("✓", 32), "note": ("✓", 32), "wrong": ("✗", 31), "not_started": ("○", 33)}  # colour


@functools.cache
def catalogue(name: str) -> dict[str, Any]:
    """One file of the catalogue: "common", or an exercise."""
    return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def exercises() -> list[str]:
    """The names of all exercises, in order."""
    return sorted(path.stem for path in FOLDER.glob("[0-9][0-9]_*.toml"))


def find_exercise(name: str) -> str | None:
    """The exercise of which `name` is the number or the name."""
    return next((e for e in exercises() if e == name or e[:2] == name.zfill(2)), None)


def entry(exercise: str, key: str) -> dict[str, Any]:
    """What the catalogues have for a diagnosis; the exercise's own words come first."""
    return catalogue(exercise).get(key) or catalogue("common")[key]


def say(key: str, language: str, /, **params: Any) -> str:
    """A string of the interface: common.toml, [ui]."""
    text = catalogue("common")["ui"][key][language]
    return Text(text).format(**{k: to_text(v) for k, v in params.items()})


def diagnosis_text(exercise: str, diagnosis: Diagnosis, what: str, language: str) -> str:
    """What a diagnosis says, asks or hints at."""
    params = {name: to_text(value) for name, value in diagnosis.params.items()}
    return Text(entry(exercise, diagnosis.key)[language][what]).format(**params)


def to_text(value: Any) -> str:
    """A parameter or a cell of a table as text."""
    if isinstance(value, np.ndarray) and value.ndim <= 1 and value.size <= 6:
        return f"[{' '.join(map(to_text, value.reshape(-1).tolist()))}]"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, tuple) and value and all(isinstance(v, int | np.integer) for v in value):
        return " → ".join(map(str, value))
    if isinstance(value, list | tuple):
        return ", ".join(map(to_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {to_text(v)}" for key, v in value.items())
    if isinstance(value, float | np.floating):
        return f"{value:.7g}"
    return printable(str(value))


def replace_illegal(text: str) -> str:
    """`text` with a mark in the place of each character that XML and HTML cannot have."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def width(text: str) -> int:
    """Columns that a terminal gives to `text`."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def wrap(text: str, room: int) -> list[str]:
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


def indent(label: str, text: str, first: int = 0) -> list[str]:
    """A label, and beside it as many lines as `text` takes."""
    room = max(first, width(label)) + 2
    lines = wrap(text, COLUMNS - room)
    return [
        (label + " " * (room - width(label)) if i == 0 else " " * room) + line for i, line in enumerate(lines)
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Rows under a head, in columns as wide as they need; in a table that is too wide long cells are cut."""
    cells = [[to_text(cell) for cell in row] for row in [head, *rows]]
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


def has_colours() -> bool:
    """Whether to colour the terminal."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and shutil.get_terminal_size().columns > 0


def bold(text: str, colour: int) -> str:
    """`text` in a colour, if the terminal has some."""
    return f"\033[1;{colour}m{text}\033[0m" if has_colours() else text


def line_text(file: Path, number: int) -> str:
    """A line of a student's file."""
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()[number - 1].strip()
    except (OSError, UnicodeError, IndexError):
        return ""


def heading(exercise: str, language: str) -> str:
    """The number and the title of an exercise."""
    return f"{exercise[:2]} {catalogue(exercise)['exercise']['title'][language]}"


def result_text(exercise: str, file: Path, diagnosis: Diagnosis | None, language: str) -> str:
    """The result of a check for a terminal of 80 columns."""
    title = bold(heading(exercise, language), 36)
    sign, colour = SIGNS[diagnosis.state if diagnosis else "passed"]
    if diagnosis is None:
        return f"{title}\n{bold(f'{sign} ' + say('passed', language), colour)}"
    says = diagnosis_text(exercise, diagnosis, "says", language)
    but = say("passed_but", language) if diagnosis.state == "note" else ""
    lines = [title, *(bold(line, colour) for line in wrap(f"{sign} {but}{says}", COLUMNS))]
    if diagnosis.rows:
        head = [column_name(name, language) for name in diagnosis.head]
        lines += table(head, diagnosis.rows[:12])
    if diagnosis.case is not None:
        lines += indent("  " + say("smallest", language), case_text(diagnosis.case))
    labels = max(width(say(name, language)) for name in ("look", "think"))
    if diagnosis.line:
        where, number = (
            diagnosis.line if isinstance(diagnosis.line, list | tuple) else (file.name, diagnosis.line)
        )
        code = line_text(file.parent / where, number)
        place = f"{where}:{number}"
        lines += [
            f"{pad(say('look', language), labels)}  {place}",
            *([cut(" " * labels + "      " + code, COLUMNS)] if code else []),
        ]
    if ask := diagnosis_text(exercise, diagnosis, "ask", language):
        lines += indent(pad(say("think", language), labels), ask)
    return "\n".join(lines)


def visible(case: dict[str, Any]) -> dict[str, str]:
    """What of a trial's parameters is short enough to be shown; "given" are a function's arguments."""
    case = case.get("given", case)
    return {name: to_text(value) for name, value in case.items() if not isinstance(value, dict | list)}


def case_text(case: dict[str, Any]) -> str:
    """A trial's parameters: "N = 2, length = 6"."""
    return ", ".join(f"{'N' if name == 'size' else name} = {value}" for name, value in visible(case).items())


def column_name(name: str, language: str) -> str:
    """The head of a column: from the catalogue if it is there."""
    words = catalogue("common")["column"]
    return words[name][language] if name in words else name


def pad(text: str, room: int) -> str:
    """`text` with as many spaces as fill `room` columns."""
    return text + " " * (room - width(text))


def wrap_paragraphs(text: str) -> str:
    """A text of the catalogue for the terminal: its paragraphs wrapped."""
    return "\n".join("\n".join(wrap(p, COLUMNS)) for p in textwrap.dedent(text).strip().split("\n\n"))
