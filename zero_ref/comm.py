"""The collectives of ZeRO over MPI, on flat vectors: reduce-scatter, all-gather, and what they make.

    reduce_scatter   every rank has a full vector; rank r gets the sum of everybody's shard r
    all_gather       rank r has shard r; every rank gets the full vector
    all_reduce       is a reduce-scatter and then an all-gather, here by definition

That definition makes the four stages equal to the last bit: all of them add with the same call on
the same buffers. MPI's own Allreduce may add in another order from three ranks on.

Every call is counted in the ledger with the bytes of the direct algorithm: a rank sends all but its
own shard in a reduce-scatter, and its shard to each of the others in an all-gather. Over all ranks
together, no algorithm sends less. The ring counts what it sends itself.
Only upper-case calls of mpi4py are used; the lower-case ones pickle.
"""

import ctypes
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI

from zero_ref import array
from zero_ref.array import Array, empty
from zero_ref.launch import CleanEnd, UsageError
from zero_ref.layout import LONG, PIECE, FlatLayout
from zero_ref.ledger import ledger


class Comm:
    """All ranks, with MPI's own algorithms (`--reduce native`).

    Full vectors have shape (layout.padded,), in model order; shards (layout.counts[rank],).
    wire_like, copy: the memory in which a vector travels, and the way there and back (see array.py).
    """

    wire_like = staticmethod(array.wire_like)
    copy = staticmethod(array.copy)

    def __init__(self) -> None:
        self.mpi = MPI.COMM_WORLD
        self.rank = self.mpi.rank
        self.size = self.mpi.size
        self.others = [rank for rank in range(self.size) if rank != self.rank]
        self.step = 0  # of the training run, for messages

    def reduce_scatter(self, full: Array, layout: FlatLayout) -> Array:
        """Sum `full` over the ranks; return this rank's shard of the sum. `full` stays as it is."""
        ranked = layout.rank_order(full)
        shard = empty(layout.counts[self.rank], full.dtype, "gradient")
        send, receive = self.wire_like(ranked), self.wire_like(shard)
        self.copy(send, ranked)
        self._reduce_scatter(send, receive, layout)
        self.copy(shard, receive)
        ledger.count_sent("reduce_scatter", (layout.padded - shard.size) * shard.itemsize)
        return shard

    def all_gather(self, shard: Array, layout: FlatLayout, out: Array = None) -> Array:
        """Collect everybody's shard; return the full vector, in `out` (padded,) if it is given.

        `shard` may be a view of `out`, as `self.shard(out, layout)` is: then nothing is copied.
        """
        gathering = Gathering(shard, layout, self, out)
        sent = self._all_gather(gathering.wire, layout)
        return gathering.arrived(sent)

    def start_all_gather(self, shard: Array, layout: FlatLayout) -> "Gathering":
        """Begin an all-gather and go on; `finish_all_gather` waits for it. `shard` must not change."""
        gathering = Gathering(shard, layout, self)
        gathering.request, gathering.sent = self._start_all_gather(gathering.wire, layout)
        return gathering

    def finish_all_gather(self, gathering: "Gathering") -> Array:
        """Wait for an all-gather that was started; return the full vector, (padded,)."""
        gathering.request.Wait()
        return gathering.arrived(gathering.sent)

    def all_reduce(self, full: Array, layout: FlatLayout) -> None:
        """Sum `full` over the ranks, in place."""
        self.all_gather(self.reduce_scatter(full, layout), layout, out=full)

    def shard(self, full: Array, layout: FlatLayout) -> Array:
        """This rank's elements of a full vector; a view where the rule allows one. No message."""
        return layout.shard(full, self.rank)

    def sum(self, value: Any) -> float:
        """The sum of one number over the ranks, added in rank order: the same bits everywhere.

        value: a number, or an array () on a GPU. Here it is that Python waits for the GPU.
        """
        values = np.empty(self.size)
        self.mpi.Allgather(np.array([float(value)]), values)
        ledger.count_sent("other", 8 * (self.size - 1))
        return float(sum(values.tolist()))

    def everyone(self, value: Any) -> list[Any]:
        """Every rank's `value` (anything that JSON can hold), by rank. For reports, not for training."""
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        lengths = np.empty(self.size, np.int64)
        self.mpi.Allgather(np.array([text.size]), lengths)
        texts = np.empty(lengths.sum(), np.uint8)
        self.mpi.Allgatherv(text, [texts, lengths.tolist()])
        return [json.loads(part.tobytes()) for part in np.split(texts, np.cumsum(lengths)[:-1])]

    # What `--reduce` and `--transport` replace. All work on buffers in rank order, which wire_like() gave.

    def _reduce_scatter(self, send: Array, receive: Array, layout: FlatLayout) -> None:
        if len(set(layout.counts)) == 1:
            self.mpi.Reduce_scatter_block(send, receive)
        else:
            self.mpi.Reduce_scatter(send, receive, layout.counts)

    def _all_gather(self, wire: Array, layout: FlatLayout) -> int:
        """Fill `wire`, where this rank's own shard stands already; return the elements sent."""
        if len(set(layout.counts)) == 1:
            self.mpi.Allgather(MPI.IN_PLACE, plain(wire))
        else:
            self.mpi.Allgatherv(MPI.IN_PLACE, [plain(wire), layout.counts])
        return layout.counts[self.rank] * (self.size - 1)

    def _start_all_gather(self, wire: Array, layout: FlatLayout) -> tuple[MPI.Request, int]:
        """As _all_gather, but only begun; the wire is full when the request is complete."""
        if len(set(layout.counts)) == 1:
            request = self.mpi.Iallgather(MPI.IN_PLACE, plain(wire))
        else:
            request = self.mpi.Iallgatherv(MPI.IN_PLACE, [plain(wire), layout.counts])
        return request, layout.counts[self.rank] * (self.size - 1)


