"""Files that are whole or not there."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from zero_ref.launch import UsageError


def check_writable(written: dict[str, str | None], read: Iterable[str | None] = ()) -> None:
    """UsageError unless every file (option -> path) can be written and is no other file of the run."""
    taken = {Path(path).resolve() for path in read if path}
    for option, path in written.items():
        if not path:
            continue
        folder = Path(path).parent
        if not folder.is_dir() or not os.access(folder, os.W_OK) or Path(path).is_dir():
            raise UsageError(f"{option} {path}: cannot be written there")
        if Path(path).resolve() in taken:
            raise UsageError(f"{option} {path}: is another file of this run")
        taken.add(Path(path).resolve())


@contextmanager
def in_one_piece(path: str, option: str) -> Iterator[str]:
    """Gives the name of a file to write, which takes the place of `path` once it is written.

    If that fails, what was at `path` stays, the half file goes, and UsageError names `option`.
    """
    part = path + ".part"
    try:
        yield part
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        Path(part).unlink(missing_ok=True)
        raise UsageError(f"{option} {path}: {error}") from error
