"""Who waits for whom: one note per rank in a file, and the proof that nothing can go on.

A rank writes its note before it begins to wait. The note says what it needs, as numbers that only grow:
"rank 2 must have begun its 3rd receive from me". So a need that is not met by a note read *later* was
not met when the waiting began, nor at any time between. When every rank waits with such a need, or has
left, then all of them waited at one and the same moment; and as only a rank that goes on can meet a
need, none ever will. That is a proof, not a limit of time: a slow rank is never taken for a hung one.
"""

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

SLOT = 1 << 14
HEAD = struct.Struct("<II")  # length of the text, its checksum

Note = dict[str, Any]


class Board:
    """Notes of `size` ranks in the file `path`; one more, number `size`, is the checker's."""

    def __init__(self, path: Path, size: int) -> None:
        self.size = size
        self.file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self.known: dict[int, tuple[bytes, Note]] = {}  # place -> head and note: each is parsed once

    def write(self, place: int, note: Note) -> None:
        """Replace a note. Only its owner writes it."""
        text = json.dumps(note).encode()
        os.pwrite(self.file, HEAD.pack(len(text), zlib.crc32(text)) + text, place * SLOT)

    def read(self, place: int) -> Note:
        """A note as it stood at one moment; {} before the first. A half-written one is read again."""
        while head := os.pread(self.file, HEAD.size, place * SLOT):
            known, note = self.known.get(place, (b"", {}))
            if head == known:
                return note
            if len(head) < HEAD.size:
                continue
            length, checksum = HEAD.unpack(head)
            text = os.pread(self.file, length, place * SLOT + HEAD.size)
            if zlib.crc32(text) == checksum:
                self.known[place] = head, json.loads(text) if text else {}
                return self.known[place][1]
        return {}

    def notes(self) -> list[Note]:
        """The notes of all ranks, one after another."""
        return [self.read(rank) for rank in range(self.size)]

    def close(self) -> None:
        os.close(self.file)


def unmet_needs(note: Note, later: list[Note]) -> list[list]:
    """What a waiting rank needs and has not got: [rank, what, of whom, how many]."""
    return [need for need in note["needs"] if not is_met(need, later[need[0]])]


def is_met(need: list, note: Note) -> bool:
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
