"""From what happened to one diagnosis: the earliest cause, shape before value before cost.

A check gives, for each of its trials, what every rank should have returned, and what it would have
returned with each known mistake. The mistake that explains *all* trials is the diagnosis; the smallest
trial that shows it is what the student sees. What nothing explains is shown as it is.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Trial:
    """One trial: what was asked (`case`, with "size" ranks), and what every rank reported, by rank."""

    case: dict[str, Any]
    ranks: list[dict[str, Any]]

    @property
    def size(self) -> int:
        return self.case["size"]

    def values(self) -> list[Any]:
        """What the ranks returned."""
        return [decode(report["value"]) for report in self.ranks]

    def sent(self, rank: int) -> list[dict]:
        """The messages that a rank sent: with "bytes" and "to"."""
        return [event for event in self.ranks[rank]["events"] if event["to"] is not None]


@dataclass
class Diagnosis:
    """What is wrong: a key of the catalogues and its parameters.

    line: of the student's file, or (file, line); case: the smallest trial that shows it;
    head, rows: a table, its head as keys of the catalogues; state: "wrong", "not_started" or "note" (passed,
    with something to say); pair: what came and what is right, of all ranks of the case
    """

    key: str
    params: dict[str, Any] = field(default_factory=dict)
    line: Any = None
    case: dict[str, Any] | None = None
    head: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    state: str = "wrong"
    pair: tuple[list[Any], list[Any]] | None = None


class Unknown:
    """A value that JSON did not hold: only its type is known."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


def decode(coded: Any) -> Any:
    """What trial.encode() made JSON of."""
    if "array" in coded:
        values = np.array(coded["array"], coded["dtype"])
        fits = values.size == np.prod(coded["shape"], dtype=int)
        return values.reshape(coded["shape"]) if fits else values
    if "scalar" in coded:
        return np.dtype(coded["dtype"]).type(coded["scalar"])
    if "list" in coded:
        return [decode(v) for v in coded["list"]]
    if "tuple" in coded:
        return tuple(decode(v) for v in coded["tuple"])
    if "dict" in coded:
        return {decode(key): decode(v) for key, v in coded["dict"]}
    return coded["plain"] if "plain" in coded else Unknown(coded["other"])


def kind_of(value: Any) -> str:
    """A value's type, as a student knows it."""
    if isinstance(value, np.ndarray):
        return f"array{list(value.shape)} {value.dtype}"
    return value.name if isinstance(value, Unknown) else type(value).__name__


def kinds_of(value: Any) -> str:
    """As kind_of(); of a tuple, those of what is in it."""
    return f"({', '.join(map(kind_of, value))})" if isinstance(value, tuple) and value else kind_of(value)


Right = Callable[[Trial, int], Any]  # what a rank should have returned, or would have with a mistake


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal but for rounding; arrays also in shape."""
    if isinstance(b, tuple | list):
        return isinstance(a, tuple | list) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if isinstance(b, dict):
        return isinstance(a, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in b)
    if isinstance(b, str | bool) or b is None:
        return type(a) is type(b) and a == b
    if isinstance(a, Unknown | str | tuple | list | dict) or a is None:
        return False
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind not in "biufc" or b.dtype.kind not in "biufc":  # whole numbers beyond 64 bits, text
        return a.shape == b.shape and bool(np.array_equal(a, b))
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True))


def exactly(a: Any, b: Any) -> bool:
    """As same(); whole numbers, which no rounding touches, are equal or not."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and same(a, b) and a.dtype.kind in "iuf":
        return not (a == a.round()).all() or not (b == b.round()).all() or bool((a == b).all())
    return same(a, b)


def check_kind(trials: Sequence[Trial], right: Right) -> Diagnosis | None:
    """Nothing, or something of another type or shape than it should be."""
    for trial in trials:
        for rank, value in enumerate(trial.values()):
            want = right(trial, rank)
            if found := wrong_kind(value, want):
                key, params = found
                line = trial.ranks[rank]["line"]
                table = [(r, kinds_of(right(trial, r)), kinds_of(v)) for r, v in enumerate(trial.values())]
                return Diagnosis(key, params, line, trial.case, ("rank", "wanted", "got"), table)
    return None


def wrong_kind(value: Any, want: Any) -> tuple[str, dict[str, Any]] | None:
    """The key and parameters of what is wrong with a value's type or shape."""
    params = {"wanted": kind_of(want), "got": kind_of(value)}
    if value is None and want is not None:
        return "returns_nothing", params
    if isinstance(want, tuple):
        if not isinstance(value, tuple | list) or len(value) != len(want):
            return "returns_type", params
        key, params = next((found for v, w in zip(value, want) if (found := wrong_kind(v, w))), ("", {}))
        return ("returns_type" if key == "returns_nothing" else key, params) if key else None
    if isinstance(want, np.ndarray):
        if not isinstance(value, np.ndarray):
            return "returns_type", params
        if value.shape != want.shape:
            return "returns_shape", params
        return ("returns_dtype", params) if value.dtype != want.dtype else None
    right = type(want) if isinstance(want, bool | str | list | dict) else int | float | np.generic
    return None if want is None or isinstance(value, right) else ("returns_type", params)


