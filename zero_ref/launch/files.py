"""Files that are whole or not there: the one place where results are written."""

import errno
import functools
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zero_ref.launch import UsageError, tell

NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # Windows has neither these nor pipes with names
NO_WAIT = getattr(os, "O_NONBLOCK", 0)
PART = re.compile(r"\.zero_ref-(\w+)-(\d+)-(\d+)-[0-9a-f]{16}\.part\Z")  # machine, process, its start
OPEN_ALREADY = ("/dev/fd/", "/dev/std", "/proc/")  # names of what a process has open


def check_writable(written: dict[str, str | None], read: Iterable[str | None] = ()) -> None:
    """UsageError unless every file (option -> path) can be written and is no other file of the run."""
    taken = {os.path.realpath(path) for path in read if path}
    for option, path in written.items():
        if not path:
            continue
        try:
            replaced = try_to_write(path)
        except (OSError, ValueError) as error:
            raise UsageError(f"{option} {path}: cannot be written there ({reason(error)})") from None
        if replaced and os.path.realpath(path) in taken:
            raise UsageError(f"{option} {path}: is another file of this run")
        taken.add(os.path.realpath(path))


def try_to_write(path: str) -> bool:
    """OSError unless `path` can be written; whether it will be replaced, see `is_replaced`."""
    replaced = is_replaced(path)
    if replaced:
        part, _ = create_beside(os.path.realpath(path))
        os.unlink(part)
    elif not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return replaced


def check_readable(path: str | None, option: str, most: float = float("inf")) -> None:
    """UsageError unless `path` is a regular file of at most `most` bytes that may be read, or is None.

    A pipe is not waited for: on one rank of many it would never end, or end differently.
    """
    if path is None:
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | NO_WAIT)
        about = os.fstat(descriptor)
        os.close(descriptor)
    except (OSError, ValueError) as error:
        raise UsageError(f"{option} {path}: {reason(error)}".lstrip()) from None
    if not stat.S_ISREG(about.st_mode):
        raise UsageError(f"{option} {path}: is not a regular file".lstrip())
    if about.st_size > most:
        raise UsageError(f"{option} {path}: has {about.st_size:,} bytes, at most {most:,} are read".lstrip())


@contextmanager
def in_one_piece(path: str, option: str) -> Iterator[str]:
    """Gives the name of a file to write, which takes the place of `path` once it is written.

    If that fails, what was at `path` stays, the half file goes, and UsageError names `option`.
    """
    try:
        with replacing(path) as part:
            yield part
    except OSError as error:
        raise UsageError(f"{option} {path}: {reason(error)}".lstrip()) from error


@contextmanager
def replacing(path: str | Path) -> Iterator[str]:
    """The same with OSError. What is no regular file, a device or a pipe, is written to and stays."""
    if not is_replaced(path):
        with tempfile.TemporaryDirectory(prefix="zero_ref_pour_") as folder:
            part, _ = create_beside(os.path.join(folder, "whole"))
            yield part
            pour(part, path)
        return
    target = os.path.realpath(path)  # a link stays one
    part, mode = create_beside(target)
    try:
        yield part
        give_mode(part, mode)
        os.replace(part, target)
    finally:
        with suppress(OSError):
            os.unlink(part)


def is_replaced(path: str | Path) -> bool:
    """Whether a new file takes the place of `path`: of a regular file, or of none. OSError for a folder."""
    if os.path.abspath(path).startswith(OPEN_ALREADY):
        return False
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return True
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return stat.S_ISREG(mode)


def create_beside(target: str) -> tuple[str, int]:
    """A new empty file in the folder of `target`: its name, which nobody can foretell, and its mode.

    The name says whose it is, so that the next run knows whether that process still lives.
    """
    folder = os.path.dirname(target)
    remove_dead_parts(folder)
    owner = f"{this_machine()}-{os.getpid()}-{start_of(os.getpid())}"
    part = os.path.join(folder, f".zero_ref-{owner}-{secrets.token_hex(8)}.part")
    return part, create(part)


@functools.cache
def remove_dead_parts(folder: str) -> None:
    """Remove, once, the half files that killed runs of this user have left in a folder, and say so."""
    with suppress(OSError):
        for name in os.listdir(folder or "."):
            path = os.path.join(folder, name)
            if is_dead(path):
                with suppress(OSError):
                    os.unlink(path)
                    tell(f"zero_ref: removed {path}, which a killed run has left\n")


def is_dead(path: str | Path) -> bool:
    """Whether this is the half file of a process of this machine and this user which has ended."""
    found = PART.match(os.path.basename(path))
    if not found or found[1] != this_machine() or found[3] == "0":
        return False
    with suppress(OSError):
        about = os.lstat(path)
        return (
            stat.S_ISREG(about.st_mode)
            and about.st_uid == os.getuid()
            and str(start_of(int(found[2]))) != found[3]
        )
    return False


@functools.cache
def this_machine() -> str:
    """Where a process's number means something: this start of this machine, this container; "x" elsewhere."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            text = file.read() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return "x"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def start_of(pid: int) -> int:
    """When a process started, in the system's ticks: with its number it is nobody else. 0: there is none."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def create(path: str | Path) -> int:
    """Make a new empty file, never through a link; the mode that umask and folder give it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def give_mode(path: str | Path, mode: int) -> None:
    """The mode that `create` has told: safetensors puts a file of its own there, for its owner only."""
    if stat.S_IMODE(os.stat(path).st_mode) != mode:
        with suppress(OSError):  # some file systems have no modes
            os.chmod(path, mode)


def pour(source: str, path: str | Path) -> None:
    """Write the bytes of a file into a device or pipe; a pipe that nobody reads is an error, not a wait."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | NO_WAIT)
    with open(source, "rb") as whole, open(descriptor, "wb") as sink:
        os.set_blocking(descriptor, True)
        shutil.copyfileobj(whole, sink)


def reason(error: Exception) -> str:
    """What the system says of an error, without number and names."""
    return str(getattr(error, "strerror", None) or error)
