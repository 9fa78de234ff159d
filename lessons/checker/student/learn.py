"""The screen beside the editor: checks the current exercise whenever its file is saved; keys do the rest.

Every check is a process of its own (attempt.py). Saving again, going on or leaving gives it up, so that an
endless loop in the student's code holds up nobody.
"""

import contextlib
import os
import re
import select
import signal
import sys
import termios
import tty
import unicodedata
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

from lessons.checker import checking, progress, words
from lessons.checker.student import attempt, commands, hints, screen
from lessons.checker.student.background import Work
from lessons.checker.words import say
from zero_ref.launch.terminal import fold

ARROWS = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.)?")  # and all other keys that are no character
POLL = 0.2  # seconds between two looks at the file
KEYS = {"n": "next", "h": "hint", "s": "show", "l": "list", "c": "check", "r": "all", "x": "reset"}
KEYS |= {"t": "switch", "q": "quit"}

Signature = tuple[int, int, int] | None  # of a file; None: it is not there


def main(o: Namespace) -> int:
    """Watch until the student leaves. Without a terminal: check once, and say which commands there are."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return check_once(o)
    with keyboard() as back:
        watching = Watching(o, back)
        try:
            watching.loop()
        finally:
            watching.give_up()
    return 0


def check_once(o: Namespace) -> int:
    """The current exercise once; 0, as nothing failed that was asked for."""
    data = attempt.check(screen.current(), o.use == "reference", o.limit)
    commands.print_lines(
        [*screen.result_lines(data, o.language, o.plain), "", say("help", o.language).strip()]
    )
    return 0


@contextlib.contextmanager
def keyboard() -> Iterator[Event]:
    """Keys come one by one and are not shown; at the end, and while stopped by Ctrl-Z, all is as before.

    Yields what is set when Ctrl-Z is over.
    """
    terminal, back = sys.stdin.fileno(), Event()
    before = termios.tcgetattr(terminal)

    def stop(*_: object) -> None:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, stop)
        tty.setcbreak(terminal)
        back.set()

    old = signal.signal(signal.SIGTSTP, stop)
    try:
        tty.setcbreak(terminal)
        yield back
    finally:
        signal.signal(signal.SIGTSTP, old)
        with contextlib.suppress(termios.error):  # the terminal was closed
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def signature(file: Path) -> Signature:
    """What changes when a file is saved."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Watching:
    """The current exercise, its last run, and what is under way.

    data: the run that is shown; checked: the file's signature when that check began; message: what the last
    key has brought; question: what the next key answers
    """

    def __init__(self, o: Namespace, back: Event) -> None:
        self.o, self.back = o, back
        self.language, self.plain = o.language, o.plain
        self.work: Work | None = None
        self.leaving = False
        self.said_keys = False
        self.go_to(screen.current())

    def go_to(self, exercise: str) -> None:
        """Make an exercise the current one, and have it checked."""
        self.give_up()
        self.exercise, self.file = exercise, checking.file_of(exercise)
        self.data: attempt.Data | None = None
        self.message: list[str] = []
        self.question: Callable[[], Any] | None = None
        self.checked: Signature | str = "never"
        self.seen: Signature = signature(self.file)

    def loop(self) -> None:
        """Look at the file, at the check and at the keyboard, in turn."""
        while not self.leaving:
            self.look_at_file()
            self.look_at_work()
            if self.back.is_set():
                self.back.clear()
                self.draw()
            ready = select.select([sys.stdin], [], [], POLL)[0]
            if ready:
                self.keys(os.read(sys.stdin.fileno(), 1024))

    def look_at_file(self) -> None:
        """Check what was saved, once it has stayed the same from one look to the next."""
        now = signature(self.file)
        still, self.seen = now == self.seen, now
        if still and now != self.checked:
            self.key_check()

    def look_at_work(self) -> None:
        """Show what the process at work has brought."""
        if self.work is None:
            return
        if self.work.prints and (lines := self.work.lines()):
            self.message += lines
            self.draw(lines)
        if not self.work.done():
            return
        if self.work.prints:
            self.message += self.work.lines()
        elif self.work.process.returncode in checking.EXIT.values():
            self.data = progress.last_run(self.exercise)
        else:
            self.message = words.wrap(say("cannot", self.language, error=self.work.error()), words.COLUMNS)
        prints = self.work.prints
        self.give_up()
        if not (prints and self.plain):
            self.draw()

    # What keys do.

    def keys(self, read: bytes) -> None:
        """What was typed; arrows and the like are left aside, full-width letters count as letters."""
        if not read:
            self.leaving = True  # the terminal is gone
        typed = ARROWS.sub(b"", read).decode("utf-8", "ignore")
        for key in unicodedata.normalize("NFKC", typed):
            if self.leaving:
                return
            if self.question:
                self.answer(key)
            elif key.lower() in KEYS:
                getattr(self, "key_" + KEYS[key.lower()])()
            elif key.isprintable() and not key.isspace():
                self.say([say("no_key", self.language, key=key)])

    def answer(self, key: str) -> None:
        """A key after a question."""
        question, self.question = self.question, None
        if question and commands.is_yes(key):
            question()
        else:
            self.say([say("reset_not", self.language)])

    def key_check(self) -> None:
        """Check the file as it is now, instead of what is under way."""
        self.give_up()
        self.checked = signature(self.file)
        self.message = []
        use = ["--use", self.o.use, "--limit", str(self.o.limit)]
        self.work = Work(["-m", "lessons.checker.student.attempt", self.exercise, *use])
        self.draw()

    def key_next(self) -> None:
        following = screen.next_of(self.exercise)
        if following is None or following == self.exercise:
            self.say([say("all_passed" if following is None else "only_this", self.language)])
            return
        progress.set_current(following)
        self.go_to(following)

    def key_hint(self) -> None:
        self.say(hints.next_hint(self.exercise, self.language))

    def key_show(self) -> None:
        file = commands.draw(self.exercise, self.language)
        if file is None:
            self.say([say("show_nothing", self.language, number=self.exercise[:2])])
        else:
            self.say([say("show_written", self.language, file=file.absolute())])

    def key_list(self) -> None:
        self.say(screen.list_exercises(self.language, self.plain, self.exercise))

    def key_all(self) -> None:
        """Check all exercises; the current one is checked again when it is saved."""
        self.give_up()
        options = ["--language", self.language, "--use", self.o.use, "--limit", str(self.o.limit)]
        self.work = Work(
            ["-m", "lessons", "all", *options, *(["--plain"] if self.plain else [])], prints=True
        )
        self.say([say("checking_all", self.language)])

    def key_reset(self) -> None:
        self.question = lambda: self.say(commands.start_anew(self.exercise, self.language))
        sure = say("reset_sure", self.language, file=screen.short_path(self.file))
        self.say(words.wrap(sure, words.COLUMNS))

    def key_quit(self) -> None:
        self.leaving = True

    def give_up(self) -> None:
        """End what is under way."""
        if self.work:
            self.work.give_up()
            self.work = None

    # What is seen.

    def say(self, lines: list[str]) -> None:
        """Show lines below the result, in the place of those before."""
        self.message = lines
        self.draw(lines)

    def draw(self, news: list[str] | None = None) -> None:
        """The whole screen anew; with `plain` only what is new: `news`, else the result."""
        if self.plain:
            self.draw_plain(news)
            return
        lines = self.result()
        if self.message:
            lines += ["", *self.message]
        lines += ["", *self.status()]
        sys.stdout.write("\033[H\033[2J" + fold("\n".join(lines)) + "\n")
        sys.stdout.flush()

    def result(self) -> list[str]:
        """The last run of this exercise; title and goal until it is begun; the title while it is checked."""
        if self.data is None:
            return commands.introduce(self.exercise, self.language)
        if self.work and not self.work.prints:  # the old result would be taken for the new one
            return [words.bold(words.heading(self.exercise, self.language), 36)]
        room = os.get_terminal_size().lines - 14 - len(self.message)
        lines = screen.result_lines(self.data, self.language, self.plain, room)
        if self.data["state"] == "not_started" and not self.plain:
            lines = [*commands.introduce(self.exercise, self.language), "", *lines[1:]]
        return lines

    def status(self) -> list[str]:
        """What is under way, and the keys."""
        file = screen.short_path(self.file)
        if self.work and not self.work.prints:
            now = say("checking", self.language)
        elif self.work:
            now = say("checking_all", self.language)
        else:
            now = say("watching", self.language, file=file)
        keys = "  ".join(
            f"{words.bold(key, 36)} {say('key_' + name, self.language)}" for key, name in KEYS.items()
        )
        lines = words.wrap(f"{now} · {screen.count_passed(self.language)}", words.COLUMNS)
        return [*lines, keys]

    def draw_plain(self, news: list[str] | None) -> None:
        """Lines that stay, one after another."""
        if news is not None:
            lines = news
        elif self.work:
            lines = [say("checking", self.language)]
        elif self.message:
            lines = self.message
        else:
            lines = [*self.result(), screen.count_passed(self.language)]
        if not self.said_keys:
            self.said_keys = True
            keys = say("comma", self.language).join(
                f"{k} {say('key_' + n, self.language)}" for k, n in KEYS.items()
            )
            lines = [f"{say('keys', self.language)}{say('colon', self.language)}{keys}", *lines]
        commands.print_lines(lines, whole=True)

    def key_switch(self) -> None:
        """The other language, from now on."""
        self.language = self.o.language = "en" if self.language == "zh" else "zh"
        progress.set_language(self.language)
        self.message = []
        self.draw()
