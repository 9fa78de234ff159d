"""ZeRO++ (arXiv 2306.10209): three ways to send less between machines, each a Comm. N ranks, G a machine.

                        gather, forward    gather, backward     reduce-scatter
    stage 3             e psi (N-1)/N      e psi (N-1)/N        e psi (N-1)/N     e: bytes of a number
    --code-weights      z psi (N-1)/N      z psi (N-1)/N                          qwZ; z = 1 + 4/B (8 bits)
    --hpz               as without         e psi (G-1)/G                          hpZ; keeps e psi/G more
    --code-gradients                                            z in two hops     qgZ; z = 1/2 + 4/B (4 bits)

The two hops of qgZ, for N = 4 and G = 2. A ring would round a sum N - 1 times; here a part is rounded once a
hop, sums are made in float32, and a rank's own part is not rounded:

    rank       0                 1            |     2                 3
    1. inside  to 1: 1 and 3     to 0: 0, 2   |     to 3: 1 and 3     to 2: 0, 2     numbers of shards
    2. between to 2: sum of 2    to 3: of 3   |     to 0: sum of 0    to 1: of 1

With qwZ every rank computes with what came back from the codes, the owner of a shard too; the shard itself,
which the optimizer changes, is never rounded. What leaves a step (tests, exports, checkpoints) is gathered by
`exact`, a Comm without any of this, see `exactly`.
"""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from zero_ref import array
from zero_ref.array import Array, empty, track
from zero_ref.comm import UNDER_WAY, Comm, Gathering, exchange, observed
from zero_ref.extras.codes import Code
from zero_ref.extras.groups import part_of
from zero_ref.launch import UsageError
from zero_ref.launch.singular import number_of
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger
from zero_ref.model import Unit


