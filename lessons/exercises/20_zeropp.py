# 20 编码与解码 · To codes and back
#
# 目标：encode(x, block)：x 是 (n,) 的 float32。每 block 个数为一块，剩下的自成一块。每块的 scale 是 max|x| /
# 127，编码是 x / scale 四舍五入。返回 (codes, scales)：codes 是 (n,) 的 int8，scales 是 float32，每块一个。
# decode(codes, scales, block)：返回 (n,) 的 float32，每个数是 编码 * 它那块的 scale。
# 通过条件：每个数最多差半格，block 除得尽 n 和除不尽都对；全是 0 的块也行；x 不被改动；块里有 NaN 或无穷时，
# 那个数解码出来不是有限的数，别的块不受影响。
# 检查：python lessons/exercises/20_zeropp.py
#
# Goal: encode(x, block): x is (n,), float32. Each `block` numbers are a block, and what is left is one of its
# own. A block's scale is max |x| / 127, and a code is x / scale, rounded. Return (codes, scales): codes (n,)
# of int8, scales of float32, one for each block.
# decode(codes, scales, block): return (n,) of float32, each number a code * the scale of its block.
# Done when: no number is off by more than half a step, whether block divides n or not; a block of zeros
# works, too; x is unchanged; a number that is NaN or infinite comes back as no finite one, and other blocks
# stay right.
# Check: python lessons/exercises/20_zeropp.py

from _exercise import check
import numpy as np


def encode(x: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """(codes, scales): (n,) of int8 from -127 to 127, and a float32 for each block, of x (n,) float32."""
    raise NotImplementedError


def decode(codes: np.ndarray, scales: np.ndarray, block: int) -> np.ndarray:
    """(n,) of float32: what the codes stand for."""
    raise NotImplementedError


if __name__ == "__main__":
    check(__file__)
