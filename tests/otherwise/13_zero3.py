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

    def whole(u):
        return comm.all_gather(u.param, u.layout)

    loss = sum([forward_and_back(units, x, y, loss_grad, whole, keep) for x, y in micro_batches], 0.0)
    norm, scale = clip(comm, [u.grad for u in units])
    for u in units:
        u.optimizer.update(u.param, u.grad, scale)
        u.grad.fill(0)
    return loss, norm
""",
    """def step(units, comm, micro_batches, loss_grad, clip):
    loss = 0.0
    for x, y in micro_batches:
        h = x
        for u in units:
            full = comm.all_gather(u.param, u.layout)
            h = u.forward(full, h)
            full = None
        g, part = loss_grad(h, y)
        loss += part
        for u in units[::-1]:
            full = comm.all_gather(u.param, u.layout)
            g, grad = u.backward(full, g)
            full = None
            u.grad += comm.reduce_scatter(grad, u.layout)
            grad = None
    norm, scale = clip(comm, tuple(u.grad for u in units))
    [u.optimizer.update(u.param, u.grad, scale) for u in units]
    [u.grad.fill(0) for u in units]
    return loss, norm
""",
)
