# %% [markdown] id="07-title" lang="zh"
# # 07 all-gather，以及 all-reduce 就是它们俩
#
# 上一课结束时，每个 rank 手里只有和的一片。有时候这就够了，ZeRO 的秘密正在于此；但有时候每个 rank 都要完整的结果。
#
# **all-gather**：rank r 交出第 r 片，每个 rank 都得到全部。这里没有加法，只是搬运。
# %% [markdown] id="07-title" lang="en" src="ae40ee54"
# # 07 All-gather, and all-reduce as both
#
# At the end of the last lesson each rank had one shard of the sum. At times that is enough, and this is the secret of ZeRO; at
# times every rank needs the whole.
#
# **All-gather**: rank r gives shard r, every rank gets all. Nothing is added here, only moved.
# %%
import numpy as np
from _lesson import each, ranks, say

comm = ranks(4)
N, rank = comm.size, comm.rank
right, left = (rank + 1) % N, (rank - 1) % N

# %% [markdown] id="07-ring" lang="zh"
# ## 还是那个环
#
# 先传自己那片，然后每一步把刚收到的传下去。N−1 步之后，每一片都到过每一个 rank。
# %% [markdown] id="07-ring" lang="en" src="f77ed464"
# ## The same ring
#
# Each rank first passes on its own shard, and then whichever has just arrived. After N−1 hops every shard has been everywhere.
# %%
whole = np.zeros((N, 2))
whole[rank] = [rank * 10, rank * 10 + 1]
for hop in range(N - 1):
    goes, comes = (rank - hop) % N, (rank - hop - 1) % N
    comm.mpi.Sendrecv(whole[goes], right, recvbuf=whole[comes], source=left)
each(comm, f"rank {rank}: {whole.astype(int).reshape(-1).tolist()}")
assert np.array_equal(whole, [[r * 10, r * 10 + 1] for r in range(N)])

# %% [markdown] id="07-both" lang="zh"
# ## all-reduce = reduce-scatter + all-gather
#
# all-reduce：每个 rank 都得到完整的和。先做 reduce-scatter，每个 rank 有一片；再做 all-gather，每个 rank 有全部。
#
# 先想一想：它一共要发送多少？
# %% [markdown] id="07-both" lang="en" src="1196b3ee"
# ## All-reduce = reduce-scatter + all-gather
#
# All-reduce: every rank gets the whole sum. A reduce-scatter gives each rank one shard, and an all-gather then gives everyone all of them.
#
# Think first: how much does it send in all?
# %%
from zero_ref.comm import RingComm
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger

psi = 1000
layout = FlatLayout("gradient", {"values": (psi,)}, N)
gradient = np.full(psi, rank + 1.0, "float32")
ring = RingComm()

ledger.forget_sent()
shard = ring.reduce_scatter(gradient, layout)
ring.all_gather(shard, layout, out=gradient)
sent = dict(ledger.sent)
assert (gradient == sum(range(1, N + 1))).all()
for name in ("reduce_scatter", "all_gather"):
    assert sent[name] == 4 * psi * (N - 1) // N
    formula = f"= 4 x {psi} x {N - 1}/{N}"
    say(f"{name}：{sent[name]:,} 字节 {formula}", f"{name}: {sent[name]:,} bytes {formula}")
say(
    "合计 2Ψ(N−1)/N 个元素：这就是数据并行每步的通信量",
    "2 psi (N-1)/N elements in all: what data parallelism sends in a step",
)

# %% [markdown] id="07-seam" lang="zh"
# ## 中间有一道缝
#
# all-reduce 由两半组成，两半之间有一道缝。在那一刻，rank r 正好有梯度之和的第 r 片。
#
# **ZeRO-1 就是把优化器放进这道缝里**：rank r 只更新第 r 片参数，然后收集的是更新后的参数，而不是梯度。通信量一个字节也不多。
# %% [markdown] id="07-seam" lang="en" src="170cd7ab"
# ## There is a seam
#
# All-reduce is made of two halves, with a seam between them. At that moment rank r has shard r of the summed gradient, and nothing else of it.
#
# **ZeRO-1 puts the optimizer into this seam**: rank r updates shard r of the parameters, and what is gathered then are updated
# parameters in place of the gradient. Not one byte more is sent.
# %%
values = np.full(psi, rank + 1.0, "float32")
parameters, RATE = np.ones(psi, "float32"), np.float32(0.05)  # the same everywhere
expected = parameters - RATE * sum(range(1, N + 1))  # what all-reduce and then an update of everything gives
ledger.forget_sent()
grad = ring.reduce_scatter(values, layout)  # first half
mine = ring.shard(parameters, layout)
mine -= RATE * grad  # the seam: SGD on a quarter of the parameters
ring.all_gather(mine, layout, out=parameters)  # second half
assert np.array_equal(parameters, expected) and len(set(comm.everyone(parameters.tobytes().hex()))) == 1
assert dict(ledger.sent) == sent
say(
    f"每个 rank 上，每个参数都从 1 走到了 1 − 0.05 × (1 + 2 + 3 + 4) = {parameters[0]:g}：\n"
    "每个 rank 只更新了四分之一，结果却和“先 all-reduce，再各自更新全部”逐比特相同，发送的字节也一样多",
    f"on every rank each parameter went from 1 to 1 - 0.05 x (1 + 2 + 3 + 4) = {parameters[0]:g}:\n"
    "a rank has updated a quarter only, and the result is that of an all-reduce and an update of everything, "
    "equal in every bit, for the same bytes",
)

# %% [markdown] id="07-end" lang="zh"
# ## 记住
#
# - all-reduce 就是 reduce-scatter 加 all-gather，共 2Ψ(N−1)/N。
# - 阶段 1 把优化器放进两半之间，阶段 2 把前一半挪进反向传播，阶段 3 把后一半挪到参数被用到的地方。
# - 整个 ZeRO 就是这一句话；`zero_ref/comm.py` 里的 `all_reduce` 只有一行。
# %% [markdown] id="07-end" lang="en" src="0a3b7317"
# ## To remember
#
# - An all-reduce is a reduce-scatter and then an all-gather, 2Ψ(N−1)/N in all.
# - Stage 1 puts the optimizer between the halves, stage 2 moves the first half into the backward pass, stage 3 the second to where
#   each parameter is used.
# - That sentence is all of ZeRO; `all_reduce` in `zero_ref/comm.py` is one line.
