"""The command line: defaults, and errors in one line from one rank, without MPI."""

import os
import re
import subprocess
import sys

import pytest

from zero_ref import launch
from zero_ref.launch import UsageError
from zero_ref.train import options

RULES = ["contiguous", "random", "hash"]
DEFAULTS = {
    "timeout": 60.0,
    "check": False,
    "verify_every": None,
    "save": None,
    "save_every": None,
    "keep": None,
    "eval_every": None,
    "resume": None,
    "stage": 3,
    "prefetch": False,
    "recompute": False,
    "bucket": None,
    "tiles": None,
    "own": None,
    "model": "mlp",
    "hidden": [128, 64],
    "layers": None,
    "width": None,
    "heads": None,
    "context": None,
    "init": None,
    "seed": 0,
    "dtype": "float32",
    "data": "digits",
    "header": None,
    "target": None,
    "task": None,
    "data_limit": None,
    "samples": None,
    "features": None,
    "classes": None,
    "test_fraction": 0.2,
    "batch_size": 64,
    "micro_batches": 1,
    "accumulate": None,
    "no_shuffle": False,
    "epochs": 30,
    "steps": None,
    "optimizer": "adam",
    "lr": 0.001,
    "schedule": None,
    "warmup": None,
    "momentum": 0.0,
    "weight_decay": 0.0,
    "clip_norm": None,
    "shard_data": "contiguous",
    "shard_model": "contiguous",
    "overlap": False,
    "keep_after_forward": False,
    "reduce_once": False,
    "group": None,
    "machine": None,
    "code_weights": None,
    "code_gradients": None,
    "error_feedback": None,
    "hpz": False,
    "offload": None,
    "offload_shards": False,
    "reduce": "auto",
    "device": "auto",
    "ranks": None,
    "transport": "mpi",
    "export": None,
    "record": None,
    "report": None,
    "compare": None,
    "trace": None,
    "chart": False,
    "language": None,
    "quiet": False,
}
NAMES = ("--data", "--save", "--resume", "--export", "--record", "--report", "--trace", "--init", "--own")
NAMES += ("--compare",)
NEEDED = {"--compare": ["--report", "r.html"]}
WRONG = [
    "--stage 4",
    "--stage 7",
    "--stage -1",
    "--stage two",
    "--model cnn",
    "--hidden 0",
    "--hidden 128,",
    "--hidden 128,x",
    "--hidden 1.5",
    "--hidden -3",
    "--model linear --hidden 8",
    "--samples 10",
    "--stage 2 --prefetch",
    "--stage 1 --overlap",
    "--overlap --reduce ring",
    "--overlap --reduce native",
    "--overlap --own exercises",
    "--overlap --transport nccl",
    "--stage 2 --keep-after-forward",
    "--keep-after-forward --prefetch",
    "--keep-after-forward --stage 3 --overlap",
    "--keep-after-forward --reduce-once",
    "--stage 1 --reduce-once",
    "--reduce-once --prefetch",
    "--reduce-once --own exercises",
    "--reduce-once --offload host --offload-shards",
    "--features 3 --data digits",
    "--data a.csv --classes 2",
    "--data synthetic --header no",
    "--data synthetic --target first",
    "--data synthetic --task numbers",
    "--task regression",
    "--header maybe",
    "--data-limit 0",
    "--data synthetic --classes 1",
    "--data synthetic --samples 0",
    "--seed -1",
    "--seed 1.5",
    "--dtype float8",
    "--test-fraction 1",
    "--test-fraction -0.1",
    "--test-fraction nan",
    "--batch-size 0",
    "--batch-size -4",
    "--batch-size many",
    "--micro-batches 0",
    "--micro-batches 3",
    "--micro-batches 128",
    "--epochs 0",
    "--steps -1",
    "--steps 0 --report r.html",
    "--steps 0 --device meta --ranks 2",
    "--micro-batches 1000000000 --batch-size 1000000000",
    "--steps 1 --epochs 1",
    "--optimizer lbfgs",
    "--lr -1",
    "--lr nan",
    "--lr inf",
    "--lr fast",
    "--momentum 0.9",
    "--momentum 0.9 --optimizer adamw",
    "--momentum -0.9 --optimizer sgd",
    "--weight-decay -1",
    "--weight-decay inf",
    "--clip-norm 0",
    "--clip-norm -1",
    "--clip-norm nan",
    "--shard-data weights=1,2",
    "--shard-data rows",
    "--shard-model rows",
    "--shard-model weights=",
    "--shard-model weights=1,0",
    "--shard-model weights=1,-1",
    "--shard-model weights=1,1.5",
    "--shard-model weights",
    "--reduce fast",
    "--device tpu",
    "--ranks 4",
    "--device meta",
    "--device meta --ranks 0",
    "--device meta --ranks 4 --save x",
    "--device meta --ranks 4 --export x",
    "--device meta --ranks 4 --verify-every 2",
    "--device meta --ranks 4 --eval-every 2",
    "--transport smoke",
    "--device cpu --transport nccl",
    "--transport nccl --reduce ring",
    "--accumulate float32",
    "--schedule step",
    "--warmup -1",
    "--warmup 0.5",
    "--accumulate float32 --dtype float64",
    "--accumulate bfloat16 --dtype bfloat16",
    "--transport nccl --own x",
    "--group 0",
    "--group 2 --own x",
    "--optimizer muon --own x",
    "--optimizer muon --model linear",
    "--tiles 2 --optimizer muon",
    "--tiles 2 --own x",
    "--tiles 2 --bucket 9",
    "--tiles 2 --model gpt",
    "--tiles 0",
    "--bucket 0",
    "--group 2 --transport nccl",
    "--machine 0",
    "--hpz",
    "--hpz --machine 2 --stage 2",
    "--code-weights 8 --stage 0",
    "--code-weights 4",
    "--code-weights 8/0",
    "--code-gradients 3",
    "--code-gradients 8/1048577",
    "--code-gradients 8/x",
    "--code-gradients 8 --group 2 --machine 2",
    "--code-gradients 8 --own x",
    "--code-gradients 8 --transport nccl",
    "--code-weights 8 --reduce ring",
    "--code-weights 8 --overlap --reduce ring",
    "--hpz --machine 2 --keep-after-forward",
    "--error-feedback 0.8",
    "--code-gradients 4 --error-feedback 1",
    "--code-gradients 4 --error-feedback 0.8/x",
    "--code-gradients 4 --error-feedback 0.8 --dtype float16",
    "--export",
    "--report",
    "--compare r.json",
    "--chart yes",
    "--language fr",
    "--stag 3",
    "--unknown",
    "file.csv",
]


