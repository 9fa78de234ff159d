"""Exercise 06: barcodes through the student's ring tell which element came, of which ranks, how often."""

from collections.abc import Sequence
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker import evidence, traffic
from lessons.checker.barcode import barcode, barcode_table, find_effect
from lessons.checker.evidence import Diagnosis, Trial
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import observe
from zero_ref.layout import bounds

FUNCTIONS = ("ring_reduce_scatter",)
RANKS = 4


def cases(random: Random) -> list[dict[str, Any]]:
    """For every N a length that it divides, then each remainder; at the end long fractions, and float32."""
    found = []
    for size in (1, 2, 3, 4):
        found.append({"size": size, "length": size * random.choice((2, 3))})
        found += [{"size": size, "length": 12 + rest} for rest in range(1, max(size, 2))]
    return [
        *found,
        {"size": 4, "length": 12, "fractions": True},
        {"size": 3, "length": 10, "dtype": "float32"},
    ]


def run_trial(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """One call of the student's function."""
    return observe(comm, student.ring_reduce_scatter, given(case, comm.rank), comm)


def given(case: dict[str, Any], rank: int) -> np.ndarray:
    """What rank's vector is, (length,)."""
    if "dtype" in case:  # which has no room for barcodes
        return np.arange(1, 1 + case["length"], dtype=case["dtype"]) * 4**rank
    x = barcode(case["length"], rank)
    return 1 + x * 2.0**-52 if "fractions" in case else x


def part(trial: Trial, shard: int, ranks: Sequence[int]) -> np.ndarray:
    """The sum of some ranks' parts of one shard; ranks and shard counted around the ring."""
    ends, shard = bounds(trial.case["length"], [1] * trial.size), shard % trial.size
    terms = [given(trial.case, rank % trial.size)[ends[shard] : ends[shard + 1]] for rank in ranks]
    return sum(terms, np.zeros(ends[shard + 1] - ends[shard], trial.case.get("dtype", "float64")))


def right(trial: Trial, rank: int) -> np.ndarray:
    return part(trial, rank, range(trial.size))


def backwards(trial: Trial, rank: int) -> np.ndarray:
    """The right program with the two neighbours interchanged."""
    size = trial.size
    partial = {r: part(trial, r - 1, [r]) for r in range(size)}
    for hop in range(1, size):
        partial = {r: partial[(r + 1) % size] + part(trial, r - hop - 1, [r]) for r in range(size)}
    return partial[rank]


MISTAKES = (
    ("averaged", lambda t, r: right(t, r) / t.size),
    ("own_part_only", lambda t, r: part(t, r, [r])),
    ("shard_of_right", lambda t, r: right(t, (r + 1) % t.size)),
    ("shard_of_left", lambda t, r: right(t, (r - 1) % t.size)),
    ("one_hop_short", lambda t, r: part(t, r + 1, [r - hop for hop in range(max(1, t.size - 1))])),
    ("one_hop_too_many", lambda t, r: part(t, r - 1, [*range(t.size), r])),
    ("overwrites", lambda t, r: part(t, r, [r + 1])),
    ("sends_its_original", lambda t, r: part(t, r, [r - 1, r] if t.size > 1 else [r])),
    ("own_part_missing", lambda t, r: part(t, r, [r + hop for hop in range(1, t.size)])),
    ("backwards", backwards),
)


def nbytes(trial: Trial, rank: int) -> int:
    """All shards but rank's own leave it once."""
    return sum(right(trial, shard).nbytes for shard in range(trial.size) if shard != rank)


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """Lengths that N divides, then the tail; shape, then value, then side effects, then cost."""
    barcodes = [t for t in trials if "fractions" not in t.case and "dtype" not in t.case]
    even = [t for t in barcodes if t.case["length"] % t.size == 0]
    return (
        (evidence.explain(even, right, (), "rounded") if evidence.only_rounded(even, right) else None)
        or read_barcodes(evidence.check_value(even, right, MISTAKES, evidence.exactly), trials)
        or tail_lost(barcodes)
        or rest_on_last(barcodes)
        or read_barcodes(evidence.check_value(barcodes, right, MISTAKES, evidence.exactly), trials)
        or evidence.find_changed_input(trials, ("x",))
        or evidence.find_part_of_input(trials)
        or evidence.explain(trials, right, (), otherwise="rounded")
        or evidence.check_kind(trials, right)
        or evidence.check_cost([t for t in trials if "dtype" not in t.case], nbytes)
        or evidence.check_cost(trials, nbytes)
        or traffic.not_a_ring(trials)
    )


def read_barcodes(found: Diagnosis | None, trials: Sequence[Trial]) -> Diagnosis | None:
    """The same diagnosis with its barcodes read: which element came, and of which ranks."""
    if found is not None and found.head == ("rank", "wanted", "got") and not found.key.startswith("returns"):
        trial = evidence.trial_of(found, trials)
        found.head, found.rows = ("rank", "wanted_parts", "got_parts"), barcode_table(trial, right)
        return find_effect(found, trial, right)
    return found


def tail_lost(trials: Sequence[Trial]) -> Diagnosis | None:
    """Shards of length // N: the last elements belong to nobody."""
    for trial in trials:
        lengths = [np.size(value) for value in trial.values()]
        length = trial.case["length"]
        if sum(lengths) < length and set(lengths) == {length // trial.size}:
            rows = [(r, right(trial, r).size, lengths[r]) for r in range(trial.size)]
            params = {"length": length, "size": trial.size, "lost": length - sum(lengths)}
            line = trial.ranks[0]["line"]
            return Diagnosis(
                "tail_lost", params, line, trial.case, ("rank", "wanted_length", "got_length"), rows
            )
    return None


def rest_on_last(trials: Sequence[Trial]) -> Diagnosis | None:
    """Shards of length // N, and the last rank's has the rest."""
    for trial in trials:
        lengths, each = [np.size(value) for value in trial.values()], trial.case["length"] // trial.size
        wanted = [right(trial, rank).size for rank in range(trial.size)]
        if lengths != wanted and lengths == [each] * (trial.size - 1) + [
            trial.case["length"] - each * (trial.size - 1)
        ]:
            rows = list(zip(range(trial.size), wanted, lengths))
            params = {"length": trial.case["length"], "size": trial.size, "each": each, "last": lengths[-1]}
            head, line = ("rank", "wanted_length", "got_length"), trial.ranks[-1]["line"]
            return Diagnosis("rest_on_last", params, line, trial.case, head, rows)
    return None
