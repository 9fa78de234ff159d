"""The ranks write a checkpoint together, and take one up again. __init__.py says what is in one.

Each rank writes its own shard of every vector, also at the stages where it holds more: nothing is
gathered. A checkpoint is written under another name, forced to the disk, and renamed once, when all
of it is there; so whenever the run is killed, what is called step-... is whole. The other name is the run's
own, and a folder has one owner at a time (see owner.py).
"""

import argparse
import functools
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from zero_ref.array import copy
from zero_ref.checkpoint import (
    BEST,
    FOLDER,
    MANIFEST,
    Checkpoint,
    File,
    Manifest,
    Scale,
    complete,
    encode,
    file_name,
    find,
    newest,
    owed,
    owed_name,
    owner,
)
from zero_ref.checkpoint.originals import by_original, in_originals, prefixes, shapes_of, vectors
from zero_ref.comm import Comm
from zero_ref.launch import CleanEnd, UsageError
from zero_ref.launch.files import create, give_mode, reason
from zero_ref.launch.together import agree, on_rank_0
from zero_ref.model import Unit
from zero_ref.optim import take_state, whole_state
from zero_ref.precision import Guard, LossScale
from zero_ref.train import choose
from zero_ref.train.choose import Run


def open_latest(folder: str, comm: Comm) -> Checkpoint | None:
    """The newest checkpoint in `folder`, as `open_together`, or its best; None where there is none yet."""
    for place in (folder, os.path.join(folder, BEST)):
        there = agree(comm, functools.partial(has_none, place))
        if not all(comm.everyone(there)):
            return open_together(place, comm=comm)
    return None


def has_none(folder: str) -> bool:
    """Whether there is no checkpoint in `folder`, or no folder."""
    try:
        return newest(Path(folder)) is None
    except FileNotFoundError:
        return True
    except (OSError, ValueError) as error:
        raise UsageError(f"--save {folder}: {reason(error)}") from None


def open_together(where: str, option: str = "--resume", comm: Comm | None = None) -> Checkpoint:
    """The checkpoint at `where` or the newest in it, verified; the same one on all ranks.

    Each rank reads a part of the files to the end. UsageError on all ranks if anything is wrong.
    """
    comm = comm or Comm()
    checkpoint = agree(comm, lambda: Checkpoint(find(where, option)))
    if len(set(comm.everyone(hashlib.sha256(checkpoint.text).hexdigest()))) > 1:
        raise UsageError(f"{option} {where}: the ranks find different checkpoints")
    agree(comm, lambda: checkpoint.verify(range(comm.rank, len(checkpoint.everything), comm.size)))
    return checkpoint


def prepare(folder: str, resumed: Checkpoint | None) -> None:
    """Own `folder`, if checkpoints can be written there, none of them over another. On one rank."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        owner.take(path)
        last = newest(path)
        best = newest(path / BEST) if (path / BEST).exists() else None
    except (OSError, ValueError) as error:
        raise UsageError(f"--save {folder}: {reason(error)}") from None
    if last and resumed is None:
        raise UsageError(f"--save {folder}: holds {last.name} of another run; go on with --resume {folder}")
    if best and resumed is None:
        name = f"{BEST}/{best.name}"
        raise UsageError(f"--save {folder}: holds {name} of another run; go on with --resume {folder}/{BEST}")
    if last and resumed and int(last.name.removeprefix("step-")) > resumed.manifest.step:
        raise UsageError(f"--save {folder}: holds {last.name}, which is later than what is resumed")


def save(folder: str, keep: int | None, manifest: Manifest, step: int, run: Run) -> None:
    """Write the checkpoint of `step` to `folder`, all ranks together; then keep only the `keep` latest.

    manifest: what is the same in every checkpoint of the run. Raises CleanEnd on all ranks, naming the
    rank that failed, if one of them cannot write; earlier checkpoints stay as they are.
    """
    comm = run.world
    path = Path(folder) / f"step-{step:08d}"

    def attempt(action: Callable[[], Any]) -> Any:
        try:
            return action()
        except (OSError, SafetensorError) as error:
            raise CleanEnd(f"--save {folder}: step {step}: rank {comm.rank}: {error}") from error

    part = path.with_name(comm.everyone(agree(comm, lambda: attempt(lambda: begin(path, comm.rank))))[0])
    try:
        files = comm.everyone(agree(comm, lambda: attempt(lambda: write_shards(part, run))))
        debts = comm.everyone(agree(comm, lambda: attempt(lambda: write_owed(part, run))))
        both = ([File(**about) for about in found if about] for found in (files, debts))
        whole = describe(manifest, step, run, *both)
        on_rank_0(comm, lambda: attempt(lambda: finish(part, path, whole)))
        on_rank_0(comm, lambda: attempt(lambda: drop_old(path.parent, keep)))
    except CleanEnd:
        if comm.rank == 0:
            shutil.rmtree(part, ignore_errors=True)
        raise


def begin(path: Path, rank: int) -> str:
    """On rank 0 make a new folder, beside `path` and under a name of this run's own; that name."""
    if rank > 0:
        return ""
    path.parent.mkdir(parents=True, exist_ok=True)
    owner.take(path.parent)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    part.mkdir()
    return part.name


def write_shards(part: Path, run: Run) -> dict[str, Any] | None:
    """Write this rank's file; return what the manifest says of it. Of groups only the first writes."""
    rank, keeps = run.comm.rank, run.stage.KEEPS
    if run.world.rank != rank:
        return None  # another rank has the same shards
    ranges, tensors = by_original(run.units, keeps, rank)
    if not part.is_dir():
        raise OSError(f"{part.name} is not there: {part.parent} has to be one folder for all ranks")
    return write_file(part / file_name(rank), tensors, ranges)


