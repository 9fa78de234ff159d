"""The lessons, the exercises, and what checks them: `python -m lessons`."""

from lessons.checker import shadows

shadows.refuse()  # before anything is imported that may be another file than it should

from pathlib import Path  # noqa: E402

ROOT = Path(__file__).parents[1]  # of the project
