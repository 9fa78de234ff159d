"""Other files of a stage, --overlap, --keep-after-forward, --reduce-once: their stage's bits, other bytes."""

import gc
import os
import weakref
from pathlib import Path

import numpy as np
import pytest
from check_bytes import RULES, small
from check_events import COLLECTIVE, uneven
from compared import compare
from small import Small, SmallGpt

from zero_ref import array
from zero_ref import comm as collectives
from zero_ref.comm import Comm
from zero_ref.extras.overlap import OverlapComm
from zero_ref.layout import FlatLayout
from zero_ref.report import page
from zero_ref.train import options
from zero_ref.train import run as training
from zero_ref.train.watch import Check, Mismatch

DEVICE = os.environ.get("ZERO_REF_TEST_DEVICE", "cpu")
N = Comm().size
ON_CPU = pytest.mark.skipif(DEVICE != "cpu", reason="--overlap is for CPUs")
VARIANTS = {
    "2, overlap": dict(stage=2, overlap=True),
    "3, overlap": dict(stage=3, overlap=True),
    "3, keep": dict(stage=3, keep_after_forward=True),
    "3, once": dict(stage=3, reduce_once=True),
}
CASES = [pytest.param(name, marks=ON_CPU if "overlap" in name else ()) for name in VARIANTS]
OVERLAPS = CASES[:2]
OPTIMIZERS = {
    "sgd": dict(optimizer="sgd", settings=dict(lr=0.1, momentum=0.9, weight_decay=0.01)),
    "adam": dict(optimizer="adam", settings=dict(lr=0.01, weight_decay=0.01)),
}
CLIP = 0.55  # in some of the steps


def where(rule, size=N):
    return {"shares": [1 + (r + 1) % 3 for r in range(size)]} if rule == "shares" else {"rule": rule}


def results(run):
    return run.sha256, tuple(run.norms), tuple(run.losses)


# -- bits --


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rule", RULES)
def test_bits_are_those_of_the_stage(name, rule):
    """With more micro-batches, too, of which some have no sample; reduced once, they are those of stage 1."""
    number = list(VARIANTS).index(name) + RULES.index(rule)
    dtype = ("float32", "float16", "bfloat16", "float32")[number % 4]
    for k, batch in ((1, 12), (3, 12), (3, 6)):
        same = dict(dtype=dtype, clip_norm=CLIP, steps=5, micro_batches=k, batch_size=batch)
        same |= where(rule) | OPTIMIZERS["sgd" if (number + k) % 3 else "adam"] | {"reduce": "ordered"}
        stage = 1 if "once" in name else VARIANTS[name]["stage"]
        run, plain = Small(**VARIANTS[name], **same).run(), Small(stage, **same).run()
        assert results(run) == results(plain)
        if k == 1:
            assert results(run) == results(Small(3, **same).run())
        assert any(norm > CLIP for norm in run.norms) and any(norm < CLIP for norm in run.norms)


@pytest.mark.rest("six runs", every=4)
@pytest.mark.parametrize("name", CASES[2:])
@pytest.mark.parametrize("reduce", ("auto", "native", "ring"))
def test_and_with_every_sum(name, reduce):
    same = dict(dtype="float32", clip_norm=CLIP, steps=5, micro_batches=2, reduce=reduce, **OPTIMIZERS["sgd"])
    plain = Small(1 if "once" in name else 3, **same).run()
    assert results(Small(**VARIANTS[name], **same).run()) == results(plain)


@pytest.mark.parametrize("name", OVERLAPS)
@pytest.mark.parametrize("group", [g for g in range(1, N + 1) if N % g == 0])
def test_overlap_in_groups_has_the_bits_of_groups(name, group):
    same = dict(dtype="float32", clip_norm=CLIP, steps=5, micro_batches=2, group=group, reduce="ordered")
    run = Small(**VARIANTS[name], **same, **OPTIMIZERS["sgd"]).run()
    assert results(run) == results(Small(VARIANTS[name]["stage"], **same, **OPTIMIZERS["sgd"]).run())
    compare(run)


@pytest.mark.rest("GPTs", every=2)
@pytest.mark.parametrize("name", CASES)
def test_a_gpt_that_recomputes(name):
    same = dict(dtype="float32", clip_norm=CLIP, steps=3, micro_batches=3, reduce="ordered", recompute=True)
    run = SmallGpt(**VARIANTS[name], **same).run()
    assert results(run) == results(SmallGpt(1 if "once" in name else VARIANTS[name]["stage"], **same).run())
    compare(run)


