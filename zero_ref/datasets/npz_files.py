"""FILE.npz: the arrays x and y. What each says of itself is compared with its file before it is read."""

import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from zero_ref.datasets.reading import Reading, Samples, check_bytes
from zero_ref.launch import one_line

DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
NO_HEADER = (
    SyntaxError,
    tokenize.TokenError,
    MemoryError,
    TypeError,
    OverflowError,
)  # of a text that is none
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read(path: Path, how: Reading) -> Samples:
    """x and y; y may be missing where the inputs of a model are wanted."""
    if how.header or (how.target and how.features is None):
        raise ValueError("has x and y: --header and --target are for FILE.csv")
    with open(path, "rb") as file:  # OSError here, if the file cannot be read
        if not zipfile.is_zipfile(file):
            raise ValueError("is not an .npz file")
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            has_y = bool(names & {"y", "y.npy"})
            if not names & {"x", "x.npy"} or not (has_y or how.features):
                held = ", ".join(sorted(name.removesuffix(".npy") for name in names)[:8]) or "nothing"
                raise ValueError(f"must hold the arrays 'x' and 'y', and holds {one_line(held)}")
            return Samples(array(archive, "x", how), array(archive, "y", how) if has_y else None)
    except DAMAGE as error:
        raise ValueError(f"is damaged ({error})") from None


def array(archive: zipfile.ZipFile, name: str, how: Reading) -> np.ndarray:
    """One array, once its header agrees with the file's size and with --data-limit."""
    about = archive.getinfo(name if name in archive.namelist() else f"{name}.npy")
    with archive.open(about) as file:
        shape, dtype = header(file, name)
        size, held = math.prod(shape) * dtype.itemsize, about.file_size - file.tell()
    check_bytes(f"{name} of shape {shape}", size, how.limit)
    if size != held and not dtype.hasobject:
        raise ValueError(f"is damaged: {name} of shape {shape} takes {size:,} bytes, and {held:,} are there")
    with archive.open(about) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array as its file says them."""
    try:
        version = np.lib.format.read_magic(file)
    except ValueError:
        raise ValueError(f"{name} is not an array, as numpy.savez writes it") from None
    if version not in HEADERS:
        raise ValueError(f"{name} is an array of format {version}, which holds no plain numbers")
    try:
        shape, _, dtype = HEADERS[version](file)
    except NO_HEADER as error:
        raise ValueError(f"is damaged: the header of {name} is not understood ({error})") from None
    if not all(0 <= n < 1 << 62 for n in shape):
        raise ValueError(f"is damaged: {name} has shape {shape}")
    return shape, dtype
