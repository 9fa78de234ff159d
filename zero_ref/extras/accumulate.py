"""`--accumulate float32`: the gradients of micro-batches are added up in float32, beside numbers of 16 bits.

In 16 bits a sum loses what is small beside it: 1 + 2^-12 is 1 in bfloat16, however often it is added, and
the sum of 1 and 63 times 2^-12 is 1, not 1.0154. So what a stage hangs on a unit as `grad` is of float32
here, 4 bytes a number in place of 2. The stage is otherwise as it is, and that decides what travels:

    stages 0, 1   reduce what they have added up: it travels in float32, too, once a step, as in Megatron-LM
                  with --accumulate-allreduce-grads-in-fp32; stage 0 gathers the sum in float32
    stages 2, 3   reduce the gradient of every micro-batch: it travels in 16 bits, its sum over the ranks is
                  made in float32 and rounded once, and added to the shard in float32, as in DeepSpeed with
                  grad_accum_dtype fp32
"""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from zero_ref.array import zeros
from zero_ref.comm import Comm
from zero_ref.model import Unit


def wide(stage: ModuleType, dtype: str) -> ModuleType:
    """The same stage, which keeps gradients in `dtype` between micro-batches."""

    def setup(units: Sequence[Unit], comm: Comm, new_optimizer: Callable[[int], Any]) -> None:
        stage.setup(units, comm, new_optimizer)
        for u in units:
            u.grad = zeros(u.grad.size, dtype, "gradient")  # (psi,) or (psi/N,), as the stage KEEPS it

    same = ModuleType(stage.__name__)
    vars(same).update(vars(stage), setup=setup)
    return same
