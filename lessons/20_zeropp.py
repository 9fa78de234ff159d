# %% [markdown] id="20-title" lang="zh"
# # 20 ZeRO++：发编码，不发数
#
# 阶段 3 一步要在机器之间走三遍：前向收集参数、反向再收集一遍、梯度求和，一共 3M 字节（M 是整个模型的字节数）。ZeRO++（arXiv 2306.10209）各省一处，剩下 0.75M：
#
# - **qwZ**：收集参数时发 8 位的编码，不发 16 位的数：M 变成 0.5M；
# - **hpZ**：前向收集来的参数，在本机留一份，反向就在本机内收集：M 变成 0；
# - **qgZ**：求和时发 4 位的编码：M 变成 0.25M。
#
# 数怎样变成 8 位甚至 4 位？差多少？这一课从一个数开始。
# %% [markdown] id="20-title" lang="en" src="747ba07a"
# # 20 ZeRO++: codes are sent, not numbers
#
# A step of stage 3 goes between machines three times: parameters are gathered for the forward pass and again for the backward pass, and
# gradients are summed. That is 3M bytes, M being those of the model. ZeRO++ (arXiv 2306.10209) saves in each place, and 0.75M are left:
#
# - **qwZ**: parameters are gathered as codes of 8 bits, not as numbers of 16: 0.5M in place of M;
# - **hpZ**: what the forward pass gathers leaves a copy in the machine, and the backward pass gathers there: 0 in place of M;
# - **qgZ**: what is summed travels as codes of 4 bits: 0.25M in place of M.
#
# How do numbers become 8 bits, or even 4, and how far are they off? This lesson begins with one number.
# %%
import numpy as np
from _lesson import pick, ranks, rows, say, show

from zero_ref.comm import OrderedComm
from zero_ref.extras import zeropp
from zero_ref.extras.codes import Code
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger
from zero_ref.model import build, loss_grad
from zero_ref.optim import Adam
from zero_ref.stages import zero3

comm = ranks(4)
N = comm.size


def through(code: Code, x: np.ndarray) -> np.ndarray:
    """x (n,) as it comes back from its codes."""
    codes, back = np.empty(code.nbytes(x.size), np.uint8), np.empty_like(x)
    code.encode(x, codes)
    code.decode(codes, back)
    return back


# %% [markdown] id="20-step" lang="zh"
# ## 一把 255 个刻度的尺子
#
# 8 位有符号整数有 −127 到 127。把最大的 |x| 对准 127，一格（scale）就是 s = max|x|/127；编码是 x/s 四舍五入，解码是编码乘 s。
#
# 先想一想：一个数最多会差多少？
# %% [markdown] id="20-step" lang="en" src="6adb937e"
# ## A ruler with 255 marks
#
# Signed whole numbers of 8 bits go from −127 to 127. With the largest |x| at 127, the distance of two marks (the scale) is
# s = max|x|/127. The code is x/s, rounded; and back, it is the code times s.
#
# Think first: how far can a number be off, at most?
# %%
x = np.array([0.02, -0.5, 0.31, 1.27], "float32")
s = np.abs(x).max() / 127
codes = np.rint(x / s).astype(np.int8)
show(f"x    {x}")
show(f"x/s  {codes}   s = {s:.3f}")
x = np.random.default_rng(0).normal(size=4096).astype("float32")
s = np.abs(x).max() / 127
off = np.abs(np.rint(x / s) * s - x).max()
assert off <= s / 2 * 1.0001
say(
    f"4,096 个数里最大的误差是 {off / s:.4f} 格",
    f"of 4,096 numbers the largest error is {off / s:.4f} of a step",
)

# %% [markdown] id="20-blocks" lang="zh"
# ## 一粒老鼠屎
#
# 误差最多半格，可是格子多大由**最大**的那个数决定。4,096 个数里只要有一个是 100，其他的就都用一把粗尺子来量。
#
# 所以按**块**编码：每 B 个数一把尺子。坏运气只坏一块；代价是每块多发一个 float32 的 s，每个数 4/B 字节。
# %% [markdown] id="20-blocks" lang="en" src="6c9fd469"
# ## One rotten apple
#
# An error is half a step at most, but how long a step is, the **largest** number decides. If a single one of 4,096 is 100, all others are
# measured with a coarse ruler.
#
# So numbers are coded in **blocks**, with a ruler for each B of them. Bad luck then spoils one block. The price is the float32 s of each
# block, 4/B bytes a number.
# %%
x[1000] = 100.0
others = np.arange(x.size) != 1000
lines = []
for block in (4096, 256, 64):
    code = Code("8", block)
    off = (through(code, x) - x)[others]
    relative = np.sqrt((off**2).mean() / (x[others] ** 2).mean())
    lines.append((block, f"{relative:.4f}", f"{code.nbytes(x.size) / x.size:.4f}"))
