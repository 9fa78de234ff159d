"""Runs each file of tests/mpi under mpirun, the whole file in one launch, at many rank counts."""

from pathlib import Path

import pytest
from launching import mpirun

from zero_ref.array import gpu_count

FILES = sorted(Path(__file__).parent.glob("mpi/check_*.py"))
RANKS = (1, 2, 3, 4, 5, 8)


def run(file: Path, ranks: int, device: str) -> None:
    result = mpirun(
        ranks,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(file),
        limit=240,
        ZERO_REF_TEST_DEVICE=device,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout, result.stdout


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_under_mpirun(file, ranks):
    run(file, ranks, "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(gpu_count() == 0, reason="no GPU, or no CuPy")
@pytest.mark.parametrize("ranks", (1, 2, 3, 4))
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_on_the_gpu(file, ranks):
    run(file, ranks, "gpu")
