# %% [markdown] id="10-title" lang="zh"
# # 10 内存账单
#
# 上一课把模型摊平，切成 N 片，一个 rank 一片。会切了，可是还没问：**切什么**，切了**值不值**？切开的东西，用的时候要靠通信收集回来。
#
# 所以先算账。模型有 Ψ 个参数，用 16 位的数和 Adam 训练：参数 2Ψ 字节，梯度 2Ψ 字节，优化器状态 KΨ 字节，K = 12，是 float32 的主权重、m、v 各 4 字节（第 03 课）。一共 16Ψ，数据并行的每个 rank 都存一整份。阶段 1 把优化器状态除以 N，阶段 2 轮到梯度，阶段 3 轮到参数：16Ψ → 4Ψ + 12Ψ/N → 2Ψ + 14Ψ/N → 16Ψ/N。
#
# 先想一想：75 亿个 16 位参数是 15 GB。用 64 张 32 GB 的卡做数据并行，训练放得下吗？
# %% [markdown] id="10-title" lang="en" src="311fa872"
# # 10 The memory bill
#
# The last lesson laid the model flat and cut it in N slices, one a rank. So we can cut; but **what** is to be cut, and is it **worth it**?
# What is cut has to be gathered by messages where it is used.
#
# So first the bill. Ψ parameters, trained in 16 bits with Adam: 2Ψ bytes of parameters, 2Ψ of gradient, KΨ of optimizer state, where
# K = 12: float32 master weight, m and v, 4 each (lesson 03). That is 16Ψ, and in data parallelism each rank keeps all of it. Stage 1
# divides the optimizer's state by N, stage 2 the gradient, too, and stage 3 the parameters: 16Ψ → 4Ψ + 12Ψ/N → 2Ψ + 14Ψ/N → 16Ψ/N.
#
# Think first: 7.5 billion 16-bit parameters are 15 GB. Is there room to train them with data parallelism on 64 cards of 32 GB?
# %%
from itertools import accumulate
from math import ceil

from _lesson import pick, ranks, rows, say, show

from lessons.given.real_runs import resting, train
from zero_ref.plan import formulas, paper, sizing

comm, N = ranks(4), 4
KINDS = ("parameter", "gradient", "optimizer")


def bill(stage: int, psi: float, n: int, each: tuple[int, int, int] = (2, 2, 12)) -> dict[str, float]:
    """Bytes that one of n ranks keeps between steps; `each`: bytes a parameter, by kind."""
    divided = (stage >= 3, stage >= 2, stage >= 1)
    return {kind: e * psi / (n if cut else 1) for kind, e, cut in zip(KINDS, each, divided)}


def bar(kinds: dict[str, float], letter: float) -> str:
    """One P, G or O for so many bytes, rounded up."""
    return "".join(kind[0].upper() * ceil(kinds[kind] / letter) for kind in KINDS)


say("一个字母 3 GB：P 参数，G 梯度，O 优化器状态", "A letter is 3 GB: Parameters, Gradient, Optimizer state")
for n in (4, 64, 1024):
    for stage in range(4):
        kinds = bill(stage, 7.5e9, n)
        assert kinds == formulas.model_state_bytes(stage, 7.5e9, n, 2, 2, 12)
        assert sum(kinds.values()) / 1e9 == paper.gigabytes(stage, 75 * 10**8, n)
        gb = f"{paper.cell('7.5B', stage, n):>5} GB"
        show(f"N = {n:<4}  {pick('阶段', 'stage')} {stage}  {gb}  {bar(kinds, 3e9)}")
assert [paper.cell("7.5B", stage, 64) for stage in range(4)] == ["120", "31.4", "16.6", "1.88"]
say("放不下。没切的部分降不下来：", "No. What is not cut stays, whatever N is:")
say("阶段 1 是 4Ψ = 30 GB，阶段 2 是 2Ψ = 15 GB", "4Ψ = 30 GB at stage 1, 2Ψ = 15 GB at stage 2")

