"""`--tiles T`: the weights of whole layers but for rounding, the bits of all stages, bytes, checkpoints."""

import os
from pathlib import Path

import numpy as np
import pytest
from check_saving import contents, run
from compared import compare
from small import Small

from zero_ref.array import xp
from zero_ref.comm import Comm
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger

DEVICE = os.environ.get("ZERO_REF_TEST_DEVICE", "cpu")
STAGES = [*range(4), "3, prefetch"]
UNITS = {
    2: [21, 28, 16, 24, 18],
    3: [14, 14, 21, 8, 16, 16, 6, 12],
    50: [7] * 7 + [8] * 5 + [6] * 3,
}
WAYS = [
    dict(optimizer="sgd", settings=dict(lr=0.1, momentum=0.9, weight_decay=0.01), rule="random"),
    dict(optimizer="adam", settings=dict(lr=0.01), micro_batches=3, rule="hash", shard_data="hash"),
    dict(optimizer="sgd", settings=dict(lr=0.1), recompute=True, rule="tensors"),
    dict(optimizer="adamw", settings=dict(lr=0.01), shares=True),
    dict(optimizer="sgd", settings=dict(lr=0.1), group=1, classes=False),
]


def pair(stage, tiles, way, size, **more):
    """The same run of whole layers and of tiles, of which the second is still there."""
    settings = dict(steps=4, dtype="float64", reduce="ordered", clip_norm=0.42) | way | more
    settings["prefetch"] = "prefetch" in str(stage)
    if settings.get("shares"):
        settings["shares"] = [1 + (r + 1) % 3 for r in range(size)]
    plain = Small(int(str(stage)[0]), **settings).run()
    plain.units = plain.guard = None  # the ledger counts whatever is alive
    return plain, Small(int(str(stage)[0]), tiles=tiles, **settings).run()


def kept(run):
    """Bytes of activations that are there between a forward pass of all units and the backward pass."""
    x, before = xp.asarray(run.problem(run.dtype).x[:5]), ledger.live["activation"]
    for u in run.units:
        x = u.forward(u.param, x)
    held = ledger.live["activation"] - before
    for u in run.units:
        u.forget()
    return held


def test_tiles_keep_no_more_activations_than_a_layer():
    plain, cut = (Small(0, steps=0, tiles=tiles).run() for tiles in (None, 3))
    assert len(cut.units) == 8 and kept(cut) == kept(plain) == 8 * 5 * (7 + 7 + 5 + 5 + 3)


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("way", range(len(WAYS)))
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("tiles", UNITS)
def test_weights_are_those_of_whole_layers(tiles, stage, way, comm):
    plain, cut = pair(stage, tiles, WAYS[way], comm.size)
    if WAYS[way].get("classes", True):
        assert [u.layout.elements for u in cut.units] == UNITS[tiles]
    for a, b in zip(plain.tensors, cut.tensors, strict=True):
        assert a.shape == b.shape and np.allclose(a, b, rtol=0, atol=1e-12)
    assert np.allclose(plain.losses, cut.losses, rtol=0, atol=1e-12)
    assert np.allclose(plain.norms, cut.norms, rtol=1e-11, atol=0)
    compare(cut)


@pytest.mark.rest("all stages", every=3)
@pytest.mark.parametrize("dtype, far", [("float32", 1e-6), ("bfloat16", 0.05), ("float16", 0.01)])
@pytest.mark.parametrize("tiles", (2, 3))
def test_all_stages_have_the_same_bits(dtype, far, tiles, comm):
    ends = set()
    for stage in STAGES:
        plain, cut = pair(stage, tiles, WAYS[0], comm.size, dtype=dtype)
        assert max(abs(a.astype(float) - b).max() for a, b in zip(plain.tensors, cut.tensors)) < far
        compare(cut)
        ends.add((cut.sha256, *cut.losses))
        cut = None
    assert len(ends) == 1


@pytest.mark.parametrize("tiles", (1, 2, 4))
def test_the_peak_of_stage_3_is_a_tiles(tiles):
    run = Small(3, dtype="float32", steps=2, hidden=(64, 5), tiles=tiles).run()  # 448, 325 and 18
    longest = {1: 448, 2: 224, 4: 130}[tiles]  # of four tiles of five outputs, one has two
    padded = FlatLayout("", {"": (longest,)}, Comm().size).padded
    assert run.peak["gathered"] == run.peak["full_gradient"] == 4 * padded
    assert len(run.units) == {1: 3, 2: 5, 4: 8}[tiles]


LINE = "--quiet --batch-size 12 --hidden 7,5 --seed 4 --clip-norm 0.4 --steps 6 --reduce ordered"


@pytest.mark.rest("runs of the command", every=11)
@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("rule", ("contiguous", "random", "tensors"))
def test_a_checkpoint_of_tiles_is_that_of_the_model(stage, rule, comm, tmp_path):
    folder = Path(comm.everyone(str(tmp_path))[0])
    line = f"{LINE} --stage {stage} --shard-model {rule} --dtype {('float32', 'bfloat16')[stage % 2]}"
    whole = run(line, f"--save {folder}/cut --save-every 3 --tiles 3 --export {folder}/cut.safetensors")
    half = folder / "cut" / "step-00000003"
    same = run("--quiet", f"--save {folder}/again --tiles 3 --stage {3 - stage}", resume=half)
    assert same["weights_sha256"] == whole["weights_sha256"]
    ends = [contents(folder / name / "step-00000006") for name in ("cut", "again")]
    assert ends[0] == ends[1]
    # Who goes on with whole layers has the same numbers to begin with: a step of none changes nothing.
    assert run("--quiet", f"--save {folder}/whole --lr 0 --weight-decay 0", resume=half)["loss"]
    start = contents(half)[0]
    params = contents(folder / "whole" / "step-00000006")[0]
    if stage % 2 == 0:
        assert all(params[key] == start[key] for key in start if key[1] == "param")
    init = run(
        LINE, f"--dtype {whole['config']['dtype']} --init {folder}/cut.safetensors --steps 0 --tiles 5"
    )
    assert init["weights_sha256"] == whole["weights_sha256"]
