"""The model from all its shards: outputs for new samples, on any number of ranks.

    python -m zero_ref.predict --checkpoint DIR --data FILE.csv --output predictions.csv
    mpirun -n 4 python -m zero_ref.predict --checkpoint DIR --data digits
    mpirun -n 4 python -m zero_ref.predict --checkpoint DIR --data FILE.txt

No rank ever has the whole model. Each keeps 1/N of every unit, as at stage 3, and one unit at a time is
gathered, used and dropped. Samples go in batches of --batch-size, whole batches to one rank: so the
shapes that are computed with, and with them the outputs, do not depend on the number of ranks. (Ranks of a
machine share its cores, and a product by more threads may have other last bits; OPENBLAS_NUM_THREADS=1 has
one thread everywhere.)
"""

import argparse
import csv
import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from zero_ref import launch
from zero_ref.array import from_numpy, to_numpy, track
from zero_ref.checkpoint import Checkpoint, Manifest
from zero_ref.checkpoint.saving import check_model, check_options, open_together
from zero_ref.comm import Comm, plain
from zero_ref.data import Task, variance
from zero_ref.datasets import Reading, is_text, load_inputs, read_text, reading_of, texts
from zero_ref.launch import UsageError
from zero_ref.launch.cli import Parser, above_0, add_language, positive
from zero_ref.launch.files import check_writable, in_one_piece
from zero_ref.launch.terminal import fold, words_of, written
from zero_ref.launch.together import agree, check_alike, check_started_alike, on_rank_0
from zero_ref.ledger import ledger
from zero_ref.model import Unit
from zero_ref.train import choose, options
from zero_ref.train.watch import watch

Report = Callable[[], str]  # writes the outputs on rank 0; what is to be said of them


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


# -- a text --


def load_text(o: argparse.Namespace) -> str:
    """The characters of --data, at least two: the first is predicted from nothing, and so not at all."""
    choose.check_data_file(o.data)
    text = read_text(o.data, reading_of(o).limit)
    if len(text) < 2:
        raise UsageError(f"--data {o.data}: has one character, and none after it to predict")
    return text


def log_probabilities(
    units: Sequence[Unit], comm: Comm, ids: np.ndarray, context: int, batch_size: int
) -> np.ndarray | None:
    """Of each token after the first its log-probability, and the token most likely there: on rank 0
    (len(ids) - 1, 2) in float64, elsewhere None.

    Windows of `context` tokens follow one another as in training, in batches of `batch_size`; the last window
    may be shorter, and is a batch of its own. Rank r computes batches r, r + N, r + 2N, ...
    """
    last = len(ids) - 1
    rest = last // context * context  # where the shorter window begins, if there is one
    starts = sorted({*range(0, last, context * batch_size), rest} - {last})
    ends, own = [*starts[1:], last], []
    for first in range(0, len(starts), comm.size):
        mine = first + comm.rank
        start, end = (starts[mine], ends[mine]) if mine < len(starts) else (0, 0)
        t = min(context, end - start) or 1
        h = from_numpy(ids[start:end].reshape(-1, t).copy(), "activation")
        for u in units:
            h = u.forward(comm.all_gather(u.param, u.layout), h)
            u.forget()
        logits = to_numpy(h).astype(np.float64).reshape(end - start, h.shape[-1])
        own.append(judged(logits, ids[start + 1 : end + 1]))
    return collected(comm, own, [b - a for a, b in zip(starts, ends)])


