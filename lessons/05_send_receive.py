# %% [markdown] id="05-title" lang="zh"
# # 05 发送、接收，以及互相卡死
#
# 上一课分好了样本，谁也不用通知谁。可是梯度要相加，每个 rank 手里只有自己那些样本的梯度，别人的只能由别人**发过来**。
#
# 最基本的两个调用是 `Send` 和 `Recv`，都是**阻塞**的：没办完就不返回。如果所有 rank 都先 `Send` 再 `Recv`，就可能谁也等不到谁，永远停在那里：这就是**死锁**。麻烦在于它不一定发生，消息小的时候常常一切正常。这一课把死锁看清楚，自己却不会停住：发送用 `Isend`，它立刻返回，之后随时可以用 `Test` 问一句办完没有。
# %% [markdown] id="05-title" lang="en" src="a47fc659"
# # 05 Send, receive, and the hang
#
# The last lesson dealt the samples, and nobody had to tell anybody. But gradients are added; a rank has those of its own samples only, and
# the others' have to be **sent** by the others.
#
# The two basic calls are `Send` and `Recv`. Both are **blocking**: they do not return before the thing is done. If all ranks first `Send`
# and then `Recv`, they may all wait for each other for ever: a **deadlock**. The trouble is that with small messages all often goes well.
# This lesson looks at the deadlock without getting into it: `Isend` returns at once, and `Test` asks at any time whether it is over.
# %%
import inspect

import numpy as np
from _lesson import each, pick, ranks, rows, say

from lessons.given.rounds import rounds
from zero_ref.comm import RingComm, exchange

comm = ranks(4)
N, rank, mpi = comm.size, comm.rank, comm.mpi
right, left = (rank + 1) % N, (rank - 1) % N


# %% [markdown] id="05-stored" lang="zh"
# ## 没人接收，发送就办完了？
#
# 四个 rank 都向右发送，谁也不接收，这时问 `Test`。`Issend` 多一个 s（synchronous）：对方开始接收了，它才算办完。先想一想：普通的 `Isend` 呢？8 字节和 4 MiB 有区别吗？
# %% [markdown] id="05-stored" lang="en" src="c1a3a7e2"
# ## Nobody receives: can a send be over?
#
# All four send to the right, nobody receives, and then we ask `Test`. `Issend` has one s more, for synchronous: it is over only when the
# other side has begun to receive. Think first: and plain `Isend`? Does it matter whether it is 8 bytes or 4 MiB?
# %%
def over(begin, nbytes: int) -> bool:
    """Whether `begin`, Isend or Issend, is over on any rank while nobody has begun to receive."""
    data, arriving = np.zeros((2, nbytes), np.uint8)
    send = begin(data, right)
    mpi.Barrier()  # all have begun to send,
    found = any(comm.everyone(send.Test()))  # and none goes on before all have asked
    mpi.Recv(arriving, left)
    send.Wait()
    return found


low, high = 8, 4 << 20
while high - low > 1:  # halve the gap
    middle = (low + high) // 2
    low, high = (middle, high) if over(mpi.Isend, middle) else (low, middle)
lines, yes_no = [], (pick("没办完", "no"), pick("办完了", "yes"))
for nbytes in (8, 512, low, high, 1 << 18, 4 << 20):
    isend, issend = over(mpi.Isend, nbytes), over(mpi.Issend, nbytes)
    assert isend == (nbytes <= low) and not issend
    lines.append((nbytes, yes_no[isend], yes_no[issend]))
rows("字节|Isend 呢|Issend 呢", "bytes|Isend over|Issend over", lines)
say(f"这次运行的界限：{low:,} 字节", f"the limit in this run: {low:,} bytes")

# %% [markdown] id="05-circle" lang="zh"
# ## 谁在等谁
#
# 小消息“办完”了，其实是 MPI 库先替你存着。存多少由库决定，换一个 MPI 或者换一种网络，界限就变；标准连一个字节都没有承诺。超过界限，`Send` 就要等右边的 rank 来接收，而它也停在自己的 `Send` 里。
# %% [markdown] id="05-circle" lang="en" src="9c2d9fb9"
# ## Who waits for whom
#
# A small message is "over" because the MPI library stores it for you. How much it stores is its own affair: another MPI or another
# network has another limit, and the standard does not promise one byte. Above the limit `Send` waits until the rank on the right
# receives, and that one stands in its own `Send`.
# %%
waits_for = comm.everyone(right)
assert not over(mpi.Isend, high)  # on no rank
zh, en = f"要等 {right} 走到它的 Recv 才办得完", f"which is not over before {right} comes to its Recv"
each(comm, f"rank {rank}：Send 给 {right}，{zh}", f"rank {rank}: Send to {right}, {en}")
path = [0]
for _ in range(N):
    path.append(waits_for[path[-1]])
assert path == [0, 1, 2, 3, 0]
say(f"一个圈：{' -> '.join(map(str, path))}", f"a circle: {' -> '.join(map(str, path))}")

