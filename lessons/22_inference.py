# %% [markdown] id="22-title" lang="zh"
# # 22 推理：用到哪层，收集哪层
#
# 第 18 课的检查点可以接着训练。但训练是为了使用：来了新样本，要算输出，而没有一个 rank 有整个模型。docs/using.zh.md 列出的五步，最后一步就是：把所有 rank 的参数收集成完整的模型。先照做一次，核对结果；再看为什么其实不必这样做。下面先训练 200 步，存成检查点，再由四个 rank 一起读回来：每个 rank 只读自己那一片。
# %% [markdown] id="22-title" lang="en" src="8e9ee039"
# # 22 Inference by gathering
#
# With the checkpoint of lesson 18 training can go on. But a model is trained to be used: there are new samples, their outputs are wanted,
# and no rank has all of the model. The last of the five steps in docs/using.md gathers the parameters of all ranks into the whole model.
# Here that is done first and compared; then we see why it is not even necessary. First a model is trained for 200 steps, saved, and loaded
# by four ranks: each loads its own shards only.
# %%
import tempfile

import numpy as np
from _lesson import language, ranks, rows, say

from lessons.given.real_runs import train
from zero_ref.checkpoint.saving import open_together
from zero_ref.checkpoint.weights import sha256
from zero_ref.comm import Comm
from zero_ref.datasets import load_inputs
from zero_ref.ledger import ledger
from zero_ref.predict import bytes_held, load_units, outputs, score
from zero_ref.stages import zero3

comm, N = ranks(4), 4
temporary = tempfile.TemporaryDirectory(prefix="zero_ref_lesson_") if comm.rank == 0 else None
folder = comm.everyone(temporary and temporary.name)[0]
record = train("--hidden 64,64,64,64 --steps 200", "--save", folder)
checkpoint = open_together(folder)  # verified, by all ranks together
units = load_units(checkpoint, comm)
found = comm.everyone([comm.rank, sum(u.param.size for u in units), record["parameters"]])
rows("rank|自己的参数|全部参数", "rank|own parameters|all parameters", found)

# %% [markdown] id="22-whole" lang="zh"
# ## 合起来
#
# 阶段 3 的 `full_param` 是一个 unit 的 all-gather；逐个 unit 做一遍，就是整个模型。`--export` 和 `python -m zero_ref.checkpoint export` 写出来的就是它。先想一想：它和训练结束时的权重差多少？这时每个 rank 占多少内存？
# %% [markdown] id="22-whole" lang="en" src="bd965909"
# ## Put together
#
# Stage 3's `full_param` is the all-gather of one unit; unit by unit it is the whole model. That is what `--export` and `python -m
# zero_ref.checkpoint export` write. Think first: how far is it from the weights at the end of training? And what does each rank hold by
# then?
# %%
ledger.forget_peaks()
model = [zero3.full_param(u, comm) for u in units]
psi = 4 * record["parameters_padded"]  # bytes, in float32
_, held = bytes_held(comm, units)  # parameters, own and gathered: the most on a rank since forget_peaks
assert held == psi + psi // N
say(f"模型 {psi:,} 字节，每个 rank 占 {held:,}", f"a model of {psi:,} bytes; each rank holds {held:,}")
gathered = sha256(named for u, full in zip(units, model) for named in u.layout.views(full).items())
assert gathered == record["weights_sha256"]
say(f"训练出来的 {record['weights_sha256'][:32]}", f"trained  {record['weights_sha256'][:32]}")
say(f"收集起来的 {gathered[:32]}", f"gathered {gathered[:32]}")
del model

# %% [markdown] id="22-stream" lang="zh"
# ## 连合起来都不必
#
# 同一时刻只有一个 unit 在计算。所以每个 rank 只留自己的 1/N，收集一个 unit，算完就扔，再收集下一个。样本分成批，一整批归一个 rank。先想一想：参数最多占多少内存？输出会变吗？
# %% [markdown] id="22-stream" lang="en" src="5791f9e0"
# ## Not even that is necessary
#
# One unit computes at a time. So each rank keeps its 1/N, gathers a unit, computes, drops it, and gathers the next. Samples go to ranks in batches, a
# whole batch to one rank. Think first: how much memory do parameters take at most? Are the outputs the same?
# %%
from mpi4py import MPI

task, BATCH = checkpoint.manifest.task, 64
x, y = load_inputs("digits", task, "float32")
ledger.forget_peaks()
streamed = outputs(units, comm, x, BATCH)  # on rank 0
_, held = bytes_held(comm, units)
largest = 4 * max(u.layout.padded for u in units)
assert held == psi // N + largest < psi
alone = Comm(MPI.COMM_SELF)  # each rank by itself, with the whole model
expected = outputs(load_units(checkpoint, alone), alone, x, BATCH)
if comm.rank == 0:
    assert np.array_equal(streamed, expected)
    result = score(streamed, y, task.classes, language())
    say(f"digits：{len(x):,} 个样本，{result}", f"digits: {len(x):,} samples, {result}")
say("输出和完整的模型逐比特相同", "outputs are those of the whole model, equal in every bit")
numbers = f"{held:,} = {psi // N:,} + {largest:,}"
say(f"每个 rank 最多占 {numbers} 字节", f"a rank holds at most {numbers} bytes")

