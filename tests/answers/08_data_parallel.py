def step(units, comm, micro_batches, loss_grad, clip):
    loss = 0.0
    for x, y in micro_batches:
        for u in units:
            x = u.forward(u.param, x)
        g, part = loss_grad(x, y)
        for u in reversed(units):
            g, grad = u.backward(u.param, g)
            u.grad += grad
            del grad
        loss += part
    for u in units:
        comm.all_reduce(u.grad, u.layout)
    norm, scale = clip(comm, [comm.shard(u.grad, u.layout) for u in units])
    for u in units:
        u.optimizer.update(u.param, u.grad, scale)
        u.grad.fill(0)
    return loss, norm
