"""Every element has one place and one rank, for every rule, shape and number of ranks."""

import os
import subprocess
import sys

import numpy as np
import pytest

from zero_ref.layout import FlatLayout, bounds, hash_owner

SIZES = [1, 2, 3, 4, 5, 8]
RULES = ["contiguous", "random", "hash", "shares"]
SHAPES = {
    "11": {"weight": (2, 4), "bias": (3,)},
    "prime": {"weight": (97,)},
    "one": {"bias": (1,)},
    "8320": {"weight": (64, 128), "bias": (128,)},
    "21007": {"weight": (3000, 7), "bias": (7,)},
}
every_layout = pytest.mark.parametrize(
    "rule, size, shapes", [(r, n, s) for r in RULES for n in SIZES for s in SHAPES]
)


def make(rule, size, shapes, seed=0):
    if rule == "shares":
        shares = [3, 1, 0, 2, 5, 1, 1, 4][:size]
        return FlatLayout("layers.0", SHAPES[shapes], size, shares=shares, seed=seed)
    return FlatLayout("layers.0", SHAPES[shapes], size, rule, seed=seed)


@every_layout
def test_every_element_is_in_one_shard(rule, size, shapes):
    layout = make(rule, size, shapes)
    full = np.arange(layout.padded)
    shards = [layout.shard(full, rank) for rank in range(size)]
    assert [shard.shape for shard in shards] == [(count,) for count in layout.counts]
    assert np.sort(np.concatenate(shards)).tolist() == full.tolist()


@every_layout
def test_rank_order_is_one_shard_after_another(rule, size, shapes):
    layout = make(rule, size, shapes)
    full = np.random.default_rng(2).normal(size=layout.padded)
    ranked = layout.rank_order(full)
    shards = [layout.shard(full, rank) for rank in range(size)]
    assert (ranked == np.concatenate(shards)).all()
    for rank, shard in enumerate(shards):
        assert (ranked[layout.slice_of(rank)] == shard).all()


@every_layout
def test_model_order_comes_back(rule, size, shapes):
    layout = make(rule, size, shapes)
    full = np.random.default_rng(2).normal(size=layout.padded)
    ranked = layout.rank_order(full)
    # Where nothing moves the two orders are one array, and nothing is to be written.
    back = ranked if layout.blocks is None else np.full(layout.padded, np.nan)
    layout.to_model_order(ranked, back)
    assert (back == full).all()


@every_layout
def test_counts_offsets_and_padding_fit(rule, size, shapes):
    layout = make(rule, size, shapes)
    assert len(layout.counts) == len(layout.offsets) == size
    assert layout.offsets == [sum(layout.counts[:rank]) for rank in range(size)]
    assert layout.padded == sum(layout.counts)
    psi = sum(int(np.prod(shape)) for shape in SHAPES[shapes].values())
    assert layout.elements == psi
    limit = {"contiguous": size, "random": size * layout.block, "hash": layout.block, "shares": 1}[rule]
    assert 0 <= layout.padded - psi < limit
    assert all(type(n) is int for n in [layout.elements, layout.padded, *layout.counts, *layout.offsets])


@every_layout
def test_tensors_are_views_in_model_order(rule, size, shapes):
    layout = make(rule, size, shapes)
    full = np.arange(layout.padded)
    views = layout.views(full)
    assert {name: view.shape for name, view in views.items()} == SHAPES[shapes]
    assert all(np.shares_memory(view, full) for view in views.values())
    assert np.concatenate([view.ravel() for view in views.values()]).tolist() == list(range(layout.elements))


@pytest.mark.parametrize("rule, copies", [("contiguous", 0), ("shares", 0), ("random", 1), ("hash", 1)])
@pytest.mark.parametrize("shapes", ["11", "8320"])
def test_only_blocks_that_move_are_copied(rule, copies, shapes):
    layout = make(rule, 4, shapes)
    full = np.arange(layout.padded)
    assert (layout.rank_order(full) is full) == (not copies)
    assert all(
        np.shares_memory(layout.shard(full, r), full) == (not copies) for r in range(4) if layout.counts[r]
    )


def test_contiguous_slices_are_equal():
    layout = make("contiguous", 4, "11")
    assert (layout.counts, layout.offsets, layout.padded) == ([3, 3, 3, 3], [0, 3, 6, 9], 12)
    assert layout.shard(np.arange(12), 3).tolist() == [9, 10, 11]


@pytest.mark.parametrize("shares", [[1, 1], [2, 1, 1], [3, 0, 1], [1, 10, 100, 1000], [7]])
@pytest.mark.parametrize("shapes", SHAPES)
def test_shares_are_in_proportion_within_one_element(shares, shapes):
    layout = FlatLayout("u", SHAPES[shapes], len(shares), shares=shares)
    exact = [layout.elements * share / sum(shares) for share in shares]
    assert all(abs(count - wanted) < 1 for count, wanted in zip(layout.counts, exact))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shapes", SHAPES)
