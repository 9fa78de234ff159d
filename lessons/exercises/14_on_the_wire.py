# 14 在网线上花多少 · What it costs on the wire
#
# 目标：两个函数。bytes_sent(psi, size, stage, micro_batches, itemsize)：psi 个参数在 size 个 rank 上用第
# stage 阶段（0 到 3）训练一步，一步有 micro_batches 个 micro-batch，一个元素 itemsize 字节。一个 rank 发送多
# 少字节？返回字典，两项是 "reduce_scatter" 和 "all_gather"。
# 参数排成一个扁平的向量，补齐到 size 的倍数。自己那一片不用发给自己。阶段 0 的 all-reduce 由这两种集合通信组
# 成，分别计入。
# peak_gathered(units, size, ahead)：阶段 3 的前向，units 是各个 unit 的元素个数，按计算的次序。一个 unit 计算
# 的时候，后面 ahead 个 unit 也已经收集好了（0 是不预取）；算完就放掉。同时存在的、临时收集的参数，最多有多少
# 个元素？每个 unit 各自补齐到 size 的倍数。
# 通过条件：四个阶段、一个和多个 micro-batch、除得尽和除不尽、N = 1 都对；收集的峰值在不预取、预取一个和多个时
# 都对，unit 不够多也对。
# 检查：python lessons/exercises/14_on_the_wire.py
#
# Goal: Two functions. bytes_sent(psi, size, stage, micro_batches, itemsize): psi parameters are trained for
# one step at stage 0, 1, 2 or 3 on `size` ranks, with micro_batches micro-batches to a step and itemsize
# bytes to an element. How many bytes does one rank send? Return a dictionary of two: "reduce_scatter" and
# "all_gather".
# The parameters are one flat vector, padded to a multiple of size. A rank does not send its own shard to
# itself. The all-reduce of stage 0 is made of these two collectives, and each counts as what it is.
# peak_gathered(units, size, ahead): a forward pass of stage 3. units has the number of elements of each unit,
# in the order in which they compute. While one computes, the next `ahead` units are gathered already (0 is no
# prefetch); after computing it is dropped. How many elements of gathered parameters are there at most at one
# moment? Each unit is padded to a multiple of size.
# Done when: all four stages are right, with one micro-batch and more, with psi that size divides and others,
# and on one rank; and so is the peak without prefetch, with one unit ahead and with more, even where there
# are fewer units.
# Check: python lessons/exercises/14_on_the_wire.py

from _exercise import check


def bytes_sent(psi: int, size: int, stage: int, micro_batches: int, itemsize: int) -> dict[str, int]:
    """Bytes that one of `size` ranks sends in one step: {"reduce_scatter": ..., "all_gather": ...}.

    psi: parameters, not padded yet; stage: 0 to 3; itemsize: bytes of an element.
    """
    raise NotImplementedError


def peak_gathered(units: list[int], size: int, ahead: int) -> int:
    """The most elements of gathered parameters at one moment of a forward pass of stage 3.

    units: elements of each unit, not padded yet, in the order in which they compute;
    ahead: units that are gathered beside the one that computes.
    """
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
