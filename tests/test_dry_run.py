"""A dry run against numbers worked out by hand, and against the formulas, which know no stage file."""

import json

import pytest
from launching import mpirun

from zero_ref import array
from zero_ref.data import Task
from zero_ref.ledger import ledger
from zero_ref.meta import Meta, dry
from zero_ref.plan.formulas import model_state_bytes, sent_elements
from zero_ref.train import options
from zero_ref.train.dry_run import Forecast, forecast

BYTES = Forecast.__dataclass_fields__

STAGES = range(4)


def parse(line):
    return options.parse(line.split())


def test_prediction_of_stage_2_by_hand():
    """One linear unit, 3 inputs and 2 outputs in float32, on rank 0 of 2, with Adam.

    psi = 3 * 2 + 2 = 8 numbers, so a shard has 4. The rank computes 5 samples.
    """
    o = parse("--stage 2 --model linear --optimizer adam")
    found = forecast(o, Task(3, 2, 2), 0, 2, [(5,)], "cpu")
    assert {kind: n for kind, n in found.resting_bytes.items() if n} == {
        "parameter": 32,  # 8 numbers of 4 bytes
        "gradient": 16,  # 4 numbers
        "optimizer": 32,  # 2 * 4 numbers
    }
    assert found.sent_bytes_per_step == {
        "reduce_scatter": 16,  # the other rank's 4 numbers
        "all_gather": 16,  # my 4 numbers to one other rank
        "other": 16,  # the squared norm and the loss, 8 bytes each
    }
    assert found.calls_per_step == {"reduce_scatter": 1, "all_gather": 1, "other": 2}
    assert found.peak_bytes == {
        "parameter": 32,
        "gathered": 0,  # the parameters are gathered into themselves
        "gradient": 16 + 16,  # the shard, and the sum that is added to it
        "full_gradient": 32,
        "optimizer": 32,
        # In the loss: x 60, y 40, outputs 40; row numbers of 8 bytes 40, softmax 40; three numbers
        # a row, the highest, the true and the total, 60.
        "activation": 60 + 40 + 40 + 40 + 40 + 60,
        "buffer": 32,  # squares of the shard in float64; later Adam's scratch, twice the shard
    }
    assert found.peak_total_bytes == 32 + 16 + 32 + 280  # in the loss


def test_prediction_of_stage_3_by_hand():
    """The same unit with two micro-batches, squared errors, and SGD with momentum, on rank 1 of 3.

    8 numbers are padded to 9, so a shard has 3. The rank computes 2 samples and then 1.
    """
    o = parse("--stage 3 --model linear --optimizer sgd --momentum 0.9 --micro-batches 2")
    found = forecast(o, Task(3, 2, 0), 1, 3, [(2, 1)], "cpu")
    assert {k: n for k, n in found.resting_bytes.items() if n} == {
        "parameter": 12,
        "gradient": 12,
        "optimizer": 12,
    }
    assert found.sent_bytes_per_step == {
        "reduce_scatter": 2 * 24,  # the others' 6 numbers, in each micro-batch
        "all_gather": 4 * 24,  # my 3 numbers to two ranks, forward and backward in each
        "other": 2 * 8 * 2,
    }
    assert found.calls_per_step == {"reduce_scatter": 2, "all_gather": 4, "other": 2}
    assert found.peak_bytes == {
        "parameter": 12,
        "gathered": 36,
        "gradient": 12 + 12,
        "full_gradient": 36,
        "optimizer": 12,
        # In the loss of the first: x 24, y 16, outputs 16; differences 16, and their squares 16.
        "activation": 24 + 16 + 16 + 16 + 16,
        "buffer": 24,
    }
    # In the backward pass of the first: x, y, outputs and dL/d outputs (72) beside both full vectors.
    assert found.peak_total_bytes == 36 + 72 + 36 + 36


# Two units of 512 and 136 parameters, which 2, 4 and 8 divide.
TASK = Task(31, 8, 8)


def run(stage, reduce="auto", more=""):
    return parse(f"--stage {stage} --hidden 16 --reduce {reduce} {more}")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("reduce", ["auto", "native", "ordered", "ring"])
