# %% [markdown] id="21-title" lang="zh"
# # 21 组内切片，组间相加
#
# 一台机器里的卡之间很快，机器之间慢得多（ZeRO 论文的集群：NVSwitch 300 GB/s，InfiniBand 每条 12.5 GB/s）。阶段 3 却不管这些：每个 unit 一步里要在**所有** rank 之间走三遍：参数收集两遍，梯度求和一遍。
#
# 办法：只在一个小组（比如一台机器的 G 个 rank）内切片，每个组都有整个模型。收集参数不出组；组与组之间，只把梯度的一片加起来。PyTorch FSDP 叫它 HYBRID_SHARD（HSDP，arXiv 2304.11277），MiCS 是同一个主意（arXiv 2205.00119）。
# %% [markdown] id="21-title" lang="en" src="34fccc63"
# # 21 Sharded inside a group, added up between groups
#
# Inside a machine links are fast; between machines they are much slower (the ZeRO paper's cluster: NVSwitch with 300 GB/s, InfiniBand with
# 12.5 GB/s a link). Stage 3 does not care: each unit goes between **all** ranks three times a step: its parameters are gathered twice, its
# gradient is summed once.
#
# The remedy: shard only inside a small group, such as the G ranks of a machine, and let each group have the whole model. Then parameters
# are gathered without leaving the group; between groups one shard of a gradient is added up, and that is all. PyTorch's FSDP calls it
# HYBRID_SHARD (HSDP, arXiv 2304.11277), and MiCS is the same idea (arXiv 2205.00119).
# %%
import numpy as np
from _lesson import pick, ranks, rows, say

from lessons.given.few_steps import adam, mlp, samples, steps, weights
from zero_ref.comm import OrderedComm
from zero_ref.extras.groups import Groups
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger
from zero_ref.stages import zero0, zero1, zero2, zero3

world = ranks(4)
N, G = world.size, 2
R = N // G  # groups
groups = Groups(G, OrderedComm)  # among 0, 1 and among 2, 3; sums are over all four

# %% [markdown] id="21-who" lang="zh"
# ## 每个 rank 在两个圈子里
#
# - **组内**：号码相邻的 G 个，一起拥有一份完整的模型，每个 rank 一片；
# - **组间**：各组里位置相同的，共 R = N/G 个（R 是组数），拥有**同一片**。
#
# 先想一想：4 个 rank、每组 2 个时，rank 1 的组内是谁，组间是谁？它拥有第几片？
# %% [markdown] id="21-who" lang="en" src="73c22400"
# ## Each rank is in two circles
#
# - **inside**: G neighbours, who together have the model once, a shard each;
# - **between**: those at the same place of their groups, R = N/G of them (R is the number of groups), who have **the same** shard.
#
# Think first: of 4 ranks in groups of 2, who is with rank 1 inside, and who between? Which shard does it have?
# %%
inside, between = groups.inside.everyone(world.rank), groups.between.everyone(world.rank)
found = world.everyone([world.rank, inside, between, groups.rank])
rows("rank|组内|组间|第几片", "rank|inside|between|shard", found)

