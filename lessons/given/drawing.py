"""For lesson 02: a graph of tensors as lines of text."""

from collections.abc import Sequence

from zero_ref.autograd import Tensor


def drawn(root: Tensor, names: dict[Tensor, str], visited: Sequence[str], words: Sequence[str]) -> list[str]:
    """A line for each path to a tensor; below it, the first time, those that it was computed from.

    visited: names in the order in which the backward pass came by. words: "number", "leaf", and "visit {}".
    """
    number, leaf, visit = words
    lines: list[str] = []
    seen: set[Tensor] = set()

    def draw(tensor: Tensor, depth: int) -> None:
        name, again = names[tensor], tensor in seen
        when = visit.format(visited.index(name) + 1) if name in visited else leaf
        lines.append(f"{'    ' * depth + name:<16} {number} {tensor.number}   {'+' if again else when}")
        seen.add(tensor)
        for parent in () if again else tensor.parents:
            draw(parent, depth + 1)

    draw(root, 0)
    return lines
