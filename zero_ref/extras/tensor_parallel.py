"""Tensor parallelism under ZeRO, and P_a on top of it, for an MLP: one file for a lesson, no option.

N ranks are a grid of N_d teams of N_m neighbours. A team shares every layer, as Megatron does (arXiv
1909.08053, section 3): of a pair of layers each rank computes some hidden numbers from the whole input, and
of the output a sum over these, which the team adds up. ZeRO works across teams: N_d ranks with the same part.

    rank       0     1  |  2     3             N = 4, N_m = 2, N_d = 2
    part       0     1  |  0     1             of every layer; samples are dealt to teams
    team      {0,    1}   {2,    3}            all-reduces of activations, in every pass through a pair
    across    {0, 2} and {1, 3}                what a stage does

P_a (ZeRO, arXiv 1910.02054, section 6.1). Who recomputes keeps the input of every block. It is the same on
all ranks of a team, which therefore keep 1/N_m of it each, and gather it before it is used. So P_a needs a
team: where samples are dealt to all ranks, no activation is anywhere twice.

For a block of two pairs, as a transformer's, with s h numbers of output each; all times (N_m - 1)/N_m:

    forward 2, once more 2, backward 2 all-reduces    6 x 2 s h = 12 s h
    P_a: one all-gather of the block's input          1 s h: less than a tenth more (section 8)
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zero_ref.array import Array, empty, track, wire_scratch, xp
from zero_ref.autograd import Tensor, linear, relu
from zero_ref.comm import Comm, OrderedComm, observed
from zero_ref.extras.groups import part_of
from zero_ref.extras.recompute import Recompute
from zero_ref.launch.singular import number_of
from zero_ref.layout import FlatLayout, bounds
from zero_ref.ledger import ledger
from zero_ref.model import LayoutOf, LossGrad, Tensors, Unit


class Team(OrderedComm):
    """The ranks that share a layer. The ledger counts what they send under names of their own."""

    def cut(self, n: int) -> FlatLayout:
        """How n numbers are cut into a part for each rank; parts may differ by one."""
        return FlatLayout("activations", {"": (n,)}, self.size, shares=[1] * self.size)

    @observed
    def sum_all(self, vector: Array, cut: FlatLayout) -> None:
        """Sum `vector` (cut.padded,) over the team, in place."""
        part = wire_scratch(vector, cut.counts[self.rank])
        sent = self._reduce_scatter(vector, part, cut)
        vector[cut.slice_of(self.rank)] = part
        ledger.count_sent("team_all_reduce", sent + self._all_gather(vector, cut))

    @observed
    def gather(self, part: Array, cut: FlatLayout) -> Array:
        """Everybody's parts, one after another, (cut.padded,)."""
        whole = empty(cut.padded, part.dtype, "activation")
        whole[cut.slice_of(self.rank)] = part
        ledger.count_sent("team_all_gather", self._all_gather(whole, cut))
        return whole


class Across(OrderedComm):
    """The ranks that have the same part of every layer: those whom a stage is given.

    No parameter is on two ranks of a team. So the norm is over all ranks of the grid, and so is the loss,
    which one rank of a team tells (`told_once`).
    """

    def __init__(self, mpi: Any, world: Comm) -> None:
        super().__init__(mpi)
        self.world = world

    def sum(self, value: Any) -> float:
        return self.world.sum(value)


def grid(world: Comm, members: int) -> tuple[Team, Across]:
    """This rank's team of `members` neighbours, and the ranks at its place in all teams. ValueError if they
    do not divide the ranks."""
    if world.size % members:
        raise ValueError(f"teams of {members} do not divide {number_of(world.size, 'ranks')}")
    mine, place = divmod(world.rank, members)
    team = Team(part_of(world.mpi, range(mine * members, (mine + 1) * members)))
    return team, Across(part_of(world.mpi, range(place, world.size, members)), world)


def told_once(loss_grad: LossGrad, team: Comm) -> LossGrad:
    """The same loss, of which rank 0 alone of the team tells: all of it have the same samples."""

    def of_the_team(outputs: Array, targets: Array) -> tuple[Array, Any]:
        g, loss = loss_grad(outputs, targets)
        return g, loss if team.rank == 0 else 0.0

    return of_the_team


# -- a pair of layers --


def used_by_all(x: Tensor, team: Team) -> Tensor:
    """x, from which every rank of the team goes on: its gradient is the sum of theirs (Megatron's f)."""

    def backward(g: Array) -> None:
        team.sum_all(g.reshape(-1), team.cut(g.size))
        x.add_grad(xp.multiply, g, 1)

    return Tensor(x.data, (x,), backward if x.wants_grad else None, x.wants_grad)


def summed(x: Tensor, team: Team) -> Tensor:
    """The sum of everybody's x, in its place: everybody has the gradient of the sum (Megatron's g)."""
    team.sum_all(x.data.reshape(-1), team.cut(x.data.size))

    def backward(g: Array) -> None:
        x.add_grad(xp.multiply, g, 1)

    return Tensor(x.data, (x,), backward)


