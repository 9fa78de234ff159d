"""These tests run inside mpirun, one pytest a rank, started by tests/test_under_mpirun.py.

A test that fails on one rank leaves the others in a collective, so the first failure ends them all.
"""

import importlib
import os
import sys
import time

import pytest

from zero_ref import array
from zero_ref.comm import Comm, local_rank, mpi_takes_device_arrays

PIECEWISE = ("zero_ref.comm", "zero_ref.estimate", "zero_ref.staging")


@pytest.fixture(scope="session")
def comm():
    return Comm()


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Some units of these tests are long for a reduce-scatter, and go in several pieces."""
    for module in filter(None, map(sys.modules.get, PIECEWISE)):
        monkeypatch.setattr(module, "LONG", 200, raising=False)
        monkeypatch.setattr(module, "PIECE", 7)


def pytest_configure(config):
    array.select(os.environ.get("ZERO_REF_TEST_DEVICE", "cpu"), local_rank()[0], mpi_takes_device_arrays())
    if array.on_gpu():
        importlib.import_module("zero_ref.staging")  # so that small_pieces finds it


def pytest_collection_modifyitems(items):
    """At 3 ranks all cases, at other numbers of ranks a third of them; ZERO_REF_ALL_CASES=1 runs all.

    Two ranks hide mistakes, and more than three crowd two cores. At 4, 5 and 8 together every case is run.
    Of the files for which a GPU makes less of a difference, ZERO_REF_SIXTH says which sixth.
    """
    third = {1: 0, 2: 1, 4: 2, 5: 0, 8: 1}.get(Comm().size)
    if sixth := os.environ.get("ZERO_REF_SIXTH"):
        kept = items[int(sixth) :: 6]
        items[:] = [i for i in items if i in kept or i.path.name in ("check_comm.py", "check_gpu.py")]
    elif third is not None and "ZERO_REF_ALL_CASES" not in os.environ:
        items[:] = items[third::3]


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
