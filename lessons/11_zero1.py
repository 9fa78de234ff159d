# %% [markdown] id="11-title" lang="zh"
# # 11 ZeRO-1：优化器状态切开
#
# 数据并行里，N 个 rank 各有一份完整的模型、梯度和优化器状态，各自做一遍完全相同的更新：同样的活干了 N 遍。Adam 为每个参数存两个数，这份状态比参数本身还大，却没有哪个 rank 需要别人那份。
#
# 阶段 1：rank r 只更新第 r 片参数，所以只存第 r 片的优化器状态。更新完，把各片参数收集起来，大家又有了完整的模型。
# %% [markdown] id="11-title" lang="en" src="1e843fca"
# # 11 ZeRO-1: the optimizer's state is cut
#
# In data parallelism N ranks have the whole model, gradient and optimizer state each, and all make the very same update: the same work
# N times. Adam keeps two numbers for every parameter, more than the parameter itself, and no rank needs another's.
#
# Stage 1: rank r updates shard r of the parameters, and so keeps the optimizer's state of shard r only. Then the shards are gathered, and
# everyone has the whole model again.
# %%
import numpy as np
from _lesson import ranks, rows, say, show_difference

comm = ranks(4)
N = comm.size

# %% [markdown] id="11-naive" lang="zh"
# ## 第一种写法：3Ψ
#
# 最先想到的写法：照旧做 all-reduce，每个 rank 都有完整的梯度；各自更新自己那片；再 all-gather 参数。
#
# 先想一想：all-reduce 之后，rank r 用到了完整梯度里的多少？
# %% [markdown] id="11-naive" lang="en" src="4b51ac6a"
# ## The first form: 3Ψ
#
# What comes to mind first: all-reduce as before, so that every rank has the whole gradient; each updates its shard; then an
# all-gather of the parameters.
#
# Think first: how much of the whole gradient does rank r use after the all-reduce?
# %%
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger
from zero_ref.optim import Adam

psi = 1000
layout = FlatLayout("unit", {"weight": (psi,)}, N)
gradient = np.random.default_rng(comm.rank).normal(size=psi).astype("float32")  # every rank has its own


def update(all_reduced: bool) -> tuple[np.ndarray, dict[str, int]]:
    """One step from zeros; (parameters, bytes sent)."""
    param = np.zeros(psi, "float32")
    adam = Adam(layout.counts[comm.rank], "float32")  # the state of one shard
    ledger.forget_sent()
    if all_reduced:
        whole = gradient.copy()
        comm.all_reduce(whole, layout)  # every rank has all of it,
        grad = comm.shard(whole, layout)  # and takes a quarter
    else:
        grad = comm.reduce_scatter(gradient, layout)  # a quarter is all that comes
    shard = comm.shard(param, layout)
    adam.update(shard, grad, 1.0)
    comm.all_gather(shard, layout, out=param)
    return param, dict(ledger.sent)


naive, sent = update(all_reduced=True)
once = 4 * psi * (N - 1) // N
assert sum(sent.values()) == 3 * once
say(
    f"all-reduce、更新、all-gather：{sum(sent.values()):,} 字节 = 3 × 4Ψ(N−1)/N",
    f"all-reduce, update, all-gather: {sum(sent.values()):,} bytes = 3 x 4 psi (N-1)/N",
)

# %% [markdown] id="11-right" lang="zh"
# ## 第二种写法：2Ψ
#
# rank r 只用了四分之一，那就只要那四分之一：reduce-scatter 就够了。all-reduce 的后半截把梯度送给了根本不用它的人。
# %% [markdown] id="11-right" lang="en" src="7276a6a4"
# ## The second form: 2Ψ
#
# Rank r uses a quarter, so a quarter is what it should get: a reduce-scatter. The second half of the all-reduce brings gradients to
# those who do not use them.
# %%
right, sent = update(all_reduced=False)
assert sum(sent.values()) == 2 * once and np.array_equal(naive, right)
say(
    f"reduce-scatter、更新、all-gather：{sum(sent.values()):,} 字节 = 2 × 4Ψ(N−1)/N",
    f"reduce-scatter, update, all-gather: {sum(sent.values()):,} bytes = 2 x 4 psi (N-1)/N",
)
say("参数逐比特相同，少发三分之一", "the parameters are equal in every bit, for two thirds of the bytes")

