# 03 手写 Adam · Adam by hand
#
# 目标：写一步 AdamW，t = 1, 2, 3, ...：
# m ← b1·m + (1−b1)·g，v ← b2·v + (1−b2)·g²；m̂ = m / (1−b1ᵗ)，v̂ = v / (1−b2ᵗ)。
# 先衰减 w ← w − lr·wd·w，再更新 w ← w − lr·m̂ / (√v̂ + eps)。w、m、v 就地改，g 不动，不返回任何东西。
# 通过条件：第一步、连着几步、有衰减、eps 较大、从中途接着走，w、m、v 都对；g 没有被改动。
# 检查：python lessons/exercises/03_adam.py
#
# Goal: One step of AdamW, t = 1, 2, 3, ...:
# m ← b1·m + (1−b1)·g, v ← b2·v + (1−b2)·g²; m̂ = m / (1−b1ᵗ), v̂ = v / (1−b2ᵗ).
# First the decay, w ← w − lr·wd·w, then the update, w ← w − lr·m̂ / (√v̂ + eps). w, m and v change in place, g
# stays as it is, and nothing is returned.
# Done when: w, m and v are right for the first step, several steps, with decay, with a large eps, and in the
# middle of a run; and g is unchanged.
# Check: python lessons/exercises/03_adam.py

from _exercise import check
import numpy as np


def adam_step(
    w: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    t: int,
    *,
    lr: float,
    b1: float,
    b2: float,
    eps: float,
    wd: float,
) -> None:
    """Step t = 1, 2, 3, ... of AdamW. w, g, m, v (weights,): w, m and v are changed in place."""
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