def write_owed(part: Path, run: Run) -> dict[str, Any] | None:
    """The same of what codes have lost of this rank's gradients, if that is remembered."""
    tensors = owed.owed_by(run)
    return write_file(part / owed_name(run.world.rank), tensors, {}) if tensors else None


def write_file(file: Path, tensors: dict[str, np.ndarray], ranges: dict[str, Any]) -> dict[str, Any]:
    """Write a new file with these tensors; return what the manifest says of it."""
    mode = create(file)
    save_file(tensors, file)
    give_mode(file, mode)
    to_disk(file)
    with open(file, "rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return msgspec.structs.asdict(File(file.name, file.stat().st_size, digest, ranges))


def describe(
    manifest: Manifest, step: int, run: Run, files: list[File], debts: Sequence[File] = ()
) -> Manifest:
    """The manifest of the checkpoint of `step`."""
    units, guard = run.units, run.guard
    return msgspec.structs.replace(
        manifest,
        step=step,
        optimizer_steps=units[0].optimizer.steps,
        loss_scale=Scale(guard.scale, guard.good, guard.skipped) if isinstance(guard, LossScale) else None,
        vectors={name: vector.dtype.name for name, vector in vectors(units[0]).items()},
        units=shapes_of(units),
        prefixes=prefixes(units),
        files=files,
        owed=list(debts),
        who_sends_what=owed.who_sends_what(run) if debts else None,
    )


def finish(part: Path, path: Path, manifest: Manifest) -> None:
    """Add the manifest, and give the folder its name, which makes it a checkpoint."""
    for about in [*manifest.files, *manifest.owed]:  # written by other ranks, perhaps on other machines
        if not (part / about.name).is_file():
            raise OSError(f"{about.name} is not there: {path.parent} has to be one folder for all ranks")
    (part / MANIFEST).write_bytes(encode(manifest))
    to_disk(part / MANIFEST)
    to_disk(part)
    os.rename(part, path)
    to_disk(path.parent)


def restore(checkpoint: Checkpoint, run: Run) -> None:
    """Put the state of `checkpoint`, which is verified, into optimizers and guard.

    The parameters are there already: a resumed model starts from `checkpoint.tensor`.
    """
    m, guard = checkpoint.manifest, run.guard
    whole = run.stage.KEEPS["optimizer"] == "all"
    for u in run.units:
        ranges = [(0, u.layout.elements)] if whole else u.layout.ranges(run.comm.rank)
        state = whole_state(u.optimizer)
        for of, start, stop, place in in_originals(u.layout, ranges):
            for name, vector in state.items():
                values = checkpoint.read(of.name, name, start, stop)
                copy(vector[place : place + stop - start], values)
        take_state(u.optimizer, state)
        u.optimizer.steps = m.optimizer_steps
    owed.take(checkpoint, run)
    guard.steps = m.step
    if isinstance(guard, LossScale) and m.loss_scale:
        guard.scale, guard.good, guard.skipped = msgspec.structs.astuple(m.loss_scale)


def check_fits(checkpoint: Checkpoint, units: list[Unit], optimizer: Any, guard: Guard) -> None:
    """UsageError unless the checkpoint is of this model, optimizer and type of numbers."""
    check_model(checkpoint, units)
    state = {name: vector.dtype.name for name, vector in whole_state(optimizer).items()}
    found = {name: dtype for name, dtype in checkpoint.manifest.vectors.items() if name != "param"}
    if found != state or isinstance(guard, LossScale) != (checkpoint.manifest.loss_scale is not None):
        raise UsageError(
            f"checkpoint {checkpoint.folder}: its optimizer state is not that of its own options"
        )


def check_options(checkpoint: Checkpoint, o: argparse.Namespace) -> None:
    """UsageError unless the model of its options is the checkpoint's.

    Nothing is made of the sizes that they name but sums: a few letters of options may ask for terabytes.
    """
    check_model(checkpoint, choose.units(o, checkpoint.manifest.task, 1, rule="contiguous"))


def check_model(checkpoint: Checkpoint, units: list[Unit]) -> None:
    """UsageError unless the checkpoint's model has these units, tensors, shapes and type of numbers."""
    ours = shapes_of(units)
    named = checkpoint.manifest.prefixes == prefixes(units)
    if (
        not named
        or checkpoint.manifest.units != ours
        or checkpoint.manifest.vectors["param"] != units[0].dtype.name
    ):
        raise UsageError(f"checkpoint {checkpoint.folder}: its model is not that of its own options")


def drop_old(folder: Path, keep: int | None) -> None:
    """Delete all but the `keep` latest checkpoints, and of the owner's folder what killed runs have left."""
    for whole in complete(folder)[:-keep] if keep else []:
        drop(whole)
    for left in folder.glob("step-*.part") if owner.is_owned(folder) else []:
        if FOLDER.fullmatch(left.name.partition(".")[0]):
            shutil.rmtree(left, ignore_errors=True)


def drop(whole: Path) -> None:
    """Delete a checkpoint, at once as far as its name goes."""
    old = whole.with_name(f"{whole.name}.{secrets.token_hex(4)}.part")
    os.rename(whole, old)  # from now on it is none
    shutil.rmtree(old, ignore_errors=True)


def to_disk(path: Path) -> None:
    """Have the file or folder written to the disk itself, not only to the system's memory."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot do that, and does not need it
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
