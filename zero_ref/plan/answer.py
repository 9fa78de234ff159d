"""The planner's answer, in words and tables, from the numbers of sizing.py and timing.py."""

import argparse
from dataclasses import dataclass, replace

from zero_ref import model, optim
from zero_ref.launch.terminal import fitting, fold, words_of
from zero_ref.plan import timing
from zero_ref.plan.cells import briefly, count, duration, rows_in_bytes, rows_in_seconds, size, sizes
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
from zero_ref.plan.timing import Link, Machine, outside
from zero_ref.plan.traffic import to_others
from zero_ref.plan.ways import HERE, WAYS, given, task_of, ways, written
from zero_ref.train import choose


@dataclass(frozen=True)
class Plan:
    """What a plan is printed from. name: of the model; sent: what the exact bytes sent are; step: what a
    step needs on top of the model's state, in words; setting: for the formulas; rows: their results; counted:
    what the number of parameters counts, in words; notes: on the rows."""

    name: str
    setting: Setting
    rows: list[Row]
    padded: int
    sent: str
    step: str
    counted: str = ""
    notes: tuple[str, ...] = ()


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
    """A model that zero_ref.train can run, exact to the byte, with all that is asked of it."""
    task, (found, left_out), word = task_of(o), ways(o), words(o)
    rows = [trained_here(way.options, task, o.ranks, o.group, way.name) for way in found]
    units = choose.units(found[0].options, task, o.ranks)
    psi, padded = (sum(numbers) for numbers in zip(*((u.layout.elements, u.layout.padded) for u in units)))
    s = replace(setting(o), parameters=psi, units=len(units))
    name = "gpt" if o.model == "gpt" else f"{o.model} {model.describe(units)}"
    extras = written(given(o, WAYS))
    refused = word["and"].join(named(name, word) for name in left_out)
    notes = [word["with_extras"].format(extras=extras)] if extras else []
    notes += [word["left_out"].format(ways=refused)] if refused else []
    return Plan(name, s, rows, padded, word["sent_by_training"], word["step_exact"], notes=tuple(notes))


def machine_of(o: argparse.Namespace) -> Machine | None:
    """The machine of --machine, or of the rates given; None without either."""
    if o.machine:
        return timing.read(o.machine)
    if o.bandwidth is None:
        return None
    link = Link(o.latency, o.bandwidth)
    between = None
    if o.bandwidth_between or o.latency_between:
        between = Link(o.latency_between or o.latency, o.bandwidth_between or o.bandwidth)
    away = {"host": o.bandwidth_offload, "disk": o.bandwidth_offload}
    return Machine(reduce_scatter=link, all_gather=link, between=between, flops=o.flops, **away)


# The parts of a plan, in the order in which they are printed.

KINDS = ("parameter", "gradient", "optimizer")
SHOWN = {"compute", "bandwidth", "inside", "latency", "step"}  # columns of times; others if they have any
HELD = "stage parameter gradient optimizer at_rest sent"


def header(names: str, word: dict[str, str]) -> list[str]:
    """Heads of columns by their keys."""
    return [word[name] for name in names.split()]


def named(name: str, word: dict[str, str], key: str = "named") -> str:
    """What a row is called: 3, 3+, 3 in groups, hpZ; with the key "label": Stage 3, Stage 3 in groups."""
    stage = name.removesuffix(" in groups")
    if not stage[0].isdigit():
        return name
    return word[key if stage == name else f"{key}_in_groups"].format(stage=stage)


def paper_part(s: Setting, word: dict[str, str]) -> str:
    """Bytes as the paper counts them."""
    held = [[*(state[kind] for kind in KINDS), sum(state.values()), sent] for state, sent in paper_rows(s)]
    rows = list(zip(map(str, range(len(held))), *map(sizes, zip(*held))))
    return f"{word['paper']}\n{fitting(rows, header(HELD, word))}"


