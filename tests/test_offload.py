"""The command with --offload: what is refused, a disk that fails, and what a run leaves behind."""

import json
import os
import re
import sys

import pytest
from launching import failing, mpirun

from zero_ref.extras import storage
from zero_ref.launch import UsageError
from zero_ref.plan.offload import in_memory
from zero_ref.train import options

linux = pytest.mark.skipif(sys.platform != "linux", reason="/dev/full")


@pytest.mark.parametrize(
    "line, said",
    [
        ("--offload tape", "argument --offload: expected host or disk:DIR, not 'tape'"),
        ("--offload disk:", "argument --offload: expected host or disk:DIR, not 'disk:'"),
        ("--offload-shards", "--offload-shards needs --offload"),
        ("--offload host --offload-shards --stage 2", "--offload-shards is for stage 3: at stage 2"),
        ("--offload host --offload-shards --stage 3 --reduce-once", "--offload-shards goes neither"),
        ("--offload host --offload-shards --stage 3 --keep-after-forward", "--offload-shards goes neither"),
        ("--offload host --own tests", "--offload goes neither with --own nor"),
        ("--offload host --optimizer muon", "--offload goes neither with --own nor with --optimizer muon"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(line, said):
    with pytest.raises(UsageError) as caught:
        options.parse(line.split())
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)


def test_a_folder_that_is_none_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for folder in (tmp_path / "none", file):
        with pytest.raises(UsageError, match=rf"^--offload disk:{folder}: is no folder$"):
            storage.check(f"disk:{folder}", False)
    storage.check(f"disk:{tmp_path}", True)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_folder_that_takes_no_file_is_refused():
    with pytest.raises(UsageError, match=r"^--offload disk:/proc: cannot be written there \(.+\)$"):
        storage.check("disk:/proc", False)


def test_shards_stay_on_a_gpu(monkeypatch):
    monkeypatch.setattr(storage.array, "on_gpu", lambda: True)
    with pytest.raises(UsageError, match=r"^--offload-shards: not on a GPU"):
        storage.check("host", True)
    storage.check("host", False)


def test_zeros_are_written_where_a_system_cannot_reserve(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    monkeypatch.setattr(storage, "ZEROS", 7)
    store = storage.Disk(str(tmp_path), 24)
    assert os.fstat(store.file.fileno()).st_size == 24
    assert store.whole("float32", 0, 6).tolist() == [0] * 6


@pytest.mark.parametrize("n, most", [(0, 0), (3, 3), (4, 4), (5, 5), (8, 8), (11, 11), (12, 8), (14, 10)])
def test_two_blocks_and_a_rest_are_in_memory(n, most):
    assert in_memory(n, 4) == most


LINE = "--steps 6 --batch-size 12 --quiet"


@pytest.mark.rest("a run")
def test_one_ranks_disk_that_is_too_small_is_one_line_before_the_first_step(tmp_path):
    small = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"
    where = ("--offload", f"disk:{tmp_path}")
    result = failing("extras.storage Disk.__init__", 1, 0, small, *LINE.split(), *where)
    said = f"zero_ref: error: --offload disk:{tmp_path}: a file of 22,192 bytes cannot be made there"
    assert (result.returncode, result.stderr) == (1, f"{said} (File too large)\n"), result.stderr
    assert list(tmp_path.iterdir()) == []


@linux
@pytest.mark.rest("runs", every=2)
@pytest.mark.parametrize(
    "call, where, reason",
    [
        ("write", "/dev/full", "No space left on device"),
        ("read", "/dev/null", "the file is shorter than it was made"),
    ],
)
def test_a_disk_that_fails_ends_all_with_one_line_and_no_checkpoint_is_lost(call, where, reason, tmp_path):
    """Rank 1 of 3, in its fifth step: a step has two moves for each of 3 units."""
    broken = f"args[0].file = open({where!r}, 'r+b', buffering=0)"
    (tmp_path / "state").mkdir()
    saved = ("--save", str(tmp_path / "saved"), "--save-every", "2")
    away = ("--offload", f"disk:{tmp_path}/state")
    number = 2 * 3 * 4  # read and written are m and v: two calls a unit and step
    result = failing(f"extras.storage Disk.{call}", 1, number, broken, *LINE.split(), *saved, *away)
    lines = result.stderr.splitlines()
    said = f"[rank 1] --offload disk:{tmp_path}/state: {reason}"
    assert result.returncode != 0 and lines[:2] == ["[rank 1] failed, and all ranks end:", said], lines
    assert "Traceback" not in result.stderr
    assert list((tmp_path / "state").iterdir()) == []
    names = [path.name for path in (tmp_path / "saved").iterdir() if not path.name.startswith(".")]
    assert {"step-00000002", "step-00000004"} <= set(names)
    ends = {}
    for name, line in {"whole": LINE, "on": f"--quiet --resume {tmp_path}/saved/step-00000004"}.items():
        record = tmp_path / f"{name}.json"
        assert mpirun(3, "-m", "zero_ref.train", *line.split(), "--record", str(record)).returncode == 0
        ends[name] = json.loads(record.read_text())["weights_sha256"]
    assert ends["whole"] == ends["on"]


@pytest.mark.rest("runs")
def test_a_killed_run_leaves_no_file_and_a_removed_folder_stops_none(tmp_path):
    (tmp_path / "state").mkdir()
    away = ("--offload", f"disk:{tmp_path}/state")
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    result = failing("extras.storage Disk.write", 1, 9, kill, *LINE.split(), *away)
    assert result.returncode != 0 and list((tmp_path / "state").iterdir()) == []
    remove = "import os; os.rmdir(args[0].folder)"
    result = failing("extras.storage Disk.write", 1, 9, remove, *LINE.split(), *away)
    assert (result.returncode, result.stderr) == (0, "") and not (tmp_path / "state").exists()


@pytest.mark.rest("runs", every=2)
@pytest.mark.parametrize(
    "language, words", [("en", ("on the disk", "read/step")), ("zh", ("硬盘", "每步读"))]
)
def test_the_summary_says_where_the_state_is(language, words, tmp_path):
    line = ("--epochs", "1", "--chart", "--language", language, "--offload", f"disk:{tmp_path}")
    shards = ("--stage", "3", "--offload-shards")
    result = mpirun(2, "-m", "zero_ref.train", *line, *shards, LANG=f"{language}_XX.UTF-8")
    assert result.returncode == 0, result.stderr
    assert all(word in result.stdout for word in words), result.stdout
    psi = 17_226  # 2 ranks: 4 bytes of parameter, of gradient and of either vector, each
    assert re.search(rf"{8 * psi:,} = +{4 * psi:,} = +{4 * psi:,} = +{14 * psi:,} =", result.stdout)


@pytest.mark.rest("a dry run")
def test_a_dry_run_of_many_ranks_needs_neither_ranks_nor_folder(tmp_path):
    line = "--device meta --ranks 1024 --data synthetic --features 12288 --hidden 12288,12288 --stage 3"
    away = ("--offload", "disk:/nowhere", "--offload-shards", "--dtype", "bfloat16", "--quiet")
    record = tmp_path / "r.json"
    result = mpirun(0, "-m", "zero_ref.train", *line.split(), *away, "--record", str(record))
    assert result.returncode == 0, result.stderr
    for rank in (found := json.loads(record.read_text()))["ranks"]:
        for key, says in rank["formula"].items():
            assert {name: rank[key][name] for name in says} == says
        assert sum(rank["resting_bytes"].values()) == 0
        assert rank["away_bytes"]["disk"] == 16 * found["parameters_padded"] // 1024
