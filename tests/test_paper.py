"""The paper's tables: every cell as it is printed, written out by hand."""

from fractions import Fraction

import pytest

from zero_ref.plan import paper

# arXiv 1910.02054v3, Table 1: ranks, then P_os, P_os+g and P_os+g+p of 7.5B, of 128B and of 1T parameters
TABLE_1 = """
1     120   120   120    2048  2048  2048   16000  16000  16000
4     52.5  41.3  30     896   704   512    7000   5500   4000
16    35.6  21.6  7.5    608   368   128    4750   2875   1000
64    31.4  16.6  1.88   536   284   32     4187   2218   250
256   30.4  15.4  0.47   518   263   8      4046   2054   62.5
1024  30.1  15.1  0.12   513   257   2      4011   2013   15.6
"""
BOLD = {("7.5B", 3, 4), ("7.5B", 2, 16), ("7.5B", 1, 64), ("128B", 3, 64), ("1T", 3, 1024)}
# Table 2: MP, GPUs, theory for stages 0 to 3, measured without and with P_os
TABLE_2 = """
1   64    2B   7.6B    14.4B   128B  1.3B  6.2B
2   128   4B   15.2B   28.8B   256B  2.5B  12.5B
4   256   8B   30.4B   57.6B   0.5T  5B    25B
8   512   16B  60.8B   115.2B  1T    10B   50B
16  1024  32B  121.6B  230.4B  2T    20B   100B
"""


def cells(text):
    return [line.split() for line in text.strip().splitlines()]


def test_all_54_cells_of_table_1_are_as_printed():
    assert paper.table1() == cells(TABLE_1)


def test_the_bold_cells_of_table_1_are_the_first_that_fit():
    places = [(model, stage, n) for model in paper.MODELS for stage in (1, 2, 3) for n in paper.RANKS]
    assert {place for place in places if paper.is_bold(*place)} == BOLD
    assert paper.print_part("table1", "en").count("*") == len(BOLD) + 1  # and the line that explains it


def test_table_1_is_neither_rounded_nor_cut_throughout():
    """The printing rules matter: half-even is wrong in 9 cells, either rule alone in some."""
    exact = {(m, s, n): paper.gigabytes(s, paper.MODELS[m], n) for m in paper.MODELS for s in (1, 2, 3)
             for n in paper.RANKS}  # fmt: skip
    printed = {(m, s, n): paper.cell(m, s, n) for m, s, n in exact}

    def wrong(rule):
        places = {place: len(text.partition(".")[2]) for place, text in printed.items()}
        return sum(rule(exact[place], d) != Fraction(printed[place]) for place, d in places.items())

    assert wrong(lambda x, d: Fraction(format(float(x), f".{d}f"))) == 9
    assert wrong(paper.half_up) == 8
    assert wrong(paper.cut) > 0


def test_figure_1():
    assert paper.figure1() == ["120", "31.4", "16.6", "1.9"]
    exact = [paper.gigabytes(stage, 7_500_000_000, 64) for stage in range(4)]
    assert exact == [120, Fraction("31.40625"), Fraction("16.640625"), Fraction("1.875")]


def test_table_2():
    assert paper.table2() == cells(TABLE_2)


@pytest.mark.parametrize(
    "x, decimals, up, down", [("41.25", 1, "41.3", "41.2"), ("4187.5", 0, "4188", "4187")]
)
def test_half_up_and_cut(x, decimals, up, down):
    assert paper.half_up(Fraction(x), decimals) == Fraction(up)
    assert paper.cut(Fraction(x), decimals) == Fraction(down)


@pytest.mark.parametrize(
    "x, text", [("30", "30"), ("7.5", "7.5"), ("0.47", "0.47"), ("120", "120"), ("0", "0")]
)
def test_numbers_have_no_zeros_at_the_end(x, text):
    assert paper.shortest(Fraction(x), 2) == text


@pytest.mark.parametrize("name", paper.PRINT)
def test_what_is_printed_has_the_numbers_and_where_the_paper_errs(name):
    text = paper.print_part(name, "en")
    table = {"table1": cells(TABLE_1), "table2": cells(TABLE_2), "figure1": [["120", "31.4", "16.6", "1.9"]]}
    for row in table.get(name, []):
        assert all(any(cell == word.rstrip("*") for word in text.split()) for cell in row)
    assert "Errata" in text or name in ("figure1", "errata")
    assert max(map(len, text.splitlines())) <= 80
