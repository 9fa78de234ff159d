"""The arrays: NumPy on the CPU, CuPy on a GPU.

Every array that lives longer than a line is born here or passed through `track`, with the kind
under which the ledger counts it. A third sort of arrays has no numbers at all (see meta.py): what runs
on them shows what it would hold and send.
"""

import contextlib
import importlib.util
import types
from collections.abc import Iterator
from typing import Any

import ml_dtypes  # noqa: F401  makes "bfloat16" a type that NumPy and CuPy know
import numpy as np

from zero_ref.launch import UsageError
from zero_ref.ledger import ledger

Array = Any  # numpy.ndarray or cupy.ndarray

xp: Any = types.SimpleNamespace()  # numpy's functions, or cupy's: filled by select()
_cupy: Any = None  # CuPy, where arrays live on a GPU
_pinned: Any = None  # its function that makes arrays in pinned host memory
_mpi_takes_device_arrays = False
_meta = ""  # where arrays without numbers are taken to live, see place()


def gpu_count() -> int:
    """Number of usable GPUs; 0 without CuPy or without a driver."""
    try:
        import cupy
    except ImportError:
        return 0
    return cupy.cuda.runtime.getDeviceCount() if cupy.cuda.is_available() else 0


def gpu_name() -> str:
    """The place on the bus of the GPU that this process uses."""
    return str(_cupy.cuda.Device().pci_bus_id)


def nccl_here() -> bool:
    """Whether CuPy can load NCCL."""
    from cupy.cuda import nccl

    return bool(nccl.available)


def select(device: str, local_rank: int = 0, mpi_takes_device_arrays: bool = False) -> str:
    """Choose where arrays live, for the whole process; return "cpu" or "gpu".

    `device` is "auto", "cpu" or "gpu". Ranks of one machine take its GPUs in turn, so several
    ranks may share one. Raises UsageError where "gpu" is asked for and there is none.
    """
    global _cupy, _pinned, _mpi_takes_device_arrays, _meta
    gpus = gpu_count() if device != "cpu" else 0
    if device == "gpu" and gpus == 0:
        raise UsageError("--device gpu: CuPy finds no GPU here (see requirements-gpu.txt)")
    if gpus:
        import cupy
        import cupyx

        cupy.cuda.Device(local_rank % gpus).use()
        _cupy, _pinned = cupy, cupyx.empty_pinned
    else:
        _cupy = _pinned = None
    _mpi_takes_device_arrays, _meta = mpi_takes_device_arrays, ""
    xp.__dict__.clear()
    xp.__dict__.update(vars(_cupy or np))
    return "gpu" if gpus else "cpu"


@contextlib.contextmanager
def without_numbers(functions: Any, place: str, cupy: Any, pinned: Any) -> Iterator[None]:
    """In here arrays have no numbers, and the ledger counts anew; `place` as place() says it.

    functions: what takes the place of numpy's; cupy, pinned: of CuPy, where the place is a GPU.
    """
    global _cupy, _pinned, _mpi_takes_device_arrays, _meta
    before = dict(vars(xp)), _cupy, _pinned, _mpi_takes_device_arrays, _meta
    on_a_gpu = place in ("gpu", "staged")
    xp.__dict__.clear()
    xp.__dict__.update(vars(functions))
    _cupy, _pinned = (cupy, pinned) if on_a_gpu else (None, None)
    _mpi_takes_device_arrays, _meta = place == "gpu", place
    try:
        with ledger.set_aside():
            yield
    finally:
        xp.__dict__.clear()
        xp.__dict__.update(before[0])
        _cupy, _pinned, _mpi_takes_device_arrays, _meta = before[1:]


def on_meta() -> bool:
    """Whether arrays have no numbers."""
    return bool(_meta)


def on_gpu() -> bool:
    """Whether arrays live on a GPU."""
    return _cupy is not None


def staged() -> bool:
    """Whether arrays live where MPI cannot read them: on a GPU, and MPI takes host memory only."""
    return _cupy is not None and not _mpi_takes_device_arrays


