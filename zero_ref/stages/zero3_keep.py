"""Stage 3 that keeps what it has gathered until the backward pass (FSDP: reshard_after_forward=False).

Stage 3 gathers every unit twice, so as to hold one at a time. Here the copy of the forward pass stays until
the backward pass has used it: the whole model is gathered when the loss is there. It sends 2 psi, and 2k psi
with k micro-batches, and what lies there between steps is still 1/N.
"""

from zero_ref.array import track, zeros

KEEPS = {"parameter": "1/N", "gradient": "1/N", "optimizer": "1/N"}


def setup(units, comm, new_optimizer):
    for u in units:
        # copy(), because a view would keep the whole unit alive
        u.param = track("parameter", comm.shard(u.initial("gathered"), u.layout).copy())  # (psi/N,)
        u.grad = zeros(u.layout.counts[comm.rank], u.dtype, "gradient")  # (psi/N,)
        u.optimizer = new_optimizer(u.layout.counts[comm.rank])  # (psi/N,) each


def step(units, comm, micro_batches, loss_grad, clip):
    loss = 0.0
    for x, y in micro_batches:
        params = []  # (psi,) each, of the units that have been through the forward pass only
        for u in units:
            params.append(comm.all_gather(u.param, u.layout))
            x = u.forward(params[-1], x)
        g, part = loss_grad(x, y)
        for u in reversed(units):
            g, grad = u.backward(params.pop(), g)
            u.grad += comm.reduce_scatter(grad, u.layout)
            del grad  # or two units' whole gradients would be alive at once
        loss += part
    norm, scale = clip(comm, [u.grad for u in units])
    for u in units:
        u.optimizer.update(u.param, u.grad, scale)
        u.grad.fill(0)
    return loss, norm


def full_param(u, comm):
    return comm.all_gather(u.param, u.layout)
