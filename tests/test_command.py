"""The command as a user types it: results, files, errors, and what happens when a rank fails."""

import json
import os
import re
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from launching import ROOT, failing, mpirun
from safetensors.numpy import load_file, save_file

from zero_ref.array import gpu_count
from zero_ref.optim import BLOCK
from zero_ref.plan import compare
from zero_ref.plan.timing import Link, Machine
from zero_ref.report.summary import summary

TRAIN = ("-m", "zero_ref.train")
KINDS = {"parameter", "gathered", "gradient", "full_gradient", "optimizer", "activation", "buffer"}
MEASURED = {
    "samples",
    "resting_bytes",
    "peak_bytes",
    "peak_total_bytes",
    "sent_bytes_per_step",
    "between_bytes_per_step",
    "calls_per_step",
    "away_bytes",
    "moved_bytes_per_step",
}
BY_FORMULA = MEASURED - {"samples", "peak_total_bytes", "calls_per_step"}


def train(ranks, *options, **keywords):
    result = mpirun(ranks, *TRAIN, *options, **keywords)
    assert result.returncode == 0, f"{result.stdout}{result.stderr}"
    return result


def recorded(tmp_path, ranks, *options, **keywords):
    file = tmp_path / "record.json"
    train(ranks, "--quiet", "--record", str(file), *options, **keywords)
    return json.loads(file.read_text())


def test_the_main_job_learns_the_digits_and_prints_one_table():
    result = train(4)
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines if line].count("rank") == 1
    table = [line for line in lines if line.count(" =") == 3]
    assert [line.split()[:3] for line in table] == [["each", "of", "4"]], "a formula is off"
    accuracy = float(result.stdout.split("accuracy ")[1].split()[0])
    assert accuracy >= 0.96
    assert result.stderr == "", "no progress bar where there is no terminal, and no noise"


