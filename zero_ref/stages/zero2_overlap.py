"""Stage 2 with overlap: a unit's gradient travels while the unit before it computes its own.

Stage 2 waits for every reduce-scatter before it computes. Here each is finished one unit later, so two
whole gradients are alive at once, one on its way and one being computed. The bytes are the same, and so
are the bits, of sums in rank order. It pays where a wire carries them while the processor computes.
"""

from zero_ref.array import zeros

KEEPS = {"parameter": "all", "gradient": "1/N", "optimizer": "1/N"}


def setup(units, comm, new_optimizer):
    for u in units:
        u.param = u.initial("parameter")  # (psi,)
        u.grad = zeros(u.layout.counts[comm.rank], u.dtype, "gradient")  # (psi/N,)
        u.optimizer = new_optimizer(u.layout.counts[comm.rank])  # (psi/N,) each


def arrive(going, comm):
    """Add the gradient that is on its way; for the last unit there is none yet."""
    if going:
        u, reducing = going
        u.grad += comm.finish_reduce_scatter(reducing)


def step(units, comm, micro_batches, loss_grad, clip):
    loss = 0.0
    for x, y in micro_batches:
        for u in units:
            x = u.forward(u.param, x)
        g, part = loss_grad(x, y)
        going = None
        for u in reversed(units):
            g, grad = u.backward(u.param, g)
            arrive(going, comm)
            going = u, comm.start_reduce_scatter(grad, u.layout)
            del grad  # or three units' whole gradients would be alive at once
        arrive(going, comm)
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
