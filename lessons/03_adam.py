# %% [markdown] id="03-title" lang="zh"
# # 03 手写 Adam
#
# 上一课给每个权重算出了梯度 g，还没有更新。最简单的是 SGD：w −= lr · g。可是梯度的大小能差好几个数量级，lr 却只有一个：有的权重几乎不动，有的飞出去。
#
# **Adam** 给每个权重多记两个数：g 的滑动平均 m，g² 的滑动平均 v，都从 0 开始。第 t 步
#
# - m ← β₁m + (1−β₁)g，v ← β₂v + (1−β₂)g²；
# - w −= lr · m̂ / (√v̂ + ε)。m̂ = m / (1−β₁ᵗ)，v̂ = v / (1−β₂ᵗ) 是**偏差修正**：从 0 开始的平均，头几步偏小。
#
# 下面的 13 个权重要从 0 走到 1，坡度从 0.001 到 1000。先想一想：lr 相同，五步以后哪个走得最远？
# %% [markdown] id="03-title" lang="en" src="99a040e6"
# # 03 Adam by hand
#
# The last lesson gave each weight its gradient g, and no update. The simplest is SGD: w −= lr · g. But gradients may be orders of
# magnitude apart, and there is one lr: some weights hardly move, others fly off.
#
# **Adam** keeps two more numbers for each weight: m, a running mean of g, and v, one of g², both 0 at first. At step t
#
# - m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g²;
# - w −= lr · m̂ / (√v̂ + ε), with m̂ = m / (1−β₁ᵗ), v̂ = v / (1−β₂ᵗ): **bias correction**, as a mean that begins at 0 is too small at first.
#
# The 13 weights below have to go from 0 to 1, on slopes from 0.001 to 1000. Think first: with one lr, which is furthest after five steps?
# %%
import numpy as np
from _lesson import alone, pick, rows, say, show

from zero_ref.layout import bounds
from zero_ref.optim import SGD, Adam, AdamW
from zero_ref.precision import Master

alone()
LR, BETA1, BETA2, EPS = 0.1, 0.9, 0.999, 1e-8
SLOPE = np.logspace(-3, 3, 13)  # L = the sum of SLOPE/2 (w - 1)^2, so dL/dw = SLOPE (w - 1)


def adam(w: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray, t: int) -> None:
    """Step t = 1, 2, ... in place; both sides of the fraction are multiplied by sqrt(1 - BETA2^t)."""
    m += (1 - BETA1) * (g - m)
    v[:] = BETA2 * v + (1 - BETA2) * (g * g)
    root = np.sqrt(1 - BETA2**t)
    w -= m / (np.sqrt(v) + EPS * root) * (LR * root / (1 - BETA1**t))


w, m, v, real_w, sgd_w = np.zeros((5, 13))
steps = []
real, sgd = Adam(13, "float64", lr=LR), SGD(13, "float64", lr=LR)
for t in range(1, 6):
    adam(w, SLOPE * (w - 1), m, v, t)
    real.update(real_w, SLOPE * (real_w - 1), 1.0)
    sgd.update(sgd_w, SLOPE * (sgd_w - 1), 1.0)
    assert np.array_equal([w, m, v], [real_w, real.m, real.v])
    for i in (0, 12):
        steps.append((t, f"{SLOPE[i]:g}", f"{m[i]:.2e}", f"{v[i]:.2e}", f"{w[i]:.4f}", f"{sgd_w[i]:.2g}"))
rows("步|坡度|m|v|Adam: w|SGD: w", "step|slope|m|v|Adam: w|SGD: w", steps)
assert np.ptp(w) < 1e-4 and sgd_w[0] < 1e-3 and abs(sgd_w[12]) > 1e9
say("与 zero_ref/optim.py 的 Adam 逐比特相同", "equal in every bit to Adam in zero_ref/optim.py")

# %% [markdown] id="03-first" lang="zh"
# ## 第一步总是 lr
#
# 第一步时 m̂ = g，v̂ = g²，所以走 lr · g / (|g| + ε)：只要 |g| 远大于 ε，步长就是 lr，与梯度大小无关。先想一想：忘了偏差修正，第一步会走多远？
# %% [markdown] id="03-first" lang="en" src="6c63d57c"
# ## The first step is lr
#
# At the first step m̂ = g and v̂ = g², so it goes lr · g / (|g| + ε): as long as |g| is large beside ε that is lr, whatever the gradient.
# Think first: how far does the first step go without bias correction?
# %%
g = np.array([1e-8, 3e-5, -2.0, 7e5])
first, uncorrected = np.zeros((2, 4))
Adam(4, "float64", lr=LR).update(first, g, 1.0)
assert np.allclose(first, -LR * g / (abs(g) + EPS), rtol=1e-12, atol=0)
for i in range(4):
    show(f"g {g[i]:6.0e}:  Adam {first[i]:9.6f}   SGD {-LR * g[i]:6.0e}")
