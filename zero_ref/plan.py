"""Does it fit, and how long does a step take? Before anything runs, and without MPI.

    python -m zero_ref.plan --parameters 7.5e9 --ranks 64 --memory 32GB
    python -m zero_ref.plan --model mlp --features 64 --classes 10 --dtype float32 --ranks 4
    python -m zero_ref.plan --model transformer --layers 48 --hidden 1600 --heads 25 --sequence 1024 \\
        --batch-size 2048 --ranks 64 --memory 32GB --bandwidth 12.5e9 --flops 40e12
    python -m zero_ref.plan --paper table1
    mpirun -n 2 python -m zero_ref.plan --calibrate machine.json
    python -m zero_ref.plan --compare record.json --machine machine.json

Memory and bytes sent come from estimate.py, times from the alpha-beta model of timing.py.
"""

import argparse
import math
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal

from zero_ref import compare, launch, options, paper, timing
from zero_ref.data import Task
from zero_ref.estimate import state_bytes, transformer_activation_bytes, transformer_parameters
from zero_ref.options import DTYPES, NARROW, Parser, above_0, positive
from zero_ref.paper import table
from zero_ref.sizing import (
    Row,
    Setting,
    formulas,
    most_parameters,
    paper_rows,
    times,
    trained_here,
    units_of,
)
from zero_ref.timing import Link, Machine, Times

K_HELP = """
bytes of optimizer state a parameter, beside a parameter and a gradient of 16 bits (default: that of
--optimizer, 12 for adam). 12: float32 master, momentum and variance, 4 each (ZeRO). 16: a float32 gradient,
too, as DeepSpeed keeps it. 8: master and one moment. The 18 and 20 that one reads are sums: 16 and the
16-bit gradient are 18 (DeepSpeed's estimator), and with the 16-bit parameter 20 (ZeRO-Infinity): --k 16"""
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

    model = p.add_argument_group("model: its size, or its shape").add_argument
    model("--parameters", type=parameters, metavar="PSI", help="how many, such as 7.5e9 or 7.5B")
    model("--model", choices=("linear", "mlp", "transformer"), help="linear and mlp: those of zero_ref.train")
    model("--hidden", type=options.widths, metavar="128,64", help="widths of the mlp; of the transformer one")
    model("--features", type=positive, metavar="F", help="numbers in a sample of an mlp")
    model("--classes", type=positive, metavar="C", help="classes that an mlp tells apart, or")
    model("--targets", type=positive, metavar="T", help="numbers that it learns")
    model("--layers", type=positive, metavar="L", help="blocks of a transformer; units without a shape")
    model("--heads", type=positive, metavar="A", help="attention heads of a transformer")
    model("--sequence", type=positive, metavar="S", help="tokens in a sample of a transformer")
    model("--checkpointing", action="store_true", help="of activations: keep each block's input alone")

    train = p.add_argument_group("training").add_argument
    train("--dtype", choices=DTYPES, default="float16", metavar="TYPE", help=f"{', '.join(DTYPES)} (float16)")
    train("--optimizer", choices=("sgd", "adam", "adamw"), default="adam", help="(default adam)")
    train("--momentum", type=above_0, help="for sgd (default 0)")
    train("--k", type=above_0, metavar="K", help=" ".join(K_HELP.split()))
    train("--batch-size", type=positive, metavar="B", help="of all ranks together (mlp 64; else one each)")
    train("--micro-batches", type=positive, default=1, metavar="K", help="parts of a batch (default 1)")

    ranks = p.add_argument_group("ranks").add_argument
    ranks("--ranks", type=positive, metavar="N", help="how many")
    ranks("--group", type=positive, metavar="G", help="also: shard in groups of G ranks, replicate over N/G")
    ranks("--memory", type=memory, metavar="BYTES", help="of one rank's device, such as 80GB or 80GiB")

    time = p.add_argument_group("time: measured, or given").add_argument
    time("--machine", metavar="FILE.json", help="of --calibrate")
    time("--bandwidth", type=above_0, metavar="B/s", help="bytes a second that one rank can send")
    time("--bandwidth-between", type=above_0, metavar="B/s", help="the same between groups (as inside)")
    time("--latency", type=options.rate, default=0.0, metavar="S", help="seconds of one hop (default 0)")
    time("--flops", type=above_0, metavar="F", help="operations a second of one rank (without: no compute)")
    return p


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options, consistent; UsageError, in one line, if they are not."""
    p = parser()
    o = p.parse_args(arguments)
    if doing := next((name for name in ("paper", "calibrate", "compare") if getattr(o, name)), None):
        used = {doing, "machine"} if doing == "compare" else {doing}
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
    here = o.model in ("linear", "mlp")
    given = {name for name, value in vars(o).items() if value is not None and value is not False}
    allowed: dict[str | None, set[str]] = {
        None: {"parameters", "layers", "k", "group"},
        "linear": {"features", "classes", "targets"},
        "mlp": {"features", "classes", "targets", "hidden"},
        "transformer": {
            *("parameters", "layers", "hidden", "heads", "sequence", "checkpointing", "k", "group")
        },
    }
    shape = set().union(*allowed.values())
    for name in sorted((given & shape) - allowed[o.model]):
        p.error(f"--{name} is not for {f'--model {o.model}' if o.model else 'a plan without --model'}")
    if here and (o.features is None or (o.classes is None) == (o.targets is None)):
        p.error(f"--model {o.model} needs --features, and --classes or --targets")
    if o.model == "transformer" and not (o.layers and o.hidden and o.heads and o.sequence):
        p.error("--model transformer needs --layers, --hidden, --heads and --sequence")
    if o.model == "transformer" and len(o.hidden) > 1:
        p.error("--hidden of a transformer is one number")
    if o.classes == 1:
        p.error("--classes: one class leaves nothing to tell apart")
    if o.momentum and o.optimizer != "sgd":
        p.error("--momentum is for --optimizer sgd")
    if o.k and o.dtype not in NARROW:
        p.error(f"--k is for numbers of 16 bits; {o.optimizer} in {o.dtype} keeps what it keeps")
    if o.group and (o.ranks % o.group or o.group in (1, o.ranks)):
        p.error(f"--group {o.group} has to divide --ranks {o.ranks} into groups of more than one")
    if o.machine and (o.bandwidth or o.flops or o.latency):
        p.error("--machine has bandwidth, latency and flops; give those or that")
    if (o.bandwidth_between or o.flops or o.latency) and not o.bandwidth:
        p.error("--flops, --latency and --bandwidth-between need --bandwidth")
    if o.bandwidth_between and not o.group:
        p.error("--bandwidth-between needs --group")
    return o


@dataclass(frozen=True)
class Plan:
    """What a plan is printed from. name: of the model; sent: what the exact bytes sent are; step: what a
    step needs on top of the model's state, in words; setting: for the formulas; rows: their results."""

    name: str
    setting: Setting
    rows: list[Row]
    padded: int
    sent: str
    step: str


