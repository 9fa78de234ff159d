"""`--shard-model tensors`: matrices are not cut, and are balanced over the whole model.

Some optimizers (extras/muon.py) need a matrix as a whole. So every matrix of the hidden layers has one owner:
the largest is dealt first, each to the rank that has least so far. All else may be cut, and fills the gaps:
biases, norms, embeddings, the last unit. Four units, each of a matrix (#) and little else (-), on four ranks:

    rank                 0       1       2       3
    balanced by unit    ####    ----    ----    ----        a unit has one matrix: its owner has nearly all
    over the model      #---    #---    #---    #---

Of a single unit one rank owns nearly all, so that its reduce-scatter is a reduce and its all-gather a
broadcast, and the ranks take turns at them. What a rank keeps and sends follows from what it owns, as with
every rule: where there are fewer matrices than ranks, or one is longer than 1/N of all, that is uneven.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from zero_ref.array import Array, empty
from zero_ref.layout import FlatLayout
from zero_ref.model import LayoutOf, Unit, originals

EMBEDDINGS = ("wte.weight", "wpe.weight")  # tables, of which a step changes some rows
Shapes = dict[str, tuple[int, ...]]
Plan = dict[str, list[tuple[int, int, int]]]  # a tensor's name -> whose its elements [start, stop) are


def shapes_of(units: Sequence[Unit]) -> Shapes:
    """Every tensor by its name in the whole model."""
    return {f"{u.layout.prefix}{name}": s for u in units for name, s in u.layout.shapes.items()}


def matrices(units: Sequence[Unit]) -> set[str]:
    """The names of those that stay whole: of hidden layers, not embeddings, nor of the last unit."""
    last = originals(units)[-1]
    others = {*EMBEDDINGS, *(f"{last.prefix}{name}" for name in last.shapes)}
    return {name for name, shape in shapes_of(units).items() if len(shape) == 2} - others


def gaps(loads: Sequence[int], rest: int) -> list[int]:
    """How many of `rest` elements each rank gets, so that those with least have as much as can be."""
    lowest = sorted(range(len(loads)), key=lambda rank: (loads[rank], rank))
    filled, below = 1, loads[lowest[0]]
    while filled < len(loads) and loads[lowest[filled]] * filled - below < rest:
        below += loads[lowest[filled]]
        filled += 1
    level, more = divmod(rest + below, filled)
    found = [0] * len(loads)
    for place, rank in enumerate(lowest[:filled]):
        found[rank] = level + (place < more) - loads[rank]
    return found


def deal(shapes: Shapes, whole: set[str], size: int) -> Plan:
    """Every tensor's owners: of those in `whole` one each, and of all others slices that fill the gaps."""
    elements = {name: int(np.prod(shape, dtype=np.int64)) for name, shape in shapes.items()}
    loads, plan = [0] * size, {}
    for name in sorted(whole, key=lambda name: (-elements[name], name)):
        rank = loads.index(min(loads))
        loads[rank] += elements[name]
        plan[name] = [(rank, 0, elements[name])]
    left = gaps(loads, sum(elements.values()) - sum(loads))
    rank = 0
    for name in (name for name in shapes if name not in whole):
        start, plan[name] = 0, []
        while start < elements[name]:
            if not left[rank]:
                rank += 1
                continue
            stop = min(start + left[rank], elements[name])
            left[rank] -= stop - start
            plan[name].append((rank, start, stop))
            start = stop
    return plan


def taken(vector: Array, slices: Sequence[slice]) -> Array:
    """These elements of `vector`, one slice after another: a copy."""
    parts = [vector[each] for each in slices]
    values, start = empty(sum(part.size for part in parts), vector.dtype, "buffer"), 0
    for part in parts:
        values[start : start + part.size] = part
        start += part.size
    return values


class TensorLayout(FlatLayout):
    """The layout of a unit whose tensors are dealt by a plan. runs: by rank, its slices in model order."""

    def __init__(self, name: str, shapes: Shapes, size: int, plan: Plan, prefix: str | None = None) -> None:
        super().__init__(name, shapes, size, shares=[1] * size, prefix=prefix)
        self.runs: list[list[tuple[int, int]]] = [[] for _ in range(size)]
        begin = 0
        for tensor, shape in shapes.items():
            for rank, start, stop in plan[f"{self.prefix}{tensor}"]:
                self._add(self.runs[rank], begin + start, begin + stop)
            begin += int(np.prod(shape, dtype=np.int64))
        self.counts = [sum(b - a for a, b in runs) for runs in self.runs]
        self.offsets = [0, *np.cumsum(self.counts)[:-1].tolist()]
        order = [run for runs in self.runs for run in runs]
        self.blocks = None if order == sorted(order) else order  # they move where rank order is another

    @staticmethod
    def _add(runs: list[tuple[int, int]], start: int, stop: int) -> None:
        if runs and runs[-1][1] == start:
            start, _ = runs.pop()
        runs.append((start, stop))

    def shard(self, full: Array, rank: int) -> Array:
        """Rank's elements of `full`, (counts[rank],): a view where they lie together, else a copy."""
        runs = self.runs[rank]
        if len(runs) < 2:
            start, stop = runs[0] if runs else (0, 0)
            return full[start:stop]
        return taken(full, [slice(start, stop) for start, stop in runs])

    def rank_order(self, full: Array) -> Array:
        """`full` from model order to rank order: itself, or a copy where tensors move."""
        if self.blocks is None:
            return full
        return taken(full, [slice(start, stop) for start, stop in self.blocks])

    def to_model_order(self, ranked: Array, full: Array) -> None:
        """Write a vector in rank order into `full` in model order."""
        place = 0
        for start, stop in self.blocks or []:
            full[start:stop] = ranked[place : place + stop - start]
            place += stop - start

    def ranges(self, rank: int) -> list[tuple[int, int]]:
        """Rank's elements as slices [start, stop) of the vector in model order."""
        return self.runs[rank]

    def tensor_of(self, rank: int, place: int) -> str:
        """The name of the tensor that holds element `place` of rank's shard."""
        for start, stop in self.runs[rank]:
            if place < stop - start:
                return next(name for name, (a, b) in self.tensors() if a <= start + place < b)
            place -= stop - start
        return "padding"

    def tensors(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Every tensor, and where its elements lie in the vector in model order."""
        begin = 0
        for name, shape in self.shapes.items():
            stop = begin + int(np.prod(shape, dtype=np.int64))
            yield name, (begin, stop)
            begin = stop


def dealing(units: Sequence[Unit], size: int) -> LayoutOf:
    """A function (name, shapes, prefix) that makes each unit's layout. units: the model, of any layout."""
    plan = deal(shapes_of(units), matrices(units), size)

    def layout(name: str, shapes: Shapes, prefix: str | None = None) -> FlatLayout:
        return TensorLayout(name, shapes, size, plan, prefix)

    return layout
