"""What students have handed in: a folder or a zip each, and in it the files of the exercises.

Nothing is unpacked and nothing is run. An archive's own paths are never written to; of its entries only
those are read whose names are known, each up to a limit, so that a zip that would fill the disk does not.
"""

import json
import os
import re
import stat
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

LARGEST = 1 << 20  # bytes of one file; an exercise has a few thousand
OTHER_ARCHIVES = (".rar", ".7z", ".tar", ".gz", ".tgz", ".xz", ".bz2")
MOST_ENTRIES = 50_000  # of one archive or folder
MOST_BYTES = 64 << 20  # that are read of one student in all
NOT_THEIRS = {"lessons", "checks"}  # in a whole tree that is handed in, these have files of the same names
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError, OSError)


class Unreadable(Exception):
    """A file or an archive that cannot be used: why, as a key of the catalogue."""


class Line(NamedTuple):
    """What the teacher should know of something handed in: a key of the catalogue, its parameters."""

    key: str
    params: dict[str, Any]


class Entry(NamedTuple):
    """One file of a folder or an archive."""

    path: PurePosixPath
    read: Callable[[], bytes]


@dataclass
class HandedIn:
    """One student's work.

    student: of student.toml the id or else the name, without one the folder's or the archive's name;
    files: exercise -> its text as bytes; unclear: exercise -> why there is no one text, a key;
    progress: exercise -> what the student's own progress.json says of it, which nobody has checked
    """

    source: str
    student: str = ""
    name: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    unclear: dict[str, str] = field(default_factory=dict)
    progress: dict[str, dict[str, Any]] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)


def read_all(folder: Path, exercises: Sequence[str]) -> tuple[list[HandedIn], list[str]]:
    """All students of `folder`, and the names of what lies there and is no student's."""
    found, others = [], []
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__")):
            continue
        if path.is_symlink() or not (path.is_dir() or path.suffix.lower() == ".zip"):
            others.append(clean(path.name))
        else:
            found.append(read_student(path, exercises))
    return tell_apart(found), others


def tell_apart(found: list[HandedIn]) -> list[HandedIn]:
    """Two that call themselves the same are both graded: the name of the folder is added to theirs."""
    names = [handed.student for handed in found]
    for handed in found:
        if names.count(handed.student) > 1:
            handed.lines.append(Line("grade_same_student", {"name": handed.student}))
            handed.student += f" ({handed.source})"
    return found


def read_student(path: Path, exercises: Sequence[str]) -> HandedIn:
    """What one folder or archive holds."""
    handed = HandedIn(clean(path.name))
    handed.student = clean(path.stem if path.is_file() else path.name)
    entries: list[Entry] = []
    for entry in folder_entries(path, handed) if path.is_dir() else zip_entries(path, handed):
        entries.append(entry)
        if len(entries) > MOST_ENTRIES:
            handed.lines.append(Line("grade_too_many", {"number": MOST_ENTRIES}))
            break
    left = [MOST_BYTES]
    identify(handed, entries, left)
    handed.progress = read_progress(entries, left)
    for exercise in exercises:
        try:
            if (text := find_text(exercise, entries, left)) is not None:
                handed.files[exercise] = text
        except Unreadable as why:
            handed.unclear[exercise] = str(why)
    left_aside(handed, entries, exercises)
    return handed


def left_aside(handed: HandedIn, entries: Sequence[Entry], exercises: Sequence[str]) -> None:
    """Tell of files that were meant, it seems, and not read: nearly the name of an exercise that is missing,
    as a browser or an editor makes it, "06_ring (1).py" or "06_ring.py.txt"; and archives of other kinds."""
    for entry in entries:
        path = entry.path
        if is_hidden(path):
            continue
        meant = next((e for e in exercises if path.name.lower().startswith(e)), None)
        if meant and meant not in handed.files.keys() | handed.unclear.keys():
            params = {"path": clean(str(path)), "name": f"{meant}.py"}
            handed.lines.append(Line("grade_near_name", params))
        if path.name.lower().endswith(OTHER_ARCHIVES):
            handed.lines.append(Line("grade_other_archive", {"path": clean(str(path))}))


