"""Every lesson runs in both languages, and its two texts belong together."""

import argparse
import ast
import json
import re
import sys

import pytest
import touched
from launching import ROOT, mpirun
from terminal import ONE
from wcwidth import width

from lessons.checker import words
from lessons.reader import course, parts
from zero_ref.train import options

sys.path.insert(0, str(ROOT / "lessons"))

from _lesson import cells, digest, lessons

LESSONS = {path.stem: path for path in lessons()}
CHINESE = re.compile("[\u4e00-\u9fff]")


# Words of programs and of mathematics that a Chinese text has, too.
WORDS = """
rank loss mine backward momentum velocity master unit random hash contiguous weights grad gather drop reduce
before after forward gradient ready sea she layers float bfloat reduce_scatter all_gather comm sum token
shard init Isend Issend Adam SGD
"""
TERMS = set(re.findall(r"\w+", WORDS))
COMMANDS = re.compile(r"\$ |    --|zero_ref: error: |damaged: ")  # and what they print: lesson 18


def english(line: str) -> set[str]:
    """The words of a line that are English, and no term."""
    return set(re.findall(r"(?<![\w./`'=-])[A-Za-z][a-z_]{2,}(?![\w./(=])", line)) - TERMS


@pytest.mark.rest("each lesson in processes of its own", every=12)
@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_runs(name):
    """A lesson asserts what its text says. It puts together both languages, whichever it shows."""
    language = "en" if int(name[:2]) % 2 else "zh"
    found = mpirun(0, str(LESSONS[name]), "--language", language)
    assert (found.returncode, found.stderr) == (0, "")
    lines = found.stdout.splitlines()
    assert bool(CHINESE.search(found.stdout)) == (language == "zh")
    assert max(map(width, lines)) <= 80
    assert ONE.findall(found.stdout) == []
    assert lines[1].startswith(name[:2]) and ("记住" if language == "zh" else "To remember") in lines
    code = set(inspect_lines("lessons/given/hooks.py"))  # which lesson 24 shows
    if language == "zh":
        others = [x for x in lines if x not in code and not CHINESE.search(x) and not COMMANDS.match(x)]
        assert not [x for x in others if english(x)], "in English"


def inspect_lines(path: str) -> list[str]:
    return (ROOT / path).read_text(encoding="utf-8").splitlines()


@pytest.mark.rest("three lessons, three times")
@pytest.mark.parametrize("way", ["", "--answer", "passed"])
@pytest.mark.parametrize("name", ["11_zero1", "12_zero2", "13_zero3"])
def test_an_answer_is_not_handed_over(name, way, tmp_path):
    """What changes from stage to stage is what the exercise asks for: first write, then read."""
    if way == "passed":
        record = {"passed": True, "attempts": 1, "hints": 0, "gave_up": False, "level": 0, "hinted": []}
        (tmp_path / "progress.json").write_text(json.dumps({"exercises": {name: record}}))
    line = [str(LESSONS[name]), "--language", "en", *(["--answer"] if way == "--answer" else [])]
    found = mpirun(0, *line, ZERO_REF_LEARN=str(tmp_path))
    assert found.returncode == 0, found.stderr
    shown = re.findall(r"^[+-] +.*(?:reduce_scatter|all_gather)\(", found.stdout, re.M)
    assert bool(shown) == bool(way) and (f"Exercise {name[:2]} has not passed yet" in found.stdout) != bool(
        way
    )


