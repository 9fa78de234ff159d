"""Where the lessons are: beside zero_ref in a checkout, in this folder once zero_ref is installed.

In a wheel they lie below zero_ref, as `lessons` is no name to take from everybody's Python. What uses them
puts the folder that they lie in on sys.path, and so it is `import lessons` everywhere.
"""

import sys
from pathlib import Path
from typing import Any


def lessons_root() -> Path:
    """The folder in which the package `lessons` lies."""
    here = Path(__file__).parent
    return here if (here / "lessons").is_dir() else here.parents[1]


def students_root(folder: Path) -> Path | None:
    """The student's folder that `folder` is, or lies in (`new` made it); None if there is none."""
    for place in (folder, *folder.parents):
        if (place / "lessons" / "exercises" / "_exercise.py").is_file():
            return place
    return None


def load_ipython_extension(shell: Any) -> None:
    """%load_ext zero_ref.learn in a notebook: %ranks is known from then on (lessons/reader/kernel.py)."""
    sys.path.insert(0, str(students_root(Path.cwd()) or lessons_root()))
    from lessons.reader import kernel

    kernel.load(shell)
