"""What the checker says where a program is stopped, slow, or keeps something; and of single edits."""

import runpy
from dataclasses import replace

import pytest
from confusion import HERE, answers
from mutants import check, is_named, is_statement, sample, truths
from truth import judge

from lessons.checker import checking, edits, progress, slips, verdict, words
from lessons.checker.evidence import Diagnosis
from lessons.checker.ranks.runner import Job, Outcome
from lessons.checker.student import attempt, screen
from lessons.checks import cases_of

RING = "06_ring_reduce_scatter"
FIRST = "    partial = x"


@pytest.fixture(autouse=True)
def nothing_done_yet(monkeypatch, tmp_path):
    monkeypatch.setenv("ZERO_REF_LEARN", str(tmp_path / "learn"))


def result_of(text: str, tmp_path, exercise: str = RING) -> checking.Result:
    file = tmp_path / f"{exercise}.py"
    file.write_text(text, encoding="utf-8")
    return checking.check([Job(exercise, str(file), "s")], limit=2.0)[0]


@pytest.mark.rest("a check for each", every=10)
@pytest.mark.parametrize(
    ("key", "old", "new"),
    (
        ("raised_name", "return partial", "return partiall"),
        ("raised_import", "from zero_ref", "import nonesuch\nfrom zero_ref"),
        ("raised_debugger", FIRST, f"    breakpoint()\n{FIRST}"),
        ("raised_input", FIRST, f"    input()\n{FIRST}"),
        ("raised_exit", FIRST, f"    raise SystemExit(0)\n{FIRST}"),
        ("signature", "(x, comm)", "(x, comm, more)"),
        ("signature_order", "(x, comm)", "(comm, x)"),
        ("slow_waiting", FIRST, f"    __import__('time').sleep(30)\n{FIRST}"),
        ("floods", FIRST, f"    while True: print('x' * 100000)\n{FIRST}"),
        ("endless", FIRST, f"    while comm.rank == 1: pass\n{FIRST}"),
        (
            "other_thread",
            FIRST,
            f"    __import__('threading').Thread(target=comm.send, args=(x, right)).start()\n{FIRST}",
        ),
    ),
)
def test_what_stops_a_program_is_named(key, old, new, tmp_path):
    found = result_of(answers(RING)[""].replace(old, new), tmp_path).diagnosis
    assert found.key == key
    for language in words.LANGUAGES:
        assert words.diagnosis_text(RING, found, "says", language)


@pytest.mark.rest("a check")
def test_the_rank_that_loops_is_named_and_not_one_that_waits_for_it(tmp_path):
    text = answers(RING)[""].replace(FIRST, f"    while comm.rank == 1: pass\n{FIRST}")
    assert result_of(text, tmp_path).diagnosis.params["rank"] == 1


def test_a_rank_that_waits_is_not_named_though_it_says_first_where_it_is():
    """Most of those who wait see that they must stop before they are asked where they are: not all."""
    asked = {"busy": 2.0, "stack": []}
    places = {0: {"endless": ("06", 9), "waits": True}, 1: {"endless": ("06", 7), "waits": False}}
    found = {rank: asked | place for rank, place in places.items()}
    told = verdict.describe_endless(Outcome(endless=found, limit=2.0), {})
    assert told.key == "endless" and told.params["rank"] == 1


def test_what_is_kept_between_calls_is_told_as_that(tmp_path):
    keeps = "seen = []\n" + answers(RING)[""].replace(
        "    return partial", "    seen.append(1)\n    return partial[: 99 if len(seen) < 4 else -1]"
    )
    assert result_of(keeps, tmp_path).diagnosis.key == "kept_state"
    wrong = "seen = []\n" + answers(RING)[""].replace("return partial", "return partial[:-1]")
    assert result_of(wrong, tmp_path).diagnosis.key != "kept_state"


def test_how_a_process_ended_is_told_without_what_it_printed(tmp_path):
    """Whoever prints cannot write into the page of the class."""
    text = answers(RING)[""].replace(
        FIRST, f"    import os; print('forged', flush=True); os._exit(3)\n{FIRST}"
    )
    found = result_of(text, tmp_path).diagnosis
    said = words.diagnosis_text(RING, found, "says", "en")
    assert found.key == "died" and "forged" not in str(found) and not said.rstrip().endswith(":")


