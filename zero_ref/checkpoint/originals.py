"""Whose elements a rank writes: those of the model's units as it is written.

A run may have merged its units or cut them (extras/buckets.py, extras/tiles.py). A checkpoint knows nothing
of it: it has the model's own units and tensors, and so any run takes it up, merged or cut as it likes.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from zero_ref.array import Array, to_numpy
from zero_ref.layout import FlatLayout
from zero_ref.model import Unit, originals
from zero_ref.optim import whole_state

Ranges = Iterable[tuple[int, int]]


def in_originals(layout: FlatLayout, ranges: Ranges) -> Iterator[tuple[FlatLayout, int, int, int]]:
    """Slices of a unit's vector, one after another, as slices of the model's own units.

    Each is the layout of such a unit, [start, stop) of its vector, and how many elements of `ranges` come
    before.
    """
    place = 0
    for start, stop in ranges:
        begin = 0
        for of, first, last in layout.parts:
            end = begin + last - first
            low, high = max(start, begin), min(stop, end)
            if low < high:
                yield of, low - begin + first, high - begin + first, place + low - start
            begin = end
        place += stop - start


def by_original(
    units: list[Unit], keeps: dict[str, str], rank: int
) -> tuple[dict[str, list[tuple[int, int]]], dict[str, np.ndarray]]:
    """What a rank writes. keeps: KEEPS of the stage.

    By the name of each unit of the model: the slices of its vector that are this rank's; and by
    "unit/vector" their elements, one slice after another.
    """
    ranges: dict[str, list[tuple[int, int]]] = {each.name: [] for each in originals(units)}
    found: dict[str, list[np.ndarray]] = {}
    for u in units:
        own = own_elements(u, keeps, rank)
        lies = {part.of.name: slice(0, 0) for part in u.layout.parts}  # what is of one of them lies together
        for of, start, stop, place in in_originals(u.layout, u.layout.ranges(rank)):
            before = lies[of.name]
            lies[of.name] = slice(before.start if before.stop else place, place + stop - start)
            ranges[of.name].append((start, stop))
        for name, where in lies.items():
            for vector, values in own.items():
                found.setdefault(f"{name}/{vector}", []).append(values[where])
    return ranges, {name: each[0] if len(each) == 1 else np.concatenate(each) for name, each in found.items()}


def own_elements(u: Unit, keeps: dict[str, str], rank: int) -> dict[str, np.ndarray]:
    """This rank's elements of each of the unit's vectors; at the end there may be padding."""
    own, ranges = {}, u.layout.ranges(rank)
    for name, vector in vectors(u).items():
        if keeps["parameter" if name == "param" else "optimizer"] == "all":
            pieces = [to_numpy(vector[start:stop]) for start, stop in ranges]
            own[name] = pieces[0] if len(pieces) == 1 else np.concatenate([to_numpy(vector[:0]), *pieces])
        else:
            own[name] = to_numpy(vector)
    return own


def vectors(u: Unit) -> dict[str, Array]:
    """What has to be kept of a unit: its parameters and the optimizer's state, as they lie here."""
    return {"param": u.param, **whole_state(u.optimizer)}


def shapes_of(units: list[Unit]) -> dict[str, dict[str, list[int]]]:
    """Each unit of the model, its tensors and their shapes."""
    return {each.name: {name: list(s) for name, s in each.shapes.items()} for each in originals(units)}


def prefixes(units: list[Unit]) -> dict[str, str]:
    """What stands before the names of a unit's tensors, where that is not the unit's own name."""
    return {each.name: each.prefix for each in originals(units) if each.prefix != f"{each.name}."}
