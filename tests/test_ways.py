"""The planner with every extra: what stays inside a machine, what goes between, and how long that takes."""

import itertools
import json
from collections import Counter

import pytest
from launching import mpirun

from zero_ref.data import Task
from zero_ref.extras.codes import Code
from zero_ref.launch import UsageError
from zero_ref.plan import __main__ as command
from zero_ref.plan import answer, sizing, timing
from zero_ref.plan.formulas import Leg, legs
from zero_ref.plan.timing import Link, Machine, Work
from zero_ref.plan.traffic import to_others
from zero_ref.plan.ways import WAYS, options_here, ways
from zero_ref.train import options

TASK = Task(7, 3, 3)
SHAPE = "--model mlp --features 7 --classes 3 --hidden 9,5 --dtype float32 --batch-size 24"
# Options of zero_ref.train in which the ledger tells inside from between; G ranks share a machine.
KNOWN = {
    "groups": "--group {g}",
    "groups, stage 1": "--group {g} --stage 1 --micro-batches 2",
    "groups, ring": "--group {g} --reduce ring",
    "groups, overlap": "--group {g} --overlap",
    "groups, offload": "--group {g} --offload host --stage 2",
    "machines": "--machine {g}",
    "machines, hash": "--machine {g} --shard-model hash --stage 2 --micro-batches 3",
    "hpZ": "--machine {g} --hpz",
    "hpZ, prefetch": "--machine {g} --hpz --prefetch --micro-batches 2",
    "qwZ": "--machine {g} --code-weights 8/5",
    "qgZ": "--machine {g} --code-gradients 4/5 --stage 1",
    "groups, codes": "--group {g} --code-weights 8/5 --code-gradients 4/5 --micro-batches 2",
    "groups, codes, overlap": "--group {g} --code-gradients 8/5 --overlap",
    "feedback": "--machine {g} --code-gradients 4/5 --error-feedback 0.8 --stage 2",
    "machines, overlap": "--machine {g} --code-gradients 4/5 --overlap",
    "machines, keep": "--machine {g} --keep-after-forward",
    "machines, muon": "--machine {g} --optimizer muon",
    "all": "--machine {g} --hpz --code-weights fp8/5 --code-gradients 8/7 --bucket 70 --recompute",
}


def rehearsed(line, rank, ranks, near):
    o = options.parse([*line.split(), "--hidden=9,5", "--dtype=float32", "--device=cpu", "--batch-size=24"])
    return sizing.rehearsed(o, TASK, rank, ranks, [(2,) * o.micro_batches], near)


def printed(line):
    return answer.plan(command.parse(line.split()))


def rows_of(line):
    return {row.name: row for row in answer.plan_for_training(command.parse(line.split())).rows}


# Bytes


@pytest.mark.rest("a dry run for every rank", every=5)
@pytest.mark.parametrize("n, g", [(4, 2), (6, 3), (6, 2), (8, 4)])
@pytest.mark.parametrize("case", KNOWN)
def test_inside_and_between_are_what_the_ledger_counts(case, n, g):
    for rank in range(n):
        found = rehearsed(KNOWN[case].format(g=g), rank, n, g)
        said = found.forecast
        assert sum(leg.inside + leg.between for leg in found.legs) == sum(said.sent_bytes_per_step.values())
        # the loss is summed over all ranks, and in machines so is the norm: of 8 bytes to each, those outside
        numbers = 8 * (n - g) * (1 if "group" in KNOWN[case] else 2)
        between = sum(said.between_bytes_per_step.values()) + numbers
        assert sum(leg.between for leg in found.legs) == pytest.approx(between, rel=1e-12)
        calls = sum(said.calls_per_step.values())
        units = 2 if "bucket" in KNOWN[case] else 3
        assert sum(leg.calls for leg in found.legs) * units == pytest.approx(calls)


