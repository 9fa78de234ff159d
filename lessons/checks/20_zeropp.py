"""Exercise 20: scales, codes, and what comes back; each against the right one and against wrong ones."""

from collections.abc import Callable, Sequence
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker import evidence, slips
from lessons.checker.evidence import Diagnosis, Trial
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import observe

FUNCTIONS = ("encode", "decode")
RANKS = 1
MOST = 127
SLACK = 1e-3  # of a step: what float32 may add to half a step

Case = dict[str, Any]
Values = Callable[[Case], np.ndarray]


def cases(random: Random) -> list[Case]:
    """Lengths that blocks divide, and others; zeros; then codes; then what is no number."""
    found = [
        vector(random, n, block) for n, block in ((8, 4), (6, 6), (10, 4), (3, 8), (1, 4), (13, 5), (9, 4))
    ]
    zeros = vector(random, 11, 4)
    zeros["x"][4:8] = [0.0] * 4
    found.append(zeros | {"zeros": True})
    for n, block in ((8, 4), (10, 4), (3, 8), (13, 5), (9, 4)):
        codes = [random.randint(-MOST, MOST) or 1 for _ in range(n)]
        scales = [random.randint(1, 60) / 64 for _ in range(-(-n // block))]
        asked = {"n": n, "block": block}
        found.append({"size": 1, "function": "decode", "given": asked, "codes": codes, "scales": scales})
    for bad in ("nan", "inf"):
        whole = vector(random, 9, 4)
        found.append(whole | {"function": "both", "bad": bad, "given": whole["given"] | {"x[5]": bad}})
    return found


def vector(random: Random, n: int, block: int) -> Case:
    """Numbers whose blocks have different sizes; in each second one a negative number is the largest."""
    x = []
    for start in range(0, n, block):
        length = min(block, n - start)
        largest = random.randint(100, 300) / 64 * (start // block + 1)
        part = [largest * random.uniform(-0.9, 0.9) for _ in range(length)]
        part[random.randrange(length)] = largest * (-1) ** (start // block + 1)
        x += part
    return {"size": 1, "function": "encode", "given": {"n": n, "block": block}, "x": x}


def numbers(case: Case) -> np.ndarray:
    """x (n,) of a case."""
    x = np.array(case["x"], np.float32)
    if "bad" in case:
        x[5] = float(case["bad"])
    return x


def run_trial(case: Case, comm: Talk, student: ModuleType) -> dict[str, Any]:
    """One call; for what is no number, there and back."""
    block = case["given"]["block"]
    with np.errstate(all="ignore"):
        if case["function"] == "encode":
            return observe(comm, student.encode, numbers(case), block)
        if case["function"] == "decode":
            codes, scales = np.array(case["codes"], np.int8), np.array(case["scales"], np.float32)
            return observe(comm, student.decode, codes, scales, block)
        codes, scales = student.encode(numbers(case), block)
        return observe(comm, student.decode, codes, scales, block)


# Scales.


def blocks(case: Case) -> list[np.ndarray]:
    x, block = numbers(case).astype(float), case["given"]["block"]
    return [x[start : start + block] for start in range(0, x.size, block)]


def of_blocks(
    largest: Callable[[np.ndarray], float], parts: Callable[[Case], list[np.ndarray]] = blocks
) -> Values:
    return lambda case: np.array([largest(part) for part in parts(case)])


def size_of(x: np.ndarray) -> float:
    return np.abs(x).max()


def whole_blocks(case: Case) -> list[np.ndarray]:
    """Without the rest."""
    return [part for part in blocks(case) if part.size == case["given"]["block"]]


def filled_blocks(case: Case) -> list[np.ndarray]:
    """With zeros to the end of the last one."""
    block = case["given"]["block"]
    return [np.pad(part, (0, block - part.size)) for part in blocks(case)]


def rest_in_last(case: Case) -> list[np.ndarray]:
    """The rest belongs to the last whole block."""
    parts, block = blocks(case), case["given"]["block"]
    if len(parts) > 1 and parts[-1].size < block:
        parts[-2:] = [np.concatenate(parts[-2:])]
    return parts


def many_parts(case: Case) -> list[np.ndarray]:
    """As many parts as a block has numbers."""
    return np.array_split(numbers(case).astype(float), case["given"]["block"])


def even_parts(case: Case) -> list[np.ndarray]:
    """As many blocks as there should be, all of about one length."""
    return np.array_split(numbers(case).astype(float), len(blocks(case)))


def strided(case: Case) -> list[np.ndarray]:
    number = len(blocks(case))
    return [numbers(case).astype(float)[start::number] for start in range(number)]


right_scales = of_blocks(lambda x: size_of(x) / MOST)

SCALES: tuple[tuple[str, Values], ...] = (
    ("one_scale", lambda c: np.array([size_of(numbers(c)) / MOST])),
    ("one_scale", lambda c: np.full(len(blocks(c)), size_of(numbers(c)) / MOST)),
    ("scale_of_each", lambda c: np.abs(numbers(c)) / MOST),
    ("not_absolute", of_blocks(lambda x: x.max() / MOST)),
    ("not_absolute", of_blocks(lambda x: max(x.max(), 0) / MOST)),
    ("not_absolute", of_blocks(lambda x: x.max() / MOST, filled_blocks)),
    ("range", of_blocks(lambda x: (x.max() - x.min()) / 255, filled_blocks)),
    ("not_absolute", of_blocks(lambda x: abs(x.max()) / MOST)),
    ("range", of_blocks(lambda x: (x.max() - x.min()) / 255)),
    ("range", of_blocks(lambda x: (x.max() - x.min()) / 254)),
    ("range", of_blocks(lambda x: (x.max() - x.min()) / MOST)),
    ("too_fine", of_blocks(lambda x: size_of(x) / 128)),
    ("too_fine", of_blocks(lambda x: size_of(x) / 255)),
    ("too_fine", of_blocks(lambda x: size_of(x) / 256)),
    ("not_divided", of_blocks(size_of)),
    ("inverse", of_blocks(lambda x: MOST / size_of(x))),
    ("mean", of_blocks(lambda x: np.abs(x).mean() / MOST)),
    ("tail_lost", of_blocks(lambda x: size_of(x) / MOST, whole_blocks)),
    ("rest_in_last", of_blocks(lambda x: size_of(x) / MOST, rest_in_last)),
    ("number_for_length", of_blocks(lambda x: size_of(x) / MOST, many_parts)),
    ("even_parts", of_blocks(lambda x: size_of(x) / MOST, even_parts)),
    ("strided", of_blocks(lambda x: size_of(x) / MOST, strided)),
)


# Codes, where scales are right.


def ratio(case: Case) -> np.ndarray:
    """x in steps of its block, (n,)."""
    scales, n, block = right_scales(case), *case["given"].values()
    return numbers(case).astype(float) / np.where(scales > 0, scales, 1)[np.arange(n) // block]


def padded(case: Case) -> np.ndarray:
    """Codes to the end of the last block."""
    found = np.rint(ratio(case))
    return np.concatenate([found, np.zeros(-found.size % case["given"]["block"])])


def rest_empty(case: Case) -> np.ndarray:
    found = np.rint(ratio(case))
    found[found.size // case["given"]["block"] * case["given"]["block"] :] = 0
    return found


def tail_cut(case: Case) -> np.ndarray:
    return np.rint(ratio(case))[: len(whole_blocks(case)) * case["given"]["block"]]


CODES: tuple[tuple[str, Values], ...] = (
    ("truncated", lambda c: np.trunc(ratio(c))),
    ("rounded_down", lambda c: np.floor(ratio(c))),
    ("rounded_up", lambda c: np.ceil(ratio(c))),
    ("half_up", lambda c: np.trunc(ratio(c) + 0.5)),
    ("not_scaled", lambda c: np.rint(numbers(c))),
    ("not_scaled", lambda c: np.trunc(numbers(c))),
    (
        "multiplied",
        lambda c: np.rint(numbers(c) * right_scales(c)[np.arange(numbers(c).size) // c["given"]["block"]]),
    ),
    ("sign_lost", lambda c: np.abs(np.rint(ratio(c)))),
    ("codes_padded", padded),
    ("rest_empty", rest_empty),
    ("codes_tail_lost", tail_cut),
)


# What comes back.


def coded(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes, scales, and the number of each code's block."""
    codes, block = np.array(case["codes"], float), case["given"]["block"]
    return codes, np.array(case["scales"]), np.arange(codes.size) // block


def right_back(case: Case) -> np.ndarray:
    codes, scales, number = coded(case)
    return codes * scales[number]


def tiled(case: Case) -> np.ndarray:
    codes, scales, _ = coded(case)
    return codes * scales[np.arange(codes.size) % scales.size]


def even_blocks(case: Case) -> np.ndarray:
    """As if all blocks were of one length."""
    codes, scales, _ = coded(case)
    return codes * np.repeat(scales, -(-codes.size // scales.size))[: codes.size]


def padded_back(case: Case) -> np.ndarray:
    found = right_back(case)
    return np.concatenate([found, np.zeros(-found.size % case["given"]["block"])])


BACK: tuple[tuple[str, Values], ...] = (
    ("scale_forgotten", lambda c: coded(c)[0]),
    ("divided", lambda c: coded(c)[0] / coded(c)[1][coded(c)[2]]),
    ("first_scale", lambda c: coded(c)[0] * coded(c)[1][0]),
    ("first_scale", lambda c: coded(c)[0] * coded(c)[1].max()),
    ("tiled", tiled),
    ("even_blocks", even_blocks),
    ("kept_in_codes", lambda c: np.trunc(right_back(c))),
    ("kept_in_codes", lambda c: np.rint(right_back(c))),
    ("back_padded", padded_back),
    ("times_127", lambda c: right_back(c) * MOST),
    ("divided_by_127", lambda c: right_back(c) / MOST),
    (
        "back_tail_lost",
        lambda c: right_back(c)[: coded(c)[0].size // c["given"]["block"] * c["given"]["block"]],
    ),
)


# The diagnosis.


def close(a: Any, b: np.ndarray) -> bool:
    """Whether arrays have the same shape, and numbers but for what float32 rounds."""
    if not isinstance(a, np.ndarray) or a.dtype.kind not in "fiu":
        return False
    return a.shape == b.shape and bool(np.allclose(a.astype(float), b, rtol=1e-5, atol=1e-9))


def mistake(
    trials: Sequence[Trial], part: Callable[[Trial], Any], known: Sequence[tuple[str, Values]]
) -> str:
    """The first known mistake that gives this part of the result in all trials; "" if none does."""
    for key, values in known:
        if all(close(part(t), made(values, t.case)) for t in trials):
            return key
    return ""


def made(values: Values, case: Case) -> np.ndarray:
    try:
        return np.asarray(values(case))
    except (ValueError, IndexError, ZeroDivisionError):
        return np.full((1, 1, 1), np.nan)


def shown(
    key: str, trial: Trial, head: Sequence[str], rows: Sequence[Sequence[Any]], **params: Any
) -> Diagnosis:
    params |= {"size": 1, "rank": 0} | trial.case["given"]
    return Diagnosis(key, params, trial.ranks[0]["line"], trial.case, head, rows)


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """Scales, codes, zeros; then the way back; then what is no number."""
    encoded, decoded, both = (
        [t for t in trials if t.case["function"] == name] for name in ("encode", "decode", "both")
    )
    return (
        pair(encoded)
        or check_scales([t for t in encoded if "zeros" not in t.case])
        or check_codes([t for t in encoded if "zeros" not in t.case])
        or check_zeros([t for t in encoded if "zeros" in t.case])
        or evidence.find_changed_input(encoded, ("x",))
        or evidence.find_part_of_input(encoded)
        or check_back(decoded)
        or evidence.find_changed_input(decoded, ("codes", "scales"))
        or check_bad(both)
    )


def pair(trials: Sequence[Trial]) -> Diagnosis | None:
    """Whether encode returns two arrays."""
    for trial in trials:
        value = trial.values()[0]
        if value is None:
            return shown("returns_nothing", trial, (), (), wanted="(codes, scales)")
        if not isinstance(value, tuple | list) or len(value) != 2:
            return shown("no_pair", trial, (), (), got=evidence.kind_of(value))
        if value[0].__class__ is np.ndarray and value[0].dtype == np.float32 and value[1].dtype == np.int8:
            return shown("pair_exchanged", trial, (), ())
    return None


def kind(trial: Trial, value: Any, dtype: str, n: int, name: str) -> Diagnosis | None:
    """What is wrong with the type or shape of one array."""
    if found := evidence.wrong_kind(value, np.zeros(n, dtype)):
        key, params = found
        return shown(key, trial, (), (), **params | {"wanted": f"{name}: {params['wanted']}"})
    return None


def check_scales(trials: Sequence[Trial]) -> Diagnosis | None:
    scales = lambda t: t.values()[0][1]  # noqa: E731
    bad = [t for t in trials if not close(scales(t), right_scales(t.case))]
    wrong = bad and mistake(trials, scales, SCALES)
    if bad and not wrong:
        for trial in trials:
            if found := kind(trial, scales(trial), "float32", len(blocks(trial.case)), "scales"):
                return found
    if bad:
        want, got = right_scales(bad[0].case), np.atleast_1d(scales(bad[0]))
        rows = [
            (n, *(f"{v[n]:.6g}" if n < v.size else "-" for v in (want, got)))
            for n in range(max(want.size, got.size))
        ]
        off = next((n for n, (_, want, got) in enumerate(rows) if want != got), 0)
        found = shown(wrong or "scales_wrong", bad[0], ("block", "wanted", "got"), rows, off=off)
        return found if wrong else slip(found, trials, ENCODE, "scales", 1)
    for trial in trials:
        if found := kind(trial, scales(trial), "float32", len(blocks(trial.case)), "scales"):
            return found
    return None


def check_codes(trials: Sequence[Trial]) -> Diagnosis | None:
    """Each at most half a step off."""
    codes = lambda t: t.values()[0][0]  # noqa: E731
    bad = [t for t in trials if not near(codes(t), ratio(t.case))]
    if bad:
        wrong = next(
            (key for key, values in CODES if all(gives(codes(t), values, t.case) for t in trials)), ""
        )
        if not wrong:
            for trial in trials:
                if found := kind(trial, codes(trial), "int8", numbers(trial.case).size, "codes"):
                    return found
        found = shown(wrong or "codes_wrong", bad[0], ("number", "x", "wanted", "got"), code_rows(bad[0]))
        return found if wrong else slip(found, trials, ENCODE, "codes", 0)
    for trial in trials:
        if found := kind(trial, codes(trial), "int8", numbers(trial.case).size, "codes"):
            return found
    return None


ENCODE = """
number = -(-x.size // block)
wide = np.zeros((number, block), np.float32)
wide.reshape(-1)[:x.size] = x
scales = np.abs(wide).max(axis=1) / np.float32(127)
steps = np.where(scales == 0, np.float32(1), scales)
codes = np.nan_to_num(np.rint(wide / steps[:, None])).reshape(-1)[:x.size].astype(np.int8)
"""
DECODE = """
steps = np.repeat(scales, block)[:codes.size]
back = codes * steps
"""


def slip(
    found: Diagnosis, trials: Sequence[Trial], rule: str, name: str, number: int | None = None
) -> Diagnosis:
    """The same diagnosis, or "near": the rule with one edit that gives this name in all trials.

    number: of this part of what was returned; all of it, if there is none
    """
    parts = []
    for trial in trials:
        value = trial.ranks[0]["value"]
        value = value if number is None else next(iter(value.values()))[number]
        parts.append(Trial(trial.case, [trial.ranks[0] | {"value": value}]))
    key, found.key = found.key, "unknown"
    slips.find_slip(found, parts, rule, arguments, lambda names: names[name], name)
    found.key = key if found.key == "unknown" else found.key
    return found


def arguments(trial: Trial, _: int) -> dict[str, Any]:
    """What a rule may use: the arguments of the call."""
    case = trial.case
    if case["function"] == "decode":
        coded = {"codes": np.array(case["codes"], np.int8), "scales": np.array(case["scales"], np.float32)}
        return coded | {"block": case["given"]["block"]}
    return {"x": numbers(case), "block": case["given"]["block"]}


def gives(codes: Any, values: Values, case: Case) -> bool:
    """Whether a mistake gives these codes; near a whole number of steps float32 may round either way."""
    found, exact = made(values, case), ratio(case)
    if not isinstance(codes, np.ndarray) or codes.shape != found.shape or codes.dtype.kind not in "fiu":
        return False
    off = np.abs((codes.astype(float) - found + 128) % 256 - 128)  # int8 takes 128 for -128
    if found.size == exact.size:
        off[np.abs(exact - np.rint(exact)) < SLACK] -= 1
    return bool((off < SLACK).all())


def near(codes: Any, wanted: np.ndarray) -> bool:
    """Whether codes are whole numbers at most half a step away."""
    if not isinstance(codes, np.ndarray) or codes.shape != wanted.shape or codes.dtype.kind not in "fiu":
        return False
    return bool((np.abs(codes.astype(float) - wanted) <= 0.5 + SLACK).all())


def code_rows(trial: Trial) -> list[tuple[Any, ...]]:
    codes, want = np.atleast_1d(trial.values()[0][0]), ratio(trial.case)
    rows = []
    for n in range(max(codes.size, want.size)):
        told = (f"{numbers(trial.case)[n]:.4g}", f"{np.rint(want[n]):.0f}") if n < want.size else ("-", "-")
        rows.append((n, *told, f"{codes[n]:.6g}" if n < codes.size else "-"))
    return rows


def check_zeros(trials: Sequence[Trial]) -> Diagnosis | None:
    """A block of zeros: its codes are 0, and its scale is a number."""
    for trial in trials:
        codes, scales = trial.values()[0]
        finite = isinstance(scales, np.ndarray) and np.isfinite(scales).all()
        if not finite or not near(codes, ratio(trial.case)):
            rows = [(n, str(np.atleast_1d(scales)[n])) for n in range(np.size(scales))]
            return shown("zero_block", trial, ("block", "got"), rows)
    return None


def check_back(trials: Sequence[Trial]) -> Diagnosis | None:
    back = lambda t: t.values()[0]  # noqa: E731
    bad = [t for t in trials if not close(back(t), right_back(t.case))]
    wrong = bad and mistake(trials, back, BACK)
    if not wrong:
        for trial in trials:
            if found := kind(trial, back(trial), "float32", len(trial.case["codes"]), "x"):
                return found
    if not bad:
        return None
    trial = bad[0]
    want, got = right_back(trial.case), np.atleast_1d(back(trial))
    codes, scales, number = coded(trial.case)
    rows = [
        (
            f"{codes[n]:.0f}",
            f"{scales[number[n]]:.6g}",
            f"{want[n]:.6g}",
            f"{got[n]:.6g}" if n < got.size else "-",
        )
        for n in range(want.size)
    ]
    found = shown(wrong or "back_wrong", trial, ("code", "scale", "wanted", "got"), rows)
    return found if wrong else slip(found, trials, DECODE, "back")


def check_bad(trials: Sequence[Trial]) -> Diagnosis | None:
    """What is no number must not come back as one, and spoil no other block."""
    for trial in trials:
        back = trial.values()[0]
        if np.shape(back) != (9,) or np.isfinite(back[5]):
            return shown(
                "hides_nan", trial, (), (), back=f"{np.atleast_1d(back)[5]:.4g}" if np.size(back) > 5 else "-"
            )
        if not np.isfinite(np.concatenate([back[:4], back[8:]])).all():
            return shown("spoils_others", trial, (), ())
    return None
