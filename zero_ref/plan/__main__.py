"""Does it fit, and how long does a step take? Before anything runs, and without MPI.

    python -m zero_ref.plan --parameters 7.5e9 --ranks 64 --memory 32GB
    python -m zero_ref.plan --model mlp --features 64 --classes 10 --dtype float32 --ranks 4
    python -m zero_ref.plan --model transformer --layers 48 --hidden 1600 --heads 25 --sequence 1024 \\
        --batch-size 2048 --ranks 64 --memory 32GB --bandwidth 12.5e9 --flops 40e12
    python -m zero_ref.plan --why --model mlp --features 64 --hidden 1024 --classes 10 --ranks 2
    python -m zero_ref.plan --paper table1
    mpirun -n 2 python -m zero_ref.plan --calibrate machine.json
    python -m zero_ref.plan --compare record.json --machine machine.json

Memory and bytes sent come from formulas.py and, for models that zero_ref.train can run, from dry runs;
times from the alpha-beta model of timing.py.
"""

import argparse
from decimal import Decimal

from zero_ref import launch, optim
from zero_ref.comm import REDUCE
from zero_ref.launch.cli import Parser, above_0, add_language, positive, rate, widths
from zero_ref.plan import compare, paper, timing
from zero_ref.plan.answer import plan
from zero_ref.plan.ways import EVERYWHERE, HERE, WAYS
from zero_ref.plan.why import why
from zero_ref.train import family
from zero_ref.train.options import DTYPES, NARROW, parts, shard_model

K_HELP = """
bytes of optimizer state a parameter, beside a parameter and a gradient of 16 bits (default: that of
--optimizer, 12 for adam). 12: float32 master, momentum and variance, 4 each (ZeRO). 16: a float32 gradient,
too, as DeepSpeed keeps it. 8: master and one moment. The 18 and 20 quoted elsewhere are sums: 16 and the
16-bit gradient are 18 (DeepSpeed's estimator), and with the 16-bit parameter 20 (ZeRO-Infinity): --k 16"""
GROUP = (
    "G neighbours share a machine. Also: shard in groups of G ranks, replicate over N/G; and hpZ (the "
    "--machine G of zero_ref.train)"
)
WITHOUT = "a plan without --model"
UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9, "t": 10**12}
BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
BYTES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
MOST = 10**14  # beyond, a float no longer counts every byte


def number(text: str, units: dict[str, int], what: str) -> int:
    """7.5e9, 7.5B or 80GiB as a whole number from 1 up."""
    digits = text.strip().lower().rstrip("bgikmt")
    try:
        value = Decimal(digits.strip()) * units[text.strip().lower()[len(digits) :]]
        if 1 <= value <= MOST and value == int(value):
            return int(value)
    except (ArithmeticError, KeyError):  # not a number, or far too large
        pass
    raise argparse.ArgumentTypeError(f"expected {what}, not {text!r}")


def parameters(text: str) -> int:
    """A number of parameters."""
    return number(text, UNITS, "a whole number such as 7.5e9, 125M or 7.5B, up to 1e14")


