"""Exercise 23: who owns which matrix, and each turned once and gathered.

The least possible load is found by trying every way to deal; there are few matrices.
"""

import itertools
from collections.abc import Callable, Sequence
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker import evidence
from lessons.checker.evidence import Diagnosis, Trial, same
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import observe
from zero_ref.extras import muon

FUNCTIONS = ("assign", "turn")
RANKS = 4
BOUND = 4 / 3  # of the least possible

Case = dict[str, Any]
Shapes = dict[str, tuple[int, int]]
Owner = dict[str, int]

# One matrix alone leaves loads that are uneven, for whoever keeps them from call to call. Then orders that
# are no order of size: back and forth, in runs of so many elements, by the sum of both sides, by name.
TO_DEAL = (
    (1, [(2, 3), (4, 2)]),
    (2, [(5, 5)]),
    (2, [(2, 2), (2, 2), (2, 4)]),
    (2, [(1, 20), (3, 4), (4, 2)]),
    (2, [(20, 1), (4, 3), (2, 4)]),
    (3, [(3, 4), (3, 4), (2, 2), (2, 2), (2, 2)]),
    (4, [(2, 3), (6, 6), (3, 3), (6, 6), (2, 6), (4, 3), (3, 9)]),
    (4, [(3, 5), (5, 3)]),
    (2, [(2, 2), (1, 4), (2, 10), (4, 1), (2, 2), (1, 4)]),
    (2, [(5, 6), (5, 6), (1, 30), (6, 5)]),
)
BY_NAME = (2, [(2, 2), (2, 2), (2, 4)])  # named in this order
# Ranks, shapes, and who owns each; at the end a rank has none.
TO_TURN = (
    (1, [(2, 3), (4, 2)], [0, 0]),
    (2, [(2, 3), (3, 3), (2, 3)], [0, 1, 1]),
    (3, [(2, 4), (5, 2), (3, 3), (2, 4)], [2, 0, 1, 2]),
    (4, [(3, 2), (2, 2), (4, 3), (2, 5)], [3, 1, 0, 2]),
    (4, [(2, 3), (4, 2), (2, 3)], [3, 0, 0]),
)


def cases(random: Random) -> list[Case]:
    """Matrices to deal, then matrices to turn; names tell nothing."""
    found: list[Case] = []
    for size, shapes in TO_DEAL:
        found.append({"size": size, "function": "assign", "shapes": named(random, shapes)})
        found[-1]["given"] = shown(found[-1])
    size, shapes = BY_NAME
    names = sorted(random.sample("abcdefghijkmnpqrstuvwxyz", len(shapes)))
    found.append({"size": size, "function": "assign", "shapes": dict(zip(names, map(list, shapes)))})
    found[-1]["given"] = shown(found[-1])
    for size, shapes, owners in TO_TURN:
        of_name = named(random, shapes)
        owner = dict(zip(of_name, owners))
        draw = random.randrange(1000)
        found.append({"size": size, "function": "turn", "shapes": of_name, "owner": owner, "draw": draw})
        found[-1]["given"] = shown(found[-1])
    return found


def shown(case: Case) -> dict[str, Any]:
    """What a student sees of a case."""
    text = ", ".join(f"{name} {rows}x{columns}" for name, (rows, columns) in case["shapes"].items())
    return {"size": case["size"], "matrices": text}


def named(random: Random, shapes: Sequence[tuple[int, int]]) -> dict[str, list[int]]:
    letters = random.sample("abcdefghijkmnpqrstuvwxyz", len(shapes))
    return {letter: list(shape) for letter, shape in zip(letters, shapes)}


def shapes_of(case: Case) -> Shapes:
    return {name: tuple(shape) for name, shape in case["shapes"].items()}


def momentum(case: Case, name: str) -> np.ndarray:
    """A matrix's momentum."""
    number = list(case["shapes"]).index(name)
    return np.random.default_rng([case["draw"], number]).normal(size=case["shapes"][name])


def run_trial(case: Case, comm: Talk, student: ModuleType) -> dict[str, Any]:
    """One call of one of the functions."""
    if case["function"] == "assign":
        shapes = shapes_of(case)
        seen = observe(comm, student.assign, shapes, case["size"])
        return seen | {"changed": [0] if shapes != shapes_of(case) else []}
    turned = []

    def orthogonal(m: np.ndarray) -> np.ndarray:
        m = np.asarray(m)
        if m.ndim != 2:
            raise ValueError(f"orthogonal takes a matrix, not an array of shape {list(m.shape)}")
        turned.append(list(m.shape))
        return muon.orthogonal(m)

    mine = {name: momentum(case, name) for name, rank in case["owner"].items() if rank == comm.rank}
    seen = observe(comm, student.turn, shapes_of(case), dict(case["owner"]), mine, orthogonal, comm)
    return seen | {"turned": turned}


