"""What a student has done so far, in one JSON file; and the last run of each exercise, for its picture.

The folder also holds what `reset` has saved (backup) and the pictures (picture).
"""

import contextlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lessons import HOME
from zero_ref import launch
from zero_ref.launch.files import replacing

# passed: has passed since the file was last reset; at: when it first did; state: of the last check;
# hints: how many were shown; level: how many of the exercise's own; hinted: the diagnoses of shown hints
FRESH: dict[str, Any] = {"passed": False, "attempts": 0, "hints": 0, "gave_up": False, "last": None}
FRESH |= {"state": None, "level": 0, "hinted": []}


def folder() -> Path:
    """Where progress, last runs and backups are kept; ZERO_REF_LEARN chooses another place."""
    path = place()
    path.mkdir(parents=True, exist_ok=True)
    return path


def place() -> Path:
    """The same, whether it is there or not."""
    return Path(os.environ.get("ZERO_REF_LEARN") or HOME / ".learn")


def read() -> dict[str, Any]:
    """Progress: "exercises" by name, "current", "language". What cannot be read counts as none."""
    try:
        found = json.loads((place() / "progress.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    return repair(found)


def repair(found: Any) -> dict[str, Any]:
    """Progress with what is right in `found`: a file that was edited by hand must not stop a student."""
    found = found if isinstance(found, dict) else {}
    records = found.get("exercises")
    records = records if isinstance(records, dict) else {}
    current, language = found.get("current"), found.get("language")
    return {
        "exercises": {
            name: repair_record(record) for name, record in records.items() if isinstance(record, dict)
        },
        "current": current if isinstance(current, str) else None,
        "language": language if language in ("zh", "en") else None,
    }


def repair_record(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose fields are of the type that FRESH has; a wrong one starts anew."""
    kept = dict(record)
    for name, start in FRESH.items():
        if name not in record or (start is not None and type(record[name]) is not type(start)):
            kept[name] = list(start) if isinstance(start, list) else start
    return kept


def write(progress: dict[str, Any]) -> None:
    """Replace the file, in one piece. One that could not be read is kept beside it."""
    file = folder() / "progress.json"
    if file.exists() and not is_readable(file):
        file.replace(free_name(folder() / f"progress-damaged-{timestamp()}.json"))
    with replacing(file) as new:
        Path(new).write_text(json.dumps(progress, indent=1, ensure_ascii=False), encoding="utf-8")


def is_readable(file: Path) -> bool:
    """Whether a file holds the JSON of a progress."""
    try:
        return isinstance(json.loads(file.read_text(encoding="utf-8")).get("exercises"), dict)
    except (OSError, ValueError, AttributeError):
        return False


@contextlib.contextmanager
def change() -> Iterator[dict[str, Any]]:
    """Progress to be changed, written at the end. Others who change it at the same time wait."""
    import fcntl

    with open(folder() / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        progress = read()
        yield progress
        write(progress)


def records() -> dict[str, dict[str, Any]]:
    """The record of every exercise; a fresh one where nothing was done yet."""
    return defaultdict(lambda: repair_record({}), read()["exercises"])


def chosen_language() -> str:
    """As the student has chosen, else as the environment says."""
    return read()["language"] or launch.language()


def record_of(progress: dict[str, Any], exercise: str) -> dict[str, Any]:
    """The record of one exercise in `progress`."""
    return progress["exercises"].setdefault(exercise, repair_record({}))


def note_result(exercise: str, state: str, key: str | None, counted: bool = True) -> None:
    """After a check: state "passed", "note", "wrong" or "not_started", and the diagnosis.

    counted: as an attempt at the exercise on which the student works; a check of all is none
    """
    with change() as progress:
        record = record_of(progress, exercise)
        record |= {"last": key, "state": state}
        if counted:
            progress["current"] = exercise
            record["attempts"] += state != "not_started"
        if state in ("passed", "note") and not record["passed"]:
            record["passed"] = True
            record.setdefault("at", time.strftime("%Y-%m-%d %H:%M:%S"))


def set_current(exercise: str) -> None:
    """Make an exercise the current one."""
    with change() as progress:
        progress["current"] = exercise


def set_language(language: str) -> None:
    """Remember the language."""
    with change() as progress:
        progress["language"] = language


def last_file(exercise: str) -> Path:
    """The file of an exercise's last run."""
    return folder() / "last" / f"{exercise[:2]}.json"


def last_run(exercise: str) -> dict[str, Any] | None:
    """What student/attempt.py wrote of an exercise's last run; None before the first."""
    try:
        found = json.loads(last_file(exercise).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("exercise") == exercise else None


def save_last(exercise: str, data: dict[str, Any]) -> None:
    """Keep a run."""
    file = last_file(exercise)
    file.parent.mkdir(exist_ok=True)
    with replacing(file) as new:
        Path(new).write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8", errors="replace")


def back_up(file: Path) -> Path | None:
    """Copy a student's file, byte for byte, into backup; where to, or None if there is no file."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    place = folder() / "backup"
    place.mkdir(exist_ok=True)
    kept = free_name(place / f"{file.stem}-{timestamp()}{file.suffix}")
    kept.write_bytes(content)
    return kept


def free_name(path: Path) -> Path:
    """`path`, with a number if there is one already."""
    number, found = 1, path
    while found.exists():
        number += 1
        found = path.with_stem(f"{path.stem}-{number}")
    return found


def timestamp() -> str:
    """Now, for the name of a file."""
    return time.strftime("%Y%m%d-%H%M%S")
