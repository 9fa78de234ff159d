# %% [markdown] id="04-title" lang="zh"
# # 04 谁读哪些样本
#
# 前三课都是一个进程。现在有四个，先要分的是数据：一批样本的梯度是各个样本之和（第 01 课），所以样本可以分给四个 rank，只要每个样本**恰好由一个** rank 读。用不着谁来分好再通知大家：定一条**规则**，每个 rank 自己就能算出谁读什么，而且算得都一样。
# %% [markdown] id="04-title" lang="en" src="bf0e3ca0"
# # 04 Who reads which sample
#
# So far there was one process. Now there are four, and the data are dealt first: a batch's gradient is the sum over its samples (lesson
# 01), so samples can go to four ranks, as long as **exactly one** reads each. Nobody has to deal them and tell the others: by a **rule**
# each rank works out on its own who reads what, and all arrive at the same answer.
# %%
import hashlib
import os
import subprocess
import sys

import numpy as np
from _lesson import each, pick, ranks, rows, say, show

from lessons.given.real_runs import train
from zero_ref.data import Batches, DataSet
from zero_ref.layout import bounds

comm = ranks(4)
rank, SEED = comm.rank, 5
labels = np.repeat(range(4), [5, 6, 5, 6])  # 22 samples, sorted by class
data = DataSet(np.zeros((22, 1)), labels, 4)
epoch_and_step = list(np.ndindex(2, 3))  # steps of 8, 8 and 6 samples
shuffled = Batches(data, np.arange(22), 8, rule="random", seed=SEED, rank=rank, shares=[1] * 4)
hashed = Batches(data, np.arange(22), 8, rule="hash", seed=SEED, rank=rank, shares=[1] * 4)

# %% [markdown] id="04-rules" lang="zh"
# ## 两种规则
#
# - **带种子的排列**：种子和 epoch 相同，`permutation` 在每个 rank 上排出的次序就相同；切成每步 8 个样本，再切成 4 份。
# - **稳定的哈希**：样本 i 归 h(i) mod N，h 在哪个进程里都一样（这里用 blake2b）。负责的 rank 永远不变，每个 rank 只需存自己的样本；代价是不匀。
#
# 下面一行一个 rank，一列一个样本，数字是读它的那一步；左边是第 1 个 epoch。先想一想：右边的第 2 个 epoch 会一样吗？
# %% [markdown] id="04-rules" lang="en" src="cf476b69"
# ## Two rules
#
# - **A seeded permutation**: with one seed and epoch `permutation` gives all ranks one order, cut into steps of 8, and each step in 4.
# - **A stable hash**: sample i is h(i) mod N's, by one h in every process (blake2b), for ever. So a rank stores its own only; they are uneven.
#
# A line is a rank and a column a sample; the digit is the step that reads it. On the left is epoch 1. Think first: is epoch 2 like it?
# %%


def by_permutation(epoch: int, step: int) -> np.ndarray:
    """What the rule "random" gives this rank."""
    batch = np.random.default_rng([SEED, 1, epoch]).permutation(22)[8 * step : 8 * step + 8]
    cuts = bounds(len(batch), [1] * 4)
    return np.random.default_rng([SEED, 2, epoch, step, 0]).permutation(batch)[cuts[rank] : cuts[rank + 1]]


