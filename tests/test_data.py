"""The built-in sets, the split, and who gets which sample when."""

import numpy as np
import pytest

from zero_ref.data import Batches, DataSet, split, variance
from zero_ref.datasets import load, synthetic
from zero_ref.launch import UsageError
from zero_ref.layout import hash_owner

RULES = ["contiguous", "random", "hash"]
SIZES = [1, 2, 3, 4, 5, 8]


def deal(samples, size, rule, batch_size=4, micro_batches=1, shares=None, **options):
    """The Batches of every rank, over samples 100, 101, ... of a larger set; x and y tell which."""
    number = 100 + samples
    x = np.stack([np.arange(number), -np.arange(number)], axis=1).astype("float32")
    data = DataSet(x, np.arange(number), number)
    return [
        Batches(
            data,
            np.arange(100, number),
            batch_size,
            micro_batches,
            rule,
            **options,
            rank=rank,
            shares=shares or [1] * size,
        )
        for rank in range(size)
    ]


every_deal = pytest.mark.parametrize(
    "rule, size, samples, batch_size, micro_batches",
    [
        (rule, size, *numbers)
        for rule in RULES
        for size in SIZES
        for numbers in [(7, 7, 1), (7, 4, 2), (23, 8, 1), (23, 8, 2), (25, 8, 4), (1, 8, 4), (64, 64, 1)]
    ],
)


def test_digits_are_complete():
    data = load("digits", "float32")
    assert (data.x.shape, data.x.dtype, data.y.dtype, data.classes) == ((1797, 64), "float32", "int64", 10)
    assert np.bincount(data.y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert data.x.min() == 0 and data.x.max() == 1
    assert (data.x * 16 == np.round(data.x * 16)).all()
    assert data.task.outputs == 10
    assert len(np.unique(data.x, axis=0)) == 1797


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_spoken_digits_are_complete(dtype):
    data = load("spoken", dtype)
    assert (data.x.shape, data.x.dtype, data.y.dtype, data.classes) == ((3000, 130), dtype, "int64", 10)
    assert np.bincount(data.y).tolist() == [300] * 10
    thirtyseconds = data.x.astype("f8") * 32  # exact in every type
    assert (thirtyseconds == np.round(thirtyseconds)).all() and abs(thirtyseconds).max() == 127
    coefficients = data.x.astype("f8").reshape(-1, 13)
    assert abs(coefficients.mean(axis=0)).max() < 1e-3 and abs(coefficients.std(axis=0) - 1).max() < 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_diabetes_is_complete_and_standardised(dtype):
    data = load("diabetes", dtype)
    assert (data.x.shape, data.y.shape, data.classes, data.task.outputs) == ((442, 10), (442, 1), 0, 1)
    assert data.x.dtype == data.y.dtype == dtype
    for values in (data.x, data.y):
        assert np.abs(values.mean(axis=0)).max() < 1e-5
        assert values.std(axis=0) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "samples, fraction, held_out", [(10, 0.2, 2), (1797, 0.2, 359), (7, 0, 0), (3, 0.1, 0)]
)
def test_split_is_disjoint_and_covers(samples, fraction, held_out):
    train, test = split(samples, fraction, seed=0)
    assert len(test) == held_out
    assert sorted([*train, *test]) == list(range(samples))
    assert (np.diff(train) > 0).all() and (np.diff(test) > 0).all()


def test_split_that_leaves_nothing_to_train_on_is_refused():
    with pytest.raises(UsageError, match="none of 2 samples"):
        split(2, 0.9, 0)


@pytest.mark.parametrize("samples", [1, 3, 4, 15, 442])
@pytest.mark.parametrize("targets", [[0.1], [0.1, -7.3], [1e-300], [0.0]])
def test_a_constant_has_no_variance(samples, targets):
    constant = np.tile(targets, (samples, 1))
    assert variance(constant) == 0
    assert variance(np.append(constant, constant[:1] + [1.0] * len(targets), axis=0)) > 0


