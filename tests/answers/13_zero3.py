def step(units, comm, micro_batches, loss_grad, clip):
    loss = 0.0
    for x, y in micro_batches:
        for u in units:
            x = u.forward(comm.all_gather(u.param, u.layout), x)
        g, part = loss_grad(x, y)
        for u in reversed(units):
            g, grad = u.backward(comm.all_gather(u.param, u.layout), g)
            u.grad += comm.reduce_scatter(grad, u.layout)
            del grad
        loss += part
    norm, scale = clip(comm, [u.grad for u in units])
    for u in units:
        u.optimizer.update(u.param, u.grad, scale)
        u.grad.fill(0)
    return loss, norm
