"""Exercise 19: a store that does what is begun in its order, and how an update uses it.

Nothing moves before it is waited for, or something after it: so what happens is the same on every machine,
and who uses a buffer too early has the old numbers in it.
"""

import sys
import weakref
from collections.abc import Callable, Sequence
from random import Random
from types import ModuleType
from typing import Any

import numpy as np

from lessons.checker.evidence import Diagnosis, Trial
from lessons.checker.ranks.messages import Talk
from lessons.checker.ranks.observe import ReturnLine

FUNCTIONS = ("update",)
RANKS = 1
UPDATES = 2  # of one store, one after another
EACH = 16  # bytes of state of an element
COSTS = {"read_twice", "no_overlap", "write_waited"}  # faults with which the numbers are right

Case = dict[str, Any]


def cases(random: Random) -> list[Case]:
    """One block, two, several; then with a rest; then blocks of one element."""
    found = []
    for n, block in ((4, 4), (8, 4), (20, 4), (10, 4), (3, 8), (17, 5), (5, 1)):
        found.append({"size": 1, "given": {"n": n, "block": block}, "add": random.randint(2, 9)})
    return found


def cuts(case: Case) -> list[tuple[int, int]]:
    """[start, stop) of each block."""
    n, block = case["given"]["n"], case["given"]["block"]
    return [(start, min(start + block, n)) for start in range(0, n, block)]


def initial(case: Case) -> np.ndarray:
    """The state at first, (2, n)."""
    n = case["given"]["n"]
    return np.stack([np.arange(n) + 1.0, 100.0 + np.arange(n)])


def stepped(state: np.ndarray, add: int) -> np.ndarray:
    """The state after one update."""
    return np.stack([2 * state[0] + add, state[1] + state[0]])


