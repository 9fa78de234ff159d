"""What happens when a rank is killed, stops, leaves, calls something else, or cannot write."""

import json
import mmap
import os
import re
import signal
import subprocess
import sys
import threading
import time
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from launching import ROOT, failing, mpirun
from safetensors.numpy import load_file

from zero_ref.checkpoint import find
from zero_ref.train.watch import NOTE, UNSEEN, Watch

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals as on Linux")


def lines(result):
    """stderr without what MPI and mpirun add."""
    return [line for line in result.stderr.splitlines() if not line.startswith(("Abort(", "application "))]


STEPS = ("--steps", "30")
WAITS = (
    r"\[rank {}\] waits for \d s in call 31: reduce_scatter of layers.2, 651 x float32, 2,604 bytes, step 2, "
)
WAITS += r"stages/zero3.py:\d+ in step"
NEVER = r"\[rank 1\] never came to call 31: \d s ago it was "
SILENT = r"\[rank 1\] no sign of life for \d s; it was "
ABSENT = {
    "sleeps": ("import time; time.sleep(60)", NEVER + "in .* in <module>, step 2"),
    "is stopped": ("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", SILENT),
    "leaves": ("sys.exit(0)", NEVER + "at the end of its program"),
    "computes for ever": ("while True: pass", NEVER + "in .* in <module>, step 2"),
    "makes a call that is not watched": ("__import__('zero_ref.comm').comm.Comm().sum(1.0)", NEVER + "in .*"),
}


@pytest.fixture(scope="module")
def absent(request):
    """The runs of ABSENT that were asked for, three at a time: most of it is waiting."""
    tests = [item for item in request.session.items if "does_not_come_is_named_with" in item.name]
    hows = [item.callspec.params["how"] for item in tests]

    def run(how):
        return failing("model Unit.backward", 1, 3, ABSENT[how][0], *STEPS, "--timeout", "2", limit=12)

    with ThreadPoolExecutor(3) as three:
        return {how: three.submit(run, how) for how in hows}


@pytest.mark.rest("waits", every=3)
@pytest.mark.parametrize("how", ABSENT)
def test_a_rank_that_does_not_come_is_named_with_those_who_wait(how, absent):
    told, result = ABSENT[how][1], absent[how].result()
    assert result.returncode != 0
    head, *ranks = lines(result)
    assert head == "zero_ref: error: a collective was not complete after 2 s; all ranks end"
    assert re.fullmatch(WAITS.format(0), ranks[0]) and re.fullmatch(WAITS.format(2), ranks[2]), ranks
    assert re.search(told, ranks[1]), ranks


def over_nccl(function, call, statement):
    """stderr's lines of a run on three pretended GPUs, whose rank 1 does something else."""
    options = (*STEPS, "--timeout", "2", "--device", "gpu", "--transport", "nccl")
    pretended = os.pathsep.join(str(ROOT / "tests" / name) for name in ("stacks", "pretend", ".."))
    result = failing(
        function, 1, call, statement, *options, limit=12, PYTHONPATH=pretended, ZERO_REF_PRETEND_GPUS="3"
    )
    return result, *lines(result)


def test_a_rank_that_goes_on_is_not_looked_at(monkeypatch):
    """Looking at a frame keeps what its function has deleted alive, and the ledger would count it."""
    looked, notes, calls = Watch.__new__(Watch), [], iter([5, 5, 6, 6])
    vars(looked).update(timeout=4, now_in=None, main=threading.get_ident(), ranks=[0], comm=Namespace(step=1))
    vars(looked).update(write=lambda *note: notes.append(note[2]), waits=lambda *_: False)
    monkeypatch.setattr(time, "sleep", lambda _: setattr(looked, "calls", next(calls)))
    with pytest.raises(StopIteration):
        looked.look()
    assert [UNSEEN in note for note in notes] == [True, False, True, False]


