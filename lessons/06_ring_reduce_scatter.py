# %% [markdown] id="06-title" lang="zh"
# # 06 环形 reduce-scatter
#
# 数据并行要把四个 rank 的梯度加起来。最直接的办法是每个 rank 把整个梯度发给 rank 0，由它相加：rank 0 要收 3 份，又慢又占内存，别的 rank 却在闲着。
#
# **reduce-scatter** 换了个问法：不要求谁拿到整个和，**rank r 只要和的第 r 片**。这样加法和通信就能平摊给所有 rank。
#
# 环形算法：所有 rank 围成一圈，每一步都只发给右边、只收左边的。第 s 片从 rank s+1 出发，一路向右，每到一处就加上那里的一份，走 N−1 步正好到达 rank s。
#
# ```
#     rank 0  ->  rank 1
#       ^           |
#       |           v
#     rank 3  <-  rank 2
# ```
# %% [markdown] id="06-title" lang="en" src="1379cc9a"
# # 06 Ring reduce-scatter
#
# Data parallelism has to add up the gradients of four ranks. The obvious way is to send them all to rank 0: it receives three whole
# gradients, slowly, into a lot of memory, while the others are idle.
#
# **Reduce-scatter** asks for something else: nobody gets the whole sum, **rank r gets shard r of it**. Then the adding and the
# sending can be shared out evenly.
#
# Around a ring: each rank sends to the right and receives from the left only. Shard s sets out at rank s+1 and travels to the right,
# every rank adds its own part, and after N−1 hops it has arrived at rank s.
#
# ```
#     rank 0  ->  rank 1
#       ^           |
#       |           v
#     rank 3  <-  rank 2
# ```
# %%
import numpy as np
from _lesson import each, ranks, say

comm = ranks(4)
N, rank = comm.size, comm.rank
right, left = (rank + 1) % N, (rank - 1) % N

# %% [markdown] id="06-barcode" lang="zh"
# ## 看得出来源的数
#
# rank r 的第 i 个元素取 (i+1) · 10^r。这样和的每一位数字都说明来自哪个 rank：四位都相同，就是四份全加上了，而且各加一次。
# %% [markdown] id="06-barcode" lang="en" src="20d53f7e"
# ## Numbers that show where they come from
#
# Element i of rank r is (i+1) · 10^r. Then each digit of a sum belongs to one rank: four equal digits mean that all four parts are in it,
# once each.
# %%
gradient = np.array([(i + 1) * 10**rank for i in range(8)], float)
each(comm, f"rank {rank}: {gradient.astype(int).tolist()}")

# %% [markdown] id="06-hops" lang="zh"
# ## 走三步
#
# 先想一想：rank 0 第一步应该发出哪一片？（第 s 片从 rank s+1 出发。）
# %% [markdown] id="06-hops" lang="en" src="df3177a2"
# ## Three hops
#
# Think first: which shard does rank 0 send first? (Shard s sets out at rank s+1.)
# %%
shards = gradient.reshape(N, -1)  # row s: this rank's part of shard s
travelling = shards[left].copy()  # shard left sets out here
arriving = np.empty_like(travelling)
bytes_sent = 0
for hop in range(1, N):
    comm.mpi.Sendrecv(travelling, right, recvbuf=arriving, source=left)
    bytes_sent += travelling.nbytes
    number = (rank - hop - 1) % N  # the shard that has just come
    travelling = arriving + shards[number]
    say(f"第 {hop} 步之后", f"after hop {hop}")
    numbers = travelling.astype(int).tolist()
    each(comm, f"  rank {rank} 有第 {number} 片：{numbers}", f"  rank {rank} has shard {number}: {numbers}")
assert number == rank
expected = np.array([(i + 1) * sum(10**r for r in range(N)) for i in (2 * rank, 2 * rank + 1)], float)
assert np.array_equal(travelling, expected)
say("每个 rank 都拿到了自己那一片，四份全在里面", "each rank has its own shard, with all four parts in it")

# %% [markdown] id="06-price" lang="zh"
# ## 花了多少
#
# 每一步发送 1/N，走 N−1 步：每个 rank 发送 Ψ(N−1)/N 个元素。这是能做到的最少：每一片的和里，有 N−1 份原来在别的 rank 上，每份至少要离开一次，所以全部 rank 合起来至少要发送 Ψ(N−1)。
# %% [markdown] id="06-price" lang="en" src="d1be58f8"
# ## What it costs
#
# 1/N a hop, N−1 hops: each rank sends Ψ(N−1)/N elements. It cannot be less: of every shard's sum N−1 parts lie on other ranks, and
# each has to leave at least once, so all ranks together send at least Ψ(N−1).
# %%
formula = gradient.size * (N - 1) / N * gradient.itemsize
assert bytes_sent == formula
say(
    f"每个 rank 发送了 {bytes_sent} 字节，公式 Ψ(N−1)/N = {formula:g}",
    f"each rank sent {bytes_sent} bytes; psi (N-1)/N = {formula:g}",
)

# %% [markdown] id="06-real" lang="zh"
# ## 本项目里的三种
#
# `--reduce native` 调用 MPI 自带的，`ordered` 按 rank 顺序求和，`ring` 就是上面这个。三种的结果在这里完全相同，因为这些数加起来没有舍入；换成真正的浮点梯度，加法顺序不同，最后几个比特就可能不同。
# %% [markdown] id="06-real" lang="en" src="a97ad9b0"
# ## The three in this project
#
# `--reduce native` calls MPI's own, `ordered` adds in rank order, `ring` is the one above. Their results are equal here, because these
# numbers add up without rounding; with real gradients the order of the additions can change the last bits.
# %%
from zero_ref.comm import REDUCE
from zero_ref.layout import FlatLayout

layout = FlatLayout("gradient", {"values": (8,)}, N)
for name, kind in REDUCE.items():
    assert np.array_equal(kind().reduce_scatter(gradient, layout), travelling)
    say(f"--reduce {name}：逐比特相同", f"--reduce {name}: equal in every bit")

# %% [markdown] id="06-end" lang="zh"
# ## 记住
#
# - reduce-scatter：rank r 得到和的第 r 片，每个 rank 发送 Ψ(N−1)/N。
# - 只用两个 rank 试不出错：左邻居和右邻居是同一个。要用三个以上。
# - 接下来：all-gather 把这些片再拼起来。真正的环形实现是 `zero_ref/comm.py` 里的 `RingComm`。
# %% [markdown] id="06-end" lang="en" src="0d2f91db"
# ## To remember
#
# - Reduce-scatter: rank r gets shard r of the sum, and each rank sends Ψ(N−1)/N.
# - Two ranks hide mistakes: the left neighbour is the right one. Try three and more.
# - Next: the all-gather puts the shards together again. The real ring is `RingComm` in `zero_ref/comm.py`.
