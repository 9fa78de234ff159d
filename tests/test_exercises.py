"""What the checker says of solutions, stubs, wrong answers and hangs, in both languages."""

import re
import string
import subprocess
import sys
import time

import pytest
from confusion import answers, confusion, wrong
from launching import ROOT
from soak import soak

from lessons.checker import checking, stub, verdict, words
from lessons.checker.ranks.runner import Job

EXERCISES = words.exercises()
CHINESE = re.compile("[\u4e00-\u9fff]")


@pytest.fixture(autouse=True)
def nothing_done_yet(monkeypatch, tmp_path):
    monkeypatch.setenv("ZERO_REF_LEARN", str(tmp_path / "learn"))


def test_every_lesson_has_its_exercise():
    lessons = sorted(path.stem for path in (ROOT / "lessons").glob("[0-9][0-9]_*.py"))
    assert lessons == EXERCISES
    for folder in ("lessons/checks", "lessons/exercises", "tests/answers", "tests/wrong"):
        assert sorted(path.stem for path in (ROOT / folder).glob("[0-9]*.py")) == EXERCISES, folder


@pytest.mark.rest("some seven hundred answers, each in processes of its own", every=13)
@pytest.mark.parametrize("exercise", EXERCISES)
def test_solution_and_wrong_answers_are_told_apart(exercise):
    """Each gets its own diagnosis: the confusion table has nothing beside its diagonal."""
    found = confusion(exercise, limit=2.0)
    said = {name: result.diagnosis.key if result.diagnosis else "" for name, result in found.items()}
    assert said == {name: name for name in answers(exercise)}
    for name, result in found.items():
        for language in words.LANGUAGES:
            text = words.result_text(exercise, ROOT / "x.py", result.diagnosis, language)
            assert max(map(words.width, text.splitlines())) <= words.COLUMNS, f"{name}:\n{text}"
            assert bool(CHINESE.search(text)) == (language == "zh"), text


def test_there_are_enough_wrong_answers():
    number = {exercise: len(wrong(exercise)) for exercise in EXERCISES}
    assert all(n >= 8 for exercise, n in number.items() if exercise >= "04"), number
    assert sum(number.values()) >= 150, number


@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_stub_is_what_the_catalogue_says_and_not_started(exercise):
    file = stub.FOLDER / f"{exercise}.py"
    assert file.read_text(encoding="utf-8") == stub.text(exercise), "python -m lessons.checker.stub --force"
    assert stub.text(exercise).count("raise NotImplementedError") == len(checking.functions(exercise))
    result = checking.check([Job(exercise, str(file), "s")])[0]
    assert (result.state, result.diagnosis.key) == ("not_started", "not_started")


@pytest.mark.rest("a check for each", every=7)
@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_solution_that_lacks_its_last_function_is_not_wrong(exercise, tmp_path):
    if len(functions := checking.functions(exercise)) < 2:
        pytest.skip("one function")
    file = tmp_path / f"{exercise}.py"
    todo = f"\n\ndef {functions[-1]}(*_, **__):\n    raise NotImplementedError\n"
    file.write_text(answers(exercise)[""] + todo, encoding="utf-8")
    result = checking.check([Job(exercise, str(file), "s")])[0]
    assert (result.state, result.diagnosis.key) == ("not_started", "to_do")


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("name", ["common", *EXERCISES])
def test_the_catalogues_say_the_same_in_both_languages(name):
    for key, entry in words.catalogue(name).items():
        if key in ("ui", "column"):
            pairs = [pair for name, pair in entry.items() if name != "key_switch"]  # names a language
        elif key == "exercise":
            assert len(entry["hints"]["zh"]) == len(entry["hints"]["en"]) == 3
            pairs = [entry["title"], entry["goal"], entry["done"]]
            pairs += [
                dict(zip(words.LANGUAGES, pair))
                for pair in zip(*(entry["hints"][k] for k in words.LANGUAGES))
            ]
        else:
            assert entry.keys() == {"zh", "en"} and entry["zh"].keys() == entry["en"].keys() == {
                "says",
                "ask",
                "hint",
            }
            pairs = [{k: entry[k][what] for k in words.LANGUAGES} for what in ("says", "ask", "hint")]
        for pair in pairs:
            assert pair.keys() == {"zh", "en"} and all(pair.values()), (key, pair)
            assert not CHINESE.search(pair["en"]), (key, pair)
            assert fields(pair["zh"]) == fields(pair["en"]), (key, pair)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_every_diagnosis_of_the_catalogue_can_be_got(exercise):
    """A key that no check gives is a leftover."""
    source = "".join(path.read_text() for path in (ROOT / "lessons" / "checker").rglob("*.py"))
    source += (ROOT / "lessons" / "checks" / f"{exercise}.py").read_text()
    for key in words.catalogue(exercise).keys() - {"exercise"} - words.catalogue("common").keys():
        assert key in wrong(exercise) or re.search(rf"""["']{key}["']""", source), key


def test_every_string_of_the_interface_exists():
    """Each words.say("key") in the code has a text in both languages, and each text is used."""
    folders = [ROOT / "lessons" / name for name in ("checker", "reader")]
    files = [ROOT / "lessons" / "__main__.py", *(path for folder in folders for path in folder.rglob("*.py"))]
    code = "".join(path.read_text() for path in files)
    known = words.catalogue("common")["ui"]
    for key in re.findall(r"""\b(?:say|raw)\(\s*["'](\w+)["']""", code):
        assert any(f"_{key}" in f"_{name}" for name in known), key  # of some the beginning stands elsewhere
    for key in known:
        parts = key.split("_")
        ends = {"_".join(parts[n:]) for n in (0, 1, 2)} - {""}
        begins = {"_".join(parts[:n]) + "_" for n in range(1, len(parts))}
        said = [rf"""["']{end}["']""" for end in ends] + [rf"""["']{begin}["'{{]""" for begin in begins]
        assert any(re.search(text, code) for text in said), key


