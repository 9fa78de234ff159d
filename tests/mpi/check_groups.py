"""`--group G`: the bits of a program that adds up group by group, and the bytes that are said.

G is every divisor of the number of ranks: at 4 and 6 ranks, see tests/test_groups.py, there are real groups.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from check_saving import contents
from compared import compare
from small import SAMPLES, Small

from zero_ref import array, model
from zero_ref.checkpoint import Checkpoint, saving
from zero_ref.clip import sum_of_squares
from zero_ref.comm import Comm
from zero_ref.extras.groups import Groups
from zero_ref.layout import FlatLayout
from zero_ref.report import page
from zero_ref.train import choose, options, replicas
from zero_ref.train import run as training
from zero_ref.train.watch import Check, Mismatch

DEVICE = os.environ.get("ZERO_REF_TEST_DEVICE", "cpu")
N = Comm().size
DIVISORS = [g for g in range(1, N + 1) if N % g == 0]
STAGES = [*range(4), "3, prefetch"]
RULES = ("contiguous", "random", "hash", "shares", "one has all")
OPTIMIZERS = {
    "sgd": dict(optimizer="sgd", settings=dict(lr=0.1, momentum=0.9, weight_decay=0.01)),
    "adam": dict(optimizer="adam", settings=dict(lr=0.01, weight_decay=0.01)),
}
CLIP = 0.42


def small(stage, group, rule="contiguous", **settings):
    where = {"rule": rule}
    if rule in ("shares", "one has all"):
        uneven = [1 + (r + 1) % 3 for r in range(group)]
        where = {"shares": uneven if rule == "shares" else [0] * (group - 1) + [1]}
    settings = dict(dtype="float32", steps=6, reduce="ordered") | settings
    return Small(int(str(stage)[0]), prefetch="prefetch" in str(stage), group=group, **where, **settings)


# -- one process, which adds up group by group --


def added(terms):
    """In their order; of 16 bits the sum is made in float32 and rounded once."""
    total = terms[0].astype("float32") if terms[0].itemsize == 2 else terms[0].copy()
    for term in terms[1:]:
        total += term
    return total.astype(terms[0].dtype)


def by_groups(parts, group):
    """The ranks of each group first, in rank order, then the groups, in theirs."""
    return added([added(parts[first : first + group]) for first in range(0, len(parts), group)])


def gradients(units, x, y, loss_grad):
    """The whole gradient of each unit, for these samples."""
    for u in units:
        x = u.forward(u.param, x)
    g, _ = loss_grad(x, y)
    found = []
    for u in reversed(units):
        g, grad = u.backward(u.param, g)
        found.insert(0, array.to_numpy(grad).copy())
    return found


def serial(run):
    """Final weights and norms of the same run in one process."""
    o, group, ranks = run.options(), run.group, range(N)
    units = choose.units(o, run.task, group, run.weights().__getitem__)
    for u in units:
        u.param, u.optimizer = u.initial("parameter"), choose.optimizer(o)(u.layout.padded)
    batches, norms = [run.batches_of(rank) for rank in ranks], []
    for number in range(run.steps):
        where = divmod(number, batches[0].steps_per_epoch)
        loss_grad = model.loss_grad(run.classes, len(batches[0].global_batch(*where)))
        found = [
            [gradients(units, x, y, loss_grad) for x, y in each.arrays(each.parts(*where))]
            for each in batches
        ]
        totals = []
        for i, u in enumerate(units):
            grads = [[np.zeros(u.layout.padded, u.dtype)] * (run.stage < 2) for _ in ranks]
            total = np.zeros(u.layout.padded, u.dtype)
            if run.stage >= 2:  # each micro-batch is summed over the ranks
                for part in range(run.micro_batches):
                    total += by_groups([found[rank][part][i] for rank in ranks], group)
            else:  # each rank adds up its own first
                for rank in ranks:
                    for part in range(run.micro_batches):
                        grads[rank][0] = grads[rank][0] + found[rank][part][i]
                total = by_groups([own for (own,) in grads], group)
            totals.append(array.from_numpy(total, "gradient"))
        squares = [
            float(sum(sum_of_squares(u.layout.shard(t, place)) for u, t in zip(units, totals)))
            for place in range(group)
        ]
        norms.append(sum(squares) ** 0.5)
        scale = min(1.0, run.clip_norm / (norms[-1] + 1e-6)) if run.clip_norm else 1.0
        for u, total in zip(units, totals):
            u.optimizer.update(u.param, total, scale)
    tensors = [t for u in units for t in u.layout.views(array.to_numpy(u.param)).values()]
    return tensors, norms


def same(tensors, others):
    return all(a.tobytes() == b.tobytes() for a, b in zip(tensors, others, strict=True))


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype, optimizer", [("float32", "sgd"), ("bfloat16", "adam")])
@pytest.mark.parametrize("group", DIVISORS)
def test_stages_are_equal_in_bits_to_a_program_that_adds_group_by_group(dtype, rule, optimizer, group, comm):
    settings = dict(dtype=dtype, clip_norm=CLIP, **OPTIMIZERS[optimizer])
    ends = []
    for stage in STAGES:
        run = None  # or the bytes of the one before would be those of the next
        run = small(stage, group, rule, **settings).run()
        compare(run)
        ends.append((run.tensors, run.norms, run.losses))
    tensors, norms = serial(run)
    for end in ends:
        assert same(end[0], tensors) and end[1] == norms and end[2] == ends[0][2]
    assert 0 < sum(norm > CLIP for norm in norms) < len(norms), "clipping is at work in some steps only"
    assert len(set(comm.everyone(run.sha256))) == 1


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("stage, rule", list(zip(STAGES, RULES)))
@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
@pytest.mark.parametrize("group", DIVISORS)
def test_with_micro_batches_too(dtype, stage, rule, group):
    settings = dict(micro_batches=3, shard_data="hash", dtype=dtype, clip_norm=CLIP, **OPTIMIZERS["sgd"])
    run = small(stage, group, rule, **settings).run()
    tensors, norms = serial(run)
    assert same(run.tensors, tensors) and run.norms == norms


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("reduce", ("auto", "native", "ordered", "ring"))
def test_one_group_of_all_is_no_groups_to_the_last_bit(stage, reduce, comm):
    settings = dict(reduce=reduce, clip_norm=CLIP, **OPTIMIZERS["sgd"])
    run = small(stage, N, **settings).run()
    plain = small(stage, None, **settings).run()
    assert (run.sha256, run.norms, run.losses) == (plain.sha256, plain.norms, plain.losses)
    assert not any(run.between.values()) and run.sent == plain.sent


@pytest.mark.parametrize("stage", STAGES)
def test_groups_of_one_sum_as_data_parallelism_does(stage):
    run = small(stage, 1, **OPTIMIZERS["sgd"]).run()
    plain = small(0, None, **OPTIMIZERS["sgd"]).run()
    assert (run.sha256, run.losses) == (plain.sha256, plain.losses)
    assert np.allclose(run.norms, plain.norms, rtol=1e-12, atol=0)  # whose squares are added in another order


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("dtype, reduce", [("float64", "native"), ("float64", "ring"), ("float16", "auto")])
@pytest.mark.parametrize("group", DIVISORS)
def test_the_model_is_that_of_no_groups_but_for_rounding(dtype, reduce, group):
    settings = dict(dtype=dtype, reduce=reduce, micro_batches=2, clip_norm=CLIP, **OPTIMIZERS["sgd"])
    run, plain = small(3, group, **settings).run(), small(3, None, **settings).run()
    far = dict(rtol=1e-12, atol=1e-12) if dtype == "float64" else dict(rtol=0.02, atol=0.02)
    for a, b in zip(run.tensors, plain.tensors):
        assert np.allclose(a.astype(float), b.astype(float), **far)
    assert np.allclose(run.norms, plain.norms, rtol=far["rtol"], atol=0, equal_nan=True)


# -- bytes --


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("group", DIVISORS)
def test_bill_and_dry_run_are_the_measurement_to_the_byte(rule, stage, group):
    ways = [dict(reduce="auto"), dict(reduce="ring"), dict(dtype="bfloat16", accumulate="float32")]
    settings = ways[(STAGES.index(stage) + RULES.index(rule)) % 3]
    compare(small(stage, group, rule, micro_batches=3, steps=4, **settings).run())


@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("group", DIVISORS)
def test_bytes_are_the_papers(stage, group, comm):
    groups, k = N // group, 3
    run = small(stage, group, micro_batches=k, steps=4, hidden=(60, 60)).run()
    psi = 4 * sum(u.layout.padded for u in run.units)
    times = {0: 2, 1: 2, 2: k + 1, 3: 3 * k}[stage]
    inside = times * psi * (group - 1) // group
    between = sum(run.between.values())
    assert run.sent["reduce_scatter"] + run.sent["all_gather"] - between == inside
    hops = k if stage >= 2 else 1
    # Slices between groups may differ by an element of each unit.
    said = hops * 2 * psi / group * (groups - 1) / groups
    assert abs(between - said) <= 4 * hops * len(run.units) * groups
    assert abs(sum(comm.everyone(between)) - N * said) < 1e-6 * N * said + 1e-9


# -- the command --

LINE = "--quiet --batch-size 12 --hidden 7,5 --seed 4 --clip-norm 0.4 --steps 6 --reduce ordered"


def run(*parts, resume=None):
    """The record of a run of the command."""
    line = [*" ".join(map(str, parts)).split(), "--device", DEVICE]
    if resume is None:
        return training.train(options.parse(line))
    checkpoint = saving.open_together(str(resume))
    o = options.parse([*line, "--resume", str(resume)], checkpoint.manifest.arguments)
    return training.train(o, checkpoint)


@pytest.fixture
def folder(comm, tmp_path):
    """A folder that is the same on all ranks."""
    return Path(comm.everyone(str(tmp_path))[0])


@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("group", DIVISORS)
def test_any_grouping_resumes_any_other(stage, group, folder):
    line = f"{LINE} --stage {stage} --shard-model random --dtype {('float32', 'float16')[stage % 2]}"
    whole = run(line, f"--group {group} --save {folder}/whole --save-every 3 --verify-every 1 --check")
    half = folder / "whole" / "step-00000003"
    assert len(Checkpoint(half).manifest.files) == group, "one group writes, and only one"
    again = run("--quiet", f"--group {group} --save {folder}/again", resume=half)
    assert again["weights_sha256"] == whole["weights_sha256"]
    ends = [contents(folder / name / "step-00000006") for name in ("whole", "again")]
    assert ends[0] == ends[1]
    for other in {None, *DIVISORS} - {group}:
        option = f"--group {other}" if other else ""
        end = run("--quiet", option, f"--stage {3 - stage} --steps 4", resume=half)
        assert end["config"]["group"] == other and end["loss"] == whole["loss"][3:4]


@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("group", DIVISORS)
def test_record_and_map_of_traffic_add_up(stage, group, folder):
    reduce = ("auto", "ring")[stage % 2]
    extra = f"--group {group} --stage {stage} --shard-model hash --micro-batches 2 --steps 3"
    result = run(LINE, extra, f"--reduce {reduce} --report {folder}/page.html --language en")
    assert result["config"]["group"] == group and len(result["owned"]) == N
    assert sum(rank["samples"] for rank in result["ranks"]) == 3 * 12, "every sample once, in one group"
    sent = page.traffic(result)
    for rank, (row, events) in enumerate(zip(sent, result["recorded_step"]["ranks"])):
        ended = [event for event in events["events"] if event[1] == "end"]
        assert sum(row) == sum(event[4] for event in ended) and row[rank] == 0
        between = sum(event[4] for event in ended if event[2] == "sum_between_groups")
        assert between == sum(result["ranks"][rank]["between_bytes_per_step"].values())
        loss = 8 * (N - group)
        others = sum(nbytes for other, nbytes in enumerate(row) if other // group != rank // group)
        assert others == between + loss
        strangers = [o for o in range(N) if o % group != rank % group and o // group != rank // group]
        assert all(row[other] == 8 for other in strangers), "the loss, and nothing else"


@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("group", DIVISORS[:-1])
def test_copies_are_compared_between_groups_too(stage, group, comm):
    found = small(stage, group, **OPTIMIZERS["adam"], steps=2).run()
    replicas.check_equal(2, found.nouns())
    last = found.units[-1]
    for vector in (last.param, *last.optimizer.state().values()):
        before = vector.copy()
        if comm.rank == N - 1:
            vector[0] += 1
        with pytest.raises(replicas.Diverged, match=rf"on rank .*\b{N - 1}\b|as on rank {N - 1}"):
            replicas.check_equal(2, found.nouns())
        vector[...] = before
        replicas.check_equal(2, found.nouns())


@pytest.mark.parametrize("group", DIVISORS[:-1])
def test_a_rank_that_leaves_out_the_sum_between_groups_is_named(group, comm):
    groups = choose.comm(small(3, group).options())
    check = Check([comm, groups])
    layout = FlatLayout("layers.0", {"weight": (5, 7)}, group)
    if comm.rank == N - 1:
        groups.sum_between_groups = lambda shard, layout: None
    full = array.zeros(layout.padded, "float32", "gradient")
    with pytest.raises(Mismatch) as caught:
        groups.reduce_scatter(full, layout)
        groups.sum(1.0)
    others = ", ".join(map(str, range(N - 1)))
    assert f"rank {others}: sum_between_groups of layers.0" in str(caught.value)
    assert f"rank {N - 1}: sum of one number" in str(caught.value)
    comm.observers.remove(check)


@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
@pytest.mark.parametrize("group", DIVISORS)
def test_reports_name_ranks_of_the_whole_run(dtype, group, comm):
    groups = choose.comm(small(3, group, dtype=dtype).options())
    assert isinstance(groups, Groups) and (groups.size, groups.rank) == (group, comm.rank % group)
    assert groups.everyone(comm.rank) == list(range(N))
    assert groups.sum(1.0) == group


def test_samples_are_dealt_to_all_ranks_once(comm):
    for group in DIVISORS:
        found = small(0, group, "shares")
        found.run()
        ids = [found.batches_of(rank).global_batch(0, 0) for rank in range(N)]
        parts = [sum(map(len, found.batches_of(rank).parts(0, 0))) for rank in range(N)]
        assert sum(parts) == len(ids[0]) < SAMPLES
