"""From the outcome of a job to its one diagnosis: what failed first."""

import ast
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker import slips, stub, words
from lessons.checker.evidence import Diagnosis, Trial
from lessons.checker.ranks.runner import Job, Outcome
from lessons.checks import cases_of, check_of
from zero_ref.launch import shared


def judge(job: Job, outcome: Outcome) -> Diagnosis | None:
    """None if all is right. What no rank of ours reports, a trial that there is not, is left aside."""
    check, cases = check_of(job.exercise), cases_of(job.exercise, job.seed)
    outcome = replace(outcome, reports={c: r for c, r in outcome.reports.items() if 0 <= c < len(cases)})
    if outcome.hang and not 0 <= outcome.hang["case"] < len(cases):
        outcome.hang = None
    if is_untouched(Path(job.file), check.FUNCTIONS):
        return Diagnosis("not_started", state="not_started")
    for _, reports in sorted(outcome.reports.items()):
        for report in reports.values():
            if found := report.get("not_loaded"):
                return Diagnosis(found["key"], found["params"], found["line"])
    threads = [
        r["thread"] for reports in outcome.reports.values() for r in reports.values() if r.get("thread")
    ]
    if threads:
        return Diagnosis("other_thread", {}, threads[0]["line"])
    if outcome.spoiled:
        return Diagnosis("spoiled")
    trials: list[Trial] = []
    ended = len(cases) if not outcome.hang else outcome.hang["case"]  # what follows was made of no message
    for case, reports in sorted(outcome.reports.items()):
        if case >= ended:
            break
        if len(reports) == cases[case]["size"] and all("evidence" in r for r in reports.values()):
            trials.append(Trial(cases[case], [reports[rank]["evidence"] for rank in range(len(reports))]))
    with np.errstate(all="ignore"):  # nothing is to be printed of a student's NaN
        found = slips.name_relation(check.diagnose(trials)) if trials else None
    asked = len(cases) if job.only is None else 1
    if len(trials) < asked and (found is None or found.state == "note"):
        stopped = explain_stop(check, outcome, cases)
        if stopped.key in ("raised", "unfit") and (exchanged := exchanged_arguments(job, check.FUNCTIONS)):
            stopped.key, stopped.params = "signature_order", exchanged
        elif stopped.key == "raised":
            stopped.params |= describe_line(job, stopped.line, getattr(check, "EXPECTS", {}))
        if stopped.key == "to_do" and stops_what_is_written(job, stopped.line):
            return Diagnosis("raise_left", {}, stopped.line)
        return stopped
    return found


def explain_stop(check: ModuleType, outcome: Outcome, cases: Sequence[dict]) -> Diagnosis:
    """A trial that did not come to its end: an exception, a hang, an endless loop, a process that died.

    A check may have a function `broken(outcome)` that knows better: a diagnosis, or None.
    """
    if (broken := getattr(check, "broken", None)) and (found := broken(outcome)):
        return found
    case = max(outcome.reports, default=0)
    params: dict[str, Any] = {"size": cases[case]["size"]}
    for rank, report in sorted(outcome.reports.get(case, {}).items()):
        if error := report.get("raised"):
            if "NotImplementedError" in error["kinds"]:
                return Diagnosis("to_do", {}, error["place"], state="not_started")
            params |= {"rank": rank, "type": error["type"], "text": error["text"]}
            params["function"] = error.get("function", "")
            params["mega"] = outcome.printed_bytes >> 20
            key = "floods" if params["mega"] and "OSError" in error["kinds"] else key_of_error(error)
            if key == "unfit":
                params |= error["about"] | {"line": error["place"][1]}
            if key == "raised" and (found := NO_CALL.fullmatch(error["text"])):
                key, params["name"] = "raised_no_call", found[1]
            if key == "raised" and error["text"].startswith("there is no rank array("):
                key = "raised_rank"
            return Diagnosis(key, params, error["place"], cases[case])
    if outcome.hang:
        return describe_hang(outcome.hang, cases)
    if outcome.endless:
        return describe_endless(outcome, params)
    if outcome.endless is not None:  # the time was up, and just then no rank was in the student's code
        return Diagnosis("out_of_time", {"seconds": f"{outcome.limit:g}"})
    died = outcome.died or {"ranks": [], "code": None, "text": ""}
    ranks = max(case["size"] for case in cases)
    if not outcome.reports and (room := shared.room()) and room.free < shared.need(ranks):
        sizes = {"size": f"{room.size:.0f}", "free": f"{room.free:.0f}", "need": f"{shared.need(ranks):.0f}"}
        return Diagnosis("small_memory", sizes | {"ranks": ranks})
    said = died["text"].strip().splitlines()
    if said and not died["ranks"] and not outcome.reports:  # no student's code has begun: this is MPI's word
        return Diagnosis("no_start", {"code": died["code"], "text": said[-1][-300:]})
    return Diagnosis("died", {"ranks": died["ranks"], "code": died["code"]})


def describe_line(job: Job, line: Sequence | None, expects: dict[str, str]) -> dict[str, Any]:
    """What stands at the line of an exception, and what the calls on it take and give; all, if none is known.

    line: (file, line), if there is one; expects: name of a call -> its arguments and result
    """
    file = Path(job.file)
    name, number = line or ("", 0)
    wrote = words.line_text(file, number) if name == file.name else ""
    called = [each for each in expects if re.search(rf"\b{each}[([]", wrote)]
    told = [expects[each] for each in called or expects]
    return {"line": number, "wrote": wrote, "expected": "; ".join(told)}


