"""ZeRO's stages, one file each. Read them side by side, zero0.py first: the difference is the idea.

Every stage is a module with KEEPS and three functions. In their comments psi is the number of elements
of one unit's flat vector, with padding, and psi/N that of a shard (where the rule makes shards equal).

    KEEPS = {"parameter": ..., "gradient": ..., "optimizer": ...}
        What a rank keeps of each between steps: "all", or "1/N", its shard. The rest of the program reads
        it: what is saved, compared, predicted and drawn.

    setup(units, comm, new_optimizer)
        Hang on each unit what this rank keeps of it: `param`, `grad`, `optimizer`.
        new_optimizer(n) makes an optimizer for a vector of n elements.

    step(units, comm, micro_batches, loss_grad, clip) -> (loss, norm)
        One optimizer step on this rank's samples.
        micro_batches: pairs x (samples, features), y (samples,) or (samples, targets); as many
        pairs on every rank, any of them may be empty.
        loss_grad(outputs, y) -> (dL/d outputs, loss): L is the mean over the samples of the whole
        step on all ranks. So gradients are only ever summed: nothing here divides by N.
        clip(comm, shards) -> (norm, scale): the norm of the whole gradient, for which the ranks
        must talk, and the factor that the optimizers apply to it (1 where nothing is clipped).
        loss: this rank's part of the step's loss. norm: of the whole gradient before clipping.

    full_param(unit, comm) -> (psi,)
        The parameters of one unit, whole, on every rank. All ranks must call it together.

A unit `u` is one layer. It never keeps parameters; each pass is given them:

    u.forward(param, x) -> outputs            param (psi,), x (samples, inputs)
    u.backward(param, g) -> (g, grad)         g = dL/d outputs becomes dL/dx; grad (psi,) is new

Words such as "gradient" or "gathered" where an array is born are the kinds under which the
ledger counts it. There is nothing here but ZeRO: no timing, no printing, no `if rank == 0`.
"""

from types import ModuleType

from zero_ref.stages import (
    zero0,
    zero1,
    zero2,
    zero2_overlap,
    zero3,
    zero3_keep,
    zero3_overlap,
    zero3_prefetch,
    zero3_reduce_once,
)

STAGES: dict[int, ModuleType] = {0: zero0, 1: zero1, 2: zero2, 3: zero3}
VARIANTS: dict[tuple[int | str, ...], ModuleType] = {  # a stage, and the options that ask for another file
    (2, "overlap"): zero2_overlap,
    (3, "prefetch"): zero3_prefetch,
    (3, "prefetch", "overlap"): zero3_overlap,
    (3, "keep_after_forward"): zero3_keep,
    (3, "reduce_once"): zero3_reduce_once,
}
