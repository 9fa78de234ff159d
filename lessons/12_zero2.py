# %% [markdown] id="12-title" lang="zh"
# # 12 ZeRO-2：梯度也切开
#
# 阶段 1 里每个 rank 留着完整的梯度，直到一步的末尾才做 reduce-scatter，然后只用其中四分之一。
#
# 反向传播是从最后一层往前走的。某一层的梯度一算出来，立刻就可以做 reduce-scatter，留下自己那片，其余扔掉。这样同一时刻最多只有**一层**的完整梯度。
#
# 先想一想：发送的字节数变了吗？
# %% [markdown] id="12-title" lang="en" src="a3ec01e0"
# # 12 ZeRO-2: the gradient, too
#
# At stage 1 each rank keeps the whole gradient until the end of the step, reduces it then, and uses a quarter.
#
# The backward pass goes from the last layer to the first. As soon as a layer's gradient is there it can be reduced, its own shard
# kept and the rest dropped. Then there is never more than **one layer's** whole gradient.
#
# Think first: does it send more bytes, or fewer?
# %%
from _lesson import pick, ranks, rows, say, show, show_difference

comm = ranks(4)

# %% [markdown] id="12-watch" lang="zh"
# ## 看梯度出现和释放
#
# 程序可以把一步逐个事件记录下来。下面是阶段 2 的一步里，完整梯度（`full_gradient`）什么时候出现，什么时候释放。
# %% [markdown] id="12-watch" lang="en" src="f6fd0721"
# ## Watch gradients come and go
#
# A step can be recorded event by event. Here is when a whole gradient (`full_gradient`) is born in a step of stage 2, and when it dies.
# %%
from lessons.given.real_runs import resting, sent, train

recorded = train("--steps 3 --stage 2 --chart")["recorded_step"]  # --chart has a step recorded
alive = most = 0
for _, what, kind, unit, nbytes, line, _ in recorded["ranks"][comm.rank]["events"]:
    if kind == "full_gradient":
        alive += nbytes
        most = max(most, alive)
        event = pick("出现", "born") if what == "born" else pick("释放", "died")
        name = recorded["units"][unit]["name"]
        show(f"zero2.py:{line}  {name} {event} {nbytes:>7,}  {pick('活着', 'alive')} {alive:>6,}")
largest = max(4 * sum(unit["counts"]) for unit in recorded["units"])
assert alive == 0 and most == largest
say(
    f"同一时刻最多 {most:,} 字节，正好是最大的一层",
    f"never more than {most:,} bytes alive, which is the largest layer",
)

# %% [markdown] id="12-run" lang="zh"
# ## 一个 micro-batch：省了内存，没多发一个字节
# %% [markdown] id="12-run" lang="en" src="66d8c87a"
# ## One micro-batch: less memory, and not one byte more
# %%


def measure(micro_batches: int) -> tuple[tuple, tuple]:
    """Stage 1 and stage 2: bytes at rest, bytes sent in a step, and the weights' hash."""
    runs = [train(f"--steps 20 --stage {stage} --micro-batches {micro_batches}") for stage in (1, 2)]
    one, two = ((resting(run, comm), sent(run, comm), run["weights_sha256"][:16]) for run in runs)
    rows("阶段|常驻|发送|权重", "stage|rest|sent|weights", [(1, *one), (2, *two)])
    return one, two


one, two = measure(1)
assert two[0] < one[0] and two[1:] == one[1:]
say("发送量相同，权重逐比特相同", "the same bytes sent, and weights equal in every bit")

# %% [markdown] id="12-micro" lang="zh"
# ## 四个 micro-batch：这时有代价了
#
# 如果一步分成 k 个 micro-batch，阶段 1 可以先把梯度累加在本地，最后只做一次 reduce-scatter。阶段 2 不留完整的梯度，所以**每个** micro-batch 都要做一次。
#
# 先想一想：k = 4 时，阶段 2 发送多少？
# %% [markdown] id="12-micro" lang="en" src="32a931ca"
# ## Four micro-batches: here it costs
#
# With k micro-batches to a step, stage 1 can add up its gradient locally and reduce it once at the end. Stage 2 keeps no whole gradient,
# so it reduces after **each** micro-batch.
#
# Think first: what does stage 2 send with k = 4?
# %%
one, two = measure(4)
assert two[1] * 2 == one[1] * 5
assert one[2] != two[2]
say(
    f"2Ψ 变成 (k+1)Ψ = 5Ψ：{two[1] / one[1]} 倍。加法的顺序也不同了，所以权重只在舍入误差内一致",
    f"2 psi become (k+1) psi = 5 psi: {two[1] / one[1]} times. The additions have another order, too, so the weights agree up to rounding",
)

# %% [markdown] id="12-diff" lang="zh"
# ## 先写，再看
#
# reduce-scatter 从一步的末尾挪进反向传播，每个 micro-batch 都做；要留意的是谁还握着完整的梯度。现在动手写：`lessons/exercises/12_zero2.py`，用 `python -m lessons run 12` 检查。通过以后，这一格会显示 `zero_ref/stages/zero1.py` 到 `zero2.py` 的真正差别，拿它和你写的比一比。
# %% [markdown] id="12-diff" lang="en" src="04d84d40"
# ## Write it, then read it
#
# The reduce-scatter moves from the end of a step into the backward pass, in every micro-batch; what to look out for is who still holds on to a
# whole gradient. Write it now: `lessons/exercises/12_zero2.py`, checked by `python -m lessons run 12`. Once it has passed, this cell shows what
# really changes from `zero_ref/stages/zero1.py` to `zero2.py`, to be compared with yours.
# %%
from zero_ref.stages import zero1, zero2

show_difference(zero1, zero2, "12_zero2")

# %% [markdown] id="12-end" lang="zh"
# ## 记住
#
# - 常驻 4Ψ + 12Ψ/N；完整的梯度同一时刻只有一层。
# - “阶段 2 的通信量也是 2Ψ”只对一个 micro-batch 成立；k 个是 (k+1)Ψ。
# - 只用梯度的 1/N，却让整块缓冲区留着，什么也没省：`zero_ref/stages/zero2.py` 里的 `del grad` 就是为这个。
# - 看图：`mpirun -n 4 python -m zero_ref.train --stage 2 --report run.html`，拖动时间轴看完整的梯度怎样出现、怎样释放；`make compare` 并排看四个阶段。
# - 接下来：每个 rank 上仍然有整个模型。
# %% [markdown] id="12-end" lang="en" src="0684f68f"
# ## To remember
#
# - At rest 4Ψ + 12Ψ/N; only one layer's whole gradient exists at a time.
# - "Stage 2 sends 2Ψ, too" holds for one micro-batch; with k it is (k+1)Ψ.
# - To use 1/N of a gradient while all of its buffer is alive saves nothing: that is what `del grad` in `zero_ref/stages/zero2.py` is for.
# - In pictures: `mpirun -n 4 python -m zero_ref.train --stage 2 --report run.html`, where a whole gradient can be seen to come and go;
#   `make compare` shows all four stages side by side.
# - Next: the whole model still lies on every rank.
