"""A training run: deal data and model to the ranks, train, test, gather, report.

The numbered comments in `train` are the five steps of the idea that the README begins with.
"""

import argparse
import contextlib
import functools
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from tqdm import tqdm

from zero_ref import array, launch, model, optim, options, own, record, replicas, report, saving, weights
from zero_ref.checkpoint import Checkpoint, Manifest
from zero_ref.comm import Comm, agree, comm_for, local_rank, mpi_takes_device_arrays, on_rank_0
from zero_ref.data import Batches, DataSet, data_set_of, split
from zero_ref.events import Events, step_to_record
from zero_ref.launch import UsageError
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger
from zero_ref.model import Unit
from zero_ref.precision import Guard, LossScale, Master
from zero_ref.stages import zero0, zero1, zero2, zero3, zero3_prefetch
from zero_ref.watch import Check, watch

STAGES: dict[int, ModuleType] = {0: zero0, 1: zero1, 2: zero2, 3: zero3}


def train(o: argparse.Namespace, checkpoint: Checkpoint | None = None) -> dict[str, Any]:
    """Do what the options say, on all ranks; return the run record (see record.py).

    checkpoint: where to go on, verified (see saving.open_together).
    """
    world = connect()
    watch(world, o.timeout)
    o.device = select_device(o.device, world, o.transport)
    comm = agree(world, lambda: own.comm(o.own)) if o.own else comm_for(o.reduce, o.dtype, o.transport)
    check = Check(comm) if o.check else None
    watch(comm, o.timeout)
    rule, shares = options.model_rule(o, comm.size)
    data = agree(comm, lambda: data_set_of(o))
    task = data.task
    same_data = functools.partial(check_data, o, data, checkpoint)
    data_sha256 = agree(comm, same_data) if o.save or checkpoint else ""

    # 1. Deal the samples to the ranks by a rule.
    train_ids, test_ids = split(len(data.x), o.test_fraction, o.seed)
    deal = functools.partial(Batches, data, rank=comm.rank, shares=shares or [1] * comm.size)
    batches = deal(train_ids, o.batch_size, o.micro_batches, o.shard_data, o.seed, not o.no_shuffle)
    held_out = deal(test_ids, o.batch_size, shuffle=False)
    del data, deal, same_data  # a rank goes on with its own samples only

    # 2. Deal the weights and biases to the ranks by a rule.
    def layout(name: str, shapes: dict[str, tuple[int, ...]]) -> FlatLayout:
        return FlatLayout(name, shapes, comm.size, rule, shares, o.seed)

    init = functools.partial(weights.read_tensor, o.init) if o.init else None
    start = checkpoint.tensor if checkpoint else init
    units = model.build([task.features, *o.hidden, task.outputs], layout, o.dtype, o.seed, start)
    guard = (LossScale if o.dtype == "float16" else Guard)(units, o.clip_norm)
    agree(comm, lambda: check_files(o, units, comm, checkpoint))
    if checkpoint:
        saving.fits(checkpoint, units, optimizer(o)(0), guard)
    stage = stage_of(o, comm)
    stage.setup(units, comm, optimizer(o))
    if checkpoint:
        saving.restore(checkpoint, o.stage, units, guard, comm)
    launch.give_back_freed_memory()
    steps = range(guard.steps, o.steps or o.epochs * batches.steps_per_epoch)
    if not steps:
        raise UsageError(f"the checkpoint has done {steps.start} steps, and the run ends after {steps.stop}")

    asked = o.report or o.trace or o.chart
    events = Events(step_to_record(steps, batches), stage, units, comm) if asked else None

    # 3. and 4. Every rank trains on its own samples; the stage keeps the parameters in step.
    manifest = Manifest(
        arguments=options.lasting(o),
        data_sha256=data_sha256,
        features=task.features,
        outputs=task.outputs,
        classes=task.classes,
    )

    def after(step: int) -> None:
        if o.verify_every and step % o.verify_every == 0:
            replicas.compare(step, o.stage, units, guard, comm)
        if o.save and (step == steps.stop or (o.save_every and step % o.save_every == 0)):
            saving.save(o.save, o.keep, manifest, step, o.stage, units, guard, comm)

    with np.errstate(over="ignore", invalid="ignore"):  # the guard looks at what is not finite
        history, measured, sizes = fit(
            o, stage, units, comm, batches, task.classes > 0, guard, steps, after, events
        )

    if check:
        history["check_seconds_per_step"] = check.seconds / len(steps)

    # 5. Gather the parameters of all ranks into the whole model.
    test = evaluate(stage, units, comm, held_out, task.classes > 0)
    digest = weights.sha256(weights.named_tensors(stage, units, comm))

    ranks = comm.everyone(record.of_rank(o, units, comm, task, measured, sizes))
    result = record.of_run(o, units, comm, steps, history, digest, test, ranks)
    if events:
        of_this_step = record.expected(o, units, comm, task, [sizes[events.step - steps.start]])
        result["recorded_step"] = events.together(of_this_step)
    if comm.rank == 0 and not o.quiet:
        launch.say(record.summary(result, units, task))
    if o.record:
        on_rank_0(comm, functools.partial(record.write, o.record, result))
    if o.export:
        whole = [(name, t.copy()) for name, t in weights.named_tensors(stage, units, comm) if comm.rank == 0]
        on_rank_0(comm, functools.partial(weights.write, o.export, dict(whole)))
    on_rank_0(comm, functools.partial(report.of_training, o, record.finite(result)))
    return result


