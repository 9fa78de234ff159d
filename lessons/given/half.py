"""For lesson 15: real gradients in 16 bits, and units for a loss scale."""

import numpy as np

from zero_ref import datasets, model
from zero_ref.layout import FlatLayout
from zero_ref.train import options

SAMPLES = 64  # of the digits


def gradient(dtype: str, scale: float, step: int = 2**20) -> np.ndarray:
    """dL/dw of 64 real samples as part of a step of so many, float32 (parameters,).

    Computed in `dtype` with a loss scale, which is divided out again in float32.
    """
    digits = datasets.data_set_of(options.parse([]))
    units = model.build([64, 128, 64, 10], lambda name, shapes: FlatLayout(name, shapes, 1), dtype, seed=0)
    params, grads, x = [u.initial("gathered") for u in units], [], digits.x[:SAMPLES].astype(dtype)
    for u, param in zip(units, params):
        x = u.forward(param, x)
    g, _ = model.loss_grad(True, step, scale)(x, digits.y[:SAMPLES])
    for u, param in zip(units[::-1], params[::-1]):
        g, grad = u.backward(param, g)
        grads.append(grad.astype("float32") / scale)
    return np.concatenate(grads)


def one_a_rank(size: int) -> list[model.Unit]:
    """A unit of four float16 parameters on `size` ranks, for a LossScale."""
    return model.build([3, 1], lambda name, shapes: FlatLayout(name, shapes, size), "float16", seed=0)
