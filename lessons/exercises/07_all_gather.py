# 07 环形 all-gather，以及 all-reduce · Ring all-gather, and all-reduce
#
# 目标：写两个函数，消息只在环上的邻居之间走；comm 和上一题的一样：comm.rank、comm.size、comm.send(x, to)、
# comm.recv(source)、comm.sendrecv(x, to, source)。
# ring_all_gather：rank r 有第 r 片，每个 rank 都要得到长度为 numel 的全部；片的边界是 bounds(numel, [1] *
# N)，长度可能不等。这里没有加法，只是搬运：N-1 步，每步把刚收到的传给右邻居。
# ring_all_reduce：每个 rank 有一个等长的 x，每个 rank 都要得到所有 x 的和。用上一题的 ring_reduce_scatter（上
# 一题通过以后，导入的就是你自己写的）加上 ring_all_gather 拼成。
# 通过条件：N = 1 到 4，长度整除和不整除都对；所有 rank 的结果逐位相同；传进来的数组没有被改动；all-gather 里
# 每个 rank 发出除了右邻居那一片以外的全部，all-reduce 总共约 2(N-1)/N 个 x，一个字节也不多。
# 检查：python lessons/exercises/07_all_gather.py
#
# Goal: Write two functions; messages go between neighbours of the ring only. comm is that of the last
# exercise: comm.rank, comm.size, comm.send(x, to), comm.recv(source), comm.sendrecv(x, to, source).
# ring_all_gather: rank r has shard r, and every rank is to get all numel elements; shards end where
# bounds(numel, [1] * N) says, and may be of unequal lengths. Nothing is added here, only moved: N-1 hops, and
# at each the shard that has just come is passed on to the right.
# ring_all_reduce: each rank has a vector x, all of one length, and every rank is to get the sum of them all.
# Make it of ring_reduce_scatter of the last exercise (yours, once it has passed) and ring_all_gather.
# Done when: it is right for N = 1 to 4, for lengths that N divides and others; all ranks have the same bits;
# arguments are unchanged; in the all-gather each rank sends everything but its right neighbour's shard, and
# in the all-reduce about 2(N-1)/N of x in all, not one byte more.
# Check: python lessons/exercises/07_all_gather.py

from _exercise import check, ring_reduce_scatter
import numpy as np

from zero_ref.layout import bounds


def ring_all_gather(shard: np.ndarray, numel: int, comm) -> np.ndarray:
    """This rank's shard (its slice,) -> all shards in order: (numel,) of the shard's dtype, a new array.

    ends = bounds(numel, [1] * comm.size): shard s belongs at full[ends[s] : ends[s + 1]].
    """
    raise NotImplementedError


def ring_all_reduce(x: np.ndarray, comm) -> np.ndarray:
    """x (length,), the same length on every rank -> the sum of all x (length,), equal bit for bit."""
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
