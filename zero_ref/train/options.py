"""The command line of zero_ref.train. Help and usage errors need no MPI and are printed once."""

import argparse
import sys
from pathlib import Path
from typing import Any

from zero_ref import data as samples
from zero_ref import optim
from zero_ref.comm import REDUCE
from zero_ref.datasets import is_text
from zero_ref.extras import gpt
from zero_ref.extras.schedule import DECAYS
from zero_ref.launch import UsageError, size_by_launcher
from zero_ref.launch.cli import (
    LANGUAGES,
    Parser,
    above_0,
    fraction,
    is_utf8,
    natural,
    number,
    positive,
    rate,
    widths,
)
from zero_ref.launch.singular import number_of
from zero_ref.layout import RULES
from zero_ref.model import MODELS
from zero_ref.train import family
from zero_ref.train.family import NARROW

MODELS.setdefault("gpt", gpt.build)
DTYPES = ("float32", "float64", *NARROW)
MOST_PARTS = 1 << 16  # micro-batches of a step; a list of all of them is made
parts = number(int, 1, f"a whole number from 1 to {MOST_PARTS:,}", below=MOST_PARTS + 1)
DATA_HELP = (
    "digits (images of 8x8; mlp), spoken (of sounds), diabetes (patients; linear), persuasion (a novel; "
    "gpt), tang (poems in Chinese), synthetic, FILE.npz, .csv or .txt"
)
SHARD_MODEL = (
    "parameters: contiguous (default), random, hash, tensors (matrices stay whole), or weights=2,1,1,... "
    "which deals samples too"
)


def shard_model(text: str) -> str | list[int]:
    if text in (*RULES, "tensors"):
        return text
    if text.startswith("weights="):
        return [positive(part) for part in text.removeprefix("weights=").split(",")]
    raise argparse.ArgumentTypeError(
        f"expected contiguous, random, hash, tensors or weights=2,1,1,..., not {text!r}"
    )


