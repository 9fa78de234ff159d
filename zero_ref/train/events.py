"""One training step, event by event: arrays born and dead, collectives, passes through units.

The stage files know nothing of it. For the length of one step, the Comm tells of its calls, the methods of
Unit and the optimizers are replaced from outside, and the ledger tells of every array and of every byte
sent. Nothing here touches a number of the model, and no array is kept alive: an event holds names and sizes
only.

An event is a row: microseconds, what, name, unit, bytes, line, place.

    microseconds  after the first rank began, by one clock for all (see clocks.py): no collective ends on
            one rank before it has begun on every rank whose numbers it waits for
    what    "born" and "died": an array, name is its kind; died has negative bytes
            "begin" and "end": name is a collective, "forward", "backward" or "update"; the end of a
            collective has the bytes that this rank has sent in it
    unit    the unit's number, or null
    line    in the stage's file, 0 where the event is not from there
    place   which of `places`: file, line and function of the project where it happened
"""

import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zero_ref
from zero_ref import array
from zero_ref.autograd import Tensor
from zero_ref.comm import Call, Comm
from zero_ref.data import Batches
from zero_ref.extras.offload import kept_on_device
from zero_ref.ledger import Ledger, ledger
from zero_ref.train.choose import Run
from zero_ref.train.clocks import Ahead, ahead_of_rank_0

PACKAGE = Path(zero_ref.__file__).parent
# Where arrays are counted and calls are passed on, but not asked for.
PLUMBING = {array.__name__, Ledger.__module__, __name__}
PASSED_ON = {Comm.sum.__code__, Tensor.add_grad.__code__}  # of every observed method; of every gradient


