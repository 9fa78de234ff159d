"""`--overlap`: a reduce-scatter that one call begins and another finishes, while a unit computes in between.

Every rank sends its parts of a gradient at once, and goes on. Everybody's parts of its own shard come beside
that, and are added in rank order when they are asked for: the bits are those of `--reduce ordered`.

                   Comm.reduce_scatter          begun and finished
    alive          one unit's whole gradient    two: one on its way, one that a unit computes
                   pieces of others' parts      others' parts of one shard, (N - 1)/N psi
    sent           (N - 1)/N psi                the same

What is on its way MPI reads and writes until it is finished: nobody may change the gradient, and it must not
be freed, whatever happens in between (`UNDER_WAY` of comm.py).
"""

from typing import Any

from zero_ref import array
from zero_ref.array import Array, empty
from zero_ref.comm import PIECE, UNDER_WAY, OrderedComm, add_up, observed, plain
from zero_ref.extras.groups import Groups
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger


class Reducing:
    """A reduce-scatter under way: the gradient, and by rank everybody's part of this rank's shard.

    layout, dtype: of the gradient; requests: MPI's, one for each part that leaves or comes.
    """

    ranked: Any
    terms: Any
    requests: Any

    def __init__(self, full: Array, layout: FlatLayout, comm: OrderedComm) -> None:
        self.layout, self.dtype = layout, full.dtype
        self.ranked = layout.rank_order(full)
        own = layout.counts[comm.rank]
        parts = array.wire_scratch(self.ranked, own * len(comm.others))
        self.terms = [parts[i * own : (i + 1) * own] for i in range(len(comm.others))]
        self.terms.insert(comm.rank, self.ranked[layout.slice_of(comm.rank)])
        UNDER_WAY.add(self)
        self.requests = [comm.mpi.Irecv(plain(self.terms[rank]), rank) for rank in comm.others]
        for rank in comm.others:
            self.requests.append(comm.mpi.Isend(plain(self.ranked[layout.slice_of(rank)]), rank))

    def finish(self, rank: int) -> Array:
        """Wait for all parts; return the shard of `rank`, this one, of the sum. Nothing else is kept."""
        for request in self.requests:
            request.Wait()
        UNDER_WAY.discard(self)
        shard = empty(self.layout.counts[rank], self.dtype, "gradient")
        total = empty(min(shard.size, PIECE), "float32", "buffer") if shard.itemsize == 2 else None
        done = 0
        for start in array.starts(shard.size, PIECE):
            done = add_up([term[start : start + PIECE] for term in self.terms], shard, done, total)
        self.ranked = self.terms = self.requests = None  # the gradient may go, though the stage has this yet
        return shard


class OverlapComm(OrderedComm):
    """All ranks, which may compute between beginning and end of a reduce-scatter."""

    @observed
    def start_reduce_scatter(self, full: Array, layout: FlatLayout) -> Reducing:
        """Begin a reduce-scatter and go on; `full` must not change until it is finished."""
        return Reducing(full, layout, self)

    @observed
    def finish_reduce_scatter(self, reducing: Reducing) -> Array:
        """Wait for one that was started; return this rank's shard of the sum."""
        shard = reducing.finish(self.rank)
        sent = reducing.layout.padded * shard.itemsize - shard.nbytes
        ledger.count_sent("reduce_scatter", sent)
        return shard


class OverlapGroups(Groups):
    """The same in groups. What goes between groups is not begun early: it is summed when it is asked for."""

    inside: OverlapComm

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.inside.observers = self.observers

    def start_reduce_scatter(self, full: Array, layout: FlatLayout) -> Reducing:
        """Begin a reduce-scatter inside the group."""
        return self.inside.start_reduce_scatter(full, layout)

    def finish_reduce_scatter(self, reducing: Reducing) -> Array:
        """Wait for it; sum this rank's shard over all groups, and return it."""
        shard = self.inside.finish_reduce_scatter(reducing)
        self.sum_between_groups(shard, reducing.layout)
        return shard
