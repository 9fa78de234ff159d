# %% [markdown] id="01-title" lang="zh"
# # 01 ∂L/∂w = ∂L/∂y · x
#
# 四个进程要一起训练，先得知道一个进程训练时算的是什么：每个权重的梯度。整个 ZeRO 搬来搬去的就是它。
#
# 最小的模型是 y = wx + b。误差用 L = (y − t)² 衡量。问题是：w 增大一点点，L 变多少？链式法则把它拆成两段，每段都很容易：
#
# - ∂L/∂y = 2(y − t)：输出偏了多少；
# - ∂y/∂w = x：w 通过 x 影响输出。
#
# 所以 **∂L/∂w = ∂L/∂y · x**。同样，∂y/∂b = 1，所以 ∂L/∂b = ∂L/∂y；∂y/∂x = w，所以 ∂L/∂x = ∂L/∂y · w。
# %% [markdown] id="01-title" lang="en" src="87aef427"
# # 01 ∂L/∂w = ∂L/∂y · x
#
# Before four processes train together, it has to be clear what one computes: the gradient of every weight. That is what
# ZeRO moves around.
#
# The smallest model is y = wx + b. Its error is L = (y − t)². The question: w grows a little, how much does L change?
# The chain rule makes two easy parts of it:
#
# - ∂L/∂y = 2(y − t): how far off the output is;
# - ∂y/∂w = x: w reaches the output by way of x.
#
# So **∂L/∂w = ∂L/∂y · x**. In the same way ∂y/∂b = 1, so ∂L/∂b = ∂L/∂y; and ∂y/∂x = w, so ∂L/∂x = ∂L/∂y · w.
# %%
from _lesson import alone, say, show

alone()

x, t = 3.0, 10.0
w, b = 2.0, 1.0
y = w * x + b
dL_dy = 2 * (y - t)
dL_dw, dL_db, dL_dx = dL_dy * x, dL_dy * 1, dL_dy * w
show(f"y = {y:g}, L = {(y - t) ** 2:g}, dL/dy = {dL_dy:g}")
show(f"dL/dw = {dL_dw:g}, dL/db = {dL_db:g}, dL/dx = {dL_dx:g}")

# %% [markdown] id="01-check" lang="zh"
# ## 不信？量一下
#
# 把 w 真的增大、减小 0.001，看 L 变了多少。这叫有限差分：慢，但不需要任何推导，所以最适合检查推导。
#
# 先想一想：上面的 ∂L/∂w 是负数。要让 L 变小，w 应该增大还是减小？
# %% [markdown] id="01-check" lang="en" src="ceac7283"
# ## Measure it
#
# Make w larger and smaller by 0.001 and see what L does. This is called a finite difference: slow, but free of any
# derivation, and so the best check of one.
#
# Think first: the ∂L/∂w above is negative. To make L smaller, should w grow or shrink?


# %%
def loss(w: float, b: float, x: float) -> float:
    return (w * x + b - t) ** 2


step = 1e-3
measured = [
    (loss(w + step, b, x) - loss(w - step, b, x)) / (2 * step),
    (loss(w, b + step, x) - loss(w, b - step, x)) / (2 * step),
    (loss(w, b, x + step) - loss(w, b, x - step)) / (2 * step),
]
found = ", ".join(f"{value:.6f}" for value in measured)
say(f"量出来是 {found}", f"measured: {found}")
assert all(abs(a - m) < 1e-6 for a, m in zip((dL_dw, dL_db, dL_dx), measured))
better = loss(w - 0.01 * dL_dw, b, x)
assert better < loss(w, b, x)
say(
    f"沿梯度的反方向走一小步：w = {w - 0.01 * dL_dw:g}，L 从 {loss(w, b, x):g} 降到 {better:.4f}",
    f"one small step against the gradient: w = {w - 0.01 * dL_dw:g}, and L falls from {loss(w, b, x):g} to {better:.4f}",
)

