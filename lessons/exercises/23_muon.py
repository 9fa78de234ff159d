# 23 每个矩阵归一个 rank · One owner for each matrix
#
# 目标：assign(shapes, size)：shapes 是 名字 -> (行, 列)。给每个矩阵定一个 rank（0 到 size-1），返回 名字 ->
# rank。元素最多的 rank，不能超过最好的分法的 4/3。每个 rank 各自调用，谁也不问谁，所以结果必须一样。
# turn(shapes, owner, momenta, orthogonal, comm)：owner 是 名字 -> rank，任意给定；momenta 里只有本 rank 的矩
# 阵。每个矩阵正交化一次，返回 名字 -> 正交化以后的矩阵，**所有**矩阵，每个 rank 都要。可能有的 rank 一个矩阵
# 也没有。
# 通过条件：最多的 rank 不超过最好的 4/3；各 rank 的结果逐比特相同；每个矩阵只正交化一次；一共只发 (N-1) × 全
# 部元素 × 8 字节；momenta 没有被改动。
# 检查：python lessons/exercises/23_muon.py
#
# Goal: assign(shapes, size): shapes is name -> (rows, columns). Find a rank, 0 to size-1, for each matrix;
# return name -> rank. The rank with most elements may have no more than 4/3 of what is possible at best.
# Every rank calls it alone and asks nobody, so the result has to be the same.
# turn(shapes, owner, momenta, orthogonal, comm): owner is name -> rank, any that is given; momenta has this
# rank's matrices alone. Make each matrix orthogonal once; return name -> orthogonal matrix, **all** of them,
# on every rank. A rank may own none.
# Done when: the rank with most has no more than 4/3 of the best; all ranks have the same bits; each matrix is
# made orthogonal once; (N-1) x all elements x 8 bytes are sent in all; momenta is unchanged.
# Check: python lessons/exercises/23_muon.py

from _exercise import check
from collections.abc import Callable

import numpy as np


def assign(shapes: dict[str, tuple[int, int]], size: int) -> dict[str, int]:
    """The rank that owns each matrix, the same whoever asks."""
    raise NotImplementedError


def turn(
    shapes: dict[str, tuple[int, int]],
    owner: dict[str, int],
    momenta: dict[str, np.ndarray],
    orthogonal: Callable[[np.ndarray], np.ndarray],
    comm,
) -> dict[str, np.ndarray]:
    """Every matrix, made orthogonal, on every rank.

    momenta: (rows, columns) each, those of which this rank is the owner
    orthogonal(m) -> new (rows, columns)    call it once for each matrix, over all ranks
    comm.send(x, to), comm.recv(source), comm.sendrecv(x, to, source): arrays of any length
    """
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
