# %% [markdown] id="09-title" lang="zh"
# # 09 摊平了再切
#
# 上一课的数据并行能训练，内存却一个字节也没省：每个 rank 都存着全部参数、梯度和优化器状态。更新是逐元素的（第 03 课），本来可以各管一份，但先得说清**哪个元素归谁**。按张量分，怎么也分不匀：张量有大有小，一层里又没有几个。
#
# 所以忘掉张量：一层（一个 unit）的张量首尾相接，排成**一个扁平的向量**，末尾补几个 0 凑成整份（**填充**，padding），想在哪里切就在哪里切。张量只是这个向量上的视图。下面往向量里放 0、1、2……，从视图里就能看出每个元素的位置。
# %% [markdown] id="09-title" lang="en" src="70b36183"
# # 09 Cut it flat
#
# The data parallelism of the last lesson trains, but saves no memory: each rank keeps all parameters, gradients and optimizer's state. An
# update goes element by element (lesson 03), so each could keep a part; but **which element is whose**? Tensors cannot be dealt evenly: some
# are large and some small, and a layer has few.
#
# So forget tensors: those of a layer (a unit) lie one after another in **one flat vector**, with a few zeros at the end to make it fit (the
# **padding**), and it can be cut anywhere. The tensors are views of it. With 0, 1, 2 ... in the vector, views show where each element lies.
# %%
from unittest.mock import Mock

import numpy as np
from _lesson import pick, ranks, rows, say, show

from zero_ref.layout import RULES, FlatLayout
from zero_ref.ledger import ledger
from zero_ref.optim import Adam

comm = ranks(4)
N, rank = comm.size, comm.rank
SHAPES = {"weight": (5, 12), "bias": (5,)}  # a layer with 12 inputs and 5 outputs
layouts = {rule: FlatLayout("layer", SHAPES, N, rule) for rule in RULES}
layouts["weights"] = FlatLayout("layer", SHAPES, N, shares=[1, 1, 2, 4])
flat = layouts["contiguous"]
positions = np.arange(flat.padded)
weight, bias = flat.views(positions).values()
assert np.shares_memory(weight, positions) and weight[2, 3] == 2 * 12 + 3 and weight.size == 60
assert flat.counts == [17] * 4 and flat.elements == 65
show(f"weight[2, 3]: {weight[2, 3]}   bias: {bias}   {pick('填充', 'padding')}: {positions[65:]}")
say("按张量分：60、5、0、0；摊平了切：每份 17", "by tensors: 60, 5, 0 and 0; flat: 17 for each")

# %% [markdown] id="09-rules" lang="zh"
# ## 三种规则
#
# - `contiguous`：切成 N 段，一样长。`weights=1,1,2,4` 则按比例切，给内存不一样大的 rank 用。
# - `random`：切成小块，按带种子的排列来发，每个 rank 的块数相同。
# - `hash`：第 i 块归 h(i) mod N（第 04 课），不匀。
#
# 下面一列一个位置：上面是张量（w、b，填充是 -），下面是负责它的 rank。先想一想：bias 的 5 个元素会归同一个 rank 吗？
# %% [markdown] id="09-rules" lang="en" src="f0a279cd"
# ## Three rules
#
# - `contiguous`: N slices of one length; `weights=1,1,2,4` cuts in proportion, for ranks of unequal memory.
# - `random`: small blocks, dealt by a seeded permutation, as many to each rank.
# - `hash`: block i is h(i) mod N's (lesson 04), unevenly.
#
# A column is a position: above its tensor (w, b, and - for padding), below its owner. Think first: are all 5 of the bias one rank's?
# %%
from lessons.given.owners import owners

for rule, layout in layouts.items():
    padding, owner = layout.padded - 65, owners(layout).tolist()
    assert comm.everyone(owner) == [owner] * N  # no rank has told another
    say(
        f"{rule}：{layout.counts}，每块 {layout.block} 个",
        f"{rule}: {layout.counts}, blocks of {layout.block}",
    )
    show(f"  {'w' * 60 + 'b' * 5 + '-' * padding}\n  {''.join(map(str, owner))}")

