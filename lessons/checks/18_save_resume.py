"""Exercise 18: a checkpoint in pieces. Each number tells its step, its vector and its place.

Nothing is gathered, so one process plays all ranks, one after another, with a `comm` that is only a rank and
a size.
"""

import contextlib
import functools
import io
import itertools
import tempfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker import evidence
from lessons.checker.evidence import Diagnosis, Trial, Unknown, kind_of, same
from lessons.checker.ranks.lines import line_of_error
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import encode, observe
from zero_ref.layout import bounds

FUNCTIONS = ("save_sharded", "load_resharded")
RANKS = 1
VECTORS = ("param", "m", "v")
OLD, NEW = 9, 10  # steps; "9" comes after "10" in the order of strings
BIG = 1 << 18  # elements of a vector that is too long to be held whole


class MessageSent(Exception):
    """A message, where none is allowed."""


class Rank:
    """The `comm` of this exercise: a rank and a size. Messages are refused."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def send(self, *_: object) -> None:
        raise MessageSent

    recv = sendrecv = barrier = gather = all_gather = sum = send


def cases(random: Random) -> list[dict[str, Any]]:
    """Saving alone, then all ways of loading, then folders in which something is wrong."""
    found: list[dict[str, Any]] = [{"size": 1, "old N": n, "numel": 3001} for n in (1, 2, 3)]
    some = random.choice((10, 14))
    for save, load, numel in ((1, 1, 5), (2, 2, 7), (4, 2, some), (2, 3, 11), (3, 4, 2), (12, 5, 27)):
        found.append({"size": 1, "old N": save, "new N": load, "numel": numel})
    found.append({"size": 1, "old N": 3, "new N": 2, "numel": 13, "dtype": "float64"})
    for save, load, what in ((3, 2, "missing"), (3, 2, "damaged"), (2, 3, "older"), (3, 2, "killed")):
        found.append({"size": 1, "old N": save, "new N": load, "numel": 13, "folder": what})
    return [*found, {"size": 1, "old N": 16, "new N": 8, "numel": BIG, "folder": "big"}]


def vector(case: dict[str, Any], name: str, step: int = NEW) -> np.ndarray:
    """A whole vector, (numel,): element i of "m" at step 10 is 102000 + i; a long one is random."""
    dtype, kind = case.get("dtype", "float32"), VECTORS.index(name)
    if case["numel"] > 1000:
        return draw_numbers(case["numel"], kind)
    return (10000 * step + 1000 * (kind + 1) + np.arange(case["numel"])).astype(dtype)


@functools.cache
def draw_numbers(numel: int, kind: int) -> np.ndarray:
    """(numel,) float32: numbers that cannot be packed into less room."""
    return np.random.default_rng(kind).normal(size=numel).astype("float32")


def cut(whole: np.ndarray, rank: int, size: int) -> np.ndarray:
    """Rank's slice of a vector."""
    ends = bounds(whole.size, [1] * size)
    return whole[ends[rank] : ends[rank + 1]]


# On the rank: save, spoil the folder, load.


