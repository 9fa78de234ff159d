# %% [markdown] id="23-title" lang="zh"
# # 23 矩阵不能切：Muon
#
# 到现在为止，切模型从不看张量：摊平、切成 N 片，一片里可以有半个矩阵。这能行，是因为 SGD 和 Adam 都是逐元素的，每个元素的更新只看自己。
#
# Muon 不是。它要的是整个矩阵：取动量矩阵 M = U S Vᵀ，用 U Vᵀ 来更新，让所有方向一样长。半个矩阵的 U Vᵀ，不是整个矩阵的 U Vᵀ 的一半。切片的规则得换了。
# %% [markdown] id="23-title" lang="en" src="c56b3bbf"
# # 23 A matrix that cannot be cut: Muon
#
# So far nobody who cut the model looked at tensors: it was laid flat and cut into N shards, and there may be half a matrix in one. That is
# fine because SGD and Adam go element by element, and each element's update depends on that element alone.
#
# Muon is different. It needs a matrix as a whole: from the momentum M = U S Vᵀ it makes U Vᵀ, in which all directions have the same length,
# and updates with that. The U Vᵀ of half a matrix is not half of the whole one's U Vᵀ. So another rule has to say who owns what.
# %%
import functools

import numpy as np
from _lesson import pick, ranks, rows, say

from lessons.given.few_steps import mlp, samples, steps, weights
from zero_ref.comm import OrderedComm
from zero_ref.extras import muon, tensors
from zero_ref.ledger import ledger
from zero_ref.model import build
from zero_ref.stages import STAGES

comm, N = ranks(4), 4
ordered = OrderedComm()


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """How far a is from b, as a part of b."""
    return np.linalg.norm(a - b) / np.linalg.norm(b)


# %% [markdown] id="23-turn" lang="zh"
# ## 不做分解，只做乘法
#
# 求 U Vᵀ 不用 SVD。Newton–Schulz 迭代只用矩阵乘法：X ← aX + (bXXᵀ + c(XXᵀ)²)X，对每个奇异值 s 来说就是 s ← as + bs³ + cs⁵。五次以后，差不多所有的 s 都到了 1 附近。
# %% [markdown] id="23-turn" lang="en" src="5d5461e7"
# ## No decomposition, only products
#
# U Vᵀ needs no SVD. The Newton–Schulz iteration uses matrix products only: X ← aX + (bXXᵀ + c(XXᵀ)²)X, which turns each singular value s
# into as + bs³ + cs⁵. After five rounds nearly every s is close to 1.
# %%
M = np.random.default_rng(0).normal(size=(8, 12))
before, after = (np.linalg.svd(m, compute_uv=False) for m in (M / np.linalg.norm(M), muon.orthogonal(M)))
when = pick("之前|之后", "before|after").split("|")
lines = [(name, " ".join(f"{s:.2f}" for s in values)) for name, values in zip(when, (before, after))]
rows("|奇异值", "|singular values", lines)
assert after.min() > 0.6 and after.max() < 1.25

# %% [markdown] id="23-half" lang="zh"
# ## 半个不行
#
# 先想一想：上半个矩阵单独做一遍，和整个做完取上半个，一样吗？
# %% [markdown] id="23-half" lang="en" src="f4de2c8f"
# ## A half will not do
#
# Think first: is doing the upper half alone the same as doing the whole and taking the upper half?
# %%
alone, whole = muon.orthogonal(M[:4]), muon.orthogonal(M)[:4]
off = apart(alone, whole)
assert off > 0.1
say(f"两者相差 {off:.0%}", f"they differ by {off:.0%}")

# %% [markdown] id="23-deal" lang="zh"
# ## 整个矩阵归一个 rank
#
# 那就不切矩阵，一个矩阵归一个 rank。按 unit 平分没有用：一个 unit 只有一个矩阵和一点偏置，谁拥有矩阵谁就几乎拥有一切。要在**整个模型**上平分：从大到小，每个矩阵交给当时拥有最少的 rank；偏置、最后一层这些可以切的，用来填缝。下面是每个 rank 拥有几个矩阵（一共 8 个）、多少个元素。
# %% [markdown] id="23-deal" lang="en" src="dffe7b41"
# ## A whole matrix has one owner
#
# So matrices are not cut, and each has one owner. Balancing within a unit is no use: it has one matrix and a few biases, and who owns the
# matrix owns nearly everything. It is the **whole model** that has to be balanced: from large to small, each matrix goes to the rank that
# has least so far; what may be cut, such as biases and the last layer, fills the gaps. Below is how many of the 8 matrices, and how many
# elements, each rank owns.
# %%
WIDTHS = [32] * 9 + [4]


def new_units(dealt: bool):
    """The model, whose matrices are whole on one rank each, or which is cut in equal slices."""
    if not dealt:
        return mlp(WIDTHS, N, "float64")
    return build(WIDTHS, tensors.dealing(mlp(WIDTHS, 1, "float64"), N), "float64", seed=3)


units, lines = new_units(dealt=True), []
for rank in range(N):
    matrices = sum(b - a >= 32 * 32 for u in units[:-1] for a, b in u.layout.ranges(rank))
    lines.append((rank, matrices, sum(u.layout.counts[rank] for u in units)))
