# 06 环形 reduce-scatter · Ring reduce-scatter
#
# 目标：N 个 rank 各有一个等长的向量 x。返回所有 rank 的 x 之和的第 rank 片；片的边界是 bounds(x.size, [1] *
# N)。
# 能用的只有 comm.rank、comm.size、comm.send(x, to)、comm.recv(source)、comm.sendrecv(x, to, source)。一条消息
# 要等对方开始接收才会离开。
# 通过条件：N = 1、2、3、4，长度整除和不整除都对；x 没有被改动；每个 rank 发送的恰好是别人的那几片。
# 检查：python lessons/exercises/06_ring_reduce_scatter.py
#
# Goal: Each of N ranks has a vector x, all of one length. Return shard `rank` of the sum of everybody's x;
# shards end where bounds(x.size, [1] * N) says.
# There are only comm.rank, comm.size, comm.send(x, to), comm.recv(source) and comm.sendrecv(x, to, source). A
# message leaves when its receiver has begun to receive it.
# Done when: it is right for N = 1, 2, 3 and 4, for lengths that N divides and others; x is unchanged; and
# each rank sends just the shards that are not its own.
# Check: python lessons/exercises/06_ring_reduce_scatter.py

from _exercise import check
import numpy as np

from zero_ref.layout import bounds


def ring_reduce_scatter(x: np.ndarray, comm) -> np.ndarray:
    """x (length,), the same length on every rank -> this rank's shard of the sum of all x.

    ends = bounds(x.size, [1] * comm.size): shard s is x[ends[s] : ends[s + 1]].
    """
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
