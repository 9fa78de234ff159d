# 15 十六位：舍入与 loss scale · Sixteen bits: rounding and the loss scale
#
# 目标：写两个函数。to_bfloat16 把 float32 舍入成 bfloat16，只用整数运算：bfloat16 的 16 位就是 float32 的高
# 16 位，但要舍入到最近的数；恰在两数正中时，取最后一位是 0 的那个。
# scaled_step 用 float16 的梯度走一步。梯度乘过 loss scale，即 scaler["scale"]；reduce-scatter 之后每个 rank
# 手里只有自己那一片。只要任何一个 rank 的片里有 inf 或 NaN，所有 rank 都跳过这一步，scale 减半，good 归零。否
# 则把梯度变成 float32，除掉 scale，交给 update(master, g)；good 加一，加到 every 时 scale 加倍，good 归零。
# 能用的只有 comm.rank、comm.size 和 comm.sum(数)：各 rank 的一个数之和，每个 rank 都必须调用。
# 通过条件：舍入对每一位都对，inf 和 NaN 也对；N = 1、2、3 时各个 rank 一起走、一起跳；update 得到 float32 的
# 真实梯度，master 一直是 float32；scale 和 good 每一步之后都对；x 和 grad 没有被改动。
# 检查：python lessons/exercises/15_sixteen_bits.py
#
# Goal: Write two functions. to_bfloat16 rounds float32 to bfloat16, with whole numbers only: the 16 bits of a
# bfloat16 are the upper 16 of a float32, but rounded to the nearest, and half-way between two to the one
# whose last bit is 0.
# scaled_step takes a step with a float16 gradient. The gradient is multiplied by the loss scale
# scaler["scale"], and after the reduce-scatter each rank has its shard only. If any rank's shard has an
# infinity or a NaN, all ranks leave the step out: scale halves, good becomes 0. Otherwise the gradient is
# made float32, the scale is taken out, and update(master, g) gets it; good counts up, and when it reaches
# `every`, scale doubles and good becomes 0.
# There are only comm.rank, comm.size and comm.sum(number): the sum of one number of every rank, which every
# rank has to call.
# Done when: every bit is rounded right, with infinities and NaN; for N = 1, 2 and 3 all ranks step, or none;
# update gets the true gradient in float32, and master stays float32; scale and good are right after each
# step; x and grad are unchanged.
# Check: python lessons/exercises/15_sixteen_bits.py

from _exercise import check
import numpy as np


def to_bfloat16(x: np.ndarray) -> np.ndarray:
    """x (n,) float32 -> (n,) uint16: the bits of each number rounded to bfloat16, to nearest, ties to even.

    x.view(np.uint32) (n,): the 32 bits, 1 of sign, 8 of exponent, 23 of fraction; bfloat16 keeps 7 of these.
    A NaN stays a NaN, whichever. What is too large for a bfloat16 becomes an infinity.
    """
    raise NotImplementedError


def scaled_step(grad: np.ndarray, master: np.ndarray, scaler: dict, update, comm) -> bool:
    """One step on this rank's shard. Returns whether it was taken; on all ranks, or on none.

    grad (n,) float16: this shard of the summed gradient, times scaler["scale"]; n may differ between ranks.
    master (n,) float32: this shard of the weights.
    scaler: {"scale": float, "good": int, "every": int}; scale and good are changed in place.
    update(master, g): the optimizer, changes master in place; g (n,) float32: the gradient without the scale.
    comm.sum(number) -> float: the sum over all ranks.
    """
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
