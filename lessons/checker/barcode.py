"""Numbers of which a sum tells who is in it: for exercises in which ranks add what each of them has.

The code of element i of rank r is 2^41 * 8^r plus 38 bits drawn once. The part 8^r counts how often a rank is
in a sum; the drawn bits say with which elements. Every sum of at most N + 1 codes, elements and ranks in any
mixture, is another number (tests/test_barcode.py tries all 8,259,888 of them). Of a larger sum only the
counts are told.
"""

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lessons.checker.evidence import Diagnosis, Right, Trial, same

ELEMENTS, RANKS = 15, 4  # at most
DRAWN = 38  # bits
COUNTED = DRAWN + 3  # where the counts begin: seven drawn numbers add up to less
TERMS = 7  # of one rank at most, as a count has three bits
SEED = 17  # one of those with which no two sums are equal

Part = tuple[int, int]  # element, rank


def draw_codes() -> list[list[int]]:
    """By rank, then by element; the same in every process. Sums of them fit into float64's 53 bits."""
    drawn = random.Random(SEED)
    bits = [[drawn.getrandbits(DRAWN) for _ in range(RANKS)] for _ in range(ELEMENTS)]
    return [[(1 << COUNTED + 3 * rank) + row[rank] for row in bits] for rank in range(RANKS)]


CODES = draw_codes()


def barcode(length: int, rank: int) -> np.ndarray:
    """(length,) float64, at most 15 long: the codes of one rank."""
    return np.array(CODES[rank][:length], float)


def read_counts(value: float) -> list[int] | None:
    """How often each rank is in a sum of codes, of up to seven terms; None for what can be no such sum."""
    if not 0 < value < 1 << COUNTED + 3 * RANKS or value != round(value):  # nor NaN
        return None
    number, counts = round(value) >> COUNTED, []
    for _ in range(RANKS):
        number, count = divmod(number, 8)
        counts.append(count)
    return counts if 0 < sum(counts) <= TERMS else None


