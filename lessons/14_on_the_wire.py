# %% [markdown] id="14-title" lang="zh"
# # 14 在网线上花多少
#
# 上一课量到阶段 3 发送 3Ψ，阶段 2 发送 2Ψ。那是一个总数，而且只有一个 micro-batch。它没有说这些字节各属于哪种集合通信，一步有 k 个 micro-batch 时是多少，字节又怎样变成时间。
# %% [markdown] id="14-title" lang="en" src="6fc341d9"
# # 14 What it costs on the wire
#
# The last lesson measured 3Ψ at stage 3 and 2Ψ at stage 2. That was a sum, for one micro-batch. It did not say which collective sends how
# much of it, what it is with k micro-batches to a step, or how bytes become time.
# %%
import time

import numpy as np
from _lesson import pick, ranks, say, show

comm, N = ranks(4), 4

# %% [markdown] id="14-bytes" lang="zh"
# ## 整个模型走几遍
#
# 从阶段文件里可以直接读出来：阶段 0 和 1 每步一遍 reduce-scatter、一遍 all-gather；阶段 2 的 reduce-scatter 每个 micro-batch 一遍；阶段 3 的 all-gather 每个 micro-batch 还要两遍。走一遍，每个 rank 发送 Ψ(N−1)/N 个元素；论文省去了 (N−1)/N，rank 少的时候不能省。下面让真正的阶段训练，三层各有 117、50、18 个参数，一步 21 个样本，都不是 4 的倍数。四个字母是一遍（一个数有 4 字节），`r` 是 reduce-scatter，`a` 是 all-gather。
#
# 先想一想：k = 3 时，哪个阶段发送的是一个 micro-batch 的 3 倍？
# %% [markdown] id="14-bytes" lang="en" src="0b9859db"
# ## How many times the whole model is sent
#
# It can be read off the stage files: at stages 0 and 1 one reduce-scatter and one all-gather a step; at stage 2 a reduce-scatter for each
# micro-batch; at stage 3 two all-gathers for each, as well. Each time a rank sends Ψ(N−1)/N elements; the paper leaves (N−1)/N out, which
# matters where ranks are few. Now the real stages train, with layers of 117, 50 and 18 parameters and 21 samples a step, no multiples of 4.
# Four letters, one for each byte of a number, are one pass of the whole model: `r` of reduce-scatter, `a` of all-gather.
#
# Think first: which stage sends 3 times as much with k = 3 as with one micro-batch?
# %%
from lessons.given.real_runs import train
from zero_ref.plan import formulas

RUN = "--steps 3 --data synthetic --samples 99 --features 12 --classes 3 --hidden 9,5 --batch-size 21"


def passes(stage: int, k: int) -> dict[str, int]:
    """How often the whole model goes through each collective in a step of k micro-batches."""
    return {"reduce_scatter": k if stage >= 2 else 1, "all_gather": 2 * k if stage == 3 else 1}


