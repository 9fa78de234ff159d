"""A page about the student's own last run: what it came to, and who sent what to whom in which order.

One file without a script: nothing is loaded, and nothing that comes from a student can run. Both languages
are in it; two buttons, which are radio buttons, choose.
"""

import ast
import base64
import hashlib
import html
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lessons.checker import words
from lessons.checker.student import attempt, screen
from lessons.checker.student.attempt import Data
from lessons.checker.student.sequence import Bar, Course, Event, Message, course
from lessons.checker.words import LANGUAGES, say

COLUMN, ROW, LEFT, TOP = 176, 30, 76, 58  # of the sequence, in pixels
MOST = 120  # rows that are drawn; of more, the first and the last
TABLE = 600

NAMES = {"zh": "中文", "en": "English"}


def page(exercise: str, data: Data, language: str) -> str:
    """The page, beginning in `language`. data: what attempt.py keeps of a run."""
    style = (Path(__file__).parent / "picture.css").read_text(encoding="utf-8")
    policy = "default-src 'none'; style-src 'sha256-{}'"
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    title = escape(words.heading(exercise, language))
    lines = [
        "<!DOCTYPE html>",
        f'<html lang="{language}">',
        "<head>",
        '<meta charset="utf-8" />',
        '<meta name="viewport" content="width=device-width, initial-scale=1" />',
        '<meta name="color-scheme" content="light dark" />',
        f'<meta http-equiv="Content-Security-Policy" content="{policy.format(digest)}" />',
        f"<title>{title}</title>",
        f"<style>{style}</style>",
        "</head>",
        "<body>",
        *(radio(name, name == language) for name in LANGUAGES),
        '<div class="languages">',
        *(f'<label for="show-{name}" lang="{name}">{NAMES[name]}</label>' for name in LANGUAGES),
        "</div>",
        *(f'<main lang="{name}">\n{Page(exercise, data, name).text()}\n</main>' for name in LANGUAGES),
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"


def radio(language: str, chosen: bool) -> str:
    """A button for a language."""
    checked = ' checked="checked"' if chosen else ""
    return (
        f'<input type="radio" name="language" id="show-{language}" aria-label="{NAMES[language]}"{checked} />'
    )


def escape(value: Any) -> str:
    """Text for the page: no markup, and no characters that a page must not have."""
    return html.escape(re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", str(value)))


class Page:
    """All of the page in one language."""

    def __init__(self, exercise: str, data: Data, language: str) -> None:
        self.exercise, self.data, self.language = exercise, data, language
        self.diagnosis = attempt.diagnosis_of(data)
        self.trial, self.hang = data["trial"], data["hang"]
        self.course: Course = course(self.trial) if self.trial else Course([], [], 0)

    def raw(self, key: str, **params: Any) -> str:
        """A text of the catalogue, for what escapes it: table() and words_at()."""
        return say(f"picture_{key}", self.language, **params)

    def say(self, key: str, **params: Any) -> str:
        """A text of the catalogue, escaped."""
        return escape(self.raw(key, **params))

    def text(self) -> str:
        """All sections that this run has."""
        parts = [self.head(), self.table_of_diagnosis()]
        if self.hang:
            parts.append(self.section("waiting", self.waiting()))
        if self.trial and (self.course.items or self.hang or any(self.course.at)):
            parts.append(self.section("messages", self.messages()))
        if self.source_lines():
            parts.append(self.section("lines", self.lines()))
        if self.trial and self.data["state"] in ("passed", "note") and self.course.items:
            parts.append(self.section("bytes", self.bytes()))
        if self.data["printed"].strip():
            text = escape(self.data["printed"])
            parts.append(self.section("printed", f'<pre tabindex="0">{text}</pre>'))
        return "\n".join(part for part in parts if part)

    def section(self, key: str, content: str) -> str:
        """A section with its heading and a sentence about it."""
        about = f'<p class="note">{self.say(key + "_about")}</p>'
        return f"<section>\n<h2>{self.say(key)}</h2>\n{about}\n{content}\n</section>"

    def head(self) -> str:
        """Which exercise, when, and what it came to."""
        state = screen.state(self.data["state"], self.language)
        when = self.say("when", when=self.data["when"], seconds=f"{self.data['seconds']:.1f}")
        good = " good" if self.data["state"] in ("passed", "note") else ""
        sign = {"wrong": "✗", "not_started": "○"}.get(self.data["state"], "✓")
        verdict = f"{sign} {escape(state)}"
        asks = ""
        if self.diagnosis is not None:
            colon = escape(say("colon", self.language))
            says = words.part(self.exercise, self.diagnosis, "says", self.language)
            verdict += colon + escape(says)
            if place := screen.place_of(self.diagnosis.line, self.data):
                asks += f"<p>{escape(say('look', self.language))}{colon}<code>{escape(place)}</code></p>\n"
            if ask := words.part(self.exercise, self.diagnosis, "ask", self.language):
                asks += f"<p>{escape(say('think', self.language))}{colon}{escape(ask)}</p>\n"
        title = escape(words.heading(self.exercise, self.language))
        lead = f'<h1>{title}</h1>\n<p class="lead">{when}</p>'
        return f'{lead}\n<p class="verdict{good}">{verdict}</p>\n{asks}'.rstrip()

    def table_of_diagnosis(self) -> str:
        """The evidence, and the trial it is of."""
        if self.diagnosis is None or not self.diagnosis.rows:
            return ""
        head = [words.column_name(name, self.language) for name in self.diagnosis.head]
        text = self.table(head, self.diagnosis.rows)
        if self.diagnosis.case is not None:
            case = say("smallest", self.language) + say("colon", self.language)
            text += f'\n<p class="note">{escape(case + screen.case_text(self.diagnosis.case))}</p>'
        return text

    def table(self, head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
        """A table that scrolls by itself."""
        top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
        body = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        return (
            f'<div class="scrolls" tabindex="0"><table>\n<thead><tr>{top}</tr></thead>\n'
            f"<tbody>\n{body}\n</tbody>\n</table></div>"
        )

    def details(self, content: str) -> str:
        """The same as a table, for who would rather read."""
        return f"<details><summary>{self.say('as_table')}</summary>\n{content}\n</details>"

    # Who waits for whom.

    def waiting(self) -> str:
        """The ranks in a circle, with an arrow to each that is waited for."""
        notes = self.hang["ranks"][: self.trial["size"]]
        size, radius, middle = len(notes), 118, 180
        spots = [
            (
                middle + radius * math.sin(2 * math.pi * r / size),
                middle - radius * math.cos(2 * math.pi * r / size),
            )
            for r in range(size)
        ]
        drawn, told, rows = [], [], []
        for rank, note in enumerate(notes):
            gone = note["state"] == "left"
            for other in note["waits_for"]:
                drawn.append(
                    waits(spots[rank], spots[other]) if other != rank else waits_for_itself(*spots[rank])
                )
            does = self.raw("returned") if gone else note["doing"]
            told.append(
                self.say("rank_gone", rank=rank)
                if gone
                else self.say("rank_waits", rank=rank, what=note["doing"], others=listed(note["waits_for"]))
            )
            rows.append((rank, does, place(note["place"]), listed(note["waits_for"])))
        for rank, (x, y) in enumerate(spots):
            gone = " left" if notes[rank]["state"] == "left" else ""
            drawn.append(f'<circle class="rank{gone}" cx="{x:.1f}" cy="{y:.1f}" r="32"/>')
            drawn.append(words_at(x, y + 5, f"rank {rank}", "strong"))
        head = [words.column_name(name, self.language) for name in ("rank", "does", "place", "waits_for")]
        svg = self.svg(2 * middle, max(y for _, y in spots) + 40, self.say("waiting"), " ".join(told), drawn)
        return f"<figure>{svg}</figure>\n" + self.details(self.table(head, rows))

    # Messages in order.

    def messages(self) -> str:
        """A column for each rank, time downwards."""
        size = self.trial["size"]
        items = self.course.items
        cut = len(items) - MOST
        drawn_items: list[Any] = items if cut <= 0 else [*items[: MOST // 2], cut, *items[-MOST // 2 :]]
        parts, y, step = [], TOP, 0
        for item in drawn_items:
            if not isinstance(item, int) and item.step != step:
                step = item.step
                y += 10
                parts.append(line("step", LEFT - 40, y, x_of(size - 1) + 60, y))
                parts.append(words_at(LEFT - 44, y + ROW, str(step), "soft", "end"))
            y += ROW
            if isinstance(item, int):
                parts.append(words_at(x_of(0) - 20, y, self.raw("more", number=item), "soft", "start"))
            else:
                parts.append(self.message(item, y) if isinstance(item, Message) else self.bar(item, y, size))
        ends = y + ROW
        below = "".join(self.end(rank, ends) for rank in range(size))
        above = "".join(
            words_at(x_of(r), TOP - 30, f"rank {r}", "strong")
            + line("life", x_of(r), TOP - 18, x_of(r), ends)
            for r in range(size)
        )
        above += words_at(LEFT - 44, TOP - 30, self.raw("step"), "soft", "end")
        case = self.say("trial", case=screen.case_text(self.trial["case"]))
        svg = self.svg(
            x_of(size - 1) + 100, ends + 66, self.say("messages"), self.in_words(), [above, *parts, below]
        )
        return (
            f'<p>{case}</p>\n<figure><div class="scrolls" tabindex="0">{svg}</div></figure>\n'
            + self.details(self.table_of_messages())
        )

    def message(self, m: Message, y: float) -> str:
        """An arrow, with bytes and line beside its sender."""
        label = f"{self.raw('bytes_short', number=m.nbytes)} · {place(m.sent_at, self.data['file'])}"
        a, b = x_of(m.source), x_of(m.to)
        if m.source == m.to:
            path = f'<path class="arrow" d="M{a} {y - 8}h26v12h-18"/>'
            return path + tip(a + 2, y + 4, -1, "tip") + words_at(a + 32, y + 2, label, "halo", "start")
        way = 1 if b > a else -1
        return (
            line("arrow", a, y, b - 8 * way, y)
            + f'<circle class="origin" cx="{a}" cy="{y}" r="3.5"/>'
            + tip(b - 2 * way, y, way, "tip")
            + words_at(a + way * COLUMN / 2, y - 6, label, "halo")
        )

    def bar(self, b: Bar, y: float, size: int) -> str:
        """A collective: a bar over all ranks."""
        amount = f" · {self.raw('bytes_short', number=b.nbytes)}" if b.nbytes else ""
        label = f"{b.what}{amount} · {place(b.place, self.data['file'])}"
        apart = x_of(size - 1) - x_of(0)
        wide = max(apart + 100, 7 * words.width(label) + 16)  # with one rank the text is wider
        left = x_of(0) + apart / 2 - wide / 2
        rect = f'<rect class="bar" x="{left}" y="{y - 17}" width="{wide}" height="22" rx="5"/>'
        return rect + words_at(left + wide / 2, y - 2, label, "")

    def end(self, rank: int, y: float) -> str:
        """How a rank ended: a box at the foot of its column."""
        first, second, stopped = self.ending(rank)
        kind = "end stop" if stopped else "end"
        box = f'<rect class="{kind}" x="{x_of(rank) - 80}" y="{y}" width="160" height="46" rx="6"/>'
        if not second:
            return box + words_at(x_of(rank), y + 28, first, "")
        return box + words_at(x_of(rank), y + 19, first, "") + words_at(x_of(rank), y + 36, second, "soft")

    def ending(self, rank: int) -> tuple[str, str, bool]:
        """Two short lines, and whether this is where something stands."""
        report = self.trial["ranks"][rank]
        if self.hang and rank < len(self.hang["ranks"]):
            note = self.hang["ranks"][rank]
            if note["state"] == "left":
                return self.raw("returned"), "", False
            return "■ " + note["doing"][:24], place(note["place"], self.data["file"]), True
        if report["end"] == "raised":
            return "✗ " + self.raw("raised"), place(report["place"], self.data["file"]), True
        if report["end"] == "returned":
            return self.raw("returned"), "", False
        event: Event | None = self.course.at[rank]
        where = place(event.place, self.data["file"]) if event else ""
        return "■ " + (event.what[:24] if event else self.raw("stopped")), where, True

    def in_words(self) -> str:
        """The sequence as sentences: what a picture's description has to say."""
        told = []
        for item in self.course.items[:40]:
            if isinstance(item, Message):
                told.append(
                    self.say("told", step=item.step, source=item.source, to=item.to, nbytes=item.nbytes)
                )
            else:
                told.append(self.say("told_bar", step=item.step, what=item.what))
        if len(self.course.items) > 40:
            told.append(self.say("more", number=len(self.course.items) - 40))
        for rank in range(self.trial["size"]):
            first, second, _ = self.ending(rank)
            told.append(self.say("told_end", rank=rank, what=f"{first} {second}".strip()))
        return " ".join(told)

    def table_of_messages(self) -> str:
        """Every message and collective in a row."""
        head = [self.raw(name) for name in ("step", "from", "to", "bytes_word", "sent_at", "received_at")]
        rows: list[Sequence[Any]] = []
        for item in self.course.items[:TABLE]:
            if isinstance(item, Message):
                rows.append(
                    (
                        item.step,
                        item.source,
                        item.to,
                        item.nbytes,
                        place(item.sent_at),
                        place(item.received_at),
                    )
                )
            else:
                rows.append(
                    (item.step, item.what, self.raw("everyone"), item.nbytes or "", place(item.place), "")
                )
        if len(self.course.items) > TABLE:
            rows.append((self.raw("more", number=len(self.course.items) - TABLE), "", "", "", "", ""))
        return self.table(head, rows)

    # Lines of the student's functions, and bytes.

    def source_lines(self) -> list[int]:
        """The lines of the functions that the student wrote; without them those around the diagnosis."""
        source = self.data["source"]
        found = sorted(set(function_lines("\n".join(source), self.data["functions"])))
        if not found and self.diagnosis is not None and isinstance(self.diagnosis.line, int):
            found = list(range(max(1, self.diagnosis.line - 8), self.diagnosis.line + 4))
        return [number for number in found if number <= len(source)][:400]

    def lines(self) -> str:
        """Each line with the messages that left from it, and the ranks that stood there."""
        sent, nbytes, stands = Counter[int](), Counter[int](), {}
        for rank, report in enumerate(self.trial["ranks"] if self.trial else ()):
            for raw in report["events"]:
                if (number := self.own_line(raw.get("place"))) is not None:
                    sent[number] += 1
                    nbytes[number] += raw.get("bytes") or 0
            if (number := self.own_line(self.stood_at(rank))) is not None:
                stands.setdefault(number, []).append(rank)
        here = self.own_line(self.diagnosis.line) if self.diagnosis else None
        rows = []
        for number in self.source_lines():
            mark = "▶" if number == here else ""
            what = self.raw("stands", ranks=listed(stands[number])) if number in stands else ""
            counts = (sent[number] or "", nbytes[number] or "")
            now = ' class="now"' if number == here or number in stands else ""
            rows.append(
                f'<tr{now}><td class="mark">{mark}</td><td class="number">{number}</td>'
                f'<td class="code">{escape(self.data["source"][number - 1])}</td>'
                f'<td class="number">{counts[0]}</td><td class="number">{counts[1]}</td>'
                f"<td>{escape(what)}</td></tr>"
            )
        names = ("", "line", "code", "events", "bytes_word", "")
        kinds = ("", "number", "", "number", "number", "")
        head = "".join(
            f'<th scope="col" class="{kind}">{self.say(name) if name else ""}</th>'
            for name, kind in zip(names, kinds)
        )
        return (
            '<div class="scrolls" tabindex="0"><table class="source">\n'
            + f"<thead><tr>{head}</tr></thead>\n<tbody>\n"
            + "\n".join(rows)
            + "\n</tbody>\n</table></div>"
        )

    def stood_at(self, rank: int) -> Any:
        """Where a rank stands that has not returned."""
        if self.hang and rank < len(self.hang["ranks"]):
            return self.hang["ranks"][rank]["place"] if self.hang["ranks"][rank]["state"] != "left" else None
        return self.trial["ranks"][rank]["place"]

    def own_line(self, where: Any) -> int | None:
        """A line's number, if it is of this exercise's file."""
        if isinstance(where, int):
            return where
        return where[1] if where and where[0] == self.data["file"] else None

    def bytes(self) -> str:
        """What every rank sent, as bars and as a table."""
        size = self.trial["size"]
        sent, number = [0] * size, [0] * size
        for rank, report in enumerate(self.trial["ranks"]):
            messages = [raw for raw in report["events"] if raw.get("to") is not None]
            sent[rank], number[rank] = sum(raw.get("bytes") or 0 for raw in messages), len(messages)
        most, parts, told = max([*sent, 1]), [], []
        for rank in range(size):
            y, wide = 34 * rank, 460 * sent[rank] / most
            text = self.raw("sent", bytes=sent[rank], messages=number[rank])
            parts.append(words_at(0, y + 19, f"rank {rank}", "strong", "start"))
            parts.append(f'<rect class="amount" x="72" y="{y + 4}" width="{wide:.1f}" height="22" rx="3"/>')
            parts.append(words_at(82 + wide, y + 19, text, "", "start"))
            told.append(f"rank {rank}: {escape(text)}.")
        svg = self.svg(760, 34 * size, self.say("bytes"), " ".join(told), parts)
        head = [words.column_name(name, self.language) for name in ("rank", "got_bytes", "got_messages")]
        rows = list(zip(range(size), sent, number))
        return f'<figure><div class="scrolls" tabindex="0">{svg}</div></figure>\n' + self.details(
            self.table(head, rows)
        )

    def svg(self, width: float, height: float, title: str, told: str, parts: Sequence[str]) -> str:
        """A picture; title and description are escaped already."""
        size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
        return (
            f'<svg role="img" {size}>'
            f"<title>{title}</title><desc>{told}</desc>\n" + "\n".join(parts) + "\n</svg>"
        )


def x_of(rank: int) -> int:
    """The middle of a rank's column."""
    return LEFT + 70 + COLUMN * rank


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def words_at(x: float, y: float, text: str, kind: str, anchor: str = "middle") -> str:
    """A text in a picture."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def tip(x: float, y: float, way: int, kind: str) -> str:
    """The point of a level arrow."""
    return f'<path class="{kind}" d="M{x} {y}l{-9 * way} -5v10z"/>'


def waits(a: tuple[float, float], b: tuple[float, float]) -> str:
    """A bent arrow between two ranks of the circle, so that two that wait for each other have two."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = math.hypot(dx, dy)
    ux, uy = dx / length, dy / length
    bend = 18.0
    start = (a[0] + 36 * ux - 8 * uy, a[1] + 36 * uy + 8 * ux)
    end = (b[0] - 40 * ux - 8 * uy, b[1] - 40 * uy + 8 * ux)
    middle = ((a[0] + b[0]) / 2 - bend * uy, (a[1] + b[1]) / 2 + bend * ux)
    tx, ty = end[0] - middle[0], end[1] - middle[1]
    long = math.hypot(tx, ty)
    tx, ty = tx / long, ty / long
    corners = [
        (end[0] + 6 * tx, end[1] + 6 * ty),
        (end[0] - 6 * tx - 6 * ty, end[1] - 6 * ty + 6 * tx),
        (end[0] - 6 * tx + 6 * ty, end[1] - 6 * ty - 6 * tx),
    ]
    path = f"M{start[0]:.1f} {start[1]:.1f}Q{middle[0]:.1f} {middle[1]:.1f} {end[0]:.1f} {end[1]:.1f}"
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return f'<path class="waits" d="{path}"/><polygon class="waits-tip" points="{points}"/>'


def waits_for_itself(x: float, y: float) -> str:
    """A loop."""
    path = f'<path class="waits" d="M{x + 25:.1f} {y - 22:.1f}c60 -46 60 90 4 48"/>'
    return path + f'<path class="waits-tip" d="M{x + 22:.1f} {y + 20:.1f}l14 4l-12 9z"/>'


def place(where: Any, own: str = "") -> str:
    """A file and a line; only the line in the student's own file."""
    if not where:
        return "-"
    return f"L{where[1]}" if where[0] == own else f"{where[0]}:{where[1]}"


def listed(ranks: Sequence[int]) -> str:
    return ", ".join(map(str, ranks)) or "-"


def function_lines(source: str, names: Sequence[str]) -> Iterator[int]:
    """The lines of these functions or classes; none where Python cannot read the source."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names:
            yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)
