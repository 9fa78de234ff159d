"""Whether what the checker says of an answer is so: each statement is tried on what the answer does.

The checker compares with what known mistakes would give. Here nothing of that is used. An oracle for a key
looks at the ranks' reports (what was returned, called, sent), at those of the solution in the same trial, or
runs the student's ring itself, on sums that carry the names of their terms. Those of single exercises are in
truth_of.py. A statement without an oracle is tried on a twin, see twins.py.
"""

import ast
import contextlib
import io
import queue
import sys
import threading
import types
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parent.parent)]

from twins import does_as  # noqa: E402

from lessons.checker.checking import Result  # noqa: E402
from lessons.checker.evidence import decode, kind_of, same  # noqa: E402
from lessons.checker.teacher.student_process import at_most  # noqa: E402
from lessons.checks import cases_of  # noqa: E402
from zero_ref.layout import bounds  # noqa: E402


@dataclass
class Said:
    """A statement with what it is about: the case shown, and what both answers' ranks reported in it."""

    key: str
    params: dict[str, Any]
    exercise: str
    text: str
    case: dict[str, Any] | None
    number: int | None  # of the case
    result: Result
    right: Result

    def reports(self) -> list[dict[str, Any]]:
        """The ranks' reports of the case that is shown; of one that did not end, those of its ranks."""
        found = self.result.outcome.reports.get(self.number, {})
        return [found[rank] for rank in sorted(found)]

    def values(self, right: bool = False) -> list[Any]:
        outcome = (self.right if right else self.result).outcome
        found = outcome.reports[self.number]
        return [decode(found[rank]["evidence"]["value"]) for rank in sorted(found)]

    def evidence(self, right: bool = False) -> list[dict[str, Any]]:
        outcome = (self.right if right else self.result).outcome
        found = outcome.reports[self.number]
        return [found[rank]["evidence"] for rank in sorted(found)]

    def all_evidence(self) -> list[list[dict[str, Any]]]:
        """Of all trials that ended, the ranks' evidence."""
        return [
            [found[rank]["evidence"] for rank in sorted(found)]
            for _, found in sorted(self.result.outcome.reports.items())
            if all("evidence" in report for report in found.values())
        ]


SECONDS = 5.0  # that an oracle may take
Oracle = Callable[[Said], bool]
ORACLES: dict[str, Oracle] = {}
OF_EXERCISE: dict[tuple[str, str], Oracle] = {}  # number, key


def oracle(*keys: str, only: str = "") -> Callable[[Oracle], Oracle]:
    """Make a function the oracle of these keys, in one exercise or in all."""

    def note(function: Oracle) -> Oracle:
        for key in keys:
            if only:
                OF_EXERCISE[only, key] = function
            else:
                ORACLES[key] = function
        return function

    return note


def oracle_of(exercise: str, key: str) -> Oracle | None:
    """What tries a statement by itself."""
    return OF_EXERCISE.get((exercise[:2], key)) or ORACLES.get(key)


def judge(exercise: str, text: str, result: Result, right: Result, twin: Result | None = None) -> bool | None:
    """Whether the statement of a result is so; None where nothing can try it, or nothing is said.

    twin: of the answer that was written to make this mistake, for statements without an oracle
    """
    found = result.diagnosis
    if found is None or found.state == "not_started":
        return None
    known = oracle_of(exercise, found.key)
    if known is None:
        return does_as(result, twin, right) if twin else None
    cases = cases_of(exercise, result.job.seed)
    number = next(
        (n for n, case in enumerate(cases) if found.case is not None and shows(found.case, case)), None
    )
    if number is None and result.outcome.reports:
        number = max(result.outcome.reports)
    said = Said(found.key, found.params, exercise, text, found.case, number, result, right)
    try:
        with at_most(SECONDS), contextlib.redirect_stdout(io.StringIO()):
            return bool(known(said))
    except Exception:  # what is said of does not exist
        return False


def shows(shown: dict[str, Any], case: dict[str, Any]) -> bool:
    """Whether the case that a diagnosis shows is this one; numbers are not shown."""
    return all(case.get(name) == value for name, value in shown.items())


