"""Stage 1: the optimizer state is partitioned (ZeRO, section 5.1: P_os).

Stage 0 updates every parameter N times over, with N copies of the optimizer state. Here rank r
updates shard r alone, between the two halves of the all-reduce: what is gathered is no longer
the gradient but the updated parameters. It sends 2 psi, as before.
"""

from zero_ref.array import zeros

KEEPS = {"parameter": "all", "gradient": "all", "optimizer": "1/N"}


def setup(units, comm, new_optimizer):
    for u in units:
        u.param = u.initial("parameter")  # (psi,)
        u.grad = zeros(u.layout.padded, u.dtype, "gradient")  # (psi,)
        u.optimizer = new_optimizer(u.layout.counts[comm.rank])  # (psi/N,) each


def step(units, comm, micro_batches, loss_grad, clip):
    loss = 0.0
    for x, y in micro_batches:
        for u in units:
            x = u.forward(u.param, x)
        g, part = loss_grad(x, y)
        for u in reversed(units):
            g, grad = u.backward(u.param, g)
            u.grad += grad
            del grad  # or two units' whole gradients would be alive at once
        loss += part
    grads = [comm.reduce_scatter(u.grad, u.layout) for u in units]  # (psi/N,); the norm needs all
    norm, scale = clip(comm, grads)
    for u, grad in zip(units, grads):
        shard = comm.shard(u.param, u.layout)  # (psi/N,); a view of u.param, or a copy
        u.optimizer.update(shard, grad, scale)
        comm.all_gather(shard, u.layout, out=u.param)
        u.grad.fill(0)
    return loss, norm


def full_param(u, comm):
    return u.param
