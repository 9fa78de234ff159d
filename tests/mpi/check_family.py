"""Any two extras: refused in one line, or together they have the bits and the bytes that they should have."""

import functools
import itertools
import os
import re
from pathlib import Path

import pytest
from compared import compare
from small import Small, SmallGpt

import zero_ref
from zero_ref.comm import Comm
from zero_ref.extras import offload
from zero_ref.report import text, vocabulary
from zero_ref.train import choose, family

N = Comm().size
NEAR = max((g for g in range(1, N) if N % g == 0), default=1)  # ranks of a machine or group, not all
LEFT_OUT = N == 1 or os.environ.get("ZERO_REF_TEST_DEVICE") == "gpu"
PACKAGE = Path(zero_ref.__file__).parent
EXTRAS = {
    "group": dict(group=NEAR),
    "tensors": dict(rule="tensors"),
    "bucket": dict(bucket=90),
    "tiles": dict(tiles=2),
    "recompute": dict(recompute=True),
    "prefetch": dict(prefetch=True),
    "overlap": dict(overlap=True),
    "keep": dict(keep_after_forward=True),
    "once": dict(reduce_once=True),
    "offload": dict(offload="host"),
    "shards": dict(offload="host", offload_shards=True),
    "code weights": dict(code_weights="8/7"),
    "code gradients": dict(code_gradients="8/7", machine=NEAR),
    "codes in one hop": dict(code_gradients="8/7"),
    "feedback": dict(code_gradients="8/7", error_feedback="0.5/2"),
    "hpz": dict(hpz=True, machine=NEAR),
    "muon": dict(optimizer="muon", settings=dict(lr=0.01, momentum=0.9, weight_decay=0.1)),
    "bfloat16": dict(dtype="bfloat16", accumulate="float32"),
    "micro-batches": dict(micro_batches=3),
}
# What changes bits by itself: another sum, or another number of digits on the way.
CODED = {"code gradients", "codes in one hop", "feedback"}
CHANGES = {"group", "tiles", "once", "code weights", "muon", "bfloat16", "micro-batches", *CODED}
# Blocks of codes are of other numbers where these are: then only the bytes are compared.
BLOCKS, MOVES = {"code weights", *CODED}, {"tensors", "bucket", "tiles"}
PAIRS = list(itertools.combinations(EXTRAS, 2))
MANY = (
    "code weights",
    "code gradients",
    "hpz",
    "offload",
    "recompute",
    "prefetch",
    "bucket",
    "micro-batches",
)


class Refused(Exception):
    """What argparse would end the program with."""


class Parser:
    """Raises where argparse would end the program."""

    def error(self, text):
        raise Refused(text)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Shards of several blocks."""
    monkeypatch.setattr(offload, "BLOCK", 4)


def asked(names, kind=Small, stage=3, **more):
    settings = functools.reduce(lambda a, b: a | b, (EXTRAS[name] for name in names), {})
    plain = dict(dtype="float32", steps=3, reduce="ordered", clip_norm=0.42)
    return kind(stage, **(plain | settings | more))


@functools.cache
def bits(names, kind=Small, machine=None):
    run = asked(names, kind)
    run.machine = machine  # which decides how many hops codes make
    return run.run().sha256


@pytest.mark.rest("a run for each", every=17)
@pytest.mark.skipif(LEFT_OUT, reason="one rank is no group; on a GPU each is tried by itself")
@pytest.mark.parametrize("pair", PAIRS, ids=", ".join)
def test_two_extras_go_together_or_are_refused(pair):
    try:
        family.check(Parser(), asked(pair).options())
    except Refused as error:
        assert "\n" not in str(error) and len(str(error)) < 140
        return
    run = asked(pair).run()
    compare(run)
    if not (BLOCKS & set(pair) and MOVES & set(pair)):
        assert run.sha256 == bits(tuple(name for name in pair if name in CHANGES), machine=run.machine)


@pytest.mark.rest("a run for each", every=2)
@pytest.mark.skipif(LEFT_OUT, reason="one rank is no group; on a GPU each is tried by itself")
@pytest.mark.parametrize("kind", (SmallGpt, Small))
def test_many_go_together(kind):
    family.check(Parser(), asked(MANY, kind).options())
    run = asked(MANY, kind).run()
    compare(run)
    coded = ("code weights", "code gradients", "bucket", "micro-batches")  # the others change no bit
    assert run.sha256 == bits(coded, kind, run.machine)


@pytest.mark.skipif(LEFT_OUT, reason="one rank is no group; on a GPU each is tried by itself")
def test_every_call_that_an_extra_makes_has_its_sentences(monkeypatch):
    """Trains a step with each; what the page says of its beginning and its end is there in both languages."""
    met, make = set(), choose.comm

    class Collector:
        def before(self, call):
            met.add(call.name)

        def after(self, call): ...

    def observed_comm(*arguments):
        comm = make(*arguments)
        comm.observers.append(Collector())
        return comm

    monkeypatch.setattr(choose, "comm", observed_comm)
    more = [("hpz", "prefetch"), ("overlap", "code gradients"), ("group", "overlap"), ("group", "feedback")]
    for names in [*((name,) for name in EXTRAS), *more]:
        asked(names, steps=1).run()
    words, initials = vocabulary.words(), (PACKAGE / "report" / "phases.js").read_text(encoding="utf-8")
    for name in met:
        assert all(words[key]["zh"] and words[key]["en"] for key in (name, f"begin_{name}", f"end_{name}"))
        assert name in text.CALLS and (name.endswith("all_gather") or f"{name}:" in initials)
    files = [file for file in PACKAGE.rglob("*.py") if file.name != "tensor_parallel.py"]  # no option has it
    there = {*re.findall(r"@observed\n    def (\w+)", "".join(file.read_text() for file in files))}
    assert met == there - {"everyone"}, "one is never called"


def test_enough_pairs_go_together():
    """Were all refused, the test of pairs would say nothing."""
    going = []
    for pair in PAIRS:
        try:
            family.check(Parser(), asked(pair).options())
            going.append(pair)
        except Refused:
            continue
    assert len(going) >= 150
