"""`--bucket ELEMENTS`: the bits of no buckets, other bytes and fewer calls, checkpoints of any for any."""

import os
from pathlib import Path

import numpy as np
import pytest
from check_saving import contents, run
from compared import compare
from small import Small, SmallGpt

from zero_ref.checkpoint import Checkpoint
from zero_ref.comm import Comm
from zero_ref.layout import FlatLayout

DEVICE = os.environ.get("ZERO_REF_TEST_DEVICE", "cpu")
STAGES = [*range(4), "3, prefetch"]
BUCKETS = {1: 3, 89: 2, 1000: 1}  # elements -> units, of 49, 40 and 18 parameters
MOMENTUM = dict(optimizer="sgd", settings=dict(lr=0.1, momentum=0.9, weight_decay=0.01), clip_norm=0.42)
ADAM = dict(optimizer="adam", settings=dict(lr=0.01), clip_norm=0.42)
WAYS = [
    dict(MOMENTUM, rule="random"),
    dict(ADAM, rule="hash", micro_batches=3, shard_data="hash"),
    dict(ADAM, dtype="bfloat16", accumulate="float32", micro_batches=2),
    dict(MOMENTUM, recompute=True),
    dict(ADAM, dtype="float16", shares=True),
    dict(MOMENTUM, dtype="float64", group=1, clip_norm=None),  # no norm, whose last bit it would have
]


def pair(kind, stage, bucket, way, size):
    """The same run without buckets and with them, of which the second is still there."""
    settings = dict(steps=4, dtype="float32", reduce="ordered", prefetch="prefetch" in str(stage)) | way
    if settings.get("shares"):
        settings["shares"] = [1 + (r + 1) % 3 for r in range(size)]
    plain = kind(int(str(stage)[0]), **settings).run()
    plain.units = plain.guard = None  # the ledger counts whatever is alive
    return plain, kind(int(str(stage)[0]), bucket=bucket, **settings).run()


def check_equal(plain, merged):
    for name, other in zip(plain.tensors, merged.tensors, strict=True):
        assert name.tobytes() == other.tobytes()
    assert merged.sha256 == plain.sha256 and merged.losses == plain.losses
    assert np.allclose(merged.norms, plain.norms, rtol=1e-12, atol=0)  # squares are added in another order


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("way", range(len(WAYS)))
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("bucket", BUCKETS)
def test_bits_are_those_of_no_buckets(bucket, stage, way, comm):
    plain, merged = pair(Small, stage, bucket, WAYS[way], comm.size)
    assert [len(merged.units), sum(u.layout.elements for u in merged.units)] == [BUCKETS[bucket], 107]
    check_equal(plain, merged)
    compare(merged)
    for collective in ("reduce_scatter", "all_gather"):
        assert merged.calls[collective] * 3 == plain.calls[collective] * BUCKETS[bucket]


@pytest.mark.rest("all combinations", each="value")
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "bucket, names",
    [
        (2100, ["wte_wpe to h.0", "h.1 to ln_f_head"]),
        (1000, ["wte_wpe", "h.0", "h.1", "ln_f_head"]),
        (3768, ["wte_wpe to h.0", "h.1 to ln_f_head"]),
        (9999, ["wte_wpe to ln_f_head"]),
    ],
)
def test_blocks_of_a_gpt_are_merged_too(stage, bucket, names, comm):
    way = dict(ADAM, micro_batches=2, steps=3)
    plain, merged = pair(SmallGpt, stage, bucket, way, comm.size)
    assert [u.layout.name for u in merged.units] == names
    check_equal(plain, merged)
    compare(merged)


@pytest.mark.parametrize("bucket", (1, 89, 1000))
def test_the_peak_of_stage_3_is_a_buckets(bucket):
    run = Small(3, dtype="float32", steps=2, bucket=bucket).run()
    longest = {1: [49], 89: [49, 40], 1000: [49, 40, 18]}[bucket]
    padded = FlatLayout("", {"": (sum(longest),)}, Comm().size).padded
    assert run.peak["gathered"] == run.peak["full_gradient"] == 4 * padded


LINE = "--quiet --batch-size 12 --hidden 7,5 --seed 4 --clip-norm 0.4 --steps 6 --reduce ordered"


@pytest.mark.rest("runs of the command", every=7)
@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("rule", ("contiguous", "random", "hash"))
def test_a_checkpoint_of_buckets_is_that_of_the_model(stage, rule, comm, tmp_path):
    folder = Path(comm.everyone(str(tmp_path))[0])
    line = f"{LINE} --stage {stage} --dtype {('float32', 'bfloat16')[stage % 2]} --shard-model {rule}"
    plain = run(line, f"--save {folder}/plain --save-every 3")
    ends = [contents(folder / "plain" / f"step-0000000{n}") for n in (3, 6)]
    for bucket in (700, 10**6):
        there = folder / str(bucket)
        again = run(line, f"--save {there} --save-every 3 --bucket {bucket} --export {there}.safetensors")
        assert again["weights_sha256"] == plain["weights_sha256"] and again["units"] < plain["units"]
        assert [contents(there / f"step-0000000{n}") for n in (3, 6)] == ends
        assert list(Checkpoint(there / "step-00000006").manifest.units) == [
            "layers.0",
            "layers.1",
            "layers.2",
        ]
    half = folder / "700" / "step-00000003"
    for other in ("", "--bucket 560", "--bucket 700", f"--stage {3 - stage} --bucket 9999"):
        end = run("--quiet", other, resume=half)
        assert end["config"]["bucket"] == (int(other.split()[-1]) if other else None)
        assert end["weights_sha256"] == plain["weights_sha256"]
        init = run(
            LINE, f"--dtype {plain['config']['dtype']} --init {folder}/700.safetensors", other, "--steps 0"
        )
        assert init["weights_sha256"] == plain["weights_sha256"]
