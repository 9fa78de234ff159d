"""Who waits where: a watchdog over the collectives, and a check that all ranks make the same one.

A collective that one rank does not come to waits for ever, and MPI says nothing. Here a thread of each
rank notes now and then, on a board in shared memory, in which call its rank is and since when, or where
else it is. When somebody has waited for too long, the run ends with a list of who waits in which call,
and who never came. The ranks themselves pay less than a microsecond a call (`--timeout`, always on).

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
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from mpi4py import MPI

from zero_ref.comm import Comm
from zero_ref.launch import CleanEnd
from zero_ref.layout import FlatLayout

CALLS = ("reduce_scatter", "all_gather", "start_all_gather", "finish_all_gather", "sum", "everyone")
EXIT_CODE = 86
NOTE, HEAD = 512, struct.Struct("<qddH")  # bytes of a note; call, since when, written when, length of text
# Where a collective is made or noted, not asked for.
LOWER = {
    str(Path(__file__).with_name(f"{name}.py")) for name in ("watch", "comm", "staging", "nccl", "events")
}


def around(comm: Comm, wrap: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replace each collective of `comm` by wrap(its name, itself)."""
    for name in CALLS:
        setattr(comm, name, wrap(name, getattr(comm, name)))


Call = tuple[str, FlatLayout | None, np.dtype | None]  # no array: a watchdog must keep none alive


def call_of(name: str, arguments: tuple[Any, ...]) -> Call:
    """What a collective is called with, without the numbers."""
    if name in ("sum", "everyone"):
        return name, None, None
    if name == "finish_all_gather":
        return name, arguments[0].layout, arguments[0].dtype
    return name, arguments[1], arguments[0].dtype


def describe(name: str, layout: FlatLayout | None, dtype: np.dtype | None) -> str:
    """What is called: operation, unit, type and count, which have to be the same on all ranks."""
    if layout is None or dtype is None:
        return "sum of one number" if name == "sum" else "exchange of reports"
    nbytes = layout.padded * dtype.itemsize
    return f"{name} of {layout.name}, {layout.padded:,} x {dtype}, {nbytes:,} bytes"


def asked_in(frame: FrameType | None) -> str:
    """File, line and function that asked for the collective which `frame` is in; or where `frame` is."""
    while frame is not None and frame.f_code.co_filename in LOWER:
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    file = "/".join(Path(frame.f_code.co_filename).parts[-2:])
    return f"{file}:{frame.f_lineno} in {frame.f_code.co_name}"


