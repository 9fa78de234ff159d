"""The planted bugs still fit the package; `make planted` shows that the tests find them."""

import argparse
import contextlib
from pathlib import Path

import pytest
from planted import run
from planted.bugs import GROUPS, plant

PACKAGE = Path(__file__).parent.parent / "zero_ref"
BUGS = {f"{group}: {bug.name}": bug for group in GROUPS for bug in GROUPS[group]}


def test_every_bug_has_a_name_of_its_own():
    assert len(BUGS) == sum(map(len, GROUPS.values()))


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_fits_and_compiles(name):
    planted = plant(BUGS[name], PACKAGE)
    if BUGS[name].file.endswith(".py"):
        compile(planted, BUGS[name].file, "exec")


def test_every_group_begins_with_checks_that_there_are():
    assert run.FIRST.keys() <= GROUPS.keys()
    assert {check for first in run.FIRST.values() for check in first} <= run.CHECKS.keys()


def test_a_sample_is_spread_over_its_group():
    assert run.spread(list(range(10)), 3) == [0, 3, 6]
    assert run.spread([1, 2], 3) == [1, 2]


def test_quick_has_every_check_at_three_ranks_and_the_groups_own_come_first():
    assert set(run.checks_of("all")) - set(run.checks_of("quick")) == {"aware"}
    assert run.checks_of("quick", ["predict", "aware"])[:2] == ["predict", "reference"]
    assert sorted(run.checks_of("all", ["predict"])) == sorted(run.CHECKS)


def attempts(monkeypatch, tmp_path, ends, **options):
    """Attempts whose checks end as `ends` say: (check, whether a bug is planted) -> what run() returns."""
    bug = run.Bug("a bug", "layout.py", "", "")
    monkeypatch.setattr(run, "copy", lambda folder: folder)
    monkeypatch.setattr(run, "plant", lambda bug, package: "")
    monkeypatch.setattr(run, "checks_of", lambda part, first: ["one", "two", "three"])
    (tmp_path / "zero_ref").mkdir()
    monkeypatch.setattr(run.tempfile, "TemporaryDirectory", lambda: contextlib.nullcontext(str(tmp_path)))

    def ended(check, part, folder, limit, test=""):
        return ends.get((check, not test), ("", ""))

    monkeypatch.setattr(run, "run", ended)
    o = argparse.Namespace(**{"part": "all", "most": 9, "limit": 9, "all": False} | options)
    return run.Attempts(o, [("group", bug)], tmp_path), bug


def test_a_bug_is_caught_by_a_test_that_passes_without_it(monkeypatch, tmp_path, capsys):
    ends = {("one", True): ("", "one hangs"), ("two", True): ("t.py::test_a", "")}
    tried, bug = attempts(monkeypatch, tmp_path, ends)
    assert tried.attempt("group", bug)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[-1] for line in lines[:2]] == ["one ...", "two ..."]
    assert "[1/1] group: a bug  <- t.py::test_a (one hangs)" in lines[2] and len(lines) == 3
    ends[("two", False)] = ("t.py::test_a", "")  # without a bug, too
    tried.passes.clear()
    assert not tried.attempt("group", bug)
    assert "NOT CAUGHT" in capsys.readouterr().out


def test_a_bug_is_given_up_after_so_many_checks(monkeypatch, tmp_path, capsys):
    tried, bug = attempts(monkeypatch, tmp_path, {("three", True): ("t.py::test_a", "")}, most=2)
    assert not tried.attempt("group", bug)
    assert "three" not in capsys.readouterr().out