def pair(x: Tensor, t: Tensors, prefix: str, team: Team) -> Tensor:
    """w_out relu(w_in x + b_in) + b_out: this rank has rows of w_in, columns of w_out; rank 0 has b_out."""
    hidden = relu(linear(used_by_all(x, team), t[f"{prefix}in.weight"], t[f"{prefix}in.bias"]))
    return summed(linear(hidden, t[f"{prefix}out.weight"], t.get(f"{prefix}out.bias")), team)


Part = tuple[str, tuple[int, ...], int, int, int]  # a whole tensor's name and shape; axis, from, to: the part


def parts(widths: Sequence[int], members: int, rank: int) -> list[Part]:
    """What `rank` of a team has of a block with pairs of these widths: inputs, hidden, outputs, hidden ..."""
    found: list[Part] = []
    for p, (inputs, hidden, outputs) in enumerate(zip(widths[::2], widths[1::2], widths[2::2])):
        a, b = bounds(hidden, [1] * members)[rank : rank + 2]
        found += [(f"{p}.in.weight", (hidden, inputs), 0, a, b), (f"{p}.in.bias", (hidden,), 0, a, b)]
        found.append((f"{p}.out.weight", (outputs, hidden), 1, a, b))
        found += [(f"{p}.out.bias", (outputs,), 0, 0, outputs)] if rank == 0 else []
    return found


def whole_values(widths: Sequence[int], seed: int, block: int) -> dict[str, np.ndarray]:
    """The starting values of a block's whole tensors by name, the same on every rank and for every N_m."""
    random = np.random.default_rng([seed, block])
    return {
        name: random.uniform(-1, 1, shape) / math.sqrt(shape[-1]) for name, shape, *_ in parts(widths, 1, 0)
    }


def build(
    blocks: Sequence[Sequence[int]], layout: LayoutOf, dtype: Any, seed: int, team: Team, keep: str = "all"
) -> list[Unit]:
    """A unit for each block's widths: (5, 8, 5, 8, 5) are two pairs. `team` shares them.

    keep: from forward to backward "all" activations; the "input", for recomputation; or "part" of it, P_a.
    """
    units: list[Unit] = []
    for number, widths in enumerate(blocks):
        mine = parts(widths, team.size, team.rank)
        shapes = {n: tuple(b - a if d == axis else m for d, m in enumerate(s)) for n, s, axis, a, b in mine}

        def compute(x: Tensor, t: Tensors, pairs: int = len(widths) // 2) -> Tensor:
            for p in range(pairs):
                x = pair(x, t, f"{p}.", team)
            return x

        def starting_values(widths: Sequence[int] = widths, number: int = number) -> Iterator[np.ndarray]:
            whole = whole_values(widths, seed, number)
            for name, _, axis, a, b in parts(widths, team.size, team.rank):
                yield whole[name][:, a:b] if axis else whole[name][a:b]

        units.append(Unit(layout(f"layers.{number}", shapes), compute, starting_values, dtype, number == 0))
    if keep == "part":
        return [PartOfInput(unit, team) for unit in units]
    return [Recompute(unit) for unit in units] if keep == "input" else units


# -- P_a --


class PartOfInput(Recompute):
    """P_a: recomputes from its input, of which it keeps the part of this rank of the team."""

    def __init__(self, unit: Unit, team: Team) -> None:
        super().__init__(unit)
        self.team = team

    def forward(self, param: Array, x: Array) -> Array:
        """The unit's output for x, the same x on all ranks of the team."""
        y = super().forward(param, x)
        self.shape, self.cut = x.shape, self.team.cut(x.size)
        part = x.reshape(-1)[self.cut.slice_of(self.team.rank)]
        self.input = Tensor(track("activation", part.copy()))  # a view would keep all of it
        return y

    def backward(self, param: Array, g: Array) -> tuple[Array, Array]:
        """As of Recompute, from the input that the team has together."""
        self.input = Tensor(self.team.gather(self.input.data, self.cut).reshape(self.shape))
        return super().backward(param, g)


def team_elements(rows: int, widths: Sequence[int], first: bool, keep: str) -> dict[str, float]:
    """Elements that all N_m ranks of a team send for a block and `rows` samples, by collective, over N_m - 1.

    Each rank sends 1/N_m of it, where N_m divides what is cut. first: nobody wants the gradient of the input.
    """
    inputs, outputs = widths[:-1:2], widths[2::2]
    forward = 2 * sum(outputs) * (1 if keep == "all" else 2)
    backward = 2 * sum(inputs[1:] if first else inputs)
    gather = inputs[0] if keep == "part" else 0
    return {"team_all_reduce": rows * (forward + backward), "team_all_gather": rows * gather}
