"""What each rank has after each step of a trial, and what it should have; diagnoses that show it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from lessons.checker.evidence import Diagnosis, Trial, decode

COLLECTIVES = ("reduce_scatter", "all_gather", "all_reduce", "sum")


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

    def pair(self, name: str, of: str | None = None) -> tuple[Any, Any]:
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


class AllSteps:
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


Table = tuple[Sequence[str], Sequence[Sequence[Any]]]


def make_diagnosis(
    key: str, step: Step, look: str, table: Table = ((), ()), state: str = "wrong", **params: Any
) -> Diagnosis:
    """A diagnosis that this step shows, at the last line that calls `look`."""
    case = step.trial.case
    params |= {"size": case["size"], "rank": step.rank, "step": step.number + 1}
    params |= {"micro_batches": case["micro_batches"]}
    return Diagnosis(key, params, step.line(look), case, *table, state)


def ranks_table(ranks: Sequence[Step], names: tuple[str, str], pair: Any) -> Table:
    """A table with a line a rank: pair(step) is what there is, and what should be."""
    return ("rank", *names), [(step.rank, *reversed(pair(step))) for step in ranks]


def numbers_table(ranks: Sequence[Step], pair: Any) -> Table:
    """As ranks_table(), of numbers that differ from step to step."""
    rows = [(step.rank, step.number + 1, *reversed(pair(step))) for step in ranks]
    return ("rank", "step", "wanted", "got"), rows


def calls_table(step: Step, names: Sequence[str] = COLLECTIVES) -> Table:
    """What one rank should have called how often, and did."""
    rows = [(what, *reversed(step.calls(what))) for what in names if any(step.calls(what))]
    return ("call", "wanted_calls", "got_calls"), rows
