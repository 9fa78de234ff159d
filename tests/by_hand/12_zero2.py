"""Written by hand, with what must be told; "" is a pass. A function that is missing is the solution's."""

ANSWERS = (
    (
        "next_shard_of_parameters",
        """def step(units, comm, micro_batches, loss_grad, clip):
    loss = 0.0
    for x, y in micro_batches:
        for u in units:
            x = u.forward(u.param, x)
        g, part = loss_grad(x, y)
        loss += part
        for u in units[::-1]:
            g, grad = u.backward(u.param, g)
            u.grad += comm.reduce_scatter(grad, u.layout)
            del grad
    norm, scale = clip(comm, [u.grad for u in units])
    for u in units:
        n = len(u.param) // comm.size
        k = (comm.rank + 1) % comm.size
        own = u.param[k * n : (k + 1) * n]
        u.optimizer.update(own, u.grad, scale)
        comm.all_gather(own, u.layout, out=u.param)
        u.grad[:] = 0.0
    return loss, norm
""",
    ),
    (
        "second_copy",
        """def step(units, comm, micro_batches, loss_grad, clip):
    def back(u, g):
        g, grad = u.backward(u.param, g)
        u.grad += comm.reduce_scatter(grad, u.layout)
        return g

    loss = 0.0
    for x, y in micro_batches:
        for u in units:
            x = u.forward(u.param, x)
        g, part = loss_grad(x, y)
        loss += part
        for u in units[::-1]:
            g = back(u, g)
    norm, scale = clip(comm, [u.grad for u in units])
    for u in units:
        own = comm.shard(u.param, u.layout).copy()
        u.optimizer.update(own, u.grad, scale)
        u.param[:] = comm.all_gather(own, u.layout)
        u.grad.fill(0)
    return loss, norm
""",
    ),
    (
        "",
        """import functools


def step(units, comm, micro_batches, loss_grad, clip):
    def back(g, u):
        g, grad = u.backward(u.param, g)
        u.grad += comm.reduce_scatter(grad, u.layout)
        return g

    def one(x, y):
        g, part = loss_grad(functools.reduce(lambda h, u: u.forward(u.param, h), units, x), y)
        functools.reduce(back, reversed(units), g)
        return part

    loss = sum(one(x, y) for x, y in micro_batches)
    norm, scale = clip(comm, [u.grad for u in units])
    for u in units:
        u.optimizer.update(comm.shard(u.param, u.layout), u.grad, scale)
        comm.all_gather(comm.shard(u.param, u.layout), u.layout, u.param)
        u.grad -= u.grad
    return loss, norm
""",
    ),
)
