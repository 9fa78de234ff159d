"""Exercise 24: what a student's hooks do at each of four moments, and the gradients that come of it."""

import traceback
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker import evidence
from lessons.checker.evidence import Diagnosis, Trial, decode
from lessons.checker.ranks.lines import line_of_error
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import ReturnLine, encode
from lessons.checker.stages import world
from lessons.given.hooks import MOMENTS, there_and_back
from zero_ref import model, optim
from zero_ref.layout import FlatLayout
from zero_ref.model import Unit

FUNCTIONS = ("hooks",)
RANKS = 4
WIDTHS = (3, 5, 3)  # units of 20 and 18 parameters: padded on 3 and on 4 ranks
OPTIMIZERS = {
    "SGD": partial(optim.SGD, dtype="float64", lr=0.1, momentum=0.9),
    "Adam": partial(optim.Adam, dtype="float64", lr=0.01),
}
TRIALS = (  # stage, ranks, micro-batches, steps, optimizer
    (2, 1, 1, 1, "SGD"),
    (2, 2, 2, 1, "SGD"),
    (2, 3, 1, 2, "Adam"),
    (3, 1, 1, 1, "SGD"),
    (3, 2, 2, 1, "SGD"),
    (3, 4, 1, 2, "SGD"),
)


units_of = partial(world.units_of, widths=WIDTHS)


def cases(random: Random) -> list[dict[str, Any]]:
    """Stage 2, then stage 3; each with one rank first. "numbers" are not shown."""
    return [
        {
            "size": size,
            "stage": stage,
            "micro_batches": number,
            "numbers": {"seed": random.randrange(1 << 20), "steps": steps, "optimizer": optimizer},
        }
        for stage, size, number, steps, optimizer in TRIALS
    ]


