"""An optimizer, a unit, a Comm, a rule and a reader from outside (outside.py): everything else follows."""

import json

import numpy as np
import outside
import pytest
from launching import mpirun

from zero_ref import optim
from zero_ref.plan import answer
from zero_ref.plan.__main__ import parse
from zero_ref.train import options
from zero_ref.train.dry_run import Forecast

SAME = "--data digits --steps 6 --batch-size 22 --micro-batches 2 --hidden 9,7 --clip-norm 1 --quiet"
KEYS = Forecast.__dataclass_fields__


def run(ranks, *lines):
    """Train once for each line; what the ranks said if that failed."""
    result = mpirun(ranks, "tests/outside.py", *lines, limit=60)
    return result.stderr if result.returncode else ""


def check(path, formula=True):
    """Every predicted byte is measured, and every formula's; the record."""
    record = json.loads(path.read_text())
    for rank in record["ranks"]:
        assert {key: rank[key] for key in KEYS} == {key: rank["predicted"][key] for key in KEYS}
        for key, says in rank["formula"].items() if formula else ():
            assert {name: rank[key][name] for name in says} == says
    return record


@pytest.fixture(scope="module")
def lion(tmp_path_factory):
    """A folder with records and checkpoints of Lion: stages 0 to 3, 16 bits, resumed on two ranks."""
    folder = tmp_path_factory.mktemp("lion")
    line = f"--optimizer lion {SAME}"
    long = line.replace("--steps 6", "--steps 9")
    failed = run(
        3,
        *(f"{line} --stage {s} --record {folder}/{s}.json --save {folder}/s{s}" for s in range(4)),
        *(f"{long} --stage {s} --record {folder}/{s}long.json" for s in (0, 3)),
        f"{line} --stage 2 --dtype bfloat16 --record {folder}/narrow.json",
        f"{line} --stage 3 --prefetch --shard-model hash --record {folder}/hash.json",
    )
    failed += run(
        2,
        *(
            f"--resume {folder}/s{s} --stage {3 - s} --steps 9 --record {folder}/r{s}.json --quiet"
            for s in range(4)
        ),
    )
    (folder / "failed").write_text(failed)
    return folder


@pytest.mark.rest("four runs")
def test_an_optimizer_from_outside_trains_saves_and_goes_on(lion):
    assert (lion / "failed").read_text() == ""


@pytest.mark.rest("four runs")
@pytest.mark.parametrize("name", [0, 1, 2, 3, "narrow", "hash", "r0", "r1", "r2", "r3"])
def test_every_predicted_byte_of_an_optimizer_from_outside_is_measured(lion, name):
    check(lion / f"{name}.json")


@pytest.mark.rest("four runs")
def test_an_optimizer_from_outside_trains_alike_at_every_stage_and_goes_on_from_checkpoints(lion):
    records = {name: check(lion / f"{name}.json") for name in (0, 1, 2, 3, "0long", "r0", "r1", "r2", "r3")}
    assert records[0]["weights_sha256"] == records[1]["weights_sha256"]
    assert records[2]["weights_sha256"] == records[3]["weights_sha256"]
    for resumed in ("r0", "r1", "r2", "r3"):  # two ranks add in another order than three
        assert np.allclose(records[resumed]["loss"], records["0long"]["loss"][6:], rtol=1e-5)


def test_its_defaults_are_those_of_the_class():
    o = options.parse(["--optimizer", "lion"])
    assert (o.lr, o.weight_decay) == (1e-4, 0.0)
    assert optim.KINDS["lion"] is outside.Lion


def test_the_planner_knows_it():
    line = "--model mlp --features 64 --classes 10 --optimizer lion --dtype float32 --ranks 4"
    made = answer.plan_for_training(parse(line.split()))
    assert [row.state["optimizer"] / made.padded for row in made.rows] == [4, 1, 1, 1]


def test_a_unit_a_rule_and_a_comm_from_outside(tmp_path):
    rows = np.random.default_rng(0).normal(size=(40, 5))
    rows[:, 4] = rows[:, 0] > rows[:, 1]
    np.savetxt(tmp_path / "d.tsv", rows, delimiter="\t", fmt="%.6g")
    more = f"--data {tmp_path}/d.tsv --steps 6 --batch-size 10 --quiet"
    failed = run(
        3,
        *(f"--model residual --stage {s} {SAME} --record {tmp_path}/unit{s}.json" for s in range(4)),
        f"--model residual --data {tmp_path}/d.tsv --steps 4 --quiet --record {tmp_path}/tsv.json",
        *(f"--reduce twice --stage {s} {SAME} --record {tmp_path}/twice{s}.json" for s in (0, 3)),
        f"--reduce short --stage 3 {more} --record {tmp_path}/short.json",
        *(f"--reduce checked --stage {s} {SAME} --record {tmp_path}/checked{s}.json" for s in (0, 3)),
        *(f"--reduce auto --stage {s} {SAME} --record {tmp_path}/auto{s}.json" for s in (0, 3)),
        f"--reduce auto --stage 3 {more} --record {tmp_path}/auto.json",
    )
    assert failed == ""
    units = [check(tmp_path / f"unit{s}.json") for s in range(4)]
    assert len({u["weights_sha256"] for u in units[:2]}) == len({u["weights_sha256"] for u in units[2:]}) == 1
    check(tmp_path / "tsv.json")
    for s in (0, 3):
        twice = check(tmp_path / f"twice{s}.json", formula=False)
        for rank in twice["ranks"]:
            says = rank["formula"]["sent_bytes_per_step"]
            assert rank["sent_bytes_per_step"] == says | {"all_gather": 2 * says["all_gather"]}
    for s, gathers in ((0, 1), (3, 4)):  # of each unit in a step of two micro-batches
        checked, plain = (check(tmp_path / f"{n}{s}.json", formula=n == "auto") for n in ("checked", "auto"))
        assert checked["weights_sha256"] == plain["weights_sha256"]
        for a, b in zip(checked["ranks"], plain["ranks"]):
            more = 4 * 2 * gathers * plain["units"]  # a number to each of two others
            assert a["sent_bytes_per_step"]["all_gather"] - b["sent_bytes_per_step"]["all_gather"] == more
    short, auto = (check(tmp_path / f"{name}.json", formula=name == "auto") for name in ("short", "auto"))
    for a, b in zip(short["ranks"], auto["ranks"]):
        assert 2 * a["sent_bytes_per_step"]["all_gather"] == b["sent_bytes_per_step"]["all_gather"]
    assert short["loss"][0] == pytest.approx(auto["loss"][0], rel=1e-2)
    assert short["loss"] != auto["loss"]


def test_a_rule_from_outside(tmp_path):
    lines = [f"--stage {s} {SAME} --record {tmp_path}/{s}.json".split() for s in range(4)]
    lines = [" ".join([*line, "--shard-model", "round_robin"]) for line in lines]
    assert run(3, *lines) == ""
    records = [check(tmp_path / f"{s}.json") for s in range(4)]
    assert records[0]["weights_sha256"] == records[1]["weights_sha256"]
    assert len(set(records[3]["owned"])) > 1  # blocks do not come out even
