"""Oracles of single exercises, for statements that no one twin stands for: of `m` or of `v`, of any order ...

Most call the student's function here, on other arguments than the checker does, and look at what it gives.
"""

import itertools
import types
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from truth import Said, oracle

from lessons.checker.evidence import decode, same
from lessons.checks import cases_of, check_of
from lessons.given.layers import Layer

# -- what is called --


def function(said: Said, name: str) -> Callable:
    """A student's function, in this process."""
    module: dict[str, Any] = {}
    exec(said.text, module)
    return module[name]


# -- 01: three results --

RESULTS = ("dx", "dw", "db")


@oracle("other_order", "other_result", only="01")
def places_of_results(said: Said) -> bool:
    """What stands where, in all trials: the results that are said are the solution's others."""
    names = said.params["order"].split(", ") if said.key == "other_order" else list(RESULTS)
    if said.key == "other_result":
        names[RESULTS.index(said.params["name"])] = said.params["other"]
    shown = range(len(names)) if said.key == "other_order" else [RESULTS.index(said.params["name"])]
    for mine, right in zip(all_values(said, said.result), all_values(said, said.right)):
        if not all(same(mine[place], right[RESULTS.index(names[place])]) for place in shown):
            return False
    return True


def all_values(said: Said, result: Any) -> list[Any]:
    """Of all trials that ended, in order, what every rank returned."""
    numbers = sorted(said.result.outcome.reports)
    return [value for n in numbers for value in of_case(said, result, n)]


def of_case(said: Said, result: Any, number: int) -> list[Any]:
    """What every rank returned in one trial."""
    there = types.SimpleNamespace(number=number, result=result, right=result)
    return Said.values(there)  # type: ignore[arg-type]


# -- 03: a step of AdamW --


def moments(said: Said, before: float, g: float = 0.5) -> dict[str, float]:
    """m and v after one step on a gradient of g, where both were `before`."""
    w, m, v = np.ones(1), np.full(1, before), np.full(1, before)
    settings = {"lr": 0.1, "b1": 0.75, "b2": 0.875, "eps": 1e-3, "wd": 0.0}
    function(said, "adam_step")(w, np.full(1, g), m, v, 2, **settings)
    return {"m": float(m[0]), "v": float(v[0])}


@oracle("no_memory", "never_forgets", "share_missing", only="03")
def of_the_old_and_the_new(said: Said) -> bool:
    """How a moment depends on what it was before, and on the gradient."""
    name = said.params["name"]
    none, some = moments(said, 0.0)[name], moments(said, 4.0)[name]
    if said.key == "share_missing":
        return none == (0.5 if name == "m" else 0.25)
    return none != 0 and some - none == (0.0 if said.key == "no_memory" else 4.0)


@oracle("unchanged", only="03")
def as_before(said: Said) -> bool:
    """These arrays are as they were, in the trial that is shown."""
    after = dict(zip(("w", "m", "v"), said.values()[0]))
    return bool(said.params["names"]) and all(
        same(after[name], np.array(said.case[name])) for name in said.params["names"]
    )


# -- 04: whose sample is whose --


def dealt(said: Said, epoch: int = 0, seed: int = 3, size: int = 3, samples: int = 13) -> list[list[int]]:
    """What each rank reads."""
    deal = function(said, "my_samples")
    return [np.ravel(deal(samples, rank, size, epoch, seed)).tolist() for rank in range(size)]


@oracle("seed_ignored", "same_every_epoch", only="04")
def does_not_depend(said: Said) -> bool:
    """The same shares whatever the seed, or the epoch, is."""
    if None in dealt(said)[0]:
        return False
    if said.key == "seed_ignored":
        return all(dealt(said, seed=seed) == dealt(said) for seed in range(9))
    return all(dealt(said, epoch=epoch) == dealt(said) for epoch in range(9))


