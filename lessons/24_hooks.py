# %% [markdown] id="24-title" lang="zh"
# # 24 同样的阶段，挂在钩子上
#
# 前面的每个阶段都是一段从头读到尾的程序，通信就写在训练循环里。但用 PyTorch 的人写的循环只有前向、反向、更新，没有通信；DeepSpeed 和 FSDP 也不改它，而是把通信挂在**钩子**（hook）上：轮到某一层时，顺路调用一个函数。
#
# 这一课在 `zero_ref/autograd.py` 之上做出这样的钩子，一个字也不改它。循环就是单进程的循环，阶段 2 和阶段 3 各是一张表。
# %% [markdown] id="24-title" lang="en" src="1cdc58c8"
# # 24 The same stages, hung on hooks
#
# Each stage so far is a program to be read from top to bottom, with its messages in the training loop. But the loop that users of PyTorch
# write is forward, backward, update, without messages. DeepSpeed and FSDP leave it alone, too: they hang messages on **hooks**, functions
# that are called in passing when a layer's turn comes.
#
# This lesson makes such hooks on top of `zero_ref/autograd.py`, not a word of which changes. The loop is that of one process, and stages 2
# and 3 are a table each.
# %%
import inspect

import numpy as np
from _lesson import ranks, rows, say, show

from lessons.given.few_steps import own, steps, weights
from lessons.given.hooks import MOMENTS, caller, layer, lend, marker, new_units, there_and_back

comm = ranks(4)

# %% [markdown] id="24-marker" lang="zh"
# ## 路标
#
# autograd 反向时从新到旧逐个走过节点。在一层的**入口**和**出口**各放一个什么也不算的节点，当作路标：反向传播先碰到出口，这一层还没开始；然后走过这一层的运算；最后碰到入口，这一层的梯度就齐了。前向时也各报一次，所以一层一共有四个时刻：before forward、after forward、before backward、gradient ready。全部代码就是下面两个函数（`lessons/given/hooks.py`），`tell` 负责叫醒挂在这个时刻上的函数：
# %% [markdown] id="24-marker" lang="en" src="b0abc866"
# ## Markers
#
# Backwards, autograd walks through its nodes one by one, newest first. Put a node that computes nothing at a layer's **entry** and one at
# its **exit**, as markers: the backward pass meets the exit first, before anything of the layer; then the layer's operations; and last the
# entry, when the layer's gradient is complete. The forward pass tells of both, too. So a layer has four moments: before forward, after
# forward, before backward, gradient ready. All of the code is these two functions (`lessons/given/hooks.py`); `tell` calls what hangs on a
# moment:
# %%
for code in (marker, layer):
    show(inspect.getsource(code))

# %% [markdown] id="24-loop" lang="zh"
# ## 单进程的循环
#
# 10 个样本，3 个类别，三层。循环里没有 rank，没有通信。先不挂任何钩子，在一个进程里跑 5 步。
# %% [markdown] id="24-loop" lang="en" src="8f626ee5"
# ## The loop of one process
#
# 10 samples in 3 classes, three layers. The loop has no rank and no message. First 5 steps in one process, with nothing on the hooks.
# %%
from zero_ref.stages import zero0, zero2, zero3

random = np.random.default_rng(0)
X, Y, STEPS = random.normal(size=(10, 6)), random.integers(0, 3, 10), 5


def train(units, x, y, hooks, wants_grad=True) -> list[float]:
    """5 steps, and the loss of each. wants_grad: of the data; the end of the lesson is about it."""
    losses = []
    for _ in range(STEPS):
        losses.append(there_and_back(units, x, y, len(X), caller(hooks), wants_grad))
        for u in units:
            u.optimizer.update(u.param, u.grad, 1.0)
            u.grad.fill(0)
    return losses


alone, lines = {}, []
for name, title in (("adam", "Adam"), ("sgd", "SGD")):
    units = new_units(zero0, comm, name, 1)
    for u in units:
        lend(u, "data", u.param), lend(u, "grad", u.grad)
    alone[name] = train(units, X, Y, {})
    lines.append((title, " ".join(f"{loss:.6f}" for loss in alone[name])))
