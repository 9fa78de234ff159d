# 16 范数、裁剪、不匀的批次 · Norms, clipping, uneven batches
#
# 目标：写三个函数。global_norm：每个 rank 有梯度的几片，每个元素只在一个 rank 上；返回整个梯度的范数，所有
# rank 得到同一个数。平方和用 float64 算。能用的只有 comm.rank、comm.size 和 comm.sum(数)：各 rank 的一个数之
# 和，每个 rank 都必须调用。
# clip_scale：梯度要乘的因子，使范数不超过 max_norm。短的梯度不动，范数是 0 也不出错。和 zero_ref/clip.py 一
# 样，范数旁边可以加上 1e-6。
# loss_weights：counts[r][k] 是 rank r 的第 k 个 micro-batch 的 token 数。每个 micro-batch 只算出自己的平均
# loss；返回本 rank 各个平均要乘的系数，使得所有 rank、所有 micro-batch 的结果直接相加，就是全部 token 的平均
# loss。
# 通过条件：N = 1、2、3，有空的片、空的 micro-batch、没有 token 的 rank，都对；float16 的片平方也不溢出；各
# rank 的范数逐比特相同；shards 和 counts 没有被改动。
# 检查：python lessons/exercises/16_norms.py
#
# Goal: Write three functions. global_norm: each rank has some shards of the gradient, each element on one
# rank only; return the norm of the whole gradient, the same on all ranks, with squares and sum in float64.
# There are only comm.rank, comm.size and comm.sum(number): the sum of one number of every rank, which every
# rank has to call.
# clip_scale: the factor that brings the gradient's norm down to max_norm. A short gradient stays as it is,
# and a norm of 0 is no error. As in zero_ref/clip.py, 1e-6 may be added to the norm.
# loss_weights: counts[r][k] is the number of tokens in micro-batch k of rank r. Of each micro-batch there is
# only its mean loss; return what this rank's means have to be multiplied by, so that all results of all ranks
# and micro-batches, just added, are the mean loss of all tokens.
# Done when: all are right for N = 1, 2 and 3, with empty shards, empty micro-batches and a rank without
# tokens; squares of float16 shards do not overflow; the norm has the same bits on all ranks; shards and
# counts are unchanged.
# Check: python lessons/exercises/16_norms.py

from _exercise import check
import numpy as np


def global_norm(shards: list[np.ndarray], comm) -> float:
    """The norm of the whole gradient: the root of the sum of all squares on all ranks, in float64.

    shards: this rank's elements, each array (n,) float16, float32 or float64; n may be 0. Padding is 0.
    comm.sum(number) -> float: the sum over all ranks.
    """
    raise NotImplementedError


def clip_scale(norm: float, max_norm: float) -> float:
    """What the gradient is multiplied by so that its norm is at most max_norm: 1 where it is already.

    norm >= 0, max_norm > 0. A small number such as 1e-6 may be added to norm.
    """
    raise NotImplementedError


def loss_weights(counts: list[list[int]], rank: int) -> list[float]:
    """The weights of this rank's K mean losses, whose sum over all ranks is the mean over all tokens.

    counts: N rows of K numbers, counts[r][k] the tokens of rank r in micro-batch k; 0 where there are none.
    """
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
