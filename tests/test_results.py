"""What a run writes, whatever shells, links, devices and other runs do to it."""

import argparse
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from launching import ROOT, mpirun
from safetensors.numpy import load_file, save_file

from zero_ref import launch
from zero_ref.checkpoint import decode, encode, owner
from zero_ref.launch import CleanEnd, UsageError, files, printable, show_names
from zero_ref.launch.files import check_readable, check_writable, in_one_piece, replacing
from zero_ref.launch.together import each_apart
from zero_ref.train.options import lasting
from zero_ref.train.options import parse as options_of

TRAIN = ("-m", "zero_ref.train", "--model", "linear", "--steps", "3")
ROOT_ONLY = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="makes a device")
NOT_ROOT = pytest.mark.skipif(os.name != "nt" and os.geteuid() == 0, reason="root may read all")


def put(path, text="new"):
    with in_one_piece(str(path), "--record") as part:
        Path(part).write_text(text)


def one_line(result, code):
    """The error, once it is sure that it is one line and nothing else was said."""
    assert result.returncode == code, result.stdout + result.stderr
    assert result.stderr.startswith("zero_ref: error: ") and result.stderr.count("\n") == 1, result.stderr
    return result.stderr


# A file takes the place of a regular file, and of nothing else.


def test_a_file_is_replaced_as_a_whole_and_nothing_else_is_touched(tmp_path):
    mine = tmp_path / "r.json.part"
    mine.write_text("mine")
    (tmp_path / "r.json").write_text("old")
    with (
        pytest.raises(UsageError, match="No space"),
        in_one_piece(str(tmp_path / "r.json"), "--record") as part,
    ):
        Path(part).write_text("half")
        raise OSError(28, "No space left on device")
    assert (tmp_path / "r.json").read_text() == "old"
    with pytest.raises(KeyboardInterrupt), in_one_piece(str(tmp_path / "r.json"), "--record") as part:
        raise KeyboardInterrupt
    put(tmp_path / "r.json")
    assert (tmp_path / "r.json").read_text() == "new" and mine.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["r.json", "r.json.part"]


def test_a_planted_link_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "victim").write_text("precious")
    monkeypatch.setattr("secrets.token_hex", lambda n: "0")  # somebody who can foretell names
    owner = f"{files.this_machine()}-{os.getpid()}-{files.start_of(os.getpid())}"
    for name in (f".zero_ref-{owner}-0.part", "r.json.part"):
        (tmp_path / name).symlink_to("victim")
    with pytest.raises(UsageError, match="File exists"):
        put(tmp_path / "r.json")
    assert (tmp_path / "victim").read_text() == "precious" and (
        tmp_path / f".zero_ref-{owner}-0.part"
    ).is_symlink()


def test_the_target_of_a_link_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/r.json")
    for text in ("first", "second"):  # first it hangs in the air
        put(tmp_path / "link", text)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "there" / "r.json").read_text() == text
    assert os.listdir(tmp_path / "there") == ["r.json"]


@ROOT_ONLY
def test_a_device_is_written_to_and_stays(tmp_path):
    os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    null = str(tmp_path / "null")
    check_writable({"--record": null, "--export": null})
    names = ("--record", "--export", "--report", "--trace")
    result = mpirun(2, *TRAIN, "--quiet", *(word for name in names for word in (name, null)))
    assert result.returncode == 0, result.stderr
    assert stat.S_ISCHR(os.stat(null).st_mode) and os.listdir(tmp_path) == ["null"]


def test_a_pipe_is_written_to_and_one_that_nobody_reads_is_an_error(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it is waited for"))
    signal.alarm(10)  # an opened pipe waits for ever
    with pytest.raises(UsageError, match=r"--record .*No such device"):
        put(pipe)
    signal.alarm(0)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    time.sleep(0.3)
    put(pipe, "x" * 50_000)
    assert len(reader.communicate(timeout=9)[0]) == 50_000 and stat.S_ISFIFO(os.stat(pipe).st_mode)


def test_what_stdout_is_already_is_added_to(tmp_path):
    program = "from zero_ref.launch.files import replacing; import os\nos.write(1, b'before ')\n"
    program += "with replacing('/dev/stdout') as part: open(part, 'w').write('whole ')\nos.write(1, b'after')"
    with open(tmp_path / "out", "ab") as out:
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "before whole after"


@pytest.mark.parametrize("mask", (0o022, 0o077, 0o002))
def test_files_have_the_mode_that_umask_says(tmp_path, mask):
    before = os.umask(mask)
    try:
        with replacing(tmp_path / "m") as part:
            save_file({"a": np.ones(3)}, part)
        put(tmp_path / "r")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("m", "r")}
    assert modes == {0o666 & ~mask}


