"""The whole model: gathered from its shards, one unit at a time, and stored as safetensors.

Tensors are named "layers.0.weight" (outputs x inputs), "layers.0.bias" (outputs) and so on, as in
a PyTorch Sequential, and are readable wherever safetensors is.
"""

import hashlib
from collections.abc import Iterable, Iterator
from types import ModuleType

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from zero_ref.array import Array, empty, to_numpy
from zero_ref.comm import Comm
from zero_ref.launch import UsageError
from zero_ref.launch.files import in_one_piece
from zero_ref.layout import FlatLayout
from zero_ref.model import Unit

# Types that become a model's numbers, by safetensors' names.
REAL = {f"{kind}{bits}" for kind in "FIU" for bits in (8, 16, 32, 64)} | {"BF16", "BOOL"}

Named = Iterable[tuple[str, np.ndarray]]


def named_tensors(stage: ModuleType, units: list[Unit], comm: Comm) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor of the model in model order, on every rank; one unit is gathered at a time.

    All ranks must go through it to the end, because each unit is a collective call at stage 3.
    """
    for layout, param in whole_units(stage, units, comm):
        for name, view in layout.views(param).items():
            yield f"{layout.prefix}{name}", to_numpy(view)


def whole_units(stage: ModuleType, units: list[Unit], comm: Comm) -> Iterator[tuple[FlatLayout, Array]]:
    """Each unit of the model as it is written: its layout and its parameters, once all of them are here."""
    begun: dict[str, tuple[Array, int]] = {}  # name -> parameters, and how many of them are here
    for u in units:
        param, begin = stage.full_param(u, comm), 0
        if not u.layout.made_of:
            yield u.layout, param
        for of, start, stop in u.layout.made_of:
            if of.name not in begun:
                begun[of.name] = empty(of.elements, u.dtype, "buffer"), 0
            vector, here = begun.pop(of.name)
            vector[start:stop] = param[begin : begin + stop - start]
            begin, here = begin + stop - start, here + stop - start
            if here == of.elements:
                yield of, vector
            else:
                begun[of.name] = vector, here


def sha256(tensors: Named) -> str:
    """The SHA-256 of all values in model order, little-endian, without padding."""
    digest = hashlib.sha256()
    for _, values in tensors:
        little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def write(path: str, tensors: dict[str, np.ndarray]) -> None:
    """Write the model to `path` in one piece; UsageError, and no trace of it, if that fails."""
    with in_one_piece(path, "--export") as part:
        save(part, tensors)


def save(path: str, tensors: dict[str, np.ndarray]) -> None:
    """Write a safetensors file that PyTorch reads; OSError if that fails."""
    try:
        save_file(tensors, path, {"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from error


def check(path: str, shapes: dict[str, tuple[int, ...]], dtype: str) -> None:
    """UsageError unless `path` holds just the tensors `shapes`, of real numbers, finite in `dtype`."""
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in list(file.keys())}
            found = {name: tuple(part.get_shape()) for name, part in slices.items()}
            for name, kind in ((name, part.get_dtype()) for name, part in slices.items()):
                if kind not in REAL:
                    raise UsageError(f"--init {path}: {name} is of type {kind}, not of real numbers as F32")
            for name in found.keys() & shapes.keys():
                with np.errstate(over="ignore"):
                    values = file.get_tensor(name).astype(dtype)
                if not np.isfinite(values).all():
                    raise UsageError(f"--init {path}: {name} holds NaN, or infinity in {dtype}")
    except FileNotFoundError:
        raise UsageError(f"--init {path}: no such file") from None
    except (OSError, SafetensorError, TypeError) as error:
        raise UsageError(f"--init {path}: not readable as safetensors ({error})") from None
    for name in sorted(found.keys() | shapes.keys()):
        has, needs = found.get(name, "nothing"), shapes.get(name, "nothing")
        if has != needs:
            raise UsageError(f"--init {path}: the file has {has} as {name}, the model needs {needs}")


def read_tensor(path: str, name: str) -> np.ndarray:
    """One tensor of a file that `check` has passed."""
    with safe_open(path, framework="numpy") as file:
        return file.get_tensor(name)
