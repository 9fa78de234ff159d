"""What is wrong with a step() of one stage: what it left, beside the real stage's and that of known mistakes.

A mistake in the numbers is known by what it leaves: World makes it. costs.py compares what is held and sent.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from lessons.checker import evidence
from lessons.checker.evidence import Diagnosis, Trial, same
from lessons.checker.stages.costs import wrong_at_rest, wrong_calls, wrong_gathered, wrong_gradients
from lessons.checker.stages.steps import AllSteps, Step, calls_table, make_diagnosis, numbers_table
from lessons.checker.stages.world import Mistake, World, units_of

# Diagnosis, what World does wrongly, the call to look at. The first that leaves what the ranks have is taken.
Mistakes = list[tuple[str, dict[str, Any], str]]
EVERYWHERE: Mistakes = [
    ("own_gradient", {"total": "own"}, "update"),
    ("last_micro_batch_only", {"total": "last"}, "backward"),
    ("not_cleared", {"carry": True}, "update"),
    ("divided_by_ranks", {"total": "over ranks"}, "update"),
    ("divided_by_micro_batches", {"total": "over micro-batches"}, "update"),
    ("reduced_twice", {"total": "times ranks"}, "backward"),
    ("norm_times_ranks", {"norm": "ranks"}, "clip"),
    ("norm_of_parameters", {"norm": "params"}, "clip"),
    ("norm_per_unit", {"norm": "units"}, "clip"),
    ("clip_exchanged", {"norm": "scale"}, "clip"),
    ("not_passed_back", {"back": "loss"}, "backward"),
    ("scale_not_used", {"power": 0}, "update"),
    ("scale_used_twice", {"power": 2}, "update"),
]
WHOLE_GRADIENT: Mistakes = [  # stages 0 and 1 have it
    ("norm_before_sum", {"norm": "parts"}, "clip"),
    ("norm_before_sum", {"norm": "whole_parts"}, "clip"),
    ("summed_again", {"total": "again"}, "backward"),
]
SHARDS: Mistakes = [  # stages 1 to 3 update them
    ("update_lost", {"gather": "lost"}, "update"),
    ("first_shard_of_gradient", {"grad": "first"}, "update"),
    ("first_shard_of_gradient", {"grad": "first", "norm": "first"}, "update"),
]
GATHERED: Mistakes = [  # stages 1 and 2, after the update
    ("not_gathered", {"gather": "never"}, "update"),
    ("gathered_before_update", {"gather": "early"}, "all_gather"),
    ("first_shard_of_parameters", {"param": "first"}, "update"),
    ("next_shard_of_parameters", {"param": "next"}, "update"),
    ("own_gradient", {"total": "own", "gather": "never"}, "update"),
]
STALE: Mistakes = [  # stage 3
    ("stale_backward", {"seen": "backward"}, "backward"),
    ("stale_copy", {"seen": "start"}, "forward"),
    ("one_step_behind", {"seen": "before"}, "forward"),
]
AVERAGED: Mistakes = [("averages_weights", {"total": "own", "gather": "mean"}, "all_reduce")]
MISTAKES = {
    0: EVERYWHERE + WHOLE_GRADIENT + AVERAGED,
    1: EVERYWHERE + WHOLE_GRADIENT + SHARDS + GATHERED,
    2: EVERYWHERE + SHARDS + GATHERED,
    3: EVERYWHERE + SHARDS + STALE,
}


def diagnose(stage: int, trials: Sequence[Trial]) -> Diagnosis | None:
    """Who updates what, then values, then what stays, what is sent, what is held in between, and bits."""
    steps = AllSteps(trials, stage)
    return (
        evidence.check_kind(trials, steps.returned)
        or not_sharded(steps)
        or wrong_updates(steps)
        or wrong_values(steps)
        or (None if all(same(*s.norm) for s, _ in steps) else exchanged(steps) or wrong_norm(steps))
        or wrong_loss(steps)
        or (wrong_cost(steps) if trials[-1].size > 1 else None)
        or find_remark(steps)
    )


def wrong_cost(steps: AllSteps) -> Diagnosis | None:
    """What is kept, sent, and held in between. One rank alone tells little: where no other trial came to
    its end, what stopped it is the mistake."""
    return wrong_at_rest(steps) or wrong_calls(steps) or wrong_gathered(steps) or wrong_gradients(steps)


# Who updates what.


def not_sharded(steps: AllSteps) -> Diagnosis | None:
    """Stage 0 in place of a later one: a rank updates everything, or nothing is scattered and gathered."""
    if steps.stage == 0:
        return None
    for step, ranks in steps:
        state = [sum(lengths) for lengths in step.pair("state")]
        if step.trial.size > 1 and (
            updated_elements(step)[0] > updated_elements(step)[1] or state[0] > state[1]
        ):
            head = ("rank", "wanted_updated", "got_updated", "wanted_state", "got_state")
            rows = [(s.rank, *updated_elements(s)[::-1], *map(sum, reversed(s.pair("state")))) for s in ranks]
            return make_diagnosis(
                "data_parallel" if steps.stage == 3 else "not_sharded", step, "update", (head, rows)
            )
    for step, _ in steps:
        talks = {"all_gather", "reduce_scatter"} & set(step.order())
        alone = steps.trials[-1].size == 1  # with more ranks it has raised: shards do not fit
        if alone and "update" in step.order() and not talks:
            return make_diagnosis("not_sharded", step, "update", calls_table(step))
    return None


def updated_elements(step: Step) -> tuple[int, int]:
    """The elements that a rank updates, however often, and should."""
    pair = [{entry[1]: entry[2] for entry in log if entry[0] == "update"} for log in step.pair("log")]
    return sum(pair[0].values()), sum(pair[1].values())


def wrong_updates(steps: AllSteps) -> Diagnosis | None:
    """No update of a unit in a step, or more than one; or no clip, which tells by what to scale."""
    for step, _ in steps:
        if step.calls("update")[0] < step.calls("update")[1]:
            return make_diagnosis("not_updated", step, "", calls_table(step, ("backward", "update")))
        if step.calls("clip")[0] == 0:
            return make_diagnosis("clip_not_called", step, "update")
        if step.calls("update")[0] > step.calls("update")[1]:
            return make_diagnosis(
                "updates_too_often", step, "update", calls_table(step, ("backward", "update"))
            )
    return None


# Values.


def wrong_values(steps: AllSteps) -> Diagnosis | None:
    """Parameters that are not what they should be, and the mistake that leaves them so."""
    step, ranks = next(((step, ranks) for step, ranks in steps if not same(*step.params)), (None, []))
    if step is None:
        return None
    key, look = known_mistake(steps)
    if key not in ("last_micro_batch_only", "not_cleared") and (found := too_early(step)):
        return found
    if key == "norm_per_unit" and step.calls("clip")[0] < 2:
        key = "unknown"
    order = step.order()
    if key == "own_gradient" and {"all_reduce", "reduce_scatter"} & set(order):
        key = "update_before_sum"
    if key == "unknown" and (found := other_calls(steps)):
        return found
    if key == "not_gathered":
        return make_diagnosis(
            key, step, look, (("rank", "right_shards"), [(s.rank, right_shards(s)) for s in ranks])
        )
    if key.startswith("norm") and any(not same(*s.norm) for s in ranks):
        return make_diagnosis(key, step, look, numbers_table(ranks, lambda s: s.norm))
    head = ("rank", "step", "parameter", "wanted", "got")
    return make_diagnosis(
        key, step, look, (head, [(s.rank, s.number + 1, *wrong_parameter(s)) for s in ranks])
    )


def too_early(step: Step) -> Diagnosis | None:
    """A sum, a norm or an update of gradients before there are any."""
    before = step.order()[: step.first("backward")] if "backward" in step.order() else []
    for what in ("all_reduce", "reduce_scatter", "clip", "update"):
        if what in before:
            return make_diagnosis("before_backward", step, what, what=what)
    return None


def other_calls(steps: AllSteps) -> Diagnosis | None:
    """Values that no mistake explains: passes too many or too few, a gradient that is not zero afterwards, or
    passes in another order."""
    for step, _ in steps:
        for what in ("forward", "backward"):
            got, wanted = step.calls(what)
            if got != wanted:
                table = calls_table(step, ("forward", "backward"))
                return make_diagnosis("passes_number", step, what, table, what=what, got=got, wanted=wanted)
        if not all(step.found["cleared"]):
            return make_diagnosis("not_zero_after", step, "update")
        got, wanted = (
            [tuple(entry[:2]) for entry in log if entry[0] in ("forward", "backward")]
            for log in step.pair("log")
        )
        for number, (did, right) in enumerate(zip(got, wanted)):
            if did != right:
                names = {"number": number + 1, "got": " ".join(did), "wanted": " ".join(right)}
                return make_diagnosis("passes_order", step, did[0], **names)
    return None


def known_mistake(steps: AllSteps) -> tuple[str, str]:
    """The first mistake that explains what all ranks have in all trials; "unknown" if none does.

    Where no single one does, of two that do together the one that explains the trial that is shown.
    """
    single = MISTAKES[steps.stage]
    for key, wrong, look in single:
        if all(explains(wrong, trial, steps.stage) for trial in steps.steps):
            return key, look
    shown = next(trial for trial in steps.steps if any(not same(*s.params) for ranks in trial for s in ranks))
    for one, other in itertools.combinations(single, 2):
        both = one[1] | other[1]
        if len(both) == len(one[1]) + len(other[1]) and all(
            explains(both, trial, steps.stage) for trial in steps.steps
        ):
            alone = (m for m in (one, other) if explains(m[1], shown, steps.stage))
            key, _, look = next(alone, one)
            return key, look
    return "unknown", ""


def explains(wrong: dict[str, Any], trial: list[list[Step]], stage: int) -> bool:
    """Whether a mistake leaves what the ranks have in a trial."""
    with np.errstate(all="ignore"):
        world = World(trial[0][0].trial.case, stage, Mistake(**wrong)).run()
    return all(
        (norm is None or same(step.norm[0], norm)) and same(step.params[0], params)
        for ranks, wrong_ranks in zip(trial, world)
        for step, (norm, params, _) in zip(ranks, wrong_ranks)
    )


def wrong_parameter(step: Step) -> tuple[str, Any, Any]:
    """The parameter of a rank that is most wrong: its place, what should be there, and what is."""
    most, worst = 0.0, ("-", "-", "-")
    for unit, (got, want) in enumerate(zip(*step.params)):
        if not isinstance(got, np.ndarray) or got.shape != want.shape:
            return f"layers.{unit}", evidence.kind_of(want), evidence.kind_of(got)
        off = np.nan_to_num(abs(got - want), nan=np.inf)
        place = int(off.argmax())
        if not same(got, want) and off[place] > most:
            most, worst = off[place], (f"layers.{unit}[{place}]", want[place], got[place])
    return worst


def right_shards(step: Step) -> str:
    """The shards of a rank's parameters that are right in all units."""
    layouts = [u.layout for u in units_of(step.trial.case)]
    good = [
        str(rank)
        for rank in range(step.trial.size)
        if all(same(u.shard(g, rank), u.shard(w, rank)) for u, g, w in zip(layouts, *step.params))
    ]
    return " ".join(good) or "-"


