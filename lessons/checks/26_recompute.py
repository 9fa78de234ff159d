"""Exercise 26: numbers, notes that are alive, and how often each layer ran.

A mistake is a wrong way back of our own, on the same layers.
"""

import gc
import weakref
from collections.abc import Callable, Sequence
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker import evidence
from lessons.checker.evidence import Diagnosis, Right, Trial
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import ReturnLine, encode, find_arrays
from lessons.given.layers import Layer, Notes

FUNCTIONS = ("forward", "backward")
RANKS = 1
AT_ONCE = 2  # notes that may be alive: those of a layer, and those of the one before, not yet overwritten


def cases(random: Random) -> list[dict[str, Any]]:
    """Chains of layers, and vectors of whole numbers."""
    found = []
    for layers in (1, 2, 4, 7):
        w = [random.choice((2, 3, -2)) if i % 3 == 1 else random.choice((2, 3)) for i in range(layers)]
        b = [20 if value < 0 else random.choice((-1, 1, 2)) for value in w]
        given = {"w": w, "b": b, "x": random.sample(range(-4, 7), 4), "g": random.sample(range(1, 9), 4)}
        found.append({"size": 1, "layers": layers, "numbers": given, "given": {"layers": layers}})
    return found


def made(case: dict[str, Any], kind: Callable[[float, float], Layer] = Layer) -> list[Layer]:
    return [kind(w, b) for w, b in zip(case["numbers"]["w"], case["numbers"]["b"])]


def vector(case: dict[str, Any], name: str) -> np.ndarray:
    """x or g, (4,)."""
    return np.array(case["numbers"][name], float)


class Watch:
    """How many notes are alive, the most so far, and how often each layer was run."""

    def __init__(self, layers: int) -> None:
        self.runs = [0] * layers
        self.alive: weakref.WeakSet[Notes] = weakref.WeakSet()
        self.most = 0

    def begin(self) -> tuple[int, list[int]]:
        """Notes that are left, and runs so far; from here on both begin anew."""
        gc.collect()
        left, runs = len(self.alive), self.runs
        self.most, self.runs = 0, [0] * len(runs)
        return left, runs

    def layer(self, number: int) -> Callable[[float, float], Layer]:
        watch = self

        class Watched(Layer):
            def run(self, x: np.ndarray) -> tuple[np.ndarray, Notes]:
                y, notes = super().run(x)
                watch.runs[number] += 1
                watch.alive.add(notes)
                watch.most = max(watch.most, len(watch.alive))
                return y, notes

        return Watched


