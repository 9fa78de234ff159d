"""Text from sharded parameters: the serial GPT's, at any number of ranks, in whatever order samples end."""

from pathlib import Path

import numpy as np
import pytest
import serial_gpt
from check_predict import folder  # noqa: F401
from small import CONTEXT, HEADS, LAYERS, SYMBOLS, SmallGpt

from zero_ref import predict
from zero_ref.checkpoint import Manifest, saving
from zero_ref.checkpoint.weights import named_tensors
from zero_ref.datasets import texts
from zero_ref.generate.sampling import How, generate, next_logits
from zero_ref.launch import CleanEnd
from zero_ref.ledger import ledger
from zero_ref.train import options

ALPHABET = "abcdefghij"


def serial_logits(tensors, ids):
    """The outputs of the serial GPT for every token of one window, (tokens, symbols)."""
    h = tensors["wte.weight"][ids] + tensors["wpe.weight"][: len(ids)]
    for i in range(LAYERS):
        own = {k.removeprefix(f"h.{i}."): v for k, v in tensors.items() if k.startswith(f"h.{i}.")}
        h = serial_gpt.block(own, h, HEADS)["out"]
    return serial_gpt.norm(h, tensors["ln_f.weight"], tensors["ln_f.bias"]) @ tensors["lm_head.weight"].T


def serial_text(tensors, prompt, tokens):
    """The most likely text after a prompt, whole windows computed anew."""
    ids = texts.encode(prompt, ALPHABET).tolist()
    for _ in range(tokens):
        ids.append(int(serial_logits(tensors, ids[-CONTEXT:])[-1, : len(ALPHABET)].argmax()))
    return texts.decode(ids[len(prompt) :], ALPHABET)


class LoudGpt(SmallGpt):
    """With weights so large that what comes next depends on all that is before."""

    def weights(self):
        return {name: 4 * value for name, value in super().weights().items()}


def trained(stage=2, **settings):
    run = LoudGpt(stage, optimizer="sgd", settings={"lr": 0.01}, steps=3, **settings).run()
    names = named_tensors(run.module, run.units, run.comm)
    return run, {name: value.astype("f8") for name, value in names}


def write(run, how, prompt="", samples=1):
    """As at the end of training: from what the stage keeps."""
    return generate(
        run.units, lambda u: run.module.full_param(u, run.comm), run.comm, run.task, how, prompt, samples
    )


def saved(folder, run):  # noqa: F811
    """Its checkpoint, opened on all ranks, and this rank's shards of its model."""
    line = ["--model=gpt", f"--layers={LAYERS}", "--width=12", f"--heads={HEADS}", f"--context={CONTEXT}"]
    arguments = options.lasting(options.parse([*line, f"--dtype={run.dtype}"]))
    manifest = Manifest(arguments=arguments, data_sha256="", **vars(run.task))
    saving.save(str(folder), None, manifest, 5, run.nouns())
    return predict.load_units(saving.open_together(str(folder)), run.comm)


@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("prompt", ["a", "bcd", "ab?ed", "abcdefghijjihgfe"])
def test_the_likeliest_text_is_the_serial_gpts(prompt, stage):
    run, tensors = trained(stage, dtype="float64", rule="hash")
    expected = serial_text(tensors, prompt, 30)
    assert len(set(expected)) > 2, "such a text proves nothing"
    assert write(run, How(30, 0), prompt) == [expected]


def test_a_checkpoint_writes_what_the_run_does(folder, comm):  # noqa: F811
    run, _ = trained(1)
    units = saved(folder, run)
    how = How(25, 1.0, seed=4)
    found = generate(units, lambda u: comm.all_gather(u.param, u.layout), comm, run.task, how, "abc", 5)
    assert found == write(run, how, "abc", 5) and len(set(found)) == 5


def test_samples_end_on_their_own(comm):
    """A rank whose samples have ended goes on gathering; one that has none, too."""
    run, _ = trained()
    long = write(run, How(40, 40, seed=1), "a", 4)
    short = write(run, How(40, 40, seed=1, stop="e"), "a", 4)
    assert [text.partition("e")[0] for text in long] == short
    assert len({len(text) for text in short}) > 1, "all end together: nothing is tried"


def test_a_sample_depends_on_its_number_and_the_seed_alone(comm):
    run, _ = trained()
    five = write(run, How(12, 1.5, seed=3), "a", 5)
    assert write(run, How(12, 1.5, seed=3), "a", 2) == five[:2]
    assert write(run, How(12, 1.5, seed=4), "a", 5) != five
    everywhere = comm.everyone(five)
    assert everywhere == [five] * comm.size


def test_a_model_that_is_no_number_ends_all_ranks(comm):
    run, _ = trained(0)
    for u in run.units:
        u.param[:] = np.nan
    with pytest.raises(CleanEnd, match="not numbers"):
        write(run, How(5), "a", 2)


def test_a_rank_holds_its_shard_and_one_unit(folder, comm):  # noqa: F811
    run, _ = trained(0)
    units = saved(folder, run)
    before = dict(ledger.live)
    ledger.forget_peaks()
    windows = [[1, 2, 3]] if comm.rank == 0 else []
    next_logits(units, lambda u: comm.all_gather(u.param, u.layout), windows)
    largest = max(u.layout.padded for u in units) * units[0].dtype.itemsize
    assert ledger.peak["gathered"] - before["gathered"] == largest
    assert dict(ledger.live) == before


@pytest.mark.parametrize("length", [2, 7, 8, 9, 30, 64, 71])
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_the_probabilities_of_a_text_are_the_serial_gpts(length, batch_size, folder, comm):  # noqa: F811
    run, tensors = trained(dtype="float64")
    units = saved(folder, run)
    ids = np.random.default_rng(length).integers(0, SYMBOLS, length).astype("int32")
    found = predict.log_probabilities(units, comm, ids, CONTEXT, batch_size)
    assert (found is None) == (comm.rank > 0)
    if found is None:
        return
    rows = []
    for start in range(0, length - 1, CONTEXT):
        window, after = ids[start : min(start + CONTEXT, length - 1)], ids[start + 1 : start + CONTEXT + 1]
        logits = serial_logits(tensors, window)
        p = serial_gpt.softmax(logits)[np.arange(len(after)), after]
        rows.append(np.stack([np.log(p), logits.argmax(axis=1)], axis=1))
    assert np.allclose(found, np.concatenate(rows), rtol=0, atol=1e-11)


def test_a_text_is_written_in_one_piece(tmp_path: Path, comm):
    found = np.array([[-0.5, 1.0], [-2.25, 10.0]])
    predict.write_text(str(tmp_path / "o.csv"), "ab,", found, ALPHABET)
    rows = (tmp_path / "o.csv").read_text(encoding="utf-8").split("\n")
    assert [r.strip() for r in rows[:3]] == [
        "character,log_probability,most_likely",
        "b,-0.5,b",
        '",",-2.25,�',
    ]
    predict.write_text(str(tmp_path / "o.npz"), "ab,", found, ALPHABET)
    arrays = np.load(tmp_path / "o.npz")
    assert arrays["character"].tolist() == ["b", ","] and arrays["log_probability"].tolist() == [-0.5, -2.25]