class Machines(Comm):
    """All ranks; `near` neighbours share a machine. The ledger is told what goes to other machines.

    exact: the ranks as they are without codes and copies; inside: those of this rank's machine; between:
    those that stand where it stands in theirs.
    """

    exact: Comm

    def on_machines(self, near: int, kind: Callable[[Any], Comm]) -> None:
        """Find the neighbours; all ranks call it together."""
        self.near, (self.machine, self.place) = near, divmod(self.rank, near)
        first = self.machine * near
        self.inside = kind(part_of(self.mpi, range(first, first + near)))
        self.between = kind(part_of(self.mpi, range(self.place, self.size, near)))
        self.far = [rank for rank in range(self.size) if rank // near != self.machine]

    def _reduce_scatter(self, send: Array, receive: Array, layout: FlatLayout) -> int:
        ledger.count_between("reduce_scatter", send.itemsize * sum(layout.counts[rank] for rank in self.far))
        return super()._reduce_scatter(send, receive, layout)

    def _to_each_other(self, wire: Array, layout: FlatLayout) -> int:
        ledger.count_between("all_gather", layout.counts[self.rank] * wire.itemsize * len(self.far))
        return super()._to_each_other(wire, layout)


class CodedLayout(FlatLayout):
    """The layout of the codes of a vector: bytes."""

    def __init__(self, layout: FlatLayout, code: Code) -> None:
        counts = [code.nbytes(n) for n in layout.counts]
        super().__init__(layout.name, {"codes": (sum(counts),)}, len(counts), shares=counts)


class CodedGather(Machines):
    """qwZ: what is gathered travels as codes of `weights`."""

    weights: Code

    def wire_layout(self, layout: FlatLayout) -> FlatLayout:
        return CodedLayout(layout, self.weights)

    def wire_like(self, vector: Array, layout: FlatLayout) -> Array:
        coded = isinstance(layout, CodedLayout)
        return super().wire_like(empty(layout.padded, "uint8", "buffer") if coded else vector, layout)

    def encode(self, wire: Array, vector: Array) -> None:
        if wire.dtype != "uint8":
            return super().encode(wire, vector)
        coded = empty(wire.size, "uint8", "buffer") if array.staged() else wire
        self.weights.encode(vector, coded)
        array.copy(wire, coded)

    def decode(self, vector: Array, wire: Array, layout: FlatLayout) -> None:
        if wire.dtype != "uint8":
            return super().decode(vector, wire, layout)
        coded = wire
        if array.staged():
            coded = empty(wire.size, "uint8", "buffer")
            array.copy(coded, wire)
        codes = CodedLayout(layout, self.weights)
        for rank in range(self.size):
            self.weights.decode(coded[codes.slice_of(rank)], vector[layout.slice_of(rank)])


class CodedReduce(Machines):
    """qgZ: what is reduced travels as codes of `gradients`, inside the machine and then between machines."""

    gradients: Code

    def reduce_scatter(self, full: Array, layout: FlatLayout) -> Array:
        """Sum `full` over the ranks; return this rank's shard of the sum."""
        sums = self.reduce_inside(full, layout)
        shard = empty(layout.counts[self.rank], full.dtype, "gradient")
        shard[...] = self.reduce_between(sums[self.machine], layout, sums)
        return shard

    @observed
    def reduce_inside(self, full: Array, layout: FlatLayout) -> list[Array]:
        """Whoever stands at place p of my machine gets the shards of all that stand at p, summed."""
        ranked = layout.rank_order(full)
        to_place = [
            [ranked[layout.slice_of(rank)] for rank in range(place, self.size, self.near)]
            for place in range(self.near)
        ]
        return self.hop(self.inside, to_place)

    @observed
    def reduce_between(self, own: Array, layout: FlatLayout, sums: Sequence[Array]) -> Array:
        """My machine's sum of each shard goes to its owner. own: that of mine."""
        return self.hop(self.between, [[part] for part in sums], between=True)[0]

    def hop(self, comm: Comm, parts: Sequence[list[Array]], between: bool = False) -> list[Array]:
        """parts[r] go to rank r, coded; return the sums of what comes, of each of parts[own] one.

        The sums are of float32 (of float64 for such), made in the order of ranks.
        """
        mine = parts[comm.rank]
        if comm.size == 1:
            return mine
        sizes = [self.gradients.nbytes(part.size) for part in mine]
        going = {rank: self.coded(parts[rank]) for rank in comm.others}
        coming = {rank: array.wire_like(empty(sum(sizes), "uint8", "buffer")) for rank in comm.others}
        array.finish()
        exchange(comm.mpi, going, coming)
        ledger.count_sent("reduce_scatter", sum(part.size for part in going.values()), between=between)
        sums = [empty(part.size, max(part.dtype, "float32", key=_size), "buffer") for part in mine]
        for rank in range(comm.size):
            start = 0
            for own, total, size in zip(mine, sums, sizes):
                arrived = None if rank == comm.rank else coming[rank][start : start + size]
                term = own if arrived is None else self.decoded(arrived, own.size)
                if rank == 0:
                    total[...] = term
                else:
                    total += term
                start += size
        return sums

    def coded(self, parts: Sequence[Array]) -> Array:
        """The codes of some vectors, one after another, where MPI can read them."""
        sizes = [self.gradients.nbytes(part.size) for part in parts]
        codes, start = empty(sum(sizes), "uint8", "buffer"), 0
        for part, size in zip(parts, sizes):
            self.gradients.encode(part, codes[start : start + size])
            start += size
        wire = array.wire_like(codes)
        array.copy(wire, codes)
        return wire

    def decoded(self, wire: Array, n: int) -> Array:
        """The n numbers of codes that have arrived."""
        codes = empty(wire.size, "uint8", "buffer") if array.staged() else wire
        array.copy(codes, wire)
        part = empty(n, "float32", "buffer")
        self.gradients.decode(codes, part)
        return part


def _size(dtype: Any) -> int:
    return np.dtype(dtype).itemsize


class SecondCopy(Machines):
    """hpZ: the first gather of a unit is over all ranks, and leaves a copy in the machine for the second.

    So it need not be told forward from backward: a copy that is there is used, and dropped.
    """

    copies: dict[FlatLayout, Array]

    def all_gather(self, shard: Array, layout: FlatLayout, out: Array = None) -> Array:
        """Collect everybody's shard, or what this machine has of it."""
        if layout in self.copies:
            return self.await_second_copy(self.start_second_copy(self.copies.pop(layout), layout), layout)
        return self.with_copy(super().all_gather(shard, layout, out), layout)

    def start_all_gather(self, shard: Array, layout: FlatLayout) -> Gathering:
        """Begin it."""
        if layout in self.copies:
            gathering = self.start_second_copy(self.copies.pop(layout), layout)
            UNDER_WAY.add(gathering)
            return gathering
        return super().start_all_gather(shard, layout)

    def finish_all_gather(self, gathering: Gathering) -> Array:
        """Wait for it."""
        layout = gathering.layout
        if isinstance(layout, SecondLayout):
            UNDER_WAY.discard(gathering)
            return self.await_second_copy(gathering, layout.of)
        return self.with_copy(super().finish_all_gather(gathering), layout)

    @observed
    def start_second_copy(self, copy: Array, layout: FlatLayout) -> Gathering:
        """Begin to collect the copy in this machine."""
        gathering = Gathering(copy, SecondLayout(layout, self.near), self.inside)
        wires = gathering.wire, gathering.wire_layout
        gathering.request, gathering.sent = self.inside._start_all_gather(*wires)
        return gathering

    @observed
    def await_second_copy(self, gathering: Gathering, layout: FlatLayout) -> Array:
        """Wait for it; return the full vector."""
        gathering.request.Wait()
        return gathering.finish(gathering.sent)

    def with_copy(self, full: Array, layout: FlatLayout) -> Array:
        mine = SecondLayout(layout, self.near).shard(full, self.place)
        self.copies[layout] = track("parameter", mine.copy())
        return full


class SecondLayout(FlatLayout):
    """The layout of the copy of a vector in a machine of `near` ranks: slices in model order.

    of: the layout of the vector over all ranks.
    """

    def __init__(self, of: FlatLayout, near: int) -> None:
        super().__init__(of.name, {"copy": (of.padded,)}, near, shares=[1] * near)
        self.of = of


def around(
    exact: Comm,
    kind: type[Comm],
    near: int | None,
    weights: Code | None = None,
    gradients: Code | None = None,
    second: bool = False,
) -> Machines:
    """The ranks of `exact`, with the parts that are asked for over a Comm of this kind.

    near: how many neighbours share a machine, by default all. UsageError where they do not divide the ranks,
    on all alike.
    """
    near = near or exact.size
    if exact.size % near:
        raise UsageError(f"--machine {near} does not divide {number_of(exact.size, 'ranks')}")
    if second and near == exact.size:
        raise UsageError(f"--hpz: one machine has all ranks, {exact.size}, so nothing would be saved")
    if array.on_gpu() and any(code and code.kind == "fp8" for code in (weights, gradients)):
        raise UsageError("codes of fp8 are for --device cpu: CuPy has no such numbers")
    asked = {SecondCopy: second, CodedGather: weights, CodedReduce: gradients, Machines: True}
    parts = [part for part, wanted in asked.items() if wanted]
    comm: Any = type("ZeroPlusPlus", (*parts, kind), {})(exact.mpi)
    comm.on_machines(near, kind)
    comm.exact, comm.weights, comm.gradients, comm.copies = exact, weights, gradients, {}
    exact.observers = comm.observers
    return comm


def exactly(stage: ModuleType) -> ModuleType:
    """The same stage, whose full_param gathers without codes, and leaves no copy."""

    def full_param(u: Unit, comm: Machines) -> Array:
        return stage.full_param(u, comm.exact)

    same = ModuleType(stage.__name__)
    vars(same).update(vars(stage), full_param=full_param)
    return same
