"""For lesson 26: units that are like the MLP of a GPT's block, and a last one for 3 classes."""

from collections.abc import Callable

import numpy as np

from lessons.given.few_steps import mlp
from zero_ref.autograd import Tensor
from zero_ref.layout import FlatLayout
from zero_ref.model import Unit

WIDTH = 16
SHAPES = {
    "up": (4 * WIDTH, WIDTH),
    "up_bias": (4 * WIDTH,),
    "down": (WIDTH, 4 * WIDTH),
    "down_bias": (WIDTH,),
}


def new_units(number: int, compute: Callable[[Tensor, dict[str, Tensor]], Tensor], ranks: int) -> list[Unit]:
    """So many units that compute(x, tensors) with x (samples, 16) and tensors of SHAPES; and the last one."""

    def starting_values(seed: int) -> Callable[[], list[np.ndarray]]:
        random = np.random.default_rng(seed)
        return lambda: [random.normal(0, 0.2, shape) for shape in SHAPES.values()]

    layouts = [FlatLayout(f"block {i}", SHAPES, ranks) for i in range(number)]
    units = [
        Unit(layout, compute, starting_values(i), "float64", first=i == 0) for i, layout in enumerate(layouts)
    ]
    (last,) = mlp([WIDTH, 3], ranks, "float64", seed=9)
    last.first = False  # its input is no data: the unit before it wants its gradient
    return [*units, last]
