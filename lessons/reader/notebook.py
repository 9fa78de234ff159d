"""A lesson as a notebook in one language: `python -m lessons notebook 06 --language zh`.

A notebook is a file of JSON (nbformat 4.5); no library is needed to write one.
"""

import json
import re
from pathlib import Path
from typing import Any

from lessons import HOME
from lessons.reader import parts, prose


def find(name: str) -> Path | None:
    """The lesson of this number or name."""
    lessons = sorted((HOME / "lessons").glob("[0-9][0-9]_*.py"))
    return next((path for path in lessons if path.stem == name or path.stem[:2] == name.zfill(2)), None)


def ranks_of(lesson: Path) -> int:
    """On how many ranks a lesson runs."""
    found = re.search(r"\branks\((\d+)\)", lesson.read_text(encoding="utf-8"))
    return int(found[1]) if found else 1


def cell(kind: str, number: int, text: str) -> dict[str, Any]:
    """A cell, "markdown" or "code"."""
    made: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
    if kind == "code":
        made |= {"execution_count": None, "outputs": []}
    return made | {"source": text.strip("\n").splitlines(keepends=True)}


def content(lesson: Path, language: str) -> str:
    """The notebook's text. After the title comes the cell that starts the ranks."""
    first = f"%load_ext zero_ref.learn\n%ranks {ranks_of(lesson)} --language {language}"
    texts: list[tuple[str, str]] = []
    for part in parts(lesson):
        if part.language == language:
            texts.append(("markdown", prose.markdown(part.text)))
        elif part.language is None and part.text.strip():
            texts.append(("code", part.text))
    texts.insert(1, ("code", first))
    about = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    made = {
        "cells": [cell(kind, number, text) for number, (kind, text) in enumerate(texts)],
        "metadata": about,
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(made, ensure_ascii=False, indent=1) + "\n"
