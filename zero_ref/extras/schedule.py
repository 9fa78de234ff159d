"""`--schedule constant|cosine|linear --warmup W`: the learning rate of each step of a run.

With s steps done, W of warm-up and S in the whole run, the rate of the next one is lr times

    warm-up, s < W     (s + 1) / (W + 1)                  no step is lost with a rate of 0
    constant           1
    linear             1 - (s - W) / (S - W)
    cosine             (1 + cos(pi (s - W) / (S - W))) / 2          (arXiv 1608.03983, without restarts)

From the end of the warm-up on these are the lambdas of PyTorch's LambdaLR as most programs write them; the
last step is made with the smallest rate, which is not yet 0. A step that float16 leaves out is one of the S.

The rate follows from the options and from s alone, so that a checkpoint holds nothing more for it. S is the
end of the run that goes on: one that is resumed with another end follows the curve to that end from there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from zero_ref.launch import UsageError
from zero_ref.launch.singular import number_of

DECAYS: dict[str, Callable[[float], float]] = {  # from the part of the way, 0 to 1, to a part of the rate
    "constant": lambda part: 1.0,
    "cosine": lambda part: (1 + math.cos(math.pi * part)) / 2,
    "linear": lambda part: 1 - part,
}


@dataclass(frozen=True)
class Schedule:
    """The rate of a step, given how many are done. decay: a name in DECAYS; last: steps of the whole run.

    UsageError if the run would end before the warm-up does.
    """

    lr: float
    decay: str
    warmup: int
    last: int

    def __post_init__(self) -> None:
        if 0 < self.last <= self.warmup:
            raise UsageError(
                f"--warmup {self.warmup}: the run has {number_of(self.last, 'steps')}, "
                "and all would be warm-up"
            )

    def __call__(self, done: int) -> float:
        if done < self.warmup:
            return self.lr * ((done + 1) / (self.warmup + 1))
        return self.lr * DECAYS[self.decay]((done - self.warmup) / (self.last - self.warmup))

    @property
    def varies(self) -> bool:
        """Whether not all steps have the rate lr."""
        return self.warmup > 0 or self.decay != "constant"
