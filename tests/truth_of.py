"""Oracles of single exercises, for statements that no one twin stands for: of `m` or of `v`, of any order ...

Most call the student's function here, on other arguments than the checker does, and look at what it gives.
"""

import types
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from truth import Said, oracle

from lessons.checker.evidence import same

# -- what is called --


def function(said: Said, name: str) -> Callable:
    """A student's function, in this process."""
    module: dict[str, Any] = {}
    exec(said.text, module)
    return module[name]


# -- 01: three results --

RESULTS = ("dx", "dw", "db")


@oracle("other_order", "other_result", only="01")
def places_of_results(said: Said) -> bool:
    """What stands where, in all trials: the results that are said are the solution's others."""
    names = said.params["order"].split(", ") if said.key == "other_order" else list(RESULTS)
    if said.key == "other_result":
        names[RESULTS.index(said.params["name"])] = said.params["other"]
    shown = range(len(names)) if said.key == "other_order" else [RESULTS.index(said.params["name"])]
    for mine, right in zip(all_values(said, said.result), all_values(said, said.right)):
        if not all(same(mine[place], right[RESULTS.index(names[place])]) for place in shown):
            return False
    return True


def all_values(said: Said, result: Any) -> list[Any]:
    """Of all trials that ended, in order, what every rank returned."""
    numbers = sorted(said.result.outcome.reports)
    return [value for n in numbers for value in of_case(said, result, n)]


def of_case(said: Said, result: Any, number: int) -> list[Any]:
    """What every rank returned in one trial."""
    there = types.SimpleNamespace(number=number, result=result, right=result)
    return Said.values(there)  # type: ignore[arg-type]


# -- 03: a step of AdamW --


def moments(said: Said, before: float, g: float = 0.5) -> dict[str, float]:
    """m and v after one step on a gradient of g, where both were `before`."""
    w, m, v = np.ones(1), np.full(1, before), np.full(1, before)
    settings = {"lr": 0.1, "b1": 0.75, "b2": 0.875, "eps": 1e-3, "wd": 0.0}
    function(said, "adam_step")(w, np.full(1, g), m, v, 2, **settings)
    return {"m": float(m[0]), "v": float(v[0])}


@oracle("no_memory", "never_forgets", "share_missing", only="03")
def of_the_old_and_the_new(said: Said) -> bool:
    """How a moment depends on what it was before, and on the gradient."""
    name = said.params["name"]
    none, some = moments(said, 0.0)[name], moments(said, 4.0)[name]
    if said.key == "share_missing":
        return none == (0.5 if name == "m" else 0.25)
    return some - none == (0.0 if said.key == "no_memory" else 4.0)


@oracle("unchanged", only="03")
def as_before(said: Said) -> bool:
    """These arrays are as they were, in the trial that is shown."""
    after = dict(zip(("w", "m", "v"), said.values()[0]))
    return bool(said.params["names"]) and all(
        same(after[name], np.array(said.case[name])) for name in said.params["names"]
    )


# -- 04: whose sample is whose --


def dealt(said: Said, epoch: int = 0, seed: int = 3, size: int = 3, samples: int = 13) -> list[list[int]]:
    """What each rank reads."""
    deal = function(said, "my_samples")
    return [np.ravel(deal(samples, rank, size, epoch, seed)).tolist() for rank in range(size)]


@oracle("seed_ignored", "same_every_epoch", only="04")
def does_not_depend(said: Said) -> bool:
    """The same shares whatever the seed, or the epoch, is; and not because nothing is shuffled."""
    if said.key == "seed_ignored":
        return all(dealt(said, seed=seed) == dealt(said) for seed in range(9))
    return all(dealt(said, epoch=epoch) == dealt(said) for epoch in range(9))


@oracle("rank_in_seed", only="04")
def a_shuffle_of_its_own(said: Said) -> bool:
    """Ranks begin their generators with different seeds, and so samples are missed and read twice."""
    seeds, made = [], np.random.default_rng
    try:
        np.random.default_rng = lambda seed=None: (seeds.append(seed), made(seed))[1]
        dealt(said)
    finally:
        np.random.default_rng = made
    read = Counter(n for rank, calls in enumerate(said.values()) for n in np.ravel(calls[0][rank]).tolist())
    missed = said.case["samples"] - len(read)
    twice = sum(number > 1 for number in read.values())
    told = said.params["missed"], said.params["twice"]
    return len({str(seed) for seed in seeds}) == 3 and (missed, twice) == told


# -- 09: slices and a flat vector --


def pairs(said: Said) -> list[Any]:
    given = said.case["given"]
    return list(function(said, "partition")(given["numel"], given["size"]))


@oracle("negative", only="09")
def ends_before_it_begins(said: Said) -> bool:
    pair = pairs(said)[said.params["rank"]]
    return pair[1] < pair[0] and said.params["pair"] == f"({pair[0]}, {pair[1]})"


@oracle("uneven", only="09")
def lengths_are_so(said: Said) -> bool:
    cuts = pairs(said)
    lengths, size = [b - a for a, b in cuts], said.case["given"]["size"]
    once = sorted(i for a, b in cuts for i in range(a, b)) == list(range(said.case["given"]["numel"]))
    allowed = -(-said.case["given"]["numel"] // size)
    return once and lengths == list(said.params["lengths"]) and any(n != allowed for n in lengths[:-1])


@oracle("not_whole", only="09")
def no_number(said: Said) -> bool:
    return any(not isinstance(n, int | np.integer) for pair in pairs(said) for n in pair)


@oracle("too_many_slices", "too_few_slices", only="09")
def so_many_slices(said: Said) -> bool:
    number, size = len(pairs(said)), said.params["size"]
    return number == said.params["got"] and (number > size) == (said.key == "too_many_slices")


def flat(said: Said) -> tuple[np.ndarray, dict[str, Any], dict[str, np.ndarray]]:
    """What flatten gives of tensors as in the case, and these."""
    tensors = {name: np.ones(shape, said.case["dtype"]) for name, shape in said.case["shapes"].items()}
    return *function(said, "flatten")(dict(tensors), said.case["given"]["size"]), tensors


@oracle("view_names", only="09")
def names_of_views(said: Said) -> bool:
    _, views, tensors = flat(said)
    missing, more = sorted(tensors.keys() - views.keys()), sorted(map(str, views.keys() - tensors.keys()))
    return [missing or "-", more or "-"] == [said.params["missing"], said.params["more"]]


@oracle("wrong_length", only="09")
def length_of_buffer(said: Said) -> bool:
    buffer, _, tensors = flat(said)
    numel, size = sum(tensor.size for tensor in tensors.values()), said.case["given"]["size"]
    wanted = next(n for n in range(numel, numel + size) if n % size == 0)
    return (wanted, buffer.size) == (said.params["wanted"], said.params["got"])
