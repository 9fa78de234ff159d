"""Exercise 10: the bill of each stage, and which term of it is off."""

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
    first_with_fractions,
    from_case,
    number_text,
    same,
)
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import observe
from zero_ref.plan import formulas

FUNCTIONS = ("model_state_bytes",)
RANKS = 1
KINDS = ("parameter", "gradient", "optimizer")
BYTES = {"param": 2, "grad": 2, "k": 12}  # per parameter, where nothing is said

Bill = dict[str, Any]
Case = dict[str, Any]
Elements = Callable[[Case], float]


def cases(random: Random) -> list[Case]:
    """All stages where N divides psi, then where it does not; other bytes per parameter; and the paper's."""
    psi, odd = random.choice((8, 12, 16)), random.choice((10, 13, 16))
    float32, float32_gradient = {"param": 4, "grad": 4, "k": 8}, {"param": 2, "grad": 4, "k": 12}
    found = [given(psi, 4, stage) for stage in range(4)]
    found += [given(odd, 3, stage) for stage in range(4)]
    found.append(given(7, 1, 3))
    found += [given(random.choice((22, 26, 30)), 4, stage, **float32) for stage in (0, 3)]
    found += [given(psi, 4, stage, **float32_gradient) for stage in (1, 2)]
    found += [
        given(odd + 1, 3, 3),
        given(odd + 2, 3, 2),
        given(psi + 1, 4, 1),
        given(psi + 3, 4, 2),
        given(psi, 2, 2),
        given(psi + 1, 2, 3),
    ]
    return [*found, given(7_500_000_000, 64, 1)]


def given(psi: int, size: int, stage: int, **each: int) -> Case:
    return {"size": 1, "given": {"psi": psi, "size": size, "stage": stage} | each}


def run_trial(case: Case, comm: Talk, student: ModuleType) -> dict[str, Any]:
    """One call of the student's function."""
    each = dict(case["given"])
    three = [each.pop(name) for name in ("psi", "size", "stage")]
    return observe(comm, student.model_state_bytes, *three, **each)


# What is right, and what each mistake would give.


def each(case: Case, **fixed: int) -> dict[str, int]:
    """Bytes per parameter: {"param", "grad", "k"}; `fixed` overrides what was asked."""
    return {name: fixed.get(name, case["given"].get(name, usual)) for name, usual in BYTES.items()}


def padded(case: Case) -> int:
    psi, size = case["given"]["psi"], case["given"]["size"]
    return psi + -psi % size


def right(case: Case) -> Bill:
    numbers = case["given"]
    bill = formulas.model_state_bytes(numbers["stage"], padded(case), numbers["size"], *each(case).values())
    return {kind: int(nbytes) for kind, nbytes in bill.items()}


def unpadded(case: Case) -> int:
    return case["given"]["psi"]


def shard(case: Case) -> int:
    return padded(case) // case["given"]["size"]


def bill(
    case: Case,
    begins: Sequence[int] = (3, 2, 1),
    whole: Elements = padded,
    part: Elements = shard,
    **fixed: int,
) -> Bill:
    """The bill with a mistake.

    begins: the stages from which parameters, gradient and optimizer are divided
    whole, part: elements of what is not divided and of what is; fixed: as for each()
    """
    return {
        kind: nbytes * (part(case) if case["given"]["stage"] >= begin else whole(case))
        for kind, nbytes, begin in zip(KINDS, each(case, **fixed).values(), begins)
    }


def only_its_own_stage(case: Case) -> Bill:
    """The parts divided by == in place of >=."""
    stage = case["given"]["stage"]
    return bill(case, [stage if stage == own else 9 for own in (3, 2, 1)])


def fractions(case: Case) -> Bill:
    """No padding, and true division."""
    return bill(case, whole=unpadded, part=lambda c: unpadded(c) / c["given"]["size"])


def floor_of_bytes(case: Case) -> Bill:
    return {kind: int(nbytes) for kind, nbytes in fractions(case).items()}


