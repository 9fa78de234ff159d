def step(units, comm, micro_batches, loss_grad, clip):
    loss = 0.0
    for x, y in micro_batches:
        for u in units:
            x = u.forward(u.param, x)
        g, part = loss_grad(x, y)
        for u in reversed(units):
            g, grad = u.backward(u.param, g)
            u.grad += comm.reduce_scatter(grad, u.layout)
            del grad
        loss += part
    norm, scale = clip(comm, [u.grad for u in units])
    for u in units:
        shard = comm.shard(u.param, u.layout)
        u.optimizer.update(shard, u.grad, scale)
        comm.all_gather(shard, u.layout, out=u.param)
        u.grad.fill(0)
    return loss, norm