def wrong_norm(steps: AllSteps) -> Diagnosis | None:
    """The norm alone is wrong: what is returned is not what clip() gave."""
    for step, ranks in steps:
        if not same(*step.norm):
            clipped = all(same(s.norm[0], after_clipping(s)) for s, _ in steps)
            table = numbers_table(ranks, lambda s: s.norm)
            return make_diagnosis("norm_after_clipping" if clipped else "norm_wrong", step, "clip", table)
    return None


def exchanged(steps: AllSteps) -> Diagnosis | None:
    """Loss and norm, each in the other's place."""
    if not all(same((s.norm[0], s.loss[0]), (s.loss[1], s.norm[1])) for s, _ in steps):
        return None
    step, ranks = next(iter(steps))
    return make_diagnosis("result_exchanged", step, "", numbers_table(ranks, lambda s: s.loss))


def after_clipping(step: Step) -> float:
    """The right norm of a step, brought down to its limit."""
    limit = step.trial.case["numbers"]["clips"][step.number]
    return step.norm[1] if limit is None else step.norm[1] * min(1.0, limit / (step.norm[1] + 1e-6))


LOSSES = [  # losses: rank, micro-batch
    ("loss_of_last_micro_batch", lambda losses, rank: losses[rank][-1]),
    ("loss_divided", lambda losses, rank: sum(losses[rank]) / len(losses[rank])),
    ("loss_divided", lambda losses, rank: sum(losses[rank]) / len(losses)),
    ("loss_of_all_ranks", lambda losses, rank: sum(map(sum, losses))),
    ("loss_of_all_ranks", lambda losses, rank: sum(map(sum, losses)) / len(losses)),
]