def place() -> str:
    """Where arrays live, as far as it decides what a step holds.

    "cpu"; "compiled", there, with numba; "gpu"; "staged", there, where MPI takes host memory only, which
    the ledger does not count.
    """
    if _meta:
        return _meta
    if on_gpu():
        return "staged" if staged() else "gpu"
    return "compiled" if importlib.util.find_spec("numba") else "cpu"


def cupy_here() -> Any:
    """CuPy, or what stands for it where arrays on a GPU have no numbers."""
    return _cupy


def cuda() -> Any:
    """Streams, events and so on of CuPy."""
    return _cupy.cuda


def starts(n: int, size: int) -> range:
    """Where the blocks of n elements begin that are gone through one after another.

    Without numbers one block shows what all of them take: it is the largest.
    """
    return range(0, n, size)[:1] if _meta else range(0, n, size)


def track(kind: str, array: Array) -> Array:
    """Have the ledger count a newly made array as `kind` until it dies; return it."""
    return ledger.track(kind, array)


def empty(shape: int | tuple[int, ...], dtype: Any, kind: str) -> Array:
    """A new array of `shape` with undefined values, counted as `kind`."""
    return ledger.track(kind, xp.empty(shape, dtype))


def zeros(shape: int | tuple[int, ...], dtype: Any, kind: str) -> Array:
    """A new array of `shape` filled with zeros, counted as `kind`."""
    return ledger.track(kind, xp.zeros(shape, dtype))


def from_numpy(array: np.ndarray, kind: str) -> Array:
    """A NumPy array that owns its memory, or on a GPU a copy of it there, counted as `kind`."""
    return ledger.track(kind, xp.asarray(array))


def to_numpy(array: Array) -> np.ndarray:
    """The array itself on the CPU, a copy in host memory of one on a GPU."""
    return _cupy.asnumpy(array) if _cupy is not None and not isinstance(array, np.ndarray) else array


def scalar(array: Array) -> Any:
    """An array () as a Python float. On a GPU it stays there, in float64; float() of it waits for the GPU."""
    return array.astype("float64") if _cupy is not None else float(array)


# MPI reads and writes host memory. On the CPU the functions below cost nothing: the wire
# buffer is the array itself. On a GPU it is pinned host memory, unless the MPI library itself
# takes device arrays; then it is the array, once the GPU has finished writing it. (staging.py and
# nccl.py send arrays from where they are, and have ways of their own.)


def wire_like(array: Array) -> Array:
    """The buffer that MPI reads and writes for `array`: itself, or new pinned memory, not filled."""
    return pinned(array.shape, array.dtype) if staged() else array


def pinned(shape: int | tuple[int, ...], dtype: Any) -> Array:
    """A new array in pinned host memory, which a GPU reads and writes while it computes. Not counted."""
    return _pinned(shape, dtype)


def wire_scratch(wire: Array, n: int, dtype: Any = None) -> Array:
    """Scratch memory of `n` elements of the same sort as a wire buffer, and of its type or `dtype`."""
    if staged() and type(wire) is not _cupy.ndarray:
        return pinned(n, dtype or wire.dtype)  # host memory beside a GPU is not the ledger's
    return empty(n, dtype or wire.dtype, "buffer")


def copy(target: Array, source: Array) -> None:
    """target[...] = source, also between host and GPU; complete on return, free if they are one."""
    if type(target) is not type(source):
        if type(source) is _cupy.ndarray:
            source.get(out=target)
        else:
            target.set(source)
    else:
        move(target, source)
    finish()


def move(target: Array, source: Array) -> None:
    """target[...] = source, free if they are one; on a GPU complete when what is asked for before is."""
    if _address(target) != _address(source):
        target[...] = source


def finish() -> None:
    """Wait until the GPU has done what it was asked for: MPI does not."""
    if _cupy is not None:
        _cupy.cuda.get_current_stream().synchronize()


def _address(array: Array) -> int:
    return array.ctypes.data if isinstance(array, np.ndarray) else int(array.data.ptr)


select("cpu")  # until somebody chooses otherwise
