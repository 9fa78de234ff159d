"""`--optimizer muon`: the momentum of a matrix, made orthogonal. It needs matrices whole.

    v = momentum v + g;   u = g + momentum v                       as Nesterov
    o = Newton-Schulz of u: about U V^T, where u = U S V^T         all directions are of one length
    w = w - lr (0.2 sqrt(max(rows, columns)) o + weight_decay w)   as long a step as AdamW's

So it is in Moonlight (arXiv 2502.16982, section 2.2, and its examples/toy_train.py), with the iteration of
Keller Jordan, here in the type of the parameters (theirs is in bfloat16). What is no matrix of a hidden
layer is AdamW's: biases, norms, embeddings, the last unit (`tensors.matrices`). An optimizer knows a flat
vector and no matrix; so beside it stands a Share, which says what its elements are. A matrix is whole in
one of two ways:

              --shard-model     sends more      orthogonalises          shards
    owned     tensors           nothing         each matrix once        as even as matrices allow
    gathered  any other rule    psi (N-1)/N     each matrix on N ranks  equal

Gathered is what would become orthogonal, not the momentum: that stays where it is, psi/N. An update is once
a step, and so is Newton-Schulz, however many micro-batches there are. What it costs is in `operations`.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from zero_ref.array import Array, empty, track, xp, zeros
from zero_ref.comm import Comm
from zero_ref.extras.tensors import matrices, taken
from zero_ref.layout import FlatLayout
from zero_ref.model import Unit
from zero_ref.optim import AdamW

TIMES = 5  # iterations of Newton-Schulz
COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of Keller Jordan: singular values end between 0.7 and 1.2
Shape = tuple[int, ...]


def orthogonal(m: Array) -> Array:
    """About U V^T, where m (rows, columns) = U S V^T; a new array."""
    a, b, c = COEFFICIENTS
    tall = m.shape[0] > m.shape[1]
    x = track("buffer", (m.T if tall else m).copy())
    x /= xp.sqrt(xp.sum(x * x)) + 1e-7  # no singular value is over 1
    for _ in range(TIMES):
        xx = track("buffer", x @ x.T)
        factor = track("buffer", xx @ xx)
        factor *= c
        xx *= b
        factor += xx
        more = track("buffer", factor @ x)
        x *= a
        x += more  # a x + (b x x^T + c (x x^T)^2) x
    return x.T if tall else x


def operations(rows: int, columns: int) -> int:
    """Multiplications and additions of `orthogonal`: three products in each iteration."""
    n, m = sorted((rows, columns))
    return TIMES * (4 * n * n * m + 2 * n**3)


@dataclass
class Share:
    """What the n elements of a unit's vector are, on this rank.

    hidden: slices of it that are matrices, or parts of them; rest: all other slices, padding, too.
    shapes: of the matrices that `hidden` are, one after another; None where they are in parts. Then comm and
    layout gather them.
    """

    hidden: list[slice] = field(default_factory=list)
    rest: list[slice] = field(default_factory=lambda: [slice(None)])
    shapes: list[Shape] | None = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    comm: Comm | None = None
    layout: FlatLayout | None = None


def where(layout: FlatLayout, names: set[str]) -> list[tuple[int, int, Shape]]:
    """The matrices of a unit: [start, stop) of each in the vector in model order, and its shape."""
    found, start = [], 0
    for name, shape in layout.shapes.items():
        stop = start + math.prod(shape)
        if f"{layout.prefix}{name}" in names:
            found.append((start, stop, shape))
        start = stop
    return found


def share_of(layout: FlatLayout, names: set[str], comm: Comm, whole: bool) -> Share:
    """The share of this rank. names: of the model's matrices; whole: of the unit's vector, not a shard."""
    found = where(layout, names)
    n = layout.padded if whole else layout.counts[comm.rank]
    ranges = [(0, layout.elements)] if whole else layout.ranges(comm.rank)
    hidden, shapes, place = [], [], 0
    for start, stop in ranges:
        for a, b, shape in found:
            low, high = max(a, start), min(b, stop)
            if low < high:
                hidden.append(slice(place + low - start, place + high - start))
                shapes += [shape] if (low, high) == (a, b) else []
        place += stop - start
    ends = [0, *itertools.chain.from_iterable((each.start, each.stop) for each in hidden), n]
    rest = [slice(a, b) for a, b in zip(ends[::2], ends[1::2]) if a < b]
    if whole or all(is_whole(layout, each) for each in found):
        return Share(hidden, rest, shapes, names)
    return Share(hidden, rest, None, names, comm, layout)


def is_whole(layout: FlatLayout, matrix: tuple[int, int, Shape]) -> bool:
    """Whether one rank owns all of it; every rank finds the same."""
    a, b, _ = matrix
    return any(
        start <= a and b <= stop for r in range(len(layout.counts)) for start, stop in layout.ranges(r)
    )


def put(vector: Array, slices: Sequence[slice], values: Array) -> None:
    """The way back from `taken`: values into these slices of `vector`."""
    start = 0
    for each in slices:
        target = vector[each]
        target[...] = values[start : start + target.size]
        start += target.size


class Muon:
    """Momentum made orthogonal for matrices, AdamW for all else. n: elements of the vector.

    share: what they are; without one all are AdamW's. State: the velocity of matrices, m and v of all else.
    """

    def __init__(
        self,
        n: int,
        dtype: Any,
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        share: Share | None = None,
    ) -> None:
        self.share, self.n = share or Share(), n
        self.momentum, self.weight_decay = momentum, weight_decay
        self.hidden = sum(each.stop - each.start for each in self.share.hidden)
        self.velocity = zeros(self.hidden, dtype, "optimizer")
        self.others = AdamW(n - self.hidden, dtype, lr, (0.9, 0.95), 1e-8, weight_decay)
        self.lr, self.steps = lr, 0

    @staticmethod
    def vectors(**settings: Any) -> tuple[str, ...]:
        """The names of the vectors of state of a matrix."""
        return ("velocity",)

    def state(self) -> dict[str, Array]:
        """What has to outlive a stop of the run, as it lies here: for each element one number, or two."""
        return {"velocity": self.velocity, **self.others.state()}

    def whole_state(self) -> dict[str, Array]:
        """The same as vectors (n,), new ones, for checkpoints: m holds the matrices' momentum, too."""
        m, v = (xp.zeros(self.n, self.velocity.dtype) for _ in range(2))
        put(m, self.share.hidden, self.velocity)
        put(m, self.share.rest, self.others.m)
        put(v, self.share.rest, self.others.v)
        return {"m": m, "v": v}

    def take_state(self, vectors: dict[str, Array]) -> None:
        """The way back from `whole_state`."""
        self.velocity[...] = taken(vectors["m"], self.share.hidden)
        self.others.m[...] = taken(vectors["m"], self.share.rest)
        self.others.v[...] = taken(vectors["v"], self.share.rest)

    def update(self, param: Array, grad: Array, scale: float) -> None:
        """One step on `param` (n,) in place, with the gradient scale * `grad` (n,). None for scale 0."""
        if scale == 0:
            return
        self.steps += 1
        self.others.lr, self.others.steps = self.lr, self.steps - 1
        values = taken(param, self.share.rest)
        self.others.update(values, taken(grad, self.share.rest), scale)
        put(param, self.share.rest, values)
        if self.share.shapes is None or self.share.shapes:
            self.update_matrices(param, grad, scale)

    def update_matrices(self, param: Array, grad: Array, scale: float) -> None:
        """The same of the matrices, or of the parts of them that this rank has."""
        g = empty(self.hidden, self.velocity.dtype, "buffer")
        xp.multiply(taken(grad, self.share.hidden), scale, out=g, dtype=g.dtype)
        self.velocity *= self.momentum
        self.velocity += g
        g += self.momentum * self.velocity
        if self.share.shapes is None:
            self.gather_and_turn(g)
        else:
            turn(g, self.share.shapes)
        g *= self.lr
        values = taken(param, self.share.hidden)
        values *= 1 - self.lr * self.weight_decay
        values -= g
        put(param, self.share.hidden, values)

    def gather_and_turn(self, g: Array) -> None:
        """`turn`, where g has parts of matrices: these are gathered, and each rank keeps its parts."""
        comm, layout = self.share.comm, self.share.layout
        assert comm and layout
        shard = zeros(self.n, g.dtype, "buffer")
        put(shard, self.share.hidden, g)
        whole = comm.all_gather(shard, layout)
        for start, stop, shape in where(layout, self.share.names):
            turn(whole[start:stop], [shape])
        g[...] = taken(comm.shard(whole, layout), self.share.hidden)


def turn(vector: Array, shapes: Sequence[Shape]) -> None:
    """Each of the matrices that `vector` is becomes orthogonal, and as long as a step of AdamW is."""
    start = 0
    for shape in shapes:
        matrix = vector[start : start + math.prod(shape)].reshape(shape)
        matrix[...] = orthogonal(matrix)
        matrix *= 0.2 * math.sqrt(max(shape))
        start += math.prod(shape)


def by_unit(stage: ModuleType) -> ModuleType:
    """The same stage, whose optimizers are told what their vectors are: unit by unit, as it is set up."""

    def setup(units: Sequence[Unit], comm: Comm, new_optimizer: Callable[..., Any]) -> None:
        names, whole = matrices(units), stage.KEEPS["optimizer"] == "all"
        exact = getattr(comm, "exact", comm)  # neither rounds what is gathered nor keeps a copy of it
        for u in units:
            share = share_of(u.layout, names, exact, whole)
            stage.setup([u], comm, functools.partial(new_optimizer, share=share))

    same = ModuleType(stage.__name__)
    vars(same).update(vars(stage), setup=setup)
    return same
