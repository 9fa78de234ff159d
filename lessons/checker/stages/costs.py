"""What a step() of one stage keeps, sends and holds in between, beside the real stage's in the same trial.

The logs of both tell where they part.
"""

from lessons.checker.evidence import Diagnosis
from lessons.checker.stages.steps import AllSteps, Step, calls_table, make_diagnosis, ranks_table
from lessons.checker.stages.world import units_of


def wrong_at_rest(steps: AllSteps) -> Diagnosis | None:
    """More memory kept between two steps than the stage allows."""
    names = ("wanted_held", "got_held")
    for step, ranks in steps:
        for name, look in (("param", "shard"), ("grad", "shard of gradient")):
            got, wanted = map(sum, step.pair("held", name))
            if got > wanted:
                rows = [(s.rank, *map(sum, reversed(s.pair("held", name)))) for s in ranks]
                params = {"name": f"u.{name}", "got": got, "wanted": wanted}
                return make_diagnosis("view_keeps_whole", step, look, (("rank", *names), rows), **params)
        kept = step.found["alive"]["gathered"]
        if steps.stage == 3 and kept > 0 and step.trial.size > 1:
            table = ranks_table(ranks, names, lambda s: s.pair("alive", "gathered"))
            return make_diagnosis("model_kept", step, "all_gather", table, got=kept)
    return None


def wrong_calls(steps: AllSteps) -> Diagnosis | None:
    """Other collectives than the stage needs, or more or fewer of them; from two ranks on they are bytes."""
    for step, _ in steps:
        got, wanted = (sum(sent.values()) for sent in step.pair("sent"))
        if step.trial.size > 1 and step.found["sent"] != step.real["sent"]:
            key, look = why_sent(steps.stage, step, got > wanted)
            state = "note" if steps.stage == 0 else "wrong"
            return make_diagnosis(key, step, look, calls_table(step), state, got=got, wanted=wanted)
    return None


def why_sent(stage: int, step: Step, more: bool) -> tuple[str, str]:
    """The diagnosis for bytes too many or too few, and the call to look at."""
    order, k = step.order(), step.trial.case["micro_batches"]
    summing = "reduce_scatter" if stage else "all_reduce"
    if step.calls("sum")[0] != step.calls("sum")[1]:
        return "sums_too_often", "sum"
    if stage > 0 and "all_reduce" in order:
        return "all_reduce_and_slice", "all_reduce"
    if stage == 3:
        return why_gathered(step, more)
    if stage < 2 and k > 1 and step.calls(summing)[0] == k * step.calls(summing)[1]:
        return "reduces_each_micro_batch", summing
    if stage == 2 and reduces_late(step):
        return "reduced_at_the_end", "reduce_scatter"
    return ("more_bytes" if more else "fewer_bytes"), ""


def why_gathered(step: Step, more: bool) -> tuple[str, str]:
    """As why_sent(), for the all-gathers of stage 3."""
    gathers = [place for place, what in enumerate(step.order()) if what == "all_gather"]
    after = [place for place in gathers if place > step.first("update")]
    if gathers == after:  # the passes have gathered nothing
        return "model_kept", "forward"
    if more:
        return ("gathers_after_update" if after else "more_bytes"), "all_gather"
    first = gathers[-1] < step.first("forward")
    return ("whole_model_first" if first else "kept_for_backward"), "all_gather"


def wrong_gathered(steps: AllSteps) -> Diagnosis | None:
    """Stage 3: more than one unit gathered at once."""
    for step, ranks in steps:
        got, wanted = step.pair("peak", "gathered")
        if steps.stage < 3 or got <= wanted:
            continue
        sizes = unit_bytes(step)
        first = step.order()[: step.first("forward")].count("all_gather") == len(sizes)
        key = "whole_model_first" if first else "two_units" if got < sum(sizes) else "kept_for_backward"
        table = ranks_table(ranks, ("wanted_peak", "got_peak"), lambda s: s.pair("peak", "gathered"))
        return make_diagnosis(key, step, "all_gather", table, got=got, wanted=wanted)
    return None


def wrong_gradients(steps: AllSteps) -> Diagnosis | None:
    """Whole gradients that live longer than their unit's turn: a mistake from stage 2 on, a remark before."""
    for step, ranks in steps:
        if steps.stage >= 2 and not {"reduce_scatter", "all_reduce"} & set(step.order()):
            return make_diagnosis("own_gradient", step, "backward", calls_table(step))
        got, wanted = step.pair("peak", "full_gradient")
        late = steps.stage >= 2 and reduces_late(step)
        if got <= wanted and not late:
            continue
        sizes = unit_bytes(step)
        two = max(a + b for a, b in zip(sizes, sizes[1:]))
        key = "reduced_at_the_end" if late else "two_gradients" if got <= two else "gradients_kept"
        table = ranks_table(ranks, ("wanted_peak", "got_peak"), lambda s: s.pair("peak", "full_gradient"))
        table = table if got > wanted else ((), ())
        state = "wrong" if steps.stage >= 2 else "note"
        return make_diagnosis(
            key, step, "reduce_scatter" if late else "backward", table, state, got=got, wanted=wanted
        )
    return None


def reduces_late(step: Step) -> bool:
    """Whether two backward passes come one after another, with nothing summed between them."""
    order = [what for what in step.order() if what in ("backward", "reduce_scatter", "all_reduce")]
    return any(a == b == "backward" for a, b in zip(order, order[1:]))


def unit_bytes(step: Step) -> list[int]:
    """The bytes of each unit's whole vector."""
    return [8 * u.layout.padded for u in units_of(step.trial.case)]