def test_random_gives_every_rank_as_much(size, shapes):
    assert len(set(make("random", size, shapes).counts)) == 1


@pytest.mark.parametrize("rule", ["random", "hash"])
def test_blocks_are_dealt_by_seed_and_name(rule):
    full = np.arange(make(rule, 4, "8320").padded)

    def first_shard(name, seed):
        return FlatLayout(name, SHAPES["8320"], 4, rule, seed=seed).shard(full, 0).tolist()

    assert first_shard("layers.0", 3) == first_shard("layers.0", 3)
    assert first_shard("layers.0", 3) != first_shard("layers.0", 4)
    assert first_shard("layers.0", 3) != first_shard("layers.1", 3)


@pytest.mark.parametrize("rule", ["random", "hash"])
@pytest.mark.parametrize("size", [2, 3, 4, 5, 8])
def test_blocks_are_mixed(rule, size):
    layout = make(rule, size, "21007")
    starts = layout.shard(np.arange(layout.padded), 0)[:: layout.block]
    assert layout.block <= layout.elements // (8 * size)
    assert len(set(np.diff(starts))) > 1  # neither one slice nor every N-th block


def test_hash_is_close_to_even():
    number, size = 4000, 4
    counts = np.bincount([hash_owner(0, "sample", i, [1] * size) for i in range(number)])
    assert len(counts) == size
    assert abs(counts - 1000).max() < 5 * (4000 * 1 / 4 * 3 / 4) ** 0.5  # five standard deviations


def test_hash_goes_by_shares():
    counts = np.bincount([hash_owner(0, "sample", i, [3, 0, 1]) for i in range(4000)], minlength=3)
    assert counts[1] == 0
    assert abs(counts[0] - 3000) < 5 * (4000 * 3 / 4 * 1 / 4) ** 0.5


# The same on every machine and in every version: otherwise two runs of one seed would differ.
OWNERS = [
    ((0, "layers.0", [1] * 4), [1, 1, 2, 3, 1, 2, 1, 1, 2, 1, 0, 3, 2, 0, 0, 0]),
    ((7, "sample", [1] * 3), [2, 1, 1, 0, 1, 2, 0, 2, 2, 2, 0, 1, 2, 0, 1, 1]),
    ((0, "sample", [3, 0, 1]), [0, 2, 0, 0, 0, 0, 2, 0, 0, 2, 0, 2, 2, 2, 0, 0]),
]


@pytest.mark.parametrize("key, owners", OWNERS)
def test_hash_owners_never_change(key, owners):
    seed, name, shares = key
    assert [hash_owner(seed, name, i, shares) for i in range(16)] == owners


@pytest.mark.parametrize("salt", ["1", "2"])
def test_hash_owners_are_the_same_in_another_process(salt):
    code = (
        "from zero_ref.layout import hash_owner\n"
        f"for (seed, name, shares), owners in {OWNERS!r}:\n"
        "    assert [hash_owner(seed, name, i, shares) for i in range(16)] == owners"
    )
    path = os.pathsep.join(p for p in [os.getcwd(), os.environ.get("PYTHONPATH")] if p)
    environment = os.environ | {"PYTHONHASHSEED": salt, "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="unknown rule 'rows'"):
        FlatLayout("u", SHAPES["11"], 2, "rows")


@pytest.mark.parametrize("shares", [[], [1], [1, 1, 1], [0, 0], [2, -1]])
def test_shares_that_do_not_fit_are_refused(shares):
    with pytest.raises(ValueError, match="2 ranks need 2 shares"):
        FlatLayout("u", SHAPES["11"], 2, shares=shares)


@pytest.mark.parametrize("n", [0, 1, 7, 64, 1000003])
@pytest.mark.parametrize("shares", [[1], [1] * 8, [3, 1], [0, 2, 0], [2, 1, 1], [10**6, 1]])
def test_bounds_cut_in_proportion(n, shares):
    ends = bounds(n, shares)
    parts = np.diff(ends)
    assert len(parts) == len(shares) and ends[0] == 0 and ends[-1] == n
    assert all(abs(part - n * share / sum(shares)) < 1 and part >= 0 for part, share in zip(parts, shares))
    assert all(part == 0 for part, share in zip(parts, shares) if share == 0)
    if len(set(shares)) == 1:
        assert parts.max() - parts.min() <= 1


def test_bounds_are_exact_for_large_numbers():
    assert bounds(8, [2**62, 2**62]) == [0, 4, 8]
    assert bounds(10**17 + 1, [1, 2]) == [0, (10**17 + 1) // 3, 10**17 + 1]
