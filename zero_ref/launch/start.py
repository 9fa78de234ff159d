"""MPI's start, which waits for every rank: here it ends when one of them will not come.

A rank that fails before it reaches MPI would leave the others in MPI_Init for ever, without a word. So a
thread of each rank that waits watches the start. It knows the ranks of its own machine by their names:
sockets (Linux) that the system takes back with their process, however that ends. A rank that ends before
MPI has started sends its last words to the others; of one that just does not come they tell the number.
"""

import atexit
import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from zero_ref.launch import (
    CleanEnd,
    last_words,
    launcher,
    one_line,
    rank_by_launcher,
    ranks_here,
    shared,
    size_by_launcher,
    tell,
)

WAITED = 86  # exit code of a rank that has waited for too long, here and in train/watch.py
PATIENCE = 2.0  # seconds in which the others may still come after an interrupt, or when this rank ends
CREDENTIALS = struct.Struct("3i")  # process, user and group of who has sent a message (Linux)


class Post:
    """The socket at which this rank can be told that another one has ended, from its first moment on.

    None of it is needed for a run of one rank, and where the system has no such sockets nobody is told.
    """

    def __init__(self) -> None:
        self.rank, self.size = rank_by_launcher(), size_by_launcher()
        self.family = f"\0zero_ref/{getattr(os, 'getuid', int)()}/{launcher()}"
        self.owner = os.getpid()
        self.inbox = self.bind(self.name(self.rank)) if self.size > 1 and sys.platform == "linux" else None
        self.here: socket.socket | None = None
        if self.inbox:
            self.inbox.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            atexit.register(self.tell_others)

    def name(self, rank: int, what: str = "") -> str:
        """The name of a rank's socket; it begins with a zero byte, and so is in no folder."""
        return f"{self.family}/{rank}{what}"

    def bind(self, name: str) -> socket.socket | None:
        """A socket of this name; None where there is one, as in a program that a rank has started."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            made.bind(name)
        except OSError:
            made.close()
            return None
        return made

    def come(self) -> None:
        """This rank has come to MPI's start."""
        self.here = self.bind(self.name(self.rank, "/start")) if self.inbox else None

    def leave(self) -> None:
        """MPI has started, and tells of ends by itself."""
        for each in (self.inbox, self.here):
            if each:
                each.close()
        self.inbox = self.here = None

    def tell_others(self) -> None:
        """At the end of the program: if MPI has not started, tell those who wait for this rank, or soon will.

        Who is not there yet gets a moment to come; who has ended as well has sent its own last words.
        """
        if not self.inbox or os.getpid() != self.owner:
            return
        self.inbox.setblocking(False)
        code, words = last_words
        text = json.dumps([self.rank, code, words[:1000]]).encode()
        absent, end = set(range(self.size)) - {self.rank}, time.monotonic() + PATIENCE
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            while True:
                absent -= {rank for rank in absent if self.send(sender, text, rank)}
                with contextlib.suppress(BlockingIOError):
                    while True:
                        absent -= set((self.read() or ())[:1])
                if self.size - len(absent) >= ranks_here() or time.monotonic() > end:
                    return
                time.sleep(0.01)

    def send(self, sender: socket.socket, text: bytes, rank: int) -> bool:
        """Whether a rank is there; a message that finds no more room there is one too many anyhow."""
        try:
            sender.sendto(text, self.name(rank))
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def read(self) -> tuple[int, int, str] | None:
        """A message: rank, exit code, text. None, if it is not from a process of this user's."""
        assert self.inbox
        text, extra, _, _ = self.inbox.recvmsg(4096, socket.CMSG_SPACE(CREDENTIALS.size))
        for _, kind, data in extra:
            if kind == socket.SCM_CREDENTIALS and CREDENTIALS.unpack(data)[1] == os.getuid():
                with contextlib.suppress(ValueError, TypeError):
                    rank, code, words = json.loads(text)
                    return int(rank), int(code), str(words)
        return None

    def absent(self) -> str:
        """Which ranks have not come to MPI's start, as far as it can be seen from here."""
        if not self.here:
            return "not all ranks have come"
        missing = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as caller:
            for rank in range(self.size):
                if rank != self.rank and caller.connect_ex(self.name(rank, "/start")):
                    missing.append(rank)
        elsewhere = ", or not on this machine" if ranks_here() < self.size else ""
        if not missing:
            return "all ranks have come, but MPI does not bring them together"
        return f"rank {', '.join(map(str, missing))} has not come{elsewhere}"


