"""Every lesson runs in both languages, and its two texts belong together."""

import ast
import re
import sys

import pytest
from launching import ROOT, mpirun
from terminal import ONE
from wcwidth import width

sys.path.insert(0, str(ROOT / "lessons"))

from _lesson import cells, digest, lessons

LESSONS = {path.stem: path for path in lessons()}
CHINESE = re.compile("[\u4e00-\u9fff]")


@pytest.mark.rest("each lesson in processes of its own", every=12)
@pytest.mark.parametrize("name", LESSONS)
def test_a_lesson_runs(name):
    """A lesson asserts what its text says. It puts together both languages, whichever it shows."""
    language = "en" if int(name[:2]) % 2 else "zh"
    found = mpirun(0, str(LESSONS[name]), "--language", language)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.count("\n") >= 5
    assert bool(CHINESE.search(found.stdout)) == (language == "zh")
    assert max(map(width, found.stdout.splitlines())) <= 80
    assert ONE.findall(found.stdout) == []


@pytest.mark.parametrize("name", LESSONS)
def test_what_a_lesson_prints_stands_in_both_languages(name):
    tree = ast.parse(LESSONS[name].read_text(encoding="utf-8"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    for call in calls:
        texts = [CHINESE.search(ast.unparse(argument)) for argument in call.args]
        if call.func.id == "say":
            assert texts[0] and not texts[1], ast.unparse(call)
        elif call.func.id in ("show", "each"):
            assert not any(texts), ast.unparse(call)
    assert any(call.func.id == "say" for call in calls)


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
