# %% [markdown] id="18-title" lang="zh"
# # 18 四个 rank 存，两三个 rank 接着练
#
# 每一步都算对了，进程一停还是全没了：参数、m、v 都在四个 rank 的内存里，每个 rank 只有自己那几片。存的时候，各 rank 把自己的片写成一个文件，谁也不收集。
# 难在读回来：下次也许只有两个 rank，切法全变了。光有片不够，还要一张**地图**：每一片的每个数，是哪个张量的第几个元素。
#
# 这一课只有一个进程，照你会敲的样子运行真正的命令，都在一个临时目录里。
# %% [markdown] id="18-title" lang="en" src=""
# # 18 Save on four ranks, resume on two or three
#
# Every step is right, and when the processes end all is gone: parameters, m and v lie in the memory of four ranks, each with its own shards. To save,
# each rank writes its shards to one file, and nobody gathers. What is hard is to read them: next time there may be two ranks, and every cut is
# elsewhere. Shards are not enough, it takes a **map**: for each number in a shard, of which tensor it is which element.
#
# This lesson is one process, which runs the real commands as you would type them, in a temporary folder.
# %%
import os

AS_STARTED = dict(os.environ)  # before zero_ref chooses settings for one rank
import json
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import numpy as np
from _lesson import FOLDER, say, show
from safetensors.numpy import load_file

from zero_ref import launch
from zero_ref.checkpoint import Checkpoint
from zero_ref.optim import Adam

if launch.rank_by_launcher() > 0:
    sys.exit()  # started under mpirun, rank 0 goes on alone, and its commands must not know of that mpirun
OF_MPIRUN = ("PMI_", "PMIX_", "MPI_LOCAL", "HYDI_", "OMPI_COMM_")
environment = {name: value for name, value in AS_STARTED.items() if not name.startswith(OF_MPIRUN)}
for name, first in ("PATH", Path(sys.executable).parent), ("PYTHONPATH", FOLDER.parent):
    environment[name] = os.pathsep.join(filter(None, [str(first), environment.get(name)]))
temporary = tempfile.TemporaryDirectory()
here = Path(temporary.name)