def folder_entries(folder: Path, handed: HandedIn) -> Iterator[Entry]:
    """The files of a folder, and of the archives in it. Links are not followed."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            file = Path(place) / name
            inside = PurePosixPath(file.relative_to(folder).as_posix())
            if not stat.S_ISREG(file.lstat().st_mode):
                if name.endswith(".py"):
                    handed.lines.append(Line("grade_link", {"path": clean(str(inside))}))
            elif file.suffix.lower() == ".zip":
                yield from zip_entries(file, handed)
            else:
                yield Entry(inside, lambda file=file: read_file(file))


def zip_entries(file: Path, handed: HandedIn) -> Iterator[Entry]:
    """The files of an archive. Paths that lead out of it and links are left aside, and told."""
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except BROKEN as error:
        handed.lines.append(Line("grade_broken_zip", {"path": clean(file.name), "text": clean(str(error))}))
        return
    for info in infos:
        name = info.filename.replace("\\", "/")
        path = PurePosixPath(name)
        outside = name.startswith("/") or ".." in path.parts or re.match("[A-Za-z]:", name)
        if info.is_dir():
            continue
        if outside or stat.S_ISLNK(info.external_attr >> 16):
            handed.lines.append(Line("grade_unsafe", {"path": clean(name)}))
        else:
            yield Entry(path, lambda info=info: read_zipped(file, info))


def read_file(file: Path) -> bytes:
    """A file's content, if it is not too large."""
    try:
        with file.open("rb") as opened:
            return check_size(opened.read(LARGEST + 1))
    except OSError:
        raise Unreadable("grade_unreadable") from None


def read_zipped(file: Path, info: zipfile.ZipInfo) -> bytes:
    """An entry's content, whatever size the archive claims for it."""
    try:
        with zipfile.ZipFile(file) as archive, archive.open(info) as opened:
            return check_size(opened.read(LARGEST + 1))
    except BROKEN:
        raise Unreadable("grade_unreadable") from None


def check_size(content: bytes) -> bytes:
    if len(content) > LARGEST:
        raise Unreadable("grade_too_large")
    return content


def read_entry(entry: Entry, left: list[int]) -> bytes:
    """An entry's content; `left` is how many bytes may still be read of this student."""
    content = entry.read()
    left[0] -= len(content)
    if left[0] < 0:
        raise Unreadable("grade_too_large")
    return content


def find_text(exercise: str, entries: Sequence[Entry], left: list[int]) -> bytes | None:
    """The one file of an exercise; None where there is none. Raises Unreadable, also where several differ."""
    found = [e for e in entries if e.path.name == f"{exercise}.py" and not is_hidden(e.path)]
    found = [e for e in found if e.path.parent.name == "exercises"] or [
        e for e in found if e.path.parent.name not in NOT_THEIRS
    ]
    texts = {read_entry(entry, left) for entry in found}
    if len(texts) > 1:
        raise Unreadable("grade_duplicate")
    return texts.pop() if texts else None


def is_hidden(path: PurePosixPath) -> bool:
    """Whether a file is a tool's and not the student's: backups, caches, what macOS adds to archives."""
    return any(part.startswith((".", "__")) for part in path.parts)


def identify(handed: HandedIn, entries: Sequence[Entry], left: list[int]) -> None:
    """Take name and id of the student.toml that lies highest, if there is one."""
    for entry in sorted((e for e in entries if e.path.name == "student.toml"), key=depth)[:1]:
        try:
            data = tomllib.loads(read_entry(entry, left).decode("utf-8-sig"))
            handed.name = clean(str(data.get("name", "")))
            handed.student = clean(str(data.get("id", ""))) or handed.name or handed.student
        except (Unreadable, ValueError, RecursionError) as error:
            text = clean(str(error))
            handed.lines.append(Line("grade_broken_toml", {"path": clean(str(entry.path)), "text": text}))


def read_progress(entries: Sequence[Entry], left: list[int]) -> dict[str, dict[str, Any]]:
    """Of the progress.json that lies highest: exercise -> its record. What cannot be read counts as none."""
    for entry in sorted((e for e in entries if e.path.name == "progress.json"), key=depth)[:1]:
        try:
            data = json.loads(read_entry(entry, left).decode("utf-8"))
            return {k: v for k, v in data["exercises"].items() if isinstance(v, dict)}
        except (Unreadable, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}
    return {}


def depth(entry: Entry) -> tuple[int, str]:
    return len(entry.path.parts), str(entry.path)


def clean(text: str) -> str:
    """`text` as one short line of characters that can be written anywhere."""
    text = text.encode("utf-8", "replace").decode()
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:120]
