"""ZeRO++: the bits, the bounds and the bytes of codes, two hops and second copies.

Machines have any number of ranks that divides all; at 4 and 8 ranks (tests/test_zeropp.py) there are several.
"""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from compared import compare
from safetensors.numpy import load_file
from small import Small, SmallGpt

from zero_ref import array
from zero_ref.checkpoint import Checkpoint
from zero_ref.comm import UNDER_WAY, Comm
from zero_ref.extras import codes, zeropp
from zero_ref.extras.codes import Code, code_of
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger
from zero_ref.plan.zeropp import coded_bytes
from zero_ref.train import choose, options
from zero_ref.train import run as training

DEVICE = os.environ.get("ZERO_REF_TEST_DEVICE", "cpu")
N = Comm().size
DIVISORS = [g for g in range(1, N + 1) if N % g == 0]
SMALLER = DIVISORS[:-1]  # several machines
RULES = ("contiguous", "random", "hash", "shares", "one has all")
OPTIMIZERS = {
    "sgd": dict(optimizer="sgd", settings=dict(lr=0.1, momentum=0.9, weight_decay=0.01)),
    "adam": dict(optimizer="adam", settings=dict(lr=0.01, weight_decay=0.01)),
}
CLIP = 0.42
ALL = dict(code_weights="8/7", code_gradients="4/5")


def small(rule="contiguous", stage=3, kind=Small, **settings):
    where = {"rule": rule}
    if rule in ("shares", "one has all"):
        uneven = [1 + (r + 1) % 3 for r in range(N)]
        where = {"shares": uneven if rule == "shares" else [0] * (N - 1) + [1]}
    return kind(stage, **where, **(dict(dtype="float32", steps=6, reduce="ordered") | settings))


# -- bits --


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("near", SMALLER)
@pytest.mark.parametrize("prefetch", (False, True))
@pytest.mark.parametrize("dtype, optimizer", [("float32", "sgd"), ("bfloat16", "adam"), ("float16", "sgd")])
def test_second_copies_change_no_bit(dtype, optimizer, prefetch, near, rule):
    settings = dict(dtype=dtype, micro_batches=2, clip_norm=CLIP, prefetch=prefetch, **OPTIMIZERS[optimizer])
    plain = small(rule, **settings).run()
    ends = plain.sha256, plain.norms, plain.losses
    plain = None  # or its bytes would be those of the next
    run = small(rule, machine=near, hpz=True, **settings).run()
    compare(run)
    assert (run.sha256, run.norms, run.losses) == ends
    assert not run.comm.copies and not UNDER_WAY


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("reduce", ("auto", "native", "ordered"))
@pytest.mark.parametrize("near", DIVISORS)
def test_to_tell_machines_apart_changes_no_bit_and_no_byte(near, reduce, stage):
    settings = dict(stage=stage, reduce=reduce, clip_norm=CLIP, **OPTIMIZERS["adam"])
    run, plain = small("hash", machine=near, **settings).run(), small("hash", **settings).run()
    assert (run.sha256, run.norms, run.losses) == (plain.sha256, plain.norms, plain.losses)
    assert run.sent == plain.sent and run.calls == plain.calls
    assert (near == N) == (not any(run.between.values()))


def rounded(u, code):
    """A unit's parameters as its ranks compute with them: every shard through the code."""
    full = u.initial("gathered")
    ranked = u.layout.rank_order(full).copy()
    for rank in range(N):
        part = ranked[u.layout.slice_of(rank)]
        coded = np.empty(code.nbytes(part.size), "uint8")
        code.encode(array.to_numpy(part), coded)
        code.decode(coded, part)
    u.layout.to_model_order(ranked, full)
    return ranked if u.layout.blocks is None else full


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("code", ("8/7", "8/256", "fp8/5"))
@pytest.mark.parametrize("dtype", ("float32", "float64", "bfloat16"))
@pytest.mark.skipif(DEVICE != "cpu", reason="numbers are taken to codes by hand, with NumPy")
def test_everybody_computes_with_what_came_back_from_the_codes(dtype, code, rule):
    run = small(rule, dtype=dtype, steps=1, code_weights=code).run()
    for u in choose.units(run.options(), run.task, N, run.weights().__getitem__):
        started = run.comm.start_all_gather(
            mine := u.layout.shard(u.initial("gathered"), run.comm.rank), u.layout
        )
        for full in (run.comm.finish_all_gather(started), run.comm.all_gather(mine, u.layout)):
            assert full.dtype == u.dtype and full.tobytes() == rounded(u, code_of(code)).tobytes()
        assert run.comm.exact.all_gather(mine, u.layout).tobytes() == u.initial("gathered").tobytes()


