"""What a student sees in the terminal: a result, what the code has printed, what comes next.

With `plain` every fact is a line of its own, without signs and tables, for those who have it read to them.
"""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lessons import HOME
from lessons.checker import checking, progress, words
from lessons.checker.student import attempt
from lessons.checker.student.attempt import Data
from lessons.checker.words import say

PRINTED = 32  # lines of the code's own output
STATES = {"passed": "✓", "again": "✗", "wrong": "✗", "untouched": "○"}
STAGE_OF = {"08": 0, "11": 1, "12": 2, "13": 3}  # exercise -> the stage that is written in it


def result_lines(data: Data, language: str, plain: bool, room: int = PRINTED) -> list[str]:
    """A run: its diagnosis, what the code has printed (in `room` lines), and what comes next."""
    exercise, diagnosis = data["exercise"], attempt.diagnosis_of(data)
    if plain:
        lines = plain_lines(exercise, data, language)
    else:
        lines = words.result_text(exercise, checking.file_of(exercise), diagnosis, language).splitlines()
    lines += output_lines(data["printed"], language, room)
    if data["state"] in ("passed", "note"):
        lines += what_follows(exercise, language)
    return lines


def plain_lines(exercise: str, data: Data, language: str) -> list[str]:
    """A diagnosis with one fact in a line."""
    diagnosis = attempt.diagnosis_of(data)
    colon = say("colon", language)
    lines = [
        words.heading(exercise, language),
        f"{say('result', language)}{colon}{state_text(data['state'], language)}",
    ]
    if diagnosis is None:
        return lines
    lines.append(words.diagnosis_text(exercise, diagnosis, "says", language))
    head = [words.column_name(name, language) for name in diagnosis.head]
    joined = say("comma", language)
    for row in diagnosis.rows[:12]:  # a cell with nothing in it is no fact
        lines.append(joined.join(f"{name} {cell}" for name, cell in zip(head, row) if cell not in ("", "-")))
    if diagnosis.case is not None:
        lines.append(f"{say('smallest', language)}{colon}{words.case_text(diagnosis.case)}")
    if place := place_of(diagnosis.line, data):
        lines.append(f"{say('look', language)}{colon}{place}")
    if ask := words.diagnosis_text(exercise, diagnosis, "ask", language):
        lines.append(f"{say('think', language)}{colon}{' '.join(ask.split())}")
    return lines


def place_of(line: Any, data: Data) -> str:
    """A file and a line, and what stands there."""
    if not line:
        return ""
    file, number = line if isinstance(line, list | tuple) else (data["file"], line)
    known = file == data["file"] and 0 < number <= len(data["source"])
    return f"{file}:{number}" + (f"  {data['source'][number - 1].strip()}" if known else "")


def state_text(name: str, language: str) -> str:
    """ "passed", "note", "wrong" or "not_started" in words."""
    return say(f"state_{'passed' if name == 'note' else name}", language)


