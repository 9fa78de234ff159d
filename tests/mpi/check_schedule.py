"""`--schedule`: every step of a run is the step of a run of its own with that learning rate, in bits."""

import os
from pathlib import Path

import pytest

from zero_ref.checkpoint import saving
from zero_ref.train import options
from zero_ref.train import run as training

DEVICE = os.environ.get("ZERO_REF_TEST_DEVICE", "cpu")
LINE = "--quiet --batch-size 300 --hidden 7 --seed 4 --clip-norm 0.4 --lr 0.08 --no-shuffle --steps 3"
# One step of warm-up. Written out, as they have to be: the tests of schedule.py have them by hand, too.
RATES = {"linear": [0.04, 0.08, 0.04], "constant": [0.04, 0.08, 0.08]}
CASES = {
    "sgd": "--stage 1 --optimizer sgd --momentum 0.9 --dtype float64 --schedule linear",
    "adam": "--stage 0 --optimizer adam --weight-decay 0.1 --schedule constant",
    "adamw": "--stage 3 --optimizer adamw --micro-batches 2 --shard-model hash --schedule linear",
    "16 bits": "--stage 2 --optimizer adamw --dtype bfloat16 --schedule linear --recompute",
}


def run(line, folder=None):
    """The record of a run of the command, which goes on from the newest checkpoint in `folder`."""
    words = [*line.split(), "--device", DEVICE]
    if folder is None:
        return training.train(options.parse(words))
    checkpoint = saving.open_together(str(folder))
    words += ["--resume", str(folder)]
    return training.train(options.parse(words, checkpoint.manifest.arguments), checkpoint)


@pytest.mark.parametrize("case", CASES)
def test_a_step_is_that_of_a_run_with_its_rate(case, comm, tmp_path):
    folder = Path(comm.everyone(str(tmp_path))[0]) / "c"
    line = f"{LINE} {CASES[case]} --warmup 1"
    whole = run(line)
    rates = RATES["linear" if "linear" in line else "constant"]
    assert whole["lr"] == pytest.approx(rates, rel=1e-15)
    plain = f"--quiet --save {folder} --keep 1 --schedule constant --warmup 0"
    losses = []
    for done, rate in enumerate(whole["lr"]):
        more = f"{plain} --steps {done + 1} --lr {rate!r}"
        step = run(f"{LINE} {CASES[case]} {more}") if done == 0 else run(more, folder)
        assert step["lr"] is None and step["config"]["lr"] == rate
        losses += step["loss"]
    assert step["weights_sha256"] == whole["weights_sha256"] and losses == whole["loss"]
