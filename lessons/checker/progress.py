"""What a student has done so far, in one JSON file; and the last run of each exercise, for its picture."""

import json
import os
import time
from pathlib import Path
from typing import Any

from lessons.checker.runner import ROOT

FRESH = {"passed": False, "attempts": 0, "hints": 0, "gave_up": False, "last": None}


def folder() -> Path:
    """Where progress, last runs and backups are kept; ZERO_REF_LEARN chooses another place."""
    path = Path(os.environ.get("ZERO_REF_LEARN") or ROOT / ".learn")
    path.mkdir(parents=True, exist_ok=True)
    return path


def read() -> dict[str, Any]:
    """Progress: "exercises" by name, "current", "language". What cannot be read counts as none."""
    try:
        found = json.loads((folder() / "progress.json").read_text(encoding="utf-8"))
        assert isinstance(found["exercises"], dict)
        return found
    except (OSError, ValueError, KeyError, TypeError, AssertionError):
        return {"exercises": {}, "current": None, "language": None}


def write(progress: dict[str, Any]) -> None:
    """Replace the file, in one piece."""
    new = folder() / "progress.new"
    new.write_text(json.dumps(progress, indent=1, ensure_ascii=False), encoding="utf-8")
    new.replace(folder() / "progress.json")


def of(progress: dict[str, Any], exercise: str) -> dict[str, Any]:
    """The record of one exercise in `progress`."""
    return progress["exercises"].setdefault(exercise, dict(FRESH))


def note(exercise: str, state: str, key: str | None) -> None:
    """After a check: state "passed", "note", "wrong" or "not_started", and the diagnosis."""
    progress = read()
    record = of(progress, exercise)
    progress["current"] = exercise
    record["last"] = key
    if state != "not_started":
        record["attempts"] += 1
    if state in ("passed", "note") and not record["passed"]:
        record |= {"passed": True, "at": time.strftime("%Y-%m-%d %H:%M:%S")}
    write(progress)
