# 13 ZeRO-3：连参数也切开 · ZeRO-3: the parameters, too
#
# 目标：写出阶段 3 的一步。现在 u.param 也只有一片（psi/N）：一个 unit 要用参数时才收集，用完就放掉；前向收集
# 一次，反向再收集一次。
# 留下：参数、梯度、优化器状态都是 1/N。同时活着：最多一个 unit 的完整参数，最多一个 unit 的完整梯度。发送：k
# 个 micro-batch 时每个 unit 3k psi (N-1)/N 个元素。
# 通过条件：N = 1、2、3、4，一个和两个 micro-batch，样本分不匀、有的 rank 一个也没有，SGD、Adam、AdamW，裁剪和
# 不裁剪：参数、loss、norm 都对，发送的字节和内存的峰值也对。06、07 和这一题都通过以后，可以用它们训练：mpirun
# -n 4 python -m zero_ref.train --own lessons/exercises --stage 3
# 检查：python lessons/exercises/13_zero3.py
#
# Goal: Write one step of stage 3. Now u.param is a shard, too (psi/N): a unit's parameters are gathered when
# they are needed and let go after that, once in the forward pass and once more in the backward pass.
# Kept: 1/N of parameters, gradient and optimizer state. Alive at once: the whole parameters of one unit at
# most, and the whole gradient of one. Sent: 3k psi (N-1)/N elements a unit, with k micro-batches.
# Done when: with N = 1, 2, 3 and 4, one micro-batch and two, uneven samples and ranks without any, SGD, Adam
# and AdamW, clipped or not: parameters, loss and norm are right, and so are the bytes sent and the peak of
# memory. When 06, 07 and this have passed, train with them: mpirun -n 4 python -m zero_ref.train --own
# lessons/exercises --stage 3
# Check: python lessons/exercises/13_zero3.py

from _exercise import check


def step(units, comm, micro_batches, loss_grad, clip):
    """One optimizer step of stage 3, with this rank's samples -> (loss, norm).

    units: the layers, first to last. A unit's flat vector has psi = u.layout.padded elements, a shard psi/N.
        u.param (psi/N,)   u.grad (psi/N,), zeros: leave zeros in it
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
