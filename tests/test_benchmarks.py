"""The programs of benchmarks/: what they do with what goes wrong, and no time that they measure."""

import json
import os
import subprocess
import sys

import pytest
from launching import ROOT
from test_under_mpirun import PRETEND

sys.path.insert(0, str(ROOT / "benchmarks"))
import bench
import others

WORKS = 'print(\'{"ms": 2.0, "mib": 3.0}\')'


@pytest.fixture
def options(tmp_path):
    class Options:
        rounds, repeat, device = 2, 1, "cpu"
        json = tmp_path / "bench.json"

    return Options


def said(monkeypatch, programs):
    """What `bench` runs in place of a system: a program of its own."""
    tried = []

    def measure(name, *_):
        tried.append(name)
        return bench.output([sys.executable, "-c", programs[name]])

    monkeypatch.setattr(bench, "measure", measure)
    return tried


@pytest.mark.rest("waits")
def test_a_rival_that_fails_or_hangs_is_a_line_and_is_not_tried_again(monkeypatch, options):
    monkeypatch.setattr(bench, "LIMIT", 3)
    monkeypatch.setattr(bench, "QUIET", 99)  # whatever else this machine does
    programs = {"floor": WORKS.replace("2.0", "1.0").replace("mib", "products"), "stage 0": WORKS}
    programs |= {"ddp": "import os; raise OSError('no network')", "ddp-zero1": WORKS.replace("2.0", "4.0")}
    programs |= {"fsdp2": "import time; time.sleep(60)"}
    tried = said(monkeypatch, programs)
    found = bench.rounds(bench.Rows(options.json, False), options, 2, "W1", list(programs))
    assert tried.count("ddp") == tried.count("fsdp2") == 1 and tried.count("stage 0") == 2
    lines = bench.table(found, bench.RIVALS).splitlines()
    ours = next(line for line in lines if line.startswith("stage 0")).split()
    assert ours[2:7] == ["2.00", "3", "2.00", "0.67", "0.50"] and "ddp-zero1" in ours
    assert any(line.startswith("ddp (failed: OSError: no network)") for line in lines)
    assert any(line.startswith("fsdp2 (failed: did not end in 3 s)") for line in lines)


def test_a_measurement_goes_on_where_it_was_stopped(monkeypatch, options):
    monkeypatch.setattr(bench, "QUIET", 99)
    tried = said(monkeypatch, dict.fromkeys(("floor", "stage 0", "stage 1"), WORKS))
    bench.rounds(bench.Rows(options.json, False), options, 2, "W1", ["floor", "stage 0"])
    assert len(json.loads(options.json.read_text())) == len(tried) == 4  # written as they come
    tried.clear()
    names = ["floor", "stage 0", "stage 1"]
    found = bench.rounds(bench.Rows(options.json, True), options, 2, "W1", names)
    assert tried == ["stage 1", "stage 1"] and [list(each) for each in found] == [names] * 2


@pytest.mark.parametrize("cores, expected", [([0.5, 0.0, 0.02], [0.0, 0.02]), ([0.5, 0.0, 0.7], [0.0, 0.5])])
def test_a_disturbed_round_is_repeated_within_a_limit(monkeypatch, options, cores, expected):
    rest = iter(cores)
    monkeypatch.setattr(bench, "measure", lambda *_: {"ms": 1.0, "others": next(rest)})
    found = bench.rounds(bench.Rows(options.json, False), options, 2, "W1", ["floor"])
    assert [each["floor"]["others"] for each in found] == expected
    assert next(rest, None) is None


def test_others_are_what_the_machine_did_beside_us(monkeypatch):
    machine, own, clock = iter([100.0, 107.0]), iter([20.0, 23.0]), iter([50.0, 58.0])
    monkeypatch.setattr(others, "busy", lambda: next(machine))
    monkeypatch.setattr(others, "our_own", lambda: next(own))
    monkeypatch.setattr(others.time, "monotonic", lambda: next(clock))
    with others.Others() as found:
        pass
    assert found.cores == (7 - 3) / 8


def test_where_nobody_tells_others_are_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(others, "STAT", tmp_path / "none")
    with others.Others() as found:
        pass
    assert found.cores is None
    assert bench.calm({"floor": {"ms": 1.0, "others": None}})


@pytest.mark.rest("nine runs")
def test_what_a_gpu_shows_is_one_file(tmp_path):
    """On the pretended one, where GPU and CPU have equal bits; and a run that ends badly is told."""
    line = [sys.executable, "benchmarks/gpu_check.py", "--parts=train", "--ranks=3", f"--output={tmp_path}/o"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([PRETEND, str(ROOT)])}
    run = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True, "timeout": 120}
    good = subprocess.run([*line, "--options=--steps 3"], **run)
    text = (tmp_path / "o").read_text()
    assert good.returncode == 0, good.stdout
    assert "gpu, stage 3" in text and "1 kind(s)" in text and text.rstrip().endswith("All as it should be.")
    bad = subprocess.run([*line, "--options=--steps 3 --clip-norm x"], **run)
    assert bad.returncode == 1 and "Not as it should be:\ntrain: ended with 2" in bad.stdout