def shell(line: str, code: int = 0) -> str:
    """Show a command, run it, and return what it prints."""
    show(" \\\n    ".join(textwrap.wrap(f"$ {line}", 76, break_on_hyphens=False)))
    words = [sys.executable if word == "python" else word for word in line.split()]
    kept = {"cwd": here, "env": environment, "stdin": subprocess.DEVNULL}
    done = subprocess.run(words, **kept, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == code, done.stdout
    return done.stdout.strip()


def record(name: str) -> dict:
    return json.loads((here / name).read_text())


# %% [markdown] id="18-save" lang="zh"
# ## 练 20 步，第 10 步存一次
#
# 第 20 步是标准答案。假装在第 10 步之后断了电：手里只有那时的检查点。`--shard-model random` 把参数分块打散，好让地图有用武之地。
# %% [markdown] id="18-save" lang="en" src=""
# ## Train for 20 steps, and save at step 10
#
# Step 20 is what should come out. Suppose that the power failed after step 10: what we have is the checkpoint of then. `--shard-model random` deals the
# parameters in blocks, to give the map something to do.
# %%
MODEL = "--hidden 16 --dtype float64"
shell(
    f"mpirun -n 4 python -m zero_ref.train {MODEL} --steps 20 --shard-model random --save run --save-every 10 --record whole.json --quiet"
)
whole = record("whole.json")
checkpoint = Checkpoint(here / "run" / "step-00000010")
for file in sorted(checkpoint.folder.iterdir()):
    show(f"{file.relative_to(here)}  {file.stat().st_size:,} bytes")

# %% [markdown] id="18-map" lang="zh"
# ## 一片里有什么，地图里有什么
#
# 片里只有数，没有形状，没有位置。位置在 `manifest.json`：每个 rank 有哪些区间 [start, stop)，补齐的 0 不写进去。
# 先想一想：不看地图，按 rank 的次序把四片接起来，有几成的数在正确的位置？
# %% [markdown] id="18-map" lang="en" src=""
# ## What is in a shard, and what is in the map
#
# A shard holds numbers, without shapes and places. The places are in `manifest.json`: which ranges [start, stop) each rank has; padding is not written.
# Think first: without the map, with the four shards joined in the order of the ranks, how many numbers are in the right place?
# %%
shards = [load_file(checkpoint.folder / file.name) for file in checkpoint.manifest.files]
show("shard 0: " + ", ".join(f"{name} {len(shards[0][name])}" for name in sorted(shards[0])[:4]) + " ...")
for rank, file in enumerate(checkpoint.manifest.files):
    show(f"map: layers.1 of rank {rank} {' '.join(f'[{a},{b})' for a, b in file.ranges['layers.1'])}")
joined = np.concatenate([shard["layers.0/param"] for shard in shards])
mapped = checkpoint.read("layers.0", "param", 0, len(joined))
shell("python -m zero_ref.checkpoint export run/step-00000010 weights.safetensors")
weights = load_file(here / "weights.safetensors")
exported = np.concatenate([weights[f"layers.0.{name}"].ravel() for name in ("weight", "bias")])
right, of_all = (joined == mapped).sum(), len(mapped)
assert np.array_equal(mapped, exported) and right < of_all / 2 and sorted(joined) == sorted(mapped)
say(
    f"直接接起来，{of_all} 个数里只有 {right} 个在正确的位置",
    f"joined, {right} of {of_all} numbers are in the right place",
)

# %% [markdown] id="18-resume" lang="zh"
# ## 换阶段，换 rank 数
#
# 每个 rank 按新的切法，从四个文件里只读自己要的区间。先想一想：三次接着练，哪一次与没断过的逐比特相同？
# %% [markdown] id="18-resume" lang="en" src=""
# ## Another stage, another number of ranks
#
# By the new cuts each rank reads from the four files just the ranges that it needs. Think first: which of these three goes on equal in every bit to the
# run that never stopped?
# %%
for ranks, more in ((4, "--stage 1"), (2, "--stage 3"), (3, "--stage 2 --shard-model contiguous")):
    shell(
        f"mpirun -n {ranks} python -m zero_ref.train --resume run/step-00000010 {more} --record {ranks}.json --quiet"
    )
    resumed = record(f"{ranks}.json")
    off = np.abs(np.subtract(resumed["loss"], whole["loss"][10:])).max()
    same = resumed["weights_sha256"] == whole["weights_sha256"]
    assert resumed["first_step"] == 10 and (same and off == 0 if ranks == 4 else off < 1e-11)
    say(
        f"{ranks} 个 rank：第 11 到 20 步的 loss 最多差 {off:.1g}，权重{'逐比特相同' if same else '有的比特不同'}",
        f"{ranks} ranks: loss of steps 11 to 20 off by {off:.1g} at most, weights {'equal' if same else 'differ'} in bits",
    )

# %% [markdown] id="18-lost" lang="zh"
# ## 只存参数，丢了什么
#
# `--init` 只读权重，于是丢了三样：m 和 v，Adam 的步数 t，读到了哪一批数据。先想一想：权重一个比特也不差，第一个 loss 会和第 11 步的相同吗？
# %% [markdown] id="18-lost" lang="en" src=""
# ## Parameters only: what is lost
#
# `--init` reads weights alone, and three things are gone: m and v, Adam's step number t, and the place in the data. Think first: the weights are equal in
# every bit; is the first loss that of step 11?
# %%
shell(
    f"mpirun -n 4 python -m zero_ref.train {MODEL} --steps 10 --shard-model random --init weights.safetensors --record init.json --quiet"
)
resumed, again = record("4.json"), record("init.json")
for step in (11, 12, 15, 20):
    losses = [run["loss"][step - 1 - run["first_step"]] for run in (whole, resumed)] + [
        again["loss"][step - 11]
    ]
    show("step {}: never stopped {:.6f}   --resume {:.6f}   --init {:.6f}".format(step, *losses))
    assert losses[0] == losses[1] and abs(losses[2] - losses[1]) > 1e-3
assert (resumed["first_step"], again["first_step"]) == (10, 0)
say(
    "权重相同，第一个 loss 就不同：它又从第 1 批数据读起",
    "equal weights, another first loss: it begins at the first batch again",
)

m, v = (checkpoint.read("layers.0", name, 0, of_all) for name in ("m", "v"))
for kept in ("m, v, t", "m, v", "t", ""):
    adam, param = Adam(of_all, "float64"), mapped.copy()
    if "m" in kept:
        adam.m[:], adam.v[:] = m, v
    adam.steps = 10 if "t" in kept else 0
    adam.update(param, m, 1.0)  # the running mean in place of a gradient
    update = param - mapped
    wanted = update if kept == "m, v, t" else wanted
    off = np.linalg.norm(update - wanted) / np.linalg.norm(wanted)
    show(f"kept {kept or 'nothing':<8} the next update is off by {off:4.0%}")
    assert kept == "m, v, t" or off > 0.1

# %% [markdown] id="18-damaged" lang="zh"
# ## 坏一个比特
#
# `manifest.json` 记着每个文件的大小和 SHA-256，还有它自己的。翻转 rank 2 文件里的一个比特，再接着练。
# %% [markdown] id="18-damaged" lang="en" src=""
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
show("\n".join(textwrap.wrap(message, 78)))
say("退出码 2，一个数也没有用", "exit code 2, and not one number was used")

# %% [markdown] id="18-end" lang="zh"
# ## 记住
#
# - 检查点 = 各 rank 的片 + 地图。有了地图，任何阶段、任何 rank 数、任何规则都能接着练。见 `zero_ref/saving.py`。
# - 同样的 rank 数，逐比特相同；换了 rank 数，加法的次序变了，只差舍入。
# - 参数不等于状态：还有 m、v、t 和数据读到哪里。
# - 存的时候写在别的名字下，最后只改一次名；读的时候先核对，再用。见 `zero_ref/checkpoint.py`。
# - 接下来：练好的模型要拿来用。没有一个 rank 有整个模型，怎样算它的输出？
# %% [markdown] id="18-end" lang="en" src=""
# ## To remember
#
# - A checkpoint is every rank's shards and a map. With the map any stage, any number of ranks and any rule can go on. See `zero_ref/saving.py`.
# - On as many ranks it is equal in every bit; on another number the sums are added in another order and differ by rounding.
# - Parameters are not the state: there are m, v and t, too, and the place in the data.
# - It is written under another name and renamed once, at the end; it is read after it is verified. See `zero_ref/checkpoint.py`.
# - Next: a trained model is there to be used. No rank has all of it: how are its outputs computed?
