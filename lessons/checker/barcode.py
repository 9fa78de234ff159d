"""Numbers of which a sum tells who is in it: for exercises in which ranks add what each of them has."""

from typing import Any

import numpy as np

from lessons.checker.evidence import Right, Trial, same

BASE = 64


def barcode(length: int, rank: int) -> np.ndarray:
    """(length,) float64: element i of rank r is (i + 1) * 64^r, so that a sum tells who is in it.

    At most 31 elements, so that a part that is in it twice is still one digit.
    """
    return (np.arange(length) + 1.0) * BASE**rank


def read_barcode(value: float, size: int) -> list[int]:
    """The digits of one number, one per rank: element + 1, times how often it is in."""
    number, digits = round(value), []
    for _ in range(size):
        number, digit = divmod(number, BASE)
        digits.append(digit)
    return digits


def barcode_text(value: float, size: int) -> str:
    """What is in a sum of barcodes: "x[3]: 0 1 2x2" is element 3 of ranks 0, 1 and twice of rank 2."""
    if not 0 < value < BASE**size or value != round(value):  # nor NaN
        return f"{value:.7g}"
    digits = read_barcode(value, size)
    units = [digit for digit in digits if digit]
    element = min(units)
    if any(digit % element for digit in units):  # of several elements
        return " ".join(f"x[{digit - 1}]:{rank}" for rank, digit in enumerate(digits) if digit)
    times = [(rank, digit // element) for rank, digit in enumerate(digits) if digit]
    return f"x[{element - 1}]: " + " ".join(f"{rank}x{n}" if n > 1 else str(rank) for rank, n in times)


def barcode_table(trial: Trial, right: Right) -> list[tuple[Any, str, str]]:
    """Rows for a table of sums of barcodes: per rank what should be in its first element and what is."""
    rows = []
    for rank, value in enumerate(trial.values()):
        want = np.ravel(right(trial, rank))
        got = np.ravel(value) if isinstance(value, np.ndarray) else np.array([])
        differ = [i for i in range(min(len(want), len(got))) if not same(got[i], want[i])]
        place = differ[0] if differ else 0
        texts = [barcode_text(float(v[place]), trial.size) if place < len(v) else "-" for v in (want, got)]
        rows.append((rank, *texts))
    return rows
