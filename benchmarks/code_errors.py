"""How far sums in codes are from exact ones, and what bounds that: python benchmarks/code_errors.py

Normally distributed numbers go through each code once. The second column is the root of the mean square of
the error over that of the numbers; the third the largest error in steps of its block, at most 1/2 (for fp8:
over the number itself, at most 1/16, where it is no smaller than s/64).
"""

import numpy as np

from zero_ref.extras.codes import code_of

NAMES = ("8/256", "8/2048", "fp8/256", "4/256", "4/2048")
NUMBERS = 1 << 20


def errors(name: str, vector: np.ndarray) -> tuple[float, float]:
    """The second and the third column of a code; vector: a multiple of its block long, float32."""
    code = code_of(name)
    coded, back = np.empty(code.nbytes(vector.size), "uint8"), np.empty_like(vector)
    code.encode(vector, coded)
    code.decode(coded, back)
    off = np.abs(vector.astype(float) - back)
    step = np.abs(vector).reshape(-1, code.block).max(axis=1).repeat(code.block) / code.most
    large = np.abs(vector) >= step / 64
    worst = (off / np.abs(vector))[large].max() if code.kind == "fp8" else (off / step).max()
    return float(np.sqrt(np.mean(off**2) / np.mean(vector.astype(float) ** 2))), float(worst)


def main() -> None:
    """Print the table."""
    vector = np.random.default_rng(0).normal(size=NUMBERS).astype("float32")
    print(f"{'code':>8} {'relative':>9} {'worst':>7}")
    for name in NAMES:
        print("{:>8} {:>9.4f} {:>7.4f}".format(name, *errors(name, vector)))


if __name__ == "__main__":
    main()
