"""CuPy for machines without a GPU, for tests: NumPy's arrays, and a GPU's habit of doing things later.

Work goes into streams and is done there in order, but nobody knows when: now and then a stream that is
drawn at random goes on, and only streams, events and synchronisation say what comes first. So what a
program forgot to wait for is found: MPI sends what has not arrived yet, memory is used again too early.
Memory that is freed is overwritten, where its stream has come to that point.

Only what this project uses is here, as strict as CuPy is or stricter: no array of NumPy's takes part in
arithmetic, a copy needs equal shapes and types, and streams do not wait for the default stream.
ZERO_REF_PRETEND_SEED chooses another order.
"""

import contextlib
import functools
import math
import os
import random
from collections import deque

import numpy as np

__version__ = "pretended"

_luck = random.Random(int(os.environ.get("ZERO_REF_PRETEND_SEED", "0")))
_streams = []
_free = {}  # (stream, bytes) -> pieces of memory that nobody has
live_bytes = 0  # in arrays that own their memory
hooks = []
waits = 0  # how often Python has waited for the GPU


class Stream:
    """A queue of work. Work is a function, or an event that has to be reached before what follows."""

    def __init__(self, non_blocking=False):
        if not non_blocking and _streams:
            raise NotImplementedError("only streams that do not wait for the default stream")
        self.queue, self.ptr = deque(), len(_streams)
        _streams.append(self)

    def add(self, work):
        self.queue.append(work)
        if _luck.random() < 0.3:
            stream = _luck.choice(_streams)
            for _ in range(_luck.randrange(4)):
                if not stream.go_on():
                    break

    def go_on(self, whatever_it_takes=False):
        """Do the next piece of work, if it may be done by now; say whether something was done."""
        if not self.queue:
            return False
        if isinstance(self.queue[0], Mark):
            if not self.queue[0].done and not whatever_it_takes:
                return False
            self.queue.popleft().reach()
        elif getattr(self.queue[0], "waits_for_others", False) and not whatever_it_takes:
            return False
        else:
            self.queue.popleft()()
        return True

    def synchronize(self):
        global waits
        waits += 1
        while self.go_on(whatever_it_takes=True):
            pass

    def record(self, event=None):
        event = event or Event()
        event.mark = Mark(self)
        self.add(event.mark.set)
        return event

    def wait_event(self, event):
        if event.mark:
            self.add(event.mark)

    @contextlib.contextmanager
    def _current(self):
        global _now
        before, _now = _now, self
        yield
        _now = before

    def __enter__(self):
        self.inside = self._current()
        self.inside.__enter__()
        return self

    def __exit__(self, *_):
        self.inside.__exit__(None, None, None)


class Mark:
    """A place in a stream's queue."""

    def __init__(self, stream):
        self.stream, self.done = stream, False

    def set(self):
        self.done = True

    def reach(self):
        while not self.done:
            self.stream.go_on(whatever_it_takes=True)


class Event:
    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.mark = None

    def record(self, stream=None):
        (stream or _now).record(self)

    def synchronize(self):
        global waits
        waits += 1
        if self.mark:
            self.mark.reach()


Stream.null = _now = Stream()


class Memory:
    """What arrays and their views share. As in CuPy's pool, work that still waits does not keep it:
    when the last array dies, a new one of the same stream may have it at once."""

    def __init__(self, nbytes):
        global live_bytes
        self.stream = _now
        self.pieces = _free.setdefault((_now.ptr, nbytes), [])
        self.piece = self.pieces.pop() if self.pieces else np.full(nbytes, 0xA5, "uint8")
        live_bytes += nbytes
        for hook in hooks:
            hook.malloc_postprocess(device_id=0, size=nbytes, mem_size=nbytes, mem_ptr=0, pmem_id=id(self))

    def __del__(self):
        global live_bytes
        piece = self.piece
        live_bytes -= piece.nbytes
        for hook in hooks:
            hook.free_postprocess(device_id=0, mem_size=piece.nbytes, mem_ptr=0, pmem_id=id(self))
        self.stream.queue.append(lambda: piece.fill(0xA5))
        self.pieces.append(piece)


class Data:
    def __init__(self, ptr):
        self.ptr = ptr


