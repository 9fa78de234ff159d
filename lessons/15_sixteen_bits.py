# %% [markdown] id="15-title" lang="zh"
# # 15 十六位：半精度、主权重、loss scale
#
# 上一课数的是元素，每个 4 字节。参数和梯度改用 16 位，每个 2 字节，发送量立刻减半。代价是精度：
#
# - **float16**：11 个有效二进制位，最大的数是 65504，最小的正数是 2⁻²⁴，不到它一半的都成了 0；
# - **bfloat16**：范围和 float32 一样大，有效位只剩 8 个。
#
# 所以 1 后面的下一个数，分别是 1 + 2⁻¹⁰ 和 1 + 2⁻⁷。先想一想：从 1 开始，加 10,000 次 0.0001，得到多少？
# %% [markdown] id="15-title" lang="en" src="8d078f22"
# # 15 Sixteen bits: half precision, master weights, loss scale
#
# The last lesson counted elements, of 4 bytes each. With parameters and gradients in 16 bits they have 2, and at once half as much is
# sent. The price is precision:
#
# - **float16**: 11 significant bits; 65504 is the largest number, 2⁻²⁴ the smallest above 0, and less than half of that becomes 0;
# - **bfloat16**: the range of float32, and only 8 significant bits.
#
# So after 1 comes 1 + 2⁻¹⁰, or 1 + 2⁻⁷. Think first: from 1 on, what do 10,000 additions of 0.0001 make?
# %%
from types import SimpleNamespace

import numpy as np
from _lesson import each, pick, ranks, rows, say

from lessons.given.half import by_size, gradient, hard_to_add, two_steps
from lessons.given.real_runs import resting, sent, train
from zero_ref.comm import OrderedComm
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger
from zero_ref.optim import SGD
from zero_ref.precision import Master

comm, N = ranks(4), 4

for dtype in ("float16", "bfloat16"):
    alone, param = np.ones((2, 1), dtype)
    master = Master(1, lambda n: SGD(n, "float32", lr=1e-4))
    for _ in range(10_000):
        alone += np.array(1e-4, dtype)
        master.update(param, np.full(1, -1, dtype), 1.0)  # param is the master, rounded
    assert (alone[0], param[0]) == (1, 2)
    say(
        f"{dtype}：只用 16 位加，得 {float(alone[0])}；有 float32 主权重，得 {float(param[0])}",
        f"{dtype}: added in 16 bits {float(alone[0])}; with a float32 master {float(param[0])}",
    )

# %% [markdown] id="15-floor" lang="zh"
# ## 小的梯度变成 0
#
# 每次加的数都不到间隔的一半，全被舍掉了；**主权重**（master weights）用 float32 记着。但它救不了梯度：反向传播里的梯度本身就是 16 位的。loss 要除以整步的样本数（第 08 课），样本越多，每个样本的梯度越小。下面是 64 个真实样本，当作一步 2²⁰ 个样本的一部分：每行是 |∂L/∂w| 的一个区间，里面有多少个，多少个在 float16 里成了 0。
#
# 办法是 **loss scale**（损失缩放）：反向传播之前把 loss 乘以 2¹⁶，梯度也就大 2¹⁶ 倍；更新之前再除回来。先想一想：能救回多少？
# %% [markdown] id="15-floor" lang="en" src="5aedf12c"
# ## Small gradients become 0
#
# Each addition was less than half of the gap, and was rounded away; the **master weights** remember in float32. They are no help for the
# gradient, which has 16 bits in the backward pass. The loss is divided by the samples of the whole step (lesson 08): the more of them,
# the smaller is each one's gradient. Below are 64 real samples, taken as part of a step of 2²⁰: a line is a range of |∂L/∂w|, with how
# many there are, and how many of them become 0 in float16.
#
# What helps is a **loss scale**: the loss is multiplied by 2¹⁶ before the backward pass, and so are all gradients; the update divides them
# again. Think first: how many does that save?
# %%
sizes = abs(gradient("float32", 1.0))
narrow = {dtype: gradient(*dtype) for dtype in (("float16", 1.0), ("float16", 2.0**16), ("bfloat16", 1.0))}
zero = [(sizes > 0) & (found == 0) for found in narrow.values()]
rows("大小|个数|成了 0", "size|number|become 0", by_size(sizes, zero[0]))
lines = [(dtype, int(scale), lost.sum(), (sizes > 0).sum()) for (dtype, scale), lost in zip(narrow, zero)]
rows("类型|loss scale|成了 0|一共", "type|loss scale|become 0|of", lines)
assert zero[0].sum() > 0.4 * (sizes > 0).sum() and not zero[1].any() and not zero[2].any()

