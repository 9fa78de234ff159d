"""Exercise 21: barcodes through a sum in two hops, and what goes inside a group and between groups."""

from collections.abc import Callable, Sequence
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker import evidence
from lessons.checker.barcode import barcode, barcode_table, find_effect
from lessons.checker.evidence import Diagnosis, Right, Trial
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import observe
from zero_ref.layout import bounds

FUNCTIONS = ("group_reduce_scatter", "group_all_gather")
RANKS = 4
GROUPS = ((4, 2), (4, 1), (4, 4), (3, 1), (3, 3), (2, 1), (2, 2), (1, 1))  # ranks, and those of a group


def cases(random: Random) -> list[dict[str, Any]]:
    """For each function: two groups of two with a length that all divide, then others."""
    found = []
    for function in FUNCTIONS:
        found.append({"size": 4, "group": 2, "length": random.choice((8, 12)), "function": function})
        found += [
            {"size": n, "group": g, "length": 9 + random.choice((1, 2, 4)), "function": function}
            for n, g in GROUPS
        ]
    return found


def run_trial(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """One call of one of the functions."""
    rank, group = comm.rank, case["group"]
    if case["function"] == "group_reduce_scatter":
        return observe(comm, student.group_reduce_scatter, barcode(case["length"], rank), group, comm)
    return observe(comm, student.group_all_gather, own_shard(case, rank), case["length"], group, comm)


def cut(case: dict[str, Any], parts: int, number: int) -> slice:
    """Slice `number` of so many."""
    ends = bounds(case["length"], [1] * parts)
    return slice(ends[number], ends[number + 1])


def own_shard(case: dict[str, Any], rank: int) -> np.ndarray:
    """What a rank gives to the all-gather: its slice of a vector that all groups have."""
    return barcode(case["length"], 0)[cut(case, case["group"], rank % case["group"])].copy()


# The sum: what is right, and what each mistake gives.


def total(trial: Trial, ranks: Sequence[int]) -> np.ndarray:
    """The sum of some ranks' vectors."""
    return sum((barcode(trial.case["length"], rank) for rank in ranks), np.zeros(trial.case["length"]))


def inside(trial: Trial, rank: int) -> list[int]:
    group = trial.case["group"]
    return list(range(rank // group * group, rank // group * group + group))


def between(trial: Trial, rank: int) -> list[int]:
    return list(range(rank % trial.case["group"], trial.size, trial.case["group"]))


def shard(trial: Trial, rank: int) -> slice:
    return cut(trial.case, trial.case["group"], rank % trial.case["group"])


def right(trial: Trial, rank: int) -> np.ndarray:
    return total(trial, range(trial.size))[shard(trial, rank)]


def groups(trial: Trial) -> int:
    return trial.size // trial.case["group"]


def of_all(trial: Trial, rank: int) -> np.ndarray:
    """A reduce-scatter over all ranks: N slices."""
    return total(trial, range(trial.size))[cut(trial.case, trial.size, rank)]


def exchanged(trial: Trial, rank: int) -> np.ndarray:
    """Inside is taken for between."""
    number = between(trial, rank).index(rank)
    return total(trial, range(trial.size))[cut(trial.case, groups(trial), number)]


def group_number(trial: Trial, rank: int) -> np.ndarray:
    """The shard of the group's number, where there is one."""
    number = rank // trial.case["group"] % trial.case["group"]
    return total(trial, range(trial.size))[cut(trial.case, trial.case["group"], number)]


def not_gathered(trial: Trial, rank: int) -> np.ndarray:
    """After the second reduce-scatter: only this rank's part of the shard."""
    whole = right(trial, rank)
    ends, number = bounds(whole.size, [1] * groups(trial)), rank // trial.case["group"]
    return whole[ends[number] : ends[number + 1]]


def both(circle: Callable[[Trial, int], list[int]]) -> Right:
    """The two hops are among the same ranks: different shards of their sum are added up."""

    def result(trial: Trial, rank: int) -> np.ndarray:
        ranks = circle(trial, rank)
        whole = total(trial, ranks)
        return sum(whole[cut(trial.case, len(ranks), number)] for number in range(len(ranks)))

    return result


SUMS: tuple[tuple[str, Right], ...] = (
    ("inside_only", lambda t, r: total(t, inside(t, r))[shard(t, r)]),
    ("between_only", lambda t, r: total(t, between(t, r))[shard(t, r)]),
    ("own_only", lambda t, r: total(t, [r])[shard(t, r)]),
    ("both_inside", both(inside)),
    ("both_between", both(between)),
    ("other_groups_only", lambda t, r: right(t, r) - total(t, inside(t, r))[shard(t, r)]),
    ("too_often", lambda t, r: right(t, r) * t.case["group"]),
    ("too_often", lambda t, r: right(t, r) * groups(t)),
    ("too_often", lambda t, r: right(t, r) * t.size),
    ("averaged", lambda t, r: right(t, r) / t.size),
    ("averaged", lambda t, r: right(t, r) / groups(t)),
    ("averaged", lambda t, r: right(t, r) / t.case["group"]),
    ("whole_vector", lambda t, r: total(t, range(t.size))),
    ("of_all", of_all),
    ("exchanged", exchanged),
    ("group_number", group_number),
    ("not_gathered", not_gathered),
)


# The all-gather.


def gathered(trial: Trial, rank: int) -> np.ndarray:
    return barcode(trial.case["length"], 0)


def in_slots(ranks: Callable[[Trial, int], Sequence[int]]) -> Right:
    """These ranks' shards, one after another."""
    return lambda t, r: np.concatenate([own_shard(t.case, rank) for rank in ranks(t, r)])


GATHERS: tuple[tuple[str, Right], ...] = (
    ("gathers_between", in_slots(between)),
    ("gathers_all_ranks", in_slots(lambda t, r: range(t.size))),
    ("own_shard", in_slots(lambda t, r: [r])),
    ("own_everywhere", in_slots(lambda t, r: [r] * t.case["group"])),
    ("own_first", in_slots(lambda t, r: [r + n for n in range(t.case["group"])])),
)


# The diagnosis.


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """The sum first: its values, side effects and cost; then the gather."""
    sums, gathers = ([t for t in trials if t.case["function"] == name] for name in FUNCTIONS)
    return (
        read_barcodes(values(sums, right, SUMS), sums)
        or side_effects(sums, ("x",))
        or sum_cost(sums)
        or values(gathers, gathered, GATHERS)
        or side_effects(gathers, ("shard",))
        or gather_cost(gathers)
    )


def values(trials: Sequence[Trial], right: Right, mistakes: Sequence[tuple[str, Right]]) -> Diagnosis | None:
    """A known mistake explains shapes, too, so it comes before them."""
    found = evidence.explain(trials, right, mistakes) if trials else None
    if found is None or found.key != "unknown":
        return found
    found = evidence.check_value([t for t in trials if t.case["length"] % t.size == 0], right, mistakes)
    return found or evidence.check_value(trials, right, mistakes)


def read_barcodes(found: Diagnosis | None, trials: Sequence[Trial]) -> Diagnosis | None:
    """The same diagnosis with its barcodes read, where shapes are right."""
    if found is None or found.head != ("rank", "wanted", "got") or found.key.startswith("returns"):
        return found
    trial = evidence.trial_of(found, trials)
    got = trial.values()
    if any(np.shape(value) != right(trial, rank).shape for rank, value in enumerate(got)):
        found.head = ("rank", "wanted_length", "got_length")
        found.rows = [(rank, right(trial, rank).size, np.size(value)) for rank, value in enumerate(got)]
        return found
    found.head, found.rows = ("rank", "wanted_parts", "got_parts"), barcode_table(trial, right)
    return find_effect(found, trial, right)


def side_effects(trials: Sequence[Trial], names: Sequence[str]) -> Diagnosis | None:
    return evidence.find_changed_input(trials, names) or evidence.find_part_of_input(trials)


def sent(trial: Trial) -> tuple[list[int], list[int]]:
    """Bytes that each rank sends inside its group, and to other groups."""
    near, far = [0] * trial.size, [0] * trial.size
    for rank in range(trial.size):
        for event in trial.sent(rank):
            (near if event["to"] in inside(trial, rank) else far)[rank] += event["bytes"]
    return near, far


def sum_cost(trials: Sequence[Trial]) -> Diagnosis | None:
    """Inside a reduce-scatter's bytes, between an all-reduce's of shards; of all ranks together."""
    for trial in trials:
        near, far = sent(trial)
        length, group, size = trial.case["length"], trial.case["group"], trial.size
        wanted_near, wanted_far = 8 * length * (group - 1) * groups(trial), 16 * length * (groups(trial) - 1)
        if sum(far) == group * wanted_far > 0 and group > 1:
            return cost("whole_between", trial, near, far, wanted_near, wanted_far)
        if sum(far) > wanted_far:
            return cost("more_between", trial, near, far, wanted_near, wanted_far)
        if sum(near) > wanted_near:
            return cost("more_inside", trial, near, far, wanted_near, wanted_far)
        if found := root(trial, [a + b for a, b in zip(near, far)], (wanted_near + wanted_far) // size):
            return found
    return None


def cost(key: str, trial: Trial, near: list[int], far: list[int], *wanted: int) -> Diagnosis:
    params = {"near": sum(near), "far": sum(far), "wanted_near": wanted[0], "wanted_far": wanted[1]}
    params |= {"size": trial.size, "group": trial.case["group"]}
    rows = list(zip(range(trial.size), near, far))
    line = trial.ranks[0]["line"]
    return Diagnosis(key, params, line, trial.case, ("rank", "bytes_inside", "bytes_between"), rows)


def root(trial: Trial, got: list[int], share: int) -> Diagnosis | None:
    """One rank that sends much more than its share."""
    most = max(got)
    if trial.size < 3 or most <= 1.6 * share:
        return None
    rank = got.index(most)
    params = {"rank": rank, "got": most, "mean": sum(got) // trial.size, "size": trial.size}
    head, line = ("rank", "got_bytes"), trial.ranks[rank]["line"]
    return Diagnosis("one_does_all", params, line, trial.case, head, list(enumerate(got)))


def gather_cost(trials: Sequence[Trial]) -> Diagnosis | None:
    """Nothing leaves the group."""
    for trial in trials:
        near, far = sent(trial)
        wanted = 8 * trial.case["length"] * (trial.case["group"] - 1) * groups(trial)
        if sum(far):
            return cost("gather_leaves", trial, near, far, wanted, 0)
        if sum(near) > wanted:
            return cost("more_inside", trial, near, far, wanted, 0)
        if found := root(trial, near, wanted // trial.size):
            return found
    return None