class ndarray:
    __array_priority__ = 100
    __array_ufunc__ = None

    def __init__(self, values, memory, base=None):
        self._values, self._memory, self.base = values, memory, base

    dtype = property(lambda self: self._values.dtype)
    shape = property(lambda self: self._values.shape)
    size = property(lambda self: self._values.size)
    ndim = property(lambda self: self._values.ndim)
    nbytes = property(lambda self: self._values.nbytes)
    itemsize = property(lambda self: self._values.itemsize)
    flags = property(lambda self: self._values.flags)
    data = property(lambda self: Data(self._values.ctypes.data))
    T = property(lambda self: self._view(self._values.T))

    @property
    def __cuda_array_interface__(self):
        return self._values.__array_interface__ | {"version": 3, "stream": None}

    def _view(self, values):
        return ndarray(values, self._memory, self if self.base is None else self.base)

    def __len__(self):
        return len(self._values)

    def reshape(self, *shape):
        view = self._values.reshape(*shape)
        assert view.size == 0 or np.shares_memory(view, self._values), "a copy"
        return self._view(view)

    def view(self, dtype):
        return self._view(self._values.view(dtype))

    def transpose(self, *axes):
        return self._view(self._values.transpose(*axes))

    def __getitem__(self, place):
        places = place if isinstance(place, tuple) else (place,)
        if any(isinstance(p, ndarray) for p in places):
            return _call(lambda a, *p: a[p], (self, *places), {})
        if Ellipsis not in places:
            places = (*places, ...)  # so that one element is a view, too
        return self._view(self._values[places])

    def __setitem__(self, place, value):
        places = place if isinstance(place, tuple) else (place,)
        inner = [self, value, *places]
        _check(inner)

        def write(a, v, *p):
            a[p] = v

        _later(write, inner, {})

    def get(self, stream=None, order="C", out=None, blocking=True):
        target = np.empty(self.shape, self.dtype) if out is None else out
        if not isinstance(target, np.ndarray) or target.dtype != self.dtype:
            raise TypeError(f"{target.dtype} array cannot be obtained from {self.dtype} array")
        if target.shape != self.shape:
            raise ValueError("Shape mismatch")
        if not (target.flags.c_contiguous and self.flags.c_contiguous) and out is not None:
            raise RuntimeError("not contiguous")
        stream = stream or _now
        target.reshape(-1).view("uint8").fill(0x5A)  # until it has arrived
        source = self._values
        stream.add(lambda: np.copyto(target, source))
        if blocking:
            stream.synchronize()
        return target

    def set(self, values, stream=None):
        if not isinstance(values, np.ndarray) or values.dtype != self.dtype:
            raise TypeError(f"{values.dtype} array cannot be set to {self.dtype} array")
        if values.shape != self.shape:
            raise ValueError("Shape mismatch")
        if not self.flags.c_contiguous:
            raise RuntimeError("Cannot set to non-contiguous array")
        if not _is_pinned(values):  # goes through a buffer of the driver's
            values = values.copy()
        target = self._values
        (stream or _now).add(lambda: np.copyto(target, values))

    def fill(self, value):
        _later(lambda a: a.fill(value), (self,), {})

    def copy(self):
        return _call(np.copy, (self,), {})

    def astype(self, dtype, copy=True):
        if not copy and self.dtype == dtype:
            return self
        return _call(lambda a: a.astype(dtype), (self,), {})

    def item(self):
        Stream.synchronize(_now)
        return self._values.item()

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __bool__(self):
        return bool(self.item())

    __index__ = None

    def nonzero(self):
        Stream.synchronize(_now)
        return tuple(map(asarray, self._values.nonzero()))

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    def __iter__(self):
        raise NotImplementedError("element by element")


def _check(arguments):
    for a in arguments:
        if isinstance(a, np.ndarray):
            raise TypeError(f"Unsupported type {type(a)}")


def _inner(a):
    return a._values if isinstance(a, ndarray) else a


def _later(function, arguments, keywords):
    """Queue function(*arguments, **keywords) on the current stream."""
    values, named = [_inner(a) for a in arguments], {k: _inner(v) for k, v in keywords.items()}

    def work():
        with np.errstate(all="ignore"):
            function(*values, **named)

    _now.add(work)


def _new(shape, dtype):
    dtype, shape = np.dtype(dtype), (shape,) if isinstance(shape, int) else tuple(shape)
    memory = Memory(math.prod(shape) * dtype.itemsize)
    return ndarray(memory.piece.view(dtype).reshape(shape), memory)


def _call(function, arguments, keywords):
    """A function of NumPy's, some time later; its result now, for which its shape is found with zeros."""
    _check((*arguments, *keywords.values()))
    out = keywords.pop("out", None)
    if out is None:
        zero = [np.zeros(a.shape, a.dtype) if isinstance(a, ndarray) else a for a in arguments]
        with np.errstate(all="ignore"):
            like = np.asarray(function(*zero, **keywords))
        out = _new(like.shape, like.dtype)

    def write(target, *values, **named):
        target[...] = function(*values, **named)

    _later(write, (out, *arguments), keywords)
    return out


def _function(name):
    function = getattr(np, name)

    @functools.wraps(function)
    def call(*arguments, **keywords):
        return _call(function, arguments, keywords)

    return call


