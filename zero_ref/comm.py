"""The collectives of ZeRO over MPI, on flat vectors: reduce-scatter, all-gather, and what they make.

    reduce_scatter   every rank has a full vector; rank r gets the sum of everybody's shard r
    all_gather       rank r has shard r; every rank gets the full vector
    all_reduce       is a reduce-scatter and then an all-gather, here by definition

That definition makes the four stages equal to the last bit: all of them add with the same call on
the same buffers. MPI's own Allreduce may add in another order from three ranks on.

Every call is counted in the ledger with the bytes that its algorithm sends. In the direct one a rank
sends all but its own shard in a reduce-scatter, and its shard to each of the others in an all-gather.
Only upper-case calls of mpi4py are used; the lower-case ones pickle. Importing this does not start MPI.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from zero_ref import array
from zero_ref.array import Array, empty
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger

if TYPE_CHECKING:
    from mpi4py import MPI

# How a reduce-scatter takes a full vector; what is measured of both is in docs/measurements.md.
LONG = 1 << 22  # bytes from which on AutoComm exchanges pieces in place of MPI's own algorithm
PIECE = 1 << 18  # elements of every rank's shard that travel at a time then

UNDER_WAY: set[Any] = set()  # begun and not finished: MPI reads and writes its memory, even after an error
IN_PLACE = None  # what mpi4py takes for MPI.IN_PLACE: this rank's part lies where the result will be


class Call(NamedTuple):
    """What a collective is called with, and no array: an observer must keep none alive."""

    name: str
    layout: FlatLayout | None  # of the vector, where it is about one
    dtype: np.dtype | None


def call_of(name: str, arguments: tuple[Any, ...]) -> Call:
    """The call of a collective with these arguments."""
    if name in ("sum", "everyone"):
        return Call(name, None, None)
    if len(arguments) == 1:  # what has been begun knows what it is about
        return Call(name, arguments[0].layout, arguments[0].dtype)
    return Call(name, arguments[1], arguments[0].dtype)


def observed(collective: Callable[..., Any]) -> Callable[..., Any]:
    """A method of Comm that tells the Comm's observers of each call, before and after it."""

    @functools.wraps(collective)
    def tell_and_call(self: Comm, *arguments: Any, **keywords: Any) -> Any:
        call = call_of(collective.__name__, arguments) if self.observers else None
        for observer in self.observers:
            observer.before(call)
        result = collective(self, *arguments, **keywords)
        for observer in reversed(self.observers):
            observer.after(call)
        return result

    return tell_and_call


