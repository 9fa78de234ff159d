"""FILE.csv: rows of numbers with commas between them, after a line of names if there is one.

A first line is one of names if no cell of it is a number, or if --header says so. Whatever else is not a
number is an error that names line and cell: no row is left out, and no dialect is guessed.
"""

import csv
import itertools
import math
import re
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zero_ref.datasets.reading import Reading, Samples, check_bytes
from zero_ref.launch.singular import number_of

MISSING = {"", "?", "-", ".", "*", "na", "n/a", "#n/a", "null", "none", "missing"}  # stand for no number
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
SEP_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # Excel's first line, which names the separator
INDEX = re.compile(r"Unnamed: 0(\.\d+)?")  # what pandas calls an index that it has read; twice read: 0.1
SHOWN = 40  # characters of a cell in a message


class Row(NamedTuple):
    """A line of the file, from 1, and its cells."""

    line: int
    cells: list[str]


def read(path: Path, how: Reading) -> Samples:
    """x, y and the names of their columns, if the file has names.

    A target that is written in whole numbers, from 0 up with none left out, is one of classes.
    """
    with open(path, "rb") as file:
        start = file.read(2)
    utf16 = start in (b"\xff\xfe", b"\xfe\xff")  # its own mark says so
    try:
        with open(path, newline="", encoding="utf-16" if utf16 else "utf-8-sig") as file:
            return samples(rows_of(file), how)
    except UnicodeDecodeError as error:
        encoding, byte, place = error.encoding, error.object[error.start], error.start
        raise ValueError(f"is not {encoding}: byte {byte:#x} at {place}; save it as UTF-8") from None


def rows_of(lines: Iterable[str]) -> Iterator[Row]:
    """The rows that are not blank. ValueError where one stands between others with all its cells empty."""
    lines = iter(lines)
    first = next(lines, "")
    said = SEP_LINE.fullmatch(first)
    skipped = 1 if said else 0
    reader = csv.reader(
        lines if said else itertools.chain([first], lines), delimiter=said[1] if said else ","
    )
    start, empty = 1 + skipped, 0
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if empty:
                    raise ValueError(f"line {empty} has no values")
                yield Row(start, cells)
            elif len(cells) > 1:
                empty = empty or start
            start = reader.line_num + 1 + skipped
    except csv.Error as error:
        raise ValueError(f"line {start}: {error}; is a quote not closed?") from None


def samples(rows: Iterator[Row], how: Reading) -> Samples:
    """The table, cut into x and y."""
    first = next(rows, None)
    if first is None:
        raise ValueError("holds no rows of numbers")
    counts = counted(first) if how.header is None else None
    has_names = counts is None and is_header(first, how.header)
    second = next(rows, None) if counts or has_names else first
    if second is None:
        hint = "; is a quote not closed?" if any("\n" in cell for cell in first.cells) else ""
        raise ValueError(f"holds no rows of numbers{hint}")
    names = names_of(first, len(second.cells), how.header) if has_names else None
    places = places_of_target(names, how)
    table, whole = numbers(itertools.chain([second], rows), places, how)
    if counts and counts != (len(table), table.shape[1] - 1):
        raise ValueError(wrong(first, header=True))
    return inputs(table, names, places, how) if how.features else cut(table, names, places, whole, how)


def is_header(row: Row, said: str | None) -> bool:
    """Whether the first row holds names. ValueError where that cannot be told."""
    if said is not None:
        return said == "yes"
    cells = [cell.strip() for cell in row.cells]
    if any(map(is_number, cells)):
        if len(cells) > 2 and cells == [str(i) for i in range(len(cells))]:
            raise ValueError(
                f"line {row.line} counts from 0 to {len(cells) - 1}: numbers of columns, or a sample? "
                "--header yes or --header no says it"
            )
        if not all(map(is_number, cells)):
            raise ValueError(wrong(row, header=True))
        return False
    if len(cells) == 1 and (mark := separator(cells[0])):
        raise ValueError(f"line {row.line} has {mark}")
    if all(cell.lower() in MISSING for cell in cells):
        raise ValueError(wrong(row, header=True))
    return True


