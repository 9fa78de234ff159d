"""Exercise 17: the peak of a step, unit by unit or in buckets, and which term of it is off."""

from collections.abc import Callable, Sequence
from random import Random
from types import ModuleType
from typing import Any

from lessons.checker import evidence, slips
from lessons.checker.evidence import (
    Diagnosis,
    Trial,
    check_dictionary,
    find_first,
    from_case,
    is_whole,
    number_text,
    same,
)
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import observe
from zero_ref.plan import formulas

FUNCTIONS = ("peak_bytes",)
RANKS = 1
TERMS = ("kept", "full_gradient", "gathered")
BYTES = {"param": 4, "grad": 4, "k": 8}  # per parameter, where nothing is said

Case = dict[str, Any]
Bill = dict[str, float]


def cases(random: Random) -> list[Case]:
    """One unit each, then padding, then buckets, then other bytes per parameter."""
    more = 4 * random.randint(0, 3)
    found = [given([40 + more, 160, 8], 4, stage) for stage in range(4)]
    found += [given([23, 10 + more, 14], 4, stage) for stage in (2, 3)]
    found.append(given([9, 5], 1, 3))
    found += [given([8, 12, 16 + more, 4, 4], 4, stage, bucket=20) for stage in (2, 3)]
    found.append(given([6, 50 + more, 4, 5, 7], 2, 3, bucket=16))
    found.append(given([7, 5, 9, 3, 2], 4, 3, bucket=12))
    found.append(given([30, 8, 2 + more, 30, 9, 9], 3, 3, bucket=30))
    found.append(given([5, 6, 7], 4, 3, bucket=100))
    found += [given([10, 7, 13], 4, stage, bucket=17, param=2, grad=2, k=12) for stage in (1, 3)]
    found.append(given([10, 7, 13], 4, 3, param=2, grad=4, k=8))
    return found


def given(units: list[int], size: int, stage: int, **more: int) -> Case:
    return {"size": 1, "given": {"units": str(units), "size": size, "stage": stage} | more, "units": units}


def run_trial(case: Case, comm: Talk, student: ModuleType) -> dict[str, Any]:
    """One call of the student's function; the list of units is its own."""
    more = dict(case["given"])
    size, stage = more.pop("size"), more.pop("stage")
    more["units"] = list(case["units"])
    units = more.pop("units")
    seen = observe(comm, student.peak_bytes, units, size, stage, **more)
    return seen | {"spoilt": units != case["units"]}


# Lists of buckets, right and wrong.

Merge = Callable[[Case], list[int]]


def one_by_one(case: Case) -> list[int]:
    return list(case["units"])


def merged(case: Case, fits: Callable[[int, int], bool] = lambda n, most: n <= most) -> list[int]:
    """Neighbours, from the first on, as long as `fits` says so of the sum and the most there may be."""
    found: list[int] = []
    for n in case["units"]:
        if found and fits(found[-1] + n, limit(case)):
            found[-1] += n
        else:
            found.append(n)
    return found


def limit(case: Case) -> int:
    return case["given"].get("bucket", 0)


def one_too_many(case: Case) -> list[int]:
    """A bucket is closed when it has become too large."""
    found: list[int] = []
    full = True
    for n in case["units"]:
        if full:
            found.append(n)
        else:
            found[-1] += n
        full = found[-1] >= limit(case)
    return found


def all_in_one(case: Case) -> list[int]:
    return [sum(case["units"])] if limit(case) else one_by_one(case)


def cut_in_pieces(case: Case) -> list[int]:
    """Buckets of just that many elements, whatever the layers are."""
    if not limit(case):
        return one_by_one(case)
    whole, rest = divmod(sum(case["units"]), limit(case))
    return [limit(case)] * whole + [rest] * bool(rest)


def first_fit(case: Case) -> list[int]:
    """Each layer goes to any bucket that has room."""
    found: list[int] = []
    for n in case["units"]:
        room = next((i for i, m in enumerate(found) if m + n <= limit(case)), None)
        if room is None:
            found.append(n)
        else:
            found[room] += n
    return found


