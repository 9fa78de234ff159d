"""Numbers of 16 bits: master weights in float32, a loss scale, and gradients that are not finite.

Parameters and gradients of 16 bits halve memory and traffic, but an update that is small beside its
parameter is rounded away: 1 + 1e-4 is 1 in float16. So the optimizer works on a float32 copy, the
master, of its own shard only, and the parameters are that copy rounded. With Adam the optimizer then
keeps 12 bytes a parameter (arXiv 1910.02054, section 3.1) where parameter and gradient take 2 each.

A gradient may also be too small for float16. The loss is multiplied by a scale before the backward
pass, and the optimizer divides by it. Where that makes a gradient overflow on any rank, all
ranks leave the step out, because they look at one and the same norm, and halve the scale.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zero_ref.array import Array, zeros
from zero_ref.clip import clip
from zero_ref.comm import Comm
from zero_ref.launch import CleanEnd, UsageError
from zero_ref.model import LossGrad, Unit
from zero_ref.optim import take_state, whole_state


class Master:
    """An optimizer on a float32 copy of a vector of 16-bit numbers.

    n: elements. make(n, ...): the optimizer of the copy. State: the copy, and that optimizer's.
    """

    def __init__(self, n: int, make: Callable[..., Any], **about: Any) -> None:
        self.optimizer = make(n, **about)
        self.master = zeros(n, "float32", "optimizer")  # the first update copies the parameters

    @property
    def steps(self) -> int:
        """Updates made."""
        return self.optimizer.steps

    @steps.setter
    def steps(self, number: int) -> None:
        self.optimizer.steps = number  # whoever sets it has filled the master

    @property
    def lr(self) -> float:
        """The learning rate of the next update."""
        return self.optimizer.lr

    @lr.setter
    def lr(self, rate: float) -> None:
        self.optimizer.lr = rate

    def state(self) -> dict[str, Array]:
        """The vectors (n,) that have to outlive a stop of the run, by name; `steps` has to, too."""
        return {"master": self.master, **self.optimizer.state()}

    def whole_state(self) -> dict[str, Array]:
        """The same, all of it vectors (n,); see optim.whole_state."""
        return {"master": self.master, **whole_state(self.optimizer)}

    def take_state(self, vectors: dict[str, Array]) -> None:
        """The way back from `whole_state`."""
        take_state(self.optimizer, vectors)

    def update(self, param: Array, grad: Array, scale: float) -> None:
        """One step on `param` (n,) in place, with the gradient scale * `grad` (n,). None for scale 0."""
        if self.steps == 0:
            self.master[...] = param
        self.optimizer.update(self.master, grad, scale)
        param[...] = self.master  # rounded once


class NotFinite(CleanEnd):
    """The gradient of a step holds NaN or infinity, and no loss scale can mend it."""


class Guard:
    """Clipping for a run: the norm as in clip.py, and an end with a name when it is not finite.

    Raises NotFinite on all ranks alike, before any parameter changes.
    """

    scale = 1.0  # of the loss

    def __init__(self, units: Sequence[Unit], max_norm: float | None) -> None:
        self.units, self.max_norm = units, max_norm
        self.steps = 0  # steps asked for
        self.losses: list[Any] = []  # of this rank in this step

    def listen(self, loss_grad: LossGrad) -> LossGrad:
        """The same loss_grad; losses are remembered, to name the rank of one that is not finite."""

        def remember(outputs: Array, targets: Array) -> tuple[Array, float]:
            g, loss = loss_grad(outputs, targets)
            self.losses.append(loss)
            return g, loss

        self.losses.clear()
        return remember

    def __call__(self, comm: Comm, shards: Sequence[Array]) -> tuple[float, float]:
        """(norm, factor) for the gradient of which this rank has `shards`, one of each unit."""
        self.steps += 1
        norm, factor = clip(comm, shards, self.max_norm)
        self.check_factor(norm, factor)
        if factor == 0:
            raise NotFinite(self.describe(comm, shards))
        return norm, factor

    def check_factor(self, norm: float, factor: float) -> None:
        """UsageError where clipping leaves nothing of a finite gradient: the factor is 0 as it is used."""
        used = factor if self.units[0].dtype.itemsize == 8 else float(np.float32(factor))
        if self.max_norm and 0 < norm < math.inf and used == 0:
            raise UsageError(
                f"step {self.steps}: --clip-norm {self.max_norm:g} is too small: the gradient has norm "
                f"{norm:.4g}, and the factor between them is 0 in these numbers"
            )

    def describe(self, comm: Comm, shards: Sequence[Array]) -> str:
        """Where the gradient is not finite: the step, and each owner's first tensor."""
        bad = None
        for unit, shard in reversed(list(zip(self.units, shards))):
            places = (~(abs(shard) < math.inf)).nonzero()[0]
            if len(places):
                bad = f"{unit.layout.prefix}{unit.layout.tensor_of(comm.rank, int(places[0]))}"
        found = [f"{name} (rank {rank}'s shard)" for rank, name in enumerate(comm.everyone(bad)) if name]
        where = f"is not finite, first in {', '.join(found)}" if found else "is too large to have a norm"
        bad_loss = not all(math.isfinite(loss) for loss in self.losses)
        ranks = [str(rank) for rank, bad in enumerate(comm.everyone(bad_loss)) if bad]
        whose = f"; the loss is not finite on rank {', '.join(ranks)}" if ranks else ""
        return f"step {self.steps}: the gradient {where}{whose}"


class LossScale(Guard):
    """A guard for float16: the loss is multiplied by `scale`, which follows the gradient.

    Halved, down to `floor`, when a step overflows, which is then left out; doubled after `window`
    good steps in a row. skipped: steps left out. Raises NotFinite where `floor` overflows, too.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        max_norm: float | None,
        scale: float = 2.0**16,
        window: int = 1000,
        floor: float = 1.0,
    ) -> None:
        super().__init__(units, max_norm)
        self.scale, self.window, self.floor = scale, window, floor
        self.good = self.skipped = 0

    def __call__(self, comm: Comm, shards: Sequence[Array]) -> tuple[float, float]:
        """(norm without the loss scale, factor that takes it out again and clips; 0 on overflow)."""
        self.steps += 1
        scaled, factor = clip(comm, shards, self.max_norm and self.max_norm * self.scale)
        self.check_factor(scaled / self.scale, factor * (1 / self.scale))
        if factor == 0:
            if self.scale <= self.floor:
                raise NotFinite(self.describe(comm, shards))
            self.scale = max(self.scale / 2, self.floor)
            self.good, self.skipped = 0, self.skipped + 1
            return scaled, 0.0
        norm, factor = scaled / self.scale, factor / self.scale
        self.good += 1
        if self.good == self.window:
            self.scale, self.good = 2 * self.scale, 0
        return norm, factor