def read_parts(value: float) -> Counter[Part] | None:
    """Elements and ranks that add up to `value`, and how often each; None where nothing does.

    They are the only ones that do if they are few: RANKS + 1 in all, or less.
    """
    counts = read_counts(value)
    if counts is None:
        return None
    terms = [rank for rank, count in enumerate(counts) for _ in range(count)]
    first, rest = terms[: len(terms) // 2], terms[len(terms) // 2 :]
    known = {total(chosen, first): chosen for chosen in choices(first)}
    for chosen in choices(rest):
        other = known.get(round(value) - total(chosen, rest))
        if other is not None:
            return Counter(zip((*other, *chosen), terms))
    return None


def choices(ranks: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """All ways to choose an element for each of these terms."""
    return itertools.product(range(ELEMENTS), repeat=len(ranks))


def total(elements: Sequence[int], ranks: Sequence[int]) -> int:
    return sum(CODES[rank][element] for element, rank in zip(elements, ranks))


def barcode_text(value: float) -> str:
    """What is in a sum of codes: "x[3]: 0 1 2x2" is element 3 of ranks 0, 1 and twice of rank 2.

    "x[0]: 1, x[3]: 0" has two elements; "x[?]: 0x4 1x2" is too long a sum to say which elements it has.
    """
    parts = read_parts(value)
    if parts is None:
        return f"{value:.7g}"
    if parts.total() > RANKS + 1:
        return f"x[?]: {times_text({r: n for r, n in enumerate(read_counts(value) or ())})}"
    elements = sorted({element for element, _ in parts})
    return ", ".join(f"x[{e}]: {times_text({r: parts[e, r] for r in range(RANKS)})}" for e in elements)


def contents_text(values: Sequence[float]) -> str:
    """What sums of codes hold, one after another: "x[6:9] = 0 + 1" are elements 6 to 8 of ranks 0 and 1.

    "x[2:3] = 2*0" is twice of rank 0, and "0" zeros. After two such pieces "..."; "" for what is no such sum.
    """
    pieces: list[tuple[int, int, dict[int, int]]] = []  # first element, one past the last, rank -> times
    for value in values:
        counts = [] if value == 0 else read_counts(value)
        if counts is None or sum(counts) > RANKS + 1:
            return ""
        parts = read_parts(value) if counts else Counter()
        elements = {element for element, _ in parts} if parts is not None else set()
        if parts is None or len(elements) > 1:
            return ""
        element = elements.pop() if elements else -1
        ranks = {rank: times for (_, rank), times in sorted(parts.items())}
        if pieces and pieces[-1][1:] == (element, ranks):
            pieces[-1] = (pieces[-1][0], element + 1, ranks)
        elif not (pieces and element == -1 == pieces[-1][0]):
            pieces.append((element, element + 1, ranks))
    texts = [f"x[{a}:{b}] = {sum_text(ranks)}" if a >= 0 else "0" for a, b, ranks in pieces[:2]]
    return ", ".join([*texts, *(["..."] if len(pieces) > 2 else [])])


def sum_text(times: dict[int, int]) -> str:
    """Ranks as a sum: "0 + 2*1"."""
    return " + ".join(f"{n}*{rank}" if n > 1 else str(rank) for rank, n in times.items())


def times_text(times: dict[int, int]) -> str:
    """Ranks, and how often where that is not once."""
    return " ".join(f"{rank}x{n}" if n > 1 else str(rank) for rank, n in times.items() if n)


def barcode_table(trial: Trial, right: Right) -> list[tuple[Any, str, str]]:
    """Rows for a table of sums of barcodes: per rank one element that is not what it should be."""
    rows = []
    for rank, value in enumerate(trial.values()):
        want = np.ravel(right(trial, rank))
        got = np.ravel(value) if isinstance(value, np.ndarray) else np.array([])
        differ = [i for i in range(min(len(want), len(got))) if not same(got[i], want[i])]
        place = differ[0] if differ else 0
        texts = [barcode_text(float(v[place])) if place < len(v) else "-" for v in (want, got)]
        rows.append((rank, *texts))
    return rows


def find_effect(found: Diagnosis | None, trial: Trial, right: Right) -> Diagnosis | None:
    """Of values that no known mistake explains: what the codes say of the first wrong number.

    "parts_mixed": of several elements; "parts_missing", "parts_twice", "parts_missing_twice": the right
    element, not of every rank once; "parts_other": a complete sum, of another element; "parts_some": of
    another element, and not of every rank once
    """
    if found is None or found.key != "unknown":
        return found
    for rank, value in enumerate(trial.values()):
        want = np.ravel(right(trial, rank))
        got = np.ravel(value) if isinstance(value, np.ndarray) else np.array([])
        for place in range(min(len(want), len(got))):
            if same(got[place], want[place]):
                continue
            if (parts := read_parts(float(got[place]))) and parts.total() <= RANKS + 1:
                return replace(found, **name_effect(parts, float(want[place]), rank, trial.size))
            if more := beside_parts(float(got[place])):
                params = {"rank": rank, "size": trial.size, "got": barcode_text(float(got[place]) - more)}
                return replace(found, key="parts_plus", params=params | {"more": more})
    return found


def beside_parts(value: float) -> int:
    """A small number that is in a sum beside codes, such as the number of a hop; 0 where there is none."""
    for more in (sign * n for n in range(1, 17) for sign in (1, -1)):
        if (parts := read_parts(value - more)) and parts.total() <= RANKS + 1:
            return more
    return 0


def name_effect(parts: Counter[Part], want: float, rank: int, size: int) -> dict[str, Any]:
    """The key and the parameters of a diagnosis of a sum of codes that is not the wanted one."""
    (element, _), *_ = read_parts(want) or Counter()
    elements = sorted({e for e, _ in parts})
    missing = [r for r in range(size) if not any(parts[e, r] for e in elements)]
    twice = [r for r in range(size) if sum(parts[e, r] for e in elements) > 1]
    params = {"rank": rank, "size": size, "element": element, "elements": elements}
    params |= {"missing": missing, "twice": twice, "got": barcode_text(float(total_of(parts)))}
    if len(elements) > 1:
        return {"key": "parts_mixed", "params": params}
    if elements != [element]:
        return {"key": "parts_some" if missing or twice else "parts_other", "params": params}
    names = [name for name, ranks in (("missing", missing), ("twice", twice)) if ranks]
    return {"key": "_".join(["parts", *names]), "params": params}


def total_of(parts: Counter[Part]) -> int:
    return sum(CODES[rank][element] * times for (element, rank), times in parts.items())
