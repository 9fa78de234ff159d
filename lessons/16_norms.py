# %% [markdown] id="16-title" lang="zh"
# # 16 范数、梯度累积、不匀的批次
#
# 上一课里，所有 rank 看同一个范数，一起决定这一步做不做。可是从阶段 1 起，更新时没有一个 rank 手里有加好的完整梯度，这个范数从哪里来？一步再分成几个 micro-batch，样本也分不匀，误差到底该除以几？两个问题是一类：**平均的平均不是平均，一片的范数不是范数**。
# %% [markdown] id="16-title" lang="en" src="03fa2213"
# # 16 Norms, accumulation, uneven batches
#
# In the last lesson all ranks looked at one norm and decided together whether to take the step. But from stage 1 on no rank has the whole sum
# of the gradients when it updates: where does that norm come from? And with several micro-batches to a step, and uneven ones, what is an error
# to be divided by? It is one question: **an average of averages is not the average, and a norm of a piece is not the norm**.
# %%
from _lesson import pick, ranks, rows, say

comm, N = ranks(4), 4

# %% [markdown] id="16-tokens" lang="zh"
# ## 1000 个 token
#
# 900 个 token 的 loss 是 2，在 rank 0 和 1 上；100 个的 loss 是 6，在 rank 2 和 3 上。先想一想：所有 token 的平均 loss 是多少？
# %% [markdown] id="16-tokens" lang="en" src="c3212c5c"
# ## 1000 tokens
#
# 900 tokens have loss 2, on ranks 0 and 1; 100 have loss 6, on ranks 2 and 3. Think first: what is the mean loss of all tokens?
# %%
tokens, mean = [(450, 2.0), (450, 2.0), (50, 6.0), (50, 6.0)][comm.rank]
mean_of_means, of_all = comm.sum(mean) / N, comm.sum(tokens * mean) / comm.sum(tokens)
assert (mean_of_means, of_all) == (4.0, 2.4)
found = comm.everyone([comm.rank, tokens, mean, tokens * mean])
rows("rank|token|平均 loss|合计", "rank|tokens|mean loss|sum", found)
say(f"平均的平均 {mean_of_means}，真正的平均 {of_all}", f"mean of means {mean_of_means}, the mean {of_all}")

# %% [markdown] id="16-once" lang="zh"
# ## 只除一次
#
# 真正的阶段训练 12 步，各步依次有 20、20、13 个样本，分成 k 个 micro-batch，再分给 4 个 rank；k = 4 时有的 rank 有时一个样本也没有。每个样本的误差除以**整步的样本数**，此后只相加。标准答案由一个进程算，整步一批。（第 3 步的样本数先打印出来，一个方括号是一个 rank 的四个 micro-batch。）先想一想：12 种结果各差多少？哪些逐比特相同（字母相同）？
# %% [markdown] id="16-once" lang="en" src="ed73cba2"
# ## Divide once
#
# The real stages train for 12 steps, of 20, 20, 13 samples and so on, in k micro-batches on 4 ranks; with k = 4 a rank sometimes has no
# sample. Each sample's error is divided by the samples **of the whole step**, and then there is only adding. What should come out is
# computed by one process, with each step in one batch. (The samples of step 3 are printed first: the four micro-batches of a rank in one
# pair of brackets.) Think first: how far off are the 12 results? Which are equal in every bit (have the same letter)?
# %%
import numpy as np

from lessons.given.uneven import batches, by_one_process, run
from zero_ref.clip import clip
from zero_ref.layout import FlatLayout
from zero_ref.stages import STAGES, zero3

sizes = comm.everyone([len(part) for part in batches(comm, k=4).parts(0, 2)])
assert min(sizes[0]) == 0
say(f"第 3 步的样本数：{sizes}", f"samples of step 3: {sizes}")
truth, lines = by_one_process(), []
for k in (1, 2, 4):
    found = [run(comm, stage, k) for stage in STAGES.values()]
    off = max(abs(a - b).max() for one in found for a, b in zip(one, truth))
    bits = [one.weights.tobytes() for one in found]
    letters = " ".join("ab"[list(dict.fromkeys(bits)).index(own)] for own in bits)
    lines.append((k, letters, f"{found[3].losses[-1]:.12f}", f"{off:.0e}"))
    assert off < 1e-11 and letters == ("a a a a" if k == 1 else "a a b b")