# -- what stops a program --


@oracle(
    "raised",
    "raised_name",
    "raised_import",
    "raised_exit",
    "raised_input",
    "raised_debugger",
    "raised_no_call",
    "raised_rank",
    "recursion",
    "signature",
    "floods",
)
def raises(said: Said) -> bool:
    """This rank did raise this, at a line of the student's that is there; and no other did before it."""
    number = max(said.result.outcome.reports)
    report = said.result.outcome.reports[number].get(said.params.get("rank", 0), {})
    error = report.get("raised")
    if error is None and said.exercise[:2] == "18":
        return said.key == "raised"
    if not error or (error["type"], error["text"]) != (said.params["type"], said.params["text"]):
        return False
    return error["place"] is None or 0 < error["place"][1] <= len(said.text.splitlines())


@oracle("raise_left")
def stands_in_the_way(said: Said) -> bool:
    """It ended a rank, in a function that does something before."""
    reports = [r for ranks in said.result.outcome.reports.values() for r in ranks.values()]
    return any("NotImplementedError" in report.get("raised", {}).get("kinds", ()) for report in reports)


@oracle("hang_differs")
def calls_differ(said: Said) -> bool:
    """No rank goes on, and they have called different things."""
    found = said.result.outcome.hang
    return bool(found) and found["kind"] == "differs" and len({note["doing"] for note in found["ranks"]}) > 1


@oracle(
    "hang_self",
    "hang_circle",
    "hang_absent",
    "hang_all_receive",
    "hang_all_send",
    "hang_neighbour",
    "hang_odd",
)
def hangs(said: Said) -> bool:
    """Ranks of the case wait as it is said: each of the circle for the next one."""
    found = said.result.outcome.hang
    if not found or shows(said.case, cases_of(said.exercise, said.result.job.seed)[found["case"]]) is False:
        return False
    notes, size = found["ranks"], said.case["size"]
    doing = [note["doing"] for note in notes[:size]]
    if said.key == "hang_neighbour":
        rank = said.params["rank"]
        return doing[rank] == said.params["does"] and any(note["waits_for"] for note in notes[:size])
    if said.key == "hang_absent":
        return all(notes[rank]["state"] == "left" for rank in said.params["absent"])
    if said.key == "hang_odd":
        return size == 3 and len({text.split()[0] for text in doing}) == 1
    if said.key in ("hang_all_send", "hang_all_receive"):
        what = "send" if said.key == "hang_all_send" else "recv"
        return all(text.startswith(f"{what} ") for text in doing)
    circle = list(said.params["circle"])
    waits = all(b in notes[a]["waits_for"] for a, b in zip(circle, circle[1:]))
    return waits and (said.key != "hang_self" or len(set(circle)) == 1)


@oracle("endless", "endless_call", "slow_waiting")
def does_not_end(said: Said) -> bool:
    return bool(said.result.outcome.endless)


@oracle("out_of_time")
def no_rank_was_found(said: Said) -> bool:
    return said.result.outcome.endless == {} and not said.result.outcome.died


@oracle("died")
def ended_early(said: Said) -> bool:
    died = said.result.outcome.died
    return bool(died) and (died["ranks"], died["code"]) == (said.params["ranks"], said.params["code"])


@oracle("off_the_end")
def off_the_end(said: Said) -> bool:
    return not 0 <= int(said.params["nobody"]) < said.params["size"]


# -- type and shape --


@oracle("returns_type", "returns_shape", "returns_dtype", "returns_nothing")
def kinds(said: Said) -> bool:
    """What came is of the kind that is said, and the solution's of the one that is wanted."""
    wanted, got = str(said.params["wanted"]), str(said.params.get("got"))
    mine, theirs = said.result.outcome.reports, said.right.outcome.reports
    cases = cases_of(said.exercise, said.result.job.seed)
    known = said.case is not None and said.number in mine and shows(said.case, cases[said.number])
    shown = [said.number] if known else list(mine)
    both = [
        (mine[n][rank].get("evidence"), theirs[n][rank].get("evidence")) for n in shown for rank in mine[n]
    ]
    if said.key == "returns_nothing":
        return any(a == "NoneType" and wanted.endswith(b) for pair in both for a, b in kinds_beside(*pair))
    if any(got == a and wanted.endswith(b) for pair in both for a, b in kinds_beside(*pair)):
        return True
    found, right = ({kind for pair in both for kind in kinds_in(pair[x])} for x in (0, 1))
    new = got in found - right or got.endswith(" values")
    return new and (any(wanted.endswith(kind) for kind in right - found) or wanted.startswith("("))