# %% [markdown] id="11-run" lang="zh"
# ## 跑一跑，量一量
#
# 先想一想：N = 4 时，阶段 1 的常驻内存是阶段 0 的几分之几？能一直降到四分之一吗？
# %% [markdown] id="11-run" lang="en" src="b08ed3fa"
# ## Run it and measure
#
# Think first: what part of stage 0's memory at rest does stage 1 need with N = 4? Can it get down to a quarter?
# %%
from lessons.given.real_runs import resting, train

records = [train(f"--steps 20 --stage {stage}") for stage in (0, 1)]
lines = []
for stage, record in enumerate(records):
    kinds = record["ranks"][comm.rank]["resting_bytes"]
    numbers = [kinds[kind] for kind in ("parameter", "gradient", "optimizer")]
    lines.append((stage, *numbers, sum(numbers)))
rows("阶段|参数|梯度|优化器|合计", "stage|parameters|gradients|optimizer|total", lines)
whole, cut = (resting(record, comm) for record in records)
Psi = records[0]["parameters_padded"]
assert whole == 16 * Psi and cut == 8 * Psi + 8 * Psi // N
assert records[0]["weights_sha256"] == records[1]["weights_sha256"]
say(
    f"16Ψ 降到 8Ψ + 8Ψ/N，是原来的 {cut / whole:.3f}；参数和梯度的 8Ψ 再多 rank 也降不下来。权重逐比特相同",
    f"16 psi become 8 psi + 8 psi/N, {cut / whole:.3f} of it; the 8 psi of parameters and gradient stay, "
    "whatever N is. The weights are equal in every bit",
)

# %% [markdown] id="11-diff" lang="zh"
# ## 先写，再看
#
# 上面只有一个向量，走一步。真正的阶段有好几个 unit、好几个 micro-batch，还要先裁剪再更新：优化器放进 all-reduce 的两半之间，别的什么都不变。现在动手写：`lessons/exercises/11_zero1.py`，用 `python -m lessons run 11` 检查。通过以后，这一格会显示 `zero_ref/stages/zero0.py` 到 `zero1.py` 的真正差别，拿它和你写的比一比。
# %% [markdown] id="11-diff" lang="en" src="a5d2a848"
# ## Write it, then read it
#
# Above there is one vector, for one step. A real stage has several units and micro-batches, and clips before it updates: the optimizer goes
# between the two halves of the all-reduce, and nothing else changes. Write it now: `lessons/exercises/11_zero1.py`, checked by `python -m lessons run 11`. Once it has passed, this cell shows what
# really changes from `zero_ref/stages/zero0.py` to `zero1.py`, to be compared with yours.
# %%
from zero_ref.stages import zero0, zero1

show_difference(zero0, zero1, "11_zero1")

# %% [markdown] id="11-end" lang="zh"
# ## 记住
#
# - ZeRO-1 不需要 all-reduce：reduce-scatter、更新、all-gather 是 2Ψ，和数据并行一样多。
# - 省下的是优化器状态的 (N−1)/N。16 位训练时它占 16Ψ 中的 12Ψ，所以论文里阶段 1 就能省到接近四分之一。
# - 看图：`mpirun -n 4 python -m zero_ref.train --stage 1 --report run.html` 画出这一步；`make compare` 把四个阶段并排放在 runs/compare.html。
# - 接下来：梯度也只用了四分之一，为什么还要整份留着？真正的阶段 1 在 `zero_ref/stages/zero1.py`。
# %% [markdown] id="11-end" lang="en" src="bffe4f48"
# ## To remember
#
# - ZeRO-1 needs no all-reduce: reduce-scatter, update, all-gather is 2Ψ, as much as data parallelism.
# - It saves (N−1)/N of the optimizer's state. With 16-bit numbers that is 12Ψ of 16Ψ, and so the paper's stage 1 gets close to a quarter.
# - In pictures: `mpirun -n 4 python -m zero_ref.train --stage 1 --report run.html` draws one step; `make compare` puts all four stages side by
#   side, in runs/compare.html.
# - Next: of the gradient, too, only a quarter is used; why keep all of it? The real stage 1 is `zero_ref/stages/zero1.py`.