def parser() -> argparse.ArgumentParser:
    """The options with their defaults; see `parse` for those that depend on others."""
    p = Parser(
        prog="zero_ref.train",
        description="Train a linear model, MLP or GPT at any stage: mpirun -n 4 python -m zero_ref.train",
        allow_abbrev=False,
    )
    choice = p.add_argument_group("stage and model").add_argument
    choice("--stage", type=int, choices=range(4), default=3, help="ZeRO stage (default 3)")
    choice("--prefetch", action="store_true", help="stage 3 gathers the next unit while one computes")
    choice("--own", metavar="DIR", help="collectives and stage from exercises in DIR")
    choice(
        "--model", choices=tuple(MODELS), default="mlp", help="linear: y = wx + b; mlp (default); gpt: text"
    )
    choice("--hidden", type=widths, metavar="128,64", help="widths of the MLP's hidden layers")
    choice("--layers", type=positive, metavar="L", help="blocks of a GPT (default 2)")
    choice("--width", type=positive, metavar="W", help="numbers for each of its tokens (default 64)")
    choice("--heads", type=positive, metavar="A", help="of attention in a block (default 4)")
    choice("--context", type=positive, metavar="T", help="tokens that it sees at a time (default 64)")
    choice("--init", metavar="FILE.safetensors", help="start from these weights")
    choice("--seed", type=natural, default=0, help="for weights, split, order and rules (default 0)")
    choice("--dtype", choices=DTYPES, default="float32", metavar="TYPE", help=", ".join(DTYPES))

    data = p.add_argument_group("data").add_argument
    data("--data", metavar="DATA", help=DATA_HELP)
    data("--header", choices=("yes", "no"), help="whether a .csv begins with a line of names")
    data(
        "--target",
        metavar="COLUMN",
        help="of a .csv: first, last (default), or a name; NAME,NAME,... several",
    )
    data("--task", choices=("classes", "numbers"), help="what y holds (default: as it is written)")
    data("--data-limit", type=above_0, metavar="GB", help="the most that x or y may take (default 8)")
    data("--samples", type=positive, metavar="S", help="of synthetic data (default 4096)")
    data("--features", type=positive, metavar="F", help="of synthetic data (default 64)")
    data("--classes", type=natural, metavar="C", help="of synthetic data (default 10; linear 0: numbers)")
    data("--test-fraction", type=fraction, default=0.2, metavar="F", help="share held out (default 0.2)")
    data("--batch-size", type=positive, default=64, metavar="B", help="of all ranks together (default 64)")
    data("--micro-batches", type=parts, default=1, metavar="K", help="parts of a batch (default 1)")
    data("--no-shuffle", action="store_true", help="samples in the same order in every epoch")

    length = p.add_argument_group("training").add_mutually_exclusive_group()
    length.add_argument("--epochs", type=positive, metavar="E", help="(default 30; linear 100)")
    length.add_argument("--steps", type=natural, metavar="S", help="optimizer steps, instead of epochs")
    train = p.add_argument_group("optimizer").add_argument
    train("--optimizer", choices=tuple(optim.KINDS), default="adam", help="(default adam)")
    train("--lr", type=rate, help="learning rate (default 0.001; linear 0.01)")
    train("--schedule", choices=tuple(DECAYS), help="of the learning rate to the end (default constant)")
    train("--warmup", type=natural, metavar="W", help="steps in which it rises to --lr (default 0)")
    train("--momentum", type=rate, help="for sgd (default 0)")
    train("--weight-decay", type=rate, metavar="D", help="(default 0; adamw 0.01)")
    train("--clip-norm", type=above_0, metavar="C", help="largest global norm of a gradient (default: any)")

    ranks = p.add_argument_group("ranks").add_argument
    ranks("--shard-data", choices=samples.RULES, default="contiguous", help="samples (default contiguous)")
    ranks("--shard-model", type=shard_model, default="contiguous", metavar="RULE", help=SHARD_MODEL)
    ranks("--reduce", choices=tuple(REDUCE), default="auto", help="(default auto)")
    where = ("auto", "cpu", "gpu", "meta")
    ranks("--device", choices=where, default="auto", help="where arrays live; meta: nowhere, a dry run")
    ranks("--ranks", type=positive, metavar="N", help="of a dry run (--device meta), which needs no mpirun")
    ranks("--transport", choices=("mpi", "nccl"), default="mpi", help="of vectors on GPUs (default mpi)")

    family.add(p)

    keep = p.add_argument_group("checkpoints").add_argument
    keep("--save", metavar="DIR", help="write checkpoints to DIR: one at the end, and as --save-every says")
    keep("--save-every", type=positive, metavar="K", help="one after every K steps, too")
    keep("--keep", type=positive, metavar="M", help="delete all but the M latest (default: keep all)")
    keep("--eval-every", type=positive, metavar="K", help="test every K steps; the best is kept in DIR/best")
    keep(
        "--resume",
        metavar="DIR|latest",
        help="a checkpoint, or a folder of them: the newest; latest: that of --save, if any",
    )

    care = p.add_argument_group("faults").add_argument
    care("--timeout", type=above_0, default=60.0, metavar="S", help="seconds a rank may wait (default 60)")
    care("--check", action="store_true", help="compare the ranks' calls before each collective")
    care("--verify-every", type=positive, metavar="K", help="compare what must be equal every K steps")

    result = p.add_argument_group("results").add_argument
    result("--export", metavar="FILE.safetensors", help="write the gathered model")
    result("--record", metavar="FILE.json", help="write what was measured (see zero_ref/report/record.py)")
    result("--report", metavar="FILE.html", help="write a page with pictures of what was measured")
    result("--compare", metavar="FILE.json", help="a record of another run, which --report shows beside this")
    result("--trace", metavar="FILE.json", help="write one step for Perfetto or chrome://tracing")
    result("--chart", action="store_true", help="print memory over one step, and traffic")
    result("--language", choices=LANGUAGES, help="of what is printed and drawn (default: as LANG says)")
    result("--quiet", action="store_true", help="print nothing but errors")
    return p


ENDING = {"-h", "--help", "--version"}  # options that print something and end the command
MOST_LETTERS = 1 << 16  # of a checkpoint's options: more than any model's widths take