def test_exports_and_shards_have_it_too(tmp_path):
    before = os.umask(0o022)
    try:
        line = ("--quiet", "--save", "c", "--export", "m.safetensors")
        assert mpirun(2, *TRAIN, *line, cwd=tmp_path).returncode == 0
        export = ("-m", "zero_ref.checkpoint", "export", "c", "e.safetensors")
        assert mpirun(0, *export, cwd=tmp_path).returncode == 0
    finally:
        os.umask(before)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) == 5
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o644}, files
    assert load_file(tmp_path / "m.safetensors").keys() == load_file(tmp_path / "e.safetensors").keys()


@pytest.mark.parametrize(
    "path, why",
    [
        ("x" * 256, "File name too long"),
        ("nowhere/x", "No such file or directory"),
        ("folder", "Is a directory"),
        ("file/x", "Not a directory"),
        ("loop", "symbolic links"),
        ("a\0b", "null byte"),
    ],
)
def test_what_cannot_be_written_is_told_before_by_the_words_of_the_system(tmp_path, monkeypatch, path, why):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match=f"--export .*cannot be written there .*{why}"):
        check_writable({"--export": path})
    with pytest.raises(UsageError if "\0" not in path else ValueError):
        put(path)


def test_long_names_are_names(tmp_path):
    path = tmp_path / ("x" * 252)
    check_writable({"--record": str(path)})
    put(path)
    assert path.read_text() == "new"


def test_what_is_no_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for name, why in (("pipe.csv", "not a regular file"), ("no.csv", "No such file"), (".", "not a regular")):
        with pytest.raises(UsageError, match=f"--data .*{why}"):
            check_readable(str(tmp_path / name), "--data")
    (tmp_path / "long").write_bytes(b"123")
    with pytest.raises(UsageError, match="has 3 bytes, at most 2"):
        check_readable(str(tmp_path / "long"), "--machine", 2)


READERS = {
    "train --data pipe.csv": 2,
    "train --init pipe.safetensors": 2,
    "train --report r.html --compare pipe.json": 2,
    "report --text pipe.json": 0,
    "plan --machine pipe.json --parameters 1e9 --ranks 4": 0,
}


@pytest.mark.rest("a command for each", every=3)
@pytest.mark.parametrize("line", READERS)
def test_no_command_waits_for_a_pipe(tmp_path, line):
    program, *options = line.split()
    for suffix in ("csv", "json", "safetensors"):
        os.mkfifo(tmp_path / f"pipe.{suffix}")
    result = mpirun(READERS[line], "-m", f"zero_ref.{program}", *options, cwd=tmp_path, limit=15)
    assert "not a regular file" in one_line(result, 2)


@NOT_ROOT
def test_a_file_that_may_not_be_read_is_there(tmp_path):
    file = tmp_path / "m.safetensors"
    file.write_bytes(b"")
    file.chmod(0)
    result = mpirun(2, *TRAIN, "--init", str(file))
    assert "Permission denied" in one_line(result, 2)


# Everything asked for is written, each apart, before anything is printed.


def in_a_shell(line, folder, **environment):
    command = f"'{sys.executable}' -m zero_ref.{line}"
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment, timeout=60,
    )  # fmt: skip