def test_a_note_is_never_read_half_written():
    """Another process writes it. Half of it would say that a rank has shown no sign of life since 1970."""
    board = Watch.__new__(Watch)
    board.board, board.slot = memoryview(mmap.mmap(-1, 2 * NOTE)), 1
    notes = {(7, 7.0, 7.0, True, "7" * 7), (-70, 70.0, 70.0, False, "70" * 70)}

    def write():
        for number, since, written, patient, text in notes:
            board.write(number, since, text, written, patient)

    write()
    parent, writer = os.getpid(), os.fork()
    if not writer:
        while os.getppid() == parent:
            write()
        os._exit(0)
    try:
        assert {board.read(1) for _ in range(100_000)} <= notes
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)


def test_who_reads_half_a_note_reads_again():
    board = Watch.__new__(Watch)
    board.board, board.slot = memoryview(bytearray(NOTE)), 0
    board.write(7, 7.0, "in a call", 7.0)
    whole = bytes(board.board)
    board.board[:8] = bytes(8)  # of the next note so far only the number of the call
    threading.Timer(0.01, lambda: board.board.__setitem__(slice(None), whole)).start()
    assert board.read(0) == (7, 7.0, 7.0, False, "in a call")


@pytest.mark.rest("waits")
def test_a_rank_that_does_not_come_to_the_start_of_nccl_is_named():
    result, head, *ranks = over_nccl("extras.nccl library", 0, "import time; time.sleep(60)")
    assert result.returncode != 0 and "was not complete after 2 s" in head
    assert "waits for" in ranks[0] and "all_gather of layers.0" in ranks[0] and len(ranks) == 3


@pytest.mark.rest("waits")
def test_over_nccl_it_is_a_number_that_the_others_wait_for():
    """Vectors are in the GPUs' hands there, and Python waits in the sum of the norm."""
    result, head, *ranks = over_nccl("model Unit.backward", 3, "import time; time.sleep(60)")
    assert result.returncode != 0 and "was not complete after 2 s" in head
    assert "sum of one number, step 2" in ranks[0] and "sum of one number, step 2" in ranks[2]
    assert ranks[1].startswith("[rank 1] never came")


@pytest.mark.rest("waits")
def test_a_slow_rank_is_not_a_fault():
    result = failing("model Unit.backward", 1, 3, "import time; time.sleep(3)", *STEPS, "--timeout", "4")
    assert result.returncode == 0 and result.stderr == ""


WAIT = "zero_ref: all wait for 2 s, and go on waiting, for rank {}, in "


@pytest.mark.rest("waits")
@pytest.mark.parametrize("stage", [0, 3])
def test_a_disk_that_is_slower_than_the_timeout_ends_no_run(stage, tmp_path):
    slow = ("checkpoint.saving to_disk", 1, 0, "import time; time.sleep(5)")
    options = ("--steps", "4", "--timeout", "2", "--save", str(tmp_path / "ck"), "--stage", str(stage))
    result = failing(*slow, *options)
    assert result.returncode == 0 and find(str(tmp_path / "ck")).name == "step-00000004"
    told = lines(result)
    assert told[0].startswith(WAIT.format(1)) and 1 <= len(told) <= 3


@pytest.mark.rest("waits")
def test_nor_does_a_slow_export_and_a_slow_check_of_a_checkpoint(tmp_path):
    slow = "import time; time.sleep(4)"
    options = ("--steps", "4", "--timeout", "2", "--save", str(tmp_path / "ck"), "--export")
    result = failing("checkpoint.weights write", 0, 0, slow, *options, str(tmp_path / "w.safetensors"))
    assert result.returncode == 0 and lines(result)[0].startswith(WAIT.format(0))
    options = ("--steps", "6", "--timeout", "2", "--resume", str(tmp_path / "ck"))
    result = failing("checkpoint Checkpoint.verify", 2, 0, slow, *options)
    assert result.returncode == 0 and lines(result)[0].startswith(WAIT.format(2))


