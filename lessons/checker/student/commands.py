"""What `python -m lessons` does, but for watching (learn.py) and looking for what is wrong here (doctor.py).

Each command prints in the reader's language and returns its exit code.
"""

import sys
from argparse import Namespace
from pathlib import Path

from lessons import ROOT
from lessons.checker import checking, progress, stub, words
from lessons.checker.student import attempt, hints, picture, screen
from lessons.checker.words import say
from zero_ref.launch.terminal import fold

ANSWERS = ROOT / "tests" / "answers"


def print_lines(lines: list[str] | str, whole: bool = False) -> None:
    """Print lines at once, so that whoever reads a pipe gets them at once, and so that the terminal holds
    them. whole: as they are, which is how a program is copied, and a fact read aloud."""
    text = lines if isinstance(lines, str) else "\n".join(lines)
    sys.stdout.write((text if whole else fold(text)) + "\n")
    sys.stdout.flush()


def run(exercise: str, o: Namespace) -> int:
    """Check once. 0 passed, 1 wrong, 2 not started."""
    data = attempt.check(exercise, o.use == "reference", o.limit)
    lines = screen.result_lines(data, o.language, o.plain)
    diagnosis = attempt.diagnosis_of(data)
    if diagnosis and diagnosis.key == "not_started":  # who begins with a check has not seen where to write
        lines += where_to_write(exercise, o.language)
    print_lines(lines, whole=o.plain)
    return checking.EXIT[data["state"]]


def go_on(o: Namespace) -> int:
    """Go on to the next exercise that has not passed."""
    following = screen.next_of(progress.read()["current"])  # the first, for those who have not begun
    if following is None:
        print_lines(say("all_passed", o.language))
        return 0
    progress.set_current(following)
    print_lines(introduce(following, o.language))
    return 0


def introduce(exercise: str, language: str) -> list[str]:
    """An exercise's title, its goal, its file, and the lesson to read before it."""
    goal = words.catalogue(exercise)["exercise"]["goal"][language]
    lines = [words.bold(words.heading(exercise, language), 36), *words.wrap_paragraphs(goal).splitlines()]
    return lines + where_to_write(exercise, language)


def where_to_write(exercise: str, language: str) -> list[str]:
    """An exercise's file, and the lesson to read before it."""
    file = say("file_is", language, file=screen.short_path(checking.file_of(exercise)))
    return [file, *(say("read_first", language, lesson=lesson) for lesson in screen.lesson_of(exercise))]


def hint(exercise: str, o: Namespace) -> int:
    """One hint more."""
    print_lines([words.heading(exercise, o.language), *hints.next_hint(exercise, o.language)])
    return 0


def list_all(o: Namespace) -> int:
    """All exercises."""
    lines = screen.list_exercises(o.language, o.plain, screen.current())
    print_lines([*lines, screen.count_passed(o.language)], whole=o.plain)
    return 0


def reset(exercise: str, o: Namespace) -> int:
    """The file as it was at first; what was in it is kept. On a terminal it asks."""
    if not o.yes and sys.stdin.isatty():
        file = screen.short_path(checking.file_of(exercise))
        sys.stdout.write(say("reset_sure", o.language, file=file) + " ")
        sys.stdout.flush()
        if not is_yes(sys.stdin.readline()):
            print_lines(say("reset_not", o.language))
            return 1
    print_lines(start_anew(exercise, o.language))
    return 0


def is_yes(answer: str) -> bool:
    """Whether an answer is a yes."""
    return answer.strip().lower() in ("y", "yes", "是", "好")


def start_anew(exercise: str, language: str) -> list[str]:
    """Write the stub, keep a copy of what was there, and say where."""
    file = checking.file_of(exercise)
    kept = progress.back_up(file)
    file.write_text(stub.text(exercise), encoding="utf-8")
    with progress.change() as found:
        progress.record_of(found, exercise).update(passed=False, state=None, last=None)
    lines = [say("reset_done", language, file=screen.short_path(file))]
    return lines + ([say("reset_kept", language, file=screen.short_path(kept))] if kept else [])


def show(exercise: str, o: Namespace) -> int:
    """Draw the last run."""
    file = draw(exercise, o.language)
    if file is None:
        print_lines(say("show_nothing", o.language, number=exercise[:2]))
        return 1
    print_lines(say("show_written", o.language, file=file.absolute()))
    return 0


def draw(exercise: str, language: str) -> Path | None:
    """Write the picture of the last run; None where there was no run."""
    data = progress.last_run(exercise)
    if data is None:
        return None
    folder = progress.folder() / "picture"
    folder.mkdir(exist_ok=True)
    file = folder / f"{exercise[:2]}.html"
    file.write_text(picture.page(exercise, data, language), encoding="utf-8")
    return file


def solution(exercise: str, o: Namespace) -> int:
    """A solution, for who has passed or gives up."""
    file = ANSWERS / f"{exercise}.py"
    if not file.exists():
        print_lines(say("solution_elsewhere", o.language, title=words.heading(exercise, o.language)))
        return 1
    record = progress.records()[exercise]
    if not (record["passed"] or record.get("at") or record["gave_up"] or o.give_up):
        print_lines(say("solution_later", o.language, number=exercise[:2]))
        return 1
    if o.give_up and not record["passed"]:
        with progress.change() as found:
            progress.record_of(found, exercise)["gave_up"] = True
    print_lines(file.read_text(encoding="utf-8").rstrip("\n"), whole=True)
    return 0


def check_all(o: Namespace) -> int:
    """Check all exercises, a line each. 0 if all passed, 1 if one is wrong, else 2."""
    states = []
    for exercise in words.exercises():
        data = attempt.check(exercise, o.use == "reference", o.limit, counted=False)
        states.append(data["state"])
        print_lines(verdict_line(data, o.language, o.plain), whole=o.plain)
    print_lines(screen.count_passed(o.language))
    return 1 if "wrong" in states else 2 if "not_started" in states else 0


def verdict_line(data: attempt.Data, language: str, plain: bool) -> str:
    """One exercise in one line."""
    exercise, diagnosis = data["exercise"], attempt.diagnosis_of(data)
    sign, colour = words.SIGNS[data["state"]]
    title = words.heading(exercise, language)
    if plain or diagnosis is None or diagnosis.state == "not_started":
        text = screen.state_text(data["state"], language)
    else:
        text = words.diagnosis_text(exercise, diagnosis, "says", language)
    if plain:
        return f"{title}{say('colon', language)}{text}"
    line = words.cut(f"{sign} {title}{say('colon', language)}{text}", words.COLUMNS)
    return words.bold(line, colour)
