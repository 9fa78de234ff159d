"""The norm of a gradient that no rank has whole, and clipping by it, as torch.nn.utils.clip_grad_norm_."""

import math
from collections.abc import Sequence
from typing import Any

from zero_ref.array import Array, empty, on_gpu, starts, xp
from zero_ref.comm import Comm
from zero_ref.extras import compiled, kernels
from zero_ref.optim import BLOCK

LANES = 1 << 12  # sums of squares side by side; NumPy likes more of them, a compiled loop fewer


def clip(comm: Comm, shards: Sequence[Array], max_norm: float | None = None) -> tuple[float, float]:
    """(norm of the whole gradient, the factor that brings it down to `max_norm`, at most 1).

    The factor is 0, which makes optimizers do nothing, where the norm is not finite.

    `shards` are this rank's elements of the gradient, each owned by one rank and none by two:
    otherwise the norm is wrong by a factor that depends on N. Padding is zero and adds nothing.
    Squares are added in float64; the norm has the same bits on every rank and at every stage.
    """
    squares = sum(sum_of_squares(shard) for shard in shards)
    norm = math.sqrt(comm.sum(squares))
    if not math.isfinite(norm):
        return norm, 0.0
    return norm, 1.0 if max_norm is None else min(1.0, max_norm / (norm + 1e-6))


def sum_of_squares(vector: Array) -> Any:
    """The sum of the squares of a vector's elements, in float64: a number, on a GPU an array () there.

    Element i goes to lane i mod LANES, lanes are added up at the end. So the order, and with it the last bit,
    depends on no library, and a compiled loop has the same.
    """
    if on_gpu():
        return kernels.sum_of_squares(vector)
    scratch = empty(min(BLOCK, vector.size), "float64", "buffer")
    lanes, wide = scratch[:LANES], scratch[LANES:]
    lanes[...] = vector[:LANES]
    lanes *= lanes
    rest = vector[LANES:]
    if not compiled.add_squares(rest, lanes):
        for start in starts(rest.size, BLOCK - LANES):
            part = rest[start : start + BLOCK - LANES]
            squares = wide[: part.size]
            squares[...] = part
            squares *= squares
            for lane in starts(part.size, LANES):
                row = squares[lane : lane + LANES]
                lanes[: row.size] += row
    return float(xp.sum(lanes))
