"""The command with --overlap, --keep-after-forward, --reduce-once, where something fails or is refused."""

import json
import os
import re

import pytest
from launching import ROOT, mpirun

PRETEND = os.pathsep.join([str(ROOT / "tests" / name) for name in ("pretend", "..")])


def failing(where, rank, call, statement, *options):
    module, function = where.split(" ")
    line = (
        f"zero_ref.{module}",
        function,
        str(rank),
        str(call),
        statement,
        *options,
        "--steps",
        "9",
        "--quiet",
    )
    return mpirun(3, "tests/failing.py", *line, limit=60)


@pytest.mark.rest("an error in the middle of a step", every=2)
@pytest.mark.parametrize("options", ["--stage 3 --overlap", "--stage 2 --overlap", "--stage 3 --prefetch"])
def test_an_error_between_beginning_and_end_is_told(options):
    """Rank 1 fails in its second backward pass, while a gradient of 4 MB is on its way: no crash of MPI."""
    more = ("--hidden", "1024,1024", "--timeout", "20")
    result = failing("model Unit.backward", 1, 1, "raise RuntimeError('on purpose')", *options.split(), *more)
    assert result.returncode == 1 and "on purpose" in result.stderr
    assert not re.search(
        "[Ss]egmentation|signal 11|BAD TERMINATION|EXIT CODE: 139", result.stdout + result.stderr
    )


@pytest.mark.rest("waits, as a run of test_faults does")
@pytest.mark.parametrize("stage", (3, 2))
def test_a_rank_that_does_not_send_its_gradient_is_named(stage):
    """Rank 2 of 3 sleeps before its second backward pass: the others wait for its part of layers.1.

    At stage 3 some wait for its shard of layers.0 already, which it has begun to send.
    """
    options = ("--stage", str(stage), "--overlap", "--timeout", "2")
    result = failing("model Unit.backward", 2, 1, "import time; time.sleep(60)", *options)
    assert result.returncode != 0
    assert "a collective was not complete after 2 s; all ranks end" in result.stderr
    waits = r"\[rank [01]\] waits for \d s in call \d+: finish_reduce_scatter of layers.1, 8,256 x float32, "
    where = rf"33,024 bytes, step 1, stages/zero{stage}_overlap.py:\d+ in arrive"
    ahead = r"\[rank [01]\] waits for \d s in call \d+: finish_all_gather of layers.0, .* in gathered"
    assert re.search(f"{waits}{where}|{ahead}" if stage == 3 else waits + where, result.stderr), result.stderr
    assert re.search(r"\[rank 2\] never came to call \d+: ", result.stderr), result.stderr


def test_overlap_on_a_gpu_is_one_line():
    line = ("-m", "zero_ref.train", "--stage", "2", "--overlap", "--device", "gpu")
    result = mpirun(2, *line, PYTHONPATH=PRETEND)
    said = "--overlap is for CPUs: nothing sends a gradient from a GPU in the background"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"zero_ref: error: {said}\n")


@pytest.mark.parametrize(
    "line, said",
    [
        ("--stage 1 --overlap", "--overlap is for --stage 2 and 3: stage 1 reduces after the backward pass"),
        (
            "--overlap --reduce ring",
            "--overlap adds in rank order: it goes with --reduce auto or ordered, not with --own or nccl",
        ),
        (
            "--stage 2 --keep-after-forward",
            "--keep-after-forward is for --stage 3: stage 2 gathers nothing to compute with",
        ),
        (
            "--stage 2 --reduce-once",
            "--reduce-once is for --stage 3: stages 0 and 1 reduce once a step, "
            "and stage 2 that does so is stage 1",
        ),
        (
            "--keep-after-forward --reduce-once",
            "--keep-after-forward and --reduce-once together hold what --stage 1 holds, which sends less",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(line, said):
    result = mpirun(0, "-m", "zero_ref.train", *line.split())
    assert result.returncode == 2 and said in " ".join(result.stderr.split())


@pytest.mark.parametrize("option", ["--overlap", "--keep-after-forward", "--reduce-once"])
def test_a_dry_run_of_many_ranks_needs_none(option, tmp_path):
    line = f"--device meta --ranks 512 --stage 3 {option} --micro-batches 2 --batch-size 1024"
    result = mpirun(0, "-m", "zero_ref.train", *line.split(), "--record", str(tmp_path / "r.json"))
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "r.json").read_text())
    times = {"--overlap": 6, "--keep-after-forward": 4, "--reduce-once": 5}[option]
    for rank in record["ranks"]:
        sent = rank["sent_bytes_per_step"]
        assert sent == rank["formula"]["sent_bytes_per_step"]
        assert (
            sent["reduce_scatter"] + sent["all_gather"]
            == times * 4 * record["parameters_padded"] * 511 // 512
        )
