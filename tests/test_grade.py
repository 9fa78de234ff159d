"""A made-up class is graded in one go; what comes out is as it should be, and can be read by others.

None of these tests touches lessons/exercises or a student's progress: everything is below tmp_path.
"""

import argparse
import ast
import csv
import html.parser
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import uuid
import xml.etree.ElementTree as XML
import zipfile
from pathlib import Path

import pytest
from launching import ROOT, left_behind, mpirun

from lessons.checker import checking, stub, words
from lessons.checker.evidence import Diagnosis
from lessons.checker.ranks.runner import Outcome
from lessons.checker.teacher import class_page, extract, gradebook, release, student_process
from lessons.checker.teacher.grade import seed_of
from lessons.checker.teacher.results import Grading, Record, titles_and_points
from lessons.checker.teacher.submissions import LARGEST, HandedIn, Line, read_all

pytest_plugins = ["browser"]  # the fixture `opened`

RING = "06_ring_reduce_scatter"
RIGHT = (ROOT / "tests" / "answers" / f"{RING}.py").read_text(encoding="utf-8")
BEGIN = "    ends = bounds(x.size, [1] * comm.size)\n"
MARK = "61.0625"  # seconds that a child sleeps which must not outlive the grading: its name in the table


def changed(*texts: str) -> str:
    """The right answer with texts in the place of others."""
    text = RIGHT
    for old, new in zip(texts[::2], texts[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    return text


def first(*lines: str) -> str:
    """The right answer, after these lines in the function."""
    return changed(BEGIN, "".join(f"    {line}\n" for line in lines) + BEGIN)


AT_THE_TOP = """
import os, sys, subprocess
from _exercise import check
os.environ["PATH"] = ""
print("top level")
STEP: int = 1
np = None
{answer}
right_one = ring_reduce_scatter
open("top_level_was_here", "w").write("x")
if True:
    os._exit(7)
os.kill(os.getppid(), 9)
if __name__ == "__main__":
    check(__file__)
"""

SPOILS = """
import numpy as np
import builtins, os, signal, sys, threading, warnings

def ring_reduce_scatter(x, comm):
    np.array_equal = np.allclose = np.zeros = lambda *a, **k: True
    type(comm).send = type(comm).recv = type(comm).sendrecv = lambda *a, **k: 0
    builtins.sum = lambda *a: 0
    sys.setrecursionlimit(80)
    warnings.simplefilter("error")
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    os.environ.clear()
    os.chdir("/")
    threading.Thread(target=lambda: None, daemon=True).start()
    return x[:1]
"""

KILLS = """
import os, signal

def ring_reduce_scatter(x, comm):
    pid = os.getpid()
    while pid > 1:
        with open(f"/proc/{pid}/cmdline") as file:
            if "lessons.checker.teacher.student_process" in file.read():
                os.kill(pid, signal.SIGKILL)
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
    while True:
        pass
"""

CHILD = first("import subprocess", f"subprocess.Popen(['sleep', '{MARK}'], env={{}}, start_new_session=True)")
LOUD = first(
    "print('x' * 1000 + '\\n' * 20)",
    "open('left_here', 'w').write('x')",
    "import tempfile",
    "tempfile.mkstemp(prefix='left_here')",
)

# Folder or archive -> text of the exercise, and the status and key that it must get.
CLASS = {
    "a right": (RIGHT, "passed", None),
    "b wrong.zip": (changed("return partial", "return partial / comm.size"), "wrong", "averaged"),
    "c missing": (None, "missing", "missing"),
    "d syntax": (changed("return partial", "return partial)"), "wrong", "syntax"),
    "e hang": (
        changed("comm.sendrecv(partial, right, left)", "comm.send(partial, right) or comm.recv(left)"),
        "wrong",
        "hang_circle",
    ),
    "f endless": (first("while comm.size > 1:", "    pass"), "wrong", "endless"),
    "g exits": (first("import os", "os._exit(5)"), "wrong", "died"),
    "h spoils": (SPOILS, "wrong", None),
    "i kills": (KILLS, "error", "ended"),
    "j loud": (LOUD, "passed", None),
    "k child.zip": (CHILD, "passed", None),
    "m top level": (AT_THE_TOP.format(answer=RIGHT), "passed", None),
    "n 王小明.zip": (RIGHT.replace("partial", "部分和"), "passed", None),
    "o stub": (stub.text(RING), "not_started", "not_started"),
    "p two": (RIGHT, "error", "duplicate"),
    "q gbk": (("# 中文\n" + RIGHT).encode("gbk"), "error", "not_utf8"),
    "r outside.zip": (None, "missing", "missing"),
    "s no archive.zip": (None, "missing", "missing"),
    "t bomb.zip": ("#" * (40 << 20), "error", "too_large"),
    "u other": (changed("return partial", "return partial / comm.size"), "wrong", "averaged"),
    "w cheats": (
        "from lessons.checker.ranks import reference\n\n"
        "def ring_reduce_scatter(x, comm):\n    return reference.ring_reduce_scatter(x, comm)\n",
        "passed",
        None,
    ),
}
EVIL = '=1+1 <script>alert("1")</script> & ]]>'


def hand_in(folder: Path) -> None:
    """Write the class."""
    for name, (text, _, _) in CLASS.items():
        content = text.encode() if isinstance(text, str) else text
        if not name.endswith(".zip"):
            (folder / name).mkdir()
            if content is not None:
                (folder / name / f"{RING}.py").write_bytes(content)
        elif content is not None:
            with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(f"work/{RING}.py", content)
    whole = folder / "a right" / "lessons"
    (whole / "exercises").mkdir(parents=True)
    (folder / "a right" / f"{RING}.py").replace(whole / "exercises" / f"{RING}.py")
    (whole / f"{RING}.py").write_text("the lesson")
    (folder / "a right" / "student.toml").write_text('name = "张三"\nid = "0042"\n', encoding="utf-8")
    own = {"exercises": {RING: {"attempts": 7, "hints": 2, "gave_up": True, "passed": False}}}
    (folder / "a right" / ".learn").mkdir()
    (folder / "a right" / ".learn" / "progress.json").write_text(json.dumps(own))
    (folder / "p two" / "old").mkdir()
    (folder / "p two" / "old" / f"{RING}.py").write_text(RIGHT + "#\n")
    (folder / "d syntax" / "student.toml").write_text("name = \n")
    (folder / "s no archive.zip").write_text("no archive")
    (folder / "u other" / "student.toml").write_text(f"id = {json.dumps(EVIL)}\nname = '@x'\n")
    with zipfile.ZipFile(folder / "r outside.zip", "w") as archive:
        for path in (f"../{RING}.py", f"/tmp/{RING}.py", f"C:\\{RING}.py", f"a/../../{RING}.py"):
            archive.writestr(path, RIGHT)
        link = zipfile.ZipInfo(f"{RING}.py")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    (folder / "list.txt").write_text("no student")


def graded(folder: Path, out: Path, *options: str) -> subprocess.CompletedProcess:
    """Run the command, which must leave no process."""
    command = ("-m", "lessons.checker.teacher.grade", str(folder), "--out", str(out), *options)
    found = mpirun(0, *command, limit=120, ZERO_REF_LEARN=str(out.parent / "learn"))
    assert found.stderr == ""
    return found


@pytest.fixture(scope="module")
def school(tmp_path_factory):
    """The class, graded: its folder, the folder of the results, what was printed, the records."""
    folder, out = tmp_path_factory.mktemp("class"), tmp_path_factory.mktemp("out") / "grades"
    hand_in(folder)
    before = sorted(os.listdir(ROOT))
    found = graded(folder, out, "--exercises", "6", "--limit", "4", "--jobs", "3", "--secret", "s")
    assert found.returncode == 0
    assert sorted(os.listdir(ROOT)) == before
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return argparse.Namespace(folder=folder, out=out, printed=found.stdout, results=results)


def by_source(results: dict) -> dict[str, dict]:
    """Folder or archive -> record; there is one exercise."""
    sources = [student["source"] for student in results["students"]]
    return dict(zip(sources, results["records"], strict=True))


@pytest.mark.parametrize("source", CLASS)
def test_everybody_gets_what_is_due(school, source):
    record = by_source(school.results)[source]
    _, status, key = CLASS[source]
    assert record["status"] == status, record
    assert record["key"] == key or source == "h spoils", record
    assert (record["score"], record["points"]) == ((1.0, 3) if status == "passed" else (0.0, 0.0))
    assert bool(record["says"]) == (status != "passed") and record["max_points"] == 3
    assert record["version"] and (
        status in ("missing", "error") or re.fullmatch("[0-9a-f]{64}", record["sha256"])
    )


def test_nothing_of_a_student_is_left(school):
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if MARK in said(path)]
    assert "top_level_was_here" not in os.listdir(ROOT)


def said(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def test_who_is_who(school):
    names = {s["source"]: (s["student"], s["name"]) for s in school.results["students"]}
    assert names["a right"] == ("0042", "张三")
    assert names["n 王小明.zip"] == ("n 王小明", "")
    assert names["d syntax"] == ("d syntax", "")  # its student.toml cannot be read
    keys = {s["source"]: [line["key"] for line in s["remarks"]] for s in school.results["students"]}
    assert keys["d syntax"] == ["grade_broken_toml"] and keys["s no archive.zip"] == ["grade_broken_zip"]
    assert keys["r outside.zip"] == ["grade_unsafe"] * 5
    assert "list.txt" in school.printed.splitlines()[0]
    lines = [line for line in school.printed.splitlines() if str(school.out) not in line]
    assert max(map(words.width, lines)) <= 80, max(lines, key=words.width)
    page = school.out / "class.html"
    assert f"open it in a browser: {page}" in " ".join(school.printed.split()) and page.exists()


def test_lines_are_the_students_own(school):
    """In "m top level" others were left out before the function; a diagnosis counts them."""
    records = by_source(school.results)
    assert records["b wrong.zip"]["line"] == RIGHT.splitlines().index("    return partial") + 1
    text = AT_THE_TOP.format(answer=RIGHT)
    kept = extract.take(text, ("ring_reduce_scatter",)).text.splitlines()
    assert [a for a, b in zip(kept, text.splitlines()) if a not in ("", b)] == []


def test_progress_is_only_information(school):
    record = by_source(school.results)["a right"]
    assert (record["hints_used"], record["attempts"], record["gave_up"], record["status"]) == (
        2,
        7,
        True,
        "passed",
    )
    assert by_source(school.results)["b wrong.zip"]["attempts"] is None


def test_what_deserves_a_look(school):
    records = by_source(school.results)
    assert records["w cheats"]["imports"] == ["lessons.checker.ranks.reference"]
    assert [source for source, record in records.items() if record["imports"]] == ["w cheats"]
    equal = [set(each["students"]) for each in school.results["equal"]]
    assert {"0042", "m top level", "n 王小明"} in equal and {"b wrong", EVIL} in equal
    assert not any("o stub" in students for students in equal)


def test_the_same_secret_gives_the_same_records(school, tmp_path):
    """Also in another class: nobody's result depends on who is graded before."""
    few = ["b wrong.zip", "e hang", "g exits", "n 王小明.zip"]
    (tmp_path / "class").mkdir()
    for name in few:
        path = school.folder / name
        copy = shutil.copytree if path.is_dir() else shutil.copyfile
        copy(path, tmp_path / "class" / name)
    graded(
        tmp_path / "class", tmp_path / "out", "--exercises", RING, "--secret", "s", "--json", "--jobs", "2"
    )
    assert sorted(os.listdir(tmp_path / "out")) == ["results.json", "students"]
    again = by_source(json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8")))
    before = by_source(school.results)
    for name in few:
        assert again[name] | {"seconds": 0} == before[name] | {"seconds": 0}


def test_seeds_are_ones_own():
    seeds = {
        seed_of(secret, who, e) for secret in "st" for who in ("a", "a/b", "张三") for e in ("06_a", "07_b")
    }
    assert len(seeds) == 12 and seed_of("s", "a", "06_a") in seeds


# What others read


def rows(path: Path) -> list[list[str]]:
    content = path.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(content.decode("utf-8-sig").splitlines()))


def test_tables(school):
    head, *students = rows(school.out / "grades.csv")
    assert head == ["student", "name", RING, "total", "max"] and len(students) == len(CLASS)
    assert students[0] == ["0042", "张三", "3", "3", "3"] and students[1][2:] == ["0", "0", "3"]
    head, *records = rows(school.out / "records.csv")
    assert len(records) == len(CLASS) and {len(row) for row in records} == {len(head)}
    assert dict(zip(head, records[1]))["key"] == "averaged"
    for table in (students, records):
        assert not [cell for row in table for cell in row if cell.startswith(("=", "+", "-", "@"))]
    assert any("'" + EVIL in row for row in students) and any("'@x" in row for row in students)


def test_results_of_each_student(school):
    found = sorted((school.out / "students").glob("*/check_result.json"))
    assert len(found) == len(CLASS)
    results = {}
    for path in found:
        result = json.loads(path.read_text(encoding="utf-8"))
        numbers = result["statistics"]
        assert list(numbers) == ["total_exercations", "total_succeeds", "total_failures", "total_time"]
        assert all(type(number) is int for number in numbers.values())
        assert numbers["total_exercations"] == numbers["total_succeeds"] + numbers["total_failures"] == 1
        assert result["exercises"] == [{"name": RING, "result": bool(numbers["total_succeeds"])}]
        results[result["user_name"]] = numbers["total_succeeds"]
    assert results["0042"] == 1 and results[EVIL] == 0 and len(results) == len(CLASS)


def test_junit(school):
    root = XML.fromstring((school.out / "junit.xml").read_bytes())
    suites = {suite.get("name"): suite for suite in root}
    assert len(suites) == len(CLASS) and EVIL in suites
    kinds = {
        "passed": None,
        "wrong": "failure",
        "error": "error",
        "missing": "skipped",
        "not_started": "skipped",
    }
    for source, record in by_source(school.results).items():
        (test,) = suites[record["student"]].findall("testcase")
        assert [inner.tag for inner in test] == [kinds[record["status"]]] * (
            kinds[record["status"]] is not None
        )
        assert suites[record["student"]].get("failures") == str(int(record["status"] == "wrong")), source


class Page(html.parser.HTMLParser):
    """The elements of a page, in which each that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.words, self.attributes = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_of_the_class(school):
    text = (school.out / "class.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "href", "onclick"} & {name for name, _ in page.attributes}
    assert "http" not in text and "@import" not in text and "prefers-color-scheme: dark" in text
    words_of = "".join(page.words)
    assert EVIL in words_of and "张三" in words_of and school.results["secret"] != ""
    assert page.tags.count("tr") > len(CLASS)
    assert "2 of 7 wrong answers" in words_of  # averaged is the commonest


def test_the_page_in_chinese(tmp_path):
    (tmp_path / "class" / "李四").mkdir(parents=True)
    (tmp_path / "class" / "李四" / f"{RING}.py").write_text(stub.text(RING), encoding="utf-8")
    found = graded(tmp_path / "class", tmp_path / "out", "--exercises", "06", "--language", "zh")
    page = Page((tmp_path / "out" / "class.html").read_text(encoding="utf-8"))
    assert ("lang", "zh-CN") in page.attributes and "明天要再讲一遍的" in page.words
    assert not re.search(r"[A-Za-z]{5,} [a-z]{3,} [a-z]{3,}", "".join(page.words[page.words.index("未") :]))
    assert "李四：通过 0/1" in found.stdout


def test_harmless_cells():
    for text in ("=1", "+1", "-1", "@a", " =1", "\t=1", "\uff1d1"):
        assert gradebook.make_harmless(text) == "'" + text
    assert [gradebook.make_harmless(cell) for cell in ("a=1", "", 1, None, 0.5)] == ["a=1", "", 1, "", 0.5]


def test_characters_that_xml_does_not_have():
    assert words.replace_illegal("a\x00\x1b\ud800\ufffe中\n") == "a\ufffd\ufffd\ufffd\ufffd中\n"


HOSTILE = "\x1b]0;title\x07 \0 \x9b1m \u202e <script>alert(1)</script> \ud800 =1"


def test_no_control_character_gets_into_any_file(tmp_path):
    handed = HandedIn(HOSTILE, HOSTILE, HOSTILE, lines=[Line("grade_link", {"path": HOSTILE})])
    record = Record(HOSTILE, HOSTILE, RING, "wrong", key="raised", says=HOSTILE, params={HOSTILE: HOSTILE})
    record.case, record.left_out, record.imports = {"x": HOSTILE}, [(HOSTILE, 1)], [HOSTILE]
    grading = Grading("s", "en", 1.0, "1", titles_and_points([RING], "en"))
    grading.add(handed, [record], 1.0)
    grading.equal = [{"exercise": RING, "function": HOSTILE, "parts": 1, "students": [HOSTILE, HOSTILE]}]
    gradebook.write(grading, tmp_path, gradebook.FORMATS)
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(written) == 6
    for file in written:
        assert (
            re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", file.read_bytes().decode().replace("\r", ""))
            is None
        )
    assert "<script>" not in (tmp_path / "class.html").read_text()
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["records"][0]["says"] == HOSTILE


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_the_page_is_whole_on_a_phone(language, opened, tmp_path):
    names = sorted(file.stem for file in (ROOT / "lessons" / "checks").glob("[0-9]*.toml"))
    grading = Grading("s", language, 1.0, "1", titles_and_points(names, language))
    statuses = ("passed", "wrong", "missing", "not_started", "error")
    for student in ("2023123456", "zhang.xiaoming"):
        handed = HandedIn(student, student, "A Name of Several Words")
        records = [
            Record(student, student, name, statuses[n % 5], key="raised", says="x = y + " * 9)
            for n, name in enumerate(names)
        ]
        grading.add(handed, records, 1.0)
    grading.equal = [{"exercise": RING, "function": "f", "parts": 1, "students": list("abcdefgh" * 9)}]
    (tmp_path / "class.html").write_text(class_page.page(grading), encoding="utf-8")
    page = opened(tmp_path / "class.html", width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    inside = "all => all.every(e => e.getBoundingClientRect().right <= innerWidth && e.offsetWidth > 0)"
    assert page.locator(".letter, td, th[scope=row]").evaluate_all(inside)
    assert page.locator("#grid .letter").count() == 2 * len(names) >= 40
    text = page.locator("#each td.text").first.bounding_box()
    assert text["width"] > 300


# What is taken of a file


def test_only_what_is_needed_is_taken():
    text = (
        "from __future__ import annotations\nimport os, sys; print('hi'); K = 3\nimport numpy as np\n"
        "from _exercise import (check,\n    ring_all_gather)\nnp.sum = None\nEPS, (B, C) = 1e-8, (2, 3)\n"
        "TABLE = np.zeros(K)\nCACHE = make()\nclass Box:\n    def f(self): return EPS\n"
        "@np.vectorize\ndef helper(n):  # comment\n    return Box().f() + TABLE[0]\n"
        "def other(): pass\nright = lambda r: other2(r)\ndef other2(r): return r\n"
        "def f(x):\n    os = 3\n    return helper(x) + right(1), CACHE, ring_all_gather, lambda: sys.path\n"
        "for i in range(3): print(i)\n"
    )
    found = extract.take(text, ("f",))
    kept = [line for line in found.text.splitlines() if line]
    assert kept[:6] == [
        "from __future__ import annotations",
        "import sys; K = 3",
        "import numpy as np",
        "from _exercise import ring_all_gather",
        "EPS, (B, C) = 1e-8, (2, 3)",
        "TABLE = np.zeros(K)",
    ]
    assert "other():" not in found.text and "other2(r):" in found.text and "print" not in found.text
    assert found.left_out == [("CACHE", 9)] and found.project == ["_exercise.ring_all_gather"]
    assert found.text.splitlines().index("def f(x):") == text.splitlines().index("def f(x):")
    ast.parse(found.text)


@pytest.mark.parametrize(
    "text", ["def f(:", "x\x00", "(" * 500 + ")" * 500, "def f():\n  x = " + "-" * 100000 + "1"]
)
def test_what_python_cannot_read_is_taken_as_it_is(text):
    found = extract.take(text, ("f",))
    assert (found.parsed, found.text) == (False, text)


def test_who_imports_what_is_to_be_written_has_written_nothing():
    text = "from _exercise import ring_reduce_scatter\n"
    assert extract.take(text, ("ring_reduce_scatter",)).text.strip() == ""
    text += "mine = ring_reduce_scatter\ndef f(x): return mine(x)\n"
    assert extract.take(text, ("f",)).project == ["_exercise.ring_reduce_scatter"]


def test_a_mark_of_utf8_and_lines_of_windows():
    found = extract.take("\ufeff" + RIGHT.replace("\n", "\r\n"), ("ring_reduce_scatter",))
    assert found.parsed and "\r" not in found.text and found.functions


def test_fingerprints():
    def of(text: str) -> str:
        return extract.fingerprint(ast.parse(text).body[0])[0]

    one = of("def f(x, comm):\n    '''d'''\n    s: int = 0\n    for i in range(x): s += i\n    return s")
    assert one == of("def g(a, c):\n    t = 0  # t\n    for k in range(a):\n        t += k\n    return t")
    assert one != of("def g(a, c):\n    t = 0\n    for k in range(a):\n        t -= k\n    return t")
    assert of("def f(a, b): return min(a, b)") != of("def f(a, b): return max(a, b)")
    assert of("def f(a, b): return a - b") != of("def f(a, b): return b - a")


# What is handed in


def test_archives_in_folders_and_links(tmp_path):
    (tmp_path / "x").mkdir()
    with zipfile.ZipFile(tmp_path / "x" / "Homework.ZIP", "w") as archive:
        archive.writestr(f"__MACOSX/{RING}.py", "no")
        archive.writestr(f"a\\b\\{RING}.py", RIGHT)
        archive.writestr("student.toml", 'name = "Zoë"')
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / f"{RING}.py").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "y" / "07_all_gather.py")
    (tmp_path / "z").symlink_to("/etc")
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / f"{RING}.py").write_bytes(b"#" * (LARGEST + 1))
    (tmp_path / "v" / "student.toml").write_text('id = "Zoë"\n', encoding="utf-8")
    (v, x, y), others = read_all(tmp_path, [RING])
    assert others == ["z"]
    assert x.files == {RING: RIGHT.encode()} and not x.unclear
    assert not y.files and [line.key for line in y.lines] == ["grade_link"] * 2
    assert v.unclear == {RING: "grade_too_large"}
    assert (v.student, x.student, y.student) == ("Zoë (v)", "Zoë (x)", "y")


@pytest.mark.parametrize("name", (f"{RING} (1).py", f"{RING}.PY", f"{RING}.py.txt", f"{RING}.ipynb"))
def test_a_file_that_is_nearly_named_like_an_exercise_is_told(name, tmp_path):
    """Who has handed it in has handed in nothing, and the teacher has to know why."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / name).write_bytes(RIGHT.encode())
    (tmp_path / "x" / "homework.rar").write_bytes(b"Rar!")
    ((x,), _) = read_all(tmp_path, [RING])
    assert not x.files and sorted(line.key for line in x.lines) == ["grade_near_name", "grade_other_archive"]
    (tmp_path / "x" / f"{RING}.py").write_bytes(RIGHT.encode())
    ((x,), _) = read_all(tmp_path, [RING])
    assert x.files and [line.key for line in x.lines] == ["grade_other_archive"]


def test_later_exercises_build_on_earlier_ones_that_have_passed(monkeypatch, capfd, tmp_path):
    asked, states = [], iter(["passed", "wrong", "passed"])
    monkeypatch.setattr(student_process.prerequisites, "WRITTEN_IN", {"a": "06_a", "b": "07_b"})

    def check(jobs, limit):
        asked.append(jobs[0])
        wrong = (
            None
            if next(states) == "passed"
            else Diagnosis("raised", {"text": "/tmp/zero_ref_check_1/x 0x7f00aa11"})
        )
        return [checking.Result(jobs[0], Outcome(), wrong, 0.1)]

    monkeypatch.setattr(checking, "check", check)
    monkeypatch.setattr(student_process.words, "diagnosis_text", lambda *a: a[1].params["text"])
    plan = {e: {"text": "", "seed": e[:2]} for e in ("06_a", "07_b", "08_c")}
    plan = {"exercises": plan, "limit": 1, "language": "en"}
    monkeypatch.setattr(sys, "stdin", argparse.Namespace(read=lambda: json.dumps(plan)))
    old = signal.getsignal(signal.SIGTERM)
    saved = os.dup(1)
    try:
        student_process.main()
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        signal.signal(signal.SIGTERM, old)
    assert [sorted(job.earlier) for job in asked] == [[], ["a"], ["a"]]
    assert Path(asked[1].earlier["a"]).name == "06_a.py" and [job.seed for job in asked] == ["06", "07", "08"]
    answers = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [a["status"] for a in answers] == ["passed", "wrong", "passed"] and answers[1]["says"] == "x 0x..."


def fails(jobs, limit):
    raise ZeroDivisionError("in the check")


def never_ends(jobs, limit):
    while True:
        pass


@pytest.mark.parametrize("check, word", [(fails, "in the check"), (never_ends, "more than 0 s")])
def test_a_fault_of_the_checker_costs_nobody_points(monkeypatch, tmp_path, check, word):
    monkeypatch.setattr(checking, "check", check)
    monkeypatch.setattr(student_process, "SLACK", 0.05)
    found = student_process.check_exercise(RING, tmp_path / "x.py", "s", {}, 0.01, "en")
    assert (found["status"], found["key"]) == ("error", "checker_failed") and word in found["says"]


@pytest.mark.rest("waits")
def test_ctrl_c_ends_all(tmp_path):
    (tmp_path / "class" / "a").mkdir(parents=True)
    (tmp_path / "class" / "a" / f"{RING}.py").write_text(CLASS["f endless"][0])
    token = uuid.uuid4().hex
    environment = os.environ | {"ZERO_REF_TEST": token, "ZERO_REF_LEARN": str(tmp_path / "learn")}
    command = [
        sys.executable,
        "-m",
        "lessons.checker.teacher.grade",
        str(tmp_path / "class"),
        "--out",
        str(tmp_path / "o"),
    ]
    process = subprocess.Popen([*command, "--exercises", "6", "--limit", "100"], cwd=ROOT, env=environment)
    try:
        while sum("lessons.checker.ranks" in line for line in left_behind(token).values()) < 4:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert not left_behind(token)
    finally:
        for pid in left_behind(token):
            os.kill(pid, signal.SIGKILL)


UNUSABLE = {
    "no folder": (["nothing"], "there is no such folder"),
    "a file": (["file"], "there is no such folder"),
    "empty": (["empty"], "there is no file of an exercise"),
    "one student": (["class/a"], "one student's work"),
    "out inside": (["class", "--out", "class/out"], "the results cannot go among"),
    "out is a file": (["class", "--out", "file"], "cannot be written"),
    "unknown": (["class", "--exercises", "99"], "there is no exercise 99"),
    "none": (["class", "--exercises", ","], "there is no exercise"),
    "limit": (["class", "--limit", "0"], "--limit has to be"),
    "no limit": (["class", "--limit", "nan"], "--limit has to be"),
    "jobs": (["class", "--jobs", "0"], "--jobs"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_input_is_one_line(name, tmp_path, monkeypatch, capsys):
    from lessons.checker.teacher import grade

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZERO_REF_LEARN", str(tmp_path / "learn"))
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "class" / "a").mkdir(parents=True)
    (tmp_path / "class" / "a" / f"{RING}.py").write_text(RIGHT)
    options, line = UNUSABLE[name]
    monkeypatch.setattr(sys, "argv", ["grade", *options, "--language", "en"])
    assert grade.main() == 2
    out, err = capsys.readouterr()
    assert line in out and out.count("\n") == 1 and err == ""


# What students get


@pytest.fixture(scope="module")
def student_tree(tmp_path_factory):
    target = tmp_path_factory.mktemp("released") / "zero_ref"
    found = mpirun(
        0, "-m", "lessons.checker.teacher.release", str(target), ZERO_REF_LEARN=str(target.parent / "learn")
    )
    assert (found.returncode, found.stderr) == (0, ""), found.stdout
    return target


def test_a_released_tree_has_stubs_and_no_solutions(student_tree):
    exercises = student_tree / "lessons" / "exercises"
    for exercise in words.exercises():
        assert (exercises / f"{exercise}.py").read_text(encoding="utf-8") == stub.text(exercise)
    assert sorted(path.name for path in exercises.iterdir()) == sorted(
        ["_exercise.py", *(f"{exercise}.py" for exercise in words.exercises())]
    )
    assert not [
        path for path in student_tree.rglob("*") if path.name in ("tests", ".learn", "__pycache__", ".git")
    ]
    for name in (
        "Makefile",
        "README.md",
        "README.zh.md",
        "LICENSE",
        "pyproject.toml",
        "requirements.txt",
        "docs",
    ):
        assert (student_tree / name).exists(), name
    for name in ("README.md", "README.zh.md"):  # what is not released is not offered
        assert "make test" not in (student_tree / name).read_text(encoding="utf-8"), name
    solutions = release.read_solutions(ROOT, "en")
    assert {
        path
        for path, _ in release.find_leaks(student_tree, solutions)
        if not path.startswith(release.REFERENCE)
    } == set()


def test_a_page_that_offers_tests_does_not_in_what_is_released(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("- `make learn` watches.\n- `make test` tries every mechanism.\nEnd\n")
    release.leave_out_tests(page)
    assert page.read_text() == "- `make learn` watches.\nEnd\n"


@pytest.mark.rest("several checks")
def test_a_released_tree_works(student_tree, tmp_path):
    keep = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment = keep | {"ZERO_REF_LEARN": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*command: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *command], cwd=student_tree, env=environment, capture_output=True, text=True
        )

    assert run("-m", "lessons", "run", "06", "--language", "en").returncode == 2
    file = student_tree / "lessons" / "exercises" / f"{RING}.py"
    before = file.read_text(encoding="utf-8")
    try:
        file.write_text(RIGHT)
        found = run("-m", "lessons", "run", "06", "--language", "en")
        assert (found.returncode, found.stderr) == (0, ""), found.stdout
    finally:
        file.write_text(before, encoding="utf-8")


def test_a_solution_that_would_go_out_is_found(tmp_path, capsys):
    root = tmp_path / "project"
    renamed = RIGHT.replace("partial", "p").replace("ring_reduce_scatter", "mine").replace("arriving", "q")
    for name, text in {
        f"tests/answers/{RING}.py": RIGHT,
        "lessons/exercises/_exercise.py": "",
        f"lessons/exercises/{RING}.py": RIGHT,  # somebody has solved it here: students get a stub
        "lessons/checks/hidden.py": renamed,
        "docs/page.md": f"```\n{RIGHT}```\n",
        "zero_ref/comm.py": RIGHT,
        "README.md": "x",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    target = tmp_path / "target"
    o = argparse.Namespace(target=str(target))
    assert release.run(o, "en", root) == 1
    out = capsys.readouterr().out
    assert re.findall(r"^(\S+) has a solution", out, re.MULTILINE) == [
        "docs/page.md",
        "lessons/checks/hidden.py",
    ]
    assert list(target.iterdir()) == []
    (root / "docs" / "page.md").unlink()
    (root / "lessons" / "checks" / "hidden.py").unlink()
    assert release.run(o, "en", root) == 0
    assert "allowed: zero_ref/comm.py has ring_reduce_scatter" in capsys.readouterr().out
    assert release.run(o, "zh", root) == 2 and "不是空目录" in capsys.readouterr().out
    for bad in (root / "x", tmp_path, root / "README.md", root):
        assert release.run(argparse.Namespace(target=str(bad)), "en", root) == 2
    shutil.rmtree(root / "tests")
    assert release.run(argparse.Namespace(target=str(tmp_path / "new")), "en", root) == 2
    assert not (tmp_path / "new").exists()


# The page for teachers


@pytest.mark.parametrize("name", ["teaching.md", "teaching.zh.md"])
def test_the_page_for_teachers_names_what_exists(name):
    from lessons.checker.teacher import grade
    from zero_ref.train.options import parser as training

    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    known = {option for action in training()._actions for option in action.option_strings}
    for module in (grade, release):
        p = argparse.ArgumentParser()
        module.add_options(p, "en")
        known |= {option for action in p._actions for option in action.option_strings}
    pip = {"--no-index", "--find-links", "--no-build-isolation", "--no-deps", "--editable"}
    known |= {"--clean"} & set(re.findall(r"--\w+", words.say("help", "en")))  # of the doctor
    docker = {"--rm", "--network", "--shm-size", "--memory", "--pids-limit", "--tmpfs"}
    assert set(re.findall(r"(?<![-\w])--[a-z][a-z-]*", text)) <= known | pip | docker
    for path in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / "docs" / path).exists(), path
    fields = {field for field in Record.__dataclass_fields__}
    assert fields <= set(re.findall(r"`(\w+)`", text)), fields - set(re.findall(r"`(\w+)`", text))


def test_both_pages_for_teachers_show_the_same_commands():
    texts = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("teaching.md", "teaching.zh.md")]
    blocks = [re.findall(r"```\w*\n(.*?)\n```", text, re.DOTALL) for text in texts]
    assert [re.sub(" *#.*", "", b) for b in blocks[0]] == [re.sub(" *#.*", "", b) for b in blocks[1]]
