# 04 谁读哪些样本 · Who reads which sample
#
# 目标：写两条分配规则，每个 rank 不通信、独自就能算出同样的结果。
# my_samples：把 0 到 samples-1 的样本随机打乱后分给 size 个 rank，返回第 rank 个 rank 在这个 epoch 读的样本编
# 号。每个样本恰好归一个 rank，各 rank 的个数最多差 1；换一个 epoch 或换一个种子，打乱的结果就不同。先打乱，再
# 分。
# owner：返回名为 name 的样本归哪个 rank 负责。结果只由 name 和 size 决定，在任何进程里、任何时候都一样，并且
# 各 rank 分到的大致一样多。
# 通过条件：N = 1 到 4 个真实的进程各自计算，合起来每个样本都恰好有一个 rank；epoch、种子都起作用；归属处处一
# 致、分布均匀。
# 检查：python lessons/exercises/04_sharding_data.py
#
# Goal: Write two rules by which each rank, alone and without a message, works out the same as all others.
# my_samples: shuffle the samples 0 to samples-1, deal them to `size` ranks, and return the numbers of those
# that rank `rank` reads in this epoch. Each sample has exactly one rank, and ranks differ by one sample at
# most. Another epoch or another seed is another shuffle; shuffle first, then deal.
# owner: the rank that owns the sample called `name`. It depends on `name` and `size` only, is the same in
# every process and at all times, and gives the ranks about equally many.
# Done when: 1 to 4 real processes each work it out, and together every sample has exactly one rank; epoch and
# seed both matter; owners are the same everywhere and spread evenly.
# Check: python lessons/exercises/04_sharding_data.py

from _exercise import check
import numpy as np


def my_samples(samples: int, rank: int, size: int, epoch: int, seed: int) -> np.ndarray:
    """The samples of `rank` in this epoch: (how many,) whole numbers of range(samples), in any order."""
    raise NotImplementedError


def owner(name: str, size: int) -> int:
    """The rank, 0 to size - 1, that owns the sample of this name."""
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
