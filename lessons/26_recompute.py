# %% [markdown] id="26-title" lang="zh"
# # 26 不存，再算一遍
#
# ZeRO 把参数、梯度和优化器状态切成 N 份。剩下的是**激活**：反向要用的前向结果。它们随样本数和层数增长，切参数一个字节也省不下来。
#
# 办法很老，也很简单：前向时只留每个 unit 的**输入**，反向轮到它时再算一遍（arXiv 1604.06174）。PyTorch 叫它 activation checkpointing，和存盘的 checkpoint 没有关系。
# %% [markdown] id="26-title" lang="en" src="2674cf9e"
# # 26 Not kept, but computed again
#
# ZeRO cuts parameters, gradients and optimizer state into N parts. What is left are the **activations**, results of the forward pass that
# the backward pass needs. They grow with samples and layers, and no cut through the parameters saves a byte of them.
#
# The remedy is old and simple: of each unit only the **input** is kept, and when the backward pass comes to it, it is computed again
# (arXiv 1604.06174). PyTorch calls this activation checkpointing, which has nothing to do with checkpoints on a disk.
# %%
import itertools

import numpy as np
from _lesson import pick, ranks, rows, say

from lessons.given.blocks import WIDTH, new_units
from lessons.given.few_steps import adam, samples, steps, weights
from zero_ref.autograd import Tensor, add, gelu, linear
from zero_ref.extras.recompute import Recompute, recomputing
from zero_ref.ledger import ledger
from zero_ref.stages import zero0, zero3

comm, LAYERS, SAMPLES = ranks(4), 6, 100


# %% [markdown] id="26-unit" lang="zh"
# ## 一个 unit 里有多少
#
# 下面的 unit 像 GPT 的 MLP：宽度 16，中间放大 4 倍，再加回输入。输入是 16 个数，中间的结果有多少个？先数一数再往下看。
# %% [markdown] id="26-unit" lang="en" src="a36ab22a"
# ## How much there is in a unit
#
# The unit below is like the MLP of a GPT: 16 wide, four times as wide in between, and added to its input. Its input is 16 numbers; how many
# results are there in between? Count before you read on.
# %%
def compute(x: Tensor, t: dict[str, Tensor]) -> Tensor:
    """x + W2 gelu(W1 x + b1) + b2"""
    return add(x, linear(gelu(linear(x, t["up"], t["up_bias"])), t["down"], t["down_bias"]))


unit = new_units(2, compute, ranks=1)[1]
before = ledger.live["activation"]
y = unit.forward(unit.initial("parameter"), np.ones((SAMPLES, WIDTH)))
held, one = ledger.live["activation"] - before, SAMPLES * WIDTH * 8  # bytes
say(
    f"一份输入 {one:,} 字节；前向之后留着 {held:,} 字节，是 {held / one:.0f} 倍",
    f"one input {one:,} bytes; held after the forward pass {held:,} bytes: {held / one:.0f} times as much",
)
assert held % one == 0 and held > 5 * one
unit.forget()
del y

# %% [markdown] id="26-again" lang="zh"
# ## 换掉一个名词
#
# `Recompute` 是一种 `Unit`：前向照做，做完就把中间结果忘掉，只留输入；反向之前先把前向再做一遍。阶段文件不知道这件事，一个字也不用改。
#
# 先想一想：六个这样的 unit，激活的峰值会降到多少？不可能只剩六份输入，因为**正在**反向的那个 unit 要有它全部的中间结果。
# %% [markdown] id="26-again" lang="en" src="d4c2ca4e"
# ## One noun replaced
#
# `Recompute` is a `Unit`: its forward pass is the same, and then all but the input is forgotten; before its backward pass comes the
# forward pass once more. The stage files know nothing of it, and not a word of them changes.
#
# Think first: with six such units, how far does the peak of the activations fall? It cannot be the six inputs alone, for the unit whose
# turn it **is** needs all that is in between.
# %%
X, Y = samples(comm, SAMPLES, WIDTH, 3, "float64")


def train(stage, units) -> tuple[bytes, dict[str, int]]:
    """Two steps on this rank's 25 samples: all weights, and what the ledger says of the second step."""
    stage.setup(units, comm, adam("float64"))
    steps(2, stage, units, comm, X, Y)
    told = {"peak": ledger.peak["activation"], "sent": sum(ledger.sent.values()), **ledger.calls}
    return weights(stage, units, comm), told


found, lines = {}, []
for stage, make in itertools.product((zero0, zero3), (list, recomputing)):
    found[stage, make] = _, told = train(stage, make(new_units(LAYERS, compute, comm.size)))
    kept = pick("全留", "all kept") if make is list else pick("重算", "recomputed")
    lines.append((stage.__name__[-1], kept, told["peak"], told["sent"]))