def trial_of(found: Diagnosis, trials: Sequence[Trial]) -> Trial:
    """The trial that a diagnosis shows."""
    return next(trial for trial in trials if trial.case == found.case)


def visible_case(trial: Trial) -> dict[str, Any]:
    """What a student sees of a case."""
    return {key: value for key, value in trial.case.items() if key != "numbers"}


def find_changed_input(trials: Sequence[Trial], names: Sequence[str]) -> Diagnosis | None:
    """A function that writes into what it was given; names: of its arguments."""
    for trial in trials:
        for report in trial.ranks:
            if report["changed"]:
                name = names[report["changed"][0]]
                return Diagnosis("changed_input", {"name": name}, None, trial.case)
    return None


def find_part_of_input(trials: Sequence[Trial]) -> Diagnosis | None:
    """A result that lies in the memory of an argument."""
    for trial in trials:
        for report in trial.ranks:
            if report["shared"]:
                return Diagnosis("part_of_input", {}, report["line"], trial.case)
    return None


def explain(
    trials: Sequence[Trial],
    right: Right,
    mistakes: Iterable[tuple[str, Right]],
    otherwise: str = "unknown",
    alike: Callable[[Any, Any], bool] = same,
) -> Diagnosis | None:
    """The first mistake that explains what all ranks returned in all trials; `otherwise` if none does.

    Nor where nothing came from more than two ranks, and several do: two ranks do not tell them apart.
    """
    values = [trial.values() for trial in trials]
    wants = [[right(trial, rank) for rank in range(trial.size)] for trial in trials]
    bad = [
        number
        for number, trial in enumerate(trials)
        if not all(alike(v, w) for v, w in zip(values[number], wants[number]))
    ]
    if not bad:
        return None
    trial, got, want = trials[bad[0]], values[bad[0]], wants[bad[0]]
    keys: list[str] = []
    two = max(t.size for t in trials) == 2
    for name, mistake in mistakes:
        if all(
            alike(value, try_mistake(mistake, t, rank))
            for t, found in zip(trials, values)
            for rank, value in enumerate(found)
        ):
            keys.append(name)
            if not two:
                break
    key = keys[0] if len(set(keys)) == 1 else otherwise
    rank = next(r for r in range(trial.size) if not alike(got[r], want[r]))
    rows = [(r, w, g) for r, (w, g) in enumerate(zip(want, got))]
    params = {"size": trial.size, "rank": rank}
    line, pair = trial.ranks[rank]["line"], (got, want)
    return Diagnosis(key, params, line, trial.case, ("rank", "wanted", "got"), rows, pair=pair)


def check_value(
    trials: Sequence[Trial],
    right: Right,
    mistakes: Iterable[tuple[str, Right]],
    alike: Callable[[Any, Any], bool] = same,
) -> Diagnosis | None:
    """Type and shape, then what is in it."""
    return check_kind(trials, right) or explain(trials, right, mistakes, alike=alike)


def try_mistake(mistake: Right, trial: Trial, rank: int) -> Any:
    """What the mistake would have given; something equal to nothing where it cannot be made."""
    try:
        return mistake(trial, rank)
    except (IndexError, ValueError, ZeroDivisionError, KeyError, TypeError):
        return Unknown("?")


def check_cost(
    trials: Sequence[Trial], nbytes: Right, messages: Right | None = None, state: str = "wrong"
) -> Diagnosis | None:
    """Bytes or messages, exactly, of each rank; the largest trial tells which way they are off, and the
    smallest that is off in this way is shown."""
    found = None
    for trial in reversed(trials):
        one = cost_of(trial, nbytes, messages, state)
        found = one if one and (found is None or one.key == found.key) else found
    return found


