"""Exercise 09: which index is in which slice; and where each view lies, read from marks in the buffer."""

import math
from collections.abc import Callable, Sequence
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker import evidence
from lessons.checker.evidence import Diagnosis, Trial, decode, find_first, from_case, kind_of, same
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import encode, observe
from zero_ref.layout import bounds

FUNCTIONS = ("partition", "flatten")
RANKS = 1
MARK = 100  # position p of the buffer gets MARK + p, which no tensor holds

Slices = list[tuple[int, int]]
Places = dict[str, np.ndarray]


def cases(random: Random) -> list[dict[str, Any]]:
    """Slices: of lengths that N divides, every remainder, and less than N. Then vectors, padded or not."""
    even, odd, quarter = random.choice((6, 8, 10)), random.choice((5, 7, 9)), random.choice((14, 18, 22))
    cuts = ((5, 1), (even, 2), (odd, 2), (12, 3), (quarter, 4), (3, 4), (6, 5), (9, 8))
    cuts += ((13, 3), (14, 3), (21, 4), (23, 4), (16, 4))
    found: list[dict[str, Any]] = [{"size": 1, "given": {"numel": n, "size": size}} for n, size in cuts]
    last, fits = random.choice(((2, 3), (3, 5)))  # elements of the last tensor; a size that needs no padding
    three = {"scale": [1], "weight": [2, 3], "bias": [last]}
    for shapes, size, dtype in (
        (three, 1, "float32"),
        (three, fits, "float32"),
        (three, 4, "float32"),
        ({"gain": [2], "block": [2, 1, 2]}, 8, "float64"),
    ):
        text = ", ".join(f"{name}{shape}" for name, shape in shapes.items())
        given = {"size": size, "dtype": dtype, "tensors": text}
        found.append({"size": 1, "shapes": shapes, "dtype": dtype, "given": given})
    return found


class KeepsValue:
    """A student's function that keeps what it returns: `value`."""

    def __init__(self, function: Callable) -> None:
        self.function, self.value = function, None
        self.__code__ = getattr(function, "__code__", None)  # so that its line is found

    def __call__(self, *arguments: Any) -> Any:
        self.value = self.function(*arguments)
        return self.value