def root(array: np.ndarray) -> np.ndarray:
    """The array whose memory it is."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class Store:
    """The state outside, and notes of what is done with it.

    file: the student's; faults: key -> the block with which it happened first, and at which line
    """

    def __init__(self, case: Case, file: str) -> None:
        self.case, self.file, self.state = case, file, initial(case)
        self.waiting: list[tuple[str, int, np.ndarray, np.ndarray]] = []  # begun and not done: see `begin`
        self.done = 0
        self.most = 0  # bytes of buffers alive at once
        self.buffers: dict[int, weakref.ref] = {}
        self.faults: dict[str, tuple[int, int | None]] = {}
        self.log: list[str] = []  # what is begun, in its order
        self.holds: dict[int, int] = {}  # where a buffer lies -> the block that was read into it last
        self.fresh: dict[int, int] = {}  # the same of blocks that have been begun to read, and not computed
        self.unwritten: dict[int, int] = {}  # and of blocks that have been computed, and not begun to write
        self.begin_update()

    def begin_update(self) -> None:
        self.computed: list[int] = []
        self.read: list[int] = []
        self.written: list[int] = []

    def number(self, start: int, stop: int, what: str, buffer: Any) -> int:
        """The block's number, if it is one and the buffer fits. Raises ValueError."""
        if (start, stop) not in cuts(self.case):
            raise ValueError(f"{what}: [{start}, {stop}) is no block of {self.case['given']['n']} elements")
        if not isinstance(buffer, np.ndarray) or buffer.shape != (2, stop - start):
            shape = list(buffer.shape) if isinstance(buffer, np.ndarray) else type(buffer).__name__
            raise ValueError(f"{what}: the buffer is {shape}, and should be {[2, stop - start]}")
        if buffer.dtype != np.float64:
            raise ValueError(f"{what}: the buffer is {buffer.dtype}, and should be float64")
        return cuts(self.case).index((start, stop))

    def fault(self, key: str, number: int) -> None:
        frame = sys._getframe(1)
        while frame and frame.f_code.co_filename != self.file:
            frame = frame.f_back
        self.faults.setdefault(key, (number, frame.f_lineno if frame else None))

    def hold(self, buffer: np.ndarray) -> None:
        """Count the memory of all buffers that are alive."""
        whole = root(buffer)
        self.buffers[id(whole)] = weakref.ref(whole)
        alive = {id(b): b.nbytes for b in (ref() for ref in self.buffers.values()) if b is not None}
        self.most = max(self.most, sum(alive.values()))

    def place(self, buffer: np.ndarray) -> int:
        return buffer.__array_interface__["data"][0]

    def begin_read(self, start: int, stop: int, buffer: np.ndarray) -> Callable[[], None]:
        number = self.number(start, stop, "begin_read", buffer)
        self.hold(buffer)
        there = self.place(buffer)
        for key, busy in (("read_too_early", self.fresh), ("read_before_write", self.unwritten)):
            if busy.get(there, number) != number:
                self.fault(key, busy[there])
        self.fresh[there] = number
        self.read.append(number)
        self.log.append(f"r{number}")
        return self.begin("read", number, buffer)

    def begin_write(self, start: int, stop: int, buffer: np.ndarray) -> Callable[[], None]:
        number = self.number(start, stop, "begin_write", buffer)
        if number not in self.computed:
            self.fault("written_before", number)
        self.unwritten.pop(self.place(buffer), None)
        self.written.append(number)
        self.log.append(f"w{number}")
        return self.begin("write", number, buffer)

    def begin(self, what: str, number: int, buffer: np.ndarray) -> Callable[[], None]:
        """What is returned waits for it: it and all that was begun before are done then, if not earlier."""
        self.waiting.append((what, number, buffer, buffer.copy()))
        mine = self.done + len(self.waiting)

        def wait() -> None:
            while self.done < mine:
                self.do_next()

        return wait

    def do_next(self) -> None:
        """Do what was begun first."""
        what, number, buffer, then = self.waiting.pop(0)
        self.done += 1
        start, stop = cuts(self.case)[number]
        if what == "read":
            buffer[...] = self.state[:, start:stop]
            self.holds[self.place(buffer)] = number
            return
        if not np.array_equal(buffer, then, equal_nan=True):
            self.fault("written_later", number)
        self.state[:, start:stop] = buffer

    def compute(self, start: int, stop: int, state: np.ndarray) -> None:
        number = self.number(start, stop, "compute", state)
        self.log.append(f"c{number}")
        under_way = [(what, each) for what, each, _, _ in self.waiting]
        if ("read", number) in under_way:
            read = self.holds.get(self.place(state)) == number  # once already, and it is read once more
            self.fault("read_again" if read else "not_waited", number)
        elif number not in self.computed and self.holds.get(self.place(state)) != number:
            self.fault("other_block" if self.place(state) in self.holds else "not_read", number)
        left = set(range(len(cuts(self.case)))) - {number, *self.computed}
        if left and not any(what == "read" and each in left for what, each in under_way):
            self.fault("no_overlap", number)
        if self.computed and ("write", self.computed[-1]) not in under_way:
            self.fault("write_waited", self.computed[-1])
        self.computed.append(number)
        self.fresh.pop(self.place(state), None)
        self.unwritten[self.place(state)] = number
        state[...] = stepped(state, self.case["add"])

    def end_update(self) -> None:
        """Look at what is left, and do nothing more: what was not waited for is not there."""
        number = len(cuts(self.case))
        for each in range(number):
            times = self.computed.count(each)
            if times != 1:
                self.fault("computed_twice" if times else "not_computed", each)
            if each not in self.written:
                self.fault("not_written", each)
            if self.read.count(each) > 1:
                self.fault("read_twice", each)
        lost = [number for what, number, _, _ in self.waiting if what == "write"]
        if lost:
            self.fault("write_not_waited", lost[0])
        for memory in (self.waiting, self.holds, self.fresh, self.unwritten):
            memory.clear()