def counted(row: Row) -> tuple[int, int] | None:
    """(samples, features) of a first line as scikit-learn writes it: 150,4,setosa,versicolor,virginica."""
    counts, words = row.cells[:2], row.cells[2:]
    if not words or any(is_number(word) or word.strip().lower() in MISSING for word in words):
        return None
    return (int(counts[0]), int(counts[1])) if all(cell.isdecimal() for cell in counts) else None


def names_of(row: Row, columns: int, said: str | None) -> list[str] | None:
    """The names, if there is one for each column; None for a title. ValueError for an index column."""
    names = [cell.strip() for cell in row.cells]
    if said is None and len(names) != columns and not len(names) == 1 < columns - 1:
        raise ValueError(
            f"line {row.line} has {number_of(len(names), 'names')} for {number_of(columns, 'columns')}: is "
            "the first column an index? --header yes leaves the line out"
        )
    if len(names) != columns:
        return None
    if columns > 1 and (which := index_among(names)):
        raise ValueError(
            f"{which}: an index is no feature; write the file without it "
            "(in pandas: to_csv(FILE, index=False)), or name the column"
        )
    return names


def index_among(names: list[str]) -> str:
    """What to say of the first column that has no name of its own, where pandas writes an index; or ""."""
    if not names[0]:
        return "the first column has no name"
    read = next((name for name in names if INDEX.fullmatch(name)), "")
    return f"column {names.index(read) + 1}, {read!r}, has no name of its own" if read else ""


def places_of_target(names: list[str] | None, how: Reading) -> list[int]:
    """The columns of the target, by --target: -1 for the last. Of a model's inputs it may be others."""
    if how.target is None or how.target in ("last", "first"):
        return [0 if how.target == "first" else -1]
    asked = [how.target] if names and how.target in names else how.target.split(",")
    if names and set(asked) <= set(names):
        for name in asked:
            if names.count(name) > 1:
                raise ValueError(f"has {names.count(name)} columns named {name!r} (--target)")
        if len(set(asked)) < len(asked) or len(asked) == len(names):
            raise ValueError(f"--target {how.target}: a column is named twice, or no feature is left")
        return [names.index(name) for name in asked]
    if how.features:
        return [-1]
    there = f"its names are {shown(names)}" if names else "it has no names"
    missing = [name for name in asked if name not in (names or [])]
    raise ValueError(f"has no column {missing[0]!r} (--target): {there}")


def numbers(rows: Iterable[Row], places: list[int], how: Reading) -> tuple[np.ndarray, bool]:
    """The table of numbers, and whether the target is written in whole numbers."""
    values, columns, whole = array("d"), 0, True
    for row in rows:
        try:
            found = [float(cell) for cell in row.cells]
        except ValueError:
            raise ValueError(wrong(row, header=columns == 0 and how.header == "no")) from None
        columns = columns or max(len(found), 1 if how.features else 2)
        if len(found) != columns:
            raise ValueError(f"line {row.line} has {number_of(len(found), 'columns')}, not {columns}")
        if not all(map(math.isfinite, found)):
            raise ValueError(f"line {row.line} holds NaN or infinity")
        if any("_" in cell for cell in row.cells):
            raise ValueError(wrong(row))
        check_bytes(f"the table up to line {row.line}", 8 * (len(values) + columns), how.limit)
        values.extend(found)
        whole = whole and all(row.cells[place].strip().isdecimal() for place in places)
    return np.array(values).reshape(-1, columns), whole


