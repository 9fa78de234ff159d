"""A page about the student's own last run: what it came to, and who sent what to whom in which order.

One file without a script: nothing is loaded, and nothing that comes from a student can run. Both languages
are in it; two buttons, which are radio buttons, choose.
"""

import ast
import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lessons.checker import words
from lessons.checker.student import attempt, screen
from lessons.checker.student.attempt import Data
from lessons.checker.student.circle import draw_circle
from lessons.checker.student.markup import Texts, escape, list_ranks, svg, table, words_at
from lessons.checker.student.sequence import Course, course
from lessons.checker.student.timeline import Timeline
from lessons.checker.words import LANGUAGES, say

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


class Page:
    """All of the page in one language."""

    def __init__(self, exercise: str, data: Data, language: str) -> None:
        self.exercise, self.data, self.language = exercise, data, language
        self.diagnosis = attempt.diagnosis_of(data)
        self.texts = Texts(language)
        self.trial, self.hang = data["trial"], data["hang"]
        self.course: Course = course(self.trial) if self.trial else Course([], [], 0)

    def text(self) -> str:
        """All sections that this run has."""
        parts = [self.head(), self.table_of_diagnosis()]
        if self.hang:
            parts.append(
                self.section("waiting", draw_circle(self.hang["ranks"][: self.trial["size"]], self.texts))
            )
        if self.trial and (self.course.items or self.hang or any(self.course.at)):
            parts.append(self.section("messages", self.timeline().draw()))
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
        about = f'<p class="note">{self.texts.say(key + "_about")}</p>'
        return f"<section>\n<h2>{self.texts.say(key)}</h2>\n{about}\n{content}\n</section>"

    def head(self) -> str:
        """Which exercise, when, and what it came to."""
        state = screen.state_text(self.data["state"], self.language)
        when = self.texts.say("when", when=self.data["when"], seconds=f"{self.data['seconds']:.1f}")
        good = " good" if self.data["state"] in ("passed", "note") else ""
        verdict = f"{words.SIGNS[self.data['state']][0]} {escape(state)}"
        asks = ""
        if self.diagnosis is not None:
            colon = escape(say("colon", self.language))
            says = words.diagnosis_text(self.exercise, self.diagnosis, "says", self.language)
            verdict += colon + escape(says)
            if place := screen.place_of(self.diagnosis.line, self.data):
                asks += f"<p>{escape(say('look', self.language))}{colon}<code>{escape(place)}</code></p>\n"
            if ask := words.diagnosis_text(self.exercise, self.diagnosis, "ask", self.language):
                asks += f"<p>{escape(say('think', self.language))}{colon}{escape(ask)}</p>\n"
        title = escape(words.heading(self.exercise, self.language))
        lead = f'<h1>{title}</h1>\n<p class="lead">{when}</p>'
        return f'{lead}\n<p class="verdict{good}">{verdict}</p>\n{asks}'.rstrip()

    def table_of_diagnosis(self) -> str:
        """The evidence, and the trial it is of."""
        if self.diagnosis is None or not self.diagnosis.rows:
            return ""
        head = self.texts.columns(*self.diagnosis.head)
        text = table(head, self.diagnosis.rows)
        if self.diagnosis.case is not None:
            case = say("smallest", self.language) + say("colon", self.language)
            text += f'\n<p class="note">{escape(case + words.case_text(self.diagnosis.case))}</p>'
        return text

    def timeline(self) -> Timeline:
        """The picture of the messages."""
        return Timeline(self.trial, self.hang, self.course, self.data["file"], self.texts)

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
            what = self.texts.raw("stands", ranks=list_ranks(stands[number])) if number in stands else ""
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
            f'<th scope="col" class="{kind}">{self.texts.say(name) if name else ""}</th>'
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
        most, parts, sentences = max([*sent, 1]), [], []
        for rank in range(size):
            y, wide = 34 * rank, 230 * sent[rank] / most
            text = self.texts.raw("sent", bytes=sent[rank], messages=number[rank])
            parts.append(words_at(0, y + 19, f"rank {rank}", "strong", "start"))
            parts.append(f'<rect class="amount" x="72" y="{y + 4}" width="{wide:.1f}" height="22" rx="3"/>')
            parts.append(words_at(82 + wide, y + 19, text, "", "start"))
            sentences.append(f"rank {rank}: {escape(text)}.")
        drawing = svg(500, 34 * size, self.texts.say("bytes"), " ".join(sentences), parts)
        head = self.texts.columns("rank", "got_bytes", "got_messages")
        rows = list(zip(range(size), sent, number))
        return f'<figure><div class="scrolls" tabindex="0">{drawing}</div></figure>\n' + self.texts.details(
            table(head, rows)
        )


def function_lines(source: str, names: Sequence[str]) -> Iterator[int]:
    """The lines of these functions or classes; none where Python cannot read the source."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names:
            yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)
