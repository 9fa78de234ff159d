"""What the lessons share: so many ranks, two languages, and the lines of all ranks in order.

    python lessons/_lesson.py     brings the hashes of the English cells up to date

A lesson's text stands in cells of its own, in Chinese and in English with one id. The English cell has a
hash of the Chinese one that it translates: a test finds translations that are no longer up to date.
"""

import difflib
import hashlib
import inspect
import os
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zero_ref.comm import Comm

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))  # zero_ref, wherever the lesson is started

import zero_ref  # noqa: E402  sets what BLAS and MPI read when they are loaded
from lessons.checker.ranks.launcher import find_mpirun  # noqa: E402
from zero_ref import launch  # noqa: E402
from zero_ref.launch.terminal import columns, fold  # noqa: E402

assert zero_ref.__version__

HEAD = r'# %% \[markdown\] id="(?P<id>[\w-]+)" lang="(?P<lang>zh|en)"(?: src="(?P<src>\w*)")?\n'
CELL = re.compile("^" + HEAD + r"(?P<text>(?:#(?! %%).*\n)+)", re.M)


def language() -> str:
    """ "zh" or "en": as --language says, or the environment."""
    if "--language" in sys.argv[1:-1]:
        return "en" if sys.argv[sys.argv.index("--language") + 1] == "en" else "zh"
    return launch.language()


def ranks(number: int) -> "Comm":
    """All ranks of this lesson; starts it anew under mpirun, where it has been started without."""
    if launch.size_by_launcher() == 1 < number:
        if mpirun := find_mpirun():
            os.execv(mpirun, [mpirun, "-n", str(number), sys.executable, *sys.argv])
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
    return comm


def fails(_: type, error: BaseException, __: object) -> None:
    """A rank that raises ends all, which would wait for it."""
    launch.abort("".join(traceback.format_exception(error)), 1)


def say(zh: str, en: str) -> None:
    """A line in the reader's language, from rank 0; more, where the terminal is too narrow for it."""
    if launch.rank_by_launcher() == 0:
        launch.say(fold(zh if language() == "zh" else en))


def show(text: str = "") -> None:
    """A line that is the same in every language, from rank 0."""
    say(text, text)


def each(comm: "Comm", line: str) -> None:
    """One line of every rank, in the order of the ranks."""
    for text in comm.everyone(line):
        show(text)


def show_difference(before: ModuleType, after: ModuleType) -> None:
    """The lines that change from one stage's file to the next."""

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
