"""Exercise 04: every process deals the samples for all ranks, in several epochs; properties are looked at.

No particular order is asked for. In one trial each process computes, for each of CALLS, what every rank
reads; so a rule that depends on the rank is told from one that depends on the process.
"""

import contextlib
import io
import random as python_random
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker import evidence
from lessons.checker.evidence import Diagnosis, Trial
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import encode, observe

FUNCTIONS = ("my_samples", "owner")
RANKS = 4

CALLS = ((0, 0), (0, 0), (1, 0), (2, 0), (0, 1))  # epoch, and what is added to the seed
FIRST, AGAIN, EPOCH_1, EPOCH_2, OTHER_SEED = range(len(CALLS))

Shares = list[Any]  # by rank: what it reads, (its samples,)


def cases(random: Random) -> list[dict[str, Any]]:
    """Numbers of samples that N divides, every other remainder, and fewer than N; then names for owners."""
    dealt = (
        (1, 6),
        (2, 8),
        (3, 12),
        (2, 7),
        (3, 13),
        (3, 14),
        (4, 8),
        (4, 9),
        (4, 10),
        (4, 11),
        (4, 22),
        (4, 3),
    )
    seeds = {"function": "my_samples"}
    found = [{"size": n, **seeds, "samples": m, "seed": random.randrange(100)} for n, m in dealt]
    made = {"folder": random.choice(("train", "photo", "audio")), "draw": random.randrange(1000)}
    owned = ((2, 20), (3, 300), (4, 400))
    return [*found, *({"size": n, "function": "owner", "names": m, "made": made} for n, m in owned)]