def cut(table: np.ndarray, names: list[str] | None, places: list[int], whole: bool, how: Reading) -> Samples:
    """x and y to train on. Names that stand twice tell nothing, and are not kept."""
    y = target(table, places)
    if y.ndim > 1 and how.task is None and is_one_hot(y):
        raise ValueError(
            f"--target {how.target}: every row has a single 1: "
            "--task classes or --task numbers says what they are"
        )
    if y.ndim == 1 and whole and y.min() == 0 and len(set(y)) == y.max() + 1:
        y = y.astype(np.int64)
    x = without(table, places)
    if not names or len(set(names)) < len(names):
        return Samples(x, y)
    targets = [names[place] for place in places]
    return Samples(x, y, [*(name for name in names if name not in targets), *targets])


def is_one_hot(y: np.ndarray) -> bool:
    """Whether each row of (samples, classes) is a single 1 among zeros."""
    return bool(((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all())


def inputs(table: np.ndarray, names: list[str] | None, places: list[int], how: Reading) -> Samples:
    """x and y for a model, by names where the model and the file have them, else by their places."""
    if names and how.columns:
        features, targets = how.columns[: how.features], how.columns[how.features :]
        strange = [name for name in names if name not in how.columns or names.count(name) > 1]
        missing = [name for name in features if name not in names]
        if strange or missing:
            raise ValueError(
                f"its columns are not the model's: {shown(missing) or 'none'} missing, "
                f"{shown(strange) or 'none'} too many; the model was trained on {shown(features)}"
            )
        there = set(targets) <= set(names)
        y = target(table, [names.index(name) for name in targets]) if there else None
        return Samples(table[:, [names.index(name) for name in features]], y)
    if table.shape[1] == how.features:
        return Samples(table, None)
    if names is None and how.target not in (None, "first", "last"):
        raise ValueError(f"has no names, and the model's target is the column {how.target!r}")
    return Samples(without(table, places), target(table, places))


def target(table: np.ndarray, places: list[int]) -> np.ndarray:
    """The column at a single place (rows,), or those at several (rows, places)."""
    return table[:, places[0]] if len(places) == 1 else table[:, places]


def without(table: np.ndarray, places: list[int]) -> np.ndarray:
    """All columns but these; no copy where it is the last."""
    return table[:, :-1] if places in ([-1], [table.shape[1] - 1]) else np.delete(table, places, axis=1)


def wrong(row: Row, header: bool = False) -> str:
    """What to say of the first cell of a row that is not a number, and what may help."""
    place, cell = next((i, cell) for i, cell in enumerate(row.cells, 1) if not is_number(cell))
    text = repr(cell if len(cell) <= SHOWN else f"{cell[:SHOWN]}...")
    hint = ""
    if "\n" in cell:
        hint = "; is a quote not closed?"
    elif "\0" in cell:
        hint = "; is it UTF-16 without its mark? save it as UTF-8"
    elif (mark := separator(cell)) and (len(row.cells) == 1 or " " not in cell):
        hint = f"; the row has {mark}"
    elif is_number(cell.replace(",", "")) or is_number(cell.replace(" ", "")):
        hint = "; write it as 1000 or 1.5"
    elif place == len(row.cells) and not cell.strip():
        hint = "; a row does not end with a comma"
    elif header:
        hint = "; if the line holds names, --header yes says it"
    return f"line {row.line}: {text} is not a number (column {place}){hint}"


def separator(cell: str) -> str:
    """What to say of a cell that holds more than one, with something else than commas between them."""
    for mark, name in SEPARATORS.items():
        if len(cell.strip().split(mark)) > 1 and (mark != " " or all(map(is_number, cell.split()))):
            return (
                f"{name} between its cells; write commas, and decimal points "
                "(in pandas: read_csv(..., sep=..., decimal=...), then to_csv(FILE, index=False))"
            )
    return ""


def is_number(text: str) -> bool:
    """Whether it is one in a CSV; 1_000 is one in Python alone."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def shown(names: list[str]) -> str:
    """Some names, for a message."""
    more = ["..."] if len(names) > 8 else []
    return ", ".join([*map(repr, names[:8]), *more])
