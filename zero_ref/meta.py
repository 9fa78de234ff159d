"""Arrays that have shape, type and life but no numbers, and an MPI that says nothing: a dry run.

The stage files, Comm, Unit and the optimizers run on them as they are, and the ledger counts what they
would hold and send, on any rank of any number. So nothing is written down twice to be predicted. PyTorch
calls such arrays meta tensors. A dry run takes no memory to speak of, and no MPI:

    with dry("cpu"):
        comm = AutoComm(Silence(rank=3, size=1024))
        ...                                          # set up and step, as ever

It predicts, and proves nothing: a stage that holds too much is predicted to hold too much. What a stage
should hold is said by the formulas of plan/formulas.py, which know no stage file.
"""

import contextlib
import math
import types
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from zero_ref import array
from zero_ref.comm import Complete


class Meta(NDArrayOperatorsMixin):
    """Like numpy.ndarray, as far as this project uses it. A view keeps its base alive, as NumPy's does."""

    data = types.SimpleNamespace(ptr=0)  # for array.move: all of them are at one place

    def __init__(self, shape: Any, dtype: Any = float, base: Any = None) -> None:
        self.shape = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(int(n) for n in shape)
        self.dtype, self.base = np.dtype(dtype), base

    size = property(lambda self: math.prod(self.shape))
    ndim = property(lambda self: len(self.shape))
    itemsize = property(lambda self: self.dtype.itemsize)
    nbytes = property(lambda self: self.size * self.itemsize)
    T = property(lambda self: self.transpose())

    # NumPy would take anything with a length for a sequence, and read it without end.
    __iter__: Any = None
    __hash__ = object.__hash__

    def __array__(self, *arguments: Any, **keywords: Any) -> Any:
        raise TypeError("an array without numbers cannot become one with numbers")

    def __len__(self) -> int:
        return self.shape[0]

    def __float__(self) -> float:
        return 0.0

    def like(self, shape: Any, dtype: Any = None, base: Any = None) -> "Meta":
        """An array of the same sort; base: what it is a view of."""
        return type(self)(shape, self.dtype if dtype is None else dtype, base)

    # Views and copies.

    def transpose(self, *axes: Any) -> "Meta":
        order = axes[0] if axes and not isinstance(axes[0], int) else axes or range(self.ndim)[::-1]
        return self.like([self.shape[axis] for axis in order], base=self)

    def reshape(self, *shape: Any) -> "Meta":
        wanted = shape[0] if len(shape) == 1 else shape
        wanted = [wanted] if isinstance(wanted, (int, np.integer)) else list(wanted)
        if -1 in wanted:
            known = math.prod(n for n in wanted if n != -1)
            wanted[wanted.index(-1)] = self.size // max(1, known)
        if math.prod(wanted) != self.size:
            raise ValueError(f"cannot reshape {self.shape} to {tuple(wanted)}")
        return self.like(wanted, base=self)

    def view(self, dtype: Any) -> "Meta":
        last = self.shape[-1] * self.itemsize // np.dtype(dtype).itemsize
        return self.like((*self.shape[:-1], last), dtype, self)

    def __getitem__(self, key: Any) -> "Meta":
        keys = key if isinstance(key, tuple) else (key,)
        if any(k is Ellipsis for k in keys):
            at = next(i for i, k in enumerate(keys) if k is Ellipsis)
            missing = self.ndim - sum(k is not None and k is not Ellipsis for k in keys)
            keys = (*keys[:at], *[slice(None)] * missing, *keys[at + 1 :])
        indices = [np.shape(k) if not isinstance(k, Meta) else k.shape for k in keys if _is_index(k)]
        if indices:
            return self.like((*np.broadcast_shapes(*indices), *self.shape[len(keys) :]))  # a copy
        shape, at = [], 0
        for k in keys:
            if isinstance(k, slice):
                shape.append(len(range(*k.indices(self.shape[at]))))
            if k is None:
                shape.append(1)
            else:
                at += 1
        return self.like((*shape, *self.shape[at:]), base=self)

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def fill(self, value: Any) -> None:
        """Nothing to fill."""

    def copy(self) -> "Meta":
        return self.like(self.shape)

    def astype(self, dtype: Any, copy: bool = True) -> "Meta":
        return self if not copy and np.dtype(dtype) == self.dtype else self.like(self.shape, dtype)

    # From a GPU to host memory and back, as CuPy has it.

    def get(self, stream: Any = None, out: Any = None, blocking: bool = True) -> Any:
        """Nothing to bring."""
        return out

    def set(self, source: Any, stream: Any = None) -> None:
        """Nothing to bring."""

    # Arithmetic: a new array of the right shape and type, or `out`.

    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        if out is not None:
            return out
        gone = range(self.ndim) if axis is None else [axis % self.ndim]
        shape = [1 if i in gone else n for i, n in enumerate(self.shape) if keepdims or i not in gone]
        return self.like(shape, dtype)

    max = min = mean = var = prod = sum

    def argmax(self, axis: Any = None) -> "Meta":
        return self.like(self.sum(axis).shape, "int64")

    def nonzero(self) -> "tuple[Meta, ...]":
        return (self.like((0,), "int64"),) * self.ndim

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = None, dtype: Any = None, **more: Any
    ) -> Any:
        if out is not None:
            return out[0]
        if method == "reduce":
            return inputs[0].sum(more.get("axis", 0), dtype, keepdims=more.get("keepdims", False))
        shapes = [i.shape if isinstance(i, Meta) else np.shape(i) for i in inputs]
        if ufunc is np.matmul:
            a, b = shapes
            shape = (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])
        else:
            shape = np.broadcast_shapes(*shapes)
        if dtype is None:
            examples = [np.ones((1,) * max(1, i.ndim), i.dtype) if isinstance(i, Meta) else i for i in inputs]
            dtype = ufunc(*examples).dtype
        return self.like(shape, dtype)

    def __array_function__(self, function: Any, kinds: Any, arguments: Any, keywords: Any) -> Any:
        return getattr(functions, function.__name__)(*arguments, **keywords)


