"""The solution written in other ways: all of them are right."""

RIGHT = (
    """def step(units, comm, micro_batches, loss_grad, clip):
    losses = []

    def passes(x, y):
        for u in units:
            x = u.forward(u.param, x)
        g, part = loss_grad(x, y)
        losses.append(part)
        for u in units[::-1]:
            g, grad = u.backward(u.param, g)
            u.grad[:] += grad
            grad = None

    for x, y in micro_batches:
        passes(x, y)

    [comm.all_reduce(u.grad, u.layout) for u in units]
    norm, scale = clip(comm, list(map(lambda u: comm.shard(u.grad, u.layout), units)))
    for u in units:
        u.optimizer.update(u.param, u.grad, scale)
        u.grad *= 0
    return sum(losses), norm
""",
    """def step(units, comm, micro_batches, loss_grad, clip):
    losses = []

    def passes(x, y):
        for u in units:
            x = u.forward(u.param, x)
        g, part = loss_grad(x, y)
        losses.append(part)
        for u in units[::-1]:
            g, grad = u.backward(u.param, g)
            u.grad[:] += grad
            grad = None

    for x, y in micro_batches:
        passes(x, y)

    shards = []
    for u in units:
        comm.all_reduce(u.grad, u.layout)
        shards.append(comm.shard(u.grad, u.layout))
    norm, scale = clip(comm, shards)
    while units:
        u, *units = units
        u.optimizer.update(u.param, u.grad, scale)
        u.grad[...] = 0.0
    return sum(losses, 0.0), norm
""",
)
