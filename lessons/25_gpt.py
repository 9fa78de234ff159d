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
from argparse import Namespace

import numpy as np
from _lesson import ranks, rows, say, show

from lessons.given.few_steps import adam, own, steps, weights
from zero_ref.autograd import Tensor
from zero_ref.checkpoint.weights import named_tensors
from zero_ref.data import Task
from zero_ref.extras.gpt import build
from zero_ref.extras.transformer import causal_attention
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger
from zero_ref.stages import STAGES

comm = ranks(4)

# %% [markdown] id="25-tokens" lang="zh"
# ## 文字变成样本
#
# 一个**字符**就是一个 token，用字符表里的编号表示。样本是连续的一段（窗口），目标是同一段往后移一个字：每个位置都在猜下一个字。
# %% [markdown] id="25-tokens" lang="en" src="a9f54d0b"
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
rows("字符|不同的字符|窗口", "characters|symbols|windows", [(len(TEXT), SYMBOLS, len(X))])
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
moved = qkv + (np.arange(CONTEXT) == 5)[:, None]  # 1 is added to all numbers of token 5
first, second = (causal_attention(Tensor(a), HEADS).data[0] for a in (qkv, moved))
assert [np.array_equal(a, b) for a, b in zip(first, second)] == [True] * 5 + [False] * 3
say("输出 5、6、7 变了，0 到 4 一个比特也没变", "outputs 5, 6 and 7 change; 0 to 4 do not, in any bit")

# %% [markdown] id="25-backward" lang="zh"
# 它是一个运算，不是五个：打分、遮住、softmax、求和的中间结果里，只有概率 (窗口, 头, t, t) 留给反向。它的反向是这一课的练习；这里先用有限差分看它对不对：沿一个随机的方向把 q、k、v 挪一点点，L 的变化应当等于三个梯度在这个方向上的分量。
# %% [markdown] id="25-backward" lang="en" src="92bd8337"
# It is one op, not five: of scores, mask, softmax and sum only the probabilities (windows, heads, t, t) are kept for the way back. That way
# back is the exercise of this lesson; here a finite difference says whether it is right: q, k and v move a little in a random direction,
# and L has to change by what the three gradients are in that direction.
# %%
G, way = random.normal(size=(1, CONTEXT, WIDTH)), random.normal(size=qkv.shape)
leaf = Tensor(qkv)
causal_attention(leaf, HEADS).backward(G)
ahead, behind = (causal_attention(Tensor(qkv + step * way), HEADS).data for step in (1e-6, -1e-6))
measured, computed = (G * (ahead - behind)).sum() / 2e-6, (leaf.grad * way).sum()
assert abs(measured - computed) < 1e-7
lines = [(f"{measured:.6f}", f"{computed:.6f}")]
rows("有限差分|由 dL/dq、dL/dk、dL/dv", "finite difference|by dL/dq, dL/dk and dL/dv", lines)

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
task = Task(features=CONTEXT, outputs=SYMBOLS, classes=SYMBOLS)
new_units = functools.partial(build, O, task, functools.partial(FlatLayout, size=comm.size))
layouts = [u.layout for u in new_units()]
lines = [(of.name, of.elements, of.counts[0], ", ".join([*of.shapes][:2]) + " ...") for of in layouts]
rows("unit|参数|每个 rank|张量", "unit|parameters|on a rank|tensors", lines)

# %% [markdown] id="25-stages" lang="zh"
# ## 四个阶段
#
# 每一步还是前面几课的那一步（`lessons/given/few_steps.py`）。loss 是整步**所有 token** 的平均，所以窗口多的 rank 自然分量更重。什么也没学到的模型认为每个字符同样可能，它的 loss 是 ln(不同字符的个数)，也打印在下面。
#
# 先想一想：阶段 3 发的字节还是阶段 2 的 1.5 倍吗？
# %% [markdown] id="25-stages" lang="en" src="42cca278"
# ## Four stages
#
# Each step is that of the lessons before (`lessons/given/few_steps.py`). The loss is the mean over **all tokens** of the step, so that a
# rank with more windows counts for more. A model that has learnt nothing takes all characters for equally likely, and its loss is ln(number
# of symbols), which is printed below, too.
#
# Think first: does stage 3 still send 1.5 times as much as stage 2?
# %%
x, y, new_adam = own(X, comm), own(Y, comm), adam("float64", lr=0.02)
ends, sent, lines = set(), [], []
for number, stage in STAGES.items():
    units = new_units()
    stage.setup(units, comm, new_adam)
    kept = sum(ledger.live[kind] for kind in ("parameter", "gradient", "optimizer"))
    parts = steps(40, stage, units, comm, x, y)
    sent.append(sum(ledger.sent.values()))
    losses = [comm.sum(part) for part in parts]
    ends.add((weights(stage, units, comm), *losses))
    lines.append((number, f"{losses[0]:.3f} -> {losses[-1]:.3f}", kept, sent[-1]))
    del units
rows("阶段|loss|常驻字节|每步发送", "stage|loss|kept|sent a step", lines)
assert len(ends) == 1 and 2 * sent[3] == 3 * sent[2]
say("四个阶段的权重逐比特相同", "the weights of all four stages are equal in every bit")
show(f"ln {SYMBOLS} = {np.log(SYMBOLS):.3f}")

# %% [markdown] id="25-tied" lang="zh"
# ## 为什么输出层不和词表共用权重
#
# GPT-2 里 `lm_head.weight` 就是 `wte.weight`：一个矩阵，两个用处。ZeRO 里这意味着一个所有者、两个 unit 都要用：在一步的两个时刻收集，而两份梯度要**先相加**再更新。如果只是把同样的数放进两个 unit，会怎样？先想一想，第一步之后两份还相同吗？
# %% [markdown] id="25-tied" lang="en" src="d82e7d5c"
# ## Why the head does not share its weights with the table
#
# In GPT-2 `lm_head.weight` is `wte.weight`: one matrix, used twice. With ZeRO that would mean one owner and two units that need it: it is
# gathered at two moments of a step, and its two gradients have to be **added up before** the update. What if the same numbers are simply
# put into both units? Think first: are the two still equal after one step?
# %%
stage, units, apart = STAGES[3], new_units(), []
stage.setup(units, comm, new_adam)
values = dict(named_tensors(stage, units, comm))
values["lm_head.weight"] = values["wte.weight"]  # the same numbers in both, and nothing more
units = new_units(values.__getitem__)
stage.setup(units, comm, new_adam)
for _ in ("before a step", "after it"):
    now = dict(named_tensors(stage, units, comm))
    apart.append(abs(now["wte.weight"] - now["lm_head.weight"]).max())
    steps(1, stage, units, comm, x, y)
assert apart[0] == 0 < 0.01 < apart[1]
rows("步|两份最多相差", "steps|the two differ by", [(n, f"{a:.3f}") for n, a in enumerate(apart)])
say("每份只有自己那一处的梯度，不再是同一个矩阵", "each has the gradient of its own use alone")

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
# - To ZeRO a model is a list of units: another model needs no other stage.
# - Causal: when a token changes, no bit of the outputs before it does.
# - Sharing weights means adding up their gradients first. Equal numbers alone are not sharing.
# - The real command: `mpirun -n 4 python -m zero_ref.train --model gpt`, and then `python -m zero_ref.generate` has it write.
# - Next: lesson 26, when activations do not fit.
