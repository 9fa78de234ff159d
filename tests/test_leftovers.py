"""What a killed run leaves on its machine: nothing of its own; and what goes of what others have left."""

import mmap
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from confusion import answers
from launching import ROOT, mpirun

from lessons.checker import checking, verdict
from lessons.checker.ranks.runner import Job, Outcome
from lessons.checker.student import doctor
from zero_ref import launch
from zero_ref.launch import files, leftovers, shared

RING = "06_ring_reduce_scatter"

# What this process still finds by a name: its memory in /dev/shm, and the file that mpirun wrote for it.
NAMED = """
import os, re
def tell(text):
    os.write(1, f"{text}\\n".encode())  # in one piece: all ranks write
def named():
    with open("/proc/self/maps") as maps:
        found = re.findall(r"/dev/shm/mpich_shm_.*", maps.read())
    folder = f"/proc/{os.getppid()}/fd"
    for n in os.listdir(folder):
        try:
            found.append(os.readlink(f"{folder}/{n}"))
        except OSError:
            pass  # closed by now
    return sorted({f.partition("_")[0] for f in found if "_" in f and re.match("/dev/shm|/tmp/hydra", f)
                   and not f.endswith("(deleted)")})
"""
BEFORE = ["/dev/shm/mpich", "/tmp/hydra"]
AFTER = """
import argparse
from zero_ref.comm import Comm
from zero_ref.launch import together
comm = Comm()
comm.mpi.Barrier()
before = named()
comm.mpi.Barrier()
together.check_started_alike(comm, argparse.Namespace())
comm.mpi.Barrier()
tell(f"found {before} {named()}")
comm.mpi.Barrier()
comm.mpi.Abort(3)
"""
IN_A_LESSON = """
import sys
sys.path.insert(0, "lessons")
import _lesson
comm = _lesson.ranks(3)
comm.mpi.Barrier()
tell(f"found {named()}")
"""
IN_ABORT = """
from mpi4py import MPI
from zero_ref import launch
comm = MPI.COMM_WORLD
comm.Barrier()
class World:
    rank, size = comm.rank, comm.size
    def Abort(self, code):
        tell(f"found {named()}")
if comm.rank == 1:
    MPI.COMM_WORLD = World()
    launch.abort("it fails", 1)
comm.Barrier()
"""


@pytest.mark.parametrize(
    "program, found",
    [(AFTER, f"found {BEFORE} []"), (IN_A_LESSON, "found []"), (IN_ABORT, "found []")],
    ids=["started", "lesson", "abort"],
)
def test_a_run_has_no_names_once_all_have_come(program, found):
    done = mpirun(3, "-c", NAMED + program, cwd=ROOT)
    lines = [line for line in done.stdout.splitlines() if line.startswith("found")]
    assert lines and set(lines) == {found}, done.stdout + done.stderr


def test_a_check_has_none_either(tmp_path):
    """Whoever hangs is killed, and an answer may end its process."""
    ends = "    if comm.size == 4:\n        print('found', named(), flush=True)\n        os._exit(3)\n"
    solution = answers(RING)[""].replace("    ends = bounds(", f"{ends}    ends = bounds(", 1)
    (tmp_path / "a.py").write_text(NAMED + solution)
    result = checking.check([Job(RING, str(tmp_path / "a.py"), "s")])[0]
    assert result.diagnosis.key == "died", result
    lines = [line for line in result.outcome.died["text"].splitlines() if "found" in line]
    assert lines and all(line.endswith("found []") for line in lines), result.outcome


