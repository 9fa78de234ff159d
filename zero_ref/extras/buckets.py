"""`--bucket ELEMENTS`: neighbouring units become one, as long as it has no more than ELEMENTS.

A message costs some time however short it is. Of ten small units stage 3 gathers ten vectors; of one bucket
it gathers one, ten times as long, and holds it as a whole, with a whole gradient as long (C_B of ZeRO-R,
arXiv 1910.02054, section 6.2: buffers of constant size).

                 units    calls of each collective    gathered, and whole gradient, at most
    as it is     L        L                           the largest unit
    in buckets   L/b      L/b                         the largest bucket: b units

Only the list of units changes. A bucket computes what its units do, one after another, and its vector is
theirs, one after another: the sums over the ranks are the same numbers, cut into shards elsewhere. A
checkpoint has the units and tensors of the model, and fits any bucket.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from zero_ref.autograd import Tensor
from zero_ref.layout import Part
from zero_ref.model import LayoutOf, Tensors, Unit


def bucket(units: Sequence[Unit], layout: LayoutOf) -> Unit:
    """One unit of several neighbours. Its tensors have their names in the whole model."""
    parts = [Part(u.layout, 0, u.layout.elements) for u in units]
    shapes = {f"{of.prefix}{name}": shape for of, _, _ in parts for name, shape in of.shapes.items()}
    whole = layout(f"{parts[0].of.name} to {parts[-1].of.name}", shapes, prefix="")
    whole.made_of = parts

    def compute(x: Tensor, tensors: Tensors) -> Tensor:
        for u in units:
            x = u.compute(x, {name: tensors[f"{u.layout.prefix}{name}"] for name in u.layout.shapes})
        return x

    def starting_values() -> Iterable[np.ndarray]:
        for u in units:
            yield from u.starting_values()

    return Unit(whole, compute, starting_values, units[0].dtype, units[0].first)


def merged(units: Sequence[Unit], layout: LayoutOf, elements: int) -> list[Unit]:
    """The units, neighbours put together as long as a bucket has no more than `elements` (without padding).

    layout(name, shapes, prefix): of each unit or bucket. A unit of more elements stays what it is.
    """
    groups: list[list[Unit]] = []
    for u in units:
        if groups and sum(v.layout.elements for v in groups[-1]) + u.layout.elements <= elements:
            groups[-1].append(u)
        else:
            groups.append([u])
    for group in groups:
        if len(group) == 1:
            alone = group[0].layout
            group[0].layout = layout(alone.name, alone.shapes, prefix=alone.prefix)
    return [bucket(group, layout) if len(group) > 1 else group[0] for group in groups]
