"""The collectives, on values that show which element came from which rank, and what they count."""

import itertools

import numpy as np
import pytest
from small import ranks_with

from zero_ref import array
from zero_ref.comm import REDUCE, Comm
from zero_ref.layout import FlatLayout
from zero_ref.ledger import ledger

LENGTHS = (1, 2, 11, 97, 401)  # the last two go in pieces (conftest.py)


def layouts(size, n):
    shapes = {"weight": (n,)}
    yield from (FlatLayout("unit", shapes, size, rule) for rule in ("contiguous", "random", "hash"))
    yield FlatLayout("unit", shapes, size, shares=[1 + r % 3 for r in range(size)])
    yield FlatLayout("unit", shapes, size, shares=[0] * (size - 1) + [1])


def every_case(size):
    comms = [ranks_with(reduce, "float32") for reduce in REDUCE]
    for comm, n, dtype in itertools.product(comms, LENGTHS, ("float32", "float64")):
        for layout in layouts(size, n):
            yield comm, layout, np.dtype(dtype)


def on_device(values):
    return array.from_numpy(np.array(values), "buffer")


def barcode(layout, dtype, rank):
    """Element i of rank r is (i mod 90 + 1) 16^r: a sum shows each rank's part, exactly."""
    return on_device(((np.arange(layout.padded) % 90 + 1) * 2.0 ** (2 * rank)).astype(dtype))


def test_reduce_scatter_gives_each_rank_its_elements_of_the_sum(comm):
    for c, layout, dtype in every_case(comm.size):
        full = barcode(layout, dtype, c.rank)
        before = array.to_numpy(full).copy()
        shard = c.reduce_scatter(full, layout)
        expected = sum(array.to_numpy(barcode(layout, dtype, r)) for r in range(c.size))
        expected = array.to_numpy(layout.shard(on_device(expected), c.rank))
        assert np.array_equal(array.to_numpy(shard), expected), (c, layout.counts)
        assert shard.dtype == dtype and shard.shape == (layout.counts[c.rank],)
        assert np.array_equal(array.to_numpy(full), before), "the input was changed"


def test_all_gather_puts_every_element_in_its_place(comm):
    for c, layout, dtype in every_case(comm.size):
        whole = on_device(np.arange(layout.padded, dtype=dtype))
        shard = c.shard(whole, layout).copy()
        full = c.all_gather(shard, layout)
        assert np.array_equal(array.to_numpy(full), np.arange(layout.padded))
        out = on_device(np.full(layout.padded, -1, dtype))
        assert c.all_gather(shard, layout, out=out) is out
        assert np.array_equal(array.to_numpy(out), np.arange(layout.padded))


def test_all_gather_takes_a_shard_that_lies_in_its_own_target(comm):
    for c, layout, dtype in every_case(comm.size):
        full = on_device(np.full(layout.padded, -1, dtype))
        shard = c.shard(full, layout)
        shard[...] = c.rank
        c.all_gather(shard, layout, out=full)
        for r in range(c.size):
            assert (array.to_numpy(layout.shard(full, r)) == r).all()


def test_all_reduce_is_the_sum_everywhere(comm):
    for c, layout, dtype in every_case(comm.size):
        full = barcode(layout, dtype, c.rank)
        c.all_reduce(full, layout)
        expected = sum(array.to_numpy(barcode(layout, dtype, r)) for r in range(c.size))
        assert np.array_equal(array.to_numpy(full), expected)


def test_bytes_sent_are_all_but_the_own_shard_and_the_own_shard_to_all_others(comm):
    for c, layout, dtype in every_case(comm.size):
        own, ring = layout.counts[c.rank], type(c).__name__ == "RingComm"
        shard = c.shard(barcode(layout, dtype, c.rank), layout).copy()
        ledger.forget_sent()
        c.all_gather(shard, layout)
        after = layout.counts[(c.rank + 1) % c.size]
        gathered = (layout.padded - after) if ring else own * (c.size - 1)
        assert ledger.sent["all_gather"] == gathered * dtype.itemsize
        c.reduce_scatter(barcode(layout, dtype, c.rank), layout)
        assert ledger.sent["reduce_scatter"] == (layout.padded - own) * dtype.itemsize
        assert ledger.calls == {"reduce_scatter": 1, "all_gather": 1, "other": 0}


