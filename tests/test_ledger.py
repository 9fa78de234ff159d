"""The ledger against itself, and against what Python's tracemalloc sees of NumPy's memory."""

import functools
import tracemalloc

import numpy as np
import pytest

from zero_ref import array, autograd, comm, model, optim
from zero_ref.array import xp
from zero_ref.clip import clip
from zero_ref.data import Batches, DataSet
from zero_ref.layout import FlatLayout
from zero_ref.ledger import Ledger, ledger
from zero_ref.meta import Silence
from zero_ref.stages import zero0, zero1, zero2, zero3
from zero_ref.train import choose, dry_run, options

STAGES = {0: zero0, 1: zero1, 2: zero2, 3: zero3}
WIDTHS = [13, 11, 6, 3]
OPTIMIZERS = {  # by the words of state a parameter; and the same as options
    0: (functools.partial(optim.SGD, lr=0.1), "--optimizer sgd"),
    1: (functools.partial(optim.SGD, lr=0.1, momentum=0.9), "--optimizer sgd --momentum 0.9"),
    2: (functools.partial(optim.AdamW, weight_decay=0.1), "--optimizer adamw"),
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


class Told:
    """Is told of every count, as train.events.Events is."""

    def __init__(self):
        self.rows = []

    def array(self, kind, nbytes, which):
        self.rows.append((kind, nbytes))

    def sent(self, nbytes):
        self.rows.append(("sent", nbytes))


def test_a_ledger_that_is_set_aside_counts_anew_and_then_goes_on():
    book = Ledger()
    kept = book.track("gradient", np.zeros(10))
    dead = book.track("buffer", np.zeros(3))
    del dead
    book.count_sent("all_gather", 100)
    before = [dict(book.live), dict(book.peak), book.peak_total, dict(book.sent), dict(book.calls)]
    told = book.events = Told()
    with book.set_aside():
        assert book.events is None
        assert book.live_total == book.peak_total == 0 and set(book.sent.values()) == {0}
        assert set(book.live) == set(book.peak) == set(before[0]) and set(book.live.values()) == {0}
        mine = book.track("gradient", np.zeros(200))
        assert (book.live["gradient"], book.peak["gradient"], book.peak_total) == (1600, 1600, 1600)
        del mine
        assert (book.live_total, book.peak_total) == (0, 1600)
        book.count_sent("all_gather", 7)
        assert book.sent["all_gather"] == 7 and book.calls["all_gather"] == 1
    assert [dict(book.live), dict(book.peak), book.peak_total, dict(book.sent), dict(book.calls)] == before
    assert book.events is told and told.rows == [], "nobody is told of what was counted inside"
    assert kept.nbytes == book.live_total == 80
    del kept
    assert told.rows == [("gradient", -80)]


def test_a_ledger_that_is_set_aside_comes_back_after_an_error():
    book = Ledger()
    kept = book.track("gradient", np.zeros(10))
    with pytest.raises(ZeroDivisionError), book.set_aside():
        book.track("buffer", np.zeros(5))
        raise ZeroDivisionError
    assert book.live_total == kept.nbytes and book.peak["buffer"] == 0


def test_an_array_is_given_back_to_the_book_in_which_it_was_born():
    book = Ledger()
    older, oldest = book.track("gradient", np.zeros(10)), book.track("gradient", np.zeros(1))
    with book.set_aside():
        mine, younger = book.track("gradient", np.zeros(100)), book.track("buffer", np.zeros(3))
        del older  # born outside, dies inside
        assert (book.live["gradient"], book.live["buffer"], book.live_total) == (800, 24, 824)
        del mine
        with book.set_aside():
            assert book.live_total == 0
            del oldest
            assert book.live_total == 0
        assert (book.live["gradient"], book.live["buffer"]) == (0, 24)
    assert book.live_total == 0 and book.peak_total == 88
    again = book.track("buffer", np.zeros(2))
    del younger  # born inside, dies outside
    assert (book.live["gradient"], book.live["buffer"], book.live_total) == (0, again.nbytes, 16)


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
        super().__init__(Silence(1, 3))

    def sum(self, value):
        ledger.count_sent("other", 8 * (self.size - 1))
        return value

    def _reduce_scatter(self, send, receive, layout):
        receive[...] = send[layout.slice_of(self.rank)]
        return send.nbytes - receive.nbytes

    def _all_gather(self, wire, layout):
        wire[: layout.offsets[self.rank]] = 0
        wire[layout.offsets[self.rank] + layout.counts[self.rank] :] = 0
        return layout.counts[self.rank] * (self.size - 1) * wire.itemsize


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
def test_ledger_tracemalloc_and_dry_run_agree(
    watch, number, ranks, rule, classes, words, reduce, monkeypatch
):
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 14) if classes else random.normal(size=(14, 3)).astype("float32")
    data = DataSet(random.normal(size=(14, 13)).astype("float32"), y, 3 if classes else 0)
    batches = Batches(data, np.arange(14), 9, 2, rank=0, shares=[1])
    steps = [batches.parts(0, 0), batches.parts(0, 1)]  # 4 + 5 samples, then 2 + 3
    rank = comm.REDUCE[reduce]() if ranks == 1 else Pretend()
    units = model.build(WIDTHS, lambda n, s: FlatLayout(n, s, ranks, rule), "float32", seed=0)
    stage, loss_grad, (make, optimizer) = STAGES[number], model.loss_grad(classes, 9), OPTIMIZERS[words]

    before = dict(ledger.live)
    tracemalloc.start()
    stage.setup(units, rank, lambda n: make(n, "float32"))
    watch("after setup")
    resting = {kind: ledger.live[kind] - before[kind] for kind in before}
    ledger.forget_peaks()
    for parts in steps:
        ledger.forget_sent()
        stage.step(
            units, rank, batches.arrays(parts), loss_grad, lambda comm, shards: clip(comm, shards, 1.0)
        )
        rank.sum(0.0)  # the loss, as train.run.fit does
        watch("after a step")
        assert {kind: ledger.live[kind] - before[kind] for kind in before} == resting
    assert watch.calls > 200
    assert ledger.peak_total - watch.held == watch.largest

    tracemalloc.stop()
    line = f"--stage {number} --hidden 11,6 --shard-model {rule} --reduce {reduce} --clip-norm 1 {optimizer}"
    if ranks > 1:
        monkeypatch.setattr(choose, "comm", lambda o, mpi: Pretend())
    task, sizes = data.task, [tuple(map(len, parts)) for parts in steps]
    expected = dry_run.forecast(options.parse(line.split()), task, rank.rank, ranks, sizes, "cpu")
    assert expected.resting_bytes == resting
    assert expected.peak_bytes == {kind: ledger.peak[kind] - before[kind] for kind in before}
    assert expected.peak_total_bytes == ledger.peak_total - watch.held
    assert expected.sent_bytes_per_step == ledger.sent
    assert expected.calls_per_step == ledger.calls
