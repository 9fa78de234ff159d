"""The `comm` of the exercises: a rank, a size, and messages between two ranks.

A message leaves when its receiver has begun to receive it, however small it is. MPI would store a small
one and let the sender go on; here a program that only works because of that hangs at eight bytes, and
is told so.
"""

import os
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

import numpy as np

from lessons.checker.barcode import COUNTED, ELEMENTS
from lessons.checker.ranks.board import Board, is_met
from lessons.checker.ranks.lines import line_of_frame

HEADER = 64  # bytes before a message's numbers: their type and shape


class Stopped(BaseException):
    """The checker ends this job. Not an Exception: a student's `except` must not hold it."""


class Talk:
    """What a student gets.

    rank, size: who I am, of how many
    send(x, to), recv(source), sendrecv(x, to, source): arrays to and from one other rank
    """

    def __init__(
        self, board: Board, mpi: Any, job: int, files: Sequence[str], failures: dict[str, int]
    ) -> None:
        self._board, self._mpi, self._job, self._files = board, mpi, job, tuple(files)
        self._failures = failures  # job -> trial: of this rank; JSON, so the job as text
        self._me = mpi.rank if mpi else 0
        world = board.size
        start = job << 20  # so that a note that is still of the last job meets no need of this one
        self._counts = {"sends": [start] * world, "receives": [start] * world, "entered": [0]}
        self._case = -1
        self._state = "runs"
        self._in_student_code = False  # whether the student's code runs, which alone may be interrupted
        self._busy = 0.0  # seconds that the processor has worked for this process before the job
        self._called = ""  # the collective that was entered last
        self._owner = os.getpid(), threading.get_ident()
        self._elsewhere: dict[str, Any] | None = None  # the line of a thread that has called, if it is known
        self._size = world
        self.events: list[dict] = []

    # What a student has. Neither rank nor size can be set: what the checker knows must stay true.

    @property
    def rank(self) -> int:
        return self._me

    @property
    def size(self) -> int:
        return self._size

    def send(self, x: Any, to: int) -> None:
        """Send an array to rank `to`; wait until it has begun to receive."""
        to = self._check_rank(to)
        self._exchange(x, to, None, f"send to {to}")

    def recv(self, source: int) -> np.ndarray:
        """Wait for an array from rank `source`; return it."""
        source = self._check_rank(source)
        return self._exchange(None, None, source, f"recv from {source}")

    def sendrecv(self, x: Any, to: int, source: int) -> np.ndarray:
        """Send to one rank and receive from another, at the same time."""
        to, source = self._check_rank(to), self._check_rank(source)
        return self._exchange(x, to, source, f"sendrecv to {to}, from {source}")

    def _check_rank(self, rank: Any) -> int:
        """A rank's number, which numpy may have computed. Raises ValueError for one that is not there."""
        if not isinstance(rank, int | np.integer) or not 0 <= rank < self._size:
            raise ValueError(f"there is no rank {rank!r}: the ranks are 0 to {self._size - 1}")
        return int(rank)

    # What the checker calls.

    def _begin_trial(self, case: int, size: int) -> None:
        """A new trial with `size` ranks. The others have left it already."""
        self._case, self._size, self.events = case, size, []
        self._counts["entered"][0] = (self._job << 12 | case) << 20  # not all ranks were in the last trial
        self._publish("runs" if self.rank < size else "left", [], "")

    def _leave_trial(self, failed: bool) -> bool:
        """This rank has done with the trial; wait for all. Returns whether it failed on any rank.

        Others may be further already: a failure counts from its own trial on, and a rank that has gone
        to the next job still tells of it.
        """
        if failed:
            self._failures[str(self._job)] = self._case
        self._publish("left", [], "")
        while True:
            notes = self._board.notes()
            if all(
                note.get("job", -1) > self._job
                or (
                    note.get("job") == self._job
                    and (note["case"], note["state"] == "left") >= (self._case, True)
                )
                for note in notes
            ):
                failures = [note["failures"].get(str(self._job)) for note in notes]
                return any(case is not None and case <= self._case for case in failures)
            if self._must_stop():
                return True
            time.sleep(0.0002)

    def _enter(self, what: str) -> None:
        """Begin a collective: wait until all ranks have begun their call of the same number.

        Where they call different things, nobody goes on: the checker reads that from the notes.
        """
        self._check_thread()
        self._counts["entered"][0] += 1
        number, self._called = self._counts["entered"][0], what
        others = [rank for rank in range(self.size) if rank != self.rank]
        self._publish("waits", [[rank, "entered", 0, number] for rank in others], what)
        self._add_event("enter", what, 0, None)
        waiting = others
        while waiting:
            notes = {rank: self._board.read(rank) for rank in waiting}
            for note in notes.values():  # of one that has gone on, too: it may be in its messages by now
                if note.get("entered") == [number] and note["called"] != what:
                    self._publish("differs", [], what)
                    while True:
                        self._pause()
            waiting = [rank for rank in waiting if notes[rank].get("entered", [0])[0] < number]
            if waiting:
                self._pause()
        self._publish("runs", [], "")

    def _check_thread(self) -> None:
        """A rank has one note, which tells of one wait: of two at once nothing could be proved."""
        if (os.getpid(), threading.get_ident()) != self._owner:
            self._elsewhere = {"line": self._student_line(sys._getframe(1))}
            raise RuntimeError("comm is for the thread and the process in which the function was called")

    def _exchange(self, x: Any, to: int | None, source: int | None, what: str) -> Any:
        self._check_thread()
        packed = None if to is None else pack(x)
        needs = []
        for peer, mine, theirs in ((to, "sends", "receives"), (source, "receives", "sends")):
            if peer is None:
                continue
            self._counts[mine][peer] += 1
            needs.append([peer, theirs, self._me, self._counts[mine][peer]])
        self._publish("waits", needs, what)
        self._add_event("message", what, 0 if packed is None else packed.size - HEADER, to)
        if packed is not None and (codes := codes_in(np.asarray(x))):
            self.events[-1]["codes"] = codes
        outgoing = None if packed is None else needs[0]
        incoming = None if source is None else needs[-1]
        request, received = None, None
        while outgoing or incoming or request:
            if outgoing and is_met(outgoing, self._board.read(to)):
                request, outgoing = self._mpi.Isend(packed, to, self._job), None
            if incoming and (received := self._take_message(incoming, source)) is not None:
                incoming = None
            if request and request.Test():
                request = None
            if outgoing or incoming or request:
                self._pause()
        self._publish("runs", [], "")
        return None if received is None else unpack(received)

    def _take_message(self, need: list, source: int) -> np.ndarray | None:
        if not is_met(need, self._board.read(source)):
            return None
        from mpi4py import MPI

        status = MPI.Status()
        message = self._mpi.Improbe(source, self._job, status)
        if message is None:
            return None
        received = np.empty(status.Get_count(MPI.BYTE), np.uint8)
        message.Recv(received)
        return received

    def _pause(self) -> None:
        if self._must_stop():
            raise Stopped
        time.sleep(0.0001)

    def _must_stop(self) -> bool:
        return self._board.read(self._board.size).get("stop", -1) >= self._job

    def _publish(self, state: str, needs: list, what: str) -> None:
        place = self._student_line(sys._getframe(1)) if state in ("waits", "differs") else None
        self._state = state
        recent = {str(job): self._failures.get(str(job)) for job in (self._job - 1, self._job)}
        note = {"job": self._job, "case": self._case, "state": state, "failures": recent, "pid": os.getpid()}
        note |= self._counts | {"needs": needs, "doing": what, "place": place, "called": self._called}
        self._board.write(self._me, note)

    def _add_event(self, kind: str, what: str, nbytes: int, to: int | None) -> None:
        place = self._student_line(sys._getframe(1))
        self.events.append({"kind": kind, "what": what, "bytes": nbytes, "to": to, "place": place})

    def _student_line(self, frame: FrameType | None) -> tuple[str, int] | None:
        """File and line of the student's code that is being run."""
        return line_of_frame(frame, self._files)


def codes_in(x: np.ndarray) -> list[float]:
    """The numbers of a short array of codes and zeros (see barcode.py), for its picture; of any other, []."""
    if x.dtype != np.float64 or not 0 < x.size <= ELEMENTS:
        return []
    codes = x >= 1 << COUNTED
    return x.ravel().tolist() if codes.any() and (codes | (x == 0)).all() else []


def pack(x: Any) -> np.ndarray:
    """An array as bytes: type and shape, then the numbers."""
    if x is None:
        raise TypeError("there is nothing to send: None")
    x = np.asarray(x)
    if x.dtype.kind not in "fiub":
        raise TypeError(f"only arrays of numbers can be sent, not {x.dtype}")
    head = f"{x.dtype.str} {' '.join(map(str, x.shape))}".encode().ljust(HEADER)
    if len(head) > HEADER:
        raise ValueError(f"an array of {x.ndim} dimensions cannot be sent")
    return np.frombuffer(head + x.tobytes(), np.uint8)


def unpack(received: np.ndarray) -> np.ndarray:
    """The array of which pack() made these bytes."""
    kind, *shape = received[:HEADER].tobytes().decode().split()
    return received[HEADER:].copy().view(kind).reshape([int(n) for n in shape])