def by_hash(number: int) -> int:
    """The owner of this sample."""
    digest = hashlib.blake2b(f"{SEED}/sample/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % 4


assert all(np.array_equal(by_permutation(*when), shuffled.parts(*when)[0]) for when in epoch_and_step)
assert hashed.stored.tolist() == [i for i in range(22) if by_hash(i) == rank]
for batches in (shuffled, hashed):
    marks = np.full((2, 22), ".")
    for epoch, step in epoch_and_step:
        marks[epoch, batches.parts(epoch, step)[0]] = step + 1
    assert (np.sum(comm.everyone((marks != ".").tolist()), axis=0) == 1).all()  # each sample by one rank
    assert not np.array_equal(*marks)
    each(comm, f"{batches.rule:<6}  rank {rank}   {''.join(marks[0])}   {''.join(marks[1])}")

# %% [markdown] id="04-python" lang="zh"
# ## 不要用 Python 的 hash()
#
# 字符串的 `hash()` 加了盐，每个进程启动时各抽一份。先想一想：用 `hash(f"sample {i}") % 4` 来分会怎样？下面把四个进程的盐（`PYTHONHASHSEED`）固定为 1 到 4，只是为了每次运行都一样。
# %% [markdown] id="04-python" lang="en" src="2e57b186"
# ## Not Python's hash()
#
# The `hash()` of a string is salted, and each process draws its salt when it starts. Think first: what does `hash(f"sample {i}") % 4` do
# for a rule? Below the salts of the four (`PYTHONHASHSEED`) are fixed to 1 to 4, only to make every run alike.
# %%
program = "print(*(hash(f'sample {i}') % 4 for i in range(22)), sep='', end='')"
salt = os.environ | {"PYTHONHASHSEED": str(rank + 1)}
owners = subprocess.run([sys.executable, "-c", program], env=salt, stdout=subprocess.PIPE, text=True).stdout
each(comm, f"rank {rank}：谁负责 {owners}", f"rank {rank}: owners {owners}")
readers = np.sum(comm.everyone([owner == str(rank) for owner in owners]), axis=0)
missed, repeated = (readers == 0).sum(), (readers > 1).sum()
assert len(readers) == 22 and missed > 0 and repeated > 0
say(f"读了几次：     {''.join(map(str, readers))}", f"times read:    {''.join(map(str, readers))}")
say(f"{missed} 个没人读，{repeated} 个读了多次", f"{missed} samples not read, {repeated} more than once")

# %% [markdown] id="04-sorted" lang="zh"
# ## 按类别排好序的文件
#
# 直接切成 4 段，每个 rank 只看得到一类。梯度的和与谁来算无关，不会出错；各 rank 只看自己样本的量（比如平均值）会出错。不打乱就切成步，第一步也缺后几类。所以 zero_ref 先打乱再切成步：一步有哪些样本与规则无关，规则只决定谁来算。
# %% [markdown] id="04-sorted" lang="en" src="0b35a6a3"
# ## A file that is sorted by class
#
# Cut in 4 as it is, each rank sees one class. The sum of gradients does not depend on who computes it; what each rank takes from its own
# samples alone (a mean, say) does. And steps cut without shuffling lack classes. So zero_ref shuffles, then cuts steps: what is in a step
# does not depend on the rule, only who computes it.
# %%
cuts = bounds(22, [1] * 4)
own = labels[cuts[rank] : cuts[rank + 1]]
assert len(set(own)) == 1 and comm.sum(float(own.sum())) == labels.sum()
each(
    comm,
    f"rank {rank}：类别 {own}，平均 {own.mean():g}；全体的平均 {labels.mean():.2f}",
    f"rank {rank}: classes {own}, mean {own.mean():g}; of all ranks {labels.mean():.2f}",
)
first = labels[shuffled.global_batch(0, 0)]
assert len(set(labels[:8])) == 2 and len(set(first)) == 4
assert np.array_equal(shuffled.global_batch(0, 0), hashed.global_batch(0, 0))
say(f"第 1 步：不打乱 {labels[:8]}，打乱 {first}", f"step 1: as it is {labels[:8]}, shuffled {first}")

# %% [markdown] id="04-uneven" lang="zh"
# ## 份数不匀怎么办
#
# 按哈希分，某一步里一个 rank 可能一个样本也没有。zero_ref 让它照样参加每一次集合通信，并把每个样本的误差除以**整步的样本数**，此后只相加。先想一想：三种规则训练出来的 loss 差多少？
# %% [markdown] id="04-uneven" lang="en" src="b981e9f8"
# ## What if they are uneven
#
# By hash a rank may have no sample in a step. In zero_ref it comes to every collective all the same, and each sample's error is divided
# by the samples **of the whole step**; then there is only adding. Think first: how far apart are the losses by the three rules?
# %%
losses, sizes = [], comm.everyone([len(hashed.parts(0, step)[0]) for step in range(3)])
assert np.sum(sizes, axis=0).tolist() == [8, 8, 6] and 0 in np.ravel(sizes)
lines = [(r, *numbers) for r, numbers in enumerate(sizes)]
rows("rank|第 1 步的样本|第 2 步|第 3 步", "rank|samples of step 1|step 2|step 3", lines)
for rule in ("contiguous", "random", "hash"):
    record = train(f"--dtype float64 --steps 20 --batch-size 5 --shard-data {rule}")
    losses.append(record["loss"])
    dealt = [own["samples"] for own in record["ranks"]]
    show(f"{rule:<10} {pick('样本', 'samples')} {dealt} loss {losses[-1][-1]:.14f}")
off = np.ptp(losses, axis=0).max()
assert off < 1e-13
say(f"每一步的 loss 最多差 {off:.0e}", f"the loss of a step is off by {off:.0e} at most")

# %% [markdown] id="04-end" lang="zh"
# ## 记住
#
# - 规则是种子和编号的函数，每个 rank 独自算出同样的结果；Python 的 `hash()` 不是这样的函数。
# - 每个样本每个 epoch 恰好读一次；误差除以整步的样本数，不匀也不要紧。
# - 接下来：样本各算各的，梯度却要相加，rank 之间得说话。怎样发送和接收才不会互相卡死？
# %% [markdown] id="04-end" lang="en" src="82caa0b9"
# ## To remember
#
# - A rule is a function of a seed and a number: every rank computes the same result on its own. Python's `hash()` is not such a function.
# - Each sample is read once an epoch; its error is divided by the samples of the whole step, and uneven numbers do no harm.
# - Next: samples are computed apart, but gradients are added, so ranks have to talk. How do they send and receive without waiting for ever?
