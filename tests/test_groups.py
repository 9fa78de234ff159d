"""Groups of ranks: tests/mpi/check_groups.py on 4 and 6 of them, and the command where something fails."""

import json
import re

import pytest
from launching import mpirun

CHECK = "tests/mpi/check_groups.py"


@pytest.mark.rest("4 and 6 ranks")
@pytest.mark.parametrize("ranks", (4, 6))
def test_groups_of_four_and_six_ranks(ranks):
    result = mpirun(ranks, "-m", "pytest", "-q", "-p", "no:cacheprovider", CHECK, limit=400)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count(" passed") == ranks, result.stdout


def failing(ranks, where, rank, call, statement, *options):
    module, function = where.split(" ")
    line = (f"zero_ref.{module}", function, str(rank), str(call), statement, *options)
    return mpirun(ranks, "tests/failing.py", *line, limit=30)


@pytest.mark.rest("waits, as a run of test_faults does")
@pytest.mark.parametrize("group", (1, 2))
def test_a_rank_that_does_not_come_to_a_sum_between_groups_is_named(group):
    """Rank 3 of 4 sleeps before its second backward pass: rank 1, of another group, waits for it there."""
    options = ("--group", str(group), "--steps", "9", "--timeout", "2", "--quiet")
    result = failing(4, "model Unit.backward", 3, 1, "import time; time.sleep(60)", *options)
    assert result.returncode != 0
    assert "a collective was not complete after 2 s; all ranks end" in result.stderr
    waits = r"\[rank 1\] waits for \d s in call \d+: sum_between_groups of layers.1, 8,256 x float32, "
    assert re.search(waits + r"33,024 bytes, step 1, stages/zero3.py:\d+ in step", result.stderr), (
        result.stderr
    )
    assert re.search(r"\[rank 3\] never came to call \d+: ", result.stderr), result.stderr


def test_a_shard_that_another_group_has_otherwise_is_named():
    flip = "import numpy; args[1].units[1].param.view(numpy.uint32)[5] ^= 1"
    options = ("--group", "2", "--steps", "9", "--verify-every", "2", "--quiet")
    result = failing(4, "train.replicas check_equal", 3, 1, flip, *options)
    said = "step 4: the copies of shard 1 of parameters of layers.1 differ: on rank 3 it is not as on rank 1"
    assert (result.returncode, result.stderr) == (1, f"zero_ref: error: {said}\n")


@pytest.mark.parametrize("line", ["--group 2", "--group 4", "--group 2 --device meta --ranks 3"])
def test_groups_that_do_not_divide_the_ranks_are_one_line(line):
    result = mpirun(0 if "meta" in line else 3, "-m", "zero_ref.train", *line.split())
    said = f"zero_ref: error: --group {line.split()[1]} does not divide 3 ranks\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", said)


@pytest.mark.parametrize("stage", range(4))
def test_a_dry_run_of_many_ranks_needs_none(stage, tmp_path):
    line = f"--device meta --ranks 512 --group 8 --stage {stage} --micro-batches 2 --batch-size 1024"
    result = mpirun(0, "-m", "zero_ref.train", *line.split(), "--record", str(tmp_path / "r.json"))
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "r.json").read_text())
    padded, hops = record["parameters_padded"], 2 if stage >= 2 else 1
    assert len(record["owned"]) == 512 and sum(record["owned"]) == 64 * padded
    for rank in record["ranks"]:
        assert rank["between_bytes_per_step"] == rank["formula"]["between_bytes_per_step"]
        assert rank["sent_bytes_per_step"] == rank["formula"]["sent_bytes_per_step"]
        said = hops * 4 * 2 * padded / 8 * 63 / 64
        assert abs(sum(rank["between_bytes_per_step"].values()) - said) <= hops * 4 * 64 * 3


def test_the_summary_and_the_chart_speak_of_groups_in_both_languages():
    line = ("--group", "1", "--epochs", "1", "--chart")
    for language, words in {
        "en": ("in groups of 1", "between groups", "sum between groups"),
        "zh": ("每组 1 个 rank", "其中组间", "组间求和"),
    }.items():
        out = mpirun(
            2, "-m", "zero_ref.train", *line, "--language", language, LANG=f"{language}_XX.UTF-8"
        ).stdout
        assert all(word in out for word in words), out
