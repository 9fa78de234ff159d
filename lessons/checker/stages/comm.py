"""The `comm` of a stage: zero_ref's, over the exercises' messages. Imported on ranks only: it starts MPI."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from lessons.checker.ranks import prerequisites
from lessons.checker.ranks.sum_only import Sums
from lessons.checker.stages.log import Log, check_length
from zero_ref.array import Array
from zero_ref.extras.own import OwnComm
from zero_ref.layout import FlatLayout, bounds
from zero_ref.ledger import ledger


class WatchedComm(OwnComm):
    """The ranks of a trial, with the student's own two rings, or the reference ones.

    Before each collective the ranks say which it is: who calls another one, or none, is found out.
    """

    def __init__(self, talk: Any, log: Log) -> None:
        rings = (
            prerequisites.get_function("ring_reduce_scatter"),
            prerequisites.get_function("ring_all_gather"),
        )
        super().__init__(talk, *rings)
        self.log, self.inside = log, False

    def reduce_scatter(self, full: Array, layout: FlatLayout) -> Array:
        with self.entered("reduce_scatter", layout, full, layout.padded):
            return super().reduce_scatter(full, layout)

    def all_gather(self, shard: Array, layout: FlatLayout, out: Array = None) -> Array:
        if out is not None:
            check_length("all_gather", "out", layout, out, layout.padded)
        with self.entered("all_gather", layout, shard, layout.counts[self.rank]):
            return super().all_gather(shard, layout, out)

    def all_reduce(self, full: Array, layout: FlatLayout) -> None:
        with self.entered("all_reduce", layout, full, layout.padded):
            super().all_reduce(full, layout)

    def shard(self, full: Array, layout: FlatLayout) -> Array:
        check_length("shard", "full", layout, full, layout.padded)
        self.log("shard", layout.name, layout.padded)
        return super().shard(full, layout)

    def sum(self, value: float) -> float:
        self.log("sum", "", 1)
        ledger.count_sent("other", 8 * (self.size - 1))
        return self.sum_of(value)

    def everyone(self, value: Any) -> list[Any]:
        self.log("everyone", "", 1)
        self.begin("everyone")
        texts = [mine := np.frombuffer(json.dumps(value).encode(), np.uint8)] * self.size
        for hop in range(1, self.size):
            to, source = (self.rank + hop) % self.size, (self.rank - hop) % self.size
            texts[source] = self.messages.sendrecv(mine, to, source)
        return [json.loads(text.tobytes()) for text in texts]

    @contextmanager
    def entered(self, what: str, layout: FlatLayout, vector: Array, wanted: int) -> Iterator[None]:
        """Within it, a collective that all ranks have begun; those that it consists of are not told apart."""
        if self.inside:
            yield
            return
        check_length(what, "shard" if what == "all_gather" else "full", layout, vector, wanted)
        self.log(what, layout.name, vector.size)
        self.begin(f"{what} {layout.name}")
        self.inside = True
        try:
            yield
        finally:
            self.inside = False

    def begin(self, what: str) -> None:
        """Wait for all ranks to begin this collective."""
        self.messages._enter(what)

    def sum_of(self, value: float) -> float:
        """The sum over the ranks."""
        return Sums(self.messages).sum(value)


class SilentComm(WatchedComm):
    """Sends nothing, and gets zeros for it: with this the real stage holds and books what it always does."""

    def __init__(self, talk: Any, log: Log) -> None:
        super().__init__(talk, log)
        self.ring_reduce_scatter, self.ring_all_gather = shard_of_zeros, zeros

    def begin(self, what: str) -> None:
        pass

    def sum_of(self, value: float) -> float:
        return value


def shard_of_zeros(x: np.ndarray, comm: Any) -> np.ndarray:
    """As ring_reduce_scatter."""
    ends = bounds(x.size, [1] * comm.size)
    return np.zeros(ends[comm.rank + 1] - ends[comm.rank])


def zeros(shard: np.ndarray, numel: int, comm: Any) -> np.ndarray:
    """As ring_all_gather."""
    return np.zeros(numel)
