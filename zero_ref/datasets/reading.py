"""What a reader of files is told, and what it gives back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LIMIT = 8e9  # bytes that x or y of a file may take, unless --data-limit says otherwise


@dataclass(frozen=True)
class Reading:
    """How to read a file; None where nobody has said.

    header: "yes" or "no", whether the first line of a table holds names. target: its column, "first",
    "last", a name, or several names with commas between them. task: "classes" or "numbers", what y holds.
    limit: the most bytes of x or y.
    features, columns: of the model whose inputs are wanted (see data.Task); y may then be missing.
    """

    header: str | None = None
    target: str | None = None
    task: str | None = None
    limit: float = LIMIT
    features: int | None = None
    columns: list[str] | None = None


AS_WRITTEN = Reading()  # nobody has said anything


class Samples(NamedTuple):
    """x and y as they stand in the file, and the names of x's columns and then y's, where it has names."""

    x: np.ndarray
    y: Any
    columns: list[str] | None = None


def check_bytes(what: str, size: float, limit: float) -> None:
    """ValueError, before any memory is asked for, if `what` would take more than `limit` bytes."""
    if size > limit:
        raise ValueError(f"{what} takes {size:,.0f} bytes, and --data-limit is {limit / 1e9:g} GB")


def ending(path: Path) -> str:
    """The ending of a file's name in small letters: .csv, also of FILE.CSV."""
    return path.suffix.lower()