def parse(line):
    return options.parse(line.split())


@pytest.fixture(autouse=True)
def not_under_a_launcher(monkeypatch):
    for name in ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)


def test_the_defaults_are_these():
    assert vars(parse("")) == DEFAULTS


@pytest.mark.parametrize(
    "line, changed",
    [
        ("--model linear", {"data": "diabetes", "epochs": 100, "lr": 0.01}),
        (
            "--model linear --data digits --epochs 2",
            {"data": "digits", "epochs": 2, "lr": 0.01},
        ),
        ("--data a.csv --hidden 9,8,7", {"data": "a.csv", "hidden": [9, 8, 7]}),
        ("--steps 5", {"steps": 5, "epochs": None}),
        ("--optimizer adamw", {"optimizer": "adamw", "weight_decay": 0.01}),
        ("--optimizer adamw --weight-decay 0", {"optimizer": "adamw", "weight_decay": 0.0}),
        ("--weight-decay 0.5", {"weight_decay": 0.5}),
        ("--data synthetic", {"data": "synthetic", "samples": 4096, "features": 64, "classes": 10}),
        ("--optimizer sgd --momentum 0.9", {"optimizer": "sgd", "momentum": 0.9}),
        ("--momentum 0", {"momentum": 0.0}),
        ("--lr 0", {"lr": 0.0}),
        ("--model linear --lr 0", {"data": "diabetes", "epochs": 100, "lr": 0.0}),
        ("--micro-batches 64", {"micro_batches": 64}),
        ("--dtype bfloat16 --accumulate float32", {"dtype": "bfloat16", "accumulate": "float32"}),
        ("--accumulate same", {}),
        ("--schedule constant --warmup 0", {}),
        ("--schedule cosine --warmup 7", {"schedule": "cosine", "warmup": 7}),
        ("--test-fraction 0", {"test_fraction": 0.0}),
        ("--clip-norm 1e-3", {"clip_norm": 1e-3}),
        ("--shard-model weights=2,1,1", {"shard_model": [2, 1, 1]}),
        ("--group 2", {"group": 2}),
        ("--code-weights 8 --code-gradients 4/64", {"code_weights": "8/256", "code_gradients": "4/64"}),
        ("--code-weights none --code-gradients none --error-feedback none", {}),
        (
            "--code-gradients 4 --error-feedback .8/1024",
            {"code_gradients": "4/256", "error_feedback": "0.8/1024"},
        ),
        ("--code-gradients 4 --error-feedback 0", {"code_gradients": "4/256", "error_feedback": "0.0"}),
        ("--bucket 700", {"bucket": 700}),
        ("--tiles 3", {"tiles": 3}),
        ("--shard-model tensors", {"shard_model": "tensors"}),
        ("--optimizer muon", {"optimizer": "muon", "momentum": 0.95, "weight_decay": 0.1}),
        ("--device meta --ranks 1024", {"device": "meta", "ranks": 1024}),
    ],
)
def test_defaults_depend_on_other_options(line, changed):
    if "linear" in line:
        changed = changed | {"model": "linear", "hidden": []}
    assert vars(parse(line)) == DEFAULTS | changed


