"""`--shard-model tensors` with every optimizer: the bits of equal slices, bytes as they are said."""

import os

import pytest
from compared import compare
from small import Small, SmallGpt

DEVICE = os.environ.get("ZERO_REF_TEST_DEVICE", "cpu")
A_GPT = pytest.mark.rest("a GPT")
STAGES = [*range(4), "3, prefetch"]
WAYS = [
    dict(optimizer="sgd", settings=dict(lr=0.1, momentum=0.9, weight_decay=0.01)),
    dict(optimizer="adamw", settings=dict(lr=0.01), micro_batches=3, reduce="ring", dtype="float64"),
    dict(optimizer="adam", settings=dict(lr=0.01), dtype="bfloat16", accumulate="float32"),
    dict(optimizer="adam", settings=dict(lr=0.01), bucket=60, recompute=True),
    dict(optimizer="adam", settings=dict(lr=0.01), group=1),
]


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("kind", (Small, pytest.param(SmallGpt, marks=A_GPT)))
@pytest.mark.parametrize("way", range(len(WAYS)))
@pytest.mark.parametrize("stage", STAGES)
def test_bits_are_those_of_equal_slices(kind, way, stage):
    settings = dict(steps=4, dtype="float32", reduce="ordered", clip_norm=0.42) | WAYS[way]
    settings["prefetch"] = "prefetch" in str(stage)
    slices = kind(int(str(stage)[0]), **settings).run()
    tensors, losses = slices.tensors, slices.losses
    slices.units = slices.guard = None  # the ledger counts whatever is alive
    run = kind(int(str(stage)[0]), rule="tensors", **settings).run()
    compare(run)
    if settings["reduce"] == "ordered":
        assert [a.tobytes() for a in run.tensors] == [a.tobytes() for a in tensors] and run.losses == losses
    else:
        assert all(abs(a - b).max() < 1e-9 for a, b in zip(run.tensors, tensors))