@pytest.mark.rest("two checks")
@pytest.mark.parametrize(
    ("old", "new", "told"),
    (
        ("update(shard, grad", "update(u.param, grad", ("update", "param", "(25,)", "array[50] float64")),
        ("u.param, x)", "u.param, x[0])", ("forward", "x", "(samples, ...)", "array[4] float64")),
    ),
)
def test_what_does_not_fit_a_call_is_told_with_what_it_takes(old, new, told, tmp_path):
    text = answers("11_zero1")[""]
    assert old in text
    found = result_of(text.replace(old, new), tmp_path, "11_zero1").diagnosis
    assert found.key == "unfit" and found.params["function"] == "step"
    assert tuple(found.params[name] for name in ("call", "argument", "wanted", "got")) == told
    line = text.replace(old, new).splitlines()[found.params["line"] - 1]
    assert new in line


def test_a_time_that_is_up_is_told_as_no_death(tmp_path):
    """A rank that is asked where it is may be between two trials; then no rank says where it stands."""
    (tmp_path / f"{RING}.py").write_text(answers(RING)[""], encoding="utf-8")
    found = verdict.judge(Job(RING, str(tmp_path / f"{RING}.py"), "s"), Outcome(endless={}, limit=2.0))
    assert (found.key, found.params) == ("out_of_time", {"seconds": "2"})


@pytest.mark.rest("a check")
def test_a_picture_has_the_hang_of_its_own_trial(tmp_path):
    """A wrong value at N = 1 to 3, and a hang at N = 4: what is shown is the value."""
    text = answers(RING)[""].replace(
        "return partial", "if comm.size == 4:\n        comm.recv(left)\n    return partial / 2"
    )
    result = result_of(text, tmp_path)
    assert result.outcome.hang is not None and not result.diagnosis.key.startswith("hang")
    assert attempt.describe_result(result, tmp_path / f"{RING}.py")["hang"] is None


@pytest.mark.rest("a check")
def test_with_one_rank_alone_memory_is_not_told_before_what_stops_the_others(tmp_path):
    text = answers("12_zero2")[""].replace(
        "            del grad\n", "            if comm.size > 1:\n                oops\n"
    )
    text = text.replace("u.grad += comm", "u.kept = grad\n            u.grad += comm")
    found = result_of(text, tmp_path, "12_zero2").diagnosis
    assert found.key == "raised_name"


def test_the_list_says_that_a_passed_exercise_is_wrong_now():
    for state, sign in (("passed", "✓"), ("wrong", "✗")):
        progress.note_result(RING, state, None)
        line = next(line for line in screen.list_exercises("en", False, RING) if "Ring reduce" in line)
        assert sign in line and ("passed before" in line) == (state == "wrong")


def test_numbers_and_their_relation_to_the_right_ones():
    for got, key in (
        ([2.0, 4, 6], "all_times"),
        ([2.0, 3, 4], "all_plus"),
        ([3.0, 1, 2], "all_moved"),
        ([0.0] * 3, "all_zero"),
    ):
        found = Diagnosis("unknown", pair=([got], [[1.0, 2, 3]]))
        assert slips.name_relation(found).key == key
    for got in ([1.0, 2, 4], [5.0], [float("nan")] * 3):
        assert slips.name_relation(Diagnosis("unknown", pair=([got], [[1.0, 2, 3]]))).key == "unknown"


def test_a_slip_in_a_rule_is_found_and_nothing_else():
    def fits(a, b):
        def looks(code):
            names = {}
            for x in range(2, 6):
                names = {"x": x}
                exec(code, names)
                if names["y"] != a * x + b:
                    return False
            return True

        return looks

    assert edits.explaining_edit("y = 2 * x + 1", (), fits(2, 2)) == "y = 2 * x + 2"
    assert edits.explaining_edit("y = 2 * x + 1", (), fits(7, 9)) is None
    loop = "y = 1\nfor _ in range(2):\n    y += x"
    assert edits.explaining_edit(loop, (), fits(3, 1)) == "for _ in range(3):"


@pytest.mark.rest("twelve answers for each", every=20)
@pytest.mark.parametrize("exercise", [e for e in words.exercises() if edits.mutants(answers(e)[""])])
def test_nine_of_ten_single_edits_are_named_and_nothing_is_false_or_untried(exercise):
    """A sample; `make mutants` has all of them."""
    texts = sample(edits.mutants(answers(exercise)[""]), 12, "sample")
    results = check(exercise, texts)
    right = check(exercise, {"": answers(exercise)[""]}, limit=10.0)[""]
    so = truths(exercise, texts, results, right)
    assert {so[name] for name, result in results.items() if is_statement(result)} == {True}
    failing = [result for result in results.values() if result.state == "wrong"]
    assert failing and sum(map(is_named, failing)) >= 0.8 * len(failing)


