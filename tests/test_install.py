"""What `pip install` brings: the commands, the lessons, a student's folder; what is said of it agrees."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import uuid
import zipfile
from pathlib import Path

import pytest
from launching import ROOT, left_behind

import zero_ref
from lessons.checker import stub, words
from zero_ref.__main__ import COMMANDS

LIMIT = 120  # seconds for whatever has to come some time
EXTRAS = {"test": "", "fast": "-fast", "gpu": "-gpu", "browser": "-browser", "bench": "-bench", "dev": "-dev"}
SOLVED = "06_ring_reduce_scatter"
CHINESE = re.compile("[\u4e00-\u9fff]")


# The files that say the same


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def lines_of(name):
    """The requirements in a file, with those of the files that it refers to."""
    found = set()
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            found |= lines_of(line.removeprefix("-r "))
        elif line.strip() and not line.startswith("#"):
            found.add(line.replace('"', "'"))
    return found


@pytest.mark.parametrize("extra", EXTRAS)
def test_requirements_are_those_of_the_package(extra):
    said = project()
    wanted = set(said["optional-dependencies"][extra])
    for own in [line for line in wanted if line.startswith("zero_ref[")]:  # an extra that takes in another
        wanted |= set(said["optional-dependencies"][own[len("zero_ref[") : -1]]) - {own}
        wanted.remove(own)
    wanted |= set(said["dependencies"]) if extra == "test" else set()
    assert lines_of(f"requirements{EXTRAS[extra]}.txt") == wanted


def test_every_requirements_file_has_its_extra():
    assert project()["optional-dependencies"].keys() == EXTRAS.keys()
    files = {path.name for path in ROOT.glob("requirements*.txt")}
    assert files == {f"requirements{end}.txt" for end in EXTRAS.values()}
    needed = " ".join(project()["dependencies"])
    assert "numpy" in needed and "mpi4py" in needed
    assert "pytest" not in needed and "hypothesis" not in needed


def test_the_version_is_the_same_everywhere():
    for file, pattern in {"CHANGELOG.md": r"^## (\S+)$", "CITATION.cff": r"^version: (\S+)$"}.items():
        text = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(pattern, text, re.M)[1] == zero_ref.__version__, file


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_commands_are_listed_in_the_readers_language(language):
    environment = {k: v for k, v in os.environ.items() if k not in ("LC_ALL", "LC_MESSAGES", "LANGUAGE")}
    environment |= {"LANG": "zh_CN.UTF-8" if language == "zh" else "de_DE.UTF-8", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "zero_ref"], cwd=ROOT, env=environment, capture_output=True, encoding="utf-8"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(CHINESE.search(done.stdout)) == (language == "zh")
    assert re.findall(r"^  (\w+) ", done.stdout, re.M) == list(COMMANDS)
    assert max(map(words.width, done.stdout.splitlines())) <= 80


# A wheel, installed


def build(kind, folder, tree=ROOT):
    """The file that the build of `tree` writes into `folder`."""
    pytest.importorskip("hatchling")
    folder.mkdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.iterdir())


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    return build("wheel", tmp_path_factory.mktemp("wheel") / "dist")


class Installed:
    """A wheel in an environment of its own, which finds all that zero_ref needs in that of the tests."""

    def __init__(self, wheel, folder):
        python = [sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")]
        subprocess.run(python, check=True, timeout=LIMIT)
        self.bin = folder / "venv" / "bin"
        self.site = next((folder / "venv").glob("lib*/python*/site-packages"))
        (self.site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        for part in (Path(sys.prefix) / "lib").iterdir():  # where mpi4py looks for MPI
            if not (folder / "venv" / "lib" / part.name).exists():
                (folder / "venv" / "lib" / part.name).symlink_to(part)
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", "--quiet"]
        pip += ["--disable-pip-version-check", "--no-index", "--no-deps", "--ignore-installed", str(wheel)]
        subprocess.run(pip, check=True, timeout=LIMIT)
        path = os.pathsep.join([str(self.bin), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.token = uuid.uuid4().hex
        left_out = ("PYTHONPATH", "LC_ALL", "LC_MESSAGES", "LANGUAGE", "ZERO_REF_LEARN", "ZERO_REF_EXERCISES")
        self.environment = {k: v for k, v in os.environ.items() if k not in left_out}
        self.environment |= {"PATH": path, "LANG": "C.UTF-8", "PYTHONUTF8": "1", "ZERO_REF_TEST": self.token}
        self.mpirun = shutil.which("mpirun", path=path)

    def __call__(self, *command, ranks=0, cwd, **settings):
        """Run one of its programs, under mpirun if there are ranks; nothing may be left of it."""
        start = [self.mpirun, "-n", str(ranks)] if ranks else []
        done = subprocess.run(
            [*start, str(self.bin / command[0]), *command[1:]],
            cwd=cwd,
            env=self.environment | settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=LIMIT,
        )
        assert left_behind(self.token) == {}
        return done


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    return Installed(wheel, tmp_path_factory.mktemp("installed"))


def names_in(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


def test_a_wheel_has_the_lessons_under_no_name_of_their_own_and_nobodys_answers(wheel):
    names = names_in(wheel)
    assert {name.split("/")[0] for name in names} == {
        "zero_ref",
        f"zero_ref-{zero_ref.__version__}.dist-info",
    }
    assert "zero_ref/py.typed" in names
    lessons = "zero_ref/learn/lessons"
    for name in words.exercises():
        assert f"{lessons}/{name}.py" in names and f"{lessons}/checks/{name}.toml" in names
        assert f"{lessons}/exercises/{name}.py" not in names
    for place, prefix in ((ROOT / "zero_ref", "zero_ref"), (ROOT / "lessons", lessons)):
        for file in place.rglob("*"):
            where = file.relative_to(place).as_posix()
            if file.is_file() and "__pycache__" not in where and not where.startswith("exercises/"):
                assert f"{prefix}/{where}" in names


@pytest.mark.rest("builds once more")
def test_an_sdist_builds_the_same_wheel(wheel, tmp_path):
    with tarfile.open(build("sdist", tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path, filter="data")
    tree = tmp_path / f"zero_ref-{zero_ref.__version__}"
    assert names_in(build("wheel", tmp_path / "again", tree)) == names_in(wheel)
    assert (tree / "Makefile").exists() and (tree / "tests" / "test_install.py").exists()


def test_what_is_installed_is_not_the_checkout(installed, tmp_path):
    where = "import zero_ref, importlib.util as u; print(zero_ref.__file__, u.find_spec('lessons'))"
    done = installed("python", "-c", where, cwd=tmp_path)
    assert done.stdout == f"{installed.site / 'zero_ref' / '__init__.py'} None\n", done.stderr


TRAIN = ("--steps=12", "--optimizer=sgd", "--momentum=0.9", "--micro-batches=4", "--quiet", "--record")


@pytest.mark.rest("two runs")
def test_a_command_trains_as_its_module_does(installed, tmp_path):
    command = installed("zero-ref", "train", *TRAIN, "a.json", ranks=3, cwd=tmp_path)
    module = installed("python", "-m", "zero_ref.train", *TRAIN, "b.json", ranks=3, cwd=tmp_path)
    for done in (command, module):
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    a, b = (json.loads((tmp_path / f"{name}.json").read_text()) for name in "ab")
    assert a["weights_sha256"] == b["weights_sha256"] and a["loss"] == b["loss"]
    assert a["config"] | {"record": 0} == b["config"] | {"record": 0}


@pytest.mark.rest("two runs for each", every=4)
@pytest.mark.parametrize(
    "line, code",
    [
        ("train --stage 9", 2),
        ("train --own nowhere", 2),
        ("train --help", 0),
        ("train --version", 0),
        ("plan --ranks 3", 2),
        ("predict --data digits", 2),
        ("generate --prompt x", 2),
        ("report --text nothing.json", 2),
        ("explore --version", 0),
        ("checkpoint inspect nowhere", 2),
        ("checkpoint --version", 0),
    ],
)
def test_a_command_says_and_returns_what_its_module_does(line, code, installed, tmp_path):
    name, *options = line.split()
    ranks = 3 if name == "train" else 0
    command = installed("zero-ref", name, *options, ranks=ranks, cwd=tmp_path)
    module = installed("python", "-m", f"zero_ref.{name}", *options, ranks=ranks, cwd=tmp_path)
    assert (command.returncode, command.stdout, command.stderr) == (code, module.stdout, module.stderr)
    assert module.returncode == code
    if options == ["--version"]:
        assert command.stdout == f"zero_ref {zero_ref.__version__}\n"


def modules_in_order(text):
    """What -X importtime has written: the modules of ours, of NumPy and of mpi4py, as they were loaded."""
    found = re.findall(r"^import time:.*\| +((?:zero_ref|numpy|mpi4py)[\w.]*)$", text, re.M)
    return [name for name in found if name != "zero_ref.__main__"]


def test_a_command_imports_what_its_module_does_in_the_same_order(installed, tmp_path):
    line = ("train", "--steps", "1", "--quiet")
    command = installed("python", "-X", "importtime", str(installed.bin / "zero-ref"), *line, cwd=tmp_path)
    module = installed("python", "-X", "importtime", "-m", "zero_ref.train", *line[1:], cwd=tmp_path)
    order = modules_in_order(module.stderr)
    first = order[: order.index("zero_ref") + 1]  # before NumPy and MPI, which read their settings once
    assert "zero_ref.launch" in first and all(name.startswith("zero_ref") for name in first)
    assert {"numpy", "mpi4py.MPI"} <= set(order)
    assert modules_in_order(command.stderr) == order


def test_a_rank_that_fails_ends_all_with_the_same_words(installed, tmp_path):
    """A file that one rank cannot read: the ranks' agreement, and its exit code, pass through the command."""
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,four\n")
    line = ("--data", "x.csv", "--task", "numbers", "--model", "linear")
    command = installed("zero-ref", "train", *line, ranks=3, cwd=tmp_path)
    assert command.returncode == 2 and command.stderr.count("\n") == 1 and "line 3" in command.stderr