_post: Post | None = None


def open_post() -> None:
    """Be there for the others, as soon as this package is loaded."""
    global _post
    _post = _post or Post()


def start_mpi(timeout: float) -> Any:
    """mpi4py's MPI, started on all ranks. Ends this process, if some rank has not come after `timeout` s.

    CleanEnd where there is no mpi4py, or no MPI library.
    """
    try:
        import mpi4py

        mpi4py.rc.initialize, mpi4py.rc.finalize = False, True
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise CleanEnd(f"mpi4py cannot be loaded: {error}; python -m lessons doctor looks further") from None
    if not MPI.Is_initialized():
        if size_by_launcher() > 1:
            with watched(timeout):
                initialize(MPI)
        else:
            MPI.Init_thread()
    return MPI


def initialize(mpi: Any) -> None:
    """MPI_Init_thread by way of ctypes: mpi4py's own lets no thread run meanwhile, and so nobody watch."""
    try:
        init = ctypes.CDLL(mpi.__file__).MPI_Init_thread
    except (AttributeError, OSError):  # a library that does not show its names, as on Windows
        mpi.Init_thread()
        return
    init(None, None, mpi.THREAD_MULTIPLE, ctypes.byref(ctypes.c_int()))
    for comm in (mpi.COMM_WORLD, mpi.COMM_SELF):
        comm.Set_errhandler(mpi.ERRORS_RETURN)  # as mpi4py does: errors are exceptions


@contextlib.contextmanager
def watched(timeout: float) -> Iterator[None]:
    """While the block waits for the other ranks a thread listens; if they do not come it ends the process."""
    open_post()
    assert _post
    _post.come()
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    with contextlib.ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            before = signal.set_wakeup_fd(wake.fileno())  # the number of each signal comes there at once
            stack.callback(signal.set_wakeup_fd, before)
        watcher = threading.Thread(target=listen, args=(_post, woken, timeout), name="start", daemon=True)
        watcher.start()
        yield
        wake.send(b"\0")
        watcher.join()
    woken.close()
    wake.close()
    _post.leave()


def listen(post: Post, woken: socket.socket, timeout: float) -> None:
    """The thread: until MPI has started, listen for signals and for last words, and look at the time."""
    end, code, head = time.monotonic() + timeout, WAITED, f"MPI did not start within {timeout:g} s: "
    while (left := end - time.monotonic()) > 0:
        ready = select.select([s for s in (woken, post.inbox) if s], [], [], left)[0]
        if woken in ready:
            told = woken.recv(100)
            if b"\0" in told:
                return
            if signal.SIGINT in told:
                end, code, head = min(end, time.monotonic() + PATIENCE), 130, "interrupted: "
        if post.inbox in ready and (message := post.read()):
            rank, code, words = message
            end_all(post, f"rank {rank} ended before MPI started{': ' if words else ''}{words}", code or 1)
    end_all(post, head + post.absent(), code)


def end_all(post: Post, said: str, code: int) -> None:
    """One line a machine, from the rank that has the word; where there are no such names, from the lowest."""
    time.sleep(min(0.4 * post.rank, 4.0))
    word = post.bind(f"{post.family}/word") if post.inbox else None
    if word or not post.inbox:
        tell(f"zero_ref: error: {one_line(said)}\n")
    shared.drop_names()
    time.sleep(0.2)  # mpirun forwards the text; end at once and it may be lost
    with contextlib.suppress(KeyError, ValueError, OSError):  # MPICH's mpirun ends nobody else without it
        os.write(int(os.environ["PMI_FD"]), f"cmd=abort exitcode={code}\n".encode())
        time.sleep(PATIENCE)  # until mpirun ends this rank: so long no other has the word
    os._exit(code)
