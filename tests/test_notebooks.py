"""A lesson as a notebook: what is written, and cells that run on ranks which live and end with the kernel."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from argparse import Namespace
from pathlib import Path

import pytest
from launching import ROOT, left_behind

from lessons.checker import words
from lessons.reader import course, notebook, parts
from lessons.reader.kernel import on_ranks
from lessons.reader.ranks import Failed, Ranks

LESSONS = {path.stem: path for path in sorted((ROOT / "lessons").glob("[0-9]*.py"))}
CHINESE = re.compile("[\u4e00-\u9fff]")


# The file


@pytest.mark.parametrize("language", words.LANGUAGES)
@pytest.mark.parametrize("name", LESSONS)
def test_a_notebook_has_the_lesson_in_one_language(name, language):
    made = json.loads(notebook.content(LESSONS[name], language))
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in made["cells"]]
    assert cells[1] == (
        "code",
        f"%load_ext zero_ref.learn\n%ranks {notebook.ranks_of(LESSONS[name])} --language {language}",
    )
    lesson = [
        part for part in parts(LESSONS[name]) if part.language in (None, language) and part.text.strip()
    ]
    code = [part.text.strip("\n") for part in lesson if part.language is None]
    assert [text for kind, text in cells[2:] if kind == "code"] == code
    texts = [text for kind, text in cells if kind == "markdown"]
    assert len(texts) == len(lesson) - len(code)
    for text in texts:
        assert bool(CHINESE.search(text)) == (language == "zh")
        assert not re.search(r"[\u4e00-\u9fff，。]\n[\u4e00-\u9fff]", text), "a space, where it is shown"
    assert len({cell["id"] for cell in made["cells"]}) == len(cells)


def test_it_is_what_the_format_asks_for(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    for name, lesson in LESSONS.items():
        nbformat.validate(nbformat.reads(notebook.content(lesson, "zh"), 4)), name


def test_the_command_writes_it_and_replaces_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    o = Namespace(lesson="6", file=None, language="zh")
    assert course.write_notebook(o) == 0 and "06_ring_reduce_scatter.zh.ipynb" in capsys.readouterr().out
    written = Path("06_ring_reduce_scatter.zh.ipynb").read_text(encoding="utf-8")
    assert written == notebook.content(LESSONS["06_ring_reduce_scatter"], "zh")
    Path("06_ring_reduce_scatter.zh.ipynb").write_text("mine")
    assert course.write_notebook(o) == 2 and "没有动它" in capsys.readouterr().err
    assert Path("06_ring_reduce_scatter.zh.ipynb").read_text() == "mine"
    assert (
        course.write_notebook(Namespace(lesson="06_ring_reduce_scatter", file="x.ipynb", language="en")) == 0
    )
    assert course.write_notebook(Namespace(lesson="99", file=None, language="en")) == 2
    assert "there is no lesson 99" in capsys.readouterr().err
    assert course.write_notebook(Namespace(lesson="00", file="no/such/x.ipynb", language="en")) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"06_ring_reduce_scatter.zh.ipynb", "x.ipynb"}


@pytest.mark.parametrize(
    "cell, sent",
    [
        ("x = 1\n", True),
        ("%ranks 4\n", False),
        ("!ls\n", False),
        ("\n", False),
        ("%%time\nx\n", False),
        ("?x\n", False),
    ],
)
def test_what_begins_with_a_percent_sign_is_the_kernels(cell, sent):
    lines = cell.splitlines(keepends=True)
    assert on_ranks(lines) == (["%%ranks\n", *lines] if sent else lines)
    assert on_ranks(on_ranks(lines)) == on_ranks(lines)


# The ranks


@pytest.fixture(scope="module")
def held():
    """Three ranks, in English; afterwards no process and no file is left."""
    token = uuid.uuid4().hex
    before = set(Path(tempfile.gettempdir()).glob("zero_ref_notebook_*"))
    os.environ["ZERO_REF_TEST"] = token
    ranks = Ranks(3, "en", 3)
    yield ranks
    ranks.end()
    del os.environ["ZERO_REF_TEST"]
    time.sleep(0.2)
    assert not left_behind(token)
    assert set(Path(tempfile.gettempdir()).glob("zero_ref_notebook_*")) <= before


START = "from _lesson import each, ranks, say, show\ncomm = ranks(3)\nx = comm.rank * 10"


def failure(ranks: Ranks, source: str) -> list[str]:
    """The lines of the one message with which a cell fails."""
    with pytest.raises(Failed) as failed:
        ranks.run(source)
    assert failed.value._render_traceback_() == [str(failed.value)]
    return str(failed.value).splitlines()


def test_cells_share_variables_and_each_line_says_whose_it_is(held, capsys):
    held.run(START)
    held.run("x += 1\nprint('mine is', x)\neach(comm, f'rank {comm.rank} has {x}')\nsay('一', 'one')\nx")
    assert capsys.readouterr().out.splitlines() == [
        *("rank 0 has 1", "rank 1 has 11", "rank 2 has 21", "one"),
        *(
            line
            for r in range(3)
            for line in (f"[rank {r}] mine is {10 * r + 1}", f"[rank {r}] {10 * r + 1}")
        ),
    ]
    held.run("import inspect\ndef f():\n    return 1\nshow(inspect.getsource(f))\nNone")
    assert capsys.readouterr().out == "def f():\n    return 1\n\n"


def test_a_cell_that_fails_gives_one_message_and_the_ranks_live_on(held):
    held.run(START)
    lines = failure(held, "y = 5\nif comm.rank == 1:\n    y / 0")
    assert lines[0] == "rank 0, 2: done"
    assert lines[1] == "rank 1: failed at line 3, ZeroDivisionError: division by zero"
    assert lines[2:] == ["All ranks live, with their variables."]
    assert failure(held, "1 +")[0].startswith("rank 0, 1, 2: failed at line 1, SyntaxError")
    assert failure(held, "import sys\nsys.exit(3)")[0] == "rank 0, 1, 2: failed at line 2, SystemExit: 3"
    assert failure(held, "ranks(4)")[0].startswith("rank 0, 1, 2: failed at line 1, ValueError")
    held.run("assert y == 5")


@pytest.mark.parametrize(
    "source, wanted",
    [
        (
            "if comm.rank == 1:\n    int('x')\ncomm.mpi.Barrier()",
            ["rank 0, 2: stopped at line 3, comm.mpi.Barrier()", "rank 1: failed at line 2, ValueError"],
        ),
        (
            "if comm.rank:\n    comm.sum(1.0)\n",
            ["not over after", "rank 0: done", "rank 1, 2: stopped at line 2, comm.sum(1.0)"],
        ),
        (
            "def f():\n    comm.mpi.Recv(bytearray(1), (comm.rank + 1) % 3)\nf()",
            ["not over after 3 s", "rank 0, 1, 2: stopped at line 3, f()"],
        ),
        ("while True:\n    pass", ["not over after 3 s", "rank 0, 1, 2: stopped at line"]),
        (
            "import os\nif comm.rank == 2:\n    os._exit(1)\ncomm.sum(1.0)",
            ["ended with it", "its process ended"],
        ),
    ],
    ids=["fails", "skips", "hangs", "loops", "dies"],
)
@pytest.mark.rest("waits for what hangs")
def test_a_cell_that_hangs_gives_one_message_and_the_next_starts_anew(source, wanted, held, monkeypatch):
    monkeypatch.setattr("lessons.reader.ranks.GRACE", 0.5)
    held.run(START)
    lines = failure(held, source)
    assert all(any(text in line for line in lines) for text in wanted), lines
    assert lines[-1].startswith("These ranks have been ended") and len(lines) <= 4
    held.run(START)


@pytest.mark.rest("a start of ranks")
def test_an_interrupt_ends_the_ranks_and_not_the_kernel(held, monkeypatch):
    held.run(START)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    assert failure(held, "import time\ntime.sleep(60)")[0] == "Interrupted."
    held.run(START)


def test_what_cannot_be_started_says_why(monkeypatch):
    monkeypatch.setattr("lessons.reader.ranks.find_mpirun", lambda: sys.executable)
    lines = failure(Ranks(2, "zh", 5), "1")
    assert len(lines) == 1 and lines[0].startswith("2 个 rank 没有启动起来：")


@pytest.mark.rest("a start of ranks")
def test_ranks_end_when_the_kernel_is_killed(tmp_path):
    token = uuid.uuid4().hex
    cell = "from _lesson import ranks\nif ranks(3).rank: ranks(3).mpi.Barrier()\nimport time\ntime.sleep(60)"
    program = "from lessons.reader.ranks import Ranks\nr = Ranks(3, 'en', 60)\nr.run('1')\n"
    program += f"print('up', flush=True)\nr.run({cell!r})"
    environment = os.environ | {"ZERO_REF_TEST": token, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, cwd=ROOT
    )
    for line in process.stdout:
        if b"up" in line:
            break
    time.sleep(0.5)
    process.kill()
    process.wait()
    end = time.monotonic() + 20
    while left_behind(token) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left_behind(token)


# In Jupyter


def execute(book, language="en", allow=False):
    """Run a notebook in a kernel of its own; the notebook with its outputs. No process is left."""
    pytest.importorskip("ipykernel")
    nbclient = pytest.importorskip("nbclient")
    token = uuid.uuid4().hex
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = {"ZERO_REF_TEST": token, "PYTHONPATH": paths, "LANG": language}
    old = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        client = nbclient.NotebookClient(
            book, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT / "lessons")}}
        )
        client.allow_errors = allow
        client.execute()
    finally:
        for name, value in old.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    end = time.monotonic() + 10
    while left_behind(token) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left_behind(token)
    return book


def printed(cell) -> str:
    return "".join(output.get("text", "") for output in cell.get("outputs", []))


@pytest.mark.rest("each lesson in a kernel of its own")
@pytest.mark.parametrize("name", LESSONS)
def test_every_notebook_runs(name):
    """The asserts of a lesson run, too; both languages are tried."""
    nbformat = pytest.importorskip("nbformat")
    language = "zh" if int(name[:2]) % 2 else "en"
    book = nbformat.reads(notebook.content(LESSONS[name], language), 4)
    outputs = "".join(map(printed, execute(book).cells))
    assert bool(CHINESE.search(outputs)) == (language == "zh") and outputs.count("\n") > 4
    assert "[rank" not in outputs, "what a lesson says is said once"


@pytest.mark.rest("a kernel")
def test_a_lesson_that_is_opened_as_it_is_runs_on_ranks():
    """As Jupyter has it with jupytext: both languages, and no cell that starts ranks."""
    jupytext = pytest.importorskip("jupytext")
    book = execute(jupytext.read(LESSONS["06_ring_reduce_scatter"]))
    outputs = "".join(map(printed, book.cells))
    assert "rank 3: [1000, 2000, 3000" in outputs and "each rank has its own shard" in outputs


@pytest.mark.rest("a kernel")
def test_the_kernel_lives_on_after_a_cell_that_fails_or_hangs():
    v4 = pytest.importorskip("nbformat.v4")
    cells = [
        "%load_ext zero_ref.learn\n%ranks 3 --language en --limit 2",
        START,
        "comm.mpi.Recv(bytearray(1), 0)",
    ]
    cells += [START + "\nprint(x)", "1 / 0", "x", "%ranks 4 --limit never", "!echo kernel"]
    book = execute(v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells]), allow=True)
    errors = ["\n".join(output.get("traceback", [])) for cell in book.cells for output in cell.outputs]
    errors = [text for text in errors if text]
    assert len(errors) == 3 and "not over after 2 s" in errors[0] and "ZeroDivisionError" in errors[1]
    assert errors[2] == "%ranks 4 --language zh --limit 60"
    assert printed(book.cells[3]) == printed(book.cells[5]) == "[rank 0] 0\n[rank 1] 10\n[rank 2] 20\n"
    assert "kernel" in printed(book.cells[-1])