# Who owns what.


def elements(case: Case) -> dict[str, int]:
    return {name: rows * columns for name, (rows, columns) in case["shapes"].items()}


def loads(case: Case, owner: Owner) -> list[int]:
    found = [0] * case["size"]
    for name, n in elements(case).items():
        found[owner[name]] += n
    return found


def least(case: Case) -> int:
    """The least that the largest load can be."""
    n = list(elements(case).values())
    first, *rest = n
    best = sum(n)
    for owners in itertools.product(range(case["size"]), repeat=len(rest)):
        sums = [first, *[0] * (case["size"] - 1)]
        for rank, each in zip(owners, rest):
            sums[rank] += each
        best = min(best, max(sums))
    return best


def greedy(case: Case, order: Sequence[str], weight: Callable[[str], int]) -> Owner:
    """In this order, each to the rank with least weight so far."""
    sums, owner = [0] * case["size"], {}
    for name in order:
        rank = sums.index(min(sums))
        sums[rank] += weight(name)
        owner[name] = rank
    return owner


def by(case: Case, weight: Callable[[int, int], int], reverse: bool = True) -> list[str]:
    return sorted(case["shapes"], key=lambda name: weight(*case["shapes"][name]), reverse=reverse)


def dealt(key: Callable[[int, int], int], reverse: bool = True) -> Callable[[Case], Owner]:
    """Greedy with a weight of its own, in the order of that weight."""
    return lambda c: greedy(c, by(c, key, reverse), lambda name: key(*c["shapes"][name]))


def in_turn(order: Callable[[Case], Sequence[str]]) -> Callable[[Case], Owner]:
    return lambda c: {name: number % c["size"] for number, name in enumerate(order(c))}


