"""Every stage against the naive serial reference: 20 steps, two micro-batches, clipping in about half
of the steps, a short last batch; SGD with momentum and AdamW; classes and numbers."""

import numpy as np
import pytest
import serial
from small import Small, start

CASES = {
    "sgd, classes": dict(
        optimizer="sgd", settings=dict(lr=0.1, momentum=0.9, weight_decay=0.01), clip_norm=0.4
    ),
    "adamw, classes": dict(
        optimizer="adamw", settings=dict(lr=0.01, weight_decay=0.1), clip_norm=0.45
    ),
    "sgd, numbers": dict(
        classes=False, optimizer="sgd", settings=dict(lr=0.05, momentum=0.9), clip_norm=0.4
    ),
    "adam, numbers": dict(
        classes=False, optimizer="adam", settings=dict(lr=0.01, weight_decay=0.1), clip_norm=0.365
    ),
    "sgd, linear": dict(
        hidden=(), classes=False, optimizer="sgd", settings=dict(lr=0.05, momentum=0.5), clip_norm=1.24
    ),
}  # fmt: skip


def reference(run):
    return serial.train(
        start(run.widths),
        run.global_batches(),
        run.classes,
        run.optimizer,
        clip_norm=run.clip_norm,
        **run.settings,
    )


def far(a, b):
    return max(float(np.abs(x - y).max()) for x, y in zip(a, b, strict=True))


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype, parameters, losses", [("float64", 1e-11, 1e-12), ("float32", 1e-5, 2e-6)])
@pytest.mark.parametrize("rule, shard_data", [("contiguous", "random"), ("hash", "hash")])
def test_a_stage_follows_the_serial_reference(case, stage, dtype, parameters, losses, rule, shard_data):
    run = Small(stage, dtype=dtype, micro_batches=2, rule=rule, shard_data=shard_data, **CASES[case]).run()
    expected, expected_losses, norms = reference(run)
    clipped = sum(norm > run.clip_norm for norm in norms) / len(norms)
    assert 0.25 < clipped < 0.75, f"clipping was active in {clipped:.0%} of the steps"
    assert far(run.tensors, expected) < parameters
    assert np.allclose(run.losses, expected_losses, rtol=losses, atol=0)
    assert np.allclose(run.norms, norms, rtol=1e-11 if dtype == "float64" else 1e-5, atol=0)


@pytest.mark.parametrize("stage", range(4))
def test_uneven_shares_follow_the_reference_too(stage, comm):
    shares = [1 + r % 3 for r in range(comm.size)]
    run = Small(stage, shares=shares, micro_batches=2, **CASES["sgd, classes"]).run()
    assert far(run.tensors, reference(run)[0]) < 1e-11


@pytest.mark.parametrize("stage", range(4))
def test_batches_smaller_than_the_number_of_ranks(stage):
    run = Small(stage, batch_size=4, micro_batches=2, steps=12, shard_data="hash").run()  # last batch: 1
    assert far(run.tensors, reference(run)[0]) < 1e-11


@pytest.mark.parametrize("stage", range(4))
def test_fewer_parameters_than_ranks(stage):
    run = Small(stage, hidden=(1,), classes=False, steps=8).run()  # units of 7 and 4 parameters
    assert far(run.tensors, reference(run)[0]) < 1e-11