rows("一个进程，不挂钩子|每步的 loss", "one process, no hooks|loss of each step", lines)

# %% [markdown] id="24-tables" lang="zh"
# ## 两张表
#
# 每个 rank 平时只存自己那片参数（用真正的 `zero3.setup`）。需要三个小函数。先想一想：阶段 2 和阶段 3 的表会差在哪里？
# %% [markdown] id="24-tables" lang="en" src="0532219c"
# ## Two tables
#
# Between steps each rank keeps its shards only (by the real `zero3.setup`). It takes three small functions. Think first: where will the
# tables of stages 2 and 3 differ?
# %%
messages = []


def gather(u) -> None:
    messages.append(f"A{u.layout.name[-1]}")
    lend(u, "data", comm.all_gather(u.param, u.layout))


def reduce(u) -> None:
    messages.append(f"R{u.layout.name[-1]}")
    full = np.zeros(u.layout.padded)
    for name, view in u.layout.views(full).items():
        view[...], u.tensors[name].grad = u.tensors[name].grad, None
    u.grad += comm.reduce_scatter(full, u.layout)


def drop(u) -> None:
    for tensor in u.tensors.values():
        tensor.data = None


ZERO2 = {"before forward": [gather], "gradient ready": [reduce, drop]}
ZERO3 = ZERO2 | {"after forward": [drop], "before backward": [gather]}
lines = [[" + ".join(f.__name__ for f in table.get(m, [])) for table in (ZERO2, ZERO3)] for m in MOMENTS]
rows("时刻|阶段 2|阶段 3", "moment|stage 2|stage 3", [(m, *line) for m, line in zip(MOMENTS, lines)])

# %% [markdown] id="24-same" lang="zh"
# 阶段 3 前向之后就扔掉，反向之前再收集一次，只差这些。（这里的阶段 2 是 FSDP 的做法：all-gather 不在一步的末尾，在下一步的开头。）
#
# ## 和真正的阶段比
#
# 四个 rank 各有 2 或 3 个样本，用 `zero2.py`、`zero3.py` 跑 5 步，再用钩子跑 5 步。参数的每个比特、发送的每个字节都要相同。A1 是收集第 1 层，R1 是 reduce-scatter 第 1 层的梯度。
# %% [markdown] id="24-same" lang="en" src="af87c98b"
# Stage 3 drops after forward and gathers once more before backward, and that is all. (This stage 2 is FSDP's: the all-gather is not at
# the end of a step, but at the beginning of the next.)
#
# ## Against the real stages
#
# Four ranks with 2 or 3 samples each: 5 steps with `zero2.py` and `zero3.py`, and 5 with hooks. Every bit of the parameters and
# every byte sent has to be the same. A1 gathers layer 1, R1 reduce-scatters the gradient of layer 1.
# %%
from zero_ref.ledger import ledger

