"""Numbers of 16 bits: equal stages, sums rounded once, a common decision on overflow, named NaNs."""

import ml_dtypes
import numpy as np
import pytest
from small import NARROW, Small, data, ranks_with

from zero_ref import array, model, optim
from zero_ref.launch import UsageError
from zero_ref.layout import FlatLayout
from zero_ref.precision import Guard, LossScale, Master, NotFinite
from zero_ref.stages import STAGES
from zero_ref.train.choose import fastest

TYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def rules(size):
    return [dict(rule="contiguous"), dict(rule="random"), dict(shares=[1 + (r + 1) % 3 for r in range(size)])]


@pytest.mark.rest("runs of every stage for each", every=7)
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("optimizer", ("sgd", "adam"))
@pytest.mark.parametrize("rule", range(3))
def test_stages_are_equal_in_bits(rule, optimizer, dtype, comm):
    settings = {"lr": 0.1, "momentum": 0.9} if optimizer == "sgd" else {"lr": 0.01}
    same = dict(dtype=dtype, optimizer=optimizer, settings=settings, clip_norm=0.4, steps=5)
    runs = [Small(stage, **same, **rules(comm.size)[rule]).run() for stage in range(4)]
    assert len({run.sha256 for run in runs}) == 1 and len({tuple(run.norms) for run in runs}) == 1
    runs = [Small(stage, micro_batches=3, **same, **rules(comm.size)[rule]).run() for stage in range(4)]
    assert runs[0].sha256 == runs[1].sha256 and runs[2].sha256 == runs[3].sha256


@pytest.mark.parametrize("dtype, far", [("float16", 0.005), ("bfloat16", 0.04)])
def test_training_follows_float32(dtype, far):
    settings = dict(optimizer="sgd", settings={"lr": 0.1, "momentum": 0.9}, clip_norm=0.4)
    narrow, wide = (Small(3, dtype=d, **settings).run() for d in (dtype, "float32"))
    assert np.allclose(narrow.losses, wide.losses, rtol=far, atol=0)
    assert narrow.tensors[0].dtype == TYPES[dtype]


@pytest.mark.parametrize("dtype", NARROW)
def test_a_sum_over_ranks_is_rounded_once(dtype):
    c, kind = ranks_with("native", dtype, "mpi"), TYPES[dtype]
    layout = FlatLayout("unit", {"w": (97,)}, c.size)
    parts = [np.random.default_rng(r).normal(size=layout.padded).astype(kind) for r in range(c.size)]
    parts[0][:5] = 2048.0  # to which 16 bits cannot add 1
    for part in parts[1:]:
        part[:5] = 1.0
    expected = parts[0].astype("f4")
    for part in parts[1:]:
        expected += part.astype("f4")
    full = array.from_numpy(parts[c.rank].copy(), "buffer")
    c.all_reduce(full, layout)
    assert array.to_numpy(full).tobytes() == expected.astype(kind).tobytes()


def prepared(scale, dtype="float16", stage=3):
    """A run that has made one good step, and what its second step needs."""
    run = Small(stage, dtype=dtype, optimizer="adam", steps=1).run()
    run.guard = LossScale(run.units, None, scale=scale) if dtype == "float16" else run.guard
    return run


def state(run):
    arrays = [
        a for u in run.units for a in (u.param, u.optimizer.master, *vars(u.optimizer.optimizer).values())
    ]
    return [array.to_numpy(a).tobytes() if hasattr(a, "nbytes") else a for a in arrays]


def on_device(values):
    return array.from_numpy(values, "buffer")


def step(run, stage, spoilt_rank, value):
    """One more step, in which the gradient of one rank's first sample is spoilt."""
    inner = model.loss_grad(True, 12, run.guard.scale)

    def loss_grad(outputs, y):
        g, loss = inner(outputs, y)
        if run.comm.rank == spoilt_rank and len(g):
            g[0, 0] = value
        return g, loss

    batches = run.batches.arrays(run.batches.parts(0, 1))
    with np.errstate(invalid="ignore"):
        return STAGES[stage].step(run.units, run.comm, batches, loss_grad, run.guard)


