"""Text as windows of characters, what the command says of it, and what cannot be."""

import json
import math
import re

import numpy as np
import pytest
from launching import mpirun
from safetensors.numpy import load_file

from zero_ref import datasets
from zero_ref.data import split
from zero_ref.datasets import texts
from zero_ref.launch import UsageError
from zero_ref.train import options

TRAIN = ("-m", "zero_ref.train", "--model", "gpt", "--layers", "1", "--width", "12", "--heads", "3")
TRAIN += ("--context", "7", "--batch-size", "10")


def test_windows_follow_one_another_and_targets_are_the_next_token():
    found = texts.windows("abcabcabcabd", 3, 0.25)
    assert found.alphabet == "abc" and found.held_out == 1
    assert found.x.tolist() == [[0, 1, 2]] * 3 and found.x.dtype == np.int32
    assert found.y.tolist() == [[1, 2, 0], [1, 2, 0], [1, 2, 0]] and found.y.dtype == np.int64
    longer = texts.windows("abcabcabcabdx", 3, 0.25)  # of a longer text the last window counts, too
    assert longer.x.tolist()[-1] == [0, 1, 3] and longer.y.tolist()[-1] == [1, 3, 3], "both are unknown"
    assert texts.decode(longer.x[-1], longer.alphabet) == "ab\N{REPLACEMENT CHARACTER}"


def test_the_alphabet_is_of_the_part_to_train_on():
    found = texts.windows("aabbzzzz", 2, 2 / 3)
    assert found.alphabet == "ab" and found.held_out == 2
    found = texts.windows("aabbzzzz", 2, 1 / 3)  # the last target to train on is the first z
    assert found.alphabet == "abz" and found.held_out == 1


def test_what_is_held_out_is_the_end():
    train, test = split(10, 0.2, 5, held_out=3)
    assert train.tolist() == list(range(7)) and test.tolist() == [7, 8, 9]


def test_the_unigram_knows_how_often_each_character_stands():
    train, test = np.array([0, 0, 0, 1]), np.array([0, 2])  # counted once more: 4, 2 and 1 of 7
    assert texts.unigram(train, test, 3) == pytest.approx(-(math.log(4 / 7) + math.log(1 / 7)) / 2)
    assert texts.unigram(train, test[:0], 3) is None


@pytest.mark.parametrize("name, symbols, characters", [("persuasion", 76, 466_854), ("tang", 2_400, 29_577)])
def test_built_in_texts(name, symbols, characters):
    data = datasets.text(name, 64, 0.2)
    assert len(data.x) == (characters - 1) // 64 and data.held_out == round(0.2 * len(data.x))
    assert data.classes == len(data.alphabet) + 1 and abs(data.classes - symbols) < 120
    assert {"persuasion": 3.07, "tang": 6.2}[name] == pytest.approx(data.unigram, abs=0.15)
    assert data.task.alphabet == data.alphabet and data.task.features == 64


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty"),
        (b"too short", "none is left to train on"),
        (b"abc\xff" * 100, "is not UTF-8: byte 3 is 0xff"),
    ],
)
def test_text_that_cannot_be_used_is_one_line(tmp_path, content, message):
    file = tmp_path / "t.txt"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        datasets.text(str(file), 64, 0.2)
    with pytest.raises(UsageError, match="No such file"):
        datasets.text(str(tmp_path / "none.txt"), 64, 0.2)