def setting(o: argparse.Namespace) -> Setting:
    """What the formulas need of the options; a transformer's activations and work come on top."""
    itemsize = {"float32": 4, "float64": 8}.get(o.dtype, 2)
    k = o.k or state_bytes(o.optimizer, o.momentum or 0.0, itemsize)
    return Setting(o.parameters or 0, o.layers or 1, itemsize, k, o.ranks, o.group, o.micro_batches)


def samples(o: argparse.Namespace) -> int:
    """Samples of the rank with most, in one micro-batch; one, where no batch is given."""
    return -(-(o.batch_size or 1) // (o.ranks * o.micro_batches))


def of_size(o: argparse.Namespace) -> Plan:
    """A model of which only the size is known. A sample takes 6 operations a parameter: 2 forward, 4 back."""
    s = setting(o)
    s = replace(s, flop=6.0 * s.parameters * samples(o) * s.micro_batches if o.batch_size else 0.0)
    step = "In a step: activations and buffers are not counted; --model transformer estimates them."
    return Plan("a model", s, formulas(s), s.padded, "with (N-1)/N", step)


def of_transformer(o: argparse.Namespace) -> Plan:
    """A transformer by its shape. A token takes 6 operations a parameter, 8 if it is computed twice."""
    s, hidden, again = setting(o), o.hidden[0], o.checkpointing
    psi = o.parameters or transformer_parameters(o.layers, hidden)
    shape = (samples(o), o.sequence, o.layers, hidden, o.heads, s.itemsize)
    s = replace(
        s,
        parameters=psi,
        activation=transformer_activation_bytes(*shape, again),
        whole_units=True,
        flop=float((8 if again else 6) * psi * samples(o) * o.sequence * s.micro_batches),
    )
    kept = "of every block the input, and one block" if again else "all kept; --checkpointing keeps less"
    step = (
        f"In a step: activations, an estimate, {size(s.activation)} ({kept}); one block's whole\n"
        f"gradient, {size(s.itemsize * s.unit)}, and at stage 3 its gathered parameters, as much again."
    )
    return Plan("transformer", s, formulas(s), s.padded, "with (N-1)/N", step)


def of_training(o: argparse.Namespace) -> Plan:
    """A model that zero_ref.train can run, exact to the byte."""
    wide = 8 if o.dtype == "float64" else 4
    task = Task(o.features, o.classes or o.targets, o.classes or 0, 8 if o.classes else wide * o.targets)
    rows = [trained_here(options_here(o, stage), task, o.ranks) for stage in range(4)]
    units = units_of(options_here(o, 0), task, o.ranks)
    psi, padded = (sum(numbers) for numbers in zip(*((u.layout.elements, u.layout.padded) for u in units)))
    widths = "-".join(map(str, [o.features, *options_here(o, 0).hidden, task.outputs]))
    step = "In a step: activations, one unit's whole gradient, gathered parameters, buffers; to the byte."
    s = replace(setting(o), parameters=psi, units=len(units))
    return Plan(f"{o.model} {widths}", s, rows, padded, "and all that zero_ref.train sends", step)


def options_here(o: argparse.Namespace, stage: int) -> argparse.Namespace:
    """What zero_ref.train makes of the same options."""
    line = [f"--stage={stage}", f"--model={o.model}", f"--dtype={o.dtype}", f"--optimizer={o.optimizer}"]
    line += [f"--batch-size={o.batch_size or 64}", f"--micro-batches={o.micro_batches}", "--device=cpu"]
    line += [f"--momentum={o.momentum}"] if o.momentum else []
    line += [f"--hidden={','.join(map(str, o.hidden))}"] if o.hidden else []
    return options.parse(line)


def machine_of(o: argparse.Namespace) -> Machine | None:
    """The machine of --machine, or of the rates given; None without either."""
    if o.machine:
        return timing.read(o.machine)
    if o.bandwidth is None:
        return None
    link = Link(o.latency, o.bandwidth)
    between = Link(o.latency, o.bandwidth_between) if o.bandwidth_between else None
    return Machine(reduce_scatter=link, all_gather=link, between=between, flops=o.flops)


# Numbers with their units. The paper's GB are 1e9 bytes, and so are ours.


def size(nbytes: float) -> str:
    """Bytes with thousands separators below 10 million, then GB."""
    return f"{nbytes:,.0f} B" if nbytes < 1e7 else f"{significant(nbytes / 1e9)} GB"


def significant(x: float) -> str:
    """Four digits, or all of those before the point; a half is rounded up, as on the page."""
    digits = max(0, 3 - math.floor(math.log10(abs(x)))) if x else 0
    return f"{Decimal(x).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):,}"


def duration(seconds: float) -> str:
    """s, ms or us."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{significant(seconds * factor)} {unit}"
    return f"{significant(seconds * 1e6)} us"


# The parts of a plan, in the order in which they are printed.

KINDS = ("parameter", "gradient", "optimizer")


def paper_part(s: Setting) -> str:
    """Bytes as the paper counts them."""
    rows = [
        [str(stage), *(size(state[kind]) for kind in KINDS), size(sum(state.values())), size(sent)]
        for stage, (state, sent) in enumerate(paper_rows(s))
    ]
    head = "As the paper counts: GB of 1e9 bytes, no padding, (N-1)/N left out"
    return f"{head}\n{table(rows, ['stage', *KINDS, 'at rest', 'sent/step'])}"


def exact_part(made: Plan) -> str:
    """Bytes to the last one."""
    cells = [
        [row.name, *(f"{row.state[kind]:,.0f}" for kind in KINDS), f"{row.rest:,.0f}", f"{row.sent:,.0f}"]
        for row in made.rows
    ]
    head = f"Exactly, in bytes: {made.setting.parameters:,} parameters padded to {made.padded:,}, {made.sent}"
    return f"{head}\n{table(cells, ['stage', *KINDS, 'at rest', 'sent/step'])}"


def group_part(rows: list[Row], ranks: int, group: int) -> str:
    """Where the bytes go, with groups."""
    cells = [[row.name, size(row.rest), size(row.inside), size(row.between)] for row in rows]
    header = ["stage", "at rest", "sent inside", "sent between"]
    return (
        f"In groups: one rank, one step, {ranks // group} groups of {group} ranks\n{table(cells, header)}\n"
        "in groups: sharded inside a group, replicated over the groups (hybrid shard, MiCS). hpZ: stage 3\n"
        "over all ranks, and a second copy of the parameters in each group for the backward pass (ZeRO++)."
    )


def memory_part(made: Plan, memory: int | None) -> str:
    """What a rank needs, what fits, and why not."""
    s, header = made.setting, ["stage", "at rest", "in a step", "needed"]
    cells = [
        [row.name, size(row.rest), size(row.step) if row.step else "-", size(row.needed)] for row in made.rows
    ]
    if memory is None:
        return f"Memory of one rank\n{table(cells, header)}\n{made.step}"
    for row, line in zip(made.rows, cells):
        line.append("yes" if row.needed <= memory else "no")
    most = [most_parameters(stage, memory, s.ranks, s.itemsize, s.k) for stage in range(4)]
    return "\n".join(
        [
            f"Memory of one rank: its device has {size(memory)}",
            table(cells, [*header, "fits"]),
            made.step,
            *(verdict(row, memory) for row in made.rows),
            f"The largest model whose state alone fits, at stages 0 to 3: {', '.join(map(count, most))}.",
        ]
    )


def count(psi: float) -> str:
    """A number of parameters: 7.642B."""
    for name, unit in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if psi >= unit:
            return significant(psi / unit) + name
    return f"{math.floor(psi):,}"


def label(row: Row) -> str:
    """Stage 3, Stage 3 in groups, hpZ."""
    return f"Stage {row.name}" if row.name[0].isdigit() else row.name


def verdict(row: Row, memory: int) -> str:
    """One line: whether it fits, by how much, and what takes most."""
    if row.needed <= memory:
        return f"{label(row)} fits: {size(memory - row.needed)} stay free."
    words = {
        row.state["parameter"]: "most of it are parameters",
        row.state["gradient"]: "most of it is the gradient",
        row.state["optimizer"]: "most of it is optimizer state",
        row.step: "most of it is what a step needs",
    }
    most = max(words)
    return f"{label(row)} does not fit: {size(row.needed - memory)} too much; {words[most]}, {size(most)}."


def time_part(rows: list[Row], found: list[Times], memory: int | None, machine: Machine) -> str:
    """How long a step takes, and which stage is fastest."""
    cells = [
        [
            row.name,
            duration(t.compute),
            duration(t.bandwidth),
            duration(t.latency),
            duration(t.total),
            t.largest,
        ]
        for row, t in zip(rows, found)
    ]
    lines = [
        "Time of a step: compute + bytes / bandwidth + latency * hops, nothing overlapping",
        table(cells, ["stage", "compute", "bandwidth", "latency", "step", "most of it"]),
    ]
    if machine.flops is None:
        lines.append("Compute is left out: --flops says how fast a rank computes.")
    elif not rows[0].work.flop:
        lines.append("The passes through the model are left out: --batch-size says of how many samples.")
    fitting = [pair for pair in zip(rows, found) if memory is None or pair[0].needed <= memory]
    if not fitting:
        return "\n".join([*lines, "No stage fits, so none is fastest."])
    row, t = min(fitting, key=lambda pair: (pair[1].total, pair[0].needed))
    advice = {
        "compute": "faster processors would help most",
        "bandwidth": "faster links, or fewer bytes, would help most",
        "latency": "fewer and larger messages would help most",
    }[t.largest]
    share = getattr(t, t.largest) / t.total if t.total else 0.0
    lines.append(
        f"Fastest{'' if memory is None else ' that fits'} (of equals the smallest): {label(row)}, "
        f"{duration(t.total)} a step.\n{t.largest.capitalize()} is {share:.0%} of it: {advice}."
    )
    return "\n".join(lines)


def plan(o: argparse.Namespace) -> str:
    """The whole answer."""
    made = {None: of_size, "transformer": of_transformer}.get(o.model, of_training)(o)
    s, rows, machine = made.setting, made.rows, machine_of(o)
    e, k = s.itemsize, s.k
    parts = [
        f"{made.name}: {s.parameters:,} parameters on {o.ranks:,} ranks\n"
        f"{o.dtype}: {e} + {e} + {k:g} bytes a parameter (parameter, gradient, optimizer state)"
    ]
    if k in (18, 20):
        parts.append(
            f"Note: {k:g} is usually a sum that has the gradient in it, and means --k 16 (see --help)."
        )
    parts += [paper_part(s), exact_part(made)]
    if o.group:
        parts.append(group_part(rows, o.ranks, o.group))
    if o.memory or o.model:
        parts.append(memory_part(made, o.memory))
    if machine:
        parts.append(time_part(rows, [times(row, machine, o.ranks) for row in rows], o.memory, machine))
    return "\n\n".join(parts)


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    o = parse(arguments)
    if o.calibrate:
        from zero_ref.calibrate import calibrate_to  # this alone needs MPI

        calibrate_to(o.calibrate)
    elif o.paper:
        launch.say(paper.PRINT[o.paper]())
    elif o.compare:
        compare.compare(o.compare, timing.read(o.machine))
    else:
        launch.say(plan(o))


if __name__ == "__main__":
    launch.run(main)