@pytest.mark.parametrize("stage", range(4))
def test_an_overflow_on_one_rank_leaves_all_ranks_as_they_were(stage, comm):
    run = prepared(1024.0, stage=stage)
    before = state(run)
    _, norm = step(run, stage, comm.size - 1, np.inf)
    assert not np.isfinite(norm)
    assert state(run) == before, "weights, master, momentum, variance or step count have changed"
    assert (run.guard.scale, run.guard.skipped, run.guard.good) == (512.0, 1, 0)
    step(run, stage, None, 0)
    assert state(run) != before and run.guard.good == 1


def test_the_loss_scale_grows_after_a_window_and_stops_at_its_floor(comm):
    run = prepared(4.0)
    run.guard = LossScale(run.units, None, scale=4.0, window=2, floor=3.0)
    step(run, 3, None, 0)
    assert run.guard.scale == 4.0
    step(run, 3, None, 0)
    assert (run.guard.scale, run.guard.good) == (8.0, 0)
    step(run, 3, None, 0)
    step(run, 3, 0, np.nan)
    assert (run.guard.scale, run.guard.good) == (4.0, 0), "an overflow begins a new window"
    step(run, 3, 0, np.nan)
    assert run.guard.scale == 3.0
    before = state(run)
    with pytest.raises(NotFinite, match=r"step 6: .* layers\.\d\."):
        step(run, 3, 0, np.nan)
    assert state(run) == before


def test_the_loss_scale_is_taken_out_of_norm_and_update():
    small, large = prepared(64.0), prepared(4096.0)
    norms = [step(run, 3, None, 0)[1] for run in (small, large)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-2)
    for a, b in zip(small.units, large.units):
        assert np.allclose(array.to_numpy(a.param), array.to_numpy(b.param), rtol=0, atol=1e-3)


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("stage", range(4))
def test_nan_stops_all_ranks_before_any_weight_changes(stage, dtype, comm):
    run = Small(stage, dtype=dtype, optimizer="adam", steps=1).run()
    before = [array.to_numpy(u.param).tobytes() for u in run.units]
    with pytest.raises(NotFinite, match=r"step 2: .* first in layers\.0\.weight \(rank"):
        step(run, stage, 0, np.nan)
    assert [array.to_numpy(u.param).tobytes() for u in run.units] == before


def test_the_guard_names_tensor_and_owner(comm):
    layout = FlatLayout("layers.7", {"weight": (9, 5), "bias": (9,)}, comm.size, "hash", seed=1)
    unit = model.Unit(layout, None, None, "float32", True)
    full = np.zeros(layout.padded, "f4")
    full[47] = np.nan  # bias[2]
    shard = layout.shard(on_device(full), comm.rank)
    with pytest.raises(NotFinite) as error:
        Guard([unit], None)(comm, [shard])
    owner = [r for r in range(comm.size) if np.isnan(array.to_numpy(layout.shard(on_device(full), r))).any()]
    assert str(error.value).endswith(f"first in layers.7.bias (rank {owner[0]}'s shard)") and len(owner) == 1


def test_a_finite_gradient_too_large_for_a_norm_is_told(comm):
    unit = model.Unit(FlatLayout("layers.0", {"weight": (9,)}, comm.size), None, None, "float64", True)
    with np.errstate(over="ignore"), pytest.raises(NotFinite, match=r"step 1: .* too large to have a norm"):
        Guard([unit], None)(comm, [on_device(np.full(unit.layout.counts[comm.rank], 1e200))])


