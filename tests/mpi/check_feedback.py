"""Error feedback: what codes of gradients lose comes back, on every rank, for every unit, after a resume."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from check_zeropp import run as command
from compared import compare
from small import Small

from zero_ref import array
from zero_ref.checkpoint import saving
from zero_ref.comm import Comm
from zero_ref.extras.feedback import drift_of
from zero_ref.launch import UsageError
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger
from zero_ref.train import choose
from zero_ref.train.options import parse

DEVICE = os.environ.get("ZERO_REF_TEST_DEVICE", "cpu")
N = Comm().size
DIVISORS = [g for g in range(1, N + 1) if N % g == 0]
ARRANGEMENTS = [dict(machine=g) for g in DIVISORS] + [dict(group=g) for g in DIVISORS]
SGD = dict(optimizer="sgd", settings=dict(lr=0.1, momentum=0.9, weight_decay=0.01))
STEPS = 30


def ranks_with(feedback, code="4/5", **where):
    """All ranks, whose gradients are coded."""
    run = Small(3, code_gradients=code, error_feedback=feedback, dtype="float32", reduce="ordered", **where)
    return choose.comm(run.options())


def layouts(size):
    """Of two units with as many elements, 61: one might be taken for the other."""
    shapes = {"weight": (10, 6), "bias": (1,)}
    return [
        FlatLayout("one", shapes, size, "hash", seed=2),
        FlatLayout("two", shapes, size, shares=[1 + r % 3 for r in range(size)]),
    ]


def gradient(rank, number, layout):
    """A rank's of a step and a unit."""
    values = np.random.default_rng([rank, number, *layout.name.encode()]).normal(size=layout.padded)
    values[layout.elements :] = 0
    return values.astype("float32")


def summed(comm, vector):
    """The sum of a NumPy vector over all ranks of the program."""
    return np.sum(comm.everyone([float(v) for v in vector]), axis=0)


def off_by(comm, feedback, constant, calls=1, steps=STEPS, drifts=None):
    """By unit and step: what is sent less what should be, of this rank's shard, and what all ranks owe of it.

    constant: the gradient is the same in each step. calls: reduce-scatters of a unit in a step. drifts: gets
    what the summary would say.
    """
    world, found, kept = Comm(), {}, []
    for layout in layouts(comm.size):
        if feedback:
            kept.append(comm.feedback.keep(layout))
        found[layout] = []
    lacks = {layout: np.zeros(layout.counts[comm.rank]) for layout in found}
    for step in range(steps):
        comm.step = step + 1
        for layout in found:
            for call in range(calls):
                number = 0 if constant else step * calls + call
                full = array.from_numpy(gradient(world.rank, number, layout), "full_gradient")
                shard = array.to_numpy(comm.reduce_scatter(full, layout))
                each = [gradient(rank, number, layout).astype("float64") for rank in range(N)]
                total = array.xp.asarray(np.sum(each, axis=0))
                lacks[layout] += shard - array.to_numpy(layout.shard(total, comm.rank))
            owed = 0.0
            if feedback:
                mine = array.to_numpy(comm.feedback.owed[layout]).astype("float64")
                owed = summed(world, mine)[layout.slice_of(comm.rank)] / (1 - comm.feedback.beta)
            found[layout].append((lacks[layout].copy(), owed))
    if drifts is not None:
        drifts.append(drift_of(comm, world))
    return found


