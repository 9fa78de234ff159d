"""Exercise 01: small whole numbers through a layer, so that each result can be worked out by hand.

Where samples, inputs and outputs are equally many no shape betrays a wrong product; otherwise it does.
"""

import itertools
from collections.abc import Callable, Sequence
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker import evidence
from lessons.checker.evidence import (
    Diagnosis,
    Right,
    Trial,
    Unknown,
    kind_of,
    same,
    take_part,
)
from lessons.checker.ranks.lines import assigned_lines
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import observe

FUNCTIONS = ("linear_backward",)
RANKS = 1
RESULTS = ("dx", "dw", "db")
NEEDS = {"dx": ("w", "dy"), "dw": ("x", "dy"), "db": ("dy",)}


def cases(random: Random) -> list[dict[str, Any]]:
    """One number; squares; one sample; all lengths different; at the end numbers with long fractions."""
    found = []
    for samples, inputs, outputs in ((1, 1, 1), (2, 2, 2), (1, 3, 2), (3, 2, 4), (3, 3, 3)):
        sizes = samples * inputs, outputs * inputs, samples * outputs
        drawn = iter(random.sample(range(1, 4 + sum(sizes)), sum(sizes)))
        x, w, dy = ([float(next(drawn)) for _ in range(size)] for size in sizes)
        found.append(make_case(np.reshape(x, (samples, inputs)), np.reshape(w, (outputs, inputs)), dy))
    x, w, dy = ([random.uniform(-1, 1) for _ in range(size)] for size in (4, 2, 2))
    return [*found, make_case(np.reshape(x, (2, 2)), np.reshape(w, (1, 2)), dy)]


def make_case(x: np.ndarray, w: np.ndarray, dy: list[float]) -> dict[str, Any]:
    """As JSON: x (samples, inputs), w (outputs, inputs), dy (samples * outputs,); and all of it as text."""
    arrays = {"x": x, "w": w, "dy": np.reshape(dy, (len(x), len(w)))}
    known = {name: array.tolist() for name, array in arrays.items()}
    return {"size": 1, "given": {name: text(array) for name, array in arrays.items()}, **known}


def text(array: np.ndarray) -> str:
    """As NumPy writes it, on one line: [[1 2] [3 4]]."""
    return f"[{' '.join(map(text, array))}]" if array.ndim else f"{float(array):.4g}"