# What makes two runs the same run. All else may change where one is resumed: stage, ranks, rules ...
FIXED = (
    "model",
    "hidden",
    "layers",
    "width",
    "heads",
    "context",
    "dtype",
    "seed",
    "test_fraction",
    "batch_size",
    "no_shuffle",
    "optimizer",
    "momentum",
)
# Options that say nothing about the trained model: a resumed run may have others, or none.
PASSING = {"init", "prefetch", "device", "transport", "export", "record", "quiet", "timeout", "check"}
PASSING |= {"verify_every", "own", "save", "save_every", "keep", "resume"}
PASSING |= {"report", "compare", "trace", "chart", "language", "ranks", "eval_every"}
PASSING |= family.PASSING


def given(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line as it stands, with defaults that depend on nothing; `parse` completes it."""
    p = parser()
    o = p.parse_args(arguments)
    if o.resume == "latest" and o.save is None:
        p.error("--resume latest needs --save DIR")
    return o


def parse(arguments: list[str] | None = None, resumed: list[str] | None = None) -> argparse.Namespace:
    """The options of a run, complete and consistent. UsageError, in one line, if they are not.

    resumed: the options that a checkpoint was written with (see `lasting`). They come first, so that
    `arguments` change them, but for those that make it the same run.
    """
    p = parser()
    arguments = sys.argv[1:] if arguments is None else arguments
    o = p.parse_args(arguments)
    if resumed is None:
        return _complete(p, o)
    if len(resumed) > len(vars(o)) or sum(map(len, resumed)) > MOST_LETTERS:
        raise UsageError("the checkpoint's options are too many or too long")
    if ENDING & set(resumed) or lasting(before := _complete(p, p.parse_args(resumed))) != resumed:
        raise UsageError("the checkpoint's options are not those that a run writes")
    if o.init and o.resume != "latest":
        p.error("--init and --resume: a resumed run has its weights")
    if o.steps is not None or o.epochs:
        resumed = [a for a in resumed if not a.startswith(("--steps=", "--epochs="))]
    o = _complete(p, p.parse_args([*resumed, *arguments]))
    o.init = None  # of --resume latest, which a script says from its first run on
    for name in FIXED:
        if getattr(o, name) != getattr(before, name):
            p.error(
                f"--{name.replace('_', '-')} cannot change in a resumed run, it was {getattr(before, name)}"
            )
    return o


def lasting(o: argparse.Namespace) -> list[str]:
    """The command line of a complete `o`, without what one command alone is about."""
    arguments = []
    for name, value in vars(o).items():
        if name in PASSING or value is None or value is False or value == []:
            continue
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        if name == "shard_model" and isinstance(value, list):
            text = f"weights={text}"
        if name == "data" and Path(text).suffix:
            text = str(Path(text).absolute())  # the run may be resumed from another folder
        option = f"--{name.replace('_', '-')}"
        arguments.append(option if value is True else f"{option}={text}")
    return arguments


def _complete(p: argparse.ArgumentParser, o: argparse.Namespace) -> argparse.Namespace:
    linear = o.model == "linear"
    if o.own and (o.prefetch or o.dtype in NARROW or o.reduce != "auto" or o.shard_model != "contiguous"):
        p.error("--own goes with equal slices of 32 or 64 bits, and without --prefetch and --reduce")
    if o.transport == "nccl" and (o.device == "cpu" or o.own or o.reduce in ("native", "ring")):
        p.error("--transport nccl is for GPUs, and goes with --reduce auto or ordered, not with --own")
    if o.device == "meta" and o.ranks is None:
        p.error("--device meta needs --ranks N")
    if o.device != "meta" and o.ranks is not None:
        p.error("--ranks is for --device meta; mpirun -n says how many ranks train")
    if o.steps == 0 and (o.device == "meta" or o.report or o.trace or o.chart):
        p.error("--steps 0 leaves no step for --device meta, --report, --trace or --chart to look at")
    if o.device == "meta" and size_by_launcher() > 1:
        p.error("--device meta needs no mpirun: one process looks at the ranks of --ranks one by one")
    for name in (
        ("export", "save", "resume", "verify_every", "check", "eval_every") if o.device == "meta" else ()
    ):
        if getattr(o, name):
            p.error(f"--{name.replace('_', '-')} has no meaning with --device meta, which computes nothing")
    if o.prefetch and o.stage != 3:
        p.error(f"--prefetch is for --stage 3: stage {o.stage} gathers nothing to compute with")
    family.check(p, o)
    _complete_model(p, o)
    defaults = optim.settings(optim.KINDS[o.optimizer])
    if o.momentum and "momentum" not in defaults:
        have = [name for name, kind in optim.KINDS.items() if "momentum" in optim.settings(kind)]
        p.error(f"--momentum is for --optimizer {' or '.join(have)}")
    if o.batch_size % o.micro_batches:
        p.error(f"--micro-batches {o.micro_batches} does not divide --batch-size {o.batch_size}")
    o.schedule = None if o.schedule == "constant" else o.schedule  # as in a checkpoint that knows of none
    o.warmup = o.warmup or None
    if o.dtype in NARROW and o.reduce == "ring":
        p.error(f"--reduce ring would round sums of {o.dtype} at every hop")
    if o.save is None and (o.save_every or o.keep):
        p.error("--save-every and --keep need --save DIR")
    if o.compare and o.report is None:
        p.error("--compare needs --report FILE.html")
    if o.save and not all(map(is_utf8, lasting(o))):
        p.error(f"--data {o.data}: the name of its folder is not UTF-8, as it has to be in a checkpoint")
    if o.save and sum(map(len, lasting(o))) > MOST_LETTERS:
        p.error(f"--save: a checkpoint holds options of {MOST_LETTERS:,} letters at most")
    if o.data != "synthetic" and {o.samples, o.features, o.classes} != {None}:
        p.error("--samples, --features and --classes are for --data synthetic")
    if o.data == "synthetic" and {o.header, o.target, o.task} != {None}:
        p.error("--header, --target and --task are for files")
    if o.data == "synthetic":
        o.samples, o.features = o.samples or 4096, o.features or 64
        o.classes = (0 if linear else 10) if o.classes is None else o.classes
        if o.classes == 1:
            p.error("--classes 1: there is nothing to tell apart")
    if o.steps is None and o.epochs is None:
        o.epochs = {"linear": 100, "gpt": 5}.get(o.model, 30)
    for name in ("lr", "weight_decay", "momentum"):
        if getattr(o, name) is None:
            setattr(o, name, defaults.get(name, 0.0) * (10 if linear and name == "lr" else 1))
    return o


SHAPES: dict[str, dict[str, Any]] = {  # what says the shape of a model, and its default
    "mlp": {"hidden": [128, 64]},
    "gpt": {"layers": 2, "width": 64, "heads": 4, "context": 64},
}
DATA = {"linear": "diabetes", "gpt": "persuasion"}  # and "digits"


def _complete_model(p: argparse.ArgumentParser, o: argparse.Namespace) -> None:
    """The options of the model's shape and its data, completed; an error of the parser if they do not fit."""
    ours = o.model in (*SHAPES, "linear")  # somebody else's model may take any of them
    for model, shape in SHAPES.items():
        for name, default in shape.items():
            value = getattr(o, name)
            if value is not None and o.model != model and ours:
                p.error(f"--{name} is for --model {model}")
            if value is None and o.model == model:
                setattr(o, name, default)
    o.hidden = o.hidden or []
    o.data = o.data or DATA.get(o.model, "digits")
    if (o.model == "gpt") != is_text(o.data):
        p.error(f"--data {o.data} is {'text, and' if is_text(o.data) else 'not text, as is'} for --model gpt")
    if o.model == "gpt" and o.width % o.heads:
        p.error(f"--heads {o.heads} does not divide --width {o.width}")
    if o.model == "gpt" and {o.header, o.target, o.task} != {None}:
        p.error("--header, --target and --task are for tables")


def model_rule(o: argparse.Namespace, size: int) -> tuple[str, list[int] | None]:
    """(rule, shares or None) of --shard-model for `size` ranks; UsageError if the weights do not fit."""
    if isinstance(o.shard_model, str):
        return o.shard_model, None
    if len(o.shard_model) != size:
        raise UsageError(
            f"--shard-model has {number_of(len(o.shard_model), 'weights')} for {number_of(size, 'ranks')}"
        )
    return "contiguous", o.shard_model
