"""How a lesson is read: in a terminal (script.py), or as a notebook (notebook.py, kernel.py, rank.py).

A lesson is a script of cells in the percent format: text in Chinese and in English, and code once.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

HEAD = re.compile(r'# %%( \[markdown\] id="[\w-]+" lang="(?P<language>zh|en)".*)?')


@dataclass
class Part:
    """A cell: Markdown in one language, or code, for which `language` is None; `line` is its first line."""

    language: str | None
    text: str
    line: int


def parts(path: Path) -> list[Part]:
    """The cells of a lesson in order; none, if it has no cells."""
    found: list[Part] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if head := HEAD.fullmatch(line):
            found.append(Part(head["language"], "", number + 1))
        elif found:
            part = found[-1]
            part.text += (line.removeprefix("#").removeprefix(" ") if part.language else line) + "\n"
    return found


def statements(part: Part) -> list[ast.stmt]:
    """The statements of a cell of code, with the lines that they have in the file."""
    return ast.increment_lineno(ast.parse(part.text), part.line - 1).body