x, y, lines = own(X, comm), own(Y, comm), []
for number, stage, hooks, most in ((2, zero2, ZERO2, 64 + 52 + 20), (3, zero3, ZERO3, 64)):
    for name in alone:
        real, ours = (new_units(s, comm, name, comm.size) for s in (stage, zero3))
        steps(STEPS, stage, real, comm, x, y)
        sent = {kind: STEPS * nbytes for kind, nbytes in ledger.sent.items()}
        ledger.forget_sent(), ledger.forget_peaks(), messages.clear()
        losses = train(ours, x, y, hooks)
        assert dict(ledger.sent) == sent and ledger.peak["gathered"] == 8 * most
        assert weights(stage, real, comm) == weights(zero3, ours, comm)
        assert np.allclose([comm.sum(loss) for loss in losses], alone[name], rtol=0, atol=1e-14)
    one_step = messages[: len(messages) // STEPS]
    assert messages == one_step * STEPS
    lines.append((number, " ".join(one_step), sum(sent.values()), 8 * most))
head = "阶段|一步的消息|5 步的字节|临时收集最多"
rows(head, "stage|messages of a step|bytes in 5 steps|most gathered", lines)
say("参数、字节都和真正的阶段相同", "parameters and bytes are those of the real stages, to the bit")
assert one_step == ["A0", "A1", "A2", "A2", "R2", "A1", "R1", "A0", "R0"]

# %% [markdown] id="24-read" lang="zh"
# ## 为什么 `zero_ref` 不用钩子
#
# 看看消息写在哪里。真正的阶段 3 从上往下读，就是消息的顺序；有钩子的循环里一条也没有，上面那串 A 和 R 要跑了才知道。
# %% [markdown] id="24-read" lang="en" src="d673d9e2"
# ## Why `zero_ref` does without hooks
#
# Look where the messages are written. The real stage 3, read from top to bottom, has them in order. The loop with hooks has none: one has
# to run it to know the row of A and R above.
# %%
for name, texts in (("zero3.step", [zero3.step]), ("train", [train, there_and_back])):
    lines = [
        line.strip() for text in texts for line in inspect.getsource(text).splitlines() if "comm." in line
    ]
    say(f"{name}：有通信的 {len(lines)} 行", f"{name}: {len(lines)} lines with a message")
    show("\n".join(f"  {line}" for line in lines))
assert not lines

# %% [markdown] id="24-trap" lang="zh"
# ## 没响的钩子
#
# 数据不需要梯度，所以输入应该写成 `Tensor(x, wants_grad=False)`，还省下一次矩阵乘法。先想一想：这样改了会怎样？
# %% [markdown] id="24-trap" lang="en" src="51fe9806"
# ## The hook that is not called
#
# The data need no gradient, so the input should be `Tensor(x, wants_grad=False)`, which saves a matrix product, too. Think first: what
# happens then?
# %%
messages.clear()
units = new_units(zero3, comm, "adam", comm.size)
before = [zero3.full_param(u, comm).tobytes() for u in units]
losses = [comm.sum(loss) for loss in train(units, x, y, ZERO3, wants_grad=False)]
same = [zero3.full_param(u, comm).tobytes() == b for u, b in zip(units, before)]
assert same == [True, False, False] and losses == sorted(losses, reverse=True) and "R0" not in messages
show(f"loss {' '.join(f'{loss:.6f}' for loss in losses)}\n  {' '.join(messages[: len(messages) // STEPS])}")
say("没有报错，loss 照样下降，但是没有 R0：", "no error, and the loss falls; but there is no R0:")
say("反向传播走不到第 0 层的入口，它从未更新", "layer 0's entry is not reached: the layer never changes")

# %% [markdown] id="24-end" lang="zh"
# ## 记住
#
# - 前向前、前向后、反向前、梯度齐了：四个时刻，三个小函数，就是阶段 2 和阶段 3。
# - 钩子让用户的循环不变，代价是没有哪一段代码写出了消息的顺序。有没有哪个钩子没响，要看消息和字节，看 loss 看不出来。
# - 输入不要梯度的层，DeepSpeed 的钩子也曾经不响（issue 5524，后果是参数不释放）；FSDP 在反向结束时统一补上。
# - 接下来：不看注释，从上到下说出 `zero_ref/stages/zero3.py` 的每一行发什么、留什么、扔什么。
# %% [markdown] id="24-end" lang="en" src="b3abe687"
# ## To remember
#
# - Before forward, after forward, before backward, gradient ready: four moments and three small functions are stages 2 and 3.
# - Hooks leave the user's loop as it is; the price is that no piece of code shows the order of the messages. Whether a hook was not called
#   shows in messages and bytes, not in the loss.
# - Where a layer's input wants no gradient, DeepSpeed's hook was not called either (issue 5524: parameters were not released); FSDP makes
#   up for it at the end of the backward pass.
# - Next: without its comments, say from top to bottom what each line of `zero_ref/stages/zero3.py` sends, keeps and drops.
