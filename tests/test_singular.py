"""English of one: nothing that is printed says "1 ranks"."""

import ast
import json
import re
import tomllib

import pytest
from launching import ROOT, mpirun
from terminal import ONE

from zero_ref.launch.singular import NOUNS, SINGULAR, Text, number_of

PLURAL = re.compile(r"\{\w+[^{}]*\} ((?:[\w-]+ )?[\w-]*s)\b")
# What ends with s behind a number and is a verb of a name, a unit, or belongs to what comes next.
OTHERS = {
    *("adds", "and", "as", "asks", "changes", "computes", "deletes", "divides", "does", "ends", "fails"),
    *("fits", "gets", "gives", "goes", "has", "in", "is", "its", "keeps", "lacks", "lies", "looks", "ms"),
    *("nats", "neighbours", "needs", "ns", "of", "only", "points", "raises", "reads", "s", "sends", "stands"),
    *("that", "there", "this", "us", "uses", "waits", "was", "writes", "µs"),
}
ANY_NUMBER = ("bytes", "characters", "columns", "names")  # in errors that speak of what is never 1


def test_a_noun_behind_a_one_is_singular():
    text = Text("{steps} steps of {batch:,} samples, {units} micro-batches of {name}, {n} classes")
    said = text.format(steps=1, batch=1, units="1", name="1 steps", n=1)
    assert said == "1 step of 1 sample, 1 micro-batch of 1 steps, 1 class"
    said = text.format(steps="1,001", batch=21, units="11", name="x", n=0)
    assert said == "1,001 steps of 21 samples, 11 micro-batches of x, 0 classes"
    assert [number_of(n, "matrices") for n in (0, 1, 1024)] == ["0 matrices", "1 matrix", "1,024 matrices"]
    assert not set(SINGULAR.values()) & set(NOUNS)


def english(words, inside=False):
    if isinstance(words, dict):
        for key, value in words.items():
            yield from english(value, inside or key == "en")
    elif inside:
        yield from [words] if isinstance(words, str) else words


FILES = [*ROOT.glob("zero_ref/*/words.json"), *ROOT.glob("lessons/checks/*.toml")]


def test_each_noun_behind_a_number_has_its_singular():
    for file in FILES:
        read = json.loads if file.suffix == ".json" else tomllib.loads
        found = [
            noun for text in english(read(file.read_text(encoding="utf-8"))) for noun in PLURAL.findall(text)
        ]
        words = [noun.split() for noun in found if noun not in NOUNS]
        strange = [w for w in words if w[0] not in OTHERS.union(NOUNS) and w[-1] not in OTHERS]
        assert (file, strange) == (file, [])
    assert len(FILES) > 20


def test_errors_ask_for_the_singular():
    """f"{n} ranks" in the package; of the number of bytes, and of what is more than 1, nobody needs it."""
    wrong = []
    for file in (ROOT / "zero_ref").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else []
            for value, text in zip(parts, parts[1:]):
                if isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant):
                    noun = re.match(rf" ({'|'.join(NOUNS)})\b", text.value)
                    if noun and noun[1] not in ANY_NUMBER:
                        wrong.append(f"{file.relative_to(ROOT)}: {noun[1]}")
    assert sorted(wrong) == MORE_THAN_ONE


MORE_THAN_ONE = [
    "zero_ref/checkpoint/__init__.py: classes",
    "zero_ref/checkpoint/__init__.py: features",
    "zero_ref/extras/own.py: files",
    "zero_ref/layout.py: ranks",
    "zero_ref/plan/compare.py: parameters",
    "zero_ref/plan/compare.py: ranks",
    "zero_ref/plan/compare.py: ranks",
    "zero_ref/report/record.py: classes",
    "zero_ref/train/choose.py: ranks",
]

ALONE = """
import sys
import numpy as np
from zero_ref import checkpoint, generate, plan, predict, report, train
for package in (checkpoint, generate, plan, report, train):
    __import__(f"{package.__name__}.__main__")

def run(module, line):
    sys.argv[1:] = line.split()
    module.main()

np.savez("one.npz", x=np.ones((1, 1)), y=np.ones((1, 1)))
one = "--data synthetic --samples 1 --features 1 --classes 0 --test-fraction 0 --model linear"
run(train.__main__, f"{one} --steps 1 --chart --save kept --record one.json")
run(train.__main__, "--data tang --model gpt --layers 1 --context 1 --width 8 --heads 1 --steps 1 --save gpt")
run(checkpoint.__main__, "inspect kept")
run(predict, "--checkpoint kept --data one.npz --output p.npz")
run(generate.__main__, "--checkpoint gpt --prompt ab --tokens 1 --samples 1")
run(report.__main__, "one.json --text")
run(report.__main__, "page.html one.json")
run(plan.__main__, "--parameters 1 --ranks 1")
run(plan.__main__, "--why --model linear --features 1 --targets 1 --ranks 1 --batch-size 1")
"""


@pytest.mark.rest("runs nine commands")
def test_one_step_of_one_sample_on_one_rank(tmp_path):
    """All commands in one process, one after another; what a page says is in tests/test_report.py."""
    done = mpirun(0, "-c", ALONE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "1 unit" in said and "1 step of 1 sample" in said and "1 feature to 1 number" in said
    assert ONE.findall(said) == []
