"""Make each bug of bugs.py in a copy of the package, and show which test finds it.

    python tests/planted/run.py [--only TEXT] [--each N] [--most N] [--limit S] [--all] [--quick]

Checks run one after another until one fails: the group's own first (FIRST), then the others; the tests under
mpirun come first wherever a stage, a collective, clipping or an optimizer is wrong. Two bugs at a time; a
line says which bug goes into which check. `--only` takes the bugs with TEXT in their group or name, `--each`
so many of each group, spread over it; `--most` ends a bug after so many checks, and `--limit` a check after
so many seconds. With `--all` every check runs, and all that fail are shown; with `--quick` a check has only
those of its tests that `make test` runs (tests/parts.py).
A bug counts as caught only if a test names it that passes without a bug, which is tried once for each such
test: a run that hangs or dies is told, and the next check has to find the bug.
"""

import argparse
import re
import shutil
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from launching import mpirun  # noqa: E402
from planted.bugs import GROUPS, Bug, plant  # noqa: E402

WORKERS, RANKS, LIMIT = 2, 3, 180  # bugs at a time, ranks, seconds a check
UNIT = [
    f"tests/test_{name}.py"
    for name in ("autograd", "layout", "optim", "data", "ledger", "formulas", "dry_run")
]
FAULTS = "swapped or sleeps or slow or flipped or loss or bad_input or saving or not_there or gone or nccl"
FAULTS += " or goes_on or half"
REPORT = "load_nothing or by_their_number or without_losing or adds_up or perfetto or straight or begun_it"
REPORT += " or lanes or call_to_call or is_a_stop or space_bar or theme or travels_shows or told_apart"
REPORT += " or keeps_the_focus or arrow_where or says_that_it"
SEVERAL = "decides or packed or one_phase or figure or shelf or outside or hops or bits or narrow or scene"
SEVERAL += " or ahead or lanes or gone_to or on_one_screen or dense or pieces_of"
EXPLORE = "bills or hsdp or again"
PAGE = "first_number or no_result_stays or one_color or believed or agree or panels_go or somebody_types"
PAGE += " or (curve and light and 390)"
PLAN = "transformer or checkpointing or counts or hostile or beside or works or column"
INSTALL = "readers_language or says_and_returns or no_command or wherever"
MISCHIEF = "note or board or link or interrupted or end or reports or late"
OWN = "really or difference or deadlock or alive or joy or exception or stub"
CELLS = "share or fails or hangs or killed"
GPU = "comm gpu bits bytes precision"
NOT_QUICK = ("aware",)  # two ranks: `make test` has three
WHOLE = (
    "coded groups",
    "family",
    "feedback",
    "not owed",
)  # with all cases, not the third that 4 ranks have (tests/mpi/conftest.py)
PATIENT = 3  # times the limit, for what does everything late
PRETENDED = {  # checks on a pretended GPU: name, and what it takes
    "staged": {"ZERO_REF_TWELFTH": "0"},
    "nccl": {"ZERO_REF_TWELFTH": "1", "ZERO_REF_TEST_TRANSPORT": "nccl", "ZERO_REF_PRETEND_GPUS": "3"},
    "aware": {"ZERO_REF_TWELFTH": "2", "ZERO_REF_GPU_MPI": "1"},
}
CHECKS = {  # name: ranks (0: without mpirun), arguments of pytest
    **{
        name: (RANKS, f"tests/mpi/check_{name}.py")
        for name in ("reference", "bits", "comm", "bytes", "dry_run", "training", "recompute", "schedule")
    },
    "unit": (0, *UNIT),
    "rates": (0, "tests/test_schedule.py"),
    "command": (0, "tests/test_command.py", "-k", "main_job or same_weights or weights_depend"),
    "tables": (0, "tests/test_tables.py", "tests/test_user_files.py", "tests/test_data.py"),
    "precision": (RANKS, "tests/mpi/check_precision.py"),
    "groups": (4, "tests/mpi/check_groups.py"),
    "codes": (0, "tests/test_zeropp.py", "-k", "number or zeros or finite or chance"),
    "zeropp_few": (4, "tests/mpi/check_zeropp.py", "--part", "quick"),
    "zeropp": (4, "tests/mpi/check_zeropp.py"),
    "coded groups": (4, "tests/mpi/check_zeropp.py", "-k", "groups or muon or variants"),
    "feedback": (4, "tests/mpi/check_feedback.py", "-k", "lack or grows or dropped or finite"),
    "not owed": (4, "tests/mpi/check_feedback.py", "-k", "nothing_owed"),
    "owed": (4, "tests/mpi/check_feedback.py", "-k", "resumed or (measurement and hash)"),
    "family": (4, "tests/mpi/check_family.py", "-k", "code or hpz"),
    "tensors": (0, "tests/test_tensors.py"),
    "muon": (RANKS, "tests/mpi/check_muon.py", "tests/mpi/check_tensors.py"),
    "buckets": (RANKS, "tests/mpi/check_buckets.py"),
    "tiles": (RANKS, "tests/mpi/check_tiles.py"),
    "offload": (RANKS, "tests/mpi/check_offload.py"),
    "variants": (RANKS, "tests/mpi/check_variants.py"),
    "teams": (4, "tests/mpi/check_tensor_parallel.py"),
    "plan": (0, "tests/test_plan.py", "-k", PLAN),
    "learn": (0, "tests/test_learn.py", "-k", "number_alone"),
    "ways": (0, "tests/test_ways.py", "tests/test_claims.py", "-k", "not calibration and not refused"),
    "files": (0, "tests/test_checkpoint.py", "tests/test_options.py"),
    "results": (0, "tests/test_results.py"),
    "saving": (RANKS, "tests/mpi/check_saving.py"),
    "terminal": (0, "tests/test_terminal.py", "-k", "not make"),
    "extending": (0, "tests/test_extending.py"),
    "install": (0, "tests/test_install.py", "-k", INSTALL),
    "predict": (RANKS, "tests/mpi/check_predict.py"),
    "generate": (RANKS, "tests/mpi/check_generate.py"),
    "drawing": (0, "tests/test_generate.py", "-k", "drawn or likeliest"),
    "held_out": (RANKS, "tests/mpi/check_held_out.py"),
    "faults": (0, "tests/test_faults.py", "-k", FAULTS),
    "start": (0, "tests/test_start.py"),
    "events": (RANKS, "tests/mpi/check_events.py"),
    "leftovers": (0, "tests/test_leftovers.py"),
    "verdicts": (
        0,
        "tests/test_barcode.py",
        "tests/test_verdicts.py",
        "-k",
        "sum or hang or alone or waits or message or beside or tell_apart or death or fit or false_is",
    ),
    "own": (0, "tests/test_own.py", "-k", OWN),
    "mischief": (0, "tests/test_mischief.py", "-k", MISCHIEF),
    "shadows": (0, "tests/test_shadows.py"),
    "report": (0, "tests/test_report.py", "-k", REPORT),
    "explore": (0, "tests/test_explore.py", "-k", EXPLORE),
    "page": (0, "tests/test_explore.py", "-k", PAGE),
    "reading": (
        0,
        "tests/test_reading.py",
        "tests/test_lessons.py",
        "-k",
        "stand_in_order or handed or runs_once",
    ),
    "cells": (0, "tests/test_notebooks.py", "-k", CELLS),
    "several": (0, "tests/test_report_of_several.py", "-k", SEVERAL),
    **{name: (RANKS, *(f"tests/mpi/check_{part}.py" for part in GPU.split())) for name in PRETENDED},
}
FIRST = {  # by group, where it is not the order above
    "seams": ["extending", "comm"],
    "variants": ["variants"],
    "tensor parallel": ["teams"],
    "install": ["install"],
    "clipping": ["unit"],
    "optimizer": ["unit"],
    "extremes": ["unit"],
    "bits": ["bits"],
    "collectives": ["comm"],
    "prefetch": ["bytes"],
    "layout": ["unit"],
    "data": ["unit"],
    "tables": ["tables"],
    "gradients": ["unit"],
    "command": ["training", "command"],
    "bytes": ["bytes"],
    "predictions": ["unit", "dry_run"],
    "precision": ["precision"],
    "plans": ["plan"],
    "ways": ["ways"],
    "schedule": ["schedule", "rates"],
    "recompute": ["recompute", "plan"],
    "accumulate": ["precision", "bytes", "saving"],
    "groups": ["groups"],
    "offload": ["offload"],
    "ZeRO++": ["codes", "coded groups", "zeropp_few", "family", "zeropp"],
    "feedback": ["feedback", "not owed", "owed"],
    "coded groups": ["coded groups", "family"],
    "units": ["buckets"],
    "tiles": ["tiles"],
    "muon": ["muon", "tensors"],
    "checkpoints": ["files", "saving", "results", "faults"],
    "results": ["results", "files"],
    "predicting": ["predict"],
    "writing": ["generate", "drawing"],
    "looks": ["held_out"],
    "faults": ["faults"],
    "starts": ["start", "faults"],
    "events": ["events", "report"],
    "pages": ["several", "report"],
    "gpu": ["staged", "aware"],
    "nccl": ["nccl"],
    "leftovers": ["leftovers"],
    "own": ["own"],
    "checker": ["verdicts", "mischief", "shadows", "leftovers", "learn"],
    "reading": ["reading", "cells"],
    "terminal": ["terminal"],
    "explore": ["explore", "page"],
}
FAILED = re.compile(
    r"^(?:\[rank \d+ of \d+\] tests/(.+) failed in call:|FAILED tests/(.+?)(?: - .*)?)$", re.M
)


