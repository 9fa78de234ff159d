"""`make test` and `make test-rest` have no test in common, and none is in neither."""

import argparse
import itertools
import os
import re
import subprocess
import sys

import parts
import pytest
from launching import ROOT
from test_under_mpirun import FILES, HALVES

MPI = sorted(map(str, (ROOT / "tests" / "mpi").glob("check_*.py")))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def collected(*arguments: str, **environment: str) -> list[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.rest("collects all tests three times")
@pytest.mark.parametrize("files", [[], MPI], ids=["tests", "tests/mpi"])
def test_every_test_is_in_one_part(files):
    found = {part: collected("--part", part, *files, ZERO_REF_ALL_CASES="1") for part in parts.PARTS}
    assert sorted(found["quick"] + found["rest"]) == sorted(found["all"])
    assert len(set(found["all"])) == len(found["all"])
    for part in ("quick", "rest"):
        files_of = {line.partition("::")[0] for line in found[part]}
        assert len(found[part]) > 200 and len(files_of) > len(MPI) / 2


@pytest.mark.rest("collects all tests")
def test_who_names_nothing_gets_what_make_test_runs():
    whole = collected("tests/test_layout.py")
    assert whole == collected("--part", "all", "tests/test_layout.py")
    some = collected("--part", "quick", "tests/test_layout.py")
    assert 0 < len(some) < len(whole)
    default = [line for line in collected() if line.startswith("tests/test_layout.py")]
    assert default == some
    assert sorted(collected("-k", "test_layout.py")) == sorted(whole)


def test_at_three_ranks_both_parts_are_launched_and_at_others_all():
    names = [name for name in collected("tests/test_under_mpirun.py") if "test_under_mpirun[" in name]
    assert [re.search(r"\[(.*)\]", name)[1] for name in names] == [
        "3-quick", *(f"{ranks}-all" for ranks in (1, 2, 4, 5, 8)), "3-rest, first", "3-rest, second"
    ]  # fmt: skip
    assert sorted(itertools.chain(*HALVES.values())) == FILES, "each file is in one of the two"


def test_make_runs_both():
    assert re.search(r"^PYTEST = python -m pytest -n \$\(JOBS\) --dist loadfile ", MAKEFILE, re.MULTILINE)
    assert re.search(r"^test: setup\n\t\$\(PYTEST\) --part quick$", MAKEFILE, re.MULTILINE)
    assert re.search(r"^test-rest: setup\n\t\$\(PYTEST\) --part rest$", MAKEFILE, re.MULTILINE)
    assert re.search(r"^test-all: test test-rest$", MAKEFILE, re.MULTILINE)
    assert "make test test-all" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def cases(**values):
    return [dict(zip(values, row)) for row in itertools.product(*values.values())]


def test_of_three_parameters_any_two_values_meet():
    every = cases(stage="0123", rule="abcd", dtype="xy", k="13")
    chosen = [every[n] for n in parts.covering(every)]
    met = {pair for case in chosen for pair in itertools.combinations(case.items(), 2)}
    assert met == {pair for case in every for pair in itertools.combinations(case.items(), 2)}
    assert len(chosen) <= 20 < len(every)


def test_of_two_parameters_each_value_is_there():
    every = cases(stage="0123", rule="abc")
    chosen = [every[n] for n in parts.covering(every)]
    assert len(chosen) == 4
    assert {x for case in chosen for x in case.items()} == {x for case in every for x in case.items()}
    assert parts.covering(cases(stage="0123")) == [0, 1, 2, 3]
    assert parts.covering([{}]) == [0]


class Case:
    """What keep() asks a test of pytest's for."""

    def __init__(self, name, *marks, fixtures=(), **values):
        self.nodeid, self.marks, self.fixturenames = name, marks, fixtures
        self.callspec = argparse.Namespace(params=values)

    def iter_markers(self, name):
        return iter(self.marks)


def test_what_a_mark_leaves_out():
    one, some = pytest.mark.rest("why").mark, pytest.mark.rest("why", every=3).mark
    items = [Case("a"), Case("b", one), *(Case(f"c[{n}]", some) for n in range(7))]
    items += [Case("d[0]"), Case("d[1]", one), Case("e", fixtures=["opened", "chromium"])]
    assert parts.quick(items) == {"a", "c[0]", "c[3]", "c[6]", "d[0]"}


def test_each_value_alone_where_a_mark_says_so():
    every, each, out = (
        cases(stage="0123", rule="abc", dtype="xyz"),
        pytest.mark.rest("why", each="value").mark,
        pytest.mark.rest("why").mark,
    )
    items = [Case(f"a[{n}]", each, **case) for n, case in enumerate(every)]
    chosen = [every[n] for n in range(len(every)) if f"a[{n}]" in parts.quick(items)]
    assert len(chosen) == 4
    assert {x for case in chosen for x in case.items()} == {x for case in every for x in case.items()}
    items[0].marks = (each, out)  # a case of its own mark, and another one takes its place
    assert "a[0]" not in parts.quick(items) and len(parts.quick(items)) == 4


def test_cases_without_a_mark_go_by_the_rule_beside_marked_ones():
    out, every = pytest.mark.rest("why").mark, cases(stage="0123", rule="abc")
    items = [Case(f"a[{n}]", *[out] * (n % 2), **case) for n, case in enumerate(every)]
    assert len(parts.quick(items)) == 4 and all(
        not items[int(name[2:-1])].marks for name in parts.quick(items)
    )


def test_every_mark_gives_its_reason():
    files = [path for path in (ROOT / "tests").rglob("*.py") if path.name != "test_parts.py"]
    marks = [mark for path in files for mark in re.findall(r"mark\.rest\b(.*)", path.read_text("utf-8"))]
    assert len(marks) > 10
    form = r'\("\w[^"]+"(, every=([2-9]|[1-9][0-9])|, each="value")?\)'
    assert [mark for mark in marks if not re.fullmatch(form, mark)] == []