class Comm:
    """Ranks that talk to one another, with MPI's own algorithms (`--reduce native`).

    mpi: their communicator; without it, all ranks of the program, and MPI is started if nobody has.
    Full vectors have shape (layout.padded,), in model order; shards (layout.counts[rank],).
    observers: what has before(call) and after(call) is told of every call, see `observed`.
    """

    def __init__(self, mpi: Any = None) -> None:
        if mpi is None:
            from mpi4py import MPI

            mpi = MPI.COMM_WORLD
        self.mpi, self.rank, self.size = mpi, int(mpi.rank), int(mpi.size)
        self.others = [rank for rank in range(self.size) if rank != self.rank]
        self.observers: list[Any] = []
        self.step = 0  # of the training run, for messages

    @observed
    def reduce_scatter(self, full: Array, layout: FlatLayout) -> Array:
        """Sum `full` over the ranks; return this rank's shard of the sum. `full` stays as it is."""
        ranked = layout.rank_order(full)
        shard = empty(layout.counts[self.rank], full.dtype, "gradient")
        send, receive = self.wire_like(ranked, layout), self.wire_like(shard, layout)
        self.encode(send, ranked)
        sent = self._reduce_scatter(send, receive, layout)
        self.decode(shard, receive, layout)
        ledger.count_sent("reduce_scatter", sent)
        return shard

    @observed
    def all_gather(self, shard: Array, layout: FlatLayout, out: Array = None) -> Array:
        """Collect everybody's shard; return the full vector, in `out` (padded,) if it is given.

        `shard` may be a view of `out`, as `self.shard(out, layout)` is: then nothing is copied.
        """
        gathering = Gathering(shard, layout, self, out)
        sent = self._all_gather(gathering.wire, gathering.wire_layout)
        return gathering.finish(sent)

    @observed
    def start_all_gather(self, shard: Array, layout: FlatLayout) -> Gathering:
        """Begin an all-gather and go on; `finish_all_gather` waits for it. `shard` must not change."""
        gathering = Gathering(shard, layout, self)
        UNDER_WAY.add(gathering)
        gathering.request, gathering.sent = self._start_all_gather(gathering.wire, gathering.wire_layout)
        return gathering

    @observed
    def finish_all_gather(self, gathering: Gathering) -> Array:
        """Wait for an all-gather that was started; return the full vector, (padded,)."""
        gathering.request.Wait()
        UNDER_WAY.discard(gathering)
        return gathering.finish(gathering.sent)

    def all_reduce(self, full: Array, layout: FlatLayout) -> None:
        """Sum `full` over the ranks, in place."""
        self.all_gather(self.reduce_scatter(full, layout), layout, out=full)

    def shard(self, full: Array, layout: FlatLayout) -> Array:
        """This rank's elements of a full vector; a view where the rule allows one. No message."""
        return layout.shard(full, self.rank)

    @observed
    def sum(self, value: Any) -> float:
        """The sum of one number over the ranks, added in rank order: the same bits everywhere.

        value: a number, or an array () on a GPU. Here it is that Python waits for the GPU.
        """
        values = np.empty(self.size)
        self.mpi.Allgather(np.array([float(value)]), values)
        ledger.count_sent("other", 8 * (self.size - 1))
        return float(sum(values.tolist()))

    @observed
    def everyone(self, value: Any) -> list[Any]:
        """Every rank's `value` (anything that JSON can hold), by rank. For reports, not for training."""
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        lengths = np.empty(self.size, np.int64)
        self.mpi.Allgather(np.array([text.size]), lengths)
        texts = np.empty(lengths.sum(), np.uint8)
        self.mpi.Allgatherv(text, [texts, lengths.tolist()])
        return [json.loads(part.tobytes()) for part in np.split(texts, np.cumsum(lengths)[:-1])]

    # How a vector travels. Here as it is, also on a GPU (see array.py); who sends codes replaces these.

    def wire_layout(self, layout: FlatLayout) -> FlatLayout:
        """The layout of what travels in an all-gather of a vector with this `layout`."""
        return layout

    def wire_like(self, vector: Array, layout: FlatLayout) -> Array:
        """Memory for a vector in rank order, or for a shard, while it travels. layout: of the wire."""
        return array.wire_like(vector)

    def encode(self, wire: Array, vector: Array) -> None:
        """Put a vector, or a shard, on its wire."""
        array.copy(wire, vector)

    def decode(self, vector: Array, wire: Array, layout: FlatLayout) -> None:
        """Take a vector, or a shard, from its wire."""
        array.copy(vector, wire)

    # What `--reduce` and `--transport` replace. All work on wires, and return the bytes that this rank sends.

    def _reduce_scatter(self, send: Array, receive: Array, layout: FlatLayout) -> int:
        if len(set(layout.counts)) == 1:
            self.mpi.Reduce_scatter_block(send, receive)
        else:
            self.mpi.Reduce_scatter(send, receive, layout.counts)
        return send.nbytes - receive.nbytes

    def _all_gather(self, wire: Array, layout: FlatLayout) -> int:
        """Fill `wire`, where this rank's own shard stands already."""
        if len(set(layout.counts)) == 1:
            self.mpi.Allgather(IN_PLACE, plain(wire))
        else:
            self.mpi.Allgatherv(IN_PLACE, [plain(wire), layout.counts])
        return self._to_each_other(wire, layout)

    def _start_all_gather(self, wire: Array, layout: FlatLayout) -> tuple[Any, int]:
        """As _all_gather, but only begun; the wire is full when the request is complete."""
        if len(set(layout.counts)) == 1:
            request = self.mpi.Iallgather(IN_PLACE, plain(wire))
        else:
            request = self.mpi.Iallgatherv(IN_PLACE, [plain(wire), layout.counts])
        return request, self._to_each_other(wire, layout)

    def _to_each_other(self, wire: Array, layout: FlatLayout) -> int:
        """Bytes of this rank's shard, sent to each of the others."""
        return layout.counts[self.rank] * wire.itemsize * len(self.others)


