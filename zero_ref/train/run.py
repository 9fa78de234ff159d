"""A training run: deal data and model to the ranks, train, test, gather, report.

The numbered comments in `train` are the five steps that docs/using.md names.
"""

import argparse
import contextlib
import functools
import hashlib
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from zero_ref import launch, model
from zero_ref.checkpoint import Checkpoint, Manifest, owner, saving, weights
from zero_ref.comm import Comm
from zero_ref.data import Batches, DataSet
from zero_ref.extras import storage
from zero_ref.extras.feedback import drift_of
from zero_ref.extras.schedule import Schedule
from zero_ref.generate import sampling
from zero_ref.launch import UsageError
from zero_ref.launch.files import check_readable, check_writable
from zero_ref.launch.singular import number_of
from zero_ref.launch.together import agree, check_alike, check_started_alike, each_apart, on_rank_0
from zero_ref.ledger import ledger
from zero_ref.report import draw_chart, draw_page, draw_trace, record, tell, tell_where
from zero_ref.train import beside, choose, options, replicas
from zero_ref.train.choose import Run
from zero_ref.train.events import Events, step_to_record
from zero_ref.train.held_out import Looks, evaluate
from zero_ref.train.watch import Check, watch

DATA = "the content of --data"


def meet(asked: argparse.Namespace) -> Comm:
    """All ranks, watched; UsageError on all unless they were started with the same options. Called first."""
    world = choose.connect(asked.timeout)
    watch(world, asked.timeout)
    check_started_alike(world, asked)
    return world


def go_on(
    asked: argparse.Namespace, arguments: list[str] | None, world: Comm
) -> tuple[argparse.Namespace, Checkpoint | None]:
    """The options of a run that resumes, and its checkpoint; None where --resume latest has none yet."""
    latest = asked.resume == "latest"
    where = asked.save if latest else asked.resume
    checkpoint = saving.open_latest(where, world) if latest else saving.open_together(where, comm=world)
    if checkpoint is None:
        return options.parse(arguments), None
    o = options.parse(arguments, checkpoint.manifest.arguments)
    saving.check_options(checkpoint, o)
    return o, checkpoint


def train(o: argparse.Namespace, checkpoint: Checkpoint | None = None) -> dict[str, Any]:
    """Do what the options say, on all ranks; return the run record (see report/record.py).

    checkpoint: where to go on, verified (see saving.open_together).
    """
    world = choose.connect(o.timeout)
    watch(world, o.timeout)
    o.device = choose.device(o.device, world, o.transport)
    comm = agree(world, lambda: choose.comm(o))
    watch(comm, o.timeout)
    check = Check([world, comm]) if o.check else None
    shares = options.model_rule(o, comm.size)[1]
    data = agree(world, lambda: choose.data_set(o))
    task, unigram = data.task, data.unigram
    contents = agree(world, functools.partial(check_contents, o, data, checkpoint))
    check_alike(world, contents)

    # 1. Deal the samples to the ranks by a rule. A rank goes on with its own samples only.
    batches = choose.batches(o, data, world, shares=shares)
    held_out = choose.batches(o, data, world, test=True, shares=shares)
    del data

    # 2. Deal the weights and biases to the ranks by a rule.
    init = functools.partial(weights.read_tensor, o.init) if o.init else None
    units = choose.units(o, task, comm.size, checkpoint.tensor if checkpoint else init)
    stage = agree(world, lambda: choose.stage(o))
    run = Run(stage, units, comm, world, choose.guard(o, units), batches, task)
    set_up(o, run, checkpoint)

    # 3. and 4. Every rank trains on its own samples; the stage keeps the parameters in step.
    steps = plan_steps(o, run, batches)
    rate = choose.schedule(o, steps.stop)
    recorded = steps and (o.report or o.trace or o.chart)
    events = Events(step_to_record(steps, batches), run) if recorded else None
    hidden = o.quiet or world.rank > 0 or not launch.on_a_terminal()
    manifest = Manifest(arguments=options.lasting(o), data_sha256=contents[DATA], **vars(task))
    looks = Looks(o, run, held_out, manifest)
    after = functools.partial(end_step, o, run, manifest, looks, steps.stop)
    if steps.stop == 0:
        after(0)
    with np.errstate(over="ignore", invalid="ignore"):  # the guard looks at what is not finite
        history, measured, sizes = fit(run, steps, rate, after, events, hidden)
    if check:
        history["check_seconds_per_step"] = check.seconds / max(1, len(steps))
    history["drift"] = drift_of(run.comm, world)

    # 5. Gather the parameters of all ranks into the whole model.
    history |= outcome(o, run, held_out, looks, unigram)
    ranks = world.everyone(record.rank_entry(o, run, measured, sizes))
    result = record.make_record(o, run, steps, history, ranks)
    if events:
        predicted = record.forecast_of(o, run, [sizes[events.step - steps.start]])
        result["recorded_step"] = events.together(predicted)
    result |= {"own": beside.compare(fit, o, run, steps, history, checkpoint)} if o.own else {}
    report(o, run, result)
    return result