class Gathering:
    """An all-gather under way: the full vector, and the wire on which it comes, in rank order.

    layout, dtype: of the vector; request, sent: once it is started.
    """

    request: Any  # MPI.Request, or what has its Wait()
    sent: int  # elements, by this rank

    def __init__(self, shard: Array, layout: FlatLayout, comm: Comm, out: Array = None) -> None:
        self.layout, self.dtype, self.copy = layout, shard.dtype, comm.copy
        self.full = out if out is not None else empty(layout.padded, shard.dtype, "gathered")
        self.ranked = self.full if layout.blocks is None else empty(layout.padded, shard.dtype, "buffer")
        self.wire = comm.wire_like(self.ranked)
        self.copy(self.wire[layout.slice_of(comm.rank)], shard)

    def arrived(self, sent: int) -> Array:
        """The full vector, in model order, which this object gives up; `sent` elements are booked."""
        self.copy(self.ranked, self.wire)
        full, ranked = self.full, self.ranked
        self.full = self.ranked = self.wire = None  # whoever got the vector decides how long it lives
        self.layout.to_model_order(ranked, full)
        ledger.count_sent("all_gather", sent * full.itemsize)
        return full


def plain(wire: Array) -> Array:
    """The same memory as whole numbers where it holds 16-bit numbers, which MPI need not know."""
    return wire.view("uint16") if wire.itemsize == 2 else wire


class OrderedComm(Comm):
    """`--reduce ordered`: everybody's part for me comes to me, and I add the parts in rank order.

    As many bytes as any reduce-scatter; the bits of the sum depend on no MPI library. It goes piece by
    piece through one small buffer that stays in the cache. Numbers of 16 bits can only be summed like
    this: MPI would round them at every hop, and knows no bfloat16.
    """

    def _reduce_scatter(self, send: Array, receive: Array, layout: FlatLayout) -> None:
        if self.size == 1:
            receive[...] = send
            return
        piece = min(max(layout.counts), PIECE)
        parts, total = self._scratch(send, piece)
        done = 0
        for place in layout.pieces(piece):
            # Of rank r's shard, elements place[r] travel now; of a short shard, fewer or none.
            terms = self._terms(send[place[self.rank]], parts)
            self._exchange(
                {rank: send[place[rank]] for rank in self.others}, {rank: terms[rank] for rank in self.others}
            )
            done = add_up(terms, receive, done, total)

    def _scratch(self, send: Array, piece: int) -> tuple[Array, Array]:
        """Memory for a piece of everybody else, and for a sum of 16-bit numbers, which is rounded once."""
        parts = array.wire_scratch(send, (self.size - 1) * piece)
        return parts, array.wire_scratch(send, piece, "float32") if send.itemsize == 2 else None

    def _terms(self, mine: Array, parts: Array) -> list[Array]:
        """What is added up for me, by rank: my own piece, and memory as long for everybody else's."""
        piece = parts.size // (self.size - 1)
        terms = [parts[start : start + mine.size] for start in range(0, parts.size, piece)]
        return [*terms[: self.rank], mine, *terms[self.rank :]]

    def _exchange(self, going: dict[int, Array], coming: dict[int, Array]) -> None:
        """Send going[r] to rank r and receive coming[r] from it, for all others at the same time."""
        array.finish()  # on a GPU the sums of the piece before, which MPI would overwrite
        exchange(self.mpi, going, coming)


def exchange(mpi: MPI.Comm, going: dict[int, Array], coming: dict[int, Array]) -> None:
    """Send going[r] to rank r and receive coming[r] from it, all at the same time."""
    requests = [mpi.Irecv(plain(part), rank) for rank, part in coming.items()]
    requests += [mpi.Isend(plain(part), rank) for rank, part in going.items()]
    MPI.Request.Waitall(requests)


