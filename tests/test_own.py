"""`--own DIR`: the trainer on somebody's own collectives and stages, here the solutions of the exercises."""

import json
import sys
import weakref
from pathlib import Path

import numpy as np
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


TELLING = [option for option in SMALL if option != "--quiet"]
DIRECT = """
import numpy as np
from zero_ref.layout import bounds


def ring_reduce_scatter(x, comm):
    ends = bounds(x.size, [1] * comm.size)
    total = x[ends[comm.rank] : ends[comm.rank + 1]].copy()
    for hop in range(1, comm.size):
        to, source = (comm.rank + hop) % comm.size, (comm.rank - hop) % comm.size
        total += comm.sendrecv(x[ends[to] : ends[to + 1]], to, source)
    return total
"""


def folder_of(tmp_path, **changes):
    """A copy of the solutions; changes: the number of one, "n06" -> (old, new), or its whole text."""
    folder = tmp_path / "own"
    folder.mkdir()
    for file in Path(OWN).glob("*.py"):
        text, change = file.read_text(), changes.get(f"n{file.name[:2]}")
        if isinstance(change, tuple):
            assert change[0] in text
            text = text.replace(*change)
        (folder / file.name).write_text(change if isinstance(change, str) else text)
    return str(folder)


def tell(ranks, folder, *more, stage="2", limit=60):
    arguments = ["-m", "zero_ref.train", *TELLING, "--own", folder, "--stage", stage, *more]
    return mpirun(ranks, *arguments, limit=limit, PYTHONPATH=PATHS)


@pytest.mark.rest("a run for each", every=4)
@pytest.mark.parametrize(("ranks", "stage"), [(3, "2"), (4, "0"), (3, "3"), (4, "1")])
def test_what_is_right_is_said_to_be_equal_and_celebrated(ranks, stage, tmp_path):
    record = tmp_path / "record.json"
    found = tell(ranks, OWN, "--record", str(record), stage=stage)
    assert (found.returncode, found.stderr) == (0, "")
    assert "equal to the reference in every bit: yes" in found.stdout and "★" in found.stdout
    assert json.loads(record.read_text())["own"] == {"equal": True, "first": None}


@pytest.mark.rest("a run for each", every=3)
@pytest.mark.parametrize(
    ("ranks", "changes", "said"),
    (
        (3, {"n06": DIRECT}, "first difference: step 1, "),
        (
            4,
            {"n12": ("u.grad.fill(0)", "u.param[:1] += u.optimizer.steps // 3\n        u.grad.fill(0)")},
            "step 3",
        ),
        (
            3,
            {"n12": ("return loss", "return loss * (1 + (units[0].optimizer.steps == 5) / 2**30)")},
            "step 5, loss",
        ),
        (
            3,
            {"n12": ("return loss, norm", "return loss, norm * (1 + (u.optimizer.steps == 5) / 2**30)")},
            "step 5, grad_norm",
        ),
        (
            3,
            {
                "n12": (
                    "u.grad.fill(0)",
                    "u.param[:1] += (comm.rank == 1) * (u.optimizer.steps == 3)\n        u.grad.fill(0)",
                )
            },
            "rank 1",
        ),
    ),
)
def test_where_the_first_difference_is(ranks, changes, said, tmp_path):
    found = tell(ranks, folder_of(tmp_path, **changes))
    shown = " ".join(found.stdout.split())  # without its lines' ends
    assert found.returncode == 0
    assert "in every bit: no; first difference" in shown and said in shown
    assert "★" not in shown


@pytest.mark.rest("a run")
def test_too_many_bytes_are_no_reason_for_joy(tmp_path):
    twice = ("    return partial", "    comm.sendrecv(x, right, left)\n    return partial")
    found = tell(3, folder_of(tmp_path, n06=twice), "--language", "zh")
    assert "逐比特相同：是" in found.stdout and "就够了" in found.stdout and "★" not in found.stdout


def test_a_deadlock_is_at_a_line_of_ones_own(tmp_path):
    two_calls = "comm.send(partial, right); arriving = comm.recv(left)"
    folder = folder_of(tmp_path, n06=("arriving = comm.sendrecv(partial, right, left)", two_calls))
    found = tell(3, folder, "--timeout", "2")
    for rank in range(3):
        place = "own/06_ring_reduce_scatter.py:9 in ring_reduce_scatter"
        assert f"it is at {place}, in comm.send(to={(rank + 1) % 3})" in found.stderr
    assert "own/12_zero2.py:" in found.stderr and "extras/" not in found.stderr


@pytest.mark.parametrize(
    ("ranks", "changes", "said"),
    (
        (3, {"n12": ("return loss", "oops")}, "own/12_zero2.py:18 in step: NameError"),
        (4, {"n07": ("return full", "return full[1:]")}, "ring_all_gather gives float32 ("),
        (3, {"n06": ("return partial", "return partial * np.ones(1)")}, "NameError"),
        (3, {"n06": ("return partial", "return partial.astype(float)")}, "gives float64"),
        (
            3,
            {"n06": ("return partial", "def half(p):\n        return p.half\n    return half(partial)")},
            "in half: AttributeError",
        ),
    ),
)
def test_an_exception_is_one_line_with_the_place_in_ones_own_file(ranks, changes, said, tmp_path):
    found = tell(ranks, folder_of(tmp_path, **changes))
    mine = [line for line in found.stderr.splitlines() if line.startswith("[rank ")]
    assert found.returncode == 1 and len(mine) == 2 and said in mine[1], found.stderr
    assert "Traceback" not in found.stderr


def test_the_line_of_a_stub_is_told(tmp_path):
    half = (
        "    return partial",
        "    if comm.size > 1:\n        raise NotImplementedError('soon')\n    return partial",
    )
    found = tell(3, folder_of(tmp_path, n06=half))
    said = "06_ring_reduce_scatter.py:13: ring_reduce_scatter is not written yet"
    assert found.returncode == 2 and said in found.stderr and found.stderr.count("\n") == 1


def test_own_does_not_go_with_what_it_would_ignore():
    for more in (["--prefetch"], ["--reduce", "ring"], ["--dtype", "float16"], ["--shard-model", "hash"]):
        found = mpirun(0, "-m", "zero_ref.train", "--own", OWN, *more)
        assert found.returncode == 2 and "--own goes with" in found.stderr


def test_to_look_where_a_rank_is_keeps_no_array_of_a_step_alive():
    """A frame whose f_locals have been read holds what was in them until it ends."""
    from zero_ref.train.watch import whereabouts

    def step():
        grad = np.zeros(9)
        alive = weakref.ref(grad)
        assert "in step" in whereabouts(sys._getframe())
        del grad
        return alive()

    assert step() is None