rows(pick("B|相对误差|每个数的字节", "B|relative error|bytes a number").split("|"), lines)

# %% [markdown] id="20-sum" lang="zh"
# ## 求和：每转一手，就再舍入一次吗？
#
# 环形 reduce-scatter 里，部分和要转 N − 1 手。每一手都得解码、相加、再编码：误差一手一手地累起来。qgZ 不走环：每个 rank 把自己的那块编码**一次**，直接发给负责它的人，由他解码、用 float32 相加。
#
# 用 4 位、16 个 rank 模拟一下：
# %% [markdown] id="20-sum" lang="en" src="0ec31bf5"
# ## A sum: rounded again from hand to hand?
#
# Around a ring, a partial sum goes through N − 1 hands. Each has to decode, add, and code again, and the errors add up hop by hop. qgZ
# takes no ring: every rank codes its piece **once** and sends it to the owner, who decodes and adds in float32.
#
# With 4 bits and 16 ranks, in imitation:
# %%
parts = np.random.default_rng(1).normal(size=(16, 4096)).astype("float32")
four, exact = Code("4", 256), parts.sum(axis=0)
ring = parts[0]
for part in parts[1:]:
    ring = through(four, ring) + part
once = sum(through(four, part) for part in parts[:-1]) + parts[-1]
errors = [np.sqrt(((found - exact) ** 2).mean()) for found in (ring, once)]
say(
    f"均方根误差：环上每手都编码 {errors[0]:.3f}，只编码一次 {errors[1]:.3f}",
    f"root mean square error: coded at each hop of a ring {errors[0]:.3f}, coded once {errors[1]:.3f}",
)
assert errors[1] < errors[0] / 2