@pytest.mark.parametrize("prefetch", (False, True))
@pytest.mark.parametrize("near", SMALLER)
def test_second_copies_of_codes_are_codes_alone(near, prefetch):
    settings = dict(
        code_weights="8/7", prefetch=prefetch, micro_batches=3, clip_norm=CLIP, **OPTIMIZERS["adam"]
    )
    ends = []
    for more in ({}, dict(machine=near, hpz=True)):
        run = None
        run = small("hash", **settings, **more).run()
        compare(run)
        ends.append((run.sha256, run.norms, run.losses))
    assert ends[0] == ends[1]


class NoCode(Code):
    """Numbers as they are, float32."""

    def nbytes(self, n):
        return 4 * n

    def encode(self, vector, coded):
        coded.view("float32")[...] = vector

    def decode(self, coded, vector):
        vector[...] = coded.view("float32")


def layouts(size=N):
    """Of 61 numbers."""
    shapes = {"weight": (10, 6), "bias": (1,)}
    for rule in RULES[:3]:
        yield FlatLayout("unit", shapes, size, rule, seed=2)
    yield FlatLayout("unit", shapes, size, shares=[1 + r % 3 for r in range(size)])
    yield FlatLayout("unit", shapes, size, shares=[0] * (size - 1) + [1])


def full_of(rank, layout, dtype="float32"):
    values = np.random.default_rng(rank).normal(size=layout.padded).astype(dtype)
    return array.from_numpy(values, "full_gradient")


@pytest.mark.parametrize("near", DIVISORS)
@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
def test_two_hops_without_a_code_are_sums_machine_by_machine(dtype, near, comm):
    kind = zeropp.around(Comm(), Comm, near, gradients=NoCode())
    for layout in layouts():
        all_ranks = [array.to_numpy(full_of(rank, layout, dtype)).astype("float32") for rank in range(N)]
        machines = [sum(all_ranks[first + 1 : first + near], all_ranks[first]) for first in range(0, N, near)]
        total = array.from_numpy(sum(machines[1:], machines[0]).astype(dtype), "buffer")
        shard = kind.reduce_scatter(full_of(comm.rank, layout, dtype), layout)
        assert array.to_numpy(shard).tobytes() == array.to_numpy(layout.shard(total, comm.rank)).tobytes()


# -- bounds --


def steps_of(vector, code):
    """The scale of each number's block."""
    blocks = [np.abs(vector[start : start + code.block]) for start in range(0, len(vector), code.block)]
    return np.repeat([max(b.max() / code.most, codes.TINY) for b in blocks], code.block)[: len(vector)]


@pytest.mark.parametrize("near", DIVISORS)
@pytest.mark.parametrize("name", ("8/256", "8/7", "4/256", "4/5"))
def test_a_sum_is_no_further_off_than_half_a_step_of_each_hop(name, near, comm):
    code = code_of(name)
    kind = zeropp.around(Comm(), Comm, near, gradients=code)
    for layout in layouts():
        fulls = [array.to_numpy(full_of(rank, layout)).astype(float) for rank in range(N)]
        parts = [array.to_numpy(layout.shard(array.xp.asarray(f), comm.rank)) for f in fulls]
        found = array.to_numpy(kind.reduce_scatter(full_of(comm.rank, layout), layout))
        if not found.size:  # all the others need this rank's part all the same
            continue
        exact = sum(parts)
        machine, bound, across = comm.rank // near, 0, 0
        for first in range(0, N, near):
            own = first + comm.rank % near  # the owner of my shard there adds up; its own part is exact
            inside = sum(steps_of(parts[r], code) for r in range(first, first + near) if r != own) / 2
            bound = bound + inside
            if first // near != machine:
                whole = np.abs(sum(parts[first : first + near])) + inside
                across = across + steps_of(whole, code) / 2
        assert (np.abs(found - exact) <= (bound + across) * (1 + 1e-4) + 1e-6).all()
        if N > 1:
            assert (np.abs(found - exact) > 1e-5).any(), "it is a code"


@pytest.mark.parametrize("group", DIVISORS)
@pytest.mark.parametrize("name", ("8/7", "4/5"))
def test_groups_get_the_same_sum_within_half_a_step_of_each_code(name, group, comm):
    """Of every rank's part, of every group's sum, and of the sum of all, which goes back."""
    kind, most = choose.comm(small(group=group, code_gradients=name).options()), code_of(name).most
    for layout in layouts(group):
        fulls = [array.to_numpy(full_of(rank, layout)).astype(float) for rank in range(N)]
        parts = [array.to_numpy(layout.shard(array.xp.asarray(f), kind.rank)) for f in fulls]
        found = array.to_numpy(kind.reduce_scatter(full_of(comm.rank, layout), layout))
        copies = comm.everyone([kind.rank, found.tobytes().hex()])
        assert len(set(map(tuple, copies))) == len({place for place, _ in copies})
        if not found.size:
            continue
        rounded = [abs(part).max() for r, part in enumerate(parts) if r % group != kind.rank]
        sums = [abs(sum(parts[first : first + group])).max() for first in range(0, N, group)]
        rounded += [*sums, sum(sums)] if group < N else []
        off = abs(found - sum(parts))
        assert (off <= 1.5 * sum(rounded) / most / 2 + 1e-6).all()
        assert N == 1 or (off > 1e-5).any(), "it is a code"


