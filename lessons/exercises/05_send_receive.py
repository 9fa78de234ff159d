# 05 发送、接收，不要互相卡死 · Send and receive without a hang
#
# 目标：N 个 rank 围成一圈，每个有一个等长的向量 x。把自己的 x 发给右邻居 (rank + 1) % N，返回左邻居 (rank -
# 1) % N 的 x。
# 只用 comm.rank、comm.size、comm.send(x, to) 和 comm.recv(source)；这一题不用 sendrecv。send 要等到对方开始接
# 收才返回，消息再小也一样。
# 通过条件：N = 1 到 5 都对，不死锁；x 没有被改动，返回的是新数组；N > 1 时每个 rank 只发一条消息。
# 检查：python lessons/exercises/05_send_receive.py
#
# Goal: N ranks stand in a ring, each with a vector x, all of one length. Send your x to the right neighbour,
# (rank + 1) % N, and return the x of the left one, (rank - 1) % N.
# Use comm.rank, comm.size, comm.send(x, to) and comm.recv(source) only; this exercise does without sendrecv.
# A send returns when its receiver has begun to receive, however small the message is.
# Done when: it is right for N = 1 to 5 and never hangs; x is unchanged, and the result is a new array; with N
# > 1 each rank sends one message.
# Check: python lessons/exercises/05_send_receive.py

from _exercise import check
import numpy as np


def ring_shift(x: np.ndarray, comm) -> np.ndarray:
    """x (length,), the same length on every rank -> the left neighbour's x (length,), a new array."""
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
