"""For lesson 15: real gradients in 16 bits, two steps with a loss scale, and numbers that are hard to add."""

from typing import Any

import numpy as np

from lessons.given.few_steps import mlp
from zero_ref import datasets, model
from zero_ref.optim import Adam
from zero_ref.precision import LossScale, Master
from zero_ref.train import options

SAMPLES = 64  # of the digits


def gradient(dtype: str, scale: float, step: int = 2**20) -> np.ndarray:
    """dL/dw of 64 real samples as part of a step of so many, float32 (parameters,).

    Computed in `dtype` with a loss scale, which is divided out again in float32.
    """
    digits = datasets.data_set_of(options.parse([]))
    units = mlp([64, 128, 64, 10], 1, dtype, seed=0)
    params, grads, x = [u.initial("gathered") for u in units], [], digits.x[:SAMPLES].astype(dtype)
    for u, param in zip(units, params):
        x = u.forward(param, x)
    g, _ = model.loss_grad(True, step, scale)(x, digits.y[:SAMPLES])
    for u, param in zip(units[::-1], params[::-1]):
        g, grad = u.backward(param, g)
        grads.append(grad.astype("float32") / scale)
    return np.concatenate(grads)


def by_size(sizes: np.ndarray, lost: np.ndarray) -> list[tuple[str, str, str]]:
    """How many of `sizes` (n,) are in each range of powers of two, and how many of these are lost (n,)."""
    lines = []
    for low in range(-40, -16, 4):
        here = (sizes >= 2.0**low) & (sizes < 2.0 ** (low + 4))
        lines.append((f"2^{low} .. 2^{low + 4}", f"{here.sum():,}", f"{(here & lost).sum():,}"))
    return lines


def two_steps(comm: Any, true: float, size: int) -> tuple[int, float, int]:
    """Two steps of Adam on the one parameter of a rank whose true gradient is `true`, scaled as float16.

    comm: what the norm is summed over. Returns updates made, the loss scale in the end, and steps skipped.
    """
    units = mlp([3, 1], size, "float16", seed=0)
    guard, adam = LossScale(units, None), Master(1, lambda n: Adam(n, "float32"))
    param = np.ones(1, "float16")
    for _ in range(2):
        with np.errstate(over="ignore"):
            shard = np.array([true * guard.scale], "float16")
        _, factor = guard(comm, [shard])
        adam.update(param, shard, factor)
    return adam.steps, guard.scale, guard.skipped


def hard_to_add(dtype: str, large: float, ranks: int) -> list[np.ndarray]:
    """4,000 numbers of each rank, of which every thousandth is `large` on rank 0 and 1 on the others."""
    parts = [np.random.default_rng(rank).normal(size=4000).astype(dtype) for rank in range(ranks)]
    for rank, part in enumerate(parts):
        part[::1000] = large if rank == 0 else 1
    return parts
