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

from zero_ref import array
from zero_ref.array import Array, empty, track
from zero_ref.comm import UNDER_WAY, Comm, Gathering, observed
from zero_ref.extras.coded_sums import CodedReduce
from zero_ref.extras.codes import Code
from zero_ref.extras.feedback import Feedback
from zero_ref.extras.machines import Machines
from zero_ref.launch import UsageError
from zero_ref.launch.singular import number_of
from zero_ref.layout import FlatLayout
from zero_ref.model import Unit


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
    feedback: Feedback | None = None,
) -> Machines:
    """The ranks of `exact`, with the parts that are asked for over a Comm of this kind.

    near: how many neighbours share a machine, by default all. UsageError where they do not divide the ranks,
    on all alike.
    """
    near = near or exact.size
    if exact.size % near:
        raise UsageError(f"--machine {near} does not divide {number_of(exact.size, 'ranks')}")
    if second and near == exact.size:
        raise UsageError(
            f"--hpz: one machine has all of {number_of(exact.size, 'ranks')}, so nothing would be saved"
        )
    if array.on_gpu() and any(code and code.kind == "fp8" for code in (weights, gradients)):
        raise UsageError("codes of fp8 are for --device cpu: CuPy has no such numbers")
    asked = {SecondCopy: second, CodedGather: weights, CodedReduce: gradients, Machines: True}
    parts = [part for part, wanted in asked.items() if wanted]
    comm: Any = type("ZeroPlusPlus", (*parts, kind), {})(exact.mpi)
    comm.on_machines(near, kind)
    comm.weights, comm.gradients, comm.copies, comm.feedback = weights, gradients, {}, feedback
    comm.exact = type("Exact", (Machines, kind), {})(exact.mpi)
    comm.exact.near, comm.exact.machine, comm.exact.far = near, comm.machine, comm.far
    exact.observers = comm.exact.observers = comm.observers
    return comm


def exactly(stage: ModuleType) -> ModuleType:
    """The same stage, whose full_param gathers without codes, and leaves no copy.

    Who remembers what codes lose begins to, unit by unit, as the stage is set up.
    """

    def setup(units: Sequence[Unit], comm: Any, new_optimizer: Callable[..., Any]) -> None:
        stage.setup(units, comm, new_optimizer)
        owner: Any
        for owner in units if comm.feedback else []:
            owner.owed = comm.feedback.keep(owner.layout)

    def full_param(u: Unit, comm: Machines) -> Array:
        return stage.full_param(u, comm.exact)

    same = ModuleType(stage.__name__)
    vars(same).update(vars(stage), setup=setup, full_param=full_param)
    return same