def pairs(case: Case) -> list[int]:
    """Two layers at most in a bucket."""
    found: list[int] = []
    alone = False
    for n in case["units"]:
        if alone and found[-1] + n <= limit(case):
            found[-1] += n
            alone = False
        else:
            found.append(n)
            alone = True
    return found


def last_first(case: Case) -> list[int]:
    """From the last layer on, as the backward pass goes."""
    return merged(case | {"units": case["units"][::-1]})


def no_limit_at_0(case: Case) -> list[int]:
    """With bucket = 0 everything is one bucket."""
    return merged(case) if limit(case) else [sum(case["units"])]


def last_lost(case: Case) -> list[int]:
    return merged(case)[:-1]


# What is right, and what each mistake would give.


def up(n: int, size: int) -> int:
    return n + -n % size


def each(case: Case, **fixed: int) -> dict[str, int]:
    """Bytes per parameter: {"param", "grad", "k"}."""
    return {name: fixed.get(name, case["given"].get(name, usual)) for name, usual in BYTES.items()}


def bill(
    case: Case,
    merge: Merge = merged,
    pad: Callable[[list[int], int], list[float]] = lambda found, size: [up(n, size) for n in found],
    begins: Sequence[int] = (3, 2, 1),
    full: Callable[[list[float], int, int], float] = lambda padded, size, stage: max(padded),
    gathered: Callable[[list[float], int, int], float] = lambda p, size, stage: max(p) * (stage >= 3),
    **fixed: int,
) -> Bill:
    """The three terms, with a mistake. begins: the stages from which a kind is divided."""
    size, stage = case["given"]["size"], case["given"]["stage"]
    padded, b = pad(merge(case), size), each(case, **fixed)
    psi = sum(padded)
    kept = sum(n * (psi // size if stage >= begin else psi) for n, begin in zip(b.values(), begins))
    terms = kept, b["grad"] * full(padded, size, stage), b["param"] * gathered(padded, size, stage)
    return dict(zip(TERMS, terms))


def right(case: Case) -> Bill:
    size, stage = case["given"]["size"], case["given"]["stage"]
    padded, b = [up(n, size) for n in merged(case)], each(case)
    kept = formulas.model_state_bytes(stage, sum(padded), size, *b.values())
    largest = max(padded)
    terms = int(sum(kept.values())), b["grad"] * largest, b["param"] * largest if stage >= 3 else 0
    return dict(zip(TERMS, terms))


def gathers_gradients(case: Case) -> Bill:
    """The gathered term has the gradient once more."""
    made = right(case)
    return made | {"gathered": made["gathered"] and made["gathered"] + made["full_gradient"]}


def padded_before(case: Case) -> Bill:
    """Every layer is padded, and then they are merged."""
    size = case["given"]["size"]
    return bill(case | {"units": [up(n, size) for n in case["units"]]})


def padded_as_one(found: list[int], size: int) -> list[float]:
    """Only the sum is padded."""
    return [*found[:-1], found[-1] + -sum(found) % size]


def only_sum_padded(case: Case) -> Bill:
    """What is kept is of the padded sum, and the largest bucket is padded."""
    kept = bill(case, pad=lambda found, size: [up(sum(found), size)])["kept"]
    return right(case) | {"kept": kept}


def largest_layer(case: Case) -> Bill:
    """Buckets are merged, but the largest layer is taken for the largest of them."""
    largest = up(max(case["units"]), case["given"]["size"])
    return bill(case, full=lambda *_: largest, gathered=lambda p, n, stage: largest * (stage >= 3))


def newest_only(case: Case) -> Bill:
    """Of the three kinds a stage divides its own alone."""
    stage = case["given"]["stage"]
    return bill(case, begins=[begin if begin == stage else 9 for begin in (3, 2, 1)])


def full_ignoring(names: Sequence[str]) -> Callable[[Case], Bill]:
    """As ignoring(), in the two terms of one bucket."""
    return lambda c: right(c) | {term: ignoring(names)(c)[term] for term in TERMS[1:]}


def exchanged(case: Case) -> Bill:
    """The gradient takes the parameters' bytes, and they the gradient's."""
    b = each(case)
    return right(case) | {
        term: bill(case, param=b["grad"], grad=b["param"])[term] for term in ("full_gradient", "gathered")
    }


def ignoring(names: Sequence[str]) -> Callable[[Case], Bill]:
    return lambda c: bill(c, **{name: BYTES[name] for name in names})


Make = Callable[[Case], Bill]
MISTAKES: tuple[tuple[str, Make], ...] = (
    ("nothing_gathered", lambda c: bill(c, gathered=lambda *_: 0)),
    ("gathered_always", lambda c: bill(c, gathered=lambda p, *_: max(p))),
    ("gathered_at_2", lambda c: bill(c, gathered=lambda p, _, stage: max(p) * (stage >= 2))),
    ("gathered_at_2", lambda c: bill(c, gathered=lambda p, _, stage: max(p) * (stage >= 1))),
    ("gathers_all", lambda c: bill(c, gathered=lambda p, _, stage: sum(p) * (stage >= 3))),
    ("gathers_others", lambda c: bill(c, gathered=lambda p, n, s: (max(p) - max(p) // n) * (s >= 3))),
    ("gathers_shard", lambda c: bill(c, gathered=lambda p, n, s: max(p) // n * (s >= 3))),
    ("gathers_gradients", gathers_gradients),
    ("gathers_last", lambda c: bill(c, gathered=lambda p, _, s: p[-1] * (s >= 3))),
    ("gradient_of_shard", lambda c: bill(c, full=lambda p, n, s: max(p) // n)),
    ("gradient_of_shard", lambda c: bill(c, full=lambda p, n, s: max(p) // (n if s >= 2 else 1))),
    ("no_full_gradient", lambda c: bill(c, full=lambda *_: 0)),
    ("full_gradient_late", lambda c: bill(c, full=lambda p, _, s: max(p) * (s >= 2))),
    ("full_gradient_late", lambda c: bill(c, full=lambda p, _, s: max(p) * (s >= 3))),
    ("full_gradient_early", lambda c: bill(c, full=lambda p, _, s: max(p) * (s < 2))),
    ("full_gradient_early", lambda c: bill(c, full=lambda p, _, s: max(p) * (s < 3))),
    ("all_gradients", lambda c: bill(c, full=lambda p, *_: sum(p))),
    (
        "last_unit",
        lambda c: bill(c, full=lambda p, *_: p[-1], gathered=lambda p, _, s: p[-1] * (s >= 3)),
    ),
    (
        "first_unit",
        lambda c: bill(c, full=lambda p, *_: p[0], gathered=lambda p, _, s: p[0] * (s >= 3)),
    ),
    ("smallest", lambda c: bill(c, full=lambda p, *_: min(p), gathered=lambda p, _, s: min(p) * (s >= 3))),
    ("kept_whole", lambda c: bill(c, begins=(9, 9, 9))),
    ("kept_divided", lambda c: bill(c, begins=(0, 0, 0))),
    ("kept_stage", lambda c: bill(c, begins=(1, 1, 1))),
    ("kept_stage", lambda c: bill(c, begins=(2, 2, 1))),
    ("kept_stage", lambda c: bill(c, begins=(3, 3, 1))),
    ("kept_stage", lambda c: bill(c, begins=(9, 2, 1))),
    ("kept_stage", lambda c: bill(c, begins=(3, 1, 1))),
    ("kept_stage", lambda c: bill(c, begins=(1, 2, 3))),
    ("kept_stage", lambda c: bill(c, begins=(4, 3, 2))),
    ("kept_stage", lambda c: bill(c, begins=(3, 2, 0))),
    ("kept_stage", lambda c: bill(c, begins=(2, 1, 0))),
    ("kept_stage", newest_only),
    ("largest_layer", largest_layer),
    ("last_first", lambda c: bill(c, merge=last_first)),
    ("no_limit_at_0", lambda c: bill(c, merge=no_limit_at_0)),
    ("bucket_ignored", lambda c: bill(c, merge=one_by_one)),
    ("strictly_less", lambda c: bill(c, merge=lambda c: merged(c, lambda n, most: n < most))),
    ("one_too_many", lambda c: bill(c, merge=one_too_many)),
    ("all_in_one", lambda c: bill(c, merge=all_in_one)),
    ("all_in_one", lambda c: bill(c, merge=lambda c: [sum(c["units"])])),
    ("cut_in_pieces", lambda c: bill(c, merge=cut_in_pieces)),
    ("not_neighbours", lambda c: bill(c, merge=first_fit)),
    ("pairs_only", lambda c: bill(c, merge=pairs)),
    ("last_bucket_lost", lambda c: bill(c, merge=last_lost)),
    ("padded_before", padded_before),
    ("padded_as_one", lambda c: bill(c, pad=padded_as_one)),
    ("padded_as_one", only_sum_padded),
    ("bytes_exchanged", exchanged),
    ("not_padded", lambda c: bill(c, pad=lambda found, _: found)),
    *(
        ("arguments_ignored", ignoring(names))
        for names in (("k",), ("param",), ("grad",), ("param", "grad"), tuple(BYTES))
    ),
    *(("arguments_ignored", full_ignoring(names)) for names in (("param",), ("grad",), ("param", "grad"))),
)

RULE = """
bucket = given.get("bucket", 0)
param = given.get("param", 4)
grad = given.get("grad", 4)
k = given.get("k", 8)
buckets = []
for n in units:
    if buckets and buckets[-1] + n <= bucket:
        buckets[-1] += n
    else:
        buckets.append(n)
padded = [n + -n % size for n in buckets]
psi = sum(padded)
largest = max(padded)
shard = psi // size
kept = param * (shard if stage >= 3 else psi)
kept += grad * (shard if stage >= 2 else psi)
kept += k * (shard if stage >= 1 else psi)
full_gradient = grad * largest
gathered = param * largest if stage >= 3 else 0
"""


# The diagnosis.


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """Is it a dictionary with these keys, and then: which term is off, or which list of buckets?"""
    if found := find_first(trials, lambda trial: check_dictionary(trial.values()[0], right(trial.case))):
        return found
    mistakes = [(key, from_case(make)) for key, make in MISTAKES]
    found = evidence.explain(trials, from_case(right), mistakes)
    if found is not None:
        found = with_terms(found, trials)
        names = lambda known: {term: known[term] for term in TERMS}  # noqa: E731
        found = slips.find_slip(found, trials, RULE, known, names, "peak_bytes")
        if found is None or found.key != "unknown":
            return found
        return with_terms(evidence.explain_earliest(trials, from_case(right), mistakes), trials)
    spoilt = next((trial for trial in trials if trial.ranks[0]["spoilt"]), None)
    if spoilt:
        return Diagnosis("changed_input", {"name": "units"}, None, spoilt.case)
    return None


def known(trial: Trial, rank: int) -> dict[str, Any]:
    """What the rule may use; a tuple, to which no edit of its loop can append for ever."""
    given = trial.case["given"]
    named = {"size": given["size"], "stage": given["stage"], "units": tuple(trial.case["units"])}
    return named | {"given": given}


def with_terms(found: Diagnosis, trials: Sequence[Trial]) -> Diagnosis:
    """The same diagnosis with the three terms as rows, and the buckets that there are."""
    trial = evidence.trial_of(found, trials)
    if found.key == "not_padded" and (part := fraction(trials)):
        trial, found.case = part, part.case
    want, got = right(trial.case), trial.values()[0]
    wrong = [term for term in TERMS if not same(got[term], want[term])]
    numbers = trial.case["given"]
    found.params = {"stage": numbers["stage"], "size": numbers["size"], "names": wrong}
    found.params |= {"buckets": merged(trial.case), "units": trial.case["units"], "bucket": limit(trial.case)}
    found.head = ("kind", "wanted", "got")
    found.rows = [(term, want[term], number_text(got[term])) for term in TERMS]
    return found


def fraction(trials: Sequence[Trial]) -> Trial | None:
    """The first trial with a term that is not whole."""
    return next((t for t in trials if not all(map(is_whole, t.values()[0].values()))), None)
