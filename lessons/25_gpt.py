# %% [markdown] id="25-title" lang="zh"
# # 25 同样的四个文件，训练一个 GPT
#
# 到现在为止，模型都是几层线性层。人们用 ZeRO 训练的却是 GPT。要改多少？阶段文件一个字也不改：对 ZeRO 来说，GPT 只是**另一串 unit**。
#
# 这一课搭一个很小的 GPT，看一看注意力怎样不偷看后面的字，再让它走一遍四个阶段。
# %% [markdown] id="25-title" lang="en" src="9bae18ef"
# # 25 A GPT, through the same four files
#
# So far models were a few linear layers. What people train with ZeRO are GPTs. How much has to change? Not a word of the stage files: to
# ZeRO a GPT is **another list of units**.
#
# This lesson builds a very small GPT, looks at how attention is kept from peeping at what comes later, and sends it through all four
# stages.
# %%
import functools
import math
from argparse import Namespace

import numpy as np
from _lesson import pick, ranks, rows, say, show

from zero_ref.autograd import Tensor
from zero_ref.data import Task
from zero_ref.extras.gpt import build
from zero_ref.extras.transformer import causal_attention
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger
from zero_ref.model import Load, Unit, loss_grad
from zero_ref.optim import Adam
from zero_ref.stages import STAGES

comm = ranks(4)

# %% [markdown] id="25-tokens" lang="zh"
# ## 文字变成样本
#
# 一个**字符**就是一个 token，用字母表里的编号表示。样本是连续的一段（窗口），目标是同一段往后移一个字：每个位置都在猜下一个字。
# %% [markdown] id="25-tokens" lang="en" src="e31b2fcc"
# ## Text becomes samples
#
# A **character** is a token, told by its number in the alphabet. A sample is a stretch of the text, a window, and its target is the same
# stretch one character further on: at every place the next character is guessed.
# %%
TEXT = "she sells sea shells by the sea shore " * 4
ALPHABET = sorted(set(TEXT))
IDS = np.array([ALPHABET.index(c) for c in TEXT], dtype="int32")
CONTEXT, SYMBOLS, WIDTH, HEADS, LAYERS = 8, len(ALPHABET), 12, 3, 2
starts = range(0, len(IDS) - CONTEXT, CONTEXT)
X, Y = (np.stack([IDS[s + move : s + move + CONTEXT] for s in starts]) for move in (0, 1))
say(
    f"{len(TEXT)} 个字符，{SYMBOLS} 种，{len(X)} 个长 {CONTEXT} 的窗口",
    f"{len(TEXT)} characters, {SYMBOLS} symbols, {len(X)} windows of {CONTEXT}",
)
show(f"  {''.join(ALPHABET[i] for i in X[1])!r} -> {''.join(ALPHABET[i] for i in Y[1])!r}")

# %% [markdown] id="25-attention" lang="zh"
# ## 注意力不偷看
#
# 一个 token 把自己和前面所有 token 的值按权重加起来，权重由 softmax 给出。**后面的一个也不能看**：否则猜下一个字就是抄答案。
#
# 先想一想：把第 5 个 token 的数全改掉，哪些输出会变？
# %% [markdown] id="25-attention" lang="en" src="2c9be949"
# ## Attention does not peep
#
# A token adds up the values of itself and of all tokens before it, with the weights of a softmax. It must see **none of those after it**,
# or to guess the next character would be to copy it.
#
# Think first: if all numbers of token 5 change, which outputs do?
# %%
random = np.random.default_rng(0)
qkv = random.normal(size=(1, CONTEXT, 3 * WIDTH))  # queries, keys and values of one window
moved = qkv.copy()
moved[0, 5] += 1
first, second = (causal_attention(Tensor(a), HEADS).data[0] for a in (qkv, moved))
changed = [i for i in range(CONTEXT) if not np.array_equal(first[i], second[i])]
assert changed == [5, 6, 7]
say(
    f"改了第 5 个 token：输出 {changed} 变了，其余一个比特也没变",
    f"token 5 changed: outputs {changed} change, the others in no bit",
)

