"""Exercise 15: rounding to 16 bits, bit by bit; and steps whose gradient overflows on some ranks only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker import evidence, slips, words
from lessons.checker.evidence import Diagnosis, Trial, decode
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import encode, observe
from lessons.checker.ranks.sum_only import Sums

FUNCTIONS = ("to_bfloat16", "scaled_step")
RANKS = 3
RATE = 2.0**-6  # of the update
NAN = 0x7FC0
SCALER = ("scale", "good", "every")


# What is asked.


def cases(random: Random) -> list[dict[str, Any]]:
    """Numbers to round, the plain ones first; then calls of scaled_step, and at the end eight in a row."""
    scale = float(random.choice((2048, 4096, 8192)))
    every = random.choice((3, 4, 5))
    fine, large = "fine", "large"

    def call(size: int, good: int, *steps: Any, every: int = every) -> dict[str, Any]:
        return steps_of(random, {"size": size, "scale": scale, "good": good, "every": every}, steps)

    odd = random.randrange(2)
    return [
        *({"size": 1, "bits": bits} for bits in numbers(random)),
        call(1, 0, fine),
        call(1, 1, {0: "inf"}),
        call(1, 1, {0: "nan"}),
        call(1, 1, large),
        call(1, every - 1, fine),
        call(2, 1, {odd: "inf"}),
        call(2, every - 1, {1 - odd: "nan"}),
        call(2, 0, large),
        call(3, every - 1, {odd: "-inf", odd + 1: "inf"}),
        call(3, 0, {1: "nan"}),
        call(3, every - 1, fine),
        call(3, 0, fine, fine, fine, fine, {1: "inf"}, fine, {2: "nan"}, fine, every=2),
    ]


def numbers(random: Random) -> list[list[int]]:
    """The bits of float32 numbers, by what they ask of the rounding."""

    def high(low: float, up: float) -> int:
        return int(np.float32(random.uniform(low, up)).view(np.uint32)) >> 16 << 16

    ties = [high(1, 200), high(-200, -1), high(0.01, 1)]
    ties = [(bits & ~0x10000 | last << 16) + 0x8000 for last in (0, 1) for bits in ties]
    above, below = random.randrange(0x8001, 0xFFF0), random.randrange(0x4000, 0x8000)
    return [
        [high(1, 50) + 3, high(50, 200) + 3, high(1, 2) + 3],
        [high(-200, -1) + 3, high(-1, 0) + 3, 0, 1 << 31],
        [high(1, 2) + below, high(2, 4) + above, high(-4, -2) + above, 0x3FFFF000 + above % 0x1000],
        ties,
        [0x7F800000, 0xFF800000, 0x7F7FFFFF, 0xFF7F8000, 0x00000001, 0x00018000],
        [0x3FC00000, 0x7FC00000, 0xFFC00001, 0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF],
    ]


def steps_of(random: Random, case: dict[str, Any], steps: Sequence[Any]) -> dict[str, Any]:
    """A case with "grads", by step and rank, and "bad": [step, rank, place, what stands there]."""
    grads: list[list[list[float]]] = []
    bad: list[list[Any]] = []
    for step, kind in enumerate(steps):
        grads.append([])
        for rank in range(case["size"]):
            found = [random.uniform(20, 90), -random.uniform(1, 20), 1e-4, *[random.uniform(0.1, 1)] * rank]
            if kind == "large":
                found += [random.uniform(40000, 60000), random.uniform(40000, 60000)]
            random.shuffle(found)
            grads[-1].append(found)
            if isinstance(kind, dict) and rank in kind:
                bad.append([step, rank, random.randrange(1, len(found)), kind[rank]])
    return case | {"grads": grads, "bad": bad}


def floats(case: dict[str, Any]) -> np.ndarray:
    """The numbers to round, (n,) float32."""
    return np.array(case["bits"], np.uint32).view(np.float32)


def gradient(case: dict[str, Any], step: int, rank: int) -> np.ndarray:
    """A rank's scaled gradient, (n,) float16."""
    grad = np.array(case["grads"][step][rank], np.float16)
    for when, who, place, what in case["bad"]:
        if (when, who) == (step, rank):
            grad[place] = float(what)
    return grad


