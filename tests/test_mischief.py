"""Answers that write to the checker's own files: they get a verdict like others, and stop or hang nobody."""

import json
import os
import sys
import time
import zlib

import pytest
from confusion import answers

from lessons.checker import checking, verdict
from lessons.checker.ranks import __main__ as ranks
from lessons.checker.ranks import runner
from lessons.checker.ranks.board import HEAD, SLOT, Board
from lessons.checker.ranks.messages import Stopped, Talk
from lessons.checker.ranks.runner import Job, Outcome
from lessons.checker.student import attempt

RING = "06_ring_reduce_scatter"
LIMIT = 2.0  # seconds for an answer; START and what follows a limit come to it

# All of these run on each rank; `board`, `put` and `pipe` are theirs.
BEGIN = """
import glob, json, os, struct, sys, zlib

folder = sys.argv[1]
board = os.open(folder + "/board", os.O_RDWR)

def put(place, text, head=None):
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    head = head or struct.pack("<II", len(text), zlib.crc32(text))
    os.pwrite(board, head + text, place * (1 << 14))

def report(rank, **what):
    line = json.dumps(what | {"token": os.environ["ZERO_REF_CHECK"]}).encode()
    with open(f"{folder}/pipe{rank}", "wb", buffering=0) as pipe:
        pipe.write(b"\\n" + line + b"\\n")

def note(**what):
    return {"job": 0, "case": 0, "state": "waits", "failures": {}, "pid": os.getpid(), "sends": [0] * 4,
            "receives": [0] * 4, "entered": [0], "needs": [], "doing": "", "called": "", "place": None} | what

def ring_reduce_scatter(x, comm):
"""
NOTE = {"job": 1, "case": 0, "state": "waits", "failures": {"1": None}, "pid": 9, "sends": [1, 2]}
NOTE |= {"receives": [0, 1 << 40], "entered": [3], "needs": [(1, "receives", 0, 2)], "doing": "send to 1"}
NOTE |= {"called": "", "place": ("a.py", 3)}
LIES = [
    {"needs": [[2, "sends", 0, 1]]},
    {"needs": [[-1, "sends", 0, 1]]},
    {"needs": [[0, "sends", 2, 1]]},
    {"needs": [[0, "entered", 1, 1]]},
    {"needs": [[0, "flights", 0, 1]]},
    {"needs": [7]},
    {"sends": []},
    {"receives": [1, 2, 3]},
    {"entered": []},
    {"case": -2},
    {"place": ["x" * 10000, 1]},
    {"doing": 3},
    {"state": "flies"},
    {"pid": "9"},
    {"pid": -1},
    {"pid": 1},
    {"job": 1 << 60},
]
NO_NOTES = [b"[]", b"7", b"{}", b"[" * 9000, b"\xff\x00\x1b", b'{"job": 0}']
NO_NOTES += [json.dumps(NOTE | lie).encode() for lie in LIES]

PUT_OUT = "os.unlink(folder + f'/out{p}'); "
MISCHIEF = {
    "no checksum that fits": "[put(q, b'{}', b'12\\0\\0seve') for q in range(5)]",
    "an empty board": "os.ftruncate(board, 0)",
    "a note that lies": "[put(q, note(needs=[[99, 'sends', 0, 1]])) for q in range(5)]",
    "a case that there is not": "[put(q, note(case=999, needs=[[0, 'sends', 0, 2**40]])) for q in range(4)]",
    "a pipe in the place of what is printed": PUT_OUT + "os.mkfifo(folder + f'/out{p}')",
    "a pipe in the place of errors": "os.unlink(folder + '/launcher'); os.mkfifo(folder + '/launcher')",
    "a device in the place of what is printed": PUT_OUT + "os.symlink('/dev/zero', folder + f'/out{p}')",
    "reports that there are not": "[report(p, job=j, case=c, rank=0, evidence={}) "
    "for j in (-1, 0, 'x', 10**9) for c in (-1, 0.5, 10**9)]",
    "a deep report": "open(f'{folder}/pipe{p}', 'wb').write(b'\\n' + b'[' * 99999 + b'\\n')",
    "no folder": "os.rename(folder, folder + '_'); os.symlink('/nowhere', folder)",
}