adam(uncorrected, g, np.zeros(4), np.zeros(4), t=10**6)  # both corrections are 1 by then
ratio = abs(uncorrected[3]) / LR
assert np.isclose(ratio, (1 - BETA1) / np.sqrt(1 - BETA2))
say(f"没有偏差修正：{ratio:.3f} lr", f"without bias correction: {ratio:.3f} lr")

# %% [markdown] id="03-decay" lang="zh"
# ## 权重衰减要和梯度分开
#
# 权重衰减是每步让 w 缩小一点。把 λw 加进梯度，SGD 正好得到 (1−lr·λ)w；Adam 却把它和 g 一起除以 √v̂，第一步里衰减完全不起作用。AdamW 则单独缩小 w。
# %% [markdown] id="03-decay" lang="en" src="87bc6c8b"
# ## Weight decay apart from the gradient
#
# Weight decay makes w a little smaller at each step. With λw added to the gradient SGD gets just (1−lr·λ)w; Adam divides it by √v̂,
# too, so in the first step decay has no effect at all. AdamW shrinks w separately.
# %%
DECAY, after = 0.1, []
for kind, decay in ((SGD, DECAY), (Adam, 0.0), (Adam, DECAY), (AdamW, DECAY)):
    one = np.array([5.0])
    kind(1, "float64", lr=LR, weight_decay=decay).update(one, np.array([2.0]), 1.0)
    after.append(one[0])
    show(f"{kind.__name__:<5} {pick('衰减', 'decay')} {decay}: w 5 -> {one[0]:.4f}")
assert np.allclose(after, [4.95 - LR * 2, 5 - LR, 5 - LR, 4.95 - LR], rtol=1e-8)  # 5 (1 - LR DECAY) = 4.95

# %% [markdown] id="03-bytes" lang="zh"
# ## 最大的不是模型
#
# m 和 v 一共 2Ψ 个数（Ψ 是参数个数）。16 位训练时（`zero_ref/precision.py`），1 + 0.0001 还是 1，所以优化器还要一份 float32 的主权重。先想一想：每个参数一共占几个字节，其中几个是优化器的？
# %% [markdown] id="03-bytes" lang="en" src="2dab94a0"
# ## The model is not the largest part
#
# m and v are 2Ψ numbers (Ψ counts the parameters). In 16 bits (`zero_ref/precision.py`) 1 + 0.0001 is 1, so the optimizer needs
# float32 master weights, too. Think first: how many bytes does a parameter take in all, and how many of them are the optimizer's?
# %%
each, lines = [], []
for name, optimizer in (
    ("SGD", SGD(13, "float32")),
    ("SGD + momentum", SGD(13, "float32", momentum=0.9)),
    ("Adam", Adam(13, "float32")),
    ("Adam + master", Master(13, lambda n: Adam(n, "float32"))),
):
    each.append(sum(vector.nbytes for vector in optimizer.state().values()) / 13)
    lines.append((name, f"{each[-1]:g}", ", ".join(optimizer.state()) or "-"))
rows("|每个参数的字节|状态", "|bytes a parameter|state", lines)
total = 2 + 2 + each[3]  # parameter, gradient, state
assert each == [0, 4, 8, 12] and total == 16 and np.float16(1) + np.float16(1e-4) == 1
say(f"16 位共 {total:g} 字节，优化器占 3/4", f"in 16 bits {total:g} bytes, 3/4 of them the optimizer's")

# %% [markdown] id="03-shard" lang="zh"
# ## 优化器可以切开
#
# 更新一个元素只用到它自己的 w、g、m、v。所以把 13 个权重切成 4 片，由 4 个互不相识的 Adam 各管一片，结果应该一个比特也不差。
# %% [markdown] id="03-shard" lang="en" src="288792ca"
# ## An optimizer can be cut
#
# An element's update uses its own w, g, m and v. So 13 weights in 4 shards, with 4 Adams that know nothing of each other, should not
# differ in one bit.
# %%
cuts, lines = bounds(13, [1] * 4), []
for a, b in zip(cuts, cuts[1:]):
    shard, own = np.zeros(b - a), Adam(b - a, "float64", lr=LR)
    for _ in range(5):
        own.update(shard, SLOPE[a:b] * (shard - 1), 1.0)
    assert np.array_equal(shard, w[a:b])
    lines.append((f"{a} .. {b - 1}", own.m.nbytes + own.v.nbytes, m.nbytes + v.nbytes))
rows("权重|状态的字节|全部的字节", "weights|bytes of state|bytes of all state", lines)

# %% [markdown] id="03-end" lang="zh"
# ## 记住
#
# - 16 位训练时每个参数 16 字节，其中 12 字节是优化器状态。最大的不是模型。
# - 状态可以按元素切开，逐比特不变：阶段 1 靠的就是这一点。
# - 接下来：一个进程变成四个，先分数据：谁读哪些样本？
# %% [markdown] id="03-end" lang="en" src="8ed8a4e0"
# ## To remember
#
# - In 16 bits a parameter takes 16 bytes, and 12 of them are the optimizer's state. The model is not the largest part.
# - The state can be cut by elements without changing a bit: stage 1 rests on that.
# - Next: one process becomes four, and what is dealt first is the data: who reads which samples?
