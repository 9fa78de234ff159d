# %% [markdown] id="00-title" lang="zh"
# # 00 四个进程，一个程序
#
# 模型太大，一台机器放不下，就要让好几个进程一起训练它。这一课只做一件事：同一个程序同时跑四份，看它们怎样找到彼此。
#
# `mpirun -n 4 python lessons/00_four_processes.py` 启动四个进程，它们执行的是**同一个文件的同一行**。唯一不同的是编号：MPI 给每个进程一个 rank，从 0 到 3。
# %% [markdown] id="00-title" lang="en" src="ee293307"
# # 00 Four processes, one program
#
# A model that does not fit on one machine has to be trained by several processes together. This lesson does one thing:
# it runs one program four times at once, and shows how the four find each other.
#
# `mpirun -n 4 python lessons/00_four_processes.py` starts four processes, and they run **the same line of the same
# file**. All that differs is a number: MPI gives each process a rank, from 0 to 3.
# %%
import os

import numpy as np
from _lesson import each, ranks, say, show

comm = ranks(4)
each(
    comm,
    f"rank {comm.rank}，共 {comm.size} 个，进程号 {os.getpid()}",
    f"rank {comm.rank} of {comm.size}, process {os.getpid()}",
)

# %% [markdown] id="00-own" lang="zh"
# ## 每个进程有自己的内存
#
# 下面这一行在四个进程里各执行一次。`mine` 这个名字有四份，互相看不见：没有谁能读到别人的变量。
#
# 先想一想：如果每个 rank 都执行 `total = mine * 4`，四个 `total` 会相等吗？
# %% [markdown] id="00-own" lang="en" src="bb8ebe38"
# ## Each process has its own memory
#
# The next line runs once in each of the four processes. There are four variables called `mine`, and none is visible to another process.
#
# Think first: if every rank says `total = mine * 4`, are the four totals equal?
# %%
mine = (comm.rank + 1) * 10
total = mine * 4
each(comm, f"rank {comm.rank}: mine = {mine}, mine * 4 = {total}")

# %% [markdown] id="00-message" lang="zh"
# ## 要知道别人的数，只能发消息
#
# 消息就是 MPI 存在的理由。`Allgather` 是一次**集合通信**：四个 rank 都来到这一行，各交出一个数，各拿到全部四个数。少来一个，其余三个就会一直等下去。
# %% [markdown] id="00-message" lang="en" src="d7e57140"
# ## To know another's number takes a message
#
# Messages are what MPI is for. `Allgather` is a **collective**: all four ranks come to this line, each gives one number, and each
# gets all four. If one never arrives, the other three wait for ever.
# %%
everybodys = np.empty(comm.size, int)
comm.mpi.Allgather(np.array([mine]), everybodys)
each(comm, f"rank {comm.rank}: {everybodys.tolist()} -> {everybodys.sum()}")

# %% [markdown] id="00-price" lang="zh"
# ## 消息要花时间
#
# 每个 rank 把自己的一个数发给另外三个 rank：8 字节 × 3。本项目里每一次集合通信都记账，账本里的数和公式逐字节相等。
# %% [markdown] id="00-price" lang="en" src="38b782ef"
# ## Messages cost
#
# Every rank sends its one number to three others: 3 times 8 bytes. In this project a ledger counts each
# collective, and its numbers equal the formulas' to the byte.
# %%
from zero_ref.ledger import ledger

ledger.forget_sent()
answer = comm.sum(float(mine))
sent = ledger.sent["other"]
assert answer == everybodys.sum() and sent == 8 * (comm.size - 1)
show(f"comm.sum: {answer:g}")
say(
    f"每个 rank 发送了 {sent} 字节 = 8 × {comm.size - 1}",
    f"each rank sent {sent} bytes = 8 x {comm.size - 1}",
)

# %% [markdown] id="00-end" lang="zh"
# ## 记住
#
# - 一个程序，N 份，只有 rank 不同。
# - 变量各归各；想知道别人的数，必须所有 rank 一起做一次集合通信。
# - 接下来：在一个进程里把 ∂L/∂w 弄明白，再让四个进程一起算它。`zero_ref/comm.py` 是本项目全部的通信。
# %% [markdown] id="00-end" lang="en" src="25563ff7"
# ## To remember
#
# - One program, N times; only the rank differs.
# - Each process has its own variables; to know another's number, all ranks take part in a collective.
# - Next: ∂L/∂w in one process, before four compute it together. `zero_ref/comm.py` has all of this project's messages.
