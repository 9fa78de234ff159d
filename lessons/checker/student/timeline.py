"""The picture of a trial's messages: a column for each rank, time downwards."""

from collections.abc import Sequence
from typing import Any

from lessons.checker import words
from lessons.checker.student.attempt import Data
from lessons.checker.student.markup import Texts, line, place_text, svg, table, tip, words_at
from lessons.checker.student.sequence import Bar, Course, Event, Message

COLUMN, ROW, LEFT, TOP = 118, 30, 34, 58  # in pixels: four ranks are whole on a phone, where all is smaller
BOX = 110  # of how a rank ended
MOST = 120  # rows that are drawn; of more, the first and the last
TABLE = 600


class Timeline:
    """One trial in one language. file: the student's, of which places have only the line."""

    def __init__(self, trial: Data, hang: Data | None, course: Course, file: str, texts: Texts) -> None:
        self.trial, self.hang, self.course, self.file, self.texts = trial, hang, course, file, texts

    def draw(self) -> str:
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
                parts.append(line("step", 4, y, x_of(size - 1) + BOX / 2, y))
                parts.append(words_at(LEFT - 10, y + ROW, str(step), "soft", "end"))
            y += ROW + 18 * (isinstance(item, Message) and bool(item.carries))
            if isinstance(item, int):
                parts.append(words_at(x_of(0) - 20, y, self.texts.raw("more", number=item), "soft", "start"))
            else:
                parts.append(
                    self.draw_message(item, y) if isinstance(item, Message) else self.draw_bar(item, y, size)
                )
        ends = y + ROW
        below = "".join(self.draw_end(rank, ends) for rank in range(size))
        above = "".join(
            words_at(x_of(r), TOP - 30, f"rank {r}", "strong")
            + line("life", x_of(r), TOP - 18, x_of(r), ends)
            for r in range(size)
        )
        above += words_at(0, TOP - 30, self.texts.raw("step"), "soft", "start")
        case = self.texts.say("trial", case=words.case_text(self.trial["case"]))
        drawing = svg(
            x_of(size - 1) + BOX / 2 + 4,
            ends + 84,
            self.texts.say("messages"),
            self.in_words(),
            [above, *parts, below],
        )
        return (
            f'<p>{case}</p>\n<figure><div class="scrolls" tabindex="0">{drawing}</div></figure>\n'
            + self.texts.details(self.table_of_messages())
        )

    def draw_message(self, m: Message, y: float) -> str:
        """An arrow, with what it carries above it, and its bytes and line beside its sender."""
        below = ""
        label = f"{self.texts.raw('bytes_short', number=m.nbytes)} · {place_text(m.sent_at, self.file)}"
        a, b = x_of(m.source), x_of(m.to)
        if m.source == m.to:
            path = f'<path class="arrow" d="M{a} {y - 8}h26v12h-18"/>'
            return path + tip(a + 2, y + 4, -1, "tip") + words_at(a + 32, y + 2, label, "halo", "start")
        way = 1 if b > a else -1
        if m.carries:
            below, label = words_at(a + way * COLUMN / 2, y + 14, label, "soft halo"), m.carries
        return (
            line("arrow", a, y, b - 8 * way, y)
            + tip(b - 2 * way, y, way, "tip")
            + words_at(a + way * COLUMN / 2, y - 7, label, "carries halo" if below else "halo")
            + below
            + f'<circle class="origin" cx="{a}" cy="{y}" r="3.5"/>'
        )

    def draw_bar(self, b: Bar, y: float, size: int) -> str:
        """A collective: a bar over all ranks."""
        amount = f" · {self.texts.raw('bytes_short', number=b.nbytes)}" if b.nbytes else ""
        label = f"{b.what}{amount} · {place_text(b.place, self.file)}"
        apart = x_of(size - 1) - x_of(0)
        wide = max(apart + 100, 7 * words.width(label) + 16)  # with one rank the text is wider
        left = x_of(0) + apart / 2 - wide / 2
        rect = f'<rect class="bar" x="{left}" y="{y - 17}" width="{wide}" height="22" rx="5"/>'
        return rect + words_at(left + wide / 2, y - 2, label, "")

    def draw_end(self, rank: int, y: float) -> str:
        """How a rank ended: a box at the foot of its column."""
        first, second, stopped = self.ending(rank)
        kind = "end stop" if stopped else "end"
        to, _, source = first.partition(", ")  # "sendrecv to 1, from 3" has two lines
        texts = [(f"{to}," if source else to, "last"), (source, "last"), (second, "last soft")]
        shown = [each for each in texts if each[0]]
        start = y + 35 - 8.5 * (len(shown) - 1)
        box = f'<rect class="{kind}" x="{x_of(rank) - BOX / 2}" y="{y}" width="{BOX}" height="62" rx="6"/>'
        return box + "".join(words_at(x_of(rank), start + 17 * i, *each) for i, each in enumerate(shown))

    def ending(self, rank: int) -> tuple[str, str, bool]:
        """Two short lines, and whether this is where something stands."""
        report = self.trial["ranks"][rank]
        if self.hang and rank < len(self.hang["ranks"]):
            note = self.hang["ranks"][rank]
            if note["state"] == "left":
                return self.texts.raw("returned"), "", False
            return "■ " + note["doing"][:24], place_text(note["place"], self.file), True
        if report["end"] == "raised":
            return "✗ " + self.texts.raw("raised"), place_text(report["place"], self.file), True
        if report["end"] == "returned":
            return self.texts.raw("returned"), "", False
        event: Event | None = self.course.at[rank]
        where = place_text(event.place, self.file) if event else ""
        return "■ " + (event.what[:24] if event else self.texts.raw("stopped")), where, True

    def in_words(self) -> str:
        """The sequence as sentences: what a picture's description has to say."""
        sentences = []
        for item in self.course.items[:40]:
            if isinstance(item, Message):
                sentences.append(
                    self.texts.say("told", step=item.step, source=item.source, to=item.to, nbytes=item.nbytes)
                    + (self.texts.say("told_carries", carries=item.carries) if item.carries else "")
                )
            else:
                sentences.append(self.texts.say("told_bar", step=item.step, what=item.what))
        if len(self.course.items) > 40:
            sentences.append(self.texts.say("more", number=len(self.course.items) - 40))
        for rank in range(self.trial["size"]):
            first, second, _ = self.ending(rank)
            sentences.append(self.texts.say("told_end", rank=rank, what=f"{first} {second}".strip()))
        return " ".join(sentences)

    def table_of_messages(self) -> str:
        """Every message and collective in a row."""
        carries = any(isinstance(item, Message) and item.carries for item in self.course.items)
        names = ("step", "from", "to", "bytes_word", "sent_at", "received_at")
        head = [self.texts.raw(name) for name in (*names, *(["carries"] if carries else []))]
        rows: list[Sequence[Any]] = []
        for item in self.course.items[:TABLE]:
            if isinstance(item, Message):
                rows.append(
                    (
                        item.step,
                        item.source,
                        item.to,
                        item.nbytes,
                        place_text(item.sent_at),
                        place_text(item.received_at),
                        *([item.carries] if carries else []),
                    )
                )
            else:
                rows.append(
                    (
                        item.step,
                        item.what,
                        self.texts.raw("everyone"),
                        item.nbytes or "",
                        place_text(item.place),
                        "",
                    )
                )
        if len(self.course.items) > TABLE:
            rows.append((self.texts.raw("more", number=len(self.course.items) - TABLE), "", "", "", "", ""))
        return table(head, rows)


def x_of(rank: int) -> int:
    """The middle of a rank's column."""
    return LEFT + BOX // 2 + COLUMN * rank
