# 22 推理：用一层，收一层 · Inference by gathering
#
# 目标：每个 rank 只有每层参数的分片 u.param（和阶段 3 一样），还有自己的几批样本。按次序返回自己每一批的输
# 出。各个 rank 的批数不同，有的一批也没有；rounds 是最多的那个 rank 的批数。
# full = comm.all_gather(u.param, u.layout) 是这一层的全部参数，要所有 rank 一起调用。x = u.forward(full, x)
# 算这一层；u.forget() 扔掉它记下的激活。任何时候只许有一层的全部参数，激活用完就扔。
# 通过条件：N = 1、2、3、4，批数相等和不等都对，没有人永远等下去；用过的层不留着。多留一层、多收集几次，通过但
# 会提醒：应当只有一层在内存里，每一轮、每一层恰好收集一次。
# 检查：python lessons/exercises/22_inference.py
#
# Goal: Each rank has its shard u.param of each layer, as at stage 3, and batches of its own. Return the
# outputs of your batches, in order. The ranks have unequal numbers of batches, some have none; rounds is the
# largest number that any rank has.
# full = comm.all_gather(u.param, u.layout) is all of a layer, and all ranks have to call it together. x =
# u.forward(full, x) computes the layer, u.forget() drops the activations that it has kept. Never have more
# than one layer whole, and drop activations after use.
# Done when: it is right for N = 1, 2, 3 and 4 and for equal and unequal numbers of batches, nobody waits for
# ever, and layers that have been used are not kept. One layer too many in memory, or gathers beyond one a
# layer and round, pass with a remark.
# Check: python lessons/exercises/22_inference.py

from _exercise import check
import numpy as np

from zero_ref.model import Unit


def predict(units: list[Unit], batches: list[np.ndarray], rounds: int, comm) -> list[np.ndarray]:
    """Own batches, (samples, features) each, through all units -> their outputs, (samples, outputs) each.

    u.param (own,): this rank's shard; comm.all_gather(u.param, u.layout) -> (padded,): the whole unit.
    u.forward(full, x) -> the unit's output; u.forget() drops its activations.
    rounds: the largest number of batches of any rank.
    """
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
