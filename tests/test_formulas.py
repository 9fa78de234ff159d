"""The papers' formulas, and the bill of one run by them against numbers worked out by hand."""

import pytest

from zero_ref.layout import FlatLayout
from zero_ref.optim import KINDS
from zero_ref.plan.formulas import bill, model_state_bytes, passes, sent_elements, state_bytes
from zero_ref.stages import STAGES as MODULES
from zero_ref.stages import zero3_prefetch

STAGES = range(4)


@pytest.mark.parametrize("stage, gigabytes", [(0, 120), (1, 31.40625), (2, 16.640625), (3, 1.875)])
def test_model_state_is_that_of_the_papers_figure_1(stage, gigabytes):
    # arXiv 1910.02054, figure 1, which rounds: 120, 31.4, 16.6 and 1.9 GB
    assert sum(model_state_bytes(stage, 7.5e9, 64, 2, 2, 12).values()) == gigabytes * 1e9


@pytest.mark.parametrize("n", [1, 2, 4, 64])
def test_model_state_of_adam_in_float32(n):
    psi = 6400
    by_stage = [16 * psi, 8 * psi + 8 * psi / n, 4 * psi + 12 * psi / n, 16 * psi / n]
    assert [sum(model_state_bytes(stage, psi, n).values()) for stage in STAGES] == by_stage


@pytest.mark.parametrize("n", [1, 2, 4, 64])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_sent_elements_by_stage(n, k):
    psi = 6400
    once = psi * (n - 1) / n
    sent = [sent_elements(stage, psi, n, k) for stage in STAGES]
    assert [sum(numbers.values()) for numbers in sent] == [2 * once, 2 * once, (k + 1) * once, 3 * k * once]
    assert sent[3] == {"reduce_scatter": k * once, "all_gather": 2 * k * once}


def test_what_a_stage_keeps_is_what_the_paper_says():
    everything = ("parameter", "gradient", "optimizer")
    shards = [{kind for kind in everything if MODULES[stage].KEEPS[kind] == "1/N"} for stage in STAGES]
    assert shards == [set(), {"optimizer"}, {"optimizer", "gradient"}, set(everything)]
    assert zero3_prefetch.KEEPS == MODULES[3].KEEPS
    for stage in STAGES:
        assert tuple(MODULES[stage].KEEPS) == everything
        assert set(MODULES[stage].KEEPS.values()) <= {"all", "1/N"}


@pytest.mark.parametrize(
    "optimizer, settings, words",
    [("sgd", {}, 0), ("sgd", {"momentum": 0.9}, 1), ("adam", {}, 2), ("adamw", {}, 2)],
)
def test_bytes_of_optimizer_state_a_parameter(optimizer, settings, words):
    kind = KINDS[optimizer]
    assert [state_bytes(kind, e, **settings) for e in (4, 8)] == [4 * words, 8 * words]
    assert state_bytes(kind, 2, **settings) == 4 * words + 4  # float32, and the master


# The bill. A unit of 3 inputs and 2 outputs has 3 * 2 + 2 = 8 numbers.

UNIT = {"weight": (2, 3), "bias": (2,)}


def test_the_bill_of_stage_2_by_hand():
    """One unit in float32, on rank 0 of 2, with Adam: a shard has 4 numbers."""
    found = bill(MODULES[2].KEEPS, [FlatLayout("u", UNIT, 2)], 0, 4, state_bytes=8)
    assert found.resting_bytes == {
        "parameter": 32,  # 8 numbers of 4 bytes
        "gradient": 16,  # 4 numbers
        "optimizer": 32,  # 2 * 4 numbers
    }
    assert found.sent_bytes_per_step == {
        "reduce_scatter": 16,  # the other rank's 4 numbers
        "all_gather": 16,  # my 4 numbers to one other rank
        "other": 16,  # the squared norm and the loss, 8 bytes each
    }
    assert found.peak_bytes == {
        "parameter": 32,
        "gathered": 0,  # the parameters are gathered into themselves
        "gradient": 16 + 16,  # the shard, and the sum that is added to it
        "full_gradient": 32,
        "optimizer": 32,
    }


def test_the_bill_of_stage_3_by_hand():
    """The same unit with two micro-batches and SGD with momentum, on rank 1 of 3.

    8 numbers are padded to 9, so a shard has 3.
    """
    layouts = [FlatLayout("u", UNIT, 3)]
    found = bill(MODULES[3].KEEPS, layouts, 1, 4, state_bytes=4, micro_batches=2)
    assert found.resting_bytes == {"parameter": 12, "gradient": 12, "optimizer": 12}
    assert found.sent_bytes_per_step == {
        "reduce_scatter": 2 * 24,  # the others' 6 numbers, in each micro-batch
        "all_gather": 4 * 24,  # my 3 numbers to two ranks, forward and backward in each
        "other": 2 * 8 * 2,
    }
    assert found.peak_bytes == {
        "parameter": 12,
        "gathered": 36,
        "gradient": 12 + 12,
        "full_gradient": 36,
        "optimizer": 12,
    }


