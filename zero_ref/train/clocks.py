"""One clock for the ranks of a recorded step, so that what one rank waits for is never later than its wait.

time.perf_counter is the machine's clock: all ranks of a host read the same one. Between hosts it differs by
anything. Rank 0 asks one rank of each other host for its time, and that rank's clock is taken to have been
read in the middle between question and answer (Cristian, "Probabilistic clock synchronization", 1989). So
it is wrong by half of that time at most, and of many questions the one answered fastest counts.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

QUESTIONS = 20  # to each host; the first ones find caches cold and connections unmade


class Ahead(NamedTuple):
    """How many seconds this rank's clock is ahead of rank 0's, within how many, and the host's number."""

    seconds: float
    within: float
    host: int


def ahead(mpi: Any, node: Any, clock: Callable[[], float] = time.perf_counter) -> Ahead:
    """Compare clocks. All ranks of `mpi` call this together.

    node: the communicator of the ranks of this host, in the order of `mpi`. Rank 0 of each speaks for it.
    """
    speaker = node.bcast(mpi.rank)
    speakers = sorted(set(mpi.allgather(speaker)))
    seconds = within = 0.0
    for other in speakers[1:]:
        if mpi.rank == 0:
            mpi.send(ask(mpi, other, clock), other)
        elif mpi.rank == other:
            for _ in range(QUESTIONS):
                mpi.recv(source=0)
                mpi.send(clock(), 0)
            seconds, within = mpi.recv(source=0)
    seconds, within = node.bcast((seconds, within))
    return Ahead(seconds, within, speakers.index(speaker))


def ask(mpi: Any, other: int, clock: Callable[[], float]) -> tuple[float, float]:
    """Rank 0's part with one other host: seconds that it is ahead, and within how many."""
    answers = []
    for _ in range(QUESTIONS):
        asked = clock()
        mpi.send(None, other)
        theirs = mpi.recv(source=other)
        answered = clock()
        answers.append(((answered - asked) / 2, theirs - (asked + answered) / 2))
    within, seconds = min(answers)
    return seconds, within


def ahead_of_rank_0(mpi: Any) -> Ahead:
    """The same among hosts as MPI tells them: the ranks that share memory share a clock."""
    from mpi4py import MPI

    node = mpi.Split_type(MPI.COMM_TYPE_SHARED)
    try:
        return ahead(mpi, node)
    finally:
        node.Free()
