"""Stage 3 with prefetch: the next unit's parameters travel while this one computes.

Stage 3 waits for every all-gather before it computes. Here each is started one unit early, so two
units are gathered at once, one computing and one on its way. The bytes are the same, and so are the
bits. It pays where a wire carries them while the processor computes (see docs/cluster.md).
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


def step(units, comm, micro_batches, loss_grad, clip):
    loss = 0.0
    for x, y in micro_batches:
        for u, param in gathered(units, comm):
            x = u.forward(param, x)
            del param  # or three units would be here at once
        g, part = loss_grad(x, y)
        for u, param in gathered(units[::-1], comm):
            g, grad = u.backward(param, g)
            del param
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
