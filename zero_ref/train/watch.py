"""Who waits where: a watchdog over the collectives, and a check that all ranks make the same one.

A collective at which one rank never arrives waits for ever, and MPI says nothing. Here a thread of each
rank notes now and then, on a board in shared memory, in which call its rank is and since when, or where
else it is. When somebody has waited for too long, the run ends with a list of who waits in which call,
and who never came. The ranks themselves pay less than a microsecond a call (`--timeout`, always on).

Who reads or writes files may take longer: a disk is slow in its own way. Ranks that wait for that in
`agree`, where all have come before, say so whenever the time is over, and wait on.

The check (`--check`) compares what the ranks are about to call before each call, so that a mismatch is
named at once: also the one that MPI takes for equal, two vectors of the same length interchanged.

On several machines a rank sees the board of its own machine, and each machine tells its part.
"""

import atexit
import math
import os
import struct
import sys
import threading
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import numpy as np

from zero_ref import extras, launch
from zero_ref.comm import Call, Comm
from zero_ref.extras.own import waiting_in
from zero_ref.launch import CleanEnd
from zero_ref.launch.start import WAITED
from zero_ref.launch.together import Patience

NOTE, HEAD = 512, struct.Struct("<qdd?H")  # bytes of a note; see Watch.read
UNSEEN = "a place that nobody has looked at"


def describe(call: Call) -> str:
    """What is called: operation, unit, type and count, which have to be the same on all ranks."""
    name, layout, dtype = call
    if layout is None or dtype is None:
        return "sum of one number" if name == "sum" else "exchange of reports"
    nbytes = layout.padded * dtype.itemsize
    return f"{name} of {layout.name}, {layout.padded:,} x {dtype}, {nbytes:,} bytes"


def asked_in(frame: FrameType | None) -> str:
    """File, line and function that asked for the collective which `frame` is in; or where `frame` is.

    All that a function of comm.py calls belongs to the collective. Extras and launch ask for somebody else.
    """
    asking, outer = frame, frame
    while outer is not None:
        if module_of(outer) == Comm.__module__:
            asking = outer.f_back
        outer = outer.f_back
    while asking is not None and module_of(asking).startswith((extras.__name__, launch.__name__)):
        asking = asking.f_back
    if asking is None:
        return "an unknown place"
    file = "/".join(Path(asking.f_code.co_filename).parts[-2:])
    return f"{file}:{asking.f_lineno} in {asking.f_code.co_name}"


def whereabouts(frame: FrameType | None) -> str:
    """What asked_in says; and of somebody's own ring the line at which it is."""
    inside = waiting_in(frame)
    return asked_in(frame) + (f"; it is at {inside}" if inside else "")


def module_of(frame: FrameType) -> str:
    """The name of the module whose code a frame runs."""
    return frame.f_globals.get("__name__", "")