@pytest.mark.rest("many small sums", every=3)
@pytest.mark.parametrize("where", ARRANGEMENTS, ids=str)
@pytest.mark.parametrize("feedback", ("0", "0.8"))
def test_with_feedback_all_steps_together_lack_what_is_owed_and_no_more(feedback, where):
    """So it does not grow: what is owed of a number is at most half a step of one message."""
    comm, world = ranks_with(feedback, **where), Comm()
    seen = [abs(gradient(r, n, a)).max() for r in range(N) for n in range(STEPS) for a in layouts(N)]
    bound = 3 * N * 1.5 * max(seen) / 13 / (1 - float(feedback))  # 4 bits: half a step is a 14th; of sums
    lack = 0.0
    drifts = []
    for layout, steps in off_by(comm, feedback, constant=False, drifts=drifts).items():
        for lacks, owed in steps:
            assert np.allclose(lacks, -owed, atol=1e-4), layout.name
            assert (abs(lacks) <= bound).all()
        lack += norm(world, steps[-1][0]) ** 2 / (N // comm.size)  # every group has it
    (drift,) = drifts
    assert math.sqrt(lack) <= drift + 1e-4 and (N == 1 or drift > 0)


@pytest.mark.rest("many small sums", every=3)
@pytest.mark.parametrize("where", ARRANGEMENTS, ids=str)
def test_without_feedback_it_grows_with_every_step(where):
    ends = []
    for feedback in (None, "0"):
        found = off_by(ranks_with(feedback, **where), feedback, constant=True, steps=20).values()
        for steps in found if feedback is None else []:
            for number, (lacks, _) in enumerate(steps, 1):
                assert np.allclose(lacks, number * steps[0][0], rtol=1e-3, atol=1e-4)
        ends.append(max(norm(Comm(), steps[-1][0]) for steps in found))
    assert N == 1 or ends[1] < ends[0] / 4


def norm(world, lacks):
    """Over all ranks."""
    return math.sqrt(sum(world.everyone(float((lacks**2).sum()))))


@pytest.mark.rest("many small sums", every=3)
@pytest.mark.parametrize("where", ARRANGEMENTS, ids=str)
def test_it_is_dropped_once_after_so_many_steps_and_not_between_micro_batches(where):
    """0.5/3 with two gradients a step: after 3 and 6 steps, not between the two of the step that follows."""
    comm = ranks_with("0.5/3", **where)
    for steps in off_by(comm, "0.5/3", constant=False, calls=2, steps=8).values():
        before = 0.0  # what was lost for good
        for number, (lacks, owed) in enumerate(steps, 1):
            assert np.allclose(lacks, before - owed, atol=1e-4), number
            if number in (3, 6):
                before = lacks


@pytest.mark.parametrize("where", ARRANGEMENTS[: len(DIVISORS)], ids=str)
@pytest.mark.parametrize("odd", (np.nan, np.inf))
def test_a_number_that_is_not_finite_is_owed_by_nobody(odd, where):
    comm, layout = ranks_with("0", **where), layouts(N)[0]
    owed = comm.feedback.keep(layout)
    for number in range(3):
        full = array.from_numpy(gradient(comm.rank, number, layout), "full_gradient")
        full[3:50] = odd if number == 1 else 1
        shard = array.to_numpy(comm.reduce_scatter(full, layout))
        finite = Comm().everyone(bool(np.isfinite(shard).all()))
        assert all(finite) == (number != 1)
        assert np.isfinite(array.to_numpy(owed)).all()


# -- bytes --


@pytest.mark.rest("a run for each", every=19)
@pytest.mark.parametrize("rule", ("contiguous", "hash", "shares", "tensors"))
@pytest.mark.parametrize("where", ARRANGEMENTS, ids=str)
@pytest.mark.parametrize(
    "way",
    [
        dict(stage=0),
        dict(stage=1, dtype="bfloat16"),
        dict(stage=2, overlap=True),
        dict(stage=3, code_weights="8/7", reduce_once=True),
        dict(stage=3, overlap=True, recompute=True, dtype="float64"),
        dict(stage=3, code_weights="8/7", offload="host", keep_after_forward=True),
    ],
    ids=str,
)
def test_formulas_and_dry_run_are_the_measurement_to_the_byte(way, where, rule):
    if way.get("overlap") and DEVICE != "cpu":
        pytest.skip("--overlap is for CPUs")
    group = where.get("group") or N
    rules = dict(shares=[1 + (r + 1) % 3 for r in range(group)]) if rule == "shares" else dict(rule=rule)
    settings = dict(dtype="float32", reduce="ordered", micro_batches=3, steps=3, clip_norm=0.42)
    settings |= dict(code_gradients="8/7", error_feedback="0.5/2") | SGD
    plain = Small(**(settings | dict(error_feedback=None) | rules | where | way)).run()
    resting, plain = plain.resting, None
    run = Small(**(settings | rules | where | way)).run()
    compare(run)
    owed = 4 * sum(u.layout.padded for u in run.units)
    assert run.resting == resting | {"gradient": resting["gradient"] + owed}
    if way.get("stage") != 3 and "group" not in where:
        assert len(set(run.world.everyone(run.sha256))) == 1


def test_nothing_of_a_run_stays_alive():
    before = dict(ledger.live)
    Small(3, steps=2, dtype="float32", code_gradients="8/7", error_feedback="0.5").run()
    assert dict(ledger.live) == before


# -- the command --

LINE = "--quiet --batch-size 12 --hidden 7,5 --seed 4 --clip-norm 0.4 --steps 6 --code-gradients 4/16"


@pytest.fixture
def folder(comm, tmp_path):
    """A folder that is the same on all ranks."""
    return comm.everyone(str(tmp_path))[0]


@pytest.mark.rest("three runs of the command", every=5)
@pytest.mark.parametrize("where", ARRANGEMENTS, ids=str)
@pytest.mark.parametrize("feedback, optimizer", [("0.5/2", "sgd --lr 0.1"), ("0", "adam"), ("0.8/3", "adam")])
def test_a_resumed_run_has_the_same_bits(feedback, optimizer, where, folder):
    ((name, number),) = where.items()
    extra = f"--error-feedback {feedback} --optimizer {optimizer}"
    place = f"--{name} {number}"
    whole = command(LINE, extra, place, f"--save {folder}/whole --save-every 3 --check")
    again = command(f"--quiet {place} --resume {folder}/whole/step-00000003 --verify-every 1")
    assert again["weights_sha256"] == whole["weights_sha256"] and again["loss"] == whole["loss"][3:]
    assert again["config"]["error_feedback"] and again["drift"] == whole["drift"]
    assert (N == 1) == (whole["drift"] == 0)
    without = command(f"--quiet {place} --resume {folder}/whole/step-00000003 --error-feedback none")
    assert without["drift"] is None
    if N > 1:
        assert without["weights_sha256"] != whole["weights_sha256"]


def test_other_ranks_begin_with_nothing_owed(folder):
    line = f"{LINE} --error-feedback 0 --machine 1"
    command(line, f"--save {folder}/whole --save-every 3")
    again = command(f"--quiet --resume {folder}/whole/step-00000003 --shard-model hash")
    assert len(again["loss"]) == 3 and again["drift"] is not None


def damage(file, how):
    """A file of a checkpoint is not there, is longer, or has another byte."""
    content = file.read_bytes()
    file.unlink()
    if how != "is missing":
        file.write_bytes(content + b"x" if how == "bytes, not" else content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.rest("a run for each", every=3)
@pytest.mark.parametrize("how", ("is damaged", "bytes, not", "is missing"))
def test_a_damaged_file_of_what_is_owed_is_one_line_on_all_ranks(how, folder):
    command(f"{LINE} --error-feedback 0 --save {folder}/whole")
    if Comm().rank == 0:
        damage(Path(folder, "whole", "step-00000006", f"owed-{N - 1:05d}.safetensors"), how)
    Comm().mpi.Barrier()
    with pytest.raises(UsageError, match=f"owed-{N - 1:05d}.safetensors .*{how}") as error:
        saving.open_together(f"{folder}/whole")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "line, said",
    [
        ("--error-feedback 0", "--error-feedback needs --code-gradients: without codes nothing is lost"),
        (
            "--error-feedback 0 --code-gradients 4 --dtype float16",
            "--error-feedback does not go with float16: its loss scale changes between two gradients",
        ),
        ("--error-feedback 1", "expected a number from 0 to below 1, perhaps with /STEPS, or none, not '1'"),
        ("--error-feedback 0/0", "or none, not '0/0'"),
        ("--error-feedback nan", "or none, not 'nan'"),
    ],
)
def test_what_is_refused_is_refused_in_one_line(line, said):
    with pytest.raises(UsageError) as end:
        parse(line.split())
    assert said in str(end.value) and "\n" not in str(end.value)