def kinds_beside(a: Any, b: Any) -> list[tuple[str, str]]:
    """The kinds of what stands in the same places of two reports."""
    coded = [isinstance(x, dict) and len(x) < 4 and bool(CODES & x.keys()) for x in (a, b)]
    if all(coded):
        return decoded_kinds(decode(a), decode(b))
    if isinstance(a, dict) and isinstance(b, dict):
        return [pair for key in a.keys() & b.keys() for pair in kinds_beside(a[key], b[key])]
    if isinstance(a, list) and isinstance(b, list):
        return [pair for x, y in zip(a, b) for pair in kinds_beside(x, y)]
    return []


def decoded_kinds(a: Any, b: Any) -> list[tuple[str, str]]:
    found = [(str(kind_of(a)), str(kind_of(b)))]
    if isinstance(a, dict) and isinstance(b, dict):
        return found + [pair for key in b for pair in decoded_kinds(a.get(key), b[key])]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return found + [pair for x, y in zip(a, b) for pair in decoded_kinds(x, y)]
    return found


CODES = {"array", "scalar", "list", "tuple", "dict", "plain", "other"}  # see observe.encode()


def kinds_in(report: Any) -> set[str]:
    """The kinds of all values in a report."""
    if isinstance(report, list):
        return {kind for each in report for kind in kinds_in(each)}
    if not isinstance(report, dict):
        return set()
    coded = bool(CODES & report.keys())
    found = {str(kind_of(part)) for part in parts(decode(report))} if coded and len(report) < 4 else set()
    return found | {kind for each in report.values() for kind in kinds_in(each)}


def parts(value: Any) -> list[Any]:
    """A value, and what is in it."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [value, *(part for each in inside for part in parts(each))]


# -- values --


def numbers(value: Any) -> np.ndarray:
    """All numbers of a value in a row."""
    found = [
        np.ravel(part) for part in parts(value) if isinstance(part, np.ndarray | float | int | np.generic)
    ]
    return np.concatenate([np.zeros(0), *(part.astype(float) for part in found)])


@oracle("unknown", "scales_wrong", "codes_wrong", "back_wrong")
def something_else(said: Said) -> bool:
    """What came differs from what the solution gives, in the trial that is shown or in one of all."""
    if said.exercise[:2] in ("08", "11", "12", "13"):
        return any(not same(a, b) for a, b in zip(*stage_params(said)))
    mine, theirs = said.result.outcome.reports, said.right.outcome.reports
    return any(
        report.get("evidence") != theirs[n][r].get("evidence") for n in mine for r, report in mine[n].items()
    )


@oracle("all_times", "all_plus", "all_zero", "all_moved")
def related(said: Said) -> bool:
    """Numbers beside those of the solution."""
    got, want = (np.concatenate([numbers(v) for v in said.values(right)]) for right in (False, True))
    if said.key == "all_zero":
        return not got.any()
    if said.key == "all_times":
        return np.allclose(got, said.params["factor"] * want)
    if said.key == "all_plus":
        return np.allclose(got, want + said.params["more"])
    return np.allclose(np.sort(got), np.sort(want))


# -- bytes --


@oracle("more_bytes", "fewer_bytes", "uneven_bytes", "root_bytes")
def costs(said: Said) -> bool:
    """A right result with other bytes than the solution's; the smallest trial that shows it is shown."""
    sent = [
        [sum(e["bytes"] for e in r["events"] if e["to"] is not None) for r in said.evidence(x)]
        for x in (0, 1)
    ]
    if said.exercise[:2] in ("08", "11", "12", "13"):
        sent = [[sum(s["sent"].values()) for s in r["steps"]] for r in said.evidence()]
        return any(said.params["got"] in row for row in sent)
    got, wanted = sent[0][said.params["rank"]], sent[1][said.params["rank"]]
    return (got, wanted) == (said.params["got"], said.params["wanted"]) and not earlier(said, bytes_of)