def run_trial(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """All calls of one trial on one process."""
    return (call_samples if case["function"] == "my_samples" else call_owner)(case, comm, student)


def call_samples(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """value: by call and rank, what my_samples gives; reseeds: whether it touches a global generator."""
    before, seen = global_generators(), []
    for number, (epoch, more) in enumerate(CALLS):
        for rank in range(case["size"]):
            with printing(number == FIRST and rank == comm.rank):
                arguments = (case["samples"], rank, case["size"], epoch, case["seed"] + more)
                seen.append(observe(comm, student.my_samples, *arguments))
    values = [one["value"] for one in seen]
    rows = [{"list": values[start : start + case["size"]]} for start in range(0, len(values), case["size"])]
    return seen[comm.rank] | {"value": {"list": rows}, "reseeds": before != global_generators()}


def printing(shown: bool) -> contextlib.AbstractContextManager:
    """Within it, what a student's code prints is shown, or not: of many calls one is enough."""
    return contextlib.nullcontext() if shown else contextlib.redirect_stdout(io.StringIO())


def global_generators() -> tuple:
    """The state of NumPy's generator and of Python's."""
    _, key, place, *_ = np.random.get_state()
    return key.tobytes(), place, python_random.getstate()


def call_owner(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """value: the owners, asked for twice. Processes 0 and 1 do all alike, others begin at the other end."""
    names = names_of(case)
    first = observe(comm, student.owner, names[0], case["size"])
    order = names[1:] if comm.rank < 2 else names[:0:-1]
    with printing(False):
        owners = {name: encode(student.owner(name, case["size"])) for name in order}
        again = [encode(student.owner(name, case["size"])) for name in names]
    owners[names[0]] = first["value"]
    return first | {"value": {"list": [{"list": [owners[name] for name in names]}, {"list": again}]}}


LETTERS = str.maketrans("0123456789", "abcdefghij")


def names_of(case: dict[str, Any]) -> list[str]:
    """Names as files have them: of one length, in one folder, with one ending; every tenth without digits."""
    numbers = Random(case["made"]["draw"]).sample(range(1_000_000), case["names"])
    texts = [f"{n:06d}" if i % 10 != 9 else f"{n:06d}".translate(LETTERS) for i, n in enumerate(numbers)]
    return [f"{case['made']['folder']}/{text}.jpg" for text in texts]


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """The samples first, then the owners; what is only to be remarked comes last."""
    dealt = [t for t in trials if t.case["function"] == "my_samples"]
    owned = [t for t in trials if t.case["function"] == "owner"]
    return (
        find_first(dealt, (not_indices, unseeded, out_of_range, processes_differ))
        or not_dealt(dealt)
        or not_a_deal(dealt)
        or find_first(dealt, (uneven,))
        or fixed_order(dealt)
        or find_first(owned, (not_a_rank, owner_changes, owner_range, owner_differs, owner_few))
        or find_remark(dealt)
    )


def find_first(
    trials: Sequence[Trial], looks: Sequence[Callable[[Trial], Diagnosis | None]]
) -> Diagnosis | None:
    """What the earliest of `looks` finds, in the smallest trial."""
    return next((found for look in looks for trial in trials if (found := look(trial))), None)


def make_diagnosis(
    trial: Trial, key: str, head: Sequence[str] = (), rows: Sequence[Sequence] = (), rank: int = 0, **params
) -> Diagnosis:
    """A diagnosis with the line at which a rank's function returned."""
    params |= {"size": trial.size, "rank": rank}
    return Diagnosis(key, params, trial.ranks[rank]["line"], trial.case, head, rows)


def shares(trial: Trial, call: int) -> Shares:
    """What the ranks read, each by its own process."""
    return [trial.values()[rank][call][rank] for rank in range(trial.size)]


def share_text(share: Any) -> str:
    """A share for a table."""
    return " ".join(map(str, share.tolist())) or "-"


SHARES = ("rank", "number", "samples")


def table(found: Shares) -> list[tuple]:
    """Rows for SHARES."""
    return [(rank, len(share), share_text(share)) for rank, share in enumerate(found)]


def alike(a: Shares, b: Shares) -> bool:
    """Whether all ranks read the same, in the same order."""
    return all(map(np.array_equal, a, b))


# What one rank gets.


def not_indices(trial: Trial) -> Diagnosis | None:
    """Something else than a vector of whole numbers."""
    for rank, calls in enumerate(trial.values()):
        for value in (value for call in calls for value in call):
            length = -(-trial.case["samples"] // trial.size)
            params = {"wanted": f"array[{length}] int64", "got": evidence.kind_of(value)}
            if value is None:
                return make_diagnosis(trial, "returns_nothing", rank=rank, **params)
            if not isinstance(value, np.ndarray):
                return make_diagnosis(trial, "returns_type", rank=rank, **params)
            if value.ndim != 1:
                return make_diagnosis(trial, "returns_shape", rank=rank, **params)
            if value.dtype.kind not in "iu" and value.size:
                return make_diagnosis(trial, "returns_dtype", rank=rank, **params)
    return None


def unseeded(trial: Trial) -> Diagnosis | None:
    """The same call twice gives two things."""
    first, again = shares(trial, FIRST), shares(trial, AGAIN)
    if all(alike(calls[FIRST], calls[AGAIN]) for calls in trial.values()):
        return None
    rows = [(rank, share_text(a), share_text(b)) for rank, (a, b) in enumerate(zip(first, again))]
    return make_diagnosis(trial, "unseeded", ("rank", "first_time", "again"), rows)


def out_of_range(trial: Trial) -> Diagnosis | None:
    """Numbers that no sample has."""
    for call in range(len(CALLS)):
        found = shares(trial, call)
        numbers = np.concatenate(found)
        last = trial.case["samples"] - 1
        wrong = [n for n in numbers.tolist() if not 0 <= n <= last]
        if wrong:
            rank = next(rank for rank, share in enumerate(found) if wrong[0] in share)
            return make_diagnosis(
                trial, "out_of_range", SHARES, table(found), rank, number=wrong[0], last=last
            )
    return None


# What all ranks get.


def not_dealt(trials: Sequence[Trial]) -> Diagnosis | None:
    """All ranks read the same samples, in every trial: all there are, or one share."""
    several = [t for t in trials if t.size > 1 and t.case["samples"] % t.size == 0]  # shares of one length
    sets = [{tuple(sorted(share.tolist())) for share in shares(t, FIRST)} for t in several]
    if not several or any(len(found) > 1 for found in sets):
        return None
    whole = sets[0] == {tuple(range(several[0].case["samples"]))}
    key = (
        "all_samples"
        if whole
        else "same_share_for_all"
        if any(sets[0]) and sets[0] != {()}
        else "nobody_reads"
    )
    return make_diagnosis(several[0], key, SHARES, table(shares(several[0], FIRST)))


def processes_differ(trial: Trial) -> Diagnosis | None:
    """Asked for the same rank, two processes say two things."""
    tables = trial.values()
    if all(alike(mine, first) for calls in tables for mine, first in zip(calls, tables[0])):
        return None
    rows = [(process, share_text(calls[FIRST][0])) for process, calls in enumerate(tables)]
    return make_diagnosis(trial, "processes_differ", ("process", "rank_0_reads"), rows)


def not_a_deal(trials: Sequence[Trial]) -> Diagnosis | None:
    """Samples that nobody reads or that are read twice: why, if all trials tell of one cause."""
    found = [(trial, key) for trial in trials if (key := name_fault(trial))]
    if not found:
        return None
    trial, first = found[0]
    times = readers(trial)
    missed = [sample for sample in range(trial.case["samples"]) if times[sample] == 0]
    twice = sorted(sample for sample, n in times.items() if n > 1)
    key = first if all(key == first for _, key in found) else "unread" if missed else "read_twice"
    counts = {"missed": len(missed), "twice": len(twice), "samples": trial.case["samples"]}
    return make_diagnosis(
        trial, key, SHARES, table(shares(trial, FIRST)), which=(missed or twice)[:8], **counts
    )


def readers(trial: Trial) -> Counter:
    """Sample -> how often it is read."""
    return Counter(np.concatenate(shares(trial, FIRST)).tolist())


def name_fault(trial: Trial) -> str | None:
    """What is wrong with a deal; None where each sample has one rank."""
    samples, size, times = trial.case["samples"], trial.size, readers(trial)
    lengths = {len(share) for share in shares(trial, FIRST)}
    missed, twice = samples - len(times), sum(times.values()) - len(times)
    if missed and twice:
        repeated = any(len(set(share.tolist())) < len(share) for share in shares(trial, FIRST))
        return "rank_in_seed" if missed == twice and not repeated else "unread"
    if missed:
        return "tail_dropped" if lengths == {samples // size} else "unread"
    if twice:
        return "padded" if lengths == {-(-samples // size)} else "read_twice"
    return None


def uneven(trial: Trial) -> Diagnosis | None:
    """A deal of which some get more than one sample more than others."""
    lengths = [len(share) for share in shares(trial, FIRST)]
    if max(lengths) - min(lengths) <= 1:
        return None
    most = lengths.index(max(lengths))
    params = {"most": max(lengths), "least": min(lengths), "samples": sum(lengths)}
    return make_diagnosis(trial, "uneven", SHARES, table(shares(trial, FIRST)), most, **params)


# Epochs and seeds.


def fixed_order(trials: Sequence[Trial]) -> Diagnosis | None:
    """What does not change with the epoch or the seed, in any trial that is long enough to tell."""
    long = [trial for trial in trials if trial.case["samples"] >= 6]
    if not long:
        return None
    epochs = all(alike(shares(t, FIRST), shares(t, call)) for t in long for call in (EPOCH_1, EPOCH_2))
    seeds = all(alike(shares(t, FIRST), shares(t, OTHER_SEED)) for t in long)
    ascending = all((np.diff(share) > 0).all() for t in long for share in shares(t, FIRST))
    several = [t for t in long if t.size > 1]
    kept = several and all(same_sets(t, FIRST, EPOCH_1) and same_sets(t, EPOCH_1, EPOCH_2) for t in several)
    if epochs and seeds:
        return compare_calls(long[0], "not_shuffled" if ascending else "one_order", EPOCH_1)
    if epochs:
        return compare_calls(long[0], "same_every_epoch", EPOCH_1)
    if seeds:
        return compare_calls(long[0], "seed_ignored", OTHER_SEED)
    return compare_calls(several[0], "shuffled_inside", EPOCH_1) if kept else None


def same_sets(trial: Trial, a: int, b: int) -> bool:
    """Whether each rank reads the same samples in two calls, in whatever order."""
    return alike(list(map(np.sort, shares(trial, a))), list(map(np.sort, shares(trial, b))))


def compare_calls(trial: Trial, key: str, other: int) -> Diagnosis:
    """Shares of two calls side by side."""
    names = [f"epoch {epoch}, seed {trial.case['seed'] + more}" for epoch, more in (CALLS[0], CALLS[other])]
    rows = [
        (r, *map(share_text, pair)) for r, pair in enumerate(zip(shares(trial, FIRST), shares(trial, other)))
    ]
    return make_diagnosis(trial, key, ("rank", *names), rows)


def find_remark(trials: Sequence[Trial]) -> Diagnosis | None:
    """Right, but: seeds that are only added up, and the generator that all code shares."""
    long = [trial for trial in trials if trial.case["samples"] >= 6]
    found = None
    if long and all(alike(shares(t, EPOCH_1), shares(t, OTHER_SEED)) for t in long):
        found = compare_calls(long[0], "seed_plus_epoch", OTHER_SEED)
        found.params |= {"seed": long[0].case["seed"], "next": long[0].case["seed"] + 1}
        names = [f"epoch {1 - more}, seed {found.params['seed'] + more}" for more in (0, 1)]
        pairs = enumerate(zip(shares(long[0], EPOCH_1), shares(long[0], OTHER_SEED)))
        found.head, found.rows = ("rank", *names), [(r, share_text(a), share_text(b)) for r, (a, b) in pairs]
    elif trials and any(report["reseeds"] for report in trials[0].ranks):
        found = make_diagnosis(trials[0], "global_random")
    if found is not None:
        found.state = "note"
    return found


# Owners.


def not_a_rank(trial: Trial) -> Diagnosis | None:
    """Something else than a whole number."""
    for rank, (first, _) in enumerate(trial.values()):
        for value in first:
            if not isinstance(value, int | np.integer) or isinstance(value, bool):
                key = "returns_nothing" if value is None else "returns_type"
                return make_diagnosis(trial, key, rank=rank, wanted="int", got=evidence.kind_of(value))
    return None


OWNERS = ("name", "first_time", "again")


def owner_changes(trial: Trial) -> Diagnosis | None:
    """Asked again, a name has another owner."""
    for rank, (first, again) in enumerate(trial.values()):
        rows = [row for row in zip(names_of(trial.case), first, again) if row[1] != row[2]]
        if rows:
            return make_diagnosis(
                trial, "owner_changes", OWNERS, rows[:4], rank, changed=len(rows), names=len(first)
            )
    return None


def owner_range(trial: Trial) -> Diagnosis | None:
    """A rank that does not exist."""
    pairs = list(zip(names_of(trial.case), trial.values()[0][0]))
    wrong = [(name, owner) for name, owner in pairs if not 0 <= owner < trial.size]
    if not wrong:
        return None
    return make_diagnosis(
        trial, "owner_range", ("name", "got"), wrong[:4], last=trial.size - 1, owner=wrong[0][1]
    )


def owner_differs(trial: Trial) -> Diagnosis | None:
    """Two processes have two owners for a name: by themselves, or because they asked in another order."""
    answers, names = [first for first, _ in trial.values()], names_of(trial.case)
    for other in range(1, trial.size):
        wrong = [i for i in range(len(names)) if answers[other][i] != answers[0][i]]
        if wrong:
            head = ("process", *(names[i] for i in wrong[:3]))
            rows = [(process, *(owners[i] for i in wrong[:3])) for process, owners in enumerate(answers)]
            key = "owner_salted" if other == 1 else "owner_order"
            return make_diagnosis(trial, key, head, rows, changed=len(wrong), names=len(names))
    return None


def owner_few(trial: Trial) -> Diagnosis | None:
    """Far from even: less than half of what is due to a rank, or half as much again."""
    owners = trial.values()[0][0]
    counts = [owners.count(rank) for rank in range(trial.size)]
    due = len(owners) / trial.size
    if len(owners) < 100 or (min(counts) >= due / 2 and max(counts) <= 1.5 * due):
        return None
    most = max(counts)
    params = {
        "most": most,
        "names": len(owners),
        "top": counts.index(most),
        "example": names_of(trial.case)[0],
    }
    rest = len(owners) / (trial.size - 1)
    key = "owner_few"
    if trial.size > 2 and counts[-1] == 0 and rest / 2 <= min(counts[:-1]) <= most <= 1.5 * rest:
        key, params = "owner_none", {"rank": trial.size - 1, "names": len(owners)}
    return make_diagnosis(trial, key, ("rank", "number"), list(enumerate(counts)), **params)
