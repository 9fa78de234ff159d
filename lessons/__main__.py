"""python -m lessons: check exercises."""

import argparse
import sys

from lessons.checker import checking, progress, words
from zero_ref.launch import language


def find(name: str) -> str | None:
    """The exercise of which `name` is the number or the name."""
    found = [e for e in words.exercises() if e == name or e[:2] == name.zfill(2)]
    return found[0] if found else None


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 passed, 1 wrong, 2 not started."""
    p = argparse.ArgumentParser(prog="python -m lessons")
    commands = p.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("exercise")
    run.add_argument("--use", choices=("own", "reference"), default="own")
    run.add_argument("--language", choices=words.LANGUAGES, default=None)
    o = p.parse_args(arguments)
    said = o.language or progress.read()["language"] or language()
    exercise = find(o.exercise)
    if exercise is None:
        print(words.say("unknown_exercise", said, name=o.exercise, names=", ".join(words.exercises())))
        return 2
    result = checking.check([checking.job_of(exercise, o.use == "reference")])[0]
    progress.note(exercise, result.state, result.diagnosis.key if result.diagnosis else None)
    print(words.shown(exercise, checking.file_of(exercise), result.diagnosis, said))
    if result.outcome.printed:
        print(result.outcome.printed)
    return checking.EXIT[result.state]


if __name__ == "__main__":
    sys.exit(main())
