"""ZeRO's stages, one file each. Read them side by side, zero0.py first: the difference is the idea.

Every stage is a module with these three functions; `psi` is the number of parameters of a unit,
padded so that N divides it, and e the bytes of one number.

    setup(units, comm, new_optimizer)
        Hang on each unit what this rank keeps of it: `param`, `grad`, `optimizer`.
        new_optimizer(n) makes an optimizer for a vector of n elements.

    step(units, comm, micro_batches, loss_grad, max_norm) -> (loss, norm)
        One optimizer step on this rank's samples.
        micro_batches: pairs x (samples, features), y (samples,) or (samples, targets); as many
        pairs on every rank, any of them may be empty.
        loss_grad(outputs, y) -> (dL/d outputs, loss), where L counts all ranks' samples.
        max_norm: clip the norm of the whole gradient to this; None to leave it.
        loss: this rank's part of the step's loss. norm: of the whole gradient before clipping.

    full_param(unit, comm) -> (psi,)
        The parameters of one unit, whole, on every rank. All ranks must call it together.

There is nothing here but ZeRO: no timing, no printing, no `if rank == 0`.
"""
