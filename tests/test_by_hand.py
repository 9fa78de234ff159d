"""Answers that were written by hand, and not made of the solution: each is told what it must be told."""

import ast
import runpy

import pytest
from confusion import HERE, answers

from lessons.checker import checking
from lessons.checker.ranks.runner import Job

FILES = {file.stem: file for file in sorted((HERE / "by_hand").glob("*.py"))}


@pytest.fixture(autouse=True)
def nothing_done_yet(monkeypatch, tmp_path):
    monkeypatch.setenv("ZERO_REF_LEARN", str(tmp_path / "learn"))


def completed(exercise: str, text: str) -> str:
    """`text`, and those functions of the solution that it does not write itself."""
    solution = answers(exercise)[""]
    written = {n.name for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)}
    tree = ast.parse(solution)
    others = [n for n in tree.body if not isinstance(n, ast.FunctionDef) or n.name not in written]
    return "\n".join(ast.unparse(node) for node in others) + "\n\n" + text


@pytest.mark.rest("answers in processes of their own", every=3)
@pytest.mark.parametrize("exercise", FILES)
def test_what_was_written_by_hand_is_told_what_it_must_be(exercise, tmp_path):
    wanted = runpy.run_path(str(FILES[exercise]))["ANSWERS"]
    jobs = []
    for number, (_, text) in enumerate(wanted):
        file = tmp_path / str(number) / f"{exercise}.py"
        file.parent.mkdir()
        file.write_text(completed(exercise, text), encoding="utf-8")
        jobs.append(Job(exercise, str(file), "s"))
    found = checking.check(jobs, limit=5.0)
    said = [result.diagnosis.key if result.diagnosis else "" for result in found]
    assert said == [key for key, _ in wanted]