# %% [markdown] id="10-run" lang="zh"
# ## 对账
#
# 上面这些数是公式算的，和论文印的一样。下面真的训练一个 17,226 个参数的模型，四个 rank，四个阶段：条是公式，一个字母 Ψ/2 字节；数字是账本量到的字节。float32 不需要主权重，每个参数 4 + 4 + 8，也是 16 字节。先想一想：阶段 1 和 2 省下的也一样多吗？
# %% [markdown] id="10-run" lang="en" src="311e8d44"
# ## The bill against the ledger
#
# So far it is a formula, with the results that the paper prints. Now 17,226 parameters are really trained on four ranks, at each stage:
# the bars are the formula, a letter for Ψ/2 bytes; the numbers are bytes that the ledger measured. Float32 needs no master, so a
# parameter takes 4 + 4 + 8: 16 bytes again. Think first: do stages 1 and 2 save as much, then?
# %%
records = {}  # by stage; those of float32 stay
for dtype, each in (("bfloat16", (2, 2, 12)), ("float32", (4, 4, 8))):
    show(f"{dtype}: {each[0]} + {each[1]} + {each[2]}")
    for stage in range(4):
        records[stage] = record = train(f"--steps 3 --dtype {dtype} --stage {stage}")
        psi = record["parameters_padded"]
        formula = bill(stage, psi, N, each)
        for rank in record["ranks"]:
            assert {kind: n for kind, n in rank["resting_bytes"].items() if n} == formula
        p, g, o = (record["ranks"][comm.rank]["resting_bytes"][kind] for kind in KINDS)
        numbers = f"{p:>6,} + {g:>6,} + {o:>7,} = {p + g + o:>7,}"
        show(f"{pick('阶段', 'stage')} {stage}  {bar(formula, psi / 2):<32}  {numbers}")
say("四个 rank 上每一项都一字节不差", "Equal to the byte on all ranks")
say("float32 省得少：阶段 1 剩 10/16，而不是 7/16", "Float32 saves less: 10/16 at stage 1, not 7/16")

# %% [markdown] id="10-peak" lang="zh"
# ## 账单之外
#
# 账单只管两步之间常驻的内存。一步之中还有激活、缓冲区和一个 unit 的完整梯度，阶段 3 还有一个临时收集的 unit，所以峰值更高。峰值也算得出来，`zero_ref/plan/formulas.py` 算到字节。后三列是各自的最大值，不在同一时刻。
#
# 先想一想：每步从 64 个样本增加到 256 个，哪几列会变？
# %% [markdown] id="10-peak" lang="en" src="42cf732c"
# ## What is not on the bill
#
# The bill is about memory at rest, between steps. In a step there are activations, too, buffers, one unit's whole gradient, and at stage
# 3 one gathered unit, so the peak is higher. `zero_ref/plan/formulas.py` computes the peak, as well, to the byte. The last three columns
# are the most of each, at different moments.
#
# Think first: with 256 samples a step in place of 64, which columns change?
# %%
largest = 4 * (64 * 128 + 128)  # bytes of the largest layer
larger = train("--steps 3 --batch-size 256")
on_top, lines = [], []
for stage, samples, record in [*((s, 64, records[s]) for s in range(4)), (3, 256, larger)]:
    rank, rest = record["ranks"][comm.rank], resting(record, comm)
    most, peak = rank["peak_bytes"], rank["peak_total_bytes"]
    assert peak == rank["predicted"]["peak_total_bytes"] > rest
    assert most["full_gradient"] == largest and most["gathered"] == (largest if stage == 3 else 0)
    on_top.append(peak - rest)
    lines.append((stage, samples, rest, peak, most["gathered"], most["full_gradient"], most["activation"]))
zh = "阶段|样本|常驻|峰值|收集的参数|完整梯度|激活"
rows(zh, "stage|samples|rest|peak|gathered|whole gradient|activation", lines)
assert on_top[0] == on_top[1] == on_top[2] < on_top[3] < on_top[4]
say("变的是激活和峰值：ZeRO 不切激活", "Activations and peak change: ZeRO does not cut activations")

