"""Written by hand, with what must be told; "" is a pass. A function that is missing is the solution's."""

ANSWERS = (
    (
        "clip_exchanged",
        """def step(units, comm, micro_batches, loss_grad, clip):
    loss = 0.0
    for x, y in micro_batches:
        for u in units:
            x = u.forward(u.param, x)
        g, part = loss_grad(x, y)
        loss += part
        for u in units[::-1]:
            g, grad = u.backward(u.param, g)
            u.grad += grad
    for u in units:
        comm.all_reduce(u.grad, u.layout)
    scale, norm = clip(comm, [comm.shard(u.grad, u.layout) for u in units])
    for u in units:
        u.optimizer.update(u.param, u.grad, scale)
        u.grad[:] = 0
    return loss, norm
""",
    ),
    (
        "not_passed_back",
        """def step(units, comm, micro_batches, loss_grad, clip):
    loss = 0.0
    for x, y in micro_batches:
        for u in units:
            x = u.forward(u.param, x)
        g, part = loss_grad(x, y)
        loss += part
        for u in units[::-1]:
            _, grad = u.backward(u.param, g)
            u.grad += grad
    for u in units:
        comm.all_reduce(u.grad, u.layout)
    norm, scale = clip(comm, [comm.shard(u.grad, u.layout) for u in units])
    for u in units:
        u.optimizer.update(u.param, u.grad, scale)
        u.grad[:] = 0
    return loss, norm
""",
    ),
    (
        "two_gradients",
        """def step(units, comm, micro_batches, loss_grad, clip):
    loss = 0.0
    for x, y in micro_batches:
        for u in units:
            x = u.forward(u.param, x)
        g, part = loss_grad(x, y)
        loss += part
        for u in units[::-1]:
            g, grad = u.backward(u.param, g)
            u.grad += grad
    shards = [comm.reduce_scatter(u.grad, u.layout) for u in units]
    norm, scale = clip(comm, shards)
    for u, s in zip(units, shards):
        u.optimizer.update(u.param, comm.all_gather(s, u.layout), scale)
        u.grad *= 0
    return loss, norm
""",
    ),
    (
        "returns_type",
        """def step(units, comm, micro_batches, loss_grad, clip):
    loss = []
    for x, y in micro_batches:
        for u in units:
            x = u.forward(u.param, x)
        g, part = loss_grad(x, y)
        loss.append(part)
        for u in units[::-1]:
            g, grad = u.backward(u.param, g)
            u.grad += grad
    for u in units:
        comm.all_reduce(u.grad, u.layout)
    norm, scale = clip(comm, [comm.shard(u.grad, u.layout) for u in units])
    for u in units:
        u.optimizer.update(u.param, u.grad, scale)
        u.grad[:] = 0
    return loss, norm
""",
    ),
    (
        "",
        """def step(units, comm, micro_batches, loss_grad, clip):
    def through(x, y, rest):
        if not rest:
            return loss_grad(x, y)
        u = rest[0]
        g, part = through(u.forward(u.param, x), y, rest[1:])
        g, grad = u.backward(u.param, g)
        u.grad += grad
        return g, part

    loss = sum(through(x, y, units)[1] for x, y in micro_batches)
    for u in units:
        comm.all_reduce(u.grad, u.layout)
    norm, scale = clip(comm, [comm.shard(u.grad, u.layout) for u in units])
    for u in units:
        u.optimizer.update(u.param, u.grad, scale)
        u.grad[:] = 0
    return loss, norm
""",
    ),
)
