"""Checkpoints of the whole command: a run that is resumed ends as the run that was never stopped."""

import os
from pathlib import Path

import numpy as np
import pytest
from small import data

from zero_ref.checkpoint import Checkpoint, saving
from zero_ref.train import options
from zero_ref.train import run as training

DEVICE = os.environ.get("ZERO_REF_TEST_DEVICE", "cpu")
LINE = "--quiet --batch-size 12 --test-fraction 0.3 --hidden 7,5 --seed 4 --clip-norm 0.4 --steps 8"
CASES = {
    "sgd": "--optimizer sgd --lr 0.1",
    "momentum": "--optimizer sgd --momentum 0.9 --lr 0.1 --dtype float64 --micro-batches 2",
    "adamw": "--optimizer adamw --shard-model random --shard-data hash",
    "float16": "--dtype float16 --shard-model hash --shard-data random",
    "bfloat16": "--dtype bfloat16 --optimizer sgd --momentum 0.9 --reduce ordered --no-shuffle",
    "accumulate": "--dtype bfloat16 --accumulate float32 --micro-batches 3 --shard-model hash",
}


@pytest.fixture
def folder(comm, tmp_path):
    """A folder that is the same on all ranks, with data in it."""
    path = Path(comm.everyone(str(tmp_path))[0])
    if comm.rank == 0:
        problem = data(True, "float64")
        np.savez(path / "data.npz", x=problem.x * 40, y=problem.y)  # so that float16 overflows
    comm.everyone(None)
    return path


def run(*parts, resume=None):
    """The record of a run of the command."""
    line = [*" ".join(map(str, parts)).split(), "--device", DEVICE]
    if resume is None:
        return training.train(options.parse(line))
    checkpoint = saving.open_together(str(resume))
    return training.train(
        options.parse([*line, "--resume", str(resume)], checkpoint.manifest.arguments), checkpoint
    )


def contents(path):
    """All numbers of a checkpoint as bytes, and the rest of its state."""
    opened = Checkpoint(path)
    m = opened.manifest
    arrays = {
        (unit, v): opened.read(unit, v, 0, n).tobytes()
        for unit, n in opened.elements.items()
        for v in m.vectors
    }
    return arrays, m.step, m.optimizer_steps, m.loss_scale, m.data_sha256


@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_ends_as_one_that_never_stopped(case, stage, folder):
    line = f"{LINE} {CASES[case]} --data {folder}/data.npz --stage {stage}"
    whole = run(line, f"--save {folder}/whole --save-every 3")
    assert sorted(os.listdir(folder / "whole")) == ["step-00000003", "step-00000006", "step-00000008"]
    half = folder / "whole" / "step-00000003"
    for again in (stage, *([] if "--micro-batches" in line else [3 - stage])):  # stages are equal in bits
        other = f"again-{again}"
        end = run("--quiet", f"--stage {again} --save {folder}/{other}", resume=half)
        assert end["weights_sha256"] == whole["weights_sha256"]
        assert (end["first_step"], end["loss"]) == (3, whole["loss"][3:])
        assert str(end["grad_norm"]) == str(whole["grad_norm"][3:])
        assert end["test"] == whole["test"]
        assert contents(folder / other / "step-00000008") == contents(folder / "whole" / "step-00000008")
    if case == "float16":
        scale = Checkpoint(half).manifest.loss_scale
        assert scale.scale < 2**16 and scale.skipped > 0, "the case has no overflow to remember"


@pytest.mark.rest("four runs each", every=3)
@pytest.mark.parametrize("stage", range(4))
def test_a_run_that_adds_up_in_float32_goes_on_at_another_stage(stage, folder):
    line = f"{LINE} {CASES['accumulate']} --data {folder}/data.npz"
    run(line, f"--stage {stage} --save {folder}/whole --save-every 4")
    half, whole = folder / "whole" / "step-00000004", run(line, f"--stage {3 - stage}")
    assert "--accumulate=float32" in Checkpoint(half).manifest.arguments
    for more, wide in (("", "float32"), ("--accumulate same", None)):
        end = run(f"--quiet --stage {3 - stage} {more}", resume=half)
        assert (end["config"]["accumulate"], end["first_step"]) == (wide, 4)
        assert np.allclose(end["loss"], whole["loss"][4:], rtol=0.05)
        for rank in end["ranks"]:
            assert rank["formula"]["resting_bytes"].items() <= rank["resting_bytes"].items()


@pytest.mark.parametrize("rule", ("random", "hash"))
def test_a_run_goes_on_under_another_rule(rule, folder):
    line = f"{LINE} --optimizer sgd --momentum 0.9 --lr 0.1 --dtype float64 --data {folder}/data.npz"
    whole = run(line, f"--save {folder}/whole --save-every 5")
    end = run(
        "--quiet --stage 1 --shard-data random",
        f"--shard-model {rule}",
        resume=folder / "whole/step-00000005",
    )
    assert np.allclose(end["loss"], whole["loss"][5:], rtol=1e-12, atol=0)


def test_saving_is_not_in_the_way_of_measuring(folder):
    line = f"{LINE} --data {folder}/data.npz --stage 0 --shard-model hash"
    plain, saved = run(line), run(line, f"--save {folder}/c --save-every 1 --keep 2")
    for name in ("resting_bytes", "peak_bytes", "peak_total_bytes", "sent_bytes_per_step", "calls_per_step"):
        assert [r[name] for r in saved["ranks"]] == [r[name] for r in plain["ranks"]]
    assert sorted(os.listdir(folder / "c")) == ["step-00000007", "step-00000008"]