# %% [markdown] id="15-skip" lang="zh"
# ## 溢出了，要跳就一起跳
#
# 缩放系数太大，梯度会超过 65504，变成 inf。这一步只好跳过，系数减半。可是 reduce-scatter 之后，inf 可能只在**一个** rank 的分片里。下面有四个参数，一个 rank 一个；真实梯度是 0.5，只有 rank 2 是 1.5；走两步。先想一想：如果各看各的分片，会怎样？
#
# （裁剪也容易在这里出错：上限是对真实梯度说的，所以 `zero_ref/precision.py` 把上限也乘上缩放系数；如果用原来的上限去裁剪放大过的梯度，裁完还要除以缩放系数，就几乎什么也不剩。）
# %% [markdown] id="15-skip" lang="en" src="e1f0cd86"
# ## On overflow all skip, or none
#
# With too large a scale gradients go beyond 65504 and become inf. That step has to be skipped, and the scale is halved. But after the
# reduce-scatter the inf may be in **one** rank's shard only. Below are four parameters, one a rank; the true gradient is 0.5, on rank 2
# 1.5; two steps. Think first: what happens if each looks at its own shard?
#
# (Clipping goes wrong here, too: its limit is meant for the true gradient, so `zero_ref/precision.py` multiplies the limit by the scale,
# too. If a scaled gradient were clipped to the plain limit and then divided by the scale, hardly anything would remain.)
# %%
true = 1.5 if comm.rank == 2 else 0.5
lonely = SimpleNamespace(sum=lambda value: value)  # whoever asks it gets the norm of its own shard
for zh, en, who, wanted in (
    ("各看各的", "alone", lonely, [0, 0, 1, 0]),
    ("一起决定", "together", comm, [1, 1, 1, 1]),
):
    updates, scale, skipped = two_steps(who, true, N)
    each(
        comm,
        f"{zh}  rank {comm.rank}：更新了 {updates} 次，loss scale {scale:.0f}",
        f"{en:<8}  rank {comm.rank}: updates {updates}, loss scale {scale:.0f}",
    )
    assert comm.everyone(skipped) == wanted and updates == 2 - skipped

# %% [markdown] id="15-sum" lang="zh"
# ## 求和只舍入一次
#
# reduce-scatter 要把四个 rank 的数加起来。如果一直用 16 位加，每加一次就舍入一次。zero_ref 把 16 位的数原样送到负责该分片的 rank，由它用 float32 加，最后舍入一次（`zero_ref/comm.py` 的 `OrderedComm`）；线上每个数还是 2 字节。
#
# 下表的最后一列：4,000 个和里，有多少个不是离真正的和最近的那个 16 位数。先想一想：2048 + 1 + 1 + 1，一直用 float16 加是多少？
# %% [markdown] id="15-sum" lang="en" src="3fe95af3"
# ## A sum is rounded once
#
# A reduce-scatter adds four ranks' numbers. Added in 16 bits, they are rounded at each addition. In zero_ref the 16-bit numbers go as they
# are to the shard's owner, who adds in float32 and rounds once (`OrderedComm` in `zero_ref/comm.py`); each takes 2 bytes on the wire.
#
# The last column of the table: how many of 4,000 sums are not the 16-bit number that is nearest to the true sum. Think first: what is 2048
# + 1 + 1 + 1, added in float16?
# %%
layout, lines = FlatLayout("unit", {"weight": (4000,)}, N), []
for dtype, large in (("float16", 2048), ("bfloat16", 256)):
    parts = hard_to_add(dtype, large, N)  # the first of each shard is `large` on rank 0, and 1 elsewhere
    once = OrderedComm().reduce_scatter(parts[comm.rank], layout)
    a, b, c, d = (comm.shard(part, layout) for part in parts)
    often, best = a + b + c + d, sum(part.astype("float64") for part in (a, b, c, d)).astype(dtype)
    for zh, en, found in (("每次都舍入", "at each addition", often), ("只舍入一次", "once", once)):
        off = comm.sum(float((found != best).sum()))
        lines.append((dtype, pick(zh, en), f"{large} + 1 + 1 + 1 = {found[0]}", f"{off:,.0f}"))
    assert often[0] == large < once[0] and not off
