"""Tensor parallelism and P_a (extras/tensor_parallel.py) on grids of N_d x N_m ranks, and one process.

That is written out in NumPy: it knows neither teams nor units. N_m is every divisor of the ranks; at
4 and 6 ranks, see tests/test_tensor_parallel.py, there are N_d x N_m = 2 x 2, 3 x 2 and 2 x 3.
"""

import functools
import os

import numpy as np
import pytest

from zero_ref import array, model
from zero_ref.comm import Comm
from zero_ref.extras import tensor_parallel
from zero_ref.extras.tensor_parallel import Team, build, grid, told_once
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger
from zero_ref.optim import SGD, Adam
from zero_ref.precision import Guard
from zero_ref.stages import STAGES, zero3_prefetch
from zero_ref.train.watch import Check, Mismatch

pytestmark = pytest.mark.skipif(os.environ.get("ZERO_REF_TEST_DEVICE", "cpu") != "cpu", reason="of the CPU")
N = Comm().size
TEAMS = [m for m in range(1, N + 1) if N % m == 0]
BLOCKS = [
    (5, 7, 6, 9, 5),
    (5, 11, 5),
    (5, 7, 4, 8, 3),
]  # hidden widths that neither 2 nor 3 divides, and some
ROWS, STEPS, CLIP = 7, 4, 0.9  # samples of a micro-batch; the norm is clipped in some of the steps
KINDS = {
    "sgd": (functools.partial(SGD, lr=0.1, momentum=0.9), dict(lr=0.1, momentum=0.9)),
    "adam": (functools.partial(Adam, lr=0.01), dict(lr=0.01)),
}


def samples(team, step, micro_batches):
    """Of one team: x and y of each micro-batch. The second team has fewer."""
    for k in range(micro_batches):
        random = np.random.default_rng([team, step, k])
        rows = ROWS - 3 * (team % 2)
        yield random.normal(size=(rows, 5)), random.normal(size=(rows, 3)) + 1


def every_sample(teams, step, micro_batches):
    return sum(len(x) for team in range(teams) for x, _ in samples(team, step, micro_batches))


class Trained:
    """A run on this rank of a grid with teams of `members`."""

    def __init__(
        self, members, keep="all", stage=3, kind="sgd", micro_batches=1, rule="contiguous", dtype="float64"
    ):
        world = Comm()
        self.team, self.across = grid(world, members)
        layout = functools.partial(FlatLayout, size=self.across.size, rule=rule)
        self.units = build(BLOCKS, layout, dtype, 3, self.team, keep)
        self.stage = zero3_prefetch if stage == "3, prefetch" else STAGES[stage]
        self.stage.setup(self.units, self.across, functools.partial(KINDS[kind][0], dtype=dtype))
        guard = Guard(self.units, CLIP)
        self.losses, self.norms, self.at_loss = [], [], []
        mine = world.rank // members
        ledger.forget_peaks()
        for step in range(STEPS):
            ledger.forget_sent()
            total = every_sample(self.across.size, step, micro_batches)
            loss_grad = told_once(self.seen(model.loss_grad(False, total)), self.team)
            parts = ((x.astype(dtype), y) for x, y in samples(mine, step, micro_batches))
            loss, norm = self.stage.step(self.units, self.across, parts, loss_grad, guard)
            self.losses.append(world.sum(loss))
            self.norms.append(norm)
        self.sent, self.calls, self.peak = dict(ledger.sent), dict(ledger.calls), dict(ledger.peak)

    def seen(self, loss_grad):
        """What is alive of activations when the loss is asked for."""

        def look(outputs, targets):
            self.at_loss.append(ledger.live["activation"] - outputs.nbytes)
            return loss_grad(outputs, targets)

        return look

    def tensors(self):
        """Name -> this rank's part of each tensor, whole over the ranks of `across`."""
        return {
            f"{number}.{name}": values.copy()
            for number, u in enumerate(self.units)
            for name, values in u.layout.views(self.stage.full_param(u, self.across)).items()
        }


# -- one process --


