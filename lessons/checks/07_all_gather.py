"""Exercise 07: barcodes through the student's all-gather and all-reduce, then bits and bytes.

Each number of a result tells whose it is, and a sum who is in it (checker/barcode.py).
"""

from collections.abc import Callable, Sequence
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker import evidence, traffic
from lessons.checker.barcode import barcode, barcode_text, find_effect, read_parts
from lessons.checker.evidence import Diagnosis, Trial
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import observe
from zero_ref.layout import bounds

FUNCTIONS = ("ring_all_gather", "ring_all_reduce")
RANKS = 4


def cases(random: Random) -> list[dict[str, Any]]:
    """For each function: lengths that N divides, others, and at the end other numbers."""
    even = [(size, size * random.choice((2, 3))) for size in (1, 2, 3, 4)]
    uneven = [(size, 12 + rest) for size in (2, 3, 4) for rest in range(1, size)]
    gather = [{"size": n, "function": "ring_all_gather", "numel": m} for n, m in even + uneven]
    gather.append({"size": 3, "function": "ring_all_gather", "numel": 10, "dtype": "float32"})
    reduce = [{"size": n, "function": "ring_all_reduce", "numel": m} for n, m in even + uneven[1:]]
    draw = {"fractions": {"draw": random.randrange(1000)}}
    return gather + reduce + [reduce[-2] | draw, reduce[-1] | draw]


