"""The planner's answer, in words and tables, from the numbers of sizing.py and timing.py."""

import argparse
import math
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal

from zero_ref import model, optim
from zero_ref.data import Task
from zero_ref.launch.terminal import fitting, fold, words_of
from zero_ref.plan import timing
from zero_ref.plan.formulas import (
    by_ring,
    sent_by_group,
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


def words(o: argparse.Namespace) -> dict[str, str]:
    """Every word of the planner, in the language of the options or else of the environment."""
    return words_of(__package__, o.language)


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
    s, word = setting(o), words(o)
    s = replace(s, flop=6.0 * s.parameters * samples(o) * s.micro_batches if o.batch_size else 0.0)
    return Plan(word["model"], s, formulas(s), s.padded, word["sent_in_full"], word["step_unknown"])


def plan_for_transformer(o: argparse.Namespace) -> Plan:
    """A transformer by its shape. A token takes 6 operations a parameter, 8 if it is computed twice."""
    s, hidden, again, word = setting(o), o.hidden[0], o.checkpointing, words(o)
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
    largest_is = "of_embeddings" if s.unit == padded(s.embeddings, s.ranks) else "of_block"
    step = word["step_estimated"].format(
        activation=size(s.activation),
        kept=word["kept_inputs" if again else "kept_all"],
        whose=word[largest_is],
        unit=size(s.itemsize * s.unit),
    )
    name, sent = word["transformer"], word["sent_in_full"]
    return Plan(name, s, formulas(s), s.padded, sent, step, counted(o, word))


def counted(o: argparse.Namespace, word: dict[str, str]) -> str:
    """What the parameters of a transformer are."""
    if o.parameters:
        return word["counted_given"]
    if not o.vocab:
        return word["counted_blocks"]
    return word["counted_all"].format(
        vocab=f"{o.vocab:,}",
        tied=word["untied" if o.untied else "tied"],
        learned=word["learned" if o.positions else "not_learned"].format(positions=f"{o.positions or 0:,}"),
    )


def plan_for_training(o: argparse.Namespace) -> Plan:
    """A model that zero_ref.train can run, exact to the byte."""
    task = Task(o.features, o.classes or o.targets, o.classes or 0)
    rows = [trained_here(options_here(o, stage), task, o.ranks) for stage in range(4)]
    units = choose.units(options_here(o, 0), task, o.ranks)
    psi, padded = (sum(numbers) for numbers in zip(*((u.layout.elements, u.layout.padded) for u in units)))
    s, word = replace(setting(o), parameters=psi, units=len(units)), words(o)
    name = f"{o.model} {model.describe(units)}"
    return Plan(name, s, rows, padded, word["sent_by_training"], word["step_exact"])


def options_here(o: argparse.Namespace, stage: int) -> argparse.Namespace:
    """What zero_ref.train makes of the same options."""
    here = {"transformer": "gpt"}.get(o.model, o.model)
    line = [f"--stage={stage}", f"--model={here}", f"--dtype={o.dtype}", f"--optimizer={o.optimizer}"]
    line += [f"--batch-size={o.batch_size or 64}", f"--micro-batches={o.micro_batches}", "--device=cpu"]
    line += [f"--momentum={o.momentum}"] if o.momentum else []
    line += [f"--{name}={getattr(o, name)}" for name in ("bucket", "tiles") if getattr(o, name)]
    if here == "gpt":
        line += [f"--width={o.hidden[0]}", f"--context={o.sequence}"]
        line += [f"--{name}={getattr(o, name)}" for name in ("layers", "heads")]
    else:
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
    """Bytes with thousands separators below 10 million, then GB, TB and PB."""
    if nbytes < 1e7:
        return f"{nbytes:,.0f} B"
    unit, of = ("PB", 1e15) if nbytes >= 1e15 else ("TB", 1e12) if nbytes >= 1e12 else ("GB", 1e9)
    return f"{significant(nbytes / of)} {unit}"


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
HELD = "stage parameter gradient optimizer at_rest sent"


def header(names: str, word: dict[str, str]) -> list[str]:
    """Heads of columns by their keys."""
    return [word[name] for name in names.split()]


def named(row: Row, word: dict[str, str], key: str = "named") -> str:
    """What a row is called: 3, 3 in groups, hpZ; with the key "label": Stage 3, Stage 3 in groups, hpZ."""
    if not row.name[0].isdigit():
        return row.name
    return word[key if row.name == str(row.stage) else f"{key}_in_groups"].format(stage=row.stage)


def paper_part(s: Setting, word: dict[str, str]) -> str:
    """Bytes as the paper counts them."""
    rows = [
        [str(stage), *(size(state[kind]) for kind in KINDS), size(sum(state.values())), size(sent)]
        for stage, (state, sent) in enumerate(paper_rows(s))
    ]
    return f"{word['paper']}\n{fitting(rows, header(HELD, word))}"


def exact_part(made: Plan, word: dict[str, str]) -> str:
    """Bytes to the last one."""
    rows = [
        [
            named(row, word),
            *(f"{row.state[kind]:,.0f}" for kind in KINDS),
            f"{row.rest:,.0f}",
            f"{row.sent:,.0f}",
        ]
        for row in made.rows
    ]
    head = word["exactly"].format(
        parameters=f"{made.setting.parameters:,}", padded=f"{made.padded:,}", sent=made.sent
    )
    return f"{head}\n{fitting(rows, header(HELD, word))}"


def group_part(rows: list[Row], ranks: int, group: int, word: dict[str, str]) -> str:
    """Where the bytes go, with groups."""
    cells = [
        [
            named(row, word),
            *map(size, (row.rest, row.inside, row.between)),
            *(size(sent_by_group(row.legs, group, ring)) for ring in (False, True)),
        ]
        for row in rows
    ]
    head = word["groups"].format(groups=ranks // group, group=group)
    table = fitting(cells, header("stage at_rest sent_inside sent_between of_group of_group_by_ring", word))
    return f"{head}\n{table}\n{word['groups_note']}"


def memory_part(made: Plan, memory: int | None, word: dict[str, str]) -> str:
    """What a rank needs, what fits, and why not."""
    s, heads = made.setting, header("stage at_rest in_a_step needed", word)
    cells = [
        [named(row, word), size(row.rest), size(row.step) if row.step else "-", size(row.needed)]
        for row in made.rows
    ]
    if memory is None:
        return f"{word['memory']}\n{fitting(cells, heads)}\n{made.step}"
    for row, line in zip(made.rows, cells):
        line.append(word["yes" if row.needed <= memory else "no"])
    most = [most_parameters(stage, memory, s.ranks, s.itemsize, s.k) for stage in range(4)]
    return "\n".join(
        [
            word["memory_of"].format(memory=size(memory)),
            fitting(cells, [*heads, word["fits"]]),
            made.step,
            *(verdict(row, memory, word) for row in made.rows),
            word["largest"].format(sizes=word["and"].join(map(count, most))),
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


def verdict(row: Row, memory: int, word: dict[str, str]) -> str:
    """One line: whether it fits, by how much, and what takes most."""
    stage = named(row, word, "label")
    if row.needed <= memory:
        return word["fits_with"].format(stage=stage, left=size(memory - row.needed))
    kinds = {row.state[kind]: kind for kind in KINDS} | {row.step: "step"}
    most = max(kinds)
    more, mostly = size(row.needed - memory), word[f"mostly_{kinds[most]}"]
    return word["fits_not"].format(stage=stage, more=more, most=mostly, size=size(most))


def time_part(
    rows: list[Row], found: list[Times], memory: int | None, machine: Machine, word: dict[str, str]
) -> str:
    """How long a step takes, and which stage is fastest."""
    cells = [
        [
            named(row, word),
            *map(duration, (t.compute, t.bandwidth, t.latency, t.total)),
            word[t.largest],
        ]
        for row, t in zip(rows, found)
    ]
    heads = header("stage compute bandwidth latency step most_of_it", word)
    lines = [word["time"], fitting(cells, heads)]
    if machine.flops is None:
        lines.append(word["no_compute"])
    elif not rows[0].work.flop:
        lines.append(word["no_passes"])
    there = [pair for pair in zip(rows, found) if memory is None or pair[0].needed <= memory]
    if not there:
        return "\n".join([*lines, word["none_fits"]])
    row, t = min(there, key=lambda pair: (pair[1].total, pair[0].needed))
    share = getattr(t, t.largest) / t.total if t.total else 0.0
    key = "fastest" if memory is None else "fastest_that_fits"
    lines.append(word[key].format(stage=named(row, word, "label"), time=duration(t.total)))
    lines.append(word[f"share_of_{t.largest}"].format(share=f"{share:.0%}"))
    return "\n".join(lines)


def plan(o: argparse.Namespace) -> str:
    """The whole answer."""
    made = {None: plan_for_size, "transformer": plan_for_transformer}.get(o.model, plan_for_training)(o)
    s, rows, machine, word = made.setting, made.rows, machine_of(o), words(o)
    e, k = s.itemsize, s.k
    parts = [
        word["head"].format(name=made.name, parameters=briefly(s.parameters), ranks=f"{o.ranks:,}")
        + "\n"
        + word["bytes_each"].format(dtype=o.dtype, e=e, k=f"{k:g}")
    ]
    parts += [made.counted] if made.counted else []
    parts += [word["note_k"].format(k=f"{k:g}")] if k in (18, 20) else []
    parts += [paper_part(s, word), exact_part(made, word)]
    if o.group:
        parts.append(group_part(rows, o.ranks, o.group, word))
    if o.memory or o.model:
        parts.append(memory_part(made, o.memory, word))
    if machine:
        timed = [replace(row, legs=by_ring(row.legs)) for row in rows] if o.ring else rows
        found = [times(row, machine, o.ranks) for row in timed]
        parts.append(time_part(rows, found, o.memory, machine, word))
    return fold("\n\n".join(parts))