# %% [markdown] id="09-sizes" lang="zh"
# ## 恰好由一个 rank 负责
#
# `owners`（`lessons/given/owners.py`）断言每个位置恰好归一个 rank，`shard` 和 `ranges` 说的也是同一批。下面换上除不尽的大小，元素比 rank 少的也有。先想一想：3 个元素分给 8 个 rank，各得几个？`hash` 的不匀，元素多了会好些吗？
# %% [markdown] id="09-sizes" lang="en" src="84f0b59e"
# ## Exactly one owner
#
# `owners` (`lessons/given/owners.py`) asserts that each position is just one rank's, and that `shard` and `ranges` mean the same ones. Here
# it does so for sizes that nothing divides, and for fewer elements than ranks. Think first: 3 elements, 8 ranks: how many has each? Is
# `hash` less uneven for more?
# %%
lines = []
for size, elements in ((s, e) for s in (1, 2, 3, 4, 5, 8) for e in (1, 3, 7, 65, 1009)):
    kinds = {rule: FlatLayout("layer", {"w": (elements,)}, size, rule) for rule in RULES}
    for layout in (*kinds.values(), FlatLayout("layer", {"w": (elements,)}, size, shares=range(1, size + 1))):
        assert elements <= layout.padded < elements + size * layout.block
        owners(layout)
    if (size, elements) == (8, 3):
        lines = [(rule, layout.counts, layout.padded - 3) for rule, layout in kinds.items()]
rows("3 个元素，8 个 rank|各得|其中填充", "3 elements, 8 ranks|each has|of it padding", lines)
excess, lines = [], []
for elements in (1009, 100_003, 10_000_019):
    counts = FlatLayout("layer", {"w": (elements,)}, N, "hash").counts
    excess.append(max(counts) / np.mean(counts))
    lines.append((elements, counts, f"{excess[-1]:.3f}"))
rows("hash：元素|各得|最大 / 平均", "hash: elements|each has|largest / mean", lines)
assert excess == sorted(excess, reverse=True) and excess[-1] < 1.05

# %% [markdown] id="09-order" lang="zh"
# ## 视图还是复制
#
# 层按**模型次序**（张量首尾相接）计算，集合通信按 **rank 次序**（先是 rank 0 的全部元素，再是 rank 1 的）收发。切成段时两种次序是一回事，`shard` 是视图，改它就是改张量；小块打散以后，`shard` 和 `rank_order` 只能复制。
# %% [markdown] id="09-order" lang="en" src="014e26c2"
# ## A view or a copy
#
# A layer computes in **model order** (tensor after tensor), collectives send in **rank order** (all of rank 0's elements, then rank 1's).
# Of slices the two are one, and `shard` is a view: to change it is to change a tensor. Of scattered blocks `shard` and `rank_order` are copies.
# %%
lines = []
for rule, layout in layouts.items():
    full, back = np.arange(layout.padded), np.arange(layout.padded)
    ranked, shard = layout.rank_order(full), layout.shard(full, 1)
    view = np.shares_memory(shard, full)
    assert view == (ranked is full) == (rule in ("contiguous", "weights"))
    back[:] = ranked
    layout.to_model_order(ranked, back)
    assert np.array_equal(ranked[layout.slice_of(1)], shard) and np.array_equal(back, full)
    kind = pick("视图", "view") if view else pick("复制", "copy")
    lines.append((rule, kind, " ".join(map(str, shard[:6])) + " ...", layout.tensor_of(1, 0)))
rows("|shard 是|rank 1 的元素|开头属于", "|shard is a|rank 1's elements|begin in", lines)