# %% [markdown] id="05-order" lang="zh"
# ## 不要都先发
#
# 只要有一个 rank 先收后发（RS），圈就断了。常用的是**奇偶**：偶数 rank 先发后收（SR），奇数 rank 先收后发。下面假定库什么也不存，推演各要几轮；一轮里，左边正要发、右边正要收的每一对都传完。先想一想：N 是奇数时，0 和 N−1 都是偶数，又是邻居，会死锁吗？N = 1 呢？
# %% [markdown] id="05-order" lang="en" src="2476df76"
# ## Do not all send first
#
# One that receives first (RS) breaks the circle. The usual way is **odd and even**: even ranks send first (SR), odd ones receive first.
# Played through below with a library that stores nothing; in a round each pair gets done whose left one is at its S and right one at its R.
# Think first: with odd N both 0 and N−1 are even, and neighbours. Do they hang? And N = 1?
# %%
sizes = [1, 2, 3, 4, 5, 8, 9]
rings = {
    pick("都是 SR", "all SR"): ["SR"] * 9,
    pick("rank 0 是 RS", "rank 0 RS"): ["RS"] + ["SR"] * 8,
    pick("奇数是 RS", "odd RS"): (["SR", "RS"] * 5)[:9],
}
counts = {name: [rounds(orders[:size]) for size in sizes] for name, orders in rings.items()}
assert list(counts.values()) == [[None] * 7, [None, *sizes[1:]], [None, 2, 3, 2, 3, 2, 3]]
hang, head = pick("卡死", "hang"), "|".join(map(str, sizes))
rows(f"轮数，N =|{head}", f"rounds for N =|{head}", [(n, *(c or hang for c in counts[n])) for n in rings])
say("一个先收要 N 轮，奇偶只要两三轮", "one receives first: N rounds; odd and even: 2 or 3")


# %% [markdown] id="05-cures" lang="zh"
# ## 真的发一遍
#
# 还有两种写法不用排次序：`Sendrecv` 一发一收合成一个调用；`Isend` 先发，收完再 `Wait`（在此之前别改发送的数据）。`Ssend` 是阻塞的 `Issend`：测试就该用它，库什么也不存，死锁藏不住。数看得出来源：十位是 rank。先想一想：认错邻居，左右对调，几个 rank 才看得出来？
# %% [markdown] id="05-cures" lang="en" src="7c787ffa"
# ## Now really send
#
# Two more ways need no order: `Sendrecv` is both in one call; `Isend` begins, and `Wait` comes after the receive (do not change the data
# before). `Ssend` is a blocking `Issend`: test with it, as nothing is stored then and no deadlock hides. Numbers show where they come from:
# the tens are the rank. Think first: with left and right mixed up, how many ranks does it take to notice?
# %%
def shift(how: str, size: int, step: int = 1) -> list[list[int]]:
    """What ranks 0 to size - 1 have got when each has given its numbers to rank + step, round a ring."""
    numbers = np.resize(10 * rank + np.arange(2), high)  # two again and again, longer than the limit
    got = np.full_like(numbers, -1)
    to, source = (rank + step) % size, (rank - step) % size
    if rank >= size:
        pass  # not in the ring
    elif how == "Sendrecv":
        mpi.Sendrecv(numbers, to, recvbuf=got, source=source)
    elif how == "Isend":
        send = mpi.Isend(numbers, to)
        mpi.Recv(got, source)
        send.Wait()
    else:
        for call in ("SR", "RS")[rank % 2]:
            mpi.Ssend(numbers, to) if call == "S" else mpi.Recv(got, source)
    return comm.everyone(got[:2].tolist())[:size]


lines = []
for how, smallest in (("Ssend", 2), ("Sendrecv", 1), ("Isend", 1)):
    for size in range(smallest, N + 1):
        got = shift(how, size)
        assert np.array_equal(got, [[(r - 1) % size * 10, (r - 1) % size * 10 + 1] for r in range(size)])
    lines.append((how, f"{smallest} .. {N}", got))
rows("做法|N = ... 都对|N = 4 时收到", "way|right for N =|got with N = 4", lines)
lines = []
for size in (2, 3, 4):
    meant, got = shift("Sendrecv", size), shift("Sendrecv", size, step=-1)
    assert (meant == got) == (size == 2)
    lines.append((size, got[0], meant[0]))
rows("左右对调，rank 数|rank 0 收到|本该收到", "left <-> right, ranks|rank 0 got|should get", lines)
assert "Sendrecv(" in inspect.getsource(RingComm) and "Isend(" in inspect.getsource(exchange)

# %% [markdown] id="05-end" lang="zh"
# ## 记住
#
# - 阻塞的发送围成一圈就是死锁；小消息被库存着，错误就藏了起来。用 `Ssend` 测试。
# - 解法：奇偶次序（N = 1 不行）；`Sendrecv`，`zero_ref/comm.py` 的 `RingComm` 就用它；`Isend` 再等待，同一文件的 `exchange` 就这么写。
# - 只有两个 rank 时，左邻居就是右邻居，认错了也看不出来。至少用三个来试。
# - 接下来：数在圈上一路向右，每到一处加一份：环形 reduce-scatter。
# %% [markdown] id="05-end" lang="en" src="72ee1787"
# ## To remember
#
# - Blocking sends round a circle are a deadlock; the library stores small messages, and the mistake hides. Test with `Ssend`.
# - Cures: odd and even (not for N = 1); `Sendrecv`, as in `RingComm` of `zero_ref/comm.py`; `Isend` and then wait, as in its `exchange`.
# - With two ranks the left neighbour is the right one, and to mix them up goes unnoticed. Test with three at least.
# - Next: numbers travel to the right, and each rank adds its part: the ring reduce-scatter.
