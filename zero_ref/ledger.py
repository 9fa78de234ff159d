"""The ledger: what this rank holds and what it has sent, measured and not claimed.

Bytes held are counted where an array is born and given back when the array really dies, by
`weakref.finalize`: a buffer that somebody still refers to is still counted. Most teaching code
reports "logical" bytes (1/N of the gradient, say) while the full buffer is alive.

What is not counted: memory that an MPI library takes for itself, Python objects, the data set.
"""

import contextlib
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any

KINDS = ("parameter", "gathered", "gradient", "full_gradient", "optimizer", "activation", "buffer")
COLLECTIVES = ("reduce_scatter", "all_gather", "other")
TIERS = ("host", "disk")  # where bytes lie that are not on the device (see extras/storage.py)
WAYS = ("read", "written", "mapped")  # how they are used


class Ledger:
    """Bytes alive by kind with their peaks, and bytes sent and calls by collective, of one rank.

    Attributes: `live`, `peak`, `sent` and `calls` are dicts (bytes, bytes, bytes, number);
    `live_total` and `peak_total` are bytes. The peak of the total is less than the sum of the
    peaks, which are reached at different moments. `between`: those of the bytes sent that have gone to
    another group of ranks (see extras/groups.py).
    `away`: bytes that lie outside the device, by tier, which are in none of the above. `moved`: bytes read
    from there, written there, and used where they are through a mapping.
    `events`: what is told of every count, while a step is recorded (see train/events.py); None otherwise.
    """

    def __init__(self) -> None:
        self.live: Counter[str] = Counter({kind: 0 for kind in KINDS})
        self.away: Counter[str] = Counter({tier: 0 for tier in TIERS})
        self.events: Any = None
        self.forget_peaks()
        self.forget_sent()

    @property
    def live_total(self) -> int:
        """Bytes alive, of all kinds."""
        return sum(self.live.values())

    @contextlib.contextmanager
    def set_aside(self) -> Iterator[None]:
        """In here the ledger is empty at first and counts anew; then it goes on with what it had.

        An array is given back to the book in which it was born, whenever it dies.
        """
        before = dict(vars(self))
        vars(self).clear()
        self.__init__()  # type: ignore[misc]
        try:
            yield
        finally:
            vars(self).clear()
            vars(self).update(before)

    def forget_peaks(self) -> None:
        """Let the peaks start again from what is alive now."""
        self.peak: Counter[str] = Counter(self.live)
        self.peak_total = self.live_total

    def forget_sent(self) -> None:
        """Let bytes sent and calls, and bytes moved, start again from 0."""
        self.moved: Counter[str] = Counter({way: 0 for way in WAYS})
        self.sent: Counter[str] = Counter({name: 0 for name in COLLECTIVES})
        self.calls: Counter[str] = Counter({name: 0 for name in COLLECTIVES})
        self.between: Counter[str] = Counter({name: 0 for name in COLLECTIVES})

    def track(self, kind: str, array: Any) -> Any:
        """Count `array`, which owns its memory, as `kind` until it dies; return it."""
        self.add(kind, array.nbytes, id(array))
        weakref.finalize(array, self.give_back, self.live, kind, array.nbytes, id(array)).atexit = False
        return array

    def give_back(self, live: Counter[str], kind: str, nbytes: int, which: int) -> None:
        """An array has died that was counted in `live`."""
        if live is self.live:
            self.add(kind, -nbytes, which)
        else:
            live[kind] -= nbytes

    def add(self, kind: str, nbytes: int, which: int = 0) -> None:
        """Count `nbytes` more of `kind` as alive; fewer, if negative. which: the array's id."""
        self.live[kind] += nbytes
        self.peak[kind] = max(self.peak[kind], self.live[kind])
        self.peak_total = max(self.peak_total, self.live_total)
        if self.events is not None:
            self.events.array(kind, nbytes, which)

    def put_away(self, tier: str, nbytes: int, owner: Any) -> None:
        """Count `nbytes` as lying in `tier` until `owner` dies."""
        self.away[tier] += nbytes
        weakref.finalize(owner, self.away.subtract, {tier: nbytes}).atexit = False

    def count_moved(self, way: str, nbytes: int) -> None:
        """Count `nbytes` as read, written or used in a mapping, by WAYS."""
        self.moved[way] += nbytes

    def count_sent(self, collective: str, nbytes: int, between: bool = False) -> None:
        """Count one call of `collective` that sends `nbytes` from this rank, between groups or not."""
        self.sent[collective] += nbytes
        self.calls[collective] += 1
        self.between[collective] += nbytes if between else 0
        if self.events is not None:
            self.events.sent(nbytes)

    def count_between(self, collective: str, nbytes: int) -> None:
        """Of the bytes that this or another count says `collective` sends, so many go to another group."""
        self.between[collective] += nbytes


ledger = Ledger()  # one process is one rank, so one ledger
