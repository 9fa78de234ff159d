# 19 两块缓冲 · Two buffers
#
# 目标：n 个元素的优化器状态（每个元素两个数）在外面的 store 里，一块 block 个元素，最后一块可能更短。把每一块
# 读进来、更新、写回去；设备上最多同时有两块缓冲。
# store.begin_read(start, stop, buffer) 开始把 [start, stop) 的状态读进 buffer，马上返回；返回的是一个函数，调
# 用它就等到读完。begin_write 一样，是写出去。开始了的事一件一件按开始的次序做，和你的代码同时进行。
# compute(start, stop, state) 用 state 更新这一块，并改动 state。buffer 和 state 的形状是 (2, stop - start)，
# float64。
# 算第 i 块时，第 i + 1 块应当正在读，第 i - 1 块正在写。
# 通过条件：外面的状态全部更新了一次，返回时已经写完；缓冲不超过两块；每块读一次、写一次；算一块时下一块在读。
# 检查：python lessons/exercises/19_offload.py
#
# Goal: The optimizer's state of n elements, two numbers each, is outside, in store; a block has `block`
# elements, and the last may have fewer. Read each block, update it, and write it back, with no more than two
# buffers on the device at once.
# store.begin_read(start, stop, buffer) begins to read the state of [start, stop) into buffer and returns at
# once; what it returns is a function that waits until it has been read. begin_write does the same to write.
# What has been begun is done one after another, in the order in which it was begun, beside your code.
# compute(start, stop, state) updates this block with `state`, and changes it. buffer and state are (2, stop -
# start) of float64.
# While block i computes, block i + 1 should be being read, and block i - 1 written.
# Done when: all of the state outside has been updated once and is written when the function returns; there
# are two blocks of buffers at most; each block is read once and written once, and while one computes the next
# is being read.
# Check: python lessons/exercises/19_offload.py

from _exercise import check
import numpy as np


def update(n: int, block: int, store, compute) -> None:
    """Update the state of n elements, block by block.

    store.begin_read(start, stop, buffer) -> wait    store.begin_write(start, stop, buffer) -> wait
    compute(start, stop, state)                      once for each block; state is changed
    """
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
