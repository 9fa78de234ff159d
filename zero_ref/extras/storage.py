"""Where bytes lie that are not on the device: host memory, or a file on the disk.

              is                                                     is counted in the ledger as
    Host      host memory; beside a GPU pinned                       away["host"]
    Disk      a file without a name, in a folder that is given       away["disk"]
    Nowhere   nothing: for a dry run                                 either

A store has three methods, and `vector` is always one of the device:

    read(vector, place)       fills it with the bytes at `place`
    write(vector, place)      puts it there
    whole(dtype, place, n)    n numbers at `place` as an array; what is assigned to it is kept there

A file of the disk never has a name, or loses it before anything is written: nobody else can open or remove
it, and the system takes it back with its process, however that ends. So a killed run leaves nothing. Its
bytes are reserved when it is made, so that a disk which is too small says so before the first step, and
not in the middle of one.
"""

import contextlib
import errno
import functools
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from zero_ref import array
from zero_ref.array import Array
from zero_ref.launch import CleanEnd, RankEnd, UsageError
from zero_ref.launch.files import reason
from zero_ref.ledger import ledger
from zero_ref.meta import Meta

ZEROS = 1 << 20  # bytes that are written at a time where a system cannot reserve them


class Host:
    """`nbytes` of host memory, zeros at first."""

    def __init__(self, nbytes: int) -> None:
        pinned = array.on_gpu() and nbytes > 0
        self.memory = array.pinned(nbytes, "uint8") if pinned else np.empty(nbytes, np.uint8)
        self.memory[...] = 0
        ledger.put_away("host", nbytes, self)

    def read(self, vector: Array, place: int) -> None:
        array.copy(vector, self.whole(vector.dtype, place, vector.size))

    def write(self, vector: Array, place: int) -> None:
        array.copy(self.whole(vector.dtype, place, vector.size), vector)

    def whole(self, dtype: Any, place: int, n: int) -> np.ndarray:
        return self.memory[place : place + n * np.dtype(dtype).itemsize].view(dtype)


class Disk:
    """`nbytes` in a file of this rank alone in `folder`, zeros at first.

    Raises CleanEnd where the file cannot be made, RankEnd where it can no longer be read or written.
    """

    def __init__(self, folder: str, nbytes: int) -> None:
        self.folder = folder
        try:
            self.file = file_without_name(folder)
            reserve(self.file, nbytes)
        except OSError as error:
            needed = f"a file of {nbytes:,} bytes cannot be made there"
            raise CleanEnd(f"--offload disk:{folder}: {needed} ({reason(error)})") from None
        ledger.put_away("disk", nbytes, self)

    def read(self, vector: Array, place: int) -> None:
        here = array.pinned(vector.shape, vector.dtype) if array.on_gpu() else vector
        self._all_of(here, place, self.file.readinto)
        array.copy(vector, here)

    def write(self, vector: Array, place: int) -> None:
        here = array.pinned(vector.shape, vector.dtype) if array.on_gpu() else vector
        array.copy(here, vector)
        self._all_of(here, place, self.file.write)

    def whole(self, dtype: Any, place: int, n: int) -> np.ndarray:
        nbytes = n * np.dtype(dtype).itemsize
        if not nbytes:
            return np.empty(0, dtype)
        # A mapping begins at a multiple of a page.
        start = place // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        with self._told():
            pages = mmap.mmap(self.file.fileno(), place - start + nbytes, offset=start)
        # Not numpy.memmap, whose arrays are of a class of their own, which array.copy takes for a GPU's.
        return np.frombuffer(pages, np.uint8)[place - start :].view(dtype)

    def _all_of(self, vector: np.ndarray, place: int, call: Callable[[memoryview], int | None]) -> None:
        """Read or write all bytes of `vector`: a system call may do a part of them."""
        left = vector.view(np.uint8).data
        with self._told():
            self.file.seek(place)
            while left:
                done = call(left)
                if not done:
                    raise OSError(errno.EIO, "the file is shorter than it was made")
                left = left[done:]

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RankEnd(f"--offload disk:{self.folder}: {error.strerror or error}") from error


class Nowhere:
    """Takes the place of `tier` in a dry run, and holds nothing."""

    def __init__(self, tier: str, nbytes: int) -> None:
        ledger.put_away(tier, nbytes, self)

    def read(self, vector: Array, place: int) -> None:
        """Nothing to bring."""

    write = read

    def whole(self, dtype: Any, place: int, n: int) -> Meta:
        return Meta(n, dtype)


def file_without_name(folder: str) -> Any:
    """A new file in `folder`, which its owner alone reads and writes (mode 0600). OSError if it cannot be."""
    return tempfile.TemporaryFile(dir=folder, prefix="zero_ref-", buffering=0)


def reserve(file: Any, nbytes: int) -> None:
    """Make the file `nbytes` long, zeros that have their place on the disk. OSError if there is none."""
    if not nbytes:
        return
    try:
        os.posix_fallocate(file.fileno(), 0, nbytes)
        return
    except AttributeError:
        pass  # not on macOS and Windows
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
    for start in range(0, nbytes, ZEROS):
        file.write(bytes(min(ZEROS, nbytes - start)))


def forget_pages(vector: Array) -> None:
    """Have a mapped array take no memory of this process until it is used again; nothing is lost."""
    pages = vector
    while isinstance(pages, np.ndarray):
        pages = pages.base
    pages = pages.obj if isinstance(pages, memoryview) else pages
    if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)  # what has changed is in the file


def tier(where: str) -> str:
    """ "host" or "disk", of what --offload names."""
    return where.partition(":")[0]


def store_of(where: str) -> Callable[[int], Any]:
    """A function that makes a store of so many bytes: host, or disk:DIR."""
    if array.on_meta():
        return functools.partial(Nowhere, tier(where))
    return Host if where == "host" else functools.partial(Disk, where.partition(":")[2])


def check(where: str | None, shards: bool) -> None:
    """UsageError where what --offload asks for cannot be here. A dry run asks for no folder."""
    if shards and array.on_gpu():
        raise UsageError("--offload-shards: not on a GPU, which cannot compute where they would lie")
    if not where or where == "host" or array.on_meta():
        return
    folder = where.partition(":")[2]
    if not os.path.isdir(folder):
        raise UsageError(f"--offload {where}: is no folder")
    try:
        file_without_name(folder).close()
    except OSError as error:
        raise UsageError(f"--offload {where}: cannot be written there ({reason(error)})") from None
