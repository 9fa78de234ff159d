"""A lesson in a terminal: its text in one language, and between it what its code prints.

After "Think first" it waits for Enter, where stdin and stdout are a terminal, and never elsewhere.
"""

import ast
import os
import sys
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

import numpy as np

from lessons.checker import words
from lessons.reader import Part, parts, prose, statements
from zero_ref import launch

if TYPE_CHECKING:
    from zero_ref.comm import Comm

HERE = Path(__file__)


class Pauses:
    """Waits for the reader at a question. comm: all ranks, which wait with rank 0; None if there is one."""

    def __init__(self, comm: "Comm | None") -> None:
        self.mpi = comm.mpi if comm and comm.size > 1 else None
        self.on = self.as_rank_0(launch.on_a_terminal(0) and launch.on_a_terminal(1))

    def wait(self, language: str) -> None:
        """Until Enter; the end of the input, Ctrl-D, ends this and all other pauses."""
        if not self.on:
            return
        if launch.rank_by_launcher() == 0:
            sys.stdout.write(words.say("read_on", language))
            sys.stdout.flush()
            self.on = sys.stdin.readline() != ""
        self.on = self.as_rank_0(self.on)

    def as_rank_0(self, said: bool) -> bool:
        """What rank 0 says, on all ranks. A rank that waits in MPI takes a whole core: it sleeps instead."""
        if self.mpi is None:
            return said
        come = self.mpi.Ibarrier()
        while not come.Test():
            time.sleep(0.02)
        flag = np.array([said], np.uint8)
        self.mpi.Bcast(flag)
        return bool(flag[0])


def read(frame: FrameType, language: str, comm: "Comm | None") -> None:
    """Read the lesson whose code runs in `frame`, from the statement at which it stands to its end.

    Nothing is done if it is no lesson: a file without cells goes on as it is.
    """
    path = Path(frame.f_code.co_filename)
    cells = parts(path) if path.is_file() else []
    if not any(part.language for part in cells):
        return
    pauses = Pauses(comm)
    for part in cells:
        if part.language == language:
            tell(prose.plain(part.text, coloured()))
            if prose.asks(part.text):
                pauses.wait(language)
        elif part.language is None:
            run(part, frame, path)
    sys.exit()


def run(part: Part, frame: FrameType, path: Path) -> None:
    """A cell of code, but for the statements that have run before the lesson is read."""
    if "--code" in sys.argv:
        tell(part.text.strip("\n"))
    for statement in statements(part):
        if (statement.end_lineno or 0) >= frame.f_lineno:
            exec(compile(ast.Module([statement], []), str(path), "exec"), frame.f_globals)


def tell(text: str) -> None:
    """A text between blank lines, from rank 0."""
    if text and launch.rank_by_launcher() == 0:
        launch.say(f"\n{text}\n", styled=True)


def coloured() -> bool:
    """Whether titles stand out: on a terminal, and not where NO_COLOR is set (no-color.org)."""
    return launch.on_a_terminal(1) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def own(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without what reads the lesson: it begins in the lesson's own code."""
    last, step = trace, trace
    while step:
        if Path(step.tb_frame.f_code.co_filename) == HERE:
            last = step.tb_next
        step = step.tb_next
    return last
