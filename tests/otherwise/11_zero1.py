"""The solution written in other ways: all of them are right."""

RIGHT = (
    """def forward_and_back(units, x, y, loss_grad, params, keep):
    for u in units:
        x = u.forward(params(u), x)
    g, part = loss_grad(x, y)
    for u in reversed(units):
        g, grad = u.backward(params(u), g)
        keep(u, grad)
        del grad
    return part


def step(units, comm, micro_batches, loss_grad, clip):
    def keep(u, grad):
        u.grad += grad

    of = lambda x, y: forward_and_back(units, x, y, loss_grad, lambda u: u.param, keep)
    loss = sum([of(x, y) for x, y in micro_batches], 0.0)
    shards = {id(u): comm.reduce_scatter(u.grad, u.layout) for u in units}
    norm, scale = clip(comm, [*shards.values()])
    for u in units:
        u.optimizer.update(mine := comm.shard(u.param, u.layout), shards.pop(id(u)), scale)
        comm.all_gather(mine, u.layout, out=u.param)
        u.grad -= u.grad
    return loss, norm
""",
    """def forward_and_back(units, x, y, loss_grad, params, keep):
    for u in units:
        x = u.forward(params(u), x)
    g, part = loss_grad(x, y)
    for u in reversed(units):
        g, grad = u.backward(params(u), g)
        keep(u, grad)
        del grad
    return part


def step(units, comm, micro_batches, loss_grad, clip):
    def keep(u, grad):
        u.grad[...] = u.grad + grad

    loss = 0.0
    for x, y in micro_batches:
        loss += forward_and_back(units, x, y, loss_grad, lambda u: u.param, keep)
    grads = []
    for u in units:
        grads.append(comm.reduce_scatter(u.grad, u.layout))
        u.grad.fill(0)
    norm, scale = clip(comm, grads)
    for i, u in enumerate(units):
        shard = comm.shard(u.param, u.layout)
        u.optimizer.update(shard, grads[i], scale)
    for u in units:
        comm.all_gather(comm.shard(u.param, u.layout), u.layout, out=u.param)
    return loss, norm
""",
)
