"""What a rank holds and sends: the ledger against the papers' formulas, and against a dry run."""

import numpy as np
import pytest
from compared import KEEPS, compare
from small import NARROW, TRANSPORT, Small

from zero_ref import array
from zero_ref.ledger import ledger
from zero_ref.plan.formulas import model_state_bytes, sent_elements

RULES = ("contiguous", "random", "hash", "shares")


def small(stage, rule, size, dtype="float32", **settings):
    where = {"shares": [1 + r % 3 for r in range(size)]} if rule == "shares" else {"rule": rule}
    return Small(stage, dtype=dtype, steps=4, **where, **settings)


def no_ring_over_nccl(reduce):
    """These are no options that go together: NCCL sends to each, and the formulas would say a ring."""
    if (TRANSPORT, reduce) == ("nccl", "ring"):
        pytest.skip("no options that go together")


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("k", (1, 3))
@pytest.mark.parametrize("reduce", ("auto", "ordered", "ring"))
def test_bytes_sent_are_the_papers_with_equal_shards(stage, k, reduce, comm):
    run = Small(stage, dtype="float32", steps=4, micro_batches=k, reduce=reduce).run()
    padded, n = sum(u.layout.padded for u in run.units), comm.size
    times = {0: 2, 1: 2, 2: k + 1, 3: 3 * k}[stage]
    assert run.sent["reduce_scatter"] + run.sent["all_gather"] == 4 * times * padded * (n - 1) // n
    formula = sent_elements(stage, padded, n, k)
    assert {name: 4 * elements for name, elements in formula.items()} == {
        name: run.sent[name] for name in formula
    }
    # the loss is summed by the test, the norm by the stage
    assert run.sent["other"] == 2 * 8 * (n - 1) and run.calls["other"] == 2
    units = len(run.units)
    reduces, gathers = {0: (1, 1), 1: (1, 1), 2: (k, 1), 3: (k, 2 * k)}[stage]
    assert run.calls == {"reduce_scatter": reduces * units, "all_gather": gathers * units, "other": 2}