def _is_index(key: Any) -> bool:
    """Whether it picks elements one by one, so that the result is a copy."""
    return isinstance(key, (Meta, np.ndarray, list))


class Pinned(Meta):
    """In host memory, beside a GPU: MPI can read it, and the ledger does not count it."""


def _concatenate(parts: Sequence[Meta], axis: int = 0, out: Any = None) -> Any:
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    return out if out is not None else parts[0].like(shape)


def _split(whole: Meta, parts: int, axis: int = 0) -> list[Meta]:
    shape = list(whole.shape)
    shape[axis] //= parts
    return [whole.like(shape, base=whole) for _ in range(parts)]


def _where(condition: Meta, a: Any, b: Any) -> Meta:
    kinds = [np.ones(1, i.dtype) if isinstance(i, Meta) else i for i in (a, b)]
    return condition.like(condition.shape, np.result_type(*kinds))


functions = types.SimpleNamespace(
    **{
        **vars(np),
        "empty": Meta,
        "zeros": Meta,
        "ones": Meta,
        "asarray": lambda values: values,  # of a layout's blocks and a batch's samples one wants the numbers
        "ascontiguousarray": lambda a: a.copy(),
        "arange": lambda n: Meta((n,), "int64"),
        "sum": lambda a, *more, **named: a.sum(*more, **named),
        "max": lambda a, *more, **named: a.max(*more, **named),
        "mean": lambda a, *more, **named: a.mean(*more, **named),
        "argmax": lambda a, *more, **named: a.argmax(*more, **named),
        "dot": lambda a, b: 0.0,
        "concatenate": _concatenate,
        "split": _split,
        "where": _where,
    }
)


class Nothing:
    """Stands for CuPy, its streams, events and kernels: whatever is asked of it is done at once."""

    ndarray, ptr = Meta, 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *arguments: Any, **keywords: Any) -> "Nothing":
        return self

    def __enter__(self) -> "Nothing":
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def __getitem__(self, key: Any) -> "Nothing":
        return self

    def __add__(self, other: Any) -> "Nothing":
        return self

    __radd__ = __add__

    def __float__(self) -> float:
        return 0.0


class Silence:
    """Stands where an MPI communicator does. This rank is one of `size`, and every call is over at once."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def Allgather(self, send: Any, receive: Any) -> None:
        """Of numbers (Comm.sum): as if everybody had this rank's."""
        if isinstance(receive, np.ndarray):
            receive[...] = send

    def Allgatherv(self, send: Any, receive: Any) -> None:
        """Of reports (Comm.everyone): the same."""
        if isinstance(send, np.ndarray):
            receive[0][...] = np.resize(send, receive[0].size)

    def at_once(self, *arguments: Any, **keywords: Any) -> Complete:
        """Any other call."""
        return Complete()

    def Get_group(self) -> "Silence":
        """Its ranks."""
        return self

    def Incl(self, ranks: Sequence[int]) -> "Silence":
        """Some of its ranks, among them this one."""
        return Silence(ranks.index(self.rank), len(ranks))

    def Create_group(self, group: "Silence") -> "Silence":
        """A communicator of these ranks."""
        return group

    Reduce_scatter = Reduce_scatter_block = Iallgather = Iallgatherv = at_once
    Isend = Irecv = Sendrecv = Barrier = at_once


@contextlib.contextmanager
def dry(place: str) -> Iterator[None]:
    """In here new arrays have no numbers, and the ledger counts these alone. place: see array.place()."""
    with array.without_numbers(functions, place, Nothing(), Pinned):
        yield