@pytest.mark.parametrize("dtype, max_norm", [("float64", 5e-324), ("float32", 1e-50), ("float16", 1e-50)])
def test_a_clipping_factor_that_is_0_is_told_as_it_is(dtype, max_norm, comm):
    unit = model.Unit(FlatLayout("layers.0", {"weight": (9,)}, comm.size), None, None, dtype, True)
    shard = on_device(np.full(unit.layout.counts[comm.rank], 10, dtype))
    guard = (LossScale if dtype == "float16" else Guard)([unit], max_norm)
    with pytest.raises(UsageError, match=r"step 1: --clip-norm .* too small: the gradient has norm"):
        guard(comm, [shard])
    assert guard(comm, [0 * shard])[1] > 0, "of a gradient of zeros nothing is taken"
    assert guard.scale == type(guard)([unit], max_norm).scale, "that is no overflow"


def test_why_there_is_a_master_copy():
    """10,000 times 1e-4 added to 1: float16 stays at 1, with a float32 master it reaches 2."""
    alone, mastered = on_device(np.ones(1, "f2")), on_device(np.ones(1, "f2"))
    gradient = on_device(np.full(1, -1e-4, "f2"))
    SGD = fastest(optim.SGD)
    bare, master = SGD(1, "float16", lr=1.0), Master(1, lambda n: SGD(n, "float32", lr=1.0))
    for _ in range(10_000):
        bare.update(alone, gradient, 1.0)
        master.update(mastered, gradient, 1.0)
    assert float(alone[0]) == 1.0
    assert float(mastered[0]) == pytest.approx(2.0, abs=0.001)


def norm_of_many(stage, accumulate, dtype):
    """The norm of a step in which the last rank's 64 gradients of both biases are 1 and 63 times 2^-12."""
    prefetch = "prefetch" in str(stage)
    run = Small(int(str(stage)[0]), (), False, dtype, steps=0, accumulate=accumulate, prefetch=prefetch).run()
    gradients = iter([1.0, *[2.0**-12] * 63] if run.comm.rank == run.comm.size - 1 else [0.0] * 64)

    def loss_grad(outputs, y):
        return on_device(np.full((1, 2), next(gradients), TYPES[dtype])), 0.0

    x, y = np.zeros((1, 6), TYPES[dtype]), np.zeros((1, 2), "f4")
    parts = ((on_device(x.copy()), on_device(y.copy())) for _ in range(64))
    return run.module.step(run.units, run.comm, parts, loss_grad, Guard(run.units, None))[1]


@pytest.mark.parametrize("stage", [*range(4), "3, prefetch"])
@pytest.mark.parametrize("dtype", NARROW)
def test_micro_batches_are_added_up_in_float32_where_that_is_asked_for(stage, dtype):
    assert norm_of_many(stage, "float32", dtype) == pytest.approx(2**0.5 * (1 + 63 * 2**-12), rel=1e-12)
    assert norm_of_many(stage, None, dtype) == pytest.approx(2**0.5, rel=1e-12), "16 bits lose the other 63"


@pytest.mark.rest("runs of every stage for each", every=7)
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("optimizer", ("sgd", "adam"))
@pytest.mark.parametrize("rule", range(3))
def test_stages_that_add_up_in_float32_are_equal_in_bits(rule, optimizer, dtype, comm):
    settings = {"lr": 0.1, "momentum": 0.9} if optimizer == "sgd" else {"lr": 0.01}
    same = dict(dtype=dtype, optimizer=optimizer, settings=settings, clip_norm=0.4, steps=5)
    same |= dict(accumulate="float32", micro_batches=3, **rules(comm.size)[rule])
    runs = [Small(stage, **same).run() for stage in range(4)] + [Small(3, prefetch=True, **same).run()]
    assert runs[0].sha256 == runs[1].sha256 and len({run.sha256 for run in runs[2:]}) == 1
    narrow = Small(3, **(same | {"accumulate": None})).run()
    assert narrow.sha256 != runs[3].sha256
    first, second = runs[1].norms[:4], runs[2].norms[:4]  # later on a rounded bit may switch a ReLU
    assert np.allclose(first, second, rtol=0.01)


def test_data_for_the_tests_keeps_targets_wide():
    assert data(False, "float16").y.dtype == np.float32
