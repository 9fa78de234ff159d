"""The whole training run, from options to test score and exported weights, against the serial reference."""

import os

import numpy as np
import pytest
import serial
from safetensors.numpy import load_file, save_file
from small import data, start

from zero_ref.data import Batches, split
from zero_ref.train import options
from zero_ref.train import run as training

DEVICE = os.environ.get("ZERO_REF_TEST_DEVICE", "cpu")
LINE = "--quiet --dtype float64 --batch-size 12 --micro-batches 2 --epochs 3 --test-fraction 0.3 --seed 4"
LINE += " --hidden 7,5 --optimizer sgd --lr 0.1 --momentum 0.9 --clip-norm 0.4 --shard-data random"


@pytest.mark.parametrize("classes", (True, False))
@pytest.mark.parametrize("stage", range(4))
def test_a_run_of_the_command_follows_the_serial_reference(stage, classes, comm, tmp_path):
    problem = data(classes, "float64")
    weights = start([6, 7, 5, problem.task.outputs])
    np.savez(tmp_path / "data.npz", x=problem.x, y=problem.y)
    named = {f"layers.{i}.{n}": v for i, pair in enumerate(weights) for n, v in zip(("weight", "bias"), pair)}
    save_file(named, tmp_path / "start.safetensors")
    files = {"--data": "data.npz", "--init": "start.safetensors", "--export": "end.safetensors"}
    line = [*LINE.split(), "--stage", str(stage), "--device", DEVICE]
    for option, file in files.items():
        line += [option, str(tmp_path / file)]
    record = training.train(options.parse(line))

    ids, held_out = split(len(problem.x), 0.3, seed=4)
    batches = Batches(problem, ids, 12, seed=4, rank=0, shares=[1])  # 29 samples: 12, 12 and 5
    order = [batches.global_batch(epoch, step) for epoch in range(3) for step in range(3)]
    steps = [(problem.x[batch], problem.y[batch]) for batch in order]
    p, losses, norms = serial.train(weights, steps, classes, "sgd", lr=0.1, momentum=0.9, clip_norm=0.4)
    assert np.allclose(record["loss"], losses, rtol=1e-12, atol=0)
    assert np.allclose(record["grad_norm"], norms, rtol=1e-11, atol=0)
    if comm.rank == 0:
        end = load_file(tmp_path / "end.safetensors")
        assert all(np.allclose(end[name], value, rtol=0, atol=1e-11) for name, value in zip(named, p))

    x, y, pairs = problem.x[held_out], problem.y[held_out], list(zip(p[::2], p[1::2]))
    found, loss = serial.outputs(pairs, x)[-1], serial.loss_and_gradients(pairs, x, y, classes)[0]
    if classes:
        expected = {"loss": loss, "accuracy": (found.argmax(1) == y).mean()}
    else:
        expected = {"loss": loss, "r2": 1 - ((found - y) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()}
    assert record["test"] == pytest.approx(expected, rel=1e-10)


BASE = "--quiet --data synthetic --samples 90 --steps 6 --batch-size 12 --hidden 7 --clip-norm 0.5"
BASE += " --optimizer sgd --lr 0.05"
CHANGES = {
    "--seed 9": ["weights_sha256", "loss"],
    "--lr 0.1": ["weights_sha256", "loss"],
    "--schedule linear": ["weights_sha256", "lr"],
    "--warmup 2": ["weights_sha256", "lr"],
    "--momentum 0.9": ["weights_sha256", "resting_bytes"],
    "--weight-decay 0.1": ["weights_sha256"],
    "--clip-norm 0.1": ["weights_sha256"],
    "--optimizer adam": ["weights_sha256", "resting_bytes"],
    "--optimizer adamw": ["weights_sha256", "resting_bytes"],
    "--no-shuffle": ["weights_sha256", "loss"],
    "--dtype float64": ["weights_sha256", "resting_bytes"],
    "--dtype bfloat16": ["weights_sha256", "resting_bytes"],
    "--batch-size 24": ["weights_sha256", "samples"],
    "--steps 5": ["weights_sha256", "loss"],
    "--test-fraction 0": ["test"],
    "--stage 0": ["peak_bytes"],
    "--hidden 7,7": ["weights_sha256", "resting_bytes"],
    "--micro-batches 3": ["peak_bytes"],
    "--shard-model hash": ["peak_bytes"],
    "--shard-data hash": ["samples"],
}


def fields(line, device=DEVICE):
    """What a run of the command measures: fields of the record, and those of every rank."""
    result = training.train(options.parse([*BASE.split(), *line.split(), "--device", device]))
    each = {name: [rank[name] for rank in result["ranks"]] for name in result["ranks"][0]}
    return result | each


def test_every_option_reaches_the_run(comm):
    base = fields("")
    assert fields("")["weights_sha256"] == base["weights_sha256"]
    for line, names in CHANGES.items():
        changed = fields(line)
        for name in names:
            if comm.size > 1 or (line, name) != ("--shard-data hash", "samples"):
                assert changed[name] != base[name], f"{line} changes nothing in {name}"
    if comm.size > 2:  # two ranks send each other the same either way
        uneven, ring = fields("--shard-model hash"), fields("--shard-model hash --reduce ring")
        assert uneven["sent_bytes_per_step"] != ring["sent_bytes_per_step"]
    adam, adamw = fields("--optimizer adam"), fields("--optimizer adamw")
    assert adam["weights_sha256"] != adamw["weights_sha256"], "weight decay of 0.01 by default"
