# 00 四个进程，一个程序 · Four processes, one program
#
# 目标：欢迎！第一题只写一行：让每个进程说出自己是几号、一共有几个。
# comm.rank 是自己的编号，comm.size 是进程的个数。例如四个进程里的 2 号返回 "rank 2 of 4"。
# 通过条件：进程有 1、2、3、4 个时，每个进程都返回自己的那句话。
# 检查：python lessons/exercises/00_four_processes.py
#
# Goal: Welcome! The first exercise is one line: each process says which one it is, and of how many.
# comm.rank is its own number, comm.size how many there are. Number 2 of four returns "rank 2 of 4".
# Done when: with 1, 2, 3 and 4 processes, each returns its own sentence.
# Check: python lessons/exercises/00_four_processes.py

from _exercise import check


def who(comm) -> str:
    """For example "rank 2 of 4", from comm.rank and comm.size."""
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