def outcome(
    o: argparse.Namespace, run: Run, held_out: Batches, looks: Looks, unigram: float | None
) -> dict[str, Any]:
    """What is known of the model after the last step, under the names of the record.

    unigram: see DataSet.
    """
    test: dict[str, Any] | None = evaluate(run, held_out)
    if unigram is not None and test:
        test |= {"bits": test["loss"] / math.log(2), "unigram": unigram}
    found = {"test": test, "held_out": looks.rows, "best": looks.best, "text": write_text(o, run)}
    return found | {"weights_sha256": weights.sha256(weights.named_tensors(run.stage, run.units, run.comm))}


def set_up(o: argparse.Namespace, run: Run, checkpoint: Checkpoint | None) -> None:
    """Hang on each unit what this rank keeps of it, once it is sure that all files are as they should be."""
    agree(run.world, lambda: check_files(o, run, checkpoint))
    if checkpoint:
        saving.check_fits(checkpoint, run.units, choose.optimizer(o)(0), run.guard)
    set_up_stage = functools.partial(run.stage.setup, run.units, run.comm, choose.optimizer(o))
    agree(run.world, set_up_stage) if o.offload else set_up_stage()  # one rank's disk may be full
    if checkpoint:
        saving.restore(checkpoint, run)
    launch.give_back_freed_memory()


def plan_steps(o: argparse.Namespace, run: Run, batches: Batches) -> range:
    """The steps that are left to do; UsageError if a checkpoint that was named has done them all."""
    steps = range(run.guard.steps, o.epochs * batches.steps_per_epoch if o.steps is None else o.steps)
    if not steps and o.resume != "latest" and steps.stop > 0:
        raise UsageError(
            f"the checkpoint has done {number_of(steps.start, 'steps')}, and the run ends after {steps.stop}"
        )
    return steps


def end_step(o: argparse.Namespace, run: Run, manifest: Manifest, looks: Looks, last: int, step: int) -> None:
    """After step `step` (from 1; 0 of a run of none): compare, test and save, as the options say."""
    if o.verify_every and step % o.verify_every == 0:
        replicas.check_equal(step, run)
    if o.eval_every and step and (step == last or step % o.eval_every == 0):
        looks.look(step)
    if o.save and (step == last or (o.save_every and step % o.save_every == 0)):
        saving.save(o.save, o.keep, manifest, step, run)
    if step == last:
        owner.give_back()


def report(o: argparse.Namespace, run: Run, result: dict[str, Any]) -> None:
    """Write what the options ask for, each apart from the others, and print last. All ranks call it together.

    A run that finds all its steps done leaves alone what the one that did them has written of them.
    """
    actions: list[Callable[[], None]] = []
    if o.export:
        tensors = weights.named_tensors(run.stage, run.units, run.comm)
        whole = {name: tensor.copy() for name, tensor in tensors if run.world.rank == 0}
        actions.append(lambda: weights.write(o.export, whole))
    if result["loss"] or not result["first_step"]:
        drawn = record.finite(result)
        actions += [lambda: record.write(o.record, result)] if o.record else []
        actions += [lambda: draw_trace(o, drawn)] if o.trace else []
        actions += [lambda: draw_page(o, drawn)] if o.report else []
    if not o.quiet:
        actions.append(lambda: tell(o, result))
        actions += [lambda: launch.say("\n" + beside.said(result, o.language))] if o.own else []
        actions += [lambda: draw_chart(o, drawn)] if o.chart and result["loss"] else []
        actions.append(lambda: tell_where(o, result))
    on_rank_0(run.world, lambda: each_apart(actions))


