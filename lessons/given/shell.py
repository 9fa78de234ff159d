"""For lesson 18: commands as they are typed, each shown and run, in a temporary folder."""

import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lessons.checker.ranks.launcher import environment

ROOT = Path(__file__).parents[2]  # zero_ref, or what learn lies in


class Shell:
    """A folder for commands; it is gone when the lesson ends.

    started: the environment in which the lesson was started; show: prints a text.
    """

    def __init__(self, started: Mapping[str, str], show: Callable[[str], None]) -> None:
        self.show, self.environment = show, environment(started)
        path = [str(ROOT), self.environment.get("PYTHONPATH")]
        self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        self.temporary = tempfile.TemporaryDirectory(prefix="zero_ref_lesson_")
        self.folder = Path(self.temporary.name)

    def __call__(self, line: str, code: int = 0) -> str:
        """Show a command, run it, and return what it prints. AssertionError if it ends with another code."""
        unbroken = re.sub(r"(-\S+) (?=[^-])", "\\1\u00a0", f"$ {line}")  # no line ends after an option's name
        parts = textwrap.wrap(unbroken, 74, break_on_hyphens=False)
        self.show(" \\\n    ".join(parts).replace("\u00a0", " "))
        words = [sys.executable if word == "python" else word for word in line.split()]
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == code, done.stdout
        return done.stdout.strip()

    def train(self, ranks: int, options: str, name: str) -> dict[str, Any]:
        """Train on so many ranks; the run's record."""
        self(f"mpirun -n {ranks} python -m zero_ref.train {options} --record {name}.json")
        return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
