"""Processes of this machine: which ones somebody has started, and that they end when they should (Linux)."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path

HAS_PROC = os.path.exists("/proc/self/environ")


def end_with_parent() -> None:
    """In a new process: if the checker is killed, this gets SIGTERM (Linux), and mpirun ends its ranks."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG


def adopt_orphans() -> None:
    """A process whose parent has ended becomes ours (Linux), so that it can be found and ended."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def child_processes() -> set[int]:
    """The processes whose parent this one is (Linux; elsewhere none are seen)."""
    found = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in task.read_text().split()}
    return found


def marked_with(mark: str) -> Iterator[int]:
    """Other living processes with this in their environment: "NAME=value". Elsewhere than on Linux none."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(folder.name) != os.getpid() and mark.encode() in (folder / "environ").read_bytes():
                yield int(folder.name)
