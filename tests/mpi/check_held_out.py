"""--eval-every: what is found on the way is what a shorter run finds, training notices nothing of it, and the
best is kept."""

import os
import shutil

import pytest
from check_saving import LINE, contents, folder, run  # noqa: F401

from zero_ref.checkpoint import Checkpoint, best, complete, saving
from zero_ref.comm import Comm
from zero_ref.launch import UsageError
from zero_ref.train import held_out
from zero_ref.train import run as training

MEASURED = ("resting_bytes", "peak_bytes", "peak_total_bytes", "sent_bytes_per_step", "calls_per_step")
ADAM, SGD = "--optimizer adamw", "--optimizer sgd --momentum 0.9 --lr 0.1 --dtype float64 --shard-model hash"


def found_in(path):
    """Names and losses of the checkpoints in DIR/best."""
    return {p.name: Checkpoint(p).manifest.held_out for p in complete(path / "best")}


def forget(path):
    """As if the run had been killed before this checkpoint."""
    world = Comm()
    world.everyone(None)
    if world.rank == 0:
        shutil.rmtree(path)
    world.everyone(None)


@pytest.fixture
def scripted(monkeypatch):
    """Losses that --eval-every finds, one after another; then those of the test at the end."""

    def script(*losses):
        left = iter([*losses, *[9.0] * 9])
        for module in (training, held_out):  # at the end, and on the way
            monkeypatch.setattr(module, "evaluate", lambda *_: {"loss": next(left), "accuracy": 0.5})

    return script


@pytest.mark.parametrize("stage, more, every", [(0, ADAM, 3), (1, SGD, 1), (2, ADAM, 1), (3, SGD, 3)])
def test_training_notices_nothing(stage, more, every, folder):  # noqa: F811
    # The samples held out go in larger batches than those of a rank's step: all of them at once.
    line = f"{LINE} {more} --data {folder}/data.npz --stage {stage} --micro-batches 4"
    plain, looked = run(line), run(line, f"--eval-every {every} --save {folder}/c")
    for name in ("weights_sha256", "loss", "grad_norm", "test"):
        assert plain[name] == looked[name], name
    for a, b in zip(plain["ranks"], looked["ranks"]):
        assert {name: a[name] for name in MEASURED} == {name: b[name] for name in MEASURED}
        assert {name: b[name] for name in MEASURED} == {name: b["predicted"][name] for name in MEASURED}
    assert [row[0] for row in looked["held_out"]] == sorted({*range(every, 9, every), 8})
    assert looked["held_out"][-1][1:] == list(looked["test"].values())
    assert (plain["held_out"], plain["best"]) == ([], None)


def test_what_is_found_is_what_a_shorter_run_finds(folder):  # noqa: F811
    line = f"{LINE} {SGD} --data {folder}/data.npz"
    looked = run(line, "--eval-every 3")
    for step, *scores in looked["held_out"]:
        assert run(line, f"--steps {step}")["test"] == dict(zip(("loss", "accuracy"), scores))


def test_the_best_is_kept_whatever_is_deleted(folder, scripted):  # noqa: F811
    line = f"{LINE} {ADAM} --data {folder}/data.npz --stage 2 --save {folder}/c"
    scripted(3.0, 1.0, 2.0, 1.0)
    looked = run(line, "--eval-every 2 --save-every 4 --keep 1")
    assert [row[:2] for row in looked["held_out"]] == [[2, 3.0], [4, 1.0], [6, 2.0], [8, 1.0]]
    assert looked["best"] == (1.0, 4)
    assert sorted(os.listdir(folder / "c")) == ["best", "step-00000008"]
    assert found_in(folder / "c") == {"step-00000004": 1.0}
    short = run(line.replace(f"{folder}/c", f"{folder}/short"), "--steps 4")
    assert short["loss"] == looked["loss"][:4]
    best_of, of_short = folder / "c/best/step-00000004", folder / "short/step-00000004"
    assert contents(best_of) == contents(of_short)
    end = run("--quiet --steps 8", resume=folder / "c/best")
    assert end["weights_sha256"] == looked["weights_sha256"]


def test_a_resumed_run_remembers_the_best(folder, scripted):  # noqa: F811
    line = f"{LINE} {ADAM} --data {folder}/data.npz --save {folder}/c"
    scripted(3.0, 2.0, 1.0)
    run(line, "--eval-every 2 --save-every 4 --steps 6")
    assert found_in(folder / "c") == {"step-00000006": 1.0}
    forget(folder / "c/step-00000006")
    again = f"--quiet --eval-every 2 --save {folder}/c --keep 1"
    scripted(1.2, 1.5)
    end = run(again, "--steps 8", resume=folder / "c")
    assert end["best"] == (1.0, 6) and found_in(folder / "c") == {"step-00000006": 1.0}
    assert [row[0] for row in end["held_out"]] == [6, 8]


def test_a_step_that_is_made_once_more_takes_the_place_of_what_it_was(folder, scripted):  # noqa: F811
    line = f"{LINE} {ADAM} --data {folder}/data.npz --save {folder}/c --eval-every 3"
    scripted(3.0, 1.0)
    run(line, "--save-every 3 --steps 6")
    forget(folder / "c/step-00000006")
    scripted(0.5, 0.75)
    end = run(f"--quiet --eval-every 3 --save {folder}/c --steps 9", resume=folder / "c")
    assert end["best"] == (0.5, 6) and found_in(folder / "c") == {"step-00000006": 0.5}


def test_a_loss_that_is_no_number_is_not_the_best(folder, scripted):  # noqa: F811
    scripted(float("nan"), 2.0, float("nan"))
    looked = run(f"{LINE} {ADAM} --data {folder}/data.npz --eval-every 3 --save {folder}/c")
    assert looked["best"] == (2.0, 6)


def test_the_best_of_another_run_is_not_taken_for_ours(folder, scripted):  # noqa: F811
    scripted(3.0)
    line = f"{LINE} {ADAM} --data {folder}/data.npz"
    run(line, f"--save {folder}/c --eval-every 2 --steps 2")
    run(line.replace("7,5", "9"), f"--save {folder}/d --steps 2")
    forget(folder / "c/step-00000002")
    with pytest.raises(UsageError, match="holds best/step-00000002 of another run"):
        run(f"--quiet --save {folder}/c --eval-every 2 --steps 4", resume=folder / "d")
    with pytest.raises(UsageError, match="holds best/step-00000002 of another run"):
        run(line, f"--save {folder}/c")
    assert saving.open_latest(str(folder / "c"), Comm()).folder.parent.name == "best"
    assert best.find(str(folder / "nowhere"), Checkpoint(folder / "d/step-00000002").manifest) is None


def test_nothing_held_out_is_one_line(folder):  # noqa: F811
    with pytest.raises(UsageError, match=r"--eval-every: --test-fraction 0\.0 holds no"):
        run(f"{LINE} --data {folder}/data.npz --test-fraction 0 --eval-every 2")
