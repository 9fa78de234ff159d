"""Four hosts on one machine (see benchmarks/hosts.py): what the ledger says is what goes over the wires.

make test-hosts
"""

import json
import os
import sys

import pytest
from launching import ROOT, mpirun

sys.path.insert(0, str(ROOT / "benchmarks"))

from hosts import Hosts, missing

from zero_ref.report import page

WHY = missing() if "ZERO_REF_HOSTS" in os.environ else "make test-hosts runs it"
pytestmark = pytest.mark.skipif(WHY is not None, reason=f"several hosts: {WHY}")

MODEL = ("--data", "synthetic", "--features", "250", "--samples", "512", "--hidden", "501,400,401")
MODEL = (*MODEL, "--batch-size", "32", "--steps")
FEW, MANY = 3, 13
STAGES = {
    "0": ["--stage", "0"],
    "1": ["--stage", "1"],
    "2": ["--stage", "2"],
    "2, four micro-batches": ["--stage", "2", "--micro-batches", "4"],
    "3": ["--stage", "3"],
    "3, prefetch": ["--stage", "3", "--prefetch"],
    "2, overlap": ["--stage", "2", "--overlap"],
    "3, overlap": ["--stage", "3", "--overlap"],
    "3, keep after forward": ["--stage", "3", "--keep-after-forward"],
    "3, reduce once": ["--stage", "3", "--reduce-once", "--micro-batches", "4"],
    "3, ring": ["--stage", "3", "--reduce", "ring"],
    "3, ordered, float16": ["--stage", "3", "--dtype", "float16"],
}


# On two machines of two ranks: options, of which the map of traffic says what goes between machines. A line
# is a row of the table. For all-gathers MPICH often chooses a ring in the order of the machines, and less
# goes between them than the ledger has, rank by rank; WAY takes as many bytes as that.
WAY = {f"MPIR_CVAR_ALLGATHER{v}_INTRA_ALGORITHM": "recursive_doubling" for v in ("", "V")}
BETWEEN = {
    "2": ["--stage", "2", "--reduce", "ordered"],
    "3": ["--stage", "3", "--reduce", "ordered"],
    "3, ring": ["--stage", "3", "--reduce", "ring"],
    "3, keep after forward": ["--stage", "3", "--reduce", "ordered", "--keep-after-forward"],
    "3, groups": ["--stage", "3", "--group", "2", "--reduce", "ordered"],
    "2, groups, four parts": ["--stage", "2", "--group", "2", "--micro-batches", "4"],
    "3, hpZ": ["--stage", "3", "--reduce", "ordered", "--machine", "2", "--hpz"],
    "3, qwZ": ["--stage", "3", "--reduce", "ordered", "--machine", "2", "--code-weights", "8"],
    "3, qgZ": ["--stage", "3", "--reduce", "ordered", "--machine", "2", "--code-gradients", "4"],
    "3, groups, overlap": ["--stage", "3", "--group", "2", "--overlap"],
    "3, groups, float16": ["--stage", "3", "--group", "2", "--dtype", "float16"],
}


@pytest.fixture(scope="module")
def hosts():
    with Hosts(4) as four:
        yield four


@pytest.fixture(scope="module")
def machines():
    """Four hosts, two and two on a switch: what crosses the wire between can be counted."""
    with Hosts(4, switches=2) as two:
        yield two


@pytest.mark.parametrize("stage", STAGES)
def test_the_wires_carry_what_the_ledger_says(stage, hosts, tmp_path):
    """Ten steps more put ten times the ledger's bytes on the wires, within 2 % for headers."""
    marks, records = [hosts.sent()], []
    for steps in (FEW, MANY):
        records.append(hosts.train(*MODEL, str(steps), *STAGES[stage]))
        marks.append(hosts.sent())
    before, few, many = (sum(mark) for mark in marks)
    ledger = sum(sum(rank["sent_bytes_per_step"].values()) for rank in records[1]["ranks"])
    wire = ((many - few) - (few - before)) / (MANY - FEW)
    print(f"stage {stage}: {wire / 4:,.0f} bytes a step and host, {wire / ledger:.4f} of the ledger's")
    assert 1 <= wire / ledger < 1.02

    here = tmp_path / "here.json"
    mpirun(4, "-m", "zero_ref.train", *MODEL, str(MANY), *STAGES[stage], "--record", str(here))
    assert json.loads(here.read_text())["weights_sha256"] == records[1]["weights_sha256"]


@pytest.mark.parametrize("kind", BETWEEN)
def test_the_wire_between_machines_carries_what_the_map_says(kind, machines, tmp_path, monkeypatch):
    """Of ten steps more, within 2 % for headers; the map is that of the recorded step."""
    for name, value in WAY.items():
        monkeypatch.setenv(name, value)
    marks = [machines.between()]
    for steps in (FEW, MANY):
        trace = str(tmp_path / "trace.json")
        record = machines.train(*MODEL, str(steps), *BETWEEN[kind], "--trace", trace)
        marks.append(machines.between())
    before, few, many = marks
    rows = list(enumerate(page.traffic(record)))
    said = sum(n for rank, row in rows for other, n in enumerate(row) if other // 2 != rank // 2)
    inside = sum(n for rank, row in rows for other, n in enumerate(row) if other // 2 == rank // 2)
    ledger = sum(sum(rank["sent_bytes_per_step"].values()) for rank in record["ranks"])
    assert abs(said + inside - ledger) < 1e-4 * ledger
    wire = ((many - few) - (few - before)) / (MANY - FEW)
    print(f"{kind}: {wire:,.0f} bytes a step between machines, {wire / said:.4f} of the ledger's")
    assert 1 <= wire / said < 1.02
