# %% [markdown] id="02-title" lang="zh"
# # 02 反着走一遍计算图
#
# 上一课只有一层，链式法则可以手写。真正的模型一层接一层，同一个权重可能用两次，一个中间结果可能有两个去处，手写就应付不了了。**autograd** 让每一步运算都记下：结果由谁算来，怎样把梯度交回去。算完以后，从最后一个结果开始**反着走一遍**；几条路径会合的地方，把各自送来的梯度**加起来**。
# %% [markdown] id="02-title" lang="en" src="e86a7f53"
# # 02 Back through the graph
#
# The last lesson had one layer, and its chain rule fitted on a line. A real model is layer upon layer, one weight may be used twice and
# one result may go to two places: more than can be done by hand. **Autograd** has every operation note what its result was computed from and how
# to hand a gradient back. Then all is walked **backwards from the last result**, and where paths meet, what they bring is **added up**.
# %%
import numpy as np
from _lesson import alone, pick, say, show

from lessons.given.drawing import drawn
from zero_ref.autograd import Tensor, add, linear, relu
from zero_ref.ledger import ledger

alone()
random = np.random.default_rng(0)
X, W, B, G = (random.normal(size=shape) for shape in ((5, 3), (3, 3), (3,), (5, 3)))  # 5 samples, width 3


def model(w: Tensor, w_again: Tensor, b: Tensor, x: np.ndarray = X) -> dict[str, Tensor]:
    """s = h + linear(relu(h)) and all on the way to it; h is used twice, and so may w be."""
    inputs = Tensor(x, wants_grad=False)
    h = linear(inputs, w, b)
    r = relu(h)
    y = linear(r, w_again, b)
    return {"x": inputs, "w": w, "b": b, "h": h, "r": r, "y": y, "s": add(h, y)}


# %% [markdown] id="02-graph" lang="zh"
# ## 画出这张图
#
# 真正的 `Tensor` 记着 `parents`（由谁算来）和 `number`（第几个创建）。下面沿着 `parents` 画：缩进一层就是来源，`+` 是又一条路径到了这里。最右边是 `backward` 里实际访问的次序；叶子 x、w、b 没有来源，只收不交。
#
# 先想一想：s 一开始就把梯度交给了 h 和 y。接着可以马上访问 h 吗？（来源总比结果先创建。）
# %% [markdown] id="02-graph" lang="en" src="66b0bf8f"
# ## The graph, drawn
#
# A real `Tensor` keeps its `parents` (what it was computed from) and its `number` (how many were created before). The drawing follows
# `parents`: one step further in is what it comes from, `+` is one more path that arrives here. visit is the order in which `backward`
# really went; the leaves x, w and b come from nothing and only receive.
#
# Think first: right at the beginning s hands a gradient to h and to y. Can h be visited next? (What a result comes from was created before it.)
# %%
w, b = Tensor(W), Tensor(B)
tensors = model(w, w, b)
names = {tensor: name for name, tensor in tensors.items()}
visited = []
for name in "hrys":  # have each note when it hands its gradient back
    tensors[name].hand_back = lambda g, name=name, old=tensors[name].hand_back: (visited.append(name), old(g))
tensors["s"].backward(G)


