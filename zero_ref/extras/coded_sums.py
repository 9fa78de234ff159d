"""`--code-gradients`: a reduce-scatter in codes and two hops (qgZ of ZeRO++, see zeropp.py).

With --overlap the hop inside the machine is begun by one call and finished by another, while a unit computes;
the hop between machines follows at once.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from zero_ref import array
from zero_ref.array import Array, empty
from zero_ref.comm import UNDER_WAY, Comm, observed
from zero_ref.extras.codes import Code
from zero_ref.extras.feedback import Feedback
from zero_ref.extras.machines import Machines
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger


class CodedReduce(Machines):
    """qgZ: what is reduced travels as codes of `gradients`, inside the machine and then between machines.

    feedback: remembers what the codes have lost, to be sent the next time (see extras/feedback.py).
    """

    gradients: Code
    feedback: Feedback | None

    def reduce_scatter(self, full: Array, layout: FlatLayout) -> Array:
        """Sum `full` over the ranks; return this rank's shard of the sum."""
        sums = self.reduce_inside(full, layout)
        return self.shard_of(sums, layout, full.dtype)

    @observed
    def start_reduce_scatter(self, full: Array, layout: FlatLayout) -> "Hop":
        """Begin the hop inside the machine and go on; `full` must not change until it is finished."""
        hop = self.hop_inside(full, layout)
        UNDER_WAY.add(hop)
        return hop

    def finish_reduce_scatter(self, hop: "Hop") -> Array:
        """Wait for it, and make the hop between machines; return this rank's shard of the sum."""
        layout, dtype = hop.layout, hop.dtype
        return self.shard_of(self.await_reduce_inside(hop), layout, dtype)

    @observed
    def reduce_inside(self, full: Array, layout: FlatLayout) -> list[Array]:
        """Whoever stands at place p of my machine gets the shards of all that stand at p, summed."""
        return self.hop_inside(full, layout).finish()

    @observed
    def await_reduce_inside(self, hop: "Hop") -> list[Array]:
        """The same, where it has begun."""
        sums = hop.finish()
        UNDER_WAY.discard(hop)
        return sums

    def hop_inside(self, full: Array, layout: FlatLayout) -> "Hop":
        owed = self.owed(layout)
        to_place = self.by_place(layout.rank_order(full), layout)
        owed_to = None if owed is None else self.by_place(owed, layout)
        return Hop(self, self.inside, to_place, owed_to, layout)

    @observed
    def reduce_between(self, own: Array, layout: FlatLayout, sums: Sequence[Array]) -> Array:
        """My machine's sum of each shard goes to its owner. own: that of mine."""
        owed = self.owed(layout)
        owners = range(self.place, self.size, self.near)
        owed_to = None if owed is None else [[owed[layout.slice_of(rank)]] for rank in owners]
        return Hop(self, self.between, [[part] for part in sums], owed_to, layout).finish(between=True)[0]

    def shard_of(self, sums: list[Array], layout: FlatLayout, dtype: np.dtype) -> Array:
        shard = empty(layout.counts[self.rank], dtype, "gradient")
        shard[...] = self.reduce_between(sums[self.machine], layout, sums)
        return shard

    def by_place(self, ranked: Array, layout: FlatLayout) -> list[list[Array]]:
        """By place in a machine, the shards of all ranks that stand there."""
        return [
            [ranked[layout.slice_of(rank)] for rank in range(place, self.size, self.near)]
            for place in range(self.near)
        ]

    def owed(self, layout: FlatLayout) -> Array | None:
        """What the codes of this unit's gradient have lost, in rank order; None where nobody remembers."""
        return self.feedback.of(layout, self.step) if self.feedback else None


class Hop:
    """Parts that ranks send each other as codes, and the sums of what comes: of each of parts[own] one.

    parts[r] go to rank r of `comm`; owed: what is owed of each of them, if it is remembered. The sums are of
    float32 (of float64 for such), made in the order of ranks; this rank's own part is not rounded.
    """

    parts: Any
    going: Any
    coming: Any
    requests: Any

    def __init__(
        self, by: CodedReduce, comm: Comm, parts: Sequence[list[Array]], owed: Any, layout: FlatLayout
    ) -> None:
        self.code, self.comm = by.gradients, comm
        self.feedback: Any = by.feedback
        self.layout, self.parts, self.dtype = layout, parts, parts[comm.rank][0].dtype
        self.sizes = [self.code.nbytes(part.size) for part in parts[comm.rank]]
        self.going = {rank: self.coded(parts[rank], owed and owed[rank]) for rank in comm.others}
        size = sum(self.sizes)
        self.coming = {rank: array.wire_like(empty(size, "uint8", "buffer")) for rank in comm.others}
        array.finish()
        self.requests = [comm.mpi.Irecv(wire, rank) for rank, wire in self.coming.items()]
        self.requests += [comm.mpi.Isend(wire, rank) for rank, wire in self.going.items()]

    def finish(self, between: bool = False) -> list[Array]:
        """Wait for what comes, and add it up."""
        mine, comm = self.parts[self.comm.rank], self.comm
        if comm.size == 1:
            self.parts = None
            return mine
        for request in self.requests:
            request.Wait()
        ledger.count_sent("reduce_scatter", sum(part.size for part in self.going.values()), between=between)
        sums = [empty(part.size, max(part.dtype, "float32", key=_size), "buffer") for part in mine]
        for rank in range(comm.size):
            start = 0
            for own, total, size in zip(mine, sums, self.sizes):
                arrived = None if rank == comm.rank else self.coming[rank][start : start + size]
                term = own if arrived is None else self.decoded(arrived, own.size)
                if rank == 0:
                    total[...] = term
                else:
                    total += term
                start += size
        self.parts = self.going = self.coming = self.requests = None  # though the stage has this yet
        return sums

    def coded(self, parts: Sequence[Array], owed: Any) -> Array:
        """The codes of some vectors, one after another, where MPI can read them."""
        sizes = [self.code.nbytes(part.size) for part in parts]
        codes, start = empty(sum(sizes), "uint8", "buffer"), 0
        for part, lost, size in zip(parts, owed or [None] * len(parts), sizes):
            piece = codes[start : start + size]
            if lost is None:
                self.code.encode(part, piece)
            else:
                self.feedback.encode(self.code, part, lost, piece)
            start += size
        wire = array.wire_like(codes)
        array.copy(wire, codes)
        return wire

    def decoded(self, wire: Array, n: int) -> Array:
        """The n numbers of codes that have arrived."""
        codes = empty(wire.size, "uint8", "buffer") if array.staged() else wire
        array.copy(codes, wire)
        part = empty(n, "float32", "buffer")
        self.code.decode(codes, part)
        return part


def _size(dtype: Any) -> int:
    return np.dtype(dtype).itemsize
