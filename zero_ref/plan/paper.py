"""The paper's Table 1, Figure 1 and Table 2 from the formulas, printed as the paper prints them.

ZeRO: Memory Optimizations Toward Training Trillion Parameter Models, arXiv 1910.02054v3. Everything is
computed with exact fractions. The paper rounds some columns and cuts others; a float's own rounding
(41.25 becomes 41.2) gets nine of the 54 cells of Table 1 wrong.
"""

import math
from fractions import Fraction
from typing import Any

from zero_ref.launch.terminal import fitting, fold, words_of
from zero_ref.plan.formulas import model_state_bytes

GB = 10**9
RANKS = (1, 4, 16, 64, 256, 1024)
MODELS = {"7.5B": 75 * 10**8, "128B": 128 * 10**9, "1T": 10**12}
STAGES = {0: "baseline", 1: "P_os", 2: "P_os+g", 3: "P_os+g+p"}
V100 = 32  # GB

# Table 2, as it is printed: measured with ZeRO-DP (P_os) and without, beside the theory.
MEASURED = {
    1: ("1.3B", "6.2B"),
    2: ("2.5B", "12.5B"),
    4: ("5B", "25B"),
    8: ("10B", "50B"),
    16: ("20B", "100B"),
}


def gigabytes(stage: int, psi: int, ranks: int) -> Fraction:
    """Model state of one rank in GB (1e9 bytes): parameter 2, gradient 2 and K = 12 bytes (section 5)."""
    exact: Any = Fraction(psi, GB)  # the formula divides it, and a fraction stays one
    return Fraction(sum(model_state_bytes(stage, exact, ranks, 2, 2, 12).values()))


def half_up(x: Fraction, decimals: int) -> Fraction:
    """x rounded to `decimals`, and a half upwards."""
    return Fraction(math.floor(x * 10**decimals + Fraction(1, 2)), 10**decimals)


def cut(x: Fraction, decimals: int) -> Fraction:
    """x without what follows its first `decimals`."""
    return Fraction(math.floor(x * 10**decimals), 10**decimals)


def shortest(x: Fraction, decimals: int) -> str:
    """A number that has no more than `decimals`, without zeros at the end."""
    text = f"{int(x * 10**decimals):0{decimals + 1}d}"
    whole, rest = text[: len(text) - decimals], text[len(text) - decimals :].rstrip("0")
    return f"{whole}.{rest}" if rest else whole


def cell(model: str, stage: int, ranks: int) -> str:
    """One cell of Table 1.

    7.5B: a half is rounded up, to one decimal from 10 on, and two below. 128B and 1T: cut off, after one
    decimal below 100, and before the point from 100 on.
    """
    exact = gigabytes(stage, MODELS[model], ranks)
    if model == "7.5B":
        decimals = 1 if exact >= 10 else 2
        return shortest(half_up(exact, decimals), decimals)
    decimals = 0 if exact >= 100 else 1
    return shortest(cut(exact, decimals), decimals)


def table1() -> list[list[str]]:
    """The rows of Table 1: the number of ranks, then nine cells in GB; 54 cells in all."""
    return [[str(n), *(cell(model, stage, n) for model in MODELS for stage in (1, 2, 3))] for n in RANKS]


def is_bold(model: str, stage: int, ranks: int) -> bool:
    """Whether the paper prints the cell bold: the first number of ranks at which it fits 32 GB."""
    fitting = [n for n in RANKS if gigabytes(stage, MODELS[model], n) <= V100]
    return fitting[:1] == [ranks]


def figure1() -> list[str]:
    """Figure 1: model state in GB of 7.5B parameters on 64 ranks, stages 0 to 3, rounded to one decimal."""
    return [shortest(half_up(gigabytes(stage, MODELS["7.5B"], 64), 1), 1) for stage in STAGES]


def table2() -> list[list[str]]:
    """The rows of Table 2: model parallelism, GPUs, the largest model at stages 0 to 3, and measured."""
    largest = [half_up(V100 / gigabytes(stage, GB, 64), 1) for stage in STAGES]  # billions of parameters
    rows = []
    for mp, measured in MEASURED.items():
        theory = [billions(mp * first) for first in largest]  # of the rounded first row
        rows.append([str(mp), str(64 * mp), *theory, *measured])
    return rows


def billions(x: Fraction) -> str:
    """15.2B, and from 500 on in T, with one decimal at most."""
    return shortest(half_up(x / 1000, 1), 1) + "T" if x >= 500 else shortest(x, 1) + "B"


# Printed, in either language: word is words.json in one of them.


def print_table1(word: dict[str, str]) -> str:
    """Table 1 in words and numbers."""
    header = [word["ranks"], *(f"{model} {STAGES[stage]}" for model in MODELS for stage in (1, 2, 3))]
    places = [(model, stage) for model in MODELS for stage in (1, 2, 3)]
    rows = [
        [row[0], *(text + ("*" if is_bold(*place, n) else " ") for text, place in zip(row[1:], places))]
        for n, row in zip(RANKS, table1())
    ]
    table = f"{fitting(rows, header, together=3)}\n{word['table1_bold'].format(memory=V100)}"
    return "\n\n".join([word["table1"], table, word["table1_errata"]])


def print_figure1(word: dict[str, str]) -> str:
    """Figure 1 in words and numbers."""
    formulas = ["(2 + 2 + K) psi", "2 psi + 2 psi + K psi/N", "2 psi + (2 + K) psi/N", "(2 + 2 + K) psi/N"]
    rows = [
        [str(stage), STAGES[stage], formula, printed, f"{float(gigabytes(stage, MODELS['7.5B'], 64)):.10g}"]
        for stage, formula, printed in zip(STAGES, formulas, figure1())
    ]
    header = [word[name] for name in ("stage", "in_the_paper", "bytes_of_rank", "printed", "exact")]
    return "\n\n".join([word["figure1"], fitting(rows, header), word["figure1_note"]])


def print_table2(word: dict[str, str]) -> str:
    """Table 2 in words and numbers."""
    header = ["MP", "GPUs", *STAGES.values(), word["baseline_measured"], word["p_os_measured"]]
    table = f"{fitting(table2(), header, keep=2)}\n{word['table2_mp']}"
    return "\n\n".join([word["table2"].format(memory=V100), table, word["table2_errata"]])


def print_errata(word: dict[str, str]) -> str:
    """Where the paper errs elsewhere."""
    points = [word[f"errata_{name}"] for name in ("activations", "hidden", "sent", "stage3")]
    return "\n".join([word["errata"], "", *points])


PRINT = {"table1": print_table1, "figure1": print_figure1, "table2": print_table2, "errata": print_errata}


def print_part(name: str, language: str | None = None) -> str:
    """One of PRINT."""
    return fold(PRINT[name](words_of(__package__, language)))