@pytest.mark.parametrize("reduce", ["auto", "ring"])
@pytest.mark.parametrize("n, g", [(4, 2), (6, 3), (64, 8)])
def test_direct_and_ring_of_one_machine(n, g, reduce):
    """Stage 3: G times 3 psi (N - G)/N from each to each, 3 psi (N - 1)/N around a ring of machines; and in
    groups, 2 psi/G (R - 1)/R from each rank, either way."""
    psi = 64 * 64 * 4  # without biases of their own: a linear model, whose padding is none
    o = options.parse(
        ["--model", "linear", "--data", "synthetic", "--features", "63", "--classes", "64"]
        + ["--reduce", reduce, "--dtype", "float32", "--device", "cpu"]
    )
    assert 64 * 64 % n == 0 or n == 6
    found = sizing.rehearsed(o, Task(63, 64, 64), 1, n, [(2,)], g)
    psi = 4 * (64 * 64 + -64 * 64 % n)
    moving = [leg for leg in found.legs if leg.calls * leg.inside > 1000]
    direct, ring = to_others(moving, g)
    around = 3 * psi * (n - 1) / n
    assert ring == pytest.approx(around)
    assert direct == pytest.approx(3 * g * psi * (n - g) / n if reduce == "auto" else around)
    assert to_others(legs(3, psi, n, 1, g), g) == pytest.approx((3 * g * psi * (n - g) / n, around))


def test_what_groups_save_depends_on_the_algorithm():
    """64 ranks on machines of 8: 12 times against direct, and 1.7 times against a ring of machines."""
    made = answer.plan_for_size(command.parse(["--parameters", "64000", "--ranks", "64", "--group", "8"]))
    rows = {row.name: row for row in made.rows}
    (direct, ring), (groups, same) = (to_others(rows[name].legs, 8) for name in ("3", "3 in groups"))
    assert direct / groups == 12 and ring / groups == pytest.approx(1.6875) and groups == same


@pytest.mark.rest("many dry runs")
def test_numbers_of_codes_are_counted_one_by_one(monkeypatch):
    counted = Counter()
    for name, place in (("encode", 0), ("decode", 1)):
        plain = getattr(Code, name)

        def count(self, *arrays, plain=plain, place=place):
            counted["numbers"] += arrays[place].size
            return plain(self, *arrays)

        monkeypatch.setattr(Code, name, count)
    for n, g in ((4, 2), (6, 3), (6, 2), (3, 3)):
        for line in (
            "--code-weights 8/5 --micro-batches 2",
            "--code-weights 8/5 --hpz --prefetch",
            "--code-gradients 4/5 --micro-batches 3 --stage 2",
            "--code-gradients 8/5 --code-weights fp8/3 --hpz --shard-model hash",
            "--code-gradients 8/5 --code-weights fp8/3 --keep-after-forward --error-feedback 0.8",
        ):
            for near in ("--machine", "--group"):
                if "hpz" in line and (g == n or near == "--group"):
                    continue
                for rank in range(0, n, 2):
                    counted.clear()
                    found = rehearsed(f"{near} {g} {line}", rank, n, g)
                    assert found.coded == counted["numbers"] > 0


# Ways

EVERY = {*(f"{stage}+" for stage in range(4)), *(f"{stage}+ in groups" for stage in (1, 2, 3))}


