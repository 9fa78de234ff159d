# %% [markdown] id="08-title" lang="zh"
# # 08 数据并行
#
# 现在可以让四个进程一起训练了。办法最直接：每个 rank 都有完整的模型，各算各的样本，再把梯度加起来，各自做同样的更新。大家从同样的权重出发，用同样的梯度更新，所以权重永远相同，谁也不用把权重发给别人。
# %% [markdown] id="08-title" lang="en" src="ed500fcb"
# # 08 Data parallelism
#
# Now four processes can train together, in the most direct way: each has the whole model and computes its own samples, the gradients
# are added up, and all make the same update. They begin with the same weights and update them by the same gradient, so the weights
# stay the same, and nobody has to send them.
# %%
import numpy as np
from _lesson import each, ranks, say

comm = ranks(4)
N, rank = comm.size, comm.rank

# %% [markdown] id="08-one" lang="zh"
# ## 一个进程怎么训练
#
# 先写下标准答案：10 个样本，一个线性模型，一个进程，20 步 SGD。
# %% [markdown] id="08-one" lang="en" src="9560ee06"
# ## How one process trains
#
# First the expected result: 10 samples, a linear model, one process, 20 steps of SGD.
# %%
random = np.random.default_rng(0)
X = random.normal(size=(10, 3))
Y = X @ np.array([1.0, -2.0, 3.0]) + 0.5
SAMPLES, RATE = len(X), 0.1


def gradient(w: np.ndarray, x: np.ndarray, y: np.ndarray, divisor: float) -> np.ndarray:
    """dL/dw, where L is the sum of (x w - y)^2 over these samples, divided by `divisor`."""
    return 2 * (x @ w - y) @ x / divisor


alone = np.zeros(3)
for _ in range(20):
    alone -= RATE * gradient(alone, X, Y, SAMPLES)
numbers = np.array2string(alone, precision=12)
say(f"一个进程：{numbers}", f"one process:    {numbers}")

# %% [markdown] id="08-four" lang="zh"
# ## 四个进程一起
#
# 10 个样本分给 4 个 rank，分不匀：3、2、3、2。每个样本的误差都除以**整步的样本数** 10，此后梯度只相加。
# %% [markdown] id="08-four" lang="en" src="3a9139c2"
# ## Four processes together
#
# 10 samples for 4 ranks, unevenly: each gets 2 or 3. Every sample's error is divided by the number of samples **of the whole step**, 10;
# after that gradients are only added.
# %%
from zero_ref.layout import FlatLayout, bounds

cuts = bounds(SAMPLES, [1] * N)
mine = slice(cuts[rank], cuts[rank + 1])
first, last = cuts[rank], cuts[rank + 1] - 1
each(comm, f"rank {rank}：样本 {first} 到 {last}", f"rank {rank}: samples {first} to {last}")
layout = FlatLayout("w", {"w": (3,)}, N)


def train(divisor: float, factor: float) -> np.ndarray:
    """20 steps on all ranks: divide by `divisor`, add up over the ranks, multiply by `factor`."""
    w = np.zeros(3)
    for _ in range(20):
        grad = np.zeros(layout.padded)  # 3 numbers do not divide by 4 ranks: one of padding
        grad[:3] = gradient(w, X[mine], Y[mine], divisor)
        comm.all_reduce(grad, layout)
        w -= RATE * factor * grad[:3]
    return w


together = train(SAMPLES, 1.0)
assert np.allclose(together, alone, rtol=0, atol=1e-14)
numbers = np.array2string(together, precision=12)
say(f"四个进程：{numbers}", f"four processes: {numbers}")
say(
    f"与一个进程相差 {abs(together - alone).max():.1e}",
    f"off from one process by {abs(together - alone).max():.1e}",
)

# %% [markdown] id="08-mean" lang="zh"
# ## 平均的平均
#
# 很多代码先在各 rank 内部求平均，再把四个平均数求平均。先想一想：样本分得不匀时，这样做错在哪里？
# %% [markdown] id="08-mean" lang="en" src="11e86e57"
# ## A mean of means
#
# Much code takes the mean on each rank, and then the mean of the four. Think first: what is wrong with it where the samples are uneven?
# %%
wrong = train(cuts[rank + 1] - cuts[rank], 1 / N)
off = abs(wrong - alone).max()
assert off > 1e-3
say(
    f"差了 {off:.4f}：在 2 个样本的 rank 上，每个样本的分量是 1/8，在 3 个样本的 rank 上是 1/12，本来都应该是 1/10",
    f"off by {off:.4f}: on a rank with 2 samples each weighs 1/8, on one with 3 it weighs 1/12, and all should weigh 1/10",
)

# %% [markdown] id="08-same" lang="zh"
# ## 权重真的处处相同吗
# %% [markdown] id="08-same" lang="en" src="20247e0d"
# ## Are the weights really the same everywhere?
# %%
copies = comm.everyone(together.tobytes().hex())
assert len(set(copies)) == 1
say("四个 rank 上的权重逐比特相同", "the weights of the four ranks are equal in every bit")

# %% [markdown] id="08-end" lang="zh"
# ## 记住
#
# - 每个样本的误差只除一次，除以整步的样本总数；梯度只相加，不求平均。
# - 每个 rank 都有完整的模型、梯度和优化器状态：样本可以分摊，内存没有省下一个字节。PyTorch 的 DistributedDataParallel 就是这样。
# - 接下来：把一个扁平的向量切成片。真正的阶段 0 在 `zero_ref/stages/zero0.py`。
# %% [markdown] id="08-end" lang="en" src="5a3035ef"
# ## To remember
#
# - A sample's error is divided once, by the samples of the whole step; gradients are added, never averaged.
# - Each rank has the whole model, gradient and optimizer's state: samples are shared out, but not one byte of memory is saved. This is
#   PyTorch's DistributedDataParallel.
# - Next: one flat vector, cut into shards. The real stage 0 is `zero_ref/stages/zero0.py`.
