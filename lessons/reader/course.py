"""Commands about lessons: `python -m lessons notebook 06`, `python -m lessons express`."""

import sys
from argparse import Namespace
from pathlib import Path

from lessons import HOME
from lessons.checker.words import say
from lessons.reader import notebook
from zero_ref.launch.files import replacing
from zero_ref.launch.terminal import fold


def notebook_of(o: Namespace) -> tuple[int, str]:
    """Write a lesson as a notebook: the exit code, and what is to be said."""
    lesson = notebook.find(o.lesson)
    if lesson is None:
        names = ", ".join(path.stem[:2] for path in sorted((HOME / "lessons").glob("[0-9][0-9]_*.py")))
        return 2, say("no_lesson", o.language, name=o.lesson, names=names)
    file = Path(o.file or f"{lesson.stem}.{o.language}.ipynb")
    if file.exists():
        return 2, say("notebook_exists", o.language, path=file)
    try:
        with replacing(file) as new:
            Path(new).write_text(notebook.content(lesson, o.language), encoding="utf-8")
    except OSError as error:
        return 2, say("new_not_written", o.language, path=file, text=error.strerror or error)
    return 0, say("notebook_written", o.language, path=file)


def write_notebook(o: Namespace) -> int:
    """The command `notebook NN [FILE]`: 0 written, 2 no such lesson, or FILE is there already."""
    code, text = notebook_of(o)
    print(fold(text), file=sys.stderr if code else sys.stdout)
    return code


def express(o: Namespace) -> int:
    """The command `express`: the path, and what things are called elsewhere."""
    print(fold(say("express", o.language).strip()))
    return 0