@pytest.mark.rest("waits")
def test_a_hang_is_named_and_no_right_answer_is_taken_for_one():
    """A short form of `python tests/soak.py`."""
    found = soak(right=12, hanging=14, each=26, seed=int(time.time()))
    assert (found["false"], found["missed"]) == ([], [])


RUBBISH = """
import os, subprocess, sys, threading
subprocess.Popen(["sleep", "300"])
subprocess.Popen(["sleep", "301"], start_new_session=True, env={{}})
threading.Thread(target=lambda: __import__("time").sleep(300)).start()
print("x" * 100000)


def ring_reduce_scatter(x, comm):
    {body}
"""


@pytest.mark.rest("waits", every=4)
@pytest.mark.parametrize(
    "body", ("os._exit(3)", "os.kill(os.getpid(), 9)", "while True: pass", "[0] * 10**10", "return x")
)
def test_nothing_is_left_of_what_a_student_starts(body, tmp_path):
    """Processes, threads, output, memory, an early end: a diagnosis, and the next file is checked rightly."""
    bad, good = tmp_path / "bad.py", tmp_path / "good.py"
    bad.write_text(RUBBISH.format(body=body))
    good.write_text(answers("06_ring_reduce_scatter")[""])
    jobs = [Job("06_ring_reduce_scatter", str(file), "s") for file in (bad, good)]
    first, second = checking.check(jobs, limit=2.0)
    assert first.state == "wrong" and first.diagnosis.key in (
        "died",
        "endless",
        "raised",
        "returns_shape",
        "part_of_input",
    )
    assert second.state == "passed"
    running = subprocess.run(["ps", "-A", "-o", "args"], stdout=subprocess.PIPE, text=True).stdout
    assert "sleep 30" not in running


INTO_THE_PIPE = """
import os

def ring_reduce_scatter(x, comm):
    for fd in map(int, os.listdir("/proc/self/fd")):
        if os.path.exists(f"/proc/self/fd/{{fd}}") and "/pipe" in os.readlink(f"/proc/self/fd/{{fd}}"):
            os.write(fd, {text!r})
    return x
"""


def test_a_report_begins_anew_after_what_a_student_writes_to_the_pipe(tmp_path):
    file = tmp_path / "06_ring_reduce_scatter.py"
    file.write_text(INTO_THE_PIPE.format(text=b"half a line"))
    result = checking.check([Job("06_ring_reduce_scatter", str(file), "s")])[0]
    assert result.state == "wrong" and result.diagnosis.key in ("returns_shape", "part_of_input")


COLUMNS = "buffer[start:stop] = tensor.flatten('F')"


@pytest.mark.rest("a check for each", every=3)
@pytest.mark.parametrize(
    ("exercise", "old", "new", "key", "params"),
    (
        ("09_flat_vector", "views[name][...] = tensor", COLUMNS, "column_order", {"name": "weight"}),
        ("22_inference", "return outputs", "return outputs[-1:]", "last_batch_only", {}),
        ("17_peaks", '"full_gradient": grad * largest', '"full_gradient": largest', "near", {}),
        (
            "08_data_parallel",
            "u.optimizer.update",
            "u.param = u.param.copy(); u.optimizer.update",
            "rebinds",
            {},
        ),
        ("13_zero3", "u.grad.fill(0)", "u.grad = 0 * u.grad", "rebinds", {"names": ["u.grad"]}),
        ("22_inference", "del full", "del full; u.param = u.param.copy()", "rebinds", {}),
        ("24_hooks", "u.grad += comm", "u.grad = u.grad + comm", "rebinds", {"names": ["u.grad"]}),
        ("06_ring_reduce_scatter", "partial = x[", "partial = x.astype(float)[", "returns_dtype", {}),
    ),
)
def test_other_ways_to_the_same_mistake(exercise, old, new, key, params, tmp_path):
    file, solution = tmp_path / f"{exercise}.py", answers(exercise)[""]
    assert old in solution
    file.write_text(solution.replace(old, new))
    found = checking.check([Job(exercise, str(file), "s")])[0].diagnosis
    assert found.key == key and params.items() <= found.params.items()


INT_OF_NAME = """

def owner(name, size):
    number = int(name.split("/")[-1].split(".")[0])
    digest = hashlib.blake2b(bytes(str(number), "utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "little") % size
"""


def test_names_are_not_all_numbers(tmp_path):
    file = tmp_path / "04_sharding_data.py"
    file.write_text(answers("04_sharding_data")[""] + INT_OF_NAME, encoding="utf-8")
    found = checking.check([Job("04_sharding_data", str(file), "s")])[0].diagnosis
    assert found.key == "raised" and "int()" in found.params["text"]


def test_an_exercise_runs_alone(tmp_path):
    """As a student starts it; the exit code tells."""
    (tmp_path / "lessons").mkdir()
    file = stub.FOLDER / "06_ring_reduce_scatter.py"
    found = subprocess.run(
        [sys.executable, str(file), "--language", "zh"], capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 2 and "还没有开始" in found.stdout and found.stderr == ""


def test_what_is_untouched(tmp_path):
    file = tmp_path / "x.py"
    for body, expected in (
        ("raise NotImplementedError", True),
        ("'''text'''\n    raise NotImplementedError('later')", True),
        ("x = 1\n    raise NotImplementedError", False),
        ("return 1", False),
    ):
        file.write_text(f"import os\n\n\ndef f(x):\n    {body}\n")
        assert verdict.is_untouched(file, ("f",)) == expected
