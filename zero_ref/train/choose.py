"""The one place where an option becomes a noun: device, Comm, units, optimizer, guard, stage.

Training, planner, predictor and dry run all take their nouns from here. What an option adds is one line here,
and one file that it names. Nothing here starts MPI but `connect`, and a Comm of all ranks.
"""

import argparse
import ctypes
import functools
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from zero_ref import array, launch, model, optim
from zero_ref.array import Array
from zero_ref.comm import REDUCE, Comm, OrderedComm
from zero_ref.data import Batches, DataSet, Task, split
from zero_ref.datasets import data_set_of
from zero_ref.extras import (
    accumulate,
    buckets,
    compiled,
    kernels,
    muon,
    offload,
    recompute,
    storage,
    tensors,
    tiles,
    zeropp,
)
from zero_ref.extras.coded_groups import CodedGroups
from zero_ref.extras.codes import code_of
from zero_ref.extras.feedback import feedback_of
from zero_ref.extras.groups import Groups
from zero_ref.extras.nccl import NcclComm
from zero_ref.extras.overlap import OverlapComm, OverlapGroups
from zero_ref.extras.own import load_comm, load_stage
from zero_ref.extras.schedule import Schedule
from zero_ref.extras.staging import StagedComm
from zero_ref.launch import UsageError
from zero_ref.launch.files import check_readable
from zero_ref.launch.start import start_mpi
from zero_ref.launch.together import agree
from zero_ref.layout import FlatLayout
from zero_ref.model import Unit
from zero_ref.precision import Guard, LossScale, Master
from zero_ref.stages import STAGES, VARIANTS
from zero_ref.train import family
from zero_ref.train.options import NARROW, model_rule


@dataclass
class Run:
    """The nouns of one run, as its options choose them.

    stage: a module, see stages/__init__.py; comm: the ranks among which the model is dealt; world: those
    among which the samples are dealt, who also sum losses; guard: clipping, and what happens to a gradient
    that is not finite; batches: this rank's samples, None where nobody computes; task: what they ask of it
    """

    stage: ModuleType
    units: list[Unit]
    comm: Comm
    world: Comm
    guard: Guard
    batches: Batches | None
    task: Task


# -- where arrays live, and who talks --


def connect(timeout: float = 60.0) -> Comm:
    """All ranks of this program, once they have come, and mpirun and the MPI library belong together.

    timeout: seconds after which a start without all of them ends the program.
    """
    world = Comm(start_mpi(timeout).COMM_WORLD)
    if world.size == 1 < launch.size_by_launcher():
        error = UsageError("this mpirun and the MPI library of mpi4py are of different families")
        error.by_all = True
        raise error
    return world


def device(wanted: str, world: Comm, transport: str = "mpi") -> str:
    """Select the device on all ranks: "cpu" or "gpu", the same everywhere, and what `transport` can use."""
    number = local_rank(world)
    chosen = agree(world, lambda: array.select(wanted, number, mpi_takes_device_arrays()))
    if len(set(world.everyone(chosen))) > 1:
        raise UsageError(f"--device {wanted}: some ranks have a GPU and some have none")
    if transport == "nccl":
        check_nccl(chosen, world)
    return chosen


def local_rank(world: Comm) -> int:
    """This rank's number among the ranks of its machine."""
    from mpi4py import MPI

    node = world.mpi.Split_type(MPI.COMM_TYPE_SHARED)
    number = node.rank
    node.Free()
    return number


def mpi_takes_device_arrays() -> bool:
    """Whether the MPI library says that it reads GPU memory; no wheel on PyPI does (2026-11).

    The environment variable ZERO_REF_GPU_MPI (1 or 0) decides, if it is set.
    """
    if said := os.environ.get("ZERO_REF_GPU_MPI"):
        return said == "1"
    from mpi4py import MPI

    try:
        return bool(ctypes.CDLL(MPI.__file__).MPIX_Query_cuda_support())
    except (AttributeError, OSError):
        return False


