"""What codes have lost of gradients (extras/feedback.py), in a checkpoint: a file of each rank's own.

It is no shard: nobody else has these numbers, and they are about elements of all owners. So they stand in
files of their own, a rank of any group one, and only a run whose ranks send the same parts to the same
ranks takes them up. Any other begins with nothing owed, as after LoCo's own reset.
"""

import hashlib
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from zero_ref.array import copy, to_numpy
from zero_ref.checkpoint import Checkpoint, owed_name
from zero_ref.launch import UsageError
from zero_ref.launch.together import agree
from zero_ref.train.choose import Run


def owed_by(run: Run) -> dict[str, np.ndarray]:
    """What this rank has to remember, by unit; nothing without --error-feedback."""
    feedback = getattr(run.comm, "feedback", None)
    return {u.layout.name: to_numpy(feedback.owed[u.layout]) for u in run.units} if feedback else {}


def who_sends_what(run: Run) -> str:
    """A hash that is the same where every rank sends the same parts of each unit to the same ranks."""
    ranks = range(run.comm.size)
    about: list[Any] = [run.world.size, run.comm.size, getattr(run.comm, "near", run.comm.size)]
    about += [[u.layout.name, u.layout.counts, [u.layout.ranges(rank) for rank in ranks]] for u in run.units]
    return hashlib.sha256(repr(about).encode()).hexdigest()


def take(checkpoint: Checkpoint, run: Run) -> None:
    """Take up what this rank owed when `checkpoint`, which is verified, was written, if that fits."""
    fits = checkpoint.manifest.who_sends_what == who_sends_what(run)
    if getattr(run.comm, "feedback", None) and fits:
        agree(run.world, lambda: read(checkpoint, run))


def read(checkpoint: Checkpoint, run: Run) -> None:
    """Read this rank's file; UsageError if it holds something else."""
    feedback, name = run.comm.feedback, owed_name(run.world.rank)  # type: ignore[attr-defined]
    try:
        found = load_file(checkpoint.folder / name)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"checkpoint {checkpoint.folder}: {name}: {error}") from None
    ours = owed_by(run)
    if {n: (a.dtype, a.shape) for n, a in found.items()} != {n: (a.dtype, a.shape) for n, a in ours.items()}:
        raise UsageError(f"checkpoint {checkpoint.folder}: {name} holds other arrays than it should")
    for u in run.units:
        copy(feedback.owed[u.layout], found[u.layout.name])
