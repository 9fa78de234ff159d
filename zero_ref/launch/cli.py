"""What every command line has in common: a parser that says each thing once, and types of options."""

import argparse
import math
from collections.abc import Callable
from typing import Any, NoReturn

from zero_ref import __version__
from zero_ref.launch import UsageError, one_line, rank_by_launcher, say

LANGUAGES = ("en", "zh")


def add_language(p: argparse.ArgumentParser) -> None:
    """The option --language. Without it the environment says (see launch.language)."""
    p.add_argument(
        "--language", choices=LANGUAGES, help="of what is printed and drawn (default: as LANG says)"
    )


class Parser(argparse.ArgumentParser):
    """An argparse parser that says each thing once, from rank 0, and errors in one line.

    It refuses what is given and empty, as a shell's variable is that nobody has set, and names that are not
    UTF-8, which neither a record nor a checkpoint can hold.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        about = f"zero_ref {__version__}"
        self.add_argument("--version", action="version", version=about, help="say which, and exit")

    def parse_known_args(self, *arguments: Any, **keywords: Any) -> Any:
        found, rest = super().parse_known_args(*arguments, **keywords)
        check_texts(self, found)
        return found, rest

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{one_line(message)} (--help lists the options)")

    def _print_message(self, message: str, file: Any = None) -> None:
        if rank_by_launcher() == 0 and message:
            say(message.rstrip("\n"))


def check_texts(p: argparse.ArgumentParser, found: argparse.Namespace) -> None:
    """An error of the parser if an option or argument is empty or no UTF-8."""
    for action in p._actions:
        value = getattr(found, action.dest, None)
        name = "/".join(action.option_strings) or action.metavar or action.dest
        for text in value if isinstance(value, list) else [value]:
            if text == "":
                p.error(f"{name}: is empty")
            if isinstance(text, str) and not is_utf8(text):
                p.error(f"{name} {text}: the name is not UTF-8")


def is_utf8(text: str) -> bool:
    """Whether a name can be written in UTF-8: Python reads other bytes as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def number(kind: type, lowest: float, what: str, below: float = math.inf) -> Callable[[str], Any]:
    """A function that takes an option's text and returns a number in [lowest, below)."""

    def convert(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not lowest <= value < below:  # NaN fails too
            raise argparse.ArgumentTypeError(f"expected {what}, not {text!r}")
        return value

    return convert


positive = number(int, 1, "a whole number from 1 up")
natural = number(int, 0, "a whole number from 0 up")
rate = number(float, 0, "a number from 0 up")
above_0 = number(float, 5e-324, "a number above 0")
fraction = number(float, 0, "a number from 0 up to below 1", below=1)


def widths(text: str) -> list[int]:
    """128,64: whole numbers from 1 up."""
    return [positive(part) for part in text.split(",")]