class Watch:
    """The board of this machine's ranks, and the thread that writes and reads it. One a process.

    timeout: seconds that a collective may wait.
    """

    def __init__(self, comm: Comm) -> None:
        from mpi4py import MPI

        self.comm, self.timeout = comm, math.inf
        self.calls = 0
        self.now_in: Call | None = None
        node = comm.mpi.Split_type(MPI.COMM_TYPE_SHARED)
        self.ranks = np.empty(node.size, np.int64)
        node.Allgather(np.array([comm.rank]), self.ranks)
        nbytes = NOTE * node.size if node.rank == 0 else 0
        self.window = MPI.Win.Allocate_shared(nbytes, comm=node)
        self.board = self.window.Shared_query(0)[0].cast("B")
        self.slot, self.main = node.rank, threading.get_ident()
        self.write(0, time.monotonic(), "at the beginning of its program")
        node.Barrier()
        atexit.register(self.leave)
        threading.Thread(target=self.look, name="watchdog", daemon=True).start()

    def before(self, call: Call) -> None:
        """An observer of a Comm: what is called can be seen from the thread."""
        self.calls += 1
        self.now_in = call

    def after(self, call: Call) -> None:
        """It is over."""
        self.now_in = None

    def look(self) -> None:
        """The thread: note where this rank is; end the run when a rank has waited for too long."""
        number, since, late, told, seen = 0, 0.0, 0, 0, -1
        while True:
            time.sleep(min(1.0, self.timeout / 4))
            now, now_in = time.monotonic(), self.now_in
            # A frame that is looked at lives on meanwhile, with arrays that its function has deleted, and the
            # ledger would count them. So that of a rank that goes on is left alone.
            goes_on = self.calls != seen
            here = UNSEEN if goes_on else whereabouts(sys._current_frames().get(self.main))
            seen = self.calls
            if now_in is None:
                number = 0
                self.write(-self.calls, now, f"in {here}, step {self.comm.step}")
            else:
                told = told if number == self.calls else 1
                number, since = self.calls, since if number == self.calls else now
                text = f"{describe(now_in)}, step {self.comm.step}, {here}"
                self.write(number, since, text, patient=Patience.now)
                if Patience.now and now - since > told * self.timeout:
                    told += 1
                    self.tell_of_work(now - since)
            waiting = [slot for slot in range(len(self.ranks)) if self.waits(slot, now)]
            late = late + 1 if waiting else 0
            if late > 1 and waiting[0] == self.slot:  # by now every rank has noted where it is
                launch.tell(self.report(now))
                time.sleep(0.2)  # mpirun forwards the text; end at once and it may be lost
                os._exit(WAITED)

    def tell_of_work(self, seconds: float) -> None:
        """For how long all wait, and for whom; from the lowest rank that does."""
        notes = [self.read(slot) for slot in range(len(self.ranks))]
        if self.slot == next(slot for slot, note in enumerate(notes) if note[3]):
            busy = [
                f"rank {rank}, {text}"
                for rank, (_, _, _, patient, text) in zip(self.ranks, notes)
                if not patient
            ]
            who = "; ".join(busy) or "a rank of another machine"
            launch.tell(f"zero_ref: all wait for {seconds:.0f} s, and go on waiting, for {who}\n")

    def leave(self) -> None:
        """At the end of the program, when no thread runs any more."""
        self.write(-self.calls, time.monotonic(), "at the end of its program", written=math.inf)

    def write(
        self, number: int, since: float, text: str, written: float | None = None, patient: bool = False
    ) -> None:
        """Note on this rank's slot: in call `number` since then; or not in one, after call -number.

        A checksum ends it: without one, who reads meanwhile would have half of it and half of the last.
        """
        data = text.encode()[: NOTE - HEAD.size - 4]
        note = HEAD.pack(number, since, written or time.monotonic(), patient, len(data)) + data
        note += zlib.crc32(note).to_bytes(4)
        self.board[NOTE * self.slot :][: len(note)] = note

    def read(self, slot: int) -> tuple[int, float, float, bool, str]:
        """What a rank has noted: call, since when, written when, whether it waits patiently, text."""
        for _ in range(1000):
            note = bytes(self.board[NOTE * slot :][:NOTE])
            number, since, written, patient, length = HEAD.unpack_from(note)
            text, check = note[HEAD.size :][:length], note[HEAD.size + length :][:4]
            if zlib.crc32(note[: HEAD.size + length]) == int.from_bytes(check):
                break
            time.sleep(0.0001)  # its rank is writing it; or has died as it did
        return number, since, written, patient, text.decode(errors="replace")

    def waits(self, slot: int, now: float) -> bool:
        """Whether a rank has waited for longer than it may."""
        number, since, _, patient, _ = self.read(slot)
        return number > 0 and not patient and now - since > self.timeout

    def report(self, now: float) -> str:
        """Who waits in which call, who never came, and whose program stands still."""
        notes = [self.read(slot) for slot in range(len(self.ranks))]
        latest = max(note[0] for note in notes)
        lines = [f"zero_ref: error: a collective was not complete after {self.timeout:g} s; all ranks end"]
        for rank, (number, since, written, _, text) in zip(self.ranks, notes):
            seconds = max(0.0, now - since)  # a rank may have noted something since `now`
            if now - written > self.timeout / 2:  # its thread writes at least twice as often
                last = f"in call {number}: {text}" if number > 0 else text
                lines.append(f"[rank {rank}] no sign of life for {now - written:.0f} s; it was {last}")
            elif number > 0:
                lines.append(f"[rank {rank}] waits for {seconds:.0f} s in call {number}: {text}")
            else:
                lines.append(f"[rank {rank}] never came to call {latest}: {seconds:.0f} s ago it was {text}")
        return "\n".join(lines) + "\n"


def watch(comm: Comm, timeout: float) -> None:
    """Watch the collectives of `comm` from now on; a rank that is alone waits for nobody.

    The first `comm` is of all ranks. Even a rank that is a group by itself waits for other groups.
    """
    global _watch
    if comm.size > 1 or _watch:
        _watch = _watch or Watch(comm)
        _watch.comm, _watch.timeout = comm, timeout
        comm.observers.append(_watch)


_watch: Watch | None = None


class Mismatch(CleanEnd):
    """The ranks do not make the same call."""


class Check:
    """An observer that compares the ranks' calls before each. seconds: what that has taken on this rank."""

    def __init__(self, comms: Sequence[Comm]) -> None:
        self.comms = comms
        self.unobserved = Comm(comms[0].mpi)
        self.calls, self.seconds = 0, 0.0
        for each in comms:
            each.observers.append(self)

    def before(self, call: Call) -> None:
        """Raise Mismatch on all ranks alike unless all of them are about to make this call."""
        start = time.perf_counter()
        self.calls += 1
        text = describe(call)
        ours = np.array([self.calls, zlib.crc32(text.encode())])
        all_ours = np.empty((self.unobserved.size, 2), ours.dtype)
        self.unobserved.mpi.Allgather(ours, all_ours)
        if (all_ours != ours).any():
            raise Mismatch(self.report(f"{text}, {asked_in(sys._getframe())}"))
        self.seconds += time.perf_counter() - start

    def after(self, call: Call) -> None:
        """It is over."""

    def report(self, text: str) -> str:
        """Which ranks call what."""
        ranks: dict[str, list[str]] = {}
        for rank, theirs in enumerate(self.unobserved.everyone(text)):
            ranks.setdefault(theirs, []).append(str(rank))
        calls = [f"rank {', '.join(who)}: {what}" for what, who in ranks.items()]
        where = f"step {self.comms[0].step}, call {self.calls}"
        return f"{where}: the ranks do not call the same: {'; '.join(calls)}"
