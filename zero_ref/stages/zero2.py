"""Stage 2: the gradient is partitioned too (ZeRO, section 5.2: P_os+g).

Stage 1 keeps the whole gradient until the step ends, though rank r uses shard r only. Here the
reduce-scatter moves into the backward pass: a unit's gradient lives for one unit, and its
shard is what stays. It sends 2 psi with one micro-batch, (k + 1) psi with k.
"""

from zero_ref.array import zeros

KEEPS = {"parameter": "all", "gradient": "1/N", "optimizer": "1/N"}


def setup(units, comm, new_optimizer):
    for u in units:
        u.param = u.initial("parameter")  # (psi,)
        u.grad = zeros(u.layout.counts[comm.rank], u.dtype, "gradient")  # (psi/N,)
        u.optimizer = new_optimizer(u.layout.counts[comm.rank])  # (psi/N,) each


def step(units, comm, micro_batches, loss_grad, clip):
    loss = 0.0
    for x, y in micro_batches:
        for u in units:
            x = u.forward(u.param, x)
        g, part = loss_grad(x, y)
        for u in reversed(units):
            g, grad = u.backward(u.param, g)
            u.grad += comm.reduce_scatter(grad, u.layout)
            del grad  # or two units' whole gradients would be alive at once
        loss += part
    norm, scale = clip(comm, [u.grad for u in units])
    for u in units:
        shard = comm.shard(u.param, u.layout)  # (psi/N,); a view of u.param, or a copy
        u.optimizer.update(shard, u.grad, scale)
        comm.all_gather(shard, u.layout, out=u.param)
        u.grad.fill(0)
    return loss, norm


def full_param(u, comm):
    return u.param