def in_runs(case: Case) -> Owner:
    """As many matrices to each rank, one after another."""
    each = -(-len(case["shapes"]) // case["size"])
    return {name: number // each for number, name in enumerate(case["shapes"])}


def back_and_forth(case: Case) -> Owner:
    """From large to small: 0, 1, 2, 2, 1, 0 and so on."""
    ranks = [*range(case["size"]), *reversed(range(case["size"]))]
    return {name: ranks[number % len(ranks)] for number, name in enumerate(by(case, product))}


def product(rows: int, columns: int) -> int:
    return rows * columns


DEALT: tuple[tuple[str, Callable[[Case], Owner]], ...] = (
    ("all_on_one", lambda c: dict.fromkeys(c["shapes"], 0)),
    ("smallest_first", dealt(product, reverse=False)),
    ("in_turn", in_turn(lambda c: list(c["shapes"]))),
    ("in_turn", in_turn(lambda c: by(c, product))),
    ("in_turn", in_turn(lambda c: by(c, product, reverse=False))),
    ("in_turn", in_turn(lambda c: sorted(c["shapes"]))),
    ("in_turn", back_and_forth),
    ("in_runs", in_runs),
    ("not_sorted", lambda c: greedy(c, list(c["shapes"]), elements(c).__getitem__)),
    ("not_sorted", lambda c: greedy(c, sorted(c["shapes"]), elements(c).__getitem__)),
    ("by_rows", dealt(lambda rows, columns: rows)),
    ("by_columns", dealt(lambda rows, columns: columns)),
)


def check_assign(trials: Sequence[Trial]) -> Diagnosis | None:
    """Type and names, ranks that exist, the same on all ranks; then the largest load."""
    for trial in trials:
        for rank, value in enumerate(trial.values()):
            if found := wrong_owner(trial, rank, value):
                return found
    for trial in trials:
        values = trial.values()
        if any(value != values[0] for value in values):
            rows = [(rank, " ".join(f"{n}:{v[n]}" for n in sorted(v))) for rank, v in enumerate(values)]
            return told("ranks_differ", trial, ("rank", "result"), rows)
    too_much = [t for t in trials if max(loads(t.case, t.values()[0])) > BOUND * least(t.case) + 1e-9]
    if not too_much:
        return evidence.find_changed_input(trials, ("shapes",))
    values = [t.values()[0] for t in trials]
    keys = (key for key, make in DEALT if all(v == make(t.case) for v, t in zip(values, trials)))
    trial = too_much[0]
    got = loads(trial.case, trial.values()[0])
    rows = [
        (
            rank,
            " ".join(f"{n}({elements(trial.case)[n]})" for n, r in trial.values()[0].items() if r == rank),
            n,
        )
        for rank, n in enumerate(got)
    ]
    params = {"most": max(got), "least": least(trial.case)}
    return told(next(keys, "uneven"), trial, ("rank", "matrices", "elements"), rows, **params)


def wrong_owner(trial: Trial, rank: int, value: Any) -> Diagnosis | None:
    names = trial.case["shapes"].keys()
    if value is None:
        return told("returns_nothing", trial, wanted="dict")
    if not isinstance(value, dict):
        return told("returns_type", trial, wanted="dict", got=evidence.kind_of(value))
    if value.keys() != names:
        missing, more = sorted(names - value.keys()), sorted(map(str, value.keys() - names))
        return told("names", trial, missing=missing or "-", more=more or "-")
    for name, owner in value.items():
        if isinstance(owner, bool) or not isinstance(owner, int | np.integer):
            return told("returns_type", trial, wanted=f"{name}: int", got=evidence.kind_of(owner))
        if not 0 <= owner < trial.size:
            return told("no_rank", trial, name=name, owner=int(owner))
    return None


def told(
    key: str, trial: Trial, head: Sequence[str] = (), rows: Sequence[Sequence[Any]] = (), **params: Any
) -> Diagnosis:
    params |= {"size": trial.size, "rank": params.get("rank", 0)}
    return Diagnosis(key, params, trial.ranks[0]["line"], trial.case, head, rows)


# Each matrix turned once, and on all ranks.


def right(case: Case) -> dict[str, np.ndarray]:
    return {name: muon.orthogonal(momentum(case, name)) for name in case["shapes"]}


def changed(make: Callable[[Case, str], np.ndarray]) -> Callable[[Case], dict[str, np.ndarray]]:
    return lambda case: {name: make(case, name) for name in case["shapes"]}


def twice(case: Case, name: str) -> np.ndarray:
    return muon.orthogonal(muon.orthogonal(momentum(case, name)))


def as_row(case: Case, name: str) -> np.ndarray:
    m = momentum(case, name)
    return muon.orthogonal(m.reshape(1, -1)).reshape(m.shape)


def of_packed(case: Case, name: str) -> np.ndarray:
    """All of an owner's matrices as one row."""
    rank = case["owner"][name]
    names = [each for each in case["shapes"] if case["owner"][each] == rank]
    packed = np.concatenate([momentum(case, each).reshape(-1) for each in names])
    out, start = muon.orthogonal(packed.reshape(1, -1)).reshape(-1), 0
    for each in names:
        stop = start + momentum(case, each).size
        if each == name:
            return out[start:stop].reshape(case["shapes"][name])
        start = stop
    raise KeyError(name)


def unpacked(order: Callable[[list[str]], list[str]]) -> Callable[[Case], dict[str, np.ndarray]]:
    """An owner's matrices, one after another, taken apart in another order."""

    def made(case: Case) -> dict[str, np.ndarray]:
        found = {}
        for rank in range(case["size"]):
            names = [name for name in case["shapes"] if case["owner"][name] == rank]
            packed = np.concatenate([np.zeros(0), *(right(case)[name].reshape(-1) for name in names)])
            for name in order(names):
                n = elements(case)[name]
                found[name], packed = packed[:n].reshape(case["shapes"][name]), packed[n:]
        return found

    return made


def others_not_turned(case: Case, rank: int) -> dict[str, np.ndarray]:
    """A rank's own as they should be, and the others' as they were."""
    want = right(case)
    return {name: want[name] if case["owner"][name] == rank else momentum(case, name) for name in want}


TURNED: tuple[tuple[str, Callable[[Case], dict[str, np.ndarray]]], ...] = (
    ("not_turned", changed(momentum)),
    ("turned_twice", changed(twice)),
    ("as_row", changed(as_row)),
    ("as_row", changed(of_packed)),
    ("other_order", unpacked(lambda names: names[::-1])),
    ("other_order", unpacked(sorted)),
    ("by_columns_read", changed(lambda c, n: muon.orthogonal(momentum(c, n)).T.reshape(c["shapes"][n]))),
)


def check_turn(trials: Sequence[Trial]) -> Diagnosis | None:
    """Names, shapes, values; equal bits on all ranks; then how often each was turned, and what was sent."""
    for trial in trials:
        for rank, value in enumerate(trial.values()):
            if found := wrong_kind(trial, rank, value):
                return found
    bad = [
        (t, rank)
        for t in trials
        for rank, value in enumerate(t.values())
        if not all(same(value[name], want) for name, want in right(t.case).items())
    ]
    if bad:
        return name_values(trials, *bad[0])
    return evidence.find_changed_input(trials, ("shapes", "owner", "momenta")) or costs(trials)


def wrong_kind(trial: Trial, rank: int, value: Any) -> Diagnosis | None:
    if value is None:
        return told("returns_nothing", trial, wanted="dict")
    if not isinstance(value, dict):
        return told("returns_type", trial, wanted="dict", got=evidence.kind_of(value))
    names = trial.case["shapes"].keys()
    own = {name for name, owner in trial.case["owner"].items() if owner == rank}
    if value.keys() != names:
        only_own = all(v is not None and v.keys() == own_of(trial, r) for r, v in enumerate(trial.values()))
        missing, more = sorted(names - value.keys()), sorted(map(str, value.keys() - names))
        key = "not_gathered" if only_own and trial.size > 1 else "names"
        return told(key, trial, missing=missing or "-", more=more or "-", rank=rank, own=sorted(own) or "-")
    for name, want in right(trial.case).items():
        if found := evidence.wrong_kind(value[name], want):
            key, params = found
            return told(key, trial, **params | {"wanted": f"{name}: {params['wanted']}"})
    return None


def own_of(trial: Trial, rank: int) -> set[str]:
    return {name for name, owner in trial.case["owner"].items() if owner == rank}


def name_values(trials: Sequence[Trial], trial: Trial, rank: int) -> Diagnosis:
    """Which mistake explains all, and else which matrices are wrong on which rank."""
    values = [(t, value) for t in trials for value in t.values()]
    for key, make in TURNED:
        if all(same(value, make(t.case)) for t, value in values):
            return told(key, trial, **wrong_names(trial, rank))
    if all(same(v, others_not_turned(t.case, r)) for t in trials for r, v in enumerate(t.values())):
        return told("others_not_turned", trial, **wrong_names(trial, rank))
    if not any(report["turned"] for t in trials for report in t.ranks):
        return told("never_called", trial, **wrong_names(trial, rank))
    want = right(trial.case)
    off = [
        (r, [n for n in want if not same(value[n], want[n])], own_of(trial, r))
        for r, value in enumerate(trial.values())
    ]
    params = wrong_names(trial, rank)
    zeros = all(not trial.values()[r][n].any() for r, names, _ in off for n in names)
    if zeros and all(not set(names) & own for _, names, own in off):
        return told("others_empty", trial, **params)
    rows = [(r, " ".join(names) or "-") for r, names, _ in off]
    found = told("unknown", trial, ("rank", "wrong_matrices"), rows, **params)
    found.pair = (trial.values(), [want] * trial.size)
    return found


def wrong_names(trial: Trial, rank: int) -> dict[str, Any]:
    value, want = trial.values()[rank], right(trial.case)
    return {"rank": rank, "names": sorted(n for n in want if not same(value[n], want[n]))}


def costs(trials: Sequence[Trial]) -> Diagnosis | None:
    for trial in trials:
        values = trial.values()
        for name in trial.case["shapes"]:
            if len({value[name].tobytes() for value in values}) > 1:
                return told("other_bits", trial, name=name)
    for trial in trials:
        times = [len(report["turned"]) for report in trial.ranks]
        if sum(times) > len(trial.case["shapes"]):
            rows = [(r, len(own_of(trial, r)), n) for r, n in enumerate(times)]
            key = (
                "on_all_ranks"
                if min(times) == len(trial.case["shapes"]) > 0 and trial.size > 1
                else "too_often"
            )
            head, params = (
                ("rank", "wanted_calls", "got_calls"),
                {"got": sum(times), "wanted": len(trial.case["shapes"])},
            )
            return told(key, trial, head, rows, **params)
    for trial in trials:
        sent = [sum(event["bytes"] for event in trial.sent(rank)) for rank in range(trial.size)]
        wanted = 8 * sum(elements(trial.case).values()) * (trial.size - 1)
        if sum(sent) > wanted:
            return told(
                "more_in_all",
                trial,
                ("rank", "got_bytes"),
                list(enumerate(sent)),
                got=sum(sent),
                wanted=wanted,
            )
    return None


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """Who owns what, and then the matrices."""
    dealt, turned = ([t for t in trials if t.case["function"] == name] for name in FUNCTIONS)
    return check_assign(dealt) or check_turn(turned)
