"""The ledger against itself, and against what Python's tracemalloc sees of NumPy's memory."""

import functools
import tracemalloc

import numpy as np
import pytest

from zero_ref import array, autograd, comm, model, optim
from zero_ref.array import xp
from zero_ref.clip import clip
from zero_ref.data import Batches, DataSet
from zero_ref.estimate import Layer, Run, predict
from zero_ref.layout import FlatLayout
from zero_ref.ledger import Ledger, ledger
from zero_ref.stages import zero0, zero1, zero2, zero3

STAGES = {0: zero0, 1: zero1, 2: zero2, 3: zero3}
WIDTHS = [13, 11, 6, 3]
OPTIMIZERS = {
    0: functools.partial(optim.SGD, lr=0.1),
    1: functools.partial(optim.SGD, lr=0.1, momentum=0.9),
    2: functools.partial(optim.AdamW, weight_decay=0.1),
}


def test_an_array_counts_until_it_dies():
    book = Ledger()
    a = book.track("gradient", np.zeros(10, "float32"))
    b = book.track("buffer", np.zeros(3))
    assert (book.live["gradient"], book.live["buffer"], book.live_total) == (40, 24, 64)
    del a
    assert (book.live["gradient"], book.live["buffer"], book.live_total) == (0, 24, 24)
    del b
    assert book.live_total == 0


def test_track_returns_the_array_itself():
    a = np.zeros(3)
    assert Ledger().track("buffer", a) is a


def test_a_view_keeps_the_count():
    book = Ledger()
    view = book.track("gathered", np.zeros(10))[3:4]
    assert book.live_total == 80
    again = view.reshape(1, 1)
    del view
    assert book.live_total == 80
    del again
    assert book.live_total == 0


def test_peaks_are_the_most_at_one_moment():
    book = Ledger()
    a = book.track("gradient", np.zeros(10))
    del a
    b = book.track("buffer", np.zeros(5))
    assert (book.peak["gradient"], book.peak["buffer"], book.peak_total) == (80, 40, 80)
    book.forget_peaks()
    assert (book.peak["gradient"], book.peak["buffer"], book.peak_total) == (0, 40, 40)
    c = book.track("gradient", np.zeros(1))
    assert (book.peak["gradient"], book.peak["buffer"], book.peak_total) == (8, 40, 48)
    del b, c
    assert (book.peak["gradient"], book.peak["buffer"], book.peak_total) == (8, 40, 48)


def test_sent_bytes_and_calls_add_up_until_forgotten():
    book = Ledger()
    for nbytes in (100, 0, 5):
        book.count_sent("all_gather", nbytes)
    assert book.sent == {"reduce_scatter": 0, "all_gather": 105, "other": 0}
    assert book.calls == {"reduce_scatter": 0, "all_gather": 3, "other": 0}
    book.forget_sent()
    assert set(book.sent.values()) == set(book.calls.values()) == {0}


def test_arrays_are_born_counted():
    before = dict(ledger.live)
    arrays = [
        array.zeros((2, 3), "float32", "gradient"),
        array.empty(5, "float64", "gathered"),
        array.from_numpy(np.zeros(7, "int64"), "activation"),
    ]
    grown = {kind: ledger.live[kind] - before[kind] for kind in before if ledger.live[kind] != before[kind]}
    assert grown == {"gradient": 24, "gathered": 40, "activation": 56}
    del arrays
    assert dict(ledger.live) == before


class Pretend(comm.Comm):
    """Rank 1 of 3, where nobody else is: shards have their sizes, the other ranks' parts are zero."""

    def __init__(self):
        self.rank, self.size = 1, 3

    def sum(self, value):
        ledger.count_sent("other", 8 * (self.size - 1))
        return value

    def _reduce_scatter(self, send, receive, layout):
        receive[...] = send[layout.slice_of(self.rank)]

    def _all_gather(self, wire, layout):
        wire[: layout.offsets[self.rank]] = 0
        wire[layout.offsets[self.rank] + layout.counts[self.rank] :] = 0
        return layout.counts[self.rank] * (self.size - 1)


def numpy_bytes():
    """Bytes of NumPy's arrays alive, of those made since tracemalloc started."""
    # Snapshot.filter_traces says the same, ten times slower.
    traces = tracemalloc.take_snapshot().traces._traces
    return sum([trace[1] for trace in traces if trace[0] == np.lib.tracemalloc_domain])


