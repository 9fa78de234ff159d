"""A lesson in Jupyter: its cells run on ranks that keep their variables from cell to cell.

    %load_ext zero_ref.learn
    %ranks 4 --language zh --limit 60

From then on every cell runs on all ranks, but for those that begin with % or !, which are the kernel's own.
A lesson that is opened as it is does the same when it comes to ranks(4). The kernel itself never is a rank:
what hangs or ends there, ends there, and the kernel lives on.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from lessons.checker.ranks.launcher import environment, find_mpirun
from lessons.reader.ranks import Failed, Ranks

OWN = ("%", "!", "?")  # that a cell begins with that the kernel keeps
started: list[Ranks] = []  # the ranks of this kernel


def shell() -> Any | None:
    """IPython's, where this is a kernel or a terminal of IPython; else None."""
    module = sys.modules.get("IPython")
    return module.get_ipython() if module else None


def load(shell: Any) -> None:
    """Make %ranks known; `%load_ext zero_ref.learn` comes here."""
    shell.register_magic_function(of_magic, "line", "ranks")
    shell.register_magic_function(of_cell, "cell", "ranks")


def of_magic(line: str) -> None:
    """%ranks 4 --language zh --limit 60"""
    words = line.split()
    try:
        number = int(words[0])
        given = dict(zip(words[1::2], words[2::2], strict=True))
        limit = float(given.pop("--limit", 60))
        language = given.pop("--language", None)
        if given or not 1 <= number <= 64 or not limit > 0 or language not in (None, "zh", "en"):
            raise ValueError
    except (ValueError, IndexError):
        raise Failed("%ranks 4 --language zh --limit 60") from None
    begin(number, language, limit)


def of_cell(line: str, source: str) -> None:
    """%%ranks: what every cell of a notebook becomes."""
    started[-1].run(source)


def begin(number: int, language: str | None = None, limit: float = 60) -> None:
    """New ranks in the place of earlier ones; from the next cell on they run what is run."""
    while started:
        started.pop().end()
    started.append(Ranks(number, language, limit))
    here: Any = shell()
    load(here)
    if on_ranks not in here.input_transformers_cleanup:
        here.input_transformers_cleanup.append(on_ranks)


def on_ranks(lines: list[str]) -> list[str]:
    """A cell, for the ranks."""
    text = "".join(lines)
    return lines if not text.strip() or text.lstrip().startswith(OWN) else ["%%ranks\n", *lines]


def hand_over(here: Any, number: int, caller: str) -> None:
    """In a cell of a lesson that comes to ranks(number): the whole cell runs on ranks instead, and the rest
    of it no more in the kernel. caller: the file of the code, which is one only for IPython's %run."""
    if Path(caller).is_file():
        line = [find_mpirun() or "mpirun", "-n", str(number), sys.executable, *sys.argv]
        sys.exit(subprocess.run(line, env=environment()).returncode)
    begin(number)
    started[-1].run(here.user_ns["In"][-1])
    leave_out_the_rest(here)


def leave_out_the_rest(here: Any) -> None:
    """Until this cell ends, its statements do nothing in the kernel."""

    async def nothing(*_: object, **__: object) -> bool:
        return False

    def end(*_: object) -> None:
        here.__dict__.pop("run_code", None)
        here.events.unregister("post_run_cell", end)

    here.run_code = nothing
    here.events.register("post_run_cell", end)
