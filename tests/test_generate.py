"""Drawing a token, and the command that writes text: its words, its errors, equal text at every N."""

import csv
import io
import json
import math

import numpy as np
import pytest
from launching import mpirun

from zero_ref.generate import __main__ as command
from zero_ref.generate.sampling import choose, first_ids
from zero_ref.launch.terminal import words_of

GENERATE = ("-m", "zero_ref.generate", "--checkpoint")
TRAIN = ("-m", "zero_ref.train", "--quiet", "--steps", "30", "--lr", "0.02")
GPT = ("--model", "gpt", "--layers", "1", "--width", "12", "--heads", "3", "--context", "7")
LOGITS = np.log([0.1, 0.4, 0.2, 0.3])


def shares(logits, temperature, top_k, number=20_000):
    random = np.random.default_rng(8)
    drawn = [choose(np.array(logits), temperature, top_k, random) for _ in range(number)]
    return np.bincount(drawn, minlength=len(logits)) / number


@pytest.mark.parametrize(
    "temperature, top_k, expected",
    [
        (1, None, [0.1, 0.4, 0.2, 0.3]),
        (1, 9, [0.1, 0.4, 0.2, 0.3]),
        (1, 2, [0, 4 / 7, 0, 3 / 7]),
        (1, 1, [0, 1, 0, 0]),
        (0.5, None, [1 / 30, 16 / 30, 4 / 30, 9 / 30]),  # squares of the odds
        (0.5, 3, [0, 16 / 29, 4 / 29, 9 / 29]),
        (1e9, None, [0.25] * 4),
        (1e-300, None, [0, 1, 0, 0]),
    ],
)
def test_tokens_are_drawn_as_temperature_and_top_k_say(temperature, top_k, expected):
    found = shares(LOGITS, temperature, top_k)
    assert np.abs(found - expected).max() < 0.015  # four standard deviations
    assert ((found > 0) == (np.array(expected) > 0)).all()


def test_at_temperature_0_the_first_of_the_likeliest_is_taken():
    assert choose(np.array([1.0, 3.0, 3.0]), 0, None, np.random.default_rng(0)) == 1
    assert shares([1.0, 3.0, 3.0], 1, 1, 50)[1] == 1
    assert shares([0.0, math.inf, 1.0], 1, None, 50)[1] == 1
    assert shares([0.0, -math.inf], 1, None, 50)[0] == 1


