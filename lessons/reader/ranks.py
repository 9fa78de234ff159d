"""The ranks of a notebook, seen from its kernel: started once, given cell after cell, ended with the kernel.

Each rank is a process of rank.py. It and the kernel talk by lines of JSON on a socket, not by MPI: what a
cell does with MPI cannot disturb it. A rank that loses the kernel ends by itself.
"""

import atexit
import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lessons import HOME, ROOT
from lessons.checker import words
from lessons.checker.ranks.launcher import environment, find_mpirun
from lessons.reader.link import Link
from zero_ref import launch

START, GRACE, ANSWER = 60.0, 10.0, 2.0  # seconds: to start in, for the others once one is done, to say where
WHO = "{who}"  # stands for the ranks of which a line of a message is
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Failed(Exception):
    """A cell that failed: its message is all that the notebook shows."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class Ranks:
    """The ranks, which are started when they are first needed and after each end."""

    def __init__(self, number: int, language: str | None, limit: float) -> None:
        self.number, self.limit = number, limit
        self.language = language or launch.language()
        self.process: subprocess.Popen | None = None
        self.links: list[Link] = []  # by rank
        self.printed: list[str] = []  # past Python, since the last cell
        self.cells = 0
        atexit.register(self.end)

    def say(self, key: str, **params: Any) -> str:
        """A text of the catalogue."""
        return words.say(f"notebook_{key}", self.language, **params)

    def start(self) -> None:
        """All ranks, waiting for a cell."""
        cores = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
        taken = {name for name in THREADS if os.environ.get(name) == cores}  # by zero_ref for one process
        own = {name: value for name, value in environment().items() if name not in taken}
        with tempfile.TemporaryDirectory(prefix="zero_ref_notebook_") as folder:
            server = socket.socket(socket.AF_UNIX)
            server.bind(os.path.join(folder, "kernel"))
            server.listen()
            server.settimeout(0.2)
            here = [str(Path(__file__).with_name("rank.py")), server.getsockname(), self.language]
            self.process = subprocess.Popen(
                [
                    find_mpirun() or "mpirun",
                    "-n",
                    str(self.number),
                    sys.executable,
                    *here,
                    str(ROOT),
                    str(HOME),
                ],
                env=own,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # an interrupt of the kernel is no interrupt of mpirun
            )
            threading.Thread(
                target=self.collect, args=[self.process.stdout, self.printed], daemon=True
            ).start()
            with server:
                self.links = self.accepted(server)
        self.cells = 0

    @staticmethod
    def collect(stream: Any, printed: list[str]) -> None:
        """What is printed past Python, by programs that a cell starts, or by MPI itself."""
        for line in stream:
            printed.append(line)

    def accepted(self, server: socket.socket) -> list[Link]:
        """The connection of each rank, in order."""
        found: dict[int, Link] = {}
        end = time.monotonic() + START
        while len(found) < self.number:
            assert self.process
            if self.process.poll() is not None or time.monotonic() > end:
                self.end()
                text = launch.one_line("".join(self.printed)[-300:])
                raise Failed(self.say("start", number=self.number, text=text))
            with contextlib.suppress(TimeoutError, EOFError):
                end_of_rank = server.accept()[0]
                end_of_rank.settimeout(None)
                link = Link(end_of_rank)
                found[link.receive()[0]["hello"]] = link  # all of it comes at once: it is short
        return [found[rank] for rank in range(self.number)]

    def run(self, source: str) -> None:
        """One cell on all ranks: what is said for all comes at once, what each prints when all are done."""
        cell = Cell(self, source)
        try:
            if not self.links:
                self.start()
            self.cells += 1
            self.send(range(self.number), run=source, cell=self.cells)
            cell.follow()
        except KeyboardInterrupt:
            self.end()
            raise Failed(f"{self.say('interrupted')}\n{self.say('anew')}") from None
        finally:
            cell.show_output()
        cell.raise_what_failed()

    def send(self, ranks: Iterable[int], **message: Any) -> None:
        """A message to these ranks; one that has ended is found when it is listened to."""
        for rank in ranks:
            with contextlib.suppress(OSError):
                self.links[rank].send(**message)

    def end(self) -> None:
        """End the ranks, and everything that they have started."""
        links, self.links = self.links, []
        for link in links:
            link.close()
        if not self.process:
            return
        for stop in (None, signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                if stop:
                    os.killpg(self.process.pid, stop)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
                break


class Cell:
    """What comes back while a cell runs."""

    def __init__(self, ranks: Ranks, source: str) -> None:
        self.ranks, self.source = ranks, source.splitlines()
        self.waiting = set(range(ranks.number))
        self.printed: dict[int, str] = dict.fromkeys(range(ranks.number), "")
        self.errors: dict[int, dict[str, Any]] = {}
        self.places: dict[int, int] = {}
        self.died: set[int] = set()
        self.head = ""  # why all had to be ended, "" if they need not

    def follow(self) -> None:
        """Until all ranks are done, or are taken to be stuck: by the limit, or because another is done."""
        start = time.monotonic()
        end = start + self.ranks.limit
        while self.waiting and not self.died:
            before = len(self.waiting)
            self.listen(min(0.2, max(0.0, end - time.monotonic())))
            now = time.monotonic()
            if before == self.ranks.number > len(self.waiting):  # the first is done
                end = min(end, now + max(GRACE if not self.errors else 2.0, 5 * (now - start)))
            if now >= end and self.waiting:
                self.head = "" if self.errors else self.ranks.say("limit", seconds=round(now - start))
                break
        if self.waiting and not self.died:
            self.ask_where()

    def listen(self, seconds: float) -> None:
        """Take what has come, and wait for it for a moment."""
        with selectors.DefaultSelector() as selector:
            for rank in self.waiting:
                selector.register(self.ranks.links[rank], selectors.EVENT_READ, rank)
            for key, _ in selector.select(seconds):
                self.take(key.data)

    def take(self, rank: int) -> None:
        """What has come from this rank."""
        try:
            for message in self.ranks.links[rank].receive():
                if "all" in message:
                    print(message["all"], flush=True)
                elif "printed" in message:
                    self.printed[rank] += message["printed"]
                elif "where" in message:
                    self.places[rank] = message["where"]
                else:
                    self.waiting.discard(rank)
                    if message["done"]:
                        self.errors[rank] = message["done"]
        except EOFError:
            self.died.add(rank)
            self.waiting.discard(rank)

    def ask_where(self) -> None:
        """At which line of the cell the others stand; then all are ended."""
        self.ranks.send(self.waiting, where=True)
        end = time.monotonic() + ANSWER
        while self.waiting - self.places.keys() - self.died and time.monotonic() < end:
            self.listen(0.1)

    def show_output(self) -> None:
        """What ranks have printed, each line with its rank; and what has come past Python."""
        for rank, text in self.printed.items():
            for line in text.splitlines():
                print(f"[rank {rank}] {line}")
        for line in self.ranks.printed:
            print(line, end="")
        self.ranks.printed.clear()

    def raise_what_failed(self) -> None:
        """Failed with one message about all ranks, if there is anything to say."""
        stuck = bool(self.waiting or self.died)
        if not stuck and not self.errors:
            return
        said: dict[str, list[int]] = {}  # what is to be said -> of which ranks
        for rank in range(self.ranks.number):
            said.setdefault(self.about(rank), []).append(rank)
        parts = [text.replace(WHO, names(ranks)) for text, ranks in said.items()]
        if stuck:
            self.ranks.end()
        lines = [self.head, *parts, self.ranks.say("anew" if stuck else "kept")]
        raise Failed("\n".join(filter(None, lines)))

    def about(self, rank: int) -> str:
        """What became of a rank, with WHO in the place of its name."""
        say = self.ranks.say
        if rank in self.died:
            return say("died", who=WHO)
        if rank in self.errors:
            return say("error", who=WHO, **self.errors[rank])
        if rank not in self.waiting:
            return say("done", who=WHO)
        if self.died:
            return say("with", who=WHO)
        if rank not in self.places:
            return say("silent", who=WHO)
        line = self.places[rank]
        code = self.source[line - 1].strip() if 0 < line <= len(self.source) else "?"
        return say("waits", who=WHO, line=line, code=code)


def names(ranks: list[int]) -> str:
    """ "rank 0", or "rank 0, 2, 3"."""
    return "rank " + ", ".join(map(str, ranks))