# -- bytes --


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rule", RULES)
def test_bill_and_dry_run_are_the_measurement_to_the_byte(name, rule, comm):
    number = list(VARIANTS).index(name) + RULES.index(rule)
    classes, hidden = [(True, (7, 5)), (False, (64,)), (False, ())][number % 3]
    for k, dtype, accumulate in ((1, "float32", None), (3, "bfloat16", ("float32", None)[number % 2])):
        settings = dict(classes=classes, hidden=hidden, micro_batches=k, accumulate=accumulate)
        compare(small(rule=rule, size=comm.size, dtype=dtype, **VARIANTS[name], **settings).run())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("k", (1, 3))
def test_bytes_are_those_that_are_said(name, k, comm):
    run = small(rule="contiguous", size=N, micro_batches=k, **VARIANTS[name]).run()
    sizes = [4 * u.layout.padded for u in run.units]
    psi, pair = sum(sizes), max(map(sum, zip(sizes, sizes[1:])))
    times = {"2, overlap": k + 1, "3, overlap": 3 * k, "3, keep": 2 * k, "3, once": 2 * k + 1}[name]
    assert run.sent["reduce_scatter"] + run.sent["all_gather"] == times * psi * (N - 1) // N
    assert run.peak["full_gradient"] == (pair if "overlap" in name else max(sizes))
    gathered = {"2, overlap": 0, "3, overlap": pair, "3, keep": psi, "3, once": max(sizes)}[name]
    assert run.peak["gathered"] == gathered and run.resting["gathered"] == 0
    assert run.resting["parameter"] == (psi if name[0] == "2" else psi // N)
    assert run.resting["gradient"] == (psi if "once" in name else psi // N)


@pytest.mark.parametrize("name", OVERLAPS)
def test_overlap_makes_as_many_calls_and_sends_the_same(name):
    same = dict(rule="random", size=N, micro_batches=3, reduce="ordered")
    run = small(**VARIANTS[name], **same).run()
    sent, calls, peak = run.sent, run.calls, run.peak
    del run
    plain = small(VARIANTS[name]["stage"], prefetch=name[0] == "3", **same).run()
    assert (sent, calls, peak["gathered"]) == (plain.sent, plain.calls, plain.peak["gathered"])


@pytest.mark.rest("other extras", every=2)
@pytest.mark.parametrize("name", CASES)
def test_with_the_optimizer_elsewhere_too(name, comm):
    shards = name in ("3, overlap", "3, keep") and DEVICE == "cpu"  # they stay on a GPU
    same = dict(offload="host", offload_shards=shards, micro_batches=2, reduce="ordered", clip_norm=CLIP)
    run = small(rule="hash", size=comm.size, **VARIANTS[name], **same).run()
    compare(run)
    same |= dict(offload=None, offload_shards=False)
    plain = small(1 if "once" in name else 3, "hash", comm.size, **same).run()
    assert results(run) == results(plain)


@ON_CPU
@pytest.mark.skipif(N < 3, reason="with fewer the scratch of an update is the most")
@pytest.mark.parametrize("stage", (2, 3))
def test_others_parts_of_one_unit_are_here_at_a_time(stage):
    same = dict(hidden=(60, 50), optimizer="sgd", settings=dict(lr=0.1), micro_batches=2, reduce="ordered")
    run = small(stage, "contiguous", N, overlap=True, **same).run()
    assert run.peak["buffer"] == 4 * (N - 1) * max(max(u.layout.counts) for u in run.units)


# -- what is under way --


@ON_CPU
def test_what_is_under_way_outlives_whoever_began_it(comm):
    """A stage that fails between start and finish leaves memory that MPI writes: nobody may free it."""
    c, layout = OverlapComm(), FlatLayout("unit", {"weight": (97,)}, comm.size)
    before = set(collectives.UNDER_WAY)
    full = array.zeros(layout.padded, "float32", "full_gradient")
    full += comm.rank
    seen = weakref.ref(full)

    def fails(full):
        going = (
            c.start_reduce_scatter(full, layout),
            c.start_all_gather(full[: layout.counts[c.rank]], layout),
        )
        raise ValueError(len(going))

    with pytest.raises(ValueError):
        fails(full)
    del full
    gc.collect()
    left = collectives.UNDER_WAY - before
    assert seen() is not None and len(left) == 2
    for each in left:
        shard = c.finish_reduce_scatter(each) if hasattr(each, "terms") else c.finish_all_gather(each)
        assert shard is not None
    del shard
    gc.collect()
    assert seen() is None, "what is finished keeps it, as long as a stage has that"
    assert before == collectives.UNDER_WAY


@ON_CPU
def test_observers_are_told_of_beginning_and_end(comm):
    c, layout, told = OverlapComm(), FlatLayout("unit", {"weight": (97,)}, comm.size), []

    class Observer:
        def before(self, call):
            told.append(("before", call))

        def after(self, call):
            told.append(("after", call))

    c.observers.append(Observer())
    full = array.zeros(layout.padded, "float32", "full_gradient")
    c.finish_reduce_scatter(c.start_reduce_scatter(full, layout))
    calls = [(f"{name}_reduce_scatter", layout, np.dtype("f4")) for name in ("start", "finish")]
    assert told == [(when, call) for call in calls for when in ("before", "after")]


@pytest.mark.parametrize("name", ["finish_all_gather", "finish_reduce_scatter", "finish_second_copy"])
def test_what_is_finished_is_about_what_was_begun(name, comm):
    """Or about a layout that is said beside it, as of a copy that is dealt in another way (hpZ)."""

    class Begun:
        layout, dtype = FlatLayout("begun", {"weight": (9,)}, comm.size), np.dtype("f4")

    said = FlatLayout("said", {"weight": (9,)}, comm.size)
    more = (said,) if name == "finish_second_copy" else ()
    assert collectives.call_of(name, (Begun, *more)).layout is (said if more else Begun.layout)


@ON_CPU
@pytest.mark.skipif(N == 1, reason="one rank agrees with itself")
def test_a_rank_that_does_not_begin_is_named(comm):
    c = OverlapComm()
    check = Check([c])
    layout = FlatLayout("layers.0", {"weight": (5, 7)}, comm.size)
    full = array.zeros(layout.padded, "float32", "full_gradient")
    with pytest.raises(Mismatch) as caught:
        if comm.rank == N - 1:
            c.sum(1.0)
        c.start_reduce_scatter(full, layout)
    assert f"rank {N - 1}: sum of one number" in str(caught.value)
    assert "start_reduce_scatter of layers.0" in str(caught.value)
    c.observers.remove(check)


# -- the command --

LINE = "--quiet --batch-size 12 --hidden 7,5 --seed 4 --clip-norm 0.4 --micro-batches 2"
OPTIONS = {
    "2, overlap": "--stage 2 --overlap",
    "3, overlap": "--stage 3 --overlap",
    "3, keep": "--stage 3 --keep-after-forward",
    "3, once": "--stage 3 --reduce-once",
}


@pytest.fixture
def folder(comm, tmp_path):
    """A folder that is the same on all ranks."""
    return Path(comm.everyone(str(tmp_path))[0])


@pytest.mark.rest("eight runs", every=4)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("rule", ("hash", "shares"))
def test_the_record_and_the_events_add_up(name, rule, folder, comm):
    line = f"{LINE} --steps 3 {OPTIONS[name]} --device {DEVICE} --report {folder}/page.html --language en"
    line += uneven("", N) if rule == "shares" else f" --shard-model {rule}"
    result = training.train(options.parse([*line.split(), "--check"]))
    sent = page.traffic(result)
    names = COLLECTIVE | {"finish_reduce_scatter": "reduce_scatter"}
    for number, (rank, row, recorded) in enumerate(
        zip(result["ranks"], sent, result["recorded_step"]["ranks"])
    ):
        assert rank["resting_bytes"] == rank["predicted"]["resting_bytes"]
        said = rank["formula"]
        assert rank["sent_bytes_per_step"] == said["sent_bytes_per_step"]
        assert {kind: rank["peak_bytes"][kind] for kind in said["peak_bytes"]} == said["peak_bytes"]
        ended = [event for event in recorded["events"] if event[1] == "end" and event[4]]
        by_name = dict.fromkeys(rank["sent_bytes_per_step"], 0)
        for event in ended:
            by_name[names[event[2]]] += event[4]
        assert by_name == rank["sent_bytes_per_step"] and row[number] == 0
        assert abs(sum(row) - sum(by_name.values())) <= N * len(ended)
    if "overlap" in name:
        without = line.replace("--overlap", "--prefetch" if name[0] == "3" else "") + " --reduce ordered"
        assert sent == page.traffic(training.train(options.parse(without.split())))


@pytest.mark.rest("three runs each", every=2)
@pytest.mark.parametrize("name", CASES)
def test_a_run_is_resumed_in_bits(name, folder):
    line = f"{LINE} {OPTIONS[name]} --device {DEVICE} --dtype float16 --shard-model random --reduce ordered"
    whole = training.train(options.parse([*line.split(), "--steps", "6"]))
    training.train(options.parse([*f"{line} --steps 3 --save {folder}".split()]))
    from zero_ref.checkpoint import saving

    checkpoint = saving.open_together(str(folder))
    more = ["--quiet", "--steps", "6", "--resume", str(folder), *OPTIONS[name].split(), "--device", DEVICE]
    again = training.train(options.parse(more, checkpoint.manifest.arguments), checkpoint)
    assert again["weights_sha256"] == whole["weights_sha256"]
    assert again["loss"] == whole["loss"][3:]