@pytest.mark.rest("a run for each", every=3)
@pytest.mark.parametrize("word, code", [("--version", 0), ("-h", 0), ("trian", 2), ("", 2), ("--stage=3", 2)])
def test_what_is_no_command_is_said_once(word, code, installed, tmp_path):
    done = installed("zero-ref", word, ranks=3, cwd=tmp_path)
    assert done.returncode == code
    shown = done.stderr if code else done.stdout
    assert (done.stdout if code else done.stderr) == "" and shown.count("zero_ref") >= 1
    assert shown.count("\n") == (1 if code or word == "--version" else len(COMMANDS) + 4)
    assert not code or all(name in shown for name in COMMANDS)


# A student's folder


@pytest.fixture
def own(installed, tmp_path):
    done = installed("zero-ref", "learn", "new", "mine", "--language", "en", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and "cd mine" in done.stdout
    return tmp_path / "mine"


def test_a_students_folder_has_lessons_and_exercises(own):
    assert sorted(path.name for path in own.iterdir()) == ["lessons"]
    for name in words.exercises():
        assert (own / "lessons" / f"{name}.py").read_bytes() == (ROOT / f"lessons/{name}.py").read_bytes()
        assert (own / "lessons" / "exercises" / f"{name}.py").read_text(encoding="utf-8") == stub.text(name)
    assert not (own / "lessons" / "checker").exists()


@pytest.mark.rest("one of two", every=2)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_new_overwrites_nothing(language, own, installed):
    file = own / "lessons" / "exercises" / f"{SOLVED}.py"
    file.write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in own.rglob("*")}
    done = installed("zero-ref", "learn", "new", "mine", "--language", language, cwd=own.parent)
    assert done.returncode == 2 and done.stderr == "" and done.stdout.count("\n") == 1
    assert bool(CHINESE.search(done.stdout)) == (language == "zh")
    assert {path: path.stat().st_mtime_ns for path in own.rglob("*")} == before and file.read_text() == "mine"
    (own.parent / "file").write_text("")
    done = installed("zero-ref", "learn", "new", "file", cwd=own.parent)
    assert done.returncode == 2 and (own.parent / "file").read_text() == ""
    (own.parent / "notes").mkdir()
    (own.parent / "notes" / "a.txt").write_text("kept")
    assert installed("zero-ref", "learn", "new", ".", cwd=own.parent / "notes").returncode == 0
    assert sorted(path.name for path in (own.parent / "notes").iterdir()) == ["a.txt", "lessons"]


