"""`--recompute`: equal bits and traffic, fewer bytes of activations; all of it as a dry run says."""

import pytest
from small import CONTEXT, HEADS, LAYERS, WIDTH, Small, SmallGpt

from zero_ref.array import xp
from zero_ref.extras.recompute import Recompute
from zero_ref.ledger import ledger
from zero_ref.report import record
from zero_ref.train.dry_run import forecast

ADAMW = dict(optimizer="adamw", settings=dict(lr=0.01, weight_decay=0.1), clip_norm=0.6)
SGD = dict(optimizer="sgd", settings=dict(lr=0.1, momentum=0.9), clip_norm=0.7)
CASES = {
    "gpt": (SmallGpt, dict(ADAMW, rule="hash", micro_batches=2)),
    "gpt of 16 bits": (SmallGpt, dict(SGD, dtype="bfloat16", rule="random", reduce="ordered")),
    "gpt that adds up in float32": (
        SmallGpt,
        dict(SGD, dtype="bfloat16", accumulate="float32", micro_batches=2, steps=2),
    ),
    "mlp": (Small, dict(SGD, micro_batches=3, rule="random")),
    "mlp of 16 bits": (Small, dict(ADAMW, dtype="float16", classes=False, rule="hash")),
    "shares": (Small, dict(ADAMW, dtype="float32", shares=True, hidden=(7, 9, 5))),
    "linear": (Small, dict(SGD, dtype="float32", hidden=())),
}


def pair(case, stage, size, **more):
    """The run without and with recomputation."""
    kind, settings = CASES[case]
    settings = {"dtype": "float32", "steps": 4} | settings | more
    if settings.get("shares"):
        settings["shares"] = [1 + (r + 1) % 3 for r in range(size)]
    runs = []
    for again in (False, True):
        for before in runs:
            before.units = before.guard = None  # the ledger counts whatever is alive
        runs.append(kind(stage, recompute=again, **settings).run())
    return runs


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("stage, prefetch", [(0, False), (1, False), (2, False), (3, False), (3, True)])
@pytest.mark.parametrize("case", CASES)
def test_bits_and_traffic_are_those_of_a_run_without(case, stage, prefetch, comm):
    plain, again = pair(case, stage, comm.size, prefetch=prefetch)
    assert [type(u) is Recompute for u in again.units] == [*[True] * (len(again.units) - 1), False]
    assert again.sha256 == plain.sha256 and again.losses == plain.losses and again.norms == plain.norms
    assert again.sent == plain.sent and again.calls == plain.calls, "stage 3 gathers once for both passes"
    assert again.resting == plain.resting
    o = again.options()
    predicted = forecast(o, again.task, comm.rank, comm.size, sorted(set(again.sizes)))
    assert predicted.resting_bytes == again.resting and predicted.sent_bytes_per_step == again.sent
    assert predicted.peak_bytes == again.peak and predicted.peak_total_bytes == again.peak_total
    bill = record.bill(o, again.nouns())
    assert bill.peak_bytes == {kind: again.peak[kind] for kind in bill.peak_bytes}
    if case.startswith("gpt") and any(map(sum, again.sizes)):
        assert again.peak["activation"] < plain.peak["activation"]
        assert again.peak_total < plain.peak_total


def forward_passes(run, samples=5):
    """Bytes of each activation that is kept after the forward passes of all units, without the last one's."""
    problem = run.problem(run.dtype)
    alive = {}

    class Book:
        def array(self, kind, nbytes, which):
            if kind == "activation" and nbytes > 0:
                alive[which] = nbytes
            elif kind == "activation":
                alive.pop(which, None)

        def sent(self, nbytes):
            pass

    x = xp.asarray(problem.x[:samples])
    ledger.events = Book()
    try:
        for u in run.units[:-1]:
            x = u.forward(run.module.full_param(u, run.comm), x)
        return sorted(alive.values())
    finally:
        ledger.events = None
        for u in run.units:
            u.forget()


@pytest.mark.parametrize("stage", (0, 3))
@pytest.mark.parametrize("dtype, itemsize", [("float32", 4), ("float64", 8), ("bfloat16", 2)])
def test_what_a_gpt_keeps_from_forward_to_backward(stage, dtype, itemsize):
    plain, again = (SmallGpt(stage, dtype=dtype, steps=0, recompute=r).run() for r in (False, True))
    probabilities = 5 * HEADS * CONTEXT**2 * max(itemsize, 4)
    assert forward_passes(plain).count(probabilities) == LAYERS
    kept = forward_passes(again)
    assert probabilities not in kept, "an array (heads x context x context) of a sample is kept"
    # Tokens are no activations of this test. By formula the input of each block, and of the head.
    assert kept == [5 * CONTEXT * WIDTH * itemsize] * (LAYERS + 1)


def test_what_an_mlp_keeps_from_forward_to_backward():
    plain, again = (Small(3, dtype="float32", steps=0, recompute=r).run() for r in (False, True))
    assert forward_passes(again) == [4 * 5 * 5, 4 * 5 * 7], "the outputs of the two hidden layers"
    assert forward_passes(plain) == [4 * 5 * 5] * 2 + [4 * 5 * 7] * 2, "and what goes into each relu"