def check(code, tmp_path, end="x[:0]", limit=LIMIT):
    """What the checker says, and a right answer after it in the same call."""
    bad, good = tmp_path / "bad.py", tmp_path / "good.py"
    lines = "".join(f"    {line}\n" for line in ("p = comm.rank", code, f"return {end}"))
    bad.write_text(BEGIN + lines, encoding="utf-8")
    good.write_text(answers(RING)[""], encoding="utf-8")
    begun = time.monotonic()
    first, second = checking.check([Job(RING, str(file), "s") for file in (bad, good)], limit)
    assert time.monotonic() - begun < 40  # where nobody waits it takes some seconds
    assert (second.state, second.diagnosis) == ("passed", None)
    return first


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """A temporary folder of its own, so that what an answer leaves in the other is seen."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("ZERO_REF_LEARN", str(tmp_path / "learn"))


@pytest.mark.rest("a check for each", every=4)
@pytest.mark.parametrize("name", MISCHIEF)
def test_no_answer_stops_or_hangs_the_checker(name, tmp_path):
    found = check(MISCHIEF[name], tmp_path)
    assert found.state == "wrong", found


def test_what_a_link_leads_to_is_not_emptied(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    target = "folder + f'/out{p}'"
    check(f"os.unlink({target}); os.symlink({str(precious)!r}, {target}); print('x', flush=True)", tmp_path)
    assert precious.read_text() == "mine"


@pytest.mark.rest("waits")
def test_only_ranks_are_interrupted(tmp_path):
    """A note that names another process: it would die of the signal."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    try:
        code = f"put(p, note(state='runs', pid={child}))\n    while True: pass"
        assert check(code, tmp_path, limit=1.0).diagnosis.key in ("endless", "endless_call")
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_signal_that_comes_late_does_not_stop_the_next_job(monkeypatch, tmp_path):
    """The job before was stopped, and the signal for it finds a rank in this one."""
    board, told = Board(tmp_path / "board", 1), []
    talk = Talk(board, None, 5, [], {})
    talk._in_student_code = True
    monkeypatch.setattr(ranks, "send_report", lambda pipe, report: told.append(report))
    board.write(1, {"stop": 4})
    ranks.interrupt(None, talk, 0, 5)
    assert told == [] and talk._in_student_code
    board.write(1, {"stop": 5})
    with pytest.raises(Stopped):
        ranks.interrupt(sys._getframe(), talk, 0, 5)
    assert [report["job"] for report in told] == [5]
    board.close()


def test_a_line_without_an_end_takes_no_memory_without_end(monkeypatch, tmp_path):
    most, take = [0], runner.Watching.read

    def watched(self, timeout):
        take(self, timeout)
        most[0] = max(most[0], *map(len, self.rest))

    monkeypatch.setattr(runner.Watching, "read", watched)
    monkeypatch.setattr(runner, "LONGEST", 1 << 20)
    code = "\n    ".join(
        ["pipe = open(f'{folder}/pipe{p}', 'wb', 0)", "for _ in range(300): pipe.write(b'x' * 65536)"]
    )
    assert check(code, tmp_path).state == "wrong"
    assert 1 << 19 < most[0] < 4 << 20


def test_a_long_text_is_reported_by_its_length(tmp_path):
    found = check("pass", tmp_path, end="'x' * 10**8").diagnosis
    assert found.key == "returns_type" and "str[100000000]" in str(found.params)


def test_a_board_is_a_file_of_its_own(tmp_path):
    (tmp_path / "real").write_bytes(b"")
    os.symlink(tmp_path / "real", tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(OSError):
            Board(tmp_path / name, 2)


def test_a_note_is_read_as_it_was_written(tmp_path):
    board = Board(tmp_path / "board", 2)
    assert board.notes() == [{}, {}]
    board.write(0, NOTE)
    board.write(2, {"stop": 4})
    assert board.notes() == [NOTE, {}] and board.read(2) == {"stop": 4} and not board.spoiled
    board.close()


@pytest.mark.parametrize("number", range(len(NO_NOTES)))
def test_what_is_no_note_counts_as_none(number, tmp_path):
    board, text = Board(tmp_path / "board", 2), NO_NOTES[number]
    os.pwrite(board.file, HEAD.pack(len(text), zlib.crc32(text)) + text, 0)
    assert board.read(0) == {} and board.spoiled
    board.close()


@pytest.mark.parametrize(
    "head", [HEAD.pack(1 << 31, 0), HEAD.pack(2, 0), HEAD.pack(SLOT, zlib.crc32(b""))], ids=str
)
def test_nobody_waits_for_a_note_that_stays_half_written(head, monkeypatch, tmp_path):
    monkeypatch.setattr("lessons.checker.ranks.board.TORN", 0.0)
    board = Board(tmp_path / "board", 2)
    os.pwrite(board.file, head + b"{}", SLOT)
    assert board.read(1) == {} and board.read(1) == {} and board.spoiled
    board.close()


def test_a_note_that_was_there_and_is_gone_was_taken_away(tmp_path):
    board = Board(tmp_path / "board", 2)
    board.write(0, NOTE)
    assert board.read(0) == NOTE
    os.ftruncate(board.file, 5)
    assert board.read(0) == {} and board.spoiled
    board.close()


def test_reports_of_trials_that_there_are_not_are_left_aside(tmp_path):
    (tmp_path / "a.py").write_text(answers(RING)[""], encoding="utf-8")
    error = {"raised": {"type": "E", "kinds": [], "text": "", "place": None}}
    outcome = Outcome(reports={10**9: {0: error}, -1: {0: error}}, hang={"case": 10**9}, died=None)
    found = verdict.judge(Job(RING, str(tmp_path / "a.py"), "s"), outcome)
    assert found.key in ("died", "small_memory")


def test_evidence_that_is_none_is_a_diagnosis_for_the_student(monkeypatch, tmp_path):
    (tmp_path / f"{RING}.py").write_text(answers(RING)[""], encoding="utf-8")
    monkeypatch.setenv("ZERO_REF_EXERCISES", str(tmp_path))
    monkeypatch.setattr(verdict, "judge", lambda *_: {}["evidence"])
    data = attempt.check(RING)
    assert (data["state"], data["diagnosis"]["key"]) == ("wrong", "no_verdict")
    assert Outcome().reports == {}