# %% [markdown] id="25-backward" lang="zh"
# 它是一个运算，不是五个：打分、遮住、softmax、求和的中间结果里，只有概率 (窗口, 头, t, t) 留给反向。它的反向是这一课的练习；这里先用有限差分
# 看它对不对。
# %% [markdown] id="25-backward" lang="en" src="2cfab5fb"
# It is one op, not five: of scores, mask, softmax and sum only the probabilities (windows, heads, t, t) are kept for the way back. That way
# back is the exercise of this lesson; here a finite difference says whether it is right.
# %%
G = random.normal(size=(1, CONTEXT, WIDTH))
leaf = Tensor(qkv)
causal_attention(leaf, HEADS).backward(G)


def loss(a: np.ndarray) -> float:
    return float((G * causal_attention(Tensor(a), HEADS).data).sum())


worst = 0.0
for place in [(0, 0, 1), (0, 5, 17), (0, 7, 30)]:
    move = np.zeros_like(qkv)
    move[place] = 1e-6
    worst = max(worst, abs((loss(qkv + move) - loss(qkv - move)) / 2e-6 - leaf.grad[place]))
assert worst < 1e-8
say(
    "dL/dq、dL/dk、dL/dv 与有限差分相差不到 1e-8",
    "dL/dq, dL/dk and dL/dv are those of finite differences to within 1e-8",
)

# %% [markdown] id="25-units" lang="zh"
# ## 一串 unit
#
# 词和位置的表、两个块、最后的归一化和输出层：四个 unit，每个都有自己的扁平向量，切成 N 份。名字和形状与 nanoGPT 的模块相同。
# %% [markdown] id="25-units" lang="en" src="908d7b2e"
# ## A list of units
#
# The tables of symbols and places, two blocks, the last norm with the output layer: four units, each with a flat vector of its own that is
# cut into N parts. Names and shapes are those of nanoGPT's modules.
# %%
O = Namespace(seed=1, width=WIDTH, heads=HEADS, layers=LAYERS, dtype="float64")  # noqa: E741
TASK = Task(features=CONTEXT, outputs=SYMBOLS, classes=SYMBOLS)


def new_units(load: Load | None = None) -> list[Unit]:
    return build(O, TASK, functools.partial(FlatLayout, size=comm.size), load)


lines = [
    (u.layout.name, u.layout.elements, u.layout.counts[0], ", ".join(list(u.layout.shapes)[:2]) + " ...")
    for u in new_units()
]
rows(pick("unit 参数 每个rank 张量", "unit parameters a-rank tensors").split(), lines)

