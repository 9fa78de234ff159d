"""The paper's formulas, and the prediction against numbers worked out by hand."""

import pytest

from zero_ref.estimate import Layer, Run, model_state_bytes, predict, sent_elements
from zero_ref.layout import FlatLayout

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


def test_prediction_of_stage_2_by_hand():
    """One linear unit, 3 inputs and 2 outputs in float32, on rank 0 of 2, with Adam.

    psi = 3 * 2 + 2 = 8 numbers, so a shard has 4. The rank computes 5 samples.
    """
    layout = FlatLayout("u", {"weight": (2, 3), "bias": (2,)}, 2)
    run = Run(2, [Layer(layout, 3, 2, relu=False)], 0, 2, 4, state_bytes=8, classes=True, target_bytes=8)
    found = predict(run, [(5,)])
    assert {kind: n for kind, n in found.resting_bytes.items() if n} == {
        "parameter": 32,  # 8 numbers of 4 bytes
        "gradient": 16,  # 4 numbers
        "optimizer": 32,  # 2 * 4 numbers
    }
    assert found.sent_bytes_per_step == {
        "reduce_scatter": 16,  # the other rank's 4 numbers
        "all_gather": 16,  # my 4 numbers to one other rank
        "other": 16,  # the squared norm and the loss, 8 bytes each
    }
    assert found.calls_per_step == {"reduce_scatter": 1, "all_gather": 1, "other": 2}
    assert found.peak_bytes == {
        "parameter": 32,
        "gathered": 0,  # the parameters are gathered into themselves
        "gradient": 16 + 16,  # the shard, and the sum that is added to it
        "full_gradient": 32,
        "optimizer": 32,
        # In the loss: x 60, y 40, outputs 40; row numbers of 8 bytes 40, softmax 40; three numbers
        # a row, the highest, the true and the total, 60.
        "activation": 60 + 40 + 40 + 40 + 40 + 60,
        "buffer": 32,  # squares of the shard in float64; later Adam's scratch, twice the shard
    }
    assert found.peak_total_bytes == 32 + 16 + 32 + 280  # in the loss


def test_prediction_of_stage_3_by_hand():
    """The same unit with two micro-batches, squared errors, and SGD with momentum, on rank 1 of 3.

    8 numbers are padded to 9, so a shard has 3. The rank computes 2 samples and then 1.
    """
    layout = FlatLayout("u", {"weight": (2, 3), "bias": (2,)}, 3)
    run = Run(3, [Layer(layout, 3, 2, relu=False)], 1, 3, 4, state_bytes=4, classes=False, target_bytes=8)
    found = predict(run, [(2, 1)])
    assert {k: n for k, n in found.resting_bytes.items() if n} == {
        "parameter": 12,
        "gradient": 12,
        "optimizer": 12,
    }
    assert found.sent_bytes_per_step == {
        "reduce_scatter": 2 * 24,  # the others' 6 numbers, in each micro-batch
        "all_gather": 4 * 24,  # my 3 numbers to two ranks, forward and backward in each
        "other": 2 * 8 * 2,
    }
    assert found.calls_per_step == {"reduce_scatter": 2, "all_gather": 4, "other": 2}
    assert found.peak_bytes == {
        "parameter": 12,
        "gathered": 36,
        "gradient": 12 + 12,
        "full_gradient": 36,
        "optimizer": 12,
        # In the loss of the first: x 24, y 16, outputs 16; differences 16, and their squares 16.
        "activation": 24 + 16 + 16 + 16 + 16,
        "buffer": 24,
    }
    # In the backward pass of the first: x, y, outputs and dL/d outputs (72) beside both full vectors.
    assert found.peak_total_bytes == 36 + 72 + 36 + 36


def units(ranks, rule="contiguous", shares=None):
    widths = [31, 16, 8]  # 512 and 136 parameters, which 2, 4 and 8 divide
    return [
        Layer(FlatLayout(f"{i}", {"weight": (b, a), "bias": (b,)}, ranks, rule, shares), a, b, i == 0)
        for i, (a, b) in enumerate(zip(widths, widths[1:]))
    ]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("reduce", ["auto", "native", "ordered", "ring"])
def test_prediction_agrees_with_the_formulas(stage, ranks, k, reduce):
    run = Run(stage, units(ranks), 0, ranks, 4, 8, classes=True, target_bytes=8, reduce=reduce)
    found = predict(run, [(6,) * k])
    rest = model_state_bytes(stage, 648, ranks)
    assert {kind: found.resting_bytes[kind] for kind in rest} == rest
    assert sum(found.resting_bytes.values()) == sum(rest.values())
    sent = sent_elements(stage, 648, ranks, k)
    assert {name: found.sent_bytes_per_step[name] / 4 for name in sent} == sent


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("reduce", ["auto", "native", "ordered", "ring"])
@pytest.mark.parametrize("rule, shares", [("random", None), ("hash", None), ("", [3, 0, 1, 1])])
def test_ranks_together_send_what_the_formulas_say(stage, reduce, rule, shares):
    layers = units(4, rule or "contiguous", shares)
    padded = sum(layer.layout.padded for layer in layers)
    runs = [Run(stage, layers, rank, 4, 4, 2, True, 8, reduce) for rank in range(4)]
    sent = sent_elements(stage, padded, 4)
    for name in sent:
        found = sum(predict(run, [(6,)]).sent_bytes_per_step[name] for run in runs)
        assert found == 4 * 4 * sent[name]


@pytest.mark.parametrize("reduce, buffer", [("auto", 8), ("native", 8), ("ordered", 40), ("ring", 40)])
def test_reduce_by_hand_takes_a_buffer(reduce, buffer):
    # Rank 0 of 3 has 1 of 8 numbers, the largest shard 5. Squares for the norm take 8 bytes, and so
    # does SGD's scratch; "ordered" a piece from each of two others, "ring" twice the largest shard.
    layout = FlatLayout("u", {"weight": (2, 3), "bias": (2,)}, 3, shares=[1, 2, 5])
    run = Run(2, [Layer(layout, 3, 2, False)], 0, 3, 4, 0, True, 8, reduce)
    assert predict(run, [(1,)]).peak_bytes["buffer"] == buffer


def test_several_sizes_of_steps_give_the_larger_peak():
    layers = units(2)
    run = Run(3, layers, 0, 2, 4, 8, classes=True, target_bytes=8)
    alone = [predict(run, [sizes]).peak_total_bytes for sizes in [(3,), (50,)]]
    assert alone[0] < alone[1] == predict(run, [(50,), (3,)]).peak_total_bytes
    assert predict(run, [(3,), (50,)]).peak_total_bytes == alone[1]
