"""A GPT through the same four stage files: against a serial one, in equal bits, and byte by byte."""

import functools

import numpy as np
import pytest
import serial
import serial_gpt
from small import HEADS, LAYERS, WIDTH, SmallGpt

from zero_ref.checkpoint.weights import named_tensors
from zero_ref.report import record
from zero_ref.train.dry_run import forecast

CASES = {
    "adamw": dict(optimizer="adamw", settings=dict(lr=0.01, weight_decay=0.1), clip_norm=0.6),
    "sgd": dict(optimizer="sgd", settings=dict(lr=0.1, momentum=0.9), clip_norm=0.7),
}
RULES = [dict(rule="contiguous"), dict(rule="random"), dict(rule="hash"), "shares"]


def rule(number, size):
    return dict(shares=[1 + (r + 1) % 3 for r in range(size)]) if number == 3 else RULES[number]


@functools.cache
def reference(case):
    """Weights by name, losses and norms of the serial GPT: the same for every stage, type and dealing."""
    run = SmallGpt(0, micro_batches=2, **CASES[case]).run()
    start = run.weights()

    def gradients_of(p, x, y):
        loss, sums = serial_gpt.loss_and_gradients(dict(zip(start, p)), x, y, LAYERS, HEADS)
        return loss, list(sums.values())

    found = serial.descend(
        list(start.values()),
        run.global_batches(),
        gradients_of,
        run.optimizer,
        clip_norm=run.clip_norm,
        **run.settings,
    )
    return dict(zip(start, found[0])), *found[1:]


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype, parameters, losses", [("float64", 1e-11, 1e-12), ("float32", 1e-5, 4e-6)])
def test_a_stage_follows_the_serial_gpt(stage, case, dtype, parameters, losses):
    run = SmallGpt(stage, dtype=dtype, micro_batches=2, shard_data="random", **CASES[case]).run()
    expected, expected_losses, norms = reference(case)
    clipped = sum(norm > run.clip_norm for norm in norms) / len(norms)
    assert 0.25 < clipped < 0.75, f"clipping was active in {clipped:.0%} of the steps"
    for name, found in named_tensors(run.module, run.units, run.comm):
        apart = np.abs(found - expected[name])
        if name.endswith("c_attn.bias"):  # the keys' part: see the next test
            apart[WIDTH : 2 * WIDTH] = 0
        assert apart.max() < parameters, name
    assert np.allclose(run.losses, expected_losses, rtol=losses, atol=0)


def test_a_bias_of_keys_has_no_gradient():
    """It adds the same to every score of a row, which the softmax takes away. What is left is rounding, and
    Adam makes steps of it, so that two right programs part there, and there alone."""
    run = SmallGpt(3, steps=0).run()
    problem = run.problem("float64")
    start = {name: value.astype("f8") for name, value in run.weights().items()}
    _, sums = serial_gpt.loss_and_gradients(start, problem.x, problem.y, LAYERS, HEADS)
    bias = sums["h.1.attn.c_attn.bias"]
    assert np.abs(bias[WIDTH : 2 * WIDTH]).max() < 1e-15 < 1e-4 < np.abs(bias[:WIDTH]).max()


@pytest.mark.rest("runs of every stage for each", every=9)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("reduce", ["auto", "ordered"])
@pytest.mark.parametrize("number", range(4))
def test_stages_are_equal_in_bits(number, reduce, dtype, comm):
    settings = dict(dtype=dtype, reduce=reduce, steps=5, **CASES["adamw"]) | rule(number, comm.size)
    runs = [SmallGpt(stage, **settings).run() for stage in range(4)]
    runs.append(SmallGpt(3, prefetch=True, **settings).run())
    assert len({run.sha256 for run in runs}) == 1
    assert len({tuple(run.losses) for run in runs}) == 1


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize("stage", range(4))
def test_bytes_are_the_formulas_and_the_dry_runs(stage, micro_batches, dtype, comm):
    run = SmallGpt(stage, dtype=dtype, micro_batches=micro_batches, steps=4, rule="hash").run()
    o = run.options()
    predicted = forecast(o, run.task, comm.rank, comm.size, sorted(set(run.sizes)))
    assert predicted.resting_bytes == run.resting
    assert predicted.peak_bytes == run.peak and predicted.peak_total_bytes == run.peak_total
    assert predicted.sent_bytes_per_step == run.sent and predicted.calls_per_step == run.calls
    bill = record.bill(o, run.nouns())
    for said, found in (
        (bill.resting_bytes, run.resting),
        (bill.peak_bytes, run.peak),
        (bill.sent_bytes_per_step, run.sent),
    ):
        assert said == {kind: found[kind] for kind in said}
