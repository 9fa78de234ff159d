"""`--group G`: the model is dealt inside groups of G ranks, and every group has all of it (HSDP, MiCS).

A message inside a machine is cheap, and one between machines is dear. ZeRO sends every parameter to every
rank. Here it does so only inside a group, such as the GPUs of one machine, and a sum is made in two hops:

    rank                0    1  |  2    3         N = 4, G = 2, and so R = N/G = 2 groups
    shard of the model  0    1  |  0    1
    1. inside          0 + 1    |   2 + 3         a reduce-scatter in every group
    2. between         rank 0 with 2, 1 with 3    an all-reduce of each shard among those that have it

    keeps    psi/G of everything that the stage KEEPS as 1/N: the price, R copies in place of one
    sends    what the stage sends, with G in place of N, and 2 (psi/G) (R - 1)/R between groups

The second hop follows every reduce-scatter, for that is all that a Comm sees. At stages 0 and 1 this is once
a step, at 2 and 3 once in each of k micro-batches: k times the bytes between groups that MiCS sends, which
adds up shards once a step, at its end. (arXiv 2205.00119, section 3.4; HSDP is PyTorch FSDP's name, arXiv
2304.11277.)

So a gradient is summed group by group: ((g0 + g1) + (g2 + g3)). That is another order than that of all
ranks, with other last bits; G = N and G = 1 have the same. Numbers of 16 bits are rounded after each hop. The
norm is of one group's shards, which are the whole gradient once; the other groups find the same.
"""

from collections.abc import Callable, Iterable
from typing import Any

from zero_ref import array
from zero_ref.array import Array
from zero_ref.comm import Comm, observed
from zero_ref.launch import UsageError
from zero_ref.launch.singular import number_of
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger


def part_of(mpi: Any, ranks: Iterable[int]) -> Any:
    """A communicator of some of the ranks of `mpi`. Only these call it, together."""
    return mpi.Create_group(mpi.Get_group().Incl(list(ranks)))


class Groups(Comm):
    """The ranks of one group of `group` neighbours, whose sums are over all groups. rank, size: in it.

    kind: makes the Comm of some ranks from their communicator, of a group, and without `across` also of those
    that have the same shard; mpi: of all ranks. Raises UsageError, on all ranks alike, where groups would be
    of different sizes.
    """

    def __init__(
        self,
        group: int,
        kind: Callable[[Any], Comm],
        mpi: Any = None,
        across: Callable[[Any], Comm] | None = None,
    ) -> None:
        self.world = Comm(mpi)
        rank, size = self.world.rank, self.world.size
        if size % group:
            raise UsageError(f"--group {group} does not divide {number_of(size, 'ranks')}")
        mine, place = divmod(rank, group)
        self.inside = kind(part_of(self.world.mpi, range(mine * group, (mine + 1) * group)))
        self.between = (across or kind)(part_of(self.world.mpi, range(place, size, group)))
        super().__init__(self.inside.mpi)
        self.world.observers = self.observers

    def reduce_scatter(self, full: Array, layout: FlatLayout) -> Array:
        """Sum `full` over the ranks of all groups; return this rank's shard of the sum."""
        shard = super().reduce_scatter(full, layout)
        self.sum_between_groups(shard, layout)
        return shard

    @observed
    def sum_between_groups(self, shard: Array, layout: FlatLayout) -> None:
        """Sum a shard, in place, over the ranks that have the same one: one in every group."""
        if shard.size:
            self.add_up_groups(shard, layout)

    def add_up_groups(self, shard: Array, layout: FlatLayout) -> None:
        groups, mine = self.between.size, self.between.rank
        cut = FlatLayout(layout.name, {"shard": shard.shape}, groups, shares=[1] * groups)
        wire = self.between.wire_like(shard, cut)
        self.between.encode(wire, shard)
        array.finish()  # on a GPU the sum inside, which MPI would read
        part = array.wire_scratch(wire, cut.counts[mine])
        ledger.count_sent("reduce_scatter", self.between._reduce_scatter(wire, part, cut), between=True)
        array.copy(wire[cut.slice_of(mine)], part)
        ledger.count_sent("all_gather", self.between._all_gather(wire, cut), between=True)
        self.between.decode(shard, wire, cut)

    def everyone(self, value: Any) -> list[Any]:
        """Every rank's `value`, of all groups: reports name ranks by their numbers in the whole run."""
        return self.world.everyone(value)

    # Inside a group all is as without groups: the Comm of the options has its own wires and algorithms.

    def wire_layout(self, layout: FlatLayout) -> FlatLayout:
        return self.inside.wire_layout(layout)

    def wire_like(self, vector: Array, layout: FlatLayout) -> Array:
        return self.inside.wire_like(vector, layout)

    def encode(self, wire: Array, vector: Array) -> None:
        self.inside.encode(wire, vector)

    def decode(self, vector: Array, wire: Array, layout: FlatLayout) -> None:
        self.inside.decode(vector, wire, layout)

    def _reduce_scatter(self, send: Array, receive: Array, layout: FlatLayout) -> int:
        return self.inside._reduce_scatter(send, receive, layout)

    def _all_gather(self, wire: Array, layout: FlatLayout) -> int:
        return self.inside._all_gather(wire, layout)

    def _start_all_gather(self, wire: Array, layout: FlatLayout) -> tuple[Any, int]:
        return self.inside._start_all_gather(wire, layout)