@pytest.mark.rest("seven dry runs for each", every=4)
@pytest.mark.parametrize(
    "extra, there",
    [
        ("--prefetch", {"3+", "3+ in groups"}),
        ("--overlap", {"2+", "3+", "2+ in groups", "3+ in groups"}),
        ("--keep-after-forward", {"3+", "3+ in groups"}),
        ("--reduce-once --micro-batches 2", {"3+", "3+ in groups"}),
        ("--code-weights 8", {"3+", "3+ in groups"}),
        ("--code-gradients 4", EVERY),
        ("--code-gradients 4 --error-feedback 0.8/9", EVERY),
        ("--hpz", {"3+"}),
        ("--offload host", EVERY),
        ("--offload disk:somewhere --offload-shards", {"3+", "3+ in groups"}),
        ("--optimizer muon", set()),
        ("--optimizer muon --shard-model tensors", set()),
        ("--bucket 70", set()),
        ("--tiles 2", set()),
        ("--recompute", set()),
        ("--reduce ring", set()),
        ("--dtype bfloat16 --accumulate float32", set()),
    ],
)
def test_every_extra_is_an_option_of_the_planner(extra, there):
    """Its rows are those of a dry run of zero_ref.train with that option, where this takes it."""
    line = f"{SHAPE} --ranks 4 --group 2 {extra}"
    o = command.parse(line.split())
    rows, plain = rows_of(line), rows_of(f"{SHAPE} --ranks 4 --group 2")
    groups = {f"{stage} in groups" for stage in (1, 2, 3)}
    hpz = set() if "ring" in extra else {"hpZ"}
    assert set(rows) == set("0123") | groups | hpz | there
    asked = {name: getattr(o, name) for name in WAYS if getattr(o, name)}
    for name in there:
        coded = {"machine": 2} if "code" in extra or "hpz" in extra else {}
        more = {"group": 2} if "groups" in name else coded
        way, parts = (
            options_here(o, int(name[0]), **asked, **more),
            [(6 // o.micro_batches,) * o.micro_batches],
        )
        every = [sizing.rehearsed(way, TASK, rank, 4, parts, 2) for rank in range(4)]
        found = max(every, key=lambda each: each.forecast.peak_total_bytes)
        said = found.forecast
        assert rows[name].needed == said.peak_total_bytes
        assert rows[name].sent == sum(said.sent_bytes_per_step.values())
        assert rows[name].calls == pytest.approx(sum(said.calls_per_step.values()))
        assert sum(nbytes for _, nbytes in rows[name].work.away) == sum(said.moved_bytes_per_step.values())
    if not there:
        same = [vars(rows[name]) == vars(plain[name]) for name in plain if name in rows]
        assert not all(same), "it changes a row"


def test_a_plan_says_what_it_leaves_out_and_adds():
    text = " ".join(printed(f"{SHAPE} --ranks 4 --group 2 --prefetch --offload host").split())
    assert "+: with --prefetch --offload host." in text
    assert "do not go with the other options: 0+, 1+, 2+, 1+ in groups, 2+ in groups." in text
    for wrong, said in (
        ("--hpz --ranks 4", "--hpz needs --group"),
        ("--code-weights 8 --reduce ring --ranks 4", "--code-weights goes neither"),
        ("--optimizer muon --tiles 2 --ranks 4", "--tiles goes neither"),
        ("--latency-between 1 --bandwidth 3 --ranks 4", "needs --group"),
        ("--bandwidth-offload 3 --ranks 4", "needs --bandwidth"),
    ):
        with pytest.raises(UsageError, match=said):
            printed(f"{SHAPE} {wrong}")
    with pytest.raises(UsageError, match="--prefetch is not for a plan without --model"):
        printed("--parameters 1e9 --ranks 4 --prefetch")
    with pytest.raises(UsageError, match="needs --vocab"):
        printed("--model gpt --layers 1 --hidden 8 --heads 2 --sequence 4 --ranks 2")


def test_weights_of_all_ranks_are_not_those_of_a_group():
    o = command.parse(f"{SHAPE} --ranks 4 --group 2 --shard-model weights=1,2,1,1".split())
    found, refused = ways(o)
    assert [way.name for way in found] == ["0", "1", "2", "3", "hpZ"] and len(refused) == 3
    rows = {row.name: row for row in answer.plan_for_training(o).rows}
    assert (
        rows["3"].state["parameter"] == 4 * sum(2 * 5 * -(-n // 25) * 5 // 5 for n in ())
        or rows["3"].rest > 0
    )


def test_a_gpt_is_planned_as_it_runs():
    line = (
        "--model gpt --layers 2 --hidden 8 --heads 2 --sequence 6 --vocab 11 --dtype float32 --batch-size 6"
    )
    rows = rows_of(f"{line} --ranks 3 --recompute")
    width, context, symbols, samples, blocks = 8, 6, 11, 2, 2
    tokens = samples * context
    block = 12 * width**2 + 2 * context * width  # matrices, and two products of attention
    head = symbols * width
    embedding = symbols * width  # for its gradient alone
    assert rows["3"].work.flop == 2 * tokens * (blocks * 4 * block + 3 * head + embedding)
    assert rows["3"].work.units == 4


# Time


MACHINE = Machine(
    reduce_scatter=Link(1e-3, 1000.0),
    all_gather=Link(2e-3, 500.0),
    between=Link(5e-2, 10.0),
    host=50.0,
    disk=5.0,
    code=1e-3,
)


def test_time_inside_and_between_by_hand():
    """8 ranks, 4 of which share a machine: 3 and 4 of the others are near and far."""
    leg = Leg("reduce_scatter", 2, 8, 3 * 60.0, 4 * 60.0)
    inside, between, latency = timing.by_link([leg], 3, MACHINE, 4)
    assert (inside, between) == (180 / 1000, 240 / 10)
    assert latency == pytest.approx(2 * 3 * (3 * 1e-3 + 4 * 5e-2))
    # around a ring one rank has the link of four, 40 bytes a second, and each hop waits for the slow link
    assert timing.by_link([leg], 3, MACHINE, 4, ring=True) == (0.0, 420 / 40, pytest.approx(2 * 3 * 7 * 5e-2))
    near, far = Leg("all_gather", 1, 4, 90.0, 0), Leg("reduce_scatter", 1, 2, 0, 70.0)
    for ring in (False, True):  # these are what they are
        assert timing.by_link([near], 1, MACHINE, 4, ring) == (90 / 500, 0.0, 3 * 2e-3)
        assert timing.by_link([far], 1, MACHINE, 4, ring) == (0.0, 70 / 10, 5e-2)
    fast = Machine(reduce_scatter=Link(0, 30.0), all_gather=Link(0, 30.0), between=Link(0, 10.0))
    assert timing.by_link([leg], 1, fast, 4, ring=True)[:2] == (420 / 30, 0.0), (
        "the link inside is the slower"
    )


def test_halving_has_hops_inside_and_between():
    halving = Machine(
        reduce_scatter=Link(1.0, 1.0), all_gather=Link(1.0, 1.0), between=Link(100.0, 1.0), hops="halving"
    )
    assert timing.by_link([Leg("all_gather", 1, 8, 1, 1)], 1, halving, 4)[2] == 2 * 1 + 1 * 100


def test_time_of_codes_and_of_what_lies_outside_by_hand():
    work = Work(0, 0, 0, 1, 1, coded=300, away=(("host", 100.0), ("disk", 40.0)))
    assert timing.outside(work, MACHINE) == 100 / 50 + 40 / 5
    row = sizing.Row("3+", 3, {}, 0, [], work)
    t = sizing.times(row, MACHINE, 8, 4)
    assert (t.codes, t.outside) == (pytest.approx(0.3), 10.0)
    assert t.total == pytest.approx(10.3) and t.largest == "outside"
    without = Machine(reduce_scatter=Link(0, 1), all_gather=Link(0, 1))
    assert timing.outside(work, without) == 0


def test_machines_are_as_crowded_as_one_of_them():
    crowd = Machine(reduce_scatter=Link(0, 1), all_gather=Link(0, 1), flops=1.0, ranks=2, cores=2, group=2)
    row = sizing.Row("3", 3, {}, 0, [], Work(6, 0, 0, 1, 1))
    assert [sizing.times(row, crowd, 8, near).compute for near in (2, 4, 8, None)] == [6, 12, 24, 24]


def test_the_table_of_times_has_what_there_is():
    rates = "--bandwidth 1000 --bandwidth-between 10 --latency 1e-6 --flops 1e6"
    text = printed(f"{SHAPE} --ranks 4 --group 2 --offload host --code-gradients 8 {rates}")
    heads = next(line for line in text.splitlines() if "by ring" in line)
    assert heads.split() == ["stage", "compute", "inside", "between", "latency", "step", "by", "ring"]
    assert "--bandwidth-offload" in text
    text = printed(f"{SHAPE} --ranks 4 --group 2 --offload host {rates} --bandwidth-offload 1e3")
    assert "compute  outside" in text and "--bandwidth-offload" not in text
    assert max(map(len, text.splitlines())) <= 80


# Against real runs


RUNS = {
    "groups": "--stage 3 --group 2",
    "codes": "--stage 3 --machine 2 --code-weights 8/64 --code-gradients 4/64 --hpz --micro-batches 2",
    "offload": "--stage 3 --offload host --offload-shards --prefetch",
    "muon": "--stage 1 --optimizer muon",
    "gpt": "--model gpt --layers 1 --width 16 --heads 2 --context 16 --batch-size 8 --recompute",
}


@pytest.mark.rest("a run for each")
@pytest.mark.parametrize("language", ["en", "zh"])
def test_records_of_all_extras_are_compared(language, tmp_path):
    files = []
    for name, line in RUNS.items():
        files.append(str(tmp_path / f"{name}.json"))
        train = ("-m", "zero_ref.train", "--quiet", "--steps", "2", "--record", files[-1], *line.split())
        done = mpirun(4, *train, limit=120)
        assert done.returncode == 0, done.stderr
    timing.write(str(tmp_path / "m.json"), MACHINE)
    asked = ("--compare", *files, "--machine", str(tmp_path / "m.json"), "--language", language)
    found = mpirun(0, "-m", "zero_ref.plan", *asked, limit=120)
    assert (found.returncode, found.stderr) == (0, "")
    tables = found.stdout.split("\n\n")
    equal = [line.split()[-1] for line in tables[0].splitlines() if line.strip().startswith("4 ")]
    assert equal == ["="] * len(RUNS)
    said = " ".join(found.stdout.split())
    assert "--code-gradients 4/64 --code-weights 8/64 --hpz --machine 2" in said
    assert "--offload host --offload-shards --prefetch" in said and "--optimizer muon" in said
    rows = [
        line.split()[2:]
        for table in tables[1:]
        for line in table.splitlines()
        if line.strip().startswith("4 ")
    ]
    columns = [list(itertools.chain(*rows[i :: len(RUNS)])) for i in range(len(RUNS))]
    for i, (measured, predicted, _, *parts) in enumerate(columns):
        record = json.loads((tmp_path / files[i]).read_text())
        assert float(measured) == pytest.approx(1e3 * record["seconds_per_step"], abs=0.01)
        assert float(predicted) == pytest.approx(sum(map(float, parts)), abs=0.04)
        codes, outside, between = float(parts[1]), float(parts[2]), float(parts[4])
        assert (codes > 0, outside > 0, between > 0) == (i == 1, i == 2, i < 2)


TWO_HOSTS = """
from zero_ref import launch
from zero_ref.plan import __main__ as plan, calibrate
calibrate.LASTS, calibrate.SIZES[2:], calibrate.OUTSIDE = 0.001, [], 1 << 12
calibrate.host_of = lambda rank: {hosts!r}[rank]
launch.run(plan.main)
"""


@pytest.mark.rest("a measurement")
@pytest.mark.parametrize("hosts, group", [("aabb", 2), ("abcd", 1), ("aaaa", None)])
def test_calibration_measures_inside_and_between(hosts, group, tmp_path):
    file = tmp_path / "m.json"
    found = mpirun(4, "-c", TWO_HOSTS.format(hosts=hosts), "--calibrate", str(file), limit=120)
    assert (found.returncode, found.stderr) == (0, "")
    machine = json.loads(file.read_text())
    assert machine["group"] == group and machine["ranks"] == (group or 4)
    assert (machine["between"] is None) == (group is None) and ("between hosts" in found.stdout) == bool(
        group
    )
    assert machine["host"] > 0 and machine["disk"] > 0 and machine["code"] > 0
    assert "GB/s, written and read" in found.stdout and "ns a number" in found.stdout
    assert [each.name for each in tmp_path.iterdir()] == ["m.json"]


@pytest.mark.rest("a measurement")
@pytest.mark.parametrize("hosts", ["abab", "aaab", "abba"])
def test_hosts_without_the_same_neighbours_are_refused(hosts, tmp_path):
    file = tmp_path / "m.json"
    found = mpirun(4, "-c", TWO_HOSTS.format(hosts=hosts), "--calibrate", str(file), limit=60)
    assert found.returncode == 2 and found.stderr.count("\n") == 1 and "neighbouring ranks" in found.stderr