def test_prediction_agrees_with_the_formulas(stage, ranks, k, reduce):
    found = forecast(run(stage, reduce), TASK, 0, ranks, [(6,) * k], "cpu")
    rest = model_state_bytes(stage, 648, ranks)
    assert {kind: found.resting_bytes[kind] for kind in rest} == rest
    assert sum(found.resting_bytes.values()) == sum(rest.values())
    sent = sent_elements(stage, 648, ranks, k)
    assert {name: found.sent_bytes_per_step[name] / 4 for name in sent} == sent


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("reduce", ["auto", "native", "ordered", "ring"])
@pytest.mark.parametrize("rule", ["random", "hash", "weights=3,1,1,1"])
def test_ranks_together_send_what_the_formulas_say(stage, reduce, rule):
    from zero_ref.train.choose import units

    o = run(stage, reduce, f"--shard-model {rule}")
    if rule.startswith("weights"):
        o.shard_model = [3, 0, 1, 1]  # a rank without parameters, too
    sent = sent_elements(stage, sum(u.layout.padded for u in units(o, TASK, 4)), 4)
    found = [forecast(o, TASK, rank, 4, [(6,)], "cpu").sent_bytes_per_step for rank in range(4)]
    for name in sent:
        assert sum(each[name] for each in found) == 4 * 4 * sent[name]


@pytest.mark.parametrize("reduce, buffer", [("auto", 8), ("native", 8), ("ordered", 40), ("ring", 40)])
def test_reduce_by_hand_takes_a_buffer(reduce, buffer):
    # Rank 0 of 3 has 1 of 8 numbers, the largest shard 5. Squares for the norm take 8 bytes, and so
    # does SGD's scratch; "ordered" a piece from each of two others, "ring" twice the largest shard.
    line = f"--stage 2 --model linear --optimizer sgd --shard-model weights=1,2,5 --reduce {reduce}"
    assert (
        forecast(options.parse(line.split()), Task(3, 2, 2), 0, 3, [(1,)], "cpu").peak_bytes["buffer"]
        == buffer
    )


def test_several_sizes_of_steps_give_the_larger_peak():
    alone = [forecast(run(3), TASK, 0, 2, [sizes]).peak_total_bytes for sizes in [(3,), (50,)]]
    assert alone[0] < alone[1] == forecast(run(3), TASK, 0, 2, [(50,), (3,)]).peak_total_bytes
    assert forecast(run(3), TASK, 0, 2, [(3,), (50,)]).peak_total_bytes == alone[1]


def test_a_dry_run_leaves_no_trace():
    """Whether it ends well or not; arrays that live outside are not looked at."""
    mine = array.zeros(5, "float32", "buffer")
    before = dict(vars(array.xp)), dict(ledger.live), dict(ledger.peak), dict(ledger.sent), array.place()
    forecast(run(3), TASK, 0, 2, [(3,)], "staged")
    with pytest.raises(ZeroDivisionError), dry("gpu"):
        assert array.on_meta() and array.on_gpu() and ledger.live_total == 0
        assert isinstance(array.zeros(5, "float32", "buffer"), Meta)
        raise ZeroDivisionError
    after = dict(vars(array.xp)), dict(ledger.live), dict(ledger.peak), dict(ledger.sent), array.place()
    assert after == before and not array.on_meta() and mine.nbytes == 20


def test_a_rehearsal_has_every_event_of_the_run(tmp_path):
    """Every array, collective and pass, with its bytes and its line of the stage's file; times apart."""
    how = "--stage 3 --shard-model hash --micro-batches 2 --steps 30 --quiet"
    line = ["-m", "zero_ref.train", *how.split()]
    line += ["--trace", f"{tmp_path}/t.json", "--record"]
    ran = mpirun(3, *line, f"{tmp_path}/run.json")
    dry = mpirun(0, *line, f"{tmp_path}/dry.json", "--device", "meta", "--ranks", "3")
    assert (ran.returncode, dry.returncode) == (0, 0), ran.stderr + dry.stderr
    run, rehearsal = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("run", "dry"))
    for mine, theirs in zip(rehearsal["ranks"], run["ranks"], strict=True):
        assert {key: mine[key] for key in BYTES} == {key: theirs[key] for key in BYTES}
    for mine, theirs in zip(*(each["recorded_step"]["ranks"] for each in (rehearsal, run)), strict=True):
        assert [event[1:6] for event in mine["events"]] == [event[1:6] for event in theirs["events"]]
        assert (mine["kept"], mine["elements"]) == (theirs["kept"], theirs["elements"])


def test_a_model_of_many_machines_takes_no_memory():
    widths = ",".join(["12288"] * 95)
    line = f"--device meta --ranks 1024 --data synthetic --features 12288 --hidden {widths} --quiet"
    program = "import sys; from zero_ref.train.__main__ import main; main(sys.argv[1:])"
    program += "; print('mpi4py.MPI' in sys.modules, open('/proc/self/status').read())"
    said = mpirun(0, "-c", program, *line.split()).stdout.split()
    assert said[0] == "False" and int(said[said.index("VmHWM:") + 1]) < 200_000  # kB at most
