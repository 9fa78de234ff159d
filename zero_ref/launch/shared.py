"""Memory that the ranks of one machine share, in /dev/shm: how much MPICH takes, and that its name goes.

MPICH 5 keeps its memory under a name as long as a run lasts. Whoever is killed or aborts leaves it there:
a megabyte for each rank, which nobody frees, and in a container's 64 MB the tenth run finds no room.
"""

import os
import re
from contextlib import suppress
from typing import NamedTuple

PLACE = "/dev/shm"
MB = 1 << 20
A_RANK = 5.2  # MB that MPICH 5.0.2 takes for each rank
MORE = 14.0  # with less than that and so much more, it may crash
SEGMENT = re.compile(r"(?:mpich_shm_[0-9a-f]+_\d+|ucx_shm_posix_[0-9a-f]+)\Z")
TOPOLOGY = re.compile(r"/tmp/hydra_hwloc_xmlfile_\w{6}\Z")  # what mpirun writes for its ranks
SIZES = "/dev/shm has {free:.0f} MB free of {size:.0f}; MPICH takes {rank:g} MB for each of {ranks} ranks"
REMEDY = "docker run --shm-size=1g gives more, python -m lessons doctor --clean removes what dead runs left"


class Room(NamedTuple):
    """The size of /dev/shm, and what is free of it, in MB."""

    size: float
    free: float


def room() -> Room | None:
    """What /dev/shm has; None where there is none, or it has no limit."""
    try:
        found = os.statvfs(PLACE)
    except (OSError, AttributeError):
        return None
    size = found.f_blocks * found.f_frsize / MB
    return Room(size, found.f_bavail * found.f_frsize / MB) if size else None


def need(ranks: int) -> float:
    """MB with which MPICH has always started so many ranks; with less it is chance (measurements.md)."""
    return A_RANK * ranks + MORE


def lack(ranks: int) -> str | None:
    """A line about /dev/shm, if it may be too small for so many ranks."""
    found = room()
    if found is None or found.free >= need(ranks):
        return None
    sizes = SIZES.format(free=found.free, size=found.size, rank=A_RANK, ranks=ranks)
    return f"{sizes}, and may die of a signal with less than {need(ranks):.0f} MB: {REMEDY}"


def drop_names() -> None:
    """Take from /dev/shm the names of this run's memory: whatever ends it now, nothing is left.

    Every rank of this machine must have started MPI: who has the memory keeps it, and nobody new can find it.
    """
    with suppress(OSError), open("/proc/self/maps") as maps:
        for line in maps:
            folder, _, name = line.rstrip("\n").partition(" /")[2].rpartition("/")
            if f"/{folder}" == PLACE and SEGMENT.match(name):
                remove(f"{PLACE}/{name}")
    parent = f"/proc/{os.getppid()}"
    with suppress(OSError), open(f"{parent}/comm") as comm:
        for number in os.listdir(f"{parent}/fd") if comm.read().startswith("hydra_pmi") else ():
            with suppress(OSError):  # what it has closed by now
                if TOPOLOGY.match(path := os.readlink(f"{parent}/fd/{number}")):
                    remove(path)


def remove(path: str) -> None:
    """Unlink a file, which another rank may have done."""
    with suppress(OSError):
        os.unlink(path)
