"""A lesson in a terminal: its text beside what its code prints, in one language, with pauses at questions."""

import os
import pty
import re
import select
import subprocess
import sys
import time
import uuid

import pytest
from launching import ROOT, left_behind, mpirun
from wcwidth import width

from lessons.reader import parts, prose, script, statements

FOUR = ROOT / "lessons" / "00_four_processes.py"
LESSON = """# %% [markdown] id="t" lang="zh"
# # 标题
# 先想一想：
# 是几？
# %% [markdown] id="t" lang="en" src=""
# # Title
# Think first: which?
# %%
import sys; sys.path.insert(0, {lessons!r})
before = globals().get("before", "") + "before"
from _lesson import {names}
comm = {call}
say("一", "one")
# %% [markdown] id="e" lang="zh"
# 完
# %% [markdown] id="e" lang="en" src=""
# end
# %%
{last}
"""


def lesson(tmp_path, call="ranks(3)", last='show(before)\nassert __name__ == "__main__"'):
    path = tmp_path / "lesson.py"
    names = call.partition("(")[0] + ", say, show"
    path.write_text(LESSON.format(lessons=str(ROOT / "lessons"), names=names, call=call, last=last), "utf-8")
    return path


@pytest.mark.rest("the same without mpirun, and alone", every=4)
@pytest.mark.parametrize("call, ranks", [("ranks(3)", 0), ("alone()", 0), ("ranks(3)", 3), ("alone()", 3)])
def test_text_and_numbers_stand_in_order_and_once_whatever_starts_it(call, ranks, tmp_path):
    """And without a terminal nobody is waited for."""
    found = mpirun(ranks, str(lesson(tmp_path, call)), "--language", "en")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.split() == ["Title", "Think", "first:", "which?", "one", "end", "before"]


@pytest.mark.rest("three processes")
def test_a_lesson_of_one_process_runs_once_under_mpirun(tmp_path):
    found = mpirun(3, str(lesson(tmp_path, "alone()", last='print("here")')), "--language", "en")
    assert (found.returncode, found.stdout.count("here")) == (0, 1)


def test_the_code_is_shown_where_it_is_asked_for(tmp_path):
    found = mpirun(0, str(lesson(tmp_path, "alone()")), "--language", "zh", "--code")
    assert 'say("一", "one")' in found.stdout and "先想一想：是几？" in found.stdout


def test_an_error_names_its_line_of_the_lesson_and_nothing_that_reads_it(tmp_path):
    path = lesson(tmp_path, last="def f():\n    return 1 / (comm.rank - 1)\n\nf()\ncomm.sum(1.0)")
    found = mpirun(0, str(path), limit=20)
    lines = path.read_text("utf-8").splitlines()
    named = [int(n) for n in re.findall(r'lesson.py", line (\d+)', found.stderr)]
    assert [lines[n - 1].strip() for n in named] == ["f()", "return 1 / (comm.rank - 1)"]
    assert "script.py" not in found.stderr and found.stderr.count("Traceback") == 1


# A terminal


def on_a_terminal(*command: str, keys: list[bytes], limit: float = 60, **environment: str) -> str:
    """What a terminal of 100 columns shows; a key is sent each time that nothing has come for a while."""
    token, (ours, theirs) = uuid.uuid4().hex, pty.openpty()
    environment = (
        os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100", "ZERO_REF_TEST": token} | environment
    )
    process = subprocess.Popen(
        [sys.executable, *command], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=ROOT
    )
    os.close(theirs)
    shown, end = b"", time.monotonic() + limit
    try:
        while time.monotonic() < end:
            if select.select([ours], [], [], 0.1)[0]:
                try:
                    data = os.read(ours, 1 << 16)
                except OSError:  # the end, on Linux
                    break
                shown += data
                if keys and shown.endswith(b"(Enter to go on)"):
                    os.write(ours, keys.pop(0))
            elif process.poll() is not None:
                break
        assert process.wait(5) == 0, shown.decode()
    finally:
        process.kill()
        os.close(ours)
    assert not left_behind(token)
    return shown.decode().replace("\r", "")


@pytest.mark.skipif(sys.platform != "linux", reason="mpirun's terminal is found in /proc")
@pytest.mark.rest("two runs in a terminal")
def test_it_waits_at_a_question_on_a_terminal(tmp_path):
    path = lesson(tmp_path)
    shown = on_a_terminal(str(path), "--language", "en", keys=[b"\n"])
    assert re.search(r"Think first: which\?\n\n\(Enter to go on\)\n.*one", shown, re.S)
    assert "\033[1;36mTitle\033[0m" in shown
    assert "\033" not in on_a_terminal(str(path), "--language", "en", keys=[b"\n"], NO_COLOR="1")


@pytest.mark.skipif(sys.platform != "linux", reason="mpirun's terminal is found in /proc")
@pytest.mark.rest("a whole lesson, twice")
def test_the_end_of_the_input_ends_all_pauses():
    shown = on_a_terminal(str(FOUR), "--language", "en", keys=[b"\x04"])
    assert shown.count("(Enter to go on)") == 1 and "To remember" in shown
    lines = re.sub("\033\\[[0-9;]*m", "", shown).splitlines()
    assert 80 < max(map(width, lines)) <= 100  # as wide as the terminal


# Markdown


@pytest.mark.parametrize(
    "before, after, whole",
    [
        ("和是", "四份", "和是四份"),
        ("和是，", "rank 0", "和是，rank 0"),
        ("每个 rank", "都有", "每个 rank 都有"),
        ("每个", "rank", "每个 rank"),
        ("one", "line", "one line"),
        ("把**分片", "收集**", "把**分片收集**"),
        ("**分片**", "收集", "**分片**收集"),
        ("用 `Send`", "发送", "用 `Send` 发送"),
        ("（见", "`a`）", "（见 `a`）"),
    ],
)
def test_lines_are_joined_as_each_language_is_written(before, after, whole):
    assert prose.joined(before, after) == whole


def test_paragraphs_are_one_line_each():
    text = "# A title\na\nb\n\n- one\n  more\n- two\n\n```\n x\n  y\n```\nc\n|d|\n"
    assert prose.paragraphs(text) == [
        *("# A title", "a b", "", "- one more", "- two", "", "```", " x", "  y", "```", "c |d|")
    ]
    assert prose.plain(text).splitlines() == [
        "A title",
        "a b",
        "",
        "- one more",
        "- two",
        "",
        " x",
        "  y",
        "c |d|",
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "lessons").glob("[0-9]*.py")), ids=lambda path: path.stem)
def test_every_lesson_has_a_text_of_at_most_eighty_columns_in_each_language(path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    cells = parts(path)
    for language in ("zh", "en"):
        texts = [part.text for part in cells if part.language == language]
        lines = [line for text in texts for line in prose.plain(text).splitlines()]
        assert len(texts) >= 4 and max(map(width, lines)) <= 80
        assert not any("**" in line or line.startswith("#") for line in lines)
        assert any(map(prose.asks, texts)) or path.stem[:2] == "08", "a lesson asks"
    source = path.read_text(encoding="utf-8").splitlines()
    for part in cells:
        if part.language is None:
            for statement in statements(part):
                assert source[statement.lineno - 1].strip()


def test_a_file_without_cells_is_no_lesson(tmp_path):
    path = tmp_path / "plain.py"
    path.write_text("x = 1\n")
    frame = type("Frame", (), {"f_code": compile("", str(path), "exec")})()
    assert parts(path) == [] and script.read(frame, "en", None) is None