@pytest.fixture
def place(monkeypatch):
    """A folder in the place of /dev/shm, and of the temporary one."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="zero_ref_test_") as name:
        monkeypatch.setattr(shared, "PLACE", name)
        monkeypatch.setattr(tempfile, "tempdir", name)
        monkeypatch.setattr(shared, "TOPOLOGY", re.compile(re.escape(name) + r"/hydra_\w+\Z"))
        monkeypatch.chdir(name)
        yield Path(name)


def old(path, age=100_000):
    if not os.path.lexists(path):
        path.write_bytes(b"x" * 4096)
    os.utime(path, (time.time() - age,) * 2, follow_symlinks=False)
    return path


def test_what_nobody_has_goes_and_all_else_stays(place):
    dead = [old(place / "mpich_shm_12ab_0"), old(place / "ucx_shm_posix_7f")]
    young = old(place / "mpich_shm_1_0", 5)
    others = [old(place / name) for name in ("sem.x", "mpich_shm_", "mpich_shm_1_0.txt", "my_mpich_shm_1_0")]
    (place / "mpich_shm_2_0").symlink_to(others[0])
    (place / "mpich_shm_3_0").mkdir()
    for path in (place / "mpich_shm_2_0", place / "mpich_shm_3_0"):
        old(path)
    stranger = old(place / "mpich_shm_4_0")
    if os.getuid() == 0:
        os.chown(stranger, 65534, 65534)
        old(stranger)
    else:
        stranger.unlink()
    before = set(os.listdir(place))
    assert leftovers.find() == dead
    assert leftovers.clean(leftovers.find()) == dead
    assert set(os.listdir(place)) == before - {path.name for path in dead} and young.exists()


@pytest.mark.parametrize("how", ["open", "mapped", "only read"])
def test_what_another_process_has_stays(how, place):
    path = old(place / "mpich_shm_12ab_0")
    ready, wait = os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        file = os.open(path, os.O_RDONLY if how == "only read" else os.O_RDWR)
        kept = mmap.mmap(file, 4096) if how == "mapped" else None
        if kept is not None:
            os.close(file)
        os.write(ready[1], b"x")
        os.close(wait[1])
        os.read(wait[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    try:
        assert leftovers.find() == [] and leftovers.clean([path]) == [] and path.exists()
    finally:
        for end in (*ready, *wait):
            os.close(end)
        os.waitpid(child, 0)
    assert leftovers.clean(leftovers.find()) == [path] and not path.exists()


def test_an_old_folder_in_which_nobody_works_goes(place):
    names = ("zero_ref_check_old", "zero_ref_copy_new", "zero_ref_grade_used", "zero_ref_grade_open", "mine")
    for name in names:
        (place / name / "inner").mkdir(parents=True)
        (place / name / "file").write_text("x")
        old(place / name, 60 if name.endswith("new") else 100_000)
    (place / "zero_ref_check_link").symlink_to(place / "mine")
    old(place / "zero_ref_check_link")
    works = subprocess.Popen(["sleep", "100"], cwd=place / "zero_ref_grade_used" / "inner")
    try:
        with open(place / "zero_ref_grade_open" / "file"):
            assert leftovers.clean(leftovers.find()) == [place / "zero_ref_check_old"]
    finally:
        works.kill()
        works.wait()
    assert (place / "mine" / "file").exists()


def test_what_is_removed_is_said(place, capsys):
    old(place / "mpich_shm_12ab_0").write_bytes(b"x" * (3 << 20))
    old(place / "mpich_shm_12ab_0")
    for language, text in (("en", "removed 1 file"), ("zh", "没有可以删的")):
        (finding,) = doctor.clean_up()
        assert text in doctor.finding_lines(finding, language, True)[0]
        if language == "en":
            assert "3.0 MB" in doctor.finding_lines(finding, language, True)[0]
            assert str(place / "mpich_shm_12ab_0") in doctor.finding_lines(finding, language, True)[0]


# Half files beside results

KILLED = """
import os, sys
from zero_ref.launch import files
with files.replacing("result.json") as part:
    open(part, "w").write("half")
    print(os.path.basename(part), flush=True)
    if sys.argv[1:] == ["wait"]:
        sys.stdin.read()
    os._exit(9)
