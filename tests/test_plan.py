"""The planner: its numbers against formulas worked out by hand and against real runs; its options."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, sampled_from
from launching import ROOT, mpirun

from zero_ref import launch
from zero_ref.data import Task
from zero_ref.launch import UsageError
from zero_ref.plan import __main__ as command
from zero_ref.plan import answer, sizing
from zero_ref.plan.formulas import (
    legs,
    legs_hpz,
    legs_in_groups,
    sent_elements,
    transformer_activation_bytes,
    transformer_parameters,
)
from zero_ref.plan.timing import Link, Machine, Times, Work, hops
from zero_ref.plan.why import why
from zero_ref.train import choose, options

PLAN = ("-m", "zero_ref.plan")
STAGES = range(4)


def printed(line):
    return answer.plan(command.parse(line.split()))


def made(line):
    o = command.parse(line.split())
    return {None: answer.plan_for_size, "transformer": answer.plan_for_transformer}.get(
        o.model, answer.plan_for_training
    )(o)


def block(text, head):
    """The cells of the table under the line that begins with `head`, by row name; of all its parts, where
    the terminal is too narrow for one."""
    first, *others = text[text.index(head) :].split("\n\n")
    others = itertools.takewhile(lambda part: part.split()[0] == "stage", others)
    parts = [first.splitlines()[3:], *(part.splitlines()[2:] for part in others)]
    rows = {}
    for line in (line for part in parts for line in part if re.match(r" *\d ", line)):
        name, *cells = line.split()
        rows.setdefault(name, [name]).extend(cells)
    return rows


def unfolded(text):
    return " ".join(text.split())


def test_no_mpi_is_loaded():
    code = "import sys, zero_ref.plan.__main__ as p; p.main('--parameters 1e9 --ranks 4'.split())"
    code += "; p.main(['--paper', 'table1']); print('mpi4py' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert found.stdout.endswith("\nFalse\n"), found.stderr


def test_the_papers_example_in_both_conventions():
    text = printed("--parameters 7.5e9 --ranks 64")
    assert [row[-4] for row in block(text, "As the paper").values()] == ["120.0", "31.41", "16.64", "1.875"]
    assert [row[-2] for row in block(text, "As the paper").values()] == ["30.00", "30.00", "30.00", "45.00"]
    exact = block(text, "Exactly")
    assert exact["0"][1:] == ["15,000,000,000", "15,000,000,000", "90,000,000,000", "120,000,000,000"] + [
        "29,531,250,000"  # 2 bytes * 2 * 7.5e9 * 63/64
    ]
    assert exact["3"][1:] == ["234,375,000", "234,375,000", "1,406,250,000", "1,875,000,000"] + [
        "44,296,875,000"  # 2 bytes * 3 * 7.5e9 * 63/64
    ]


def test_exact_numbers_have_the_padding():
    # 10 parameters in 3 units of 4, 3 and 3, each padded to a multiple of 4: 12 in all, 3 on each rank
    rows = made("--parameters 10 --layers 3 --ranks 4 --micro-batches 2").rows
    assert [row.rest for row in rows] == [16 * 12, 4 * 12 + 12 * 3, 2 * 12 + 14 * 3, 16 * 3]
    assert [row.sent for row in rows] == [2 * 2 * 9, 2 * 2 * 9, 2 * 3 * 9, 2 * 6 * 9]
    calls = [[leg.calls for leg in row.legs] for row in rows]
    assert calls == [[1, 1], [1, 1], [2, 1], [2, 4]] and rows[0].work.units == 3


@pytest.mark.parametrize(
    "options, each",
    [
        ("", (2, 2, 12)),
        ("--k 16", (2, 2, 16)),
        ("--dtype bfloat16 --optimizer sgd", (2, 2, 4)),
        ("--dtype float16 --optimizer sgd --momentum 0.9", (2, 2, 8)),
        ("--dtype float32", (4, 4, 8)),
        ("--dtype float32 --optimizer adamw", (4, 4, 8)),
        ("--dtype float64", (8, 8, 16)),
        ("--dtype float32 --optimizer sgd", (4, 4, 0)),
    ],
)
def test_bytes_a_parameter(options, each):
    rows = made(f"--parameters 600 --ranks 3 {options}").rows
    assert list(rows[0].state.values()) == [600 * n for n in each]
    assert list(rows[3].state.values()) == [200 * n for n in each]
    assert [row.sent for row in rows] == [each[0] * n * 400 for n in (2, 2, 2, 3)]
    assert f"{each[0]} + {each[1]} + {each[2]} bytes a parameter" in printed(
        f"--parameters 600 --ranks 3 {options}"
    )


@pytest.mark.parametrize("k", [18, 20])
def test_a_sum_taken_for_k_is_pointed_out(k):
    assert f"Note: {k} is usually a sum" in printed(f"--parameters 1e9 --ranks 4 --k {k}")
    assert "Note" not in printed("--parameters 1e9 --ranks 4 --k 16")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("n, g", [(8, 2), (12, 4), (64, 8), (6, 3)])
@pytest.mark.parametrize("k", [1, 3])
def test_legs_by_counting_every_message(stage, n, g, k):
    """A rank sends psi/N to every other rank in each collective over all ranks; count them one by one."""
    psi, rank = 960, 1
    others = [other for other in range(n) if other != rank]
    near = sum(other // g == rank // g for other in others)
    collectives = {0: 2, 1: 2, 2: k + 1, 3: 3 * k}[stage]
    whole = legs(stage, psi, n, k, g)
    assert sum(leg.inside for leg in whole) == collectives * near * psi / n
    assert sum(leg.between for leg in whole) == collectives * (len(others) - near) * psi / n
    assert sum(leg.inside for leg in legs(stage, psi, n, k)) == sum(sent_elements(stage, psi, n, k).values())
    groups = legs_in_groups(stage, psi, n, g, k)
    assert sum(leg.inside for leg in groups) == collectives * (g - 1) * psi / g
    # among the N/G ranks with the same shard of psi/G: a reduce-scatter and an all-gather
    assert sum(leg.between for leg in groups) == pytest.approx(2 * psi * (n - g) / (g * n), rel=1e-15)


def test_hpz_sends_nothing_between_groups_in_the_backward_pass():
    psi, n, g = 960, 8, 4
    found = legs_hpz(psi, n, g, 2)
    assert [leg.collective for leg in found] == ["reduce_scatter", "all_gather", "all_gather"]
    assert [leg.between for leg in found] == [2 * 4 * 120, 2 * 4 * 120, 0]
    assert [leg.inside for leg in found] == [2 * 3 * 120, 2 * 3 * 120, 2 * 3 * 240]
    assert [leg.ranks for leg in found] == [8, 8, 4]


def test_memory_in_groups():
    # 100e9 parameters, 1024 ranks, 16 in a group: the numbers of ZeRO++ (arXiv 2306.10209)
    rows = {row.name: row for row in made("--parameters 102.4e9 --ranks 1024 --group 16").rows}
    assert rows["3"].rest == 16 * 1e8
    assert rows["hpZ"].rest == 16 * 1e8 + 2 * 6.4e9  # 9.0 times as much
    assert rows["3 in groups"].rest == 16 * 6.4e9
    assert rows["1 in groups"].rest == 4 * 102.4e9 + 12 * 6.4e9
    text = printed("--parameters 102.4e9 --ranks 1024 --group 16")
    assert "64 groups of 16 ranks" in text and "hpZ  14.40 GB" in text


# GPT-2 of 1.5B parameters, 32 sequences of 1,024 tokens: the bytes of a block, and of its input
BLOCK, GIVEN = 5_976_883_200, 104_857_600


def test_activations_of_a_transformer_are_those_of_the_paper():
    """arXiv 2205.05198: s b h (34 + 5 a s / h) a layer, in 16 bits."""
    shape = (32, 1024, 48, 1600, 25, 2)
    assert BLOCK == 1024 * 32 * (1600 * 34 + 5 * 25 * 1024) and GIVEN == 1024 * 32 * 1600 * 2
    assert transformer_activation_bytes(*shape, False) == 48 * BLOCK
    assert transformer_activation_bytes(*shape, True) == 47 * GIVEN + BLOCK
    logits = 1024 * 32 * (4 * 1600 + 4 * 50257)
    assert transformer_activation_bytes(*shape, False, 50257) == 48 * BLOCK + 1024 * 32 * 1600 + logits
    assert transformer_activation_bytes(*shape, True, 50257) == 1024 * 32 * 1600 + 48 * GIVEN + max(
        BLOCK - GIVEN, logits
    )
    # in float32 numbers take twice as much, and masks a byte
    assert transformer_activation_bytes(1, 2, 1, 3, 1, 4, False) == 2 * ((16 * 4 + 2) * 3 + (2 * 4 + 1) * 2)


@settings(database=None, deadline=None)
@given(
    samples=integers(1, 4096),
    sequence=integers(1, 1 << 17),
    layers=integers(1, 200),
    hidden=integers(1, 20_000),
    heads=integers(1, 256),
    itemsize=sampled_from([2, 4, 8]),
    vocab=sampled_from([0, 1, 50_257, 256_000]),
)
def test_checkpointing_never_needs_more(samples, sequence, layers, hidden, heads, itemsize, vocab):
    shape = (samples, sequence, layers, hidden, heads, itemsize)
    without, kept = (transformer_activation_bytes(*shape, again, vocab) for again in (False, True))
    assert 0 < kept <= without
    assert kept < without or layers == 1, "a block's input alone is less than a block"
    more_heads = (samples, sequence, layers, hidden, heads + 1, itemsize)
    assert transformer_activation_bytes(*more_heads, False, vocab) > without


def test_what_a_plan_of_a_transformer_says():
    line = "--model transformer --layers 48 --hidden 1600 --heads 25 --sequence 1024 --ranks 64"
    found = made(f"{line} --batch-size 2048")
    assert found.setting.parameters == 12 * 48 * 1600**2
    assert [row.step for row in found.rows] == [
        48 * BLOCK + n * 2 * 12 * 1600**2
        for n in (1, 1, 1, 2)  # one block's gradient; gathered, too
    ]
    assert found.rows[0].work.flop == 6 * 12 * 48 * 1600**2 * 32 * 1024
    halved = made(f"{line} --batch-size 2048 --micro-batches 2 --checkpointing")
    assert halved.setting.activation == (47 * GIVEN + BLOCK) // 2
    assert halved.rows[0].work.flop == 8 * 12 * 48 * 1600**2 * 32 * 1024
    assert made(f"{line} --batch-size 2049").setting.activation == 48 * BLOCK // 32 * 33


@pytest.mark.parametrize(
    "name, layers, hidden, vocab, positions, tied, parameters",
    [
        ("GPT-2 small", 12, 768, 50257, 1024, True, 124_439_808),
        ("GPT-2 medium", 24, 1024, 50257, 1024, True, 354_823_168),
        ("GPT-2 large", 36, 1280, 50257, 1024, True, 774_030_080),
        ("GPT-2 XL", 48, 1600, 50257, 1024, True, 1_557_611_200),
        ("GPT-2 small, untied", 12, 768, 50257, 1024, False, 124_439_808 + 50257 * 768),
        ("GPT-3", 96, 12288, 50257, 2048, True, 174_604_259_328),
    ],
)
def test_parameters_of_known_transformers(name, layers, hidden, vocab, positions, tied, parameters):
    assert transformer_parameters(layers, hidden, vocab, positions, tied) == parameters
    assert transformer_parameters(layers, hidden) == 12 * layers * hidden**2


def test_a_plan_says_what_it_counts():
    line = "--model transformer --layers 12 --hidden 768 --heads 12 --sequence 1024 --ranks 5"
    text = unfolded(printed(line))
    assert "84,934,656 parameters" in text and "Embeddings, biases and norms are not" in text
    assert "those of --parameters" in printed(f"{line} --parameters 1e8")
    text, whole = (ask(f"{line} --vocab 50257 --positions 1024") for ask in (printed, made))
    text = unfolded(text)
    assert "124,439,808 parameters" in text and "1,024 learned positions" in text
    assert "which is the output matrix, too" in text and "not:" not in text
    embeddings = 50257 * 768 + 1024 * 768 + 2 * 768  # one more unit, with the last norm
    blocks = -(-(12 * 768**2 + 13 * 768) // 5) * 5  # padded
    assert whole.padded == 12 * blocks + -(-embeddings // 5) * 5
    assert whole.rows[0].step - whole.setting.activation == 2 * -(-embeddings // 5) * 5
    assert "the embeddings' whole" in text
    assert whole.rows[0].work.units == 13
    # What is looked up is not multiplied with: positions, and an embedding that is not the output's matrix.
    tokens, multiplied = 1024, 124_439_808 - 1024 * 768
    assert whole.rows[0].work.flop == 6 * multiplied * tokens
    untied = made(f"{line} --vocab 50257 --untied --checkpointing")
    assert untied.rows[0].work.flop == 8 * multiplied * tokens
    assert "an output matrix of its own" in unfolded(printed(f"{line} --vocab 50257 --untied"))


def test_what_fits_and_why():
    text = printed("--parameters 7.5e9 --ranks 64 --memory 32GB")
    said = unfolded(text)
    assert [row[-1] for row in block(text, "Memory").values()] == ["no", "yes", "yes", "yes"]
    assert "Stage 0 does not fit: it is 88.00 GB over; most of it is optimizer state, 90.00 GB." in said
    assert "Stage 1 fits: 0.5938 GB to spare." in said
    assert "2.000B, 7.642B, 14.42B, 128.0B." in said, "the paper's Table 2"
    exactly = printed("--parameters 100 --ranks 4 --memory 1600")
    assert "Stage 0 fits: 0 B to spare." in exactly and block(exactly, "Memory")["0"][-1] == "yes"
    assert "Stage 0 does not fit: it is 1 B over" in printed("--parameters 100 --ranks 4 --memory 1599")


@pytest.mark.parametrize(
    "text, nbytes",
    [("80e9", 80e9), ("80GB", 80e9), ("80gib", 80 * 2**30), ("1.5 KiB", 1536), ("7", 7), ("2TB", 2e12)],
)
def test_memory_has_units(text, nbytes):
    assert command.memory(text) == nbytes


@pytest.mark.parametrize(
    "text, psi", [("7.5e9", 75e8), ("7.5B", 75e8), ("125M", 125e6), ("1T", 1e12), ("3", 3)]
)
def test_parameters_have_units(text, psi):
    assert command.parameters(text) == psi


@pytest.mark.parametrize(
    "nbytes, text",
    [
        (0, "0 B"),
        (9_999_999, "9,999,999 B"),
        (1e7, "0.01000 GB"),
        (31.40625e9, "31.41 GB"),
        (999.94e9, "999.9 GB"),
        (2e12, "2.000 TB"),
        (1.6e17, "160.0 PB"),
    ],
)
def test_sizes_have_units(nbytes, text):
    assert answer.size(nbytes) == text


def test_a_column_does_not_change_from_bytes_to_gb_at_10_million():
    assert answer.sizes([9_999_999, 1e7, 99_999_999]) == ["9,999,999 B", "10,000,000 B", "99,999,999 B"]
    assert answer.sizes([0, 2e7, 1e8]) == ["0 B", "0.02000 GB", "0.1000 GB"]
    gpt = "--model gpt --layers 2 --hidden 64 --heads 4 --sequence 64 --vocab 96 --ranks 4"
    memory = printed(gpt).split("Memory of one rank")[1]
    assert " GB" not in memory and re.search(r" \d\d,\d{3},\d{3} B", memory)


@pytest.mark.parametrize(
    "seconds, text", [(0, "0 us"), (1e-5, "10.00 us"), (0.0025, "2.500 ms"), (12, "12.00 s")]
)
def test_durations_have_units(seconds, text):
    assert answer.duration(seconds) == text


# Time


def test_hops():
    assert [hops("ring", n) for n in (1, 2, 3, 8)] == [0, 1, 2, 7]
    assert [hops("halving", n) for n in (1, 2, 3, 8)] == [0, 1, 2, 3]


def test_time_by_hand():
    """1200 parameters of 2 bytes in 3 units on 4 ranks, stage 3 with 2 micro-batches."""
    machine = Machine(
        reduce_scatter=Link(1e-3, 1000.0),
        all_gather=Link(2e-3, 500.0),
        flops=100.0,
        update=1e-2,
        memory=1e4,
        pass_call=1.0,
        update_call=0.5,
        loss_call=0.25,
    )
    row = made("--parameters 1200 --layers 3 --ranks 4 --micro-batches 2 --batch-size 16").rows[3]
    assert row.work == Work(6 * 1200 * 4, 300, 2 * 3 * 600 + 2 * 600, 3, 2)
    t = sizing.times(row, machine, 4)
    # 2 reduce-scatters of 3/4 * 2400 bytes, 4 gathers; 2 * 3 and 4 * 3 calls of 3 hops
    assert t.bandwidth == pytest.approx(2 * 1800 / 1000 + 4 * 1800 / 500)
    assert t.latency == pytest.approx(6 * 3 * 1e-3 + 12 * 3 * 2e-3)
    # products 288 s, updates 3 s, gradients 0.48 s, calls 3 * (2 * 1 + 0.5) + 2 * 0.25 s
    assert t.compute == pytest.approx(288 + 3 + 0.48 + 8)
    assert t.total == t.compute + t.bandwidth + t.latency and t.largest == "compute"


def test_the_work_of_an_mlp_by_hand():
    # 4-5-2 with 3 ranks and 7 samples, 3 of them on the last: forward and the weight's gradient in both
    # layers, the input's in the second alone
    row = made(
        "--model mlp --features 4 --hidden 5 --classes 2 --batch-size 7 --ranks 3 --dtype float32"
    ).rows[2]
    assert row.work.flop == 2 * 3 * (2 * 4 * 5 + 3 * 5 * 2)
    assert (row.work.units, row.work.updated) == (2, (27 + 12) / 3)  # 25 and 12 parameters, padded


def test_a_unit_that_recomputes_works_more():
    o = options.parse(["--recompute", "--hidden", "5"])  # 4-5-2, and the first layer once more
    work = sizing.work_of(o, choose.units(o, Task(4, 2, 2), 3), 3, 3)
    assert work.flop == 2 * 3 * (3 * 4 * 5 + 3 * 5 * 2)


def test_links_between_groups_cost_more():
    line = "--parameters 960 --ranks 8 --group 4 --bandwidth 1000 --bandwidth-between 10 --latency 1e-3"
    machine = answer.machine_of(command.parse(line.split()))
    rows = {row.name: row for row in made(line).rows}
    whole, groups = (sizing.times(rows[name], machine, 8) for name in ("3", "3 in groups"))
    assert whole.bandwidth == pytest.approx(2 * 3 * 120 * (3 / 1000 + 4 / 10))
    assert groups.bandwidth == pytest.approx(2 * 3 * 240 * 3 / 1000 + 2 * 2 * 240 / 2 / 10)
    assert whole.latency == pytest.approx(3 * 7 * 1e-3)
    assert groups.latency == pytest.approx((3 * 3 + 2 * 1) * 1e-3)


def test_more_ranks_than_cores_take_turns():
    machine = Machine(reduce_scatter=Link(0, 1), all_gather=Link(0, 1), ranks=2, cores=2)
    assert [machine.crowding(n) for n in (1, 2, 4, 8)] == [1, 1, 2, 4]
    assert Machine(reduce_scatter=Link(0, 1), all_gather=Link(0, 1)).crowding(8) == 1


@pytest.mark.parametrize(
    "options, most",
    [
        ("--bandwidth 1e9 --latency 1e-9 --flops 1e30", "bandwidth"),
        ("--bandwidth 1e30 --latency 1 --flops 1e30", "latency"),
        ("--bandwidth 1e30 --latency 1e-9 --flops 1e9", "compute"),
    ],
)
def test_the_largest_term_is_named(options, most):
    text = printed(f"--parameters 1e9 --ranks 8 --batch-size 8 --memory 100GB {options}")
    assert f"\n{most.capitalize()} is 100% of it" in text
    assert all(row[-1] == most for row in block(text, "Time").values())
    assert "Fastest that fits (of equals the smallest): Stage 2" in text
    assert Times(1, 2, 3).largest == "latency" and Times(1, 2, 0).largest == "bandwidth"


def test_a_stage_that_does_not_fit_is_not_the_fastest():
    text = printed("--parameters 7.5e9 --ranks 64 --memory 10GB --bandwidth 1e9")
    assert "Fastest that fits (of equals the smallest): Stage 3" in text
    text = printed("--parameters 7.5e9 --ranks 64 --memory 1GB --bandwidth 1e9")
    shape = "--model transformer --layers 2 --hidden 64 --heads 4 --sequence 64 --ranks 4 --batch-size 64"
    text_2 = printed(f"{shape} --memory 3MB --bandwidth 1e9")  # its state fits, and not what a step needs
    assert "No stage fits, so none is fastest." in text_2
    assert "No stage fits, so none is fastest." in text and "Compute is left out" in text
    assert "--batch-size says" in printed("--parameters 7.5e9 --ranks 64 --bandwidth 1e9 --flops 1e12")


# Against real runs


@pytest.mark.rest("a run for each", every=5)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("options", ["--optimizer sgd --momentum 0.9 --micro-batches 3", "--optimizer adam"])
@pytest.mark.parametrize("stage", STAGES)
def test_planned_is_measured_to_the_byte(stage, dtype, options, tmp_path):
    """Three ranks, and sizes that 3 does not divide: 64-20-10 and batches of 48 and 51."""
    batch = 51 if "micro" in options else 48
    line = f"{options} --hidden 20 --dtype {dtype} --batch-size {batch}"
    file = tmp_path / "record.json"
    train = ("-m", "zero_ref.train", "--stage", str(stage), "--steps", "3", "--quiet", "--record", str(file))
    assert mpirun(3, *train, *line.split()).returncode == 0
    ranks = json.loads(file.read_text())["ranks"]
    row = made(f"--model mlp --features 64 --classes 10 --ranks 3 {line}").rows[stage]
    most = max(ranks, key=lambda rank: rank["peak_total_bytes"])
    assert row.rest == sum(most["resting_bytes"].values())
    assert row.state == {kind: n for kind, n in most["resting_bytes"].items() if kind in row.state}
    assert row.needed == most["peak_total_bytes"]
    assert row.sent == sum(most["sent_bytes_per_step"].values())
    calls = {c: sum(leg.calls for leg in row.legs if leg.collective == c) for c in ("reduce_scatter",)}
    assert calls["reduce_scatter"] * row.work.units == most["calls_per_step"]["reduce_scatter"]
    psi = 64 * 20 + 20 + 20 * 10 + 10
    exact = block(printed(f"--model mlp --features 64 --classes 10 --ranks 3 {line}"), "Exactly")[str(stage)]
    assert exact[-2:] == [f"{row.rest:,.0f}", f"{row.sent:,.0f}"]
    assert made(f"--model mlp --features 64 --classes 10 --ranks 3 {line}").setting.parameters == psi


def test_a_linear_model_with_numbers_as_targets(tmp_path):
    file = tmp_path / "record.json"
    train = ("-m", "zero_ref.train", "--model", "linear", "--steps", "2", "--quiet", "--record", str(file))
    assert mpirun(3, *train).returncode == 0
    most = max(json.loads(file.read_text())["ranks"], key=lambda rank: rank["peak_total_bytes"])
    row = made("--model linear --features 10 --targets 1 --ranks 3 --dtype float32").rows[3]
    assert row.needed == most["peak_total_bytes"]


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    file = tmp_path_factory.mktemp("machine") / "machine.json"
    shorter = (
        "from zero_ref import launch\n"
        "from zero_ref.plan import __main__ as plan, calibrate\n"
        "calibrate.LASTS, calibrate.SIZES[5:] = 0.01, []\n"
        "launch.run(plan.main)"
    )
    found = mpirun(2, "-c", shorter, "--calibrate", str(file), limit=120)
    assert (found.returncode, found.stderr) == (0, "")
    assert "2 ranks on" in found.stdout and "us a hop" in found.stdout
    return file


def test_calibration_measures_everything(calibrated):
    machine = json.loads(calibrated.read_text())
    assert machine["ranks"] == 2 and machine["between"] is None and machine["hops"] == "halving"
    for name in ("reduce_scatter", "all_gather"):
        assert machine[name]["latency"] >= 0 and machine[name]["bandwidth"] > 1e6
    assert all(machine[name] > 0 for name in ("flops", "memory", "update", "loss_call"))
    assert all(machine[name] >= 0 for name in ("pass_call", "update_call"))  # 0: a line through the origin
    text = printed(f"--model mlp --features 64 --classes 10 --ranks 4 --machine {calibrated}")
    assert "Time of a step" in text and "Compute is left out" not in text


def test_predicted_beside_measured(calibrated, tmp_path):
    records = []
    for ranks, more in (
        (2, "--stage 0"),
        (
            3,
            "--shard-model hash --shard-data hash --reduce ring --data synthetic --samples 500 --prefetch "
            "--recompute",
        ),
    ):
        records.append(str(tmp_path / f"{ranks}.json"))
        line = ("--quiet", "--steps", "9", "--record", records[-1], *more.split())
        assert mpirun(ranks, "-m", "zero_ref.train", *line).returncode == 0
    found = mpirun(0, *PLAN, "--compare", *records, "--machine", str(calibrated))
    assert (found.returncode, found.stderr) == (0, "")
    held, timed = (part.splitlines()[3:5] for part in found.stdout.split("\n\n"))
    rows = [[*a.split(), *b.split()[2:]] for a, b in zip(held, timed)]
    for row, file in zip(rows, records):
        record = json.loads(Path(file).read_text())
        most = max(record["ranks"], key=lambda rank: rank["peak_total_bytes"])
        assert row[0] == str(record["world_size"]) and row[5] == "="
        assert row[3] == f"{most['peak_total_bytes']:,}"
        measured, predicted, error = float(row[6]), float(row[7]), float(row[8].rstrip("%")) / 100
        assert measured == pytest.approx(1e3 * record["seconds_per_step"], abs=0.01)
        assert error == pytest.approx(predicted / measured - 1, abs=0.02)
        assert predicted == pytest.approx(sum(map(float, row[9:])), abs=0.02)


@pytest.mark.rest("a command for each", every=3)
@pytest.mark.parametrize("name", ["resting_bytes", "sent_bytes_per_step", "peak_total_bytes"])
def test_a_byte_too_many_is_an_error(name, calibrated, tmp_path):
    file = tmp_path / "record.json"
    train = ("-m", "zero_ref.train", "--quiet", "--steps", "2", "--record", str(file))
    assert mpirun(2, *train).returncode == 0
    record = json.loads(file.read_text())
    if name == "peak_total_bytes":
        record["ranks"][1][name] += 1
    else:
        record["ranks"][1][name][next(iter(record["ranks"][1][name]))] += 1
    file.write_text(json.dumps(record))
    found = mpirun(0, *PLAN, "--compare", str(file), "--machine", str(calibrated))
    assert found.returncode == 1 and found.stderr.count("\n") == 1
    assert f"rank 1: {name} measured" in found.stderr and " no\n" in found.stdout


# Options

WRONG = """
--parameters 1e9
--ranks 4
--parameters 0 --ranks 4
--parameters -1 --ranks 4
--parameters 7.5 --ranks 4
--parameters nan --ranks 4
--parameters 1e400 --ranks 4
--parameters 1e15 --ranks 4
--parameters 1X --ranks 4
--parameters 1e9 --ranks 0
--parameters 1e9 --ranks 1000001
--parameters 1e9 --ranks 4 --hidden 3
--parameters 1e9 --ranks 4 --checkpointing
--parameters 1e9 --ranks 4 --memory 3XB
--parameters 1e9 --ranks 4 --memory 0
--parameters 1e9 --ranks 4 --k 0
--parameters 1e9 --ranks 4 --k 12 --dtype float32
--parameters 1e9 --ranks 4 --momentum 0.9
--parameters 1e9 --ranks 6 --group 4
--parameters 1e9 --ranks 6 --group 6
--parameters 1e9 --ranks 6 --group 1
--parameters 1e9 --ranks 6 --flops 4
--parameters 1e9 --ranks 6 --bandwidth 4 --bandwidth-between 4
--parameters 1e9 --ranks 6 --bandwidth 0
--parameters 1e9 --ranks 6 --machine nowhere.json
--parameters 1e9 --ranks 6 --machine README.md
--parameters 1e9 --ranks 6 --machine x.json --bandwidth 4
--model mlp --ranks 2
--model mlp --ranks 2 --features 3
--model mlp --ranks 2 --features 3 --classes 2 --targets 2
--model mlp --ranks 2 --features 3 --classes 1
--model mlp --ranks 2 --features 3 --classes 2 --parameters 5
--model mlp --ranks 2 --features 3 --classes 2 --group 2
--model mlp --ranks 2 --features 3 --classes 2 --batch-size 3 --micro-batches 2
--model linear --ranks 2 --features 3 --classes 2 --hidden 4
--model transformer --ranks 2 --layers 3
--model transformer --ranks 2 --layers 3 --hidden 8,8 --heads 2 --sequence 4
--model transformer --ranks 2 --layers 3 --hidden 8 --heads 2 --sequence 4 --positions 4
--model transformer --ranks 2 --layers 3 --hidden 8 --heads 2 --sequence 4 --untied
--model transformer --ranks 2 --layers 3 --hidden 8 --heads 2 --sequence 4 --vocab 9 --parameters 1e6
--model transformer --ranks 2 --layers 3 --hidden 8 --heads 2 --sequence 4 --vocab 0
--parameters 1e9 --ranks 2 --vocab 9
--model cnn --ranks 2
--paper table3
--paper table1 --ranks 3
--paper table1 --compare x.json
--compare x.json
--compare nowhere.json --machine nowhere.json
--calibrate
--why --ranks 2 --parameters 1e9
--why --ranks 2 --model transformer --layers 3 --hidden 8 --heads 2 --sequence 4
--why --ranks 2 --model mlp --features 3 --classes 2 --memory 1GB
--why --paper table1
--why --ranks 4 --model mlp --features 3 --classes 2 --group 3
--why --ranks 4 --model mlp --features 3 --classes 2 --prefetch
--parameters 1e9 --ranks 2 --bucket 9
--model transformer --ranks 2 --layers 3 --hidden 8 --heads 2 --sequence 4 --bucket 9
"""


@pytest.mark.parametrize("line", WRONG.strip().splitlines())
def test_bad_input_is_one_line(line):
    with pytest.raises(UsageError) as error:
        o = command.parse(line.split())
        command.main(line.split()) if o.compare else answer.plan(o)
    assert "\n" not in launch.one_line(error.value) and len(str(error.value)) < 300


def test_why_says_where_the_peak_is_and_what_changes_it():
    line = ("--why", "--model", "mlp", "--features", "64", "--hidden", "1024", "--classes", "10", "--dtype")
    said = [mpirun(0, *PLAN, *line, "float32", "--ranks", "2", "--language", zh) for zh in ("en", "zh")]
    assert [found.returncode for found in said] == [0, 0]
    english, chinese = (found.stdout for found in said)
    assert all(text in english for text in ("+112,620", "1,713,744", "1,601,124", "needs more than stage 2"))
    assert "66,560 > 38,405" in unfolded(english) and "stages/zero3.py" in english
    assert "--bucket 76810       1  76,810  1,643,404  1,797,024" in english
    numbers = [re.findall(r"\d[\d,]*\d", text) for text in (english, chinese)]
    assert sorted(numbers[0]) == sorted(numbers[1]) and "阶段 3 比阶段 2 需要更多" in unfolded(chinese)


def why_of(line):
    return unfolded(why(command.parse(f"--why {line} --batch-size 16".split())))


@pytest.mark.rest("dry runs of five lists of units each")
@pytest.mark.parametrize("language", ["en", "zh"])
def test_why_answers_for_a_gpt_and_for_groups(language):
    gpt = f"--model gpt --layers 2 --hidden 64 --heads 4 --sequence 64 --language {language}"
    loss, block = (why_of(f"{gpt} --ranks {n} --vocab {v}") for n, v in ((2, 8192), (4, 256)))
    said = "where no unit is gathered" if language == "en" else "没有收集任何 unit"
    assert said in loss and said not in block
    psi = 2 * 49_984 + 2 * 8192 * 64 + 64 * 64 + 2 * 64
    psi += psi % 2
    assert f"{-2 * (psi - psi // 2):,}" in loss and "--bucket" in loss
    groups = why_of(f"{gpt} --ranks 4 --vocab 256 --group 2")
    assert "(K + 2e) (Ψ/G - Ψ/N)" in groups and "(Ψ/G - Ψ/N)" not in block
    own = 136_960 // 4  # of one of 4 ranks; in a group of 2 twice as much
    assert all(f"{n * own:+,}" in groups for n in (12, 14, 16))


def test_bad_input_ends_with_code_2(tmp_path):
    found = mpirun(0, *PLAN, "--parameters", "many", "--ranks", "4")
    assert found.returncode == 2 and found.stderr.startswith("zero_ref: error:")
    assert found.stderr.count("\n") == 1
    found = mpirun(2, *PLAN, "--calibrate", str(tmp_path / "no" / "machine.json"))
    assert found.returncode == 2 and found.stderr.count("\n") == 1
    found = mpirun(0, *PLAN, "--calibrate", str(tmp_path / "machine.json"))
    assert found.returncode == 2 and "mpirun -n 2" in found.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change", [{"ranks": []}, {"config": {}}, {"loss": 3}, {"world_size": "2"}, {"config": None}]
)
def test_a_record_that_is_none_is_refused(change, calibrated, tmp_path):
    record = {
        "config": {},
        "world_size": 1,
        "first_step": 0,
        "loss": [],
        "seconds_per_step": 1,
        "ranks": [{}],
    }
    (tmp_path / "r.json").write_text(json.dumps(record | change))
    found = mpirun(0, *PLAN, "--compare", str(tmp_path / "r.json"), "--machine", str(calibrated))
    assert found.returncode == 2 and found.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def small_record(tmp_path_factory):
    """The text of the record of three steps on two ranks."""
    file = tmp_path_factory.mktemp("small") / "r.json"
    line = "--quiet --steps 3 --data synthetic --samples 100 --hidden 7 --shard-model hash --record"
    ran = mpirun(2, "-m", "zero_ref.train", *line.split(), str(file))
    assert ran.returncode == 0, ran.stderr
    return file.read_text()


# Huge sizes, in a record that says something else of them, and in one that agrees with itself.
HOSTILE = {
    "a wide layer": ({"hidden": [10**9]}, {}, "that of its options"),
    "two wide layers of moved blocks": (
        {"hidden": [10**7, 10**7]},
        {"parameters": 64 * 10**7 + 10**7 + 10**14 + 10**7 + 10**8 + 10, "units": 3},
        "blocks of parameters",
    ),
    "many layers": ({"hidden": [1] * 30_000}, {}, "that of its options"),
    "many letters": ({"hidden": [1] * 40_000}, {}, "more than 65,536 letters"),
    "many samples": ({"samples": 10**12, "features": 1}, {"parameters": 1 * 7 + 7 + 80}, "does|samples"),
    "samples that would take all memory": ({"samples": 10**9}, {}, "samples on 2 ranks"),
    "many features": ({"features": 10**12}, {}, "that of its options"),
    "many micro-batches": ({"micro_batches": 1 << 16, "batch_size": 1 << 16}, {}, "passes through units"),
    "another option": ({"help": True}, {}, "not those of zero_ref.train"),
    "another place": ({"place": "moon"}, {}, "not those of zero_ref.train"),
    "another type": ({"hidden": {"a": 1}}, {}, "expected"),
    "no number": ({"samples": "many"}, {}, "samples"),
    "a stage that is not there": ({"stage": 9}, {}, "stage"),
    "a step far away": ({}, {"first_step": (1 << 53) - 5}, ""),
    "no time": ({}, {"seconds_per_step": 0.0}, ""),
    "groups": ({"group": 3}, {}, "groups of 3"),
    "machines": ({"machine": 3, "hpz": True}, {}, "does not divide"),
    "codes": ({"code_gradients": "8/0"}, {}, "expected"),
    "feedback of nothing": ({"error_feedback": "0.8"}, {}, "needs --code-gradients"),
    "offload": ({"offload": "moon"}, {}, "expected host"),
    "muon": ({"optimizer": "muon", "tiles": 2}, {}, "--tiles goes neither"),
}
MEASURED = """
import resource, sys
from zero_ref.plan.__main__ import main
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    main(sys.argv[1:])
except Exception as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1000)
"""


@pytest.mark.rest("a command for each", every=4)
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_record_is_refused_before_anything_is_made_of_it(case, small_record, calibrated, tmp_path):
    config, rest, message = HOSTILE[case]
    record = json.loads(small_record)
    record["config"] |= config
    (tmp_path / "r.json").write_text(json.dumps(record | rest))
    line = ("--compare", str(tmp_path / "r.json"), "--machine", str(calibrated))
    found = mpirun(0, "-c", MEASURED, *line, limit=20)
    assert int(found.stdout.split()[-1]) < 50, "MB"
    assert found.returncode == 0 and found.stderr.count("\n") == (1 if message else 0), found.stderr
    if message:
        assert re.search(f"UsageError: --compare .*r.json: .*({message})", found.stderr), found.stderr