def run_trial(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """One call. After flatten: does what is written to the buffer show in the views?"""
    given = case["given"]
    if "shapes" not in case:
        return observe(comm, student.partition, given["numel"], given["size"])
    tensors = tensors_of(case)
    before = dict(tensors)
    leave_numbers_in_memory(padded(case), case["dtype"])
    call = KeepsValue(student.flatten)
    seen = observe(comm, call, tensors, given["size"])
    kept = list(tensors) == list(before) and all(tensors[name] is before[name] for name in before)
    return seen | parts_of(call.value) | {"kept": kept}


def tensors_of(case: dict[str, Any]) -> Places:
    """name -> an array of its shape; over all tensors the numbers 1, 2, 3 ..."""
    return {name: (place + 1).astype(case["dtype"]) for name, place in places(case).items()}


def leave_numbers_in_memory(length: int, dtype: str) -> None:
    """Memory that is freed with sevens in it, so that np.empty(length) is not zero by chance."""
    del [np.full(length, 7, dtype) for _ in range(32)][:]


def parts_of(value: Any) -> dict[str, Any]:
    """What flatten returned, before and after the buffer's positions are marked; None if it is no pair."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return {"parts": None}
    buffer, views = value
    found: dict[str, Any] = {"parts": {"buffer": encode(buffer), "views": encode(views)}, "places": None}
    if (
        isinstance(buffer, np.ndarray)
        and buffer.ndim == 1
        and buffer.flags.writeable
        and isinstance(views, dict)
    ):
        buffer[:] = MARK + np.arange(buffer.size)
        found["places"] = encode({name: view - MARK for name, view in views.items() if is_array(view)})
    return found


def is_array(view: Any) -> bool:
    """Whether something is an array of numbers."""
    return isinstance(view, np.ndarray) and view.dtype.kind in "fiu"


# What is right.


def slices(numel: int, size: int) -> Slices:
    """The slices of all ranks."""
    return cut(numel, size, -(-numel // size))


def cut(numel: int, size: int, chunk: int) -> Slices:
    """Slices of `chunk` elements, cut off at the end."""
    return [(min(r * chunk, numel), min((r + 1) * chunk, numel)) for r in range(size)]


def elements(case: dict[str, Any]) -> int:
    return sum(map(math.prod, case["shapes"].values()))


def padded(case: dict[str, Any]) -> int:
    return elements(case) + -elements(case) % case["given"]["size"]


def places(
    case: dict[str, Any],
    order: Callable = list,
    length: Callable = math.prod,
    start: int = 0,
    inside: str = "C",
) -> Places:
    """name -> where in the buffer each element of that tensor lies, in the tensor's shape.

    order: of the names; length: by how much a tensor of a shape moves the next; inside: NumPy's order
    """
    found = {}
    for name in order(case["shapes"]):
        shape = case["shapes"][name]
        found[name] = start + np.arange(math.prod(shape)).reshape(shape, order=inside)
        start += length(shape)
    return {name: found[name] for name in case["shapes"]}


def filled(case: dict[str, Any], where: Places) -> np.ndarray:
    """The buffer when each tensor is written to its places, one after another."""
    buffer = np.zeros(padded(case), case["dtype"])
    for name, tensor in tensors_of(case).items():
        buffer[where[name]] = tensor
    return buffer


# What is wrong.

Cut = Callable[[int, int], Slices]


def array_split(numel: int, size: int) -> Slices:
    """As even as can be, as np.array_split cuts: the first ones get one more."""
    ends = [r * (numel // size) + min(r, numel % size) for r in range(size + 1)]
    return list(zip(ends, ends[1:]))


def even_slices(numel: int, size: int) -> Slices:
    """As even as can be, as zero_ref.layout.bounds cuts."""
    ends = bounds(numel, [1] * size)
    return list(zip(ends, ends[1:]))


def rest_to_last(numel: int, size: int) -> Slices:
    chunk = numel // size
    return [(r * chunk, numel if r == size - 1 else (r + 1) * chunk) for r in range(size)]


def not_cut_off(numel: int, size: int) -> Slices:
    chunk = -(-numel // size)
    return [(r * chunk, (r + 1) * chunk) for r in range(size)]


CUTS: tuple[tuple[str, Cut], ...] = (
    ("inclusive_ends", lambda n, size: [(a, b - 1) for a, b in slices(n, size)]),
    ("start_and_length", lambda n, size: [(a, b - a) for a, b in slices(n, size)]),
    ("tail_lost", lambda n, size: cut(n, size, n // size)),
    ("rest_to_last", rest_to_last),
    ("balanced", even_slices),
    ("balanced", array_split),
    ("one_too_many", lambda n, size: cut(n, size, n // size + 1)),
    ("over_the_end", not_cut_off),
    ("negative", lambda n, size: [(a, min(b, n)) for a, b in not_cut_off(n, size)]),
)


def by_size(shapes: dict[str, list[int]]) -> list[str]:
    return sorted(shapes, key=lambda name: math.prod(shapes[name]))


PLACES: tuple[tuple[str, Callable[[dict], Places]], ...] = (
    ("order_sorted", lambda c: places(c, sorted)),
    ("order_reversed", lambda c: places(c, lambda shapes: list(shapes)[::-1])),
    ("order_by_size", lambda c: places(c, by_size)),
    ("order_by_size", lambda c: places(c, lambda shapes: by_size(shapes)[::-1])),
    ("offset_stays", lambda c: places(c, length=lambda shape: 0)),
    ("offset_by_rows", lambda c: places(c, length=lambda shape: shape[0])),
    ("padding_first", lambda c: places(c, start=padded(c) - elements(c))),
    ("column_order", lambda c: places(c, inside="F")),
)

LENGTHS: tuple[tuple[str, Callable[[dict], int]], ...] = (
    ("padding_missing", elements),
    ("padding_always", lambda c: elements(c) + c["given"]["size"] - elements(c) % c["given"]["size"]),
    ("padded_each", lambda c: sum(n + -n % c["given"]["size"] for n in map(math.prod, c["shapes"].values()))),
)


# The diagnosis.


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """The slices first. Of the vector its kind and length, then the views, where they lie, what they hold."""
    cuts = [trial for trial in trials if "shapes" not in trial.case]
    flat = [trial for trial in trials if "shapes" in trial.case]
    return (
        find_first(cuts, not_slices)
        or wrong_slices(cuts)
        or find_first(flat, not_a_pair)
        or wrong_length(flat)
        or find_first(flat, wrong_views)
        or find_first(flat, not_in_buffer)
        or wrong_places(flat)
        or wrong_buffer(flat)
        or find_first(flat, caller_changed)
    )


def read_part(trials: Sequence[Trial], name: str) -> list[Trial]:
    """The same trials with another part of their evidence as value: "buffer", "views" or "places"."""
    found = []
    for trial in trials:
        report = trial.ranks[0]
        value = report["places"] if name == "places" else report["parts"][name]
        found.append(Trial(trial.case, [report | {"value": value}]))
    return found


def wrong_type(wanted: str, got: Any) -> Diagnosis:
    key = "returns_nothing" if got is None else "returns_type"
    return Diagnosis(key, {"wanted": wanted, "got": kind_of(got)})


def not_slices(trial: Trial) -> Diagnosis | None:
    """Something that is no list of `size` pairs of whole numbers."""
    value, size = trial.values()[0], trial.case["given"]["size"]
    if not isinstance(value, list | tuple):
        return wrong_type("list", value)
    for pair in value:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            return wrong_type("list[tuple[int, int]]", pair)
        if not all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in pair):
            return Diagnosis("not_whole", {"pair": pair_text(pair)})
    if len(value) != size:
        key = "too_few_slices" if len(value) < size else "too_many_slices"
        return Diagnosis(key, {"got": len(value), "size": size}, None, None, *slice_table(trial))
    return None


def pair_text(pair: Sequence | None) -> str:
    return "-" if pair is None else f"({', '.join(str(n) for n in pair)})"


def slice_table(trial: Trial) -> tuple[tuple[str, ...], list[tuple]]:
    """Head and rows: the slice of each rank."""
    want, got = slices(**trial.case["given"]), trial.values()[0]
    number = max(len(want), len(got))
    texts = [[pair_text(pair) for pair in [*pairs, *[None] * (number - len(pairs))]] for pairs in (want, got)]
    return ("rank", "wanted", "got"), list(zip(range(number), *texts))


def of_given(make: Cut) -> evidence.Right:
    return lambda trial, _: make(trial.case["given"]["numel"], trial.case["given"]["size"])


def wrong_slices(trials: Sequence[Trial]) -> Diagnosis | None:
    """By a known mistake; or by the first index that has no owner, or two."""
    found = evidence.explain(trials, of_given(slices), [(key, of_given(make)) for key, make in CUTS])
    if found is None:
        return None
    trial = evidence.trial_of(found, trials)
    numel, size = trial.case["given"]["numel"], trial.case["given"]["size"]
    got = trial.values()[0]
    owners = [[r for r, (a, b) in enumerate(got) if a <= i < b] for i in range(numel)]
    found.params = {"numel": numel, "size": size, "last": size - 1, "lost": sum(not o for o in owners)}
    found.head, found.rows = slice_table(trial)
    if found.key == "unknown":
        found.key, more = by_owners(owners, got)
        found.params |= more
    if found.key in ("over_the_end", "negative"):
        rank = next(r for r, (a, b) in enumerate(got) if max(a, b) > numel or a > b)
        found.params |= {"rank": rank, "pair": pair_text(got[rank])}
    return found


def by_owners(owners: list[list[int]], got: Slices) -> tuple[str, dict[str, Any]]:
    """The key and parameters for slices that no known mistake explains; owners: of each index."""
    if any(max(a, b) > len(owners) for a, b in got):
        return "over_the_end", {}
    if any(a > b for a, b in got):
        return "negative", {}
    for index, ranks in enumerate(owners):
        if len(ranks) > 1:
            return "overlap", {"index": index, "first": ranks[0], "second": ranks[1]}
    nobody = [index for index, ranks in enumerate(owners) if not ranks]
    if nobody:
        tail = list(range(nobody[0], len(owners)))
        return ("tail_lost" if nobody == tail else "gap"), {"index": nobody[0]}
    return "uneven", {"lengths": [b - a for a, b in got]}


def not_a_pair(trial: Trial) -> Diagnosis | None:
    """Something other than a vector of the right dtype and a dictionary."""
    value, parts = trial.values()[0], trial.ranks[0]["parts"]
    if parts is None:
        return wrong_type("(buffer, views)", value)
    buffer, views = decode(parts["buffer"]), decode(parts["views"])
    want = np.zeros(padded(trial.case), trial.case["dtype"])
    if not isinstance(buffer, np.ndarray):
        return wrong_type(f"buffer: {kind_of(want)}", buffer)
    if not isinstance(views, dict):
        return wrong_type("views: dict", views)
    if buffer.ndim != 1 or buffer.dtype != want.dtype:
        key = "returns_shape" if buffer.ndim != 1 else "returns_dtype"
        return Diagnosis(key, {"wanted": f"buffer: {kind_of(want)}", "got": kind_of(buffer)})
    return None


def numbers(buffer: np.ndarray) -> str:
    return " ".join(f"{number:.4g}" for number in buffer)


def buffer_table(trial: Trial) -> tuple[tuple[str, ...], list[tuple]]:
    """Head and rows: what is in the buffer, and what should be."""
    got = decode(trial.ranks[0]["parts"]["buffer"])
    return ("wanted", "got"), [(numbers(filled(trial.case, places(trial.case))), numbers(got))]


def wrong_length(trials: Sequence[Trial]) -> Diagnosis | None:
    """Padding that is missing, or too much."""
    lengths = [
        Trial(t.case, [t.ranks[0] | {"value": encode(decode(t.ranks[0]["parts"]["buffer"]).size)}])
        for t in trials
    ]
    mistakes = [(key, from_case(length)) for key, length in LENGTHS]
    found = evidence.explain(lengths, from_case(padded), mistakes, otherwise="wrong_length")
    if found is not None:
        ((_, wanted, got),) = found.rows
        given = found.case["given"]
        params = {"wanted": wanted, "got": got, "numel": elements(found.case), "size": given["size"]}
        found.params, found.head, found.rows = params, (), ()
    return found


def wrong_views(trial: Trial) -> Diagnosis | None:
    """Names, shapes and dtypes of the views."""
    views, tensors = decode(trial.ranks[0]["parts"]["views"]), tensors_of(trial.case)
    if views.keys() != tensors.keys():
        missing, more = list(tensors.keys() - views.keys()), list(views.keys() - tensors.keys())
        return Diagnosis(
            "view_names", {"missing": sorted(missing) or "-", "more": sorted(map(str, more)) or "-"}
        )
    rows = [(name, kind_of(tensor), kind_of(views[name])) for name, tensor in tensors.items()]
    for name, tensor in tensors.items():
        view = views[name]
        params = {"name": name, "wanted": f"views[{name!r}]: {kind_of(tensor)}", "got": kind_of(view)}
        key = None
        if not isinstance(view, np.ndarray):
            key = "returns_type"
        elif view.shape != tensor.shape:
            key = "views_flat" if view.shape == (tensor.size,) else "returns_shape"
        elif view.dtype != tensor.dtype:
            key = "returns_dtype"
        if key:
            return Diagnosis(key, params, None, None, ("tensor", "wanted", "got"), rows)
    return None


def not_in_buffer(trial: Trial) -> Diagnosis | None:
    """Views that do not change with the buffer; a buffer that cannot be written."""
    coded = trial.ranks[0]["places"]
    if coded is None:
        return Diagnosis("read_only")
    copies = [name for name, place in decode(coded).items() if (place < 0).any()]
    if not copies:
        return None
    return Diagnosis("views_are_copies", {"name": copies[0]}, None, None, *place_table(trial))


def place_table(trial: Trial) -> tuple[tuple[str, ...], list[tuple]]:
    """Head and rows: where in the buffer each view lies."""
    want, got = places(trial.case), decode(trial.ranks[0]["places"])
    rows = [(name, place_text(want[name]), place_text(got[name])) for name in want]
    return ("tensor", "wanted_places", "got_places"), rows


def place_text(place: np.ndarray) -> str:
    """buffer[2:8], where its elements lie in a row there."""
    place = place.reshape(-1).astype(int)
    if (place < 0).any():
        return "-"
    if same(place, place[0] + np.arange(place.size)):
        return f"buffer[{place[0]}:{place[-1] + 1}]"
    return f"buffer[[{', '.join(map(str, place))}]]"


def wrong_places(trials: Sequence[Trial]) -> Diagnosis | None:
    """Views of other parts of the buffer."""
    mistakes = [(key, from_case(where)) for key, where in PLACES]
    found = evidence.explain(
        read_part(trials, "places"), from_case(places), mistakes, otherwise="wrong_place"
    )
    if found is not None:
        trial = evidence.trial_of(found, trials)
        want, got = places(trial.case), decode(trial.ranks[0]["places"])
        found.params = {"name": next(name for name in want if not same(got[name], want[name]))}
        found.head, found.rows = place_table(trial)
    return found


def wrong_buffer(trials: Sequence[Trial]) -> Diagnosis | None:
    """The views lie right; other numbers are in the buffer."""
    buffers = read_part(trials, "buffer")
    mistakes = [(key, from_case(lambda c, w=where: filled(c, w(c)))) for key, where in PLACES]
    mistakes.append(("values_missing", from_case(lambda c: np.zeros(padded(c)))))
    found = evidence.explain(buffers, from_case(lambda c: filled(c, places(c))), mistakes)
    if found is None:
        return None
    trial = evidence.trial_of(found, buffers)
    number, got = elements(trial.case), trial.values()[0]
    if found.key == "unknown" and same(got[:number], np.arange(number) + 1.0):
        found.key = "padding_not_zero"
    want = filled(trial.case, places(trial.case))
    held = places(trial.case).items()
    wrong = [name for name, place in held if not same(got[place.astype(int)], want[place.astype(int)])]
    found.params = {"name": next(iter(wrong), ""), "padding": numbers(got[number:])}
    found.head, found.rows = buffer_table(trial)
    return found


def caller_changed(trial: Trial) -> Diagnosis | None:
    """The caller's dictionary, or an array in it, is no longer what it was."""
    report = trial.ranks[0]
    return (
        Diagnosis("changed_input", {"name": "tensors"}) if report["changed"] or not report["kept"] else None
    )
