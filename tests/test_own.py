"""`--own DIR`: the trainer on somebody's own collectives and stages, here the solutions of the exercises."""

import json
from pathlib import Path

import pytest
from launching import ROOT, mpirun

OWN = str(ROOT / "tests" / "answers")
PATHS = f"{ROOT}:{ROOT / 'lessons' / 'exercises'}"
SMALL = ["--quiet", "--steps", "12", "--hidden", "9,5", "--batch-size", "21", "--data", "synthetic"]
SMALL += ["--samples", "99", "--features", "12", "--classes", "3", "--clip-norm", "1"]


def train(tmp_path, *more):
    record = tmp_path / "record.json"
    found = mpirun(3, "-m", "zero_ref.train", *SMALL, *more, "--record", str(record), PYTHONPATH=PATHS)
    assert (found.returncode, found.stderr) == (0, "")
    return json.loads(record.read_text())


@pytest.mark.rest("two runs for each", every=4)
@pytest.mark.parametrize("stage", "3210")
def test_own_stages_on_own_rings_train_as_ours_do(stage, tmp_path):
    """Equal bits, bytes held and bytes sent; the micro-batches make stages differ in what they send."""
    options = ["--stage", stage, "--micro-batches", "3"]
    ours = train(tmp_path, *options, "--reduce", "ring")
    own = train(tmp_path, *options, "--own", OWN, "--report", str(tmp_path / "page.html"))
    assert own["weights_sha256"] == ours["weights_sha256"] and own["loss"] == ours["loss"]
    for mine, theirs in zip(own["ranks"], ours["ranks"]):
        assert mine["resting_bytes"] == theirs["resting_bytes"]
        assert mine["sent_bytes_per_step"] == theirs["sent_bytes_per_step"]
        for name in ("resting_bytes", "peak_bytes", "peak_total_bytes", "calls_per_step"):
            assert mine[name] == mine["predicted"][name], "a dry run follows somebody's own stage, too"
    assert own["recorded_step"]["file"].startswith({"0": "08", "1": "11", "2": "12", "3": "13"}[stage])
    assert "page" in (tmp_path / "page.html").name and (tmp_path / "page.html").stat().st_size > 10_000


def test_what_is_really_sent_is_booked(tmp_path):
    """A ring that sends everything once more is right in bits, and not equal to the formula."""
    folder = tmp_path / "own"
    folder.mkdir()
    for number in ("06", "07", "12"):
        (file,) = Path(OWN).glob(f"{number}_*.py")
        text = file.read_text()
        if number == "06":
            text = text.replace("    return partial", "    comm.sendrecv(x, right, left)\n    return partial")
        (folder / file.name).write_text(text)
    ours, own = (
        train(tmp_path, "--stage", "2", "--reduce", "ring"),
        train(tmp_path, "--stage", "2", "--own", str(folder)),
    )
    assert own["weights_sha256"] == ours["weights_sha256"]
    for mine, theirs in zip(own["ranks"], ours["ranks"]):
        sent, right = (sum(rank["sent_bytes_per_step"].values()) for rank in (mine, theirs))
        assert sent > right and right == sum(mine["predicted"]["sent_bytes_per_step"].values())


@pytest.mark.parametrize(
    ("files", "said"),
    (
        ({}, "it has 0 files 06_*.py"),
        ({"06_a.py": "def f(:"}, "SyntaxError"),
        ({"06_a.py": "ring_reduce_scatter = 3", "07_a.py": ""}, "there is no function ring_reduce_scatter"),
        (
            {
                "06_a.py": "def ring_reduce_scatter(x, comm):\n    'x'\n    raise NotImplementedError\n",
                "07_a.py": "",
            },
            "ring_reduce_scatter is not written yet",
        ),
    ),
)
def test_a_folder_that_is_not_one_is_one_clear_line(files, said, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = mpirun(3, "-m", "zero_ref.train", "--own", str(tmp_path), "--steps", "1", limit=30)
    assert found.returncode == 2 and said in found.stderr and found.stderr.count("\n") == 1


def test_own_does_not_go_with_what_it_would_ignore():
    for more in (["--prefetch"], ["--reduce", "ring"], ["--dtype", "float16"], ["--shard-model", "hash"]):
        found = mpirun(0, "-m", "zero_ref.train", "--own", OWN, *more)
        assert found.returncode == 2 and "--own goes with" in found.stderr
