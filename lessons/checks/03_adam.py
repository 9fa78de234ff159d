"""Exercise 03: steps of AdamW on two weights. m is looked at first, then v, then w.

A mistake is a formula for the new m, v or w. By the time that w is looked at, m and v are right.
"""

from collections.abc import Callable, Sequence
from random import Random
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from lessons.checker import evidence
from lessons.checker.edits import explaining_edit
from lessons.checker.evidence import Diagnosis, Trial, same, take_part
from lessons.checker.ranks.lines import assigned_lines, line_of_error
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import encode, observe

FUNCTIONS = ("adam_step",)
RANKS = 1
ARRAYS = ("w", "m", "v")


def cases(random: Random) -> list[dict[str, Any]]:
    """A first step; with decay; three steps; a large eps and no gradient; in the middle of a run."""
    b1, b2 = random.choice((0.8, 0.9)), random.choice((0.99, 0.95))
    usual = {"lr": 0.1, "b1": b1, "b2": b2, "eps": 1e-12, "wd": 0.0}
    w, g = random.choice(([5.0, -3.0], [-4.0, 6.0])), random.choice(([2.0, -0.5], [-8.0, 0.25]))
    zero, steps = [0.0, 0.0], [g, [1.5, 1.0], [-1.0, 0.5]]
    some = [[random.uniform(-1, 1) for _ in range(2)] for _ in range(3)]
    squares = [random.uniform(0.1, 1) for _ in range(2)]
    return [
        make_case(w, zero, zero, 1, [g], usual),
        make_case(w, zero, zero, 1, [g], usual | {"wd": 0.2}),
        make_case(w, zero, zero, 1, steps, usual),
        make_case(w, zero, zero, 1, [[g[0], 0.0]], usual | {"eps": 0.5}),
        make_case(some[0], some[1], squares, 4, [some[2]], usual | {"lr": 0.02, "eps": 0.01, "wd": 0.3}),
    ]


def make_case(w: list, m: list, v: list, t: int, g: list[list], settings: dict[str, float]) -> dict[str, Any]:
    """As JSON: steps t, t + 1, ..., each with its row of g; and all of it as text."""
    times = ", ".join(str(t + k) for k in range(len(g)))
    known = {"w": w, "m": m, "v": v} if any(m) else {"w": w}
    given = {"t": times} | {name: text(x) for name, x in known.items()}
    given |= {"g": ", ".join(map(text, g))} | settings
    return {"size": 1, "first": t, "w": w, "m": m, "v": v, "g": g, "settings": settings, "given": given}


def text(numbers: Any) -> str:
    """As NumPy writes them: [1 2.5]."""
    return f"[{' '.join(f'{float(x):.5g}' for x in numbers)}]"


def arrays(case: dict[str, Any]) -> dict[str, np.ndarray]:
    """w, m and v before the first step."""
    return {name: np.array(case[name]) for name in ARRAYS}


