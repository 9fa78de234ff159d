"""The rules of optim.py for one element, in lines that are both Python and CUDA.

compiled.py and kernels.py make loops and kernels of them. The operations are those of optim.py in the same
order, so the bits are the same. In the lines p is the parameter and g the gradient, already scaled; the
other names are those of the optimizer's vectors and of the numbers of this step.
"""

from dataclasses import dataclass

from zero_ref import optim
from zero_ref.array import Array


@dataclass
class Rule:
    """lines: one assignment each; numbers: name -> value; vectors: name -> state (n,), changed in place."""

    lines: tuple[str, ...]
    numbers: dict[str, float]
    vectors: dict[str, Array]


def sgd_rule(optimizer: optim.SGD) -> Rule:
    """optim.SGD, with or without weight decay and momentum."""
    lines = ["g = g + p * decay"] if optimizer.weight_decay else []
    lines += ["velocity = velocity * momentum + g", "g = velocity"] if optimizer.momentum else []
    numbers = {"decay": optimizer.weight_decay, "momentum": optimizer.momentum, "lr": optimizer.lr}
    return Rule((*lines, "p = p - g * lr"), numbers, optimizer.state())


def adam_rule(optimizer: optim.Adam) -> Rule:
    """optim.Adam and AdamW, in the step that `steps` counts."""
    beta1, beta2 = optimizer.betas
    rate, eps = optimizer.corrected()
    numbers = {"rest1": 1 - beta1, "beta2": beta2, "rest2": 1 - beta2, "eps": eps, "rate": rate}
    lines = ["g = g + p * decay"] if optimizer.weight_decay else []
    numbers["decay"] = optimizer.weight_decay
    if optimizer.decoupled:
        lines, numbers["decay"] = ["p = p * decay"], 1 - optimizer.lr * optimizer.weight_decay
    lines += [
        "m = m + (g - m) * rest1",
        "v = v * beta2 + (g * g) * rest2",
        "p = p - m / (sqrt(v) + eps) * rate",
    ]
    return Rule(tuple(lines), numbers, optimizer.state())
