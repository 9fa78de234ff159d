"""Exercise 14: the bytes of each stage, and which factor of them is off; then what is gathered at once."""

import math
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
    is_number,
    kind_of,
    number_text,
)
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import observe
from zero_ref.plan import formulas

FUNCTIONS = ("bytes_sent", "peak_gathered")
RANKS = 1
COLLECTIVES = ("reduce_scatter", "all_gather")

Case = dict[str, Any]
Sent = dict[str, float]


def cases(random: Random) -> list[Case]:
    """Each stage with one micro-batch and with several; psi that N does not divide; one rank; then units."""
    psi, odd, k = random.choice((8, 12, 16)), random.choice((11, 14, 17)), random.choice((2, 3, 5))
    found = [wire(psi, 4, stage, 1, 4) for stage in range(4)]
    found += [wire(psi, 4, stage, k, 2) for stage in range(4)]
    found += [wire(odd, 3, stage, 2, 4) for stage in (1, 3)]
    found += [wire(7, 1, 2, 2, 4), wire(10, 2, 3, 1, 2), wire(7_500_000_000, 64, 3, 1, 2)]
    found += [wire(odd - 1, 3, 2, 3, 4), wire(odd + 1, 3, 3, 2, 4), wire(9, 2, 2, 1, 4)]
    found += [wire(psi + rest, 4, stage, 1, 4) for rest, stage in ((1, 3), (2, 1), (3, 2))]
    units, short = tell_apart(random, 5), random.sample((6, 7, 9, 13), 2)
    found += [gather(units, 4, ahead) for ahead in (0, 1, 2)]
    return [*found, gather(short, 4, 2), gather(units, 1, 1)]


def wire(psi: int, size: int, stage: int, micro_batches: int, itemsize: int) -> Case:
    numbers = {"psi": psi, "size": size, "stage": stage, "micro_batches": micro_batches, "itemsize": itemsize}
    return {"size": 1, "given": numbers}


def gather(units: list[int], size: int, ahead: int) -> Case:
    return {"size": 1, "units": units, "given": {"units": str(units), "size": size, "ahead": ahead}}


def tell_apart(random: Random, number: int) -> list[int]:
    """Elements of units that tell all mistakes apart: with one and two ahead no two give the same."""
    while True:
        units = [random.randint(3, 40) for _ in range(number)]
        two = [gather(units, 4, ahead) for ahead in (1, 2)]
        found = {tuple(map(make, two)) for make in (most, *(make for _, make in PEAKS))}
        if len(found) == len({key for key, _ in PEAKS}) + 1:
            return units


def run_trial(case: Case, comm: Talk, student: ModuleType) -> dict[str, Any]:
    """One call of one of the student's functions."""
    numbers = case["given"]
    if "units" not in case:
        return observe(comm, student.bytes_sent, *numbers.values())
    units = list(case["units"])
    seen = observe(comm, student.peak_gathered, units, numbers["size"], numbers["ahead"])
    return seen | {"changed": [0] if units != case["units"] else []}


# Bytes: what is right, and what each mistake would give.


def padded(case: Case) -> int:
    numbers = case["given"]
    return numbers["psi"] + -numbers["psi"] % numbers["size"]


def right(case: Case) -> Sent:
    numbers = case["given"]
    sent = formulas.sent_elements(numbers["stage"], padded(case), numbers["size"], numbers["micro_batches"])
    return {name: round(n) * numbers["itemsize"] for name, n in sent.items()}


def passes(stage: int, k: int) -> tuple[int, int]:
    """How often the whole model goes through reduce-scatter and through all-gather."""
    return (k if stage >= 2 else 1, 2 * k if stage >= 3 else 1)


def others(case: Case) -> float:
    """The elements of a vector that are sent: all but the own shard."""
    return padded(case) * (case["given"]["size"] - 1) / case["given"]["size"]


def unpadded(case: Case) -> float:
    return case["given"]["psi"] * (case["given"]["size"] - 1) / case["given"]["size"]


def sent(
    times: Callable = passes, once: Callable[[Case], float] = others, each: Callable | None = None
) -> Callable:
    """A mistake. times: passes of a stage with k micro-batches; once: elements in one; each: bytes of one."""

    def attempt(case: Case) -> Sent:
        numbers = case["given"]
        itemsize = each(case) if each else numbers["itemsize"]
        number = times(numbers["stage"], numbers["micro_batches"])
        return {name: n * once(case) * itemsize for name, n in zip(COLLECTIVES, number)}

    return attempt


def floor(once: Callable[[Case], float]) -> Callable[[Case], Sent]:
    """Without padding, rounded down at the end."""
    return lambda c: {name: math.floor(n + 1e-9) for name, n in sent(once=once)(c).items()}


