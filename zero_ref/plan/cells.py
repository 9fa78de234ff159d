"""Numbers with their units, as text. The paper's GB are 1e9 bytes, and so are ours."""

import math
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal


def size(nbytes: float) -> str:
    """Bytes with thousands separators below 10 million, then GB, TB and PB."""
    if nbytes < 1e7:
        return f"{nbytes:,.0f} B"
    unit, of = ("PB", 1e15) if nbytes >= 1e15 else ("TB", 1e12) if nbytes >= 1e12 else ("GB", 1e9)
    return f"{significant(nbytes / of)} {unit}"


def sizes(column: Sequence[float]) -> list[str]:
    """The same of numbers that stand below one another: all in B as long as none has 100 million."""
    return [size(x) for x in column] if max(column) >= 1e8 else [f"{x:,.0f} B" for x in column]


def significant(x: float) -> str:
    """Four digits, or all of those before the point; a half is rounded up, as on the page."""
    digits = max(0, 3 - math.floor(math.log10(abs(x)))) if x else 0
    return f"{Decimal(x).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):,}"


def duration(seconds: float) -> str:
    """s, ms or us."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{significant(seconds * factor)} {unit}"
    return f"{significant(seconds * 1e6)} us"


def rows_in_bytes(columns: Iterable[Sequence[float]]) -> tuple[bool, list[list[str]]]:
    """Columns of bytes as rows of text, all in GB or all in bytes; whether it is GB."""
    rows = list(zip(*columns))
    if max(map(max, rows)) < 1e7:
        return False, [[f"{x:,.0f}" for x in row] for row in rows]
    return True, [[in_few_digits(x / 1e9) for x in row] for row in rows]


def rows_in_seconds(columns: Iterable[Sequence[float]]) -> tuple[str, list[list[str]]]:
    """The same of seconds: in s, ms or us, as suits the largest."""
    rows = list(zip(*columns))
    most = max(map(max, rows))
    unit, factor = ("s", 1.0) if most >= 1 else ("ms", 1e3) if most >= 1e-3 else ("us", 1e6)
    return unit, [[in_few_digits(x * factor) for x in row] for row in rows]


def in_few_digits(x: float) -> str:
    """Four digits, but no more than four behind the point."""
    return significant(x) if x >= 0.1 else f"{x:.4f}" if x else "0"


def count(psi: float) -> str:
    """A number of parameters: 7.642B."""
    for name, unit in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if psi >= unit:
            return significant(psi / unit) + name
    return f"{math.floor(psi):,}"


def briefly(psi: int) -> str:
    """A number of parameters without losing any: 7.5B, 17,226."""
    for name, unit in (("T", 10**12), ("B", 10**9), ("M", 10**6)):
        if psi >= unit and psi * 1000 % unit == 0:
            return f"{psi / unit:g}{name}"
    return f"{psi:,}"