def wrong_loss(steps: AllSteps) -> Diagnosis | None:
    """The loss alone is wrong; the mistakes need only the losses of the micro-batches."""
    for step, ranks in steps:
        if same(*step.loss):
            continue
        key = "loss_wrong"
        for name, mistake in LOSSES:
            if all(same(s.loss[0], mistake([r.losses for r in of_all], s.rank)) for s, of_all in steps):
                key = name
                break
        return make_diagnosis(key, step, "", numbers_table(ranks, lambda s: s.loss))
    return None


def find_remark(steps: AllSteps) -> Diagnosis | None:
    """What is right, but not as the real stage does it."""
    for step, _ in steps:
        if not all(step.found["cleared"]):
            return make_diagnosis("cleared_late", step, "update", state="note")
        if steps.stage in (1, 2) and step.found["peak"]["gathered"] > 0:
            return make_diagnosis("second_copy", step, "all_gather", state="note")
    for step, _ in steps:
        if names := step.found["rebound"]:
            return make_diagnosis("rebinds", step, "update", state="note", names=names)
    for step, _ in steps:
        pairs = [*zip(*step.params), tuple(map(np.asarray, step.norm))]
        different = any(got.tobytes() != want.tobytes() for got, want in pairs)
        if different and not step.trial.ranks[0]["own_ring"]:
            return make_diagnosis("other_bits", step, "update", state="note")
    return None
