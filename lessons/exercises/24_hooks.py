# 24 挂在钩子上的阶段 2 和阶段 3 · Stages 2 and 3 on hooks
#
# 目标：训练循环里没有一条消息：它是单进程的循环，只在四个时刻顺路调用钩子。你交一张表，时刻 -> 函数的列表，每
# 个函数收到一个 unit：
# "before forward"（这一层要算前向了）、"after forward"（算完了）、"before backward"（要算反向了）、"gradient
# ready"（这一层的梯度齐了）。
# 每个 rank 平时只有分片 u.param 和 u.grad。这一层要算之前，u.tensors 里每个张量的 data 必须是整层参数的视图：
# full = comm.all_gather(u.param, u.layout)，再 lend(u, "data", full)。算完扔掉：data = None。梯度齐了，张量的
# grad 里是自己这一份：合成一个长 u.layout.padded 的向量（没有张量的地方是 0），comm.reduce_scatter(full,
# u.layout)，加进 u.grad，张量的 grad 设回 None。更新由循环来做。
# 阶段 2：一层从它的前向到它的梯度齐了都在，之后扔掉。阶段 3：前向之后就扔，反向之前再收集一次。
# 通过条件：阶段 2 和 3 在 N = 1 到 4、有几个 micro-batch 时，每个时刻的通信恰好是该有的；梯度对；两步以后的参
# 数和 zero2.py、zero3.py 的逐比特相同。
# 检查：python lessons/exercises/24_hooks.py
#
# Goal: The training loop has not one message: it is that of one process, and calls hooks in passing at four
# moments. You give it a table, moment -> list of functions, each of which is called with a unit:
# "before forward" (the layer is about to compute), "after forward" (it has), "before backward" (its backward
# pass is about to begin), "gradient ready" (its gradient is complete).
# Between steps a rank has its shards u.param and u.grad only. Before a layer computes, the data of each
# tensor in u.tensors has to be a view of all the layer's parameters: full = comm.all_gather(u.param,
# u.layout), then lend(u, "data", full). To drop them: data = None. When the gradient is ready, this rank's
# part is in the tensors' grad. Make one vector of length u.layout.padded of it (0 where there is no tensor),
# comm.reduce_scatter(full, u.layout), add that to u.grad, and set the tensors' grad to None. The loop itself
# updates.
# Stage 2: a layer is there from its forward pass until its gradient is ready, and is dropped then. Stage 3:
# it is dropped after forward and gathered again before backward.
# Done when: at stages 2 and 3, with N = 1 to 4 and several micro-batches, each moment has just its messages;
# gradients are right; and after two steps parameters equal those of zero2.py and zero3.py in every bit.
# Check: python lessons/exercises/24_hooks.py

from _exercise import check
from collections.abc import Callable

import numpy as np

from lessons.given.hooks import lend
from zero_ref.model import Unit


def hooks(stage: int, comm) -> dict[str, list[Callable[[Unit], None]]]:
    """The hooks of stage 2 or 3: moment -> functions that are called with the unit u, in this order.

    u.param, u.grad (own,): this rank's shards. u.tensors: name -> Tensor with data and grad.
    u.layout.views(full): name -> view of full (padded,), with the tensor's shape.
    comm.all_gather(u.param, u.layout) -> (padded,); comm.reduce_scatter(full, u.layout) -> (own,).
    lend(u, "data", full): the tensors' data become views of full (padded,).
    """
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