# %% [markdown] id="09-price" lang="zh"
# ## 规则的代价
#
# 每种规则训练三步：reduce-scatter 梯度，用 Adam 更新自己那片，all-gather 参数。规则只决定谁来更新，所以参数应该逐比特相同（这里的梯度是整数，相加没有舍入）；填充的梯度是 0，它自己也一直是 0。代价在路上：打散的块要一整块缓冲区来换次序；各片长短不一，就要用能给每个 rank 各定长度的“向量”集合通信。先想一想：发送的字节数呢？
# %% [markdown] id="09-price" lang="en" src="54ffefda"
# ## What a rule costs
#
# Three steps by each rule: reduce-scatter the gradient, Adam on the own shard, all-gather the parameters. A rule only decides who updates,
# so parameters should be equal in every bit (gradients here are whole numbers, added without rounding); padding has gradient 0 and stays 0.
# The cost is on the way: scattered blocks take a whole buffer to change the order, and uneven shards take "vector" collectives,
# which are told a length for each rank. Think first: and the bytes sent?
# %%
mpi, trained, lines = comm.mpi, [], []
for rule, layout in layouts.items():
    param, adam = np.zeros(layout.padded, "float32"), Adam(layout.counts[rank], "float32", lr=0.1)
    comm.mpi = Mock(wraps=mpi)  # the real calls, and notes of them
    for step in range(3):
        full = np.zeros(layout.padded, "float32")
        full[:65] = np.random.default_rng([rank, step]).integers(1, 99, 65)
        ledger.forget_sent(), ledger.forget_peaks()
        before = ledger.live["buffer"]
        grad = comm.reduce_scatter(full, layout)
        buffer = ledger.peak["buffer"] - before
        shard = comm.shard(param, layout)
        adam.update(shard, grad, 1.0)
        comm.all_gather(shard, layout, out=param)
    calls, comm.mpi = [call[0] for call in comm.mpi.method_calls[:2]], mpi
    trained.append(param[:65].tobytes())
    assert (param[:65] != 0).all() and (param[65:] == 0).all()
    assert buffer == (4 * layout.padded if rule in ("random", "hash") else 0)
    sent = comm.everyone(sum(ledger.sent.values()))
    assert sum(sent) == 2 * 4 * layout.padded * (N - 1)
    lines.append((rule, buffer, " ".join(map(str, sent)), ", ".join(calls)))
assert len(set(trained)) == 1
rows("|缓冲区|各 rank 发送|调用", "|buffer|sent by rank|calls", lines)
say("参数逐比特相同；每步共发送 2(N−1) 个向量", "equal in every bit; a step sends 2 (N-1) vectors in all")

# %% [markdown] id="09-end" lang="zh"
# ## 记住
#
# - 一层就是一个扁平的向量：张量是视图，末尾是填充；一条规则让每个位置恰好由一个 rank 负责，每个 rank 自己就能算出来。
# - 切成段最省事：分片是视图，两种次序一样。打散要多一个整块的缓冲区；`hash` 还不匀，元素越多越接近均匀。
# - 规则只决定谁存、谁更新；结果除了舍入没有差别。真正的布局在 `zero_ref/layout.py`，用 `--shard-model` 选。
# - 接下来：会切了，一个参数的 16 字节里先切哪几个？每个阶段省多少？算一笔内存账。
# %% [markdown] id="09-end" lang="en" src="08ea81c5"
# ## To remember
#
# - A layer is one flat vector: tensors are views of it, padding is its end; by a rule, which each rank works out alone, each position has
#   exactly one owner.
# - Slices are the simplest: a shard is a view, and the two orders are one. Scattered blocks take one more whole buffer; `hash` is uneven, too,
#   and less so the more elements there are.
# - A rule only decides who keeps and updates what; the result is the same up to rounding. The real layout is `zero_ref/layout.py`; `--shard-model` chooses.
# - Next: of a parameter's 16 bytes, which are cut first, and how much does each stage save? The memory bill.