def padded_as(pad_to: Callable[[int, int], int]) -> tuple[Callable[[Case], Sent], Callable[[Case], Sent]]:
    """Another length than the padded one; the two ways in which a part of it can be taken."""
    length = lambda c: pad_to(c["given"]["psi"], c["given"]["size"])  # noqa: E731
    return (
        sent(once=lambda c: length(c) * (c["given"]["size"] - 1) / c["given"]["size"]),
        sent(once=lambda c: length(c) * (c["given"]["size"] - 1) // c["given"]["size"]),
    )


def padded_bytes(case: Case) -> float:
    """In bytes, what is padded by the byte."""
    numbers, size = case["given"], case["given"]["size"]
    return pad(numbers["psi"] * numbers["itemsize"], size) * (size - 1) / size


SENT: tuple[tuple[str, Callable[[Case], Sent]], ...] = (
    ("whole_psi", sent(once=padded)),
    ("part_of_n", sent(once=lambda c: padded(c) / c["given"]["size"])),
    ("one_rank_sends", sent(once=lambda c: others(c) or padded(c))),
    ("one_rank_sends", sent(once=lambda c: others(c) or unpadded(c) or c["given"]["psi"])),
    ("all_ranks", sent(once=lambda c: others(c) * c["given"]["size"])),
    ("received_too", sent(once=lambda c: others(c) * 2)),
    ("elements", sent(each=lambda c: 1)),
    ("bits", sent(each=lambda c: 8 * c["given"]["itemsize"])),
    ("itemsize_ignored", sent(each=lambda c: 4)),
    ("itemsize_ignored", sent(each=lambda c: 2)),
    ("interchanged", sent(lambda stage, k: passes(stage, k)[::-1])),
    ("all_reduce_once", sent(lambda stage, k: (1, 0) if stage <= 1 else passes(stage, k))),
    ("all_reduce_once", sent(lambda stage, k: (1, 0) if stage == 0 else passes(stage, k))),
    ("all_reduce_once", sent(lambda stage, k: (0, 1) if stage <= 1 else passes(stage, k))),
    ("stage_1_three", sent(lambda stage, k: (1, 2) if stage == 1 else passes(stage, k))),
    ("stage_1_three", sent(lambda stage, k: (2, 1) if stage == 1 else passes(stage, k))),
    ("one_gather", sent(lambda stage, k: (k, k) if stage == 3 else passes(stage, k))),
    ("gathered_once", sent(lambda stage, k: (k, 2) if stage == 3 else passes(stage, k))),
    ("gathered_once", sent(lambda stage, k: (k, k + 1) if stage == 3 else passes(stage, k))),
    ("gathered_after_update", sent(lambda stage, k: (k, 2 * k + 1) if stage == 3 else passes(stage, k))),
    ("gathers_late", sent(lambda stage, k: (passes(stage, k)[0], 1))),
    ("micro_batches_ignored", sent(lambda stage, k: passes(stage, 1))),
    ("stage_2_ignores", sent(lambda stage, k: passes(stage, 1 if stage == 2 else k))),
    ("stage_3_ignores", sent(lambda stage, k: passes(stage, 1 if stage == 3 else k))),
    ("stage_3_ignores", sent(lambda stage, k: (1, 2 * k) if stage == 3 else passes(stage, k))),
    ("always_per_micro_batch", sent(lambda stage, k: (k, k if stage < 3 else 2 * k))),
    ("reduced_too_often", sent(lambda stage, k: (k, passes(stage, k)[1]))),
    ("reduced_too_often", sent(lambda stage, k: (k if stage else 1, passes(stage, k)[1]))),
    ("reduced_too_often", sent(lambda stage, k: (k, k) if stage < 2 else passes(stage, k))),
    ("stage_2_gathers", sent(lambda stage, k: (k, k) if stage == 2 else passes(stage, k))),
    ("stage_2_gathers", sent(lambda stage, k: (k, 2 * k) if stage == 2 else passes(stage, k))),
    *(("pads_remainder", make) for make in padded_as(lambda psi, size: psi + psi % size)),
    *(("pads_always", make) for make in padded_as(lambda psi, size: psi + size - psi % size)),
    ("pads_bytes", sent(once=padded_bytes, each=lambda c: 1)),
    ("padding_forgotten", floor(unpadded)),
    (
        "padding_forgotten",
        sent(once=lambda c: c["given"]["psi"] * (c["given"]["size"] - 1) // c["given"]["size"]),
    ),
    (
        "padding_forgotten",
        sent(once=lambda c: c["given"]["psi"] // c["given"]["size"] * (c["given"]["size"] - 1)),
    ),
    ("fractions", sent(once=unpadded)),
)


# Units: what is right, and what each mistake would give.


def pad(numel: int, size: int) -> int:
    return numel + -numel % size


def full(case: Case) -> list[int]:
    """The length of each unit when it is gathered."""
    return [pad(unit, case["given"]["size"]) for unit in case["units"]]


def windows(units: Sequence[int], width: int) -> list[int]:
    """Sums of `width` neighbours; of all where there are not as many."""
    return [sum(units[i : i + width]) for i in range(max(1, len(units) - width + 1))]


def width(case: Case) -> int:
    return case["given"]["ahead"] + 1


def most(case: Case) -> int:
    return max(windows(full(case), width(case)))


def around(case: Case, once: bool = False) -> int:
    """After the last unit the first one comes again; once: and none twice."""
    units = full(case)
    number = min(width(case), len(units)) if once else width(case)
    return max(sum(units[(i + j) % len(units)] for j in range(number)) for i in of(case))


def kept_too_long(case: Case) -> int:
    """As many before the one that computes as after it."""
    units, ahead = full(case), width(case) - 1
    return max(sum(units[max(0, i - ahead) : i + ahead + 1]) for i in of(case))


def of(case: Case) -> range:
    return range(len(case["units"]))


PEAKS: tuple[tuple[str, Callable[[Case], float]], ...] = (
    ("one_unit_only", lambda c: max(full(c))),
    ("all_units", lambda c: sum(full(c))),
    ("not_neighbours", lambda c: sum(sorted(full(c))[-width(c) :])),
    ("first_units_only", lambda c: windows(full(c), width(c))[0]),
    ("last_units_only", lambda c: windows(full(c), width(c))[-1]),
    ("not_padded", lambda c: max(windows(c["units"], width(c)))),
    ("padded_sum", lambda c: pad(max(windows(c["units"], width(c))), c["given"]["size"])),
    ("one_too_many", lambda c: max(windows(full(c), width(c) + 1))),
    ("one_too_few", lambda c: max(windows(full(c), width(c) - 1))),
    ("largest_times", lambda c: max(full(c)) * width(c)),
    ("shards", lambda c: most(c) / c["given"]["size"]),
    ("own_left_out", lambda c: most(c) * (c["given"]["size"] - 1) / c["given"]["size"]),
    ("around", around),
    ("around", lambda c: around(c, once=True)),
    ("kept_too_long", kept_too_long),
    ("from_largest", lambda c: sum(full(c)[full(c).index(max(full(c))) :][: width(c)])),
)

RULE = """
padded = psi + -psi % size
once = padded // size * (size - 1) * itemsize
reduces = micro_batches if stage >= 2 else 1
gathers = 2 * micro_batches if stage == 3 else 1
reduce_scatter = reduces * once
all_gather = gathers * once
"""
PEAK_RULE = """
full = [unit + -unit % size for unit in units]
peak = max(sum(full[i : i + ahead + 1]) for i in range(len(full)))
"""


# The diagnosis.


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """The bytes first, then the units."""
    wires = [trial for trial in trials if "units" not in trial.case]
    gathers = [trial for trial in trials if "units" in trial.case]
    return (
        find_first(wires, lambda trial: check_dictionary(trial.values()[0], right(trial.case)))
        or wrong_bytes(wires)
        or find_first(gathers, wrong_number)
        or wrong_peak(gathers)
        or evidence.find_changed_input(gathers, ("units",))
    )


def wrong_bytes(trials: Sequence[Trial]) -> Diagnosis | None:
    """By a known mistake; the two collectives as rows, and how many times too large each is."""
    found = evidence.explain(trials, from_case(right), [(key, from_case(make)) for key, make in SENT])
    if found is None:
        return None
    trial = evidence.trial_of(found, trials)
    if found.key == "fractions":
        trial = first_with_fractions(trials)
        found.case = trial.case
    want, got = right(trial.case), trial.values()[0]
    numbers = trial.case["given"]
    found.params = numbers | {"padded": padded(trial.case), "got": number_text(sum(got.values()))}
    found.head = ("collective", "wanted", "got", "ratio")
    found.rows = [
        (name, want[name], number_text(got[name]), ratio(got[name], want[name])) for name in COLLECTIVES
    ]
    return slips.find_slip(
        found, trials, RULE, given, lambda names: {n: names[n] for n in COLLECTIVES}, "bytes_sent"
    )


def given(trial: Trial, rank: int) -> dict[str, Any]:
    """What a rule may use."""
    return dict(trial.case["given"]) | {"units": trial.case.get("units")}


def ratio(got: float, want: float) -> str:
    return f"{min(got, 1e300) / want:.4g}" if want else "-"


def wrong_number(trial: Trial) -> Diagnosis | None:
    """What is no number."""
    value = trial.values()[0]
    if value is None:
        return Diagnosis("returns_nothing", {"wanted": "int"})
    return None if is_number(value) else Diagnosis("returns_type", {"wanted": "int", "got": kind_of(value)})


def wrong_peak(trials: Sequence[Trial]) -> Diagnosis | None:
    """By a known mistake; what is wanted and what it is are in the words."""
    mistakes = [(key, from_case(make)) for key, make in PEAKS]
    found = evidence.explain(trials, from_case(most), mistakes, otherwise="unknown_peak")
    if found is None:
        return None
    ((_, want, got),) = found.rows
    numbers = found.case["given"]
    found.params = numbers | {"wanted": want, "got": number_text(got), "width": width(found.case)}
    found.params["both"] = 2 * width(found.case) - 1
    found.head, found.rows = (), ()
    return slips.find_slip(found, trials, PEAK_RULE, given, lambda names: names["peak"], "peak_gathered")
