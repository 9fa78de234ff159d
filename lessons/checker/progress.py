"""What a student has done so far, in one JSON file; and the last run of each exercise, for its picture.

The folder also holds what `reset` has saved (backup) and the pictures (picture).
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lessons import ROOT

# passed: has passed since the file was last reset; at: when it first did; state: of the last check;
# hints: how many were shown; level: how many of the exercise's own; hinted: the diagnoses of shown hints
FRESH: dict[str, Any] = {"passed": False, "attempts": 0, "hints": 0, "gave_up": False, "last": None}
FRESH |= {"state": None, "level": 0, "hinted": []}


def folder() -> Path:
    """Where progress, last runs and backups are kept; ZERO_REF_LEARN chooses another place."""
    path = Path(os.environ.get("ZERO_REF_LEARN") or ROOT / ".learn")
    path.mkdir(parents=True, exist_ok=True)
    return path


def read() -> dict[str, Any]:
    """Progress: "exercises" by name, "current", "language". What cannot be read counts as none."""
    try:
        found = json.loads((folder() / "progress.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    return sound(found)


def sound(found: Any) -> dict[str, Any]:
    """Progress with what is right in `found`: a file that was edited by hand must not stop a student."""
    found = found if isinstance(found, dict) else {}
    records = found.get("exercises")
    records = records if isinstance(records, dict) else {}
    current, language = found.get("current"), found.get("language")
    return {
        "exercises": {name: fitting(record) for name, record in records.items() if isinstance(record, dict)},
        "current": current if isinstance(current, str) else None,
        "language": language if language in ("zh", "en") else None,
    }


def fitting(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose fields are of the type that FRESH has; a wrong one starts anew."""
    kept = dict(record)
    for name, start in FRESH.items():
        if name not in record or (start is not None and type(record[name]) is not type(start)):
            kept[name] = list(start) if isinstance(start, list) else start
    return kept


def write(progress: dict[str, Any]) -> None:
    """Replace the file, in one piece. One that could not be read is kept beside it."""
    file = folder() / "progress.json"
    if file.exists() and not readable(file):
        file.replace(free(folder() / f"progress-damaged-{stamp()}.json"))
    new = folder() / f"progress.{os.getpid()}.new"
    new.write_text(json.dumps(progress, indent=1, ensure_ascii=False), encoding="utf-8")
    new.replace(file)


def readable(file: Path) -> bool:
    """Whether a file holds the JSON of a progress."""
    try:
        return isinstance(json.loads(file.read_text(encoding="utf-8")).get("exercises"), dict)
    except (OSError, ValueError, AttributeError):
        return False


@contextlib.contextmanager
def changing() -> Iterator[dict[str, Any]]:
    """Progress to be changed, written at the end. Others who change it at the same time wait."""
    import fcntl

    with open(folder() / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        progress = read()
        yield progress
        write(progress)


def of(progress: dict[str, Any], exercise: str) -> dict[str, Any]:
    """The record of one exercise in `progress`."""
    return progress["exercises"].setdefault(exercise, fitting({}))


def note(exercise: str, state: str, key: str | None, counted: bool = True) -> None:
    """After a check: state "passed", "note", "wrong" or "not_started", and the diagnosis.

    counted: as an attempt at the exercise on which the student works; a check of all is none
    """
    with changing() as progress:
        record = of(progress, exercise)
        record |= {"last": key, "state": state}
        if counted:
            progress["current"] = exercise
            record["attempts"] += state != "not_started"
        if state in ("passed", "note") and not record["passed"]:
            record["passed"] = True
            record.setdefault("at", time.strftime("%Y-%m-%d %H:%M:%S"))


def choose(exercise: str) -> None:
    """Make an exercise the current one."""
    with changing() as progress:
        progress["current"] = exercise


def speak(language: str) -> None:
    """Remember the language."""
    with changing() as progress:
        progress["language"] = language


def last(exercise: str) -> Path:
    """The file of an exercise's last run."""
    return folder() / "last" / f"{exercise[:2]}.json"


def last_run(exercise: str) -> dict[str, Any] | None:
    """What student/attempt.py wrote of an exercise's last run; None before the first."""
    try:
        found = json.loads(last(exercise).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("exercise") == exercise else None


def save_last(exercise: str, data: dict[str, Any]) -> None:
    """Keep a run."""
    file = last(exercise)
    file.parent.mkdir(exist_ok=True)
    new = file.with_name(f"{file.name}.{os.getpid()}.new")
    new.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8", errors="replace")
    new.replace(file)


def back_up(file: Path) -> Path | None:
    """Copy a student's file, byte for byte, into backup; where to, or None if there is no file."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    place = folder() / "backup"
    place.mkdir(exist_ok=True)
    kept = free(place / f"{file.stem}-{stamp()}{file.suffix}")
    kept.write_bytes(content)
    return kept


def free(path: Path) -> Path:
    """`path`, with a number if there is one already."""
    number, found = 1, path
    while found.exists():
        number += 1
        found = path.with_stem(f"{path.stem}-{number}")
    return found


def stamp() -> str:
    """Now, for the name of a file."""
    return time.strftime("%Y%m%d-%H%M%S")