def forward(weights, x):
    """The outputs, and for every pair its input and its hidden numbers."""
    kept = []
    for number, widths in enumerate(BLOCKS):
        for p in range(len(widths) // 2):
            w = [
                weights[f"{number}.{p}.{name}"] for name in ("in.weight", "in.bias", "out.weight", "out.bias")
            ]
            hidden = np.maximum(x @ w[0].T + w[1], 0)
            kept.append((f"{number}.{p}.", x, hidden))
            x = hidden @ w[2].T + w[3]
    return x, kept


def backward(weights, kept, g, grads):
    for prefix, x, hidden in reversed(kept):
        grads[f"{prefix}out.weight"] += g.T @ hidden
        grads[f"{prefix}out.bias"] += g.sum(0)
        g = (g @ weights[f"{prefix}out.weight"]) * (hidden > 0)
        grads[f"{prefix}in.weight"] += g.T @ x
        grads[f"{prefix}in.bias"] += g.sum(0)
        g = g @ weights[f"{prefix}in.weight"]


@functools.cache
def serial(teams, kind, micro_batches):
    """Weights, losses and norms of a program on one rank, with the samples of all teams."""
    weights = {
        f"{number}.{name}": values
        for number, widths in enumerate(BLOCKS)
        for name, values in tensor_parallel.whole_values(widths, 3, number).items()
    }
    m, v = ({name: 0 * w for name, w in weights.items()} for _ in range(2))
    losses, norms = [], []
    for step in range(STEPS):
        total, loss = every_sample(teams, step, micro_batches), 0.0
        grads = {name: 0 * w for name, w in weights.items()}
        for team in range(teams):
            for x, y in samples(team, step, micro_batches):
                out, kept = forward(weights, x)
                loss += np.square(out - y).sum() / (3 * total)
                backward(weights, kept, 2 * (out - y) / (3 * total), grads)
        norm = np.sqrt(sum(np.square(g).sum() for g in grads.values()))
        for name, w in weights.items():
            g = grads[name] * min(1, CLIP / (norm + 1e-6))
            if kind == "sgd":
                m[name] = 0.9 * m[name] + g
                weights[name] = w - 0.1 * m[name]
            else:
                m[name] = 0.9 * m[name] + 0.1 * g
                v[name] = 0.999 * v[name] + 0.001 * g * g
                far = np.sqrt(v[name] / (1 - 0.999 ** (step + 1))) + 1e-8
                weights[name] = w - 0.01 * m[name] / (1 - 0.9 ** (step + 1)) / far
        losses.append(loss)
        norms.append(norm)
    return weights, losses, norms


@pytest.mark.rest("grids, stages and what is kept", every=4)
@pytest.mark.parametrize("members", TEAMS)
@pytest.mark.parametrize("keep", ("all", "input", "part"))
@pytest.mark.parametrize("stage", [*range(4), "3, prefetch"])
def test_it_trains_as_one_process_does(members, keep, stage):
    number = [*range(4), "3, prefetch"].index(stage)
    kind, rule = ("sgd", "adam")[number % 2], ("contiguous", "random", "hash")[number % 3]
    k = 1 + number % 2 * 2
    run = Trained(members, keep, stage, kind, k, rule)
    weights, losses, norms = serial(N // members, kind, k)
    assert any(norm > CLIP for norm in norms), "never clipped"
    assert np.allclose(run.losses, losses, rtol=1e-12, atol=0)
    assert np.allclose(run.norms, norms, rtol=1e-12, atol=0)
    for number, widths in enumerate(BLOCKS):
        for name, _, axis, a, b in tensor_parallel.parts(widths, members, run.team.rank):
            whole = weights[f"{number}.{name}"]
            mine = run.tensors()[f"{number}.{name}"]
            assert np.allclose(mine, whole[:, a:b] if axis else whole[a:b], rtol=0, atol=1e-12)


@pytest.mark.rest("three runs each", every=4)
@pytest.mark.parametrize("members", TEAMS)
@pytest.mark.parametrize("stage", (1, 3))
@pytest.mark.parametrize("dtype", ("float32", "float64"))
def test_p_a_is_recomputation_in_bits(members, stage, dtype):
    runs = [Trained(members, keep, stage, "adam", 2, dtype=dtype) for keep in ("all", "input", "part")]
    plain, again, parts = (run.tensors() for run in runs)
    assert runs[0].losses == runs[1].losses == runs[2].losses
    for name, values in again.items():
        assert np.array_equal(values, parts[name]) and np.array_equal(values, plain[name])


@pytest.mark.parametrize("members", TEAMS)
def test_p_a_keeps_a_part_of_the_inputs(members, comm):
    """When the loss is asked for: of each block's input all of it, or what this rank's cut says."""
    again, parts = Trained(members, "input"), Trained(members, "part")
    rows = ROWS - 3 * (comm.rank // members % 2)
    inputs = [rows * widths[0] for widths in BLOCKS]
    own = [parts.team.cut(n).counts[parts.team.rank] for n in inputs]
    assert parts.at_loss == [8 * sum(own)] * STEPS
    assert again.at_loss == [8 * sum(inputs[1:])] * STEPS, "that of the first is the batch, not counted here"


@pytest.mark.parametrize("members", TEAMS)
@pytest.mark.parametrize("keep", ("all", "input", "part"))
def test_bytes_are_the_formula(members, keep, comm):
    k = 2
    run = Trained(members, keep, micro_batches=k)
    rows = k * (ROWS - 3 * (comm.rank // members % 2))
    said = dict.fromkeys(("team_all_reduce", "team_all_gather"), 0)
    for number, widths in enumerate(BLOCKS):
        for name, n in tensor_parallel.team_elements(rows, widths, number == 0, keep).items():
            said[name] += n * (members - 1)
    for name, n in said.items():
        assert sum(run.team.everyone(run.sent.get(name, 0))) == 8 * n
    psi = sum(u.layout.padded for u in run.units)
    teams = run.across.size
    assert run.sent["reduce_scatter"] + run.sent["all_gather"] == 8 * 3 * k * psi * (teams - 1) // teams


def test_p_a_sends_a_twelfth_of_what_the_team_sends_anyway():
    """A transformer's block has two pairs. arXiv 1910.02054, section 8: less than a tenth more."""
    said = tensor_parallel.team_elements(10, (64, 256, 64, 256, 64), False, "part")
    assert 12 * said["team_all_gather"] == said["team_all_reduce"] == 12 * 10 * 64


@pytest.mark.skipif(N == 1, reason="one rank agrees with itself")
def test_a_rank_that_does_not_come_to_a_sum_is_named(comm):
    team, _ = grid(comm, N)
    check = Check([team])
    vector, cut = array.zeros(7, "float64", "activation"), team.cut(7)
    with pytest.raises(Mismatch) as caught:
        if team.rank == N - 1:
            team.sum(1.0)
        team.sum_all(vector, cut)
    assert "sum_all of activations" in str(caught.value)
    team.observers.remove(check)


def test_teams_divide_the_ranks(comm):
    with pytest.raises(ValueError, match=rf"teams of {N + 1} do not divide {N} ranks?$"):
        grid(comm, N + 1)
    assert isinstance(grid(comm, 1)[0], Team)