def check_contents(o: argparse.Namespace, data: DataSet, checkpoint: Checkpoint | None) -> dict[str, str]:
    """The SHA-256 of what is read; UsageError if the checkpoint was not trained on these data."""
    found = {DATA: data.sha256()}
    if checkpoint and checkpoint.manifest.data_sha256 != found[DATA]:
        raise UsageError(f"--data {o.data}: is not what checkpoint {checkpoint.folder} was trained on")
    if o.init:
        check_readable(o.init, "--init")
        with open(o.init, "rb") as file:
            found["the content of --init"] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def check_files(o: argparse.Namespace, run: Run, checkpoint: Checkpoint | None = None) -> None:
    """UsageError if --offload or --init does not fit, or if rank 0 could not write what is asked for."""
    storage.check(o.offload, o.offload_shards)
    if o.save and run.world.rank == 0:
        saving.prepare(o.save, checkpoint)
    if o.init:
        layouts = model.originals(run.units)
        shapes = {f"{each.prefix}{n}": s for each in layouts for n, s in each.shapes.items()}
        weights.check(o.init, shapes, o.dtype)
    if run.world.rank == 0:
        if o.compare:
            record.read(o.compare, "--compare ")
        written = {f"--{name}": getattr(o, name) for name in ("export", "record", "report", "trace")}
        check_writable(written, [o.data, o.init, o.compare])


def fit(
    run: Run,
    steps: range,
    rate: Schedule,
    after: Callable[[int], None],
    events: Events | None = None,
    hidden: bool = True,
) -> tuple[dict[str, Any], dict[str, Any], list[tuple[int, ...]]]:
    """Train, and after each step call after(steps done); one step is recorded in `events`.

    rate: of the next update, by the steps done; every unit's optimizer is told before the step.
    hidden: show no bar. Returns, under the names of the record: what all ranks share (loss, grad_norm,
    seconds_per_step), what this rank measured, and its samples in each micro-batch of each step.
    """
    ledger.forget_peaks()
    ledger.forget_sent()
    losses, norms, seconds, sizes, counts = [], [], [], [], []
    moved = dict(ledger.moved)
    batches, guard = run.batches, run.guard
    assert batches is not None
    for number in tqdm(steps, disable=hidden, ncols=80, initial=steps.start, total=steps.stop):
        epoch, step = divmod(number, batches.steps_per_epoch)
        parts = batches.parts(epoch, step)
        samples = len(batches.global_batch(epoch, step))
        loss_grad = guard.listen(model.loss_grad(run.task.classes > 0, samples, guard.scale))
        run.comm.step = run.world.step = number + 1
        for u in run.units:
            u.optimizer.lr = rate(number)
        ledger.forget_sent()
        start = time.perf_counter()
        with events.watching(number) if events else contextlib.nullcontext():
            loss, norm = run.stage.step(run.units, run.comm, batches.arrays(parts), loss_grad, guard)
            losses.append(run.world.sum(loss))
        seconds.append(time.perf_counter() - start)
        moved = {way: max(moved[way], n) for way, n in ledger.moved.items()}  # a step may be left out
        norms.append(norm)
        sizes.append(tuple(len(part) for part in parts))
        counts.append(samples)
        after(number + 1)
    history = {
        "loss": losses,
        "grad_norm": norms,
        "lr": [rate(number) for number in steps] if rate.varies else None,
        "seconds_per_step": statistics.median(seconds or [0.0]),
        "last_epoch": last_epoch(losses, counts, batches.steps_per_epoch),
    }
    return history, read_ledger() | {"moved_bytes_per_step": moved}, sizes


def read_ledger() -> dict[str, Any]:
    """What this rank holds, has held at most and has sent, under the names of the record."""
    return {
        "resting_bytes": dict(ledger.live),
        "peak_bytes": dict(ledger.peak),
        "peak_total_bytes": ledger.peak_total,
        "sent_bytes_per_step": dict(ledger.sent),  # of the last step; all are alike
        "calls_per_step": dict(ledger.calls),
        "between_bytes_per_step": dict(ledger.between),
        "away_bytes": dict(ledger.away),
    }


def last_epoch(losses: list[float], samples: list[int], steps: int) -> dict[str, Any] | None:
    """The mean loss over the samples of the last `steps` steps, or of all there are; None without any."""
    last = range(len(losses))[-steps:]
    if not last:
        return None
    mean = sum(losses[i] * samples[i] for i in last) / sum(samples[i] for i in last)
    return {"loss": mean, "steps": len(last), "whole": len(last) == steps}


def write_text(o: argparse.Namespace, run: Run) -> str | None:
    """What a GPT writes, for the summary; None where nobody reads it, and of one that has diverged."""
    if o.quiet or not run.task.alphabet:
        return None
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            how = sampling.How(seed=o.seed)
            param_of = functools.partial(run.stage.full_param, comm=run.comm)
            return sampling.generate(run.units, param_of, run.world, run.task, how)[0]
    except sampling.NoNumbers:
        return None