rows("阶段|激活|峰值的字节|发送的字节", "stage|activations|peak bytes|bytes sent", lines)
plain, again = found[zero3, list][1], found[zero3, recomputing][1]
assert len({weights for weights, _ in found.values()}) == 1
assert [found[zero0, make][1]["peak"] for make in (list, recomputing)] == [plain["peak"], again["peak"]]
less = again["peak"] / plain["peak"]
say(
    f"权重逐比特相同；激活的峰值是原来的 {less:.2f} 倍",
    f"weights are equal in every bit; the peak of activations is {less:.2f} of what it was",
)

# %% [markdown] id="26-gather" lang="zh"
# ## 阶段 3：要不要多收集一次？
#
# 再算一遍要用参数，而阶段 3 的参数前向之后就扔了。这是不是意味着 3Ψ 变成 4Ψ？先想一想反向时本来就要做什么。
#
# 反向之前，阶段 3 本来就要把这个 unit 的参数收集一次，用来算梯度。再算一遍就用**同一次**收集的参数。所以次数和字节都没有变。（如果再算和反向各收集一次，才是 4Ψ：有的系统里的钩子就会这样。）
# %% [markdown] id="26-gather" lang="en" src="d07fb433"
# ## Stage 3: is there one more gather?
#
# Computing again takes parameters, and stage 3 has dropped them after the forward pass. Does 3Ψ become 4Ψ? Think first what the backward
# pass does anyway.
#
# Before it goes back through a unit, stage 3 gathers its parameters anyway, for the gradients. The second forward pass uses those of the
# **same** gather, so neither calls nor bytes change. (If each of the two gathers for itself, it is 4Ψ: with hooks that may happen.)
# %%
assert plain["sent"] == again["sent"] and plain["all_gather"] == again["all_gather"] == 2 * (LAYERS + 1)
say(
    f"一步里的 all-gather：{again['all_gather']} 次 = 2 × {LAYERS + 1} 个 unit，重不重算都一样",
    f"all-gathers in a step: {again['all_gather']} = 2 x {LAYERS + 1} units, with and without",
)

# %% [markdown] id="26-last" lang="zh"
# ## 最后一个 unit
#
# `recomputing` 让最后一个 unit 保持原样。它前向一完就轮到它反向：再算一遍什么也省不下来。
#
# 那么多花了多少？一步里前向是一份，反向是两份（对输入、对权重各一份矩阵乘法）；现在前向做两遍：4 比 3，多三分之一的计算。
# %% [markdown] id="26-last" lang="en" src="6566e650"
# ## The last unit
#
# `recomputing` leaves the last unit as it is. Its backward pass follows its forward pass at once, and nothing would be saved.
#
# And what does it cost? In a step the forward pass is one part, the backward pass two (a product for the input and one for the
# weights). Now the forward pass comes twice: 4 in place of 3, a third more to compute.
# %%
calls = []


def counted(x: Tensor, t: dict[str, Tensor]) -> Tensor:
    calls.append(1)
    return compute(x, t)


units = recomputing(new_units(LAYERS, counted, comm.size))
assert [type(u) is Recompute for u in units] == [True] * LAYERS + [False]
train(zero3, units)
assert len(calls) == 2 * 2 * LAYERS
say(
    f"{LAYERS} 个 unit 两步里的前向：{len(calls)} 次 = 2 步 × {LAYERS} 个 unit × 2",
    f"forward passes of {LAYERS} units in 2 steps: {len(calls)} = 2 steps x {LAYERS} units x 2",
)

# %% [markdown] id="26-end" lang="zh"
# ## 记住
#
# - 激活不归 ZeRO 的三个阶段管；少存激活，用计算换：多三分之一的计算，省下一个 unit 里的中间结果。
# - 再算一遍是同样的运算、同样的次序，所以逐比特相同。（有 dropout 的话，随机数也要重来一遍。）
# - 留下的是每个 unit 的输入，加上一个 unit 的全部；unit 切得越大，前者越少，后者越多。
# - 真正的命令：`mpirun -n 4 python -m zero_ref.train --model gpt --recompute`。
# %% [markdown] id="26-end" lang="en" src="c7f0c9eb"
# ## To remember
#
# - ZeRO's three stages do nothing about activations. Keeping fewer of them is paid for in computing: a third more saves what lies between a
#   unit's input and output.
# - Recomputing repeats the same operations in the same order, so all bits are equal. (With dropout, the same random numbers would have to
#   be drawn again.)
# - What is left is the input of each unit and everything in one unit: the larger the units, the less of the former and the more of the
#   latter.
# - The real command: `mpirun -n 4 python -m zero_ref.train --model gpt --recompute`.
