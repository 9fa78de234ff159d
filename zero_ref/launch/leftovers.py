"""What killed runs have left on this machine, and how it is known that nobody uses it any more.

A file goes only if it is the user's own, has one of the names below, has been there for a while, and no
process has it open or mapped. The kernel says the last: it grants a lease for writing only to who is alone
with a file, and it counts processes of other containers, too, which /proc does not show.
"""

import os
import re
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zero_ref.launch import files, shared

AGE = 60.0  # seconds: what is younger may be about to be used
OLD = 3600.0  # of folders, of which no kernel says who is alone with them
FOLDER = re.compile(r"zero_ref_(check|copy|grade|lesson|pour)_\w+\Z")  # our temporary ones


def find() -> list[Path]:
    """All that may go: of MPI in /dev/shm and /tmp; of ours in the temporary folder, and in this folder."""
    found = [path for path in listed(shared.PLACE) if shared.SEGMENT.match(path.name)]
    found += [path for path in listed("/tmp") if shared.TOPOLOGY.match(str(path))]
    found += [path for path in listed(".") if files.is_dead(path)]
    folders = [path for path in listed(tempfile.gettempdir()) if FOLDER.match(path.name)]
    used = used_names() if folders else set()
    return [path for path in found if is_free(path)] + [path for path in folders if is_idle(path, used)]


def size_of(path: Path) -> int:
    """Bytes that a file takes; of a folder, the files in it."""
    with suppress(OSError):
        return sum(each.lstat().st_blocks * 512 for each in [path, *path.rglob("*")])
    return 0


def clean(paths: list[Path]) -> list[Path]:
    """Remove what find() has found, and is still so; returns what is gone."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            if is_idle(path, used_names()):
                shutil.rmtree(path, ignore_errors=True)
            continue
        with suppress(OSError), alone_with(path) as alone:
            if alone:
                path.unlink()
    return [path for path in paths if not os.path.lexists(path)]


def listed(folder: Path | str) -> list[Path]:
    """What a folder holds; nothing where there is none."""
    try:
        return sorted(Path(folder).iterdir())
    except OSError:
        return []


def is_ours(path: Path, kind: int, age: float) -> bool:
    """Whether something is the user's own, of this kind and no link, and so old."""
    try:
        about = path.lstat()
    except OSError:
        return False
    old = time.time() - about.st_mtime > age
    return stat.S_IFMT(about.st_mode) == kind and about.st_uid == os.getuid() and old


def is_free(path: Path) -> bool:
    """Whether a file may go."""
    with alone_with(path) as alone:
        return alone


def is_idle(path: Path, used: set[str]) -> bool:
    """Whether a folder may go: old, and no process works in it or has a file of it open (`used`)."""
    inside = (name == str(path) or name.startswith(f"{path}/") for name in used)
    return is_ours(path, stat.S_IFDIR, OLD) and not any(inside)


@contextmanager
def alone_with(path: Path) -> Iterator[bool]:
    """Whether a file is ours and nobody has it; within, nobody can open it."""
    if not is_ours(path, stat.S_IFREG, AGE):
        yield False
        return
    try:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        yield False
        return
    try:
        yield lease(file)
    finally:
        os.close(file)  # and the lease with it


def lease(file: int) -> bool:
    """Take a lease for writing: False if anybody else has the file open or mapped, or none can be had."""
    with suppress(OSError, AttributeError, ImportError):
        import fcntl

        fcntl.fcntl(
            file, fcntl.F_SETSIG, signal.SIGURG
        )  # who opens it now is told of by this, which is ignored
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        return True
    return False


def used_names() -> set[str]:
    """Files and folders that processes have open or mapped or work in, as far as they can be seen (Linux)."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        for link in [process / "cwd", *listed(process / "fd")]:
            with suppress(OSError):  # what is closed by now
                found.add(os.readlink(link))
        with suppress(OSError):
            lines = (process / "maps").read_text(errors="replace").splitlines()
            found |= {"/" + line.partition(" /")[2] for line in lines if " /" in line}
    return found