def arrays(case: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """x (samples, inputs), w (outputs, inputs), dy (samples, outputs)."""
    return np.array(case["x"]), np.array(case["w"]), np.array(case["dy"])


def run_trial(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """One call of the student's function."""
    seen = observe(comm, student.linear_backward, *arrays(case))
    return seen | {"lines": assigned_lines(student, "linear_backward")}


def right(trial: Trial, _: int) -> tuple[np.ndarray, ...]:
    x, w, dy = arrays(trial.case)
    return dy @ w, dy.T @ x, dy.sum(axis=0)


Formula = Callable[[np.ndarray, np.ndarray, np.ndarray], Any]  # of x, w, dy

# For each result, and what a mistake makes of it. The first that fits all trials is taken.
MISTAKES: dict[str, tuple[tuple[str, Formula], ...]] = {
    "dw": (
        ("dw_transposed", lambda x, w, dy: x.T @ dy),
        ("mean", lambda x, w, dy: dy.T @ x / len(x)),
        ("last_sample", lambda x, w, dy: np.outer(dy[-1], x[-1])),
        ("first_sample", lambda x, w, dy: np.outer(dy[0], x[0])),
        ("per_sample", lambda x, w, dy: dy[:, :, None] * x[:, None, :]),
        ("outer", lambda x, w, dy: np.outer(dy, x)),
        ("elementwise", lambda x, w, dy: dy.T * x),
        ("elementwise", lambda x, w, dy: dy * x),
        ("not_over_samples", lambda x, w, dy: dy @ x.T),
        ("not_over_samples", lambda x, w, dy: dy @ x),
        ("not_over_samples", lambda x, w, dy: x @ dy),
        ("dw_from_w", lambda x, w, dy: dy.T @ w),
    ),
    "db": (
        ("db_not_summed", lambda x, w, dy: dy),
        ("db_over_outputs", lambda x, w, dy: dy.sum(axis=1)),
        ("db_total", lambda x, w, dy: dy.sum()),
        ("db_row", lambda x, w, dy: dy.sum(axis=0, keepdims=True)),
        ("mean", lambda x, w, dy: dy.mean(axis=0)),
        ("last_sample", lambda x, w, dy: dy[-1]),
        ("first_sample", lambda x, w, dy: dy[0]),
        ("db_without_dy", lambda x, w, dy: np.full(len(w), float(len(x)))),
        ("db_without_dy", lambda x, w, dy: np.ones(len(w))),
    ),
    "dx": (
        ("dx_from_x", lambda x, w, dy: dy @ x),
        ("dx_w_transposed", lambda x, w, dy: dy @ w.T),
        ("dx_transposed", lambda x, w, dy: w.T @ dy.T),
        ("elementwise", lambda x, w, dy: dy * w),
        ("dx_summed", lambda x, w, dy: (dy @ w).sum(axis=0)),
        ("mean", lambda x, w, dy: dy @ w / len(x)),
    ),
}


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """Three results in their order; then each by itself, in the lesson's order; then side effects."""
    return (
        not_three(trials)
        or other_order(trials)
        or next((found for name in ("dw", "db", "dx") if (found := check_result(trials, name))), None)
        or evidence.find_changed_input(trials, ("x", "w", "dy"))
        or evidence.find_part_of_input(trials)
    )


def not_three(trials: Sequence[Trial]) -> Diagnosis | None:
    """Nothing, or something other than three results."""
    for trial in trials:
        value = trial.values()[0]
        if isinstance(value, tuple | list) and len(value) != 3:
            line = trial.ranks[0]["line"]
            return Diagnosis("not_three", {"number": len(value)}, line, trial.case)
        if not isinstance(value, tuple | list):
            return evidence.check_kind([trial], right)
    return None


def other_order(trials: Sequence[Trial]) -> Diagnosis | None:
    """The right three in another order than dx, dw, db."""
    for order in list(itertools.permutations(range(3)))[1:]:
        if all(same(t.values()[0], tuple(right(t, 0)[n] for n in order)) for t in trials):
            params = {"order": ", ".join(RESULTS[n] for n in order)}
            return Diagnosis("other_order", params, trials[0].ranks[0]["line"], trials[0].case)
    return None


def check_result(trials: Sequence[Trial], name: str) -> Diagnosis | None:
    """What is wrong with dx, dw or db: a known mistake, else its type or shape, else its values."""
    number = RESULTS.index(name)
    parts = take_part(trials, number, name)

    def right_part(trial: Trial, _: int) -> np.ndarray:
        return right(trial, 0)[number]

    def rounded(trial: Trial, _: int) -> Any:
        (value,), want = trial.values(), right_part(trial, 0)
        return value if nearly_equal(value, want) else Unknown("?")

    others = [n for n in RESULTS if n != name]
    mistakes = [("other_result", lambda t, _, n=n: right(t, 0)[RESULTS.index(n)]) for n in others]
    mistakes += [(key, lambda t, _, f=formula: f(*arrays(t.case))) for key, formula in MISTAKES[name]]
    found = evidence.explain(parts, right_part, [*mistakes, ("rounded", rounded)])
    if found is None or found.key in ("rounded", "unknown"):
        found = evidence.check_kind(parts, right_part) or found
    if found is not None:
        trial = evidence.trial_of(found, parts)
        found.params["name"] = name
        if found.key == "other_result":
            found.params["other"] = next(
                n for n in others if all(same(t.values()[0], right(t, 0)[RESULTS.index(n)]) for t in parts)
            )
        found.case = {key: trial.case["given"][key] for key in NEEDS[name]}
        found.head = ("result", "wanted", "got")
        found.rows = rows(name, right_part(trial, 0), trial.values()[0])
        if shapes := wrong_shapes(parts, right_part):
            found.head = ("samples", "inputs", "outputs", "wanted", "got")
            found.case, found.rows = None, shapes
    return found


def nearly_equal(value: Any, want: np.ndarray) -> bool:
    """Equal but for the digits that a narrower type loses."""
    fits = isinstance(value, np.ndarray) and value.shape == want.shape
    return fits and np.allclose(value, want, rtol=1e-3, atol=1e-3)


def rows(name: str, want: np.ndarray, got: Any) -> list[tuple[str, str, str]]:
    """A row of the table for every row of a matrix; of something else than is wanted the type."""
    if kind_of(got) != kind_of(want):
        return [(name, kind_of(want), kind_of(got))]
    if want.ndim == 1:
        return [(name, text(want), text(got))]
    return [(f"{name}[{i}]", text(w), text(g)) for i, (w, g) in enumerate(zip(want, got))]


def wrong_shapes(parts: Sequence[Trial], right_part: Right) -> list[tuple]:
    """Rows of the table for the first trials with a wrong shape."""
    pairs = [(t, shape(right_part(t, 0)), shape(t.values()[0])) for t in parts]
    return [(*lengths(t), want, got) for t, want, got in pairs if want != got][:4]


def lengths(trial: Trial) -> tuple[int, int, int]:
    """How many samples, inputs and outputs."""
    return len(trial.case["x"]), len(trial.case["w"][0]), len(trial.case["w"])


def shape(value: Any) -> str:
    """As NumPy writes it; of what is no array the type."""
    return str(value.shape) if isinstance(value, np.ndarray) else kind_of(value)
