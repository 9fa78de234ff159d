"""What commands print: in 80 columns, in either language, and where a file lies that they have written."""

import json
import os
import re
import shutil
import string
import subprocess
import sys

import numpy as np
import pytest
from launching import ROOT, mpirun
from wcwidth import width

from zero_ref import launch
from zero_ref.checkpoint.__main__ import inspect
from zero_ref.explore import __main__ as explore
from zero_ref.launch import terminal
from zero_ref.plan import __main__ as command
from zero_ref.plan import answer, calibrate, compare, paper
from zero_ref.plan.timing import Link, Machine

CHINESE = re.compile("[\u4e00-\u9fff]")
LANGUAGES = ("en", "zh")
MACHINE = Machine(
    reduce_scatter=Link(1e-3, 1e9),
    all_gather=Link(2e-3, 5e10),
    flops=1e14,
    memory=1e12,
    update=1e-9,
    pass_call=1.0,
    update_call=0.5,
    loss_call=0.25,
    ranks=128,
    cores=1024,
)
SHAPE = "--model transformer --layers 96 --hidden 12288 --heads 96 --sequence 2048 --ranks 1000"
PLANS = (
    "--parameters 7.5e9 --ranks 64",
    "--parameters 1e14 --ranks 1000000 --group 8 --k 18 --memory 80GB --bandwidth 12e9 --latency 1e-5",
    "--parameters 1e14 --ranks 4 --memory 1GB --bandwidth 1 --flops 1 --batch-size 4096",
    f"{SHAPE} --batch-size 3000000 --memory 80GB --checkpointing",
    f"{SHAPE} --vocab 50257 --positions 2048 --untied",
    f"{SHAPE} --parameters 175e9",
    "--model mlp --features 64 --classes 10 --hidden 400,400 --dtype float32 --ranks 3 --bandwidth 1e9",
    "--model linear --features 10 --targets 1 --dtype float64 --ranks 3",
    "--model mlp --features 64 --classes 10 --ranks 8 --group 4 --code-weights 8 --hpz --prefetch "
    "--bandwidth 1e9 --bandwidth-between 1e7 --latency 1e-5 --latency-between 1e-3 --flops 1e9",
)


# English words that stand in Chinese text, too
KEPT = {"linear", "rank", "padding", "block", "token", "embedding", "unit", "train", "transformer"}
KEPT |= {"hybrid", "shard"}


def fields(text):
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


@pytest.mark.parametrize("package", ["plan", "checkpoint", "generate", "launch", "report"])
def test_every_word_is_there_in_both_languages(package):
    found = terminal.both_languages(f"zero_ref.{package}")
    source = "".join(file.read_text() for file in (ROOT / "zero_ref").rglob("*.[jp][sy]"))
    for key, texts in found.items():
        assert list(texts) == ["en", "zh"], key
        assert fields(texts["en"]) == fields(texts["zh"]), key
        assert not CHINESE.search(texts["en"]), key
        said = re.sub(r"\{\w+\}", "", texts["en"])
        if package != "report" and re.search("[a-z]{3}", said):
            assert CHINESE.search(texts["zh"]) or key == "transformer", key
        if package == "plan":  # or half of it, as in f"share_of_{term}"
            parts = key.split("_")
            ways = [("_".join(parts[:i]), "_".join(parts[i:])) for i in range(1, len(parts))]
            used = [f"{a}_{{" in source or f"}}_{b}" in source for a, b in ways]
            assert re.search(rf"\b{key}\b", source) or any(used), key


def fits(text, language, most=80):
    """No line is wider than the terminal, and the words are of the language."""
    lines = text.splitlines()
    assert max(map(width, lines)) <= most, max(lines, key=width)
    assert bool(CHINESE.search(text)) == (language == "zh")
    return text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("line", PLANS)
def test_every_plan_fits(line, language, monkeypatch):
    for columns, most in (("40", 80), ("80", 80), ("200", 120)):
        monkeypatch.setenv("COLUMNS", columns)
        said = answer.plan(command.parse([*line.split(), "--language", language]))
        fits(said, language, most)
    if language == "zh":
        words = re.findall(r"(?<![\w-])[a-z]{4,}\b", said)
        assert set(words) <= KEPT, words


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", paper.PRINT)
def test_every_table_of_the_paper_fits(name, language, monkeypatch):
    said = {}
    for columns, most in (("80", 80), ("200", 120)):
        monkeypatch.setenv("COLUMNS", columns)
        said[most] = fits(paper.print_part(name, language), language, most)
    if name == "table1":  # one model in each part, or all side by side
        assert [text.count("---\n") for text in said.values()] == [3, 1]
        assert "7.5B P_os+g+p\n" in said[80] and "7.5B P_os+g+p  128B P_os" in said[120]


