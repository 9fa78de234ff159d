# 11 ZeRO-1：优化器状态切开 · ZeRO-1: the optimizer state is cut
#
# 目标：写出阶段 1 的一步。rank r 只有第 r 片的优化器状态，所以它只更新参数的第 r 片；u.param 和 u.grad 仍是完
# 整的（psi）。一步结束时，所有 rank 都要有更新后的完整参数。
# 留下：完整的参数和梯度，优化器状态的 1/N。发送：和阶段 0 一样，每个 unit 2 psi (N-1)/N 个元素，一步一次。
# 通过条件：N = 1、2、3、4，一个和两个 micro-batch，样本分不匀、有的 rank 一个也没有，SGD、Adam、AdamW，裁剪和
# 不裁剪：参数、loss、norm 都对，每个 rank 只更新自己那一片，发送的字节也对。06、07 和这一题都通过以后，可以用
# 它们训练：mpirun -n 4 python -m zero_ref.train --own lessons/exercises --stage 1
# 检查：python lessons/exercises/11_zero1.py
#
# Goal: Write one step of stage 1. Rank r has the optimizer state of shard r only, and so it updates shard r
# of the parameters; u.param and u.grad are still whole (psi). When the step ends every rank has to have all
# of the updated parameters.
# Kept: all parameters and gradients, 1/N of the optimizer state. Sent: as at stage 0, 2 psi (N-1)/N elements
# a unit, once a step.
# Done when: with N = 1, 2, 3 and 4, one micro-batch and two, uneven samples and ranks without any, SGD, Adam
# and AdamW, clipped or not: parameters, loss and norm are right, and each rank updates its own shard only and
# sends just these bytes. When 06, 07 and this have passed, train with them: mpirun -n 4 python -m
# zero_ref.train --own lessons/exercises --stage 1
# Check: python lessons/exercises/11_zero1.py

from _exercise import check


def step(units, comm, micro_batches, loss_grad, clip):
    """One optimizer step of stage 1, with this rank's samples -> (loss, norm).

    units: the layers, first to last. A unit's flat vector has psi = u.layout.padded elements, a shard psi/N.
        u.param (psi,)   u.grad (psi,), zeros: leave zeros in it
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
