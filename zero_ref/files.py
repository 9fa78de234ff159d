"""Files that are whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from zero_ref.launch import UsageError


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
