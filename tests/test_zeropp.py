"""ZeRO++: tests/mpi/check_zeropp.py on several machines, codes by themselves, and the command."""

import json

import numpy as np
import pytest
from launching import ROOT, failing, mpirun

from zero_ref.extras.codes import MOST, TINY, Code
from zero_ref.report import page, theatre

CHECK = "tests/mpi/check_zeropp.py"


@pytest.mark.rest("4 and 8 ranks")
@pytest.mark.parametrize("ranks", (4, 8))
def test_machines_of_four_and_eight_ranks(ranks):
    result = mpirun(ranks, "-m", "pytest", "-q", "-p", "no:cacheprovider", CHECK, limit=400)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count(" passed") == ranks, result.stdout


def through(code, vector):
    coded = np.empty(code.nbytes(vector.size), "uint8")
    found = np.empty_like(vector)
    code.encode(vector, coded)
    code.decode(coded, found)
    return found


@pytest.mark.parametrize("kind", MOST)
@pytest.mark.parametrize("block", (1, 7, 8, 256))
@pytest.mark.parametrize("size", (1, 2, 7, 8, 9, 255, 257, 1001))
@pytest.mark.parametrize("scale", (1e-45, 1e-38, 1e-20, 1, 1e30))
def test_a_number_comes_back_within_half_a_step(scale, size, block, kind):
    vector = (np.random.default_rng(size).normal(size=size) * scale).astype("float32")
    code = Code(kind, block)
    found = through(code, vector)
    for start in range(0, size, block):
        part, back = (a[start : start + block].astype(float) for a in (vector, found))
        step = max(abs(part).max() / code.most, TINY)
        bound = step / 2 if kind != "fp8" else np.maximum(abs(part) / 16, step / 1024)
        assert (abs(part - back) <= bound * (1 + 1e-4)).all()


def test_errors_of_codes_are_within_their_bounds_in_the_table_of_them():
    result = mpirun(0, "benchmarks/code_errors.py", cwd=ROOT)
    rows = [line.split() for line in result.stdout.splitlines()[1:]]
    assert len(rows) == 5
    for name, relative, worst in rows:
        assert 0 < float(relative) < 0.2
        assert float(worst) <= (1 / 16 if "fp8" in name else 0.5001)


@pytest.mark.parametrize("kind", MOST)
def test_zeros_ends_and_signs_are_exact(kind):
    most = float(MOST[kind])
    vector = np.array([0, most, -most, 1, -1, 0, 0], "float32")
    assert (through(Code(kind, 7), vector) == vector).all()
    assert (through(Code(kind, 3), np.zeros(10, "float32")) == 0).all()


@pytest.mark.parametrize("kind", MOST)
@pytest.mark.parametrize("dtype", ("float16", "bfloat16", "float32", "float64"))
@pytest.mark.parametrize("odd", (np.nan, np.inf, -np.inf))
@pytest.mark.filterwarnings("error")
def test_what_is_not_finite_is_seen_in_its_block_and_in_no_other(odd, dtype, kind):
    vector = np.ones(23, np.dtype(dtype))
    vector[9] = odd
    found = np.isfinite(through(Code(kind, 8), vector).astype("float32"))
    assert not found[8:16].any() and found[:8].all() and found[16:].all()


@pytest.mark.parametrize("kind", MOST)
def test_no_byte_of_a_code_is_left_to_chance(kind):
    for n in range(1, 20):
        code, vector = Code(kind, 5), np.linspace(-1, 1, n, dtype="float32")
        ends = []
        for before in (0, 255):
            coded = np.full(code.nbytes(n), before, "uint8")
            code.encode(vector, coded)
            ends.append(coded.tobytes())
        assert ends[0] == ends[1]


@pytest.mark.parametrize(
    "line, said",
    [
        ("--machine 2", "--machine 2 does not divide 3 ranks"),
        ("--machine 3 --hpz", "--hpz: one machine has all of 3 ranks, so nothing would be saved"),
    ],
)
@pytest.mark.parametrize("ranks", (0, 3))
def test_machines_that_do_not_fit_the_ranks_are_one_line(ranks, line, said):
    more = () if ranks else ("--device", "meta", "--ranks", "3")
    result = mpirun(ranks, "-m", "zero_ref.train", *line.split(), *more)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"zero_ref: error: {said}\n")