def connect() -> Comm:
    """All ranks of this run, once it is sure that mpirun and the MPI library belong together."""
    comm = Comm()
    if comm.size == 1 < launch.size_by_launcher():
        raise UsageError("this mpirun and the MPI library of mpi4py are of different families")
    return comm


def stage_of(o: argparse.Namespace, comm: Comm) -> ModuleType:
    """The module that trains: a stage, or somebody's own."""
    if o.own:
        return agree(comm, lambda: own.stage(o.own, o.stage))
    return zero3_prefetch if o.prefetch else STAGES[o.stage]


def select_device(device: str, comm: Comm, transport: str = "mpi") -> str:
    """Choose the device on all ranks: "cpu" or "gpu", the same everywhere, and what `transport` can use."""
    number = local_rank()
    chosen = agree(comm, lambda: array.select(device, number, mpi_takes_device_arrays()))
    if len(set(comm.everyone(chosen))) > 1:
        raise UsageError(f"--device {device}: some ranks have a GPU and some have none")
    if transport == "nccl":
        check_nccl(chosen, comm)
    return chosen


def check_nccl(device: str, comm: Comm) -> None:
    """UsageError on all ranks if they cannot talk through NCCL."""
    if device != "gpu":
        raise UsageError("--transport nccl: there is no GPU here")
    gpus = len(set(comm.everyone(f"{platform.node()} {array.gpu_name()}")))
    if gpus < comm.size:
        raise UsageError(
            f"--transport nccl: every rank needs a GPU of its own, and {comm.size} ranks have {gpus}; "
            "--transport mpi lets them share one"
        )
    if not all(comm.everyone(array.nccl_here())):
        raise UsageError("--transport nccl: CuPy finds no NCCL here (see requirements-gpu.txt)")


def check_data(o: argparse.Namespace, data: DataSet, checkpoint: Checkpoint | None) -> str:
    """The data's SHA-256; UsageError if the checkpoint was not trained on these data."""
    found = data.sha256()
    if checkpoint and checkpoint.manifest.data_sha256 != found:
        raise UsageError(f"--data {o.data}: is not what checkpoint {checkpoint.folder} was trained on")
    return found


def check_files(
    o: argparse.Namespace, units: list[Unit], comm: Comm, checkpoint: Checkpoint | None = None
) -> None:
    """UsageError if --init does not fit the model, or if rank 0 could not write what is asked for."""
    if o.save and comm.rank == 0:
        saving.prepare(o.save, checkpoint)
    if o.init:
        shapes = {f"{u.layout.name}.{n}": s for u in units for n, s in u.layout.shapes.items()}
        weights.check(o.init, shapes, o.dtype)
    if o.compare and comm.rank == 0:
        report.read(o.compare, "--compare ")
    taken = {Path(name).resolve() for name in (o.data, o.init, o.compare) if name}
    for name, path in ((name, getattr(o, name)) for name in ("export", "record", "report", "trace")):
        if path and comm.rank == 0:
            folder = Path(path).parent
            if not folder.is_dir() or not os.access(folder, os.W_OK) or Path(path).is_dir():
                raise UsageError(f"--{name} {path}: cannot be written there")
            if Path(path).resolve() in taken:
                raise UsageError(f"--{name} {path}: is another file of this run")
            taken.add(Path(path).resolve())