def copy(folder: Path) -> Path:
    """The package, its lessons and its tests in `folder`, with what Python has compiled of them."""
    for name in ("zero_ref", "lessons", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.pyc.*"))  # half written
    for file in ROOT.iterdir():  # what a wheel is built from
        if file.is_file() and not file.name.startswith("."):
            shutil.copy(file, folder)
    return folder


def run(check: str, part: str, folder: Path, limit: float, test: str = "") -> tuple[str, str]:
    """(the test that fails, or another end) of a check of the copy in `folder`; ("", "") if all is well.

    test: this one alone.
    """
    ranks, *arguments = CHECKS[check]
    arguments, part = ([f"tests/{test}"], "all") if test else (arguments, part)
    pytest = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--part", part, *arguments)
    environment = {"PYTHONPATH": f"{folder / 'tests' / 'stacks'}:{folder}"}
    if check in WHOLE:
        environment["ZERO_REF_ALL_CASES"] = "1"
    if check in PRETENDED:
        limit *= PATIENT
        environment = {"PYTHONPATH": f"{folder / 'tests' / 'pretend'}:{environment['PYTHONPATH']}"}
        environment |= {"ZERO_REF_TEST_DEVICE": "gpu", **PRETENDED[check]}
    if test:  # it is no third or twelfth of all
        environment = {"ZERO_REF_ALL_CASES": "1"} | environment
        environment.pop("ZERO_REF_TWELFTH", None)
    try:
        result = mpirun(ranks, *pytest, limit=limit, cwd=folder, **environment)
        text, end = f"{result.stdout}\n{result.stderr}", f"{check} ends with code {result.returncode}"
        if result.returncode == 0:
            return "", ""
    except AssertionError as error:
        text, end = str(error), f"{check} hangs or leaves processes"
    found = FAILED.search(text)
    return (found[1] or found[2], "") if found else ("", end)


class Attempts:
    """Plants bugs and runs checks, as the options say."""

    def __init__(self, o: argparse.Namespace, bugs: list[tuple[str, Bug]], good: Path) -> None:
        self.o, self.good, self.start = o, good, time.monotonic()
        self.numbers = {id(bug): f"{n}/{len(bugs)}" for n, (_, bug) in enumerate(bugs, 1)}
        self.locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self.passes: dict[str, bool] = {}  # tests without a bug

    def tell(self, text: str) -> None:
        print(f"{time.monotonic() - self.start:4.0f} s  {text}", flush=True)

    def proves(self, check: str, test: str) -> bool:
        """Whether the test passes without a bug."""
        with self.locks[f"{check} {test}"]:
            if test not in self.passes:
                self.passes[test] = run(check, self.o.part, self.good, 5 * self.o.limit, test) == ("", "")
        return self.passes[test]

    def attempt(self, group: str, bug: Bug) -> bool:
        """Plant the bug and run checks; whether a test finds it."""
        found, ends = [], []
        name = f"[{self.numbers[id(bug)]}] {group}: {bug.name}"
        with tempfile.TemporaryDirectory() as folder:
            copied = copy(Path(folder))
            (copied / "zero_ref" / bug.file).write_text(plant(bug, ROOT / "zero_ref"))
            for check in checks_of(self.o.part, FIRST.get(group, []))[: self.o.most]:
                self.tell(f"{name}: {check} ...")
                test, end = run(check, self.o.part, copied, self.o.limit)
                if test and not self.proves(check, test):
                    test, end = "", f"{test} fails without a bug, too"
                found += [test] if test else []
                ends += [end] if end else []
                if found and not self.o.all:
                    break
        self.tell(" ".join([f"{name}  <-", "; ".join(found) or "NOT CAUGHT", *(f"({end})" for end in ends)]))
        return bool(found)


def checks_of(part: str, first: Iterable[str] = ()) -> list[str]:
    """The checks, those named `first` before all others."""
    order = [*first, *(check for check in CHECKS if check not in first)]
    return [check for check in order if part == "all" or check not in NOT_QUICK]


def spread(bugs: list[Bug], number: int) -> list[Bug]:
    """So many of the bugs, from the first to the last."""
    if number >= len(bugs):
        return bugs
    return [bugs[n * len(bugs) // number] for n in range(number)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", metavar="TEXT", default="")
    parser.add_argument("--each", metavar="N", type=int, default=sys.maxsize)
    parser.add_argument("--most", metavar="N", type=int, default=len(CHECKS))
    parser.add_argument("--limit", metavar="S", type=float, default=LIMIT)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--quick", dest="part", action="store_const", const="quick", default="all")
    o = parser.parse_args()
    groups = {group: [b for b in GROUPS[group] if o.only in f"{group}: {b.name}"] for group in GROUPS}
    bugs = [(group, bug) for group in groups for bug in spread(groups[group], o.each)]
    for _, bug in bugs:
        plant(bug, ROOT / "zero_ref")  # ValueError before anything runs, if one does not fit
    with ThreadPoolExecutor(WORKERS) as pool, tempfile.TemporaryDirectory() as name:
        attempts = Attempts(o, bugs, copy(Path(name)))
        attempts.tell(f"{len(bugs)} bugs")
        caught = sum(pool.map(lambda b: attempts.attempt(*b), bugs))
    share = " by what make test runs of these checks" if o.part == "quick" else ""
    attempts.tell(f"{caught} of {len(bugs)} caught{share}")
    bad = [test for test, passes in attempts.passes.items() if not passes]
    if bad:
        attempts.tell(f"without a bug: {bad} failed")
    return 0 if not bad and (o.part == "quick" or caught == len(bugs)) else 1


if __name__ == "__main__":
    sys.exit(main())
