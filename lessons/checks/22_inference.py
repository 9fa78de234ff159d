"""Exercise 22: outputs from shards, with unequal numbers of batches. Square layers fit in any order."""

from collections.abc import Sequence
from functools import partial
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker import evidence
from lessons.checker.evidence import Diagnosis, Trial, kind_of, same
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import encode, observe
from lessons.checker.stages import world
from lessons.checker.stages.log import check_samples, shape_of
from zero_ref.model import Unit

FUNCTIONS = ("predict",)
RANKS = 4
EXPECTS = {  # what predict uses -> what it takes and gives
    "all_gather": "comm.all_gather(u.param, u.layout) -> full (padded,)",
    "forward": "u.forward(full (padded,), x (samples, inputs)) -> (samples, outputs)",
    "forget": "u.forget() -> None",
    "batches": "batches[i] with i < len(batches) <= rounds",
}
WIDTHS = (5, 5, 5, 5)
COUNTS = ([2], [2, 2], [2, 1], [1, 3, 0], [0, 2, 1, 2])  # batches of each rank

units_of = partial(world.units_of, widths=WIDTHS)


def cases(random: Random) -> list[dict[str, Any]]:
    """Equal numbers of batches, then unequal ones; batches of 1 to 3 samples."""
    return [
        {
            "size": len(counts),
            "batches": ", ".join(map(str, counts)),
            "numbers": {
                "seed": random.randrange(1 << 20),
                "samples": [[random.randint(1, 3) for _ in range(count)] for count in counts],
            },
        }
        for counts in COUNTS
    ]


def batches_of(case: dict[str, Any], rank: int) -> list[np.ndarray]:
    """Rank's batches, (samples, 5) each."""
    random = np.random.default_rng([case["numbers"]["seed"], rank])
    return [random.normal(size=(samples, WIDTHS[0])) for samples in case["numbers"]["samples"][rank]]


def rounds_of(case: dict[str, Any]) -> int:
    """The largest number of batches of any rank."""
    return max(map(len, case["numbers"]["samples"]))


# On a rank.


class NotWhole(Exception):
    """Parameters that are not whole; line: in the student's file; got: what they are; is_shard: its own"""

    def __init__(self, line: Any, got: Any, is_shard: bool) -> None:
        super().__init__()
        self.line, self.got, self.is_shard = line, got, is_shard