def bytes_of(report: dict[str, Any]) -> int:
    return sum(event["bytes"] for event in report["events"] if event["to"] is not None)


def earlier(said: Said, look: Callable[[dict[str, Any]], Any]) -> bool:
    """Whether a trial before the one that is shown differs from the solution's, too."""
    mine, theirs = said.result.outcome.reports, said.right.outcome.reports
    return any(
        look(mine[n][r]["evidence"]) != look(theirs[n][r]["evidence"])
        for n in range(said.number)
        for r in mine[n]
    )


# -- rings: sums that know their terms --


class Terms(Counter):
    """A sum: what is in it, and how often. (rank, element), or "number" for anything else that was added."""

    def __add__(self, other: Any) -> "Terms":
        return self.plus(other, 1)

    def __sub__(self, other: Any) -> "Terms":
        return self.plus(other, -1)

    __radd__ = __add__

    def plus(self, other: Any, sign: int) -> "Terms":
        made = Terms(self)
        for term, n in (other if isinstance(other, Counter) else {"number": int(other)}).items():
            made[term] += sign * n
        return Terms({term: n for term, n in made.items() if n})


class Wire:
    """The `comm` of one rank of several in one process; each in a thread."""

    def __init__(self, rank: int, boxes: list[list[queue.Queue]]) -> None:
        self.rank, self.size, self.boxes = rank, len(boxes), boxes

    def send(self, x: Any, to: int) -> None:
        self.boxes[self.rank][to].put(np.array(x, dtype=object))

    def recv(self, source: int) -> Any:
        return self.boxes[source][self.rank].get(timeout=5)

    def sendrecv(self, x: Any, to: int, source: int) -> Any:
        self.send(x, to)
        return self.recv(source)


