"""Words and tables for a terminal of 80 columns or more, in two languages.

A file words.json has every word of a package in both, side by side.
"""

import json
import os
import re
import shutil
from collections.abc import Sequence
from importlib import resources

import tabulate
import wcwidth

from zero_ref import launch
from zero_ref.launch.singular import Text

tabulate.MIN_PADDING = 0
OPENS, CLOSES = "“‘（《", "”’，。；：！？）、》,.;:!?)…"
WIDE = "\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6"
UNIT = r"(?: (?:G?B|[mu]?s)\b)?"
# What stays together in a line: a word, or one Chinese character, with the marks that open and close it.
PIECE = re.compile(rf"\s*[{OPENS}]*(?:[^\s{OPENS}{WIDE}]+{UNIT}|[{WIDE}]|.)[{CLOSES}]*\s*")
LABEL = re.compile(r" *(?:- |(?:\S+ )?\S+ {2,})?")  # that a line begins with: what follows hangs beside it


def both_languages(package: str) -> dict[str, dict[str, str]]:
    """Every word of a package: key -> language -> text."""
    return json.loads(resources.files(package).joinpath("words.json").read_text(encoding="utf-8"))


def words_of(package: str, language: str | None = None) -> dict[str, str]:
    """Every word of a package in one language; None: in that of the environment. Key -> text."""
    language = language or launch.language()
    return {key: Text(texts[language]) for key, texts in both_languages(package).items()}


def columns() -> int:
    """The width of the terminal, but at least 80 and at most 120."""
    return min(120, max(80, shutil.get_terminal_size().columns))


def fold(text: str) -> str:
    """A text, each line of it in as many as the terminal needs."""
    return "\n".join(part for line in text.split("\n") for part in folded(line))


def folded(line: str) -> list[str]:
    """A line in as many as the terminal needs; where it begins with a label, the others stand beside that.

    Chinese breaks between any two characters, but no line begins with a mark that closes. What has no
    place to break, as a path, stays whole: nobody could copy it otherwise.
    """
    label = LABEL.match(line)
    assert label  # it may be empty
    indent = wcwidth.width(label[0])
    lines = [""]
    for piece in PIECE.findall(line):
        if wcwidth.width(lines[-1]) > indent and wcwidth.width(lines[-1] + piece.rstrip()) > columns():
            lines.append(" " * indent)
        lines[-1] += piece
    return [part.rstrip() for part in lines]


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """A table of text, aligned to the right; a Chinese character takes two columns."""
    return tabulate.tabulate(rows, header, disable_numparse=True, colalign=["right"] * len(header))


def fitting(rows: Sequence[Sequence[str]], header: Sequence[str], keep: int = 1, together: int = 1) -> str:
    """A table; where the terminal is too narrow for it, its columns in several tables one below the other.

    keep: so many columns begin each of them; together: so many columns stay side by side
    """
    whole = table(rows, header)
    parts = (len(header) - keep) // together
    if max(map(wcwidth.width, whole.splitlines())) <= columns() or parts < 2:
        return whole
    middle = keep + (parts + 1) // 2 * together
    halves = [
        [[*row[:keep], *row[a:b]] for row in (header, *rows)]
        for a, b in ((keep, middle), (middle, len(header)))
    ]
    return "\n\n".join(fitting(half[1:], half[0], keep, together) for half in halves)


def written(files: dict[str, str], language: str | None = None) -> str:
    """Where each result lies, and what opens it. files: what it is (a key of words.json) -> path."""
    word = words_of(__package__, language)
    return "\n".join(word[what].format(path=os.path.abspath(path)) for what, path in files.items())