class Gathering:
    """An all-gather under way: the full vector, and the wire on which it comes, in rank order.

    layout, dtype: of the vector; wire_layout: of the wire; request, sent: once it is started.
    """

    request: Any  # MPI.Request, or what has its Wait()
    sent: int  # bytes, by this rank

    def __init__(self, shard: Array, layout: FlatLayout, comm: Comm, out: Array = None) -> None:
        self.comm, self.layout, self.dtype = comm, layout, shard.dtype
        self.full = out if out is not None else empty(layout.padded, shard.dtype, "gathered")
        self.ranked = self.full if layout.blocks is None else empty(layout.padded, shard.dtype, "buffer")
        self.wire_layout = comm.wire_layout(layout)
        self.wire = comm.wire_like(self.ranked, self.wire_layout)
        comm.encode(self.wire[self.wire_layout.slice_of(comm.rank)], shard)

    def finish(self, sent: int) -> Array:
        """The full vector, in model order, which this object gives up; `sent` bytes are booked."""
        self.comm.decode(self.ranked, self.wire, self.layout)
        full, ranked = self.full, self.ranked
        self.full = self.ranked = self.wire = None  # whoever got the vector decides how long it lives
        self.layout.to_model_order(ranked, full)
        ledger.count_sent("all_gather", sent)
        return full


class Complete:
    """Stands for the request of a call that is over when it returns."""

    def Wait(self) -> None: ...


def plain(wire: Array) -> Array:
    """The same memory as whole numbers where it holds 16-bit numbers, which MPI need not know."""
    return wire.view("uint16") if wire.itemsize == 2 else wire


class OrderedComm(Comm):
    """`--reduce ordered`: everybody's part for me comes to me, and I add the parts in rank order.

    The bits of the sum depend on no MPI library. It goes piece by piece through one small buffer. Numbers
    of 16 bits can only be summed like this: MPI would round them at every hop, and knows no bfloat16.
    """

    def _reduce_scatter(self, send: Array, receive: Array, layout: FlatLayout) -> int:
        if self.size == 1:
            receive[...] = send
            return 0
        piece = min(max(layout.counts), PIECE)
        parts, total = self._scratch(send, piece)
        done = 0
        for place in layout.pieces(piece):
            # Of rank r's shard, elements place[r] travel now; of a short shard, fewer or none.
            terms = self._terms(send[place[self.rank]], parts)
            going = {rank: send[place[rank]] for rank in self.others}
            self._exchange(going, {rank: terms[rank] for rank in self.others})
            done = add_up(terms, receive, done, total)
        return send.nbytes - receive.nbytes

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
    for request in requests:
        request.Wait()


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

    def _reduce_scatter(self, send: Array, receive: Array, layout: FlatLayout) -> int:
        kind = OrderedComm if send.nbytes >= LONG else Comm
        return kind._reduce_scatter(self, send, receive, layout)


class RingComm(Comm):
    """`--reduce ring`: by hand, N - 1 times. A rank sends to its right and receives from its left alone."""

    def _reduce_scatter(self, send: Array, receive: Array, layout: FlatLayout) -> int:
        right, left = (self.rank + 1) % self.size, (self.rank - 1) % self.size
        # Shard s starts at rank s + 1 and travels to the right; each rank adds its own part, and
        # after N - 1 hops the sum arrives at rank s. So what I send first is the shard of my left.
        partial, incoming = (array.wire_scratch(send, max(layout.counts)) for _ in range(2))
        partial[: layout.counts[left]] = send[layout.slice_of(left)]
        for hop in range(1, self.size):
            goes, comes = (self.rank - hop) % self.size, (self.rank - hop - 1) % self.size
            arriving = incoming[: layout.counts[comes]]
            array.finish()
            self.mpi.Sendrecv(partial[: layout.counts[goes]], right, recvbuf=arriving, source=left)
            arriving += send[layout.slice_of(comes)]
            partial, incoming = incoming, partial
        receive[...] = partial[: layout.counts[self.rank]]
        return send.nbytes - receive.nbytes  # every shard but my own has gone through my hands once

    def _all_gather(self, wire: Array, layout: FlatLayout) -> int:
        right, left = (self.rank + 1) % self.size, (self.rank - 1) % self.size
        # First I pass on my own shard, then always the one that has just arrived.
        for hop in range(self.size - 1):
            goes, comes = (self.rank - hop) % self.size, (self.rank - hop - 1) % self.size
            arriving = wire[layout.slice_of(comes)]
            self.mpi.Sendrecv(wire[layout.slice_of(goes)], right, recvbuf=arriving, source=left)
        return wire.nbytes - layout.counts[right] * wire.itemsize  # everything but what the right began with

    def _start_all_gather(self, wire: Array, layout: FlatLayout) -> tuple[Complete, int]:
        return Complete(), self._all_gather(wire, layout)  # by hand there is nobody to go on with it


REDUCE: dict[str, type[Comm]] = {"auto": AutoComm, "native": Comm, "ordered": OrderedComm, "ring": RingComm}
