"""Right results by messages that are not what the exercise is about."""

from collections.abc import Sequence

from lessons.checker.evidence import Diagnosis, Trial


def not_a_ring(trials: Sequence[Trial]) -> Diagnosis | None:
    """As many bytes as a ring, but not between neighbours: a note."""
    for trial in trials:
        to = [sorted({event["to"] for event in trial.sent(rank)}) for rank in range(trial.size)]
        near = (1, trial.size - 1)
        far = [
            rank for rank in range(trial.size) if any((r - rank) % trial.size not in near for r in to[rank])
        ]
        if trial.size > 1 and far:
            params, line = {"rank": far[0], "to": to[far[0]], "size": trial.size}, trial.ranks[far[0]]["line"]
            rows = list(enumerate(to))
            return Diagnosis("not_a_ring", params, line, trial.case, ("rank", "sends_to"), rows, "note")
    return None
