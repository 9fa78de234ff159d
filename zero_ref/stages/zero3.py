"""Stage 3: the parameters are partitioned too (ZeRO, section 5.3: P_os+g+p).

Stage 2 keeps every parameter on every rank, though only one unit computes at a time. Here the
all-gather moves to where a parameter is used, in the forward pass and again in the backward
pass, and the gathered copy dies with the call. It sends 3 psi, and 3k psi with k micro-batches.
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
        for u in units:
            x = u.forward(comm.all_gather(u.param, u.layout), x)
        g, part = loss_grad(x, y)
        for u in reversed(units):
            g, grad = u.backward(comm.all_gather(u.param, u.layout), g)
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
