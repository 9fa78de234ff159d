"""`--own DIR`: collectives and stages that somebody has written as exercises take the place of ours.

DIR holds files such as lessons/exercises has. Of 06_*.py and 07_*.py come ring_reduce_scatter(x, comm) and
ring_all_gather(shard, numel, comm), in which `comm` can send and receive and nothing else; of 08_*.py,
11_*.py, 12_*.py and 13_*.py the step() of stages 0 to 3.

Where these end or wait, file and line are theirs. What they make of the model is compared with what the
reference makes of it, see train/beside.py.
"""

import ast
import functools
import importlib.util
import inspect
import sys
import textwrap
import traceback
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np

from zero_ref.array import Array, on_meta, to_numpy
from zero_ref.comm import Comm
from zero_ref.launch import CleanEnd, RankEnd, UsageError
from zero_ref.layout import FlatLayout, bounds
from zero_ref.stages import STAGES

NUMBERS = {0: "08", 1: "11", 2: "12", 3: "13"}  # stage -> exercise
PREFIX = "own_"  # of the names of these modules


class Messages:
    """Arrays (n,) to and from one other rank, over MPI: all that a ring needs.

    rank, size: who I am, of how many; sent: bytes that have left this rank
    """

    def __init__(self) -> None:
        self.mpi = Comm().mpi
        self.rank, self.size, self.sent = self.mpi.rank, self.mpi.size, 0

    def send(self, x: np.ndarray, to: int) -> None:
        """Send; wait until the other has begun to receive."""
        x = np.ascontiguousarray(x)
        self.sent += x.nbytes
        self.mpi.Ssend(x, to)

    def recv(self, source: int, dtype: Any = np.float32) -> np.ndarray:
        """Wait for a vector of `dtype`; return it, (n,)."""
        from mpi4py import MPI

        status = MPI.Status()
        message = self.mpi.Mprobe(source, status=status)
        x = np.empty(status.Get_count(MPI.BYTE), np.uint8)
        message.Recv(x)
        return x.view(dtype)

    def sendrecv(self, x: np.ndarray, to: int, source: int) -> np.ndarray:
        """Send to one rank and receive from another, of the same type, at the same time."""
        x = np.ascontiguousarray(x)
        self.sent += x.nbytes
        request = self.mpi.Isend(x, to)
        arrived = self.recv(source, x.dtype)
        request.Wait()
        return arrived


CALLS_OF_MESSAGES = {call.__code__ for call in (Messages.send, Messages.recv, Messages.sendrecv)}


class OwnComm(Comm):
    """All ranks, with somebody's own ring_reduce_scatter and ring_all_gather.

    Both talk through `messages`: Messages, or what has the same three calls.
    """

    def __init__(self, messages: Any, reduce_scatter: Callable, all_gather: Callable) -> None:
        super().__init__(getattr(messages, "mpi", messages))
        self.messages = messages
        self.ring_reduce_scatter, self.ring_all_gather = reduce_scatter, all_gather

    def _reduce_scatter(self, send: Array, receive: Array, layout: FlatLayout) -> int:
        before = self._bytes_sent()
        receive[...] = self.ring_reduce_scatter(send, self.messages)
        return send.nbytes - receive.nbytes if before is None else self.messages.sent - before

    def _all_gather(self, wire: Array, layout: FlatLayout) -> int:
        before, shard = self._bytes_sent(), wire[layout.slice_of(self.rank)].copy()
        wire[...] = self.ring_all_gather(shard, layout.padded, self.messages)
        return self._to_each_other(wire, layout) if before is None else self.messages.sent - before

    def _bytes_sent(self) -> int | None:
        """What the messages have counted so far: a ring that sends too much is booked as it is. None where
        they count nothing."""
        return getattr(self.messages, "sent", None)


@functools.cache
def load_exercise(folder: str, number: str) -> ModuleType:
    """The exercise with this number in `folder`, as a module. Raises UsageError if it is not there once."""
    files = sorted(Path(folder).glob(f"{number}_*.py"))
    if len(files) != 1:
        raise UsageError(f"--own {folder}: it has {len(files)} files {number}_*.py")
    sys.path.insert(0, str(files[0].parent.resolve()))
    name = f"{PREFIX}{number}"
    spec = importlib.util.spec_from_file_location(name, files[0])
    assert spec is not None and spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"--own {files[0]}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    return module


