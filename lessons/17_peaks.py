# %% [markdown] id="17-title" lang="zh"
# # 17 阶段更高，为什么内存反而更多？
#
# “我从 ZeRO-2 换到 ZeRO-3，怎么反而爆显存了？”这大概是 ZeRO 的用户最常问的问题（DeepSpeed 的 issue #1302、#4305、#6936）。前几课的账单说：阶段越高，一个 rank 存得越少。账单没有错，但它算的是两步**之间**；内存不够却总是发生在一步**中间**。
#
# 这一课量一步里的峰值，并用三行公式把它算出来，一个字节也不差。
# %% [markdown] id="17-title" lang="en" src="51655bcf"
# # 17 A higher stage: why does it need more memory?
#
# "I went from ZeRO-2 to ZeRO-3, and now I run out of memory." It may well be what users of ZeRO ask most (DeepSpeed's issues #1302, #4305,
# #6936). The bill of earlier lessons says that the higher the stage, the less a rank keeps. The bill is right, but it counts what is kept
# **between** steps, and memory runs out in the **middle** of one.
#
# This lesson measures the peak within a step, and then computes it with three lines of formula, to the byte.
# %%
import gc

from _lesson import language, ranks, rows, say, show

from lessons.given.few_steps import adam, mlp, samples, steps
from zero_ref.extras.buckets import merged
from zero_ref.extras.tiles import cut
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger
from zero_ref.stages import STAGES

comm, N = ranks(4), 4
E, K = 4, 8  # bytes of a parameter, or of its gradient, in float32; and of Adam's state for it
WIDE, DEEP = [64, 1024, 10], [128] * 9 + [10]


# %% [markdown] id="17-measure" lang="zh"
# ## 先量一量
#
# 模型是 64-1024-10 的 MLP：两层，一大一小。每个阶段走一步（`lessons/given/few_steps.py` 里的 `steps`，后面几课也用它），看账本记下的两个数：两步之间存多少，一步里最多时有多少。
#
# 先想一想：从阶段 0 到 3，这两个数会怎么变？
# %% [markdown] id="17-measure" lang="en" src="10009c0d"
# ## Measure first
#
# The model is an MLP of 64-1024-10: two layers, one large and one small. Each stage makes one step (by `steps` of
# `lessons/given/few_steps.py`, which later lessons use, too), and two numbers are read from the ledger: what is kept between steps, and the
# most that there is in a step.
#
# Think first: how do these two change from stage 0 to 3?
# %%
def measure(stage, units) -> tuple[int, int]:
    """Bytes that this rank keeps between steps, and the most that it has in one."""
    gc.collect()  # or what an earlier step has left might go in the middle of this one
    features = units[0].layout.shapes[next(iter(units[0].layout.shapes))][1]
    x, y = samples(comm, 100, features, classes=10)
    stage.setup(units, comm, adam("float32"))
    kept = ledger.live_total
    steps(1, stage, units, comm, x, y)
    return kept, ledger.peak_total


def measure_all(widths: list[int]) -> list[int]:
    """The peak of each stage."""
    lines = [(number, *measure(stage, mlp(widths, N))) for number, stage in STAGES.items()]
    rows("阶段|两步之间|一步里最多", "stage|kept between steps|at most in a step", lines)
    return [peak for *_, peak in lines]


peaks = measure_all(WIDE)
assert peaks[0] > peaks[1] > peaks[2] < peaks[3]
more = f"{peaks[3] - peaks[2]:,}"
say(f"一步中间，阶段 3 比阶段 2 多 {more} 字节", f"within a step stage 3 has {more} more than stage 2")


