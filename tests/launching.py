"""Start mpirun for a test, with a time limit that shows every rank's stack and leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# Importing zero_ref has set them for this process alone; ranks that took them over would crowd the cores.
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def mpirun(
    ranks: int,
    *command: str,
    limit: float = 60,
    cwd: Path = ROOT,
    stderr: int = subprocess.PIPE,
    **environment: str,
) -> subprocess.CompletedProcess:
    """Run `python *command` on `ranks` ranks (0: without mpirun); return the completed process.

    Fails the test when it takes more than `limit` seconds, with the stack of every rank (written
    by tests/stacks/sitecustomize.py), or when a process is left afterwards.
    """
    token = uuid.uuid4().hex
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    start = [shutil.which("mpirun", path=here) or "mpirun", "-n", str(ranks)] if ranks else []
    with tempfile.TemporaryDirectory() as stacks:
        paths = [str(ROOT / "tests" / "stacks"), str(ROOT), os.environ.get("PYTHONPATH", "")]
        process = subprocess.Popen(
            [*start, sys.executable, *command],
            cwd=cwd,
            env={name: value for name, value in os.environ.items() if name not in THREADS}
            | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "ZERO_REF_TEST": token}
            | {"ZERO_REF_STACKS": stacks, "ZERO_REF_STACKS_AFTER": str(limit)}
            | environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="backslashreplace",  # also what is no UTF-8 can be shown
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=limit + 2)
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                out, err = process.communicate(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
            shown = "\n".join(f"{f.name}:\n{f.read_text()}" for f in sorted(Path(stacks).iterdir()))
            raise AssertionError(f"not done after {limit} s: {command}\n{shown}\n{out}\n{err}") from None
    end = time.monotonic() + 5  # mpirun returns a moment before its last processes
    while (left := left_behind(token)) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"left behind by {command}: {left}"
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def failing(
    function: str,
    rank: int,
    call: int,
    statement: str,
    *options: str,
    limit: float = 20,
    ranks: int = 3,
    **keywords: Any,
) -> subprocess.CompletedProcess:
    """A run of the command in which a rank's call of "MODULE FUNCTION" does something else first."""
    module, _, name = function.partition(" ")
    plant = (f"zero_ref.{module}", name, str(rank), str(call), statement)
    return mpirun(ranks, str(ROOT / "tests" / "failing.py"), *plant, *options, limit=limit, **keywords)


def left_behind(token: str) -> dict[int, str]:
    """Living processes with this token in their environment, pid -> command line (Linux only)."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if token.encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = (folder / "cmdline").read_text(errors="replace").replace("\0", " ")
        except OSError:
            pass
    return found