rows("类型|舍入|第一个数|不是最近的", "type|rounded|the first|not the nearest", lines)

# %% [markdown] id="15-run" lang="zh"
# ## 跑一跑，量一量
#
# 三种数值类型，四个阶段，各训练 20 步；类型相同，四个阶段的权重就逐比特相同。先想一想：换成 16 位，发送量减半，常驻内存也减半吗？
# %% [markdown] id="15-run" lang="en" src="291db965"
# ## Run it and measure
#
# Three types of numbers, four stages, 20 steps each; with the same type the weights of all four stages are equal in every bit. Think first:
# 16 bits halve what is sent; do they halve memory at rest?
# %%
before, lines = ledger.live_total, []  # arrays of the cells above
for dtype, e in (("float32", 4), ("bfloat16", 2), ("float16", 2)):
    for stage in range(4):
        record = train(f"--steps 20 --stage {stage} --dtype {dtype}")
        psi, loss, weights = record["parameters_padded"], record["loss"][-1], record["weights_sha256"][:8]
        rest, nbytes = (resting(record, comm) - before) / psi, sent(record, comm)
        assert nbytes == e * (3 if stage == 3 else 2) * psi * (N - 1) // N
        assert rest == ([16, 7, 5.5, 4] if e == 2 else [16, 10, 7, 4])[stage]
        lines.append((dtype, stage, f"{rest:g}Ψ", nbytes, f"{loss:.4f}", weights))
    assert len({line[-1] for line in lines[-4:]}) == 1
rows("类型|阶段|常驻|发送|loss|权重", "type|stage|rest|sent|loss|weights", lines)
say("发送量减半，阶段 0 和 3 的常驻内存没有变", "Half is sent; at rest stages 0 and 3 are as before")

# %% [markdown] id="15-end" lang="zh"
# ## 记住
#
# - 参数、梯度和激活用 16 位，求和与更新用 float32。阶段 1 起，主权重只放在拥有该分片的 rank 上；16 位的参数是它舍入的结果。
# - 发送量减半。参数和梯度省下的 4Ψ 给了主权重，所以还是 16Ψ；但阶段 1 能切的从 8Ψ 变成了 12Ψ，阶段 1 和 2 因此省得更多。
# - float16 要用 loss scale：溢出时所有 rank 一起跳过，裁剪的上限也要乘上它。bfloat16 范围大，不用缩放，但精度更低。
# - 接下来：分片的范数不是梯度的范数，平均数的平均也不是平均数。见 `zero_ref/precision.py`、`zero_ref/clip.py`。
# %% [markdown] id="15-end" lang="en" src="ddb272c5"
# ## To remember
#
# - 16 bits for parameters, gradients and activations; float32 for sums and updates. From stage 1 on only the shard's owner has the master;
#   the 16-bit parameters are it, rounded.
# - Half is sent. The 4Ψ saved go to the master, so it is still 16Ψ; but stage 1 can cut 12Ψ of them, not 8Ψ, and so 1 and 2 save more.
# - Float16 needs a loss scale: on overflow all ranks skip, and the limit for clipping is multiplied by it, too. Bfloat16 needs none, at
#   less precision.
# - Next: the norm of a shard is not the gradient's, and a mean of means is not the mean. See `zero_ref/precision.py`, `zero_ref/clip.py`.