def run_trial(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """All steps of a case. What w, m and v are then; whether g was changed; an error of division by zero."""
    x, no_step, g_changed = arrays(case), "", False
    seen: dict[str, Any] = {"shared": False, "events": [], "line": None}
    for t, row in enumerate(case["g"], case["first"]):
        try:
            g = np.array(row)
            seen = observe(comm, student.adam_step, x["w"], g, x["m"], x["v"], t, **case["settings"])
        except ZeroDivisionError as error:  # of a correction 1 - b^0, or of something else
            no_step, seen["line"] = str(error), line_of_error(error, [student.__file__])
            break
        g_changed |= 1 in seen["changed"]
    value = encode([x[name] for name in ARRAYS])
    lines = assigned_lines(student, "adam_step")
    lines["decay"] = assigned_lines(student, "adam_step", first=True).get("w")
    return seen | {"value": value, "lines": lines, "no_step": no_step, "changed": [1] if g_changed else []}


# Formulas. s: what a step knows: w, m, v before it; g, t; lr, b1, b2, eps, wd; for w also new_m and new_v.

Formula = Callable[[SimpleNamespace], np.ndarray]


def new_m(s: SimpleNamespace) -> np.ndarray:
    return s.b1 * s.m + (1 - s.b1) * s.g


def new_v(s: SimpleNamespace) -> np.ndarray:
    return s.b2 * s.v + (1 - s.b2) * s.g**2


def update(s: SimpleNamespace, **other: Any) -> np.ndarray:
    """What is taken from w; other: m, v, corrections... in place of the right ones."""
    m, v = other.get("m", s.new_m), other.get("v", s.new_v)
    t = s.t + other.get("later", 0)
    m_hat = m / other.get("m_factor", 1 - s.b1 ** np.float64(t))
    v_hat = v / other.get("v_factor", 1 - s.b2 ** np.float64(t))
    return s.lr * m_hat / (np.sqrt(v_hat) + other.get("eps", s.eps))


def hats(s: SimpleNamespace) -> tuple[np.ndarray, np.ndarray]:
    return s.new_m / (1 - s.b1**s.t), s.new_v / (1 - s.b2**s.t)


def decayed(s: SimpleNamespace) -> np.ndarray:
    return s.w * (1 - s.lr * s.wd)


def new_w(s: SimpleNamespace, **other: Any) -> np.ndarray:
    return decayed(s) - update(s, **other)


def coupled(s: SimpleNamespace) -> SimpleNamespace:
    """As if the decay were part of the gradient."""
    return SimpleNamespace(**(vars(s) | {"g": s.g + s.wd * s.w}))


M_MISTAKES: tuple[tuple[str, Formula], ...] = (
    ("unchanged", lambda s: s.m),
    ("m_v_swapped", lambda s: s.b2 * s.m + (1 - s.b2) * s.g**2),
    ("m_v_swapped", lambda s: s.b1 * s.m + (1 - s.b1) * s.g**2),
    ("betas_swapped", lambda s: s.b2 * s.m + (1 - s.b2) * s.g),
    ("shares_swapped", lambda s: (1 - s.b1) * s.m + s.b1 * s.g),
    ("share_missing", lambda s: s.b1 * s.m + s.g),
    ("no_memory", lambda s: (1 - s.b1) * s.g),
    ("no_memory", lambda s: s.g),
    ("never_forgets", lambda s: s.m + (1 - s.b1) * s.g),
    ("decay_coupled", lambda s: new_m(coupled(s))),
    ("correction_stored", lambda s: new_m(s) / (1 - s.b1**s.t)),
)
V_MISTAKES: tuple[tuple[str, Formula], ...] = (
    ("unchanged", lambda s: s.v),
    ("m_v_swapped", lambda s: s.b1 * s.v + (1 - s.b1) * s.g),
    ("not_squared", lambda s: s.b2 * s.v + (1 - s.b2) * s.g),
    ("not_squared", lambda s: s.b2 * s.v + (1 - s.b2) * abs(s.g)),
    ("share_squared", lambda s: s.b2 * s.v + ((1 - s.b2) * s.g) ** 2),
    ("betas_swapped", lambda s: s.b1 * s.v + (1 - s.b1) * s.g**2),
    ("shares_swapped", lambda s: (1 - s.b2) * s.v + s.b2 * s.g**2),
    ("share_missing", lambda s: s.b2 * s.v + s.g**2),
    ("no_memory", lambda s: (1 - s.b2) * s.g**2),
    ("no_memory", lambda s: s.g**2),
    ("never_forgets", lambda s: s.v + (1 - s.b2) * s.g**2),
    ("m_for_g", lambda s: s.b2 * s.v + (1 - s.b2) * new_m(s) ** 2),
    ("decay_coupled", lambda s: new_v(coupled(s))),
    ("correction_stored", lambda s: new_v(s) / (1 - s.b2**s.t)),
)
W_MISTAKES: tuple[tuple[str, Formula], ...] = (
    ("unchanged", lambda s: s.w),
    ("no_correction", lambda s: new_w(s, m_factor=1, v_factor=1)),
    ("v_not_corrected", lambda s: new_w(s, v_factor=1)),
    ("m_not_corrected", lambda s: new_w(s, m_factor=1)),
    ("t_from_zero", lambda s: new_w(s, later=-1)),
    ("t_too_late", lambda s: new_w(s, later=1)),
    ("correction_fixed", lambda s: new_w(s, m_factor=1 - s.b1, v_factor=1 - s.b2)),
    ("no_eps", lambda s: new_w(s, eps=0.0)),
    ("eps_inside", lambda s: decayed(s) - s.lr * hats(s)[0] / np.sqrt(hats(s)[1] + s.eps)),
    ("eps_scaled", lambda s: new_w(s, eps=s.eps / np.sqrt(1 - s.b2**s.t))),
    ("no_root", lambda s: decayed(s) - s.lr * hats(s)[0] / (hats(s)[1] + s.eps)),
    ("upside_down", lambda s: new_w(s, m=s.new_v, v=s.new_m, m_factor=1 - s.b2**s.t, v_factor=1 - s.b1**s.t)),
    ("upside_down", lambda s: new_w(s, m=s.new_v, v=s.new_m)),
    ("uphill", lambda s: decayed(s) + update(s)),
    ("sgd", lambda s: decayed(s) - s.lr * s.g),
    ("g_for_m", lambda s: new_w(s, m=s.g, m_factor=1)),
    ("old_moments", lambda s: new_w(s, m=s.m, v=s.v)),
    ("no_decay", lambda s: s.w - update(s)),
    ("decay_after", lambda s: (s.w - update(s)) * (1 - s.lr * s.wd)),
    ("decay_without_lr", lambda s: s.w * (1 - s.wd) - update(s)),
    ("decay_grows", lambda s: s.w * (1 + s.lr * s.wd) - update(s)),
    ("decay_alone", lambda s: s.w * s.lr * s.wd - update(s)),
    ("decay_coupled", lambda s: s.w - update(s, m=new_m(coupled(s)), v=new_v(coupled(s)))),
    ("decay_divided", lambda s: s.w - s.lr * (hats(s)[0] + s.wd * s.w) / (np.sqrt(hats(s)[1]) + s.eps)),
)
RULES = {  # as the lesson has them; of w with the new m and v. One slip in one of them is found.
    "m": "m = b1 * m + (1 - b1) * g",
    "v": "v = b2 * v + (1 - b2) * g ** 2",
    "w": "m_hat = new_m / (1 - b1 ** t)\nv_hat = new_v / (1 - b2 ** t)\n"
    "w = w * (1 - lr * wd)\nw = w - lr * m_hat / (np.sqrt(v_hat) + eps)",
}
MISTAKES = {"m": M_MISTAKES, "v": V_MISTAKES, "w": W_MISTAKES}


def after(case: dict[str, Any], **formulas: Formula) -> dict[str, np.ndarray]:
    """w, m and v after all steps of a case; formulas: in place of the right ones."""
    f = {"m": new_m, "v": new_v, "w": new_w} | formulas
    x = arrays(case)
    with np.errstate(all="ignore"):
        for t, row in enumerate(case["g"], case["first"]):
            s = SimpleNamespace(**x, g=np.array(row), t=t, **case["settings"])
            s.new_m, s.new_v = f["m"](s), f["v"](s)
            x = {"w": f["w"](s), "m": s.new_m, "v": s.new_v}
    return x


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """m, then v, then w, first where nothing decays; then whether g is left alone."""
    whole = [t for t in trials if not t.ranks[0]["no_step"]]
    plain = [t for t in whole if t.case["settings"]["wd"] == 0]
    found = next((f for name in "mvw" if (f := check_both(plain, whole, name))), None)
    if len(whole) < len(trials) and (found is None or found.key == "t_from_zero"):
        return divided_by_zero(trials, "t_from_zero" if found else "raised")
    return found or evidence.find_changed_input(trials, ("w", "g", "m", "v"))


def check_both(plain: Sequence[Trial], whole: Sequence[Trial], name: str) -> Diagnosis | None:
    """One array, where nothing decays and where something does: what is said has to be so in both.

    Of two mistakes at once it is the one that shows without decay, of which it knows nothing.
    """
    first, found = check_array(plain, name), check_array(whole, name)
    if first is None or found is None or found.key != "unknown" or first.key == "unknown":
        return found
    if first.key == "near" or "decay" in first.key:
        return found
    return first


def divided_by_zero(trials: Sequence[Trial], key: str) -> Diagnosis:
    """The first trial with a division that Python refuses."""
    trial = next(t for t in trials if t.ranks[0]["no_step"])
    report = trial.ranks[0]
    params = {"name": "w", "rank": 0, "size": 1, "type": "ZeroDivisionError", "text": report["no_step"]}
    return Diagnosis(key, params, report["line"], trial.case)


def check_array(trials: Sequence[Trial], name: str) -> Diagnosis | None:
    """What is wrong with one array: a known mistake, or its values."""
    mistakes = [(key, lambda t, _, f=f: after(t.case, **{name: f})[name]) for key, f in MISTAKES[name]]
    found = evidence.explain(
        take_part(trials, ARRAYS.index(name), name), lambda t, _: after(t.case)[name], mistakes
    )
    if found is not None:
        trial = evidence.trial_of(found, trials)
        slip = find_slip(trials, name) if found.key == "unknown" else None
        found.key = "near" if slip else found.key
        if found.key in ("decay_without_lr", "decay_grows", "decay_alone"):
            found.line = trial.ranks[0]["lines"]["decay"] or found.line
        want, got = after(trial.case), dict(zip(ARRAYS, trial.values()[0]))
        unchanged = [n for n in ARRAYS if same(got[n], arrays(trial.case)[n]) and not same(got[n], want[n])]
        found.params = {"name": name, "names": unchanged, "formula": slip}
        found.head = ("result", "wanted", "got")
        found.rows = [(n, text(want[n]), text(got[n])) for n in ARRAYS]
    return found


def find_slip(trials: Sequence[Trial], name: str) -> str | None:
    """The rule of an array with one slip, or made twice, if that gives all that came."""

    def fits(code: CodeType) -> bool:
        def formula(s: SimpleNamespace) -> np.ndarray:
            known = {"np": np} | vars(s)
            exec(code, known)
            return known[name]

        return all(
            same(dict(zip(ARRAYS, t.values()[0]))[name], after(t.case, **{name: formula})[name])
            for t in trials
        )

    return explaining_edit(RULES[name], ("g", "b1", "b2", "lr", "eps", "wd", "t"), fits)