def memory(text: str) -> int:
    """A number of bytes."""
    return number(text, BYTES, "bytes such as 80e9, 80GB (80e9) or 80GiB")


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = Parser(prog="zero_ref.plan", description=__doc__, allow_abbrev=False)
    p.formatter_class = argparse.RawDescriptionHelpFormatter
    what = p.add_argument_group("what to do, if not a plan").add_mutually_exclusive_group().add_argument
    what("--paper", choices=tuple(paper.PRINT), help="a table of the paper, and where it errs")
    what("--calibrate", metavar="FILE.json", help="measure this machine, under mpirun with 2 or more ranks")
    what(
        "--compare", nargs="+", metavar="FILE.json", help="records of zero_ref.train --record, with --machine"
    )

    what("--why", action="store_true", help="why a higher stage needs more memory here, and what changes it")

    model = p.add_argument_group("model: its size, or its shape").add_argument
    model("--parameters", type=parameters, metavar="PSI", help="how many, such as 7.5e9 or 7.5B")
    model("--model", choices=(*HERE, "transformer"), help="all but the last are those of zero_ref.train")
    model("--hidden", type=widths, metavar="128,64", help="widths of the mlp; of gpt and transformer one")
    model("--features", type=positive, metavar="F", help="numbers in a sample of an mlp")
    model("--classes", type=positive, metavar="C", help="classes that an mlp tells apart, or")
    model("--targets", type=positive, metavar="T", help="numbers that it learns")
    model("--layers", type=positive, metavar="L", help="blocks of a transformer; units without a shape")
    model("--heads", type=positive, metavar="A", help="attention heads of a transformer, or gpt")
    model("--sequence", type=positive, metavar="S", help="tokens in a sample of a transformer")
    model("--vocab", type=positive, metavar="V", help="tokens that a transformer knows: count everything")
    model("--positions", type=positive, metavar="P", help="learned positions, beside --vocab (default: none)")
    model("--untied", action="store_true", help="the output's matrix is not the embedding's, beside --vocab")
    model("--checkpointing", action="store_true", help="of activations: keep each block's input alone")

    train = p.add_argument_group("training").add_argument
    train("--dtype", choices=DTYPES, default="float16", metavar="TYPE", help=f"{', '.join(DTYPES)} (float16)")
    train("--optimizer", choices=tuple(optim.KINDS), default="adam", help="(default adam)")
    train("--momentum", type=above_0, help="for sgd (default 0)")
    train("--k", type=above_0, metavar="K", help=" ".join(K_HELP.split()))
    train("--batch-size", type=positive, metavar="B", help="of all ranks together (mlp 64; else one each)")
    train("--micro-batches", type=parts, default=1, metavar="K", help="parts of a batch (default 1)")
    train("--shard-model", type=shard_model, metavar="RULE", help="as of zero_ref.train (default contiguous)")
    train("--reduce", choices=tuple(REDUCE), help="as of zero_ref.train (default auto)")
    train("--prefetch", action="store_true", help="stage 3 gathers the next unit while one computes")
    family.add(p, without=("--group", "--machine"))

    ranks = p.add_argument_group("ranks").add_argument
    ranks("--ranks", type=positive, metavar="N", help="how many")
    ranks("--group", type=positive, metavar="G", help=GROUP)
    ranks("--memory", type=memory, metavar="BYTES", help="of one rank's device, such as 80GB or 80GiB")

    time = p.add_argument_group("time: measured, or given").add_argument
    time("--machine", metavar="FILE.json", help="of --calibrate")
    time("--bandwidth", type=above_0, metavar="B/s", help="bytes a second that one rank can send")
    time("--bandwidth-between", type=above_0, metavar="B/s", help="the same between groups (as inside)")
    time("--latency", type=rate, default=0.0, metavar="S", help="seconds of one hop (default 0)")
    time("--latency-between", type=above_0, metavar="S", help="the same between groups (as inside)")
    time("--bandwidth-offload", type=above_0, metavar="B/s", help="bytes a second to and from --offload")
    time("--flops", type=above_0, metavar="F", help="operations a second of one rank (without: no compute)")
    add_language(p)
    return p


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options, consistent; UsageError, in one line, if they are not."""
    p = parser()
    o = p.parse_args(arguments)
    if doing := next((name for name in ("paper", "calibrate", "compare") if getattr(o, name)), None):
        used = {doing, "language"} | ({"machine"} if doing == "compare" else set())
        for name in sorted(name for name in vars(o) if name not in used):
            if getattr(o, name) != p.get_default(name):
                p.error(f"--{name.replace('_', '-')} has no meaning beside --{doing}")
        if o.compare and not o.machine:
            p.error("--compare needs --machine FILE.json")
        return o
    if o.ranks is None or (o.parameters is None and o.model is None):
        p.error("a plan needs --ranks N, and --parameters PSI or --model")
    if o.ranks > 10**6:
        p.error(f"--ranks {o.ranks}: more than a million")
    if o.why:
        check_why(p, o)
    check_shape(p, o)
    if o.momentum and o.optimizer != "sgd":
        p.error("--momentum is for --optimizer sgd")
    if o.k and o.dtype not in NARROW:
        p.error(f"--k is for numbers of 16 bits; {o.optimizer} in {o.dtype} keeps what it keeps")
    if o.group and (o.ranks % o.group or o.group in (1, o.ranks)):
        p.error(f"--group {o.group} has to divide --ranks {o.ranks} into groups of more than one")
    if o.machine and (o.bandwidth or o.flops or o.latency):
        p.error("--machine has bandwidth, latency and flops; give those or that")
    rates = ("flops", "latency", "bandwidth_between", "latency_between", "bandwidth_offload")
    for name in rates:
        if getattr(o, name) and not o.bandwidth:
            p.error(f"--{name.replace('_', '-')} needs --bandwidth")
        if getattr(o, name) and name.endswith("between") and not o.group:
            p.error(f"--{name.replace('_', '-')} needs --group")
    return o


def check_shape(p: argparse.ArgumentParser, o: argparse.Namespace) -> None:
    """An error of the parser where an option is not for this model, or one that it needs is not there."""
    given = {name for name, value in vars(o).items() if value is not None and value is not False}
    runs = {*EVERYWHERE, *WAYS, "group"} - {"momentum"}
    blocks = {"layers", "hidden", "heads", "sequence", "vocab"}
    formulas = {"parameters", "layers", "k", "group", "positions", "untied", "checkpointing"}
    allowed: dict[str | None, set[str]] = {
        None: {"parameters", "layers", "k", "group"},
        "linear": {"features", "classes", "targets", *runs},
        "mlp": {"features", "classes", "targets", "hidden", *runs},
        "gpt": blocks | runs,
        "transformer": blocks | formulas | ({"bucket", "recompute"} if o.why else set()),
    }
    shape = set().union(*allowed.values())
    for name in sorted((given & shape) - allowed[o.model]):
        p.error(f"--{name.replace('_', '-')} is not for {f'--model {o.model}' if o.model else WITHOUT}")
    if o.model in ("linear", "mlp") and (o.features is None or (o.classes is None) == (o.targets is None)):
        p.error(f"--model {o.model} needs --features, and --classes or --targets")
    if o.model in ("gpt", "transformer"):
        if not (o.layers and o.hidden and o.heads and o.sequence):
            p.error(f"--model {o.model} needs --layers, --hidden, --heads and --sequence")
        if len(o.hidden) > 1:
            p.error(f"--hidden of --model {o.model} is one number")
    if o.model == "gpt" and not o.vocab:
        p.error("--model gpt needs --vocab, the number of tokens that it knows")
    if (o.positions or o.untied) and not o.vocab:
        p.error("--positions and --untied need --vocab")
    if o.parameters and o.vocab:
        p.error("--parameters says how many there are, and --vocab counts them: give one of them")
    if o.classes == 1:
        p.error("--classes: one class leaves nothing to tell apart")
    if o.hpz and not o.group:
        p.error("--hpz needs --group G: the copy is dealt to the ranks of a machine")


def check_why(p: argparse.ArgumentParser, o: argparse.Namespace) -> None:
    """An error of the parser where no dry run can say why: of a size alone, or of no model trained here."""
    if o.model is None or (o.model == "transformer" and not o.vocab):
        p.error(
            "--why needs a model that zero_ref.train can run: linear, mlp, gpt, or transformer with --vocab"
        )
    other = ("parameters", "k", "memory", "machine", "bandwidth")
    for name in (*other, "positions", "untied", "checkpointing", *WAYS):
        if getattr(o, name):
            p.error(f"--{name} has no meaning beside --why")


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    o = parse(arguments)
    if o.calibrate:
        from zero_ref.plan.calibrate import calibrate_to  # this alone needs MPI

        calibrate_to(o.calibrate, o.language)
    elif o.paper:
        launch.say(paper.print_part(o.paper, o.language))
    elif o.compare:
        compare.compare(o.compare, timing.read(o.machine), o.language)
    else:
        launch.say(why(o) if o.why else plan(o))


if __name__ == "__main__":
    launch.run(main)