def floor_of_elements(case: Case) -> Bill:
    return bill(case, whole=unpadded, part=lambda c: unpadded(c) // c["given"]["size"])


def times(factor: float | Callable[[Case], float]) -> Callable[[Case], Bill]:
    """The right bill, with every number multiplied."""
    return lambda c: {kind: n * (factor(c) if callable(factor) else factor) for kind, n in right(c).items()}


def ignoring(names: Sequence[str]) -> Callable[[Case], Bill]:
    """These bytes per parameter as they usually are, whatever is asked."""
    return lambda c: bill(c, **{name: BYTES[name] for name in names})


MISTAKES: tuple[tuple[str, Callable[[Case], Bill]], ...] = (
    ("nothing_divided", lambda c: bill(c, (9, 9, 9))),
    ("always_divided", lambda c: bill(c, (0, 0, 0))),
    ("all_at_stage_1", lambda c: bill(c, (1, 1, 1))),
    ("stage_early", lambda c: bill(c, (2, 1, 0))),
    ("stage_late", lambda c: bill(c, (4, 3, 2))),
    ("not_cumulative", only_its_own_stage),
    ("other_order", lambda c: bill(c, (1, 2, 3))),
    ("gradient_after_parameter", lambda c: bill(c, (2, 3, 1))),
    ("parameter_early", lambda c: bill(c, (2, 2, 1))),
    ("parameter_whole", lambda c: bill(c, (9, 2, 1))),
    ("gradient_early", lambda c: bill(c, (3, 1, 1))),
    ("gradient_late", lambda c: bill(c, (3, 3, 1))),
    ("gradient_late", lambda c: bill(c, (3, 9, 1))),
    ("optimizer_late", lambda c: bill(c, (3, 2, 2))),
    ("optimizer_late", lambda c: bill(c, (3, 2, 9))),
    ("optimizer_early", lambda c: bill(c, (3, 2, 0))),
    ("master_forgotten", lambda c: bill(c, k=c["given"].get("k", 8))),
    ("master_forgotten", lambda c: bill(c, k=8)),
    ("master_forgotten", lambda c: bill(c, k=each(c)["k"] - 4)),
    ("gradient_twice", lambda c: bill(c, k=each(c)["k"] + 4)),
    ("gradient_twice", lambda c: bill(c, k=each(c)["k"] + each(c)["grad"])),
    ("gradient_twice", lambda c: bill(c, k=c["given"].get("k", 16))),
    ("gradient_twice", lambda c: bill(c, grad=each(c)["grad"] + 4)),
    ("gradient_float32", lambda c: bill(c, grad=c["given"].get("grad", 4))),
    ("gradient_float32", lambda c: bill(c, grad=4)),
    ("sum_in_k", lambda c: bill(c, k=sum(each(c).values()))),
    *(
        ("arguments_ignored", ignoring(names))
        for names in (("k",), ("param",), ("grad",), ("param", "grad"), BYTES)
    ),
    ("padding_forgotten", floor_of_bytes),
    ("padding_forgotten", floor_of_elements),
    ("fractions", fractions),
    ("only_shards_padded", lambda c: bill(c, whole=unpadded)),
    ("gigabytes", times(1e-9)),
    ("gibibytes", times(2**-30)),
    ("bits", times(8)),
    ("all_ranks", times(lambda c: c["given"]["size"])),
    ("elements", lambda c: bill(c, param=1, grad=1, k=1)),
)

RULE = """
param = given.get("param", 2)
grad = given.get("grad", 2)
k = given.get("k", 12)
padded = psi + -psi % size
shard = padded // size
parameter = param * (shard if stage >= 3 else padded)
gradient = grad * (shard if stage >= 2 else padded)
optimizer = k * (shard if stage >= 1 else padded)
"""


# The diagnosis.


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """Is it a dictionary with these keys, and then: which term is off?"""
    if found := find_first(trials, lambda trial: check_dictionary(trial.values()[0], right(trial.case))):
        return found
    found = evidence.explain(trials, from_case(right), [(key, from_case(make)) for key, make in MISTAKES])
    if found is None:
        return None
    found = with_terms(found, trials)
    return slips.find_slip(
        found, trials, RULE, known, lambda names: {k: names[k] for k in KINDS}, "model_state_bytes"
    )


def known(trial: Trial, rank: int) -> dict[str, Any]:
    """What the rule may use."""
    return dict(trial.case["given"]) | {"given": trial.case["given"]}


def with_terms(found: Diagnosis, trials: Sequence[Trial]) -> Diagnosis:
    """The same diagnosis with the three terms as rows, and how many times too large each is."""
    trial = evidence.trial_of(found, trials)
    if found.key == "fractions":  # the whole terms have none
        trial = first_with_fractions(trials)
        found.case = trial.case
    want, got, numbers = right(trial.case), trial.values()[0], trial.case["given"]
    wrong = [name for kind, name in zip(KINDS, BYTES) if not same(got[kind], want[kind])]
    found.params = {name: numbers[name] for name in ("psi", "size", "stage")}
    found.params |= {"padded": padded(trial.case), "names": wrong}
    found.head = ("kind", "wanted", "got", "ratio")
    found.rows = [
        (kind, want[kind], number_text(got[kind]), f"{min(got[kind], 1e300) / want[kind]:.4g}")
        for kind in KINDS
    ]
    return found