"""


def start(folder, *words):
    program = [sys.executable, "-c", KILLED, *words]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(program, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, **pipes)


def test_the_next_run_removes_the_half_files_of_dead_ones_alone(tmp_path, capfd):
    dead, alive = start(tmp_path), start(tmp_path, "wait")
    half, whole = dead.stdout.readline().strip(), alive.stdout.readline().strip()
    dead.communicate()
    machine, pid, began = files.PART.match(half).groups()
    elsewhere = half.replace(machine, "x" * 12)
    unknown = half.replace(f"-{pid}-{began}-", f"-{pid}-0-")
    mine = ".zero_ref-mine.part"
    for name in (elsewhere, unknown, mine):
        (tmp_path / name).write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / half.replace(".part", "0.part")).write_text("no name of ours")
    (tmp_path / half[:-6]).write_text("x")
    before = set(os.listdir(tmp_path))
    files.remove_dead_parts.cache_clear()
    with files.replacing(tmp_path / "other.json") as part:
        Path(part).write_text("{}")
    assert half in before and whole in before
    assert set(os.listdir(tmp_path)) == before - {half} | {"other.json"}
    assert f"removed {tmp_path / half}" in capfd.readouterr().err
    alive.communicate("")


def test_a_number_that_another_process_has_by_now_is_no_life(tmp_path):
    began = files.start_of(os.getpid())
    name = f".zero_ref-{files.this_machine()}-{os.getpid()}-{{}}-{'0' * 16}.part"
    for ticks, dead in ((began, False), (began - 1, True)):
        (tmp_path / name.format(ticks)).write_text("x")
        assert files.is_dead(tmp_path / name.format(ticks)) == dead
    os.symlink(tmp_path, tmp_path / name.format(began - 2))
    assert not files.is_dead(tmp_path / name.format(began - 2))


# A small /dev/shm


@pytest.mark.parametrize(
    "rank, free, said", [("0", 30, True), ("1", 30, False), ("0", 40, False), (None, 30, False)]
)
def test_little_shared_memory_is_told_once_before_mpi_starts(rank, free, said, monkeypatch, capfd):
    monkeypatch.setattr(shared, "room", lambda: shared.Room(64, free))
    for name, value in (("MPI_LOCALNRANKS", rank and "4"), ("MPI_LOCALRANKID", rank)):
        monkeypatch.delenv(name, raising=False)
        if value:
            monkeypatch.setenv(name, value)
    launch.prepare_environment()
    text = capfd.readouterr().err
    assert ("/dev/shm has 30 MB free of 64" in text and "35 MB" in text and "--clean" in text) == said
    assert len(text.splitlines()) == said


def small(size, command):
    """Run a command where /dev/shm has so much; skipped where that cannot be made."""
    mount = ["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o size={size} tmpfs /dev/shm && {command}"]
    if subprocess.run([*mount[:4], mount[4].partition("&&")[0]], capture_output=True).returncode:
        pytest.skip("another /dev/shm cannot be mounted here")
    return subprocess.run(mount, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_doctor_names_the_memory_that_is_too_small():
    done = small("1M", f"{sys.executable} -m lessons doctor --language en")
    said = re.sub(r"\n(?![✓✗·P ])", " ", done.stdout)  # lines that were folded
    wrong = [line for line in said.splitlines() if line.startswith("✗")]
    assert done.returncode == 1 and len(wrong) == 2, done.stdout
    assert all("/dev/shm" in line and "1 MB, of which 1 are free" in line for line in wrong)
    assert "crashed" in wrong[1] and "--shm-size=1g" in done.stdout and "install mpich" not in done.stdout


def test_a_check_names_it_too(monkeypatch, tmp_path):
    (tmp_path / "a.py").write_text(answers(RING)[""])
    job, died = Job(RING, str(tmp_path / "a.py"), "s"), Outcome(died={"ranks": [], "code": 7, "text": "x"})
    for free, key in ((30, "small_memory"), (40, "no_start")):
        monkeypatch.setattr(shared, "room", lambda free=free: shared.Room(64, free))
        assert verdict.judge(job, died).key == key
