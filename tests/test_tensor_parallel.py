"""Tensor parallelism: tests/mpi/check_tensor_parallel.py on 4 and 6 ranks, which are grids of both."""

import pytest
from launching import mpirun

CHECK = "tests/mpi/check_tensor_parallel.py"


@pytest.mark.rest("4 and 6 ranks")
@pytest.mark.parametrize("ranks", (4, 6))
def test_grids_of_four_and_six_ranks(ranks):
    result = mpirun(ranks, "-m", "pytest", "-q", "-p", "no:cacheprovider", CHECK, limit=400)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count(" passed") == ranks, result.stdout
