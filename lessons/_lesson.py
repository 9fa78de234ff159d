"""What the lessons share: so many ranks, two languages, and the lines of all ranks in order.

    python lessons/06_ring_reduce_scatter.py     reads a lesson: its text, and what its code prints
        --language zh    in this language, whatever the environment says
        --code           with the code
        --answer         with what is an exercise of the lesson
    python lessons/_lesson.py                    brings the hashes of the English cells up to date

A lesson's text stands in cells of its own, in Chinese and in English with one id. The English cell has a
hash of the Chinese one that it translates: a test finds translations that are no longer up to date.
"""

import difflib
import hashlib
import inspect
import os
import re
import shutil
import sys
import traceback
from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zero_ref.comm import Comm

FOLDER, AS_STARTED = Path(__file__).parent, dict(os.environ)  # before zero_ref chooses settings for one rank
sys.path.insert(0, str(FOLDER.parent))  # zero_ref, wherever the lesson is started

import zero_ref  # noqa: E402  sets what BLAS and MPI read when they are loaded
from lessons.checker import progress  # noqa: E402
from lessons.checker.ranks.launcher import find_mpirun  # noqa: E402
from lessons.reader import kernel, script  # noqa: E402
from zero_ref import launch  # noqa: E402
from zero_ref.launch.terminal import columns, fold, table  # noqa: E402

assert zero_ref.__version__

HEAD = r'# %% \[markdown\] id="(?P<id>[\w-]+)" lang="(?P<lang>zh|en)"(?: src="(?P<src>\w*)")?\n'
CELL = re.compile("^" + HEAD + r"(?P<text>(?:#(?! %%).*\n)+)", re.M)


held: list["Comm | None"] = []  # once a lesson is read: its ranks


def language() -> str:
    """ "zh" or "en": as --language says, or the environment."""
    if "--language" in sys.argv[1:-1]:
        return "en" if sys.argv[sys.argv.index("--language") + 1] == "en" else "zh"
    return launch.language()


def ranks(number: int) -> "Comm":
    """All ranks of this lesson; starts it anew under mpirun, where it has been started without.

    The lesson is read from here to its end, its text and its code. In Jupyter the cells run on these ranks.
    """
    if held and held[0]:
        if held[0].size != number:
            raise ValueError(f"this lesson runs on {held[0].size} ranks already, not on {number}")
        return held[0]
    if shell := kernel.shell():
        return kernel.hand_over(shell, number, sys._getframe(1).f_code.co_filename)
    if launch.size_by_launcher() == 1 < number:
        if mpirun := find_mpirun():
            width = {"COLUMNS": str(shutil.get_terminal_size().columns)}
            os.execve(mpirun, [mpirun, "-n", str(number), sys.executable, *sys.argv], width | AS_STARTED)
        sys.exit(f"mpirun -n {number} python {sys.argv[0]}")
    from zero_ref.comm import Comm

    sys.excepthook = fails
    comm = Comm()
    if comm.size != number:
        if comm.rank == 0:
            print(f"mpirun -n {number} python {sys.argv[0]}", file=sys.stderr)
        sys.exit(2)
    comm.mpi.Barrier()
    launch.shared.drop_names()
    held.append(comm)
    script.read(sys._getframe(1), language(), comm)
    return comm


def alone() -> None:
    """This lesson is one process: read it from here to its end. In Jupyter it is cells as any others.

    Under mpirun rank 0 goes on alone.
    """
    if launch.rank_by_launcher() > 0:
        sys.exit()
    if not held and not kernel.shell():
        held.append(None)
        script.read(sys._getframe(1), language(), None)


def fails(_: type, error: BaseException, __: object) -> None:
    """A rank that raises ends all, which would wait for it."""
    launch.abort(
        "".join(traceback.format_exception(error.with_traceback(script.own(error.__traceback__)))), 1
    )


def speak(text: str) -> None:
    """Print what is said for all ranks together; in a notebook rank.py has it printed."""
    launch.say(text)


def pick(zh: str, en: str) -> str:
    """A word in the reader's language."""
    return zh if language() == "zh" else en


def say(zh: str, en: str) -> None:
    """A line in the reader's language, from rank 0; more, where the terminal is too narrow for it."""
    if launch.rank_by_launcher() == 0:
        speak(fold(pick(zh, en)))


def show(text: str = "") -> None:
    """A line that is the same in every language, from rank 0."""
    say(text, text)


def each(comm: "Comm", zh: str, en: str | None = None) -> None:
    """One line of every rank, in the order of the ranks; `en` where it is not the same in every language."""
    for text in comm.everyone(zh if en is None else pick(zh, en)):
        show(text)


def rows(zh: str, en: str, lines: Iterable[Sequence[object]]) -> None:
    """A table from rank 0, and a blank line; its head is "a|b|c". 12345 becomes 12,345."""
    cells = [[f"{cell:,}" if isinstance(cell, Integral) else cell for cell in line] for line in lines]
    show(table(cells, pick(zh, en).split("|")) + "\n")


def show_difference(before: ModuleType, after: ModuleType, exercise: str, answer: bool = False) -> None:
    """The lines that change from one stage's file to the next: once the exercise has passed that asks for
    them, or where they are asked for, by --answer or in a notebook by answer=True."""
    if not (answer or "--answer" in sys.argv or progress.records()[exercise]["passed"]):
        number = exercise[:2]
        say(
            f"（练习 {number} 还没有通过，差别先不显示。要看：命令后加 --answer；"
            "notebook 里加上 answer=True 再运行）",
            f"(Exercise {number} has not passed yet: the difference is not shown. To see it now: --answer, "
            "in a notebook answer=True)",
        )
        return

    def code(stage: ModuleType) -> list[str]:
        lines = inspect.getsource(stage).splitlines()
        return lines[lines.index("def setup(units, comm, new_optimizer):") :]

    for line in list(difflib.unified_diff(code(before), code(after), n=0, lineterm=""))[2:]:
        statement, mark, remark = line.partition("  # ")
        if len(line) > columns() and mark:  # the remark in a line of its own
            indent = len(statement[1:]) - len(statement[1:].lstrip())
            line = f"{statement}\n{line[0]}{' ' * (indent + 4)}# {remark}"
        show("" if line.startswith("@@") else line)


def digest(text: str) -> str:
    """What an English cell has to know of the Chinese one."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def cells(path: Path) -> dict[str, dict[str, re.Match]]:
    """id -> language -> cell of a lesson."""
    found: dict[str, dict[str, re.Match]] = {}
    for cell in CELL.finditer(path.read_text(encoding="utf-8")):
        found.setdefault(cell["id"], {})[cell["lang"]] = cell
    return found


def lessons() -> list[Path]:
    """All lessons, in order."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def stamp(path: Path) -> None:
    """Write the hashes of the Chinese cells into the English ones."""
    chinese = {name: both["zh"]["text"] for name, both in cells(path).items()}

    def stamped(cell: re.Match) -> str:
        if cell["lang"] == "zh":
            return cell[0]
        head = f'# %% [markdown] id="{cell["id"]}" lang="en" src="{digest(chinese[cell["id"]])}"\n'
        return head + cell["text"]

    path.write_text(CELL.sub(stamped, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    for lesson in lessons():
        stamp(lesson)