def output_lines(text: str, language: str, room: int) -> list[str]:
    """What the code has printed, in about `room` lines: of each rank the first ones and the last."""
    if not text.strip():
        return []
    by_rank: dict[str, list[str]] = {}
    for line in text.splitlines():
        name = line.partition("]")[0] if line.startswith("[rank ") else ""
        by_rank.setdefault(name, []).append(words.cut(make_visible(line), words.COLUMNS))
    each = max(2, room // len(by_rank) - 1)
    first, last = each - each // 2, each // 2
    lines = [say("printed", language)]
    for found in by_rank.values():
        if len(found) > each + 1:
            found[first:-last] = [say("more_printed", language, number=len(found) - each)]
        lines += found
    return lines


def make_visible(text: str) -> str:
    """`text` without what could move the cursor or colour the terminal."""
    return "".join(c if unicodedata.category(c)[0] != "C" else " " if c == "\t" else "\ufffd" for c in text)


def what_follows(exercise: str, language: str) -> list[str]:
    """What follows a passed exercise: the next one, and what to read before it."""
    following, own = next_of(exercise), own_training(exercise, language)
    if following is None:
        return [*own, say("all_passed", language)]
    lines = own + words.wrap(
        say("next_is", language, title=words.heading(following, language)), words.COLUMNS
    )
    return lines + [say("read_first", language, lesson=lesson) for lesson in lesson_of(following)]


def own_training(exercise: str, language: str) -> list[str]:
    """After a stage: the command that trains on it and on the student's rings, once these have passed."""
    done, stage = progress.records(), STAGE_OF.get(exercise[:2])
    rings = all(done[name]["passed"] for name in ("06_ring_reduce_scatter", "07_all_gather"))
    if stage is None or not rings:
        return []
    command = f"mpirun -n 4 python -m zero_ref.train --own lessons/exercises --stage {stage}"
    return [say("own_training", language), f"  {command}"]


def lesson_of(exercise: str) -> list[str]:
    """The script of the lesson with an exercise's number, in the project's folder; [] if there is none."""
    return [
        str(path.relative_to(HOME)) for path in sorted((HOME / "lessons").glob(f"{exercise[:2]}_*.py"))[:1]
    ]


def next_of(exercise: str | None) -> str | None:
    """The first exercise after this one that has not passed, else the first of all; None if all have."""
    names, done = words.exercises(), progress.records()
    place = names.index(exercise) + 1 if exercise in names else 0
    open_ones = [e for e in names[place:] + names[:place] if not done[e]["passed"]]
    return open_ones[0] if open_ones else None


def current() -> str:
    """The exercise on which the student works."""
    chosen = progress.read()["current"]
    return chosen if chosen in words.exercises() else next_of(None) or words.exercises()[0]


def short_path(path: Path) -> str:
    """A path as it can be typed: from this folder, if the file is in it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def list_exercises(language: str, plain: bool, now: str) -> list[str]:
    """All exercises with state, attempts and hints; `now` is marked."""
    done, rows = progress.records(), []
    for exercise in words.exercises():
        record = done[exercise]
        name = "passed" if record["passed"] else "wrong" if record["attempts"] else "untouched"
        if record["passed"] and record["state"] == "wrong":  # it was changed since
            name = "again"
        text = say(f"list_{name}", language)
        rows.append((exercise, name, text, record["attempts"], record["hints"], record["gave_up"]))
    if plain:
        return [row_as_sentence(row, language, now) for row in rows]
    head = [say(f"list_{name}", language) for name in ("title", "state", "attempts", "hints")]
    cells = []
    for exercise, name, text, attempts, hints, gave_up in rows:
        mark = "▶" if exercise == now else " "
        state = f"{STATES[name]} {text}" + (f" {say('list_solution', language)}" if gave_up else "")
        cells.append([f"{mark} {words.heading(exercise, language)}", state, str(attempts), str(hints)])
    return align([["  " + head[0], *head[1:]], *cells])


def row_as_sentence(row: Sequence[Any], language: str, now: str) -> str:
    """An exercise of the list as a sentence."""
    exercise, _, text, attempts, hints, gave_up = row
    parts = [words.heading(exercise, language), text]
    parts += [f"{say('list_attempts', language)} {attempts}", f"{say('list_hints', language)} {hints}"]
    parts += [say("list_solution", language)] if gave_up else []
    parts += [say("list_current", language)] if exercise == now else []
    return say("comma", language).join(parts)


def align(cells: list[list[str]]) -> list[str]:
    """Rows whose first column takes the room that the others leave, and whose numbers stand right."""
    widths = [max(words.width(row[i]) for row in cells) for i in range(len(cells[0]))]
    widths[0] = min(widths[0], words.COLUMNS - sum(widths[1:]) - 2 * (len(widths) - 1))
    lines = []
    for row in cells:
        left = [words.pad(words.cut(cell, w), w) for cell, w in zip(row[:2], widths)]
        right = [" " * (w - words.width(cell)) + cell for cell, w in zip(row[2:], widths[2:])]
        lines.append("  ".join(left + right).rstrip())
    return lines


def count_passed(language: str) -> str:
    """How many exercises have passed."""
    names, done = words.exercises(), progress.records()
    passed = sum(done[name]["passed"] for name in names)
    return say("passed_of", language, passed=passed, total=len(names))
