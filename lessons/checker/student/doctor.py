"""What is wrong with this Python, this MPI, this terminal, in lines that say what to type.

Only the standard library is needed here: what is missing may be NumPy. Each `about_...` takes what was
found and gives its findings; main() finds.
"""

import codecs
import importlib.metadata
import itertools
import locale
import os
import re
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lessons import HOME, ROOT
from lessons.checker import shadows
from lessons.checker.student.doctor_mpi import (
    FAMILIES,
    MOST,
    about_launch,
    about_launcher,
    about_library,
    about_memory,
    ask_library,
    family_of,
    find_launcher,
    try_launch,
)
from lessons.checker.student.finding import CLEAN, INSTALL, Finding, bad, note, ok
from zero_ref.launch import leftovers, printable, shared
from zero_ref.launch.singular import Text

COMMON = ROOT / "lessons" / "checks" / "common.toml"


def say(key: str, language: str, **params: Any) -> str:
    """A string of the interface, as words.say(), without NumPy."""
    ui = tomllib.loads(COMMON.read_text(encoding="utf-8"))["ui"]
    return Text(ui[key][language]).format(**params)


def main(language: str, plain: bool, clean: bool = False) -> int:
    """Print all findings as they come; before them, what `clean` has removed. 0 if nothing is wrong."""
    wrong = 0
    for finding in itertools.chain(clean_up() if clean else (), find_all()):
        wrong += finding.level == "bad"
        lines = finding_lines(finding, language, plain)
        sys.stdout.write("\n".join([lines[0] if plain else fold(lines[0]), *lines[1:]]) + "\n")
        sys.stdout.flush()
    print(say("doctor_bad", language, number=wrong) if wrong else say("doctor_well", language))
    return min(wrong, 1)


def fold(line: str) -> str:
    """A line in as many as the terminal needs, if what measures it is there."""
    try:
        from zero_ref.launch import terminal
    except ImportError:
        return line
    return terminal.fold(line)


def finding_lines(finding: Finding, language: str, plain: bool) -> list[str]:
    """A finding in the terminal, and below it what to type."""
    sign = {"ok": "✓", "note": "·", "bad": "✗"}[finding.level]
    head = say(f"doctor_level_{finding.level}", language) + say("colon", language) if plain else sign + " "
    lines = [head + say(finding.key, language, **finding.params)]
    if finding.type:
        lines.append(("" if plain else "    ") + say("doctor_type", language) + finding.type)
    return lines


def find_all() -> Any:
    """All findings, quick ones first."""
    yield from about_python(
        sys.version_info[:3], sys.prefix != sys.base_prefix, (ROOT / ".venv").exists(), sys.executable
    )
    yield from about_shadows(shadows.find(shadows.places()))
    yield from about_package("numpy", version("numpy"), (2, 2))
    yield from about_package("mpi4py", version("mpi4py"), (4, 1))
    left, room = leftovers.find(), shared.room()
    left_there = sum(leftovers.size_of(path) for path in left if path.is_relative_to(shared.PLACE))
    yield from about_memory(room, left_there)
    library, mpirun = ask_library(), find_launcher()
    yield from about_library(library, room)
    yield from about_launcher(mpirun, family_of(library["text"], FAMILIES))
    if library["code"] == 0 and mpirun:
        for ranks in (2, MOST):
            yield about_launch(ranks, try_launch(mpirun["path"], ranks), room)
    yield from about_terminal(
        terminal_width(), sys.stdout.encoding or "ascii", locale_error(), dict(os.environ)
    )
    yield from about_folders(check_places())
    yield from about_leftovers(left, lost_ranks())


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


def about_shadows(found: Sequence[tuple[str, str]]) -> list[Finding]:
    """Files of the student's that Python takes for its own modules: every check would break."""
    return [
        bad(
            "doctor_shadowed",
            f'mv "{printable(file)}" "{printable(new_name(file))}"',
            file=file,
            module=module,
        )
        for file, module in found
    ]


def new_name(file: str) -> str:
    """A name that no module has: random.py -> my_random.py."""
    return str(Path(file).with_name(f"my_{Path(file).name}"))


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


# Terminal, folders, what was left


def terminal_width() -> int | None:
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
    language = next(filter(None, (settings.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    if error:
        lines.append(note("doctor_locale_missing", "export LC_ALL=C.UTF-8", name=language))
    else:
        lines.append(ok("doctor_locale", name=language or "-", other="python -m lessons --language zh|en"))
    return lines


def check_places() -> dict[Path, str | None]:
    """The folders that are written to -> why they cannot be, or None."""
    exercises = Path(os.environ.get("ZERO_REF_EXERCISES") or HOME / "lessons" / "exercises")
    learn = Path(os.environ.get("ZERO_REF_LEARN") or HOME / ".learn")
    return {folder: why_not_writable(folder) for folder in (exercises, learn, Path(tempfile.gettempdir()))}


def why_not_writable(folder: Path) -> str | None:
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


def about_leftovers(left: Sequence[Path], ranks: Sequence[int]) -> list[Finding]:
    """What dead checks and runs have left behind: it takes room, or time."""
    lines = []
    if ranks:
        lines.append(bad("doctor_lost_ranks", "kill -9 " + " ".join(map(str, ranks)), number=len(ranks)))
    if left:
        lines.append(note("doctor_left", CLEAN, **counted(left)))
    return lines or [ok("doctor_clean")]


def counted(paths: Sequence[Path]) -> dict[str, Any]:
    """Parameters of a line about files: how many, how large, and what the first are called."""
    size = sum(map(leftovers.size_of, paths)) / shared.MB
    names = ", ".join(printable(str(path)) for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
    return {"number": len(paths), "size": f"{size:.1f}", "names": names}


def clean_up() -> list[Finding]:
    """Remove what dead checks and runs have left, and say what."""
    left = leftovers.find()
    about = counted(left)
    gone = leftovers.clean(left)
    if len(gone) < len(left):
        about = counted(gone)
    return [ok("doctor_removed", **about)] if gone else [ok("doctor_nothing_to_remove")]
