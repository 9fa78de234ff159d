# %% [markdown] id="13-title" lang="zh"
# # 13 ZeRO-3：连参数也切开
#
# 阶段 2 里，优化器状态和梯度都只存 1/N 了，可每个 rank 上仍然有完整的模型。rank 再多，这一份也不会变小：模型本身放不下，阶段 2 就无能为力。
#
# 但是同一时刻只有**一层**在计算。所以平时每个 rank 只存自己那片参数，轮到哪一层，就在那一刻把它收集起来，用完就扔。
#
# 先想一想：前向时收集一次，反向时还要再收集一次。每步要发送的数据，是阶段 2 的几倍？
# %% [markdown] id="13-title" lang="en" src="5389461d"
# # 13 ZeRO-3: the parameters, too
#
# At stage 2 each rank keeps 1/N of the optimizer's state and of the gradient, but still the whole model. More ranks do
# not make that part smaller: if the model itself does not fit, stage 2 cannot help.
#
# But only **one layer** computes at a time. So between its turns each rank keeps just its shard of a layer; when
# the turn comes the layer is gathered, used, and dropped.
#
# Think first: it is gathered in the forward pass, and once more in the backward pass. How many times stage 2's bytes is that?
# %%
from _lesson import each, language, pick, ranks, rows, say, show, show_difference

comm = ranks(4)

# %% [markdown] id="13-run" lang="zh"
# ## 跑一跑，量一量
#
# 四个阶段用同样的数据各训练 20 步。常驻：两步之间留着的字节；峰值：一步之中最多的字节；发送：每步发出的字节。都是量出来的。
# %% [markdown] id="13-run" lang="en" src="bfb16e14"
# ## Run it and measure
#
# All four stages train 20 steps on the same data. At rest: bytes that stay between steps; peak: the most in a step; sent: bytes
# a step. All of it measured.
# %%
from lessons.given import real_runs

records = [real_runs.train(f"--steps 20 --stage {stage}") for stage in range(4)]
rest = [real_runs.resting(record, comm) for record in records]
peak = [record["ranks"][comm.rank]["peak_total_bytes"] for record in records]
sent = [real_runs.sent(record, comm) for record in records]
psi = records[0]["parameters_padded"]
show(f"Ψ = {psi:,}, N = {comm.size}")
lines = [(n, r, p, p - r, s) for n, (r, p, s) in enumerate(zip(rest, peak, sent))]
rows("阶段|常驻|峰值|峰值−常驻|发送", "stage|rest|peak|peak-rest|sent", lines)
assert rest[3] * comm.size == 16 * psi == rest[0]
assert sent[3] * 2 == sent[2] * 3 and sent[2] == sent[1] == sent[0]
gathered = (peak[3] - rest[3]) - (peak[2] - rest[2])
assert peak[2] - rest[2] == peak[1] - rest[1] == peak[0] - rest[0] and gathered == 4 * (128 * 64 + 64)
say(
    f"- 常驻：优化器状态的 8Ψ、梯度的 4Ψ、参数的 4Ψ 依次除以 N：16Ψ = {rest[0]:,} 降到 16Ψ/N = {rest[3]:,}\n"
    "- 峰值−常驻：激活、一个 unit 的完整梯度和缓冲区，前三个阶段一样多，ZeRO 不切它们；"
    f"阶段 3 还要加上正在用的那个 unit 收集来的参数，{gathered:,} 字节\n"
    f"- 发送：前三个阶段都是 2Ψ；阶段 3 是 3Ψ，正好 {sent[3] / sent[2]} 倍，多出来的是反向时再收集一次",
    f"- rest: the optimizer's 8 psi, the gradients' 4 psi and the parameters' 4 psi are divided by N in turn: "
    f"16 psi = {rest[0]:,} becomes 16 psi/N = {rest[3]:,}\n"
    "- peak-rest: activations, one unit's whole gradient and buffers; the first three stages have the same, as ZeRO "
    f"does not cut them. Stage 3 has the gathered parameters of the unit in use on top, {gathered:,} bytes\n"
    f"- sent: 2 psi at the first three stages, 3 psi at stage 3, {sent[3] / sent[2]} times: it gathers once more for the backward pass",
)

# %% [markdown] id="13-curve" lang="zh"
# ## 一步之中的内存
#
# 下面把阶段 3 的一步画出来：横轴是时间，高度是活着的字节，一个字母一种；最下面一行是正在做什么。
#
# 先想一想：小写 p 是临时收集的参数。图上它会出现几次，每次多高？
# %% [markdown] id="13-curve" lang="en" src="a9f3da62"
# ## Memory in the course of a step
#
# Here is one step of stage 3: from left to right goes time, the height is bytes alive, a letter for each kind; the bottom line
# says what is being done.
#
# Think first: the small p are gathered parameters. How often do they come up, and how high?
# %%
from zero_ref.report import summary, text

drawn = real_runs.train("--steps 3 --stage 3 --chart")
show(text.chart(drawn, summary.words_for(drawn, language())))