@pytest.mark.rest("waits")
def test_a_rank_that_does_not_come_to_saving_is_named_as_anywhere(tmp_path):
    sleeps = ("checkpoint.saving save", 1, 0, "import time; time.sleep(60)")
    result = failing(*sleeps, "--steps", "4", "--timeout", "2", "--save", str(tmp_path / "ck"))
    head, *ranks = lines(result)
    assert result.returncode != 0 and "was not complete after 2 s" in head
    assert ranks[1].startswith("[rank 1] never came")


def test_a_checkpoint_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    for number in (2, 4, 6, 8, 10, 12):
        (tmp_path / f"step-{number:08d}").mkdir()
    asked = tmp_path / "step-00000007"
    result = mpirun(3, "-m", "zero_ref.train", "--resume", str(asked))
    steps = "step-00000002, step-00000004, ..., step-00000010, step-00000012"
    assert result.returncode == 2
    assert lines(result) == [
        f"zero_ref: error: --resume {asked}: No such file or directory; {tmp_path} holds {steps}"
    ]


def test_a_working_folder_that_is_gone_is_one_line(tmp_path):
    gone = f"import os, shutil; os.chdir({str(tmp_path)!r}); shutil.rmtree({str(tmp_path)!r})"
    for command in ("train.__main__", "predict", "plan.__main__", "report.__main__"):
        tmp_path.mkdir(exist_ok=True)
        program = (
            f"{gone}; from zero_ref import launch; from zero_ref.{command} import main; launch.run(main)"
        )
        result = mpirun(0, "-c", program)
        assert result.returncode == 2 and len(lines(result)) == 1, result.stderr
        assert "the working folder is gone" in result.stderr


SWAP = """
import zero_ref.stages.zero1 as stage
def step(units, comm, *others, original=stage.step):
    reduce_scatter = comm.reduce_scatter
    def swapped(full, layout):
        number = [u.layout for u in units].index(layout)
        u = units[{0: 1, 1: 0}.get(number, number)]
        return reduce_scatter(u.grad, u.layout)
    comm.reduce_scatter = swapped
    try:
        return original(units, comm, *others)
    finally:
        comm.reduce_scatter = reduce_scatter
stage.step = step
"""
SAME = ("--hidden", "64,64", "--stage", "1", "--steps", "4", "--optimizer", "sgd")  # 64 x 64 + 64, twice


def test_two_tensors_of_one_size_swapped_on_a_rank_are_told_by_the_check_alone():
    """MPI adds one to the other and says nothing."""
    silent = failing("train.run fit", 1, 0, SWAP, *SAME)
    assert silent.returncode == 0 and silent.stderr == ""
    told = failing("train.run fit", 1, 0, SWAP, *SAME, "--check")
    assert told.returncode == 1 and lines(told) == [told.stderr.strip()]
    assert re.fullmatch(
        r"zero_ref: error: step 1, call \d+: the ranks do not call the same: "
        r"rank 0, 2: reduce_scatter of layers.0, 4,161 x float32, 16,644 bytes, stages/zero1.py:\d+ in .*; "
        r"rank 1: reduce_scatter of layers.1, 4,161 x float32, 16,644 bytes, .*",
        told.stderr.strip(),
    ), told.stderr


MISMATCHES = {
    "a call too many": "args[1].sum(1.0)",
    "another type": "u = args[0][0]; args[1].all_gather(u.param.astype('f8'), u.layout)",
    "another operation": "u = args[0][0]; args[1].reduce_scatter(u.initial('buffer'), u.layout)",
    "another unit": "args[1].all_gather(args[0][1].param, args[0][1].layout)",
}


@pytest.mark.rest("a run for each", every=2)
@pytest.mark.parametrize("how", MISMATCHES)
def test_other_mismatches_are_told_at_once(how):
    """Rank 1 calls something else before its fifth step."""
    start = time.monotonic()
    result = failing("stages.zero3 step", 1, 4, MISMATCHES[how], *STEPS, "--check", "--timeout", "9")
    assert result.returncode == 1 and time.monotonic() - start < 9
    assert "the ranks do not call the same: rank 0, 2: all_gather of layers.0, 8,322" in result.stderr
    assert "; rank 1: " in result.stderr


