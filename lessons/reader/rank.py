"""One rank of a notebook: python rank.py SOCKET LANGUAGE ROOT HOME, under mpirun (see ranks.py).

Its main thread runs the cells, and may hang in MPI. Another one listens to the kernel: it says where the
main thread stands, and ends the process when the kernel is gone.
"""

import ast
import io
import linecache
import os
import queue
import socket
import sys
import threading
import time
import traceback
import types
from typing import Any


class Kernel:
    """The other end of the line."""

    def __init__(self, path: str) -> None:
        from lessons.reader.link import Link

        end = socket.socket(socket.AF_UNIX)
        end.connect(path)
        self.link = Link(end)
        self.cells: queue.Queue[tuple[str, int] | None] = queue.Queue()
        self.main = threading.get_ident()

    def listen(self) -> None:
        """Until the kernel is gone. Then a cell that still runs has 2 seconds."""
        try:
            while True:
                for message in self.link.receive():
                    if "run" in message:
                        self.cells.put((message["run"], message["cell"]))
                    else:
                        self.link.send(where=self.where())
        except (EOFError, OSError):
            self.cells.put(None)
        time.sleep(2)
        os._exit(1)

    def where(self) -> int:
        """The line of the cell at which the main thread stands; 0 if it is in none."""
        frame = sys._current_frames().get(self.main)
        line = 0
        while frame:
            if frame.f_code.co_filename.startswith("<cell "):
                line = frame.f_lineno  # the outermost one is the cell's own
            frame = frame.f_back
        return line


class Printed(io.TextIOBase):
    """stdout and stderr of a rank: whole lines go to the kernel."""

    encoding = "utf-8"  # type: ignore[assignment]

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.kept = kernel, ""

    def write(self, text: str) -> int:
        self.kept += text
        whole, mark, self.kept = self.kept.rpartition("\n")
        if mark:
            self.kernel.link.send(printed=whole + mark)
        return len(text)

    def end(self) -> None:
        """The cell is over: its last line may lack an end."""
        if self.kept:
            self.write("\n")


def run(source: str, name: str, names: dict[str, Any]) -> dict[str, Any] | None:
    """A cell; the value of a last line that is an expression is shown. What went wrong, None if nothing."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    try:
        body = ast.parse(source, name).body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), name, "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), name, "eval"), names)
            if value is not None:
                print(repr(value))
    except BaseException as error:
        return told(error, name)
    return None


def told(error: BaseException, name: str) -> dict[str, Any]:
    """The line of the cell, and the error in one line; below it, where the error is deeper than the cell."""
    line = error.lineno if isinstance(error, SyntaxError) else 0
    frames = traceback.extract_tb(error.__traceback__)
    line = next((frame.lineno for frame in frames if frame.filename == name), line)
    text = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    deep = frames[-1]
    if deep.filename != name and not isinstance(error, SyntaxError):
        text += f"  ({os.path.basename(deep.filename)}:{deep.lineno})"
    return {"line": line, "error": text}


def main(path: str, language: str, root: str, home: str) -> None:
    """Cells from the kernel, until it is gone."""
    sys.path[:1] = [os.path.join(home, "lessons"), home, root]
    sys.argv = ["notebook", "--language", language]
    kernel = Kernel(path)

    import _lesson

    from zero_ref import launch
    from zero_ref.comm import Comm

    comm = Comm()
    comm.mpi.Barrier()
    launch.shared.drop_names()
    _lesson.held.append(comm)
    _lesson.speak = lambda text: kernel.link.send(all=text)
    kernel.link.send(hello=comm.rank)
    threading.Thread(target=kernel.listen, daemon=True).start()
    sys.stdout = sys.stderr = printed = Printed(kernel)  # type: ignore[assignment]
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    while cell := kernel.cells.get():
        source, number = cell
        failed = run(source, f"<cell {number}>", module.__dict__)
        printed.end()
        kernel.link.send(done=failed)


if __name__ == "__main__":
    main(*sys.argv[1:])