def run_trial(case: Case, comm: Talk, student: ModuleType) -> dict[str, Any]:
    """Two updates of one store; the second only after a first without fault."""
    store = Store(case, student.update.__code__.co_filename)
    line = None
    for _ in range(UPDATES):
        store.begin_update()
        with ReturnLine(student.update) as returned:
            student.update(case["given"]["n"], case["given"]["block"], store, store.compute)
        line = returned.line
        store.end_update()
        if store.faults.keys() - COSTS:
            break
        store.log.append("|")
    return {
        "faults": store.faults,
        "most": store.most,
        "log": store.log[:200],
        "state": store.state.tolist(),
        "line": line,
        "events": [],
    }


# The diagnosis: what was left out, what makes numbers wrong, the first in time; then memory, then time.


def diagnose(trials: Sequence[Trial]) -> Diagnosis | None:
    """The first fault of the first trial that has one; what only costs comes after all that is wrong."""
    for key in ("not_computed", "not_written"):
        if found := first(trials, lambda t, key=key: key in t.ranks[0]["faults"], key):
            found.key = which_missing(trials) if key == "not_computed" else key
            return found
    for trial in trials:
        if faults := [key for key in trial.ranks[0]["faults"] if key not in COSTS]:
            return first([trial], lambda _: True, faults[0])
    return (
        first(trials, lambda t: not same_state(t), "unknown")
        or first(trials, too_much, "whole_state" if whole(trials) else "three_blocks")
        or first(trials, lambda t: "read_twice" in t.ranks[0]["faults"], "read_twice")
        or first(trials, lambda t: "no_overlap" in t.ranks[0]["faults"], "no_overlap")
        or first(trials, lambda t: "write_waited" in t.ranks[0]["faults"], "write_waited", "note")
    )


def which_missing(trials: Sequence[Trial]) -> str:
    """Whether all that is not computed are rests, or last blocks."""
    missing = [t for t in trials if "not_computed" in t.ranks[0]["faults"]]
    n_of = lambda t: t.case["given"]  # noqa: E731
    if all(n_of(t)["n"] % n_of(t)["block"] for t in missing) and len(missing) < len(trials):
        rests = all(t.ranks[0]["faults"]["not_computed"][0] == len(cuts(t.case)) - 1 for t in missing)
        return "rest_lost" if rests else "not_computed"
    return "not_computed"


def same_state(trial: Trial) -> bool:
    wanted = initial(trial.case)
    for _ in range(UPDATES):
        wanted = stepped(wanted, trial.case["add"])
    return bool(np.array_equal(np.array(trial.ranks[0]["state"]), wanted))


def too_much(trial: Trial) -> bool:
    return trial.ranks[0]["most"] > allowed(trial)


def allowed(trial: Trial) -> int:
    """Bytes of two blocks."""
    return 2 * EACH * trial.case["given"]["block"]


def whole(trials: Sequence[Trial]) -> bool:
    """Whether all of the state was held at once, wherever it is much more than two blocks."""
    large = [t for t in trials if t.case["given"]["n"] > 3 * t.case["given"]["block"]]
    return all(t.ranks[0]["most"] >= EACH * t.case["given"]["n"] for t in large)


def first(
    trials: Sequence[Trial], look: Callable[[Trial], bool], key: str, state: str = "wrong"
) -> Diagnosis | None:
    """The first trial that has it, with the order in which things were begun."""
    for trial in trials:
        if look(trial):
            report = trial.ranks[0]
            number, line = report["faults"].get(key, (0, None))
            params = {"number": number, "blocks": len(cuts(trial.case))}
            params |= {
                "most": report["most"],
                "allowed": allowed(trial),
                "log": " ".join(report["log"])[:150],
            }
            params |= {"size": 1, "rank": 0} | trial.case["given"]
            return Diagnosis(key, params, line or report["line"], trial.case, state=state)
    return None