@pytest.mark.parametrize("name", LESSONS)
def test_what_a_lesson_prints_stands_in_both_languages(name):
    tree = ast.parse(LESSONS[name].read_text(encoding="utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    for call in calls:
        texts = [CHINESE.search(ast.unparse(argument)) for argument in call.args]
        if call.func.id in ("say", "pick", "rows") and not isinstance(call.args[0], ast.Name):
            assert texts[0] and not texts[1], ast.unparse(call)
        elif call.func.id == "each" and len(call.args) == 3:
            assert texts[1] and not texts[2], ast.unparse(call)
        elif call.func.id in ("show", "each"):
            picked = ast.unparse(call)
            for part in ast.walk(call):  # what says both
                if isinstance(part, ast.Call) and getattr(part.func, "id", "") == "pick":
                    picked = picked.replace(ast.unparse(part), "")
            assert not CHINESE.search(picked), picked
    assert any(call.func.id == "say" for call in calls)


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_has_no_more_code_than_its_idea_needs(name):
    """What several lessons need, or what no reader has to see, is in lessons/given."""
    code = "".join(part.text for part in parts(LESSONS[name]) if part.language is None)
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 80


@pytest.mark.parametrize("name", LESSONS)
def test_every_cell_stands_in_both_languages(name):
    for cell, both in cells(LESSONS[name]).items():
        assert both.keys() == {"zh", "en"}, cell
        assert CHINESE.search(both["zh"]["text"]) and not CHINESE.search(both["en"]["text"]), cell
        assert both["en"]["src"] == digest(both["zh"]["text"]), f"{cell}: python lessons/_lesson.py"
    text = LESSONS[name].read_text(encoding="utf-8")
    assert text.count("# %% [markdown]") == 2 * len(cells(LESSONS[name])) >= 8


@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_is_a_script_that_names_what_exists(name):
    text = LESSONS[name].read_text(encoding="utf-8")
    ast.parse(text)
    for path in re.findall(r"`((?:zero_ref|lessons)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path


def test_a_lesson_on_another_number_of_ranks_says_what_to_type():
    found = mpirun(3, str(LESSONS["00_four_processes"]))
    assert found.returncode == 2 and found.stdout == ""
    assert re.fullmatch(r"mpirun -n 4 python \S+00_four_processes.py\n", found.stderr)


def test_a_rank_that_raises_ends_all(tmp_path):
    script = f"import sys; sys.path.insert(0, {str(ROOT / 'lessons')!r})\n"
    script += "from _lesson import ranks\ncomm = ranks(3)\nassert comm.rank != 1, 'planted'\ncomm.sum(1.0)\n"
    (tmp_path / "lesson.py").write_text(script)
    found = mpirun(0, str(tmp_path / "lesson.py"), limit=20)
    assert found.returncode != 0 and "[rank 1] AssertionError: planted" in found.stderr


@pytest.mark.parametrize("name", LESSONS)
def test_jupyter_reads_a_lesson(name):
    jupytext = pytest.importorskip("jupytext")
    kinds = [cell.cell_type for cell in jupytext.read(LESSONS[name]).cells]
    assert kinds.count("markdown") == 2 * len(cells(LESSONS[name])) and "code" in kinds


def test_the_table_of_lessons_is_complete():
    table = (ROOT / "lessons" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\((\d\d_\w+)\.py\)", table) == list(LESSONS)


@pytest.mark.parametrize("page", ["teaching.md", "teaching.zh.md"])
def test_the_classes_are_of_lessons_that_exist_and_no_longer_than_ninety_minutes(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    classes = re.findall(r"^\| (\d+) \| ([\d, ]+) \| (\d+) \|", text, re.M)
    assert [int(number) for number, _, _ in classes] == list(range(1, 14))
    minutes = {name[:2]: words.catalogue(name)["exercise"]["minutes"] for name in LESSONS}
    taught = [lesson for _, of_class, _ in classes for lesson in of_class.split(", ")]
    assert taught == sorted(minutes)  # each lesson once, in order
    for _, of_class, said in classes:
        assert sum(minutes[lesson] for lesson in of_class.split(", ")) == int(said) <= 90


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_the_express_path_names_what_exists(language, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert course.express(argparse.Namespace(language=language)) == 0
    assert max(map(width, capsys.readouterr().out.splitlines())) <= 80
    text = words.catalogue("common")["ui"]["express"][language]
    paths = re.findall(r"lessons/[\w/]+\.py", text)
    assert [path[8:10] for path in paths[:4]] == ["10", "13", "14", "24"]
    assert all((ROOT / path).exists() for path in paths)
    known = {option for action in options.parser()._actions for option in action.option_strings}
    assert set(re.findall(r"--[a-z][a-z-]*", text)) <= known
    for term in ("unit", "reshard_after_forward", "SHARD_GRAD_OP", "HYBRID_SHARD", "prefetch"):
        assert term in text


# What `make check-lessons` tries


@pytest.mark.parametrize(
    "changed, tried, number",
    [
        (["lessons/06_ring_reduce_scatter.py"], {"06"}, 1),
        (["tests/wrong/13_zero3.py", "lessons/checks/08_data_parallel.toml"], {"08", "13"}, 2),
        (["lessons/given/hooks.py"], {"24"}, 1),
        (["docs/design.md", "zero_ref/report/page.css"], set(), 0),
        (["zero_ref/extras/recompute.py"], {"26"}, None),
        (["zero_ref/extras/gpt.py"], {"25"}, None),
        (["zero_ref/comm.py"], None, len(LESSONS)),
    ],
)
def test_what_a_change_touches_is_tried(changed, tried, number):
    chosen, every = touched.touched(set(changed))
    assert set(chosen) <= set(every) and (number is None or len(every) == number)
    numbers = {name[:2] for name in chosen}
    assert numbers == tried if number is not None and tried is not None else numbers >= (tried or set())
    assert len(chosen) <= max(touched.FEW, len(changed)) and bool(chosen) == bool(every)


def test_every_own_file_of_a_lesson_touches_it():
    for name in LESSONS:
        files = {file for file in touched.own_files(name) if (ROOT / file).exists()}
        assert len(files) == 6 and all(name in touched.touched({file})[0] for file in files)