rows("k|阶段 0 到 3|最后的 loss|最多相差", "k|stages 0 to 3|last loss|off by", lines)

# %% [markdown] id="16-divide" lang="zh"
# ## 除多了，除少了
#
# B 是整步的样本数，b 是这个 rank 在这个 micro-batch 里的样本数。常见的错法：除以 B，又除以 N、除以 k，或者两个都除；只除以 b；除以 b，再除以 N 和 k，就成了平均的平均。这里 N = 4，k = 2，都除就是 8。下面是第 1 步的范数（是应有的几倍）和 12 步后权重的偏差。先想一想：换成 Adam，哪些错误看得出来？
# %% [markdown] id="16-divide" lang="en" src="a01c3c47"
# ## Divided too often, or not enough
#
# B is the number of samples in the whole step, b that of this rank in this micro-batch. The usual mistakes: to divide by B, and again by N,
# by k, or by both; to divide by b alone; or by b, N and k, which is a mean of means. Here N = 4 and k = 2, so both are 8. Below are the
# norm of the first step (how many times what it should be) and how far off the weights are after 12 steps. Think first: which mistakes show
# with Adam?
# %%
divisors = {
    "B": lambda B, b: B,
    "B x N": lambda B, b: B * 4,
    "B x k": lambda B, b: B * 2,
    "B x N x k": lambda B, b: B * 8,
    "b": lambda B, b: b,
    "b x N x k": lambda B, b: b * 8,
}
times, off, lines = [], {"SGD": [], "Adam": []}, []
for name, divisor in divisors.items():
    for kind, percent in off.items():
        found, right = run(comm, zero3, 2, divisor, kind), by_one_process(kind).weights
        percent.append(100 * np.linalg.norm(found.weights - right) / np.linalg.norm(right))
    times.append(found.norms[0] / truth.norms[0])
    lines.append((name, f"{times[-1]:.3f}", f"{off['SGD'][-1]:.0f}%", f"{percent[-1]:.4f}%"))
rows("除以|范数的倍数|SGD 偏差|Adam 偏差", "divided by|norm|off with SGD|off with Adam", lines)
assert np.allclose(times[:4], [1, 1 / 4, 1 / 2, 1 / 8]) and 7 < times[4] < 9 and times[5] > 1.01
assert min(off["SGD"][1:]) > 1 and max(off["Adam"][:4]) < 0.001 and min(off["Adam"][4:]) > 1
say("相差 8 倍，Adam 几乎看不出来", "8 times too small hardly shows with Adam")

# %% [markdown] id="16-local" lang="zh"
# ## 一片的范数
#
# 裁剪：梯度太长，就整个按比例缩到 `max_norm`。梯度是 [0.6, 0, 0, 0.8, 0, 0, 0, 0]，范数 1，每个 rank 两个数，要缩到 0.5。先想一想：每个 rank 按自己那片的范数缩，得到什么？把四个范数相加，再按这个和来缩呢？最后一列“方向”是两个数之比，应当还是 0.8 / 0.6。
# %% [markdown] id="16-local" lang="en" src="6f6ca5be"
# ## The norm of a piece
#
# Clipping: a gradient that is too long is scaled down to `max_norm`, all of it by the same factor. Here it is [0.6, 0, 0, 0.8, 0, 0, 0, 0],
# of norm 1, two numbers to a rank, to be scaled to 0.5. Think first: what happens if each rank goes by the norm of its own piece? And if
# all go by the sum of the four norms? The last column, the direction, is the ratio of the two numbers, which should stay 0.8 / 0.6.
# %%
shard = np.split(np.array([0.6, 0, 0, 0.8, 0, 0, 0, 0]), N)[comm.rank]
own = float(np.linalg.norm(shard))
norm, scale = clip(comm, [shard], 0.5)  # the root of the sum of everybody's squares
factors = {
    pick("各片的范数", "local norms"): min(1, 0.5 / (own + 1e-6)),
    pick("范数之和", "sum of norms"): 0.5 / comm.sum(own),
    pick("真正的范数", "the norm"): scale,
}
clipped = [np.concatenate(comm.everyone((shard * f).tolist()))[[0, 3]] for f in factors.values()]
lines = []
for name, (a, b) in zip(factors, clipped):
    lines.append((name, f"[{a:.3f}, 0, 0, {b:.3f}, ...]", f"{np.hypot(a, b):.3f}", f"{b / a:.3f}"))
