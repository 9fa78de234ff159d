"""`--transport nccl`: the collectives from GPU to GPU, through NCCL. Every rank has a GPU of its own.

The calls are the same and the ledger counts the same bytes. MPI is left with what is not a vector: the
sum of one number, reports, and telling everybody where to meet. Once the ranks have met, Python waits for
nothing here: NCCL's work stands in line on the GPU like any other.
"""

import functools
from typing import Any

import numpy as np

from zero_ref.array import Array, cuda, on_meta
from zero_ref.comm import Comm
from zero_ref.extras.device import DeviceComm
from zero_ref.layout import FlatLayout


def library() -> Any:
    """CuPy's way to NCCL."""
    if on_meta():
        return cuda().nccl
    from cupy.cuda import nccl

    return nccl


@functools.cache
def communicator() -> Any:
    """NCCL's communicator of all ranks: one a process, as its end is a thing that all ranks do together."""
    world, nccl = Comm(), library()
    key = np.frombuffer(nccl.get_unique_id() if world.rank == 0 else bytes(128), np.uint8).copy()
    world.mpi.Bcast(key)
    return nccl.NcclCommunicator(world.size, key.tobytes(), world.rank)


class NcclComm(DeviceComm):
    """All ranks, one a GPU. ordered: sums in rank order, not NCCL's own.

    NCCL reduces equal shards only, and would round 16-bit numbers at every hop; all else goes in pieces
    that are exchanged and added in rank order.
    """

    def __init__(self, mpi: Any = None, ordered: bool = False) -> None:
        super().__init__(mpi)
        self.ordered = ordered
        self.beside = cuda().Stream(non_blocking=True)  # for what travels while a unit computes

    @property
    def nccl(self) -> Any:
        """NCCL's ranks. They meet in the first collective, which is watched as any other."""
        return library() if on_meta() else communicator()

    def _reduce_scatter(self, send: Array, receive: Array, layout: FlatLayout) -> int:
        if self.ordered or len(set(layout.counts)) > 1:
            return super()._reduce_scatter(send, receive, layout)
        nccl = library()
        kind = {4: nccl.NCCL_FLOAT32, 8: nccl.NCCL_FLOAT64}[send.itemsize]
        stream = cuda().get_current_stream().ptr
        self.nccl.reduceScatter(send.data.ptr, receive.data.ptr, receive.size, kind, nccl.NCCL_SUM, stream)
        return send.nbytes - receive.nbytes

    def _all_gather(self, wire: Array, layout: FlatLayout) -> int:
        own = wire[layout.slice_of(self.rank)]
        if len(set(layout.counts)) == 1:
            stream = cuda().get_current_stream().ptr
            self.nccl.allGather(own.data.ptr, wire.data.ptr, own.nbytes, library().NCCL_UINT8, stream)
        else:
            places = {rank: wire[layout.slice_of(rank)] for rank in self.others}
            self._exchange(dict.fromkeys(self.others, own), places)
        return self._to_each_other(wire, layout)

    def _start_all_gather(self, wire: Array, layout: FlatLayout) -> tuple[Any, int]:
        self.beside.wait_event(cuda().get_current_stream().record())
        with self.beside:
            sent = self._all_gather(wire, layout)
        return GatheringBeside(self.beside.record()), sent

    def _exchange(self, going: dict[int, Array], coming: dict[int, Array]) -> None:
        """Send going[r] to rank r and receive coming[r] from it, for all others at the same time."""
        stream, nccl = cuda().get_current_stream().ptr, library()
        nccl.groupStart()
        for call, parts in ((self.nccl.send, going), (self.nccl.recv, coming)):
            for rank, part in parts.items():
                if part.size:
                    call(part.data.ptr, part.nbytes, nccl.NCCL_UINT8, rank, stream)
        nccl.groupEnd()


class GatheringBeside:
    """An all-gather under way on a stream of its own."""

    def __init__(self, done: Any) -> None:
        self.done = done  # the event of its end

    def Wait(self) -> None:
        """What is computed from now on comes after it."""
        cuda().get_current_stream().wait_event(self.done)
