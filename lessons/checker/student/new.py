"""A student's folder: lessons to read and run, and exercises that are not begun. What checks them stays here.

DIR/lessons/NN_name.py              as they are here, with _lesson.py and README.md
DIR/lessons/exercises/NN_name.py    the stubs, with _exercise.py
DIR/lessons/__init__.py             finds the rest of this package where zero_ref is installed

So all commands that the lessons name, from `python -m lessons` on, are the same as in a checkout.
"""

import os
import shlex
import shutil
import tempfile
from argparse import Namespace
from pathlib import Path

from lessons import ROOT
from lessons.checker import stub, words
from lessons.checker.words import say

HERE = ROOT / "lessons"
INIT = '''"""这里是你的课程和练习；检查它们的程序随 zero_ref 一起安装，不在这里。

Your lessons and exercises are here; what checks them was installed with zero_ref, and is not here.
"""

import sys
from pathlib import Path

try:
    from zero_ref.learn import lessons_root
except ImportError:
    sys.exit(f"这个 Python 没有安装 zero_ref · zero_ref is not installed for this Python: {sys.executable}")

HOME, ROOT = Path(__file__).parents[1], lessons_root()
__path__.append(str(ROOT / "lessons"))
'''


def make(o: Namespace) -> int:
    """The command `new DIR`. Returns the exit code: 0 made, 2 it cannot be."""
    target = Path(o.dir)
    if os.path.lexists(target / "lessons"):
        print(say("new_exists", o.language, path=target / "lessons"))
        return 2
    try:
        write(target)
    except OSError as error:
        print(say("new_not_written", o.language, path=target, text=error.strerror or error))
        return 2
    number = len(list((target / "lessons").glob("[0-9]*.py")))
    print(say("new_made", o.language, path=target, lessons=number, exercises=len(words.exercises())))
    print(f"  cd {shlex.quote(o.dir)}\n  python -m lessons")
    return 0


def write(target: Path) -> None:
    """Write the folder under another name first: what is there as `lessons` is complete."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".zero_ref_new_") as name:
        made = Path(name) / "lessons"
        (made / "exercises").mkdir(parents=True)
        for file in sorted([*HERE.glob("[0-9][0-9]_*.py"), HERE / "_lesson.py", HERE / "README.md"]):
            shutil.copyfile(file, made / file.name)
        shutil.copyfile(HERE / "exercises" / "_exercise.py", made / "exercises" / "_exercise.py")
        for exercise in words.exercises():
            (made / "exercises" / f"{exercise}.py").write_text(stub.text(exercise), encoding="utf-8")
        (made / "__init__.py").write_text(INIT, encoding="utf-8")
        os.rename(made, target / "lessons")