# %% [markdown] id="20-bytes" lang="zh"
# ## 一步里的字节
#
# 两个 rank 一台“机器”：0、1 和 2、3。下面都是阶段 3，看出机器的字节。数是 float32，所以编码省得比论文的 16 位更多。z 是每个数的字节：8 位是 1 + 4/B，4 位是 1/2 + 4/B。
# %% [markdown] id="20-bytes" lang="en" src="894025b5"
# ## The bytes of a step
#
# Two ranks are a "machine": 0, 1 and 2, 3. All below is stage 3, and what counts are bytes that leave a machine. Numbers are float32, so
# codes save more than of the paper's 16 bits. z are bytes a number: 1 + 4/B with 8 bits, 1/2 + 4/B with 4.
# %%
SIZES, SAMPLES, STEPS = [64, 256, 64, 4], 64, 8
random = np.random.default_rng(0)
X, Y = random.normal(size=(SAMPLES, SIZES[0])).astype("float32"), random.integers(0, SIZES[-1], SAMPLES)
OWN = slice(comm.rank * SAMPLES // N, (comm.rank + 1) * SAMPLES // N)


def train(**asked) -> tuple[dict[str, int], int, float]:
    """Some steps: bytes that leave the machine in the last, what the peak of parameters is, and the loss."""
    machines = zeropp.around(OrderedComm(), OrderedComm, 2, **asked)
    units = build(SIZES, lambda name, shapes: FlatLayout(name, shapes, N), "float32", seed=3)
    zero3.setup(units, machines, lambda n: Adam(n, "float32", lr=0.01))
    for _ in range(STEPS):
        ledger.forget_sent(), ledger.forget_peaks()
        loss, _ = zero3.step(
            units, machines, [(X[OWN], Y[OWN])], loss_grad(True, SAMPLES), lambda *_: (0.0, 1.0)
        )
    return dict(ledger.between), ledger.peak["parameter"], comm.sum(loss)


WAYS = {
    "plain": {},
    "qwZ": {"weights": Code("8")},
    "hpZ": {"second": True},
    "qgZ": {"gradients": Code("4")},
    "all": {"weights": Code("8"), "second": True, "gradients": Code("4")},
}
found = {name: train(**asked) for name, asked in WAYS.items()}
rows(
    pick("|收集|求和|存参数|loss", "|gathers|sums|parameters kept|loss").split("|"),
    [
        (
            {"plain": pick("都不用", "none"), "all": pick("三样", "all three")}.get(name, name),
            *(f"{n:,}" for n in (far["all_gather"], far["reduce_scatter"], held)),
            f"{loss:.4f}",
        )
        for name, (far, held, loss) in found.items()
    ],
)
units = build(SIZES, lambda name, shapes: FlatLayout(name, shapes, N), "float32", seed=3)
psi = sum(u.layout.padded for u in units)
gather = 4 * psi // N * 2  # one's shard, to the two ranks of the other machine
assert found["plain"][0] == {"all_gather": 2 * gather, "reduce_scatter": gather, "other": 0}
assert found["hpZ"][0]["all_gather"] == gather and found["hpZ"][1] == 4 * psi // N + 4 * psi // 2
assert found["hpZ"][2] == found["plain"][2]
coded = sum(Code("8").nbytes(u.layout.counts[comm.rank]) for u in units)
assert found["qwZ"][0]["all_gather"] == 2 * 2 * coded
total = {name: sum(far.values()) for name, (far, _, _) in found.items()}
assert total["all"] < total["plain"] / 9
say(
    f"三样一起：出机器的字节少到 1/{total['plain'] / total['all']:.1f}。hpZ 一个比特也没有改，代价是多存一份 Ψ/G",
    f"all three: {total['plain'] / total['all']:.1f} times less leaves a machine. hpZ changes no bit; it keeps Ψ/G more",
)

# %% [markdown] id="20-never" lang="zh"
# ## 绝不编码的
#
# 参数是编码以后才收集的，那么优化器更新的是哪一份？如果更新的是解码来的，半格的误差就会留在权重里：学习率小的时候，一步的更新还不到半格，权重就再也不动了。
#
# 所以负责的 rank 手里那片从不编码，编码的只是发出去的那一份。下面更新 100 次，每次 0.1 格：
# %% [markdown] id="20-never" lang="en" src="6910e24d"
# ## What is never coded
#
# Parameters are coded and then gathered: which of them does the optimizer update? If it were those that come back, the error of half a
# step would stay in the weights. With a small learning rate an update is less than half a step, and the weights would never move again.
#
# So the shard that a rank owns is never coded, but only what is sent of it. Below are 100 updates of a tenth of a step each:
# %%
weights = np.random.default_rng(2).uniform(-1, 1, 256).astype("float32")
weights[0] = 1.0  # the largest stays where it is, and so does the step
step = np.float32(1 / 127)
master, rounded = weights.copy(), weights.copy()
rounded = through(Code("8"), rounded)
start = rounded.copy()
for _ in range(100):
    master[1:] -= step / 10
    rounded[1:] -= step / 10
    rounded = through(Code("8"), rounded)
moved = [(a[1:] - b[1:]).mean() / step for a, b in ((master, weights), (rounded, start))]
say(
    f"更新 100 次，每次 −0.1 格：存原数的走了 {moved[0]:+.1f} 格，存编码的走了 {moved[1]:+.1f} 格",
    f"100 updates of −0.1 step: kept as numbers, they moved {moved[0]:+.1f} steps; kept as codes {moved[1]:+.1f}",
)
assert abs(moved[0] + 10) < 0.1 and abs(moved[1]) < 0.1

# %% [markdown] id="20-end" lang="zh"
# ## 记住
#
# - 编码的误差最多半格；格子由块里最大的数决定，所以分块，每块一个 scale，每个数多 4/B 字节。
# - 发编码，存原数：自己那片从不舍入。求和时编码一次、用 float32 相加，不要在环上一手一手地重新编码。
# - 块里有 NaN 或无穷，解码出来也应当是 NaN：发散了要看得见。
# - 编码省的是字节，花的是计算和误差。机器之间慢，才值得。
# - 真正的命令：`mpirun -n 4 python -m zero_ref.train --stage 3 --machine 2 --hpz --code-weights 8 --code-gradients 4`。
# %% [markdown] id="20-end" lang="en" src="38167ebf"
# ## To remember
#
# - A code is off by half a step at most. The largest number of a block decides how long a step is: hence blocks, with a scale each, which
#   takes 4/B bytes a number.
# - Send codes, keep numbers: what a rank owns is never rounded. For a sum, code once and add in float32; do not code again from hand to
#   hand around a ring.
# - A block with NaN or infinity should come back as NaN: a run that diverges has to be seen.
# - Codes save bytes, and cost computing and exactness. They pay where it is slow between machines.
# - The real command: `mpirun -n 4 python -m zero_ref.train --stage 3 --machine 2 --hpz --code-weights 8 --code-gradients 4`.