# %% [markdown] id="01-batch" lang="zh"
# ## 一批样本：把各自的贡献加起来
#
# 真正的一层有很多输入、很多输出、很多样本。形状变了，道理没变：x 是（样本，输入），w 是（输出，输入），每个样本对 ∂L/∂w 的贡献是 ∂L/∂y · x，**一批样本的梯度是各个样本贡献之和**。对所有样本求和，恰好就是一次矩阵乘法。
#
# 下面的 `linear` 是本项目训练时用的那一个，来自 `zero_ref/autograd.py`。
# %% [markdown] id="01-batch" lang="en" src="023409e3"
# ## A batch: the contributions add up
#
# A real layer has many inputs, outputs and samples. The shapes change, the idea does not: x is (samples, inputs), w is
# (outputs, inputs), one sample contributes ∂L/∂y · x to ∂L/∂w, and **a batch's gradient is the sum over its samples**. That
# sum is just what a matrix product does.
#
# The `linear` below is the one that training uses, from `zero_ref/autograd.py`.
# %%
import numpy as np

from zero_ref.autograd import Tensor, linear

random = np.random.default_rng(0)
X, W, B = random.normal(size=(5, 3)), random.normal(size=(2, 3)), np.zeros(2)  # 5 samples, 3 -> 2
inputs, weight, bias = Tensor(X), Tensor(W), Tensor(B)
outputs = linear(inputs, weight, bias)
G = random.normal(size=(5, 2))  # dL/dy of every sample and output
outputs.backward(G)

by_hand = sum(np.outer(G[i], X[i]) for i in range(5))  # one sample after another: dL/dy times x
assert np.allclose(weight.grad, by_hand) and np.allclose(bias.grad, G.sum(axis=0))
assert np.allclose(inputs.grad, G @ W)
show(f"weight.grad {weight.grad.shape}:\n{np.array2string(weight.grad, precision=4)}")
say("与逐个样本相加的结果一致", "the same as one sample after another, added up")

# %% [markdown] id="01-halves" lang="zh"
# ## 为什么这就是数据并行
#
# 既然梯度是样本贡献之和，那么把 5 个样本分给两个进程，一个算 2 个，一个算 3 个，再把两份梯度**相加**，结果不变。注意是相加，不是求平均：2 个样本的平均和 3 个样本的平均再平均，样本的分量就不一样了。
# %% [markdown] id="01-halves" lang="en" src="d311687d"
# ## Why this is data parallelism
#
# As the gradient is a sum over samples, 5 samples can go to two processes, 2 to one and 3 to the other, and the two
# gradients be **added**: the result is the same. Added, not averaged: a mean of a mean of 2 and a mean of 3
# gives the samples unequal weight.
# %%
first, second = G[:2].T @ X[:2], G[2:].T @ X[2:]
assert np.allclose(first + second, weight.grad)
mean_of_means = (first / 2 + second / 3) / 2
right = weight.grad / 5
assert not np.allclose(mean_of_means, right)
say(
    f"相加：误差 {abs(first + second - weight.grad).max():.1e}；平均的平均：误差 {abs(mean_of_means - right).max():.2f}",
    f"added: off by {abs(first + second - weight.grad).max():.1e}; "
    f"a mean of means: off by {abs(mean_of_means - right).max():.2f}",
)

# %% [markdown] id="01-end" lang="zh"
# ## 记住
#
# - ∂L/∂w = ∂L/∂y · x，一批样本就把它们加起来。
# - 梯度和权重形状相同，所以有多少参数就有多少梯度：多了一份内存。
# - 接下来：autograd 怎样把这条规则用到一层接一层的模型上。看 `zero_ref/autograd.py` 里的 `linear`。
# %% [markdown] id="01-end" lang="en" src="a92ce217"
# ## To remember
#
# - ∂L/∂w = ∂L/∂y · x, and a batch adds them up.
# - The gradient has the weights' shape: as many gradients as parameters, and the same memory once more.
# - Next: how autograd takes this rule through layer after layer. See `linear` in `zero_ref/autograd.py`.
