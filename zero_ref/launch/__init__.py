"""Before MPI starts, and when a rank fails.

Nothing here imports numpy or mpi4py: both read their settings once, when they are loaded.
"""

import contextlib
import ctypes
import errno
import os
import signal
import sys
import threading
import time
import traceback
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from zero_ref.launch import shared


def prepare_environment() -> None:
    """Set what BLAS and MPICH read when they start; a variable that is set already is respected.

    BLAS threads: the cores shared out among the ranks of this machine; more make steps slower.
    MPICH: do without cross-memory attach where the sandbox refuses it (MPICH 5 aborts otherwise);
    no pipelining in the uneven all-gather, which is slow (see docs/measurements.md).
    """
    fill_closed_streams()
    if "MPI_LOCALNRANKS" in os.environ and _number("MPI_LOCALRANKID", otherwise=0) == 0:
        warn_of_little_memory(_number("MPI_LOCALNRANKS", otherwise=1))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ranks = max(1, ranks_here())
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(max(1, cores // ranks)))
    if not _process_vm_readv_allowed():
        os.environ.setdefault("MPIR_CVAR_CH4_CMA_ENABLE", "0")
    os.environ.setdefault("MPIR_CVAR_ALLGATHERV_PIPELINE_MSG_SIZE", str(1 << 30))
    keep_freed_memory()


def warn_of_little_memory(ranks: int) -> None:
    """Say what MPICH, which dies of a signal where /dev/shm is too small, will not say. It may well do."""
    if text := shared.lack(ranks):
        tell(f"zero_ref: {text}\n")


def fill_closed_streams() -> None:
    """Open input, output and errors where the shell has closed them: the next file would get their numbers,
    and with them every message. Python knows of them since its start, and sys.stdout stays None."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next array instead of giving it back to the system.

    A unit is gathered and dropped at every step; with memory from the system each time, every page
    of it would be mapped and cleared anew, which takes longer than to fill it.
    """
    if malloc := _of_glibc("mallopt"):
        malloc(-4, 0)  # M_MMAP_MAX: large arrays come from the heap, too
        malloc(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: and the heap does not shrink


def give_back_freed_memory() -> None:
    """Give back once what is free by now: holes that setting up has left, which no array will fit into."""
    if trim := _of_glibc("malloc_trim"):
        trim(0)


def rank_by_launcher() -> int:
    """This process's rank as mpirun announced it; 0 without mpirun. Works before MPI starts."""
    return _number("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", otherwise=0)


def size_by_launcher() -> int:
    """The number of ranks as mpirun announced it; 1 without mpirun."""
    return _number("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", otherwise=1)


def ranks_here() -> int:
    """The number of ranks on this machine, as mpirun announced it; 1 without mpirun."""
    return _number("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", otherwise=1)


def on_a_terminal(number: int = 2) -> bool:
    """Whether stderr (or 0: stdin, 1: stdout) ends at a terminal, also through the pipe of an mpirun that
    runs in one (Linux)."""
    stream = (sys.stdin, sys.stdout, sys.stderr)[number]
    if stream is None or stream.isatty():
        return stream is not None
    with contextlib.suppress(OSError):
        for pid, name in _ancestors():
            if name.startswith(("mpirun", "mpiexec", "prterun")):
                return os.readlink(f"/proc/{pid}/fd/{number}").startswith(("/dev/pts/", "/dev/tty"))
    return False


def launcher() -> int:
    """The process that has started this machine's ranks, also by way of a shell (Linux): one for all."""
    for pid, name in _ancestors():
        if name.startswith(("hydra_pmi_proxy", "mpirun", "mpiexec", "prte", "orted", "slurmstepd")):
            return pid
    return os.getppid()


def _ancestors() -> Iterator[tuple[int, str]]:
    """The processes that have started this one, the nearest first, with their names (Linux)."""
    pid = os.getppid()
    with contextlib.suppress(OSError):
        while pid > 1:
            with open(f"/proc/{pid}/stat") as file:
                name, _, rest = file.read().partition("(")[2].rpartition(")")
            yield pid, name
            pid = int(rest.split()[1])


def language() -> str:
    """The reader's, "zh" or "en": as LC_ALL, LC_MESSAGES and LANG say, in this order."""
    said = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return "zh" if next(filter(None, said), "").startswith("zh") else "en"


def one_line(text: object) -> str:
    """`text` without line breaks, for an error that shows what the user gave."""
    return printable(" ".join(str(text).split()))


def printable(text: str) -> str:
    """`text` with control characters as \\x1b and so on: a name must not move a cursor or rename a window."""
    return text if text.isprintable() else "".join(map(_show, text))


def _show(character: str) -> str:
    if character.isprintable() or character in "\n\t" or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()


def show_names(value: Any) -> Any:
    """A record with the control characters of all its texts shown as text: names are whatever users gave."""
    if isinstance(value, dict):
        return {show_names(name): show_names(v) for name, v in value.items()}
    if isinstance(value, list):
        return [show_names(v) for v in value]
    return printable(value) if isinstance(value, str) else value


def say(text: str, styled: bool = False) -> None:
    """Print `text` in one write, so that no other rank's output can get between its words.

    CleanEnd if it cannot be printed; a letter that the terminal's encoding lacks becomes its number.
    styled: it has colours, and its names are printable already.
    """
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        encoding = sys.stdout.encoding or "utf-8"
        shown = text if styled else printable(text)
        sys.stdout.write(shown.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()
    except OSError as error:
        _drop_output()
        raise CleanEnd(f"standard output: {error.strerror}; what was asked for in files is there") from None


def _drop_output() -> None:
    """What is still to be printed goes nowhere: Python would try once more at its end."""
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell(text: str) -> None:
    """Write lines to stderr in one piece; where that cannot be written, the exit code has to say it."""
    with contextlib.suppress(OSError):
        os.write(2, printable(text).encode("utf-8", "backslashreplace"))


class CleanEnd(Exception):
    """An end that all ranks reach alike: one line, no traceback, exit code `code`.

    by_all: each process says it, because MPI knows of no other, whatever has been announced.
    """

    code, by_all = 1, False


class RankEnd(Exception):
    """An end that one rank comes to while others wait for it: one line, and all ranks end with code 1."""


class UsageError(CleanEnd):
    """The user asked for something that cannot be.

    It has to be raised on all ranks alike: together.agree() does so when one rank finds it.
    """

    code = 2


last_words: list[Any] = [1, ""]  # exit code and text, for ranks that wait for MPI's start (see start.py)


def run(main: Callable[[], None]) -> None:
    """Call main() so that the failure of one rank ends every rank with one message.

    A rank that raises would otherwise wait for the others in MPI's shutdown, and they for it.
    """
    sys.unraisablehook = _interrupt_again
    try:
        _check_folder()
        main()
    except CleanEnd as error:
        last_words[:] = error.code, str(error)
        if rank_by_launcher() == 0 or error.by_all:
            tell(f"zero_ref: error: {one_line(error)}\n")
        sys.exit(error.code)
    except SystemExit as stop:
        if stop.code in (None, 0) or _alone():
            raise
        abort(f"sys.exit({stop.code!r})", stop.code if isinstance(stop.code, int) else 1)
    except KeyboardInterrupt:
        if _alone():
            last_words[:] = 130, "interrupted"
            if rank_by_launcher() == 0:
                tell("zero_ref: interrupted\n")
            sys.exit(130)
        abort("interrupted", 130)
    except (MemoryError, RankEnd) as error:
        memory = f"out of memory: {one_line(error) or 'no more is given'}"
        text = one_line(error) if isinstance(error, RankEnd) else memory
        if _alone():
            os.write(2, f"zero_ref: error: {text}\n".encode("utf-8", "backslashreplace"))
            sys.exit(1)
        abort(text, 1)
    except BaseException as error:
        if _alone():
            raise
        abort("".join(traceback.format_exception(error)), 1)


def _check_folder() -> None:
    """UsageError if the folder in which this program works has been deleted: no name would lead anywhere."""
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError(f"the working folder is gone ({error.strerror}): cd to another one") from None


def _interrupt_again(dropped: Any) -> None:
    """Ctrl-C in a finalizer (the ledger has one per array), where Python drops exceptions: once more."""
    if dropped.exc_type is KeyboardInterrupt:
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(dropped)


def _alone() -> bool:
    """Whether nobody waits for this rank: it is the only one, or MPI has not started."""
    mpi = sys.modules.get("mpi4py.MPI")
    return mpi is None or not mpi.Is_initialized() or mpi.COMM_WORLD.size == 1


def abort(text: str, code: int) -> None:
    """Print `text` with this rank's name in one piece, then end all ranks."""
    from mpi4py import MPI

    rank = MPI.COMM_WORLD.rank
    time.sleep(min(0.4 * rank, 4.0))  # when all fail alike, the lowest rank speaks for all
    head = f"[rank {rank}] failed, and all ranks end:\n"
    lines = "".join(f"[rank {rank}] {line}\n" for line in text.splitlines())
    tell(head + lines)
    shared.drop_names()
    time.sleep(0.2)  # mpirun forwards the text; abort at once and it may be lost
    MPI.COMM_WORLD.Abort(code)


def _first_of(*names: str) -> str | None:
    return next((os.environ[name] for name in names if name in os.environ), None)


def _number(*names: str, otherwise: int) -> int:
    """The whole number in the first of these variables that is set; `otherwise`, where it holds none."""
    try:
        return int(_first_of(*names) or otherwise)
    except ValueError:
        return otherwise


def _of_glibc(name: str) -> Callable[..., int] | None:
    """A function of the C library; None where it has no such function, as on other systems than Linux."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, TypeError, OSError):
        return None


def _process_vm_readv_allowed() -> bool:
    """Whether process_vm_readv is allowed here; True where the system does not have it."""

    class Piece(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    source, target = ctypes.create_string_buffer(b"x" * 8), ctypes.create_string_buffer(8)
    local, remote = Piece(ctypes.addressof(target), 8), Piece(ctypes.addressof(source), 8)
    try:
        read = ctypes.CDLL(None).process_vm_readv
    except (AttributeError, TypeError, OSError):
        return True
    return read(os.getpid(), ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) == 8