def load_comm(folder: str) -> OwnComm:
    """All ranks, with the collectives of exercises 06 and 07."""
    found = (
        (load_exercise(folder, "06"), "ring_reduce_scatter"),
        (load_exercise(folder, "07"), "ring_all_gather"),
    )
    reduce_scatter, all_gather = (_blamed(_function(*each)) for each in found)

    def shard_of_sum(x: np.ndarray, messages: Messages) -> np.ndarray:
        wanted = bounds(x.size, [1] * messages.size)[messages.rank : messages.rank + 2]
        return _like(reduce_scatter(x, messages), wanted[1] - wanted[0], x.dtype, *found[0])

    def all_shards(shard: np.ndarray, numel: int, messages: Messages) -> np.ndarray:
        return _like(all_gather(shard, numel, messages), numel, shard.dtype, *found[1])

    return OwnComm(Messages(), shard_of_sum, all_shards)


@functools.cache
def load_stage(folder: str, number: int) -> ModuleType:
    """Stage `number` with somebody's own step(); setup() and full_param() are ours.

    trail: what each step has left on this rank, see `Trail`.
    """
    ours, theirs = STAGES[number], load_exercise(folder, NUMBERS[number])
    trail = Trail(_blamed(_function(theirs, "step")))
    theirs.__dict__.update(KEEPS=ours.KEEPS, setup=ours.setup, full_param=ours.full_param)
    theirs.__dict__.update(step=trail.step, trail=trail)
    return theirs


class Trail:
    """A step() that notes what it leaves in the parameters of this rank.

    steps: for each step the checksum of every unit's parameters
    """

    def __init__(self, step: Callable) -> None:
        self.plain, self.steps = step, list[list[int]]()

    def step(self, units: list[Any], *arguments: Any) -> Any:
        """The step; of arrays without numbers nothing is noted."""
        result = self.plain(units, *arguments)
        if not on_meta():
            self.steps.append([zlib.crc32(to_numpy(u.param).tobytes()) for u in units])
        return result


# -- where somebody's own code ends, or waits --


def _function(module: ModuleType, name: str) -> Callable:
    found = getattr(module, name, None)
    if not callable(found):
        raise UsageError(f"--own {module.__file__}: there is no function {name}")
    if (line := _unwritten(found)) is not None:
        raise UsageError(f"--own {module.__file__}:{line}: {name} is not written yet")
    return found


def _unwritten(function: Callable) -> int | None:
    """The line in which a function says that it is still to be written."""
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc and "NotImplementedError" in ast.unparse(node.exc):
            return first + node.lineno - 1
    return None


def _blamed(function: Callable) -> Callable:
    """The function; what it raises is told in one line, with the place in somebody's own file."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (CleanEnd, RankEnd, MemoryError):
            raise
        except Exception as error:
            frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
            lines = [line for _, line in traceback.walk_tb(error.__traceback__)]
            place = next((place_of(f, n) for f, n in zip(frames[::-1], lines[::-1]) if is_own(f)), "--own")
            raise RankEnd(f"{place}: {type(error).__name__}: {error}") from error

    return call


def _like(found: Any, length: int, dtype: np.dtype, module: ModuleType, name: str) -> np.ndarray:
    """What a ring has given, if it is (length,) of `dtype`; else RankEnd, as NumPy might make it fit."""
    if isinstance(found, np.ndarray) and (found.shape, found.dtype) == ((length,), dtype):
        return found
    got = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
    raise RankEnd(f"--own {module.__file__}: {name} gives {got}, and {dtype} ({length},) is wanted")


def waiting_in(frame: FrameType | None) -> str:
    """Where in a ring of somebody's own a rank is, and in which call of `comm`; "" where it is in none.

    A step's own line is told by who asks for its collectives (train/watch.py). To look at the f_locals of a
    frame keeps what is in them alive until it ends: of a step, arrays that it has deleted. So only those of
    Messages are looked at.
    """
    call = ""
    for each in _outwards(frame):
        if each.f_code in CALLS_OF_MESSAGES:
            given = [f"{name}={each.f_locals[name]}" for name in ("to", "source") if name in each.f_locals]
            call = f", in comm.{each.f_code.co_name}({', '.join(given)})"
        elif is_own(each):
            return "" if each.f_code.co_name == "step" else f"{place_of(each, each.f_lineno)}{call}"
    return ""


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def is_own(frame: FrameType) -> bool:
    """Whether a frame is in somebody's own file."""
    return str(frame.f_globals.get("__name__", "")).startswith(PREFIX)


def place_of(frame: FrameType, line: int) -> str:
    """File, line and function, for people."""
    return f"{'/'.join(Path(frame.f_code.co_filename).parts[-2:])}:{line} in {frame.f_code.co_name}"