class Watch:
    """Compares the ledger with tracemalloc at every moment at which it is called."""

    def __init__(self):
        self.held, self.largest, self.calls = ledger.live_total, 0, 0

    def __call__(self, where):
        if not tracemalloc.is_tracing():
            return
        really = numpy_bytes()
        assert ledger.live_total - self.held == really, where
        self.largest = max(self.largest, really)
        self.calls += 1

    def around(self, monkeypatch, owner, name, before=True, after=True):
        function = getattr(owner, name)

        def watched(*args, **kwargs):
            if before:
                self(f"before {name}")
            result = function(*args, **kwargs)
            if after:
                self(f"after {name}")
            return result

        monkeypatch.setattr(owner, name, watched)


@pytest.fixture
def watch(monkeypatch):
    """A Watch that looks at every array's birth, before every array function, and around the steps."""
    watch = Watch()
    watch.around(monkeypatch, ledger, "track", before=False)
    # What these make is counted one call later, so look before only.
    for name in ("empty", "zeros", "arange", "matmul", "subtract", "multiply", "divide", "sqrt", "greater"):
        watch.around(monkeypatch, xp, name, after=False)
    for name in ("reduce_scatter", "all_gather", "_reduce_scatter", "_all_gather"):
        for kind in (comm.Comm, Pretend):
            if name in vars(kind):
                watch.around(monkeypatch, kind, name)
    for owner, name in [(model.Unit, "forward"), (model.Unit, "backward")]:
        watch.around(monkeypatch, owner, name)
    for kind in (optim.SGD, optim.Adam):
        watch.around(monkeypatch, kind, "update")
    watch.around(monkeypatch, autograd.Tensor, "backward")
    yield watch
    tracemalloc.stop()


CASES = [
    (stage, ranks, rule, classes, words, reduce)
    for stage in STAGES
    for ranks, rule, classes, words, reduce in [
        (1, "contiguous", True, 2, "native"),
        (1, "random", False, 0, "ordered"),
        (1, "hash", True, 1, "ring"),
        (3, "contiguous", True, 1, "native"),
        (3, "random", True, 2, "native"),
        (3, "hash", False, 0, "native"),
    ]
]


@pytest.mark.parametrize("number, ranks, rule, classes, words, reduce", CASES)
def test_ledger_tracemalloc_and_prediction_agree(watch, number, ranks, rule, classes, words, reduce):
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 14) if classes else random.normal(size=(14, 3)).astype("float32")
    data = DataSet(random.normal(size=(14, 13)).astype("float32"), y, 3 if classes else 0)
    batches = Batches(data, np.arange(14), 9, 2, rank=0, shares=[1])
    steps = [batches.parts(0, 0), batches.parts(0, 1)]  # 4 + 5 samples, then 2 + 3
    rank = comm.REDUCE[reduce]() if ranks == 1 else Pretend()
    units = model.build(WIDTHS, lambda n, s: FlatLayout(n, s, ranks, rule), "float32", seed=0)
    stage, loss_grad = STAGES[number], model.loss_grad(classes, 9)

    before = dict(ledger.live)
    tracemalloc.start()
    stage.setup(units, rank, lambda n: OPTIMIZERS[words](n, "float32"))
    watch("after setup")
    resting = {kind: ledger.live[kind] - before[kind] for kind in before}
    ledger.forget_peaks()
    for parts in steps:
        ledger.forget_sent()
        stage.step(
            units, rank, batches.arrays(parts), loss_grad, lambda comm, shards: clip(comm, shards, 1.0)
        )
        rank.sum(0.0)  # the loss, as training.fit does
        watch("after a step")
        assert {kind: ledger.live[kind] - before[kind] for kind in before} == resting
    assert watch.calls > 200
    assert ledger.peak_total - watch.held == watch.largest

    layers = [Layer(u.layout, a, b, u is not units[-1]) for u, a, b in zip(units, WIDTHS, WIDTHS[1:])]
    run = Run(number, layers, rank.rank, ranks, 4, 4 * words, classes, y[:1].nbytes, reduce)
    expected = predict(run, [tuple(map(len, parts)) for parts in steps])
    assert expected.resting_bytes == resting
    assert expected.peak_bytes == {kind: ledger.peak[kind] - before[kind] for kind in before}
    assert expected.peak_total_bytes == ledger.peak_total - watch.held
    assert expected.sent_bytes_per_step == ledger.sent
    assert expected.calls_per_step == ledger.calls
