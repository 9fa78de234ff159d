"""`--shard-model tensors`: who owns what, without MPI."""

import math
from argparse import Namespace

import numpy as np
import pytest
from launching import mpirun

from zero_ref.data import Task
from zero_ref.extras.tensors import TensorLayout, deal, gaps, matrices, shapes_of
from zero_ref.train import choose, options

MODELS = {
    "mlp": ("--hidden 7,5,9", Task(6, 3, 3)),
    "deep mlp": ("--hidden 128,128,128,128,128,128,128,128", Task(64, 10, 10)),
    "linear": ("--model linear", Task(6, 3, 3)),
    "gpt": ("--model gpt --layers 3 --width 12 --heads 3 --context 7", Task(7, 11, 11, alphabet="a")),
    "gpt in buckets": (
        "--model gpt --layers 3 --width 12 --heads 3 --context 7 --bucket 4000",
        Task(7, 11, 11, alphabet="a"),
    ),
}


def model(name, size):
    line, task = MODELS[name]
    return choose.units(options.parse(["--shard-model", "tensors", *line.split()]), task, size)


def test_what_is_a_matrix():
    assert matrices(model("mlp", 2)) == {f"layers.{i}.weight" for i in range(3)}, "not of the last layer"
    parts = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    for name in ("gpt", "gpt in buckets"):
        assert matrices(model(name, 2)) == {f"h.{i}.{part}.weight" for i in range(3) for part in parts}
    assert matrices(model("linear", 2)) == set()


@pytest.mark.parametrize("size", (1, 2, 3, 4, 8))
@pytest.mark.parametrize("name", MODELS)
def test_every_element_has_one_owner_and_no_matrix_two(name, size):
    units = model(name, size)
    whole, owned = matrices(units), [0] * size
    for layout in (u.layout for u in units):
        assert isinstance(layout, TensorLayout) and layout.padded == layout.elements
        owner = np.full(layout.padded, -1)
        for rank in range(size):
            for start, stop in layout.ranges(rank):
                assert (owner[start:stop] == -1).all() and start < stop
                owner[start:stop] = rank
            owned[rank] += layout.counts[rank]
            assert sum(b - a for a, b in layout.ranges(rank)) == layout.counts[rank]
        assert (owner >= 0).all()
        for tensor, view in layout.views(owner).items():
            if f"{layout.prefix}{tensor}" in whole:
                assert len(set(view.reshape(-1))) == 1
    assert sum(owned) == sum(u.layout.padded for u in units)


@pytest.mark.parametrize("size", (1, 2, 3, 4, 8))
@pytest.mark.parametrize("name", MODELS)
def test_vectors_come_and_go(name, size):
    for layout in (u.layout for u in model(name, size)):
        full = np.arange(layout.padded, dtype=float)
        ranked = layout.rank_order(full)
        shards = [layout.shard(full, rank) for rank in range(size)]
        assert np.concatenate(shards).tolist() == ranked.tolist()
        back = ranked.copy() if layout.blocks is None else np.full(layout.padded, np.nan)
        layout.to_model_order(ranked, back)
        assert back.tolist() == full.tolist()
        for rank, shard in enumerate(shards):
            names = [layout.tensor_of(rank, place) for place in range(min(shard.size, 200))]
            views = layout.views(full)
            assert all(shard[place] in views[name] for place, name in enumerate(names))


def test_gaps_are_filled_from_the_lowest():
    assert gaps([10, 4, 0], 5) == [0, 0, 5] and gaps([10, 4, 0], 3) == [0, 0, 3]
    assert gaps([3, 3], 5) == [3, 2] and gaps([0], 7) == [7] and gaps([5, 0, 0], 0) == [0, 0, 0]


@pytest.mark.parametrize("seed", range(20))
def test_gaps_leave_no_rank_behind(seed):
    random = np.random.default_rng(seed)
    loads = random.integers(0, 50, random.integers(1, 9)).tolist()
    rest = int(random.integers(0, 200))
    found = gaps(loads, rest)
    ends = [a + b for a, b in zip(loads, found)]
    assert sum(found) == rest and min(found) >= 0
    filled = [end for end, gap in zip(ends, found) if gap]
    assert not filled or max(filled) - min(ends) <= 1


def test_the_largest_matrix_is_dealt_first():
    plan = deal({"a": (2, 4), "b": (2, 4), "c": (4, 4), "d": (3,)}, {"a", "b", "c"}, 2)
    assert plan == {"c": [(0, 0, 16)], "a": [(1, 0, 8)], "b": [(1, 0, 8)], "d": [(0, 0, 2), (1, 2, 3)]}


def test_balance_is_over_the_model_and_embeddings_fill_the_gaps():
    """Of nine layers 1.06 by the largest first; GPT-2 small is even, whose embedding alone is 31 % of it."""
    deep = model("deep mlp", 4)
    loads = [sum(u.layout.counts[rank] for u in deep) for rank in range(4)]
    assert max(loads) * 4 / sum(loads) < 1.07
    by_unit = max(max(u.layout.counts) * 4 / u.layout.padded for u in deep)
    assert by_unit > 3.9, "a unit is nearly all its owner's"
    h, blocks = 768, range(12)
    shapes = {
        f"h.{i}.{n}": (h, h * m) for i in blocks for n, m in (("qkv", 3), ("proj", 1), ("up", 4), ("down", 4))
    }
    whole = set(shapes)
    shapes |= {"wte.weight": (50257, h), "wpe.weight": (1024, h)}
    for size in (2, 4, 8, 16):
        plan = deal(shapes, whole, size)
        loads = [0] * size
        for rank, start, stop in (part for parts in plan.values() for part in parts):
            loads[rank] += stop - start
        assert sum(loads) == sum(map(math.prod, shapes.values()))
        assert max(loads) - min(loads) <= 1


def test_the_rule_is_remembered_and_named(tmp_path):
    line = ("--quiet", "--steps", "3", "--hidden", "9,7", "--shard-model", "tensors", "--save", str(tmp_path))
    assert mpirun(3, "-m", "zero_ref.train", *line).returncode == 0
    found = mpirun(2, "-m", "zero_ref.train", "--resume", str(tmp_path), "--steps", "5")
    assert found.returncode == 0 and "largest share over mean share" in found.stdout, found.stderr
    wrong = mpirun(0, "-m", "zero_ref.train", "--shard-model", "tensor")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1) and "tensors" in wrong.stderr


def test_a_dry_run_of_many_ranks_knows_it():
    line = "--device meta --ranks 64 --shard-model tensors --hidden 64,64,64 --batch-size 64"
    found = mpirun(0, "-m", "zero_ref.train", *line.split())
    assert found.returncode == 0 and " =" in found.stdout, found.stderr


def test_without_the_option_nothing_has_changed():
    o = options.parse([])
    assert o.shard_model == "contiguous" and isinstance(o, Namespace)
    units = choose.units(o, Task(6, 3, 3), 2)
    assert not any(isinstance(u.layout, TensorLayout) for u in units)
    assert list(shapes_of(units))[:2] == ["layers.0.weight", "layers.0.bias"]
