"""From the planner's options to ways to run a model: stages 0 to 3 as they are, in groups, and with extras.

Each way is a set of options of zero_ref.train, from which a dry run is made. An option that changes the
model's units, the optimizer or the sums is there in every way. One that changes how ZeRO works (WAYS) gives
further ways, beside those without it.
"""

import argparse
from dataclasses import dataclass

from zero_ref.data import Task
from zero_ref.launch import UsageError
from zero_ref.train import family, options
from zero_ref.train.options import model_rule

EVERYWHERE = ("bucket", "tiles", "recompute", "accumulate", "reduce", "shard_model", "momentum")
ZEROPP = tuple(name for name in family.ZEROPP if name != "machine")  # which is --group here
WAYS = (*family.VARYING, *ZEROPP, "offload", "offload_shards")
HERE = ("linear", "mlp", "gpt")  # models that zero_ref.train can run


@dataclass(frozen=True)
class Way:
    """A row of the planner's tables. name: "3", "3 in groups", "hpZ", "3+" with what is given of WAYS;
    options: of zero_ref.train."""

    name: str
    options: argparse.Namespace


def task_of(o: argparse.Namespace) -> Task:
    """What a model of the planner's options is asked to do; of a transformer, the next token."""
    if o.model in ("gpt", "transformer"):
        return Task(o.sequence, o.vocab, o.vocab, alphabet="a")
    return Task(o.features, o.classes or o.targets, o.classes or 0)


def options_here(o: argparse.Namespace, stage: int, **more: object) -> argparse.Namespace:
    """What zero_ref.train makes of the planner's options that stand in every way, and of `more`."""
    here = {"transformer": "gpt"}.get(o.model, o.model)
    line = [f"--stage={stage}", f"--model={here}", f"--dtype={o.dtype}", f"--optimizer={o.optimizer}"]
    line += [f"--batch-size={o.batch_size or 64}", f"--micro-batches={o.micro_batches}", "--device=cpu"]
    line += said(given(o, EVERYWHERE) | more)
    if here == "gpt":
        line += [f"--width={o.hidden[0]}", f"--context={o.sequence}"]
        line += [f"--{name}={getattr(o, name)}" for name in ("layers", "heads")]
    elif o.hidden:
        line += [f"--hidden={','.join(map(str, o.hidden))}"]
    return options.parse(line)


def given(o: argparse.Namespace, names: tuple[str, ...]) -> dict[str, object]:
    """Those of the options that are given, by name."""
    return {name: value for name in names if (value := getattr(o, name))}


def said(asked: dict[str, object]) -> list[str]:
    """Options as they stand on a command line."""
    line = []
    for name, value in asked.items():
        if isinstance(value, list):
            value = "weights=" + ",".join(map(str, value))
        option = f"--{name.replace('_', '-')}"
        line.append(option if value is True else f"{option}={value}")
    return line


def written(asked: dict[str, object]) -> str:
    """The same as people write them."""
    return " ".join(each.replace("=", " ", 1) for each in said(asked))


def ways(o: argparse.Namespace) -> tuple[list[Way], list[str]]:
    """All ways to run the model, and the names of those that zero_ref.train refuses.

    UsageError if it refuses a stage as it is, or all that is given of WAYS.
    """
    found = [Way(str(stage), options_here(o, stage)) for stage in range(4)]
    asked, groups = given(o, WAYS), {"group": o.group}
    machines = {"machine": o.group} if o.group else {}
    tried: list[tuple[str, int, dict[str, object]]] = []
    if o.group:
        tried += [(f"{stage} in groups", stage, groups) for stage in (1, 2, 3)]
        tried += [("hpZ", 3, machines | {"hpz": True})]
    of_machines = machines if any(name in ZEROPP for name in asked) else {}
    with_extras = [(f"{stage}+", stage, asked | of_machines) for stage in range(4)]
    if o.group:
        with_extras += [(f"{stage}+ in groups", stage, asked | groups) for stage in (1, 2, 3)]
    refused = {}
    for name, stage, more in tried + (with_extras if asked else []):
        try:
            way = Way(name, options_here(o, stage, **more))
            model_rule(way.options, way.options.group or o.ranks)  # weights are of so many ranks
            found.append(way)
        except UsageError as error:
            refused[name] = error
    if asked and set(refused) >= {name for name, *_ in with_extras}:
        raise refused["3+"]
    return found, list(refused)
