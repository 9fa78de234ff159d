"""Some of the ranks, as a `comm` of their own: for exercise 21."""

from collections.abc import Iterable
from typing import Any

import numpy as np


class Part:
    """The ranks `ranks` of comm, this one among them; all of these make it, and nobody else has to.

    rank, size: among them, in the order in which they are given; send, recv, sendrecv: as comm's, by these
    """

    def __init__(self, comm: Any, ranks: Iterable[int]) -> None:
        self.comm, self.ranks = comm, [int(rank) for rank in ranks]
        if comm.rank not in self.ranks:
            raise ValueError(f"rank {comm.rank} makes a Part of the ranks {self.ranks}, without itself")
        if len(set(self.ranks)) < len(self.ranks):
            raise ValueError(f"a rank is twice in {self.ranks}")
        self.rank, self.size = self.ranks.index(comm.rank), len(self.ranks)

    def send(self, x: np.ndarray, to: int) -> None:
        self.comm.send(x, self.ranks[to])

    def recv(self, source: int) -> np.ndarray:
        return self.comm.recv(self.ranks[source])

    def sendrecv(self, x: np.ndarray, to: int, source: int) -> np.ndarray:
        return self.comm.sendrecv(x, self.ranks[to], self.ranks[source])
