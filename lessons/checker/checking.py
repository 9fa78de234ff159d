"""One check of a student's file, from the ranks to the diagnosis."""

import os
import secrets
import time
from dataclasses import dataclass, replace
from pathlib import Path

from lessons.checker import progress, stub, verdict
from lessons.checker.evidence import Diagnosis
from lessons.checker.ranks import prerequisites, runner
from lessons.checker.ranks.runner import Job, Outcome
from lessons.checks import cases_of, check_of

EXIT = {"passed": 0, "note": 0, "wrong": 1, "not_started": 2}


@dataclass
class Result:
    """What a check found.

    state: "passed", "note" (passed, with something to say), "wrong" or "not_started"
    """

    job: Job
    outcome: Outcome
    diagnosis: Diagnosis | None
    seconds: float

    @property
    def state(self) -> str:
        return self.diagnosis.state if self.diagnosis else "passed"


def file_of(exercise: str) -> Path:
    """Where the student writes; ZERO_REF_EXERCISES chooses another folder."""
    return Path(os.environ.get("ZERO_REF_EXERCISES") or stub.FOLDER) / f"{exercise}.py"


def own_functions() -> dict[str, str]:
    """Of the functions that later exercises use, those of passed exercises: -> file."""
    done = progress.records()
    return {
        name: str(file_of(exercise))
        for name, exercise in prerequisites.WRITTEN_IN.items()
        if done[exercise]["passed"] and done[exercise]["state"] not in ("wrong", "not_started")
    }


def check(jobs: list[Job], limit: float = runner.LIMIT) -> list[Result]:
    """Check files of one exercise. Where nothing is begun no rank is started."""
    ranks = check_of(jobs[0].exercise).RANKS
    waiting = [job for job in jobs if not verdict.is_untouched(Path(job.file), functions(job.exercise))]
    begun = time.monotonic()
    outcomes = dict(zip(map(id, waiting), runner.run(waiting, ranks, limit)))
    seconds = time.monotonic() - begun
    results = []
    for job in jobs:
        outcome = outcomes.get(id(job), Outcome())
        found = verdict.judge(job, outcome)
        if found and verdict.may_be_kept_state(job, found) and is_right_alone(job, found, ranks, limit):
            found = replace(found, key="kept_state", params={})
        results.append(Result(job, outcome, found, outcome.seconds))
    if len(results) == 1:
        results[0].seconds = seconds
    return results


def is_right_alone(job: Job, found: Diagnosis, ranks: int, limit: float) -> bool:
    """Whether the trial of a diagnosis, made alone in fresh processes, is right."""
    cases = cases_of(job.exercise, job.seed)
    alone = replace(job, only=cases.index(found.case))
    (outcome,) = runner.run([alone], ranks, limit)
    try:
        return verdict.judge(alone, outcome) is None
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return False  # a check that cannot judge one trial


def functions(exercise: str) -> tuple[str, ...]:
    """What the student writes in an exercise."""
    return check_of(exercise).FUNCTIONS


def job_of(exercise: str, reference: bool = False, seed: str | None = None) -> Job:
    """A job for the student's own file.

    reference: build on zero_ref in place of the student's earlier functions
    """
    own = {} if reference else own_functions()
    files = prerequisites.without(exercise, own)
    return Job(exercise, str(file_of(exercise)), seed or secrets.token_hex(8), files)