SHELLS = {
    ">/dev/full": "No space left",
    ">&-": "Bad file descriptor",
    "| true; exit ${PIPESTATUS[0]}": "Broken pipe",
}
COMMANDS = {
    "train --model linear --steps 3 --export m --record r --report p.html --trace t": (
        "m",
        "r",
        "p.html",
        "t",
    ),
    "train --help": (),
    "plan --parameters 1e9 --ranks 4": (),
    "explore e.html": ("e.html",),
    "predict --checkpoint c --data diabetes --output o.csv": ("o.csv",),
    "checkpoint inspect c": (),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    assert mpirun(0, *TRAIN, "--quiet", "--save", "c", cwd=folder).returncode == 0
    return folder


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("line", COMMANDS)
def test_results_are_there_when_nothing_can_be_printed(line, shell, place):
    for name in COMMANDS[line]:
        (place / name).unlink(missing_ok=True)
    if "true" in shell:  # so that the pipe is closed for sure when it is written to
        shell = "> >(exec true)"
        result = in_a_shell(f"{line} {shell}", place)
        if result.returncode == 0:
            pytest.skip("the pipe was still open")
    else:
        result = in_a_shell(f"{line} {shell}", place)
    assert "standard output: " in one_line(result, 1)
    assert all((place / name).stat().st_size for name in COMMANDS[line])


def test_a_run_whose_errors_nobody_hears_goes_on(place):
    (place / "m").unlink(missing_ok=True)
    result = in_a_shell("train --model linear --steps 3 --quiet --export m 2>&-", place)
    assert result.returncode == 0 and (place / "m").exists()
    result = in_a_shell("train --model linear --steps 3 --quiet --export nowhere/m 2>&- >&- <&-", place)
    assert result.returncode == 2


def test_no_file_gets_the_number_of_a_closed_stream():
    program = "import zero_ref; print(open('/dev/null').fileno() > 2)"
    command = ["bash", "-c", f"'{sys.executable}' -c \"{program}\" <&- 2>&-"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout == "True\n"


def test_a_letter_that_the_terminal_lacks_is_shown_as_its_number(place):
    (place / "größe.csv").write_bytes((ROOT / "zero_ref" / "datasets" / "diabetes.csv").read_bytes())
    line = "train --model linear --data größe.csv --steps 1 --export m"
    result = in_a_shell(line, place, PYTHONIOENCODING="ascii", PYTHONUTF8="1")
    assert result.returncode == 0 and "gr\\xf6\\xdfe.csv" in result.stdout


@ROOT_ONLY
def test_a_result_that_cannot_be_written_leaves_the_others(place):
    for name in ("m", "p.html", "t"):
        (place / name).unlink(missing_ok=True)
    line = "train --model linear --steps 3 --record /dev/full --export m --report p.html --trace t"
    result = in_a_shell(line, place)
    assert "--record /dev/full: No space left on device" in one_line(result, 2)
    assert all((place / name).exists() for name in ("m", "p.html", "t")) and "sha256" in result.stdout


def test_all_that_went_wrong_is_told_in_one_end():
    done = []

    def fail(error):
        raise error

    actions = [lambda: fail(CleanEnd("a")), lambda: fail(UsageError("b")), lambda: done.append(1)]
    with pytest.raises(UsageError, match=r"^a; b$"):
        each_apart(actions)
    with pytest.raises(ZeroDivisionError):
        each_apart([lambda: 1 / 0, *actions])
    assert done == [1, 1]


# Names in messages.


def test_control_characters_are_shown_as_text():
    assert printable("\x1b]0;x\x07\x00\x9b\u202e\u2028\udcff") == r"\x1b]0;x\x07\x00\x9b\u202e\u2028\udcff"
    assert printable("größe 中文\u3000x\n\ty\u00a0") == "größe 中文\u3000x\n\ty\u00a0"


def test_a_name_does_not_reach_the_terminal_as_it_is(tmp_path, capfd):
    name = "no\x1b]0;title\x07.csv"
    assert "\x1b" not in one_line(mpirun(2, *TRAIN, "--data", name), 2)
    launch.say(f"data {name}")
    assert capfd.readouterr().out == "data no\\x1b]0;title\\x07.csv\n"


# Ranks that were not started alike.

ALIKE = {
    ("--seed 0", "--seed 1"): "--seed is 0 on rank 0, 1 on rank 1",
    ("--check --verify-every 1", "--verify-every 1"): "--check is True on rank 0, False on rank 1",
    ("--data a.npz", "--data b.npz"): "--data is a.npz on rank 0, b.npz on rank 1",
    ("--resume c", ""): "--resume is c on rank 0, None on rank 1",
    ("--lr 1 --steps 9", "--stage 1"): "; --steps is 9 on rank 0, 3 on rank 1",
}


def start(lines, folder, module="train", **keywords):
    """Ranks with a line of options each, as mpirun starts them apart."""
    words = []
    for line in lines:
        words += [":", "-n", "1", sys.executable] if words else []
        words += ["-m", f"zero_ref.{module}", *line.split()]
    return mpirun(1, *words, cwd=folder, limit=20, **keywords)


@pytest.mark.rest("a run for each", every=4)
@pytest.mark.parametrize("lines", ALIKE)
def test_ranks_with_different_options_do_not_train(lines, tmp_path):
    result = start([f"--steps 3 {line}" if "--steps" not in line else line for line in lines], tmp_path)
    assert ALIKE[lines] in one_line(result, 2) and os.listdir(tmp_path) == []


def test_ranks_with_different_data_do_not_train(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "d.npz", x=np.eye(8), y=np.arange(8) % (2 if name == "a" else 4))
    move = "import os, sys; os.chdir(sys.argv.pop(1)); from zero_ref import launch; "
    train, predict = (
        f"{move}from zero_ref.{m} import main; launch.run(main)" for m in ("train.__main__", "predict")
    )
    kept = mpirun(0, "-m", "zero_ref.train", "--data", "d.npz", "--steps", "1", "--quiet", "--save", "../c",
                  cwd=tmp_path / "a")  # fmt: skip
    assert kept.returncode == 0, kept.stderr
    for program, options in ((train, ["--steps", "3", "--save", "new"]), (predict, ["--checkpoint", "../c"])):
        rank = [["-c", program, name, "--data", "d.npz", *options] for name in "ab"]
        result = mpirun(1, *rank[0], ":", "-n", "1", sys.executable, *rank[1], cwd=tmp_path, limit=20)
        said = one_line(result, 2)
        assert "the content of --data" in said or "classes in y" in said or "the model's classes" in said


def test_ranks_with_different_weights_do_not_train(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        line = ("--quiet", "--seed", str(ord(name)), "--export", f"{name}/m.safetensors")
        assert mpirun(0, *TRAIN, *line, cwd=tmp_path).returncode == 0
    move = "import os, sys; os.chdir(sys.argv.pop(1)); from zero_ref import launch; "
    move += "from zero_ref.train.__main__ import main; launch.run(main)"
    rank = [["-c", move, name, *TRAIN[2:], "--init", "m.safetensors"] for name in "ab"]
    result = mpirun(1, *rank[0], ":", "-n", "1", sys.executable, *rank[1], cwd=tmp_path, limit=20)
    assert "the content of --init is" in one_line(result, 2)


# One run at a time.

HOLD = "import sys, time; from pathlib import Path; from zero_ref.checkpoint import owner\n"
HOLD += "owner.take(Path('.')); print('taken', flush=True); sys.stdin.read()"


def test_a_second_run_is_refused_and_a_killed_one_is_in_nobodys_way(tmp_path):
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert first.stdout.readline() == b"taken\n"
    (tmp_path / "step-00000001.part").mkdir()
    result = mpirun(2, *TRAIN, "--save", ".", cwd=tmp_path)
    assert f"another run saves there (process {first.pid} on " in one_line(result, 2)
    assert sorted(os.listdir(tmp_path)) == [owner.NAME, "step-00000001.part"]
    first.kill()
    first.communicate()
    assert (tmp_path / owner.NAME).exists()
    result = mpirun(2, *TRAIN, "--quiet", "--save", ".", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert os.listdir(tmp_path) == ["step-00000003"]


def test_an_owner_that_has_just_ended_does_not_leave_two(tmp_path, monkeypatch):
    """Its file is opened by the next one, and taken away before that has the lock."""
    lock, times = owner.lock, []

    def late(descriptor):
        times.append(1)
        if len(times) == 1:
            (tmp_path / owner.NAME).unlink()
        return lock(descriptor)

    monkeypatch.setattr(owner, "lock", late)
    owner.take(tmp_path)
    assert len(times) == 2 and owner.is_owned(tmp_path)
    owner.take(tmp_path)
    assert len(times) == 2
    owner.give_back()
    assert os.listdir(tmp_path) == [] and not owner.is_owned(tmp_path)


def test_where_there_are_no_locks_nobody_is_refused_and_nothing_of_others_deleted(tmp_path, monkeypatch):
    from checkpoints import written

    monkeypatch.setattr(owner, "lock", lambda descriptor: None)
    (tmp_path / "step-00000009.abc.part").mkdir()
    written(tmp_path, 2, step=1)
    assert sorted(os.listdir(tmp_path)) == ["step-00000001", "step-00000009.abc.part"]


# What a checkpoint asks for is compared before anything is built of it.


def change(arguments, **options):
    """The options of a checkpoint with others, in the order in which a run writes them."""
    found = options_of([a for a in arguments if a.partition("=")[0][2:].replace("-", "_") not in options])
    return lasting(argparse.Namespace(**(vars(found) | options)))


HOSTILE = {
    "a model of terabytes": dict(hidden=[4000000, 4000000], shard_model="hash"),
    "a pipe as data": dict(data="/pipe.csv"),
    "parts without end": dict(batch_size=10**9, micro_batches=10**9),
    "data of petabytes": dict(data="synthetic", samples=10**12, features=10**4, classes=10),
    "thousands of options": None,
}
LIMITED = """
import resource, sys, zero_ref.train.run, zero_ref.predict
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)
from zero_ref import launch, predict
from zero_ref.train.__main__ import main
launch.run(lambda: predict.main(sys.argv[2:]) if sys.argv[1] == "predict" else main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def small_checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    done = mpirun(0, "-m", "zero_ref.train", "--steps", "1", "--quiet", "--save", "c", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "c"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts memory as Linux does")
@pytest.mark.parametrize("how", HOSTILE)
@pytest.mark.parametrize("program", ("train", "predict"))
def test_a_small_checkpoint_cannot_take_time_or_memory(tmp_path, how, program, small_checkpoint):
    shutil.copytree(small_checkpoint, tmp_path / "c")
    os.mkfifo(tmp_path / "pipe.csv")
    path = tmp_path / "c" / "step-00000001" / "manifest.json"
    manifest = decode(path.read_bytes())
    if HOSTILE[how] is None:
        manifest.arguments = manifest.arguments[:1] * 16000
    else:
        manifest.arguments = change(manifest.arguments, **HOSTILE[how])
        manifest.arguments = [a.replace("=/pipe", f"={tmp_path}/pipe") for a in manifest.arguments]
    path.write_bytes(encode(manifest))
    line = {"train": ["--resume", "c", "--steps", "9"], "predict": ["--checkpoint", "c", "--data", "digits"]}
    result = mpirun(0, "-c", LIMITED, program, *line[program], cwd=tmp_path, limit=20)
    if program == "train" or how in ("a model of terabytes", "thousands of options", "parts without end"):
        one_line(result, 2)
    else:
        assert result.returncode == 0, result.stderr


# Runs of no steps, and runs that are submitted again.


def test_steps_0_tests_and_exports_and_saves(tmp_path):
    line = (
        "-m",
        "zero_ref.train",
        "--steps",
        "0",
        "--export",
        "m.safetensors",
        "--record",
        "r.json",
        "--save",
        "c",
    )
    result = mpirun(3, *line, cwd=tmp_path)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    assert "nothing was trained\ntest     loss 2." in result.stdout
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["loss"] == [] and record["test"]["loss"] > 2
    again = (
        "-m",
        "zero_ref.train",
        "--steps",
        "0",
        "--init",
        "m.safetensors",
        "--record",
        "s.json",
        "--stage",
        "1",
    )
    assert mpirun(2, *again, cwd=tmp_path).returncode == 0
    assert json.loads((tmp_path / "s.json").read_text())["weights_sha256"] == record["weights_sha256"]
    go_on = ("-m", "zero_ref.train", "--resume", "c", "--steps", "4", "--quiet", "--record", "t.json")
    assert mpirun(2, *go_on, cwd=tmp_path).returncode == 0
    whole = ("-m", "zero_ref.train", "--steps", "4", "--quiet", "--record", "u.json")
    assert mpirun(2, *whole, cwd=tmp_path).returncode == 0
    first, second = (
        json.loads((tmp_path / name).read_text())["weights_sha256"] for name in ("t.json", "u.json")
    )
    assert first == second


@pytest.mark.rest("four runs; tests/mpi/check_saving.py resumes")
def test_a_script_may_be_submitted_again_and_again(tmp_path):
    line = [*TRAIN, "--save", "runs/c", "--save-every", "2", "--resume", "latest"]
    line += ["--export", "m.safetensors", "--record", "r.json", "--report", "r.html"]
    first = mpirun(2, *line, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    kept = {name: (tmp_path / name).read_bytes() for name in ("m.safetensors", "r.json", "r.html")}
    (tmp_path / "m.safetensors").unlink()
    again = mpirun(3, *line, cwd=tmp_path)
    assert again.returncode == 0 and "nothing was trained\ntest     loss" in again.stdout, again.stderr
    assert {name: (tmp_path / name).read_bytes() for name in kept} == kept
    assert sorted(os.listdir(tmp_path / "runs" / "c")) == ["step-00000002", "step-00000003"]
    (tmp_path / "empty").mkdir()
    other = mpirun(2, *TRAIN, "--quiet", "--save", "empty", "--resume", "latest", cwd=tmp_path)
    assert other.returncode == 0, other.stderr


@pytest.mark.rest("a run for each", every=2)
@pytest.mark.parametrize("line", (["grade", ""], ["grade", ".", "--out", ""], ["release", ""], ["run", ""]))
def test_a_course_takes_no_empty_names_either(line):
    command = [sys.executable, "-m", "lessons", *line]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and "Traceback" not in result.stderr and result.stdout == ""


def test_names_of_records_are_text_on_pages():
    assert show_names({"a\x1b": ["b\x07", 1, None, {"c": "d\n\x9b"}]}) == {
        "a\\x1b": ["b\\x07", 1, None, {"c": "d\n\\x9b"}]
    }
