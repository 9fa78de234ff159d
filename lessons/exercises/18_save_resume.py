# 18 各存各的，换 N 再读 · Save in pieces, load on another N
#
# 目标：save_sharded 把这个 rank 的分片存进 folder；load_resharded 把 folder 里最新（step 最大）而且完整的检查
# 点读回来，按现在的 N 重新切。存的时候有几个 rank，读的时候可以是另外几个。
# state 有三个向量：param、m、v。N 个 rank 时，rank r 的分片是 vector[ends[r] : ends[r + 1]]，ends =
# bounds(numel, [1] * N)。每个 rank 写自己的文件，文件名随你定；格式用 .npy 或 .npz，不要 pickle。folder 已经
# 建好，各个 rank 谁先存不一定，里面可能还有旧的检查点。
# comm 只有 rank 和 size：不许发消息，谁也不收集。文件缺了或坏了，就抛出异常（比如 ValueError），不要交回一部
# 分。
# 通过条件：存的 N 和读的 N 怎么组合都对（12 个 rank 存、5 个读也对）；缺文件、坏文件、混着旧检查点都不会读
# 错；存到一半断电，旧的还在；读的时候不把整个向量放进内存。
# 检查：python lessons/exercises/18_save_resume.py
#
# Goal: save_sharded puts this rank's shards into folder. load_resharded brings back the newest checkpoint
# (the largest step) that is complete, cut anew for the N of now: as many ranks as load need not be as many as
# saved.
# state has three vectors, param, m and v. Of N ranks, rank r's shard is vector[ends[r] : ends[r + 1]] with
# ends = bounds(numel, [1] * N). Each rank writes a file of its own, with a name of your choice, as .npy
# or .npz without pickle. folder is there; the ranks save in any order; an older checkpoint may be in it.
# comm has rank and size and nothing else: no messages, nobody gathers. Where a file is missing or damaged
# raise an exception (ValueError, say), and do not return a part.
# Done when: it is right for every pair of N (12 ranks save, 5 load); nothing wrong is read from missing or
# damaged files or beside an old checkpoint; a save that is cut off leaves the old one; and to load takes no
# memory for a whole vector.
# Check: python lessons/exercises/18_save_resume.py

from _exercise import check
from pathlib import Path

import numpy as np

from zero_ref.layout import bounds


def save_sharded(folder: Path, state: dict[str, np.ndarray], step: int, comm) -> None:
    """Write this rank's shards, state["param"], state["m"] and state["v"], each (own,), and `step` to folder.

    comm: rank and size, no messages.
    """
    raise NotImplementedError


def load_resharded(folder: Path, comm) -> tuple[dict[str, np.ndarray], int]:
    """The newest complete checkpoint in folder -> (state, step), this rank's shards, (own,) each.

    ends = bounds(numel, [1] * comm.size): shard r is vector[ends[r] : ends[r + 1]].
    """
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