def test_line_ends_and_marks_of_windows_are_not_text(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbfa\r\nb" * 1)
    assert texts.read(tmp_path / "t.txt", 100) == "a\nb"
    with pytest.raises(ValueError, match="--data-limit"):
        texts.read(tmp_path / "t.txt", 3)


@pytest.mark.parametrize(
    "line, message",
    [
        ("--model gpt --data digits", "--data digits is not text, as is for --model gpt"),
        ("--data persuasion", "--data persuasion is text, and for --model gpt"),
        ("--model gpt --hidden 8", "--hidden is for --model mlp"),
        ("--model mlp --layers 2", "--layers is for --model gpt"),
        ("--model gpt --heads 5", "--heads 5 does not divide --width 64"),
        ("--model gpt --target first", "are for tables"),
    ],
)
def test_options_that_do_not_go_together(line, message):
    with pytest.raises(UsageError, match=message):
        options.parse(line.split())


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "t.txt"
    file.write_text("".join("abcdefgh"[i * i % 8] + "xyz "[i % 4] for i in range(800)), encoding="utf-8")
    return str(file)


def test_a_gpt_is_saved_resumed_and_exported_under_the_names_of_its_modules(text, tmp_path):
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    saved, record = tmp_path / "saved", tmp_path / "r.json"
    line = (*TRAIN, "--data", text, "--quiet")
    runs = [
        (3, *line, "--steps", "8", "--stage", "1", "--export", str(whole), "--record", str(record)),
        (3, *line, "--steps", "4", "--stage", "2", "--save", str(saved)),
        (3, "-m", "zero_ref.train", "--resume", str(saved), "--steps", "8", "--stage", "3", "--quiet")
        + ("--export", str(half), "--report", str(tmp_path / "r.html"), "--trace", str(tmp_path / "t.json")),
    ]
    for ranks, *command in runs:
        result = mpirun(ranks, *command)
        assert result.returncode == 0, result.stderr
    found = [load_file(file) for file in (whole, half)]
    assert all((found[0][name] == found[1][name]).all() for name in found[0] | found[1])
    names = {"wte.weight", "wpe.weight", "ln_f.weight", "ln_f.bias", "lm_head.weight", "h.0.attn.c_attn.bias"}
    assert names <= set(found[0]) and found[0]["h.0.attn.c_attn.weight"].shape == (36, 12)
    test = json.loads(record.read_text())["test"]
    assert test["bits"] == pytest.approx(test["loss"] / math.log(2)) and 0 < test["unigram"] < 3
    again = mpirun(0, "-m", "zero_ref.checkpoint", "export", str(saved), str(tmp_path / "e.safetensors"))
    assert again.returncode == 0, again.stderr
    assert load_file(tmp_path / "e.safetensors").keys() == found[0].keys()
    start = mpirun(2, *line, "--steps", "1", "--init", str(whole))
    assert start.returncode == 0, start.stderr


def test_another_alphabet_is_another_model(text, tmp_path):
    saved, other = tmp_path / "saved", tmp_path / "t.txt"
    assert mpirun(2, *TRAIN, "--data", text, "--quiet", "--steps", "2", "--save", str(saved)).returncode == 0
    other.write_text("0123" * 300, encoding="utf-8")
    result = mpirun(2, "-m", "zero_ref.train", "--resume", str(saved), "--data", str(other), "--steps", "4")
    assert result.returncode == 2 and "is not what checkpoint" in result.stderr


WORDS = {
    "en": (
        ", in nats a character",
        r"test     loss (\S+) nats or (\S+) bits a character \(by frequency alone",
    ),
    "zh": ("，单位 nat，按每个字符计", r"测试  每个字符的 loss (\S+) nat，即 (\S+) 比特（只凭字频是"),
}


@pytest.mark.rest("a run for each", every=2)
@pytest.mark.parametrize("language", WORDS)
def test_the_summary_has_bits_the_best_and_a_text(language, text, tmp_path):
    saved, record = tmp_path / "saved", tmp_path / "r.json"
    line = (
        *TRAIN,
        "--data",
        text,
        "--steps",
        "7",
        "--lr",
        "0.1",
        "--eval-every",
        "3",
        "--language",
        language,
    )
    line += ("--save", str(saved), "--record", str(record), "--stage", str(len(WORDS[language][0]) % 4))
    done = mpirun(3, *line, PYTHONUTF8="1", COLUMNS="120")
    assert done.returncode == 0, done.stderr
    found = json.loads(record.read_text(encoding="utf-8"))
    unit, test = WORDS[language]
    loss, bits = map(float, re.search(test, done.stdout).groups())
    assert unit in done.stdout and loss == pytest.approx(found["test"]["loss"], abs=1e-4)
    assert bits == pytest.approx(loss / math.log(2), abs=2e-4)
    assert [row[0] for row in found["held_out"]] == [3, 6, 7] and found["held_out"][-1][1] == found["test"][
        "loss"
    ]
    loss, step = found["best"]
    assert f"{loss:.4f}" in done.stdout and str(saved / "best") in done.stdout
    assert [p.name for p in (saved / "best").iterdir()] == [f"step-{step:08d}"]
    assert len(found["text"]) == 200 and found["text"] in done.stdout
    again = mpirun(2, "-m", "zero_ref.generate", "--checkpoint", str(saved))
    assert again.stdout == found["text"] + "\n", "the generator says the same of the same model"


def test_a_quiet_run_writes_no_text(text, tmp_path):
    record = tmp_path / "r.json"
    line = (*TRAIN, "--data", text, "--quiet", "--steps", "1", "--record", str(record))
    done = mpirun(3, *line)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads(record.read_text())["text"] is None


def test_a_summary_of_text_that_holds_nothing_out(text):
    done = mpirun(2, *TRAIN, "--data", text, "--steps", "1", "--test-fraction", "0", "--language", "en")
    assert done.returncode == 0 and "no samples" in done.stdout, done.stderr
