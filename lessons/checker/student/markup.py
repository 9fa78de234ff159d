"""Pieces of the page about a run: texts in one language, tables, and what pictures are drawn with."""

import html
from collections.abc import Sequence
from typing import Any

from lessons.checker import words


def escape(value: Any) -> str:
    """Text for the page: no markup."""
    return html.escape(words.replace_illegal(str(value)))


class Texts:
    """What the page says in one language."""

    def __init__(self, language: str) -> None:
        self.language = language

    def raw(self, key: str, **params: Any) -> str:
        """A text of the catalogue, for what escapes it: table() and words_at()."""
        return words.say(f"picture_{key}", self.language, **params)

    def say(self, key: str, **params: Any) -> str:
        """A text of the catalogue, escaped."""
        return escape(self.raw(key, **params))

    def columns(self, *names: str) -> list[str]:
        """The head of a table: names of columns."""
        return [words.column_name(name, self.language) for name in names]

    def details(self, content: str) -> str:
        """The same as a table, for who would rather read."""
        return f"<details><summary>{self.say('as_table')}</summary>\n{content}\n</details>"


def table(head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """A table that scrolls by itself."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="scrolls" tabindex="0"><table>\n<thead><tr>{top}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def svg(width: float, height: float, title: str, description: str, parts: Sequence[str]) -> str:
    """A picture; title and description are escaped already."""
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    return (
        f'<svg role="img" {size}><title>{title}</title><desc>{description}</desc>\n'
        + "\n".join(parts)
        + "\n</svg>"
    )


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def words_at(x: float, y: float, text: str, kind: str, anchor: str = "middle") -> str:
    """A text in a picture."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def tip(x: float, y: float, way: int, kind: str) -> str:
    """The point of a level arrow."""
    return f'<path class="{kind}" d="M{x} {y}l{-9 * way} -5v10z"/>'


def place_text(where: Any, own: str = "") -> str:
    """A file and a line; only the line in the student's own file."""
    if not where:
        return "-"
    return f"L{where[1]}" if where[0] == own else f"{where[0]}:{where[1]}"


def list_ranks(ranks: Sequence[int]) -> str:
    return ", ".join(map(str, ranks)) or "-"
