# %% [markdown] id="20-title" lang="zh"
# # 20 ZeRO++：发编码，不发数
#
# 阶段 3 一步要在机器之间走三遍：前向收集参数、反向再收集一遍、梯度求和，一共 3M 字节（M 是整个模型的字节数）。ZeRO++（arXiv 2306.10209）在三处各省一笔，剩下 0.75M：
#
# - **qwZ**：收集参数时发 8 位的编码，不发 16 位的数：M 变成 0.5M；
# - **hpZ**：前向收集来的参数，在本机留一份，反向就在本机内收集：M 变成 0；
# - **qgZ**：求和时发 4 位的编码：M 变成 0.25M。
#
# 数怎样变成 8 位甚至 4 位？差多少？这一课从一个数开始。
# %% [markdown] id="20-title" lang="en" src="60215214"
# # 20 ZeRO++: codes are sent, not numbers
#
# A step of stage 3 goes between machines three times: parameters are gathered for the forward pass and again for the backward pass, and
# gradients are summed. That is 3M bytes, M being those of the model. ZeRO++ (arXiv 2306.10209) saves in each of the three places, and 0.75M
# are left:
#
# - **qwZ**: parameters are gathered as codes of 8 bits, not as numbers of 16: 0.5M in place of M;
# - **hpZ**: what the forward pass gathers leaves a copy in the machine, and the backward pass gathers there: 0 in place of M;
# - **qgZ**: what is summed travels as codes of 4 bits: 0.25M in place of M.
#
# How do numbers become 8 bits, or even 4, and how far are they off? This lesson begins with one number.
# %%
import numpy as np
from _lesson import pick, ranks, rows, say, show

from lessons.given.few_steps import adam, mlp, samples, steps
from zero_ref.comm import OrderedComm
from zero_ref.extras import zeropp
from zero_ref.extras.codes import Code
from zero_ref.ledger import ledger
from zero_ref.stages import zero3

comm, N = ranks(4), 4

# %% [markdown] id="20-step" lang="zh"
# ## 一把 255 个刻度的尺子
#
# 8 位有符号整数有 −127 到 127。把最大的 |x| 对准 127，一格（scale）就是 s = max|x|/127；编码是 x/s 四舍五入，解码是编码乘 s。
#
# 先想一想：一个数最多会差多少？
# %% [markdown] id="20-step" lang="en" src="6adb937e"
# ## A ruler with 255 marks
#
# Signed whole numbers of 8 bits go from −127 to 127. With the largest |x| at 127, the distance of two marks (the scale) is s = max|x|/127.
# The code is x/s, rounded; decoded, it is the code times s.
#
# Think first: how far can a number be off, at most?
# %%
x = np.array([0.02, -0.5, 0.31, 1.27], "float32")
s = np.abs(x).max() / 127
show(f"x    {x}\nx/s  {np.rint(x / s).astype(np.int8)}   s = {s:.3f}")
x = np.random.default_rng(0).normal(size=4096).astype("float32")
s = np.abs(x).max() / 127
off = np.abs(np.rint(x / s) * s - x).max() / s
assert off <= 0.5001
say(f"4,096 个数里最大的误差是 {off:.4f} 格", f"of 4,096 numbers the largest error is {off:.4f} of a step")


# %% [markdown] id="20-blocks" lang="zh"
# ## 一颗老鼠屎
#
# 误差最多半格，可是格子多大由**最大**的那个数决定。4,096 个数里只要有一个是 100，其他的就都用一把粗尺子来量。
#
# 所以按**块**编码：每 B 个数一把尺子。运气再坏，也只坏一块；代价是每块多发一个 float32 的 s，每个数 4/B 字节。
# %% [markdown] id="20-blocks" lang="en" src="4a3a7e60"
# ## One rotten apple
#
# An error is half a step at most, but it is the **largest** number that decides how long a step is. If a single one of 4,096 is 100, all
# others are measured with a coarse ruler.
#
# So numbers are coded in **blocks**, with a ruler for each B of them. Bad luck then spoils one block. The price is the float32 s of each
# block, 4/B bytes a number.
# %%
def through(code: Code, x: np.ndarray) -> np.ndarray:
    """x (n,) as it comes back from its codes."""
    codes, back = np.empty(code.nbytes(x.size), np.uint8), np.empty_like(x)
    code.encode(x, codes)
    code.decode(codes, back)
    return back


x[1000] = 100.0
others, lines = np.arange(x.size) != 1000, []
for block in (4096, 256, 64):
    code = Code("8", block)
    off = (through(code, x) - x)[others]
    relative = np.sqrt((off**2).mean() / (x[others] ** 2).mean())
    lines.append((block, f"{relative:.4f}", f"{code.nbytes(x.size) / x.size:.4f}"))
rows("B|相对误差|每个数的字节", "B|relative error|bytes a number", lines)

# %% [markdown] id="20-sum" lang="zh"
# ## 求和：每转一手，就再舍入一次吗？
#
# 环形 reduce-scatter 里，部分和要转 N − 1 手。每一手都得解码、相加、再编码：误差一手一手地累起来。qgZ 不走环：每个 rank 把自己的那块编码**一次**，直接发给负责它的 rank，由它解码、用 float32 相加。
#
# 用 4 位、16 个 rank 模拟一下：
# %% [markdown] id="20-sum" lang="en" src="e11cf7e1"
# ## A sum: rounded again from hand to hand?
#
# Around a ring, a partial sum goes through N − 1 hands. Each has to decode, add, and code again, and the errors add up hop by hop. qgZ
# takes no ring: every rank codes its piece **once** and sends it to the owner, who decodes and adds in float32.
#
# With 4 bits and 16 ranks, simulated in one process:
# %%
parts = np.random.default_rng(1).normal(size=(16, 4096)).astype("float32")
four, exact = Code("4", 256), parts.sum(axis=0)
ring = parts[0]
for part in parts[1:]:
    ring = through(four, ring) + part
