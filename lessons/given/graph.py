"""The graph of exercise 02: numbers that remember what they were computed from."""

import itertools
from typing import Any

_creation = itertools.count()


class Node:
    """A number in a computation.

    value     the number
    parents   what it was computed from: pairs (parent, slope), slope = d self / d parent; () for a leaf
    grad      what was handed back to it; 0.0 at first
    number    counts creations: parents are older, so theirs are smaller
    """

    def __init__(self, value: float, parents: tuple[tuple["Node", float], ...] = ()) -> None:
        self.value, self.parents, self.grad = float(value), parents, 0.0
        self.number = next(_creation)

    def __add__(self, other: "Node") -> Any:
        return type(self)(self.value + other.value, ((self, 1.0), (other, 1.0)))

    def __mul__(self, other: "Node") -> Any:
        return type(self)(self.value * other.value, ((self, other.value), (other, self.value)))


def relu(x: Node) -> Any:
    """max(x, 0)"""
    return type(x)(max(x.value, 0.0), ((x, float(x.value > 0)),))