def exact_part(made: Plan, word: dict[str, str]) -> str:
    """Bytes to the last one."""
    rows = [
        [
            named(row.name, word),
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


def traffic_part(made: Plan, o: argparse.Namespace, word: dict[str, str]) -> str:
    """Where the bytes of a step go; between groups, each of which may be a machine, direct and by ring."""
    rows = made.rows
    sent = {"sent": [row.sent for row in rows]}
    if o.group:
        direct, ring = zip(*(to_others(row.legs, o.group) for row in rows))
        sent = {"inside": [row.inside for row in rows], "between": [row.between for row in rows]}
        sent |= {"direct": list(direct), "ring": list(ring)}
    if any(row.work.away for row in rows):
        sent["outside"] = [sum(nbytes for _, nbytes in row.work.away) for row in rows]
    large, cells = rows_in_bytes(sent.values())
    unit = "GB" if large else word["bytes"]
    heads = ["stage", *sent, "calls_heading"]
    lines = [[named(row.name, word), *line, f"{row.calls:,.0f}"] for row, line in zip(rows, cells)]
    if not o.model:  # else its own table says what is held
        heads.insert(1, "at_rest")
        lines = [[line[0], size(row.rest), *line[1:]] for row, line in zip(rows, lines)]
    notes = list(made.notes)
    if o.group:
        head = word["groups"].format(groups=o.ranks // o.group, group=o.group, unit=unit)
        notes = [word["to_others_note"], word["groups_note"], *notes]
    else:
        head = word["traffic"].format(unit=unit)
    notes = ([word["outside_note"]] if "outside" in sent else []) + notes
    return "\n".join([head, fitting(lines, [word[name] for name in heads]), *notes])


def memory_part(made: Plan, memory: int | None, word: dict[str, str]) -> str:
    """What a rank needs, what fits, and why not."""
    s, heads = made.setting, header("stage at_rest in_a_step needed", word)
    columns = [sizes([getattr(row, name) for row in made.rows]) for name in ("rest", "step", "needed")]
    cells = [[named(row.name, word), *line] for row, *line in zip(made.rows, *columns)]
    for row, line in zip(made.rows, cells):
        line[2] = line[2] if row.step else "-"
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


def verdict(row: Row, memory: int, word: dict[str, str]) -> str:
    """One line: whether it fits, by how much, and what takes most."""
    stage = named(row.name, word, "label")
    if row.needed <= memory:
        return word["fits_with"].format(stage=stage, left=size(memory - row.needed))
    kinds = {row.state[kind]: kind for kind in KINDS} | {row.step: "step"}
    most = max(kinds)
    more, mostly = size(row.needed - memory), word[f"mostly_{kinds[most]}"]
    return word["fits_not"].format(stage=stage, more=more, most=mostly, size=size(most))


def time_part(made: Plan, o: argparse.Namespace, machine: Machine, word: dict[str, str]) -> str:
    """How long a step takes, and which stage is fastest; directly, and beside it around a ring."""
    rows, memory = made.rows, o.memory
    found, rings = ([times(row, machine, o.ranks, o.group, ring) for row in rows] for ring in (False, True))
    there = {
        "compute": [t.compute for t in found],
        "codes": [t.codes for t in found],
        "outside": [t.outside for t in found],
        "bandwidth" if not o.group else "inside": [t.bandwidth - t.between for t in found],
        "between": [t.between for t in found],
        "latency": [t.latency for t in found],
        "step": [t.total for t in found],
        "by_ring": [t.total for t in rings] if o.group else [],
    }
    shown = [name for name, seconds in there.items() if any(seconds) or name in SHOWN]
    unit, cells = rows_in_seconds(there[name] for name in shown)
    heads = header(" ".join(["stage", *shown, "most_of_it"]), word)
    table = [[named(row.name, word), *line, word[t.largest]] for row, line, t in zip(rows, cells, found)]
    if o.group:  # 80 columns have no room for it
        heads, table = heads[:-1], [line[:-1] for line in table]
    lines = [word["time"].format(unit=unit), fitting(table, heads)]
    lines += [word["ring_note"]] if o.group else []
    if machine.flops is None:
        lines.append(word["no_compute"])
    elif not rows[0].work.flop:
        lines.append(word["no_passes"])
    if any(row.work.away and not outside(row.work, machine) for row in rows):
        lines.append(word["no_outside"])
    fit = [pair for pair in zip(rows, found) if memory is None or pair[0].needed <= memory]
    if not fit:
        return "\n".join([*lines, word["none_fits"]])
    row, t = min(fit, key=lambda pair: (pair[1].total, pair[0].needed))
    share = t.parts[t.largest] / t.total if t.total else 0.0
    key = "fastest" if memory is None else "fastest_that_fits"
    lines.append(word[key].format(stage=named(row.name, word, "label"), time=duration(t.total)))
    lines.append(word[f"share_of_{t.largest}"].format(share=f"{share:.0%}"))
    return "\n".join(lines)


def plan(o: argparse.Namespace) -> str:
    """The whole answer."""
    made = {None: plan_for_size, "transformer": plan_for_transformer}.get(o.model, plan_for_training)(o)
    s, machine, word = made.setting, machine_of(o), words(o)
    e, k = s.itemsize, s.k
    parts = [
        word["head"].format(name=made.name, parameters=briefly(s.parameters), ranks=f"{o.ranks:,}")
        + "\n"
        + word["bytes_each"].format(dtype=o.dtype, e=e, k=f"{k:g}")
    ]
    parts += [made.counted] if made.counted else []
    parts += [word["note_k"].format(k=f"{k:g}")] if k in (18, 20) else []
    parts += [paper_part(s, word), exact_part(made, word)]
    if o.group or o.model in HERE:
        parts.append(traffic_part(made, o, word))
    if o.memory or o.model:
        parts.append(memory_part(made, o.memory, word))
    if machine:
        parts.append(time_part(made, o, machine, word))
    return fold("\n\n".join(parts))
