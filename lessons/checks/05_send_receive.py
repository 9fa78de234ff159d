"""Exercise 05: x goes one place to the right. The tens of a number are the rank that it comes from."""

import re
from collections.abc import Sequence
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker import evidence, verdict
from lessons.checker.evidence import Diagnosis, Trial
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import observe
from lessons.checker.ranks.runner import Outcome

FUNCTIONS = ("ring_shift",)
RANKS = 5
SIZES = (1, 2, 3, 4, 5)


def cases(random: Random) -> list[dict[str, Any]]:
    """One shift for every N; with two ranks left and right are one, and odd and even come out at 3 and 4."""
    return [{"size": size, "length": random.choice((2, 3, 4))} for size in SIZES]


def run_trial(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """One call of the student's function."""
    return observe(comm, student.ring_shift, given(case, comm.rank), comm)


def given(case: dict[str, Any], rank: int) -> np.ndarray:
    """What x is on a rank, (length,): 20, 21, 22 on rank 2."""
    return 10.0 * (rank % case["size"]) + np.arange(case["length"])


def right(trial: Trial, rank: int) -> np.ndarray:
    return given(trial.case, rank - 1)


def passed_on(trial: Trial, rank: int) -> np.ndarray:
    """Who receives first has put what came in the place of x, and sends that."""
    source = rank
    for _ in range(trial.size):
        source = (source - 1) % trial.size
        events = trial.ranks[source]["events"]
        if not events or not events[0]["what"].startswith("recv"):
            break
    return given(trial.case, source)


def open_line(trial: Trial, rank: int) -> np.ndarray:
    """Rank 0 receives nothing, as if the ring had two ends."""
    got = trial.values()[0]
    left_out = np.array_equal(got, given(trial.case, 0)) or not np.any(got)
    return got if rank == 0 and left_out else right(trial, rank)


def received(trial: Trial, rank: int) -> bool:
    """Whether anything came to a rank."""
    return any(event["what"].startswith("recv") for event in trial.ranks[rank]["events"])


MISTAKES = (
    ("own_x", lambda t, r: given(t.case, r)),
    ("nothing_in_it", lambda t, r: 0 * given(t.case, r) if t.size > 1 else t.values()[r]),
    ("from_right", lambda t, r: given(t.case, r + 1)),
    ("two_places", lambda t, r: given(t.case, r - 2)),
    ("sum_of_both", lambda t, r: given(t.case, r) + right(t, r) if t.size > 1 else t.values()[r]),
    ("sum_of_all", lambda t, r: sum(given(t.case, rank) for rank in range(t.size))),
    ("from_zero", lambda t, r: given(t.case, 0)),
    ("open_line", open_line),
    ("passed_on", passed_on),
    ("some_without", lambda t, r: right(t, r) if received(t, r) or t.size == 1 else given(t.case, r)),
)


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """Only send and recv; then shape, then value, then side effects, then one message a rank."""
    return (
        with_sendrecv(trials)
        or evidence.check_value(trials, right, MISTAKES)
        or evidence.find_changed_input(trials, ("x",))
        or evidence.find_part_of_input(trials)
        or cost(trials)
    )


def with_sendrecv(trials: Sequence[Trial]) -> Diagnosis | None:
    """The call that this exercise does without."""
    for trial in trials:
        for report in trial.ranks:
            for event in report["events"]:
                if event["what"].startswith("sendrecv"):
                    return Diagnosis("uses_sendrecv", {}, event["place"], trial.case)
    return None


def cost(trials: Sequence[Trial]) -> Diagnosis | None:
    """What is sent, in the smallest trial that shows it."""
    found = messages_sent(trials)
    alone = (messages_sent([trial]) for trial in trials)
    return found and next((one for one in alone if one and one.key == found.key), found)


def messages_sent(trials: Sequence[Trial]) -> Diagnosis | None:
    """Each rank of several sends x once. More is enough for a pass, less is not."""
    found = evidence.check_cost(trials, None, lambda t, r: int(t.size > 1), state="note")
    found = found or evidence.check_cost(trials, lambda t, r: right(t, r).nbytes * (t.size > 1), state="note")
    if found is not None and found.key.startswith("fewer"):
        found.state = "wrong"
    if found is not None and found.key == "more_messages" and all(in_pieces(trial) for trial in trials):
        found.key = "in_pieces"
    return found


def in_pieces(trial: Trial) -> bool:
    """Whether what a rank sends is no more than x, and all of it for its right neighbour."""
    return all(
        sum(event["bytes"] for event in trial.sent(rank)) == right(trial, rank).nbytes * (trial.size > 1)
        and {event["to"] for event in trial.sent(rank)} <= {(rank + 1) % trial.size}
        for rank in range(trial.size)
    )


def broken(outcome: Outcome) -> Diagnosis | None:
    """A number that no rank has; or a hang, by what the ranks stand in."""
    size = SIZES[max(outcome.reports, default=0)]
    for rank, report in sorted(outcome.reports.get(size - 1, {}).items()):
        if error := report.get("raised"):
            nobody = re.match(r"there is no rank (-?\d+):", error["text"])
            params = {"rank": rank, "size": size, "last": size - 1, "nobody": nobody and nobody[1]}
            return Diagnosis("off_the_end", params, error["place"], {"size": size}) if nobody else None
    if not outcome.hang:
        return None
    found = verdict.describe_hang(outcome.hang, [{"size": n} for n in SIZES])
    return refine(found, outcome.hang)


def refine(found: Diagnosis, hang: dict[str, Any]) -> Diagnosis:
    """A hang whose cause can be read from what each rank does, under a name of its own."""
    size = found.params["size"]
    if size == 1:
        return found
    notes = hang["ranks"][:size]
    for rank, note in enumerate(notes):
        right_one, left = (rank + 1) % size, (rank - 1) % size
        if note["state"] == "waits" and note["doing"].startswith("sendrecv"):
            return Diagnosis("uses_sendrecv", {}, note["place"], found.case)
        if note["state"] == "waits" and note["doing"] not in (f"send to {right_one}", f"recv from {left}"):
            found.key, found.line = "hang_neighbour", note["place"]
            found.params |= {"rank": rank, "does": note["doing"], "right": right_one, "left": left}
            return found
    calls = {note["doing"].split()[0] for note in notes if note["state"] == "waits"}
    if found.key == "hang_circle" and len(calls) == 1:
        all_send = calls == {"send"}
        found.key = "hang_odd" if size == 3 else "hang_all_send" if all_send else "hang_all_receive"
        found.params["call"] = calls.pop()
    return found
