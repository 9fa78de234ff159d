"""One step recorded event by event: its sums are the ledger's numbers to the byte, and it changes nothing."""

import itertools
import os
import time
from collections import Counter

import pytest

from zero_ref.comm import Comm
from zero_ref.ledger import KINDS, ledger
from zero_ref.report import meetings
from zero_ref.train import choose, clocks, options
from zero_ref.train import run as training

DEVICE = os.environ.get("ZERO_REF_TEST_DEVICE", "cpu")
# Units of 455 and 80 parameters; the last of four batches in an epoch is short.
LINE = "--quiet --steps 5 --batch-size 420 --hidden 7 --test-fraction 0.1 --clip-norm 0.1 --device " + DEVICE
COLLECTIVE = {"reduce_scatter": "reduce_scatter", "all_gather": "all_gather", "sum": "other"}
COLLECTIVE["finish_all_gather"] = "all_gather"
CASES = [
    "--optimizer sgd",
    "--micro-batches 3 --reduce ring --shard-model hash",
    "--reduce ordered --optimizer adamw --shard-data hash --check",
    "--dtype bfloat16 --shard-model random --shard-data random --micro-batches 2 --recompute",
]


def run(line, *more):
    return training.train(options.parse([*LINE.split(), *line.split(), *more]))


def uneven(line, size):
    return f"{line} --shard-model weights={','.join(str(1 + r % 3) for r in range(size))}"


@pytest.mark.parametrize(
    "stage, case",
    [*itertools.product(range(4), [*CASES, "uneven"]), *((3, f"--prefetch {case}") for case in CASES)],
)
def test_the_events_add_up_to_the_ledgers_numbers(stage, case, comm):
    line = f"--stage {stage} " + (uneven("", comm.size) if case == "uneven" else case)
    result = run(line, "--chart")
    step, micro_batches = result["recorded_step"], result["config"]["micro_batches"]
    assert step["step"] == 2 and len(step["ranks"]) == comm.size
    for rank, recorded in enumerate(step["ranks"]):
        measured = result["ranks"][rank]
        live = dict.fromkeys(KINDS, 0)
        for kept in recorded["kept"]:
            for kind, (nbytes, _) in kept.items():
                live[kind] += nbytes
        assert live == measured["resting_bytes"]

        peak, peak_total, sent, calls = dict(live), sum(live.values()), Counter(), Counter()
        inside, passes, before = [], Counter(), 0.0
        for microseconds, what, name, unit, nbytes, line_number, place in recorded["events"]:
            assert before <= microseconds and place < len(recorded["places"])
            before = microseconds
            if what in ("born", "died"):
                assert nbytes >= 0 if what == "born" else nbytes <= 0
                live[name] += nbytes
                assert live[name] >= 0
                peak[name], peak_total = max(peak[name], live[name]), max(peak_total, sum(live.values()))
            elif what == "begin":
                inside.append((name, unit))
                passes[name, unit] += 1
            else:
                assert inside.pop() == (name, unit)
                if name in COLLECTIVE:
                    sent[COLLECTIVE[name]] += nbytes
                    calls[COLLECTIVE[name]] += 1
            source = step["source"].splitlines()[line_number - 1] if line_number else ""
            if name in ("forward", "backward", "update"):
                assert f".{name}(" in source
            elif name in ("all_gather", "reduce_scatter"):
                assert name in source or (stage == 0 and "all_reduce" in source)
        assert inside == [] and live == measured["resting_bytes"]
        assert recorded["predicted"]["peak_bytes"] == peak
        assert recorded["predicted"]["peak_total_bytes"] == peak_total
        assert sent == measured["sent_bytes_per_step"] and calls == measured["calls_per_step"]
        for unit in range(len(step["units"])):
            assert passes["forward", unit] == passes["backward", unit] == micro_batches
            assert passes["update", unit] == 1
    own = [sum(r["elements"][u] for r in step["ranks"]) for u in range(len(step["units"]))]
    assert own == [unit["elements"] for unit in step["units"]]