def test_groups_compute_with_codes_export_what_is_exact_and_send_what_the_formulas_say():
    for group, stage in itertools.product(DIVISORS, (0, 2, 3)):
        run_in_groups_with_codes(group, stage)


def test_muon_gathers_what_it_turns_as_it_is():
    """Not in codes, and without a copy for later; of the gather the far ranks are counted apart."""
    for near in DIVISORS:
        muon_among_machines(near)


def test_variants_of_a_stage_send_codes_as_often_as_the_formulas_say():
    for near, name in itertools.product(DIVISORS, ("keep_after_forward", "reduce_once", "overlap")):
        settings = dict(machine=near, micro_batches=2, steps=2, **ALL)
        if name != "overlap" or DEVICE == "cpu":
            compare(small("hash", **settings, **{name: True}).run())


def muon_among_machines(near):
    more = dict(optimizer="muon", settings=dict(lr=0.01, momentum=0.9, weight_decay=0.1), steps=3)
    run = small("hash", machine=near, hpz=near < N, code_weights="8/7", code_gradients="8/7", **more).run()
    compare(run)
    assert not run.comm.copies


def run_in_groups_with_codes(group, stage):
    weights = "8/7" if stage == 3 else None
    run = small("hash", stage, group=group, code_weights=weights, code_gradients="4/5", steps=2).run()
    compare(run)
    for u in run.units if stage == 3 else []:
        whole, coded = run.module.full_param(u, run.comm), run.comm.all_gather(u.param, u.layout)
        mine = array.to_numpy(u.layout.shard(whole, run.comm.rank))
        assert mine.tobytes() == array.to_numpy(u.param).tobytes()
        assert not np.array_equal(array.to_numpy(coded), array.to_numpy(whole))


@pytest.mark.parametrize("near", DIVISORS)
@pytest.mark.parametrize("number", (np.nan, np.inf))
def test_what_is_not_finite_on_one_rank_is_seen(number, near, comm):
    kind = zeropp.around(Comm(), Comm, near, Code("8", 5), Code("4", 5))
    for layout in layouts():
        full = full_of(comm.rank, layout)
        if comm.rank == N - 1:
            full[3] = number
        shard = kind.reduce_scatter(full, layout)
        odd = ~np.isfinite(array.to_numpy(kind.exact.all_gather(shard, layout)))
        assert odd[3] and odd.sum() <= 5 * near
        gathered = array.to_numpy(
            kind.all_gather(layout.shard(full_of(0, layout) / (layout.padded - 61 == 0), comm.rank), layout)
        )
        assert np.isfinite(gathered).all() == (layout.padded == 61)


def test_a_float16_run_leaves_out_the_steps_that_overflow_together(comm):
    run = small(dtype="float16", steps=8, machine=1, **ALL, **OPTIMIZERS["adam"]).run()
    assert len(set(comm.everyone([run.sha256, run.guard.scale, run.guard.steps]) and [run.sha256])) == 1
    assert all(np.isfinite(array.to_numpy(t).astype("float32")).all() for t in run.tensors)


# -- bytes --

WAYS = [
    dict(code_weights="8/7"),
    dict(code_weights="fp8/256", prefetch=True),
    dict(code_gradients="4/5", reduce="auto"),
    dict(code_gradients="8/256", dtype="bfloat16"),
    dict(prefetch=True, **ALL),
    dict(dtype="float64", reduce="native", **ALL),
]


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("near", DIVISORS)
@pytest.mark.parametrize("hpz", (False, True))
@pytest.mark.skipif(DEVICE != "cpu", reason="codes of fp8 are for the CPU")
def test_formulas_and_dry_run_are_the_measurement_to_the_byte(hpz, near, way, rule):
    hpz = hpz and near < N
    compare(small(rule, micro_batches=3, steps=4, machine=near, hpz=hpz, **way).run())


@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("near", DIVISORS)
def test_gradients_are_coded_at_every_stage(stage, near, comm):
    run = small(
        "hash", stage, micro_batches=2, machine=near, code_gradients="8/256", **OPTIMIZERS["adam"]
    ).run()
    compare(run)
    assert len(set(comm.everyone(run.sha256))) == 1