def check_nccl(chosen: str, world: Comm) -> None:
    """UsageError on all ranks if they cannot talk through NCCL."""
    if chosen != "gpu":
        raise UsageError("--transport nccl: there is no GPU here")
    gpus = len(set(world.everyone(f"{platform.node()} {array.gpu_name()}")))
    if gpus < world.size:
        raise UsageError(
            f"--transport nccl: every rank needs a GPU of its own, and {world.size} ranks have {gpus}; "
            "--transport mpi lets them share one"
        )
    if not all(world.everyone(array.nccl_here())):
        raise UsageError("--transport nccl: CuPy finds no NCCL here (see requirements-gpu.txt)")


def comm(o: argparse.Namespace, mpi: Any = None) -> Comm:
    """The ranks among which the model is dealt, by --group, --own, --reduce and --transport.

    mpi: the communicator of all ranks, if it is not MPI's own. UsageError where --group does not divide them.
    """
    group = getattr(o, "group", None)  # older records have none
    if group and coded(o):
        return CodedGroups(group, functools.partial(zeropp_of, o), functools.partial(across_of, o), mpi)
    if group:
        groups = OverlapGroups if getattr(o, "overlap", None) else Groups
        return groups(group, functools.partial(comm_of, o), mpi)
    return zeropp_of(o, mpi) if of_zeropp(o) else comm_of(o, mpi)


def of_zeropp(o: argparse.Namespace) -> bool:
    """Whether an option of extras/zeropp.py is among them; older records have none."""
    return any(getattr(o, name, None) for name in family.ZEROPP)


def coded(o: argparse.Namespace) -> bool:
    """Whether something travels as codes."""
    return any(getattr(o, name, None) for name in ("code_weights", "code_gradients"))


def zeropp_of(o: argparse.Namespace, mpi: Any = None) -> Comm:
    """The ranks of `mpi`, with the parts of ZeRO++ that the options ask for."""
    codes = {name: getattr(o, f"code_{name}") for name in ("weights", "gradients")}
    made: dict[str, Any] = {name: code_of(text) if text else None for name, text in codes.items()}
    if remembers := getattr(o, "error_feedback", None):
        made["feedback"] = feedback_of(remembers)
    return zeropp.around(comm_of(o, mpi), kind_of(o), o.machine, second=o.hpz, **made)


def across_of(o: argparse.Namespace, mpi: Any) -> Comm:
    """The ranks that have the same shard, one of every group; each has a machine of its own."""
    if not o.code_gradients:
        return comm_of(o, mpi)
    code = code_of(o.code_gradients)
    return zeropp.around(comm_of(o, mpi), kind_of(o), 1, weights=code, gradients=code)


def kind_of(o: argparse.Namespace) -> type[Comm]:
    """The class of the Comm that --reduce asks for; 16-bit numbers are always added in rank order."""
    if getattr(o, "overlap", None):
        return OverlapComm
    return OrderedComm if np.dtype(o.dtype).itemsize == 2 else REDUCE[o.reduce]


def comm_of(o: argparse.Namespace, mpi: Any = None) -> Comm:
    """The Comm of all ranks of `mpi`. 16-bit numbers are always added in rank order.

    Somebody's own rings need ranks that answer; without numbers MPI's own collectives stand for them.
    """
    if o.own:
        return Comm(mpi) if array.on_meta() else load_comm(o.own)
    if getattr(o, "overlap", None):
        if array.on_gpu():
            raise UsageError("--overlap is for CPUs: nothing sends a gradient from a GPU in the background")
        return OverlapComm(mpi)
    ordered = o.reduce == "ordered" or np.dtype(o.dtype).itemsize == 2
    if o.transport == "nccl":
        return NcclComm(mpi, ordered)
    if array.staged() and (ordered or o.reduce == "auto"):
        return StagedComm(mpi)
    return kind_of(o)(mpi)


# -- whose samples, whose weights --


def data_set(o: argparse.Namespace) -> DataSet:
    """The data of --data, once it is sure that they are a file, or that this machine can hold them."""
    if o.data == "synthetic":
        nbytes = np.dtype(o.dtype).itemsize * o.samples * o.features
        if nbytes > memory_here():
            raise UsageError(
                f"--samples {o.samples} --features {o.features}: {nbytes:,} bytes do not fit here"
            )
    check_data_file(o.data)
    return data_set_of(o)


