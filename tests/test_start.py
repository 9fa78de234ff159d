"""A rank that never comes to MPI's start: the others end, and name it."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from launching import ROOT, mpirun

from zero_ref.launch import start

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="names of sockets as on Linux")
COMMAND = """
import os, sys, time
rank = int(os.environ["PMI_RANK"])
import zero_ref
from zero_ref import launch
def main():
    if rank == {rank}: {statement}
    import importlib
    importlib.import_module("zero_ref.{command}").main(sys.argv[1:])
launch.run(main)
"""
TRAIN = ("--quiet", "--steps", "2")


def run(rank, statement, *options, command="train.__main__", ranks=3, **keywords):
    program = COMMAND.format(rank=rank, statement=statement, command=command)
    return mpirun(ranks, "-c", program, *options, limit=30, **keywords)


def errors(result):
    """stderr without what mpirun adds."""
    return [line for line in result.stderr.splitlines() if line.startswith("zero_ref")]


@LINUX
@pytest.mark.rest("one of two", every=2)
@pytest.mark.parametrize("rank", [0, 2])
def test_a_wrong_option_on_one_rank_ends_all_with_its_words(rank):
    found = run(rank, "sys.argv += ['--stage', '9']", *TRAIN)  # the others would wait for 60 s
    assert found.returncode == 2
    told = [line for line in errors(found) if f"rank {rank} ended before MPI started" in line]
    assert len(told) == 1 and "--stage: invalid choice: 9" in told[0]


@LINUX
def test_one_rank_has_the_word_also_where_all_wake_at_once():
    at_once = "from zero_ref.launch import start\nstart.min = lambda *_: 0.0\n" + COMMAND
    program = at_once.format(rank=4, statement="sys.exit('no')", command="train.__main__")
    found = mpirun(5, "-c", program, *TRAIN, limit=30)
    assert errors(found) == ["zero_ref: error: rank 4 ended before MPI started"]


@pytest.mark.parametrize("ranks", [0, 3])
def test_without_mpi4py_there_is_one_line(ranks):
    missing = "import sys; sys.modules['mpi4py'] = None; from zero_ref import launch\n"
    for command in ("train.__main__", "predict"):
        program = missing + f"from zero_ref.{command} import main; launch.run(main)"
        found = mpirun(
            ranks, "-c", program, *(("--checkpoint", "x", "--data", "digits")[: 4 * ("pre" in command)])
        )
        assert found.returncode == 1 and "Traceback" not in found.stderr
        assert len(errors(found)) == 1 and "mpi4py cannot be loaded" in errors(found)[0]


@LINUX
def test_a_rank_that_fails_to_import_ends_all_at_once():
    found = run(1, "raise ImportError('this node lacks it')", *TRAIN)
    assert found.returncode == 1
    assert errors(found) == ["zero_ref: error: rank 1 ended before MPI started"]
    assert "this node lacks it" in found.stderr  # its own traceback


@LINUX
@pytest.mark.rest("waits", every=3)
@pytest.mark.parametrize(
    "statement",
    ["time.sleep(60)", "os._exit(0)", "os.kill(os.getpid(), 19)"],
    ids=["sleeps", "leaves", "is stopped"],
)
def test_ranks_that_do_not_come_are_named_within_the_timeout(statement):
    found = run(1, statement, *TRAIN, "--timeout", "2")
    assert found.returncode != 0
    assert errors(found) == ["zero_ref: error: MPI did not start within 2 s: rank 1 has not come"]


@pytest.mark.rest("waits")
@LINUX
def test_predict_watches_its_start_too():
    line = ("--checkpoint", "nowhere", "--data", "digits", "--timeout", "2")
    found = run(0, "time.sleep(60)", *line, command="predict")
    assert errors(found) == ["zero_ref: error: MPI did not start within 2 s: rank 0 has not come"]


@LINUX
def test_so_does_calibrate(tmp_path):
    line = ("--calibrate", str(tmp_path / "m.json"))
    found = run(1, "sys.exit('no')", *line, command="plan.__main__")
    assert errors(found)[-1:] == ["zero_ref: error: rank 1 ended before MPI started"]


@LINUX
def test_an_interrupt_while_one_has_not_come_ends_all(tmp_path):
    program = COMMAND.format(rank=1, statement="signal_is_ignored()", command="train.__main__")
    program = "import signal\ndef signal_is_ignored():\n    signal.signal(2, 1); time.sleep(60)\n" + program
    command = ["mpirun", "-n", "3", sys.executable, "-c", program, "--steps", "2"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            wait_for_start(process.pid)
            os.killpg(process.pid, signal.SIGINT)
            _, told = process.communicate(timeout=15)
        finally:
            with pytest.raises(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
                time.sleep(0.5)
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0
    assert "zero_ref: error: interrupted: rank 1 has not come" in told.splitlines()


def parent_of(pid):
    """The process that started it; None if it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def wait_for_start(mpirun_pid):
    """Until ranks 0 and 2 of this mpirun wait for MPI: their names are among the sockets of this machine."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with open("/proc/net/unix") as file:
            launchers = re.findall(r"@zero_ref/\d+/(\d+)/\d+/start", file.read())
        if sum(mpirun_pid in (int(pid), parent_of(pid)) for pid in launchers) == 2:
            return
        time.sleep(0.1)
    raise AssertionError("they never came")


@pytest.mark.rest("waits")
def test_a_rank_that_comes_late_is_waited_for(tmp_path):
    record = tmp_path / "r.json"
    found = run(1, "time.sleep(3)", *TRAIN, "--timeout", "20", "--record", str(record))
    assert found.returncode == 0, found.stderr
    assert json.loads(record.read_text())["first_step"] == 0


@pytest.mark.rest("waits")
def test_where_there_are_no_such_sockets_it_is_still_ended():
    elsewhere = COMMAND.replace("import zero_ref\n", "sys.platform = 'elsewhere'\nimport zero_ref\n", 1)
    program = elsewhere.format(rank=1, statement="time.sleep(60)", command="train.__main__")
    found = mpirun(3, "-c", program, *TRAIN, "--timeout", "2", limit=30)
    assert errors(found) == ["zero_ref: error: MPI did not start within 2 s: not all ranks have come"]


def test_it_is_mpi_as_mpi4py_starts_it():
    """Threads, errors that are exceptions, also of other communicators, and an end that is MPI's own."""
    program = """
from zero_ref.launch.start import start_mpi
MPI = start_mpi(20.0)
import mpi4py, threading
assert MPI.Query_thread() == MPI.THREAD_MULTIPLE and start_mpi(1.0) is MPI
assert mpi4py.rc.finalize and not MPI.Is_finalized() and threading.active_count() == 1
from zero_ref.launch import start
assert start._post is None or start._post.inbox is start._post.here is None
for comm in (MPI.COMM_WORLD, MPI.COMM_SELF, MPI.COMM_WORLD.Dup()):
    try:
        comm.Send(b"x", dest=99)
    except MPI.Exception:
        continue
    raise SystemExit("no exception")
"""
    for ranks in (0, 3):
        found = mpirun(ranks, "-c", program, limit=20)
        assert found.returncode == 0, found.stderr


