"""The learning rate of each step: by hand, by PyTorch's formulas, in the optimizers, where a run goes on."""

import json
import math

import numpy as np
import pytest
from launching import mpirun

from zero_ref import optim
from zero_ref.extras import compiled
from zero_ref.extras.schedule import DECAYS, Schedule
from zero_ref.launch import UsageError
from zero_ref.precision import Master
from zero_ref.train import choose, options

BY_HAND = [
    ("constant", 0, [0.8, 0.8, 0.8, 0.8]),
    ("constant", 3, [0.2, 0.4, 0.6, 0.8]),
    ("linear", 0, [0.8, 0.6, 0.4, 0.2]),
    ("linear", 1, [0.4, 0.8, 0.8 * 2 / 3, 0.8 / 3]),
    ("cosine", 0, [0.8, 0.4 + 0.4 * math.sqrt(0.5), 0.4, 0.4 - 0.4 * math.sqrt(0.5)]),
    ("cosine", 1, [0.4, 0.8, 0.6, 0.2]),
    ("cosine", 2, [0.8 / 3, 1.6 / 3, 0.8, 0.4]),
]


@pytest.mark.parametrize("decay, warmup, rates", BY_HAND)
def test_rates_by_hand(decay, warmup, rates):
    rate = Schedule(0.8, decay, warmup, 4)
    assert [rate(done) for done in range(4)] == pytest.approx(rates, rel=1e-15)
    assert rate.varies == (rates != [0.8] * 4)


@pytest.mark.parametrize("warmup", [0, 1, 5, 9])
@pytest.mark.parametrize("last", [10, 17, 1000])
def test_rates_are_those_of_pytorchs_lambda_lr(warmup, last):
    """LambdaLR multiplies the rate with lambda(s). With these, as usual for a linear and a cosine decay."""
    lambdas = {
        "constant": lambda s: 1.0,
        "linear": lambda s: max(0.0, (last - s) / max(1, last - warmup)),
        "cosine": lambda s: max(0.0, 0.5 * (1.0 + math.cos(math.pi * (s - warmup) / max(1, last - warmup)))),
    }
    assert lambdas.keys() == DECAYS.keys()
    for name, factor in lambdas.items():
        rate, steps = Schedule(3e-4, name, warmup, last), range(warmup, last)
        assert [rate(s) for s in steps] == pytest.approx([3e-4 * factor(s) for s in steps], rel=1e-12)
        rising = [rate(s) for s in range(warmup + 1)]
        assert np.allclose(np.diff([0, *rising]), 3e-4 / (warmup + 1), rtol=1e-12, atol=0)
        assert all(rate(s) > 0 for s in range(last))


def test_a_constant_rate_is_that_number():
    rate = choose.schedule(options.parse(["--lr", "0.3"]), 7)
    assert {rate(done) for done in range(7)} == {0.3} and not rate.varies


@pytest.mark.parametrize("warmup, last", [(4, 4), (5, 4), (1, 1)])
def test_a_run_that_is_all_warm_up_is_an_error(warmup, last):
    with pytest.raises(UsageError, match=f"--warmup {warmup}: .* {last} step"):
        Schedule(0.1, "constant", warmup, last)
    Schedule(0.1, "cosine", warmup, 0)  # of no steps nothing is asked


OURS = [name for name, kind in optim.KINDS.items() if kind.__module__ == optim.__name__]


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("narrow", [False, True])
def test_an_optimizer_takes_the_rate_that_it_is_told(name, fast, narrow, monkeypatch):
    """Its step with a rate is that of one which has had the rate from the beginning, and the same state."""
    monkeypatch.setattr(compiled, "WORTH_COMPILING", 10)
    if fast:
        pytest.importorskip("numba")
    kind = compiled.FAST[optim.KINDS[name]] if fast else optim.KINDS[name]
    more = {"weight_decay": 0.1} | ({"momentum": 0.9} if name == "sgd" else {})
    random = np.random.default_rng(3)
    start, grads = random.normal(size=1000).astype("f4"), random.normal(size=(3, 1000)).astype("f4")

    def made(lr):
        def make(n):
            return kind(n, "float32", lr=lr, **more)

        return Master(1000, make) if narrow else make(1000)

    told, p = made(0.5), start.copy()
    for grad, lr in zip(grads, (0.1, 0.01, 0.3)):
        before = {key: vector.copy() for key, vector in told.state().items()}
        fresh, q = made(lr), p.copy()
        fresh.steps = told.steps
        for key, vector in fresh.state().items():
            vector[...] = before[key]
        told.lr = lr
        told.update(p, grad, 0.5)
        fresh.update(q, grad, 0.5)
        assert told.lr == lr and p.tobytes() == q.tobytes()
        assert all((vector == fresh.state()[key]).all() for key, vector in told.state().items())


def run(ranks, *line, code=0):
    found = mpirun(ranks, "-m", "zero_ref.train", "--quiet", *" ".join(line).split())
    assert found.returncode == code, found.stderr
    return found.stderr


LINE = "--batch-size 50 --hidden 7,5 --schedule cosine --warmup 3 --lr 0.01 --steps 8 --optimizer adamw"


def test_a_run_goes_on_at_another_stage_and_not_with_a_longer_warmup(tmp_path):
    def record(name):
        return json.loads((tmp_path / name).read_text())

    run(3, f"{LINE} --stage 2 --save {tmp_path}/c --save-every 4 --record {tmp_path}/whole")
    whole, half = record("whole"), f"--resume {tmp_path}/c/step-00000004 --record {tmp_path}"
    rate = Schedule(0.01, "cosine", 3, 8)
    assert whole["lr"] == [rate(done) for done in range(8)]
    run(3, f"{half}/same --stage 3")
    assert record("same")["weights_sha256"] == whole["weights_sha256"]
    error = run(2, f"{half}/none --warmup 8", code=2)
    assert error.count("\n") == 1 and "--warmup 8" in error and not (tmp_path / "none").exists()


@pytest.mark.rest("five runs")
def test_and_on_two_ranks_at_any_stage_and_with_another_rule(tmp_path):
    def record(name):
        return json.loads((tmp_path / name).read_text())

    run(3, f"{LINE} --stage 2 --save {tmp_path}/c --save-every 4 --record {tmp_path}/whole")
    whole, half = record("whole"), f"--resume {tmp_path}/c/step-00000004 --record {tmp_path}"
    for stage in (0, 3):
        run(2, f"{half}/{stage} --stage {stage} --shard-model random")
        assert record(f"{stage}")["lr"] == whole["lr"][4:]
    assert record("0")["weights_sha256"] == record("3")["weights_sha256"]
    assert np.allclose(record("3")["loss"], whole["loss"][4:], rtol=1e-5)
    run(2, f"{half}/longer --steps 12")
    further = Schedule(0.01, "cosine", 3, 12)
    assert record("longer")["lr"] == [further(done) for done in range(4, 12)]
    run(2, f"{half}/constant --schedule constant --warmup 0")
    assert record("constant")["lr"] is None
