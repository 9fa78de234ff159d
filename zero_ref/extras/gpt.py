"""`--model gpt`: GPT-2's architecture (Radford et al. 2019) as a list of units, for any stage.

    wte_wpe      a token's vector plus that of its place
    h.0, h.1 ... blocks: attention and an MLP of two layers, each behind a layer norm and added to its input
    ln_f_head    a layer norm, and from width to symbols

A sample is a window of `context` tokens (whole numbers), and the target of each is the token after it.
Tensors have the names and shapes of nanoGPT's modules. The head has weights of its own: tied to wte, they
would belong to two units, gathered at two times of a step, and their two gradients would have to meet.
"""

import argparse
import math
from collections.abc import Callable, Iterable

import numpy as np

from zero_ref.autograd import Tensor, add, gelu, linear
from zero_ref.data import Task
from zero_ref.extras.transformer import add_rows, causal_attention, embedding, layer_norm
from zero_ref.model import DRAWN, LayoutOf, Load, Tensors, Unit

START = 0.02  # standard deviation of the starting weights, as GPT-2's
Shapes = dict[str, tuple[int, ...]]


def embed(x: Tensor, t: Tensors) -> Tensor:
    """Tokens (samples, context) to vectors (samples, context, width)."""
    return add_rows(embedding(t["wte.weight"], x.data), t["wpe.weight"])


def block(heads: int) -> Callable[[Tensor, Tensors], Tensor]:
    """A block with so many heads: x (samples, context, width) to the same shape."""

    def compute(x: Tensor, t: Tensors) -> Tensor:
        h = layer_norm(x, t["ln_1.weight"], t["ln_1.bias"])
        h = causal_attention(linear(h, t["attn.c_attn.weight"], t["attn.c_attn.bias"]), heads)
        x = add(x, linear(h, t["attn.c_proj.weight"], t["attn.c_proj.bias"]))
        h = layer_norm(x, t["ln_2.weight"], t["ln_2.bias"])
        h = gelu(linear(h, t["mlp.c_fc.weight"], t["mlp.c_fc.bias"]))
        return add(x, linear(h, t["mlp.c_proj.weight"], t["mlp.c_proj.bias"]))

    return compute


def head(x: Tensor, t: Tensors) -> Tensor:
    """Vectors to logits (samples, context, symbols)."""
    return linear(layer_norm(x, t["ln_f.weight"], t["ln_f.bias"]), t["lm_head.weight"])


def shapes_of_block(width: int) -> Shapes:
    """The tensors of one block."""
    return {
        "ln_1.weight": (width,),
        "ln_1.bias": (width,),
        "attn.c_attn.weight": (3 * width, width),
        "attn.c_attn.bias": (3 * width,),
        "attn.c_proj.weight": (width, width),
        "attn.c_proj.bias": (width,),
        "ln_2.weight": (width,),
        "ln_2.bias": (width,),
        "mlp.c_fc.weight": (4 * width, width),
        "mlp.c_fc.bias": (4 * width,),
        "mlp.c_proj.weight": (width, 4 * width),
        "mlp.c_proj.bias": (width,),
    }


def build(o: argparse.Namespace, task: Task, layout: LayoutOf, load: Load | None = None) -> list[Unit]:
    """The units of --model gpt: --layers blocks of --width with --heads, for windows of task.features tokens.

    Weights start normal with standard deviation 0.02, those that are added to a sum of 2 layers with
    0.02/sqrt(2 layers); norms with 1, biases with 0; or as load(name) gives them.
    """
    context, symbols, width = task.features, task.outputs, o.width
    ends: Shapes = {"ln_f.weight": (width,), "ln_f.bias": (width,), "lm_head.weight": (symbols, width)}
    units: list[tuple[str, str, Callable[[Tensor, Tensors], Tensor], Shapes]] = [
        ("wte_wpe", "", embed, {"wte.weight": (symbols, width), "wpe.weight": (context, width)}),
        *((f"h.{i}", f"h.{i}.", block(o.heads), shapes_of_block(width)) for i in range(o.layers)),
        ("ln_f_head", "", head, ends),
    ]

    def start(number: int, prefix: str, shapes: Shapes) -> Callable[[], Iterable[np.ndarray]]:
        def starting_values() -> Iterable[np.ndarray]:
            random = np.random.default_rng([o.seed, number])
            for name, shape in shapes.items():
                if load is not None:
                    yield load(prefix + name)
                elif len(shape) == 1:
                    yield np.full(shape, 0.0 if name.endswith("bias") else 1.0)
                else:
                    deviation = START / (math.sqrt(2 * o.layers) if "c_proj" in name else 1)
                    for left in range(math.prod(shape), 0, -DRAWN):
                        yield random.normal(0, deviation, min(left, DRAWN))

        return starting_values

    return [
        Unit(layout(name, shapes, prefix=prefix), compute, start(i, prefix, shapes), o.dtype, i == 0)
        for i, (name, prefix, compute, shapes) in enumerate(units)
    ]