def judged(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(tokens, 2): the log-probability of each true token, and the most likely one."""
    if not len(truth):
        return np.empty((0, 2))
    best = logits.argmax(axis=1)
    logits -= logits.max(axis=1, keepdims=True)
    true = logits[np.arange(len(truth)), truth]
    true -= np.log(np.exp(logits, out=logits).sum(axis=1))
    return np.stack([true, best.astype(np.float64)], axis=1)


def collected(comm: Comm, own: list[np.ndarray], lengths: list[int]) -> np.ndarray | None:
    """On rank 0 the rows of all batches in their order, elsewhere None. own: of batches r, r + N, ..."""
    counts = [2 * sum(lengths[r :: comm.size]) for r in range(comm.size)]
    result = np.empty((sum(lengths), 2)) if comm.rank == 0 else None
    comm.mpi.Gatherv(np.concatenate(own), None if result is None else [result, counts], root=0)
    if result is None:
        return None
    places = np.split(np.arange(sum(lengths)), np.cumsum(lengths)[:-1])  # of each batch
    ordered = np.empty_like(result)
    ordered[np.concatenate([place for r in range(comm.size) for place in places[r :: comm.size]])] = result
    return ordered


def write_text(path: str, text: str, found: np.ndarray, alphabet: str) -> None:
    """Write for each character after the first its log-probability, natural, and the most likely one."""
    best = texts.decode(found[:, 1].astype(int), alphabet)
    with in_one_piece(path, "--output") as part:
        if path.endswith(".npz"):
            characters = [np.array(list(each), "U1") for each in (text[1:], best)]
            with open(part, "wb") as binary:
                np.savez(
                    binary, character=characters[0], log_probability=found[:, 0], most_likely=characters[1]
                )
            return
        with open(part, "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["character", "log_probability", "most_likely"])
            table.writerows(zip(text[1:], map(str, found[:, 0].tolist()), best))


def score_text(
    data: str, ids: np.ndarray, found: np.ndarray, alphabet: str, language: str | None = None
) -> str:
    """Mean loss in nats and bits, accuracy, the unigram that has counted this very text, what is unknown."""
    nats, right = -float(found[:, 0].mean()), float((found[:, 1] == ids[1:]).mean())
    shares = np.bincount(ids[1:]) / len(found)
    unigram = -float(np.log(shares[ids[1:]]).mean())
    unknown = int((ids == len(alphabet)).sum())
    word = words_of("zero_ref.checkpoint", language)
    numbers = {"loss": nats, "bits": texts.bits(nats), "unigram": unigram, "accuracy": right}
    numbers["unigram_bits"] = texts.bits(unigram)
    said = word["predicted_text"].format(
        characters=f"{len(ids):,}", data=data, **{name: f"{value:.4f}" for name, value in numbers.items()}
    )
    return said + (word["unknown"].format(unknown=f"{unknown:,}") if unknown else "")


# -- the command --


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = Parser(prog="zero_ref.predict", description="The outputs of a trained model.", allow_abbrev=False)
    p.add_argument(
        "--checkpoint", metavar="DIR", required=True, help="a checkpoint, or a folder of them: the newest"
    )
    p.add_argument("--data", required=True, help="as in training; FILE.npz and FILE.csv need no y")
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


def use_on_table(o: argparse.Namespace, comm: Comm, m: Manifest, units: list[Unit]) -> Report:
    """The outputs for the rows of --data."""
    o.target = options.parse([], m.arguments).target
    x, y = agree(comm, functools.partial(load, o.data, m.task, units[0].dtype.name, reading_of(o)))
    check_alike(comm, {"the content of --data": sha256(x)})
    found = outputs(units, comm, x, o.batch_size)

    def report() -> str:
        assert found is not None
        if o.output:
            write(o.output, found, m.classes)
        word = words_of("zero_ref.checkpoint", o.language)
        how_good = "" if y is None else score(found.astype(np.float64), y, m.classes, o.language)
        said = word["predicted_scored" if how_good else "predicted"]
        return said.format(samples=f"{len(x):,}", data=o.data, score=how_good)

    return report


def use_on_text(o: argparse.Namespace, comm: Comm, m: Manifest, units: list[Unit]) -> Report:
    """How likely each character of --data is to the model, in windows as in training."""
    alphabet = m.alphabet or ""
    text = agree(comm, functools.partial(load_text, o))
    ids = texts.encode(text, alphabet)
    check_alike(comm, {"the content of --data": sha256(ids)})
    found = log_probabilities(units, comm, ids, m.features, o.batch_size)

    def report() -> str:
        assert found is not None
        if o.output:
            write_text(o.output, text, found, alphabet)
        return score_text(o.data, ids, found, alphabet, o.language)

    return report


def sha256(values: np.ndarray) -> str:
    """Of the numbers of an array."""
    return hashlib.sha256(plain(np.ascontiguousarray(values)).data).hexdigest()


def open_model(o: argparse.Namespace) -> tuple[Comm, Checkpoint, list[Unit]]:
    """All ranks, the checkpoint that --checkpoint names, and this rank's shards of its model."""
    world = choose.connect(o.timeout)
    watch(world, o.timeout)
    check_started_alike(world, o)
    choose.device(o.device, world)
    comm = choose.comm(options.parse([]))
    watch(comm, o.timeout)
    checkpoint = open_together(o.checkpoint, "--checkpoint", world)
    units = agree(comm, functools.partial(load_units, checkpoint, comm))
    ledger.forget_peaks()
    return comm, checkpoint, units


def bytes_held(comm: Comm, units: Sequence[Unit]) -> tuple[int, int]:
    """Bytes of the whole model, and the most that a rank has held of it."""
    held = max(comm.everyone(ledger.peak["parameter"] + ledger.peak["gathered"]))
    return sum(u.layout.elements for u in units) * units[0].dtype.itemsize, held


def tell_of_model(step: int, whole: int, held: int, language: str | None) -> str:
    """The same in words, with the step that the model is of."""
    word = words_of("zero_ref.checkpoint", language)
    return word["held"].format(step=f"{step:,}", whole=f"{whole:,}", held=f"{held:,}")


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    o = parser().parse_args(arguments)
    if o.output and Path(o.output).suffix not in (".csv", ".npz"):
        raise UsageError(f"--output {o.output}: expected FILE.csv or FILE.npz")
    comm, checkpoint, units = open_model(o)
    m = checkpoint.manifest
    if is_text(o.data) != (m.alphabet is not None):
        kinds = ("text", "tables") if is_text(o.data) else ("not text", "text")
        raise UsageError(f"--data {o.data} is {kinds[0]}, and the model was trained on {kinds[1]}")
    on_rank_0(comm, lambda: check_output(o, checkpoint))
    with np.errstate(over="ignore", invalid="ignore"):  # outputs may be infinite: they are the model's
        report = (use_on_text if m.alphabet is not None else use_on_table)(o, comm, m, units)
    whole, held = bytes_held(comm, units)

    def tell() -> None:
        lines = [report(), tell_of_model(m.step, whole, held, o.language)]
        kind = "arrays" if (o.output or "").endswith(".npz") else "outputs"
        lines += ["", written({kind: o.output}, o.language)] if o.output else []
        launch.say(fold("\n".join(lines)))

    on_rank_0(comm, tell)


def check_output(o: argparse.Namespace, checkpoint: Checkpoint) -> None:
    """UsageError if --output could not be written, or would replace what the model is made from."""
    check_writable({"--output": o.output}, [o.data])
    if o.output and Path(o.output).resolve().is_relative_to(checkpoint.folder.resolve()):
        raise UsageError(f"--output {o.output}: is another file of this run")


if __name__ == "__main__":
    launch.run(main)
