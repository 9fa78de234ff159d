"""The lessons, the exercises, and what checks them: `python -m lessons`.

ROOT    what this package lies in: in a checkout the project, else a folder of the installed zero_ref
HOME    what the student's lessons/exercises and .learn lie in. In a checkout the same; else the folder that
        `new` has made, whose own lessons/__init__.py sets both (see checker/student/new.py)
"""

from lessons.checker import shadows

shadows.refuse()  # before anything is imported that may be another file than it should

from pathlib import Path  # noqa: E402

ROOT = HOME = Path(__file__).parents[1]