# %% [markdown] id="25-stages" lang="zh"
# ## 四个阶段
#
# 下面的循环和第 8 课以来的一样。loss 是整步**所有 token** 的平均，所以窗口多的 rank 自然分量更重。
#
# 先想一想：阶段 3 发的字节还是阶段 2 的 1.5 倍吗？
# %% [markdown] id="25-stages" lang="en" src="13d12bd4"
# ## Four stages
#
# The loop below is that of all lessons since 08. The loss is the mean over **all tokens** of the step, so that a rank with more windows
# counts for more.
#
# Think first: does stage 3 still send 1.5 times as much as stage 2?
# %%
own = slice(comm.rank * len(X) // comm.size, (comm.rank + 1) * len(X) // comm.size)
ends, lines = {}, []
for number, stage in STAGES.items():
    units = new_units()
    stage.setup(units, comm, lambda n: Adam(n, "float64", lr=0.02))
    losses = []
    for _ in range(40):
        ledger.forget_sent()
        batch = [(X[own], Y[own])]
        part, _ = stage.step(units, comm, batch, loss_grad(True, len(X)), lambda *_: (0.0, 1.0))
        losses.append(comm.sum(part))
    sent = ledger.sent["reduce_scatter"] + ledger.sent["all_gather"]
    weights = b"".join(stage.full_param(u, comm).tobytes() for u in units)
    ends[number] = weights, losses, sent
    kept = sum(ledger.live[kind] for kind in ("parameter", "gradient", "optimizer"))
    lines.append((number, f"{losses[0]:.3f} -> {losses[-1]:.3f}", f"{kept:,}", f"{sent:,}"))
    del units
rows(pick("阶段 loss 常驻字节 每步发送", "stage loss kept sent-a-step").split(), lines)
assert len({end[0] for end in ends.values()}) == 1 and len({tuple(end[1]) for end in ends.values()}) == 1
assert 2 * ends[3][2] == 3 * ends[2][2]
say(
    f"四个阶段的权重逐比特相同；什么也不知道的模型 loss 是 ln {SYMBOLS} = {math.log(SYMBOLS):.3f}",
    f"the weights of all four are equal in every bit; who knows nothing has a loss of ln {SYMBOLS} = {math.log(SYMBOLS):.3f}",
)

# %% [markdown] id="25-tied" lang="zh"
# ## 为什么输出层不和词表共用权重
#
# GPT-2 里 `lm_head.weight` 就是 `wte.weight`：一个矩阵，两个用处。ZeRO 里这意味着一个所有者、两个 unit 都要用：在一步的两个时刻收集，而两份
# 梯度要**先相加**再更新。如果只是把同样的数放进两个 unit，会怎样？先想一想，第一步之后两份还相同吗？
# %% [markdown] id="25-tied" lang="en" src="04c93d83"
# ## Why the head does not share its weights with the table
#
# In GPT-2 `lm_head.weight` is `wte.weight`: one matrix, used twice. With ZeRO that would mean one owner and two units that need it: gathered
# at two times of a step, and its two gradients have to be **added up before** the update. What if the same numbers are simply put into
# both units? Think first: are the two still equal after one step?
# %%
stage, values = STAGES[3], {}
for u in new_units():
    for name, view in u.layout.views(u.initial("gathered")).items():
        values[u.layout.prefix + name] = view.copy()
values["lm_head.weight"] = values["wte.weight"]  # the same numbers in both, and nothing more
units = new_units(values.__getitem__)
stage.setup(units, comm, lambda n: Adam(n, "float64", lr=0.02))
first, *_, last = units


def apart() -> float:
    """How far the two copies are from one another."""
    table = first.layout.views(stage.full_param(first, comm))["wte.weight"].copy()
    return float(np.abs(table - last.layout.views(stage.full_param(last, comm))["lm_head.weight"]).max())


before = apart()
stage.step(units, comm, [(X[own], Y[own])], loss_grad(True, len(X)), lambda *_: (0.0, 1.0))
assert before == 0 < 0.01 < apart()
say(
    f"两份相差最多：第一步之前 {before:g}，之后 {apart():.3f}",
    f"largest difference of the two copies: {before:g} before, {apart():.3f} after one step",
)
say(
    "每份只拿到自己那一半的梯度，它们不再是同一个矩阵",
    "each has half of the gradient, and they are one matrix no more",
)

# %% [markdown] id="25-end" lang="zh"
# ## 记住
#
# - 对 ZeRO 来说，模型是一串 unit；换模型不换阶段。
# - 因果：改一个 token，前面的输出一个比特也不变。
# - 权重共用要先把梯度加起来；只是数值相同，不算共用。
# - 真正的命令：`mpirun -n 4 python -m zero_ref.train --model gpt`，之后 `python -m zero_ref.generate` 让它写字。
# - 接下来：第 26 课，激活放不下时怎么办。
# %% [markdown] id="25-end" lang="en" src="969da7f6"
# ## To remember
#
# - To ZeRO a model is a list of units: another model is no other stage.
# - Causal: when a token changes, no bit of the outputs before it does.
# - Who shares weights adds up their gradients first. Equal numbers alone are no sharing.
# - The real command: `mpirun -n 4 python -m zero_ref.train --model gpt`, and then `python -m zero_ref.generate` has it write.
# - Next: lesson 26, when activations do not fit.
