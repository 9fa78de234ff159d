"""A check in a process of its own, which may be given up at any time."""

import os
import select
import subprocess
import sys
import tempfile

from lessons import HOME
from lessons.checker.ranks.processes import end_with_parent


class Work:
    """A process that checks, and may be given up: one exercise, or all (then `lines` is what it prints)."""

    def __init__(self, arguments: list[str], prints: bool = False) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in give_up()
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if prints else subprocess.DEVNULL,
            stderr=self.errors,
            bufsize=0,  # so that what select() sees is all there is
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HOME), os.environ.get("PYTHONPATH", "")])},
            start_new_session=True,  # Ctrl-C comes to us alone; we end it
            preexec_fn=end_with_parent,
        )
        self.prints = prints

    def done(self) -> bool:
        return self.process.poll() is not None

    def lines(self) -> list[str]:
        """What it has printed since the last call; whole lines, as it prints them."""
        found = []
        while self.process.stdout and select.select([self.process.stdout], [], [], 0)[0]:
            line = self.process.stdout.readline()
            if not line:
                break
            found.append(line.decode("utf-8", "replace").rstrip("\n"))
        return found

    def error(self) -> str:
        """The last line of its errors."""
        self.errors.seek(0)
        found = self.errors.read()[-4000:].decode("utf-8", "replace").strip().splitlines()
        return found[-1] if found else f"exit {self.process.returncode}"

    def give_up(self) -> None:
        """End it; it ends its ranks."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.errors.close()
