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
RANKS = (1, 2, 3, 4, 5, 8)
NAMES = ("bits", "bytes", "comm", "gpu", "precision")  # for which NCCL makes a difference
NCCL = {"ZERO_REF_TEST_TRANSPORT": "nccl", "ZERO_REF_PRETEND_GPUS": "3"}
PRETEND = os.pathsep.join([str(MPI.parent / name) for name in ("stacks", "pretend", "..")])


def run(ranks: int, device: str, files: list[str] = FILES, **environment: str) -> None:
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *files)
    result = mpirun(ranks, *command, limit=400, ZERO_REF_TEST_DEVICE=device, **environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count(" passed") == ranks, result.stdout


@pytest.mark.parametrize("ranks", RANKS)
def test_under_mpirun(ranks):
    run(ranks, "cpu")


@pytest.mark.parametrize(
    "ranks, twelfth, names, environment",
    [
        pytest.param(3, "0", "*", {}, id="mpi"),
        pytest.param(3, "1", "bytes comm gpu", NCCL, id="nccl"),
        pytest.param(2, "2", "bits comm gpu", {"ZERO_REF_GPU_MPI": "1"}, id="mpi that reads a GPU's memory"),
        pytest.param(1, "3", "bits gpu", {}, id="one rank"),
    ],
)
def test_on_a_pretended_gpu(ranks, twelfth, names, environment):
    """CuPy of tests/pretend: NumPy's arrays, but work is done later, in any order that may be."""
    files = [str(MPI / f"check_{name}.py") for name in names.split()] if names != "*" else FILES
    run(ranks, "gpu", files, PYTHONPATH=PRETEND, ZERO_REF_TWELFTH=twelfth, **environment)


@pytest.mark.gpu
@pytest.mark.skipif(gpu_count() == 0, reason="no GPU, or no CuPy")
@pytest.mark.parametrize("ranks", (1, 2, 3, 4))
def test_on_the_gpu(ranks):
    run(ranks, "gpu")


@pytest.mark.gpu
@pytest.mark.parametrize("ranks", (1, 2, 4))
def test_over_nccl(ranks):
    if gpu_count() < ranks:
        pytest.skip(f"{ranks} ranks need as many GPUs")
    run(ranks, "gpu", [str(MPI / f"check_{name}.py") for name in NAMES], ZERO_REF_TEST_TRANSPORT="nccl")