def batches_of(case: dict[str, Any], rank: int, step: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rank's micro-batches x (2, 3), y (2,) of a step."""
    random = np.random.default_rng([case["numbers"]["seed"], rank, step])
    shape = case["micro_batches"], 2
    return list(zip(random.normal(size=(*shape, WIDTHS[0])), random.integers(0, WIDTHS[-1], shape)))


def samples_of(case: dict[str, Any]) -> int:
    """The samples of a step, of all ranks."""
    return 2 * case["micro_batches"] * case["size"]


# On a rank.


class Missing(Exception):
    """A unit is to compute, and its parameters are not there."""


class HookRecorder:
    """Calls a student's hooks, and writes down after each moment of each unit what they did and left."""

    def __init__(self, table: dict[str, list[Callable]], log: Any) -> None:
        from zero_ref.ledger import ledger

        self.table, self.log, self.ledger = table, log, ledger
        self.before = ledger.live["gathered"]
        self.records: list[dict[str, Any]] = []

    def tell(self, moment: str, u: Unit) -> None:
        """One moment of one unit."""
        self.log.entries = []
        np.full(u.layout.padded, np.nan)  # freed at once: an np.empty of this size may hold it now
        failure = place = None
        try:
            for hook in self.table.get(moment, []):
                hook(u)
        except (TypeError, AttributeError) as error:
            failure = f"{type(error).__name__}: {error}"
            if moment == "gradient ready" or "NoneType" not in failure or not comes_from_grad(error):
                raise
            place = line_of_error(error, self.log.talk._files)
        self.records.append(
            {
                "moment": moment,
                "unit": u.layout.name,
                "did": [f"{what} {unit}" for what, unit, *_ in self.log.entries if unit],
                "line": place or next((entry[3] for entry in self.log.entries if entry[1]), None),
                "data": all(t.data is not None for t in u.tensors.values()),
                "grad": any(t.grad is not None for t in u.tensors.values()),
                "alive": self.ledger.live["gathered"] - self.before,
                "failure": failure,
            }
        )
        if failure or (moment.startswith("before") and not self.records[-1]["data"]):
            raise Missing


def comes_from_grad(error: Exception) -> bool:
    """Whether an exception came through a line that has to do with a gradient."""
    return any(".grad" in (frame.line or "") for frame in traceback.extract_tb(error.__traceback__))


def run_trial(case: dict[str, Any], comm: Talk, student: ModuleType) -> dict[str, Any]:
    """Steps with the student's hooks; then, of several, those of the real stage, with the same parameters."""
    from lessons.checker.stages.act import Given
    from lessons.checker.stages.comm import WatchedComm
    from lessons.checker.stages.log import Log
    from zero_ref.stages import zero2, zero3

    log, padding, zeros = Log(comm), [], []
    together, units, make = WatchedComm(comm, log), units_of(case), OPTIMIZERS[case["numbers"]["optimizer"]]
    reduce_scatter = together.reduce_scatter

    def listening(full: np.ndarray, layout: FlatLayout) -> np.ndarray:
        if np.any(np.asarray(full)[layout.elements :] != 0):
            padding.append(layout.name)
        zeros.append(not np.any(full))
        return reduce_scatter(full, layout)

    together.reduce_scatter = listening  # type: ignore[method-assign]
    zero3.setup(units, together, make)
    given = Given(units)
    with ReturnLine(student.hooks) as returned:
        table = student.hooks(case["stage"], together)
    found = {"line": returned.line, "table": wrong_table(table), "passes": [], "grads": [], "events": []}
    if found["table"]:
        return found
    found |= run_steps(case, comm.rank, units, HookRecorder(table, log), found) | {
        "padding": sorted(set(padding)),
        "zeros": bool(zeros) and all(zeros),
        "rebound": given.rebound(),
    }
    if not found["done"] or case["numbers"]["steps"] == 1:
        return found
    real, stage = units_of(case), {2: zero2, 3: zero3}[case["stage"]]
    alone = WatchedComm(comm, Log(comm))
    stage.setup(real, alone, make)
    loss_grad = model.loss_grad(True, samples_of(case))
    for step in range(case["numbers"]["steps"]):
        stage.step(real, alone, batches_of(case, comm.rank, step), loss_grad, lambda *_: (0.0, 1.0))
    theirs = [u.param if case["stage"] == 3 else alone.shard(u.param, u.layout) for u in real]
    return found | {
        "bits": all(u.param.tobytes() == param.tobytes() for u, param in zip(units, theirs)),
        "close": all(np.allclose(u.param, param, rtol=1e-9) for u, param in zip(units, theirs)),
    }


def wrong_table(table: Any) -> str | None:
    """What is wrong with the form of a table of hooks."""
    if not isinstance(table, dict):
        return evidence.kind_of(decode(encode(table)))
    for moment, hooks in table.items():
        if moment not in MOMENTS:
            return repr(moment)
        if not isinstance(hooks, list | tuple) or not all(map(callable, hooks)):
            return f"{moment!r}: {evidence.kind_of(decode(encode(hooks)))}"
    return None


def run_steps(case: dict, rank: int, units: list[Unit], watch: HookRecorder, found: dict) -> dict[str, Any]:
    """All steps, or as far as they come; the gradients of the first."""
    for step in range(case["numbers"]["steps"]):
        for x, y in batches_of(case, rank, step):
            watch.records = []
            found["passes"].append(watch.records)
            try:
                there_and_back(units, x, y, samples_of(case), watch.tell)
            except Missing:
                return {"done": False}
            if step == 0:
                found["grads"].append([encode(u.grad) for u in units])
            if any(np.shape(u.grad) != np.shape(u.param) for u in units):
                return {"done": False}
        for u in units:
            u.optimizer.update(u.param, u.grad, 1.0)
            u.grad.fill(0)
    return {"done": True}


# In the checker.


Grads = list[list[np.ndarray]]  # micro-batch -> unit -> this rank's gradient, (own,)


def full_gradients(case: dict[str, Any], rank: int) -> Grads:
    """Micro-batch -> unit -> what rank alone has, (padded,)."""
    units, found = units_of(case), []
    loss_grad = model.loss_grad(True, samples_of(case))
    params = [u.initial("buffer") for u in units]
    for x, y in batches_of(case, rank):
        for u, param in zip(units, params):
            x = u.forward(param, x)
        g, grads = loss_grad(x, y)[0], []
        for u, param in reversed(list(zip(units, params))):
            g, grad = u.backward(param, g)
            grads.insert(0, grad)
        found.append(grads)
    return found


def sum_gradients(trial: Trial, rank: int, weights: Callable[[int, int], float], ranks: Any = None) -> Grads:
    """After micro-batch `now` the sum over `ranks` and micro-batches `then`, times weights(now, then)."""
    case = trial.case
    numbers = range(case["micro_batches"])
    everyones = [full_gradients(case, r) for r in (range(trial.size) if ranks is None else ranks)]
    found = []
    for now in numbers:
        of_now = []
        for number, u in enumerate(units_of(case)):
            full = sum(
                (weights(now, then) * grads[then][number] for then in numbers for grads in everyones),
                np.zeros(u.layout.padded),
            )
            of_now.append(u.layout.shard(full, rank))
        found.append(of_now)
    return found


def until_now(now: int, then: int) -> float:
    """Every micro-batch up to now, once."""
    return float(then <= now)


def right(trial: Trial, rank: int) -> Grads:
    return sum_gradients(trial, rank, until_now)


def weights_only(trial: Trial, rank: int) -> Grads:
    """The gradients without those of the biases."""
    found = right(trial, rank)
    for of_now in found:
        for grad, u in zip(of_now, units_of(trial.case)):
            full = np.ones(u.layout.padded)
            u.layout.views(full)["bias"][...] = 0
            grad *= u.layout.shard(full, rank)
    return found


MISTAKES = (
    ("overwrites", lambda t, r: sum_gradients(t, r, lambda now, then: float(now == then))),
    ("own_only", lambda t, r: sum_gradients(t, r, until_now, [r])),
    ("averaged", lambda t, r: sum_gradients(t, r, lambda now, then: (then <= now) / t.size)),
    ("not_kept", lambda t, r: sum_gradients(t, r, lambda now, then: 0.0)),
    ("bias_missing", weights_only),
)


class Gradients(Trial):
    """A trial whose values are the gradients of its first step."""

    def values(self) -> list[Any]:
        """Rank -> micro-batch -> unit -> (own,)."""
        return [[[decode(grad) for grad in of_now] for of_now in report["grads"]] for report in self.ranks]


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """The form of the table; then, stage by stage: what happens at each moment, and the gradients."""
    for trial in trials:
        if found := trial.ranks[0]["table"]:
            line = trial.ranks[0]["line"]
            return Diagnosis("wrong_table", {"what": found}, line, evidence.visible_case(trial))
    for stage in (2, 3):
        of_stage = [Gradients(t.case, t.ranks) for t in trials if t.case["stage"] == stage]
        if (
            found := wrong_moment(of_stage)
            or padding_not_zero(of_stage)
            or wrong_gradients(of_stage)
            or other_parameters(of_stage)
        ):
            return found
    return rebinds([Gradients(t.case, t.ranks) for t in trials])


def expected(stage: int, moment: str, unit: str) -> tuple[list[str], bool]:
    """What is to happen at a moment: collectives, and whether the parameters are there afterwards."""
    gather, reduce = [f"all_gather {unit}"], [f"reduce_scatter {unit}"]
    return {
        "before forward": (gather, True),
        "after forward": ([], stage == 2),
        "before backward": (gather if stage == 3 else [], True),
        "gradient ready": (reduce, False),
    }[moment]


def wrong_moment(trials: Sequence[Gradients]) -> Diagnosis | None:
    """The first moment at which something else happens than should."""
    for trial in trials:
        for rank, report in enumerate(trial.ranks):
            for records in report["passes"]:
                held: set[str] = set()
                for record in records:
                    (held.add if expected(trial.case["stage"], record["moment"], "")[1] else held.discard)(
                        record["unit"]
                    )
                    if key := deviation(trial, rank, records, record, held):
                        return moment_diagnosis(key, trial, rank, records, record)
    return None


def deviation(trial: Gradients, rank: int, records: list[dict], record: dict, held: set[str]) -> str | None:
    """The key of what is wrong at one moment of one unit."""
    stage, moment, unit = trial.case["stage"], record["moment"], record["unit"]
    did, data = expected(stage, moment, unit)
    gathers = [what for what in record["did"] if what.startswith("all_gather")]
    reduces = [what for what in record["did"] if what.startswith("reduce_scatter")]
    more = [what for what in gathers if what not in did] or len(gathers) > 1
    if record["failure"] or (reduces and moment != "gradient ready"):
        return "reduce_too_early"
    if moment.startswith("before") and not record["data"]:
        return "not_lent" if gathers else f"no_gather_{moment.split()[1]}"
    if moment == "before backward" and stage == 3 and not gathers:
        return "no_gather_backward"
    if moment == "before forward" and not gathers:
        return "no_gather_forward"
    if more:
        return "gathers_more"
    if moment == "after forward" and record["data"] != data:
        return "kept_after_forward" if record["data"] else "zero2_drops"
    if moment == "gradient ready":
        if not reduces:
            return without_reduce(trial, rank, records, unit)
        if reduces != did:
            return "reduces_twice" if set(reduces) == set(did) else "reduces_late"
        if record["grad"]:
            return "not_cleared"
        if record["data"]:
            return "kept_after_backward"
    bytes_held = 8 * sum(u.layout.padded for u in units_of(trial.case) if u.layout.name in held)
    return "still_alive" if record["alive"] > bytes_held else None


def without_reduce(trial: Gradients, rank: int, records: list[dict], unit: str) -> str:
    """Why nothing is reduced when a unit's gradient is ready."""
    if any(f"reduce_scatter {unit}" in record["did"] for record in records):
        return "reduces_late"
    own, got = sum_gradients(trial, rank, until_now, [rank]), trial.values()[rank]
    return "own_only" if got and evidence.same(got[0], own[0]) else "no_reduce"


def moment_diagnosis(key: str, trial: Gradients, rank: int, records: list[dict], record: dict) -> Diagnosis:
    """A diagnosis with the four moments of the unit."""
    unit, rows = record["unit"], []
    for moment in MOMENTS:
        wanted = text(*expected(trial.case["stage"], moment, unit), unit)
        seen = [r for r in records if (r["moment"], r["unit"]) == (moment, unit)]
        if not seen:
            rows.append((moment, wanted, "-"))
            continue
        grad = ", grad" if seen[0]["grad"] and moment == "gradient ready" else ""
        rows.append((moment, wanted, text(seen[0]["did"], seen[0]["data"], unit) + grad))
    params = {"moment": record["moment"], "unit": unit, "failure": record["failure"] or "grad = None"}
    line = record["line"] or trial.ranks[rank]["line"]
    return Diagnosis(key, params, line, evidence.visible_case(trial), ("moment", "wanted", "got"), rows)


def text(did: Sequence[str], data: bool, unit: str) -> str:
    """What happens at a moment, for a table."""
    names = [what.removesuffix(f" {unit}") for what in did]
    words = [
        f"{names.count(name)}x {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names)
    ]
    return " ".join([*words, "→ data" if data else "→ None"])


def padding_not_zero(trials: Sequence[Gradients]) -> Diagnosis | None:
    """Something else than 0 after the last element."""
    for trial in trials:
        for report in trial.ranks:
            if names := report.get("padding"):
                unit = next(u for u in units_of(trial.case) if u.layout.name in names)
                params = {"unit": names[0], "elements": unit.layout.elements, "padded": unit.layout.padded}
                return Diagnosis("padding", params, line_of_reduce(report), evidence.visible_case(trial))
    return None


def line_of_reduce(report: dict[str, Any]) -> Any:
    """The student's line that reduces."""
    lines = [r["line"] for r in report["passes"][0] if r["moment"] == "gradient ready" and r["line"]]
    return lines[0] if lines else report["line"]


def wrong_gradients(trials: Sequence[Gradients]) -> Diagnosis | None:
    """u.grad after each micro-batch of the first step."""
    for trial in trials:
        for rank, of_rank in enumerate(trial.values()):
            for wants, gots in zip(right(trial, rank), of_rank):
                for u, want, got in zip(units_of(trial.case), wants, gots):
                    if np.shape(got) != want.shape:
                        params = {"unit": u.layout.name, "got": np.size(got), "wanted": want.size}
                        line = line_of_reduce(trial.ranks[rank])
                        return Diagnosis("grad_length", params, line, evidence.visible_case(trial))
    found = evidence.explain(trials, right, MISTAKES)
    if found is None:
        return None
    trial = evidence.trial_of(found, trials)
    if found.key == "not_kept" and all(report.get("zeros") for report in trial.ranks):
        found.key = "sends_zeros"
    rows = []
    for rank, got in enumerate(trial.values()):
        pairs = zip(flat(right(trial, rank)), flat(got))
        differ = [(w, g) for w, g in pairs if not evidence.same(g, w)]
        rows.append((rank, *(differ[0] if differ else ("=", "="))))
    line = line_of_reduce(trial.ranks[found.params["rank"]])
    return Diagnosis(
        found.key, found.params, line, evidence.visible_case(trial), ("rank", "wanted", "got"), rows
    )


def flat(grads: Grads) -> np.ndarray:
    """All numbers in one vector."""
    return np.concatenate([grad for of_now in grads for grad in of_now])


def rebinds(trials: Sequence[Gradients]) -> Diagnosis | None:
    """Another array in the place of u.param or u.grad: a remark."""
    for trial in trials:
        for report in trial.ranks:
            if names := report.get("rebound"):
                line, case = line_of_reduce(report), evidence.visible_case(trial)
                return Diagnosis("rebinds", {"names": names}, line, case, state="note")
    return None


def other_parameters(trials: Sequence[Gradients]) -> Diagnosis | None:
    """Parameters at the end that are not those of the real stage."""
    for trial in trials:
        for report in trial.ranks:
            if not report.get("bits", True):
                key, state = ("other_bits", "note") if report["close"] else ("later_steps", "wrong")
                return Diagnosis(key, {}, line_of_reduce(report), evidence.visible_case(trial), state=state)
    return None
