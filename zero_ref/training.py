"""A training run: deal data and model to the ranks, train, test, gather, report.

The numbered comments in `train` are the five steps of the idea that the README begins with.
"""

import argparse
import functools
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from tqdm import tqdm

from zero_ref import array, launch, model, optim, options, record, weights
from zero_ref.comm import REDUCE, Comm, local_rank, mpi_takes_device_arrays
from zero_ref.data import Batches, DataSet, load, split
from zero_ref.launch import UsageError
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger
from zero_ref.model import Unit
from zero_ref.stages import zero0, zero1, zero2, zero3

STAGES: dict[int, ModuleType] = {0: zero0, 1: zero1, 2: zero2, 3: zero3}


def train(o: argparse.Namespace) -> dict[str, Any]:
    """Do what the options say, on all ranks; return the run record (see record.py)."""
    comm = connect(o.reduce)
    o.device = array.select(o.device, local_rank(), mpi_takes_device_arrays())
    rule, shares = options.model_rule(o, comm.size)
    data = agree(comm, lambda: load(o.data, o.dtype))

    # 1. Deal the samples to the ranks by a rule.
    train_ids, test_ids = split(len(data.x), o.test_fraction, o.seed)
    deal = functools.partial(Batches, data, rank=comm.rank, shares=shares or [1] * comm.size)
    batches = deal(train_ids, o.batch_size, o.micro_batches, o.shard_data, o.seed, not o.no_shuffle)

    # 2. Deal the weights and biases to the ranks by a rule.
    def layout(name: str, shapes: dict[str, tuple[int, ...]]) -> FlatLayout:
        return FlatLayout(name, shapes, comm.size, rule, shares, o.seed)

    widths = [data.x.shape[1], *o.hidden, data.outputs]
    init = functools.partial(weights.read_tensor, o.init) if o.init else None
    units = model.build(widths, layout, o.dtype, o.seed, init)
    agree(comm, lambda: check_files(o, units))
    stage = STAGES[o.stage]
    stage.setup(units, comm, optimizer(o))

    # 3. and 4. Every rank trains on its own samples; the stage keeps the parameters in step.
    history, mine = fit(o, stage, units, comm, batches, data.classes > 0)

    # 5. Gather the parameters of all ranks into the whole model.
    test = evaluate(stage, units, comm, deal(test_ids, o.batch_size, shuffle=False), data)
    digest = weights.sha256(weights.named_tensors(stage, units, comm))
    if o.export:
        weights.write(o.export, weights.named_tensors(stage, units, comm), here=comm.rank == 0)

    ranks = comm.everyone(record.of_rank(o, units, comm, data, mine))
    result = record.of_run(o, units, comm, history, digest, test, ranks)
    if comm.rank == 0 and o.record:
        record.write(o.record, result)
    if comm.rank == 0 and not o.quiet:
        print(record.summary(result, units, data), flush=True)
    return result


def connect(reduce: str = "native") -> Comm:
    """All ranks of this run, once it is sure that mpirun and the MPI library belong together."""
    comm = REDUCE[reduce]()
    if comm.size == 1 < launch.size_by_launcher():
        raise UsageError("this mpirun and the MPI library of mpi4py are of different families")
    return comm


def agree(comm: Comm, attempt: Callable[[], Any]) -> Any:
    """attempt() on every rank; if it raises UsageError on any of them, raise that on all."""
    value, problem = None, None
    try:
        value = attempt()
    except UsageError as error:
        problem = str(error)
    problems = [p for p in comm.everyone(problem) if p]
    if problems:
        raise UsageError(problems[0])
    return value


def check_files(o: argparse.Namespace, units: list[Unit]) -> None:
    """UsageError if --init does not fit the model or a result could not be written at the end."""
    if o.init:
        weights.check(o.init, {f"{u.layout.name}.{n}": s for u in units for n, s in u.layout.shapes.items()})
    for name in ("export", "record"):
        if path := getattr(o, name):
            folder = Path(path).parent
            if not folder.is_dir() or not os.access(folder, os.W_OK) or Path(path).is_dir():
                raise UsageError(f"--{name} {path}: cannot be written there")


def optimizer(o: argparse.Namespace) -> Callable[[int], Any]:
    """A function that makes the optimizer of the options for a vector of n elements."""
    settings = {"dtype": o.dtype, "lr": o.lr, "weight_decay": o.weight_decay}
    if o.optimizer == "sgd":
        return functools.partial(optim.SGD, momentum=o.momentum, **settings)
    return functools.partial(optim.Adam if o.optimizer == "adam" else optim.AdamW, **settings)


def fit(
    o: argparse.Namespace, stage: ModuleType, units: list[Unit], comm: Comm, batches: Batches, classes: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train. Returns what is the same on all ranks (losses, norms, time), and what this rank measured."""
    ledger.forget_peaks()
    losses, norms, seconds, sizes = [], [], [], []
    for number in tqdm(range(o.steps or o.epochs * batches.steps_per_epoch), disable=no_bar(o, comm)):
        epoch, step = divmod(number, batches.steps_per_epoch)
        parts = batches.parts(epoch, step)
        loss_grad = model.loss_grad(classes, samples=len(batches.global_batch(epoch, step)))
        ledger.forget_sent()
        start = time.perf_counter()
        loss, norm = stage.step(units, comm, batches.load(parts), loss_grad, o.clip_norm)
        losses.append(comm.sum(loss))
        seconds.append(time.perf_counter() - start)
        norms.append(norm)
        sizes.append(tuple(len(part) for part in parts))
    history = {"loss": losses, "grad_norm": norms, "seconds_per_step": statistics.median(seconds)}
    return history, {
        "sizes": sizes,
        "resting_bytes": dict(ledger.live),
        "peak_bytes": dict(ledger.peak),
        "peak_total_bytes": ledger.peak_total,
        "sent_bytes_per_step": dict(ledger.sent),  # of the last step; all are alike
        "calls_per_step": dict(ledger.calls),
    }


def no_bar(o: argparse.Namespace, comm: Comm) -> bool | None:
    """tqdm's `disable`: True hides the bar, None leaves it to tqdm, which shows it on a terminal only."""
    return True if o.quiet or comm.rank else None


def evaluate(
    stage: ModuleType, units: list[Unit], comm: Comm, held_out: Batches, data: DataSet
) -> dict[str, float | None] | None:
    """Loss, and accuracy or r2, on the held-out samples, shared out over the ranks; None without any.

    r2 is 1 - (squared errors) / (squared deviations from the mean), over all targets together.
    """
    samples = len(held_out.ids)
    if not samples:
        return None
    loss_grad = model.loss_grad(data.classes > 0, samples)
    loss = right = 0.0
    for step in range(held_out.steps_per_epoch):
        for x, y in held_out.load(held_out.parts(0, step)):
            for u in units:
                x = u.forward(stage.full_param(u, comm), x)
                u.forget()
            loss += loss_grad(x, y)[1]
            right += float((x.argmax(axis=1) == y).sum()) if data.classes else 0.0
    loss = comm.sum(loss)
    if data.classes:
        return {"loss": loss, "accuracy": comm.sum(right) / samples}
    y = data.y[held_out.ids].astype(np.float64)
    variance = float(((y - y.mean(axis=0)) ** 2).mean())
    return {"loss": loss, "r2": 1 - loss / variance if variance else None}
