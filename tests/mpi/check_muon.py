"""`--optimizer muon`: a serial Muon, equal bits in both of its forms at all stages, bytes, checkpoints."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from check_saving import contents, run
from compared import compare
from serial import loss_and_gradients
from small import Small, SmallGpt

from zero_ref.array import from_numpy, to_numpy
from zero_ref.extras import muon
from zero_ref.extras.tensors import matrices
from zero_ref.ledger import ledger
from zero_ref.report import record
from zero_ref.train import replicas

DEVICE = os.environ.get("ZERO_REF_TEST_DEVICE", "cpu")
A_GPT = pytest.mark.rest("a GPT")
STAGES = [*range(4), "3, prefetch"]
RULES = ("contiguous", "tensors", "random", "hash", "shares")
MUON = dict(optimizer="muon", settings=dict(lr=0.01, momentum=0.9, weight_decay=0.1))


def small(kind, stage, rule, size, **settings):
    where = {"shares": [1 + (r + 1) % 3 for r in range(size)]} if rule == "shares" else {"rule": rule}
    settings = dict(steps=5, dtype="float32", reduce="ordered", clip_norm=0.42) | MUON | where | settings
    return kind(int(str(stage)[0]), prefetch="prefetch" in str(stage), **settings)


# -- one process, written from the paper --


def newton_schulz(g):
    x = g if g.shape[0] <= g.shape[1] else g.T
    x = x / (np.linalg.norm(x) + 1e-7)
    for _ in range(5):
        xx = x @ x.T
        x = 3.4445 * x + (-4.7750 * xx + 2.0315 * xx @ xx) @ x
    return x if g.shape[0] <= g.shape[1] else x.T


def serial(run, lr, momentum, weight_decay):
    """Final weights of the same run of an MLP."""
    p = [
        run.weights()[f"layers.{i}.{n}"].astype(float)
        for i in range(len(run.units))
        for n in ("weight", "bias")
    ]
    m, v = [np.zeros_like(a) for a in p], [np.zeros_like(a) for a in p]
    for t, (x, y) in enumerate(run.global_batches(), 1):
        _, pairs = loss_and_gradients(list(zip(p[::2], p[1::2])), x, y, run.classes)
        g = [a for pair in pairs for a in pair]
        norm = math.sqrt(sum((a**2).sum() for a in g))
        scale = min(1, run.clip_norm / (norm + 1e-6)) if run.clip_norm else 1.0
        for i, grad in enumerate(scale * a for a in g):
            p[i] = p[i] * (1 - lr * weight_decay)
            if grad.ndim == 2 and i < len(p) - 2:
                m[i] = momentum * m[i] + grad
                step = newton_schulz(grad + momentum * m[i])
                p[i] = p[i] - lr * 0.2 * math.sqrt(max(grad.shape)) * step
            else:
                m[i] = 0.9 * m[i] + 0.1 * grad
                v[i] = 0.95 * v[i] + 0.05 * grad**2
                p[i] = p[i] - lr * (m[i] / (1 - 0.9**t)) / (np.sqrt(v[i] / (1 - 0.95**t)) + 1e-8)
    return p


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("k", (1, 3))
def test_weights_are_those_of_a_serial_muon(k, stage, rule, comm):
    run = small(Small, stage, rule, comm.size, dtype="float64", micro_batches=k, steps=12).run()
    weights = serial(run, **MUON["settings"])
    assert max(abs(a - b).max() for a, b in zip(run.tensors, weights, strict=True)) < 1e-11
    assert 0 < sum(norm > 0.42 for norm in run.norms) < 12, "clipping is at work in some steps only"
    compare(run)


@pytest.mark.parametrize("shape", [(7, 6), (6, 7), (40, 12), (1, 5), (12, 12)])
def test_newton_schulz_leaves_all_directions_of_about_one_length(shape):
    random = np.random.default_rng(3)
    m = random.normal(size=shape)
    given = from_numpy(m.copy(), "buffer")
    ledger.forget_peaks()
    before = ledger.live["buffer"]
    found = to_numpy(muon.orthogonal(given))
    short, long = sorted(shape)
    most = 8 * (3 * short * long + 4 * short * short)
    assert ledger.peak["buffer"] - before <= most, "products are of the short side"
    u, s, v = np.linalg.svd(m, full_matrices=False)
    along = u.T @ found @ v.T  # diagonal, as the iteration keeps singular vectors
    assert np.allclose(along, np.diag(np.diag(along)), atol=1e-9)
    ends = np.diag(along)[s > 0.03 * np.linalg.norm(s)]
    assert ends.min() > 0.5 and ends.max() < 1.3
    assert muon.operations(*shape) == 5 * (4 * min(shape) ** 2 * max(shape) + 2 * min(shape) ** 3)


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize(
    "kind, dtype",
    [
        (Small, "float32"),
        pytest.param(SmallGpt, "float32", marks=A_GPT),
        (Small, "bfloat16"),
        (Small, "float16"),
    ],
)
@pytest.mark.parametrize("bucket", (None, 60))
def test_both_forms_and_all_stages_have_the_same_bits(kind, dtype, bucket, comm):
    """But for shares, which deal the samples, too."""
    ends = set()
    for n, stage in enumerate(STAGES):
        for rule in (RULES[n % 4], "tensors") if bucket or dtype != "float32" else RULES[:4]:
            run = None  # or its bytes would be those of the next
            run = small(kind, stage, rule, comm.size, dtype=dtype, bucket=bucket, steps=4).run()
            compare(run)
            ends.add((run.sha256, *run.losses))
    assert len(ends) == 1


def test_the_rate_is_told_to_both_parts():
    share = muon.Share([slice(0, 6)], [slice(6, 9)], [(2, 3)])
    optimizer = muon.Muon(9, "float64", lr=0.1, share=share)
    param, grad = (from_numpy(np.arange(1.0, 10) * n, "buffer") for n in (1, 2))
    for rate, changes in ((0.1, True), (0.0, False), (0.2, True)):
        before, optimizer.lr = to_numpy(param).copy(), rate
        optimizer.update(param, grad, 0.5)
        changed = to_numpy(param) != before
        assert changed.all() == changed.any() == changes
    before, steps = to_numpy(param).copy(), optimizer.steps
    optimizer.update(param, grad, 0)
    assert (to_numpy(param) == before).all() and optimizer.steps == steps == 3


@pytest.mark.parametrize(
    "rule, stage", [("contiguous", 1), ("random", 3), ("tensors", 2), ("tensors", 3), ("hash", 0)]
)
def test_newton_schulz_once_a_step_and_matrix(rule, stage, comm, monkeypatch):
    done, real = [], muon.orthogonal
    monkeypatch.setattr(muon, "orthogonal", lambda m: (done.append(m.shape), real(m))[1])
    run = small(Small, stage, rule, comm.size, micro_batches=3, steps=4, hidden=(7, 5, 9)).run()
    each = sorted([(7, 6), (5, 7), (9, 5)] * 4)
    if rule == "tensors":
        assert sorted(shape for theirs in comm.everyone(done) for shape in map(tuple, theirs)) == each
    else:
        assert sorted(done) == each
    assert (
        sum(done.count(s) * muon.operations(*s) for s in set(done))
        == 4 * record.orthogonalised(run.options(), run.nouns())[comm.rank]
    )


@pytest.mark.parametrize("stage", (1, 2, 3))
def test_what_is_kept_and_what_gathering_sends(stage, comm):
    owned = small(Small, stage, "tensors", comm.size).run()
    names = matrices(owned.units)
    assert len(names) == 2
    layouts = [u.layout for u in owned.units]
    mine = [u.optimizer.velocity.size for u in owned.units]
    whole = sum(comm.everyone(sum(mine)))
    assert whole == 42 + 35, "each number of a matrix has one momentum, on one rank"
    assert owned.resting["optimizer"] == 4 * (2 * sum(each.counts[comm.rank] for each in layouts) - sum(mine))
    plain = small(Small, stage, "tensors", comm.size, optimizer="adam", settings=dict(lr=0.1))
    sent = owned.sent
    owned.units = owned.guard = None
    assert plain.run().sent == sent, "nothing more than Adam"
    plain.units = plain.guard = None
    slices = small(Small, stage, "contiguous", comm.size).run()
    gathered, psi = slices.sent["all_gather"], [u.layout.padded for u in slices.units]
    times = 2 if stage == 3 else 1
    each = 4 * (comm.size - 1) // comm.size if comm.size == 1 else 4 * (comm.size - 1) / comm.size
    assert gathered == each * (times * sum(psi) + (sum(psi[:2]) if comm.size > 1 else 0))


@pytest.mark.parametrize("rule", ("tensors", "contiguous"))
@pytest.mark.parametrize("stage", range(4))
def test_copies_are_compared(rule, stage, comm):
    run = small(Small, stage, rule, comm.size, group=1, steps=2).run()
    replicas.check_equal(2, run.nouns())
    if comm.size > 1:
        run.units[0].optimizer.velocity[0] += comm.rank == comm.size - 1
        with pytest.raises(replicas.Diverged, match="of layers"):
            replicas.check_equal(2, run.nouns())


LINE = "--quiet --batch-size 12 --hidden 7,5 --seed 4 --clip-norm 0.4 --steps 6 --reduce ordered"
LINE += " --optimizer muon"


@pytest.mark.rest("runs of the command", every=4)
@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("dtype", ("float32", "bfloat16"))
def test_a_checkpoint_of_one_form_is_one_of_the_other(stage, dtype, comm, tmp_path):
    folder = Path(comm.everyone(str(tmp_path))[0])
    line = f"{LINE} --dtype {dtype} --stage {stage}"
    whole = run(line, f"--shard-model tensors --save {folder}/owned --save-every 3")
    other = run(line, f"--shard-model hash --save {folder}/hash --save-every 3")
    assert whole["weights_sha256"] == other["weights_sha256"]
    assert contents(folder / "owned" / "step-00000006") == contents(folder / "hash" / "step-00000006")
    for name, rule in (("owned", "contiguous"), ("hash", "tensors"), ("hash", "random --bucket 700")):
        half = folder / name / "step-00000003"
        end = run("--quiet", f"--shard-model {rule} --stage {3 - stage}", resume=half)
        assert end["weights_sha256"] == whole["weights_sha256"]
        assert end["loss"] == whole["loss"][3:]