@pytest.mark.rest("two runs")
def test_what_the_check_costs_is_printed_and_recorded(tmp_path):
    result = mpirun(3, "-m", "zero_ref.train", *STEPS, "--check", "--record", str(tmp_path / "r"))
    assert re.search(r"^check    \d+\.\d\d ms of each step$", result.stdout, re.M)
    record = json.loads((tmp_path / "r").read_text())
    assert 0 < record["check_seconds_per_step"] < record["seconds_per_step"] * 2
    assert "check" not in mpirun(3, "-m", "zero_ref.train", *STEPS).stdout


FLIPS = {  # stage, vector, place -> name
    (0, "u[1].param", 8191): "layers.1.weight",
    (0, "u[2].optimizer.v", 645): "v of layers.2.bias",
    (1, "u[0].param", 8192): "layers.0.bias",
    (2, "u[2].param", 0): "layers.2.weight",
}


@pytest.mark.rest("a run for each", every=3)
@pytest.mark.parametrize("stage, vector, place", FLIPS)
def test_a_flipped_bit_in_a_replica_is_found_and_named(stage, vector, place):
    flip = f"import numpy; u = args[1].units; {vector}.view(numpy.uint32)[{place}] ^= 1"
    line = ("--stage", str(stage), "--verify-every", "2", *STEPS)
    result = failing("train.replicas check_equal", 1, 2, flip, *line)
    assert result.returncode == 1, result.stdout + result.stderr
    name = FLIPS[stage, vector, place]
    said = f"step 6: the copies of {name} differ: on rank 1 it is not as on rank 0, 2"
    assert result.stderr == f"zero_ref: error: {said}\n"


@pytest.mark.rest("a run for each stage")
def test_replicas_of_a_good_run_are_equal_at_every_stage():
    for stage in range(4):
        line = ("--stage", str(stage), "--verify-every", "1", "--dtype", "float16", "--shard-model", "hash")
        assert mpirun(3, "-m", "zero_ref.train", *STEPS, *line).returncode == 0


def test_a_loss_scale_that_one_rank_has_alone_is_found():
    spoil = "args[1].guard.scale *= 2"
    line = ("--verify-every", "2", "--dtype", "float16")
    result = failing("train.replicas check_equal", 2, 3, spoil, *STEPS, *line)
    assert "step 8: the copies of the loss scale differ: on rank 2 it is not" in result.stderr


@LINUX
@pytest.mark.rest("a run for each", every=2)
@pytest.mark.parametrize("number", (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV))
def test_a_killed_rank_ends_all_within_seconds(number):
    start = time.monotonic()
    statement = f"import os; os.kill(os.getpid(), {int(number)})"
    result = failing("model Unit.backward", 1, 3, statement, *STEPS)
    assert result.returncode != 0 and time.monotonic() - start < 10
    assert (result.stdout + result.stderr).count("TERMINATED WITH THE EXIT STRING") == 1  # mpirun's


@LINUX
@pytest.mark.parametrize("all_processes", (True, False))
@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
def test_ctrl_c_ends_all_within_seconds(number, all_processes, tmp_path):
    process = subprocess.Popen(
        ["mpirun", "-n", "3", sys.executable, "-m", "zero_ref.train", "--steps", "1000000",
         "--save", str(tmp_path / "c"), "--save-every", "1", "--keep", "1"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        end = time.monotonic() + 30
        while not list(tmp_path.glob("c/step-*[0-9]")) and time.monotonic() < end:
            time.sleep(0.05)
        start = time.monotonic()
        (os.killpg if all_processes else os.kill)(process.pid, number)
        err = process.communicate(timeout=10)[1]
    finally:
        process.kill()
    assert process.returncode != 0 and time.monotonic() - start < 10
    if number == signal.SIGINT:
        assert err.count("interrupted") == 1 and "Traceback" not in err
    time.sleep(0.5)
    assert not subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True).stdout
    assert find(str(tmp_path / "c"))


def test_nobody_else_waits_when_a_run_of_one_process_is_interrupted():
    statement = "raise KeyboardInterrupt"
    result = failing("model Unit.backward", 0, 3, statement, *STEPS, ranks=0)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "zero_ref: interrupted\n")


