# %% [markdown] id="19-title" lang="zh"
# # 19 优化器状态放到外面去
#
# Adam 的状态占了 16 字节里的 8 个（混合精度时是 12 个），可是一步里只用**一次**：更新的时候。其余时间它只是占着显存。
#
# ZeRO-Offload（arXiv 2101.06840）把它放到主机内存，ZeRO-Infinity（arXiv 2104.07857）放到磁盘。更新是逐元素的，所以不必整份搬回来：一**块**一块地读、算、写。这一课看：设备上还剩多少，搬了多少字节，慢的路会不会拖后腿。
# %% [markdown] id="19-title" lang="en" src="3f6493b3"
# # 19 The optimizer's state goes outside
#
# Adam's state is 8 of 16 bytes (12 in mixed precision), but a step uses it **once**, in the update. The rest of the time it only takes
# room on the device.
#
# ZeRO-Offload (arXiv 2101.06840) puts it into host memory, ZeRO-Infinity (arXiv 2104.07857) on disks. An update is element by element, so
# the state need not come back as a whole: it is read, used and written **block** by block. This lesson looks at what is left on the
# device, how many bytes move, and whether the slow way holds everything up.
# %%
import numpy as np
from _lesson import pick, ranks, rows, say, show

from zero_ref.extras import offload
from zero_ref.extras.storage import Host
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger
from zero_ref.model import build, loss_grad
from zero_ref.optim import Adam
from zero_ref.stages import zero3

comm = ranks(4)
N = comm.size
offload.BLOCK = 1000  # elements; by default 2^20, for which this model is too small