def run_trial(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """Forward and back once."""
    watch, x, g = Watch(case["layers"]), vector(case, "x"), vector(case, "g")
    numbers = zip(case["numbers"]["w"], case["numbers"]["b"])
    layers = [watch.layer(number)(w, b) for number, (w, b) in enumerate(numbers)]
    with ReturnLine(student.forward) as returned:
        result = student.forward(layers, x)
    seen: dict[str, Any] = {"forward": encode(result), "line": returned.line, "events": []}
    seen["pair"] = isinstance(result, tuple | list) and len(result) == 2
    if not seen["pair"]:
        return seen
    y, kept = result
    arrays = len({id(array) for array in find_arrays(kept)})
    seen |= {"kept": arrays, "y": encode(y)}
    del result, y
    seen["left"], seen["once"] = watch.begin()
    with ReturnLine(student.backward) as returned:
        dx = student.backward(layers, kept, g)
    seen |= {"back": encode([dx, [layer.grad for layer in layers]]), "most": watch.most, "again": watch.runs}
    spoilt = [name for name, now in (("x", x), ("g", g)) if now.tobytes() != vector(case, name).tobytes()]
    return seen | {"spoilt": spoilt, "line_back": returned.line}


# Ways back of our own, right and wrong.

Way = Callable[[list[Layer], list[np.ndarray], np.ndarray], np.ndarray]


def inputs(layers: list[Layer], x: np.ndarray) -> list[np.ndarray]:
    """The input of each layer, and the last one's output."""
    found = [x]
    for layer in layers:
        found.append(layer.run(found[-1])[0])
    return found


def back(
    of: Callable[[int, int], int] = lambda i, n: i,
    order: slice = slice(None, None, -1),
    hands_on: bool = True,
    times: int = 1,
) -> Way:
    """A way back. of: whose input layer i of n is run with; hands_on: g goes from layer to layer."""

    def way(layers: list[Layer], h: list[np.ndarray], g: np.ndarray) -> np.ndarray:
        given = g
        for i in range(len(layers))[order]:
            notes = layers[i].run(h[of(i, len(layers))])[1]
            handed = [layers[i].back(notes, g if hands_on else given) for _ in range(times)]
            g = handed[0]
        return g

    return way


def summing(layers: list[Layer], h: list[np.ndarray], g: np.ndarray) -> np.ndarray:
    """g is added to, in place of handed on."""
    for layer, x in reversed(list(zip(layers, h))):
        g = g + layer.back(layer.run(x)[1], g)
    return g


def given_back(layers: list[Layer], h: list[np.ndarray], g: np.ndarray) -> np.ndarray:
    """The right gradients, but what was given is returned."""
    back()(layers, h, g)
    return g


MISTAKES: tuple[tuple[str, Way], ...] = (
    ("nothing_back", lambda layers, h, g: g),
    ("returns_g", given_back),
    ("last_only", lambda layers, h, g: back(order=slice(-1, None))(layers, h, g)),
    ("first_to_last", back(order=slice(None))),
    ("same_g", back(hands_on=False)),
    ("own_output", back(of=lambda i, n: i + 1)),
    ("first_input", back(of=lambda i, n: 0)),
    ("other_input", back(of=lambda i, n: n - 1 - i)),
    ("other_input", back(of=lambda i, n: i - 1)),
    ("other_input", back(of=lambda i, n: max(i - 1, 0))),
    ("twice", back(times=2)),
    ("sums_g", summing),
)


def of_way(way: Way) -> Right:
    """What a way back leaves: dL/dx, and each layer's gradients."""

    def result(trial: Trial, _: int) -> list[Any]:
        layers = made(trial.case)
        dx = way(layers, inputs(layers, vector(trial.case, "x")), vector(trial.case, "g"))
        return [dx, [layer.grad for layer in layers]]

    return result


def outputs(number: Callable[[int], int]) -> Right:
    """The input of the layer number(layers); of the last but one the output is the last."""
    return lambda t, _: inputs(made(t.case), vector(t.case, "x"))[number(t.case["layers"])]


FORWARD = (("returns_x", outputs(lambda n: 0)), ("stops_early", outputs(lambda n: n - 1)))
FORWARD += (("first_layer", outputs(lambda n: 1)),)


def part(trials: Sequence[Trial], name: str, line: str) -> list[Trial]:
    """The trials as if only report[name] had been returned, at that line."""
    return [
        Trial(t.case, [{**report, "value": report[name], "line": report[line]} for report in t.ranks])
        for t in trials
    ]


def first(
    trials: Sequence[Trial],
    look: Callable[[dict[str, Any]], dict[str, Any] | None],
    key: str,
    line: str,
    state: str = "wrong",
) -> Diagnosis | None:
    """The first trial in whose report `look` finds something: the parameters of what is wrong."""
    for trial in trials:
        report = trial.ranks[0]
        if (params := look(report)) is not None:
            params = {"layers": trial.case["layers"]} | params
            return Diagnosis(key, params, report[line], trial.case, state=state)
    return None


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """What forward returns; what backward leaves; then memory, and what it costs."""
    lacks = lambda r: None if r["pair"] else {"got": evidence.kind_of(evidence.decode(r["forward"]))}  # noqa: E731
    if found := first(trials, lacks, "no_pair", "line"):
        return found
    y = part(trials, "y", "line")
    return (
        other_runs(evidence.check_value(y, outputs(lambda n: n), FORWARD), y, "once")
        or other_runs(ways(part(trials, "back", "line_back")), trials, "again")
        or first(trials, lambda r: {"name": r["spoilt"][0]} if r["spoilt"] else None, "spoils", "line_back")
        or first(trials, lambda r: {"left": r["left"]} if r["left"] else None, "keeps_notes", "line")
        or costs(trials)
        or first(trials, more_kept, "keeps_outputs", "line", state="note")
    )


def other_runs(found: Diagnosis | None, trials: Sequence[Trial], when: str) -> Diagnosis | None:
    """The same diagnosis; or, where no mistake explains the values, how often layers were run."""
    if found is None or found.key != "unknown":
        return found
    for trial in trials:
        got, wanted = sum(trial.ranks[0][when]), trial.case["layers"]
        if got != wanted:
            params = {"rank": 0, "what": "layer.run", "got": got, "wanted": wanted}
            return Diagnosis("passes_number", params, found.line, trial.case)
    return found


def ways(trials: Sequence[Trial]) -> Diagnosis | None:
    """What backward returned and what it left in the layers."""
    right = of_way(back())
    dx = [Trial(t.case, [r | {"value": r["value"]["list"][0]} for r in t.ranks]) for t in trials]
    found = evidence.check_kind(dx, lambda t, _: right(t, 0)[0])
    found = found or evidence.explain(trials, right, [(key, of_way(way)) for key, way in MISTAKES])
    if found and "wanted" not in found.params:
        trial = evidence.trial_of(found, trials)
        (want, grads), (got, left) = right(trial, 0), trial.values()[0]
        names = ["dL/dx", *(f"layer {i}: dL/dw, dL/db" for i in range(len(grads)))]
        found.head = ("what", "wanted", "got")
        found.rows = list(zip(names, [want, *grads], [got, *left]))
    return found


def costs(trials: Sequence[Trial]) -> Diagnosis | None:
    """Notes that are alive together, and layers that run more often than twice."""
    longest = trials[-1].ranks[0]["again"]
    start = longest == sorted(longest, reverse=True) and longest[0] == len(longest)
    for trial in trials:
        report, n = trial.ranks[0], trial.case["layers"]
        runs = sum(report["again"])
        params = {"layers": n, "most": report["most"], "runs": runs}
        if max(report["once"]) > 1:
            return Diagnosis("runs_twice", params, report["line"], trial.case)
        if runs > n or report["most"] > AT_ONCE:
            key = "all_at_once" if runs <= n else "from_the_start" if start else "runs_more"
            return Diagnosis(key, params, report["line_back"], trial.case)
    return None


def more_kept(report: dict[str, Any]) -> dict[str, Any] | None:
    """Arrays beyond one for each layer: right, and larger than it has to be."""
    layers = len(report["once"])
    return {"kept": report["kept"]} if report["kept"] > layers else None
