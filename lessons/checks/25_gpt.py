"""Exercise 25: the way back through one head of causal attention, against the right one and wrong ones."""

import math
from collections.abc import Callable, Sequence
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker import evidence, slips
from lessons.checker.evidence import Diagnosis, Right, Trial
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import observe

FUNCTIONS = ("attention_backward",)
RANKS = 1
NAMES = ("q", "k", "v", "g")
Grads = tuple[np.ndarray, np.ndarray, np.ndarray]


def cases(random: Random) -> list[dict[str, Any]]:
    """Tokens and numbers of a head: one token, two, and sizes that differ."""
    found = []
    for tokens, n in ((1, 2), (2, 1), (3, 4), (5, 3)):
        numbers = {x: [[random.randint(-3, 3) / 2 for _ in range(n)] for _ in range(tokens)] for x in NAMES}
        found.append(
            {"size": 1, "numbers": numbers, "tokens": tokens, "n": n, "given": {"tokens": tokens, "n": n}}
        )
    return found


def given(case: dict[str, Any]) -> list[np.ndarray]:
    """q, k, v and g, each (tokens, n)."""
    return [np.array(case["numbers"][name]) for name in NAMES]


def run_trial(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """One call."""
    return observe(comm, student.attention_backward, *given(case))


def softmax(scores: np.ndarray, axis: int = 1) -> np.ndarray:
    e = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def backward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    g: np.ndarray,
    *,
    causal: bool = True,
    axis: int = 1,
    of_softmax: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    scale: float | None = None,
    scored: float | None = None,
    mixed: bool = False,
) -> Grads:
    """The way back through softmax(q k^T / sqrt(n)) v, and with one mistake in it.

    of_softmax: (p, dL/dp) -> dL/d scores; scale: of the gradients, scored: of the scores; mixed: the sum over
    tokens is taken the other way round
    """
    one = 1 / math.sqrt(q.shape[1])
    scores = q @ k.T * (one if scored is None else scored)
    if causal:
        scores = np.where(np.tri(len(q), dtype=bool), scores, -np.inf)
    p = softmax(scores, axis)
    dp = g @ v.T
    ds = p * (dp - (p * dp).sum(axis=1, keepdims=True)) if of_softmax is None else of_softmax(p, dp)
    ds = ds * (one if scale is None else scale)
    return (ds.T @ k, ds @ q, p @ g) if mixed else (ds @ k, ds.T @ q, p.T @ g)


def with_one(number: int, change: Callable[[Trial, Grads], np.ndarray]) -> Right:
    """The right gradients, of which one is something else."""

    def result(trial: Trial, _: int) -> Grads:
        found = list(backward(*given(trial.case)))
        found[number] = change(trial, tuple(found))  # type: ignore[arg-type]
        return tuple(found)  # type: ignore[return-value]

    return result


def whole(**mistake: Any) -> Right:
    return lambda trial, _: backward(*given(trial.case), **mistake)


def parts(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    """p, and dL/d scores before it is scaled."""
    q, k, v, g = given(trial.case)
    p = softmax(np.where(np.tri(len(q), dtype=bool), q @ k.T / math.sqrt(q.shape[1]), -np.inf))
    dp = g @ v.T
    return p, p * (dp - (p * dp).sum(axis=1, keepdims=True))


def turned(number: int) -> Right:
    """dq, dk or dv with the matrix of tokens by tokens turned."""

    def change(trial: Trial, _: Grads) -> np.ndarray:
        q, k, _v, g = given(trial.case)
        p, ds = parts(trial)
        return ((ds.T / math.sqrt(q.shape[1])) @ k, (ds / math.sqrt(q.shape[1])) @ q, p @ g)[number]

    return with_one(number, change)


MISTAKES: tuple[tuple[str, Right], ...] = (
    ("not_scaled", whole(scale=1.0)),
    ("scaled_twice", lambda t, _: backward(*given(t.case), scale=1 / t.case["n"])),
    ("not_scaled", with_one(0, lambda t, found: found[0] * math.sqrt(t.case["n"]))),
    ("not_scaled", with_one(1, lambda t, found: found[1] * math.sqrt(t.case["n"]))),
    ("scores_not_scaled", whole(scored=1.0)),
    ("scores_not_scaled", whole(scored=1.0, scale=1.0)),
    ("sees_the_future", whole(causal=False)),
    ("no_sum", whole(of_softmax=lambda p, dp: p * dp)),
    ("dp_alone", whole(of_softmax=lambda p, dp: dp)),
    ("dp_alone", whole(of_softmax=lambda p, dp: np.tril(dp))),
    ("diagonal", whole(of_softmax=lambda p, dp: p * (1 - p) * dp)),
    ("sum_of_columns", whole(of_softmax=lambda p, dp: p * (dp - (p * dp).sum(axis=0, keepdims=True)))),
    ("sum_of_all", whole(of_softmax=lambda p, dp: p * (dp - (p * dp).sum()))),
    ("sum_without_p", whole(of_softmax=lambda p, dp: p * (dp - dp.sum(axis=1, keepdims=True)))),
    ("softmax_of_columns", whole(axis=0)),
    ("turned_q", turned(0)),
    ("turned_k", turned(1)),
    ("turned_v", turned(2)),
    ("turned_v", whole(mixed=True)),
    ("exchanged", lambda t, _: tuple(backward(*given(t.case))[i] for i in (1, 0, 2))),
    ("exchanged", lambda t, _: tuple(backward(*given(t.case))[i] for i in (2, 0, 1))),
    ("exchanged", lambda t, _: tuple(backward(*given(t.case))[i] for i in (2, 1, 0))),
    ("v_is_g", with_one(2, lambda t, _: given(t.case)[3])),
    ("output", lambda t, _: (parts(t)[0] @ given(t.case)[2],) * 3),
)


RULE = """
scale = 1 / np.sqrt(q.shape[1])
scores = np.where(np.tri(len(q), dtype=bool), q @ k.T * scale, -np.inf)
p = np.exp(scores - scores.max(axis=1, keepdims=True))
p = p / p.sum(axis=1, keepdims=True)
dp = g @ v.T
ds = p * (dp - (p * dp).sum(axis=1, keepdims=True)) * scale
found = ds @ k, ds.T @ q, p.T @ g
"""  # one slip in it is looked for


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """Three arrays; their values; and what was given stays as it was."""
    right = whole()
    found = evidence.check_kind(trials, right) or evidence.explain(trials, right, MISTAKES)
    known = lambda t, _: dict(zip(NAMES, given(t.case)))  # noqa: E731
    found = slips.find_slip(found, trials, RULE, known, lambda names: names["found"], "attention_backward")
    if found and "wanted" not in found.params:
        trial = evidence.trial_of(found, trials)
        found.head = ("what", "wanted", "got")
        found.rows = [
            (
                f"d{name}[{i}]",
                *(np.round(values[number][i], 4) for values in (right(trial, 0), trial.values()[0])),
            )
            for number, name in enumerate("qkv")
            for i in range(trial.case["tokens"])
        ]
    return found or evidence.find_changed_input(trials, NAMES)
