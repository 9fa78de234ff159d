"""Stage 3 that reduces gradients once a step, as stage 1 does (FSDP: no_sync, set_requires_gradient_sync).

Stage 3 reduces in every micro-batch, so as to keep 1/N of the gradient. Here whole gradients are added up,
and reduced when the last micro-batch is through. It sends (2k + 1) psi with k micro-batches, not 3k psi, and
keeps psi for the gradient: at k = 1 a loss only. What is added first and reduced then has stage 1's bits.
"""

from zero_ref.array import track, zeros

KEEPS = {"parameter": "1/N", "gradient": "all", "optimizer": "1/N"}


def setup(units, comm, new_optimizer):
    for u in units:
        # copy(), because a view would keep the whole unit alive
        u.param = track("parameter", comm.shard(u.initial("gathered"), u.layout).copy())  # (psi/N,)
        u.grad = zeros(u.layout.padded, u.dtype, "gradient")  # (psi,)
        u.optimizer = new_optimizer(u.layout.counts[comm.rank])  # (psi/N,) each


def step(units, comm, micro_batches, loss_grad, clip):
    loss = 0.0
    for x, y in micro_batches:
        for u in units:
            x = u.forward(comm.all_gather(u.param, u.layout), x)
        g, part = loss_grad(x, y)
        for u in reversed(units):
            g, grad = u.backward(comm.all_gather(u.param, u.layout), g)
            u.grad += grad
            del grad  # or two units' whole gradients would be alive at once
        loss += part
    grads = [comm.reduce_scatter(u.grad, u.layout) for u in units]  # (psi/N,); the norm needs all
    norm, scale = clip(comm, grads)
    for u, grad in zip(units, grads):
        u.optimizer.update(u.param, grad, scale)
        u.grad.fill(0)
    return loss, norm


def full_param(u, comm):
    return comm.all_gather(u.param, u.layout)
