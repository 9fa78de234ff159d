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
        u.grad += comm.reduce_scatter(grad, u.layout)

    of = lambda x, y: forward_and_back(units, x, y, loss_grad, lambda u: u.param, keep)
    loss = sum([of(x, y) for x, y in micro_batches], 0.0)
    norm, scale = clip(comm, [u.grad for u in units])
    for u in units:
        u.optimizer.update(comm.shard(u.param, u.layout), u.grad, scale)
        comm.all_gather(comm.shard(u.param, u.layout), u.layout, out=u.param)
    for u in units:
        u.grad[:] = 0
    return loss, norm
""",
    """def step(units, comm, micro_batches, loss_grad, clip):
    total = 0.0
    for x, y in micro_batches:
        for i in range(len(units)):
            x = units[i].forward(units[i].param, x)
        g, part = loss_grad(x, y)
        for i in range(len(units) - 1, -1, -1):
            g, full = units[i].backward(units[i].param, g)
            piece = comm.reduce_scatter(full, units[i].layout)
            full = None
            for at in range(piece.size):
                units[i].grad[at] += piece[at]
        total = total + part
    norm, scale = clip(comm, [u.grad for u in units])
    for u in units:
        shard = comm.shard(u.param, u.layout)
        u.optimizer.update(shard, u.grad, scale)
        comm.all_gather(shard, u.layout, out=u.param)
        u.grad.fill(0.0)
    return total, norm
""",
)