def test_an_error_while_parameters_travel_is_one_error(tmp_path):
    """Between start and finish: the memory in which MPI still writes stays."""
    line = "--prefetch --hpz --machine 1 --code-weights 8 --hidden 900,900 --steps 3 --quiet"
    statement = "raise FileNotFoundError('planted')"
    result = failing("model Unit.forward", 1, 4, statement, *line.split())
    assert result.returncode not in (0, 139) and "planted" in result.stderr, result.stderr
    assert "Segmentation" not in result.stderr


def test_summary_page_and_map_of_traffic_of_four_ranks_as_two_machines(tmp_path):
    line = "--machine 2 --hpz --code-weights 8 --code-gradients 4 --steps 3 --language en --prefetch"
    files = ("--record", str(tmp_path / "r.json"), "--report", str(tmp_path / "r.html"))
    result = mpirun(4, "-m", "zero_ref.train", *line.split(), *files)
    assert result.returncode == 0, result.stderr
    assert "between machines" in result.stdout
    said = "ZeRO++: --code-weights 8/256, --code-gradients 4/256, --hpz, --machine 2"
    assert said in " ".join(result.stdout.split())
    assert "wait for the second copy" in (tmp_path / "r.html").read_text()
    record = json.loads((tmp_path / "r.json").read_text())
    sent = page.traffic(record)
    for number, (row, rank) in enumerate(zip(sent, record["ranks"])):
        assert sum(row) == sum(rank["sent_bytes_per_step"].values())
        far = sum(n for other, n in enumerate(row) if other // 2 != number // 2)
        assert far == sum(rank["between_bytes_per_step"].values()) + 2 * 2 * 8, "and norm and loss"
        for name in ("sent_bytes_per_step", "between_bytes_per_step"):
            assert rank[name] == rank["formula"][name] == rank["predicted"][name]
        assert rank["peak_total_bytes"] == rank["predicted"]["peak_total_bytes"]


@pytest.mark.rest("another run, and its page")
@pytest.mark.parametrize("more", ["--overlap --code-weights 8", ""])
def test_summary_page_and_map_of_traffic_of_groups_with_codes_and_feedback(tmp_path, more):
    line = (
        f"--group 2 --hidden 7,5 --code-gradients 4/5 --error-feedback 0.5/2 --steps 3 --language en {more}"
    )
    files = ("--record", str(tmp_path / "r.json"), "--report", str(tmp_path / "r.html"), "--chart")
    result = mpirun(4, "-m", "zero_ref.train", *line.split(), *files)
    assert result.returncode == 0, result.stderr
    said = " ".join(result.stdout.split())
    assert "--code-gradients 4/5, --error-feedback 0.5/2" in said
    record = json.loads((tmp_path / "r.json").read_text())
    assert f"owed all gradients together lack {record['drift']:.4g} of norm at most" in said
    for number, (row, rank) in enumerate(zip(page.traffic(record), record["ranks"])):
        assert sum(row) == sum(rank["sent_bytes_per_step"].values())
        far = sum(n for other, n in enumerate(row) if other // 2 != number // 2)
        assert far == sum(rank["between_bytes_per_step"].values()) + 2 * 8, "and the loss"
        assert rank["between_bytes_per_step"] == rank["formula"]["between_bytes_per_step"]
        step = record["recorded_step"]["ranks"][number]
        alive = sum(nbytes for kept in step["kept"] for nbytes, _ in kept.values())
        assert alive == sum(rank["resting_bytes"].values()), "what is owed is among what is kept"
    beside = theatre.against_stage_0(record, [0, 1, 2, 3])
    assert beside["kinds"]["gradient"][1] == 4 * record["parameters_padded"], "of which stage 0 has none"


@pytest.mark.parametrize(
    "codes",
    [
        "--machine 8 --hpz --code-weights 8 --code-gradients 4",
        "--group 8 --code-weights 8 --code-gradients 4 --error-feedback 0.8/1024",
    ],
)
def test_a_dry_run_of_many_ranks_needs_none(tmp_path, codes):
    line = f"--device meta --ranks 64 {codes} --batch-size 1024"
    result = mpirun(0, "-m", "zero_ref.train", *line.split(), "--record", str(tmp_path / "r.json"))
    assert result.returncode == 0, result.stderr
    for rank in json.loads((tmp_path / "r.json").read_text())["ranks"]:
        for name in ("sent_bytes_per_step", "between_bytes_per_step"):
            assert rank[name] == rank["formula"][name]
