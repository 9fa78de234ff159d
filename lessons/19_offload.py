# %% [markdown] id="19-title" lang="zh"
# # 19 优化器状态放到外面去
#
# Adam 的状态占了 16 字节里的 8 个（混合精度时是 12 个），可是一步里只用**一次**：更新的时候。其余时间它只是占着显存。
#
# ZeRO-Offload（arXiv 2101.06840）把它放到主机内存，ZeRO-Infinity（arXiv 2104.07857）放到磁盘。更新是逐元素的，所以不必整份搬回来：一**块**一块地读、算、写。这一课看：设备上还剩多少，搬了多少字节，慢的通路会不会拖后腿。
# %% [markdown] id="19-title" lang="en" src="4a33da17"
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

from lessons.given.few_steps import adam, mlp, samples, steps, weights
from zero_ref.extras import offload
from zero_ref.extras.storage import Host
from zero_ref.ledger import ledger
from zero_ref.optim import Adam
from zero_ref.stages import zero3

comm, N = ranks(4), 4
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
x, y = samples(comm, 64, features=64, classes=4)
units = mlp([64, 256, 64, 4], N)
psi, largest = sum(u.layout.padded for u in units), max(u.layout.padded for u in units)


def train(new_optimizer) -> tuple[bytes, list[int]]:
    """Three steps of stage 3: all weights; bytes of state on the device, at most in a step, and outside."""
    units = mlp([64, 256, 64, 4], N)
    zero3.setup(units, comm, new_optimizer)
    kept, outside = ledger.live["optimizer"], ledger.away["host"]
    steps(3, zero3, units, comm, x, y)
    most = ledger.peak["optimizer"]
    return weights(zero3, units, comm), [kept, most, outside]


inside, on_device = train(adam("float32"))
outside, moved_out = train(lambda n: offload.Offloaded(n, adam("float32"), Host))
names = pick("设备上|外面", "on the device|outside").split("|")
lines = [(names[0], *on_device), (names[1], *moved_out)]
rows("字节：状态放在|设备上|更新时最多|外面", "bytes: state lies|on the device|in an update|outside", lines)
K = 8  # bytes of Adam's state for a parameter
assert on_device[0] == moved_out[2] == K * psi // N and moved_out[0] == 0
rest = largest // N % offload.BLOCK  # of a shard, in its last block
assert moved_out[1] == 2 * K * offload.BLOCK + K * rest
assert inside == outside
say("权重逐比特相同：算的是同一个 Adam", "weights are equal in every bit: it is the same Adam that computes")

# %% [markdown] id="19-moved" lang="zh"
# ## 搬了多少
#
# 一步里，自己那一片的状态读一遍、写一遍：各 KΨ/N 字节。N 越大，每个 rank 搬得越少：各个 rank 的通路同时在用。
# %% [markdown] id="19-moved" lang="en" src="63362994"
# ## How much moves
#
# In a step the state of one's own shard is read once and written once, KΨ/N bytes each. The larger N, the less each rank moves: the links
# of all ranks work at the same time.
# %%
read, written = ledger.moved["read"], ledger.moved["written"]
assert read == written == K * psi // N
say(
    f"读 {read:,} 字节，写 {written:,} 字节，各是 8Ψ/N",
    f"{read:,} bytes read, {written:,} written: 8Ψ/N each",
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
# Read a block, compute it, write it: if these take turns, the device mostly waits. So there are two buffers. While block i computes, block
# i + 1 is being read into the other buffer, and block i − 1 is being written.
#
# One rule must not be broken: the buffer into which block i + 1 is read is the one that block i − 1 was in, and that block has to be
# **written** first. Below is the order in which things begin in one update (r reads, c computes, w writes):
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
four_blocks = np.ones((2, 4 * offload.BLOCK), "float32")
optimizer = offload.Offloaded(four_blocks[0].size, lambda n: Watched(n, "float32"), Host)
optimizer.update(*four_blocks, 1.0)
offload.later = do_later
show(" ".join(begun))
assert "".join(begun) == "rr" + "cwr" * 2 + "cw" * 2

# %% [markdown] id="19-slow" lang="zh"
# ## 外面可以多慢
#
# ZeRO-Infinity 算过这笔账。设每个设备有 bsz 个样本，每个样本 seq 个 token。一步的计算（前向 1、反向 2、重算 1）是 8·bsz·seq·Ψ 次运算；状态读写一共 2·16Ψ 字节。运算数除以字节数叫运算强度（arithmetic intensity，ait），是 bsz·seq/4，与模型大小无关。更新不能和前向反向重叠，所以带宽是 bw 时，
#
# 效率 = ait·bw / (ait·bw + 峰值)
#
# 取峰值 70 TFLOPS 的 V100、seq = 1024。下面一行一个 bsz，一列一种带宽，格子里是效率。batch 大了，或者许多 rank 各搬一片，带宽加在一起，外面才够快：
# %% [markdown] id="19-slow" lang="en" src="0f26a2cc"
# ## How slow may it be outside?
#
# ZeRO-Infinity works this out. A device has bsz samples of seq tokens each. A step takes 8·bsz·seq·Ψ operations (forward 1 part, backward
# 2, recomputation 1); reading and writing the state takes 2·16Ψ bytes. Operations per byte (the arithmetic intensity, ait) are bsz·seq/4,
# whatever the size of the model. The update cannot overlap with the passes, so with a bandwidth of bw
#
# efficiency = ait·bw / (ait·bw + peak)
#
# With a V100 of 70 TFLOPS at its peak, and seq = 1024. A line is a bsz, a column a bandwidth, and the numbers are the efficiency. It takes
# a larger batch, or many ranks that move a shard each, for the outside to be fast enough:
# %%
PEAK, SEQUENCE = 70e12, 1024


def efficiency(bandwidth: float, batch: int) -> float:
    """The part of the time that computes; bandwidth in bytes per second for each device."""
    intensity = batch * SEQUENCE / 4
    return intensity * bandwidth / (intensity * bandwidth + PEAK)


ways = 3, 12, 300, 1500  # GB/s
lines = [(batch, *(f"{efficiency(way * 1e9, batch):.0%}" for way in ways)) for batch in (1, 2, 16)]
head = "|".join(f"{way} GB/s" for way in ways)
rows(f"bsz（样本）|{head}", f"bsz|{head}", lines)
assert efficiency(1500e9, 2) > 0.9 and efficiency(12e9, 16) > 0.4
say(
    "一条 PCIe（12 GB/s）在 batch 小的时候远远不够",
    "one PCIe link (12 GB/s) is far too slow for a small batch",
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
