"""`--tiles T`: a wide layer is cut into T units, each with some of its outputs.

Stage 3 holds one unit's parameters as a whole, and every stage its gradient, so one wide layer decides what a
step needs. Cut, no more than a T-th of it is gathered at a time (memory-centric tiling of ZeRO-Infinity,
arXiv 2104.07857). The largest layer is T tiles, and others are as many as let none be longer.

                units    calls of each collective    gathered, and whole gradient, at most
    as it is    L        L                           the largest layer, psi_u
    in tiles    to L T   to L T                      psi_u / T

A tile computes y[:, a:b] = x W[a:b]^T + b[a:b], with the layer's activation, which is element by element.
From tile to tile goes a pair: the layer's input, and its output as far as it is there. Back come the gradient
of the input, as far as it has been added up, and that of the output. This sum over tiles is made in another
order than in one product, so that the last bits are others; of all stages they are the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from zero_ref.array import Array, empty, track
from zero_ref.layout import Part, bounds
from zero_ref.model import LayoutOf, Unit, dense, dense_relu


class Tile(Unit):
    """Outputs [a, b) of a layer `u` with so many outputs. made_of: where its elements are in the layer's."""

    def __init__(self, u: Unit, layout: LayoutOf, number: int, a: int, b: int) -> None:
        outputs, inputs = u.layout.shapes["weight"]
        weight, bias = (a * inputs, b * inputs), (outputs * inputs + a, outputs * inputs + b)
        shapes = {"weight": (b - a, inputs), "bias": (b - a,)}
        cut = layout(f"{u.layout.name}.tile{number}", shapes)
        cut.made_of = [Part(u.layout, *weight), Part(u.layout, *bias)]
        super().__init__(
            cut, u.compute, lambda: between(u.starting_values(), [weight, bias]), u.dtype, u.first
        )
        self.a, self.b, self.outputs = a, b, outputs

    def forward(self, param: Array, x: Any) -> Any:
        """x (samples, inputs), from another tile with the output so far; returns the same, or all outputs."""
        x, y = x if self.a else (x, None)
        part = super().forward(param, x)
        y = empty((*part.shape[:-1], self.outputs), part.dtype, "activation") if y is None else y
        y[..., self.a : self.b] = part
        self.output.data = None  # it is in y, and no backward pass asks for it
        return y if self.b == self.outputs else (x, y)

    def backward(self, param: Array, g: Any) -> tuple[Any, Array]:
        """g = dL/d outputs, from another tile with dL/dx so far; returns the same, or dL/dx."""
        so_far, g = (None, g) if self.b == self.outputs else g
        part = track("activation", g[..., self.a : self.b].copy())
        mine, grad = super().backward(param, part)
        if so_far is not None:
            mine += so_far
        return ((mine, g) if self.a else mine), grad


def between(pieces: Iterable[np.ndarray], spans: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
    """Those elements of pieces, one after another, that are in one of `spans`, which ascend."""
    begin = 0
    for piece in pieces:
        for start, stop in spans:
            low, high = max(start, begin), min(stop, begin + piece.size)
            if low < high:
                yield piece.reshape(-1)[low - begin : high - begin]
        begin += piece.size


def cut(units: Sequence[Unit], layout: LayoutOf, number: int) -> list[Unit]:
    """The units, in which linear layers are tiles: the largest `number`, and none of another is longer.

    layout(name, shapes): of each tile, and of what stays whole.
    """
    layers = [u for u in units if u.compute in (dense, dense_relu)]
    longest = max((u.layout.elements for u in layers), default=0)
    made: list[Unit] = []
    for u in units:
        whole = u.layout
        tiles = -(-whole.elements * number // longest) if u in layers else 1
        tiles = min(tiles, whole.shapes["weight"][0]) if u in layers else 1
        if tiles == 1:
            u.layout = layout(whole.name, whole.shapes, prefix=whole.prefix)
            made.append(u)
            continue
        ends = bounds(whole.shapes["weight"][0], [1] * tiles)
        made += [Tile(u, layout, i, a, b) for i, (a, b) in enumerate(zip(ends, ends[1:]))]
    return made