def cost_of(trial: Trial, nbytes: Right, messages: Right | None, state: str) -> Diagnosis | None:
    """The same of one trial."""
    for what, want in (("bytes", nbytes), ("messages", messages)):
        if want is not None:
            wanted = [want(trial, rank) for rank in range(trial.size)]
            sent = [trial.sent(rank) for rank in range(trial.size)]
            got = [sum(e["bytes"] for e in s) if what == "bytes" else len(s) for s in sent]
            if got != wanted:
                rank = next(r for r in range(trial.size) if got[r] != wanted[r])
                how = "more" if sum(got) > sum(wanted) else "fewer" if sum(got) < sum(wanted) else "uneven"
                if trial.size > 2 and any(got.count(n) == 1 and n > 2 * min(got) for n in got):
                    how = "root"  # one rank sends much more than the others
                    rank = got.index(max(got))
                params = {"rank": rank, "got": got[rank], "wanted": wanted[rank], "size": trial.size}
                head, rows = (
                    ("rank", f"wanted_{what}", f"got_{what}"),
                    list(zip(range(trial.size), wanted, got)),
                )
                return Diagnosis(
                    f"{how}_{what}", params, trial.ranks[rank]["line"], trial.case, head, rows, state
                )
    return None


def find_more_sums(trials: Sequence[Trial]) -> Diagnosis | None:
    """Right, with more messages than one sum needs."""
    for trial in trials:
        times = [sum(e["kind"] == "enter" for e in report["events"]) for report in trial.ranks]
        if max(times) > 1:
            params = {"got": max(times)}
            return Diagnosis("more_sums", params, trial.ranks[0]["line"], trial.case, state="note")
    return None


def only_rounded(trials: Sequence[Trial], right: Right) -> bool:
    """Whether all arrays are right but for what float32 loses, and some have lost it."""
    pairs = [(value, right(t, rank)) for t in trials for rank, value in enumerate(t.values())]
    close = all(
        isinstance(value, np.ndarray)
        and (value.dtype, value.shape) == (want.dtype, want.shape)
        and np.allclose(value, want, rtol=5e-7, atol=0)
        for value, want in pairs
    )
    return close and not all(same(value, want) for value, want in pairs)


def explain_earliest(
    trials: Sequence[Trial],
    right: Right,
    mistakes: Sequence[tuple[str, Right]],
    otherwise: str = "unknown",
) -> Diagnosis | None:
    """As explain(); where no mistake explains all trials, of two together the one that shows first."""
    found = explain(trials, right, mistakes, otherwise)
    for number in range(1, len(trials)):
        if found is None or found.key != otherwise:
            break
        first = explain(trials[:number], right, mistakes, otherwise)
        if first is not None:
            return first
    return found


# Results of several arrays: each is looked at by itself, with the line of the student's that wrote it.


def take_part(trials: Sequence[Trial], number: int, name: str) -> list[Trial]:
    """The trials as if only the number-th of the values had been returned, at the line that wrote `name`."""
    found = []
    for trial in trials:
        ranks = []
        for report in trial.ranks:
            (values,) = report["value"].values()  # of a tuple or list
            line = report["lines"].get(name, report["line"])
            ranks.append(report | {"value": values[number], "line": line})
        found.append(Trial(trial.case, ranks))
    return found


# Answers without ranks: the trial that shows it, and dictionaries of numbers by name.


def find_first(trials: Sequence[Trial], look: Callable[[Trial], Diagnosis | None]) -> Diagnosis | None:
    """What `look` finds in the first trial in which it finds something; with that trial's line and case."""
    for trial in trials:
        if found := look(trial):
            found.line, found.case = trial.ranks[0]["line"], trial.case
            return found
    return None


def from_case(make: Callable[[dict[str, Any]], Any]) -> Right:
    """A right answer, or a mistake, that depends on what was asked alone."""
    return lambda trial, _: make(trial.case)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)


def check_dictionary(value: Any, want: dict[str, float]) -> Diagnosis | None:
    """What is wrong with a dictionary before its numbers are looked at: its type, its keys, their types."""
    if value is None:
        return Diagnosis("returns_nothing", {"wanted": "dict"})
    if not isinstance(value, dict):
        total = is_number(value) and same(value, sum(want.values()))
        params = {"wanted": "dict", "got": kind_of(value), "total": value if total else ""}
        return Diagnosis("total_only" if total else "returns_type", params)
    if value.keys() != want.keys():
        missing, more = want.keys() - value.keys(), map(str, value.keys() - want.keys())
        return Diagnosis("keys", {"missing": sorted(missing) or "-", "more": sorted(more) or "-"})
    for name, number in value.items():
        if not is_number(number):
            return Diagnosis("returns_type", {"wanted": f"{name}: int", "got": kind_of(number)})
    return None


def first_with_fractions(trials: Sequence[Trial]) -> Trial:
    """The first trial in whose dictionary a number is not whole."""
    return next(t for t in trials if not all(map(is_whole, t.values()[0].values())))


def is_whole(number: float) -> bool:
    return isinstance(number, int) or float(number).is_integer()


def number_text(number: float) -> str:
    """A number of bytes; whole ones in full."""
    return str(int(number)) if is_whole(number) and abs(number) < 1e18 else f"{min(number, 1e300):.7g}"