@pytest.mark.parametrize("language", LANGUAGES)
def test_comparing_and_calibrating_fit(language, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    word = terminal.words_of("zero_ref.plan", language)
    held = [["1024", "3", *["123,456,789,012"] * 3, word["no_of_bytes"]]]
    timed = [["1024", "3", "12345.67", "123456.78", "+1000%", "1234.56", "123456.78", "12345.67"]]
    said = fits(terminal.fold(compare.tables(held, timed, MACHINE, word)), language)
    assert "1024" in said and "+1000%" in said and f"128 {'个 rank' if language == 'zh' else 'ranks'}" in said
    said = fits(calibrate.summary(MACHINE, language), language)
    assert "50.00 GB/s" in said and "1,000.0" in said


# Folding


@pytest.mark.parametrize("text", [
    "A sentence  with two blanks, “marks” (and others) — 3 GB, at /a/path: done.",
    "阶段 3 放不下（还差 1.750 GB）：“优化器状态”，16.88 GB。 rank 3、4；",
    " (", "）", "", "x" * 300,
])  # fmt: skip
def test_nothing_gets_lost_by_folding(text, monkeypatch):
    assert "".join(terminal.PIECE.findall(text)) == text
    for columns in ("80", "100"):
        monkeypatch.setenv("COLUMNS", columns)
        long = " ".join([text] * 9)
        assert "".join("".join(terminal.folded(long)).split()) == "".join(long.split())


def test_lines_break_where_a_reader_expects_it(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for before in range(12):
        lines = terminal.folded("型" * before + "模型（状态），" * 40)
        assert all(width(line) <= 80 and line[0] not in terminal.CLOSES for line in lines)
        assert all(width(line) > 70 and line[-1] not in terminal.OPENS for line in lines[:-1])
    assert terminal.folded(f"{'x' * 73} 135.0 GB.") == ["x" * 73, "135.0 GB."]
    assert terminal.folded(f"{'x' * 60} (yes") == [f"{'x' * 60} (yes"]
    path = "/" + "a" * 90
    assert terminal.folded(f"outputs  {path} there")[0] == f"outputs  {path}", "a path stays whole"
    for label in ("options  ", "选项     ", "rank 12  ", "- "):
        first, *others = terminal.folded(label + "word " * 40)
        assert first.startswith(label + "word") and others
        assert {line[: width(label) + 1] for line in others} == {" " * width(label) + "w"}


@pytest.mark.parametrize("keep, together", [(1, 1), (2, 1), (1, 3)])
def test_a_table_that_is_too_wide_is_cut_between_columns(keep, together, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    header = [f"{'k' if i < keep else 'c'}{i}" for i in range(keep + 9)]
    rows = [[f"{row}.{i}" + "9" * 20 * (i >= keep) for i in range(len(header))] for row in range(3)]
    parts = terminal.fitting(rows, header, keep, together).split("\n\n")
    assert len(parts) > 2 and max(width(line) for part in parts for line in part.splitlines()) <= 80
    cut = [[line.split() for line in part.splitlines() if "-" not in line] for part in parts]
    assert all(line[:keep] == whole[:keep] for part in cut for line, whole in zip(part, [header, *rows]))
    for i, whole in enumerate([header, *rows]):
        assert [cell for part in cut for cell in part[i][keep:]] == whole[keep:]
    assert all((len(part[0]) - keep) % together == 0 for part in cut)
    assert terminal.fitting([["1"] * 3], ["a", "b", "c"]).count("\n") == 2, "what fits stays whole"


# Commands that write files


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run at 3 ranks: its checkpoint and its record."""
    folder = tmp_path_factory.mktemp("trained")
    line = "--hidden 20,7 --steps 2 --quiet --save ck --record r.json --dtype float16 --stage 2"
    done = mpirun(3, "-m", "zero_ref.train", *line.split(), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def run(folder, *line, **environment):
    done = mpirun(0, "-m", *line, cwd=folder, COLUMNS="80", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.rest("runs for each", every=2)
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_writes_a_file_says_where_and_what_opens_it(language, trained):
    """The environment decides, and --language is asked first."""
    chosen = {"LC_ALL": "zh_CN.UTF-8"} if language == "zh" else {"LC_ALL": "C.UTF-8"}
    other = {"LC_ALL": "C.UTF-8" if language == "zh" else "zh_CN.UTF-8"}
    commands = {
        "p.html": ("zero_ref.report p.html r.json", "浏览器", "browser"),
        "w.st": ("zero_ref.checkpoint export ck w.st", "safetensors.numpy", "safetensors.numpy"),
        "o.csv": ("zero_ref.predict --checkpoint ck --data digits --output o.csv", "电子表格", "spreadsheet"),
        "e.html": ("zero_ref.explore e.html", "浏览器", "browser"),
    }
    for name, (line, *opens) in commands.items():
        for environment, more in ((chosen, ""), (other, f" --language {language}")):
            said = run(trained, *(line + more).split(), **environment)
            assert f"  {trained / name}\n" in said and opens[language == "en"] in said, line
            assert bool(CHINESE.search(said)) == (language == "zh"), said
            page = (trained / name).read_text() if name.endswith("html") else ""
            said = re.findall(r'LANGUAGE = "(\w+)"|"language":"(\w+)"', page)
            assert [a or b for a, b in said] == [language] * bool(page)


STUB = """#!/bin/sh
echo "$(basename "$0") $*" >> {log}
case "$*" in *"--stage $FAILS"*) exit 3;; *zero_ref.report*) exec {python} "$@";; esac
"""


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
@pytest.mark.parametrize("fails", ["none", "2"])
def test_make_compare_says_how_far_it_is_and_where_the_page_lies(fails, trained, tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("mpirun", "python"):
        (tmp_path / "bin" / name).write_text(STUB.format(log=tmp_path / "log", python=sys.executable))
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "runs").mkdir()
    for stage in range(4):
        shutil.copy(trained / "r.json", tmp_path / "runs" / f"stage{stage}.json")
    line = ["make", "-f", ROOT / "Makefile", "-o", "setup", "VENV=.", "compare"]
    # Under `make test`, MAKELEVEL would have this make name its folder first.
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    environment = outer | {"PYTHONPATH": str(ROOT), "FAILS": fails}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    said, ran = done.stdout.splitlines(), (tmp_path / "log").read_text().splitlines()
    stages = 4 if fails == "none" else 3
    shown = [f"[{k + 1}/4] mpirun -n 4 python -m zero_ref.train --stage {k}" for k in range(stages)]
    assert said[:stages] == shown and len(ran) == stages + (fails == "none"), done
    assert [f"--stage {k} " in command for k, command in enumerate(ran[:stages])] == [True] * stages
    page = tmp_path / "runs" / "compare.html"
    assert (done.returncode == 0) == page.exists() == (fails == "none")
    assert said[stages:] == ([f"page     {page}", " " * 9 + "open it in a browser"] if page.exists() else [])


@pytest.mark.parametrize("language", LANGUAGES)
def test_checkpoint_and_prediction_fit(language, trained, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(trained)
    said = inspect("ck", language)
    short = "\n".join(line for line in said.splitlines() if str(trained) not in line)
    fits(short, language)
    record = json.loads((trained / "r.json").read_text())
    assert f"{record['parameters']:,}" in said and said.count("sha256 ") == 3 and str(trained) in said
    line = f"zero_ref.predict --checkpoint ck --data digits --language {language}"
    said = fits(run(trained, *line.split()), language)
    assert ("准确率 " if language == "zh" else "accuracy ") in said and "1,797" in said


def test_numbers_that_have_no_spread_are_told_in_chinese():
    from zero_ref.predict import score

    assert score(np.zeros((3, 1)), np.ones((3, 1)), 0, "zh") == "r2 无定义"


def test_a_page_begins_in_the_language_of_the_run():
    assert 'LANGUAGE = "zh"' in explore.page("zh") and 'LANGUAGE = ""' in explore.page()


@pytest.mark.parametrize("module", ["plan", "predict", "checkpoint export", "report", "explore"])
def test_help_is_english_and_has_the_language(module):
    line = [sys.executable, "-m", *f"zero_ref.{module} --help".split()]
    environment = {"PYTHONPATH": str(ROOT), "LC_ALL": "zh_CN.UTF-8", "PYTHONUTF8": "1"}
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert "--language" in done.stdout and not CHINESE.search(done.stdout), done.stderr


def test_an_error_is_english(monkeypatch):
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    with pytest.raises(launch.UsageError) as error:
        command.parse(["--parameters", "1e9"])
    assert not CHINESE.search(str(error.value))