@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("optimizer, words", [("sgd", 0), ("momentum", 1), ("adam", 2)])
def test_resting_bytes_are_the_papers(stage, optimizer, words, comm):
    settings = {"momentum": {"lr": 0.1, "momentum": 0.9}}.get(optimizer, {"lr": 0.1})
    name = {"momentum": "sgd"}.get(optimizer, optimizer)
    run = Small(stage, dtype="float32", steps=4, optimizer=name, settings=settings).run()
    psi, n = sum(u.layout.padded for u in run.units), comm.size
    held = {
        "parameter": 4 * psi // (n if stage == 3 else 1),
        "gradient": 4 * psi // (n if stage >= 2 else 1),
        "optimizer": 4 * words * psi // (n if stage >= 1 else 1),
    }
    assert {kind: nbytes for kind, nbytes in run.resting.items() if nbytes} == {
        k: v for k, v in held.items() if v
    }
    assert model_state_bytes(stage, psi, n, 4, 4, 4 * words) == held


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("reduce", ("auto", "ordered", "ring"))
@pytest.mark.parametrize("classes, hidden", [(True, (7, 5)), (False, (64,)), (False, ())])
def test_bill_and_dry_run_are_the_measurement_to_the_byte(stage, rule, reduce, classes, hidden, comm):
    no_ring_over_nccl(reduce)
    for k, shard_data in ((1, "contiguous"), (3, "hash")):
        settings = dict(classes=classes, hidden=hidden, micro_batches=k, shard_data=shard_data)
        compare(small(stage, rule, comm.size, reduce=reduce, **settings).run())


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("reduce", ("auto", "ring"))
@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
def test_prefetch_holds_two_units_and_sends_the_same(rule, reduce, dtype, comm):
    no_ring_over_nccl(reduce)
    run = small(3, rule, comm.size, reduce=reduce, dtype=dtype, prefetch=True, micro_batches=3).run()
    compare(run)
    sizes = [u.layout.padded * u.dtype.itemsize for u in run.units]
    assert run.peak["gathered"] == max(map(sum, zip(sizes, sizes[1:])))  # two neighbours
    sent, calls = run.sent, run.calls
    del run
    plain = small(3, rule, comm.size, reduce=reduce, dtype=dtype, micro_batches=3).run()
    assert (sent, calls) == (plain.sent, plain.calls)


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("classes, hidden", [(True, (7, 5)), (False, (64,)), (False, ())])
def test_bill_and_dry_run_are_the_measurement_with_16_bits_too(stage, dtype, classes, hidden, comm):
    for k, rule in ((1, "contiguous"), (3, "shares"), (1, "random"), (3, "hash")):
        settings = dict(classes=classes, hidden=hidden, micro_batches=k, dtype=dtype)
        compare(small(stage, rule, comm.size, **settings).run())


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("stage", [*range(4), "3, prefetch"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("k", (1, 3))
def test_a_gradient_added_up_in_float32_takes_the_bytes_that_are_said(stage, rule, dtype, k, comm):
    number = int(str(stage)[0])
    same = dict(dtype=dtype, micro_batches=k, prefetch="prefetch" in str(stage))
    wide = small(number, rule, comm.size, accumulate="float32", **same).run()
    compare(wide)
    counts = [u.layout.counts for u in wide.units]
    whole, own = sum(map(sum, counts)), sum(c[comm.rank] for c in counts)
    rest, sent = wide.resting, wide.sent
    del wide
    narrow = small(number, rule, comm.size, **same).run()
    more = 2 * (whole if KEEPS[number]["gradient"] == "all" else own)  # 4 bytes a number, not 2
    assert rest == narrow.resting | {"gradient": narrow.resting["gradient"] + more}
    # Stages 0 and 1 reduce what they have added up, and stage 0 gathers it; nothing else sends more.
    times = {"reduce_scatter": 2 if number in (0, 1) else 1, "all_gather": 2 if number == 0 else 1}
    assert sent == {name: times.get(name, 1) * nbytes for name, nbytes in narrow.sent.items()}


@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("dtype", NARROW)
def test_resting_bytes_with_16_bits_are_the_papers(stage, dtype, comm):
    run = Small(stage, dtype=dtype, steps=4).run()
    psi, n = sum(u.layout.padded for u in run.units), comm.size
    paper = {0: 16 * psi, 1: 4 * psi + 12 * psi // n, 2: 2 * psi + 14 * psi // n, 3: 16 * psi // n}
    assert sum(run.resting.values()) == paper[stage]
    assert sum(model_state_bytes(stage, psi, n, 2, 2, 12).values()) == paper[stage]
    moved = {0: 2, 1: 2, 2: 2, 3: 3}[stage] * psi * (n - 1) // n
    assert run.sent["reduce_scatter"] + run.sent["all_gather"] == 2 * moved


def test_the_peak_falls_from_stage_to_stage(comm):
    if comm.size == 1:
        pytest.skip("one rank has nothing to share out")
    peaks = [Small(s, dtype="float32", steps=4, hidden=(64, 64, 64, 64)).run().peak_total for s in range(4)]
    assert peaks == sorted(peaks, reverse=True) and len(set(peaks)) == 4


@pytest.mark.parametrize("hidden", [(7, 5), (64, 8, 64)])
def test_stage_3_never_has_more_than_one_unit_gathered(hidden):
    run = Small(3, dtype="float32", hidden=hidden, micro_batches=2, steps=4).run()
    largest = 4 * max(u.layout.padded for u in run.units)
    assert run.peak["gathered"] == largest
    assert run.peak["full_gradient"] == largest


def test_stage_3_sets_up_one_unit_at_a_time(comm):
    """While the model is made: the shards, and one whole unit, and never more."""
    ledger.forget_peaks()
    before = ledger.live["gathered"]
    run = Small(3, dtype="float32", hidden=(64, 64, 64), steps=0)
    peaks = []
    forget = ledger.forget_peaks
    ledger.forget_peaks = lambda: (peaks.append(dict(ledger.peak)), forget())
    try:
        run.run()
    finally:
        del ledger.forget_peaks
    assert peaks[0]["gathered"] - before == 4 * max(u.layout.padded for u in run.units)


@pytest.mark.parametrize("stage", range(4))
def test_every_rank_owns_what_its_layout_says_and_nothing_else(stage, comm):
    run = small(stage, "hash", comm.size).run()
    for u in run.units:
        own, full = u.layout.counts[comm.rank], u.layout.padded
        assert u.param.shape == (own if stage == 3 else full,)
        assert u.grad.shape == (own if stage >= 2 else full,)
        assert u.optimizer.m.shape == u.optimizer.v.shape == (own if stage >= 1 else full,)
        assert np.all(array.to_numpy(u.grad) == 0), "the gradient is cleared after a step"


def test_nothing_of_a_run_stays_alive(comm):
    before = dict(ledger.live)
    Small(3, steps=2).run()
    assert dict(ledger.live) == before