def run_trial(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """One call of one of the functions."""
    if case["function"] == "ring_all_gather":
        arguments = (own_shard(case, comm.rank), case["numel"], comm)
    else:
        arguments = (own_vector(case, comm.rank), comm)
    spoil(case)
    return observe(comm, getattr(student, case["function"]), *arguments)


def spoil(case: dict[str, Any]) -> None:
    """Leave NaN in the memory that the next np.empty(numel) gets, so that a gap is seen as one."""
    kept = [np.full(case["numel"], np.nan, case.get("dtype", "float64")) for _ in range(16)]
    del kept


def slices(case: dict[str, Any]) -> list[slice]:
    """Where each rank's shard lies in a full vector."""
    ends = bounds(case["numel"], [1] * case["size"])
    return [slice(*pair) for pair in zip(ends, ends[1:])]


def own_shard(case: dict[str, Any], rank: int) -> np.ndarray:
    """What a rank gives to the all-gather: (its slice,)."""
    rank %= case["size"]
    full = barcode(case["numel"], rank).astype(case.get("dtype", "float64"))
    return full[slices(case)[rank]].copy()


def own_vector(case: dict[str, Any], rank: int) -> np.ndarray:
    """What a rank gives to the all-reduce: (numel,)."""
    rank %= case["size"]
    if "fractions" in case:
        return np.random.default_rng([case["fractions"]["draw"], rank]).standard_normal(case["numel"])
    return barcode(case["numel"], rank)


def blank(values: np.ndarray) -> bool:
    """Whether nothing has been put there: zeros, or what was in the memory before."""
    return bool((~np.isfinite(values) | (np.abs(values) < 1)).all())


def left_blank(trial: Trial, rank: int, made: np.ndarray, slots: Sequence[int]) -> np.ndarray:
    """`made`, but as the rank has it in those slots that are blank."""
    got, made = trial.values()[rank], made.copy()
    for slot in slots:
        where = slices(trial.case)[slot % trial.size]
        if np.shape(got) == made.shape and blank(got[where]):
            made[where] = got[where]
    return made


# The all-gather.


def blank_in(trial: Trial, rank: int, slots: Sequence[int]) -> np.ndarray:
    """All shards in order, and nothing in those slots: as the rank has it there, if it is blank."""
    made = gathered(trial, rank)
    for slot in slots:
        made[slices(trial.case)[slot % trial.size]] = np.nan
    return left_blank(trial, rank, made, slots)


def gathered(trial: Trial, rank: int) -> np.ndarray:
    return in_slots(trial, range(trial.size))


def in_slots(trial: Trial, ranks: Sequence[int]) -> np.ndarray:
    """Shards of these ranks, one after another."""
    return np.concatenate([own_shard(trial.case, rank) for rank in ranks])


def shifted(trial: Trial, rank: int, by: int) -> np.ndarray:
    """Each shard `by` slots too far; the slot after the last one may never have been filled."""
    made = in_slots(trial, [slot - by for slot in range(trial.size)])
    return left_blank(trial, rank, made, [rank + by])


def added(trial: Trial, rank: int, first: int) -> np.ndarray:
    """What travels is a sum: with the rank's own shard (first = 0), or that of the left one (1), in it."""
    made = gathered(trial, rank)
    for hop in range(1, trial.size):
        parts = [own_shard(trial.case, rank - back) for back in range(first, hop + 1)]
        made[slices(trial.case)[(rank - hop) % trial.size]] = sum(parts)
    return made


GATHER_MISTAKES = (
    ("own_slot_empty", lambda t, r: blank_in(t, r, [r])),
    ("one_hop_short", lambda t, r: blank_in(t, r, [r + 1][: t.size - 1])),
    ("one_hop_short", lambda t, r: blank_in(t, r, [r - 1][: t.size - 1])),
    ("nothing_gathered", lambda t, r: blank_in(t, r, [r + 1 + n for n in range(t.size - 1)])),
    ("own_everywhere", lambda t, r: in_slots(t, [r] * t.size)),
    ("arrival_order", lambda t, r: in_slots(t, [r - n for n in range(t.size)])),
    ("arrival_order", lambda t, r: in_slots(t, [r + n for n in range(t.size)])),
    ("rotated", lambda t, r: shifted(t, r, 1)),
    ("rotated", lambda t, r: shifted(t, r, -1)),
    ("backwards", lambda t, r: in_slots(t, [2 * r - slot for slot in range(t.size)])),
    ("sends_its_own", lambda t, r: in_slots(t, [r if slot == r else r - 1 for slot in range(t.size)])),
    ("adds", lambda t, r: added(t, r, 0)),
    ("adds", lambda t, r: added(t, r, 1)),
)


def gather_bytes(trial: Trial, rank: int, way: int) -> int:
    """Everything but the shard that the next rank of this way began with; way 0: its own to all others."""
    itemsize, numel = own_shard(trial.case, rank).itemsize, trial.case["numel"]
    if way == 0:
        return itemsize * own_shard(trial.case, rank).size * (trial.size - 1)
    return itemsize * (numel - own_shard(trial.case, rank + way).size)


# The all-reduce.


def reduced(trial: Trial, rank: int) -> np.ndarray:
    return total(trial, range(trial.size))


def total(trial: Trial, ranks: Sequence[int]) -> np.ndarray:
    """The sum of some ranks' vectors."""
    return sum((own_vector(trial.case, rank) for rank in ranks), np.zeros(trial.case["numel"]))


def not_gathered(trial: Trial, rank: int) -> np.ndarray:
    """Only the rank's own slot of the sum: alone, or in an empty vector."""
    got, where = trial.values()[rank], slices(trial.case)[rank]
    if np.shape(got) == (trial.case["numel"],):
        return left_blank(trial, rank, reduced(trial, rank), [rank + n for n in range(1, trial.size)])
    return reduced(trial, rank)[where]


REDUCE_MISTAKES = (
    ("averaged", lambda t, r: reduced(t, r) / t.size),
    ("n_times", lambda t, r: reduced(t, r) * t.size),
    ("own_x", lambda t, r: own_vector(t.case, r)),
    ("own_part_missing", lambda t, r: total(t, [r + n for n in range(1, t.size)])),
    ("own_part_twice", lambda t, r: total(t, [r, *range(t.size)])),
    ("part_missing", lambda t, r: total(t, [r - n for n in range(max(1, t.size - 1))])),
    (
        "not_reduced",
        lambda t, r: np.concatenate([own_vector(t.case, s)[w] for s, w in enumerate(slices(t.case))]),
    ),
)


def reduce_bytes(trial: Trial, rank: int, way: int) -> int:
    """The reduce-scatter's, as exercise 06 wants them, and the all-gather's.

    What the student's own reduce-scatter sends beyond that has been remarked upon in exercise 06.
    """
    itemsize, numel = 8, trial.case["numel"]
    scatter = itemsize * (numel - own_shard(trial.case, rank).size)
    earlier = [e["bytes"] for e in trial.sent(rank) if e["place"] and e["place"][0].startswith("06_")]
    return (sum(earlier) if earlier else scatter) + gather_bytes(trial, rank, way)


# From both to a diagnosis.


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """The all-gather first, then the all-reduce; what is only to be remarked comes last."""
    gather = [t for t in trials if t.case["function"] == "ring_all_gather"]
    reduce = [t for t in trials if t.case["function"] == "ring_all_reduce"]
    return diagnose_gather(gather) or diagnose_reduce(reduce) or traffic.not_a_ring(gather)


def diagnose_gather(trials: Sequence[Trial]) -> Diagnosis | None:
    """Lengths that N divides, then the tail; shape, then value, then side effects, then cost."""
    even = [t for t in trials if t.case["numel"] % t.size == 0]
    return (
        by_slots(evidence.check_value(even, gathered, GATHER_MISTAKES, evidence.exactly), trials)
        or tail_lost(trials)
        or by_slots(evidence.check_value(trials, gathered, GATHER_MISTAKES, evidence.exactly), trials)
        or evidence.find_changed_input(trials, ("shard",))
        or evidence.find_part_of_input(trials)
        or smallest(trials, one_hop_too_many)
        or smallest(trials, lambda some: cost(some, gather_bytes))
    )


def diagnose_reduce(trials: Sequence[Trial]) -> Diagnosis | None:
    """Shape and value, then whether all ranks have the same bits, then side effects, then cost."""
    exact = [t for t in trials if "fractions" not in t.case]
    return (
        (rounded(exact) if evidence.only_rounded(exact, reduced) else None)
        or by_parts(only_a_shard(exact), trials)
        or by_parts(evidence.check_value(exact, reduced, REDUCE_MISTAKES, evidence.exactly), trials)
        or rounded(trials)
        or ranks_differ(trials)
        or evidence.find_changed_input(trials, ("x",))
        or evidence.find_part_of_input(trials)
        or smallest(trials, gathers_all)
        or smallest(trials, lambda some: cost(some, reduce_bytes))
    )


Judge = Callable[[Sequence[Trial]], Diagnosis | None]


def smallest(trials: Sequence[Trial], judge: Judge) -> Diagnosis | None:
    """What all trials together tell, in the smallest one that tells the same."""
    found = judge(trials)
    alone = (judge([trial]) for trial in trials)
    return found and next((one for one in alone if one and one.key == found.key), found)


def by_slots(found: Diagnosis | None, trials: Sequence[Trial]) -> Diagnosis | None:
    """The same diagnosis, its table saying for each slice of the result whose it is."""
    if found is not None and found.head == ("rank", "wanted", "got") and not found.key.startswith("returns"):
        trial = evidence.trial_of(found, trials)
        whose = " ".join(map(str, range(trial.size)))
        rows = [(rank, whose, slots_text(trial, value)) for rank, value in enumerate(trial.values())]
        found.head, found.rows = ("rank", "wanted_slots", "got_slots"), rows
        if found.key == "unknown":
            name_slot(found, trial)
    return found


def name_slot(found: Diagnosis, trial: Trial) -> None:
    """The first slice that is not its rank's: whose numbers are in it."""
    for rank, value in enumerate(trial.values()):
        for slot, where in enumerate(slices(trial.case)):
            whose_numbers = slot_text(value[where])
            if not evidence.same(value[where], own_shard(trial.case, slot)) and "?" not in whose_numbers:
                params = {"rank": rank, "slot": slot, "whose": whose_numbers}
                if whose_numbers == "-":
                    found.key, found.params = "slot_empty", params
                else:
                    found.key, found.params = (
                        ("slot_part" if whose_numbers == str(slot) else "slot_of"),
                        params,
                    )
                return


def slots_text(trial: Trial, value: np.ndarray) -> str:
    """Whose numbers are in each slice: "0 - 2 1+3" has nothing in slice 1, and a sum in slice 3."""
    return " ".join(slot_text(value[where]) for where in slices(trial.case))


def slot_text(values: np.ndarray) -> str:
    """Whose numbers these are."""
    if blank(values):
        return "-"
    return "/".join(dict.fromkeys("+".join(map(str, whose(value))) or "?" for value in values))


def whose(value: np.floating) -> list[int]:
    """The ranks whose numbers add up to this one; of float32, which has room for no sum, the rank."""
    if value.dtype == np.float32:
        return [rank for rank in range(RANKS) if value in barcode(15, rank).astype(np.float32)]
    return sorted({rank for _, rank in read_parts(float(value)) or ()})


def by_parts(found: Diagnosis | None, trials: Sequence[Trial]) -> Diagnosis | None:
    """The same diagnosis, its table reading one number of each result: of which ranks, and how often."""
    if found is None or found.head != ("rank", "wanted", "got") or found.key.startswith("returns"):
        return found
    trial = evidence.trial_of(found, trials)
    want, values = reduced(trial, 0), trial.values()
    if any(value.shape != want.shape for value in values):
        found.head = ("rank", "wanted_length", "got_length")
        found.rows = [(rank, want.size, value.size) for rank, value in enumerate(values)]
        return found
    found.head, found.rows = ("rank", "wanted_parts", "got_parts"), []
    for rank, value in enumerate(values):
        differ = np.flatnonzero(~np.isclose(value, want, rtol=1e-9, atol=0))
        place = int(differ[0]) if differ.size else 0
        found.rows.append((rank, *(barcode_text(float(v[place])) for v in (want, value))))
    return find_effect(found, trial, reduced)


def tail_lost(trials: Sequence[Trial]) -> Diagnosis | None:
    """Slices of numel // N: the last elements are nowhere, on every rank."""
    for trial in trials:
        numel, kept = trial.case["numel"], trial.case["numel"] // trial.size * trial.size
        values = trial.values()
        if kept < numel and all(isinstance(v, np.ndarray) and tail_blank(v, numel, kept) for v in values):
            rows = [(rank, numel, int(np.size(v[:kept]))) for rank, v in enumerate(values)]
            head, line = ("rank", "wanted_length", "got_length"), trial.ranks[0]["line"]
            params = {"numel": numel, "size": trial.size, "lost": numel - kept}
            return Diagnosis("tail_lost", params, line, trial.case, head, rows)
    return None


def tail_blank(value: np.ndarray, numel: int, kept: int) -> bool:
    """Whether nothing is there from element `kept` on."""
    return value.shape == (kept,) or (value.shape == (numel,) and blank(value[kept:]))


def only_a_shard(trials: Sequence[Trial]) -> Diagnosis | None:
    """Reduced, but not gathered."""
    found = evidence.explain(trials, reduced, (("not_gathered", not_gathered),), otherwise="")
    return found if found and found.key else None


def rounded(trials: Sequence[Trial]) -> Diagnosis | None:
    """Numbers that have lost digits; one of each result shows it."""
    found = evidence.explain(trials, reduced, (), otherwise="rounded")
    if found is not None:
        found.head = ("rank", "wanted", "got")
        found.rows = [(rank, repr(float(want[0])), repr(float(got[0]))) for rank, want, got in found.rows]
    return found


def ranks_differ(trials: Sequence[Trial]) -> Diagnosis | None:
    """Results that are equal but for rounding: each rank has added up in an order of its own."""
    for trial in trials:
        values = trial.values()
        places = [i for i in range(trial.case["numel"]) if len({value[i] for value in values}) > 1]
        if places:
            rows = [(rank, repr(float(value[places[0]]))) for rank, value in enumerate(values)]
            params = {"size": trial.size, "places": len(places), "numel": trial.case["numel"]}
            head, line = ("rank", f"result[{places[0]}]"), trial.ranks[0]["line"]
            return Diagnosis("ranks_differ", params, line, trial.case, head, rows)
    return None


def sent_bytes(trial: Trial) -> list[int]:
    """By rank."""
    return [sum(event["bytes"] for event in trial.sent(rank)) for rank in range(trial.size)]


def one_hop_too_many(trials: Sequence[Trial]) -> Diagnosis | None:
    """N messages a rank: with the last its own shard comes back."""
    several = [t for t in trials if t.size > 1]
    if not several or any(len(t.sent(rank)) != t.size for t in several for rank in range(t.size)):
        return None
    trial = several[0]
    rows = [(rank, trial.size - 1, trial.size) for rank in range(trial.size)]
    head, line = ("rank", "wanted_messages", "got_messages"), trial.ranks[0]["line"]
    return Diagnosis("one_hop_too_many", {"size": trial.size}, line, trial.case, head, rows)


def gathers_all(trials: Sequence[Trial]) -> Diagnosis | None:
    """Every rank gets the vectors of all others and adds them up; with two ranks that costs no more."""
    several = [t for t in trials if t.size > 2]
    whole = [8 * (t.size - 1) * t.case["numel"] for t in several]
    if not several or any(set(sent_bytes(t)) != {n} for t, n in zip(several, whole)):
        return None
    trial = several[0]
    wanted = [reduce_bytes(trial, rank, 1) for rank in range(trial.size)]
    rows = list(zip(range(trial.size), wanted, sent_bytes(trial)))
    params = {"size": trial.size, "got": whole[0], "wanted": wanted[0]}
    head, line = ("rank", "wanted_bytes", "got_bytes"), trial.ranks[0]["line"]
    return Diagnosis("gathers_all", params, line, trial.case, head, rows)


def cost(trials: Sequence[Trial], formula: Callable[[Trial, int, int], int]) -> Diagnosis | None:
    """Bytes that neither a ring sends, whichever way it goes, nor ranks that give their shards directly."""
    ways = (1, -1, 0)
    off = [
        t for t in trials if sent_bytes(t) not in [[formula(t, r, w) for r in range(t.size)] for w in ways]
    ]
    return evidence.check_cost(off, lambda t, r: formula(t, r, 1))
