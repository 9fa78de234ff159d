"""What the papers say of traffic, beside what a dry run of this project sends: the table of docs/planner.md.

A rank sends and a machine sends: `M` are the bytes of the model in 16 bits, of N = 64 ranks G = 8 share a
machine. Papers leave (N-1)/N out, and the scales of codes. Both are here, so a number is a little off, by as
much as a test says; never by more.
"""

import functools
import re

import pytest
from launching import ROOT

from zero_ref.data import Task
from zero_ref.plan import sizing
from zero_ref.plan.formulas import legs, legs_in_groups
from zero_ref.plan.traffic import to_others
from zero_ref.train import options

N, G, R = 64, 8, 8
Z8, Z4 = (1 + 4 / 256) / 2, (1 / 2 + 4 / 256) / 2  # of a number's 2 bytes, with a scale for each 256
WIDTH = 256  # one unit of 256 * 255 + 256 numbers, which 64 ranks share evenly, each in whole blocks
M = 2 * WIDTH * WIDTH
PAGES = ("planner.md", "planner.zh.md")


@functools.cache
def legs_of(line="", n=N, near=G):
    """The legs of one step of a linear model of bfloat16 on the first rank, but for norm and loss."""
    asked = f"--model linear --data synthetic --features {WIDTH - 1} --classes {WIDTH} --dtype bfloat16"
    o = options.parse([*asked.split(), *line.split(), "--device", "cpu", "--batch-size", "1024"])
    found = sizing.rehearsed(o, Task(WIDTH - 1, WIDTH, WIDTH), 0, n, [(1,) * o.micro_batches], near)
    return [leg for leg in found.legs if leg.inside + leg.between > 16 * n]


def sent(line, n=N):
    """By one rank, in M."""
    return sum(leg.inside + leg.between for leg in legs_of(line, n)) / M


def ring(line, collective=None):
    """By one machine around a ring, in M; of one sort of collective."""
    return to_others([leg for leg in legs_of(line) if collective in (None, leg.collective)], G)[1] / M


def direct(line):
    return to_others(legs_of(line), G)[0] / M


def per_rank_between(line, n=N):
    return sum(leg.between for leg in legs_of(line, n)) / M