@pytest.fixture
def post(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "3")
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("MPI_LOCALNRANKS", "2")
    made = start.Post()
    made.inbox.setblocking(False)  # a message that is not there is an error
    yield made
    made.leave()


@LINUX
def test_a_program_that_a_rank_starts_is_not_taken_for_it(post, monkeypatch):
    again = start.Post()
    assert post.inbox and again.inbox is None
    monkeypatch.setenv("PMI_RANK", "2")
    other = start.Post()
    other.inbox.setblocking(False)
    monkeypatch.setattr(post, "owner", 1)  # a fork of the rank
    post.tell_others()
    with pytest.raises(BlockingIOError):  # nothing has come
        other.read()
    other.leave()


@LINUX
def test_last_words_come_whole_and_from_this_user_alone(post, monkeypatch):
    monkeypatch.setenv("PMI_RANK", "2")
    other = start.Post()
    monkeypatch.setattr(start, "last_words", [2, "x" * 10_000])
    other.tell_others()
    assert post.read() == (2, 2, "x" * 1000)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for text in (b"\xff", b"[]", b'{"a": 1}', b'[1, 2, "three", 4]', b""):
            sender.sendto(text, post.name(1, ""))
            assert post.read() is None
    other.leave()


@LINUX
def test_last_words_reach_who_comes_a_moment_later(post, monkeypatch):
    monkeypatch.setenv("PMI_RANK", "2")
    monkeypatch.setattr(start, "last_words", [1, ""])
    thread = threading.Thread(target=post.tell_others)
    thread.start()
    time.sleep(0.3)
    other = start.Post()
    thread.join()
    other.inbox.setblocking(False)
    assert other.read() == (1, 1, "")
    start_of_wait = time.monotonic()
    other.tell_others()  # who has ended has told it, and is not waited for
    assert time.monotonic() - start_of_wait < start.PATIENCE
    other.leave()


@LINUX
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be two users")
def test_another_user_cannot_end_a_run(post):
    sender = os.fork()
    if not sender:
        os.setuid(65534)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mine:
            mine.sendto(b'[2, 1, "a lie"]', post.name(1, ""))
        os._exit(0)
    os.waitpid(sender, 0)
    assert post.read() is None