def test_an_interrupt_within_a_finalizer_is_not_lost():
    program = """
import time, weakref
from zero_ref import launch

class Something: pass

def interrupted():
    raise KeyboardInterrupt

def main():
    weakref.finalize(Something(), interrupted)  # dies at once
    time.sleep(20)

launch.run(main)
"""
    result = mpirun(0, "-c", program, limit=10)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "zero_ref: interrupted\n")


def test_lines_of_ranks_do_not_mix_even_without_buffers():
    program = "from zero_ref import launch; from mpi4py import MPI\nr = MPI.COMM_WORLD.rank\n"
    program += "for i in range(300): launch.say(f'{r} ' + 'x' * 60 + f' {i}')"
    result = mpirun(4, "-c", program, PYTHONUNBUFFERED="1")
    assert len(result.stdout.splitlines()) == 1200
    assert all(re.fullmatch(r"\d x{60} \d+", line) for line in result.stdout.splitlines())


def test_a_loss_that_is_not_finite_is_traced_to_its_rank():
    result = failing("model Unit.forward", 2, 2, "args[2][0, 0] = float('nan')", *STEPS)
    assert result.returncode == 1
    assert re.search(r"step 1: the gradient is not finite, first in .*; the loss is not finite on rank 2$",
                     result.stderr.strip())  # fmt: skip


# Checkpoints of real runs.

TWENTY = ("--steps", "20", "--quiet")


def weights_of(tmp_path, *line, ranks=3):
    record = tmp_path / "record.json"
    result = mpirun(ranks, "-m", "zero_ref.train", *line, "--record", str(record))
    assert result.returncode == 0, result.stderr
    return json.loads(record.read_text())["weights_sha256"]


@pytest.mark.rest("runs for each", every=2)
@pytest.mark.parametrize("function, call", [("originals own_elements", 4), ("saving to_disk", 1)])
def test_a_rank_killed_while_saving_costs_the_steps_since_the_last_checkpoint(function, call, tmp_path):
    folder = str(tmp_path / "c")
    expected = weights_of(tmp_path, *TWENTY)
    saves = ("--save", folder, "--save-every", "6")
    kill = "import os; os.kill(os.getpid(), 9)"
    result = failing(f"checkpoint.{function}", 1, call, kill, *TWENTY, *saves)
    assert result.returncode != 0
    owner, last, half = sorted(os.listdir(folder))
    assert (owner, last) == (".owner", "step-00000006")
    assert re.fullmatch(r"step-00000012\.[0-9a-f]+\.part", half)
    again = weights_of(tmp_path, "--resume", "latest", "--quiet", *saves)
    assert again == expected
    assert sorted(os.listdir(folder)) == ["step-00000006", "step-00000012", "step-00000018", "step-00000020"]


@pytest.mark.rest("a run for each", every=2)
@pytest.mark.parametrize("rank", (0, 2))
def test_a_full_disk_ends_the_run_in_one_line_and_leaves_the_last(rank, tmp_path):
    folder = tmp_path / "c"
    full = "raise OSError(28, 'No space left on device')"
    saves = ("--save", str(folder), "--save-every", "6")
    result = failing("checkpoint.saving to_disk", rank, {0: 4, 2: 1}[rank], full, *TWENTY, *saves)
    assert result.returncode == 1
    assert result.stderr == (
        f"zero_ref: error: --save {folder}: step 12: rank {rank}: [Errno 28] No space left on device\n"
    )
    assert os.listdir(folder) == ["step-00000006"]