# %% [markdown] id="21-sum" lang="zh"
# ## 一次求和，走两程
#
# 梯度要对**所有**样本求和，所以要跨组。先在组内 reduce-scatter：每个 rank 得到自己那片、本组的和。再在组间把这一片 all-reduce。
#
# 顺序能不能反过来？先在组间把完整的梯度加起来，再在组内 reduce-scatter，结果一样，可是走慢路的就是整个梯度，而不是 1/G。
# %% [markdown] id="21-sum" lang="en" src="9f7d7f21"
# ## A sum in two hops
#
# A gradient is summed over **all** samples, so it has to leave the group. First comes a reduce-scatter inside: each rank gets its shard of
# its group's sum. Then this shard is all-reduced between groups.
#
# Could it be the other way round? With whole gradients added up between groups first, and the reduce-scatter after it, the result is the
# same. But then whole gradients take the slow way, and not a G-th of them.
# %%
PSI = 1000
one = FlatLayout("unit", {"weight": (PSI,)}, G)
gradient = np.random.default_rng(world.rank).normal(size=PSI)
ledger.forget_sent()
shard = groups.reduce_scatter(gradient, one)
far = sum(ledger.between.values())
near = sum(ledger.sent.values()) - far
all_of_them = np.stack(world.everyone(gradient.tolist()))  # (4, psi)
assert np.allclose(shard, groups.shard(all_of_them.sum(axis=0), one))
assert (near, far) == (8 * PSI * (G - 1) // G, 2 * 8 * (PSI // G) * (R - 1) // R)
say(f"组内 {near:,} 字节 = 8Ψ(G−1)/G", f"inside {near:,} bytes = 8Ψ(G−1)/G")
say(f"组间 {far:,} 字节 = 2·8(Ψ/G)(R−1)/R", f"between {far:,} bytes = 2·8(Ψ/G)(R−1)/R")

# %% [markdown] id="21-step" lang="zh"
# ## 一整步
#
# `Groups` 是一种 `Comm`：rank 和 size 是组内的，`reduce_scatter` 走两程。阶段文件不知道有组，只是按 G 来切。
#
# 下面让阶段 3 走两步：先不分组，再按两个一组。不分组时，如果 0、1 在一台机器，2、3 在另一台，每个 rank 收发的三分之二要出机器（另外三个里有两个在外面）。
# %% [markdown] id="21-step" lang="en" src="81e60d5f"
# ## A whole step
#
# `Groups` is a `Comm`: rank and size are those inside, and `reduce_scatter` goes in two hops. The stage files know of no groups, and
# divide by G.
#
# Below stage 3 makes two steps, first without groups and then in groups of two. Without them, if 0 and 1 are one machine and 2 and 3 are
# another, two thirds of what a rank sends leave its machine: two of its three others are elsewhere.
# %%
x, y = samples(world, 24, features=16, classes=4)  # the samples are dealt to all ranks, not in a group


def train(stage, comm) -> tuple[bytes, int, int, int]:
    """Two steps: all weights; bytes kept, bytes sent in the second, and of these those between groups."""
    units, before = mlp([16, 32, 32, 4], comm.size), ledger.live_total
    stage.setup(units, comm, adam("float32"))
    kept = ledger.live_total - before
    steps(2, stage, units, comm, x, y)
    sent, between = sum(ledger.sent.values()), sum(ledger.between.values())
    return weights(stage, units, comm), kept, sent, between


plain, kept, sent, _ = train(zero3, OrderedComm())
grouped, kept_by_groups, sent_by_groups, far = train(zero3, groups)
names = pick("不分组|两个一组", "all four|groups of 2").split("|")
lines = [(names[0], kept, sent, sent * 2 // 3), (names[1], kept_by_groups, sent_by_groups, far)]
rows("字节|存着的|一共发送|出机器", "bytes|kept|sent in all|leaves the machine", lines)
psi = sum(u.layout.padded for u in mlp([16, 32, 32, 4], N))
assert kept == 16 * psi // N and kept_by_groups == 16 * psi // G
assert sent == 3 * 4 * psi * (N - 1) // N
assert sent_by_groups - far == 3 * 4 * psi * (G - 1) // G
assert far == 2 * 4 * (psi // G) * (R - 1) // R
part = f"{far / (sent * 2 // 3):.0%}"
say(
    f"走慢路的字节少到 {part}，存着的多到 {N // G} 倍",
    f"on the slow way {part} of the bytes; {N // G} times as much kept",
)

# %% [markdown] id="21-bits" lang="zh"
# ## 还是逐比特相同吗
#
# 四个阶段之间：是，只要分组一样，求和的次序就一样。和不分组比：浮点加法的次序变了，(g0 + g1) + (g2 + g3) 不是 ((g0 + g1) + g2) + g3，所以只在舍入的意义上相等。
# %% [markdown] id="21-bits" lang="en" src="43e5566c"
# ## Are all bits still equal?
#
# From stage to stage, yes: with the same groups sums are made in the same order. Compared with a run without groups, no: floats are added
# in another order, (g0 + g1) + (g2 + g3) in place of ((g0 + g1) + g2) + g3, and so they are equal but for rounding.
# %%
for stage in (zero0, zero1, zero2):
    assert train(stage, groups)[0] == grouped
a, b = (np.frombuffer(weights, "float32") for weights in (plain, grouped))
assert np.allclose(a, b, atol=1e-3) and world.everyone(grouped.hex()) == [grouped.hex()] * N
say(
    f"四个阶段在组里逐比特相同；与不分组相差最多 {np.abs(a - b).max():.1e}",
    f"in groups all four stages are equal in every bit; the most that differs from no groups is {np.abs(a - b).max():.1e}",
)

# %% [markdown] id="21-end" lang="zh"
# ## 记住
#
# - 组内：阶段本来要发的全部，只是把 N 换成 G；组间：2(Ψ/G)(R − 1)/R，一次组间求和的价。代价是每个 rank 存 Ψ/G，而不是 Ψ/N。
# - G = N 就是普通的阶段 3；G = 1 就是数据并行。组通常取一台机器。
# - 样本仍然分给**所有** rank；只有模型按组来切。loss 和梯度都要跨组求和，而梯度的范数只在组内求：一个组已经有整个梯度。
# - 组间的求和如果在每个 micro-batch 都做，就是 k 倍；MiCS 攒到一步的最后才做一次。
# - 真正的命令：`mpirun -n 4 python -m zero_ref.train --stage 3 --group 2`。
# %% [markdown] id="21-end" lang="en" src="17c6fc2e"
# ## To remember
#
# - Inside goes all that the stage sends, with G in place of N; between goes 2(Ψ/G)(R − 1)/R, the price of one sum. What is paid for it:
#   each rank keeps Ψ/G, not Ψ/N.
# - With G = N it is plain stage 3, with G = 1 data parallelism. A group is usually a machine.
# - Samples are dealt to **all** ranks; only the model is dealt in groups. Losses and gradients are summed over all groups, but the norm of
#   a gradient inside one alone, which has all of it.
# - A sum between groups in each micro-batch costs k times as much; MiCS makes it once, at the end of a step.
# - The real command: `mpirun -n 4 python -m zero_ref.train --stage 3 --group 2`.
