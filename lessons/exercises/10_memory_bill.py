# 10 内存账单 · The memory bill
#
# 目标：psi 个参数在 size 个 rank 上用第 stage 阶段（0 到 3）训练。一个 rank 在两步之间要保存多少字节？返回字
# 典，三项是 "parameter"、"gradient"、"optimizer"。每个参数的字节数是 param、grad 和 k：不另外说明时是 2、2、
# 12，即 16 位训练加 Adam。
# 参数排成一个扁平的向量，补齐到 size 的倍数（第 09 课）。无论存整份还是只存一片，都按补齐以后的长度算。
# 通过条件：四个阶段都对，psi 除得尽 size 和除不尽都对，换成别的 param、grad、k 也对；论文里 75 亿参数、N = 64
# 的那一栏一字节不差。
# 检查：python lessons/exercises/10_memory_bill.py
#
# Goal: psi parameters are trained at stage 0, 1, 2 or 3 on `size` ranks. How many bytes does one rank keep
# between steps? Return a dictionary of three: "parameter", "gradient" and "optimizer". A parameter takes
# param, grad and k bytes of them: 2, 2 and 12 where nothing else is said, which is training in 16 bits with
# Adam.
# The parameters are one flat vector, padded to a multiple of size (lesson 09). Whole or one shard of it, what
# counts is the padded length.
# Done when: all four stages are right, with psi that size divides and others, and with other param, grad and
# k; and so are the paper's 7.5 billion parameters on 64 ranks, to the byte.
# Check: python lessons/exercises/10_memory_bill.py

from _exercise import check


def model_state_bytes(
    psi: int, size: int, stage: int, *, param: int = 2, grad: int = 2, k: int = 12
) -> dict[str, int]:
    """Bytes that one of `size` ranks keeps between steps: {"parameter": .., "gradient": .., "optimizer": ..}.

    psi: parameters, not padded yet; stage: 0 to 3; param, grad, k: bytes per parameter of the three kinds.
    """
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