def test_split_goes_by_seed():
    first, again, other = (split(1000, 0.2, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other


@every_deal
def test_every_sample_is_computed_once_an_epoch(rule, size, samples, batch_size, micro_batches):
    ranks = deal(samples, size, rule, batch_size, micro_batches)
    for epoch in (0, 1):
        seen = [
            int(i)
            for b in ranks
            for s in range(b.steps_per_epoch)
            for part in b.parts(epoch, s)
            for i in part
        ]
        assert sorted(seen) == list(range(100, 100 + samples))


@every_deal
def test_ranks_together_compute_the_global_batch(rule, size, samples, batch_size, micro_batches):
    ranks = deal(samples, size, rule, batch_size, micro_batches)
    alone = deal(samples, 1, "contiguous", batch_size, micro_batches)[0]
    for step in range(alone.steps_per_epoch):
        parts = [b.parts(3, step) for b in ranks]
        assert [len(part) for part in parts] == [micro_batches] * size
        together = [sorted(np.concatenate(part).tolist()) for part in zip(*parts)]
        assert together == [sorted(part.tolist()) for part in alone.parts(3, step)]
        assert np.concatenate(alone.parts(3, step)).tolist() == alone.global_batch(3, step).tolist()
        if rule != "hash":
            for part in zip(*parts):
                assert max(map(len, part)) - min(map(len, part)) <= 1


@every_deal
def test_global_batch_depends_on_no_rule_or_rank(rule, size, samples, batch_size, micro_batches):
    alone = deal(samples, 1, "contiguous", batch_size, 1)[0]
    for b in deal(samples, size, rule, batch_size, micro_batches):
        assert b.steps_per_epoch == alone.steps_per_epoch == -(-samples // batch_size)
        for step in reversed(range(b.steps_per_epoch)):
            assert b.global_batch(5, step).tolist() == alone.global_batch(5, step).tolist()


@pytest.mark.parametrize("micro_batches", [1, 2, 3, 4])
@pytest.mark.parametrize("samples", [1, 2, 7, 12])
def test_micro_batches_differ_by_one_sample_at_most(samples, micro_batches):
    lengths = [len(p) for p in deal(samples, 1, "contiguous", 12, micro_batches)[0].parts(0, 0)]
    assert sum(lengths) == samples and max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("rule", RULES)
def test_more_ranks_than_samples_leaves_some_without(rule):
    parts = [b.parts(0, 0)[0] for b in deal(7, 8, rule, 7)]
    assert sum(map(len, parts)) == 7
    assert min(map(len, parts)) == 0


def order(b, epoch):
    return [int(i) for s in range(b.steps_per_epoch) for i in b.global_batch(epoch, s)]


def test_epochs_have_different_orders_by_seed():
    b, same, other = (deal(50, 1, "contiguous", seed=seed)[0] for seed in (1, 1, 2))
    first, second = order(b, 0), order(b, 1)
    assert sorted(first) == sorted(second) == list(range(100, 150))
    assert first != sorted(first) and second != sorted(second) and first != second
    assert order(other, 0) not in (first, second)
    assert (order(same, 1), order(same, 0)) == (second, first)  # whatever epoch came before


def test_without_shuffling_the_order_is_that_of_the_set():
    b = deal(50, 1, "contiguous", shuffle=False)[0]
    assert order(b, 0) == order(b, 1) == list(range(100, 150))


def test_contiguous_parts_are_slices_of_the_batch():
    ranks = deal(12, 3, "contiguous", 12)
    assert np.concatenate([b.parts(0, 0)[0] for b in ranks]).tolist() == order(ranks[0], 0)


def test_random_deals_anew_for_every_batch_and_seed():
    def owners(seed, epoch, step):
        ranks = deal(64, 2, "random", 32, shuffle=False, seed=seed)
        return [sorted(b.parts(epoch, step)[0] % 32) for b in ranks]

    dealt = [owners(0, 0, 0), owners(0, 0, 1), owners(0, 1, 0), owners(1, 0, 0)]
    assert all(a != b for i, a in enumerate(dealt) for b in dealt[:i])
    assert owners(0, 0, 0) == dealt[0] != [list(range(16)), list(range(16, 32))]


@pytest.mark.parametrize("size", SIZES)
def test_hash_samples_stay_with_their_rank(size):
    ranks = deal(60, size, "hash", 8, 2, seed=4)
    assert sum(len(b.x) for b in ranks) == 60
    for rank, b in enumerate(ranks):
        own = [i for i in range(100, 160) if hash_owner(4, "sample", i, [1] * size) == rank]
        assert b.x[:, 0].tolist() == b.y.tolist() == own  # the rank stores no others
        for epoch in range(3):
            seen = [int(i) for s in range(b.steps_per_epoch) for part in b.parts(epoch, s) for i in part]
            assert sorted(seen) == own


@pytest.mark.parametrize("rule", ["contiguous", "random"])
def test_shares_deal_in_proportion(rule):
    big, small = deal(64, 2, rule, 16, 2, shares=[3, 1])
    for step in range(4):
        assert [len(part) for part in big.parts(0, step)] == [6, 6]
        assert [len(part) for part in small.parts(0, step)] == [2, 2]


def test_shares_deal_in_proportion_by_hash():
    big, none, small = deal(1000, 3, "hash", 16, shares=[3, 0, 1])
    assert len(none.x) == 0 and len(big.x) + len(small.x) == 1000
    assert 700 < len(big.x) < 800


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [1, 3])
def test_load_gives_the_rows_of_the_samples(rule, size):
    for b in deal(23, size, rule, 8, 2):
        for step in range(b.steps_per_epoch):
            parts = b.parts(1, step)
            loaded = list(b.arrays(parts))
            assert len(loaded) == 2
            for part, (x, y) in zip(parts, loaded):
                assert x[:, 0].tolist() == part.tolist() == (-x[:, 1]).tolist() == y.tolist()
                assert x.shape == (len(part), 2) and x.dtype == "float32"


@pytest.mark.parametrize(
    "dtype, wide", [("float32", "float32"), ("float64", "float64"), ("bfloat16", "float32")]
)
def test_synthetic_data_have_the_size_asked_for_and_can_be_learnt(dtype, wide):
    labels, numbers = synthetic(500, 40, 7, 3, dtype), synthetic(500, 40, 0, 3, dtype)
    assert labels.x.shape == numbers.x.shape == (500, 40) and labels.x.dtype == numbers.x.dtype == dtype
    assert labels.task.outputs == labels.classes == 7 and set(labels.y) == set(range(7))
    assert numbers.y.shape == (500, 1) and numbers.y.dtype == wide and numbers.task.outputs == 1
    x, y = numbers.x[:, :32].astype("float64"), numbers.y.astype("float64")
    left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    assert 0.005 < left.var() < 0.02 and y.var() > 0.5  # noise of 0.1, which no model can explain


def test_synthetic_data_go_by_seed():
    one, same, other = (synthetic(20, 3, 2, seed, "float32") for seed in (1, 1, 2))
    assert np.array_equal(one.x, same.x) and np.array_equal(one.y, same.y)
    assert not np.array_equal(one.x, other.x)
