# %% [markdown] id="18-title" lang="zh"
# # 18 四个 rank 存，两个、三个 rank 接着训练
#
# 前面的课里每一步都算对了，可是进程一停，什么都没了：参数、m、v 分散在四个 rank 的内存里，每个 rank 只有自己的分片。保存不难，每个 rank 把自己的分片写成一个文件，谁也不用收集。难的是读回来：下次也许只有两个 rank，切法全变了。光有分片不够，还要一张**地图**：分片里的每个数，属于哪个张量、是第几个元素。
#
# 这一课自己只有一个进程，它在一个临时目录里运行真正的命令，和你自己敲的一样。
# %% [markdown] id="18-title" lang="en" src="c5b64fbd"
# # 18 Save on four ranks, resume on two or three
#
# So far every step comes out right, but when the processes end all is lost: parameters, m and v lie in the memory of four ranks, each with
# its own shards. Saving is easy: each rank writes its shards to a file, and nobody gathers. Reading is hard: next time there may be two
# ranks, and every cut is elsewhere. Shards alone are not enough. They need a **map**, which says of each number in a shard which element of
# which tensor it is.
#
# This lesson is one process, which runs the real commands as you would type them, in a temporary folder.
# %%
import numpy as np
from _lesson import AS_STARTED, alone, pick, rows, say, show
from safetensors.numpy import load_file

from lessons.given.shell import Shell
from zero_ref.checkpoint import Checkpoint
from zero_ref.optim import Adam

alone()
shell = Shell(AS_STARTED, show)  # shell("a command") runs it; shell.train(4, "...") returns a run's record

# %% [markdown] id="18-save" lang="zh"
# ## 训练 20 步，第 10 步存一次
#
# 一口气训练到第 20 步，这是标准答案。再假设第 10 步之后断了电，手里只有当时的检查点。`--shard-model random` 把参数分成小块打乱了发，地图才看得出用处。
# %% [markdown] id="18-save" lang="en" src="85b1c743"
# ## Train for 20 steps, and save at step 10
#
# A run to step 20 without a break is what should come out. Now suppose that the power failed after step 10: all we have is the checkpoint
# of that step. `--shard-model random` deals the parameters in blocks, to give the map something to do.
# %%
MODEL = "--hidden 16 --dtype float64 --shard-model random"
whole = shell.train(4, f"{MODEL} --steps 20 --save run --save-every 10", "whole")
checkpoint = Checkpoint(shell.folder / "run" / "step-00000010")
files = sorted(checkpoint.folder.iterdir())
rows("检查点里的文件|字节", "file of the checkpoint|bytes", [(f.name, f.stat().st_size) for f in files])

# %% [markdown] id="18-map" lang="zh"
# ## 分片里有什么，地图里有什么
#
# 分片里只有数，没有形状，也没有位置。位置写在 `manifest.json` 里：每个 rank 有哪些区间 start:stop；补齐用的 0 不存。先想一想：不看地图，按 rank 的顺序把四片接起来，有多少数在正确的位置？
# %% [markdown] id="18-map" lang="en" src="e79f4b24"
# ## What is in a shard, and what is in the map
#
# A shard holds numbers, without shapes and places. The places are in `manifest.json`: which ranges start:stop each rank has; padding is not written.
# Think first: without the map, with the four shards joined in the order of the ranks, how many numbers are in the right place?
# %%
shards = [load_file(checkpoint.folder / file.name) for file in checkpoint.manifest.files]
first = ", ".join(f"{name} {len(shards[0][name])}" for name in sorted(shards[0])[:4])
say(f"分片 0：{first} ……", f"shard 0: {first} ...")
for rank, file in enumerate(checkpoint.manifest.files):
    ranges = " ".join(f"{a}:{b}" for a, b in file.ranges["layers.1"])
    say(f"地图：rank {rank} 的 layers.1 {ranges}", f"map: layers.1 of rank {rank} {ranges}")
joined = np.concatenate([shard["layers.0/param"] for shard in shards])
mapped = checkpoint.read("layers.0", "param", 0, len(joined))
shell("python -m zero_ref.checkpoint export run/step-00000010 weights.safetensors")
weights = load_file(shell.folder / "weights.safetensors")
exported = np.concatenate([weights[f"layers.0.{name}"].ravel() for name in ("weight", "bias")])
in_place, of_all = (joined == mapped).sum(), len(mapped)
assert np.array_equal(mapped, exported) and in_place < of_all / 2 and sorted(joined) == sorted(mapped)
say(
    f"直接接起来，{of_all} 个数里有 {in_place} 个在正确的位置",
    f"joined, {in_place} of {of_all} numbers are in place",
)

# %% [markdown] id="18-resume" lang="zh"
# ## 换阶段，换 rank 数
#
# 每个 rank 按新的切法，从四个文件里只读自己要的区间。先想一想：下面接着训练三次，哪一次和没断过的逐比特相同？
# %% [markdown] id="18-resume" lang="en" src="820579e2"
# ## Another stage, another number of ranks
#
# The model is cut anew, and each rank reads from the four files just the ranges that it needs. Think first: which of the three runs below is equal in
# every bit to the one that never stopped?
# %%
others = {4: "--stage 1", 2: "--stage 3", 3: "--stage 2 --shard-model contiguous"}
resumed, lines = {}, []
for ranks, options in others.items():
    run = resumed[ranks] = shell.train(ranks, f"--resume run/step-00000010 {options}", f"on-{ranks}")
    off = np.abs(np.subtract(run["loss"], whole["loss"][10:])).max()
    same = run["weights_sha256"] == whole["weights_sha256"]
    assert run["first_step"] == 10 and (same and off == 0 if ranks == 4 else off < 1e-11)
    lines.append((ranks, f"{off:.1g}", pick("相同", "equal") if same else pick("不同", "not equal")))
