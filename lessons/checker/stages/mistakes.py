"""What is wrong with a step() of one stage: what it left, beside the real stage's and that of known mistakes.

A mistake in the numbers is known by what it leaves: World makes it. What is held and sent is compared with
what the real stage holds and sends in the same trial, and the logs of both tell where they part.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lessons.checker import evidence
from lessons.checker.evidence import Diagnosis, Trial, decode, same
from lessons.checker.stages.world import World, units_of

COLLECTIVES = ("reduce_scatter", "all_gather", "all_reduce", "sum")

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


class Step:
    """What one rank has after one step of a trial.

    found: what the student's step left; real: what the real stage holds and sends, without its numbers;
    pairs of what there is and what should be: loss, norm, params; losses: of each micro-batch
    """

    def __init__(
        self, trial: Trial, number: int, rank: int, found: dict[str, Any], real: dict[str, Any], right: tuple
    ) -> None:
        self.trial, self.number, self.rank, self.found, self.real = trial, number, rank, found, real
        norm, params, self.losses = right
        value = decode(found["value"])
        pair = value if isinstance(value, tuple | list) and len(value) == 2 else (None, None)
        self.loss, self.norm = (pair[0], sum(self.losses)), (pair[1], norm)
        self.params = (tuple(map(decode, found["params"])), params)

    def both(self, name: str, of: str | None = None) -> tuple[Any, Any]:
        """Something that is, and that should be."""
        pair = self.found[name], self.real[name]
        return (pair[0][of], pair[1][of]) if of else pair

    def calls(self, what: str) -> tuple[int, int]:
        """How often `what` was called, and should be."""
        return self.order().count(what), Counter(entry[0] for entry in self.real["log"])[what]

    def order(self) -> list[str]:
        """What was called, in order."""
        return [entry[0] for entry in self.found["log"]]

    def first(self, what: str) -> int:
        """The place of the first call of `what` in that order; where there is none, the end."""
        return next((place for place, called in enumerate(self.order()) if called == what), len(self.order()))

    def line(self, what: str) -> Any:
        """The line of the last call of `what`; where there is none, of the return.

        A shard that is called for in the passes: "shard of gradient".
        """
        log = self.found["log"]
        if what == "shard of gradient":
            what, log = "shard", log[: self.first("clip")]
        lines = [place for called, _, _, place in log if called == what and place]
        return lines[-1] if lines else self.trial.ranks[self.rank]["line"]


class Seen:
    """All trials of one stage, with what the ranks told of them."""

    def __init__(self, trials: Sequence[Trial], stage: int) -> None:
        self.trials, self.stage = trials, stage
        self.steps: list[list[list[Step]]] = []  # trial, number, rank
        for trial in trials:
            right = [[decode(of_rank) for of_rank in ranks] for ranks in trial.ranks[0]["right"]]
            self.steps.append(
                [
                    [
                        Step(
                            trial, number, rank, of["steps"][number], of["real"][number], right[number][rank]
                        )
                        for rank, of in enumerate(trial.ranks)
                    ]
                    for number in range(len(right))
                ]
            )

    def __iter__(self) -> Iterator[tuple[Step, list[Step]]]:
        """Every step of every rank, with those of all ranks; the smallest trial and the first step first."""
        for trial in self.steps:
            for ranks in trial:
                yield from ((step, ranks) for step in ranks)

    def returned(self, trial: Trial, rank: int) -> tuple[float, float]:
        """What a rank should return from the first step."""
        step = self.steps[self.trials.index(trial)][0][rank]
        return step.loss[1], step.norm[1]


def diagnose(stage: int, trials: Sequence[Trial]) -> Diagnosis | None:
    """Who updates what, then values, then what stays, what is sent, what is held in between, and bits."""
    seen = Seen(trials, stage)
    return (
        evidence.returned(trials, seen.returned)
        or not_sharded(seen)
        or wrong_updates(seen)
        or wrong_values(seen)
        or wrong_norm(seen)
        or wrong_loss(seen)
        or wrong_at_rest(seen)
        or wrong_calls(seen)
        or wrong_gathered(seen)
        or wrong_gradients(seen)
        or remarks(seen)
    )


Table = tuple[Sequence[str], Sequence[Sequence[Any]]]


def found(
    key: str, step: Step, look: str, table: Table = ((), ()), state: str = "wrong", **params: Any
) -> Diagnosis:
    """A diagnosis that this step shows, at the last line that calls `look`."""
    case = step.trial.case
    params |= {"size": case["size"], "rank": step.rank, "step": step.number + 1}
    params |= {"micro_batches": case["micro_batches"]}
    return Diagnosis(key, params, step.line(look), case, *table, state)


def of_all_ranks(ranks: Sequence[Step], names: tuple[str, str], pair: Any) -> Table:
    """A table with a line a rank: pair(step) is what there is, and what should be."""
    return ("rank", *names), [(step.rank, *reversed(pair(step))) for step in ranks]


def numbers_table(ranks: Sequence[Step], pair: Any) -> Table:
    """As of_all_ranks(), of numbers that differ from step to step."""
    rows = [(step.rank, step.number + 1, *reversed(pair(step))) for step in ranks]
    return ("rank", "step", "wanted", "got"), rows


def calls_table(step: Step, names: Sequence[str] = COLLECTIVES) -> Table:
    """What one rank should have called how often, and did."""
    rows = [(what, *reversed(step.calls(what))) for what in names if any(step.calls(what))]
    return ("call", "wanted_calls", "got_calls"), rows


# Who updates what.


def not_sharded(seen: Seen) -> Diagnosis | None:
    """Stage 0 in place of a later one: a rank updates everything, or nothing is scattered and gathered."""
    if seen.stage == 0:
        return None
    for step, ranks in seen:
        state = [sum(lengths) for lengths in step.both("state")]
        if step.trial.size > 1 and (updated(step)[0] > updated(step)[1] or state[0] > state[1]):
            head = ("rank", "wanted_updated", "got_updated", "wanted_state", "got_state")
            rows = [(s.rank, *updated(s)[::-1], *map(sum, reversed(s.both("state")))) for s in ranks]
            return found("data_parallel" if seen.stage == 3 else "not_sharded", step, "update", (head, rows))
    for step, _ in seen:
        talks = {"all_gather", "reduce_scatter"} & set(step.order())
        alone = seen.trials[-1].size == 1  # with more ranks it has raised: shards do not fit
        if alone and "update" in step.order() and not talks:
            return found("not_sharded", step, "update", calls_table(step))
    return None


def updated(step: Step) -> tuple[int, int]:
    """The elements that a rank updates, however often, and should."""
    pair = [{entry[1]: entry[2] for entry in log if entry[0] == "update"} for log in step.both("log")]
    return sum(pair[0].values()), sum(pair[1].values())


def wrong_updates(seen: Seen) -> Diagnosis | None:
    """No update of a unit in a step, or more than one; or no clip, which tells by what to scale."""
    for step, _ in seen:
        if step.calls("update")[0] < step.calls("update")[1]:
            return found("not_updated", step, "", calls_table(step, ("backward", "update")))
        if step.calls("clip")[0] == 0:
            return found("clip_not_called", step, "update")
        if step.calls("update")[0] > step.calls("update")[1]:
            return found("updates_too_often", step, "update", calls_table(step, ("backward", "update")))
    return None


# Values.


def wrong_values(seen: Seen) -> Diagnosis | None:
    """Parameters that are not what they should be, and the mistake that leaves them so."""
    step, ranks = next(((step, ranks) for step, ranks in seen if not same(*step.params)), (None, []))
    if step is None:
        return None
    key, look = known_mistake(seen)
    order = step.order()
    if key == "own_gradient" and {"all_reduce", "reduce_scatter"} & set(order):
        key = "update_before_sum"
    if key == "not_gathered":
        return found(key, step, look, (("rank", "right_shards"), [(s.rank, right_shards(s)) for s in ranks]))
    if key.startswith("norm") and any(not same(*s.norm) for s in ranks):
        return found(key, step, look, numbers_table(ranks, lambda s: s.norm))
    head = ("rank", "step", "parameter", "wanted", "got")
    return found(key, step, look, (head, [(s.rank, s.number + 1, *wrong_parameter(s)) for s in ranks]))


def known_mistake(seen: Seen) -> tuple[str, str]:
    """The first mistake that explains what all ranks have in all trials; "unknown" if none does.

    Where no single one does, the first of two that do together.
    """
    single = MISTAKES[seen.stage]
    double = [
        (key, wrong | other, look)
        for (key, wrong, look), (_, other, _) in itertools.combinations(single, 2)
        if not wrong.keys() & other.keys()
    ]
    for key, wrong, look in single + double:
        if all(left_by(wrong, trial, seen.stage) for trial in seen.steps):
            return key, look
    return "unknown", ""


def left_by(wrong: dict[str, Any], trial: list[list[Step]], stage: int) -> bool:
    """Whether a mistake leaves what the ranks have in a trial."""
    with np.errstate(all="ignore"):
        world = World(trial[0][0].trial.case, stage, **wrong).run()
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


def wrong_norm(seen: Seen) -> Diagnosis | None:
    """The norm alone is wrong: what is returned is not what clip() gave."""
    for step, ranks in seen:
        if not same(*step.norm):
            clipped = all(same(s.norm[0], after_clipping(s)) for s, _ in seen)
            table = numbers_table(ranks, lambda s: s.norm)
            return found("norm_after_clipping" if clipped else "norm_wrong", step, "clip", table)
    return None


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


def wrong_loss(seen: Seen) -> Diagnosis | None:
    """The loss alone is wrong; the mistakes need only the losses of the micro-batches."""
    for step, ranks in seen:
        if same(*step.loss):
            continue
        key = "loss_wrong"
        for name, mistake in LOSSES:
            if all(same(s.loss[0], mistake([r.losses for r in of_all], s.rank)) for s, of_all in seen):
                key = name
                break
        return found(key, step, "", numbers_table(ranks, lambda s: s.loss))
    return None


# What stays, what is sent, what is held in between.


def wrong_at_rest(seen: Seen) -> Diagnosis | None:
    """More memory kept between two steps than the stage allows."""
    names = ("wanted_held", "got_held")
    for step, ranks in seen:
        for name, look in (("param", "shard"), ("grad", "shard of gradient")):
            got, wanted = map(sum, step.both("held", name))
            if got > wanted:
                rows = [(s.rank, *map(sum, reversed(s.both("held", name)))) for s in ranks]
                params = {"name": f"u.{name}", "got": got, "wanted": wanted}
                return found("view_keeps_whole", step, look, (("rank", *names), rows), **params)
        kept = step.found["alive"]["gathered"]
        if seen.stage == 3 and kept > 0 and step.trial.size > 1:
            table = of_all_ranks(ranks, names, lambda s: s.both("alive", "gathered"))
            return found("model_kept", step, "all_gather", table, got=kept)
    return None


def wrong_calls(seen: Seen) -> Diagnosis | None:
    """Other collectives than the stage needs, or more or fewer of them; from two ranks on they are bytes."""
    for step, _ in seen:
        got, wanted = (sum(sent.values()) for sent in step.both("sent"))
        if step.trial.size > 1 and step.found["sent"] != step.real["sent"]:
            key, look = why_sent(seen.stage, step, got > wanted)
            state = "note" if seen.stage == 0 else "wrong"
            return found(key, step, look, calls_table(step), state, got=got, wanted=wanted)
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
    if stage < 2 and step.calls(summing)[0] == k * step.calls(summing)[1]:
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


def wrong_gathered(seen: Seen) -> Diagnosis | None:
    """Stage 3: more than one unit gathered at once."""
    for step, ranks in seen:
        got, wanted = step.both("peak", "gathered")
        if seen.stage < 3 or got <= wanted:
            continue
        sizes = unit_bytes(step)
        first = step.order()[: step.first("forward")].count("all_gather") == len(sizes)
        key = "whole_model_first" if first else "two_units" if got < sum(sizes) else "kept_for_backward"
        table = of_all_ranks(ranks, ("wanted_peak", "got_peak"), lambda s: s.both("peak", "gathered"))
        return found(key, step, "all_gather", table, got=got, wanted=wanted)
    return None


def wrong_gradients(seen: Seen) -> Diagnosis | None:
    """Whole gradients that live longer than their unit's turn: a mistake from stage 2 on, a remark before."""
    for step, ranks in seen:
        if seen.stage >= 2 and not {"reduce_scatter", "all_reduce"} & set(step.order()):
            return found("own_gradient", step, "backward", calls_table(step))
        got, wanted = step.both("peak", "full_gradient")
        late = seen.stage >= 2 and reduces_late(step)
        if got <= wanted and not late:
            continue
        sizes = unit_bytes(step)
        two = max(a + b for a, b in zip(sizes, sizes[1:]))
        key = "reduced_at_the_end" if late else "two_gradients" if got <= two else "gradients_kept"
        table = of_all_ranks(ranks, ("wanted_peak", "got_peak"), lambda s: s.both("peak", "full_gradient"))
        table = table if got > wanted else ((), ())
        state = "wrong" if seen.stage >= 2 else "note"
        return found(
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


def remarks(seen: Seen) -> Diagnosis | None:
    """What is right, but not as the real stage does it."""
    for step, _ in seen:
        if not all(step.found["cleared"]):
            return found("cleared_late", step, "update", state="note")
        if seen.stage in (1, 2) and step.found["peak"]["gathered"] > 0:
            return found("second_copy", step, "all_gather", state="note")
    for step, _ in seen:
        pairs = [*zip(*step.params), tuple(map(np.asarray, step.norm))]
        different = any(got.tobytes() != want.tobytes() for got, want in pairs)
        if different and not step.trial.ranks[0]["own_ring"]:
            return found("other_bits", step, "update", state="note")
    return None
