"""Who waits for whom: one note per rank in a file, and the proof that nothing can go on.

A rank writes its note before it begins to wait. The note says what it needs, as numbers that only grow:
"rank 2 must have begun its 3rd receive from me". So a need that is not met by a note read *later* was
not met when the waiting began, nor at any time between. When every rank waits with such a need, or has
left, then all of them waited at one and the same moment; and as only a rank that goes on can meet a
need, none ever will. That is a proof, not a limit of time: a slow rank is never taken for a hung one.

Whoever runs on a rank can write to the file. So what is read is held against what a note is, and what is
none counts as no note: nothing is proved by it, and nobody waits for it longer than the limit of time.
"""

import os
import stat
import struct
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import msgspec

SLOT = 1 << 14
HEAD = struct.Struct("<II")  # length of the text, its checksum
TRIES = 1000  # readings of a note that is being written, which takes some microseconds
TORN = 1.0  # seconds after which a note that stays half written was written by somebody else
LONGEST = 300  # characters of a text in a note

Note = dict[str, Any]
Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
Text = Annotated[str, msgspec.Meta(max_length=LONGEST)]
Counts = Literal["sends", "receives", "entered"]


class RankNote(TypedDict):
    """What a rank writes. needs: [rank, which of its counts, of which place, how many]."""

    job: Annotated[int, msgspec.Meta(ge=0, lt=1 << 20)]
    case: Annotated[int, msgspec.Meta(ge=-1, lt=1 << 20)]
    state: Literal["runs", "waits", "left", "differs"]
    failures: dict[Text, int | None]
    pid: Annotated[int, msgspec.Meta(gt=1, lt=1 << 31)]
    sends: list[Count]
    receives: list[Count]
    entered: list[Count]
    needs: list[tuple[Count, Counts, Count, Count]]
    doing: Text
    called: Text
    place: tuple[Text, Count] | None


class CheckerNote(TypedDict, total=False):
    """What the checker writes: the job that is to stop, if one is."""

    stop: int


class Board:
    """Notes of `size` ranks in the file `path`; one more, number `size`, is the checker's."""

    def __init__(self, path: Path, size: int) -> None:
        self.size = size
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        if not stat.S_ISREG(os.fstat(self.file).st_mode):
            raise OSError(f"{path} is no file")
        self.known: dict[int, tuple[bytes, Note]] = {}  # place -> head and note: each is parsed once
        self.torn: dict[int, float] = {}  # place -> since when what stands there is half written
        self.spoiled = False  # whether something else than a note was found, which no rank of ours writes

    def write(self, place: int, note: Note) -> None:
        """Replace a note. Only its owner writes it."""
        text = msgspec.json.encode(note)
        os.pwrite(self.file, HEAD.pack(len(text), zlib.crc32(text)) + text, place * SLOT)

    def read(self, place: int) -> Note:
        """A note as it stood at one moment; {} before the first, and for what is no note.

        A half-written one is read again, but not for ever: its rank may have ended in the middle.
        """
        length = 0
        for _ in range(TRIES):
            head = os.pread(self.file, HEAD.size, place * SLOT)
            known, note = self.known.get(place, (b"", {}))
            if head == known:
                return note
            if len(head) < HEAD.size:
                self.spoiled |= place in self.known
                return {}
            length, checksum = HEAD.unpack(head)
            text = os.pread(self.file, min(length, SLOT - HEAD.size), place * SLOT + HEAD.size)
            if len(text) == length and zlib.crc32(text) == checksum:
                self.torn.pop(place, None)
                self.known[place] = head, self.understand(place, text)
                return self.known[place][1]
        since = self.torn.setdefault(place, time.monotonic())
        self.spoiled |= length > SLOT - HEAD.size or time.monotonic() - since > TORN
        return {}

    def understand(self, place: int, text: bytes) -> Note:
        """The note that a text is; {} if it is none, and for the nothing that stands before the first."""
        if not text:
            return {}
        try:
            if place == self.size:
                return dict(msgspec.json.decode(text, type=CheckerNote))
            note = msgspec.json.decode(text, type=RankNote)
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            self.spoiled = True
            return {}
        self.spoiled |= not fits(note, self.size)
        return dict(note) if fits(note, self.size) else {}

    def notes(self) -> list[Note]:
        """The notes of all ranks, one after another."""
        return [self.read(rank) for rank in range(self.size)]

    def close(self) -> None:
        os.close(self.file)


def fits(note: RankNote, size: int) -> bool:
    """Whether a note is one of `size` ranks: so many counts, and no need of a rank that is not there."""
    counts = {"sends": size, "receives": size, "entered": 1}
    return (
        len(note["sends"]) == len(note["receives"]) == size
        and len(note["entered"]) == 1
        and all(rank < size and place < counts[what] for rank, what, place, _ in note["needs"])
    )


def unmet_needs(note: Note, later: list[Note]) -> list[tuple]:
    """What a waiting rank needs and has not got: [rank, what, of whom, how many]."""
    return [need for need in note["needs"] if not is_met(need, later[need[0]])]


def is_met(need: Sequence, note: Note) -> bool:
    """Whether a rank has done what another needs of it."""
    _, what, place, number = need
    return note.get(what, [0] * (place + 1))[place] >= number


def find_hang(board: Board, job: int) -> list[Note] | None:
    """The notes of all ranks of `job` if none of them can ever go on; else None."""
    before = board.notes()
    if any(note.get("job") != job or note["state"] not in ("waits", "left") for note in before):
        return None
    if len({note["case"] for note in before}) > 1:  # who has left an earlier trial may come to this one
        return None
    later = board.notes()
    waiting = [note for note in before if note["state"] == "waits"]
    if waiting and all(unmet_needs(note, later) for note in waiting):
        return before
    return None


def find_circle(notes: list[Note]) -> list[int]:
    """Ranks that wait for each other in a circle, from its lowest rank; [] where none do."""
    waits_for = {
        rank: unmet_needs(note, notes)[0][0]
        for rank, note in enumerate(notes)
        if note["state"] == "waits" and unmet_needs(note, notes)
    }
    for start in waits_for:
        path = [start]
        while path[-1] in waits_for and waits_for[path[-1]] not in path:
            path.append(waits_for[path[-1]])
        if waits_for.get(path[-1]) == start:
            return path
    return []
