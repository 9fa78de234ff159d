"""The planner's answer, in words and tables, from the numbers of sizing.py and timing.py."""

import argparse
import math
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal

from zero_ref import model, optim
from zero_ref.data import Task
from zero_ref.launch.cli import table
from zero_ref.plan import timing
from zero_ref.plan.formulas import (
    state_bytes,
    transformer_activation_bytes,
    transformer_block_parameters,
    transformer_parameters,
)
from zero_ref.plan.sizing import (
    Row,
    Setting,
    formulas,
    most_parameters,
    padded,
    paper_rows,
    times,
    trained_here,
)
from zero_ref.plan.timing import Link, Machine, Times
from zero_ref.train import choose, options


@dataclass(frozen=True)
class Plan:
    """What a plan is printed from. name: of the model; sent: what the exact bytes sent are; step: what a
    step needs on top of the model's state, in words; setting: for the formulas; rows: their results; counted:
    what the number of parameters counts, in words."""

    name: str
    setting: Setting
    rows: list[Row]
    padded: int
    sent: str
    step: str
    counted: str = ""


def setting(o: argparse.Namespace) -> Setting:
    """What the formulas need of the options; a transformer's activations and work come on top."""
    itemsize = {"float32": 4, "float64": 8}.get(o.dtype, 2)
    k = o.k or state_bytes(optim.KINDS[o.optimizer], itemsize, momentum=o.momentum or 0.0)
    return Setting(o.parameters or 0, o.layers or 1, itemsize, k, o.ranks, o.group, o.micro_batches)


def samples(o: argparse.Namespace) -> int:
    """Samples of the rank with most, in one micro-batch; one, where no batch is given."""
    return -(-(o.batch_size or 1) // (o.ranks * o.micro_batches))


def plan_for_size(o: argparse.Namespace) -> Plan:
    """A model of which only the size is known. A sample takes 6 operations a parameter: 2 forward, 4 back."""
    s = setting(o)
    s = replace(s, flop=6.0 * s.parameters * samples(o) * s.micro_batches if o.batch_size else 0.0)
    step = "In a step: activations and buffers are not counted; --model transformer estimates them."
    return Plan("model", s, formulas(s), s.padded, "with (N-1)/N", step)


def plan_for_transformer(o: argparse.Namespace) -> Plan:
    """A transformer by its shape. A token takes 6 operations a parameter, 8 if it is computed twice."""
    s, hidden, again = setting(o), o.hidden[0], o.checkpointing
    vocab, positions = o.vocab or 0, o.positions or 0
    psi = o.parameters or transformer_parameters(o.layers, hidden, vocab, positions, not o.untied)
    shape = (samples(o), o.sequence, o.layers, hidden, o.heads, s.itemsize)
    looked_up = hidden * (positions + (vocab if o.untied else 0))  # and not multiplied with
    work = (8 if again else 6) * (psi - looked_up) * samples(o) * o.sequence * s.micro_batches
    s = replace(
        s,
        parameters=psi,
        embeddings=psi - o.layers * transformer_block_parameters(hidden) if vocab else 0,
        activation=transformer_activation_bytes(*shape, again, vocab),
        whole_units=True,
        flop=float(work),
    )
    kept = "of every block the input, and one block" if again else "all kept; --checkpointing keeps less"
    whose = "the embeddings'" if s.unit == padded(s.embeddings, s.ranks) else "one block's"
    step = (
        f"In a step: activations, an estimate, {size(s.activation)} ({kept}); {whose} whole\n"
        f"gradient, {size(s.itemsize * s.unit)}, and at stage 3 the gathered parameters, as much again."
    )
    return Plan("transformer", s, formulas(s), s.padded, "with (N-1)/N", step, counted(o))


def counted(o: argparse.Namespace) -> str:
    """What the parameters of a transformer are."""
    if o.parameters:
        return "The parameters are those of --parameters."
    if not o.vocab:
        return (
            "Counted are the matrices of the blocks, 12 l h^2, as in the papers. Embeddings, biases and\n"
            "norms are not: --vocab V and --positions P count them, too."
        )
    tied = "with an output matrix of its own" if o.untied else "which is the output matrix, too"
    learned = f"{o.positions:,} learned positions" if o.positions else "no learned positions (--positions P)"
    return (
        f"Counted are the blocks with biases and norms, the embedding of {o.vocab:,} tokens, {tied},\n"
        f"and {learned}."
    )


def plan_for_training(o: argparse.Namespace) -> Plan:
    """A model that zero_ref.train can run, exact to the byte."""
    task = Task(o.features, o.classes or o.targets, o.classes or 0)
    rows = [trained_here(options_here(o, stage), task, o.ranks) for stage in range(4)]
    units = choose.units(options_here(o, 0), task, o.ranks)
    psi, padded = (sum(numbers) for numbers in zip(*((u.layout.elements, u.layout.padded) for u in units)))
    step = "In a step: activations, one unit's whole gradient, gathered parameters, buffers; to the byte."
    s = replace(setting(o), parameters=psi, units=len(units))
    return Plan(
        f"{o.model} {model.describe(units)}", s, rows, padded, "and all that zero_ref.train sends", step
    )


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


def briefly(psi: int) -> str:
    """A number of parameters without losing any: 7.5B, 17,226."""
    for name, unit in (("T", 10**12), ("B", 10**9), ("M", 10**6)):
        if psi >= unit and psi * 1000 % unit == 0:
            return f"{psi / unit:g}{name}"
    return f"{psi:,}"


def label(row: Row) -> str:
    """Stage 3, Stage 3 in groups, hpZ."""
    return f"Stage {row.name}" if row.name[0].isdigit() else row.name


def verdict(row: Row, memory: int) -> str:
    """One line: whether it fits, by how much, and what takes most."""
    if row.needed <= memory:
        return f"{label(row)} fits: {size(memory - row.needed)} to spare."
    words = {
        row.state["parameter"]: "most of it are parameters",
        row.state["gradient"]: "most of it are gradients",
        row.state["optimizer"]: "most of it is optimizer state",
        row.step: "most of it is what a step needs",
    }
    most = max(words)
    return f"{label(row)} does not fit: it is {size(row.needed - memory)} over; {words[most]}, {size(most)}."


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
    made = {None: plan_for_size, "transformer": plan_for_transformer}.get(o.model, plan_for_training)(o)
    s, rows, machine = made.setting, made.rows, machine_of(o)
    e, k = s.itemsize, s.k
    parts = [
        f"{made.name}: {briefly(s.parameters)} parameters on {o.ranks:,} ranks\n"
        f"{o.dtype}: {e} + {e} + {k:g} bytes a parameter (parameter, gradient, optimizer state)"
    ]
    parts += [made.counted] if made.counted else []
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
