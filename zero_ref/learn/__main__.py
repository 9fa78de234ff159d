"""The command: python -m zero_ref.learn is `python -m lessons` of this folder, or of one above it."""

import runpy
import sys
from pathlib import Path

from zero_ref.learn import lessons_root, students_root

if __name__ == "__main__":
    sys.path.insert(0, str(students_root(Path.cwd()) or lessons_root()))
    runpy.run_module("lessons", run_name="__main__", alter_sys=True)