# %% [markdown] id="17-law" lang="zh"
# ## 那一刻有什么活着
#
# 最多的时刻在反向里，轮到最大的那一层（Ψ_u 个参数）时。除了激活，活着的是：
#
# - 两步之间本来就存着的；
# - 这一层**完整的**梯度，还没来得及 reduce-scatter：每个阶段都有；
# - 阶段 3：这一层收集来的**完整的**参数。
#
# 从一个阶段到下一个，激活和完整的梯度没有变，于是差额只有三行（e 是一个参数或一个梯度的字节数，这里是 4；K 是 Adam 为一个参数存的字节数，这里是 8）：
#
# - 0 → 1：少了别人的优化器状态，K(Ψ − Ψ/N)；
# - 1 → 2：少了别人的梯度，e(Ψ − Ψ/N)；
# - 2 → 3：少了别人的参数，e(Ψ − Ψ/N)，**多了**收集来的一层，eΨ_u。
# %% [markdown] id="17-law" lang="en" src="da108f43"
# ## What is alive at that moment
#
# Memory is highest in the backward pass, when it is the turn of the largest layer, of Ψ_u parameters. Apart from activations, what is alive
# then is
#
# - what is kept between steps anyway;
# - the **whole** gradient of this layer, before its reduce-scatter: at every stage;
# - at stage 3, the **whole** parameters of this layer, which have been gathered.
#
# From one stage to the next, activations and the whole gradient stay as they are. So the differences are three lines (e is the size of a
# parameter, or of a gradient, in bytes, here 4; K that of Adam's state for one parameter, here 8):
#
# - 0 → 1: without the others' optimizer state, K(Ψ − Ψ/N) less;
# - 1 → 2: without the others' gradients, e(Ψ − Ψ/N) less;
# - 2 → 3: without the others' parameters, e(Ψ − Ψ/N) less, and **with** one gathered layer, eΨ_u more.
# %%
def law(units) -> list[int]:
    """What the peak changes by from stage to stage."""
    psi = sum(u.layout.padded for u in units)
    largest = max(u.layout.padded for u in units)
    others = psi - psi // N
    return [-K * others, -E * others, E * (largest - others)]


def differences(peaks: list[int]) -> list[int]:
    return [b - a for a, b in zip(peaks, peaks[1:])]


measured, says = differences(peaks), law(mlp(WIDE, N))
lines = [(f"{n} → {n + 1}", f"{d:+,}", f"{s:+,}") for n, (d, s) in enumerate(zip(measured, says))]
rows("阶段|量到的差|公式", "stage|measured|by the law", lines)
assert measured == says

# %% [markdown] id="17-who" lang="zh"
# ## 谁说了算
#
# 第三行是正是负，只看 Ψ_u 和 (1 − 1/N)Ψ 谁大。刚才最大的一层占了整个模型的 87 %，别人的参数只占 75 %：为了扔掉 75 %，临时收集了 87 %。
#
# 换成八层一样宽的模型，每次收集的只是一小部分。先想一想再运行：阶段 3 还会更多吗？
# %% [markdown] id="17-who" lang="en" src="586ab2ac"
# ## What decides
#
# Whether the third line is more or less depends on Ψ_u and (1 − 1/N)Ψ alone. Above, the largest layer is 87 % of the model and the
# others' parameters 75 %: to be rid of 75 %, 87 % are gathered.
#
# In a model of many layers, all of the same width, only a small part is gathered at a time. Think before you run it: does stage 3
# still need more?
# %%
deep = measure_all(DEEP)
assert deep[3] < deep[2] and differences(deep) == law(mlp(DEEP, N))
largest, psi = (f(u.layout.padded for u in mlp(DEEP, N)) for f in (max, sum))
say(f"最大的一层只占整个模型的 {largest / psi:.0%}", f"the largest layer is {largest / psi:.0%} of the model")


# %% [markdown] id="17-buckets" lang="zh"
# ## 桶
#
# 可是真实的模型都有很多层，为什么用户还会遇到这个问题？因为框架常把几层并成一个**桶**（bucket）再收集：消息少而长，通信快。公式里的 Ψ_u 就成了一个桶。DeepSpeed 的桶默认是 5e8 个元素：按这样的桶来收集，参数不到 5 亿的模型整个就是一个桶。
#
# 极端情形 Ψ_u = Ψ：第三行是 +eΨ/N，阶段 3 一定比阶段 2 多。
# %% [markdown] id="17-buckets" lang="en" src="047db849"
# ## Buckets
#
# But real models have many layers: why do their users have this problem, too? Because systems often put several layers into one **bucket**
# that is gathered at once. Fewer, longer messages are faster, and Ψ_u of the formula is now a bucket. DeepSpeed's buckets have 5e8 elements
# by default: gathered in such buckets, a model of fewer parameters is one of them as a whole.
#
# At the extreme Ψ_u = Ψ, the third line is +eΨ/N: stage 3 always needs more than stage 2.
# %%
def layout(name, shapes, **more):
    return FlatLayout(name, shapes, N, **more)