for k, stage in [(k, stage) for k in (1, 3) for stage in range(4)]:
    record = train(f"{RUN} --stage {stage} --micro-batches {k}")
    psi = record["parameters_padded"]
    assert (record["parameters"], psi) == (117 + 50 + 18, 120 + 52 + 20)  # padded to multiples of N
    assert passes(stage, k) == formulas.passes(stage, k)
    for rank in record["ranks"]:
        for name, times in passes(stage, k).items():
            assert rank["sent_bytes_per_step"][name] == 4 * times * psi * (N - 1) // N
    sent = [rank["sent_bytes_per_step"][name] for name in ("reduce_scatter", "all_gather")]
    r, a = (nbytes // (psi * (N - 1) // N) for nbytes in sent)
    numbers = f"{sent[0]:>5,} + {sent[1]:>5,} {pick('字节', 'bytes')}"
    show(f"k = {k}  {pick('阶段', 'stage')} {stage}  {'r' * r + 'a' * a:36}  {numbers}")
say(
    "k = 1：2Ψ、2Ψ、2Ψ、3Ψ；k = 3：2Ψ、2Ψ、(k+1)Ψ、3kΨ；都乘以 (N−1)/N",
    "k = 1: 2, 2, 2 and 3 psi; k = 3: 2, 2, k+1 and 3k psi; all times (N-1)/N",
)
for n in (2, 4, 64, 1024):
    show(f"N = {n:>4}: 2Ψ(N-1)/N = {sum(formulas.sent_elements(2, 1, n).values()):.3f} Ψ")

# %% [markdown] id="14-latency" lang="zh"
# ## 字节不是时间：每条消息都有启动开销
#
# 同样多的字节，一次收集，或者切成 64 次收集。时间是这次运行量到的。时间 = 字节 / 带宽 + 次数 × 跳数 × 每跳的延迟，这就是 alpha-beta 模型（`zero_ref/plan/timing.py`）。再假设一条线每跳 20 微秒、每秒 10 GB，算一算时间花在哪里：上面的小模型，和 36 层、75 亿个 16 位参数的模型。
# %% [markdown] id="14-latency" lang="en" src="0ae5f209"
# ## Bytes are not time: every message has a start-up cost
#
# The same bytes, gathered in one call or in 64; the times are measured in this run. Time = bytes / bandwidth + calls × hops ×
# latency of a hop is the alpha-beta model (`zero_ref/plan/timing.py`). Then suppose a wire of 20 microseconds a hop and 10 GB a second, and compute
# where the time goes: for the small model above, and for one of 7.5 billion 16-bit parameters in 36 layers.
# %%
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger
from zero_ref.plan.timing import Link, Machine, communication

for calls in (1, 64):
    layout = FlatLayout("unit", {"weight": (16128 // calls - 2,)}, N)  # the 2 come back as padding
    shard = np.ones(layout.counts[comm.rank], "float32")
    seconds = []
    for _ in range(5):
        ledger.forget_sent()
        start = time.perf_counter()
        for _ in range(calls):
            comm.all_gather(shard, layout)
        seconds.append(time.perf_counter() - start)
    assert (ledger.sent["all_gather"], ledger.calls["all_gather"]) == (4 * 16128 * (N - 1) // N, calls)
    sent, took = ledger.sent["all_gather"], f"{1e6 * min(seconds):>6,.0f}"
    say(
        f"{sent:,} 字节，分 {calls:>2} 次：{took} 微秒",
        f"{sent:,} bytes in {calls:>2} calls: {took} microseconds",
    )

wire = Link(latency=20e-6, bandwidth=10e9)
for name, nbytes, units in (("small", 4 * psi, 3), ("large", 2 * 7.5e9, 36)):
    machine = Machine(reduce_scatter=wire, all_gather=wire)
    moving, setting_out = communication(formulas.legs(3, nbytes, N), units, machine)
    assert (moving > setting_out) == (name == "large")
    say(
        f"{'大' if name == 'large' else '小'}模型，阶段 3：字节 / 带宽 {moving:.7f} 秒，延迟 {setting_out:.7f} 秒",
        f"{name} model, stage 3: bytes / bandwidth {moving:.7f} s, latency {setting_out:.7f} s",
    )

# %% [markdown] id="14-prefetch" lang="zh"
# ## 字节不是时间：有的字节没人等
#
# 阶段 3 等 all-gather 做完才计算。`--prefetch` 让下一个 unit 的参数提前上路。`A` 是整个 all-gather，`a` 是它开始，`w` 是等它到，`F` 是前向，数字是第几个 unit。
#
# 先想一想：发送的字节、训练的结果、占的内存，三样里哪一样会变？
# %% [markdown] id="14-prefetch" lang="en" src="c4033f48"
# ## Bytes are not time: some are not waited for
#
# Stage 3 computes after each all-gather is done. `--prefetch` sends the next unit's parameters on their way early. `A` is a whole all-gather,
# `a` its start, `w` the wait for it, `F` the forward pass, and the number is the unit's.
#
# Think first: bytes sent, result, memory: which of the three changes?
# %%
LETTER = {"all_gather": "A", "start_all_gather": "a", "finish_all_gather": "w", "forward": "F"}
orders, records = [], []
for more in ("", "--prefetch"):
    records.append(train(f"{RUN} --chart {more}"))  # --chart has a step recorded
    events = records[-1]["recorded_step"]["ranks"][comm.rank]["events"]
    begun = [(LETTER.get(name), unit) for _, what, name, unit, *_ in events if what == "begin"]
    orders.append(" ".join(f"{letter}{unit}" for letter, unit in begun[: begun.index(("F", 2)) + 1]))
    show(f"{pick('阶段', 'stage')} 3 {more:10} {orders[-1]}")
assert orders == ["A0 F0 A1 F1 A2 F2", "a0 a1 w0 F0 a2 w1 F1 w2 F2"]
plain, early = (record["ranks"][comm.rank] for record in records)
assert plain["sent_bytes_per_step"] == early["sent_bytes_per_step"]
assert records[0]["weights_sha256"] == records[1]["weights_sha256"]
most = [rank["peak_bytes"]["gathered"] for rank in (plain, early)]
assert most == [4 * 120, 4 * (120 + 52)]
say(
    f"字节和权重都相同；临时收集的参数最多 {most[0]} 字节，预取时 {most[1]} 字节：两个 unit",
    f"the same bytes and weights; gathered at most {most[0]} bytes, or {most[1]}: two units",
)

# %% [markdown] id="14-end" lang="zh"
# ## 记住
#
# - 每个 rank 每步发送 2Ψ、2Ψ、(k+1)Ψ、3kΨ，都乘以 (N−1)/N；k = 1 时是 2Ψ、2Ψ、2Ψ、3Ψ。
# - 字节不是时间：切得太碎，时间都花在延迟上；藏在计算后面的，没人等。
# - 预取不改变字节和结果，只是同时有两个临时收集的 unit。省多少时间，要在真正的网线上量。见 `zero_ref/stages/zero3_prefetch.py`。
# - 看图：`mpirun -n 4 python -m zero_ref.train --stage 3 --prefetch --report run.html` 的时间轴，和不加 `--prefetch` 的比一比；`make compare` 有每个 rank 发给谁多少。
# - 接下来：Ψ 数的是元素，这里每个元素 4 字节。能不能只发 2 字节？
# %% [markdown] id="14-end" lang="en" src="3c519a69"
# ## To remember
#
# - In a step each rank sends 2Ψ, 2Ψ, (k+1)Ψ, 3kΨ, all times (N−1)/N; with k = 1 that is 2Ψ, 2Ψ, 2Ψ, 3Ψ.
# - Bytes are not time: cut into pieces that are too small, all the time goes into latency; and what is hidden behind computation is not
#   waited for.
# - Prefetching changes neither bytes nor results; it only takes two gathered units at once. How much time it saves is to be measured on a
#   real wire. See `zero_ref/stages/zero3_prefetch.py`.
# - In pictures: the lanes of `mpirun -n 4 python -m zero_ref.train --stage 3 --prefetch --report run.html`, beside those without
#   `--prefetch`; `make compare` has who sends how much to whom.
# - Next: Ψ counts elements, here of 4 bytes each. Could 2 bytes do?