def optimizer(o: argparse.Namespace) -> Callable[[int], Any]:
    """A function that makes the optimizer of the options for a vector of n elements."""
    narrow = o.dtype in options.NARROW
    settings = {"lr": o.lr, "weight_decay": o.weight_decay, "dtype": "float32" if narrow else o.dtype}
    if o.optimizer == "sgd":
        settings["momentum"] = o.momentum
    here = optim.for_device()
    kind = {"sgd": here.SGD, "adam": here.Adam, "adamw": here.AdamW}[o.optimizer]
    make = functools.partial(kind, **settings)
    return functools.partial(Master, make=make) if narrow else make


def fit(
    o: argparse.Namespace,
    stage: ModuleType,
    units: list[Unit],
    comm: Comm,
    batches: Batches,
    classes: bool,
    guard: Guard,
    steps: range,
    after: Callable[[int], None],
    events: Events | None = None,
) -> tuple[dict[str, Any], dict[str, Any], list[tuple[int, ...]]]:
    """Train, and after each step call after(steps done); one step is recorded in `events`.

    Returns, under the names of the record: what all ranks share (loss, grad_norm, seconds_per_step), what
    this rank measured, and its samples in each micro-batch of each step.
    """
    ledger.forget_peaks()
    losses, norms, seconds, sizes = [], [], [], []
    hidden = o.quiet or comm.rank > 0 or not launch.on_a_terminal()
    for number in tqdm(steps, disable=hidden, ncols=80, initial=steps.start, total=steps.stop):
        epoch, step = divmod(number, batches.steps_per_epoch)
        parts = batches.parts(epoch, step)
        samples = len(batches.global_batch(epoch, step))
        loss_grad = guard.listen(model.loss_grad(classes, samples, guard.scale))
        comm.step = number + 1
        ledger.forget_sent()
        start = time.perf_counter()
        with events.watching(number) if events else contextlib.nullcontext():
            loss, norm = stage.step(units, comm, batches.arrays(parts), loss_grad, guard)
            losses.append(comm.sum(loss))
        seconds.append(time.perf_counter() - start)
        norms.append(norm)
        sizes.append(tuple(len(part) for part in parts))
        after(number + 1)
    history = {"loss": losses, "grad_norm": norms, "seconds_per_step": statistics.median(seconds)}
    measured = {
        "resting_bytes": dict(ledger.live),
        "peak_bytes": dict(ledger.peak),
        "peak_total_bytes": ledger.peak_total,
        "sent_bytes_per_step": dict(ledger.sent),  # of the last step; all are alike
        "calls_per_step": dict(ledger.calls),
    }
    return history, measured, sizes


def evaluate(
    stage: ModuleType, units: list[Unit], comm: Comm, held_out: Batches, classes: bool
) -> dict[str, float | None] | None:
    """Loss, and accuracy or r2, on the held-out samples, shared out over the ranks; None without any.

    r2 is 1 - (squared errors) / (squared deviations from the mean), over all targets together.
    """
    samples = len(held_out.ids)
    if not samples:
        return None
    loss_grad = model.loss_grad(classes, samples)
    loss = right = 0.0
    for step in range(held_out.steps_per_epoch):
        for x, y in held_out.arrays(held_out.parts(0, step)):
            for u in units:
                x = u.forward(stage.full_param(u, comm), x)
                u.forget()
            loss += loss_grad(x, y)[1]
            right += float((x.argmax(axis=1) == y).sum()) if classes else 0.0
    loss = comm.sum(loss)
    if classes:
        return {"loss": loss, "accuracy": comm.sum(right) / samples}
    targets = array.to_numpy(held_out.y).astype(np.float64)
    variance = float(((targets - targets.mean(axis=0)) ** 2).mean())
    return {"loss": loss, "r2": 1 - loss / variance if variance else None}