rows("rank 数|loss 最多差|权重的比特", "ranks|loss off by|bits of the weights", lines)

# %% [markdown] id="18-lost" lang="zh"
# ## 只存参数，丢了什么
#
# `--init` 只读权重，于是丢了三样：m 和 v，Adam 的步数 t，数据读到了哪里。先想一想：权重一个比特也不差，第一个 loss 会和第 11 步的相同吗？再从检查点里取出 m、v、t，看少了哪样，下一次更新会偏多少（- 是什么也不留）。
# %% [markdown] id="18-lost" lang="en" src="75fb40c8"
# ## Parameters only: what is lost
#
# `--init` reads weights alone, and three things are gone: m and v, Adam's step number t, and the place in the data. Think first: the
# weights are equal in every bit; is the first loss that of step 11? Then m, v and t are taken from the checkpoint: how far off is the next
# update when some of them are missing (-: all of them)?
# %%
again = shell.train(4, f"{MODEL} --steps 10 --init weights.safetensors", "again")
found = list(zip(range(11, 21), whole["loss"][10:], resumed[4]["loss"], again["loss"]))
assert all(a == b and abs(c - b) > 1e-3 for _, a, b, c in found)
lines = [(step, *(f"{loss:.6f}" for loss in losses)) for step, *losses in found]
rows("步|没断过|--resume|--init", "step|never stopped|--resume|--init", [*lines[:2], lines[9]])
assert (resumed[4]["first_step"], again["first_step"]) == (10, 0)
say("权重相同，loss 不同：它又从第 1 批数据读起", "equal weights, another loss: it begins at batch 1 again")

m, v = (checkpoint.read("layers.0", name, 0, of_all) for name in ("m", "v"))
updates, lines = {}, []
for kept in ("m, v, t", "m, v", "t", "-"):
    adam, param = Adam(of_all, "float64"), mapped.copy()
    if "m" in kept:
        adam.m[:], adam.v[:] = m, v
    adam.steps = 10 if "t" in kept else 0
    adam.update(param, m, 1.0)  # the running mean in place of a gradient
    updates[kept] = param - mapped
    right = updates["m, v, t"]
    off = np.linalg.norm(updates[kept] - right) / np.linalg.norm(right)
    lines.append((kept, f"{off:.0%}"))
    assert kept == "m, v, t" or off > 0.1
rows("留下|下一次更新偏", "kept|next update off by", lines)

# %% [markdown] id="18-damaged" lang="zh"
# ## 坏一个比特
#
# `manifest.json` 记着每个文件的大小和 SHA-256，还有它自己的。把 rank 2 的文件翻转一个比特，再接着训练。
# %% [markdown] id="18-damaged" lang="en" src="470a2909"
# ## One flipped bit
#
# `manifest.json` has size and SHA-256 of every file, and its own. Flip one bit in rank 2's file, and resume.
# %%
file = checkpoint.folder / "rank-00002.safetensors"
damaged = bytearray(file.read_bytes())
damaged[-1] ^= 1
file.write_bytes(damaged)
message = shell("python -m zero_ref.train --resume run/step-00000010", code=2)
assert message.count("\n") == 0 and "is damaged" in message
show(message)
say("退出码 2，一个数都还没用上", "exit code 2, and not one number was used")

# %% [markdown] id="18-end" lang="zh"
# ## 记住
#
# - 检查点 = 各 rank 的分片 + 地图。有了地图，换阶段、换 rank 数、换规则，都能接着训练。见 `zero_ref/checkpoint/saving.py`。
# - rank 数不变，每步一个 micro-batch，换了阶段也逐比特相同；rank 数变了，加法的顺序也变了，只差舍入误差。
# - 参数不是全部状态：还有 m、v、t，和数据读到了哪里。
# - 保存时先用别的名字写，全部写完再改名；读取时先核对，再使用。见 `zero_ref/checkpoint/__init__.py`。
# - 接下来：训练好的模型要拿来用。没有一个 rank 有整个模型，输出怎么算？
# %% [markdown] id="18-end" lang="en" src="0e47d9ba"
# ## To remember
#
# - A checkpoint is every rank's shards and a map. With the map any stage, any number of ranks and any rule can go on. See
#   `zero_ref/checkpoint/saving.py`.
# - On the same number of ranks, with one micro-batch to a step, all bits are equal, whatever the stage; on another number of ranks sums are
#   added in another order and differ by rounding.
# - Parameters are not the whole state: there are also m, v and t, and the place in the data.
# - It is written under another name and renamed once, at the end; it is read after it is verified. See `zero_ref/checkpoint/__init__.py`.
# - Next: a trained model is there to be used. No rank has all of it: how are its outputs computed?