def test_a_students_folder_is_checked_wherever_the_student_stands_in_it(own, installed):
    exercises = own / "lessons" / "exercises"
    ways = (
        (("zero-ref", "learn", "run", "6"), own),
        (("zero-ref", "learn", "run", "06"), exercises),
        (("python", "-m", "zero_ref.learn", "run", "06"), exercises),
        (("python", "-m", "lessons", "run", "06"), own),
        (("python", str(exercises / f"{SOLVED}.py")), own.parent),
    )
    for command, cwd in ways:
        done = installed(*command, cwd=cwd)
        assert done.returncode == 2 and "not started" in done.stdout, command
    shutil.copy(ROOT / "tests" / "answers" / f"{SOLVED}.py", exercises)
    done = installed("zero-ref", "learn", "run", "6", LANG="zh_CN.UTF-8", cwd=own)
    assert done.returncode == 0 and "通过" in done.stdout, done.stdout + done.stderr
    answer = exercises / f"{SOLVED}.py"
    stub_end = 'if __name__ == "__main__":\n    from _exercise import check\n    check(__file__)\n'
    answer.write_text(answer.read_text(encoding="utf-8") + stub_end, encoding="utf-8")
    done = installed(*ways[-1][0], cwd=own.parent)
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout + done.stderr
    progress = json.loads((own / ".learn" / "progress.json").read_text(encoding="utf-8"))
    assert progress["exercises"][SOLVED]["passed"]
    assert not list(installed.site.rglob(".learn")) and not (own.parent / ".learn").exists()


