"""One run at a time writes checkpoints into a folder.

Its owner holds a lock on the file .owner there, which the system takes back when the run ends, however it
ends: so a run that was killed is in nobody's way. Where a file system knows no locks nobody is refused, and
still no two runs write one file, as each writes under names of its own (see saving.py).
"""

import atexit
import os
import platform
from contextlib import suppress
from pathlib import Path

from zero_ref.launch import UsageError
from zero_ref.launch.files import NO_LINK

NAME = ".owner"
_held: dict[Path, tuple[int, bool]] = {}  # file -> its descriptor, and whether there are locks


def take(folder: Path) -> None:
    """Own `folder` until it is given back, or this process ends.

    UsageError if another run does; OSError if nobody can.
    """
    file = folder.resolve() / NAME
    while not (file in _held and is_still(_held[file][0], file)):
        if file in _held:  # its owner had just ended, and has taken the file away
            os.close(_held.pop(file)[0])
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
        locked = lock(descriptor)
        if locked is False:
            who = os.read(descriptor, 100).decode(errors="replace") or "it has just begun"
            os.close(descriptor)
            raise UsageError(f"--save {folder}: another run saves there ({who})")
        _held[file] = descriptor, locked is True
        os.truncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())


def is_owned(folder: Path) -> bool:
    """Whether no other run can be writing to `folder`."""
    return _held.get(folder.resolve() / NAME, (0, False))[1]


def lock(descriptor: int) -> bool | None:
    """Whether the lock is ours now; None where there are no locks."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


def is_still(descriptor: int, file: Path) -> bool:
    """Whether an open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file))
    except FileNotFoundError:
        return False


@atexit.register
def give_back() -> None:
    """Own nothing any more: the files go, and the next may come."""
    while _held:
        file, (descriptor, _) = _held.popitem()
        with suppress(OSError):
            if is_still(descriptor, file):
                file.unlink()
        os.close(descriptor)