@pytest.mark.parametrize("near", DIVISORS)
def test_bytes_are_the_papers(near):
    """Everything at once, B = 8 and shards that are multiples of it: the table of extras/zeropp.py."""
    second = near < N
    hidden = (8 * N, 8 * N)
    coded = dict(machine=near, hpz=second, code_weights="8/8", code_gradients="4/8")
    run = small(hidden=hidden, classes=False, shares=[1] * N, micro_batches=2, steps=2, **coded)
    run.rule, run.shares = "contiguous", None
    run.run()
    psi = sum(u.layout.padded for u in run.units)
    weights, gradients, machines = psi * 1.5 / N, psi * 1.0 / N, N // near  # z = 1 + 4/8 and 1/2 + 4/8
    gathers = 1 if second else 2
    inside = weights * (near - 1) * gathers + (4 * psi / near * (near - 1) if second else 0)
    inside += gradients * (near - 1) * machines
    between = weights * (N - near) * gathers + gradients * (machines - 1)
    found = sum(run.between.values())
    rounding = 12 * len(run.units) * N * 4
    assert abs(found / 2 - between) <= rounding
    assert abs((run.sent["all_gather"] + run.sent["reduce_scatter"] - found) / 2 - inside) <= rounding


# -- training --


@pytest.mark.parametrize("kind", (Small, SmallGpt))
@pytest.mark.parametrize("near", DIVISORS)
def test_everything_together_learns_as_without(near, kind, comm):
    settings = dict(
        dtype="float32", steps=8, micro_batches=2, recompute=True, prefetch=True, **OPTIMIZERS["adam"]
    )
    plain = small(kind=kind, **settings).run()
    ends = plain.losses
    run = small(
        kind=kind, machine=near, hpz=near < N, code_weights="8/64", code_gradients="8/64", **settings
    ).run()
    assert len(set(comm.everyone(run.sha256))) == 1
    assert run.losses != ends and np.allclose(run.losses, ends, rtol=0.05), (run.losses, ends)


# -- the command --

LINE = "--quiet --batch-size 12 --hidden 7,5 --seed 4 --clip-norm 0.4 --steps 6 --code-weights 8/64"
LINE += " --code-gradients 4/16"


def run(*parts):
    """The record of a run of the command."""
    from zero_ref.checkpoint import saving

    line = [*" ".join(map(str, parts)).split(), "--device", DEVICE]
    asked = options.given(line)
    if asked.resume is None:
        return training.train(options.parse(line))
    checkpoint = saving.open_together(asked.resume)
    return training.train(options.parse(line, checkpoint.manifest.arguments), checkpoint)


@pytest.fixture
def folder(comm, tmp_path):
    """A folder that is the same on all ranks."""
    return Path(comm.everyone(str(tmp_path))[0])


@pytest.mark.parametrize("near", DIVISORS)
@pytest.mark.parametrize("dtype", ("float32", "float16"))
def test_a_resumed_run_has_the_same_bits_and_an_export_is_exact(dtype, near, folder):
    extra = f"--machine {near} --dtype {dtype} {'--hpz' if near < N else ''} --check --verify-every 1"
    whole = run(LINE, extra, f"--save {folder}/whole --save-every 3 --export {folder}/whole.safetensors")
    again = run(f"--quiet --machine {near} --resume {folder}/whole/step-00000003 --prefetch")
    assert again["weights_sha256"] == whole["weights_sha256"] and again["loss"] == whole["loss"][3:]
    assert again["config"]["code_weights"] == "8/64" and again["config"]["code_gradients"] == "4/16"
    last = Checkpoint(max((folder / "whole").glob("step-*")))  # or both would be what comes back from codes
    for name, tensor in load_file(folder / "whole.safetensors").items():
        assert np.array_equal(tensor, last.tensor(name).astype(dtype)), name
    start = f"--init {folder}/whole.safetensors --dtype {dtype} --steps 0"
    exact = run("--quiet --hidden 7,5 --seed 4 --batch-size 12", start)
    assert (exact["weights_sha256"], exact["test"]) == (whole["weights_sha256"], whole["test"])


def test_nothing_of_a_run_stays_alive():
    before = dict(ledger.live)
    small(machine=1, hpz=N > 1, steps=2, **ALL).run()
    assert dict(ledger.live) == before


def test_formula_of_bytes_is_that_of_the_codes():
    for n, name in itertools.product(
        (0, 1, 2, 7, 8, 9, 255, 256, 257, 1000), ("8/256", "4/7", "fp8/3", "4/256")
    ):
        assert coded_bytes(n, name) == code_of(name).nbytes(n)
