# 08 数据并行：阶段 0 · Data parallelism: stage 0
#
# 目标：写出阶段 0 的一步。每个 rank 都有完整的模型和自己的样本；各自算梯度，对所有 rank 求和，再各自做同样的
# 更新。u.param、u.grad、u.optimizer 已经备好，都是完整的（psi）。
# 留下：参数、梯度、优化器状态，各一整份。发送：每个 unit 2 psi (N-1)/N 个元素，一步一次，不论有几个
# micro-batch。
# 通过条件：N = 1、2、3、4，一个和两个 micro-batch，样本分不匀、有的 rank 一个也没有，SGD、Adam、AdamW，裁剪和
# 不裁剪：参数、loss、norm 都对，发送的字节也对。06、07 和这一题都通过以后，可以用它们训练：mpirun -n 4 python
# -m zero_ref.train --own lessons/exercises --stage 0
# 检查：python lessons/exercises/08_data_parallel.py
#
# Goal: Write one step of stage 0. Each rank has the whole model and samples of its own: it computes a
# gradient, the ranks add theirs up, and all make the same update. u.param, u.grad and u.optimizer are there,
# all of them whole (psi).
# Kept: parameters, gradient and optimizer state, all of each. Sent: 2 psi (N-1)/N elements a unit, once a
# step, however many micro-batches there are.
# Done when: with N = 1, 2, 3 and 4, one micro-batch and two, uneven samples and ranks without any, SGD, Adam
# and AdamW, clipped or not: parameters, loss and norm are right, and so are the bytes sent. When 06, 07 and
# this have passed, train with them: mpirun -n 4 python -m zero_ref.train --own lessons/exercises --stage 0
# Check: python lessons/exercises/08_data_parallel.py

from _exercise import check


def step(units, comm, micro_batches, loss_grad, clip):
    """One optimizer step of stage 0, with this rank's samples -> (loss, norm).

    units: the layers, first to last. A unit's flat vector has psi = u.layout.padded elements, a shard psi/N.
        u.param (psi,)   u.grad (psi,), zeros: leave zeros in it
        u.forward(param, x) -> outputs       param (psi,), x (samples, inputs)
        u.backward(param, g) -> (g, grad)    g = dL/d outputs becomes dL/dx; grad (psi,) is new
        u.optimizer.update(param, grad, scale)    param -= ... in place, with scale * grad; both (psi,)
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
