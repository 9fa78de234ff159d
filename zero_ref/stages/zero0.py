"""Stage 0: plain data parallelism, as PyTorch's DistributedDataParallel does it. Not ZeRO yet.

Every rank has the whole model and its own samples. All-reducing the gradient, which is a
reduce-scatter and then an all-gather, keeps the N copies equal. It sends 2 psi and holds
everything N times.
"""

from zero_ref.array import zeros

KEEPS = {"parameter": "all", "gradient": "all", "optimizer": "all"}


def setup(units, comm, new_optimizer):
    for u in units:
        u.param = u.initial("parameter")  # (psi,)
        u.grad = zeros(u.layout.padded, u.dtype, "gradient")  # (psi,)
        u.optimizer = new_optimizer(u.layout.padded)  # (psi,) each


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
    for u in units:
        comm.all_reduce(u.grad, u.layout)
    norm, scale = clip(comm, [comm.shard(u.grad, u.layout) for u in units])
    for u in units:
        u.optimizer.update(u.param, u.grad, scale)
        u.grad.fill(0)
    return loss, norm


def full_param(u, comm):
    return u.param
