"""Where every element of one unit lives: in which tensor, at which place, on which rank.

A unit's tensors lie one after another in one flat vector, then zeros that make its length fit the
rule ("padding"): this is *model order*, in which a layer computes. A sharding rule gives every
element to one rank. *Rank order* is the same vector with rank 0's elements first, then rank 1's, as
collectives send it. For contiguous slices the two orders are one and nothing is ever copied.

Rules (`--shard-model`):
    contiguous   N equal slices, padded to a multiple of N          (ZeRO paper, section 5)
    random       equal numbers of blocks, dealt by a seeded permutation
    hash         each block belongs to hash(block) mod N: uneven
    weights      slices in proportion to given whole numbers, for ranks of unequal memory
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from zero_ref.array import Array, starts, to_numpy, track, xp


def bounds(n: int, shares: Sequence[int]) -> list[int]:
    """Cut range(n) into len(shares) slices in proportion: slice r is [result[r], result[r + 1])."""
    whole = sum(shares)
    return [n * running // whole for running in itertools.accumulate(shares, initial=0)]


def hash_owner(seed: int, name: str, number: int, shares: Sequence[int]) -> int:
    """The rank that owns thing `number` of `name`: the same in every process and on every machine."""
    digest = hashlib.blake2b(f"{seed}/{name}/{number}".encode(), digest_size=8).digest()
    ticket = int.from_bytes(digest, "little") % sum(shares)
    return bisect.bisect_right(list(itertools.accumulate(shares)), ticket)


def deal_at_random(blocks: int, size: int, seed: int, name: str) -> np.ndarray:
    """As many blocks to each rank; those that are too many are padding."""
    number = blocks + -blocks % size
    return np.random.default_rng([seed, *name.encode()]).permutation(number) % size


def deal_by_hash(blocks: int, size: int, seed: int, name: str) -> np.ndarray:
    """Each block to the rank that its hash says."""
    return np.array([hash_owner(seed, name, i, [1] * size) for i in range(blocks)], int)


# What --shard-model may name: a function (blocks, size, seed, name of the unit) -> the rank that owns each
# block, at least `blocks` of them; or None where nothing moves.
RULES: dict[str, Callable[[int, int, int, str], np.ndarray] | None] = {
    "contiguous": None,
    "random": deal_at_random,
    "hash": deal_by_hash,
}


class Part(NamedTuple):
    """Elements [start, stop) of the vector of another unit, whose layout is `of`."""

    of: FlatLayout
    start: int
    stop: int


class FlatLayout:
    """The layout of one unit's flat vector over `size` ranks.

    name, shapes: of the unit; tensor name -> shape, in model order
    prefix: what stands before the tensors' names in the whole model ("NAME." if it is not given)
    elements: how many, without padding
    padded: how many with padding, the unit's psi in formulas; every "full" array has shape (padded,)
    counts: elements per rank, in rank order; rank r's shard has shape (counts[r],)
    offsets: where rank r's shard begins, in rank order

    `shares` (whole numbers, one a rank) makes contiguous slices unequal. Raises ValueError for an
    unknown rule or shares that do not fit.
    """

    def __init__(
        self,
        name: str,
        shapes: dict[str, tuple[int, ...]],
        size: int,
        rule: str = "contiguous",
        shares: Sequence[int] | None = None,
        seed: int = 0,
        prefix: str | None = None,
    ) -> None:
        deal = RULES.get(rule)
        if rule not in RULES:
            raise ValueError(f"unknown rule {rule!r} for sharding the model")
        if shares is not None and rule != "contiguous":
            raise ValueError("shares cut contiguous slices")
        if shares is not None and (len(shares) != size or min(shares) < 0 or sum(shares) == 0):
            raise ValueError(f"{size} ranks need {size} shares, not {shares}")
        self.name, self.shapes = name, shapes
        self.prefix = f"{name}." if prefix is None else prefix
        self.elements = sum(math.prod(shape) for shape in shapes.values())
        self.made_of: list[Part] = []  # where units were merged or cut, see `parts`
        self.blocks: Array = None  # block numbers in rank order, where blocks move
        self.block = 1  # elements per block
        if shares is not None:
            ends = bounds(self.elements, shares)
            self.counts = [b - a for a, b in zip(ends, ends[1:])]
        elif deal is None:
            self.counts = [-(-self.elements // size)] * size
        else:
            self.block = min(1024, max(1, self.elements // (8 * size)))  # at least 8 blocks a rank
            owner = deal(-(-self.elements // self.block), size, seed, name)
            self.blocks = xp.asarray(np.argsort(owner, kind="stable"))
            self.counts = [int(c) * self.block for c in np.bincount(owner, minlength=size)]
        self.padded = sum(self.counts)
        self.offsets = [0, *np.cumsum(self.counts)[:-1].tolist()]

    @property
    def parts(self) -> list[Part]:
        """What the elements are in the units of the model as it is written: for a whole unit all of its own.

        Of merged neighbours, one after another, all of each; of a part of a layer, some of that layer's.
        Weights are exported and checkpoints saved by these.
        """
        return self.made_of or [Part(self, 0, self.elements)]

    def views(self, full: Array) -> dict[str, Array]:
        """Each tensor as a view of `full` (padded,), in model order: no copy."""
        views, start = {}, 0
        for name, shape in self.shapes.items():
            end = start + math.prod(shape)
            views[name] = full[start:end].reshape(shape)
            start = end
        return views

    def slice_of(self, rank: int) -> slice:
        """Where rank's shard lies in a vector in rank order."""
        return slice(self.offsets[rank], self.offsets[rank] + self.counts[rank])

    def pieces(self, size: int) -> Iterator[list[slice]]:
        """Everybody's shard in pieces of `size` elements: of each piece in turn, where rank r's is, by r.

        Slices of a vector in rank order; those of a short shard end with empty ones.
        """
        for start in starts(max(self.counts), size):
            yield [
                slice(begin + min(start, count), begin + min(start + size, count))
                for begin, count in zip(self.offsets, self.counts)
            ]

    def shard(self, full: Array, rank: int) -> Array:
        """Rank's elements of `full`, (counts[rank],): a view of slices, a copy of moved blocks."""
        if self.blocks is None:
            return full[self.slice_of(rank)]
        start = self.offsets[rank] // self.block
        mine = self.blocks[start : start + self.counts[rank] // self.block]
        return track("buffer", full.reshape(-1, self.block)[mine]).reshape(-1)

    def rank_order(self, full: Array) -> Array:
        """`full` from model order to rank order: itself, or a copy where blocks move."""
        if self.blocks is None:
            return full
        return track("buffer", full.reshape(-1, self.block)[self.blocks]).reshape(-1)

    def to_model_order(self, ranked: Array, full: Array) -> None:
        """Write a vector in rank order into `full` in model order."""
        if self.blocks is not None:
            full.reshape(-1, self.block)[self.blocks] = ranked.reshape(-1, self.block)

    def ranges(self, rank: int) -> list[tuple[int, int]]:
        """Rank's elements as slices [start, stop) of the vector in model order, padding left out.

        One after another they are rank's shard up to its padding, which comes last.
        """
        shard = self.slice_of(rank)
        if self.blocks is None:
            slices = [(shard.start, shard.stop)]
        else:
            numbers = to_numpy(self.blocks)[shard.start // self.block : shard.stop // self.block]
            cuts = np.flatnonzero(np.diff(numbers) != 1) + 1
            runs = [run for run in np.split(numbers, cuts) if len(run)]  # of neighbouring blocks
            slices = [(int(run[0]) * self.block, (int(run[-1]) + 1) * self.block) for run in runs]
        return [(a, min(b, self.elements)) for a, b in slices if a < min(b, self.elements)]

    def tensor_of(self, rank: int, place: int) -> str:
        """The name of the tensor that holds element `place` of rank's shard; "padding" after the last."""
        position = self.offsets[rank] + place
        if self.blocks is not None:
            position = int(self.blocks[position // self.block]) * self.block + position % self.block
        for name, shape in self.shapes.items():
            position -= math.prod(shape)
            if position < 0:
                return name
        return "padding"
