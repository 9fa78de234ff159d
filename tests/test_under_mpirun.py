"""Runs the files of tests/mpi under mpirun, all in one launch, at many rank counts.

To run one file: mpirun -n 3 python -m pytest tests/mpi/check_bits.py
"""

from pathlib import Path

import pytest
from launching import mpirun

from zero_ref.array import gpu_count

FILES = sorted(map(str, Path(__file__).parent.glob("mpi/check_*.py")))
RANKS = (1, 2, 3, 4, 5, 8)


def run(ranks: int, device: str) -> None:
    result = mpirun(
        ranks,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *FILES,
        limit=400,
        ZERO_REF_TEST_DEVICE=device,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count(" passed") == ranks, result.stdout


@pytest.mark.parametrize("ranks", RANKS)
def test_under_mpirun(ranks):
    run(ranks, "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(gpu_count() == 0, reason="no GPU, or no CuPy")
@pytest.mark.parametrize("ranks", (1, 2, 3, 4))
def test_on_the_gpu(ranks):
    run(ranks, "gpu")