def exchanged_arguments(job: Job, functions: Sequence[str]) -> dict[str, str] | None:
    """A function whose arguments are named as in the stub, in another order: its name, and both orders."""
    texts = stub.text(job.exercise), Path(job.file).read_text(encoding="utf-8-sig")
    try:
        trees = [ast.parse(text) for text in texts]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    wanted, got = (
        {n.name: [a.arg for a in n.args.args] for n in tree.body if isinstance(n, ast.FunctionDef)}
        for tree in trees
    )
    for name in functions:
        if name in got and got[name] != wanted[name] and sorted(got[name]) == sorted(wanted[name]):
            return {"name": name, "wanted": ", ".join(wanted[name]), "got": ", ".join(got[name])}
    return None


def describe_hang(found: dict, cases: Sequence[dict]) -> Diagnosis:
    """A proved hang: who waits for whom, and where."""
    size = cases[found["case"]]["size"]
    notes = found["ranks"][:size]
    rows = []
    for rank, note in enumerate(notes):
        doing = ("return", "-") if note["state"] == "left" else (note["doing"], text_of_place(note["place"]))
        rows.append((rank, *doing, note["waits_for"]))
    waiting = next(note for note in notes if note["state"] in ("waits", "differs"))
    first = notes[found["circle"][0]] if found["circle"] else waiting
    params = {"absent": found["absent"], "circle": (*found["circle"], *found["circle"][:1]), "size": size}
    key = "hang_self" if len(found["circle"]) == 1 else f"hang_{found['kind']}"
    head = ("rank", "does", "place", "waits_for")
    return Diagnosis(key, params, first["place"], cases[found["case"]], head, rows)


def key_of_error(error: dict[str, Any]) -> str:
    """The diagnosis of an exception: by its type, for a call that cannot be made by its text, too."""
    if error.get("about") and error["place"]:
        return "unfit"
    for kind, key in ERRORS.items():
        if kind in error["kinds"]:
            return key
    called = "argument" in error["text"] and not error["place"]
    return "signature" if called and "TypeError" in error["kinds"] else "raised"


# A name that comm has not; its class is the checker's own, and none of the student's business.
NO_CALL = re.compile(r"'(?:Talk|WatchedComm|SilentComm)' object has no attribute '(\w+)'.*")
ERRORS = {
    "RecursionError": "recursion",
    "NameError": "raised_name",
    "ImportError": "raised_import",
    "BdbQuit": "raised_debugger",
    "EOFError": "raised_input",
    "SystemExit": "raised_exit",
}
FLOOD = 1 << 20  # bytes that a rank has printed
IDLE = 0.05  # of the time limit; who has computed less has waited, however many share the cores


def describe_endless(outcome: Outcome, params: dict[str, Any]) -> Diagnosis:
    """Where each rank was when the time was up; first one that was in a call such as max(range(10**12)).

    Whether it would ever end is not known. What is: that it printed, waited, or computed.
    """
    found = outcome.endless or {}
    rows = [(rank, text_of_place(report["endless"])) for rank, report in sorted(found.items())]
    rank, report = min(
        found.items(), key=lambda item: (item[1].get("waits", False), item[1]["endless"] is not None, item[0])
    )
    key = "endless" if report["endless"] else "endless_call"
    if outcome.printed_bytes > FLOOD:
        key, params = "floods", params | {"mega": outcome.printed_bytes >> 20}
    elif report["endless"] and report.get("busy", outcome.limit) < IDLE * outcome.limit:
        key = "slow_waiting"
    return Diagnosis(key, params | {"rank": rank}, report["endless"], None, ("rank", "place"), rows)


def text_of_place(where: Sequence | None) -> str:
    """File and line for a table."""
    return f"{where[0][:2]}...:{where[1]}" if where else "-"


def stops_what_is_written(job: Job, place: Sequence | None) -> bool:
    """Whether this `raise NotImplementedError` stands in a function that has been begun."""
    if not place:
        return False
    try:
        tree = ast.parse((Path(job.file).parent / place[0]).read_text(encoding="utf-8-sig"))
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        return False
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.lineno <= place[1] <= (node.end_lineno or 0)
    ]
    return bool(around) and not is_empty(around[-1].body)


def is_untouched(file: Path, functions: Sequence[str]) -> bool:
    """Whether none of the functions has been begun: a docstring, and `raise NotImplementedError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(file.read_text(encoding="utf-8-sig"))
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        return False
    bodies = [node.body for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in functions]
    return len(bodies) == len(functions) and all(map(is_empty, bodies))


def is_empty(body: list[ast.stmt]) -> bool:
    """Whether a function's body does nothing yet."""
    last = body[-1]
    rest = [s for s in body[:-1] if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
    return not rest and isinstance(last, ast.Raise) and "NotImplementedError" in ast.dump(last)


def may_be_kept_state(job: Job, found: Diagnosis) -> bool:
    """Whether a wrong answer has something that a call may leave to the next: worth another run."""
    if found.state != "wrong" or found.case not in cases_of(job.exercise, job.seed) or job.only is not None:
        return False
    try:
        tree = ast.parse(Path(job.file).read_text(encoding="utf-8-sig"))
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        return False
    kept = (ast.Global, ast.Nonlocal)
    outside = [n.value for n in tree.body if isinstance(n, ast.Assign | ast.AnnAssign) and n.value]
    defaults = [d for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) for d in n.args.defaults]
    mutable = (ast.List, ast.Dict, ast.Set, ast.Call, ast.ListComp, ast.DictComp)
    cached = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.FunctionDef) and "cache" in ast.dump(ast.Module(n.decorator_list, []))
    ]
    return (
        bool(cached)
        or any(isinstance(n, mutable) for n in outside + defaults)
        or any(isinstance(n, kept) for n in ast.walk(tree))
    )