# %% [markdown] id="13-same" lang="zh"
# ## 结果变了吗
#
# 先想一想：四个阶段训练出来的权重，是差不多，还是每个比特都一样？
# %% [markdown] id="13-same" lang="en" src="4ccc22eb"
# ## Does the result change?
#
# Think first: are the weights of the four stages similar, or equal in every bit?
# %%
for stage, record in enumerate(records):
    show(f"{pick('阶段', 'stage')} {stage}: {record['weights_sha256'][:32]}")
assert len({record["weights_sha256"] for record in records}) == 1
say("每个比特都一样", "equal in every bit")

# %% [markdown] id="13-own" lang="zh"
# ## 每个 rank 存了什么
#
# 每个 rank 存着每一层的四分之一，而且没有哪个元素由两个 rank 存。
# %% [markdown] id="13-own" lang="en" src="3640fcf8"
# ## What each rank keeps
#
# Each rank keeps a quarter of every layer, and no element is kept by two.
# %%
from zero_ref.layout import FlatLayout

layout = FlatLayout("layers.0", {"weight": (128, 64), "bias": (128,)}, comm.size)
each(comm, f"rank {comm.rank}: layers.0 {layout.ranges(comm.rank)}")
everybodys = comm.everyone(layout.ranges(comm.rank))
assert sum(b - a for shard in everybodys for a, b in shard) == layout.elements

# %% [markdown] id="13-trap" lang="zh"
# ## 最容易犯的错
#
# 分片如果是完整参数的一个**视图**（`full[a:b]`），那么只要分片还在，完整的那块内存就释放不了：代码看上去是 ZeRO-3，内存却一个字节也没省。所以 `zero3.py` 的 `setup` 里有一个 `.copy()`。
# %% [markdown] id="13-trap" lang="en" src="7d008826"
# ## The usual mistake
#
# If a shard is a **view** of the whole (`full[a:b]`), the whole stays in memory for as long as the shard does: it looks like ZeRO-3
# and saves not one byte. That is why `setup` in `zero3.py` has a `.copy()`.
# %%
import numpy as np

from zero_ref.ledger import ledger


def alive(copied: bool) -> int:
    before = ledger.live["parameter"]
    full = ledger.track("parameter", np.zeros(1000, "float32"))
    shard = full[:250].copy() if copied else full[:250]
    del full
    held = ledger.live["parameter"] - before
    assert shard.size == 250
    return held


assert (alive(copied=False), alive(copied=True)) == (4000, 0)
say(
    f"视图：完整的 {alive(False):,} 字节还在；复制：{alive(True)} 字节（分片自己的 1,000 字节另算）",
    f"a view: the whole {alive(False):,} bytes are still there; a copy: {alive(True)} (and the shard's own 1,000 bytes)",
)

# %% [markdown] id="13-diff" lang="zh"
# ## 先写，再看
#
# all-gather 从一步的末尾挪到用到参数的地方，前向一次，反向一次；用完就扔。现在动手写：`lessons/exercises/13_zero3.py`，用 `python -m lessons run 13` 检查。通过以后，这一格会显示 `zero_ref/stages/zero2.py` 到 `zero3.py` 的真正差别，拿它和你写的比一比。
# %% [markdown] id="13-diff" lang="en" src="f66b4711"
# ## Write it, then read it
#
# The all-gather moves from the end of a step to where a parameter is used, once in the forward pass and once in the backward pass, and what was
# gathered is dropped after use. Write it now: `lessons/exercises/13_zero3.py`, checked by `python -m lessons run 13`. Once it has passed, this cell shows what
# really changes from `zero_ref/stages/zero2.py` to `zero3.py`, to be compared with yours.
# %%
from zero_ref.stages import zero2, zero3

show_difference(zero2, zero3, "13_zero3")

# %% [markdown] id="13-end" lang="zh"
# ## 记住
#
# - 常驻内存 16Ψ/N：rank 翻倍，每个 rank 就减半，没有下限。
# - 代价是通信：3Ψ，比数据并行多一半；而且一层要用时才收集，等待就在关键路径上。
# - DistributedDataParallel 不是 ZeRO-3：它在每个 rank 上都留着 16Ψ。
# - 看图：`mpirun -n 4 python -m zero_ref.train --stage 3 --report run.html`，哪一刻在收集、在扔，逐个事件都能看到；`make compare` 并排看四个阶段。
# - 接下来：这些字节在网线上要花多少时间。整个阶段 3 就在 `zero_ref/stages/zero3.py`。
# %% [markdown] id="13-end" lang="en" src="a5e7a7d9"
# ## To remember
#
# - At rest 16Ψ/N: with twice the ranks each keeps half as much, and there is no floor.
# - The price is traffic: 3Ψ, half as much again as data parallelism; and a layer is gathered when it is needed, so ranks wait for it.
# - DistributedDataParallel is not ZeRO-3: it keeps 16Ψ on every rank.
# - In pictures: `mpirun -n 4 python -m zero_ref.train --stage 3 --report run.html` shows event by event when a unit is gathered and
#   dropped; `make compare` shows all four stages side by side.
# - Next: what these bytes cost on a wire. All of stage 3 is in `zero_ref/stages/zero3.py`.
