"""The exercises: `python -m lessons` watches the one at hand and checks it whenever it is saved.

`python -m lessons --help` names the commands.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  said before anything fails
    sys.exit("需要 Python 3.11 或更新的版本 · Python 3.11 or newer is needed: make setup PYTHON=python3.11")

import argparse
import importlib
import os
import re
import signal

from lessons import HOME, ROOT
from lessons.checker import progress
from lessons.checker.student import doctor
from zero_ref import __version__
from zero_ref.launch import language as of_environment

ONE = ("run", "hint", "show", "reset", "solution")  # commands on one exercise
OTHERS = ("next", "list", "all", "doctor", "new", "notebook", "express")
TEACHERS = ("grade", "release")  # with options of their own
LANGUAGES = ("zh", "en")
VALUED = ("--language", "--use", "--limit")  # options that are followed by their value


class Wrong(Exception):
    """The command line cannot be understood."""


class Parser(argparse.ArgumentParser):
    """A parser that raises instead of printing its usage."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise Wrong(message)


def parser() -> Parser:
    """What can be asked for. All options go before and after a command."""
    shared = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    shared.add_argument("--language", choices=LANGUAGES)
    shared.add_argument("--use", choices=("own", "reference"))
    shared.add_argument("--plain", action="store_true")
    shared.add_argument("--limit", type=seconds)
    shared.add_argument("-h", "--help", action="store_true")
    shared.add_argument("--version", action="store_true")
    p = Parser(prog="python -m lessons", add_help=False, parents=[shared])
    commands = p.add_subparsers(dest="command", parser_class=Parser)
    for name in ONE + OTHERS:
        command = commands.add_parser(name, add_help=False, parents=[shared])
        if name in ONE:
            command.add_argument("exercise", nargs="?")
        if name == "new":
            command.add_argument("dir", metavar="DIR")
        if name == "notebook":
            command.add_argument("lesson")
            command.add_argument("file", metavar="FILE", nargs="?")
        if name == "doctor":
            command.add_argument("--clean", action="store_true")
        if name == "reset":
            command.add_argument("--yes", action="store_true")
        if name == "solution":
            command.add_argument("--give-up", action="store_true")
    return p


def seconds(text: str) -> float:
    """A limit: more than nothing, and a number."""
    value = float(text)
    if not 0 < value < 1e6:
        raise ValueError(text)
    return value


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0 passed, 1 wrong, 2 not started or not understood."""
    words_given = sys.argv[1:] if arguments is None else arguments
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  closed
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a code in the place of what a terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    language = spoken(words_given)
    if words_given and words_given[0] in TEACHERS:
        return importlib.import_module(f"lessons.checker.teacher.{words_given[0]}").main(words_given[1:])
    if "" in words_given:  # a variable of the shell that nobody has set
        return not_understood([], '""', language)
    try:
        o = parser().parse_args(with_command(list(words_given)))
    except Wrong as error:
        return not_understood(words_given, str(error), language)
    o.language, o.plain = language, getattr(o, "plain", False)
    o.use = getattr(o, "use", "own")
    if o.plain:
        os.environ["NO_COLOR"] = "1"
    # An exit, so that ranks are ended and the terminal restored.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    try:
        if getattr(o, "help", False):
            print(doctor.say("help", language).strip(), flush=True)
            return 0
        if getattr(o, "version", False):
            print(f"zero_ref {__version__}")
            return 0
        return do(o)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `python -m lessons list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (OSError, ImportError) as error:
        print(doctor.say("cannot", language, error=f"{type(error).__name__}: {error}"), file=sys.stderr)
        return 3


def with_command(arguments: list[str]) -> list[str]:
    """An exercise alone is `run`: its number, or its name."""
    for place, word in enumerate(arguments):
        if word in ONE + OTHERS:
            break
        if re.fullmatch(r"\d{1,2}(_\w+)?", word) and (place == 0 or arguments[place - 1] not in VALUED):
            return [*arguments[:place], "run", *arguments[place:]]
    return arguments


def do(o: argparse.Namespace) -> int:
    """What was asked for."""
    if o.command == "doctor":
        return doctor.main(o.language, o.plain, o.clean)
    from lessons.checker import words
    from lessons.checker.ranks import runner
    from lessons.checker.student import commands, learn, new, screen
    from lessons.reader import course

    if o.command in ("notebook", "express"):
        return (course.express if o.command == "express" else course.write_notebook)(o)
    if o.command == "new":
        return new.make(o)
    if not has_exercises():
        print(words.say("no_exercises", o.language), file=sys.stderr)
        return 2
    o.limit = getattr(o, "limit", runner.LIMIT)
    if o.command is None:
        return learn.main(o)
    if o.command in OTHERS:
        others = {"next": commands.go_on, "list": commands.list_all, "all": commands.check_all}
        return others[o.command](o)
    if o.exercise is None and o.command in ("reset", "solution"):  # too much to do to one that was not named
        return not_understood([], doctor.say("name_one", o.language), o.language)
    exercise = screen.current() if o.exercise is None else words.find_exercise(o.exercise)
    if exercise is None:
        names = ", ".join(name[:2] for name in words.exercises())
        print(words.say("unknown_exercise", o.language, name=o.exercise, names=names), file=sys.stderr)
        return 2
    return getattr(commands, o.command)(exercise, o)


def has_exercises() -> bool:
    """Whether a student works here: in a checkout, in what `new` has made, or where a variable says."""
    return HOME != ROOT or (ROOT / "zero_ref").is_dir() or "ZERO_REF_EXERCISES" in os.environ


def spoken(arguments: list[str]) -> str:
    """The language: as the arguments say, else as chosen before, else as the environment says."""
    for word, value in zip(arguments, [*arguments[1:], ""]):
        if word == "--language" and value in LANGUAGES:
            return value
        if word.startswith("--language=") and word.partition("=")[2] in LANGUAGES:
            return word.partition("=")[2]
    try:
        return progress.chosen_language()
    except OSError:
        return of_environment()


def not_understood(arguments: list[str], message: str, language: str) -> int:
    """One line about it."""
    unknown = [word for word in arguments[:1] if not word.startswith("-") and word not in ONE + OTHERS]
    if unknown:
        names = ", ".join(ONE + OTHERS + TEACHERS)
        print(doctor.say("unknown_command", language, name=unknown[0], names=names), file=sys.stderr)
    else:
        print(doctor.say("not_understood", language, error=message), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
