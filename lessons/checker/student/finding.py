"""What the doctor finds: a line that says it, and what to type."""

from dataclasses import dataclass
from typing import Any

from lessons import ROOT

LINES = "-r requirements.txt" if (ROOT / "zero_ref").is_dir() else "--upgrade numpy mpi4py mpich"
INSTALL = f"python -m pip install {LINES}"
CLEAN = "python -m lessons doctor --clean"


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