for _name in (
    *("matmul", "dot", "add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "square"),
    *("sqrt", "exp", "log", "tanh", "negative", "abs", "invert", "isfinite", "sum", "max", "min", "argmax"),
    *("mean", "where", "rint"),
    *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
    *("bitwise_and", "bitwise_or", "left_shift", "right_shift"),
):
    globals()[_name] = _function(_name)


def _method(name, reverse=False, in_place=False):
    function = globals()[name]

    def method(self, *others, **keywords):
        if in_place:
            return function(self, *others, out=self)
        return function(*others, self) if reverse else function(self, *others, **keywords)

    return method


for _operator, _name in dict(
    add="add",
    sub="subtract",
    mul="multiply",
    truediv="divide",
    pow="power",
    matmul="matmul",
    **{"and": "bitwise_and", "or": "bitwise_or", "lshift": "left_shift", "rshift": "right_shift"},
).items():
    setattr(ndarray, f"__{_operator}__", _method(_name))
    setattr(ndarray, f"__r{_operator}__", _method(_name, reverse=True))
    setattr(ndarray, f"__i{_operator}__", _method(_name, in_place=True))
for _operator, _name in dict(
    eq="equal", ne="not_equal", lt="less", le="less_equal", gt="greater", ge="greater_equal"
).items():
    setattr(ndarray, f"__{_operator}__", _method(_name))
for _operator, _name in dict(neg="negative", abs="abs", invert="invert").items():
    setattr(ndarray, f"__{_operator}__", _method(_name))
for _name in ("sum", "max", "min", "mean", "argmax"):
    setattr(ndarray, _name, _method(_name))
ndarray.__hash__ = object.__hash__


def empty(shape, dtype=float):
    return _new(shape, dtype)


def zeros(shape, dtype=float):
    made = _new(shape, dtype)
    made.fill(0)
    return made


def asarray(values):
    if isinstance(values, ndarray):
        return values
    values = np.ascontiguousarray(values)
    made = _new(values.shape, values.dtype)
    made.set(values)
    return made


def arange(*arguments, **keywords):
    return asarray(np.arange(*arguments, **keywords))


def asnumpy(a):
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


pinned = {}  # address -> bytes, of host memory that a GPU can read while Python goes on


def _is_pinned(values):
    start = values.ctypes.data
    return any(a <= start and start + values.nbytes <= a + n for a, n in pinned.items())


def _statements(text, names):
    """Run lines such as "T g = a * b;" with arrays as names: as Python, where `T x` begins a new name."""
    for line in filter(None, map(str.strip, text.split(";"))):
        kind, _, rest = line.partition(" ")
        exec(rest if kind in ("T", "double") else line, names)


def _parameters(text):
    return [part.split()[-1] for part in text.split(",")]


class ElementwiseKernel:
    """Runs kernels whose lines are Python, too: = += -= *= with + - * / and sqrt(), T(x)."""

    def __init__(self, in_params, out_params, operation, name="kernel", options=(), no_return=False):
        self.inputs, self.outputs = _parameters(in_params), _parameters(out_params)
        self.operation = operation
        types = {part.split()[-1]: part.split()[0] for part in (in_params + "," + out_params).split(",")}
        self.scalars = [name for name in self.inputs if types[name] == "T"]

    def __call__(self, *arguments):
        _check(arguments)
        names = self.inputs + self.outputs
        assert len(arguments) == len(names), "arguments do not fit the kernel"
        dtype = arguments[-1].dtype

        def run(*values):
            scope = dict(zip(names, values)) | {"sqrt": np.sqrt, "T": lambda a: np.asarray(a).astype(dtype)}
            for name in self.scalars:
                if not isinstance(scope[name], np.ndarray):
                    scope[name] = dtype.type(scope[name])
            before = {name: scope[name] for name in self.outputs}
            _statements(self.operation, scope)
            for name in self.outputs:  # "p = ..." rather than "p -= ..." made a new array
                if scope[name] is not before[name]:
                    before[name][...] = scope[name]

        _later(run, arguments, {})


class ReductionKernel:
    """Of one array to one number: a map that is Python, too, and a sum."""

    def __init__(self, in_params, out_params, map_expr, reduce_expr, post_map_expr, identity, name="kernel"):
        assert (reduce_expr, identity) == ("a + b", "0")
        self.map, (self.input,), kind = map_expr, _parameters(in_params), out_params.split()[0]
        self.dtype = {"float64": np.float64}[kind]

    def __call__(self, a):
        scope = {"double": np.float64}
        return _call(
            lambda v: np.asarray(eval(self.map, scope, {self.input: v}).sum(dtype=self.dtype)), (a,), {}
        )


class _Pool:
    def used_bytes(self):
        return live_bytes

    total_bytes = used_bytes


def get_default_memory_pool():
    return _Pool()


from cupy import cuda  # noqa: E402, F401