# %% [markdown] id="19-kept" lang="zh"
# ## 设备上剩下什么
#
# `Offloaded` 是一种优化器：里面是普通的 Adam，只是每次只有一块那么大；状态在一个 `Host`（主机内存）里。阶段文件照旧。
#
# 先想一想：两步之间，设备上的优化器状态还有多少？更新的时候呢？
# %% [markdown] id="19-kept" lang="en" src="1f73e93c"
# ## What is left on the device
#
# `Offloaded` is an optimizer: inside is a usual Adam, but only as large as a block, and the state is in a `Host` (host memory). The
# stage files stay as they are.
#
# Think first: how much of the optimizer's state is on the device between steps, and how much in an update?
# %%
SIZES, SAMPLES, STEPS = [64, 256, 64, 4], 64, 3
random = np.random.default_rng(0)
X, Y = random.normal(size=(SAMPLES, SIZES[0])).astype("float32"), random.integers(0, SIZES[-1], SAMPLES)
OWN = slice(comm.rank * SAMPLES // N, (comm.rank + 1) * SAMPLES // N)


def adam(n: int) -> Adam:
    return Adam(n, "float32", lr=0.01)


def train(new_optimizer) -> tuple[bytes, dict[str, int]]:
    """Some steps of stage 3: all weights, and what the ledger says of the last step."""
    units = build(SIZES, lambda name, shapes: FlatLayout(name, shapes, N), "float32", seed=3)
    zero3.setup(units, comm, new_optimizer)
    told = {"kept": ledger.live["optimizer"], "outside": ledger.away["host"]}
    for _ in range(STEPS):
        ledger.forget_sent(), ledger.forget_peaks()
        zero3.step(units, comm, [(X[OWN], Y[OWN])], loss_grad(True, SAMPLES), lambda *_: (0.0, 1.0))
    told |= {
        "most": ledger.peak["optimizer"],
        "read": ledger.moved["read"],
        "written": ledger.moved["written"],
    }
    return b"".join(zero3.full_param(u, comm).tobytes() for u in units), told


inside, told = train(adam)
outside, moved = train(lambda n: offload.Offloaded(n, adam, Host))
rows(
    pick("状态在|设备上，两步之间|设备上，更新时|外面", "state is|on the device|in an update|outside").split(
        "|"
    ),
    [
        (name, *(f"{numbers[kind]:,}" for kind in ("kept", "most", "outside")))
        for name, numbers in ((pick("里面", "inside"), told), (pick("外面", "outside"), moved))
    ],
)
psi = sum(FlatLayout("", {"w": (b, a + 1)}, N).padded for a, b in zip(SIZES, SIZES[1:]))
K = 8
assert told["kept"] == moved["outside"] == K * psi // N and moved["kept"] == 0
assert moved["most"] == 2 * K * offload.BLOCK + K * (16640 // N % offload.BLOCK)  # two blocks, and the rest
assert inside == outside
say("权重逐比特相同：算的是同一个 Adam", "weights are equal in every bit: it is the same Adam that computes")

# %% [markdown] id="19-moved" lang="zh"
# ## 搬了多少
#
# 一步里，自己那一片的状态读一遍、写一遍：各 KΨ/N 字节。N 越大，每个 rank 搬得越少：各台机器的通路是加在一起用的。
# %% [markdown] id="19-moved" lang="en" src="09da6115"
# ## How much moves
#
# In a step the state of one's own shard is read once and written once, KΨ/N bytes each. The larger N, the less each rank moves: the
# ways of all machines are used together.
# %%
assert moved["read"] == moved["written"] == K * psi // N
say(
    f"读 {moved['read']:,} 字节，写 {moved['written']:,} 字节，各是 8Ψ/N",
    f"{moved['read']:,} bytes read, {moved['written']:,} written: 8Ψ/N each",
)

# %% [markdown] id="19-order" lang="zh"
# ## 双缓冲
#
# 读一块、算一块、写一块，三样轮流做，设备大部分时间在等。办法是两块缓冲轮着用：算第 i 块时，第 i + 1 块正在读进另一块缓冲，第 i − 1 块正在写出去。
#
# 这里有一个次序不能错：第 i + 1 块要读进的那块缓冲，正是第 i − 1 块用过的，要等它**写完**才能读进去。下面记下一次更新里事情开始的次序（r 读，c 算，w 写）：
# %% [markdown] id="19-order" lang="en" src="d7c99df0"
# ## Two buffers
#
# Read a block, compute it, write it: if these take turns, the device mostly waits. So there are two buffers. While block i computes,
# block i + 1 is being read into the other buffer, and block i − 1 is being written.
#
# One order must not be wrong: the buffer into which block i + 1 is read is the one that block i − 1 was in, and that has to be
# **written** before. Below is the order in which things begin in one update (r reads, c computes, w writes):
# %%
begun: list[str] = []


class Watched(Adam):
    def update(self, param, grad, scale):
        begun.append("c")
        super().update(param, grad, scale)


def later(call, *arguments):
    begun.append(arguments[0].__name__[0])  # read or write
    return do_later(call, *arguments)


do_later, offload.later = offload.later, later
N_ELEMENTS = 4 * offload.BLOCK
optimizer = offload.Offloaded(N_ELEMENTS, lambda n: Watched(n, "float32"), Host)
optimizer.update(np.ones(N_ELEMENTS, "float32"), np.ones(N_ELEMENTS, "float32"), 1.0)
offload.later = do_later
show(" ".join(begun))
assert "".join(begun) == "rr" + "cwr" * 2 + "cw" * 2

# %% [markdown] id="19-slow" lang="zh"
# ## 外面可以多慢
#
# ZeRO-Infinity 算过这笔账。设每个设备有 bsz 个样本，每个样本 seq 个 token。一步的计算（前向 1、反向 2、重算 1）是 8·bsz·seq·Ψ 次运算；状态读写一共 2·16Ψ 字节。运算数除以字节数（ait）是 bsz·seq/4，与模型大小无关。更新不能和前向反向重叠，所以带宽是 bw 时，
#
# 效率 = ait·bw / (ait·bw + 峰值)
#
# 取 70 TFLOPS 的 V100、seq = 1024：
# %% [markdown] id="19-slow" lang="en" src="5993f220"
# ## How slow may it be outside?
#
# ZeRO-Infinity works this out. A device has bsz samples of seq tokens each. What a step computes (forward 1, backward 2, recomputation
# 1) are 8·bsz·seq·Ψ operations; state that is read and written are 2·16Ψ bytes. Operations by bytes (ait, the arithmetic intensity) are
# bsz·seq/4, whatever the size of the model. An update cannot overlap with the passes, and so with a bandwidth of bw
#
# efficiency = ait·bw / (ait·bw + peak)
#
# With a V100 of 70 TFLOPS, and seq = 1024:
# %%
PEAK, SEQUENCE = 70e12, 1024


def efficiency(bandwidth: float, batch: int) -> float:
    """The part of the time that computes; bandwidth in bytes per second for each device."""
    intensity = batch * SEQUENCE / 4
    return intensity * bandwidth / (intensity * bandwidth + PEAK)


WAYS = 3, 12, 300, 1500  # GB/s
rows(
    [pick("bsz（样本）", "bsz"), *(f"{way} GB/s" for way in WAYS)],
    [(batch, *(f"{efficiency(way * 1e9, batch):.0%}" for way in WAYS)) for batch in (1, 2, 16)],
)
assert efficiency(1500e9, 2) > 0.9 and efficiency(12e9, 16) > 0.4
say(
    "一条 PCIe（12 GB/s）在 batch 小的时候远远不够；batch 大了，或者许多 rank 各搬一片，才够",
    "one PCIe link (12 GB/s) is far too slow for a small batch; a larger one helps, or many ranks that move a shard each",
)

# %% [markdown] id="19-end" lang="zh"
# ## 记住
#
# - 优化器状态一步只用一次，所以最先搬出去。设备上只剩两块（和最后不满一块的那块），结果逐比特相同。
# - 一步读 KΨ/N、写 KΨ/N 字节。ZeRO-Offload 连更新也在主机上算：来往的只有梯度和参数，16 位时各 2Ψ/N 字节。
# - 双缓冲：算一块时，下一块在读、上一块在写；缓冲写完才能再读进去。
# - 外面有多慢都不影响对错，只影响快慢；batch 越大，越不在乎。
# - 真正的命令：`mpirun -n 4 python -m zero_ref.train --offload host`，或者 `--offload disk:目录`；`--offload-shards` 连参数和梯度也放出去。
# %% [markdown] id="19-end" lang="en" src="7a8201e6"
# ## To remember
#
# - The optimizer's state is used once a step, so it is the first to go. Two blocks are left on the device, and the rest that fills none;
#   all bits are equal.
# - A step reads KΨ/N bytes and writes as many. ZeRO-Offload makes the update on the host, too: then gradients and parameters alone travel,
#   in 16 bits 2Ψ/N bytes each.
# - Two buffers: while a block computes, the next one is read and the one before is written; a buffer has to be written before it is
#   filled again.
# - However slow it is outside, nothing becomes wrong, only slow; the larger the batch, the less it matters.
# - The real command: `mpirun -n 4 python -m zero_ref.train --offload host`, or `--offload disk:FOLDER`; `--offload-shards` puts parameters
#   and gradients outside, too.