@pytest.mark.parametrize(
    "option, values", [("stage", range(4)), ("shard-model", RULES), ("shard-data", RULES)]
)
def test_every_choice_is_taken(option, values):
    for value in values:
        assert vars(parse(f"--{option} {value}"))[option.replace("-", "_")] == value


@pytest.mark.parametrize("line", WRONG)
def test_an_error_is_one_line_and_code_2(line, capfd):
    with pytest.raises(SystemExit) as stop:
        launch.run(lambda: parse(line))
    out, err = capfd.readouterr()
    assert stop.value.code == 2
    assert out == ""
    assert re.fullmatch(r"zero_ref: error: [^\n]+\n", err)


@pytest.mark.parametrize("line", ["--stage 7", "--model linear --hidden 8", "--unknown"])
@pytest.mark.parametrize("variable", ["PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK"])
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_rank_0_alone_prints_the_error(line, variable, rank, capfd, monkeypatch):
    monkeypatch.setenv(variable, str(rank))
    with pytest.raises(SystemExit) as stop:
        launch.run(lambda: parse(line))
    out, err = capfd.readouterr()
    assert stop.value.code == 2
    assert out == "" and err.count("\n") == (1 if rank == 0 else 0)


@pytest.mark.parametrize("rank", [0, 1])
def test_rank_0_alone_prints_the_help(rank, capfd, monkeypatch):
    monkeypatch.setenv("PMI_RANK", str(rank))
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    out, err = capfd.readouterr()
    assert stop.value.code == 0 and err == ""
    assert bool(out) == (rank == 0)


def test_help_tells_every_option(capfd):
    with pytest.raises(SystemExit):
        parse("--help")
    text = capfd.readouterr().out
    for name in DEFAULTS:
        assert re.search(rf"^  --{name.replace('_', '-')}\b", text, re.MULTILINE), name
    for action in options.parser()._actions:
        assert action.help


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_has_no_shares(rule):
    assert options.model_rule(parse(f"--shard-model {rule}"), 4) == (rule, None)


LONG = "--hidden 9,8 --seed 3 --no-shuffle --optimizer sgd --momentum 0.9 --lr 1e-3 --clip-norm 0.1 --steps 7"
LONG += " --shard-model weights=2,1 --stage 1"
READ = "--data a.csv --header yes --target y=1 --task classes --data-limit 0.5"


@pytest.mark.parametrize(
    "line", ["", "--model linear", "--dtype float16", LONG, "--data a.csv", READ, "--lr 0"]
)
def test_a_resumed_run_has_the_options_of_the_first(line):
    first = parse(
        f"{line} --save x --save-every 3 --keep 2 --quiet --record r --device gpu --transport nccl"
        " --report p --trace t --compare c --chart --language zh"
    )
    again = options.parse(["--resume", "x"], options.lasting(first))
    passing = {name: DEFAULTS[name] for name in options.PASSING}
    expected = vars(first) | passing | {"resume": "x"}
    expected["data"] = os.path.abspath("a.csv") if first.data == "a.csv" else first.data
    assert vars(again) == expected
    assert options.lasting(again) == options.lasting(first)


def test_a_resumed_run_may_change_where_it_runs_and_how_far():
    first = options.lasting(parse(LONG))
    line = "--resume x --stage 3 --shard-model hash --shard-data random --reduce ring --micro-batches 2"
    o = options.parse([*line.split(), "--epochs", "9", "--lr", "1", "--seed", "3"], first)
    assert (o.stage, o.shard_model, o.shard_data, o.reduce, o.micro_batches) == (
        3,
        "hash",
        "random",
        "ring",
        2,
    )
    assert (o.steps, o.epochs, o.lr, o.hidden) == (None, 9, 1.0, [9, 8])
    ahead = options.lasting(parse("--prefetch --recompute"))  # how one command works, no more
    again = options.parse(["--resume", "x", "--stage", "2"], ahead)
    assert (again.prefetch, again.recompute) == (False, False)