def run_trial(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """One call, on the shards of stage 3."""
    from lessons.checker.stages.act import Given
    from lessons.checker.stages.comm import WatchedComm
    from lessons.checker.stages.log import Log
    from zero_ref.ledger import ledger
    from zero_ref.stages import zero3

    log, units = Log(comm), units_of(case)
    together = WatchedComm(comm, log)
    zero3.setup(units, together, lambda _: None)
    for u in units:
        watch_unit(u, log)
    given, own, before = Given(units), [u.param.tobytes() for u in units], ledger.live["gathered"]
    ledger.forget_peaks()
    log.entries = []
    try:
        report = observe(comm, student.predict, units, batches_of(case, comm.rank), rounds_of(case), together)
    except NotWhole as error:
        short = {"line": error.line, "got": evidence.kind_of(error.got), "is_shard": error.is_shard}
        return {"short": short}
    return report | {
        "log": log.entries,
        "peak": ledger.peak["gathered"] - before,
        "kept": [u.layout.name for u in units if u.output.data is not None],
        "rebound": given.rebound(),
        "params": [u.layout.name for u, then in zip(units, own) if u.param.tobytes() != then],
    }


def watch_unit(u: Unit, log: Any) -> None:
    """Have a unit's passes told to the log, and its parameters looked at."""
    name, padded, forward, forget = u.layout.name, u.layout.padded, u.forward, u.forget

    def watched_forward(param: np.ndarray, x: np.ndarray) -> np.ndarray:
        if shape_of(param) == (padded,):
            check_samples("forward", "x", u.layout, x)
        log("forward", name, len(x))
        if shape_of(param) != (padded,):
            is_shard = shape_of(param) == u.param.shape and np.array_equal(param, u.param)
            raise NotWhole(log.entries[-1][3], evidence.decode(encode(param)), is_shard)
        return forward(param, x)

    def watched_forget() -> None:
        log("forget", name, 0)
        forget()

    u.forward, u.forget = watched_forward, watched_forget  # type: ignore[method-assign]


# In the checker.


def run_units(units: Sequence[Unit], x: np.ndarray) -> np.ndarray:
    """The outputs of some units, one after another."""
    for u in units:
        x = u.forward(u.initial("buffer"), x)
        u.forget()
    return x


def right(trial: Trial, rank: int) -> list[np.ndarray]:
    units = units_of(trial.case)
    return [run_units(units, x) for x in batches_of(trial.case, rank)]


def backwards(trial: Trial, rank: int) -> list[np.ndarray]:
    """Last unit first."""
    units = units_of(trial.case)[::-1]
    return [run_units(units, x) for x in batches_of(trial.case, rank)]


def some_units(trial: Trial, rank: int, which: slice) -> list[np.ndarray]:
    """Some of the units."""
    units = units_of(trial.case)[which]
    return [run_units(units, x) for x in batches_of(trial.case, rank)]


def every_round(trial: Trial, rank: int) -> list[np.ndarray]:
    """The right outputs, and whatever it is for the rounds in which the rank has no batch."""
    found = right(trial, rank)
    return found + trial.values()[rank][len(found) : rounds_of(trial.case)]


MISTAKES = (
    ("empty_outputs", every_round),
    ("layers_reversed", backwards),
    ("not_passed_on", lambda t, r: some_units(t, r, slice(-1, None))),
    ("layer_missing", lambda t, r: some_units(t, r, slice(0, -1))),
    ("layer_missing", lambda t, r: some_units(t, r, slice(1, None))),
    ("first_layer_only", lambda t, r: some_units(t, r, slice(0, 1))),
    ("outputs_reversed", lambda t, r: right(t, r)[::-1]),
    ("last_missing", lambda t, r: right(t, r)[: rounds_of(t.case) - 1]),
    ("last_missing", lambda t, r: right(t, r)[:-1]),
    ("first_batch_only", lambda t, r: right(t, r)[:1]),
    ("last_batch_only", lambda t, r: right(t, r)[-1:]),
    ("last_batch_only", lambda t, r: right(t, r)[rounds_of(t.case) - 1 :]),
)


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """Whole parameters, then values, then what is changed, then memory, then messages and work."""
    return (
        shard_as_whole(trials)
        or with_outputs_named(evidence.check_value(trials, right, MISTAKES), trials)
        or wrong_changes(trials)
        or too_much_gathered(trials)
        or activations_kept(trials)
        or too_much_done(trials)
        or rebinds(trials)
    )


def rebinds(trials: Sequence[Trial]) -> Diagnosis | None:
    """Another array in the place of u.param: a remark."""
    for trial in trials:
        for report in trial.ranks:
            if names := report["rebound"]:
                case = evidence.visible_case(trial)
                return Diagnosis("rebinds", {"names": names}, report["line"], case, state="note")
    return None


def shard_as_whole(trials: Sequence[Trial]) -> Diagnosis | None:
    """A shard where the whole unit is needed."""
    for trial in trials:
        for report in trial.ranks:
            if short := report.get("short"):
                key = "shard_as_whole" if short["is_shard"] else "not_parameters"
                params = {"size": trial.size, "got": short["got"]}
                return Diagnosis(key, params, short["line"], evidence.visible_case(trial))
    return None


def with_outputs_named(found: Diagnosis | None, trials: Sequence[Trial]) -> Diagnosis | None:
    """The same diagnosis with the outputs named: "y0" is that of the first batch."""
    if found is None or found.key.startswith("returns"):
        return found
    trial = evidence.trial_of(found, trials)
    if found.key == "unknown" and (other := other_calls(trials)):
        return other
    rows = []
    for rank, value in enumerate(trial.values()):
        rows.append(
            (
                rank,
                name_outputs(right(trial, rank), right(trial, rank)),
                name_outputs(value, right(trial, rank)),
            )
        )
    found.case, found.rows = evidence.visible_case(trial), rows
    return found


def other_calls(trials: Sequence[Trial]) -> Diagnosis | None:
    """Passes or all-gathers too many or too few, where no mistake explains the outputs."""
    for trial in trials:
        units, rounds = len(WIDTHS) - 1, rounds_of(trial.case)
        for rank, report in enumerate(trial.ranks):
            calls = [what for what, *_ in report["log"]]
            batches = len(batches_of(trial.case, rank))
            for what, wanted in (
                ("forward", units * batches),
                ("all_gather", units * rounds),
                ("forget", units * batches),
            ):
                if (got := calls.count(what)) != wanted:
                    params = {"what": what, "got": got, "wanted": wanted, "rank": rank, "step": 1}
                    return Diagnosis(
                        "passes_number", params, line_of(report, what), evidence.visible_case(trial)
                    )
    return None


def name_outputs(value: Sequence[Any], wanted: Sequence[np.ndarray]) -> str:
    """Which outputs these are; "?" is none of them."""
    words = []
    for y in value:
        known = [i for i, want in enumerate(wanted) if same(y, want)]
        if known:
            words.append(f"y{known[0]}")
        else:
            words.append(f"?{list(y.shape)}" if isinstance(y, np.ndarray) else kind_of(y))
    return " ".join(words) or "[]"


def wrong_changes(trials: Sequence[Trial]) -> Diagnosis | None:
    """Batches or shards that are not what they were; outputs that lie in a batch."""
    for trial in trials:
        for report in trial.ranks:
            if report["params"]:
                return Diagnosis("changed_input", {"name": "u.param"}, None, evidence.visible_case(trial))
    names = ("units", "batches", "rounds", "comm")
    return evidence.find_changed_input(trials, names) or evidence.find_part_of_input(trials)


def unit_bytes(trial: Trial) -> int:
    """Bytes of one unit, gathered."""
    return 8 * max(u.layout.padded for u in units_of(trial.case))


def line_of(report: dict[str, Any], what: str, last: bool = False) -> Any:
    """The student's line of the first such call, or of the last."""
    lines = [place for call, _, _, place in report["log"] if call == what]
    return lines[-1 if last else 0] if lines else report["line"]


def too_much_gathered(trials: Sequence[Trial]) -> Diagnosis | None:
    """More than one unit's parameters at a time."""
    for trial in trials:
        one = unit_bytes(trial)
        peaks = [report["peak"] for report in trial.ranks]
        if max(peaks) <= one:
            continue
        if gathers := too_many_gathers(trial):
            return gathers
        rank = peaks.index(max(peaks))
        calls = [what for what, *_ in trial.ranks[rank]["log"] if what in ("all_gather", "forward")]
        first = calls.index("forward") if "forward" in calls else len(calls)
        if first >= len(units_of(trial.case)):
            key, state = "whole_gathered", "wrong"
        elif max(peaks) > 2 * one:
            key, state = "kept_alive", "wrong"
        else:
            key, state = "two_alive", "note"
        params = {"wanted": one, "got": max(peaks), "rank": rank}
        rows = [(r, one, peak) for r, peak in enumerate(peaks)]
        line = line_of(trial.ranks[rank], "all_gather")
        return Diagnosis(
            key, params, line, evidence.visible_case(trial), ("rank", "wanted", "got"), rows, state
        )
    return None


def activations_kept(trials: Sequence[Trial]) -> Diagnosis | None:
    """Activations that outlive their use."""
    for trial in trials:
        for report in trial.ranks:
            if report["kept"]:
                params = {"units": report["kept"]}
                return Diagnosis(
                    "not_forgotten", params, line_of(report, "forward"), evidence.visible_case(trial)
                )
    for trial in trials:
        for report in trial.ranks:
            passes = [what for what, *_ in report["log"] if what in ("forward", "forget")]
            if ("forward", "forward") in zip(passes, passes[1:]):
                return Diagnosis(
                    "forgets_late", {}, line_of(report, "forward"), evidence.visible_case(trial), state="note"
                )
    return None


def too_many_gathers(trial: Trial) -> Diagnosis | None:
    """More all-gathers than one for each round and unit."""
    units, rounds = len(WIDTHS) - 1, rounds_of(trial.case)
    got = [sum(what == "all_gather" for what, *_ in report["log"]) for report in trial.ranks]
    if got[0] <= rounds * units:
        return None
    params = {"got": got[0], "wanted": rounds * units, "rounds": rounds, "units": units}
    rows = [(r, rounds * units, number) for r, number in enumerate(got)]
    line = line_of(trial.ranks[0], "all_gather", last=True)
    case, head = evidence.visible_case(trial), ("rank", "wanted", "got")
    return Diagnosis("extra_gathers", params, line, case, head, rows, "note")


def too_much_done(trials: Sequence[Trial]) -> Diagnosis | None:
    """All-gathers and samples that a rank could do without; or fewer all-gathers, at another price."""
    for trial in trials:
        units, rounds = len(WIDTHS) - 1, rounds_of(trial.case)
        logs = [report["log"] for report in trial.ranks]
        gathers = [sum(what == "all_gather" for what, *_ in log) for log in logs]
        if trial.size > 1 and gathers[0] != rounds * units:
            key = "extra_gathers" if gathers[0] > rounds * units else "layer_by_layer"
            params = {"got": gathers[0], "wanted": rounds * units, "rounds": rounds, "units": units}
            rows = [(r, rounds * units, number) for r, number in enumerate(gathers)]
            line = line_of(trial.ranks[0], "all_gather", last=True)
            return Diagnosis(
                key, params, line, evidence.visible_case(trial), ("rank", "wanted", "got"), rows, "note"
            )
        for rank, log in enumerate(logs):
            wanted = units * sum(trial.case["numbers"]["samples"][rank])
            got = sum(samples for what, _, samples, _ in log if what == "forward")
            if got > wanted:
                params = {"rank": rank, "got": got // units, "wanted": wanted // units}
                line = line_of(trial.ranks[rank], "forward", last=True)
                return Diagnosis("extra_work", params, line, evidence.visible_case(trial), state="note")
    return None