class Watch:
    """The board of this machine's ranks, and the thread that writes and reads it. One a process.

    timeout: seconds that a collective may wait.
    """

    def __init__(self, comm: Comm) -> None:
        self.comm, self.timeout = comm, math.inf
        self.calls = 0
        self.now_in: Call | None = None
        node = comm.mpi.Split_type(MPI.COMM_TYPE_SHARED)
        self.ranks = np.empty(node.size, np.int64)
        node.Allgather(np.array([comm.rank]), self.ranks)
        nbytes = NOTE * node.size if node.rank == 0 else 0
        self.window = MPI.Win.Allocate_shared(nbytes, comm=node)  # type: ignore[arg-type]
        self.board = self.window.Shared_query(0)[0].cast("B")
        self.slot, self.main = node.rank, threading.get_ident()
        self.write(0, time.monotonic(), "at the beginning of its program")
        node.Barrier()
        atexit.register(self.leave)
        threading.Thread(target=self.look, name="watchdog", daemon=True).start()

    def over(self, comm: Comm, timeout: float) -> None:
        """Watch the collectives of `comm` from now on."""
        self.comm, self.timeout = comm, timeout
        around(comm, self.wrap)

    def wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The collective, which can be seen from the thread while it lasts."""

        def seen(*arguments: Any, **keywords: Any) -> Any:
            self.calls += 1
            self.now_in = call_of(name, arguments)
            result = call(*arguments, **keywords)
            self.now_in = None
            return result

        return seen

    def look(self) -> None:
        """The thread: note where this rank is; end the run when a rank has waited for too long."""
        number, since, late = 0, 0.0, 0
        while True:
            time.sleep(min(1.0, self.timeout / 4))
            now, now_in = time.monotonic(), self.now_in
            here = asked_in(sys._current_frames().get(self.main))
            if now_in is None:
                number = 0
                self.write(-self.calls, now, f"in {here}, step {self.comm.step}")
            else:
                number, since = self.calls, since if number == self.calls else now
                self.write(number, since, f"{describe(*now_in)}, step {self.comm.step}, {here}")
            waiting = [slot for slot in range(len(self.ranks)) if self.waits(slot, now)]
            late = late + 1 if waiting else 0
            if late > 1 and waiting[0] == self.slot:  # by now every rank has noted where it is
                os.write(2, self.report(now).encode("utf-8", "backslashreplace"))
                time.sleep(0.2)  # mpirun forwards the text; end at once and it may be lost
                os._exit(EXIT_CODE)

    def leave(self) -> None:
        """At the end of the program, when no thread runs any more."""
        self.write(-self.calls, time.monotonic(), "at the end of its program", written=math.inf)

    def write(self, number: int, since: float, text: str, written: float | None = None) -> None:
        """Note on this rank's slot: in call `number` since then; or not in one, after call -number."""
        start, data = NOTE * self.slot, text.encode()[: NOTE - HEAD.size]
        HEAD.pack_into(self.board, start, number, since, written or time.monotonic(), len(data))
        self.board[start + HEAD.size : start + HEAD.size + len(data)] = data

    def read(self, slot: int) -> tuple[int, float, float, str]:
        """What a rank has noted: call, since when, written when, text."""
        start = NOTE * slot
        number, since, written, length = HEAD.unpack_from(self.board, start)
        text = bytes(self.board[start + HEAD.size : start + HEAD.size + length])
        return number, since, written, text.decode(errors="replace")

    def waits(self, slot: int, now: float) -> bool:
        """Whether a rank has waited for longer than it may."""
        number, since, _, _ = self.read(slot)
        return number > 0 and now - since > self.timeout

    def report(self, now: float) -> str:
        """Who waits in which call, who never came, and whose program stands still."""
        notes = [self.read(slot) for slot in range(len(self.ranks))]
        latest = max(number for number, _, _, _ in notes)
        lines = [f"zero_ref: error: a collective was not complete after {self.timeout:g} s; all ranks end"]
        for rank, (number, since, written, text) in zip(self.ranks, notes):
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
    """Watch the collectives of `comm` from now on; a rank that is alone waits for nobody."""
    global _watch
    if comm.size > 1:
        _watch = _watch or Watch(comm)
        _watch.over(comm, timeout)


_watch: Watch | None = None


class Mismatch(CleanEnd):
    """The ranks do not make the same call."""


class Check:
    """Compares the ranks' calls before each. seconds: what that has taken on this rank."""

    def __init__(self, comm: Comm) -> None:
        self.comm = comm
        self.everyone = comm.everyone  # not itself checked
        self.calls, self.seconds = 0, 0.0
        around(comm, self.wrap)

    def wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The collective, after a comparison. Raises Mismatch on all ranks alike."""

        def checked(*arguments: Any, **keywords: Any) -> Any:
            start = time.perf_counter()
            self.calls += 1
            text = describe(*call_of(name, arguments))
            ours = np.array([self.calls, zlib.crc32(text.encode())])
            all_ours = np.empty((self.comm.size, 2), ours.dtype)
            self.comm.mpi.Allgather(ours, all_ours)
            if (all_ours != ours).any():
                raise Mismatch(self.report(f"{text}, {asked_in(sys._getframe())}"))
            self.seconds += time.perf_counter() - start
            return call(*arguments, **keywords)

        return checked

    def report(self, text: str) -> str:
        """Which ranks call what."""
        ranks: dict[str, list[str]] = {}
        for rank, theirs in enumerate(self.everyone(text)):
            ranks.setdefault(theirs, []).append(str(rank))
        calls = [f"rank {', '.join(who)}: {what}" for what, who in ranks.items()]
        return f"step {self.comm.step}, call {self.calls}: the ranks do not call the same: {'; '.join(calls)}"
