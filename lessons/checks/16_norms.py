"""Exercise 16: norms of small whole numbers, so that each mistake has its own; then narrow types."""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker import evidence, slips
from lessons.checker.evidence import Diagnosis, Trial
from lessons.checker.ranks.lines import line_of_error
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import encode, observe
from lessons.checker.ranks.sum_only import Sums

FUNCTIONS = ("global_norm", "clip_scale", "loss_weights")
RANKS = 3
ZERO = "division by zero"


def cases(random: Random) -> list[dict[str, Any]]:
    """Shards, first in float64; then norms; then counts of tokens, at last with empty micro-batches."""

    def integers(*lengths: Sequence[int]) -> list[list[list[int]]]:
        some = [n for n in range(-9, 10) if n]
        return [[[random.choice(some) for _ in range(n)] for n in own] for own in lengths]

    def scaled(by: float, *lengths: Sequence[int]) -> list[list[list[float]]]:
        return [[[by * random.uniform(1, 2) for _ in range(n)] for n in own] for own in lengths]

    def shards(numbers: list, dtype: str = "float64") -> dict[str, Any]:
        return {"size": len(numbers), "dtype": dtype, "shards": numbers}

    def tokens(size: int, batches: int) -> list[list[int]]:
        found = random.sample(range(1, 60), size * batches)
        return [found[rank * batches : (rank + 1) * batches] for rank in range(size)]

    empty, nobody = tokens(3, 3), tokens(3, 2)
    empty[random.randrange(3)][random.randrange(3)] = 0
    nobody[random.randrange(3)] = [0, 0]
    counts = [tokens(2, 2), tokens(1, 2), tokens(3, 2), tokens(2, 3), empty, nobody]
    limit = float(random.choice((2, 4)))
    return [
        shards([[random.choice(([3, 4], [-5, 12], [8, -6]))]]),
        shards(integers([2, 3])),
        shards(integers([2, 3], [3, 2])),
        shards(integers([4, 2, 3], [3, 3, 0], [1, 4, 2])),
        shards(integers([2, 1], [2, 1], [0, 0])),
        shards(scaled(300, [3]), "float16"),
        shards(scaled(1e-4, [3]), "float16"),
        shards(scaled(1.0, [5, 4], [4, 4]), "float32"),
        shards(scaled(1e25, [3]), "float32"),
        *({"size": 1, "norm": norm, "max_norm": limit} for norm in (2.5 * limit, 8 * limit)),
        *({"size": 1, "norm": norm, "max_norm": limit} for norm in (limit / 4, limit, 0.0)),
        {"size": 1, "norm": limit / 2, "max_norm": limit / 8},
        *({"size": len(one), "counts": one} for one in counts),
    ]


