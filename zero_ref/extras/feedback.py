"""`--error-feedback BETA[/T]`: what a code loses of a gradient is sent with the next one (LoCo).

    h = g + e                            what is coded: the gradient, and what is still owed
    e = beta e + (1 - beta) (h - back)   back: what came back from the code of h; after T steps e = 0

Without it each step adds its own error to the sum of all gradients, and the sum drifts. With it, because
h - back - e = (e_new - e) / (1 - beta), the errors of all steps take each other away but for two:

    everything sent = everything computed - (e_now - e_first) / (1 - beta)

This is as much after ten steps as after a million. beta = 0 sends all that is owed at once; a moving average
sends less of it, so that noise is not sent back and forth. Every e is of one element, on one rank, of one
message: a rank has as many as a unit has elements, 4 psi bytes at every stage, counted as gradient. They
are no rank's shard: nobody else has them.

(LoCo, arXiv 2407.04480: moving average and reset; the rule as in DeepSpeed's kernel loco_swizzled_quant,
there with 0.8/1024 as an example, and e in 8 or 16 bits. Without the average: 1-bit SGD, Seide et al. 2014.)
"""

import argparse
import math
import weakref
from typing import Any

from zero_ref.array import Array, empty, to_numpy, xp, zeros
from zero_ref.comm import Comm
from zero_ref.extras.codes import Code
from zero_ref.layout import FlatLayout


class Feedback:
    """What this rank owes of each unit. beta: of the moving average; every: steps after which e = 0, or 0."""

    def __init__(self, beta: float, every: int = 0) -> None:
        self.beta, self.every = beta, every
        # By unit: (padded,) of float32, in rank order. It dies with the unit that has it, not with this.
        self.owed: weakref.WeakValueDictionary[FlatLayout, Any] = weakref.WeakValueDictionary()
        self.cleared: dict[FlatLayout, int] = {}

    def keep(self, layout: FlatLayout) -> Array:
        """What is owed of a unit, first nothing: remembered for as long as somebody has it."""
        owed = zeros(layout.padded, "float32", "gradient")
        self.owed[layout] = owed
        return owed

    def of(self, layout: FlatLayout, step: int) -> Array:
        """What is owed of a unit when a gradient of step `step` (from 1) is sent."""
        owed = self.owed[layout]
        if self.every and step > 1 and (step - 1) % self.every == 0 and self.cleared.get(layout) != step:
            owed.fill(0)
            self.cleared[layout] = step  # the next micro-batch of this step adds to what this one leaves
        return owed

    def encode(self, code: Code, part: Array, owed: Array, coded: Array) -> None:
        """As code.encode(part, coded), of `part` and what is owed of it, which is brought up to date."""
        wanted, back = (empty(part.size, "float32", "buffer") for _ in range(2))
        wanted[...] = part
        wanted += owed
        code.encode(wanted, coded)
        code.decode(coded, back)
        wanted -= back
        wanted[~xp.isfinite(wanted)] = 0  # of a step that diverges; it must not stay for ever
        wanted *= 1 - self.beta
        owed *= self.beta
        owed += wanted

    def drift(self) -> float:
        """A bound on the norm of what all that this rank has sent lacks."""
        squares = (float((to_numpy(owed).astype("float64") ** 2).sum()) for owed in self.owed.values())
        return math.sqrt(sum(squares)) / (1 - self.beta)


def drift_of(comm: Any, world: Comm) -> float | None:
    """The bounds of all ranks of `world` together; None where nobody remembers. They call it together."""
    feedback: Feedback | None = getattr(comm, "feedback", None)
    return world.sum(feedback.drift()) if feedback else None


class Owing(Code):
    """A code that sends what is owed, too."""

    def __init__(self, code: Code, feedback: Feedback, owed: Array) -> None:
        super().__init__(code.kind, code.block)
        self.code, self.feedback, self.owed = code, feedback, owed

    def encode(self, vector: Array, coded: Array) -> None:
        """As Feedback.encode."""
        self.feedback.encode(self.code, vector, self.owed, coded)


def feedback_of(text: str) -> Feedback:
    """What an option asks for: 0, 0.8, 0.8/1024; a ValueError for anything else."""
    beta, slash, every = text.partition("/")
    if not 0 <= float(beta) < 1 or (slash and not (every.isdecimal() and int(every))):
        raise ValueError(text)
    return Feedback(float(beta), int(every) if slash else 0)


def named(text: str) -> str:
    """The type of the option; "none" stays what it is."""
    if text == "none":
        return text
    try:
        asked = feedback_of(text)
    except ValueError:
        said = f"expected a number from 0 to below 1, perhaps with /STEPS, or none, not {text!r}"
        raise argparse.ArgumentTypeError(said) from None
    return f"{asked.beta!r}" + (f"/{asked.every}" if asked.every else "")