def run_ring(text: str, function: str, arguments: Callable[[int], tuple], size: int) -> list[Any]:
    """What a student's function gives on each of `size` ranks; numpy's empty gives None here."""
    for name in ("_exercise",):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].check = sys.modules[name].ring_reduce_scatter = print  # type: ignore[attr-defined]
    module = types.ModuleType("ring")
    exec(compile(text, "ring", "exec"), module.__dict__)
    boxes: list[list[queue.Queue]] = [[queue.Queue() for _ in range(size)] for _ in range(size)]
    found: list[Any] = [None] * size

    def rank_of(rank: int) -> None:
        try:
            found[rank] = getattr(module, function)(*arguments(rank), Wire(rank, boxes))
        except Exception as error:
            found[rank] = error

    threads = [threading.Thread(target=rank_of, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def named(rank: int, elements: range) -> np.ndarray:
    """A rank's elements, each a sum of itself."""
    made = np.empty(len(elements), object)
    for place, element in enumerate(elements):
        made[place] = Terms({(rank, element): 1})
    return made


def scattered(said: Said, size: int, length: int) -> list[Any]:
    """What the ring of exercise 06 leaves on each rank."""
    return run_ring(said.text, "ring_reduce_scatter", lambda rank: (named(rank, range(length)),), size)


def is_wrong(terms: Any, element: int, size: int) -> bool:
    return terms != Terms({(rank, element): 1 for rank in range(size)})


@oracle(
    "parts_mixed",
    "parts_missing",
    "parts_twice",
    "parts_missing_twice",
    "parts_other",
    "parts_some",
    "parts_plus",
    only="06",
)
def terms_are_so(said: Said) -> bool:
    """The first element that is wrong on this rank has these terms, and lacks those."""
    size, length, rank = said.case["size"], said.case["length"], said.params["rank"]
    begin = bounds(length, [1] * size)[rank]
    found = scattered(said, size, length)[rank]
    place = next(i for i, terms in enumerate(found) if is_wrong(terms, begin + i, size))
    terms, params = found[place], said.params
    if said.key == "parts_plus":
        return terms.get("number") == params["more"]
    elements = sorted({term[1] for term in terms})
    missing = [r for r in range(size) if not any(term[0] == r for term in terms)]
    twice = [r for r in range(size) if sum(n for term, n in terms.items() if term[0] == r) > 1]
    said_so = params["elements"], params["missing"], params["twice"], params["element"]
    return (elements, missing, twice, begin + place) == said_so


RINGS: dict[str, Callable[[int, int, int], dict]] = {  # rank, size, element -> terms
    "own_part_only": lambda rank, size, i: {(rank, i): 1},
    "overwrites": lambda rank, size, i: {((rank + 1) % size, i): 1},
    "own_part_missing": lambda rank, size, i: {(r, i): 1 for r in range(size) if r != rank},
}


@oracle(*RINGS, only="06")
def ring_is_so(said: Said) -> bool:
    """In every size every element has just these terms."""
    for size in (2, 3, 4):
        ends = bounds(3 * size, [1] * size)
        for rank, found in enumerate(scattered(said, size, 3 * size)):
            for i, terms in zip(range(ends[rank], ends[rank + 1]), found, strict=True):
                if terms != Terms(RINGS[said.key](rank, size, i)):
                    return False
    return True


def gathered(said: Said, size: int) -> list[list[Any]]:
    """Rank -> slot -> the terms in it, of exercise 07's all-gather; None where nothing is."""
    ends = bounds(3 * size, [1] * size)
    own = lambda rank: (named(rank, range(ends[rank], ends[rank + 1])), 3 * size)  # noqa: E731
    found = run_ring(said.text, "ring_all_gather", own, size)
    return [[list(x[a:b]) for a, b in zip(ends, ends[1:])] for x in found]


def whose(slot: list[Any]) -> set[Any]:
    """The ranks whose terms are in a slot; empty where there is none."""
    return {term[0] for terms in slot if isinstance(terms, Counter) for term in terms}


@oracle("slot_of", "slot_empty", "slot_part", only="07")
def slot_is_so(said: Said) -> bool:
    slot = gathered(said, said.case["size"])[said.params["rank"]][said.params["slot"]]
    if said.key == "slot_empty":
        return whose(slot) == set()
    return whose(slot) == set(map(int, str(said.params["whose"]).replace("/", "+").split("+")))


SLOTS: dict[str, Callable[[int, int, int], set]] = {  # rank, size, slot -> whose numbers
    "nothing_gathered": lambda rank, size, slot: {slot} if slot == rank else set(),
    "own_slot_empty": lambda rank, size, slot: set() if slot == rank else {slot},
    "own_everywhere": lambda rank, size, slot: {rank},
    "backwards": lambda rank, size, slot: {(2 * rank - slot) % size},
    "one_hop_short": lambda rank, size, slot: set() if slot == (rank + 1) % size else {slot},
}


@oracle(*SLOTS, only="07")
def slots_are_so(said: Said) -> bool:
    """In every size, for every rank; of those that stop before three ranks in two."""
    sizes = (2, 3, 4) if len(said.all_evidence()) > 3 else (said.case["size"],)
    return all(
        whose(slot) == SLOTS[said.key](rank, size, number)
        for size in sizes
        for rank, slots in enumerate(gathered(said, size))
        for number, slot in enumerate(slots)
    )


@oracle("rotated", only="07")
def one_place_off(said: Said) -> bool:
    """Every shard lies one slot beside its own, always to the same side."""
    for by in (1, -1):
        if all(
            whose(slot) <= {(number - by) % size}
            for size in (2, 3, 4)
            for slots in gathered(said, size)
            for number, slot in enumerate(slots)
        ):
            return True
    return False


# -- stages --


def stage_steps(said: Said, right: bool = False) -> list[list[dict[str, Any]]]:
    """Rank -> step of the shown case -> what it left."""
    return [report["steps"] for report in said.evidence(right)]


def stage_params(said: Said) -> tuple[list[Any], list[Any]]:
    """All parameters of all ranks and steps: of the student's, and of the solution's."""
    return tuple(
        [decode(p) for steps in stage_steps(said, right) for step in steps for p in step["params"]]
        for right in (False, True)
    )


def counted(said: Said, what: str, right: bool = False) -> int:
    """Calls of the rank and step that are named."""
    step = stage_steps(said, right)[said.params["rank"]][said.params["step"] - 1]
    return [entry[0] for entry in step["log"]].count(what)


def returned(said: Said, which: int) -> tuple[list[float], list[float]]:
    """Losses (0) or norms (1) of all ranks and steps."""
    return tuple(
        [decode(step["value"])[which] for steps in stage_steps(said, right) for step in steps]
        for right in (False, True)
    )


STAGES: dict[str, Oracle] = {
    "not_updated": lambda s: counted(s, "update") < counted(s, "update", True),
    "updates_too_often": lambda s: counted(s, "update") > counted(s, "update", True),
    "sums_too_often": lambda s: counted(s, "sum") > counted(s, "sum", True),
    "not_zero_after": lambda s: not all(stage_steps(s)[s.params["rank"]][s.params["step"] - 1]["cleared"]),
    "loss_wrong": lambda s: same(*stage_params(s)) and not same(*returned(s, 0)),
    "norm_wrong": lambda s: same(*stage_params(s)) and not same(*returned(s, 1)),
    "loss_of_last_micro_batch": lambda s: same(*stage_params(s)) and not same(*returned(s, 0)),
    "result_exchanged": lambda s: same(
        (returned(s, 0)[0], returned(s, 1)[0]), (returned(s, 1)[1], returned(s, 0)[1])
    ),
    "two_gradients": lambda s: same(*stage_params(s)) and peak(s) > peak(s, True),
    "before_backward": lambda s: before_backward(s),
    "reduces_each_micro_batch": lambda s: (
        max(counted(s, "reduce_scatter"), counted(s, "all_reduce"))
        > max(counted(s, "reduce_scatter", True), counted(s, "all_reduce", True))
    ),
    "update_lost": lambda s: unmoved(s),
    "not_cleared": lambda s: not all(stage_steps(s)[0][0]["cleared"]) and not same(*stage_params(s)),
    "own_gradient": lambda s: not counted(s, "all_reduce") and not counted(s, "reduce_scatter"),
    "update_before_sum": lambda s: order(s).index("update") < last(s, ("all_reduce", "reduce_scatter")),
    "norm_before_sum": lambda s: order(s).index("clip") < last(s, ("all_reduce", "reduce_scatter")),
    "gathered_before_update": lambda s: order(s).index("all_gather") < order(s).index("update"),
    "not_gathered": lambda s: "all_gather" not in order(s),
    "norm_per_unit": lambda s: counted(s, "clip") > 1,
    "reduced_twice": lambda s: counted(s, "all_reduce") == 2 * counted(s, "all_reduce", True),
    "last_micro_batch_only": lambda s: s.case["micro_batches"] > 1 and not same(*stage_params(s)),
}


def order(said: Said) -> list[str]:
    step = stage_steps(said)[said.params["rank"]][said.params["step"] - 1]
    return [entry[0] for entry in step["log"]]


def last(said: Said, names: tuple[str, ...]) -> int:
    return max(place for place, what in enumerate(order(said)) if what in names)


def before_backward(said: Said) -> bool:
    names = order(said)
    return names.index(said.params["what"]) < names.index("backward")


def peak(said: Said, right: bool = False) -> int:
    return max(step["peak"]["full_gradient"] for steps in stage_steps(said, right) for step in steps)


def unmoved(said: Said) -> bool:
    """Parameters are the same after all steps."""
    return all(
        same(decode(a), decode(b))
        for steps in stage_steps(said)
        for step in steps[1:]
        for a, b in zip(steps[0]["params"], step["params"])
    )


for _number in ("08", "11", "12", "13"):
    for _key, _function in STAGES.items():
        OF_EXERCISE[_number, _key] = _function


@oracle("passes_number")
def called_so_often(said: Said) -> bool:
    """Calls of the rank that is named, as its log has them."""
    params, report = said.params, said.evidence()[said.params["rank"]]
    if said.exercise[:2] in ("08", "11", "12", "13"):
        return counted(said, params["what"]) == params["got"] != counted(said, params["what"], True)
    if "log" not in report:
        return params["got"] != params["wanted"]
    mine, theirs = (
        [entry[0] for entry in r["log"]].count(params["what"])
        for r in (report, said.evidence(True)[params["rank"]])
    )
    return (mine, theirs) == (params["got"], params["wanted"])


# -- the others --


@oracle("near")
def rule_is_not_the_lessons(said: Said) -> bool:
    """The formula can be parsed; that it gives what came was computed, over all trials and ranks. Whether it
    holds by chance is seen with other numbers: see mutants.py, which runs everything with a second seed."""
    for line in str(said.params["formula"]).split("; "):
        try:
            ast.parse(line if not line.endswith(":") else f"{line} pass")
        except SyntaxError:
            return line.startswith(("else", "elif"))
    return something_else(said)


@oracle("owner_range", only="04")
def no_such_rank(said: Said) -> bool:
    owner = said.params["owner"]
    given = [each for owners, _ in said.values() for each in owners]
    return not 0 <= owner < said.params["size"] and owner in given


@oracle("nobody_reads", only="04")
def empty_shares(said: Said) -> bool:
    return all(not np.size(calls[0][rank]) for rank, calls in enumerate(said.values()))


@oracle("same_share_for_all", only="04")
def one_share(said: Said) -> bool:
    sets = [sorted(np.ravel(calls[0][rank]).tolist()) for rank, calls in enumerate(said.values())]
    return all(share == sets[0] and share for share in sets)


@oracle("tail_lost", only="09")
def last_have_no_owner(said: Said) -> bool:
    """The elements after all slices are as many as it is said."""
    numel, size = said.params["numel"], said.params["size"]
    owned = partition_of(said, numel, size)
    return not owned & set(range(numel - said.params["lost"], numel))


@oracle("overlap", only="09")
def two_owners(said: Said) -> bool:
    module: dict[str, Any] = {}
    exec(said.text, module)
    pairs = next(
        pairs
        for n in range(1, 65)
        for size in range(1, 5)
        if (pairs := module["partition"](n, size))
        and said.params["second"] < len(pairs)
        and all(
            pairs[r][0] <= said.params["index"] < pairs[r][1]
            for r in (said.params["first"], said.params["second"])
        )
    )
    return bool(pairs)


def partition_of(said: Said, numel: int, size: int) -> set[int]:
    """The elements that have an owner."""
    module: dict[str, Any] = {}
    exec(said.text, module)
    return {i for begin, end in module["partition"](numel, size) for i in range(begin, end)}


@oracle("sends_zeros", only="24")
def zeros_are_sent(said: Said) -> bool:
    return all(report["zeros"] for report in said.evidence())


@oracle("empty_file", only="18")
def no_bytes(said: Said) -> bool:
    return any(save["bytes"] == 0 and save["new"] for r in said.all_evidence() for save in r[0]["saves"])


@oracle("one_level", "starts_at_zero", "stale", "assigns", only="02")
def leaves(said: Said) -> bool:
    """Of a chain root <- node <- leaf, and of one whose paths meet, on nodes made here."""
    chain, meeting = walk(said.text, meet=False), walk(said.text, meet=True)
    if said.key in ("starts_at_zero", "one_level"):
        return chain[0] == 0
    return chain[0] == 6 and ((chain[1] != 12) if said.key == "stale" else meeting[0] != 11)


def walk(text: str, meet: bool) -> tuple[float, float]:
    """The leaf's gradient after one call of backward(), and after a second."""
    module: dict[str, Any] = {}
    exec(text, module)
    make = lambda number, *parents: types.SimpleNamespace(number=number, parents=parents, grad=0.0)  # noqa: E731
    leaf = make(0)
    middle, other = make(1, (leaf, 3.0)), make(2, (leaf, 5.0))
    root = make(3, (middle, 2.0), *([(other, 1.0)] if meet else []))
    module["backward"](root)
    first = leaf.grad
    module["backward"](root)
    return first, leaf.grad