def check_data_file(name: str) -> None:
    """UsageError unless the file that --data names is one; names without an ending are no files."""
    check_readable(name if Path(name).suffix else None, "--data")


def memory_here() -> int:
    """Bytes of this machine's memory, as far as it tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize


def batches(
    o: argparse.Namespace, data: DataSet, comm: Comm, test: bool = False, shares: list[int] | None = None
) -> Batches:
    """This rank's part of the samples to train on, or of those held out to test on.

    shares: of the ranks among which the model is dealt; every group of them has the same.
    """
    shares = shares or [1]
    train_ids, test_ids = split(len(data.x), o.test_fraction, o.seed, data.held_out)
    deal = functools.partial(Batches, data, rank=comm.rank, shares=shares * (comm.size // len(shares)))
    if test:
        return deal(test_ids, o.batch_size, shuffle=False)
    return deal(train_ids, o.batch_size, o.micro_batches, o.shard_data, o.seed, not o.no_shuffle)


def units(
    o: argparse.Namespace,
    task: Task,
    size: int,
    start: Callable[[str], Array] | None = None,
    rule: str | None = None,
) -> list[Unit]:
    """The model's layers, dealt to `size` ranks by --shard-model, or by `rule`.

    start: name of a tensor -> its starting values, in place of those by --seed. With --recompute most of them
    keep their inputs alone of their activations.
    """
    chosen, shares = (rule, None) if rule else model_rule(o, size)
    on_one = functools.partial(FlatLayout, size=1)
    layout = functools.partial(FlatLayout, size=size, rule=chosen, shares=shares, seed=o.seed)
    bucket, cut = getattr(o, "bucket", None), getattr(o, "tiles", None)  # older records have none

    def make(layout: model.LayoutOf) -> list[Unit]:
        written = model.MODELS[o.model](o, task, on_one if bucket or cut else layout, start)
        written = tiles.cut(written, layout, cut) if cut else written
        return buckets.merged(written, layout, bucket) if bucket else written

    made = make(tensors.dealing(make(on_one), size) if chosen == "tensors" else layout)
    made = recompute.recomputing(made) if o.recompute else made
    if getattr(o, "offload_shards", False):  # older records have none
        return [offload.ShardsOutside(u, storage.store_of(o.offload)) for u in made]
    return made


# -- what trains them --


def optimizer(o: argparse.Namespace) -> Callable[[int], Any]:
    """A function that makes the optimizer of the options for a vector of n elements."""
    kind, narrow = optim.KINDS[o.optimizer], o.dtype in NARROW
    settings = {name: getattr(o, name) for name in optim.settings(kind)}
    make = functools.partial(fastest(kind), dtype="float32" if narrow else o.dtype, **settings)
    whole = functools.partial(Master, make=make) if narrow else make
    if where := getattr(o, "offload", None):
        return functools.partial(offload.Offloaded, make=whole, store=storage.store_of(where))
    return whole


def fastest(kind: type) -> type:
    """The version of an optimizer's class for the place where arrays live; itself, if there is none."""
    fast = {"cpu": {}, "compiled": compiled.FAST}.get(array.place(), kernels.FAST)
    return fast.get(kind, kind)


def schedule(o: argparse.Namespace, last: int) -> Schedule:
    """The learning rate of each step of a run that ends after `last`."""
    return Schedule(o.lr, o.schedule or "constant", o.warmup or 0, last)


def guard(o: argparse.Namespace, units: list[Unit]) -> Guard:
    """The clipping of the run; for float16 with a loss scale."""
    return (LossScale if o.dtype == "float16" else Guard)(units, o.clip_norm)


def stage(o: argparse.Namespace) -> ModuleType:
    """The module that trains: a stage, or somebody's own."""
    if o.own:
        return load_stage(o.own, o.stage)
    asked = tuple(name for name in family.VARYING if getattr(o, name, None))
    chosen = VARIANTS[o.stage, *asked] if asked else STAGES[o.stage]
    chosen = muon.by_unit(chosen) if o.optimizer == "muon" else chosen
    chosen = zeropp.exactly(chosen) if of_zeropp(o) else chosen
    wider = getattr(o, "accumulate", None)  # older records have none
    return accumulate.wide(chosen, wider) if wider else chosen