@pytest.mark.rest("several checks")
def test_a_later_exercise_takes_the_students_own_and_what_is_given(own, installed):
    """07 imports the ring of 06, and 02 a class of lessons.given."""
    exercises = own / "lessons" / "exercises"
    for name in (SOLVED, "07_all_gather", "02_autograd"):
        shutil.copy(ROOT / "tests" / "answers" / f"{name}.py", exercises)
        done = installed("zero-ref", "learn", "run", name[:2], cwd=own)
        assert done.returncode == 0, done.stdout + done.stderr
    broken = (exercises / f"{SOLVED}.py").read_text(encoding="utf-8").replace("return ", "return 2 * ", 1)
    (exercises / f"{SOLVED}.py").write_text(broken, encoding="utf-8")
    assert installed("zero-ref", "learn", "run", "7", cwd=own).returncode == 1
    assert installed("zero-ref", "learn", "run", "7", "--use", "reference", cwd=own).returncode == 0


def test_a_lesson_runs_in_a_students_folder(own, installed):
    done = installed("python", "lessons/00_four_processes.py", "--language", "en", cwd=own)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.count("\n") >= 5


@pytest.mark.rest("one of two", every=2)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_without_exercises_learn_says_how_to_make_some(language, installed, tmp_path):
    for command in ("run", None):
        line = [*([command] if command else []), "--language", language]
        done = installed("zero-ref", "learn", *line, cwd=tmp_path)
        assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
        assert "zero-ref learn new" in done.stderr
        assert bool(CHINESE.search(done.stderr)) == (language == "zh")
    assert list(tmp_path.iterdir()) == [] and not list(installed.site.rglob(".learn"))
    done = installed("zero-ref", "learn", "--version", cwd=tmp_path)
    assert done.stdout == f"zero_ref {zero_ref.__version__}\n"


def test_a_python_without_zero_ref_says_so(own):
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import sys; sys.path.insert(0, '.'); import lessons"],
        cwd=own,
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    assert (
        done.returncode == 1 and done.stderr.count("\n") == 1 and "zero_ref is not installed" in done.stderr
    )