@pytest.mark.parametrize(
    "line", ["--model linear", "--hidden 9", "--dtype float64", "--seed 4", "--test-fraction 0.1",
             "--batch-size 32", "--optimizer adam", "--momentum 0.8", "--init x"]
)  # fmt: skip
def test_a_resumed_run_stays_the_same_run(line):
    with pytest.raises(UsageError, match=line.split()[0]):
        options.parse(["--resume", "x", *line.split()], options.lasting(parse(LONG)))


@pytest.mark.parametrize(
    "bad",
    [
        "--help",
        "-h",
        "--version",
        "--export=x",
        "--save=x",
        "--record=x",
        "--init=x",
        "--quiet",
        "more",
        "--lr=0.50",
    ],
)
def test_a_checkpoint_cannot_give_orders(bad):
    with pytest.raises(UsageError):
        options.parse(["--resume", "x"], [*options.lasting(parse("")), bad])


def test_where_a_run_resumes():
    assert options.given([]).resume is None
    assert options.given(["--resume", "a"]).resume == "a"
    assert options.given(["--resume", "latest", "--save", "b"]).save == "b"
    with pytest.raises(UsageError, match="--save"):
        options.given(["--resume", "latest"])


def test_a_script_that_says_latest_may_say_where_to_start_as_well():
    line = ["--resume", "latest", "--save", "c", "--init", "w"]
    assert options.parse(line).init == "w"
    assert options.parse(line, options.lasting(parse(""))).init is None


@pytest.mark.parametrize("option", NAMES)
@pytest.mark.parametrize("form", ("two words", "one word"))
def test_an_option_that_is_given_and_empty_is_refused(option, form):
    line = [option, ""] if form == "two words" else [f"{option}="]
    with pytest.raises(UsageError, match=f"{option}: is empty"):
        options.parse([*line, *NEEDED.get(option, [])])


def test_a_name_that_is_not_utf8_is_refused(tmp_path, monkeypatch):
    for option in NAMES:
        with pytest.raises(UsageError, match=f"{option} .*not UTF-8"):
            options.parse([option, os.fsdecode(b"caf\xe9.csv"), *NEEDED.get(option, [])])
    folder = tmp_path / os.fsdecode(b"d\xe9r")
    folder.mkdir()
    monkeypatch.chdir(folder)
    parse("--data plain.csv --record r.json")
    with pytest.raises(UsageError, match="folder is not UTF-8"):
        parse("--data plain.csv --save c")


@pytest.mark.parametrize(
    "many", [["--lr=1"] * 16000, ["--hidden=" + "4," * 100000 + "4"], ["--micro-batches=1000000000"]]
)
def test_options_of_a_checkpoint_have_bounds(many):
    with pytest.raises(UsageError, match=r"too many|batch-size|micro-batches"):
        options.parse(["--resume", "x"], [*many, "--batch-size=1000000000"])


def test_what_could_not_be_resumed_is_not_saved():
    long = "1," * 40000 + "1"
    parse(f"--hidden {long}")
    with pytest.raises(UsageError, match="letters"):
        parse(f"--hidden {long} --save c")


def test_shares_are_for_so_many_ranks():
    o = parse("--shard-model weights=2,1,1")
    assert options.model_rule(o, 3) == ("contiguous", [2, 1, 1])
    for size in (1, 2, 4):
        with pytest.raises(UsageError, match=f"3 weights for {size} rank"):
            options.model_rule(o, size)


@pytest.mark.parametrize(
    "argument, code, where", [("--help", 0, "stdout"), ("--stage=7", 2, "stderr"), ("--lr=x", 2, "stderr")]
)
def test_help_and_errors_need_no_mpi(tmp_path, argument, code, where):
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py" / "__init__.py").write_text("raise ImportError('there is no MPI here')\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()])}
    broken = subprocess.run([sys.executable, "-c", "import mpi4py"], env=environment, capture_output=True)
    assert broken.returncode != 0
    command = [sys.executable, "-m", "zero_ref.train", argument]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == code
    text = getattr(done, where)
    assert text == done.stdout + done.stderr
    assert text.startswith("usage: zero_ref.train") if code == 0 else text.count("\n") == 1
