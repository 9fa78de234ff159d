"""A file of a student's that is called like a module: named by the check, the doctor, the exercise itself."""

import subprocess
import sys

import pytest
from confusion import answers
from launching import ROOT

from lessons.checker import shadows, words
from lessons.checker.student import attempt, doctor
from lessons.checker.teacher import grade

RING = "06_ring_reduce_scatter"


@pytest.mark.parametrize(
    "name, module",
    [
        ("random.py", "random"),
        ("numpy.py", "numpy"),
        ("mpi4py.py", "mpi4py"),
        ("zero_ref.py", "zero_ref"),
        ("lessons/__init__.py", "lessons"),
        ("random/__init__.py", "random"),
        ("queue.cpython-311-x86_64-linux-gnu.so", "queue"),
        ("_exercise.py", None),
        ("test.py", None),
        ("random.txt", None),
        ("random/notes.txt", None),
        ("my_random.py", None),
        ("random2.py", None),
        (f"{RING}.py", None),
    ],
)
def test_what_is_called_like_a_module(name, module, tmp_path):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("")
    entry = str(tmp_path / name.partition("/")[0])
    assert shadows.find([str(tmp_path), str(tmp_path)]) == ([(entry, module)] if module else [])


def test_the_courses_own_files_are_no_fault():
    assert shadows.find(shadows.places()) == []
    assert {str(ROOT), str(ROOT / "lessons" / "exercises")} <= set(shadows.places())


@pytest.mark.parametrize("where", ("", "lessons", "lessons/exercises"))
def test_a_students_own_folder_is_looked_at(where, monkeypatch, tmp_path):
    """What `new` has made lies elsewhere than the checker."""
    folder = tmp_path / "lessons" / "exercises"
    folder.mkdir(parents=True)
    (tmp_path / "lessons" / "__init__.py").write_text("")
    monkeypatch.setattr("lessons.HOME", tmp_path)
    assert shadows.find(shadows.places()) == []
    (tmp_path / where / "numpy.py").write_text("")
    assert shadows.find(shadows.places()) == [(str(tmp_path / where / "numpy.py"), "numpy")]


@pytest.fixture
def exercises(monkeypatch, tmp_path):
    """Exercises of which one is right, with a file beside it."""
    for name in ("learn", "exercises", "homework/a"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("ZERO_REF_LEARN", str(tmp_path / "learn"))
    monkeypatch.setenv("ZERO_REF_EXERCISES", str(tmp_path / "exercises"))
    solution = answers(RING)[""]
    (tmp_path / "homework" / "a" / f"{RING}.py").write_text(solution)
    (tmp_path / "exercises" / f"{RING}.py").write_text(solution)
    (tmp_path / "exercises" / "random.py").write_text("print('mine')\n")
    return tmp_path / "exercises"


def test_the_check_and_the_doctor_name_it_in_both_languages(exercises):
    data = attempt.check(RING)
    assert (data["state"], data["diagnosis"]["key"]) == ("wrong", "shadowed")
    (finding,) = doctor.about_shadows(shadows.find(shadows.places()))
    assert finding.level == "bad" and finding.type.startswith("mv ") and "my_random.py" in finding.type
    for language in words.LANGUAGES:
        says = words.diagnosis_text(RING, attempt.diagnosis_of(data), "says", language)
        for text in (says, doctor.finding_lines(finding, language, False)[0]):
            assert str(exercises / "random.py") in text and " random " in text
    (exercises / "random.py").unlink()
    assert attempt.check(RING)["state"] == "passed"


def test_the_doctor_looks_for_it(exercises):
    found = []
    for finding in doctor.find_all():
        found.append(finding)
        if finding.key == "doctor_package":
            break
    assert [f.key for f in found if f.level == "bad"] == ["doctor_shadowed"]


def test_nobody_is_graded_wrong_for_it(exercises, capsys, tmp_path):
    homework = exercises.parent / "homework"
    command = [str(homework), "--out", str(tmp_path / "grades"), "--exercises", "06", "--language", "en"]
    assert grade.main(command) == 2
    assert str(exercises / "random.py") in capsys.readouterr().out


@pytest.mark.parametrize("name", ["random.py", "re.py", "pathlib.py", "argparse.py"])
def test_an_exercise_that_runs_alone_names_it(name, exercises):
    """Before anything is imported that would break: `from _exercise import check` stands first."""
    (exercises / "random.py").unlink()
    (exercises / name).write_text("print('mine')\n")
    for course in ("_exercise.py", f"{RING}.py"):
        (exercises / course).write_text((ROOT / "lessons" / "exercises" / course).read_text())
    text = (exercises / "_exercise.py").read_text()
    (exercises / "_exercise.py").write_text(text.replace("os.path.realpath(__file__)", repr(f"{ROOT}/a/b/c")))
    done = subprocess.run([sys.executable, exercises / f"{RING}.py"], capture_output=True, timeout=60)
    assert done.returncode == 2 and done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert line.count(str(exercises / name)) == 2 and name.partition(".")[0] in line


def test_every_stub_looks_first():
    for file in (ROOT / "lessons" / "exercises").glob("[0-9]*.py"):
        first = next(line for line in file.read_text().splitlines() if line.startswith(("import", "from")))
        assert first.startswith("from _exercise import"), file
