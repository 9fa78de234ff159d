# 12 ZeRO-2：梯度也切开 · ZeRO-2: the gradient, too
#
# 目标：写出阶段 2 的一步。现在 u.grad 只有一片（psi/N）：反向传播里，一个 unit 的梯度一算出来就求和，留下自己
# 那片，其余放掉。更新和收集与阶段 1 相同。
# 留下：完整的参数，梯度和优化器状态的 1/N。同时活着：最多一个 unit 的完整梯度。发送：k 个 micro-batch 时每个
# unit (k+1) psi (N-1)/N 个元素。
# 通过条件：N = 1、2、3、4，一个和两个 micro-batch，样本分不匀、有的 rank 一个也没有，SGD、Adam、AdamW，裁剪和
# 不裁剪：参数、loss、norm 都对，发送的字节和内存的峰值也对。06、07 和这一题都通过以后，可以用它们训练：mpirun
# -n 4 python -m zero_ref.train --own lessons/exercises --stage 2
# 检查：python lessons/exercises/12_zero2.py
#
# Goal: Write one step of stage 2. Now u.grad is a shard (psi/N): in the backward pass a unit's gradient is
# summed as soon as it is there, its own shard is kept, and the rest is let go. The update and the gathering
# are those of stage 1.
# Kept: all parameters, 1/N of the gradient and of the optimizer state. Alive at once: the whole gradient of
# one unit at most. Sent: (k+1) psi (N-1)/N elements a unit, with k micro-batches.
# Done when: with N = 1, 2, 3 and 4, one micro-batch and two, uneven samples and ranks without any, SGD, Adam
# and AdamW, clipped or not: parameters, loss and norm are right, and so are the bytes sent and the peak of
# memory. When 06, 07 and this have passed, train with them: mpirun -n 4 python -m zero_ref.train --own
# lessons/exercises --stage 2
# Check: python lessons/exercises/12_zero2.py

from _exercise import check


def step(units, comm, micro_batches, loss_grad, clip):
    """One optimizer step of stage 2, with this rank's samples -> (loss, norm).

    units: the layers, first to last. A unit's flat vector has psi = u.layout.padded elements, a shard psi/N.
        u.param (psi,)   u.grad (psi/N,), zeros: leave zeros in it
        u.forward(param, x) -> outputs       param (psi,), x (samples, inputs)
        u.backward(param, g) -> (g, grad)    g = dL/d outputs becomes dL/dx; grad (psi,) is new
        u.optimizer.update(param, grad, scale)    param -= ... in place, with scale * grad; both (psi/N,)
    micro_batches: pairs (x, y), as many on every rank; any of them may have no samples
    loss_grad(outputs, y) -> (g, part)    L is the mean over the samples of the whole step on all ranks, and
        part what these samples add to it: gradients and losses are only ever added up
    clip(comm, shards) -> (norm, scale)    call it once a step, on all ranks, with a list of arrays: over all
        ranks each element of the summed gradient once. norm: of the whole gradient; scale: at most 1
    comm.rank, comm.size, and of full (psi,) and shard (psi/N,):
        comm.shard(full, u.layout) -> shard             this rank's part of it, a view; no message
        comm.reduce_scatter(full, u.layout) -> shard    this rank's shard of the sum over the ranks, new
        comm.all_gather(shard, u.layout, out=None) -> full    all ranks' shards, in `out` if there is one
        comm.all_reduce(full, u.layout)                 the sum over the ranks, in place
    loss: the sum of this rank's parts. norm: what clip says.
    """
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