rows("rank|矩阵|元素", "rank|matrices|elements", lines)
owned = [elements for *_, elements in lines]
uneven, within = max(owned) / np.mean(owned), N * 32 * 32 / units[0].layout.elements
say(f"最多的是平均的 {uneven:.2f} 倍", f"the most is {uneven:.2f} of the mean")
say(f"按 unit 平分会是 {within:.2f} 倍", f"within units it would be {within:.2f}")
assert sum(matrices for _, matrices, _ in lines) == 8 and uneven < 1.1

# %% [markdown] id="23-step" lang="zh"
# ## 训练
#
# 阶段文件一个字也没改：reduce-scatter 和 all-gather 本来就允许各片不一样长。每个矩阵由它的 rank 正交化**一次**，更新完的参数照旧 all-gather。所以一个字节也不比 Adam 多发。
#
# 另一条路：照旧平均切片，正交化之前把矩阵收集起来。这样每个 rank 都做全部的矩阵（N 倍的计算），还多发 Ψ(N − 1)/N。
# %% [markdown] id="23-step" lang="en" src="b3d0d03b"
# ## Training
#
# Not a word of a stage file changes: reduce-scatter and all-gather have always allowed shards of unequal lengths. Each matrix is made
# orthogonal **once**, by its owner, and the new parameters are gathered as before. So not one byte more is sent than with Adam.
#
# The other way: equal slices as before, and matrices are gathered before they are made orthogonal. Then every rank does all of them, N
# times the work, and Ψ(N − 1)/N more is sent.
# %%
x, y = samples(comm, 24, WIDTHS[0], WIDTHS[-1], "float64")


def train(stage, dealt: bool) -> tuple[bytes, int]:
    """Three steps: all weights, and the bytes that all ranks send in the last."""
    units, stage = new_units(dealt), muon.by_unit(stage)  # which tells the optimizer what is whose matrix
    stage.setup(units, ordered, functools.partial(muon.Muon, dtype="float64", lr=0.01))
    steps(3, stage, units, ordered, x, y)
    sent = int(comm.sum(sum(ledger.sent.values())))
    return weights(stage, units, ordered), sent


results = {(number, dealt): train(STAGES[number], dealt) for number in STAGES for dealt in (True, False)}
assert len({weights for weights, _ in results.values()}) == 1
psi, lines = sum(u.layout.elements for u in units), []
for stage, legs in ((1, 2), (3, 3)):
    whole, gathered = results[stage, True][1], results[stage, False][1]
    lines.append((stage, whole, f"{legs}·8Ψ(N−1)", gathered))
    assert whole == legs * 8 * psi * (N - 1) < gathered
rows("阶段|归一个 rank|是|先收集", "stage|one owner|which is|gathered first", lines)
say("四个阶段、两条路，权重全都逐比特相同", "four stages, two ways: all weights are equal in every bit")

# %% [markdown] id="23-once" lang="zh"
# ## 一步一次
#
# 梯度可以一个 micro-batch 一个 micro-batch 地加起来，因为求和是线性的。正交化**不是**：先加再正交化，和先正交化再加，是两回事。DeepSpeed 的 ZeRO-3 曾在每个 micro-batch 之后都做一遍（issue #8600），结果就和 micro-batch 的个数有关了。
# %% [markdown] id="23-once" lang="en" src="af3f366e"
# ## Once a step
#
# Gradients can be added up one micro-batch after another, because a sum is linear. Making a matrix orthogonal is **not**: adding first and
# making the sum orthogonal is one thing, adding orthogonal matrices another. DeepSpeed's ZeRO-3 did it after each micro-batch (issue
# #8600), and then results depend on how many there are.
# %%
a, b = (np.random.default_rng(number).normal(size=(8, 12)) for number in (1, 2))
off = apart((muon.orthogonal(a) + muon.orthogonal(b)) / 2, muon.orthogonal(a + b))
say(f"两种次序相差 {off:.0%}", f"the two orders differ by {off:.0%}")
assert off > 0.1

# %% [markdown] id="23-end" lang="zh"
# ## 记住
#
# - 摊平来切，靠的是优化器逐元素。Muon 要整个矩阵：要么一个矩阵归一个 rank，要么先收集。
# - 归一个 rank：通信不多一个字节，每个矩阵只算一次；代价是各片不一样长，所以要在整个模型上平分，不能在 unit 里平分。
# - 矩阵比 rank 少，或者有一个特别大，就怎么也分不匀。嵌入表不走 Muon，正好用来填缝。
# - 正交化不是线性的：一步一次，在所有 micro-batch 的和上做。
# - 真正的命令：`mpirun -n 4 python -m zero_ref.train --optimizer muon --shard-model tensors`，四个阶段都可以。
# %% [markdown] id="23-end" lang="en" src="aaa45c49"
# ## To remember
#
# - Laying the model flat and cutting it works because optimizers go element by element. Muon needs whole matrices: either each has one
#   owner, or they are gathered first.
# - With one owner nothing more is sent, and each matrix is computed once. The price: shards are unequal, so the whole model has to be
#   balanced, and not each unit.
# - With fewer matrices than ranks, or one that is very large, nothing makes it even. Embeddings are not Muon's, and so they fill the gaps.
# - Making a matrix orthogonal is not linear: do it once a step, on the sum over all micro-batches.
# - The real command: `mpirun -n 4 python -m zero_ref.train --optimizer muon --shard-model tensors`, at all four stages.
