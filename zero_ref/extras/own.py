"""`--own DIR`: collectives and stages that somebody has written as exercises take the place of ours.

DIR holds files such as lessons/exercises has. Of 06_*.py and 07_*.py come ring_reduce_scatter(x, comm) and
ring_all_gather(shard, numel, comm), in which `comm` can send and receive and nothing else; of 08_*.py,
11_*.py, 12_*.py and 13_*.py the step() of stages 0 to 3.
"""

import functools
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from zero_ref.array import Array
from zero_ref.comm import Comm
from zero_ref.launch import UsageError
from zero_ref.layout import FlatLayout
from zero_ref.stages import STAGES

NUMBERS = {0: "08", 1: "11", 2: "12", 3: "13"}  # stage -> exercise


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
    name = f"own_{number}"
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
    reduce_scatter, all_gather = load_exercise(folder, "06"), load_exercise(folder, "07")
    return OwnComm(
        Messages(),
        _function(reduce_scatter, "ring_reduce_scatter"),
        _function(all_gather, "ring_all_gather"),
    )


def load_stage(folder: str, number: int) -> ModuleType:
    """Stage `number` with somebody's own step(); setup() and full_param() are ours."""
    ours, theirs = STAGES[number], load_exercise(folder, NUMBERS[number])
    _function(theirs, "step")
    theirs.__dict__.update(KEEPS=ours.KEEPS, setup=ours.setup, full_param=ours.full_param)
    return theirs


def _function(module: ModuleType, name: str) -> Callable:
    found = getattr(module, name, None)
    if not callable(found):
        raise UsageError(f"--own {module.__file__}: there is no function {name}")
    if getattr(found, "__code__", None) and found.__code__.co_names == ("NotImplementedError",):
        raise UsageError(f"--own {module.__file__}: {name} is not written yet")
    return found