# %% [markdown] id="22-same" lang="zh"
# ## 一个 rank，四个 rank
#
# 一整批归一个 rank，所以不管有几个 rank，相乘的矩阵形状都一样，求和的顺序也就一样。批的大小一变，形状就变了。先想一想：哪一种输出逐比特相同？
# %% [markdown] id="22-same" lang="en" src="e7bb5396"
# ## One rank, four ranks
#
# A whole batch goes to one rank. So with any number of ranks the matrices that are multiplied have the same shapes, and so sums have the same order. With another
# batch size the shapes are others. Think first: which outputs are equal in every bit?
# %%
other_batch = outputs(units, comm, x, 7)
if comm.rank == 0:
    off = abs(expected - streamed).max(), abs(other_batch - streamed).max()
    assert off[0] == 0 < off[1] < 1e-4
    lines = [(1, BATCH, f"{off[0]:g}"), (4, 7, f"{off[1]:.1g}")]
    rows("rank 数|每批|与 4 个 rank、每批 64 个相差", "ranks|a batch|off from 4 ranks, 64 a batch", lines)

# %% [markdown] id="22-trap" lang="zh"
# ## 批数不等，就有人永远等下去
#
# 1797 个样本是 29 批，4 个 rank 轮流领，rank 0 有 8 批，其余各有 7 批。假如每个 rank 只循环自己的批，每批收集 5 个 unit。先想一想：谁会卡在第几次 all-gather？
# %% [markdown] id="22-trap" lang="en" src="f049dc7f"
# ## Unequal numbers of batches, and somebody waits for ever
#
# 1797 samples are 29 batches, which 4 ranks take in turn: rank 0 has 8 of them, the others 7. Suppose that each rank loops over the batches
# that it has, gathering 5 units for each. Think first: which rank gets stuck in which of its all-gathers?
# %%
batches = -(-len(x) // BATCH)
mine = len(range(comm.rank, batches, N))
found = comm.everyone([comm.rank, mine, mine * len(units)])
rows("rank|批|要参加的 all-gather", "rank|batches|all-gathers to come to", found)
assert [gathers for *_, gathers in found] == [40, 35, 35, 35]
say("rank 0 在第 36 次里永远等下去：别的都走了", "rank 0 waits for ever in call 36: the others have left")

# %% [markdown] id="22-all" lang="zh"
# ## 没有样本也要来
#
# `zero_ref/predict.py` 按轮循环，轮数由样本总数决定，每个 rank 算出来都一样。这一轮没有样本的 rank 照样参加每次收集，带着 0 个样本把模型走一遍。生成文本也是这样：一个 rank 的句子先写完了，仍要继续参加收集，直到所有 rank 都写完。下表的“最后一轮的样本”，依次是 rank 0 到 3 的。
# %% [markdown] id="22-all" lang="en" src="5535fc4a"
# ## Take part even without samples
#
# `zero_ref/predict.py` loops over rounds; how many follows from the number of all samples, so every rank finds the same. A rank without a
# batch takes part in each gather all the same, and puts 0 samples through the model. The same holds for generating text: a rank whose
# sentence has ended keeps taking part until all sentences have ended. In the table, "in the last round" are the samples of ranks 0 to 3 in
# turn.
# %%
activations, lines = [], []
for batch in (BATCH, 450):
    rounds = -(-len(x) // (batch * N))
    last = min(batch, max(0, len(x) - ((rounds - 1) * N + comm.rank) * batch))
    ledger.forget_sent(), ledger.forget_peaks()
    outputs(units, comm, x, batch)
    calls, sent = ledger.calls["all_gather"], ledger.sent["all_gather"]
    activations.append(ledger.peak["activation"])
    assert calls == rounds * len(units) and sent == rounds * psi * (N - 1) // N
    of_last_round = " ".join(map(str, comm.everyone(last)))
    lines.append((batch, calls, of_last_round, sent, activations[-1]))
zh = "每批|all-gather|最后一轮的样本|发送的字节|激活最多的字节"
rows(zh, "a batch|all-gathers|in the last round|bytes sent|of activations", lines)
assert activations[0] < activations[1]

# %% [markdown] id="22-end" lang="zh"
# ## 记住
#
# - 所有 rank 的分片合起来就是全局模型，与训练出来的权重逐比特相同。只有要导出成一个文件时，才需要合起来。
# - 推理只需要自己的 1/N 加上一个 unit：哪个 rank 都放不下的模型，也能算输出。
# - 每一轮，每个 rank 发送 Ψ(N−1)/N。批大一些，轮数就少，只是激活占的内存多。
# - 每次集合通信，每个 rank 都要到场；来几次，不能由自己手里的数据决定。
# - 接下来：到这里为止，通信都明明白白写在循环里。能不能让循环里一次通信也看不到？
# %% [markdown] id="22-end" lang="en" src="a02e0484"
# ## To remember
#
# - The shards of all ranks together are the global model, equal in every bit to the weights that were trained. It has to be put together
#   only to export it as one file.
# - Computing outputs takes 1/N and one unit: it works with a model that fits on no rank.
# - In each round a rank sends Ψ(N−1)/N. With larger batches there are fewer rounds, but activations take more memory.
# - Every rank comes to every collective; its own data must not decide how often.
# - Next: so far all messages stand in the loop for everybody to see. Could there be a loop that shows none?