def test_the_loss_told_is_the_mean_over_the_samples_of_the_last_epoch(tmp_path):
    record = recorded(tmp_path, 3, "--epochs", "2", "--batch-size", "1000")  # 1,438 samples: 1,000 and 438
    *_, full, rest = record["loss"]
    assert len(record["loss"]) == 4
    mean = (1000 * full + 438 * rest) / 1438
    assert record["last_epoch"] == {"loss": pytest.approx(mean, rel=1e-12), "steps": 2, "whole": True}
    said = summary(record, "en")
    assert (
        f"loss     {record['loss'][0]:.4f} at first, {mean:.4f} in the last epoch (mean of 2 steps)" in said
    )
    assert "0.6" in (
        said := summary(record | {"last_epoch": {"loss": 0.6, "steps": 1, "whole": False}}, "zh")
    )
    assert "1 步的平均" in said and "rank  每个算了" in said


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mpirun is looked up in /proc")
@pytest.mark.rest("one of two", every=2)
@pytest.mark.parametrize("quiet, bars", [((), 1), (("--quiet",), 0)])
def test_a_terminal_behind_mpirun_shows_one_progress_bar(quiet, bars):
    ours, theirs = os.openpty()
    try:
        train(3, "--steps", "3", *quiet, stderr=theirs)
        os.write(theirs, b"end")  # so that there is something to read
        shown = os.read(ours, 10000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert shown.count("0/3 [") == bars, shown  # a bar begins once, and may be drawn anew at any time


@pytest.mark.rest("trains for 100 epochs")
def test_the_linear_model_learns_diabetes(tmp_path):
    record = recorded(tmp_path, 3, "--model", "linear")
    assert record["test"].keys() == {"loss", "r2"} and record["test"]["r2"] > 0.45


@pytest.mark.rest("runs of every stage, as tests/mpi has them")
def test_the_command_gives_the_same_weights_at_every_stage(tmp_path):
    records = [recorded(tmp_path, 3, "--steps", "25", "--stage", str(stage)) for stage in range(4)]
    assert len({record["weights_sha256"] for record in records}) == 1
    assert records[0]["loss"] == records[3]["loss"]


PRETENDED = {
    "PYTHONPATH": os.pathsep.join(str(ROOT / "tests" / name) for name in ("stacks", "pretend", ".."))
}

NCCL = ("--transport", "nccl")
MACHINE = Machine(reduce_scatter=Link(0, 1), all_gather=Link(0, 1))


@pytest.mark.rest("trains twice")
def test_a_gpu_gives_the_weights_of_the_cpu_with_sums_in_order(tmp_path):
    """On a pretended one, which multiplies matrices as the CPU does: see tests/pretend."""
    line = ("--epochs", "1", "--micro-batches", "2", "--clip-norm", "0.3")
    cpu = recorded(tmp_path, 3, "--reduce", "ordered", *line)
    for options, gpus in (((), 1), (("--prefetch", "--verify-every", "5", "--check"), 1), (NCCL, 3)):
        on_gpus = {**PRETENDED, "ZERO_REF_PRETEND_GPUS": str(gpus)}
        gpu = recorded(tmp_path, 3, "--device", "gpu", *options, *line, **on_gpus)
        assert gpu["config"]["device"] == "gpu"
        found, _ = compare.expected(gpu, MACHINE)  # in a process without a GPU
        assert compare.differences(gpu, found) == []
        assert gpu["weights_sha256"] == cpu["weights_sha256"] and gpu["loss"] == cpu["loss"]
        assert [r["sent_bytes_per_step"] for r in gpu["ranks"]] == [
            r["sent_bytes_per_step"] for r in cpu["ranks"]
        ]
        for rank in gpu["ranks"]:
            assert rank["peak_total_bytes"] == rank["predicted"]["peak_total_bytes"]


@pytest.mark.rest("compiles; benchmarks and tests/test_optim.py have what is compiled")
def test_the_dry_run_knows_what_numba_compiles(tmp_path):
    """In float64, where the blocks of an update that is not compiled are the largest buffer of one rank."""
    pytest.importorskip("numba")
    line = (
        "--data",
        "synthetic",
        "--features",
        "1024",
        "--hidden",
        "1024",
        "--samples",
        "40",
        "--steps",
        "2",
    )
    run = recorded(tmp_path, 3, *line, "--stage", "1", "--dtype", "float64")
    whole = recorded(tmp_path, 0, *line, "--stage", "0", "--dtype", "float64")
    assert whole["config"]["place"] == "compiled"
    assert whole["ranks"][0]["peak_bytes"]["buffer"] == 8 * BLOCK < run["ranks"][0]["peak_bytes"]["buffer"]
    for rank in (*run["ranks"], *whole["ranks"]):
        assert rank["peak_bytes"] == rank["predicted"]["peak_bytes"]


def test_nccl_wants_a_gpu_for_each_rank():
    result = mpirun(3, *TRAIN, "--device", "gpu", *NCCL, ZERO_REF_PRETEND_GPUS="2", **PRETENDED)
    assert result.returncode == 2 and result.stdout == "" and result.stderr.count("\n") == 1
    assert "3 ranks have 2" in result.stderr


def test_what_an_outer_open_mpi_has_announced_silences_no_error():
    """There this program would be rank 3 of 4, and MPI knows of none of the others."""
    result = mpirun(0, *TRAIN, "--steps", "1", OMPI_COMM_WORLD_RANK="3", OMPI_COMM_WORLD_SIZE="4")
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and "different families" in result.stderr


def test_without_mpirun_it_runs_as_one_rank(tmp_path):
    record = recorded(tmp_path, 0, "--steps", "3")
    assert record["world_size"] == 1 and sum(record["ranks"][0]["sent_bytes_per_step"].values()) == 0


def test_the_record_has_what_other_programs_read(tmp_path):
    record = recorded(tmp_path, 3, "--steps", "7", "--shard-model", "weights=3,2,1", "--stage", "2")
    assert list(record) == [
        *("config", "world_size", "stage", "model", "task", "parameters", "parameters_padded", "owned"),
        *(
            "units",
            "drift",
            "newton_schulz",
            "first_step",
            "samples_per_step",
            "loss",
            "grad_norm",
            "lr",
            "last_epoch",
            "weights_sha256",
            "test",
            "held_out",
            "best",
            "text",
            "seconds_per_step",
        ),
        *("check_seconds_per_step", "ranks"),
    ]
    assert (record["world_size"], record["stage"], record["parameters"]) == (3, 2, 17226)
    assert len(record["loss"]) == len(record["grad_norm"]) == 7
    assert record["last_epoch"] == {
        "loss": pytest.approx(sum(record["loss"]) / 7),
        "steps": 7,
        "whole": False,
    }
    assert record["config"]["shard_model"] == [3, 2, 1] and record["config"]["device"] == "cpu"
    assert (record["model"], record["task"], record["units"]) == ("64-128-64-10", "10 classes", 3)
    shares = [[8320 * n // 6, 8256 * n // 6, 650 * n // 6] for n in (0, 3, 5, 6)]
    assert record["owned"] == [sum(b) - sum(a) for a, b in zip(shares, shares[1:])]
    assert record["test"].keys() == {"loss", "accuracy"}
    assert sum(rank["samples"] for rank in record["ranks"]) == 7 * 64
    for rank in record["ranks"]:
        assert rank.keys() == MEASURED | {"predicted", "formula"}
        assert rank["predicted"].keys() == MEASURED and rank["formula"].keys() == BY_FORMULA
        assert rank["resting_bytes"].keys() == rank["peak_bytes"].keys() == KINDS
        assert rank["sent_bytes_per_step"].keys() == {"reduce_scatter", "all_gather", "other"}
        assert rank["predicted"] == {name: rank[name] for name in MEASURED}
        for name, said in rank["formula"].items():
            assert said == {kind: rank[name][kind] for kind in said}
        assert KINDS - rank["formula"]["peak_bytes"].keys() == {"activation", "buffer"}
        assert rank["formula"]["resting_bytes"].keys() == {"parameter", "gradient", "optimizer"}


def test_weights_depend_on_the_seed_and_not_on_ranks_stage_or_rule(tmp_path):
    still = ("--steps", "1", "--lr", "0", "--seed", "7")
    records = [
        recorded(tmp_path, 1, *still, "--stage", "0"),
        recorded(tmp_path, 3, *still, "--stage", "3"),
        recorded(tmp_path, 2, *still, "--stage", "1", "--shard-model", "hash"),
    ]
    assert len({record["weights_sha256"] for record in records}) == 1
    other = recorded(tmp_path, 1, *still[:-1], "8")
    assert other["weights_sha256"] != records[0]["weights_sha256"]


def test_export_is_safetensors_with_plain_names_and_init_reads_it(tmp_path):
    model = tmp_path / "model.safetensors"
    record = recorded(tmp_path, 3, "--steps", "9", "--export", str(model))
    tensors = load_file(model)
    assert {name: t.shape for name, t in tensors.items()} == {
        "layers.0.weight": (128, 64),
        "layers.0.bias": (128,),
        "layers.1.weight": (64, 128),
        "layers.1.bias": (64,),
        "layers.2.weight": (10, 64),
        "layers.2.bias": (10,),
    }
    again = ("--init", str(model), "--steps", "1", "--lr", "0", "--shard-model", "random", "--stage", "1")
    assert recorded(tmp_path, 2, *again)["weights_sha256"] == record["weights_sha256"]
    digits = np.load(ROOT / "zero_ref" / "datasets" / "digits.npz")
    y = digits["x"].astype("f4")
    for i in range(3):
        y = y @ tensors[f"layers.{i}.weight"].T + tensors[f"layers.{i}.bias"]
        y = np.maximum(y, 0) if i < 2 else y
    assert (y.argmax(1) == digits["y"]).mean() > 0.3, "the weights mean the same elsewhere"


def test_weights_of_16_bits_go_out_and_in_again(tmp_path):
    for dtype in ("float16", "bfloat16"):
        model, same = str(tmp_path / "model.safetensors"), ("--dtype", dtype, "--model", "linear")
        record = recorded(tmp_path, 3, *same, "--steps", "9", "--export", model)
        again = recorded(tmp_path, 0, *same, "--steps", "1", "--lr", "0", "--init", model)
        assert again["weights_sha256"] == record["weights_sha256"]


def test_a_users_own_files_train(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(50, 3))
    np.savez(tmp_path / "a.npz", x=x, y=(x.sum(1) > 0).astype(int))
    (tmp_path / "b.csv").write_text(
        "a,b,c,y\n" + "\n".join(",".join(map(str, (*row, row.sum()))) for row in x)
    )
    options = ("--steps", "20", "--test-fraction", "0")
    assert recorded(tmp_path, 3, "--data", str(tmp_path / "a.npz"), *options)["test"] is None
    record = recorded(tmp_path, 3, "--data", str(tmp_path / "b.csv"), "--model", "linear", *options)
    assert record["parameters"] == 4


PREDICT = ("-m", "zero_ref.predict")


def test_a_model_keeps_the_names_of_its_columns(tmp_path):
    rows = np.random.default_rng(0).normal(size=(9, 3))
    table = [f"{a:.3f},{b:.3f},{c:.3f}" for a, b, c in rows]
    (tmp_path / "train.csv").write_text("\n".join(["target,a,b", *table]))
    (tmp_path / "new.csv").write_text("\n".join(["b,a", *(f"{b:.3f},{a:.3f}" for _, a, b in rows)]))
    (tmp_path / "unnamed.csv").write_text("\n".join(table))
    (tmp_path / "index.csv").write_text("\n".join([",a,b", *(f"{i},{i},{i}" for i in range(9))]))
    line = ("--model", "linear", "--target", "target", "--data", "train.csv", "--steps", "9")
    train(0, *line, "--save", "ck", "--quiet", cwd=tmp_path)
    found = []
    for name in ("train", "new"):
        again = ("--checkpoint", "ck", "--data", f"{name}.csv", "--output", f"{name}.out.csv")
        result = mpirun(0, *PREDICT, *again, cwd=tmp_path)
        assert result.returncode == 0 and ("r2" in result.stdout) == (name == "train"), result.stderr
        found.append((tmp_path / f"{name}.out.csv").read_text())
    assert found[0] == found[1]
    for name, message in {"index": "an index is no feature", "unnamed": "the model's target is"}.items():
        result = mpirun(0, *PREDICT, "--checkpoint", "ck", "--data", f"{name}.csv", cwd=tmp_path)
        assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1
    train(0, "--resume", "ck", "--steps", "12", "--quiet", cwd=tmp_path)


@pytest.mark.rest("one of two", every=2)
@pytest.mark.parametrize("dtype, optimizer", [("float16", "sgd"), ("bfloat16", "adam")])
def test_a_model_of_16_bits_predicts_alike_on_any_number_of_ranks(dtype, optimizer, tmp_path):
    line = ("--dtype", dtype, "--optimizer", optimizer, "--steps", "4", "--hidden", "7", "--save", "ck")
    train(3, *line, "--quiet", cwd=tmp_path)
    found = []
    for ranks in (0, 4):
        name = f"{ranks}.csv"
        again = ("--checkpoint", "ck", "--data", "digits", "--output", name)
        result = mpirun(ranks, *PREDICT, *again, cwd=tmp_path)
        assert result.returncode == 0 and "accuracy" in result.stdout, result.stderr
        found.append((tmp_path / name).read_text())
    assert found[0] == found[1] and found[0].count("\n") == 1798


def test_the_options_of_a_table(tmp_path):
    (tmp_path / "t.csv").write_text("0,1,2\n" + "".join(f"{i % 3 + 1},{i},0.5\n" for i in range(9)))
    line = ("--data", "t.csv", "--test-fraction", "0", "--steps", "1", "--hidden", "4")
    said = ("--header", "yes", "--target", "first", "--task", "classes")
    assert "t.csv, 4 classes: 1 step of 9 samples" in train(0, *line, *said, cwd=tmp_path).stdout
    for more, message in (((), "--header no"), ((*said, "--data-limit", "1e-8"), "--data-limit is 1e-08 GB")):
        result = mpirun(0, *TRAIN, *line, *more, cwd=tmp_path)
        assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1


def test_r2_of_a_constant_is_undefined(tmp_path):
    for n in (3, 4, 15):
        np.savez(tmp_path / f"{n}.npz", x=np.arange(3.0 * n).reshape(n, 3) / 10, y=np.full(n, 0.1))
    line = ("--model", "linear", "--dtype", "float64", "--data", "15.npz", "--steps", "3", "--save", "ck")
    assert ", r2 undefined\n" in train(0, *line, cwd=tmp_path).stdout
    for n in (3, 4):
        result = mpirun(0, *PREDICT, "--checkpoint", "ck", "--data", f"{n}.npz", cwd=tmp_path)
        assert "; r2 undefined\n" in result.stdout


def test_a_step_is_said_to_have_the_samples_that_there_are(tmp_path):
    line = ("--model", "linear", "--batch-size", "100000", "--steps", "3", "--record", "r.json")
    assert "3 steps of 354 samples" in train(0, *line, cwd=tmp_path).stdout
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["samples_per_step"] == 354 and record["config"]["batch_size"] == 100000


BAD = {
    "--stage 7": "invalid choice",
    "--hidden 3,-1": "--hidden",
    "--batch-size 0": "--batch-size",
    "--epochs 2 --steps 2": "not allowed with",
    "--batch-size 10 --micro-batches 3": "does not divide",
    "--shard-model weights=1,2": "2 weights for 3 ranks",
    "--data missing.npz": "missing.npz",
    "--data text.csv": "line 2",
    "--data nan.npz": "nan",
    "--init missing.safetensors": "missing.safetensors",
    "--init other.safetensors": "layers.0.bias",
    "--init float8.safetensors": "layers.0.weight is of type F8_E4M3",
    "--init complex.safetensors": "layers.0.weight is of type C64",
    "--clip-norm 5e-324": "--clip-norm 4.94066e-324 is too small",
    "--record nowhere/r.json": "nowhere",
    "--device gpu": "GPU",
    "--transport nccl": "there is no GPU here",
}


@pytest.mark.rest("a run for each", every=5)
@pytest.mark.parametrize("options", BAD)
def test_bad_input_is_one_line_printed_once_and_code_2(options, tmp_path):
    (tmp_path / "text.csv").write_text("1,2\n3,four\n")
    np.savez(tmp_path / "nan.npz", x=np.full((5, 2), np.nan), y=np.arange(5) % 2)
    save_file({"layers.0.weight": np.zeros((2, 2), "f4")}, tmp_path / "other.safetensors")
    for kind, size in (("F8_E4M3", 1), ("C64", 8)):
        name = {"F8_E4M3": "float8", "C64": "complex"}[kind]
        about = {"dtype": kind, "shape": [2, 2], "data_offsets": [0, 4 * size]}
        head = json.dumps({"layers.0.weight": about}).encode()
        content = struct.pack("<Q", len(head)) + head + bytes(4 * size)
        (tmp_path / f"{name}.safetensors").write_bytes(content)
    if options in ("--device gpu", "--transport nccl") and gpu_count():
        pytest.skip("there is a GPU")
    result = mpirun(3, *TRAIN, *options.split(), cwd=tmp_path, limit=20)
    assert result.returncode == 2
    assert result.stdout == "" and result.stderr.count("\n") == 1, result.stdout + result.stderr
    assert BAD[options] in result.stderr and "error:" in result.stderr


STEPS = ("--steps", "20")
RAISES = [
    ("train.choose data_set_of", 0),
    ("stages.zero3 setup", 0),
    ("stages.zero3 step", 0),
    ("comm Comm.reduce_scatter", 4),
    ("comm Comm.all_gather", 9),
    ("optim Adam.update", 5),
    ("model Unit.backward", 3),
    ("train.held_out evaluate", 0),
    ("checkpoint.weights sha256", 0),
    ("report.record rank_entry", 0),
]


@pytest.fixture(scope="module")
def raising(request):
    """The runs of RAISES that were asked for, three at a time: much of it is waiting."""
    tests = [item for item in request.session.items if "ends_all_ranks_with_one_message[" in item.name]
    plants = [(item.callspec.params["function"], item.callspec.params["call"]) for item in tests]

    def run(plant):
        return failing(plant[0], 2, plant[1], "raise ValueError('planted')", *STEPS)

    with ThreadPoolExecutor(3) as three:
        return {plant: three.submit(run, plant) for plant in plants}


@pytest.mark.rest("a run for each", every=4)
@pytest.mark.parametrize("function, call", RAISES)
def test_a_rank_that_raises_ends_all_ranks_with_one_message(function, call, raising):
    fails_with_one_message(raising[function, call].result())


def test_running_out_of_memory_ends_all_ranks_with_one_message():
    result = failing("model Unit.forward", 2, 5, "raise MemoryError('planted')", *STEPS)
    fails_with_one_message(result)
    said = r"\[rank 2\] out of memory: planted; a dry run says that rank 2 of 3 needs [\d,]+ bytes"
    assert re.search(said, result.stderr) and result.stderr.count("[rank ") == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
@pytest.mark.rest("fills its memory")
@pytest.mark.parametrize("data", ["digits", "synthetic"])
def test_a_model_that_does_not_fit_is_told_in_one_line(data):
    main = (
        "import resource; from zero_ref import launch; from zero_ref.train.__main__ import main; "
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30)); launch.run(main)"
    )
    line = ("--device", "cpu", "--hidden", "5000000", "--data", data)
    result = mpirun(0, "-c", main, *line, OPENBLAS_NUM_THREADS="1")
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and result.stdout == ""
    said = (
        r"zero_ref: error: out of memory: Unable to allocate .*; a dry run says that rank 0 of 1 needs [\d,]+"
    )
    assert re.match(said, result.stderr), result.stderr
    assert int(re.search(r"needs ([\d,]+)", result.stderr)[1].replace(",", "")) > 5_000_000 * 74 * 16


def fails_with_one_message(result):
    assert result.returncode not in (0, 2)
    assert result.stderr.startswith("[rank 2] failed"), result.stderr
    assert "planted" in result.stderr and result.stderr.count("failed, and all ranks end") == 1


@pytest.mark.parametrize("function", ["zero_ref.train.choose data_set_of", "zero_ref.array select"])
def test_bad_input_that_one_rank_alone_finds_ends_all(function):
    statement = "raise launch.UsageError('planted')"
    result = mpirun(3, "tests/failing.py", *function.split(), "1", "0", statement, limit=10)
    assert result.returncode == 2
    assert (result.stdout, result.stderr) == ("", "zero_ref: error: planted\n")


def test_a_gradient_that_is_not_finite_ends_the_run_in_one_line():
    result = mpirun(3, *TRAIN, "--optimizer", "sgd", "--lr", "1e30", "--steps", "9", limit=20)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("zero_ref: error: step 2: the gradient is not finite, first in layers.0.")


def test_a_failure_of_all_ranks_is_told_once():
    statement = "raise ValueError('planted')"
    result = mpirun(
        3,
        "-c",
        f"from zero_ref import launch\nfrom mpi4py import MPI\nlaunch.run(lambda: exec({statement!r}))",
    )
    assert result.returncode not in (0, 2)
    assert result.stderr.startswith("[rank 0] failed") and result.stderr.count("failed, and") == 1


def test_sys_exit_of_one_rank_ends_all():
    result = failing("model Unit.backward", 1, 3, "raise SystemExit(5)")
    assert result.returncode not in (0, 2)
    assert result.stderr.startswith("[rank 1] failed") and "sys.exit(5)" in result.stderr


@pytest.mark.rest("waits")
def test_a_time_limit_shows_the_stack_of_every_rank():
    waiting = "import time; time.sleep(60)"
    with pytest.raises(AssertionError) as failure:
        failing("model Unit.backward", 1, 3, waiting, limit=3)
    text = str(failure.value)
    assert all(f"rank {r}:" in text for r in range(3)) and "exec(statement)" not in text
    assert "in planted" in text and "in reduce_scatter" in text