@pytest.mark.parametrize("stage", range(4))
def test_an_arrays_unit_is_that_of_the_call_in_which_it_was_born(stage):
    step = run(f"--stage {stage}", "--chart")["recorded_step"]
    for recorded in step["ranks"]:
        alive = Counter()
        for _, what, name, unit, nbytes, _, _ in recorded["events"]:
            if what in ("born", "died"):
                alive[name, unit] += nbytes
                assert alive[name, unit] >= 0 or name == "activation"
        whole = [4 * sum(unit["counts"]) for unit in step["units"]]
        born = {(e[3], e[4]) for e in recorded["events"] if e[1:3] == ["born", "full_gradient"]}
        assert born == set(enumerate(whole))
        gathered = {(e[3], e[4]) for e in recorded["events"] if e[1:3] == ["born", "gathered"]}
        assert gathered == (set(enumerate(whole)) if stage == 3 else set())


@pytest.mark.parametrize("line", ["--stage 2", "--prefetch --reduce ring", "--micro-batches 2"])
def test_no_collective_ends_before_every_rank_has_begun_it(line, comm):
    result = run(line, "--chart")
    found = meetings.meetings(result)
    assert found or comm.size == 1
    for meeting in found:
        assert min(span.end for span in meeting.ends) >= max(span.begin for span in meeting.begins)
        assert len(meeting.begins) == len(meeting.ends) == comm.size


def test_clocks_of_other_hosts_are_compared(comm):
    """Each rank as a host of its own, with a clock that is an hour ahead of its left neighbour's."""
    mine = comm.mpi.Split(comm.rank)
    clock = lambda: time.perf_counter() + 3600 * comm.rank  # noqa: E731
    found = clocks.ahead(comm.mpi, mine, clock)
    mine.Free()
    assert found.host == comm.rank and 0 <= found.within < 60
    assert abs(found.seconds - 3600 * comm.rank) <= found.within
    assert clocks.ahead_of_rank_0(comm.mpi) == (0.0, 0.0, 0), "these share one clock"


@pytest.mark.parametrize("stage", range(4))
def test_recording_changes_no_number(stage):
    plain, recorded = run(f"--stage {stage}"), run(f"--stage {stage}", "--chart")
    assert "recorded_step" not in plain and "recorded_step" in recorded
    for name in ("loss", "grad_norm", "weights_sha256", "test"):
        assert plain[name] == recorded[name]
    same = ("samples", "resting_bytes", "peak_bytes", "peak_total_bytes", "sent_bytes_per_step", "predicted")
    for a, b in zip(plain["ranks"], recorded["ranks"]):
        assert [a[name] for name in same] == [b[name] for name in same]


def test_everything_is_put_back_after_the_step(monkeypatch):
    kept, models = [], []
    original, build = Comm.__init__, choose.units

    def remember(self, mpi=None):
        original(self, mpi)
        kept.append(self)

    def remember_units(*arguments, **keywords):
        models.append(build(*arguments, **keywords))
        return models[-1]

    monkeypatch.setattr(Comm, "__init__", remember)
    monkeypatch.setattr(choose, "units", remember_units)
    before = dict(ledger.live)
    run("--timeout 60", "--chart")
    owners = [*kept, *(each for units in models for u in units for each in (u, u.optimizer))]
    assert len(kept) > 1 and len(owners) > len(kept) + 2
    for owner in owners:
        for name, method in vars(owner).items():
            if callable(method):
                assert "Events" not in getattr(method, "__qualname__", ""), name
    for comm in kept:  # what remains there is the watchdog
        assert "Events" not in [type(observer).__name__ for observer in comm.observers]
    del owner, owners, models[:]
    assert ledger.events is None and dict(ledger.live) == before


def test_a_run_of_one_step_records_it():
    assert run("--steps 1", "--chart")["recorded_step"]["step"] == 1


def test_the_step_is_not_a_short_one():
    line = "--batch-size 1400 --steps 4"  # 1,617 samples to train on: 1,400, 217, 1,400, 217
    step = run(line, "--chart")["recorded_step"]
    assert step["step"] == 3