@pytest.mark.parametrize(
    "stage, gradients",
    [
        (0, 4 * 12 + 4 * 4),  # all 12 numbers, and the reduced shard of the larger unit
        (1, 4 * 12 + 4 * 6),  # and here both units' shards, which wait for the norm
        (2, 4 * 6 + 4 * 4),
        (3, 4 * 6 + 4 * 4),
    ],
)
def test_the_gradients_that_are_reduced_at_once_by_hand(stage, gradients):
    """Units of 8 and 4 numbers on rank 0 of 2, in float32: shards of 4 and 2."""
    layouts = [FlatLayout("a", UNIT, 2), FlatLayout("b", {"weight": (1, 3), "bias": (1,)}, 2)]
    assert bill(MODULES[stage].KEEPS, layouts, 0, 4, 8).peak_bytes["gradient"] == gradients


@pytest.mark.parametrize(
    "stage, rest, peak, sent",
    [
        (0, 4 * 12, 4 * 4, [4 * 6, 4 * 6]),  # the sum of float32 is reduced, and gathered
        (1, 4 * 12, 4 * 6, [4 * 6, 2 * 6]),  # ... and reduced, and parameters are gathered
        (2, 4 * 6, 2 * 4, [2 * 6 * 3, 2 * 6]),  # 16 bits are reduced, three times
        (3, 4 * 6, 2 * 4, [2 * 6 * 3, 2 * 6 * 6]),
    ],
)
def test_gradients_of_16_bits_that_are_added_up_in_float32_by_hand(stage, rest, peak, sent):
    """The same units on rank 0 of 2 in bfloat16, with three micro-batches."""
    layouts = [FlatLayout("a", UNIT, 2), FlatLayout("b", {"weight": (1, 3), "bias": (1,)}, 2)]
    found = bill(MODULES[stage].KEEPS, layouts, 0, 2, 12, 3, accumulate=4)
    assert (found.resting_bytes["gradient"], found.peak_bytes["gradient"]) == (rest, rest + peak)
    assert found.peak_bytes["full_gradient"] == 2 * 8, "a layer computes in 16 bits"
    assert [found.sent_bytes_per_step[name] for name in ("reduce_scatter", "all_gather")] == sent


def test_what_is_gathered_by_hand():
    """Units of 8, 4 and 6 numbers on 2 ranks, in float64: the largest, or the largest neighbours."""
    shapes = {"a": (2, 3), "b": (1, 3), "c": (3, 1)}
    layouts = [FlatLayout(n, {"weight": s, "bias": s[:1]}, 2) for n, s in shapes.items()]
    gathered = [
        bill(MODULES[3].KEEPS, layouts, 0, 8, 16, prefetch=ahead).peak_bytes["gathered"]
        for ahead in (False, True)
    ]
    assert gathered == [8 * 8, 8 * (8 + 4)]
    alone = bill(MODULES[3].KEEPS, layouts[:1], 0, 8, 16, prefetch=True)
    assert alone.peak_bytes["gathered"] == 8 * 8, "nobody comes after a unit that is alone"


@pytest.mark.parametrize("rank, direct, ring", [(0, 2 * 1, 6), (1, 2 * 2, 3), (2, 2 * 5, 7)])
def test_an_all_gather_around_the_ring_by_hand(rank, direct, ring):
    """Shards of 1, 2 and 5 numbers. Around the ring a rank passes on all but what its right neighbour has."""
    layouts = [FlatLayout("u", UNIT, 3, shares=[1, 2, 5])]
    sent = [
        bill(MODULES[2].KEEPS, layouts, rank, 4, 0, ring=around).sent_bytes_per_step
        for around in (False, True)
    ]
    assert [each["all_gather"] for each in sent] == [4 * direct, 4 * ring]
    assert {each["reduce_scatter"] for each in sent} == {4 * (8 - layouts[0].counts[rank])}


def layouts(ranks, rule="contiguous", shares=None):
    widths = [31, 16, 8]  # 512 and 136 parameters, which 2, 4 and 8 divide
    return [
        FlatLayout(f"{i}", {"weight": (b, a), "bias": (b,)}, ranks, rule, shares)
        for i, (a, b) in enumerate(zip(widths, widths[1:]))
    ]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("ring", [False, True])
def test_a_bill_of_equal_shards_is_the_formula_for_a_model(stage, ranks, k, ring):
    for rank in range(ranks):
        found = bill(MODULES[stage].KEEPS, layouts(ranks), rank, 4, 8, k, ring=ring)
        assert found.resting_bytes == model_state_bytes(stage, 648, ranks)
        sent = sent_elements(stage, 648, ranks, k)
        assert {name: found.sent_bytes_per_step[name] / 4 for name in sent} == sent


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("rule, shares", [("random", None), ("hash", None), ("", [3, 0, 1, 1])])
def test_ranks_together_send_what_the_formulas_say(stage, ring, rule, shares):
    dealt = layouts(4, rule or "contiguous", shares)
    bills = [bill(MODULES[stage].KEEPS, dealt, rank, 4, 8, ring=ring) for rank in range(4)]
    for name, elements in sent_elements(stage, sum(each.padded for each in dealt), 4).items():
        assert sum(each.sent_bytes_per_step[name] for each in bills) == 4 * 4 * elements
    assert passes(stage) == {"reduce_scatter": 1, "all_gather": 2 if stage == 3 else 1}