class Events:
    """Records step `step` (from 0, of the whole run) of this rank. `rows` and `places`: see above.

    kept: for each unit, bytes and length of what this rank keeps of it between steps, by kind. With the
    events they add up to the ledger's numbers, to the byte.
    """

    def __init__(self, step: int, run: Run) -> None:
        self.step, self.stage, self.units = step, run.stage, run.units
        self.comm, self.world = run.comm, run.world
        self.rows: list[list[Any]] = []
        self.places: dict[str, int] = {}
        self.kept: list[dict[str, list[int]]] = []
        self.inside: list[int | None] = []  # units of the calls that have begun and not ended
        self.unit_of: dict[int, int | None] = {}  # id of an array that is alive -> its unit
        self.sent_by_call = 0
        self.ahead = Ahead(0.0, 0.0, 0)

    @contextlib.contextmanager
    def watching(self, step: int) -> Iterator[None]:
        """Record what happens inside, if this is the step to record."""
        if step != self.step:
            yield
            return
        self.look_at_what_is_kept()
        with contextlib.ExitStack() as until_the_end:
            for each in (self.comm, self.world):
                each.observers.append(self)
                until_the_end.callback(each.observers.remove, self)
            for number, u in enumerate(self.units):
                for owner, name in ((u, "forward"), (u, "backward"), (u.optimizer, "update")):
                    until_the_end.enter_context(replaced(owner, name, self.span, number))
            if not array.on_meta():  # where events have numbers in place of times
                self.ahead = ahead_of_rank_0(self.world.mpi)
            self.world.mpi.Barrier()  # so that all are there when the step begins
            self.start = time.perf_counter()
            ledger.events = self
            try:
                yield
            finally:
                ledger.events = None

    def look_at_what_is_kept(self) -> None:
        """The arrays that a stage has hung on the units, before the step."""
        for number, u in enumerate(self.units):
            vectors = kept_on_device(u, self.comm)
            self.kept.append(
                {kind: [sum(a.nbytes for a in v), v[0].size if v else 0] for kind, v in vectors.items()}
            )
            for a in itertools.chain.from_iterable(vectors.values()):
                self.unit_of[id(a)] = number

    def array(self, kind: str, nbytes: int, which: int) -> None:
        """The ledger counts an array: a new one, or with negative bytes one that has died."""
        if nbytes >= 0 and which not in self.unit_of:
            self.unit_of[which] = self.inside[-1] if self.inside else None
            self.note("born", kind, self.unit_of[which], nbytes)
        else:
            self.note("died", kind, self.unit_of.pop(which, None), nbytes)

    def sent(self, nbytes: int) -> None:
        """The ledger counts bytes that have been sent."""
        self.sent_by_call += nbytes

    def before(self, call: Call) -> None:
        """An observer of a Comm: a collective begins."""
        unit = next((i for i, u in enumerate(self.units) if u.layout is call.layout), None)
        self.begin(call.name, unit)
        self.sent_by_call = 0

    def after(self, call: Call) -> None:
        """It ends, and the ledger has told how much it has sent."""
        self.end(call.name, self.inside[-1], self.sent_by_call)

    def span(self, name: str, call: Callable[..., Any], unit: int) -> Callable[..., Any]:
        """A pass through a unit, or its update, noted with beginning and end."""

        def noted(*arguments: Any, **keywords: Any) -> Any:
            self.begin(name, unit)
            result = call(*arguments, **keywords)
            array.finish()  # a GPU works on while Python goes ahead
            self.end(name, unit, 0)
            return result

        return noted

    def begin(self, name: str, unit: int | None) -> None:
        self.note("begin", name, unit, 0)
        self.inside.append(unit)

    def end(self, name: str, unit: int | None, nbytes: int) -> None:
        self.inside.pop()
        self.note("end", name, unit, nbytes)

    def note(self, what: str, name: str, unit: int | None, nbytes: int) -> None:
        passed = 1e6 * (time.perf_counter() - self.start)
        microseconds = float(len(self.rows)) if array.on_meta() else passed
        line, place = self.where()
        number = self.places.setdefault(place, len(self.places))
        self.rows.append([microseconds, what, name, unit, nbytes, line, number])

    def where(self) -> tuple[int, str]:
        """The line of the stage's file that is running, and the place in the project that is."""
        # Never this function's own frame: in a cycle with itself it would keep its callers' arrays alive.
        frame, place = sys._getframe(1), ""
        while frame is not None:
            code, module = frame.f_code, frame.f_globals.get("__name__")
            file = code.co_filename
            asks = module not in PLUMBING and code not in PASSED_ON
            if not place and asks and file.startswith(str(PACKAGE)):
                place = f"{Path(file).relative_to(PACKAGE).as_posix()}:{frame.f_lineno} in {code.co_name}"
            if file == self.stage.__file__:
                return frame.f_lineno, place
            frame = frame.f_back  # type: ignore[assignment]
        return 0, place

    def together(self, predicted: dict[str, Any]) -> dict[str, Any]:
        """`recorded_step` of the record (see report/record.py), the same on all ranks, who call it together.

        predicted: peak_bytes and peak_total_bytes of this step on this rank, by a dry run.
        """
        began = self.start - self.ahead.seconds
        first = min(self.world.everyone(began))
        for row in self.rows:
            row[0] = round(row[0] + 1e6 * (began - first), 1)
        step = self.of_step(self.world.everyone(self.of_this_rank(predicted)))
        clocks = self.world.everyone([self.ahead.host, round(1e6 * self.ahead.within, 1)])
        return step | {"clocks": [list(each) for each in clocks]}

    def of_this_rank(self, predicted: dict[str, Any]) -> dict[str, Any]:
        """This rank's part of it."""
        own = [sum(b - a for a, b in u.layout.ranges(self.comm.rank)) for u in self.units]
        about = {"kept": self.kept, "elements": own, "predicted": predicted}
        return about | {"places": list(self.places), "events": self.rows}

    def of_step(self, ranks: list[dict[str, Any]]) -> dict[str, Any]:
        """All of it, with the parts of the ranks."""
        path = Path(str(self.stage.__file__))
        return {
            "step": self.step + 1,
            "file": path.relative_to(PACKAGE).as_posix() if PACKAGE in path.parents else path.name,
            "source": path.read_text(encoding="utf-8"),
            "itemsize": self.units[0].dtype.itemsize,
            "units": [
                {"name": each.name, "shapes": each.shapes, "elements": each.elements, "counts": each.counts}
                for each in (u.layout for u in self.units)
            ],
            "ranks": ranks,
        }


@contextlib.contextmanager
def replaced(owner: Any, name: str, wrap: Callable[..., Any], *more: Any) -> Iterator[None]:
    """`owner` with wrap(name, method, ...) in place of its method, for a while."""
    mine, method = name in vars(owner), getattr(owner, name)
    setattr(owner, name, wrap(name, method, *more))
    try:
        yield
    finally:
        if mine:
            setattr(owner, name, method)
        else:
            delattr(owner, name)


def step_to_record(steps: range, batches: Batches) -> int:
    """The first of the largest steps in the epoch that begins after the first step (or the only step)."""
    later = (steps[1:] or steps)[: batches.steps_per_epoch]
    return max(later, key=lambda n: len(batches.global_batch(*divmod(n, batches.steps_per_epoch))))
