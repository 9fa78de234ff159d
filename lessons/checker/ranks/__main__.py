"""One process of a check: `python -m lessons.checker.ranks FOLDER`, started by runner.py.

The folder holds what to do (jobs.json), the board, and a pipe per rank on which this process reports,
one JSON object a line. What the student's code prints goes to a file.
"""

import gc
import json
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import zero_ref
from zero_ref import launch

assert zero_ref.__version__

from lessons.checker.ranks import prerequisites  # noqa: E402
from lessons.checker.ranks.board import Board  # noqa: E402
from lessons.checker.ranks.lines import function_of_error, line_of_error, line_of_frame  # noqa: E402
from lessons.checker.ranks.load import NotLoaded, load  # noqa: E402
from lessons.checker.ranks.messages import Stopped, Talk  # noqa: E402
from lessons.checker.ranks.observe import Unfit  # noqa: E402
from lessons.checks import cases_of, check_of  # noqa: E402

TOKEN = os.environ.get("ZERO_REF_CHECK")  # read before a student can change the environment


def main(folder: Path) -> None:
    """Do all jobs of `folder`."""
    plan = json.loads((folder / "jobs.json").read_text(encoding="utf-8"))
    pipe = os.open(folder / f"pipe{launch.rank_by_launcher()}", os.O_WRONLY)
    limit_damage(folder)
    board = Board(folder / "board", plan["ranks"])
    mpi = None
    if plan["ranks"] > 1:
        from mpi4py import MPI

        mpi = MPI.COMM_WORLD
        mpi.Barrier()  # all have opened their files, before a student's code may do something to the folder
        launch.shared.drop_names()  # and have come: who is killed from now on leaves nothing
    for job in plan["jobs"]:
        check_of(job["exercise"])
    gc.freeze()  # what is imported stays: later collections look at what students make only
    failures: dict[str, int] = {}
    for number, job in enumerate(plan["jobs"]):
        do_job(number, job, Talk(board, mpi, number, [job["file"], *job["earlier"].values()], failures), pipe)
    # A signal after the end of Python would crash this rank, and mpirun would kill those yet to report.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    send_report(pipe, {"end": True})


def do_job(number: int, job: dict[str, Any], talk: Talk, pipe: int) -> None:
    """All trials of one job, until one of them fails."""
    talk._busy = time.process_time()
    signal.signal(signal.SIGUSR1, lambda _, frame: interrupt(frame, talk, pipe, number))
    check = check_of(job["exercise"])
    student = None
    trials = cases_of(job["exercise"], job["seed"])
    for case, trial in enumerate(trials):
        if job["only"] not in (None, case):
            continue
        talk._begin_trial(case, trial["size"])
        failed = False
        if talk.rank < trial["size"]:
            report: dict[str, Any] = {"job": number, "case": case, "rank": talk.rank}
            try:
                talk._in_student_code = True
                if student is None:
                    prerequisites.use_files(job["earlier"], job["exercise"])
                    student = load(Path(job["file"]), check.FUNCTIONS)
                report["evidence"] = check.run_trial(trial, talk, student)
                talk._in_student_code = False
            except NotLoaded as error:
                talk._in_student_code = False
                report["not_loaded"] = {"key": error.key, "line": error.line, "params": error.params}
            except Stopped:
                talk._in_student_code = False
                report["stopped"] = {"events": talk.events}
            except BaseException as error:
                talk._in_student_code = False
                report["raised"] = describe_error(error, talk._files) | {"events": talk.events}
            if os.getpid() != talk._owner[0]:  # a fork that has come back from the student's function
                os._exit(0)
            failed = "evidence" not in report
            if talk._elsewhere:
                report["thread"] = talk._elsewhere
            send_report(pipe, report)
        if talk._leave_trial(failed):
            return


def describe_error(error: BaseException, files: tuple[str, ...]) -> dict[str, Any]:
    """An exception: its type, its text, and the innermost line of the student's that it came through.

    about: what does not fit a call of ours, see Unfit
    """
    kind = type(error)
    return {
        "type": kind.__name__,
        "kinds": [base.__name__ for base in kind.__mro__],
        "text": text_of_error(error)[:300],
        "place": line_of_error(error, files),
        "function": function_of_error(error, files),
        "about": error.about if isinstance(error, Unfit) else None,
        "trace": "".join(traceback.format_exception(error, limit=-6)[-6:])[-2000:],
    }


def text_of_error(error: BaseException) -> str:
    """What an exception says; its __str__ may be a student's, and fail."""
    try:
        return str(error)
    except Exception:
        return ""


def interrupt(frame: FrameType | None, talk: Talk, pipe: int, job: int) -> None:
    """The checker's signal: say where this rank is, and leave the student's code.

    It may come late, when the job that is to be stopped has been left already: the next one goes on.
    """
    if not talk._in_student_code or not talk._must_stop():
        return
    talk._in_student_code = False  # one signal is enough
    stack = traceback.extract_stack(frame, limit=1000)
    inside = [f"{Path(s.filename).name}:{s.lineno} {s.line}" for s in stack if s.filename in talk._files]
    place = line_of_frame(frame, talk._files)
    report = {"job": job, "case": talk._case, "rank": talk.rank, "endless": place, "stack": inside[-5:]}
    send_report(pipe, report | {"busy": time.process_time() - talk._busy, "waits": talk._state == "waits"})
    raise Stopped


def send_report(pipe: int, report: dict[str, Any]) -> None:
    """One line to the checker; it begins anew after what a student's code may have written there."""
    data = ("\n" + json.dumps(report | {"token": TOKEN}) + "\n").encode()
    while data:
        data = data[os.write(pipe, data) :]


def limit_damage(folder: Path) -> None:
    """Output into a file, no core dumps, no endless files, no endless memory, no endless time."""
    out = os.open(folder / f"out{launch.rank_by_launcher()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    for what, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 64 << 20),
        (resource.RLIMIT_DATA, 4 << 30),
        (resource.RLIMIT_CPU, 600),
    ):
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    if "mpi4py.MPI" not in sys.modules:
        os._exit(0)
