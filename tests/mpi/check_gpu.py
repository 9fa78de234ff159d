"""What is of a GPU alone: kernels, memory by CuPy's pool, and the same training as on the CPU.

On a GPU, or with tests/pretend in PYTHONPATH on a pretended one; skipped elsewhere.
"""

import itertools
import os

import numpy as np
import pytest
from small import TRANSPORT, Small, ranks_with

from zero_ref import array, autograd, model, optim
from zero_ref.clip import clip, sum_of_squares
from zero_ref.comm import Comm
from zero_ref.data import Batches, DataSet
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger
from zero_ref.stages import STAGES, zero3_prefetch
from zero_ref.train.choose import fastest, local_rank, mpi_takes_device_arrays

pytestmark = pytest.mark.skipif(not array.on_gpu(), reason="no GPU")

OPTIMIZERS = {
    "sgd": (optim.SGD, {"lr": 0.05}),
    "sgd decay": (optim.SGD, {"lr": 0.05, "weight_decay": 0.1}),
    "sgd momentum": (optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "sgd momentum decay": (optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
    "adam": (optim.Adam, {"lr": 0.01}),
    "adam decay": (optim.Adam, {"lr": 0.03, "betas": (0.5, 0.9), "eps": 1e-2, "weight_decay": 0.1}),
    "adamw": (optim.AdamW, {"lr": 0.01}),
    "adamw decay": (optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
}


def on_device(values):
    return array.from_numpy(values, "buffer")


@pytest.fixture
def cpu(monkeypatch):
    """A function that runs another one with arrays on the CPU."""

    def on_the_cpu(action):
        array.select("cpu")
        try:
            return action()
        finally:
            array.select("gpu", local_rank(Comm()), mpi_takes_device_arrays())

    return on_the_cpu


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype, narrow", [("float32", None), ("float64", None), ("float32", "float16")])
def test_a_kernel_makes_the_bits_of_the_cpu(name, dtype, narrow, cpu):
    kind, settings = OPTIMIZERS[name]
    random = np.random.default_rng(4)
    start = random.normal(size=1000).astype(dtype)
    steps = [(random.normal(size=1000).astype(narrow or dtype), scale) for scale in (1.0, 0.3, 0.7, 0.0)]

    def updated():
        param, optimizer = on_device(start.copy()), fastest(kind)(1000, dtype, **settings)
        for grad, scale in steps:
            given = on_device(grad.copy())
            optimizer.update(param, given, scale)
            assert array.to_numpy(given).tobytes() == grad.tobytes()
        assert optimizer.steps == 3
        return [array.to_numpy(a).tobytes() for a in (param, *optimizer.state().values())]

    assert fastest(kind).__module__ == "zero_ref.extras.kernels" and fastest(kind).__name__ == kind.__name__
    assert cpu(lambda: fastest(kind)).__module__ != "zero_ref.extras.kernels"
    assert updated() == cpu(updated)


@pytest.mark.parametrize("n", (0, 1, 129, 100_003))
@pytest.mark.parametrize("dtype", ("float16", "bfloat16", "float32", "float64"))
def test_squares_are_added_in_float64(n, dtype):
    values = (np.random.default_rng(n).normal(size=n) * 300).astype(dtype)  # of float16, they overflow
    wide = values.astype(float)
    assert float(sum_of_squares(on_device(values))) == pytest.approx(float((wide * wide).sum()), rel=1e-12)


def test_an_update_needs_no_memory():
    for kind, settings in OPTIMIZERS.values():
        optimizer = fastest(kind)(1000, "float32", **settings)
        param, grad = on_device(np.ones(1000, "f4")), on_device(np.ones(1000, "f4"))
        with Pool() as pool:
            optimizer.update(param, grad, 1.0)
            assert pool.most == 0


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("dtype, far", [("float32", 1e-4), ("float64", 1e-11), ("float16", 2e-2)])
def test_training_is_that_of_the_cpu(stage, dtype, far, cpu):
    for optimizer, settings in (("sgd", {"lr": 0.1, "momentum": 0.9}), ("adamw", {"lr": 0.01})):
        settings = dict(
            dtype=dtype, optimizer=optimizer, settings=settings, clip_norm=0.42, micro_batches=2, steps=5
        )
        here = Small(stage, **settings).run()
        there = cpu(lambda stage=stage, settings=settings: Small(stage, transport="mpi", **settings).run())
        for a, b in zip(here.tensors, there.tensors):
            assert np.allclose(a.astype(float), b.astype(float), rtol=far, atol=far)
        assert np.allclose(here.losses, there.losses, rtol=far, atol=0)


@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
@pytest.mark.parametrize("rule", ("contiguous", "hash"))
def test_prefetch_makes_the_same_bits_and_holds_two_units(dtype, rule):
    settings = dict(dtype=dtype, rule=rule, reduce="auto", micro_batches=2, steps=4)
    plain, ahead = Small(3, **settings).run(), Small(3, prefetch=True, **settings).run()
    assert (ahead.sha256, ahead.losses, ahead.norms) == (plain.sha256, plain.losses, plain.norms)
    sizes = [u.layout.padded * u.dtype.itemsize for u in ahead.units]
    assert plain.peak["gathered"] == max(sizes)
    assert ahead.peak["gathered"] == max(map(sum, zip(sizes, sizes[1:])))


class Pool:
    """Bytes that have been asked of CuPy's pool and not given back, since it was entered.

    live: now; most: at most.
    """

    def __init__(self):
        import cupy

        pool = self

        class Hook(cupy.cuda.MemoryHook):
            name = "ledger"

            def malloc_postprocess(self, *, size, pmem_id, **_):
                pool.sizes[pmem_id] = size
                pool.live += size
                pool.most = max(pool.most, pool.live)

            def free_postprocess(self, *, pmem_id, **_):
                pool.live -= pool.sizes.pop(pmem_id, 0)

        self.hook, self.sizes, self.live, self.most = Hook(), {}, 0, 0

    def __enter__(self):
        self.hook.__enter__()
        return self

    def __exit__(self, *_):
        self.hook.__exit__()


WATCHED = {
    "empty zeros matmul subtract multiply divide greater exp log": lambda: array.xp,
    "reduce_scatter all_gather start_all_gather finish_all_gather sum": lambda: Comm,
    "forward backward": lambda: model.Unit,
    "backward": lambda: autograd.Tensor,
}


@pytest.mark.parametrize("stage, prefetch", [(0, False), (1, False), (2, False), (3, False), (3, True)])
@pytest.mark.parametrize(
    "rule, classes, dtype", [("contiguous", True, "float32"), ("hash", False, "float16")]
)
def test_the_ledger_is_the_pool(stage, prefetch, rule, classes, dtype, comm, monkeypatch):
    """At every call of an array function, a collective or a layer, to the byte."""
    Small(3, dtype=dtype, steps=1).run()  # what libraries take once, they have now
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 14) if classes else random.normal(size=(14, 3)).astype("float32")
    data = DataSet(random.normal(size=(14, 13)).astype(dtype), y, 3 if classes else 0)
    batches = Batches(data, np.arange(14), 9, 2, rank=comm.rank, shares=[1] * comm.size)
    units = model.build([13, 11, 6, 3], lambda n, s: FlatLayout(n, s, comm.size, rule), dtype, seed=0)
    module = zero3_prefetch if prefetch else STAGES[stage]
    ranks = ranks_with("auto", dtype)
    loss_grad = model.loss_grad(classes, 9)
    looked = itertools.count()

    with Pool() as pool:
        held = ledger.live_total
        ledger.forget_peaks()

        def look(where):
            next(looked)
            # The loss of each micro-batch is a number in the pool, and in no ledger.
            assert pool.live - (ledger.live_total - held) in (0, *LOSSES), where

        def watched(name, function):
            def call(*arguments, **keywords):
                look(f"before {name}")
                return function(*arguments, **keywords)

            return call

        for names, owner in WATCHED.items():
            for name in names.split():
                monkeypatch.setattr(owner(), name, watched(name, getattr(owner(), name)))
        module.setup(units, ranks, lambda n: fastest(optim.AdamW)(n, dtype))
        look("after setup")
        resting = pool.live
        for step in range(2):
            arrays = batches.arrays(batches.parts(0, step))
            module.step(units, ranks, arrays, loss_grad, lambda c, shards: clip(c, shards, 1.0))
            del arrays
            look("after a step")
            assert pool.live == resting
        assert next(looked) > 100
        assert 0 <= pool.most - (ledger.peak_total - held) <= SMALL
        monkeypatch.undo()
        del units, batches


# What no ledger counts and is gone at once: numbers on their own, row numbers of a batch, scratch of a sum.
SMALL = 4096
LOSSES = (4, 8, 12, 16, 20, 24)


def test_one_rank_needs_no_host_memory(comm, monkeypatch):
    if comm.size > 1 or not array.staged():
        pytest.skip("there are others to talk to")
    import cupyx

    monkeypatch.setattr(cupyx, "empty_pinned", lambda *_: pytest.fail("pinned memory"))
    for stage in range(4):
        Small(stage, reduce="auto", steps=2).run()


def test_memory_that_waiting_work_still_reads_is_not_overwritten(comm):
    """What has died is used again at once, though the GPU has not come to its last reader yet."""
    ranks, layout = (
        ranks_with("auto", "float32"),
        FlatLayout("unit", {"w": (20 * comm.size,)}, comm.size),
    )
    vectors = [
        np.random.default_rng([9, i, comm.rank]).normal(size=layout.padded).astype("f4") for i in range(9)
    ]
    doubled, gathered, reduced = [], [], []
    for vector in vectors:
        full = on_device(vector)
        doubled.append(full * 2)
        shard = ranks.shard(full, layout).copy()
        reduced.append(ranks.reduce_scatter(full, layout))
        del full
        gathered.append(ranks.all_gather(shard, layout) + 0)
    sums = [ranks.reduce_scatter(on_device(vector), layout) for vector in vectors]
    for vector, twice, whole, shard, again in zip(vectors, doubled, gathered, reduced, sums):
        everybodys = np.array(comm.everyone(vector.tolist()), "f4")
        own = layout.slice_of(comm.rank)
        assert np.array_equal(array.to_numpy(twice), 2 * vector)
        expected = np.concatenate([v[layout.slice_of(r)] for r, v in enumerate(everybodys)])
        assert np.array_equal(array.to_numpy(whole), expected)
        assert np.allclose(array.to_numpy(shard), everybodys.sum(0)[own], rtol=1e-5, atol=1e-5)
        assert np.array_equal(array.to_numpy(again), array.to_numpy(shard))


@pytest.mark.parametrize("stage", range(4))
def test_python_waits_for_two_numbers_a_step(stage, comm):
    """The norm and the loss, which are summed over the ranks; all else is for MPI's sake."""
    import cupy

    if not hasattr(cupy, "waits"):
        pytest.skip("a real GPU does not count")
    if comm.size > 1 and TRANSPORT == "mpi":
        pytest.skip("MPI has to be waited for")
    waits = []
    for steps in (1, 4):
        before = cupy.waits
        Small(stage, reduce="auto", steps=steps, micro_batches=3, dtype="float32").run()
        waits.append(cupy.waits - before)
    assert waits[1] - waits[0] == 3 * 2


def test_the_device_is_the_one_that_was_asked_for():
    assert os.environ["ZERO_REF_TEST_DEVICE"] == "gpu" and array.gpu_count() > 0
    run = Small(3, steps=1).run()
    assert all(type(u.param).__module__.startswith("cupy") for u in run.units)
