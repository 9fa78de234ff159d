"""The numbers of exercises 06 and 07: what is read in a sum is what is in it."""

from random import Random

import numpy as np
import pytest

from lessons.checker import barcode

CODES = np.array(barcode.CODES).ravel()


def every_sum(terms: int) -> np.ndarray:
    """All sums of at most so many codes, with repetition and in any mixture of elements and ranks."""
    found, sums, last = [np.zeros(1, int)], np.zeros(1, int), np.zeros(1, np.int8)
    for _ in range(terms):
        grown = [(sums[last <= n] + code, n) for n, code in enumerate(CODES)]
        sums = np.concatenate([some for some, _ in grown])
        last = np.concatenate([np.full(some.size, n, np.int8) for some, n in grown])
        found.append(sums)
    return np.concatenate(found)


def test_no_two_small_sums_are_equal():
    """N + 1 terms: a right sum and one more. With fewer ranks there are fewer sums, all among these."""
    sums = np.sort(every_sum(barcode.RANKS + 1))
    assert len(sums) == 8_259_888
    assert np.all(np.diff(sums) > 0) and sums[-1] < 2**53


def test_sums_are_far_enough_apart_for_the_checks():
    """Of one rank no two elements are taken for one another by a comparison with tolerance."""
    for codes in barcode.CODES:
        assert np.diff(np.sort(codes)).min() > 2**53 * 1e-9


@pytest.mark.parametrize("terms", range(1, barcode.RANKS + 2))
def test_a_sum_is_read_as_what_it_is(terms):
    random = Random(terms)
    for _ in range(20):
        parts = [(random.randrange(15), random.randrange(4)) for _ in range(terms)]
        found = barcode.read_parts(float(sum(barcode.CODES[rank][element] for element, rank in parts)))
        assert sorted(found.elements()) == sorted(parts)


def test_what_is_said_of_sums():
    x = [barcode.barcode(15, rank) for rank in range(4)]
    assert barcode.barcode_text(x[0][3] + x[1][0]) == "x[0]: 1, x[3]: 0"
    assert barcode.barcode_text(x[0][3] + x[1][3] + 2 * x[2][3]) == "x[3]: 0 1 2x2"
    assert barcode.barcode_text(4 * x[0][1] + 2 * x[1][5]) == "x[?]: 0x4 1x2"


def test_what_is_said_of_a_message():
    x = [barcode.barcode(15, rank) for rank in range(4)]
    said = barcode.contents_text
    assert said((x[0] + x[1])[6:9]) == "x[6:9] = 0 + 1" and said(x[3][14:]) == "x[14:15] = 3"
    assert said([*(x[2] + 2 * x[0])[2:5], *x[2][5:7]]) == "x[2:5] = 2*0 + 2, x[5:7] = 2"
    assert (
        said([*x[1][1:3], 0.0, 0.0]) == "x[1:3] = 1, 0" and said([0.0, x[1][1], 0.0]) == "0, x[1:2] = 1, ..."
    )
    assert said(x[1][[4, 3, 9]]) == "x[4:5] = 1, x[3:4] = 1, ..."
    assert said([x[0][3] + x[1][0]]) == said([4 * x[0][1] + 2 * x[0][1]]) == said([0.5]) == said([]) == ""


@pytest.mark.parametrize("factor", (0.5, 0.25, 1.5, 3, 8, -1, float("nan"), float("inf")))
def test_of_what_is_no_sum_nothing_is_said(factor):
    total = sum(barcode.barcode(15, rank)[2] for rank in range(4))
    assert not barcode.barcode_text(total * factor).startswith("x[")
    assert barcode.contents_text([total, total * factor]) == ""