def run_trial(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """One call of one of the three functions."""
    if "shards" in case:
        return observe(comm, student.global_norm, own(case, comm.rank), Sums(comm))
    given = [case["norm"], case["max_norm"]] if "norm" in case else [deepcopy(case["counts"]), comm.rank]
    function = student.clip_scale if "norm" in case else student.loss_weights
    try:
        report = observe(comm, function, *given)
    except ZeroDivisionError as error:
        line = line_of_error(error, [student.__file__])
        return {"zero": True, "value": encode(ZERO), "changed": [], "line": line}
    changed = [0] if "counts" in case and given[0] != case["counts"] else []
    return report | {"changed": changed}


def own(case: dict[str, Any], rank: int) -> list[np.ndarray]:
    """A rank's shards, each (n,)."""
    return [np.array(numbers, case["dtype"]) for numbers in case["shards"][rank]]


# The rules, in which one slip is looked for.

NORM_RULE = """
total = 0.0
for shards in ranks:
    squares = 0.0
    for shard in shards:
        wide = shard.astype(np.float64)
        squares += float(wide @ wide)
    total += squares
norm = math.sqrt(total)
"""
FACTOR_RULE = "factor = min(1.0, max_norm / (norm + 1e-6))"
WEIGHTS_RULE = """
total = sum(sum(row) for row in counts)
weights = [count / total for count in counts[rank]]
"""


# The norm.


def lengths(trial: Trial, rank: int) -> list[float]:
    """The norm of each of a rank's shards."""
    return [math.sqrt(sum(float(x) ** 2 for x in shard)) for shard in own(trial.case, rank)]


def root_of_squares(values: Sequence[float]) -> float:
    """The root of the sum of squares."""
    return math.sqrt(sum(value**2 for value in values))


def by_rank(trial: Trial) -> list[float]:
    """The norm of what each rank has."""
    return [root_of_squares(lengths(trial, rank)) for rank in range(trial.size)]


def norm(trial: Trial, rank: int) -> float:
    return root_of_squares(by_rank(trial))


def elements(trial: Trial) -> int:
    return sum(len(shard) for shards in trial.case["shards"] for shard in shards)


def flat(trial: Trial, rank: int) -> list[float]:
    """The elements that a rank has."""
    return [x for shard in trial.case["shards"][rank] for x in shard]


def everybody(of: Callable[[Trial, int], float]) -> evidence.Right:
    """The sum over the ranks."""
    return lambda trial, rank: sum(of(trial, r) for r in range(trial.size))


NORMS = (
    ("no_root", lambda t, r: norm(t, r) ** 2),
    ("no_root", lambda t, r: by_rank(t)[r] ** 2),
    ("local_norm", lambda t, r: by_rank(t)[r]),
    ("sum_of_norms", lambda t, r: sum(by_rank(t))),
    ("shards_added", everybody(lambda t, r: sum(lengths(t, r)))),
    ("shards_added", lambda t, r: root_of_squares([sum(lengths(t, q)) for q in range(t.size)])),
    ("shards_added", lambda t, r: sum(lengths(t, r))),
    ("norms_not_squared", lambda t, r: math.sqrt(sum(by_rank(t)))),
    ("averaged", lambda t, r: norm(t, r) / math.sqrt(t.size)),
    ("averaged", lambda t, r: norm(t, r) / t.size),
    ("by_elements", lambda t, r: norm(t, r) / math.sqrt(elements(t))),
    ("summed_twice", lambda t, r: norm(t, r) * math.sqrt(t.size)),
    ("summed_twice", lambda t, r: norm(t, r) * t.size),
    ("one_shard", lambda t, r: root_of_squares([lengths(t, q)[0] for q in range(t.size)])),
    ("one_shard", lambda t, r: root_of_squares([lengths(t, q)[-1] for q in range(t.size)])),
    ("largest_element", lambda t, r: max(map(abs, flat(t, r)), default=0)),
    ("largest_element", everybody(lambda t, r: max(map(abs, flat(t, r)), default=0))),
    ("not_squared", everybody(lambda t, r: sum(map(abs, flat(t, r))))),
    ("not_squared", everybody(lambda t, r: sum(flat(t, r)))),
    ("not_squared", lambda t, r: float(np.sqrt(sum(sum(flat(t, q)) for q in range(t.size)) + 0.0))),
)


def norm_wrong(trials: Sequence[Trial]) -> Diagnosis | None:
    """Type; the values in float64; in narrow types; and whether all ranks have the same bits."""
    plain = [trial for trial in trials if trial.case["dtype"] == "float64"]
    if found := evidence.check_kind(trials, norm):
        return found
    found = evidence.explain(plain, norm, NORMS)
    ranks = lambda t, _: {"ranks": [own(t.case, r) for r in range(t.size)]}  # noqa: E731
    found = slips.find_slip(found, plain, NORM_RULE, ranks, lambda names: names["norm"], "global_norm")
    if found and found.key == "unknown":
        found = evidence.explain_earliest(plain, norm, NORMS)
    if found and found.key == "unknown" and (changed := evidence.find_changed_input(trials, ("shards",))):
        return changed  # and with that its own value
    if found and found.key == "unknown" and not agreed(evidence.trial_of(found, trials)):
        found.key = "ranks_disagree"
    found = found or evidence.explain(trials, norm, (), otherwise="narrow_squares")
    for trial in trials:
        if found is None and not agreed(trial):
            found = Diagnosis("ranks_disagree", {}, trial.ranks[0]["line"], trial.case)
    if found:
        trial = evidence.trial_of(found, trials)
        found.head = ("rank", "shard_norms", "wanted", "got")
        found.rows = [
            (rank, numbers_text(lengths(trial, rank)), all_digits(norm(trial, rank)), all_digits(value))
            for rank, value in enumerate(trial.values())
        ]
    return found


def all_digits(value: Any) -> str:
    """A norm for a table, or what else was returned."""
    number = isinstance(value, int | float | np.generic)
    return f"{float(value):.12g}" if number else evidence.kind_of(value)


def agreed(trial: Trial) -> bool:
    """Whether all ranks returned the same number."""
    return len({repr(float(value)) for value in trial.values()}) == 1


def trial_of(found: Diagnosis, trials: Sequence[Trial]) -> Trial:
    return evidence.trial_of(found, trials)


def numbers_text(numbers: Sequence[Any]) -> str:
    """Numbers for a table."""
    return ", ".join(f"{x:.3g}" if isinstance(x, int | float | np.number) else str(x) for x in numbers)


# The factor.


def rough(of: Callable[[float, float], float]) -> evidence.Right:
    """The factor from (norm, max_norm), to four digits: 1e-6 beside the norm does not matter."""
    return lambda trial, rank: digits(of(trial.case["norm"], trial.case["max_norm"]))


def digits(value: Any) -> Any:
    return float(f"{float(value):.4g}") if isinstance(value, int | float | np.number) else value


TINY = 1e-6
factor = rough(lambda norm, limit: min(1.0, limit / (norm + TINY)))
FACTORS = (
    ("enlarges", rough(lambda norm, limit: limit / (norm + TINY))),
    ("enlarges", rough(lambda norm, limit: limit / norm if norm else 1.0)),
    ("upside_down", rough(lambda norm, limit: norm / limit)),
    ("upside_down", rough(lambda norm, limit: min(1.0, norm / limit))),
    ("upside_down", rough(lambda norm, limit: max(1.0, norm / limit))),
    ("max_for_min", rough(lambda norm, limit: max(1.0, limit / (norm + TINY)))),
    ("max_for_min", rough(lambda norm, limit: max(1.0, limit / norm if norm else 1.0))),
    ("returns_norm", rough(lambda norm, limit: min(norm, limit))),
    ("returns_norm", rough(lambda norm, limit: limit if norm > limit else 1.0)),
    ("never_clips", rough(lambda norm, limit: 1.0)),
    ("zero_when_short", rough(lambda norm, limit: limit / norm if norm > limit else 0.0)),
    ("zero_when_short", rough(lambda norm, limit: limit / norm if norm >= limit else 0.0)),
    ("squared_factor", rough(lambda norm, limit: min(1.0, (limit / (norm + TINY)) ** 2))),
    ("squared_factor", rough(lambda norm, limit: min(1.0, limit / (norm + TINY) ** 2))),
)


def factor_wrong(trials: Sequence[Trial]) -> Diagnosis | None:
    """Type, value, and what becomes of a norm of 0."""
    done = [trial for trial in trials if not divided(trial)]
    if found := evidence.check_kind(done, factor):
        return found
    alike = [with_value(trial, digits) for trial in done]
    found = evidence.explain(alike, factor, FACTORS)
    two = lambda t, _: {"norm": t.case["norm"], "max_norm": t.case["max_norm"]}  # noqa: E731
    found = slips.find_slip(
        found, alike, FACTOR_RULE, two, lambda names: digits(names["factor"]), "clip_scale"
    )
    if found and found.key == "unknown":
        found = evidence.explain_earliest(alike, factor, FACTORS)
    for trial in trials:
        if found is None and divided(trial):
            found = Diagnosis("divides_by_norm", {}, divided(trial)[0]["line"], trial.case)
    if found:
        found.head = ("norm", "max_norm", "wanted", "got")
        found.rows = [(*limits(trial), factor(trial, 0), got(trial)) for trial in trials]
    return found


def divided(trial: Trial) -> list[dict[str, Any]]:
    """The reports of ranks on which there was a division by zero."""
    return [report for report in trial.ranks if report.get("zero")]


def limits(trial: Trial) -> tuple[float, float]:
    return trial.case["norm"], trial.case["max_norm"]


def got(trial: Trial) -> str:
    return "ZeroDivisionError" if divided(trial) else numbers_text(trial.values())


def with_value(trial: Trial, change: Callable[[Any], Any]) -> Trial:
    """The same trial, with what was returned put in another form."""
    ranks = [r | {"value": encode(change(v))} for r, v in zip(trial.ranks, trial.values(), strict=True)]
    return Trial(trial.case, ranks)


# The weights.


def weigh(of: Callable[[int, int, list[list[int]]], float]) -> evidence.Right:
    """A rank's weights, of(rank, micro-batch, counts) each."""

    def right(trial: Trial, rank: int) -> list[float]:
        counts = trial.case["counts"]
        return [of(rank, k, counts) for k in range(len(counts[0]))]

    return right


def total(counts: list[list[int]]) -> int:
    return sum(map(sum, counts))


def column(counts: list[list[int]], k: int) -> int:
    """The tokens of all ranks' micro-batch k."""
    return sum(row[k] for row in counts)


weights = weigh(lambda r, k, c: c[r][k] / total(c))
WEIGHTS = (
    ("mean_of_means", weigh(lambda r, k, c: 1 / (len(c) * len(c[0])))),
    ("mean_of_means", weigh(lambda r, k, c: (c[r][k] > 0) / sum(n > 0 for row in c for n in row))),
    ("by_micro_batches_only", weigh(lambda r, k, c: 1 / len(c[0]))),
    ("by_ranks_only", weigh(lambda r, k, c: 1 / len(c))),
    ("own_total", weigh(lambda r, k, c: c[r][k] / sum(c[r]))),
    ("own_total", weigh(lambda r, k, c: c[r][k] / max(1, sum(c[r])))),
    ("mean_of_ranks", weigh(lambda r, k, c: c[r][k] / max(1, sum(c[r])) / len(c))),
    ("micro_batch_total", weigh(lambda r, k, c: c[r][k] / column(c, k))),
    ("mean_of_micro_batches", weigh(lambda r, k, c: c[r][k] / column(c, k) / len(c[0]))),
    ("also_by_both", weigh(lambda r, k, c: c[r][k] / total(c) / len(c) / len(c[0]))),
    ("also_by_ranks", weigh(lambda r, k, c: c[r][k] / total(c) / len(c))),
    ("also_by_micro_batches", weigh(lambda r, k, c: c[r][k] / total(c) / len(c[0]))),
    ("times_ranks", weigh(lambda r, k, c: c[r][k] / total(c) * len(c))),
    ("times_micro_batches", weigh(lambda r, k, c: c[r][k] / total(c) * len(c[0]))),
    ("for_sums", weigh(lambda r, k, c: 1 / total(c))),
    ("not_divided", weigh(lambda r, k, c: c[r][k])),
    ("rank_total", weigh(lambda r, k, c: sum(c[r]) / total(c))),
    ("weights_upside_down", weigh(lambda r, k, c: total(c) / c[r][k])),
    ("transposed", weigh(lambda r, k, c: c[k][r] / total(c))),
    ("transposed", lambda t, r: [row[r] / total(t.case["counts"]) for row in t.case["counts"]]),
    ("of_rank_0", weigh(lambda r, k, c: c[0][k] / total(c))),
    ("reversed", weigh(lambda r, k, c: c[r][-1 - k] / total(c))),
)


def weights_wrong(trials: Sequence[Trial]) -> Diagnosis | None:
    """Type, how many, value, and what becomes of an empty micro-batch."""
    done = [with_value(trial, as_list) for trial in trials if not divided(trial)]
    found = evidence.check_kind(done, weights) or evidence.explain(done, weights, WEIGHTS)
    counts = lambda t, rank: {"counts": t.case["counts"], "rank": rank}  # noqa: E731
    found = slips.find_slip(found, done, WEIGHTS_RULE, counts, lambda names: names["weights"], "loss_weights")
    if found and found.key == "unknown":
        found = evidence.explain_earliest(done, weights, WEIGHTS)
    if found and found.key == "unknown":
        found = evidence.find_changed_input(done, ("counts",)) or number_wrong(done) or found
    for trial in trials:
        if found is None and divided(trial):
            found = Diagnosis("divides_by_count", {}, divided(trial)[0]["line"], trial.case)
    if found and not found.key.startswith("returns"):
        trial = evidence.trial_of(found, trials)
        found.head = ("rank", "tokens", "wanted", "got")
        found.rows = [
            (
                rank,
                numbers_text(trial.case["counts"][rank]),
                numbers_text(weights(trial, rank)),
                weights_text(value),
            )
            for rank, value in enumerate(trial.values())
        ]
    return found


def as_list(value: Any) -> Any:
    """Arrays and tuples are as good as a list."""
    return list(value) if isinstance(value, tuple) or getattr(value, "ndim", 0) == 1 else value


def weights_text(value: Any) -> str:
    return "ZeroDivisionError" if isinstance(value, str) and value == ZERO else numbers_text(as_list(value))


def number_wrong(trials: Sequence[Trial]) -> Diagnosis | None:
    """More or fewer weights than the rank has micro-batches."""
    for trial in trials:
        for rank, value in enumerate(trial.values()):
            counts = trial.case["counts"]
            if len(value) != len(counts[rank]):
                line = trial.ranks[rank]["line"]
                params = {"rank": rank, "wanted": len(counts[rank]), "got": len(value)}
                key = "empty_left_out" if len(value) == sum(n > 0 for n in counts[rank]) else "weights_length"
                return Diagnosis(key, params, line, trial.case)
    return None


# All.


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """The norm, the factor, the weights: type, value, side effects; then cost."""
    norms = [trial for trial in trials if "shards" in trial.case]
    factors = [trial for trial in trials if "norm" in trial.case]
    counted = [trial for trial in trials if "counts" in trial.case]
    with np.errstate(all="ignore"):
        return (
            norm_wrong(norms)
            or evidence.find_changed_input(norms, ("shards",))
            or factor_wrong(factors)
            or weights_wrong(counted)
            or evidence.find_changed_input(counted, ("counts",))
            or evidence.find_more_sums(norms)
        )