def test_an_empty_prompt_begins_after_a_line():
    assert first_ids("", "ab\nc") == [2] and first_ids("", "abc") == [0] and first_ids("c?", "abc") == [2, 3]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_a_prompt_cannot_be_is_said(language):
    word = words_of("zero_ref.generate", language)
    assert command.about_prompt("abc", "abc", 7, word) == []
    assert command.about_prompt("", "abc", 7, word) == []
    unknown, long = command.about_prompt("a?b\x1b?ccccc", "abc", 7, word)
    assert "3" in unknown and "? '\\x1b'" in unknown and "10" in long and "7" in long
    assert command.listed("zyxwvutsrq", "abc") == "z y x w v u t s ..."


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the checkpoints of a GPT and of an MLP, and texts."""
    folder = tmp_path_factory.mktemp("place")
    text = "".join("abcdefgh"[i * i % 8] + "xyz \n"[i % 5] for i in range(800))
    (folder / "t.txt").write_text(text, encoding="utf-8")
    (folder / "other.txt").write_text("abc中文xyz " * 5, encoding="utf-8")
    (folder / "one.txt").write_text("a", encoding="utf-8")
    for line in ((*GPT, "--data", "t.txt", "--save", "gpt"), ("--model", "mlp", "--save", "mlp")):
        done = mpirun(2, *TRAIN, *line, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.rest("five runs; tests/mpi/check_generate.py has 3 ranks")
def test_the_text_is_the_same_at_every_number_of_ranks(place):
    line = ("gpt", "--prompt", "abx?yaaaaaaaaaa", "--samples", "4", "--tokens", "30", "--stop", "za")
    line += ("--temperature", "1.2", "--top-k", "6", "--seed", "5", "--language", "en")
    found = [mpirun(ranks, *GENERATE, *line, cwd=place) for ranks in (0, 1, 2, 3, 5)]
    assert all(done.returncode == 0 for done in found), found[0].stderr
    assert len({done.stdout for done in found}) == 1 and "za" not in found[0].stdout
    assert found[0].stdout.count("abx?yaaaaaaaaaa") == 4 and "--- text 4 of 4 ---" in found[0].stdout
    assert "1 of the characters" in found[3].stderr and "the last of them are used" in found[3].stderr
    assert found[3].stderr.count("\n") == 3, "said once"


def test_words_and_an_empty_prompt(place):
    done = [
        mpirun(3, *GENERATE, "gpt", "--tokens", "9", *more, PYTHONUTF8="1", cwd=place)
        for more in ((), ("--prompt", ""), ("--language", "zh"))
    ]
    assert all(each.returncode == 0 for each in done)
    assert done[0].stdout == done[1].stdout == done[2].stdout and len(done[0].stdout) == 10
    assert "a rank held at most" in done[0].stderr and "一个 rank 最多持有" in done[2].stderr


@pytest.mark.rest("a run for each", every=4)
@pytest.mark.parametrize(
    "line, message",
    [
        ("mlp", "its model is not of text"),
        ("nowhere", "nowhere"),
        ("gpt --temperature -1", "--temperature"),
        ("gpt --temperature inf", "--temperature"),
        ("gpt --top-k 0", "--top-k"),
        ("gpt --tokens 0", "--tokens"),
        ("gpt --samples 0", "--samples"),
        ("gpt --samples 65537", "from 1 to 65,536"),
        ("gpt --stop 中", "alphabet has no 中"),
        ("gpt --stop=", "--stop: is empty"),
    ],
)
def test_bad_input_is_one_line(line, message, place):
    done = mpirun(3, *GENERATE, *line.split(), cwd=place, limit=20, PYTHONUTF8="1")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    assert message in done.stderr


@pytest.mark.rest("a run for each", every=3)
@pytest.mark.parametrize(
    "line, message",
    [
        ("gpt --data digits", "--data digits is not text, and the model was trained on text"),
        ("mlp --data tang", "--data tang is text, and the model was trained on tables"),
        ("mlp --data t.txt", "is text, and the model was trained on tables"),
        ("gpt --data one.txt", "none after it to predict"),
        ("gpt --data nowhere.txt", "No such file"),
    ],
)
def test_a_model_of_tables_and_a_text_do_not_go_together(line, message, place):
    done = mpirun(3, "-m", "zero_ref.predict", "--checkpoint", *line.split(), cwd=place, limit=20)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1, done.stderr
    assert message in done.stderr


def test_a_text_is_told_by_the_models_alphabet_and_alike_at_every_number_of_ranks(place):
    outputs = []
    for ranks in (1, 3, 5):
        line = ("--checkpoint", "gpt", "--data", "other.txt", "--output", f"{ranks}.csv")
        done = mpirun(ranks, "-m", "zero_ref.predict", *line, "--batch-size", "2", cwd=place)
        assert done.returncode == 0, done.stderr
        said = " ".join(done.stdout.split())
        assert "45 characters of other.txt" in said and "15 of them are not in the model's" in said
        outputs.append((place / f"{ranks}.csv").read_text(encoding="utf-8"))
    assert len(set(outputs)) == 1
    rows = list(csv.reader(io.StringIO(outputs[0])))
    assert "".join(row[0] for row in rows[1:]) == ("abc中文xyz " * 5)[1:]


def test_the_loss_is_that_of_the_held_out_part(place):
    """The same windows as in training, if a text begins where its held-out part does."""
    record = place / "r.json"
    line = (*GPT, "--data", "t.txt", "--record", str(record), "--save", "again")
    assert mpirun(2, *TRAIN, *line, cwd=place).returncode == 0
    text = (place / "t.txt").read_text(encoding="utf-8")
    number = (len(text) - 1) // 7
    held_out = number - round(number * 0.2)
    (place / "end.txt").write_text(text[held_out * 7 : number * 7 + 1], encoding="utf-8")
    test = json.loads(record.read_text())["test"]
    done = mpirun(3, "-m", "zero_ref.predict", "--checkpoint", "again", "--data", "end.txt", cwd=place)
    said = " ".join(done.stdout.split())
    assert f"loss {test['loss']:.4f} nats or {test['bits']:.4f} bits a character" in said
    assert f"accuracy {test['accuracy']:.4f}" in said