# %% [markdown] id="10-traps" lang="zh"
# ## 四个容易算错的地方
#
# - **GB 和 GiB**：论文的 GB 是 10⁹ 字节，GiB 是 2³⁰ 字节，是前者的 1.074 倍：120 GB 是 111.8 GiB。
# - **K**：12 是主权重、m、v；再留一份 float32 梯度是 16。常见的 18 和 20 是总数：18 含 16 位的梯度，20 还含参数，不能再当 K 代进公式。
# - **填充**：每个 unit 都补齐到 N 的倍数，公式里的 Ψ 是补齐以后的。
# - **“逻辑”字节**：只用 1/N，但整块缓冲区还活着，占的就是整块。账本数的是真正活着的数组。
# %% [markdown] id="10-traps" lang="en" src="a5bf1dce"
# ## Four ways to get it wrong
#
# - **GB and GiB**: the paper's GB are 10⁹ bytes, GiB are 2³⁰, 1.074 times as much: 120 GB are 111.8 GiB.
# - **K**: 12 is master, m and v; with a float32 gradient kept beside them, 16. The figures 18 and 20 quoted elsewhere are sums: 18 includes
#   the 16-bit gradients, and 20 the parameters, too. Neither is a K.
# - **Padding**: each unit is filled up to a multiple of N, and the formula's Ψ is what it has then.
# - **"Logical" bytes**: 1/N of a buffer that is alive as a whole takes the whole. The ledger counts arrays that are really alive.
# %%
from zero_ref.array import zeros
from zero_ref.ledger import ledger

gb, gib = (sizing.most_parameters(1, 32 * unit, 64, 2, 12) / 1e9 for unit in (10**9, 2**30))
lines = [("32 GB", f"{gb:.2f}B"), ("32 GiB", f"{gib:.2f}B")]
rows("内存|64 个 rank、阶段 1 放得下的参数", "memory|parameters at stage 1, 64 ranks", lines)
assert round(gib / gb, 3) == 1.074
names = "master|m|v|float32 gradient|16-bit gradient|16-bit parameter"
names, sizes = pick("主权重|m|v|float32 梯度|16 位梯度|16 位参数", names).split("|"), [4, 4, 4, 4, 2, 2]
rows("+|字节|合计", "+|bytes|sum", zip(names, sizes, accumulate(sizes)))
right, wrong = sum(sizes) * 7.5, sum(bill(0, 7.5, 64, (2, 2, 20)).values())
assert (right, wrong) == (150, 180)
rows("7.5B 个参数|GB", "7.5B parameters|GB", [("20Ψ", right), ("4Ψ + KΨ, K = 20", wrong)])
raw = sum(bill(3, record["parameters"], N, each).values())
lines = [(record["parameters"], round(raw)), (psi, rest)]
rows("Ψ，补齐前、补齐后|阶段 3 的字节", "Ψ without and with padding|bytes at stage 3", lines)
assert rest == 16 * psi / N and 0 < rest - raw < 16 * N
whole, lines = zeros(4000, "float32", "full_gradient"), []
shard = whole[:1000]
del whole  # the view keeps it alive
for kind in pick("视图 复制", "view copy").split():
    lines.append((kind, shard.nbytes, ledger.live["full_gradient"]))
    shard = shard.copy()
rows("分片是|逻辑字节|整块还活着的", "shard is a|logical bytes|alive of the whole", lines)
assert [alive for *_, alive in lines] == [16000, 0]

# %% [markdown] id="10-end" lang="zh"
# ## 记住
#
# - 16Ψ → 4Ψ + 12Ψ/N → 2Ψ + 14Ψ/N → 16Ψ/N；float32 时中间两个是 8Ψ + 8Ψ/N 和 4Ψ + 12Ψ/N。
# - 这是两步之间的内存，量出来一字节不差。峰值还要加上激活、缓冲区和一两个完整的 unit。
# - 别的模型和机器，问规划器：`python -m zero_ref.plan --parameters 7.5e9 --ranks 64 --memory 32GB`。
# - 看图：`make compare` 训练四个阶段，把内存和通信画进 runs/compare.html；`make explore` 生成 explore.html，在里面改 Ψ、N 和阶段。
# - 接下来：16 份里优化器占 12 份，先切它。
# %% [markdown] id="10-end" lang="en" src="d64c9175"
# ## To remember
#
# - 16Ψ → 4Ψ + 12Ψ/N → 2Ψ + 14Ψ/N → 16Ψ/N; in float32 the two in the middle are 8Ψ + 8Ψ/N and 4Ψ + 12Ψ/N.
# - That is memory between steps, measured to the byte. The peak has activations, buffers and one or two whole units on top.
# - For other models and machines ask the planner: `python -m zero_ref.plan --parameters 7.5e9 --ranks 64 --memory 32GB`.
# - In pictures: `make compare` trains all four stages and draws memory and traffic in runs/compare.html; `make explore` makes explore.html,
#   where Ψ, N and the stage can be changed.
# - Next: 12 parts of 16 are the optimizer's, so that is cut first.
