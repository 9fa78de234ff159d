"""These tests run inside mpirun, one pytest a rank, started by tests/test_under_mpirun.py.

A test that fails on one rank leaves the others in a collective, so the first failure ends them all.
"""

import gc
import os
import sys
import time

import pytest

from zero_ref import array
from zero_ref import comm as collectives
from zero_ref.comm import Comm
from zero_ref.extras import staging
from zero_ref.ledger import ledger
from zero_ref.train import watch
from zero_ref.train.choose import local_rank, mpi_takes_device_arrays

pytest.register_assert_rewrite("compared")  # or a difference of bytes would not be shown


@pytest.fixture(scope="session")
def comm():
    return Comm()


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Some units of these tests are long for a reduce-scatter, and go in several pieces."""
    monkeypatch.setattr(collectives, "LONG", 200)
    for module in (collectives, staging):
        monkeypatch.setattr(module, "PIECE", 7)


@pytest.fixture(autouse=True)
def nothing_is_left():
    """What a caught error's frames hold would be counted as the next test's."""
    if any(ledger.live.values()):
        gc.collect()


def pytest_configure(config):
    # It looks where a rank is that makes no call, and what the frames hold would live on, and be counted.
    watch.Watch.look = lambda self: None
    device = os.environ.get("ZERO_REF_TEST_DEVICE", "cpu")
    array.select(device, local_rank(Comm()), mpi_takes_device_arrays())


@pytest.hookimpl(hookwrapper=True)
def pytest_collection_modifyitems(items):
    """At 3 ranks all cases, at 1, 2 and 4 a third, at 5 and 8 a twelfth; at 6 (test_groups.py) a seventh.

    ZERO_REF_ALL_CASES=1 runs all. Two ranks hide mistakes, and more than three crowd two cores. At 1, 2 and 4
    together every case is run. Of the files for which a GPU makes less of a difference, ZERO_REF_TWELFTH says
    which twelfth, of the part that was asked for (tests/parts.py).
    """
    part = {1: slice(0, None, 3), 2: slice(1, None, 3), 4: slice(2, None, 3)}
    part |= {5: slice(0, None, 12), 8: slice(1, None, 12), 6: slice(0, None, 7)}
    twelfth = os.environ.get("ZERO_REF_TWELFTH")
    if not twelfth and Comm().size in part and "ZERO_REF_ALL_CASES" not in os.environ:
        items[:] = items[part[Comm().size]]
    yield
    if twelfth:
        whole = ("check_comm.py", "check_gpu.py")
        items[:] = [i for n, i in enumerate(items) if n % 12 == int(twelfth) or i.path.name in whole]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    world = Comm()
    if report.failed and world.size > 1:
        head = f"[rank {world.rank} of {world.size}] {item.nodeid} failed in {report.when}:\n"
        os.write(2, (head + report.longreprtext + "\n").encode())
        sys.stdout.flush()
        time.sleep(0.5)  # mpirun forwards the text
        world.mpi.Abort(1)