@oracle("rank_in_seed", only="04")
def a_shuffle_of_its_own(said: Said) -> bool:
    """Ranks begin their generators with different seeds, and so samples are missed and read twice."""
    seeds, made = [], np.random.default_rng
    try:
        np.random.default_rng = lambda seed=None: (seeds.append(seed), made(seed))[1]
        dealt(said)
    finally:
        np.random.default_rng = made
    read = Counter(n for rank, calls in enumerate(said.values()) for n in np.ravel(calls[0][rank]).tolist())
    missed = said.case["samples"] - len(read)
    twice = sum(number > 1 for number in read.values())
    told = said.params["missed"], said.params["twice"]
    return len({str(seed) for seed in seeds}) == 3 and (missed, twice) == told


# -- 09: slices and a flat vector --


def pairs(said: Said) -> list[Any]:
    given = said.case["given"]
    return list(function(said, "partition")(given["numel"], given["size"]))


@oracle("negative", only="09")
def ends_before_it_begins(said: Said) -> bool:
    pair = pairs(said)[said.params["rank"]]
    return pair[1] < pair[0] and said.params["pair"] == f"({pair[0]}, {pair[1]})"


@oracle("uneven", only="09")
def lengths_are_so(said: Said) -> bool:
    cuts = pairs(said)
    lengths, size = [b - a for a, b in cuts], said.case["given"]["size"]
    once = sorted(i for a, b in cuts for i in range(a, b)) == list(range(said.case["given"]["numel"]))
    allowed = -(-said.case["given"]["numel"] // size)
    return once and lengths == list(said.params["lengths"]) and any(n != allowed for n in lengths[:-1])


@oracle("not_whole", only="09")
def no_number(said: Said) -> bool:
    return any(not isinstance(n, int | np.integer) for pair in pairs(said) for n in pair)


@oracle("too_many_slices", "too_few_slices", only="09")
def so_many_slices(said: Said) -> bool:
    number, size = len(pairs(said)), said.params["size"]
    return number == said.params["got"] and (number > size) == (said.key == "too_many_slices")


def flat(said: Said) -> tuple[np.ndarray, dict[str, Any], dict[str, np.ndarray]]:
    """What flatten gives of tensors as in the case, and these."""
    tensors = {name: np.ones(shape, said.case["dtype"]) for name, shape in said.case["shapes"].items()}
    return *function(said, "flatten")(dict(tensors), said.case["given"]["size"]), tensors


@oracle("view_names", only="09")
def names_of_views(said: Said) -> bool:
    _, views, tensors = flat(said)
    missing, more = sorted(tensors.keys() - views.keys()), sorted(map(str, views.keys() - tensors.keys()))
    return [missing or "-", more or "-"] == [said.params["missing"], said.params["more"]]


@oracle("wrong_length", only="09")
def length_of_buffer(said: Said) -> bool:
    buffer, _, tensors = flat(said)
    numel, size = sum(tensor.size for tensor in tensors.values()), said.case["given"]["size"]
    wanted = next(n for n in range(numel, numel + size) if n % size == 0)
    return (wanted, buffer.size) == (said.params["wanted"], said.params["got"])


# -- 14: bytes on the wire --


@oracle("all_reduce_once", "reduced_too_often", only="14")
def in_the_shown_stage(said: Said) -> bool:
    """One of two passes of an all-reduce is left out at this stage; or each micro-batch is reduced."""
    mine, right, given = said.values()[0], said.values(True)[0], said.case["given"]
    if said.params["stage"] != given["stage"]:
        return False
    if said.key == "all_reduce_once":
        return given["stage"] == 0 and 2 * sum(mine.values()) == sum(right.values())
    more = (
        mine["reduce_scatter"] == given["micro_batches"] * right["reduce_scatter"] > right["reduce_scatter"]
    )
    return more and given["stage"] < 2


# -- 16: norms --


@oracle("local_norm", only="16")
def norm_of_its_own(said: Said) -> bool:
    """Every rank gives the norm of what it has, in all trials; and ranks differ in one."""
    apart = False
    for number, case in enumerate(cases_of(said.exercise, said.result.job.seed)):
        if case.get("dtype") == "float64" and number in said.result.outcome.reports:
            values = of_case(said, said.result, number)
            own = [sum(float(x) ** 2 for shard in shards for x in shard) ** 0.5 for shards in case["shards"]]
            apart |= len(own) > 1 and not same(own[0], own[1])
            if not same([float(v) for v in values], own):
                return False
    return apart


@oracle("never_clips", only="16")
def always_one(said: Said) -> bool:
    clip = function(said, "clip_scale")
    return all(abs(clip(norm, limit) - 1) < 1e-4 for norm in (0.5, 3.0, 80.0) for limit in (0.25, 2.0, 9.0))


# -- 15: sixteen bits --


def steps_taken(said: Said, shown: bool = False) -> list[tuple[list[np.ndarray], list[dict[str, Any]]]]:
    """Every call of scaled_step: the ranks' gradients, and what each rank did. shown: of that trial only."""
    gradient, found = check_of(said.exercise).gradient, []
    for number, case in enumerate(cases_of(said.exercise, said.result.job.seed)):
        reports = said.result.outcome.reports.get(number, {})
        if "grads" not in case or (shown and number != said.number):
            continue
        if any("evidence" not in report for report in reports.values()) or len(reports) < case["size"]:
            continue
        for step in range(len(case["grads"])):
            did = [decode(reports[r]["evidence"]["steps"][step]["value"]) for r in sorted(reports)]
            found.append(([gradient(case, step, rank) for rank in range(case["size"])], did))
    return found


def is_bad(grad: np.ndarray) -> bool:
    return not all(abs(float(x)) < np.inf for x in grad)


@oracle("never_looks", only="15")
def taken_all_the_same(said: Said) -> bool:
    """In the trial that is shown somebody's gradient is bad, and all ranks update."""
    return any(
        any(map(is_bad, grads)) and all(d["updates"] for d in did) for grads, did in steps_taken(said, True)
    )


@oracle("local_overflow", only="15")
def each_by_its_own(said: Said) -> bool:
    """Every rank updates just where its own gradient is good, also where another's is not."""
    calls = steps_taken(said)
    apart = any(len({is_bad(grad) for grad in grads}) > 1 for grads, _ in calls)
    own = all(bool(d["updates"]) != is_bad(g) for grads, did in calls for g, d in zip(grads, did))
    return apart and own


@oracle("never_grows", "grows_late", only="15")
def when_the_scale_grows(said: Said) -> bool:
    """Never; or not when good reaches every, and later. Where it should, there is a call in both cases."""
    calls = [(d["scaler"], d["scaler_after"], d["updates"]) for _, did in steps_taken(said) for d in did]
    taken = [(before, after["scale"] > before["scale"]) for before, after, updates in calls if updates]
    due = [grew for before, grew in taken if before["good"] + 1 == before["every"]]
    later = [grew for before, grew in taken if before["good"] >= before["every"]]
    if said.key == "never_grows":
        return bool(due) and not any(grew for _, grew in taken)
    return bool(due) and not any(due) and any(later)


@oracle("update_number", only="15")
def one_number(said: Said) -> bool:
    did = steps_taken(said, True)[0][1][said.params["rank"]]
    return np.ndim(did["updates"][0]) == 0


@oracle("more_sums")
def so_many_sums(said: Said) -> bool:
    """Of one call, the most that a rank begins; the solution begins one."""
    most, right = (
        max(sum(e["kind"] == "enter" for e in report["events"]) for report in said.evidence(x))
        for x in (0, 1)
    )
    return most == said.params["got"] and right == 1


@oracle("truncated", only="15")
def upper_bits(said: Said) -> bool:
    """Of numbers near and far from a half, not of NaN: the result is the upper 16 of 32 bits."""
    bits = np.array([0x3F800001, 0x3F808000, 0x3F80C000, 0xC0A0F123, 0x42018FFF, 0x00017654], np.uint32)
    return (function(said, "to_bfloat16")(bits.view(np.float32)) == bits >> 16).all()


# -- 25: attention, backwards --


@oracle("v_is_g", "scores_not_scaled", only="25")
def gradient_of_v(said: Said) -> bool:
    """dL/dv is g; or p^T g, with a p whose scores were not scaled."""
    random = np.random.default_rng(7)
    q, k, v, g = (random.normal(size=(4, 3)) for _ in range(4))
    found = function(said, "attention_backward")(q, k, v, g)[2]
    if said.key == "v_is_g":
        return np.array_equal(found, g)
    p = np.tril(np.exp(q @ k.T))
    return np.allclose(found, (p / p.sum(axis=1, keepdims=True)).T @ g)


# -- 26: computed again --


class Told(Layer):
    """A layer that keeps what it was run on, and what it gave."""

    def run(self, x: np.ndarray) -> Any:
        y, notes = super().run(x)
        self.runs = [*getattr(self, "runs", []), (x.copy(), y.copy())]
        return y, notes


def there_and_back(said: Said) -> tuple[list[Told], np.ndarray, np.ndarray, np.ndarray, Any]:
    """Layers, x, y, g and dL/dx of one way there and back."""
    layers, x, g = (
        [Told(2.0, 1.0), Told(3.0, -1.0), Told(-2.0, 20.0)],
        np.array([1.0, 4.0]),
        np.array([2.0, 5.0]),
    )
    y, kept = function(said, "forward")(layers, x.copy())
    for layer in layers:
        layer.there = len(getattr(layer, "runs", []))
    return layers, x, y, g, function(said, "backward")(layers, kept, g.copy())


@oracle("returns_x", only="26")
def y_is_x(said: Said) -> bool:
    _, x, y, _, _ = there_and_back(said)
    return np.array_equal(x, y)


@oracle("nothing_back", only="26")
def no_gradient(said: Said) -> bool:
    layers, _, _, g, dx = there_and_back(said)
    return np.array_equal(dx, g) and not any(np.any(layer.grad) for layer in layers)


@oracle("own_output", only="26")
def on_its_own_output(said: Said) -> bool:
    """On the way back each layer is run on what it gave on the way there."""
    layers = there_and_back(said)[0]
    return all(np.array_equal(layer.runs[layer.there][0], layer.runs[0][1]) for layer in layers)


@oracle("runs_more", only="26")
def runs_on_the_way_back(said: Said) -> bool:
    """So many in the trial that is shown, though the gradients are the solution's."""
    mine, right = said.evidence()[0], said.evidence(True)[0]
    params = said.params
    return mine["back"] == right["back"] and sum(mine["again"]) == params["runs"] > params["layers"]


# -- 18: files of shards --


@oracle("writes_nothing", only="18")
def no_new_file(said: Said) -> bool:
    """In some trial this rank leaves no new file, and changes none, where the solution leaves one."""
    for number in said.result.outcome.reports:
        mine, right = (of.outcome.reports[number][0]["evidence"] for of in (said.result, said.right))
        for save, wanted in zip(mine["saves"], right["saves"]):
            if save["rank"] == said.params["rank"] and wanted["new"] and not save["new"] + save["changed"]:
                return True
    return False


@oracle("step_lost", only="18")
def only_the_step(said: Said) -> bool:
    """In every plain trial the loaded vectors are right, and in one at least the step is not."""
    lost = False
    for number in sorted(said.result.outcome.reports):
        mine, right = (
            [decode(load["value"]) for load in of.outcome.reports[number][0]["evidence"]["loads"]]
            for of in (said.result, said.right)
        )
        if "folder" in cases_of(said.exercise, said.result.job.seed)[number]:
            continue
        for (vectors, step), (wanted, at) in zip(mine, right, strict=True):
            if not same(vectors, wanted):
                return False
            lost |= step != at
    return lost


# -- 17: peaks --


@oracle("kept_stage", only="17")
def divided_at_another_stage(said: Said) -> bool:
    """The other two terms are right; what is kept is a sum of the three parts, each whole or divided."""
    mine, right, given = said.values()[0], said.values(True)[0], said.case["given"]
    psi = sum(-(-n // given["size"]) * given["size"] for n in said.case["units"])
    parts = (given.get("param", 4), given.get("grad", 4), given.get("k", 8))
    sums = {
        sum(n * (psi // given["size"] if cut else psi) for n, cut in zip(parts, cuts))
        for cuts in itertools.product((False, True), repeat=3)
    }
    others = all(mine[name] == right[name] for name in ("full_gradient", "gathered"))
    known = not given.get("bucket") and said.params["stage"] == given["stage"]
    return known and others and mine["kept"] in sums - {right["kept"]}


# -- 19: a store, and what is done with it in which order --


@dataclass
class Move:
    """A read or a write of a block. begun, done: when; then: the buffer's numbers as it began"""

    kind: str
    block: int
    buffer: np.ndarray
    begun: int
    then: np.ndarray
    done: int = 10**9

    @property
    def place(self) -> int:
        return self.buffer.__array_interface__["data"][0]


class Yard:
    """A store of our own, in which every event has a time. Moves are made in their order, when waited for."""

    def __init__(self, n: int, block: int) -> None:
        self.n, self.block, self.time = n, block, 0
        self.state = np.arange(2.0 * n).reshape(2, n)
        self.moves: list[Move] = []
        self.computed: list[tuple[int, int, int]] = []  # block, place, when
        self.changed: list[int] = []  # blocks whose buffer was another when it was written

    def now(self) -> int:
        self.time += 1
        return self.time

    def begin(self, kind: str, start: int, buffer: np.ndarray) -> Callable[[], None]:
        mine = Move(kind, start // self.block, buffer, self.now(), buffer.copy())
        self.moves.append(mine)
        return lambda: [self.make(move) for move in self.moves if move.begun <= mine.begun] and None

    def begin_read(self, start: int, stop: int, buffer: np.ndarray) -> Callable[[], None]:
        return self.begin("read", start, buffer)

    def begin_write(self, start: int, stop: int, buffer: np.ndarray) -> Callable[[], None]:
        return self.begin("write", start, buffer)

    def make(self, move: Move) -> None:
        if move.done <= self.time:
            return
        part = self.state[:, move.block * self.block :][:, : move.buffer.shape[1]]
        if move.kind == "read":
            move.buffer[...] = part
        else:
            self.changed += [] if np.array_equal(move.buffer, move.then) else [move.block]
            part[...] = move.buffer
        move.done = self.now()

    def compute(self, start: int, stop: int, state: np.ndarray) -> None:
        place = state.__array_interface__["data"][0]
        self.computed.append((start // self.block, place, self.now()))
        state[...] = 2 * state + 1

    def of(self, kind: str, block: int) -> list[Move]:
        return [move for move in self.moves if (move.kind, move.block) == (kind, block)]


def holds(yard: Yard, place: int, at: int) -> int | None:
    """The block that was read last into a buffer."""
    done = [m for m in yard.moves if m.kind == "read" and m.place == place and m.done <= at]
    return max(done, key=lambda m: m.done).block if done else None


def taken(yard: Yard, block: int, free: Callable[[Move, int], bool]) -> bool:
    """Whether another block is begun to be read into a buffer that holds one, before it is free."""
    return any(
        (other.kind, other.place) == ("read", read.place)
        and other.block != block
        and other.begun > read.begun
        and not free(read, other.begun)
        for read in yard.of("read", block)
        for other in yard.moves
    )


def computes(yard: Yard, block: int, since: int = 0, until: int = 10**9) -> list[tuple[int, int, int]]:
    return [c for c in yard.computed if c[0] == block and since < c[2] < until]


def under_way(yard: Yard, kind: str, block: int, at: int) -> list[Move]:
    return [move for move in yard.of(kind, block) if move.begun < at < move.done]


def read_before(yard: Yard, block: int, place: int, at: int) -> bool:
    return any(m.done < at and m.place == place for m in yard.of("read", block))


YARD: dict[str, Callable[[Yard, int], bool]] = {  # key -> whether it is so of this block
    "not_computed": lambda y, b: not computes(y, b),
    "rest_lost": lambda y, b: not computes(y, b) and y.n % y.block != 0 and b == y.n // y.block,
    "computed_twice": lambda y, b: len(computes(y, b)) > 1,
    "read_twice": lambda y, b: len(y.of("read", b)) > 1,
    "not_written": lambda y, b: bool(computes(y, b)) and not y.of("write", b),
    "write_not_waited": lambda y, b: any(m.done > y.time for m in y.of("write", b)),
    "written_later": lambda y, b: b in y.changed,
    "written_before": lambda y, b: any(not computes(y, b, 0, m.begun) for m in y.of("write", b)),
    "not_read": lambda y, b: any(holds(y, p, at) is None for _, p, at in computes(y, b)),
    "not_waited": lambda y, b: any(
        under_way(y, "read", b, at) and not read_before(y, b, p, at) for _, p, at in computes(y, b)
    ),
    "read_again": lambda y, b: any(
        under_way(y, "read", b, at) and read_before(y, b, p, at) for _, p, at in computes(y, b)
    ),
    "other_block": lambda y, b: any(holds(y, p, at) not in (None, b) for _, p, at in computes(y, b)),
    "read_too_early": lambda y, b: taken(y, b, lambda read, at: bool(computes(y, b, read.begun, at))),
    "read_before_write": lambda y, b: (
        taken(y, b, lambda read, at: any(read.begun < m.begun < at for m in y.of("write", b)))
        and bool(computes(y, b))
    ),
    "no_overlap": lambda y, b: any(
        len({c[0] for c in y.computed if c[2] <= at}) * y.block < y.n
        and not any(m.kind == "read" and m.begun < at < m.done for m in y.moves)
        for _, _, at in computes(y, b)
    ),
    "write_waited": lambda y, b: any(
        m.done < after[2] for m in y.of("write", b) for after in y.computed if after[2] > m.begun
    ),
}


@oracle(*YARD, only="19")
def in_this_order(said: Said) -> bool:
    """On a store of our own, with the numbers of the trial that is shown."""
    yard = Yard(said.params["n"], said.params["block"])
    function(said, "update")(yard.n, yard.block, yard, yard.compute)
    return YARD[said.key](yard, said.params["number"])


@oracle("whole_state", "three_blocks", only="19")
def so_much_memory(said: Said) -> bool:
    """The bytes of all buffers that were used are more than two blocks; or as many as the whole state."""
    yard = Yard(said.params["n"], said.params["block"])
    function(said, "update")(yard.n, yard.block, yard, yard.compute)
    whole = {id(base): base.nbytes for base in (root(move.buffer) for move in yard.moves)}
    most, params = sum(whole.values()), said.params
    least = 16 * yard.n if said.key == "whole_state" else params["allowed"] + 1
    return params["allowed"] == 2 * 16 * yard.block and most >= max(params["most"], least)


def root(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


# -- 20: codes --


@oracle("not_scaled", "scale_forgotten", only="20")
def without_the_scale(said: Said) -> bool:
    """The codes are x itself, as whole numbers; or what comes back is the codes."""
    if said.key == "scale_forgotten":
        codes, scales = np.array([3, -100, 7, 0, 55], np.int8), np.array([0.5, 0.25], np.float32)
        return np.array_equal(function(said, "decode")(codes, scales, 3), codes)
    x = np.array([1.75, -20.25, 3.5, 90.25, -60.75], np.float32)
    codes = function(said, "encode")(x, 3)[0].astype(float)
    return np.array_equal(codes, np.trunc(x)) or np.array_equal(codes, np.rint(x))


# -- 21: groups --


@oracle("more_inside", "more_between", "whole_between", "gather_leaves", only="21")
def inside_and_between(said: Said) -> bool:
    """The bytes of all messages by whether sender and receiver are in one group: here, and the solution's."""
    group, sums = said.case["group"], []
    for right in (False, True):
        near = far = 0
        for rank, report in enumerate(said.evidence(right)):
            for event in report["events"]:
                if event["to"] is not None:
                    inside = event["to"] // group == rank // group
                    near, far = near + inside * event["bytes"], far + (not inside) * event["bytes"]
        sums += [near, far]
    params = said.params
    told = [params[name] for name in ("near", "far", "wanted_near", "wanted_far")]
    more = sums[0] > sums[2] if said.key == "more_inside" else sums[1] > sums[3]
    return sums == told and more


@oracle("exchanged", only="21")
def the_other_circle(said: Said) -> bool:
    """First between groups and then inside, where the solution does it the other way round."""
    group = said.case["group"]

    def inside(report: dict[str, Any], rank: int) -> list[bool]:
        return [e["to"] // group == rank // group for e in report["events"] if e["to"] is not None]

    mine, right = (
        [inside(report, rank) for rank, report in enumerate(said.evidence(x))] for x in (False, True)
    )
    begins = not any(each[0] for each in mine) and all(each[0] for each in right)
    return begins and all(each[-1] for each in mine) and not any(each[-1] for each in right)


# -- 22: outputs from shards --


def logged(said: Said, what: str, right: bool = False) -> int:
    """Calls of the rank that is named, or of rank 0, in the trial that is shown."""
    log = said.evidence(right)[said.params.get("rank", 0)]["log"]
    return sum(entry[0] == what for entry in log)


@oracle("extra_gathers", only="22")
def so_many_gathers(said: Said) -> bool:
    told = said.params["got"], said.params["wanted"]
    return told == (logged(said, "all_gather"), logged(said, "all_gather", True)) and told[0] > told[1]


@oracle("not_forgotten", only="22")
def activations_are_kept(said: Said) -> bool:
    left = [report["kept"] for report in said.evidence()]
    return said.params["units"] in left and not any(report["kept"] for report in said.evidence(True))


@oracle("empty_outputs", only="22")
def a_result_for_each_round(said: Said) -> bool:
    """As many as the rank with most batches has; the first ones are the right ones."""
    mine, right = said.values(), said.values(True)
    rounds = max(map(len, right))
    return min(map(len, right)) < rounds and all(
        len(m) == rounds and same(m[: len(r)], r) for m, r in zip(mine, right)
    )


@oracle("not_parameters", only="22")
def something_else_than_parameters(said: Said) -> bool:
    """What forward was given first, as the rank noted it, and not a vector of the unit's length."""
    found = [report["short"] for report in said.evidence() if "short" in report]
    return any(short["got"] == said.params["got"] and not short["is_shard"] for short in found)


# -- 24: hooks --


def moments_of(said: Said, moment: str) -> list[dict[str, Any]]:
    """What was noted at a moment of the unit that is named, on all ranks, in the trial that is shown."""
    return [
        record
        for report in said.evidence()
        for records in report["passes"]
        for record in records
        if (record["moment"], record["unit"]) == (moment, said.params["unit"])
    ]


def times(record: dict[str, Any], what: str) -> int:
    return sum(call.startswith(what) for call in record["did"])


AT: dict[str, tuple[str, Callable[[dict[str, Any], int], bool]]] = {  # moment, (record, stage) -> so or not
    "no_gather_forward": ("before forward", lambda r, _: not times(r, "all_gather")),
    "no_gather_backward": ("before backward", lambda r, s: s == 3 and not times(r, "all_gather")),
    "kept_after_forward": ("after forward", lambda r, s: s == 3 and r["data"]),
    "zero2_drops": ("after forward", lambda r, s: s == 2 and not r["data"]),
    "no_reduce": ("gradient ready", lambda r, _: not times(r, "reduce_scatter")),
    "reduces_twice": ("gradient ready", lambda r, _: times(r, "reduce_scatter") > 1),
    "not_cleared": ("gradient ready", lambda r, _: r["grad"] and times(r, "reduce_scatter") == 1),
    "kept_after_backward": ("gradient ready", lambda r, _: r["data"] and times(r, "reduce_scatter") == 1),
}


@oracle(*AT, only="24")
def at_this_moment(said: Said) -> bool:
    moment, look = AT[said.key]
    return any(look(record, said.case["stage"]) for record in moments_of(said, moment))


@oracle("gathers_more", only="24")
def one_gather_too_many(said: Said) -> bool:
    moment, stage = said.params["moment"], said.case["stage"]
    allowed = moment == "before forward" or (moment == "before backward" and stage == 3)
    return any(times(record, "all_gather") > allowed for record in moments_of(said, moment))


@oracle("overwrites", only="24")
def only_the_last(said: Said) -> bool:
    """What the solution has more after two micro-batches than after one; of every unit."""
    mine, right = (
        [[[decode(grad) for grad in of_now] for of_now in report["grads"]] for report in said.evidence(x)]
        for x in (False, True)
    )
    return all(
        np.allclose(m, after - before)
        for of_mine, (first, second) in zip(mine, right, strict=True)
        for m, before, after in zip(of_mine[1], first, second, strict=True)
    )


@oracle("wrong_table", only="24")
def no_table(said: Said) -> bool:
    table, what = function(said, "hooks")(3, None), said.params["what"]
    if isinstance(table, dict):
        return any(what == repr(moment) or what.startswith(f"{moment!r}: ") for moment in table)
    return type(table).__name__ == what


# -- what does not fit a call --


@oracle("unfit")
def does_not_fit(said: Said) -> bool:
    """The call stands at that line; by the exercises' text it takes what is wanted, and got another."""
    reports = said.result.outcome.reports[max(said.result.outcome.reports)]
    if not any(report.get("raised", {}).get("type") == "Unfit" for report in reports.values()):
        return False
    call, argument, psi = said.params["call"], said.params["argument"], said.params["psi"]
    line = said.text.splitlines()[said.params["line"] - 1]
    shards = -(-psi // said.params["size"])
    whole = {"param": psi, "full": psi, "out": psi, "x": 0, "g": 0}
    if call == "update":
        fits = said.params["wanted"] in (f"({psi},)", f"({shards},)")
    elif argument in ("x", "g"):
        fits = said.params["wanted"] == "(samples, ...)"
    else:
        fits = said.params["wanted"] == f"({whole.get(argument, shards)},)"
    other = said.params["got"].split()[0] != f"array[{said.params['wanted'].strip('(,)')}]"
    return f"{call}(" in line and fits and other and said.params["own"] == shards


# -- 23: whole matrices --


@oracle("names", only="23")
def names_that_are_there(said: Said) -> bool:
    """Of the rank that is named, in the trial that is shown."""
    found, wanted = said.values()[said.params["rank"]], said.case["shapes"]
    missing, more = sorted(wanted.keys() - found.keys()), sorted(map(str, found.keys() - wanted.keys()))
    return [missing or "-", more or "-"] == [
        said.params["missing"],
        said.params["more"],
    ] and missing + more != []


@oracle("no_rank", only="23")
def goes_to_nobody(said: Said) -> bool:
    owner, size = said.params["owner"], said.params["size"]
    there = any(value[said.params["name"]] == owner for value in said.values())
    return there and size == said.case["size"] and not 0 <= owner < size


@oracle("more_in_all", only="23")
def all_together_send(said: Said) -> bool:
    got, wanted = (
        sum(e["bytes"] for report in said.evidence(x) for e in report["events"] if e["to"] is not None)
        for x in (False, True)
    )
    return (got, wanted) == (said.params["got"], said.params["wanted"]) and got > wanted


@oracle("uneven", only="23")
def more_than_there_has_to_be(said: Said) -> bool:
    """The fullest rank's elements, and those of the best of all ways to deal: more than a third above it."""
    elements = {name: rows * columns for name, (rows, columns) in said.case["shapes"].items()}

    def fullest(owner: dict[str, int]) -> int:
        loads = Counter()
        for name, rank in owner.items():
            loads[rank] += elements[name]
        return max(loads.values())

    ways = itertools.product(range(said.case["size"]), repeat=len(elements))
    least = min(fullest(dict(zip(elements, way))) for way in ways)
    most = fullest(said.values()[0])
    return (most, least) == (said.params["most"], said.params["least"]) and 3 * most > 4 * least
