"""Stage 3 with prefetch and overlap: parameters come, and gradients go, while a unit computes.

Prefetch starts every all-gather one unit early. Here each reduce-scatter is finished one unit later
besides, so two units are gathered and two whole gradients are alive at once. The bytes are the same, and
so are the bits, of sums in rank order. Of the 3 psi nothing is left that a unit must wait for at once.
"""

from zero_ref.array import track, zeros

KEEPS = {"parameter": "1/N", "gradient": "1/N", "optimizer": "1/N"}


def setup(units, comm, new_optimizer):
    for u in units:
        # copy(), because a view would keep the whole unit alive
        u.param = track("parameter", comm.shard(u.initial("gathered"), u.layout).copy())  # (psi/N,)
        u.grad = zeros(u.layout.counts[comm.rank], u.dtype, "gradient")  # (psi/N,)
        u.optimizer = new_optimizer(u.layout.counts[comm.rank])  # (psi/N,) each


def gathered(units, comm):
    """Each unit with its parameters (psi,), while the next one's are on their way."""
    coming = comm.start_all_gather(units[0].param, units[0].layout)
    for u, following in zip(units, [*units[1:], None]):
        here, coming = coming, following and comm.start_all_gather(following.param, following.layout)
        yield u, comm.finish_all_gather(here)


def arrive(going, comm):
    """Add the gradient that is on its way; for the last unit there is none yet."""
    if going:
        u, reducing = going
        u.grad += comm.finish_reduce_scatter(reducing)


def step(units, comm, micro_batches, loss_grad, clip):
    loss = 0.0
    for x, y in micro_batches:
        for u, param in gathered(units, comm):
            x = u.forward(param, x)
            del param  # or three units would be here at once
        g, part = loss_grad(x, y)
        going = None
        for u, param in gathered(units[::-1], comm):
            g, grad = u.backward(param, g)
            del param
            arrive(going, comm)
            going = u, comm.start_reduce_scatter(grad, u.layout)
            del grad  # or three units' whole gradients would be alive at once
        arrive(going, comm)
        loss += part
    norm, scale = clip(comm, [u.grad for u in units])
    for u in units:
        u.optimizer.update(u.param, u.grad, scale)
        u.grad.fill(0)
    return loss, norm


def full_param(u, comm):
    return comm.all_gather(u.param, u.layout)
