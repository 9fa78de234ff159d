"""Exercise 00: what every rank says, for N = 1 to 4; the numbers in it are looked at before its words."""

import contextlib
import io
import re
from collections.abc import Callable, Sequence
from random import Random
from types import ModuleType
from typing import Any

from lessons.checker import evidence
from lessons.checker.evidence import Diagnosis, Right, Trial, Unknown
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import observe

FUNCTIONS = ("who",)
RANKS = 4


def cases(_: Random) -> list[dict[str, Any]]:
    """One call on every rank, for every N."""
    return [{"size": size} for size in (1, 2, 3, 4)]


def run_trial(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """One call of the student's function, and whether it printed something."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        seen = observe(comm, student.who, comm)
    print(printed.getvalue(), end="")
    return seen | {"printed": bool(printed.getvalue().strip())}


def right(trial: Trial, rank: int) -> str:
    return f"rank {rank} of {trial.size}"


def numbers(said: Any) -> list[int]:
    """The whole numbers in what was said."""
    return [int(number) for number in re.findall(r"-?\d{1,9}", said)] if isinstance(said, str) else []


# (what is said, by which rank, of how many, the numbers that rank 0 says alone) -> whether it is this mistake
Sign = Callable[[str, int, int, list[int]], bool]

MISTAKES: tuple[tuple[str, Sign], ...] = (
    ("no_f", lambda said, rank, size, first: "{" in said),
    ("swapped", lambda said, rank, size, first: numbers(said) == [size, rank]),
    ("counts_from_one", lambda said, rank, size, first: numbers(said) == [rank + 1, size]),
    ("last_rank", lambda said, rank, size, first: numbers(said) == [rank, size - 1]),
    ("same_rank", lambda said, rank, size, first: numbers(said) == [*first[:1], size]),
    ("size_fixed", lambda said, rank, size, first: numbers(said) == [rank, *first[1:]]),
    ("constant", lambda said, rank, size, first: numbers(said) == first),
    ("spaces", lambda said, rank, size, first: "".join(said.split()) == f"rank{rank}of{size}"),
    ("other_words", lambda said, rank, size, first: numbers(said) == [rank, size]),
)


def as_said(sign: Sign, first: list[int]) -> Right:
    """What a rank did say, if it has the sign of a mistake."""

    def mistake(trial: Trial, rank: int) -> Any:
        said = trial.values()[rank]
        return said if sign(said, rank, trial.size, first) else Unknown("?")

    return mistake


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """Whether everybody answers, then with which numbers, then in which words."""
    first = numbers(trials[0].values()[0])
    mistakes = [(key, as_said(sign, first)) for key, sign in MISTAKES]
    return (
        find_silent(trials)
        or evidence.check_kind(trials, right)
        or add_quotes(evidence.explain(trials, right, mistakes))
        or evidence.check_cost(trials, lambda *_: 0, state="note")
    )


def find_silent(trials: Sequence[Trial]) -> Diagnosis | None:
    """Ranks that return nothing: all of them, having printed it, or some."""
    for trial in trials:
        values = trial.values()
        none = [rank for rank, value in enumerate(values) if value is None]
        some = 0 < len(none) < trial.size
        if some or (none and any(report["printed"] for report in trial.ranks)):
            rows = [(rank, show(right(trial, rank)), show(value)) for rank, value in enumerate(values)]
            line = trial.ranks[none[0]]["line"]
            key, params = ("some_silent", {"ranks": none}) if some else ("printed", {})
            return Diagnosis(key, params, line, trial.case, ("rank", "wanted", "got"), rows)
    return None


def show(value: Any) -> str:
    """What was said, with its quotes, so that spaces can be seen."""
    return repr(value) if isinstance(value, str) else str(value)


def add_quotes(found: Diagnosis | None) -> Diagnosis | None:
    """The same diagnosis with quotes in its table."""
    if found is not None:
        found.rows = [(rank, show(want), show(got)) for rank, want, got in found.rows]
    return found
