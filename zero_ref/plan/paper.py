"""The paper's Table 1, Figure 1 and Table 2 from the formulas, printed as the paper prints them.

ZeRO: Memory Optimizations Toward Training Trillion Parameter Models, arXiv 1910.02054v3. Everything is
computed with exact fractions. The paper rounds some columns and cuts others; a float's own rounding
(41.25 becomes 41.2) gets nine of the 54 cells of Table 1 wrong.
"""

import math
from fractions import Fraction
from typing import Any

from zero_ref.launch.cli import table
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


def print_table1() -> str:
    """Table 1 in words and numbers."""
    header = ["ranks", *(f"{model} {STAGES[stage]}" for model in MODELS for stage in (1, 2, 3))]
    places = [(model, stage) for model in MODELS for stage in (1, 2, 3)]
    rows = [
        [row[0], *(text + ("*" if is_bold(*place, n) else " ") for text, place in zip(row[1:], places))]
        for n, row in zip(RANKS, table1())
    ]
    return f"""ZeRO (arXiv 1910.02054v3), Table 1: model state of one rank in GB (1e9 bytes), K = 12

{table(rows, header)}
*: bold in the paper, the first that fits a V100 with {V100} GB.

Errata. The 7.5B columns are rounded, a half upwards (41.25 is printed 41.3). The 128B and 1T columns are
cut off (513.5 is printed 513, 4187.5 is printed 4187). Stage 3 (P_os+g+p) had not been implemented for
the paper: its columns come from the formula alone, as all of this table does."""


def print_figure1() -> str:
    """Figure 1 in words and numbers."""
    formulas = ["(2 + 2 + K) psi", "2 psi + 2 psi + K psi/N", "2 psi + (2 + K) psi/N", "(2 + 2 + K) psi/N"]
    rows = [
        [stage, STAGES[stage], formula, printed, f"{float(gigabytes(stage, MODELS['7.5B'], 64)):.10g}"]
        for stage, formula, printed in zip(STAGES, formulas, figure1())
    ]
    header = ["stage", "in the paper", "bytes of one rank", "printed, GB", "exact, GB"]
    return f"""ZeRO (arXiv 1910.02054v3), Figure 1: model state of one rank, psi = 7.5e9, N = 64, K = 12

{table([[str(c) for c in row] for row in rows], header)}

GB are 1e9 bytes. Activations, buffers and fragmented memory come on top (section 6)."""


def print_table2() -> str:
    """Table 2 in words and numbers."""
    header = ["MP", "GPUs", *STAGES.values(), "baseline measured", "P_os measured"]
    return f"""ZeRO (arXiv 1910.02054v3), Table 2: the largest model on 64 data-parallel ranks of {V100} GB

{table(table2(), header)}
MP: ranks of model parallelism. Model sizes in parameters; measured: by the authors, all else is theory.

Errata. Rows 2 to 5 are the first row as it is printed, times MP: 2 * 7.6 = 15.2, where the formula says
15.28. The theory is model state alone, which is why less was measured: 6.2B, not 7.6B."""


ERRATA = """ZeRO (arXiv 1910.02054v3), elsewhere in the paper:

- Activations of a 100B model with checkpointing (125 layers, hidden 8192, sequence 1024, batch 32) are
  33.6e9 numbers. Section 3.2 says "about 60 GB", their bytes in 16 bits (67 GB); section 6.1 says "about
  33 GB", which counts numbers. So the "about 2 GB" after partitioning over 16 ranks should be 4.2 GB.
- Table 4 prints the hidden size 4096 for 40B to 60B, Table 5 has 6144: 12 * 88 * 6144^2 = 39.9e9 agrees
  with Table 5, and 4096 would be 17.7e9.
- Section 7 counts numbers and leaves out (N-1)/N. A rank really sends 2 psi (N-1)/N at stages 0 to 2 and
  3 psi (N-1)/N at stage 3, with one micro-batch; with k, stage 2 sends (k+1) and stage 3 3k.
- Stage 3 was not implemented for the paper: its numbers come from the formulas."""

PRINT = {
    "table1": print_table1,
    "figure1": print_figure1,
    "table2": print_table2,
    "errata": lambda: ERRATA,
}