def add_up(terms: list[Array], target: Array, done: int, total: Array = None) -> int:
    """Write the sum of `terms`, in their order, into target[done:]; return how far `target` is full then.

    total: where the sum is made, if not in `target`, to be rounded once.
    """
    n = terms[0].size
    result = target[done : done + n]
    sum_of = result if total is None else total[:n]
    sum_of[...] = terms[0]
    for term in terms[1:]:
        sum_of += term
    if total is not None:
        result[...] = sum_of
    return done + n


class AutoComm(OrderedComm):
    """`--reduce auto`: MPI's own reduce-scatter, but for long vectors the exchange in rank order.

    MPICH sums long vectors in temporary arrays as long as the vector; see docs/measurements.md.
    """

    def _reduce_scatter(self, send: Array, receive: Array, layout: FlatLayout) -> None:
        kind = OrderedComm if send.nbytes >= LONG else Comm
        kind._reduce_scatter(self, send, receive, layout)


class RingComm(Comm):
    """`--reduce ring`: both collectives by hand, talking to two neighbours only.

    The ranks stand in a ring; each sends to the right and receives from the left, N - 1 times.
    """

    def _reduce_scatter(self, send: Array, receive: Array, layout: FlatLayout) -> None:
        right, left = (self.rank + 1) % self.size, (self.rank - 1) % self.size
        # Shard s starts at rank s + 1 and travels to the right; each rank adds its own part, and
        # after N - 1 hops the sum arrives at rank s. So what I send first is the shard of my left.
        largest = max(layout.counts)
        partial = array.wire_scratch(send, largest)
        incoming = array.wire_scratch(send, largest)
        going = layout.slice_of(left)
        partial[: layout.counts[left]] = send[going]
        for hop in range(1, self.size):
            goes, comes = (self.rank - hop) % self.size, (self.rank - hop - 1) % self.size
            arriving = incoming[: layout.counts[comes]]
            array.finish()
            self.mpi.Sendrecv(partial[: layout.counts[goes]], right, recvbuf=arriving, source=left)
            arriving += send[layout.slice_of(comes)]
            partial, incoming = incoming, partial
        receive[...] = partial[: layout.counts[self.rank]]

    def _all_gather(self, wire: Array, layout: FlatLayout) -> int:
        right, left = (self.rank + 1) % self.size, (self.rank - 1) % self.size
        # First I pass on my own shard, then always the one that has just arrived.
        for hop in range(self.size - 1):
            goes, comes = (self.rank - hop) % self.size, (self.rank - hop - 1) % self.size
            self.mpi.Sendrecv(
                wire[layout.slice_of(goes)], right, recvbuf=wire[layout.slice_of(comes)], source=left
            )
        return layout.padded - layout.counts[right]  # everything but what the right began with

    def _start_all_gather(self, wire: Array, layout: FlatLayout) -> tuple[MPI.Request, int]:
        return MPI.REQUEST_NULL, self._all_gather(wire, layout)  # by hand there is nobody to go on with it


def agree(comm: Comm, attempt: Callable[[], Any]) -> Any:
    """attempt() on every rank; if it raises CleanEnd on any of them, raise that on all."""
    value, problem = None, None
    try:
        value = attempt()
    except CleanEnd as error:
        problem = [error.code, str(error)]
    problems = [p for p in comm.everyone(problem) if p]
    if problems:
        code = max(code for code, _ in problems)
        text = "; ".join(dict.fromkeys(text for _, text in problems))
        raise UsageError(text) if code == UsageError.code else CleanEnd(text)
    return value


def on_rank_0(comm: Comm, action: Callable[[], None]) -> None:
    """action() on rank 0; if it raises CleanEnd, raise that on all ranks."""
    agree(comm, action if comm.rank == 0 else lambda: None)


REDUCE = {"auto": AutoComm, "native": Comm, "ordered": OrderedComm, "ring": RingComm}


def comm_for(reduce: str, dtype: str, transport: str = "mpi") -> Comm:
    """All ranks, with the sums of `--reduce`, but ordered for `dtype` of 16 bits; for the device selected."""
    ordered = reduce == "ordered" or np.dtype(dtype).itemsize == 2
    if transport == "nccl":
        from zero_ref.nccl import NcclComm

        return NcclComm(ordered)
    if array.staged() and (ordered or reduce == "auto"):
        from zero_ref.staging import StagedComm

        return StagedComm()
    return OrderedComm() if ordered else REDUCE[reduce]()


def mpi_takes_device_arrays() -> bool:
    """Whether the MPI library says that it reads GPU memory; no wheel on PyPI does (2026-11).

    The environment variable ZERO_REF_GPU_MPI (1 or 0) decides, if it is set.
    """
    if said := os.environ.get("ZERO_REF_GPU_MPI"):
        return said == "1"
    try:
        return bool(ctypes.CDLL(MPI.__file__).MPIX_Query_cuda_support())
    except (AttributeError, OSError):
        return False


def local_rank() -> int:
    """This rank's number among the ranks of its machine."""
    node = MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED)
    number = node.rank
    node.Free()
    return number
