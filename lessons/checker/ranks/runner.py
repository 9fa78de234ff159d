"""The checker's own process: starts the ranks of a check, reads what they report, and ends them all.

No student's code runs here. What comes back is JSON on a pipe per rank; a hang is read from the board
(see board.py), an endless loop ends at a limit, and whatever a student's code has started is ended too.
This stops accidents, not malice: it is no jail.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lessons import HOME, ROOT
from lessons.checker.ranks.board import Board, Note, find_circle, find_hang, unmet_needs
from lessons.checker.ranks.launcher import environment, find_mpirun
from lessons.checker.ranks.processes import (
    HAS_PROC,
    adopt_orphans,
    child_processes,
    end_with_parent,
    marked_with,
)

LIMIT = 10.0  # seconds for one job; a check takes one or two
START = 60.0  # seconds for all ranks to come
LONGEST = 16 << 20  # bytes of a report; the longest that an exercise needs have some 100,000
PRINTED = 20000  # bytes of what a rank prints in one job


@dataclass
class Job:
    """One student's file to check.

    exercise: its name, as of lessons/checks; file: the path; seed: of the numbers that are tried;
    earlier: function -> file, what the student has written before and is used here; only: the one trial
    that is made, in place of all
    """

    exercise: str
    file: str
    seed: str
    earlier: dict[str, str] = field(default_factory=dict)
    only: int | None = None


@dataclass
class Outcome:
    """What happened in one job. `reports`: by case, then by rank, as the ranks wrote them."""

    reports: dict[int, dict[int, dict[str, Any]]] = field(default_factory=dict)
    hang: dict[str, Any] | None = None
    endless: dict[int, dict[str, Any]] | None = None  # rank -> where it was
    died: dict[str, Any] | None = None
    spoiled: bool = False  # whether something else than a note stood on the board
    printed: str = ""
    printed_bytes: int = 0  # by the rank that prints most
    seconds: float = 0.0
    limit: float = LIMIT


def run(jobs: Sequence[Job], ranks: int, limit: float = LIMIT) -> list[Outcome]:
    """Do all jobs on `ranks` ranks, starting anew after one that could only be killed."""
    outcomes: list[Outcome] = []
    while len(outcomes) < len(jobs):
        outcomes += run_once(jobs[len(outcomes) :], ranks, limit)
    return outcomes


def run_once(jobs: Sequence[Job], ranks: int, limit: float) -> list[Outcome]:
    """As run(), until a job had to be killed."""
    token = uuid.uuid4().hex
    adopt_orphans()
    before = child_processes()
    with tempfile.TemporaryDirectory(prefix="zero_ref_check_", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        plan = {"ranks": ranks, "jobs": [asdict(job) for job in jobs]}
        (folder / "jobs.json").write_text(json.dumps(plan), encoding="utf-8")
        board = Board(folder / "board", ranks)
        board.write(ranks, {})
        pipes, texts = [], []
        for rank in range(ranks):
            os.mkfifo(folder / f"pipe{rank}")
            pipes.append(os.open(folder / f"pipe{rank}", os.O_RDWR | os.O_NONBLOCK))
        for text in [*(f"out{rank}" for rank in range(ranks)), "launcher"]:
            texts.append(os.open(folder / text, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        process = start_ranks(folder, ranks, token, texts[-1])
        watching = Watching(board, pipes, texts, process, limit, token)
        try:
            return watching.all_jobs(len(jobs))
        finally:
            end_ranks(process, len(watching.ended) == ranks, token, before)
            board.close()
            for file in pipes + texts:
                os.close(file)


def start_ranks(folder: Path, ranks: int, token: str, errors: int) -> subprocess.Popen:
    """The ranks, under mpirun if there are several, in a session of their own; its errors go to a file."""
    mpirun = find_mpirun()
    if ranks > 1 and mpirun is None:
        raise FileNotFoundError("mpirun")
    launcher = [str(mpirun), "-n", str(ranks)] if ranks > 1 else []
    settings = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(HOME / "lessons" / "exercises")]),
        "ZERO_REF_CHECK": token,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",  # what is printed before the end of a job belongs to it
        "PYTHONIOENCODING": "utf-8:surrogateescape",  # as it is read again, wherever the terminal differs
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "random",
        "TMPDIR": str(folder),
    }
    return subprocess.Popen(
        [*launcher, sys.executable, "-m", "lessons.checker.ranks", str(folder)],
        cwd=folder,
        env=environment() | settings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,
        preexec_fn=end_with_parent,
    )


class Watching:
    """The reports and the board of one start, while it runs.

    texts: files with what each rank and the launcher have printed. They are read as they were opened: under
    their names a student's code may have put a pipe on which nobody writes, or a link to anything.
    """

    def __init__(
        self,
        board: Board,
        pipes: list[int],
        texts: list[int],
        process: subprocess.Popen,
        limit: float,
        token: str,
    ) -> None:
        self.board, self.process, self.limit, self.texts = board, process, limit, texts
        self.ranks, self.token = board.size, token
        self.outcomes: list[Outcome] = []
        self.ended: set[int] = set()
        self.selector = selectors.DefaultSelector()
        self.rest = [bytearray() for _ in range(self.ranks)]
        for rank, pipe in enumerate(pipes):
            self.selector.register(pipe, selectors.EVENT_READ, rank)

    def all_jobs(self, number: int) -> list[Outcome]:
        """The outcomes of jobs 0, 1, ... up to the last, or to one that had to be killed."""
        self.outcomes = [Outcome(limit=self.limit) for _ in range(number)]
        begun = time.monotonic()
        for job in range(number):
            alive = self.one_job(job, begun)
            self.read(0)  # what ranks said just before they went on
            self.outcomes[job].seconds = time.monotonic() - begun
            self.outcomes[job].printed_bytes = max(
                os.fstat(text).st_size for text in self.texts[: self.ranks]
            )
            self.outcomes[job].printed = self.read_printed()
            if not alive:
                return self.outcomes[: job + 1]
            begun = time.monotonic()
        while len(self.ended) < self.ranks and self.process.poll() is None and time.monotonic() - begun < 2:
            self.read(0.004)
        self.read(0)
        return self.outcomes

    def one_job(self, job: int, begun: float) -> bool:
        """Watch until all ranks have gone on to the next job. Returns whether they can."""
        outcome = self.outcomes[job]
        stopped, interrupted, started = 0.0, 0.0, False
        while True:
            self.read(0.004)
            if self.board.spoiled:
                outcome.spoiled = True
                return False
            if self.all_gone_on(job):
                return True
            if not started and self.all_begun(job):
                started, begun = True, time.monotonic()  # the limit is the student's, not the start-up's
            if self.process.poll() is not None:
                self.read(0.1)
                if self.all_gone_on(job):
                    return True
                if outcome.hang is None and outcome.endless is None:
                    outcome.died = self.describe_death()
                return False
            now = time.monotonic()
            if stopped:
                if now - stopped > 2.0:
                    return False
            elif not interrupted and (found := self.proved_hang(job)) is not None:
                outcome.hang, stopped = found, now
                self.board.write(self.ranks, {"stop": job})
            elif not interrupted and now - begun > (self.limit if started else START):
                interrupted = now  # from now on ranks leave, for which others still wait: that is no hang
                outcome.endless = {} if started else None
                self.board.write(self.ranks, {"stop": job})
                self.interrupt()
            elif interrupted and now - interrupted > 2.0:
                if started:
                    outcome.endless = self.silent_ranks(job) | (outcome.endless or {})
                else:
                    outcome.died = self.describe_death()
                return False

    def all_gone_on(self, job: int) -> bool:
        """Whether every rank has ended, or works on a later job."""
        notes = self.board.notes()
        return not self.board.spoiled and all(
            rank in self.ended or notes[rank].get("job", -1) > job for rank in range(self.ranks)
        )

    def all_begun(self, job: int) -> bool:
        """Whether every rank has begun this job."""
        return all(note.get("job", -1) >= job for note in self.board.notes())

    def proved_hang(self, job: int) -> dict[str, Any] | None:
        """What is known of a hang, once it is certain."""
        notes = find_hang(self.board, job)
        if notes is None:
            return self.proved_difference(job)
        case = notes[0]["case"]
        gone = {m[0] for n in notes if n["state"] == "waits" for m in unmet_needs(n, notes)}
        absent = [rank for rank in sorted(gone) if notes[rank]["state"] == "left"]
        kind = "absent" if absent else "circle"
        return {
            "kind": kind,
            "case": case,
            "ranks": [describe_note(note, notes) for note in notes],
            "absent": absent,
            "circle": find_circle(notes),
        }

    def proved_difference(self, job: int) -> dict[str, Any] | None:
        """Ranks that have begun different collectives, once no rank runs any more."""
        notes = self.board.notes()
        if any(note.get("job") != job or note["state"] == "runs" for note in notes):
            return None
        if len({note["case"] for note in notes}) > 1 or all(note["state"] != "differs" for note in notes):
            return None
        ranks = [describe_note(note, notes) for note in notes]
        return {"kind": "differs", "case": notes[0]["case"], "ranks": ranks, "absent": [], "circle": []}

    def interrupt(self) -> None:
        """Ask every rank where it is, and to leave the student's code."""
        ours = set(marked_with(f"ZERO_REF_CHECK={self.token}"))
        for rank in range(self.ranks):
            pid = self.board.read(rank).get("pid")
            if pid in ours or (pid and not HAS_PROC):  # a note may name any process of this machine
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGUSR1)

    def silent_ranks(self, job: int) -> dict[int, dict[str, Any]]:
        """Ranks that have not said where they are: in one long call no signal is seen."""
        notes = enumerate(self.board.notes())
        running = [rank for rank, note in notes if (note.get("job"), note.get("state")) == (job, "runs")]
        return {rank: {"endless": None} for rank in running}

    def read(self, timeout: float) -> None:
        """Take in what has come on the pipes."""
        for key, _ in self.selector.select(timeout):
            rank = key.data
            with contextlib.suppress(BlockingIOError):
                self.rest[rank] += os.read(key.fd, 1 << 20)
            if b"\n" in self.rest[rank][-(1 << 20) :]:
                *lines, rest = self.rest[rank].split(b"\n")
                self.rest[rank] = bytearray(rest)
                for line in lines:
                    self.take_report(rank, bytes(line))
            if len(self.rest[rank]) > LONGEST:
                self.rest[rank].clear()  # the end of this line will be no report

    def take_report(self, rank: int, line: bytes) -> None:
        """One report of a rank. What is no report is left aside."""
        try:
            report = json.loads(line)
            if report["token"] != self.token:
                return
            if report.get("end"):
                self.ended.add(rank)
                return
            job, case = report["job"], report["case"]
            if type(job) is not int or type(case) is not int or job < 0:
                return
            if "endless" in report:
                self.outcomes[job].endless = (self.outcomes[job].endless or {}) | {rank: report}
            else:
                self.outcomes[job].reports.setdefault(case, {})[rank] = report
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            return

    def describe_death(self) -> dict[str, Any]:
        """The ranks have ended in the middle: which one did not say so."""
        notes = self.board.notes()
        running = [rank for rank in range(self.ranks) if notes[rank].get("state") == "runs"]
        os.lseek(self.texts[-1], -min(2000, os.fstat(self.texts[-1]).st_size), os.SEEK_END)
        text = os.read(self.texts[-1], 2000).decode("utf-8", "replace")
        return {"ranks": running, "code": self.process.returncode, "text": text + self.read_printed()[-1000:]}

    def read_printed(self) -> str:
        """What the student's code has printed since the last call, by rank."""
        parts = []
        for rank in range(self.ranks):
            if text := os.pread(self.texts[rank], PRINTED, 0).decode("utf-8", "replace"):
                os.ftruncate(self.texts[rank], 0)
                parts += [f"[rank {rank}] {line}" if self.ranks > 1 else line for line in text.splitlines()]
        return "\n".join(parts)


def describe_note(note: Note, notes: list[Note]) -> dict[str, Any]:
    """What one rank says of itself, for the table of a hang."""
    waits = [need[0] for need in unmet_needs(note, notes)] if note["state"] == "waits" else []
    return {"state": note["state"], "doing": note["doing"], "place": note["place"], "waits_for": waits}


def end_ranks(process: subprocess.Popen, done: bool, token: str, before: set[int]) -> None:
    """End the ranks and everything that was started by them."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1 if done else 0.2)
    if process.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        left = set(marked_with(f"ZERO_REF_CHECK={token}")) | (child_processes() - before)
        if not left:
            return
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
