# 21 组内切片，组间相加 · Sharded inside, added up between
#
# 目标：comm 的 rank 按号码每 group 个一组：0 到 group-1 是第一组，依此类推；group 整除 comm.size。每个组都有
# 整个模型，组里第 i 个拥有第 i 片：长 numel 的向量用 bounds(numel, [1] * group) 切片（第 09 课）。
# group_reduce_scatter(x, group, comm)：每个 rank 有完整的 x，返回**所有** rank 的 x 之和里，自己那一片。
# group_all_gather(shard, numel, group, comm)：返回完整的向量，一个字节也不出组。
# Part(comm, ranks) 给出由 comm 的某些 rank 组成的小 comm，可以交给你在 06、07 写的函数。
# 通过条件：和是对的，切得尽和切不尽都对，组的大小从 1 到 N 都对；组内发的是一次 reduce-scatter 的字节，组间发
# 的是一片的 all-reduce，all-gather 不出组。
# 检查：python lessons/exercises/21_groups.py
#
# Goal: The ranks of comm are in groups of `group` neighbours: 0 to group-1 are the first group, and so on;
# group divides comm.size. Each group has the whole model, and of a group the rank at place i has shard i: a
# vector of numel elements is cut by bounds(numel, [1] * group) (lesson 09).
# group_reduce_scatter(x, group, comm): every rank has a whole x; return its own shard of the sum of the x of
# **all** ranks. group_all_gather(shard, numel, group, comm): return the whole vector, without a byte that
# leaves the group.
# Part(comm, ranks) is a small comm of some of comm's ranks, which you can give to the functions of exercises
# 06 and 07.
# Done when: the sums are right, whatever the length, with groups of 1 to N; what is sent inside are the bytes
# of one reduce-scatter, between groups those of an all-reduce of one shard, and an all-gather leaves no
# group.
# Check: python lessons/exercises/21_groups.py

from _exercise import check, ring_all_gather, ring_reduce_scatter
import numpy as np

from lessons.given.part import Part


def group_reduce_scatter(x: np.ndarray, group: int, comm) -> np.ndarray:
    """This rank's shard of the sum of x (numel,) over all ranks: the slice of its place in its group.

    Part(comm, ranks)                       those ranks as a comm of their own, in this order
    ring_reduce_scatter(x, comm) -> shard   ring_all_gather(shard, numel, comm) -> full
    """
    raise NotImplementedError


def group_all_gather(shard: np.ndarray, numel: int, group: int, comm) -> np.ndarray:
    """The whole vector (numel,), from the shards of this rank's group."""
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
