"""Data sets by name or file: a user's FILE.npz or FILE.csv, the built-in ones, made-up ones of any size."""

import argparse
import csv
import math
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zero_ref.data import DataSet, Task
from zero_ref.launch import UsageError

MOST_CLASSES = 1_000_000  # a greater label is more likely a number that was stored as whole
TELLING, NOISE = 32, 0.1  # of synthetic data: features that tell of y; noise beside targets of size 1
BUILT_IN = {"digits": "digits.npz", "diabetes": "diabetes.csv"}


def load(name: str, dtype: str) -> DataSet:
    """The built-in set `name`, or the user's file FILE.npz or FILE.csv.

    x comes in `dtype`; numbers in y, too, or in float32 if `dtype` has 16 bits. Values are used as
    they are. Raises UsageError, in one sentence, for a file that is missing, of another form, not
    numeric, or that holds NaN or infinity (also after rounding to `dtype`).
    """
    x, y = _read(name)
    for array, what in ((x, "x"), (y, "y")):
        if array.dtype.kind not in "iufb":
            raise UsageError(f"--data {name}: {what} holds {array.dtype}, not real numbers")
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise UsageError(f"--data {name}: x has shape {x.shape} and y {y.shape}: lengths differ")
    if x.size == 0 or y.size == 0:
        raise UsageError(f"--data {name}: x has shape {x.shape} and y {y.shape}: nothing to learn from")
    if y.dtype.kind in "iub":
        if y.ndim != 1:
            raise UsageError(f"--data {name}: class labels must have one dimension, y has {y.ndim}")
        for label in (y.min(), y.max()):
            if not 0 <= label < MOST_CLASSES:
                raise UsageError(f"--data {name}: class labels go from 0 to {MOST_CLASSES - 1}, not {label}")
        y, classes = y.astype(np.int64), max(2, int(y.max()) + 1)
    else:
        wide = "float32" if np.dtype(dtype).itemsize == 2 else dtype
        y, classes = _rounded(y.reshape(len(y), -1), wide, name, "y"), 0
    return DataSet(_rounded(x.reshape(len(x), -1), dtype, name, "x"), y, classes)


def data_set_of(o: argparse.Namespace) -> DataSet:
    """The data set that the options of zero_ref.train name; UsageError as `load` raises it."""
    if o.data == "synthetic":
        return synthetic(o.samples, o.features, o.classes, o.seed, o.dtype)
    return load(o.data, o.dtype)


def synthetic(samples: int, features: int, classes: int, seed: int, dtype: str) -> DataSet:
    """Made-up data of any size: normal x, and what a hidden linear model says of the first of its features.

    y: the largest of `classes` outputs, or one number where `classes` is 0.
    """
    random = np.random.default_rng([seed, 3])
    x = random.standard_normal((samples, features), np.float32)
    seen = x[:, :TELLING]
    weight = random.standard_normal((seen.shape[1], classes or 1), np.float32) / math.sqrt(seen.shape[1])
    y = seen @ weight + NOISE * random.standard_normal((samples, classes or 1), np.float32)
    wide = "float32" if np.dtype(dtype).itemsize == 2 else dtype
    y = y.argmax(axis=1) if classes else y.astype(wide, copy=False)
    return DataSet(x.astype(dtype, copy=False), y, classes)


def load_inputs(name: str, task: Task, dtype: str) -> tuple[np.ndarray, np.ndarray | None]:
    """x (samples, features) in `dtype` for a model of `task`, and y as in a DataSet; None without one.

    An .npz without the array 'y' and a .csv with as many columns as the model has features have no y.
    Raises UsageError for what `load` refuses, and for x or y that do not fit the task.
    """
    x, y = _read(name, task.features)
    if x.dtype.kind not in "iufb" or x.ndim == 0 or x.size == 0:
        raise UsageError(f"--data {name}: x holds {x.dtype} in shape {x.shape}, not numbers")
    x = _rounded(x.reshape(len(x), -1), dtype, name, "x")
    if x.shape[1] != task.features:
        raise UsageError(f"--data {name}: x has {x.shape[1]} features, the model needs {task.features}")
    if y is None:
        return x, None
    if y.dtype.kind not in "iufb" or len(y.reshape(-1)) != len(x) * (1 if task.classes else task.outputs):
        raise UsageError(f"--data {name}: y holds {y.dtype} in shape {y.shape}: does not fit x or the model")
    if not task.classes:
        return x, y.reshape(len(x), -1).astype(np.float64)
    if not ((y == np.floor(y)) & (y >= 0) & (y < task.classes)).all():
        raise UsageError(
            f"--data {name}: the model's classes go from 0 to {task.classes - 1}, those in y do not"
        )
    return x, y.reshape(-1).astype(np.int64)


def _read(name: str, features: int | None = None) -> tuple[np.ndarray, Any]:
    """x and y as they stand in the file; where `features` are told, y may be missing and is None."""
    path = Path(__file__).parent / BUILT_IN[name] if name in BUILT_IN else Path(name)
    if path.suffix not in READERS:
        files = " or ".join(f"FILE{suffix}" for suffix in READERS)
        raise UsageError(f"--data {name}: expected {', '.join(BUILT_IN)}, {files}")
    try:
        return READERS[path.suffix](path, features)
    except OSError as error:
        raise UsageError(f"--data {name}: {error.strerror or error}") from error
    except (ValueError, csv.Error) as error:
        raise UsageError(f"--data {name}: {error}") from error


def _rounded(values: np.ndarray, dtype: str, name: str, what: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(values, dtype)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise UsageError(f"--data {name}: {what}[{row}, {column}] is {values[row, column]} in {dtype}")
    return values


def _read_npz(path: Path, features: int | None) -> tuple[np.ndarray, Any]:
    with open(path, "rb") as file:  # OSError here, if the file cannot be read
        if not zipfile.is_zipfile(file):
            raise ValueError("is not an .npz file")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["x"], None if features and "y" not in arrays else arrays["y"]
    except KeyError:
        raise ValueError("must hold the arrays 'x' and 'y'") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"is damaged ({error})") from None


def _read_csv(path: Path, features: int | None) -> tuple[np.ndarray, Any]:
    """Rows of numbers, the target last, if there is one; a first line of names is skipped.

    Targets that are whole numbers written without a point, from 0 up with none left out, are classes.
    """
    rows: list[list[float]] = []
    labels, header = True, False
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        for cells in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            try:
                row = [float(cell) for cell in cells]
            except ValueError:
                if not rows and not header:
                    header = True
                    continue
                wrong = next(cell for cell in cells if not _is_number(cell))
                raise ValueError(f"line {line}: {wrong!r} is not a number") from None
            columns = len(rows[0]) if rows else max(len(row), 1 if features else 2)
            if len(row) != columns:
                raise ValueError(f"line {line} has {len(row)} columns, not {columns}")
            if not all(map(math.isfinite, row)):
                raise ValueError(f"line {line} holds NaN or infinity")
            rows.append(row)
            labels = labels and cells[-1].strip().isdecimal()
    if not rows:
        raise ValueError("holds no rows of numbers")
    table = np.array(rows)
    if table.shape[1] == features:
        return table, None
    x, y = table[:, :-1], table[:, -1]
    if labels and y.min() == 0 and len(set(y)) == y.max() + 1:
        y = y.astype(np.int64)
    return x, y


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# A file's reader by its ending: (path, features) -> x and y. Where features are told, y may be None.
Reader = Callable[[Path, int | None], tuple[np.ndarray, Any]]
READERS: dict[str, Reader] = {".npz": _read_npz, ".csv": _read_csv}