def run_trial(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """The rounding, or all steps of a case."""
    if "bits" in case:
        report = observe(comm, student.to_bfloat16, floats(case))
        return report | {"library": by_library(student.to_bfloat16)}
    scaler = {"scale": case["scale"], "good": case["good"], "every": case["every"]}
    n = len(case["grads"][0][comm.rank])
    master = (1 + np.arange(1, n + 1) / 8).astype(np.float32)  # float16 has these, too
    steps = [
        one_step(gradient(case, step, comm.rank), master, scaler, comm, student)
        for step in range(len(case["grads"]))
    ]
    return steps[-1] | {"steps": steps}


def one_step(
    grad: np.ndarray, master: np.ndarray, scaler: dict[str, Any], comm: Talk, student: ModuleType
) -> dict[str, Any]:
    """One call of the student's function: what it returned, gave to update, and left behind."""
    updates: list[np.ndarray] = []

    def update(master: np.ndarray, g: np.ndarray) -> None:
        updates.append(np.array(g))
        master -= RATE * np.asarray(g)

    before = {"scaler": dict(scaler), "master": master.copy()}
    report = observe(comm, student.scaled_step, grad, master, scaler, update, Sums(comm))
    returned = decode(report["value"])
    did = before | {
        "returned": bool(returned) if isinstance(returned, np.bool_) else returned,
        "updates": updates,
        "after": master.copy(),
        "scaler_after": dict(scaler),
    }
    return report | {"value": encode(did), "changed": [n for n in report["changed"] if n == 0]}


def by_library(function: Callable) -> bool:
    """Whether a function has its bfloat16 from ml_dtypes."""
    code = getattr(function, "__code__", None)
    return bool(code) and bool({"bfloat16", "ml_dtypes"} & {*code.co_names, *map(str, code.co_consts)})


# The first function.


def wide(trial: Trial) -> np.ndarray:
    """The numbers' bits, (n,), with room for a carry."""
    return np.array(trial.case["bits"], np.uint64)


def nearest(bits: np.ndarray) -> np.ndarray:
    """Rounded to nearest, ties to even; NaN as if it were a number."""
    return bits + 0x7FFF + (bits >> 16 & 1)


def upper(bits: np.ndarray) -> np.ndarray:
    """The upper 16 of 32 bits, one NaN for all."""
    return one_nan((bits >> 16 & 0xFFFF).astype(np.uint16))


def one_nan(codes: np.ndarray) -> np.ndarray:
    """Every NaN the same."""
    return np.where((codes & 0x7FFF) > 0x7F80, NAN, codes).astype(np.uint16)


def rounded(trial: Trial, rank: int) -> np.ndarray:
    bits = np.where(np.isnan(floats(trial.case)), NAN << 16, nearest(wide(trial)))
    return upper(bits)


def saturated(bits: np.ndarray) -> np.ndarray:
    """Numbers beyond the largest become the largest."""
    size = bits & 0x7FFFFFFF
    return np.where(size < 0x7F800000, bits - size + np.minimum(nearest(size), 0x7F7F0000), bits)


ROUNDING = (
    ("low_half", lambda t, r: one_nan(wide(t).astype(np.uint16))),
    ("float16_bits", lambda t, r: one_nan(floats(t.case).astype(np.float16).view(np.uint16))),
    ("values_cast", lambda t, r: one_nan(floats(t.case).astype(np.uint16))),
    ("sign_lost", lambda t, r: upper(nearest(wide(t)) & 0x7FFFFFFF)),
    ("truncated", lambda t, r: upper(wide(t))),
    ("always_up", lambda t, r: upper(wide(t) + 0xFFFF)),
    ("carry_lost", lambda t, r: upper(wide(t) & 0xFF800000 | nearest(wide(t)) & 0x007FFFFF)),
    ("half_up", lambda t, r: upper(wide(t) + 0x8000)),
    ("half_down", lambda t, r: upper(wide(t) + 0x7FFF)),
    ("ties_to_odd", lambda t, r: upper(wide(t) + 0x8000 - (wide(t) >> 16 & 1))),
    ("saturates", lambda t, r: upper(saturated(wide(t)))),
    ("inf_to_nan", lambda t, r: np.where(np.isfinite(floats(t.case)), rounded(t, r), NAN).astype(np.uint16)),
    ("nan_truncated", lambda t, r: upper(np.where(np.isnan(floats(t.case)), wide(t), nearest(wide(t))))),
    ("nan_lost", lambda t, r: upper(nearest(wide(t)))),
)
RULE = """
bits = x.view(np.uint32)
last = bits >> 16 & 1
rounded = bits + 0x7FFF + last >> 16
result = np.where(np.isnan(x), 0x7FC0, rounded).astype(np.uint16)
"""


def rounding_wrong(trials: Sequence[Trial]) -> Diagnosis | None:
    """Type and shape; then the value, and a table of the numbers that are wrong."""
    if found := evidence.check_kind(trials, rounded):
        return found
    alike = [replace(t, ranks=[t.ranks[0] | {"value": encode(one_nan(t.values()[0]))}]) for t in trials]
    found = evidence.explain_earliest(alike, rounded, ROUNDING)
    if found is None:
        return None
    if found.key == "unknown" and (changed := evidence.find_changed_input(trials, ("x",))):
        return changed  # and by that its own value
    trial = evidence.trial_of(found, trials)
    x, want, got = floats(trial.case), rounded(trial, 0), trial.values()[0]
    wrong = [i for i in range(len(x)) if one_nan(got[i : i + 1]) != want[i]]
    if found.key == "unknown" and all(np.isnan(x[i]) for i in wrong):
        found.key = "nan_lost"
    bits = [f"{number:08x}" for number in trial.case["bits"]]
    found.rows = [(f"{x[i]:.8g}", bits[i], code_text(want[i]), code_text(got[i])) for i in wrong[:6]]
    found.head, found.case = ("x", "bits", "wanted", "got"), None
    return slips.find_slip(
        found,
        alike,
        RULE,
        lambda t, _: {"x": floats(t.case)},
        lambda names: one_nan(names["result"]),
        "to_bfloat16",
    )


def code_text(code: int) -> str:
    """A bfloat16 for a table: its bits, and the number."""
    number = np.array([int(code) << 16], np.uint32).view(np.float32)[0]
    return f"{int(code):04x} = {number:.5g}"


# The second function.


@dataclass
class Call(Trial):
    """One call of scaled_step on all ranks. did: what each did, see one_step()."""

    step: int = 0
    did: list[dict[str, Any]] = field(default_factory=list)

    def grad(self, rank: int) -> np.ndarray:
        return gradient(self.case, self.step, rank)

    def grads(self) -> list[np.ndarray]:
        return [self.grad(rank) for rank in range(self.size)]


def calls_of(trials: Sequence[Trial]) -> list[Call]:
    """The steps of all trials, one after another."""
    found = []
    for trial in trials:
        number = len(trial.case["grads"])
        for step in range(number):
            ranks = [report["steps"][step] for report in trial.ranks]
            did = [decode(report["value"]) for report in ranks]
            if not all(isinstance(d["scaler"].get(name), int | float) for d in did for name in SCALER):
                break  # an earlier step has spoilt it, and is what is wrong
            state = {name: did[0]["scaler"][name] for name in SCALER}
            case = trial.case | state | ({"step": step + 1} if number > 1 else {})
            found.append(Call(case, ranks, step, did))
    return found


def about(calls: Sequence[Call], of: Callable[[dict[str, Any]], Any]) -> list[Call]:
    """The same calls, with one side of what they did in the place of the value."""
    return [
        replace(c, ranks=[r | {"value": encode(of(d))} for r, d in zip(c.ranks, c.did, strict=True)])
        for c in calls
    ]


def finite(grads: Sequence[np.ndarray], test: Callable = lambda g: ~np.isfinite(g)) -> bool:
    """Whether the test finds nothing bad in any of the gradients."""
    return not any(bool(test(grad).any()) for grad in grads)


def steps(call: Call) -> bool:
    """Whether the step should be taken."""
    return finite(call.grads())


def small(call: Call) -> bool:
    """Whether no finite number would overflow in a sum of 16 bits."""
    return all(abs(grad[np.isfinite(grad)]).max(initial=0) < 30000 for grad in call.grads())


def both(decide: Callable[[Call, int], bool]) -> evidence.Right:
    """The decision as (returned, updated)."""
    return lambda call, rank: (decide(call, rank),) * 2


DECISIONS = (
    ("never_looks", both(lambda c, r: True)),
    ("never_steps", both(lambda c, r: False)),
    ("local_overflow", both(lambda c, r: finite([c.grad(r)]))),
    ("all_must_overflow", both(lambda c, r: any(finite([g]) for g in c.grads()))),
    ("inf_overlooked", both(lambda c, r: finite(c.grads(), np.isnan))),
    ("nan_overlooked", both(lambda c, r: finite(c.grads(), np.isinf))),
    ("false_overflow", both(lambda c, r: steps(c) and small(c))),
    ("steps_on_overflow", both(lambda c, r: not steps(c))),
    ("updates_anyway", lambda c, r: (steps(c), True)),
    ("no_update", lambda c, r: (steps(c), False)),
    ("returns_opposite", lambda c, r: (not steps(c), steps(c))),
    ("returns_always", lambda c, r: (True, steps(c))),
    ("returns_always", lambda c, r: (False, steps(c))),
)


def decided(calls: Sequence[Call]) -> Diagnosis | None:
    """Whether the step was taken, and what was returned."""
    if found := evidence.check_kind(about(calls, lambda d: d["returned"]), lambda c, r: steps(c)):
        return found
    found = evidence.explain_earliest(
        about(calls, lambda d: (d["returned"], bool(d["updates"]))), both(lambda c, r: steps(c)), DECISIONS
    )
    rows = lambda c, r, d: (largest(c.grad(r)), steps(c), d["returned"], len(d["updates"]))  # noqa: E731
    return with_table(found, calls, ("rank", "largest", "should_step", "returned", "updates"), rows)


def largest(grad: np.ndarray) -> str:
    """The largest absolute value for a table; NaN before infinity."""
    return f"{float(np.max(abs(grad.astype(float)))):.5g}"


def with_table(
    found: Diagnosis | None,
    calls: Sequence[Call],
    head: Sequence[str],
    row: Callable[[Call, int, dict[str, Any]], Sequence[Any]],
) -> Diagnosis | None:
    """The diagnosis with a table that has a row per rank."""
    if found is not None:
        call = next(call for call in calls if call.case is found.case)
        found.head = head
        found.rows = [(rank, *row(call, rank, did)) for rank, did in enumerate(call.did)]
    return found


def unscaled(call: Call, rank: int) -> np.ndarray:
    """What update should get, (n,) float32."""
    return call.grad(rank).astype(np.float32) / np.float32(scale(call, rank))


def scale(call: Call, rank: int) -> float:
    return call.did[rank]["scaler"]["scale"]


def grown(call: Call, rank: int) -> float:
    """The scale after a step taken."""
    return scaled(call, rank)[0]


UNSCALED = (
    ("not_unscaled", lambda c, r: c.grad(r).astype(np.float32)),
    ("multiplied", lambda c, r: c.grad(r).astype(np.float32) * np.float32(scale(c, r))),
    ("unscaled_twice", lambda c, r: unscaled(c, r) / np.float32(scale(c, r))),
    ("averaged", lambda c, r: unscaled(c, r) / np.float32(c.size)),
    ("new_scale", lambda c, r: c.grad(r).astype(np.float32) / np.float32(grown(c, r))),
    ("divided_in_float16", lambda c, r: (c.grad(r) / np.float16(scale(c, r))).astype(np.float32)),
)


def updated(calls: Sequence[Call]) -> Diagnosis | None:
    """What update() was given, where the step was taken: how often, of which type, with which values."""
    taken = [call for call in calls if steps(call)]
    for call in taken:
        for rank, did in enumerate(call.did):
            line, kind = call.ranks[rank]["line"], str(did["updates"][0].dtype)
            params = {"rank": rank, "times": len(did["updates"]), "got": kind}
            key = "" if kind == "float32" else "stays_float16" if kind == "float16" else "update_dtype"
            key = "updated_twice" if params["times"] > 1 else key
            key = "update_number" if did["updates"][0].ndim == 0 else key
            if key:
                return Diagnosis(key, params, line, call.case)
    found = evidence.explain_earliest(about(taken, lambda d: d["updates"][0]), unscaled, UNSCALED)

    def row(call: Call, rank: int, did: dict[str, Any]) -> Sequence[Any]:
        want, got = unscaled(call, rank), did["updates"][0]
        if got.shape != want.shape:
            return "-", scale(call, rank), evidence.kind_of(want), evidence.kind_of(got)
        i = next((i for i in range(want.size) if not evidence.same(got[i], want[i])), 0)
        return float(call.grad(rank)[i]), scale(call, rank), f"{want[i]:.5g}", f"{got[i]:.5g}"

    return with_table(found, taken, ("rank", "grad_scaled", "scale", "wanted", "got"), row)


def moved(call: Call, rank: int) -> np.ndarray:
    """The master weights after the call, (n,) float32."""
    before = call.did[rank]["master"]
    return before - np.float32(RATE) * unscaled(call, rank) if steps(call) else before


def narrowed(x: np.ndarray) -> np.ndarray:
    """x (n,) float32, rounded to float16."""
    return x.astype(np.float16).astype(np.float32)


def half(call: Call, rank: int) -> np.ndarray:
    """The same on a float16 copy, which then takes the master's place."""
    if not steps(call):
        return call.did[rank]["master"]
    copy = call.did[rank]["master"].astype(np.float16)
    copy -= np.float32(RATE) * unscaled(call, rank)
    return copy.astype(np.float32)


MASTERS = (
    ("half_master", half),
    (
        "half_master",
        lambda c, r: moved(c, r).astype(np.float16).astype(np.float32) if steps(c) else moved(c, r),
    ),
    ("master_untouched", lambda c, r: c.did[r]["master"]),
)


def weights(calls: Sequence[Call]) -> Diagnosis | None:
    """What became of the master weights."""
    found = evidence.explain_earliest(about(calls, lambda d: d["after"]), moved, MASTERS)

    def row(call: Call, rank: int, did: dict[str, Any]) -> Sequence[str]:
        before, want, got = did["master"], moved(call, rank), did["after"]
        i = next((i for i in range(want.size) if not evidence.same(got[i], want[i])), 0)
        return tuple(f"{number[i]:.8g}" for number in (before, want, got))

    return with_table(found, calls, ("rank", "before", "wanted", "got"), row)


def scaled(call: Call, rank: int) -> tuple[Any, Any]:
    """(scale, good) after the call."""
    s, good, every = (call.did[rank]["scaler"][name] for name in SCALER)
    if not steps(call):
        return s / 2, 0
    return (2 * s, 0) if good + 1 == every else (s, good + 1)


AFTER_SKIP = (  # (scale, good, every) before -> (scale, good) after
    ("not_halved", lambda s, n, e: (s, 0)),
    ("not_halved", lambda s, n, e: (s, n)),
    ("doubled_on_overflow", lambda s, n, e: (2 * s, 0)),
    ("good_not_reset", lambda s, n, e: (s / 2, n)),
    ("skip_counted", lambda s, n, e: (s / 2, n + 1)),
    ("skip_counted", lambda s, n, e: (s, 0) if n + 1 == e else (s / 2, n + 1)),
)
AFTER_STEP = (
    ("halves_always", lambda s, n, e: (s, 0) if n + 1 == e else (s / 2, n + 1)),
    ("halves_always", lambda s, n, e: (s / 2, 0)),
    ("grows_always", lambda s, n, e: (2 * s, n + 1)),
    ("grows_always", lambda s, n, e: (2 * s, 0)),
    ("good_not_counted", lambda s, n, e: (s, n)),
    ("growth_not_reset", lambda s, n, e: (2 * s if n + 1 == e else s, n + 1)),
    ("growth_not_reset", lambda s, n, e: (2 * s if n + 1 >= e else s, n + 1)),
    ("growth_not_reset", lambda s, n, e: (2 * s if (n + 1) % e == 0 else s, n + 1)),
    ("never_grows", lambda s, n, e: (s, n + 1)),
    ("never_grows", lambda s, n, e: (s, (n + 1) % e)),
    ("grows_late", lambda s, n, e: (2 * s, 0) if n >= e else (s, n + 1)),
    ("grows_late", lambda s, n, e: (2 * s, 1) if n >= e else (s, n + 1)),
    ("grows_early", lambda s, n, e: (2 * s, 0) if n + 2 >= e else (s, n + 1)),
    ("grows_early", lambda s, n, e: (2 * s, 0) if n + 2 == e else (s, n + 1)),
)


def left_behind(change: Callable[..., tuple[Any, Any]], on: Sequence[bool]) -> evidence.Right:
    """The (scale, good) of a mistake that is made where the step is taken, or is not, or both."""

    def mistake(call: Call, rank: int) -> tuple[Any, Any]:
        before = [call.did[rank]["scaler"][name] for name in SCALER]
        return change(*before) if steps(call) in on else scaled(call, rank)

    return mistake


SCALERS = (
    ("scaler_untouched", left_behind(lambda s, n, e: (s, n), (True, False))),
    *((key, left_behind(change, (False,))) for key, change in AFTER_SKIP),
    *((key, left_behind(change, (True,))) for key, change in AFTER_STEP),
)


SCALER_RULE = """
if bad:
    scale /= 2
    good = 0
else:
    good += 1
    if good == every:
        scale *= 2
        good = 0
"""


def scaler_wrong(calls: Sequence[Call]) -> Diagnosis | None:
    """The scale and the count that the call leaves behind."""
    left = about(calls, lambda d: pair(d["scaler_after"]))
    found = evidence.explain(left, scaled, SCALERS)
    known = lambda c, rank: dict(c.did[rank]["scaler"]) | {"bad": not steps(c)}  # noqa: E731
    found = slips.find_slip(found, left, SCALER_RULE, known, pair, "scaled_step")
    if found and found.key == "unknown":
        found = evidence.explain_earliest(left, scaled, SCALERS)

    def row(call: Call, rank: int, did: dict[str, Any]) -> Sequence[str]:
        pairs = (pair(did["scaler"]), scaled(call, rank), pair(did["scaler_after"]))
        return tuple(words.to_text(list(values)) for values in pairs)

    return with_table(found, calls, ("rank", "scaler_before", "wanted", "got"), row)


def pair(scaler: dict[str, Any]) -> tuple[Any, Any]:
    """(scale, good) of a scaler."""
    return scaler.get("scale"), scaler.get("good")


def library(trials: Sequence[Trial]) -> Diagnosis | None:
    """Right, but by somebody else's rounding."""
    used = [trial for trial in trials if trial.ranks[0]["library"]]
    return Diagnosis("by_library", line=used[0].ranks[0]["line"], state="note") if used else None


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """The rounding; then whether a step is taken, with what, on what, and what the scaler becomes."""
    with np.errstate(all="ignore"):
        return first_wrong(
            [t for t in trials if "bits" in t.case], calls_of([t for t in trials if "grads" in t.case])
        )


def first_wrong(rounding: Sequence[Trial], calls: Sequence[Call]) -> Diagnosis | None:
    """Shape, value, side effects, cost."""
    return (
        rounding_wrong(rounding)
        or evidence.find_changed_input(rounding, ("x",))
        or decided(calls)
        or updated(calls)
        or weights(calls)
        or scaler_wrong(calls)
        or evidence.find_changed_input(calls, ("grad",))
        or library(rounding)
        or evidence.find_more_sums(calls)
    )