rows("按什么缩|得到|范数|方向", "by|result|norm|direction", lines)
assert norm == 1 and np.allclose(clipped, [[0.5, 0.5], [0.3 / 1.4, 0.4 / 1.4], [0.3, 0.4]], atol=1e-6)
say("依次是：方向变了，而且太长；太短；正确", "in turn: another direction, and too long; too short; right")

# %% [markdown] id="16-owned" lang="zh"
# ## 每个元素恰好算一次，而且先除对
#
# - 阶段 0 每个 rank 都有完整的梯度，也只交出自己那片（`comm.shard`）；不然每个平方加了 N 次，范数大 √N 倍。补齐的元素（padding）必须是 0。
# - 拿去和 `max_norm` 比的梯度，倍数必须是对的。float16 的梯度乘着 loss scale 的倍数，`zero_ref/precision.py` 就把 `max_norm` 也乘上。
# %% [markdown] id="16-owned" lang="en" src="722f394d"
# ## Each element once, and with the right factor
#
# - At stage 0 each rank has the whole gradient, and still gives its shard only (`comm.shard`); otherwise each square is added N times, and
#   the norm is √N times too large. Padding has to be 0.
# - What is held against `max_norm` must have the right factor. In float16 the gradient is multiplied by the loss scale, and
#   `zero_ref/precision.py` multiplies `max_norm`, too.
# %%
layout = FlatLayout("w", {"w": (10,)}, N)  # 10 numbers on 4 ranks: 2 of padding
full, dirty = np.zeros((2, layout.padded))
full[[0, 9]], dirty[[0, 9, 10, 11]] = (0.6, 0.8), (0.6, 0.8, 1, 1)
given = {
    pick("自己那片", "its shard"): comm.shard(full, layout),
    pick("完整的", "the whole"): full,
    pick("自己那片，填充不是 0", "its shard, padding not 0"): comm.shard(dirty, layout),
}
values = [clip(comm, [g])[0] for g in given.values()]
assert np.allclose(values, np.sqrt([1, N, 3]))
rows("每个 rank 交出|范数", "each rank gives|norm", [(name, f"{v:.3f}") for name, v in zip(given, values)])

limit, lines = float(np.median(truth.norms)), []
found = [run(comm, stage, 1, max_norm=limit) for stage in STAGES.values()]
assert all(np.array_equal(a, b) for one in found for a, b in zip(one, found[0]))
for stage, (_, norms, _) in enumerate(found):
    marks = "".join("x" if norm > limit else "." for norm in norms)
    lines.append((stage, f"{norms[0]:.15f}", f"{norms[-1]:.15f}", marks))
rows("阶段|第 1 步的范数|第 12 步的|裁剪（x）", "stage|norm of step 1|of step 12|clipped (x)", lines)
assert 3 < marks.count("x") < 9
assert max(run(comm, zero3, 1, divisors["B x N x k"], max_norm=limit).norms) < limit
say("四个阶段逐比特相同；多除以 8，就一步也不裁剪", "equal in every bit; with 8 too much none is clipped")

# %% [markdown] id="16-end" lang="zh"
# ## 记住
#
# - 先求和，最后除一次：除以整步的样本数（或 token 数），所有 rank、所有 micro-batch 合在一起数。
# - 先求平方和，最后开一次方；每个元素只由一个 rank 交出，padding 为 0。见 `zero_ref/clip.py`。
# - 倍数错了，Adam 会替你瞒着；要查，就用 SGD，并且看范数。
# - 接下来：每一步都对了，训练却随时可能中断。状态分散在四个 rank 上，怎样存下来，又怎样由两个 rank 接着训练？
# %% [markdown] id="16-end" lang="en" src="7db1d24e"
# ## To remember
#
# - Add first and divide once: by the samples (or tokens) of the whole step, counted over all ranks and all micro-batches.
# - Add squares first and take the root once; each element is given by one rank only, and padding is 0. See `zero_ref/clip.py`.
# - Adam hides a wrong factor. To find one, use SGD, and look at the norm.
# - Next: every step is right, but training may stop at any moment. The state lies on four ranks: how is it saved, and how do two ranks go on with it?
