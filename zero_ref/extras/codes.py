"""Numbers as codes of 8 or 4 bits, in blocks with one scale each: what ZeRO++ sends in place of them.

    a block     B numbers x (the last one of a vector has what is left)
    scale s     float32: max |x| / 127 for 8 bits, / 7 for 4, / 448 for fp8
    code        x / s, rounded to a whole number, or for fp8 to 4 bits of exponent and 3 of mantissa
    back        code * s, which is at most s/2 away from x (fp8: |x|/16, or s/1024 where that is more)

A coded vector is bytes: all scales, then all codes, then up to 3 zeros, so that the next one's scales lie at
a multiple of 4. So n numbers take n bits/8 + 4 n/B bytes, rounded up: with B = 256 and 8 bits 1.016 each.

A block in which a number is not finite has NaN for its scale, and comes back as NaN: a diverged run is seen.
No scale is below the least normal float32, so that dividing by it overflows nowhere. (Block-wise codes: arXiv
2110.02861; in collectives: ZeRO++, arXiv 2306.10209. fp8 is e4m3 of arXiv 2209.05433.)
"""

import argparse

import numpy as np

from zero_ref.array import Array, empty, track, xp

BLOCK = 256
LARGEST_BLOCK = 1 << 20
MOST = {"8": 127, "4": 7, "fp8": 448}  # the largest code of each kind
TINY = float(np.finfo(np.float32).tiny)


class Code:
    """Codes of one kind, "8", "4" or "fp8", in blocks of `block` numbers."""

    def __init__(self, kind: str = "8", block: int = BLOCK) -> None:
        self.kind, self.block, self.most = kind, block, MOST[kind]
        self.bits = 4 if kind == "4" else 8

    def nbytes(self, n: int) -> int:
        """Bytes of n coded numbers."""
        scales, codes = 4 * -(-n // self.block), -(-n * self.bits // 8)
        return -(-(scales + codes) // 4) * 4

    def encode(self, vector: Array, coded: Array) -> None:
        """Write vector (n,) into coded (nbytes(n),), of uint8."""
        n = vector.size
        if n == 0:
            return
        wide, scale, codes = self.parts(coded, n)
        numbers = wide.reshape(-1)
        numbers[:n], numbers[n:] = vector, 0
        largest = track("buffer", xp.maximum(wide.max(axis=1), -wide.min(axis=1)))
        finite = xp.isfinite(largest)
        wide[~finite] = 0
        step = track("buffer", xp.maximum(largest / self.most, TINY))
        scale[...] = xp.where(finite, step, np.float32(np.nan))
        wide /= xp.where(finite, step, np.float32(1))[:, None]
        if self.kind == "fp8":
            codes.view("float8_e4m3fn")[...] = numbers[:n]
        elif self.kind == "8":
            codes.view("int8")[...] = xp.rint(numbers[:n], out=numbers[:n])
        else:
            whole = track("buffer", xp.rint(numbers[:n], out=numbers[:n]).astype("int8")).view("uint8")
            codes[...] = whole[0::2] & 15  # the even ones in the low half of a byte
            codes[: n // 2] |= whole[1::2] << 4
        coded[4 * scale.size + codes.size :] = 0

    def decode(self, coded: Array, vector: Array) -> None:
        """Write what coded (nbytes(n),) stands for into vector (n,)."""
        n = vector.size
        if n == 0:
            return
        wide, scale, codes = self.parts(coded, n)
        numbers = wide.reshape(-1)
        numbers[n:] = 0
        if self.kind == "fp8":
            numbers[:n] = codes.view("float8_e4m3fn")
        elif self.kind == "8":
            numbers[:n] = codes.view("int8")
        else:
            numbers[0:n:2] = (codes << 4).view("int8") >> 4  # which keeps the sign
            numbers[1:n:2] = codes[: n // 2].view("int8") >> 4
        wide *= scale[:, None]
        vector[...] = numbers[:n]

    def parts(self, coded: Array, n: int) -> tuple[Array, Array, Array]:
        """Memory for the numbers, (blocks, B) of float32; the scales and the codes in `coded`."""
        blocks = -(-n // self.block)
        wide = empty((blocks, self.block), "float32", "buffer")
        return wide, coded[: 4 * blocks].view("float32"), coded[4 * blocks :][: -(-n * self.bits // 8)]


def code_of(text: str) -> Code:
    """The code that an option names: 8, 4/64, fp8/256; a ValueError for what names none."""
    kind, slash, block = text.partition("/")
    if kind not in MOST or (slash and not (block.isdecimal() and 1 <= int(block) <= LARGEST_BLOCK)):
        raise ValueError(text)
    return Code(kind, int(block) if slash else BLOCK)


def named(text: str) -> str:
    """The type of an option that names a code, with its block written out; "none" stays what it is."""
    try:
        code = code_of(text)
    except ValueError:
        if text == "none":
            return text
        raise argparse.ArgumentTypeError(
            f"expected 8, 4, fp8 or none, perhaps with /BLOCK up to {LARGEST_BLOCK:,}, not {text!r}"
        ) from None
    return f"{code.kind}/{code.block}"
