# 17 一步里的峰值 · The peak of a step
#
# 目标：units 是各层的参数个数，从第一层到最后一层，还没有补齐。相邻的层先并成桶：从第一层开始，只要并在一起不
# 超过 bucket 个元素，就并进同一个桶；单独一层就超过的，自成一桶；bucket = 0 就是一层一桶。然后每个桶补齐到
# size 的倍数。
# 在 size 个 rank 上用第 stage 阶段（0 到 3）训练。反向轮到最大的桶时，一个 rank 上有多少字节（激活不算）？返
# 回字典，三项是 "kept"（两步之间就存着的参数、梯度和优化器状态）、"full_gradient"（这个桶完整的梯度）和
# "gathered"（收集来的参数）。每个参数的字节数是 param、grad 和 k，不另外说明时是 4、4、8：float32 加 Adam。
# 通过条件：四个阶段都对；并桶、补齐和别的字节数都对；units 没有被改动。
# 检查：python lessons/exercises/17_peaks.py
#
# Goal: units are the layers' numbers of parameters, first to last, not padded yet. Neighbours are first put
# into buckets: from the first layer on, as long as a bucket has no more than `bucket` elements; a layer that
# has more alone is a bucket of its own; with bucket = 0 each layer is. Then each bucket is padded to a
# multiple of size.
# It is trained at stage 0, 1, 2 or 3 on `size` ranks. When the backward pass comes to the largest bucket, how
# many bytes does a rank hold, activations left aside? Return a dictionary of three: "kept" (parameters,
# gradients and optimizer state that are there between steps, too), "full_gradient" (this bucket's whole
# gradient) and "gathered" (parameters that have been gathered). A parameter takes param, grad and k bytes of
# them: 4, 4 and 8 where nothing else is said, which is float32 and Adam.
# Done when: all four stages are right, with and without buckets, with padding and with other numbers of
# bytes, and units is unchanged.
# Check: python lessons/exercises/17_peaks.py

from _exercise import check


def peak_bytes(
    units: list[int], size: int, stage: int, *, bucket: int = 0, param: int = 4, grad: int = 4, k: int = 8
) -> dict[str, int]:
    """Bytes of a rank in the backward pass: {"kept": .., "full_gradient": .., "gathered": ..}.

    units: parameters of each layer, not padded; bucket: the most elements of a bucket of several layers
    param, grad, k: bytes per parameter of parameters, gradients and optimizer state
    """
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
