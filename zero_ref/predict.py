"""The model from all its shards: outputs for new samples, on any number of ranks.

    python -m zero_ref.predict --checkpoint DIR --data FILE.csv --output predictions.csv
    mpirun -n 4 python -m zero_ref.predict --checkpoint DIR --data digits

No rank ever has the whole model. Each keeps 1/N of every unit, as at stage 3, and one unit at a time is
gathered, used and dropped. Samples go in batches of --batch-size, whole batches to one rank: so the
shapes that are computed with, and with them the outputs, do not depend on the number of ranks.
"""

import argparse
import csv
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zero_ref import launch
from zero_ref.array import from_numpy, to_numpy, track
from zero_ref.checkpoint import Checkpoint
from zero_ref.checkpoint.saving import check_model, check_options, open_together
from zero_ref.comm import Comm, plain
from zero_ref.data import Task, variance
from zero_ref.datasets import Reading, load_inputs, reading_of
from zero_ref.launch import UsageError
from zero_ref.launch.cli import Parser, above_0, add_language, positive
from zero_ref.launch.files import check_writable, in_one_piece
from zero_ref.launch.terminal import fold, words_of, written
from zero_ref.launch.together import agree, check_alike, check_started_alike, on_rank_0
from zero_ref.ledger import ledger
from zero_ref.model import Unit
from zero_ref.train import choose, options
from zero_ref.train.watch import watch


def load_units(checkpoint: Checkpoint, comm: Comm) -> list[Unit]:
    """The units of a verified checkpoint's model, with this rank's shard of each as `param`."""
    m = checkpoint.manifest
    o = options.parse([], m.arguments)
    check_options(checkpoint, o)
    units = choose.units(o, m.task, comm.size, checkpoint.tensor, rule="contiguous")
    check_model(checkpoint, units)
    for u in units:
        u.param = track("parameter", comm.shard(u.initial("gathered"), u.layout).copy())  # (psi/N,)
    return units


def load(name: str, task: Task, dtype: str, how: Reading) -> tuple[np.ndarray, np.ndarray | None]:
    """x and y as datasets.load_inputs gives them, of a file that is one."""
    choose.check_data_file(name)
    return load_inputs(name, task, dtype, how)


def outputs(units: Sequence[Unit], comm: Comm, x: np.ndarray, batch_size: int) -> np.ndarray | None:
    """The model's outputs for x (samples, features): on rank 0 (samples, outputs), elsewhere None.

    All ranks must call it together, with the same x. Rank r computes batches r, r + N, r + 2N, ...
    """
    width = units[-1].layout.shapes["bias"][0]
    result = np.empty((len(x), width), units[0].dtype) if comm.rank == 0 else None
    for first in range(0, len(x), batch_size * comm.size):
        starts = [min(first + r * batch_size, len(x)) for r in range(comm.size + 1)]  # of each rank's batch
        h = from_numpy(x[starts[comm.rank] : starts[comm.rank + 1]].copy(), "activation")
        for u in units:
            h = u.forward(comm.all_gather(u.param, u.layout), h)
            u.forget()
        own = np.ascontiguousarray(to_numpy(h))
        counts = [(b - a) * width for a, b in zip(starts, starts[1:])]
        into = None if result is None else [plain(result[first : starts[-1]]), counts]
        comm.mpi.Gatherv(plain(own), into, root=0)
    return result