lines = []
for elements in (0, 40_000, psi):
    peak = {}
    for number in (2, 3):
        units = merged(mlp(DEEP, N), layout, elements)
        _, peak[number] = measure(STAGES[number], units)
    more, calls = peak[3] - peak[2], sum(ledger.calls.values())
    lines.append((len(units), peak[3], f"{more:+,}", calls))
    assert more == law(units)[2] and calls == 3 * len(units)
rows("桶|阶段 3 最多|比阶段 2|调用次数", "buckets|stage 3 at most|than stage 2|calls", lines)
assert len(units) == 1 and more == E * psi // N
del units  # or the next cell would measure it, too

# %% [markdown] id="17-tiles" lang="zh"
# ## 反过来：切小
#
# 64-1024-10 的问题出在一层太宽。把这一层按输出切成几块**瓦片**（tile），每块是一个 unit，一次只收集一块（ZeRO-Infinity 的 memory-centric tiling）。要切成几块，阶段 3 才不比阶段 2 多？由公式：Ψ_u 要降到 (1 − 1/N)Ψ 以下，两块就够了。
# %% [markdown] id="17-tiles" lang="en" src="4794dd8c"
# ## The other way: cut it
#
# The trouble with 64-1024-10 is one wide layer. Cut by its outputs into **tiles**, each of which is a unit, only one tile is gathered at
# a time (memory-centric tiling of ZeRO-Infinity). How many until stage 3 needs no more than stage 2? By the formula Ψ_u has to be
# below (1 − 1/N)Ψ: two will do.
# %%
lines = []
for tiles in (1, 2, 4):
    second, third = (measure(STAGES[n], cut(mlp(WIDE, N), layout, tiles))[1] for n in (2, 3))
    lines.append((tiles, second, third))
    assert (third > second) == (tiles == 1)
rows("瓦片|阶段 2 最多|阶段 3 最多", "tiles|stage 2 at most|stage 3 at most", lines)

# %% [markdown] id="17-curve" lang="zh"
# ## 把这一步画出来
#
# 64-1024-10 的模型，真正的训练命令，阶段 3 的一步：从左到右是时间，高度是活着的字节，一个字母一种。
#
# 先想一想：最高的地方是谁的反向？那里小写的 p 和 g 各是什么，有多高？
# %% [markdown] id="17-curve" lang="en" src="22b14023"
# ## The step, drawn
#
# The model of 64-1024-10 in the real training command, one step of stage 3: from left to right goes time, the height is bytes alive, a letter for
# each kind.
#
# Think first: where it is highest, whose backward pass is that? What are the small p and g there, and how high are they?
# %%
from lessons.given.real_runs import train
from zero_ref.report import summary, text

gc.collect()
drawn = train("--steps 3 --stage 3 --hidden 1024 --chart")
show(text.chart(drawn, summary.words_for(drawn, language())))

# %% [markdown] id="17-end" lang="zh"
# ## 记住
#
# - 账单算的是两步之间；爆内存看的是峰值。峰值 = 存着的 + 最大 unit 的完整梯度 + 阶段 3 收集来的最大 unit + 激活。
# - 阶段 3 比阶段 2 多，当且仅当 Ψ_u > (1 − 1/N)Ψ：一次收集了几乎整个模型。层多而匀的模型不会；一层特别大，或者桶特别大，就会。
# - 办法：桶调小，宽层切成瓦片；或者就留在阶段 2。
# - 对你自己的模型问这个问题：`python -m zero_ref.plan --why --model mlp --features 64 --hidden 1024 --classes 10 --dtype float32 --ranks 4`。
# %% [markdown] id="17-end" lang="en" src="ec59e4f7"
# ## To remember
#
# - The bill counts what is kept between steps; memory runs out at the peak: what is kept + the whole gradient of the largest unit + at
#   stage 3 the largest unit gathered + activations.
# - Stage 3 needs more than stage 2 if and only if Ψ_u > (1 − 1/N)Ψ, where nearly the whole model is gathered at once. Models of many even
#   layers do not; those with one very large layer, or with very large buckets, do.
# - The remedy: smaller buckets, tiles for wide layers; or to stay at stage 2.
# - To ask it of a model of your own: `python -m zero_ref.plan --why --model mlp --features 64 --hidden 1024 --classes 10 --dtype float32
#   --ranks 4`.
