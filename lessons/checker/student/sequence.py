"""The order of what the ranks of a trial did, from their events alone: no clock, only who waited for whom.

All ranks begin their first event at step 1. A message goes over at the first step at which its sender and
its receiver have both begun; a rank whose event is done begins its next one at the step after. That is
how ranks/messages.py lets them go on, so an event that is never done here is the one at which a rank stood.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lessons.checker.barcode import ELEMENTS, contents_text

Place = Sequence[Any] | None  # file and line


@dataclass
class Message:
    """`nbytes` from one rank to another; the lines at which they were sent and received; what they carry, as
    text, or "" (see barcode.contents_text)."""

    step: int
    source: int
    to: int
    nbytes: int
    sent_at: Place
    received_at: Place
    carries: str = ""


@dataclass
class Bar:
    """A collective that all ranks entered."""

    step: int
    what: str
    nbytes: int
    place: Place


@dataclass
class Event:
    """What a rank began: to whom it sends, from whom it receives; or a collective."""

    kind: str
    what: str
    nbytes: int
    to: int | None
    source: int | None
    place: Place
    carries: str = ""


@dataclass
class Course:
    """A trial in order; `at`: by rank the event that was never done, or None."""

    items: list[Message | Bar]
    at: list[Event | None]
    steps: int


def read_event(raw: dict[str, Any]) -> Event:
    """An event as the ranks report it; whom it is from stands only in its text."""
    what = str(raw.get("what", ""))
    source = re.search(r"(?:^recv|,) from (\d+)$", what)
    nbytes, to = raw.get("bytes", 0), raw.get("to")
    return Event(
        "enter" if raw.get("kind") == "enter" else "message",
        what,
        nbytes if isinstance(nbytes, int) else 0,
        to if isinstance(to, int) else None,
        int(source[1]) if source else None,
        raw.get("place"),
        carried(raw.get("codes")),
    )


def carried(codes: Any) -> str:
    """What an array of codes holds, as text; "" without."""
    good = isinstance(codes, list) and 0 < len(codes) <= ELEMENTS
    return contents_text(codes) if good and all(isinstance(code, float) for code in codes) else ""


class Replay:
    """Goes through the events of all ranks, step by step."""

    def __init__(self, events: Sequence[Sequence[Event]]) -> None:
        self.events, self.size = events, len(events)
        self.next = [0] * self.size
        # (sender, receiver) -> the events with which each side has begun, in order
        self.sends: dict[tuple[int, int], list[Event]] = {}
        self.receives: dict[tuple[int, int], list[Event]] = {}
        self.entered: list[list[Event]] = [[] for _ in range(self.size)]
        self.gone: Counter[tuple[int, int]] = Counter()
        self.bars = 0

    def now(self, rank: int) -> Event | None:
        """The event that a rank has begun."""
        done = self.next[rank] >= len(self.events[rank])
        return None if done else self.events[rank][self.next[rank]]

    def begin(self, rank: int) -> None:
        """Note what a rank begins."""
        found = self.now(rank)
        if found is None:
            return
        if found.kind == "enter":
            self.entered[rank].append(found)
        if found.to is not None:
            self.sends.setdefault((rank, found.to), []).append(found)
        if found.source is not None:
            self.receives.setdefault((found.source, rank), []).append(found)

    def done(self, rank: int) -> bool:
        """Whether the others have begun what a rank's event needs."""
        found = self.now(rank)
        if found is None:
            return False
        if found.kind == "enter":
            return self.together(len(self.entered[rank]))
        out, into = (rank, found.to), (found.source, rank)
        sent = found.to is None or len(self.receives.get(out, ())) >= len(self.sends[out])  # type: ignore
        got = found.source is None or len(self.sends.get(into, ())) >= len(self.receives[into])  # type: ignore
        return sent and got

    def together(self, number: int) -> bool:
        """Whether all ranks have entered `number` collectives, of one name the last."""
        if any(len(entered) < number for entered in self.entered):
            return False
        return len({entered[number - 1].what for entered in self.entered}) == 1

    def crossing(self, step: int) -> list[Message | Bar]:
        """What goes over at this step."""
        found: list[Message | Bar] = []
        for (source, to), sends in sorted(self.sends.items()):
            receives = self.receives.get((source, to), [])
            for k in range(self.gone[source, to], min(len(sends), len(receives))):
                sent, got = sends[k], receives[k]
                found.append(Message(step, source, to, sent.nbytes, sent.place, got.place, sent.carries))
                self.gone[source, to] += 1
        while self.size and self.together(self.bars + 1):
            first = self.entered[0][self.bars]
            found.append(Bar(step, first.what, first.nbytes, first.place))
            self.bars += 1
        return found


def course(trial: dict[str, Any]) -> Course:
    """The order of a trial as attempt.py keeps it."""
    events = [[read_event(raw) for raw in rank["events"]] for rank in trial["ranks"]]
    replay, items, step = Replay(events), [], 0
    begin = list(range(replay.size))
    while begin:
        step += 1
        for rank in begin:
            replay.begin(rank)
        items += replay.crossing(step)
        begin = [rank for rank in range(replay.size) if replay.done(rank)]
        for rank in begin:
            replay.next[rank] += 1
    return Course(items, [replay.now(rank) for rank in range(replay.size)], step)
