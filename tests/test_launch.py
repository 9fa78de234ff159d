"""What is set before MPI starts, and the ends that all ranks reach alike."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from zero_ref import launch
from zero_ref.checkpoint import weights
from zero_ref.launch import UsageError
from zero_ref.report import record
from zero_ref.train import choose, options
from zero_ref.train import run as training


def prepared(monkeypatch, **environment):
    monkeypatch.setattr(os, "environ", dict(environment))
    launch.prepare_environment()
    return os.environ


def test_cores_are_shared_out_among_the_ranks_of_a_machine(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        assert prepared(monkeypatch, MPI_LOCALNRANKS="3")[name] == "2"
        assert prepared(monkeypatch, OMPI_COMM_WORLD_LOCAL_SIZE="20")[name] == "1"
        assert prepared(monkeypatch)[name] == "8"
        assert prepared(monkeypatch, **{name: "5"})[name] == "5"


def test_mpich_does_without_cross_memory_attach_where_it_is_refused(monkeypatch):
    for allowed, expected in ((True, None), (False, "0")):
        monkeypatch.setattr(launch, "_process_vm_readv_allowed", lambda allowed=allowed: allowed)
        assert prepared(monkeypatch).get("MPIR_CVAR_CH4_CMA_ENABLE") == expected
    assert prepared(monkeypatch, MPIR_CVAR_CH4_CMA_ENABLE="1")["MPIR_CVAR_CH4_CMA_ENABLE"] == "1"


def test_the_uneven_all_gather_is_not_pipelined(monkeypatch):
    assert int(prepared(monkeypatch)["MPIR_CVAR_ALLGATHERV_PIPELINE_MSG_SIZE"]) >= 2**30


FAULTS = """
import sys
if sys.argv[1] == "zero_ref":
    import zero_ref
import resource
import numpy as np
def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(1 << 23), np.ones(1 << 23)
before = pages()
for _ in range(10):
    np.ones(1 << 23)
print(pages() - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_freed_memory_serves_the_next_array_without_new_pages():
    """64 MiB, ten times: 16,384 pages each time where the system gives them, or 32 huge ones."""
    mapped = [
        int(subprocess.run([sys.executable, "-c", FAULTS, kind], capture_output=True, check=True).stdout)
        for kind in ("numpy", "zero_ref")
    ]
    assert mapped[0] > 300 and mapped[1] < 30


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_what_setting_up_has_left_is_given_back():
    """A hole of 64 MiB below an array that lives."""
    script = """
import zero_ref, numpy as np
from zero_ref.launch import give_back_freed_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20
hole, above = np.ones(1 << 23), np.ones(1 << 10)
del hole
full = resident()
give_back_freed_memory()
print(full - resident())
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert int(found.stdout) > 50


def test_mpirun_of_another_family_is_told(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "4")  # mpirun started four, MPI sees one
    with pytest.raises(UsageError, match="families"):
        choose.connect()


def test_a_clean_end_is_one_line_and_its_code(capfd):
    def fail():
        raise UsageError("two\nlines and \udcff")

    with pytest.raises(SystemExit) as end:
        launch.run(fail)
    assert end.value.code == 2
    assert capfd.readouterr().err == "zero_ref: error: two lines and \\udcff\n"


@pytest.mark.parametrize(
    "values, dtype, message",
    [
        (np.full((1, 10), np.nan), "float64", "NaN"),
        (np.full((1, 10), 1e300), "float32", "infinity in float32"),
        (np.zeros((2, 10)), "float32", r"\(2, 10\)"),
    ],
)
def test_initial_weights_that_cannot_be_are_refused(tmp_path, values, dtype, message):
    file = str(tmp_path / "w.safetensors")
    save_file({"w": values}, file)
    with pytest.raises(UsageError, match=message):
        weights.check(file, {"w": (1, 10)}, dtype)


def test_a_file_that_is_no_safetensors_is_refused(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(UsageError, match="not readable"):
        weights.check(str(tmp_path / "w.safetensors"), {}, "float32")


@pytest.mark.parametrize("line", ["--export X --record X", "--data d.csv --record d.csv", "--export ."])
def test_results_may_not_overwrite_what_belongs_to_the_run(tmp_path, monkeypatch, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.csv").write_text("1,2\n3,4\n5,6\n")
    with pytest.raises(UsageError):
        training.train(options.parse(f"--data d.csv --quiet --steps 1 {line}".split()))
    assert (tmp_path / "d.csv").read_text() == "1,2\n3,4\n5,6\n"


def test_a_result_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        Path(args[1]).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    (tmp_path / "model").write_bytes(b"old")
    monkeypatch.setattr(weights, "save_file", full)
    with pytest.raises(UsageError, match="No space left"):
        weights.write(str(tmp_path / "model"), {})
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    (tmp_path / "r.json").write_text("old")
    monkeypatch.setattr(os, "replace", lambda part, path: full({}, part))
    with pytest.raises(UsageError, match="No space left"):
        record.write(str(tmp_path / "r.json"), {})
    assert (tmp_path / "r.json").read_text() == "old"


def test_the_record_is_json_even_where_numbers_are_not_finite(tmp_path):
    import json

    record.write(str(tmp_path / "r"), {"loss": [1.5, float("nan")], "norm": float("inf")})
    assert json.loads((tmp_path / "r").read_text()) == {"loss": [1.5, None], "norm": None}