def test_the_ring_sends_what_the_ledger_says(comm, monkeypatch):
    c, sent = REDUCE["ring"](), []

    class Counting:
        def Sendrecv(self, data, *args, **kwargs):
            sent.append(data.nbytes)
            return comm.mpi.Sendrecv(data, *args, **kwargs)

    monkeypatch.setattr(c, "mpi", Counting())
    for layout in layouts(comm.size, 97):
        sent.clear()
        ledger.forget_sent()
        c.all_reduce(barcode(layout, np.dtype("f4"), c.rank), layout)
        assert sum(sent) == sum(ledger.sent.values())
        assert len(sent) == 2 * (c.size - 1)


def test_everything_holds_when_mpi_needs_memory_of_its_own(comm, monkeypatch):
    """As on a GPU: what MPI reads and writes is a copy in other memory."""
    if array.on_gpu():
        pytest.skip("so it is here")

    def other_memory(self, vector, layout):
        return np.full(vector.shape, 7, vector.dtype)

    monkeypatch.setattr(Comm, "wire_like", other_memory)
    test_reduce_scatter_gives_each_rank_its_elements_of_the_sum(comm)
    test_all_gather_puts_every_element_in_its_place(comm)
    test_all_gather_takes_a_shard_that_lies_in_its_own_target(comm)
    test_all_reduce_is_the_sum_everywhere(comm)


class Observer:
    """Writes down what it is told."""

    def __init__(self, name, told):
        self.name, self.told = name, told

    def before(self, call):
        self.told.append((self.name, "before", call))

    def after(self, call):
        self.told.append((self.name, "after", call))


def test_observers_are_told_of_every_call(comm):
    c, told, layout = ranks_with("auto", "float32"), [], FlatLayout("unit", {"weight": (97,)}, comm.size)
    full, about = barcode(layout, np.dtype("f4"), c.rank), (layout, np.dtype("f4"))
    c.observers += [Observer("a", told), Observer("b", told)]
    shard = c.reduce_scatter(full, layout)
    c.all_gather(shard, layout, out=full)
    c.finish_all_gather(c.start_all_gather(shard, layout))
    c.all_reduce(full, layout)
    c.sum(1.0)
    c.everyone(None)
    calls = [("reduce_scatter", *about), ("all_gather", *about), ("start_all_gather", *about)]
    calls += [("finish_all_gather", *about), *calls[:2], ("sum", None, None), ("everyone", None, None)]
    order = [("a", "before"), ("b", "before"), ("b", "after"), ("a", "after")]
    assert told == [(*who, call) for call in calls for who in order]
    del c.observers[:], told[:]
    c.sum(1.0)
    assert told == []


def test_ordered_adds_in_rank_order(comm):
    c = REDUCE["ordered"]()
    random = [np.random.default_rng(r).normal(size=97).astype("f4") for r in range(c.size)]
    expected = random[0].copy()
    for part in random[1:]:
        expected += part  # rounded after each rank, in rank order
    for layout in layouts(c.size, 97):
        full = on_device(np.zeros(layout.padded, "f4"))
        full[:97] = on_device(random[c.rank])
        want = on_device(np.zeros(layout.padded, "f4"))
        want[:97] = on_device(expected)
        shard = array.to_numpy(c.reduce_scatter(full, layout))
        assert shard.tobytes() == array.to_numpy(layout.shard(want, c.rank)).tobytes()


@pytest.mark.parametrize("reduce", REDUCE)
def test_sum_and_everyone(comm, reduce):
    c = REDUCE[reduce]()
    ledger.forget_sent()
    assert c.sum(10.0**c.rank) == sum(10.0**r for r in range(c.size))
    assert ledger.sent["other"] == 8 * (c.size - 1)
    texts = c.everyone({"rank": c.rank, "text": "层" * c.rank})
    assert texts == [{"rank": r, "text": "层" * r} for r in range(c.size)]