once = sum(through(four, part) for part in parts[:-1]) + parts[-1]
errors = [np.sqrt(((found - exact) ** 2).mean()) for found in (ring, once)]
names = pick("环上每手一次|只一次", "at each hop of a ring|once").split("|")
rows("编码|均方根误差", "coded|root mean square error", [(n, f"{e:.3f}") for n, e in zip(names, errors)])
assert errors[1] < errors[0] / 2

# %% [markdown] id="20-bytes" lang="zh"
# ## 一步里的字节
#
# 两个 rank 一台“机器”：0、1 和 2、3。下面都是阶段 3。“收集”和“求和”两列是一步里为此发到别的机器的字节；“存参数”是参数最多占的字节。没有编码的数是 float32，所以编码省得比论文的 16 位更多：每个数从 4 字节变成 1 + 4/B（8 位）或 1/2 + 4/B（4 位）。第一行什么也不用；G 是一台机器里的 rank 数。
# %% [markdown] id="20-bytes" lang="en" src="92311238"
# ## The bytes of a step
#
# Two ranks are a "machine": 0, 1 and 2, 3. All below is stage 3. "gathers" and "sums" are the bytes that leave a machine for them in a
# step; "parameters kept" are the most that parameters take. Numbers that are not coded are float32, so codes save more than with the
# paper's 16 bits: 4 bytes a number become 1 + 4/B (8 bits) or 1/2 + 4/B (4 bits). The first line uses none of the three; G is the number of
# ranks in a machine.
# %%
WIDTHS = [64, 256, 64, 4]
x, y = samples(comm, 64, features=64, classes=4)


def train(**asked) -> tuple[int, int, int, float]:
    """Bytes that leave the machine in a step, by gathers and by sums; those of parameters; the last loss."""
    machines, units = zeropp.around(OrderedComm(), OrderedComm, 2, **asked), mlp(WIDTHS, N)
    zero3.setup(units, machines, adam("float32"))
    losses, far = steps(8, zero3, units, machines, x, y), dict(ledger.between)
    return far["all_gather"], far["reduce_scatter"], ledger.peak["parameter"], comm.sum(losses[-1])


ways = {"-": {}, "qwZ": {"weights": Code("8")}, "hpZ": {"second": True}, "qgZ": {"gradients": Code("4")}}
ways["qwZ + hpZ + qgZ"] = ways["qwZ"] | ways["hpZ"] | ways["qgZ"]
found = {name: train(**asked) for name, asked in ways.items()}
lines = [(name, *numbers, f"{loss:.4f}") for name, (*numbers, loss) in found.items()]
rows("|收集|求和|存参数|loss", "|gathers|sums|parameters kept|loss", lines)
plain, qwz, hpz, _, all_three = found.values()
psi = sum(u.layout.padded for u in mlp(WIDTHS, N))
coded = sum(Code("8").nbytes(u.layout.counts[0]) for u in mlp(WIDTHS, N))
gather = 4 * psi // N * 2  # one's shard, to the two ranks of the other machine
assert plain[:2] == (2 * gather, gather) and qwz[0] == 2 * 2 * coded
assert hpz[0] == gather and hpz[2] == 4 * psi // N + 4 * psi // 2 and hpz[3] == plain[3]
less = sum(plain[:2]) / sum(all_three[:2])
assert less > 9
say(f"三样一起，出机器的字节少到 1/{less:.1f}", f"all three: {less:.1f} times less leaves a machine")
say("hpZ 不改一个比特，代价是多存一份 Ψ/G", "hpZ changes no bit; its price is Ψ/G more to keep")

# %% [markdown] id="20-never" lang="zh"
# ## 什么绝不编码
#
# 参数是编码以后才收集的，那么优化器更新的是哪一份？如果更新的是解码来的，半格的误差就会留在权重里：学习率小的时候，一步的更新还不到半格，权重就再也不动了。
#
# 所以负责的 rank 手里那片从不编码，编码的只是发出去的那一份。下面更新 100 次，每次 0.1 格：
# %% [markdown] id="20-never" lang="en" src="c51e109f"
# ## What is never coded
#
# Parameters are coded and then gathered: which of them does the optimizer update? If it were those that come back from codes, the error of
# half a step would stay in the weights. With a small learning rate an update is less than half a step, and the weights would never move
# again.
#
# So the shard that a rank owns is never coded; only what it sends is. Below are 100 updates of a tenth of a step each:
# %%
weights = np.random.default_rng(2).uniform(-1, 1, 256).astype("float32")
weights[0] = 1.0  # the largest stays where it is, and so does the step
step = np.float32(1 / 127)
numbers, codes = weights.copy(), through(Code("8"), weights)
for _ in range(100):
    numbers[1:] -= step / 10
    codes[1:] -= step / 10
    codes = through(Code("8"), codes)
both = (numbers, weights), (codes, through(Code("8"), weights))
moved = [(after[1:] - before[1:]).mean() / step for after, before in both]
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
# - Codes save bytes, and cost computing and exactness. They pay off where the links between machines are slow.
# - The real command: `mpirun -n 4 python -m zero_ref.train --stage 3 --machine 2 --hpz --code-weights 8 --code-gradients 4`.