def test_a_number_beside_barcodes_is_seen(tmp_path):
    found = result_of(answers(RING)[""].replace("arriving + x", "hop + x"), tmp_path).diagnosis
    assert (found.key, found.params["more"]) == ("parts_plus", 1)


def test_what_two_ranks_cannot_tell_apart_is_not_told(tmp_path):
    """The all-gather fails at three ranks; at two one hop short and nothing gathered are the same."""
    text = answers("07_all_gather")[""].replace("        full[ends[source]", "        ends[ends[source]")
    found = result_of(text, tmp_path, "07_all_gather").diagnosis
    assert found.key == "slot_empty"


@pytest.mark.rest("a check")
def test_of_two_mistakes_the_one_is_told_that_the_case_shows(tmp_path):
    """Divided by N, and scaled twice: at N = 1 only the second is to be seen."""
    text = answers("13_zero3")[""].replace("(grad, u.layout)", "(grad, u.layout) / comm.size")
    text = text.replace("u.grad, scale)", "u.grad * scale, scale)")
    found = result_of(text, tmp_path, "13_zero3").diagnosis
    assert (found.key, found.case["size"]) == ("scale_used_twice", 1)


FALSE = (  # exercise, edit of the solution, what was said of it once
    ("06", "arriving + x", "hop + x", "own_part_only"),
    ("07", "range(1, comm.size)", "range(1, shard.size)", "nothing_gathered"),
    (
        "11",
        "out=u.param)",
        "out=u.param); comm.all_gather(shard, u.layout, out=u.param)",
        "reduces_each_micro_batch",
    ),
    ("12", "return loss, norm", "return g, norm", "returns_nothing"),
    (
        "19",
        "views[i + 2]))",
        "views[i + 2]))\n            store.begin_read(*cuts[i + 2], views[i + 2])",
        "not_waited",
    ),
)


@pytest.mark.rest("two checks for each", every=4)
@pytest.mark.parametrize(("number", "old", "new", "key"), FALSE)
def test_what_was_false_is_neither_said_nor_taken_for_true(number, old, new, key, tmp_path):
    """And the oracle sees it: with the diagnosis of old it says that it is not so."""
    exercise = words.find_exercise(number)
    text = answers(exercise)[""].replace(old, new)
    result = check(exercise, {"": text})[""]
    right = check(exercise, {"": answers(exercise)[""]}, limit=10.0)[""]
    assert result.diagnosis.key != key and judge(exercise, text, result, right)
    params = result.diagnosis.params | {"rank": 0, "step": 1, "micro_batches": 1, "wanted": "-", "got": "-"}
    result.diagnosis = replace(result.diagnosis, key=key, params=params)
    assert judge(exercise, text, result, right) is False


@pytest.mark.rest("sixty answers", every=7)
@pytest.mark.parametrize("exercise", words.exercises())
def test_right_answers_written_in_other_ways_pass(exercise):
    if not (file := HERE / "otherwise" / f"{exercise}.py").exists():
        pytest.skip("none written")
    texts = {str(n): text for n, text in enumerate(runpy.run_path(str(file))["RIGHT"])}
    results = check(exercise, texts, limit=10.0)
    assert {n: r.diagnosis.key for n, r in results.items() if r.diagnosis} == {}


def test_there_are_sixty_of_them():
    assert sum(len(runpy.run_path(str(file))["RIGHT"]) for file in (HERE / "otherwise").glob("*.py")) >= 60


@pytest.mark.parametrize(
    ("exercise", "lengths"),
    (
        ("04_sharding_data", lambda c: "samples" in c and (c["size"], c["samples"])),
        ("06_ring_reduce_scatter", lambda c: (c["size"], c["length"])),
        ("07_all_gather", lambda c: c["function"] == "ring_all_gather" and (c["size"], c["numel"])),
        ("09_flat_vector", lambda c: "numel" in c["given"] and (c["given"]["size"], c["given"]["numel"])),
        ("10_memory_bill", lambda c: (c["given"]["size"], c["given"]["psi"])),
        ("14_on_the_wire", lambda c: "psi" in c["given"] and (c["given"]["size"], c["given"]["psi"])),
    ),
)
def test_every_remainder_is_tried(exercise, lengths):
    for seed in ("s", "t", "u"):
        pairs = {pair for case in cases_of(exercise, seed) if (pair := lengths(case))}
        left = {(size, length % size) for size, length in pairs if 1 < size < 5}
        sizes = {size for size, _ in left}
        missing = {(size, rest) for size in sizes for rest in range(size)} - left
        assert not missing, seed
