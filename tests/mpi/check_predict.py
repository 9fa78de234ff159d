"""Outputs from sharded parameters: those of the gathered model, for any number of samples and ranks."""

from pathlib import Path

import numpy as np
import pytest
import serial
from small import Small, data

from zero_ref import array, predict
from zero_ref.checkpoint import Manifest, saving
from zero_ref.ledger import ledger
from zero_ref.train import options


@pytest.fixture
def folder(comm, tmp_path):
    """A folder that is the same on all ranks."""
    return Path(comm.everyone(str(tmp_path))[0])


def saved(folder, run, comm):
    """The checkpoint of a run of small.py, opened on all ranks."""
    line = ["--model=mlp", f"--hidden={','.join(map(str, run.hidden))}", f"--dtype={run.dtype}"]
    arguments = options.lasting(options.parse(line))
    task = data(run.classes, "float64").task
    manifest = Manifest(
        arguments=arguments, data_sha256="", features=6, outputs=task.outputs, classes=task.classes
    )
    saving.save(str(folder), None, manifest, 5, run.nouns())
    return saving.open_together(str(folder))


def gathered(run, x, batch_size):
    """The outputs of the whole model, batch by batch."""
    params = [run.module.full_param(u, run.comm).copy() for u in run.units]
    rows = []
    for start in range(0, len(x), batch_size):
        h = array.from_numpy(x[start : start + batch_size].copy(), "activation")
        for u, param in zip(run.units, params):
            h = u.forward(param, h)
            u.forget()
        rows.append(array.to_numpy(h))
    return np.concatenate(rows)


@pytest.mark.parametrize("dtype", ("float64", "float32", "bfloat16"))
@pytest.mark.parametrize("classes", (True, False))
@pytest.mark.parametrize("stage, rule", [(0, "contiguous"), (3, "hash"), (2, "random")])
def test_outputs_are_those_of_the_trained_model(stage, rule, classes, dtype, comm, folder):
    run = Small(
        stage, classes=classes, dtype=dtype, optimizer="sgd", settings={"lr": 0.1}, rule=rule, steps=5
    ).run()
    units = predict.load_units(saved(folder, run, comm), comm)
    x = data(classes, dtype).x
    for samples, batch_size in ((41, 4), (41, 7), (1, 64), (2, 1), (comm.size * 4, 4)):
        found = predict.outputs(units, comm, x[:samples], batch_size)
        expected = gathered(run, x[:samples], batch_size)
        assert (found is None) == (comm.rank > 0)
        if comm.rank == 0:
            assert found.dtype == expected.dtype and found.tobytes() == expected.tobytes()
    if comm.rank == 0 and dtype == "float64":
        whole = predict.outputs(units, comm, x, 41) if comm.size == 1 else None
        pairs = list(zip(run.tensors[::2], run.tensors[1::2]))
        reference = serial.outputs(pairs, x)[-1]
        assert whole is None or np.allclose(whole, reference, rtol=0, atol=1e-12)


def test_a_rank_holds_its_shard_and_one_unit(comm, folder):
    hidden = (64, 64, 64)
    run = Small(3, hidden=hidden, dtype="float32", optimizer="sgd", settings={"lr": 0.1}, steps=1).run()
    checkpoint = saved(folder, run, comm)
    layouts = [u.layout for u in run.units]
    del run
    before = dict(ledger.live)
    units = predict.load_units(checkpoint, comm)
    ledger.forget_peaks()
    predict.outputs(units, comm, data(True, "float32").x, 8)
    own = sum(layout.counts[comm.rank] for layout in layouts) * 4
    assert ledger.live["parameter"] - before["parameter"] == own
    assert ledger.peak["gathered"] - before["gathered"] == max(layout.padded for layout in layouts) * 4
