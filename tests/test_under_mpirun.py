"""Runs the files of tests/mpi under mpirun, all in one launch, at many rank counts.

To run one file: mpirun -n 3 python -m pytest tests/mpi/check_bits.py
"""

import os
from pathlib import Path

import pytest
from launching import mpirun

from zero_ref.array import gpu_count

MPI = Path(__file__).parent / "mpi"
FILES = sorted(map(str, MPI.glob("check_*.py")))
REST = pytest.mark.rest("other numbers of ranks, and what make test leaves out at 3")
HALVES = {
    "3-rest, first": FILES[::2],
    "3-rest, second": FILES[1::2],
}  # MPICH has 2,048 communicators a launch
RANKS = [pytest.param(3, "quick", FILES, id="3-quick")]
RANKS += [pytest.param(n, "all", FILES, id=f"{n}-all", marks=REST) for n in (1, 2, 4, 5, 8)]
RANKS += [pytest.param(3, "rest", files, id=name, marks=REST) for name, files in HALVES.items()]
NAMES = ("bits", "bytes", "comm", "gpu", "precision")  # for which NCCL makes a difference
NCCL = {"ZERO_REF_TEST_TRANSPORT": "nccl", "ZERO_REF_PRETEND_GPUS": "3"}
READS = {"ZERO_REF_GPU_MPI": "1"}
PRETEND = os.pathsep.join([str(MPI.parent / name) for name in ("stacks", "pretend", "..")])


def run(ranks: int, part: str, device: str, files: list[str] = FILES, **environment: str) -> None:
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--part", part, *files)
    result = mpirun(ranks, *command, limit=400, ZERO_REF_TEST_DEVICE=device, **environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count(" passed") == ranks, result.stdout


@pytest.mark.parametrize("ranks, part, files", RANKS)
def test_under_mpirun(ranks, part, files):
    run(ranks, part, "cpu", files)


@pytest.mark.parametrize(
    "ranks, part, twelfth, names, environment",
    [
        pytest.param(3, "quick", "0", "*", {}, id="mpi"),
        pytest.param(3, "rest", "0", "*", {}, id="mpi, the rest", marks=REST),
        pytest.param(3, "quick", "1", "bytes comm gpu", NCCL, id="nccl"),
        pytest.param(3, "rest", "1", "bytes comm gpu", NCCL, id="nccl, the rest", marks=REST),
        pytest.param(2, "all", "2", "bits comm gpu", READS, id="mpi that reads a GPU's memory", marks=REST),
        pytest.param(1, "all", "3", "bits gpu", {}, id="one rank", marks=REST),
    ],
)
def test_on_a_pretended_gpu(ranks, part, twelfth, names, environment):
    """CuPy of tests/pretend: NumPy's arrays, but work is done later, in any order that may be."""
    files = [str(MPI / f"check_{name}.py") for name in names.split()] if names != "*" else FILES
    run(ranks, part, "gpu", files, PYTHONPATH=PRETEND, ZERO_REF_TWELFTH=twelfth, **environment)


@pytest.mark.gpu
@pytest.mark.rest("needs a GPU")
@pytest.mark.skipif(gpu_count() == 0, reason="no GPU, or no CuPy")
@pytest.mark.parametrize("ranks", (1, 2, 3, 4))
def test_on_the_gpu(ranks):
    run(ranks, "all", "gpu")


@pytest.mark.gpu
@pytest.mark.rest("needs a GPU")
@pytest.mark.parametrize("ranks", (1, 2, 4))
def test_over_nccl(ranks):
    if gpu_count() < ranks:
        pytest.skip(f"{ranks} ranks need as many GPUs")
    files = [str(MPI / f"check_{name}.py") for name in NAMES]
    run(ranks, "all", "gpu", files, ZERO_REF_TEST_TRANSPORT="nccl")