def walk(order: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """dL/dw when the tensors are visited in this order, and what h was left with."""
    w = Tensor(W)
    tensors = model(w, w, Tensor(B))
    tensors["s"].grad = G
    for tensor in (tensors[name] for name in order):
        tensor.hand_back(tensor.grad)
        tensor.grad = None
    return w.grad, tensors["h"].grad


words = pick("编号|叶子|第 {} 个访问", "number|leaf|visit {}").split("|")
show("\n".join(drawn(tensors["s"], names, visited, words)))
newest_first = sorted("hrys", key=lambda name: tensors[name].number, reverse=True)
(right, nothing), (wrong, late) = walk(newest_first), walk(["s", "h", "y", "r"])
assert newest_first == visited and np.array_equal(right, w.grad) and nothing is None
off = f"{abs(wrong - right).max():.2f}"
assert float(off) > 0.1 and late is not None
say("从新到旧 s y r h：与 backward 逐比特相同", "newest first, s y r h: equal to backward in every bit")
say(f"s 之后马上 h：差 {off}，r 交给 h 的来晚了", f"h right after s: off by {off}, r gave to h too late")

# %% [markdown] id="02-meet" lang="zh"
# ## 一个权重用两次
#
# 把 w 换成数值相同的两个权重，各有各的梯度，**两者之和**才是 w 的梯度。有限差分不管推导，只看 w 动一点点时 L 变多少。常见的错误是把 `+=` 写成 `=`：后到的把先到的盖掉。
# %% [markdown] id="02-meet" lang="en" src="5bd98a2f"
# ## A weight used twice
#
# With two weights of the same value in place of w, each has a gradient of its own, and **the sum of the two** is w's. A finite difference
# needs no derivation, it sees what L does when w moves a little. The usual mistake is `=` for `+=`: the last overwrites the first.
# %%
first, second = Tensor(W), Tensor(W)
model(first, second, Tensor(B))["s"].backward(G)
assert np.array_equal(first.grad + second.grad, w.grad)


def loss(w: np.ndarray) -> float:
    """L = the sum of G times s, so that dL/ds = G."""
    return float((G * model(Tensor(w), Tensor(w), Tensor(B))["s"].data).sum())


moves = 1e-6 * np.eye(9).reshape(9, 3, 3)  # one weight at a time
measured = np.array([(loss(W + move) - loss(W - move)) / 2e-6 for move in moves]).reshape(3, 3)
assert np.allclose(w.grad, measured, rtol=0, atol=1e-7) and not np.allclose(first.grad, measured, atol=0.1)
for grad, zh, en in (
    (measured, "有限差分", "finite difference"),
    (w.grad, "backward", "backward"),
    (first.grad, "把 += 写成 =", "= for +="),
):
    numbers = np.array2string(grad[0], precision=6, floatmode="fixed")
    show(f"dL/dw[0] = {numbers}   {pick(zh, en)}")

# %% [markdown] id="02-bytes" lang="zh"
# ## 记账要占内存
#
# 反着走要用到前向的结果，它们必须留着：这就是**激活**。账本（`zero_ref/ledger.py`）在数组创建时记上，真正释放时才划掉。先想一想：下面只有 s 还有名字。h、r、y 的数组还在吗？
# %% [markdown] id="02-bytes" lang="en" src="df8f5051"
# ## The notes take memory
#
# The way back needs results of the way forward, so they stay: these are the **activations**. The ledger (`zero_ref/ledger.py`) books an
# array when it is born and strikes it off when it is really freed.
# Think first: below only s still has a name. Are the arrays of h, r and y there?
# %%
for samples in (5, 500):
    w, b = Tensor(W), Tensor(B)
    before = ledger.live["activation"]
    s = model(w, w, b, np.ones((samples, 3)))["s"]
    forward = ledger.live["activation"] - before
    s.backward(np.ones((samples, 3)))
    backward = ledger.live["activation"] - before
    del s
    rest = ledger.live["activation"] - before
    assert forward == 4 * samples * 3 * 8 and rest == W.nbytes + B.nbytes == backward - forward
    say(
        f"{samples:>3} 个样本：前向后 {forward:>6,} 字节（4 个数组），反向后 {backward:>6,}，del s 后 {rest}",
        f"{samples:>3} samples: {forward:>6,} bytes (4 arrays); backward: {backward:>6,}; del s: {rest}",
    )

# %% [markdown] id="02-end" lang="zh"
# ## 记住
#
# - 从新到旧访问；路径会合处相加。
# - 图还在，激活就都在，而且随样本数增长。图没了，剩下的是梯度，和权重一样大。
# - 接下来：每个权重都有梯度了。怎样用它更新权重，又要为此多存些什么？
# %% [markdown] id="02-end" lang="en" src="4fa1ddf8"
# ## To remember
#
# - Visit from newest to oldest; where paths meet, add.
# - While the graph is there, so are its activations, and they grow with the samples. Then the gradient is left, as large as the weights.
# - Next: every weight has its gradient. How does that update it, and what has to be stored for it?