def write(path: str, found: np.ndarray, classes: int) -> None:
    """Write outputs, and for classes the most likely one, to FILE.csv or FILE.npz, in one piece.

    Numbers in the .csv are the shortest that read back as the same value.
    """
    chosen = found.argmax(axis=1)
    with in_one_piece(path, "--output") as part:
        if path.endswith(".npz"):
            whole = found.astype(np.float32) if found.itemsize == 2 else found  # .npz knows no bfloat16
            with open(part, "wb") as binary:
                np.savez(binary, outputs=whole, **({"classes": chosen} if classes else {}))
            return
        with open(part, "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            names = [f"output_{i}" for i in range(found.shape[1])]
            table.writerow(["class", *names] if classes else names)
            for row, most_likely in zip(found, chosen):
                numbers = [str(number) for number in row]
                table.writerow([most_likely, *numbers] if classes else numbers)


def score(found: np.ndarray, y: np.ndarray, classes: int, language: str | None = None) -> str:
    """How good the outputs are: accuracy for classes, r2 for numbers (see train/run.py)."""
    word = words_of("zero_ref.checkpoint", language)
    if classes:
        return word["accuracy"].format(value=f"{(found.argmax(axis=1) == y).mean():.4f}")
    if not (deviations := variance(y)):
        return word["r2_undefined"]
    return word["r2"].format(value=f"{1 - ((found - y) ** 2).mean() / deviations:.4f}")


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = Parser(prog="zero_ref.predict", description="The outputs of a trained model.", allow_abbrev=False)
    p.add_argument(
        "--checkpoint", metavar="DIR", required=True, help="of zero_ref.train --save, or its newest"
    )
    p.add_argument("--data", required=True, help="digits, diabetes, FILE.npz or FILE.csv; y is not needed")
    p.add_argument("--header", choices=("yes", "no"), help="whether a .csv begins with a line of names")
    p.add_argument(
        "--data-limit", type=above_0, metavar="GB", help="the most that --data may take (default 8)"
    )
    p.add_argument("--output", metavar="FILE", help="write outputs to FILE.csv or FILE.npz")
    p.add_argument("--batch-size", type=positive, default=64, metavar="B", help="(default 64)")
    p.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    p.add_argument("--timeout", type=above_0, default=60.0, metavar="S", help="seconds a rank may wait")
    add_language(p)
    return p


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    o = parser().parse_args(arguments)
    if o.output and Path(o.output).suffix not in (".csv", ".npz"):
        raise UsageError(f"--output {o.output}: expected FILE.csv or FILE.npz")
    world = choose.connect(o.timeout)
    watch(world, o.timeout)
    check_started_alike(world, o)
    choose.device(o.device, world)
    comm = choose.comm(options.parse([]))
    watch(comm, o.timeout)
    checkpoint = open_together(o.checkpoint, "--checkpoint", world)
    units = agree(comm, functools.partial(load_units, checkpoint, comm))
    m = checkpoint.manifest
    o.target = options.parse([], m.arguments).target
    how = reading_of(o)
    x, y = agree(comm, functools.partial(load, o.data, m.task, units[0].dtype.name, how))
    digest = hashlib.sha256(plain(np.ascontiguousarray(x)).data).hexdigest()
    check_alike(comm, {"the content of --data": digest})
    on_rank_0(comm, lambda: check_output(o, checkpoint))
    ledger.forget_peaks()
    with np.errstate(over="ignore", invalid="ignore"):  # outputs may be infinite: they are the model's
        found = outputs(units, comm, x, o.batch_size)
    held = max(comm.everyone(ledger.peak["parameter"] + ledger.peak["gathered"]))
    whole = sum(u.layout.elements for u in units) * units[0].dtype.itemsize

    def report() -> None:
        assert found is not None
        if o.output:
            write(o.output, found, m.classes)
        word = words_of("zero_ref.checkpoint", o.language)
        how_good = "" if y is None else score(found.astype(np.float64), y, m.classes, o.language)
        said = word["predicted_scored" if how_good else "predicted"]
        lines = [
            said.format(samples=f"{len(x):,}", data=o.data, score=how_good),
            word["held"].format(step=f"{m.step:,}", whole=f"{whole:,}", held=f"{held:,}"),
        ]
        kind = "arrays" if (o.output or "").endswith(".npz") else "outputs"
        lines += ["", written({kind: o.output}, o.language)] if o.output else []
        launch.say(fold("\n".join(lines)))

    on_rank_0(comm, report)


def check_output(o: argparse.Namespace, checkpoint: Checkpoint) -> None:
    """UsageError if --output could not be written, or would replace what the model is made from."""
    check_writable({"--output": o.output}, [o.data])
    if o.output and Path(o.output).resolve().is_relative_to(checkpoint.folder.resolve()):
        raise UsageError(f"--output {o.output}: is another file of this run")


if __name__ == "__main__":
    launch.run(main)