def run_trial(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """All ranks save, one after another, the last first; then all ranks of another number load."""
    what, size = case.get("folder"), case["old N"]
    evidence: dict[str, Any] = {"saves": [], "loads": [], "spoke": None}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            if what in ("older", "killed"):
                before = 4 if what == "older" else size
                for rank in reversed(range(before)):
                    save(case, comm, student, folder, Rank(rank, before), OLD)
            for rank in reversed(range(size)):
                if what != "killed" or rank != 1:
                    evidence["saves"].append(save(case, comm, student, folder, Rank(rank, size), NEW))
            spoil(what, folder, evidence["saves"])
            if what == "big":
                return evidence | {"peak": peak(student, folder, case["new N"])}
            for rank in range(case.get("new N", 0)):
                evidence["loads"].append(load(case, comm, student, folder, Rank(rank, case["new N"])))
        except MessageSent as error:
            evidence["spoke"] = line_of_error(error, [student.__file__])
    return evidence


def save(
    case: dict[str, Any], comm: Talk, student: ModuleType, folder: Path, rank: Rank, step: int
) -> dict[str, Any]:
    """One rank saves: which files are new, changed and gone, and what they are."""
    state = {name: cut(vector(case, name, step), rank.rank, rank.size).copy() for name in VECTORS}
    before = {} if case["numel"] == BIG else files(folder)
    report = observe(comm, student.save_sharded, folder, state, step, rank)
    after = {} if case["numel"] == BIG else files(folder)
    own = [path for path in after if after[path] != before.get(path)]
    return {
        "rank": rank.rank,
        "new": sorted(set(own) - set(before)),
        "changed": sorted(set(own) & set(before)),
        "gone": sorted(set(before) - set(after)),
        "bytes": sum(after[path][0] for path in own),
        "pickled": next((path for path in own if is_pickled((folder / path).read_bytes())), None),
        "wrote": bool(report["changed"]),
        "line": report["line"],
    }


def load(case: dict[str, Any], comm: Talk, student: ModuleType, folder: Path, rank: Rank) -> dict[str, Any]:
    """One rank loads. In a folder where something is wrong it may refuse."""
    try:
        return observe(comm, student.load_resharded, folder, rank)
    except MessageSent:
        raise
    except Exception as error:
        if "folder" not in case:
            raise
        text = f"{type(error).__name__}: {error}".replace(str(folder), "folder")
        return {"value": encode(None), "raised": text, "line": line_of_error(error, [student.__file__])}


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Path -> length and checksum of all files below a folder."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found[str(path.relative_to(folder))] = (len(data), zlib.crc32(data))
    return found


def is_pickled(data: bytes) -> bool:
    """Whether a file holds a pickle: by itself, or as an array of Python objects."""
    if data.startswith(b"PK"):
        with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(io.BytesIO(data)) as archive:
            return any(is_pickled(archive.read(name)) for name in archive.namelist())
        return False
    if data.startswith(b"\x93NUMPY"):
        return b"O'" in data[:128]
    return data[:1] == b"\x80" and data[-1:] == b"."


def spoil(what: str | None, folder: Path, saves: Sequence[dict[str, Any]]) -> None:
    """Take away the files of the last rank, or half of those of rank 1."""
    for report in saves:
        for path in map(folder.joinpath, report["new"]):
            if what == "missing" and report["rank"] == len(saves) - 1:
                path.unlink(missing_ok=True)
            if what == "damaged" and report["rank"] == 1 and path.exists():
                data = path.read_bytes()
                path.write_bytes(data[: len(data) // 2])


def peak(student: ModuleType, folder: Path, size: int) -> int:
    """The most bytes that a rank takes while it loads."""
    tracemalloc.start()
    try:
        begin = tracemalloc.get_traced_memory()[0]
        student.load_resharded(folder, Rank(size // 2, size))
        return tracemalloc.get_traced_memory()[1] - begin
    finally:
        tracemalloc.stop()


# In the checker: one trial of one process is one of as many ranks as load.


class Loads(Trial):
    """What all ranks loaded: (param, m, v, step) where it is of the right form."""

    def values(self) -> list[Any]:
        """What the ranks returned, in one tuple each."""
        return [flat(value) for value in super().values()]


def loads(trial: Trial) -> Loads:
    """The loading part of a trial, with a rank for each rank that loads."""
    case = trial.case | {"size": trial.case["new N"]}
    known = {key: case[key] for key in ("size", "old N", "numel", "dtype") if key in case}
    return Loads(known, reports(trial))


def reports(trial: Trial) -> list[dict[str, Any]]:
    return trial.ranks[0]["loads"]


def flat(value: Any) -> Any:
    """(state, step) -> (param, m, v, step), None for what is not there."""
    if not isinstance(value, tuple | list) or len(value) != 2 or not isinstance(value[0], dict):
        return value
    state, step = value
    if isinstance(step, np.ndarray) and step.ndim == 0:
        step = step.item()
    return (*(state.get(name) for name in VECTORS), step)


def state(trial: Trial, part: Any, step: Any = NEW) -> tuple:
    """(param, m, v, step), each vector as part(whole vector) says."""
    return (*(part(vector(trial.case, name)) for name in VECTORS), step)


def right(trial: Trial, rank: int) -> tuple:
    return state(trial, lambda whole: cut(whole, rank, trial.size))


def shards(trial: Trial, whole: np.ndarray) -> list[np.ndarray]:
    """What was saved, by rank."""
    return [cut(whole, rank, trial.case["old N"]) for rank in range(trial.case["old N"])]


def without_moments(trial: Trial, rank: int, nothing: Any) -> tuple:
    """Parameters, and nothing for m and v."""
    param, m, v, step = right(trial, rank)
    return (param, nothing(m), nothing(v), step)


def joined(trial: Trial, rank: int, order: Iterable[int]) -> tuple:
    """The shards joined in some order, and cut anew."""

    def part(whole: np.ndarray) -> np.ndarray:
        return cut(np.concatenate([shards(trial, whole)[number] for number in order]), rank, trial.size)

    return state(trial, part)


def even(trial: Trial, rank: int, width: int) -> tuple:
    """Cuts of equal width."""
    return state(trial, lambda whole: whole[rank * width : (rank + 1) * width])


def up(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def swapped(trial: Trial, rank: int) -> tuple:
    param, m, v, step = right(trial, rank)
    return (param, v, m, step)


MISTAKES = (
    ("step_lost", lambda t, r: (*right(t, r)[:3], t.values()[r][3])),
    ("moments_missing", lambda t, r: without_moments(t, r, lambda _: None)),
    ("moments_missing", lambda t, r: without_moments(t, r, np.zeros_like)),
    ("m_v_swapped", swapped),
    ("old_cuts", lambda t, r: state(t, lambda whole: shards(t, whole)[r])),
    ("whole_returned", lambda t, r: state(t, lambda whole: whole)),
    ("first_file_only", lambda t, r: joined(t, r, [0])),
    ("string_order", lambda t, r: joined(t, r, sorted(range(t.case["old N"]), key=str))),
    ("tail_lost", lambda t, r: even(t, r, t.case["numel"] // t.size)),
    ("other_cuts", lambda t, r: even(t, r, up(t.case["numel"], t.size))),
)


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """What is in the files; what comes back; what a spoilt folder gives; and what it costs."""
    plain = [loads(t) for t in trials if "new N" in t.case and "folder" not in t.case]
    return (
        message_sent(trials)
        or wrong_files([t for t in trials if "new N" not in t.case])
        or wrong_loads(plain)
        or bad_checkpoint_taken(trials, "missing")
        or bad_checkpoint_taken(trials, "damaged")
        or two_in_a_folder(trials, "older")
        or two_in_a_folder(trials, "killed")
        or too_costly(trials)
    )


def message_sent(trials: Sequence[Trial]) -> Diagnosis | None:
    """A message."""
    for trial in trials:
        if trial.ranks[0]["spoke"]:
            return Diagnosis("spoke", {}, trial.ranks[0]["spoke"])
    return None


def wrong_files(trials: Sequence[Trial]) -> Diagnosis | None:
    """What each rank has written, and over what."""
    for trial in trials:
        size, numel = trial.case["old N"], trial.case["numel"]
        case = {"size": size, "numel": numel}
        saves = sorted(trial.ranks[0]["saves"], key=lambda report: report["rank"])
        head = ("rank", "new_files", "changed_files")
        rows = [(r["rank"], file_names(r["new"]), file_names(r["changed"])) for r in saves]
        for report in saves:
            params = {
                "rank": report["rank"],
                "size": size,
                "file": file_names(report["changed"] + report["gone"]),
            }
            if report["gone"]:
                return Diagnosis("deletes_others", params, report["line"], case)
            if report["changed"] and not report["new"]:
                return Diagnosis("same_name", params, report["line"], case, head, rows)
            if not report["new"]:
                return Diagnosis("writes_nothing", params, report["line"], case, head, rows)
            if report["pickled"]:
                return Diagnosis("pickled", {"file": report["pickled"]}, report["line"], case)
            shard = 4 * cut(np.empty(numel), report["rank"], size).size
            params |= {"got": report["bytes"], "wanted": 3 * shard}
            if report["bytes"] < 3 * shard:
                key = "only_param" if report["bytes"] < 1.3 * shard else "too_small"
                key = key if report["bytes"] else "empty_file"
                table = [(r["rank"], params["wanted"], r["bytes"]) for r in saves[:1]]
                return Diagnosis(key, params, report["line"], case, ("rank", "wanted", "got"), table)
            if report["wrote"]:
                return Diagnosis("changed_input", {"name": "state"}, report["line"], case)
    return None


def file_names(paths: Sequence[str]) -> str:
    """File names for a cell."""
    return " ".join(paths) or "-"


def wrong_loads(trials: Sequence[Loads]) -> Diagnosis | None:
    """Known mistakes first, as they explain wrong lengths, too; then lengths and types."""
    for trial in trials:
        for rank, value in enumerate(trial.values()):
            if not isinstance(value, tuple) or len(value) != 4:
                got = kind_of(value) if not isinstance(value, tuple | list) else f"{len(value)} values"
                key = "returns_nothing" if value is None else "returns_type"
                params = {"wanted": "(dict, int)", "got": got}
                return Diagnosis(key, params, trial.ranks[rank]["line"], trial.case)
    found = evidence.explain(trials, right, MISTAKES)
    if found is None:
        return wrong_kind_loaded(trials)
    if found.key == "unknown":
        found = other_order(trials, found) or wrong_kind_loaded(trials) or found
    return with_numbers_read(found, evidence.trial_of(found, trials))


def other_order(trials: Sequence[Loads], found: Diagnosis) -> Diagnosis | None:
    """All numbers of every vector, but with zeros between them, or in another order."""
    padded, zeros = True, False
    for trial in trials:
        for values in list(zip(*trial.values()))[:3]:
            pieces = [np.ravel(v) for v in values if isinstance(v, np.ndarray) and v.dtype.kind in "fiu"]
            got, wanted = np.concatenate([np.zeros(0), *pieces]), np.arange(trial.case["numel"])
            numbers, zeros = got[got != 0] % 1000, zeros or not got.all()
            padded = padded and np.array_equal(numbers, wanted)
            if not np.array_equal(np.sort(got % 1000), wanted) and not padded:
                return None
    if padded and not zeros:
        return None  # in order, but cut in other places
    key = "padding_saved" if padded else "other_order"
    return Diagnosis(key, found.params, found.line, found.case, found.head, found.rows)


def wrong_kind_loaded(trials: Sequence[Loads]) -> Diagnosis | None:
    """A vector that is none, or of another type or length."""
    for trial in trials:
        for rank, value in enumerate(trial.values()):
            for number, name in enumerate(VECTORS):
                if found := evidence.wrong_kind(value[number], right(trial, rank)[number]):
                    params = found[1] | {"wanted": f"{name} {found[1]['wanted']}"}
                    rows = [
                        (r, kind_of(right(trial, r)[number]), kind_of(v[number]))
                        for r, v in enumerate(trial.values())
                    ]
                    line = trial.ranks[rank]["line"]
                    key = "returns_type" if found[0] == "returns_nothing" else found[0]
                    return Diagnosis(key, params, line, trial.case, ("rank", "wanted", "got"), rows)
    return None


def with_numbers_read(found: Diagnosis, trial: Loads) -> Diagnosis:
    """The same diagnosis with its numbers read: of which vector, from where to where."""
    if found.key.startswith("returns"):
        return found
    number = 3
    for want, got in ((right(trial, r), v) for r, v in enumerate(trial.values())):
        number = min(number, *(i for i in range(4) if i == 3 or not same(got[i], want[i])))
    rows = []
    for rank, value in enumerate(trial.values()):
        cells = (right(trial, rank)[number], value[number])
        rows.append((rank, *(f"step {cell}" if number == 3 else read_numbers(cell) for cell in cells)))
    found.rows = rows
    found.params |= {"name": [*VECTORS, "step"][number]}
    return found


def read_numbers(values: Any, step: int = NEW) -> str:
    """Numbers as what they are: "m[3..5]" are three elements of m, with "@9" if they are of step 9."""
    if not isinstance(values, np.ndarray):
        return "-" if values is None or isinstance(values, Unknown) else str(values)
    words, numbers = [], np.ravel(values).tolist()
    codes = [divmod(round(x), 1000) if abs(x) < 1e9 else (0, 0) for x in numbers]
    for _, group in itertools.groupby(enumerate(codes), neighbours):
        run = [place for _, place in group]
        then, kind = divmod(run[0][0], 10)
        if not 1 <= kind <= len(VECTORS):
            words.append(" ".join(str(i) for _, i in run[:3]) + ("..." if len(run) > 3 else ""))
            continue
        ends = f"{run[0][1]}..{run[-1][1]}" if len(run) > 1 else f"{run[0][1]}"
        words.append(f"{VECTORS[kind - 1]}[{ends}]" + (f"@{then}" if then != step else ""))
    return " ".join(words) or "[]"


def neighbours(numbered: tuple[int, tuple[int, int]]) -> tuple[int, int]:
    """What neighbouring elements have in common: their vector, and how far they are from their place."""
    place, (kind, element) = numbered
    return kind, element - place if kind else element


def bad_checkpoint_taken(trials: Sequence[Trial], what: str) -> Diagnosis | None:
    """A checkpoint that is not whole, and no rank says so."""
    for trial in trials:
        if trial.case.get("folder") != what or any("raised" in report for report in reports(trial)):
            continue
        loading = loads(trial)
        if what == "damaged" and all(same(v, right(loading, r)) for r, v in enumerate(loading.values())):
            continue
        rows = [
            (
                r,
                read_numbers(right(loading, r)[0]),
                read_numbers(v[0]) if isinstance(v, tuple) else kind_of(v),
            )
            for r, v in enumerate(loading.values())
        ]
        line, head = reports(trial)[0]["line"], ("rank", "wanted", "got")
        return Diagnosis(f"takes_{what}", {"size": trial.case["old N"]}, line, loading.case, head, rows)
    return None


def two_in_a_folder(trials: Sequence[Trial], what: str) -> Diagnosis | None:
    """An older checkpoint beside a newer one: of other ranks, or where the newer was never completed."""
    for trial in trials:
        if trial.case.get("folder") != what:
            continue
        loading, step = loads(trial), OLD if what == "killed" else NEW
        refused = [report["raised"] for report in reports(trial) if "raised" in report]
        if refused and what == "killed":
            return None  # see too_costly()
        if refused:
            line = next(report["line"] for report in reports(trial) if "raised" in report)
            return Diagnosis("refuses_good", {"text": refused[0]}, line, loading.case)
        values = loading.values()
        wants = {s: [state_of_step(loading, rank, s) for rank in range(loading.size)] for s in (OLD, NEW)}
        if same(values, wants[step]):
            continue
        keys = {"older": ("older_taken", "leftovers_mixed"), "killed": ("mixed_steps", "mixed_steps")}[what]
        key = keys[0] if same(values, wants[OLD]) else keys[1]
        rows = []
        for rank, value in enumerate(values):
            got = read_numbers(value[0], step) if isinstance(value, tuple) else kind_of(value)
            rows.append((rank, read_numbers(wants[step][rank][0], step), got))
        params = {"old": OLD, "new": NEW}
        line, head = reports(trial)[0]["line"], ("rank", "wanted", "got")
        return Diagnosis(key, params, line, loading.case, head, rows)
    return None


def state_of_step(trial: Trial, rank: int, step: int) -> tuple:
    """What a rank should have of the checkpoint of a step."""
    parts = [cut(vector(trial.case, name, step), rank, trial.size) for name in VECTORS]
    return (*parts, step)


def too_costly(trials: Sequence[Trial]) -> Diagnosis | None:
    """A rank that holds whole vectors while it loads; and an old checkpoint that a killed save destroys."""
    for trial in trials:
        what, size = trial.case.get("folder"), trial.case["old N"]
        if what == "killed" and all("raised" in report for report in reports(trial)):
            params = {"old": OLD, "new": NEW}
            return Diagnosis("old_lost", params, trial.ranks[0]["saves"][0]["line"], state="note")
        if what == "big" and trial.ranks[0]["peak"] > 4 * BIG * 7 // 8:
            own = 3 * 4 * BIG // trial.case["new N"]
            params = {"own": own, "got": trial.ranks[0]["peak"], "whole": 3 * 4 * BIG}
            case = {"size": trial.case["new N"], "old N": size, "numel": BIG}
            return Diagnosis("reads_whole", params, None, case, state="note")
    return None
