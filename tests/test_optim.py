"""SGD, Adam and AdamW against plain Python and against PyTorch; clipping by the global norm."""

import importlib.util
import math

import numpy as np
import pytest

from zero_ref.clip import LANES, clip, sum_of_squares
from zero_ref.extras import compiled
from zero_ref.ledger import ledger
from zero_ref.optim import BLOCK, SGD, Adam, AdamW

MAKERS = {
    "sgd": (SGD, {"lr": 0.05}),
    "sgd decay": (SGD, {"lr": 0.05, "weight_decay": 0.1}),
    "sgd momentum": (SGD, {"lr": 0.05, "momentum": 0.9}),
    "sgd momentum decay": (SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
    "adam": (Adam, {"lr": 0.01}),
    "adam decay": (Adam, {"lr": 0.01, "weight_decay": 0.1}),
    "adam other settings": (Adam, {"lr": 0.03, "betas": (0.5, 0.9), "eps": 1e-2}),
    "adamw": (AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    "adamw no decay": (AdamW, {"lr": 0.01, "weight_decay": 0.0}),
}
START = [0.5, -1.25, 2.0, -0.03125]
GRADIENT = [0.1, -0.7, 1.5, 30.0]


def make(name, n, dtype="float64"):
    kind, settings = MAKERS[name]
    return kind(n, dtype, **settings)


def naive(name, p, gradients):
    """One parameter, in Python floats, by the rules in the documentation of torch.optim."""
    kind, s = MAKERS[name]
    lr, decay = s["lr"], s.get("weight_decay", 0)
    beta1, beta2 = s.get("betas", (0.9, 0.999))
    buf = m = v = 0.0
    for t, g in enumerate(gradients, 1):
        if kind is SGD:
            g += decay * p
            buf = s.get("momentum", 0) * buf + g
            p -= lr * buf
            continue
        if kind is AdamW:
            p -= lr * decay * p
        else:
            g += decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p -= lr * (m / (1 - beta1**t)) / (math.sqrt(v / (1 - beta2**t)) + s.get("eps", 1e-8))
    return p


@pytest.mark.parametrize("name", MAKERS)
def test_updates_follow_the_documented_rules(name):
    rng = np.random.default_rng(3)
    start, grads, scales = rng.normal(size=9), rng.normal(size=(8, 9)), rng.uniform(0.1, 2, 8)
    optimizer, param = make(name, 9), start.copy()
    for grad, scale in zip(grads, scales):
        given = grad.copy()
        optimizer.update(param, grad, float(scale))
        assert (grad == given).all()  # the gradient is only read
    wanted = [naive(name, float(p), [float(x) for x in g]) for p, g in zip(start, (grads.T * scales))]
    assert param == pytest.approx(wanted, rel=1e-14, abs=1e-14)


GOLDEN = {
    "sgd": [0.4962499999999999, -1.2237500000000001, 1.9437499999999999, -1.1562500000000002],
    "sgd momentum decay": [
        0.4554378687238321,
        -1.135316794281242,
        1.8137388853816132,
        -0.24703556142788172,
    ],
    "adam": [0.5078808856869402, -1.257880888647815, 2.007880888911004, -0.023369110870220516],
    "adam decay": [0.4599543967117032, -1.2454226358030378, 1.998385425463722, -0.023362771203175932],
    "adamw": [0.5048452310537392, -1.2503564690106406, 1.9958677042837214, -0.023225223654083468],
}


@pytest.mark.parametrize("name", GOLDEN)
def test_updates_are_those_of_pytorch(name):
    """GOLDEN was printed by PyTorch 2.15.0 on a CPU:

    import torch

    def run(make):
        p = torch.tensor([0.5, -1.25, 2.0, -0.03125], dtype=torch.float64, requires_grad=True)
        optimizer = make([p])
        for k in range(1, 7):
            p.grad = torch.tensor([0.1, -0.7, 1.5, 30.0], dtype=torch.float64) * (-1) ** k * k / 4
            optimizer.step()
        return p.tolist()

    O = torch.optim
    print(run(lambda p: O.SGD(p, lr=0.05)))
    print(run(lambda p: O.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.1)))
    print(run(lambda p: O.Adam(p, lr=0.01)))
    print(run(lambda p: O.Adam(p, lr=0.01, weight_decay=0.1)))
    print(run(lambda p: O.AdamW(p, lr=0.01, weight_decay=0.1)))
    """
    optimizer, param = make(name, 4), np.array(START)
    for k in range(1, 7):
        optimizer.update(param, np.array(GRADIENT), (-1) ** k * k / 4)
    assert param == pytest.approx(GOLDEN[name], rel=1e-14)


def test_defaults_are_those_of_pytorch():
    for kind in (Adam, AdamW):
        adam = kind(1, "float64")
        assert (adam.lr, adam.betas, adam.eps) == (1e-3, (0.9, 0.999), 1e-8)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "n, cuts",
    [(11, [0, 3, 3, 10, 11]), (2 * BLOCK + 777, [0, 5, BLOCK - 1, BLOCK + 9000, 2 * BLOCK + 777])],
)
def test_shards_get_the_bits_of_the_whole(name, dtype, n, cuts):
    rng = np.random.default_rng(5)
    whole = rng.normal(size=n).astype(dtype)
    parts, optimizer = whole.copy(), make(name, n, dtype)
    shards = [(slice(a, b), make(name, b - a, dtype)) for a, b in zip(cuts, cuts[1:])]
    for scale in (1.0, 0.3, 0.7):
        grad = rng.normal(size=n).astype(dtype)
        optimizer.update(whole, grad, scale)
        for place, of_shard in shards:
            of_shard.update(parts[place], grad[place], scale)
    assert whole.tobytes() == parts.tobytes()
    assert whole.dtype == dtype


@pytest.mark.parametrize(
    "name, words", [("sgd", 0), ("sgd decay", 0), ("sgd momentum", 1), ("adam", 2), ("adamw", 2)]
)
@pytest.mark.parametrize("dtype, itemsize", [("float32", 4), ("float64", 8)])
def test_state_has_the_stated_size(name, words, dtype, itemsize):
    before = ledger.live["optimizer"]
    optimizer = make(name, 1000, dtype)
    assert ledger.live["optimizer"] - before == words * 1000 * itemsize
    optimizer.update(np.ones(1000, dtype), np.ones(1000, dtype), 1.0)
    assert ledger.live["optimizer"] - before == words * 1000 * itemsize
    del optimizer
    assert ledger.live["optimizer"] == before


@pytest.mark.parametrize("name", MAKERS)
def test_scratch_is_two_blocks_and_gone_afterwards(name):
    n = 2 * BLOCK + 1
    optimizer, param = make(name, n, "float32"), np.ones(n, "float32")
    before = ledger.live["buffer"]
    ledger.forget_peaks()
    optimizer.update(param, param.copy(), 1.0)
    assert ledger.peak["buffer"] - before == 2 * BLOCK * 4
    assert ledger.live["buffer"] == before


@pytest.mark.parametrize("name", MAKERS)
def test_an_empty_vector_is_no_problem(name):
    optimizer, param = make(name, 0), np.empty(0)
    optimizer.update(param, np.empty(0), 1.0)
    assert param.size == 0


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_compiled_makes_the_same_bits_without_scratch(name, dtype, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(compiled, "WORTH_COMPILING", 1000)
    kind, settings = MAKERS[name]
    rng, n = np.random.default_rng(6), 1003
    start = rng.normal(size=n).astype(dtype)
    here, there = kind(n, dtype, **settings), getattr(compiled, kind.__name__)(n, dtype, **settings)
    ours, theirs = start.copy(), start.copy()
    tiny = np.finfo(dtype).smallest_subnormal
    for scale in (1.0, 0.3, 0.0, 0.7):
        grad = (rng.normal(size=n) * 10.0 ** rng.integers(-30, 30, n)).astype(dtype)
        grad[:7] = 0, -0.0, np.inf, -np.inf, np.nan, tiny, -3 * tiny
        given = grad.copy()
        with np.errstate(all="ignore"):
            here.update(ours, grad, scale)
        ledger.forget_peaks()
        before = ledger.peak_total
        there.update(theirs, grad, scale)
        assert ledger.peak_total == before and grad.tobytes() == given.tobytes()
        assert theirs.tobytes() == ours.tobytes() and there.steps == here.steps
        for mine, other in zip(here.state().values(), there.state().values()):
            assert other.tobytes() == mine.tobytes()
    assert compiled.compiles(n, False)
    assert not compiled.compiles(n, True) and not compiled.compiles(999, False)


def test_without_numba_and_for_other_gradients_an_update_is_that_of_optim(monkeypatch):
    monkeypatch.setattr(compiled, "WORTH_COMPILING", 10)
    monkeypatch.setattr(compiled, "loop", lambda *_: pytest.fail("compiled"))
    ours, theirs, grad = np.ones(12, "f4"), np.ones(12, "f4"), np.full(12, 0.5, "f2")
    Adam(12, "float32").update(ours, grad, 1.0)
    compiled.Adam(12, "float32").update(theirs, grad, 1.0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    compiled.Adam(12, "float32").update(theirs, grad.astype("f4"), 1.0)
    Adam(12, "float32").update(ours, grad.astype("f4"), 1.0)
    assert theirs.tobytes() == ours.tobytes()


class Others:
    """Stands in for a Comm: adds what the other ranks have."""

    def __init__(self, *parts):
        self.parts = parts

    def sum(self, value):
        return float(sum(self.parts, value))


@pytest.mark.parametrize("largest, scale", [(1.0, 1 / (5 + 1e-6)), (5.0, 5 / (5 + 1e-6)), (5.1, 1), (100, 1)])
def test_the_coefficient_is_that_of_clip_grad_norm(largest, scale):
    # PyTorch 2.15.0: clip_grad_norm_ of [3, 4] to 1 makes it [0.599999880000024, 0.799999840000032]
    assert clip(Others(), [np.array([3.0, 4.0])], largest) == (5.0, scale)
    if largest == 1:
        assert 3 * scale == pytest.approx(0.599999880000024, rel=1e-15)


def test_without_a_largest_norm_nothing_is_clipped():
    assert clip(Others(), [np.array([3e9, 4e9])], None) == (5e9, 1.0)


def test_a_zero_gradient_is_left_alone():
    assert clip(Others(), [np.zeros(3), np.zeros(0)], 1.0) == (0.0, 1.0)


@pytest.mark.parametrize("cuts", [[0, 97], [0, 1, 50, 50, 97], [0, 96, 97]])
def test_the_norm_of_shards_is_the_norm_of_the_vector(cuts):
    vector = np.random.default_rng(1).normal(size=97)
    shards = [vector[a:b] for a, b in zip(cuts, cuts[1:])]
    whole = pytest.approx(math.sqrt(math.fsum(x * x for x in vector)), rel=1e-14)
    assert clip(Others(), shards, None)[0] == whole
    squares = [sum_of_squares(shard) for shard in shards]
    for i, shard in enumerate(shards):  # one shard here, the others on other ranks
        assert clip(Others(*squares[:i], *squares[i + 1 :]), [shard], None)[0] == whole


def test_the_norm_goes_past_the_first_block():
    assert sum_of_squares(np.ones(2 * BLOCK + 5, "float32")) == 2 * BLOCK + 5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [0, 1, LANES, LANES + 1, 2 * LANES - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 777])
def test_the_sum_of_squares_is_in_one_order_compiled_or_not(n, dtype, monkeypatch):
    rng = np.random.default_rng(7)
    vector = (rng.normal(size=n) * 10.0 ** rng.integers(-30, 15, n)).astype(dtype)
    given, wide = vector.copy(), np.zeros(-(-n // LANES) * LANES)
    wide[:n] = vector
    lanes = np.zeros(min(n, LANES))
    for row in (wide * wide).reshape(-1, LANES):  # one after another, which no library's sum promises
        lanes += row[: lanes.size]
    expected = float(np.sum(lanes))
    ledger.forget_peaks()
    before = ledger.peak["buffer"]
    assert sum_of_squares(vector) == expected
    assert ledger.peak["buffer"] - before == 8 * min(n, BLOCK)
    pytest.importorskip("numba")
    monkeypatch.setattr(compiled, "WORTH_COMPILING", 1)
    assert compiled.add_squares(np.ones(3, dtype), np.zeros(2))
    assert sum_of_squares(vector) == expected and vector.tobytes() == given.tobytes()


def test_large_float32_values_do_not_overflow():
    with np.errstate(over="raise"):
        norm, scale = clip(Others(), [np.full(4, 1e30, "float32")], 1.0)
    assert norm == pytest.approx(2e30, rel=1e-6)
    assert scale == pytest.approx(5e-31, rel=1e-6)


def test_small_float32_values_do_not_vanish():
    assert clip(Others(), [np.full(4, 1e-30, "float32")], None)[0] == pytest.approx(2e-30, rel=1e-6)
