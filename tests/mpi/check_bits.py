"""The four stages end with the same weights to the last bit, whatever the rule, optimizer and sum."""

import itertools

import numpy as np
import pytest
from small import Small

OPTIMIZERS = {
    "adam": dict(lr=0.01, weight_decay=0.01),
    "sgd": dict(lr=0.1, momentum=0.9, weight_decay=0.01),
    "adamw": dict(lr=0.01, weight_decay=0.1),
}


def rules(size):
    return [
        dict(rule="contiguous"),
        dict(rule="random"),
        dict(rule="hash"),
        dict(shares=[1 + (r + 1) % 3 for r in range(size)]),
        dict(shares=[0] * (size - 1) + [1]),
    ]


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("reduce", ("auto", "native", "ring"))
@pytest.mark.parametrize("rule", range(5))
def test_stages_are_equal_in_bits_with_one_micro_batch(rule, reduce, optimizer, comm):
    settings = dict(
        optimizer=optimizer,
        settings=OPTIMIZERS[optimizer],
        reduce=reduce,
        clip_norm=0.42,
        dtype="float32",
        steps=5,
    )
    runs = [Small(stage, **settings, **rules(comm.size)[rule]).run() for stage in range(4)]
    runs.append(Small(3, prefetch=True, **settings, **rules(comm.size)[rule]).run())
    assert len({run.sha256 for run in runs}) == 1
    assert len({tuple(run.norms) for run in runs}) == 1
    assert len({tuple(run.losses) for run in runs}) == 1


@pytest.mark.parametrize("reduce", ("auto", "native", "ring"))
@pytest.mark.parametrize("rule", range(5))
def test_with_micro_batches_the_stages_are_equal_in_pairs(rule, reduce, comm):
    settings = dict(micro_batches=3, reduce=reduce, clip_norm=0.42, dtype="float32", optimizer="sgd")
    settings |= dict(settings=OPTIMIZERS["sgd"], steps=5) | rules(comm.size)[rule]
    runs = [Small(stage, **settings).run() for stage in range(4)]
    assert runs[0].sha256 == runs[1].sha256
    prefetched = Small(3, prefetch=True, **settings).run()
    assert runs[2].sha256 == runs[3].sha256 == prefetched.sha256
    for a, b in zip(runs[1].tensors, runs[2].tensors):  # stage 2 adds ranks first, then micro-batches
        assert np.allclose(a, b, rtol=0, atol=1e-5)


def test_the_trajectory_is_the_same_for_every_rule_and_sum(comm):
    runs = [
        Small(2, steps=5, shard_data=shard_data, reduce=reduce, **rule).run()
        for shard_data, reduce, rule in itertools.product(
            ("contiguous", "random", "hash"), ("auto", "native", "ring"), rules(comm.size)
        )
    ]
    for run in runs[1:]:
        assert all(np.allclose(a, b, rtol=0, atol=1e-11) for a, b in zip(run.tensors, runs[0].tensors))
        assert np.allclose(run.losses, runs[0].losses, rtol=1e-12, atol=0)


def test_every_rank_gathers_the_same_model(comm):
    for stage in range(4):
        assert len(set(comm.everyone(Small(stage, steps=3).run().sha256))) == 1