@pytest.mark.rest("a dozen runs")
def test_more_ranks_take_up_what_fewer_wrote_and_export_and_predict_agree(tmp_path):
    folder, model = tmp_path / "c", tmp_path / "m.safetensors"
    trained = ("--save", str(folder), "--export", str(model), "--test-fraction", "0", "--data", "digits")
    assert mpirun(4, "-m", "zero_ref.train", *TWENTY, *trained).returncode == 0
    exported = tmp_path / "e.safetensors"
    done = mpirun(0, "-m", "zero_ref.checkpoint", "export", str(folder), str(exported))
    assert done.returncode == 0, done.stderr
    first, second = load_file(model), load_file(exported)
    assert first.keys() == second.keys() and all(np.array_equal(first[n], second[n]) for n in first)
    outputs = []
    for ranks in (0, 1, 3, 5):
        out = tmp_path / f"{ranks}.csv"
        done = mpirun(
            ranks,
            "-m",
            "zero_ref.predict",
            "--checkpoint",
            str(folder),
            "--data",
            "digits",
            "--output",
            str(out),
            OPENBLAS_NUM_THREADS="1",  # two threads round in another way
        )
        assert done.returncode == 0 and "accuracy 0." in done.stdout, done.stderr
        outputs.append(out.read_text())
    assert len(set(outputs)) == 1 and outputs[0].count("\n") == 1798
    for ranks, stage in ((2, 0), (5, 2), (1, 3)):
        again = ("--resume", str(folder), "--stage", str(stage), "--steps", "21", "--quiet")
        assert mpirun(ranks, "-m", "zero_ref.train", *again).returncode == 0


BAD = {
    "train --save-every 3": "need --save",
    "train --resume nowhere": "nowhere",
    "train --resume latest": "--save",
    "train --save c --steps 3": "holds step-00000003 of another run",
    "train --resume c": "has done 3 steps, and the run ends after 3",
    "train --resume c --hidden 5": "--hidden cannot change",
    "train --resume c --data other.npz --steps 9": "other.npz",
    "train --resume damaged --steps 9": "rank-00001.safetensors is damaged",
    "train --save c/step-00000003/manifest.json": "manifest.json",
    "predict --checkpoint damaged --data digits": "rank-00001.safetensors is damaged",
    "predict --checkpoint c --data diabetes": "10 features, the model needs 64",
    "predict --checkpoint c": "--data",
    "predict --checkpoint c --data digits --output x.txt": "FILE.csv or FILE.npz",
    "predict --checkpoint c --data digits --output nowhere/x.csv": "cannot be written",
    "predict --checkpoint c --data digits --output c/step-00000003/x.csv": "another file of this run",
    "checkpoint inspect damaged": "rank-00001.safetensors is damaged",
    "checkpoint inspect nowhere": "nowhere",
    "checkpoint export c nowhere/x": "nowhere",
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A folder with a good checkpoint, a damaged one, and data."""
    folder = tmp_path_factory.mktemp("places")
    for name in ("c", "damaged"):
        line = ("--steps", "3", "--quiet", "--save", name)
        assert mpirun(3, "-m", "zero_ref.train", *line, cwd=folder).returncode == 0
    file = folder / "damaged" / "step-00000003" / "rank-00001.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 16
    file.write_bytes(data)
    np.savez(folder / "other.npz", x=np.ones((30, 64), "f4"), y=np.arange(30) % 10)
    return folder


@pytest.mark.rest("a run for each", every=6)
@pytest.mark.parametrize("line", BAD)
def test_bad_input_is_one_line_printed_once_and_code_2(line, places):
    program, *options = line.split()
    ranks = 0 if program == "checkpoint" else 3
    result = mpirun(ranks, "-m", f"zero_ref.{program}", *options, cwd=places, limit=20)
    assert result.returncode == 2
    assert result.stdout == "" and result.stderr.count("\n") == 1, result.stdout + result.stderr
    assert BAD[line] in result.stderr and result.stderr.startswith("zero_ref: error:")


def test_inspect_prints_what_is_inside(places):
    result = mpirun(0, "-m", "zero_ref.checkpoint", "inspect", "c", cwd=places)
    assert result.returncode == 0 and "complete, every SHA-256 is right" in result.stdout
    assert "17,226 parameters in 3 units" in result.stdout