HPZ, QWZ, QGZ = f"--machine {G} --hpz", f"--machine {G} --code-weights 8", f"--machine {G} --code-gradients 4"
ALL = f"{HPZ} --code-weights 8 --code-gradients 4"
# What a row of the page is about: the paper's number, ours as measured by a dry run, and ours as a formula.
CLAIMS = {
    # ZeRO, arXiv 1910.02054, section 7.2
    "ZeRO, stage 2": (2, lambda: sent("--stage 2"), 2 * (N - 1) / N),
    "ZeRO, stage 3": (3, lambda: sent("--stage 3"), 3 * (N - 1) / N),
    # ZeRO++, arXiv 2306.10209, as in the table of DeepSpeed's blogs/zeropp: between machines, a ring's
    "ZeRO++, without": (3, lambda: ring("--machine 8"), 3 * (N - 1) / N),
    "ZeRO++, qwZ": (0.5, lambda: ring(QWZ, "all_gather") / 2, Z8 * (N - 1) / N),
    "ZeRO++, hpZ": (0, lambda: ring(HPZ, "all_gather") - ring("--machine 8", "all_gather") / 2, 0),
    "ZeRO++, qgZ": (0.25, lambda: ring(QGZ, "reduce_scatter"), Z4 * (R - 1) / R),
    "ZeRO++": (0.75, lambda: ring(ALL), Z8 * (N - 1) / N + Z4 * (R - 1) / R),
    # the same, of one hop and of two: N M/Z and M/Z with N ranks a machine and Z = 4
    "qgZ, one hop": (G / 4, lambda: direct("--code-gradients 4") - direct("") * 2 / 3, G * Z4 * (N - G) / N),
    # FSDP, arXiv 2304.11277, page 6 of the paper, a rank to other hosts; ours is exact: 2 M (N - G)/(G N)
    "FSDP, hybrid": (
        2 * (N - 1) / (G * N),
        lambda: per_rank_between(f"--group {G}"),
        2 * (N - G) / (G * N),
    ),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_of_a_paper(claim):
    said, found, formula = CLAIMS[claim]
    assert found() == pytest.approx(formula, rel=1e-12, abs=1e-12)
    assert formula == pytest.approx(said, rel=0.13), "what papers leave out: (R-1)/R, or (N-1)/N, and scales"


def test_the_four_times_are_those_of_a_ring():
    """3 M -> 0.75 M is a ring's; where each sends to each, codes and copies save more: 21 M -> 3.78 M."""
    assert ring("--machine 8") / ring(ALL) == pytest.approx(4, rel=0.02)
    assert direct("--machine 8") / direct(ALL) == pytest.approx(21 / (G * Z8 * 7 / 8 + Z4 * 7 / 8))
    assert direct("--code-gradients 4") - direct("") * 2 / 3 == pytest.approx(
        G * (ring(QGZ) - ring("--machine 8") * 2 / 3)
    ), "two hops of qgZ send G times less between machines than one"


@pytest.mark.parametrize("stage", (1, 2, 3))
def test_what_mics_sends_does_not_grow_with_the_cluster(stage):
    """MiCS, arXiv 2205.00119: fewer participants in a collective. Gathers and sums inside a group of 8 are
    the same on 16 ranks and on 1,024; between groups a rank sends less than 2 M/G, however many there are.
    What stage 3 over all ranks sends to other machines comes near to 3 M G for each machine."""
    inside, between, whole = [], [], []
    for n in (16, 64, 256, 1024):
        found = legs_in_groups(stage, M, n, G)
        inside.append(sum(leg.inside for leg in found))
        between.append(sum(leg.between for leg in found))
        whole.append(to_others(legs(3, M, n, 1, G), G)[0])
    assert len(set(inside)) == 1
    assert between == sorted(between) and between[-1] < 2 * M / G
    assert whole == sorted(whole) and whole[-1] > 0.99 * 3 * M * G
    assert whole[-1] / (G * between[-1]) == pytest.approx(12 * G * (1 - G / 1024) / (8 * (1 - 1 / 128)))


@pytest.mark.parametrize("n", (16, 64))
def test_groups_send_inside_what_stage_3_on_one_group_sends(n):
    groups = [leg for leg in legs_of(f"--group {G}", n) if leg.inside]
    alone = legs_of("", G, G)
    assert sum(leg.inside for leg in groups) == sum(leg.inside for leg in alone)
    assert sum(leg.calls for leg in groups) == sum(leg.calls for leg in alone)


def test_offload_moves_the_state_and_not_four_bytes():
    """ZeRO-Offload, arXiv 2101.06840: 2 M down and 2 M up, with the update on the host. Here the update is
    on the device, and the state of 12 bytes a number travels, as in ZeRO-Infinity: 24 in place of 4."""
    asked = f"--model linear --data synthetic --features {WIDTH - 1} --classes {WIDTH} --dtype bfloat16"
    o = options.parse([*asked.split(), "--stage", "2", "--offload", "host", "--device", "cpu"])
    found = sizing.rehearsed(o, Task(WIDTH - 1, WIDTH, WIDTH), 0, N, [(1,)], N)
    moved = found.forecast.moved_bytes_per_step
    assert moved == {"read": 12 * M // 2 // N, "written": 12 * M // 2 // N, "mapped": 0}


@pytest.mark.parametrize("page", PAGES)
def test_the_table_of_the_page_has_these_numbers(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.endswith(" M |")]
    rows = [line.strip("|").split("|") for line in lines]
    numbers = [[float(n) for n in re.findall(r"([\d.]+) M\b", " ".join(row[-2:]))] for row in rows]
    expected = [[said, formula] for said, _, formula in CLAIMS.values()]
    assert len(numbers) == len(expected)
    for row, (said, ours) in zip(numbers, expected):
        assert row[0] == pytest.approx(said, abs=5e-4) and row[1] == pytest.approx(ours, abs=5e-4)
