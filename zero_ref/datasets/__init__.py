"""Data sets: a user's FILE.npz, FILE.csv or FILE.txt, built-in ones by name, made-up ones of any size."""

import argparse
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zero_ref.data import DataSet, Task
from zero_ref.datasets import csv_files, npz_files, texts
from zero_ref.datasets.reading import AS_WRITTEN, LIMIT, Reading, Samples, ending
from zero_ref.launch import UsageError
from zero_ref.launch.singular import number_of

MOST_CLASSES = 1_000_000  # a greater label is more likely a number that was stored as whole
TELLING, NOISE = 32, 0.1  # of synthetic data: features that tell of y; noise beside targets of size 1
BUILT_IN = {"digits": "digits.npz", "spoken": "spoken.npz", "diabetes": "diabetes.csv"}
TEXTS = {"persuasion": "persuasion.txt", "tang": "tang.txt"}


def load(name: str, dtype: str, how: Reading = AS_WRITTEN) -> DataSet:
    """The built-in set `name`, or the user's file FILE.npz or FILE.csv.

    x comes in `dtype`; numbers in y, too, or in float32 if `dtype` has 16 bits. Values are used as
    they are. Raises UsageError, in one sentence, for a file that is missing, of another form, not
    numeric, or that holds NaN or infinity (also after rounding to `dtype`).
    """
    x, y, columns = _read(name, how)
    for array, what in ((x, "x"), (y, "y")):
        if array.dtype.kind not in "iufb":
            raise UsageError(f"--data {name}: {what} holds {array.dtype}, not real numbers")
    if x.ndim == 0 or y.ndim == 0:
        raise UsageError(f"--data {name}: x has shape {x.shape} and y {y.shape}: a sample is a row of each")
    if len(x) != len(y):
        raise UsageError(f"--data {name}: x has shape {x.shape} and y {y.shape}: lengths differ")
    if x.size == 0 or y.size == 0:
        raise UsageError(f"--data {name}: x has shape {x.shape} and y {y.shape}: nothing to learn from")
    if how.task == "classes" or (how.task is None and y.dtype.kind in "iub"):
        y = _labels(y, name, how.task is not None)
        classes = int(y.max()) + 1
    else:
        wide = "float32" if np.dtype(dtype).itemsize == 2 else dtype
        y, classes = _rounded(y.reshape(len(y), -1), wide, name, "y"), 0
    return DataSet(_rounded(x.reshape(len(x), -1), dtype, name, "x"), y, classes, columns)


def _labels(y: np.ndarray, name: str, asked: bool) -> np.ndarray:
    """y as class labels. asked: by --task; otherwise they have to go from 0 up with none left out."""
    y = _one_column(y) if asked else y
    if y.ndim != 1:
        raise UsageError(
            f"--data {name}: class labels must have one dimension, y has {y.ndim}; "
            "--task classes reads a single column, and rows with a single 1"
        )
    for label in (y.min(), y.max(), *y[y != np.floor(y)][:1]):
        if not 0 <= label < MOST_CLASSES or label != np.floor(label):
            raise UsageError(
                f"--data {name}: class labels go from 0 to {MOST_CLASSES - 1}, not {label} "
                "(--task numbers takes y as numbers)"
            )
    if y.min() == y.max():
        raise UsageError(
            f"--data {name}: all targets are {y[0]}, one class: there is nothing to tell apart "
            "(--target names another column, --task numbers takes them as numbers)"
        )
    if not asked and len(np.unique(y)) != int(y.max()) + 1:
        raise UsageError(
            f"--data {name}: y holds whole numbers from {y.min()} to {y.max()}, not each from 0 up: "
            "--task classes or --task numbers says what they are"
        )
    return y.astype(np.int64)


def _one_column(y: np.ndarray) -> np.ndarray:
    """Labels (samples,) of (samples, 1), or of one-hot rows, each with a single 1 among zeros; else y."""
    if y.ndim != 2 or y.shape[1] == 1:
        return y.reshape(-1) if y.ndim == 2 else y
    return y.argmax(axis=1) if csv_files.is_one_hot(y) else y


def data_set_of(o: argparse.Namespace) -> DataSet:
    """The data set that the options of zero_ref.train name; UsageError as `load` raises it."""
    if o.data == "synthetic":
        return synthetic(o.samples, o.features, o.classes, o.seed, o.dtype)
    if is_text(o.data):
        return text(o.data, o.context, o.test_fraction, reading_of(o).limit)
    return load(o.data, o.dtype, reading_of(o))


def is_text(name: str) -> bool:
    """Whether --data names a text, for a language model."""
    return name in TEXTS or ending(Path(name)) == ".txt"


def text(name: str, context: int, test_fraction: float, limit: float = LIMIT) -> DataSet:
    """The text `name`, or the user's FILE.txt, as windows of tokens; UsageError if there are none."""
    whole = read_text(name, limit)
    try:
        found = texts.windows(whole, context, test_fraction)
    except ValueError as error:
        raise UsageError(f"--data {name}: {error}") from error
    symbols = len(found.alphabet) + 1
    return DataSet(found.x, found.y, symbols, None, found.alphabet, found.held_out, found.unigram)


def read_text(name: str, limit: float = LIMIT) -> str:
    """The characters of the text `name`, or of the user's FILE.txt; UsageError if there are none."""
    path = Path(__file__).parent / TEXTS[name] if name in TEXTS else Path(name)
    try:
        return texts.read(path, limit)
    except OSError as error:
        raise UsageError(f"--data {name}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"--data {name}: {error}") from error


def reading_of(o: argparse.Namespace) -> Reading:
    """How the options have a file read. Those that a command, or an older record, lacks say nothing."""
    said = {name: getattr(o, name, None) for name in ("header", "target", "task")}
    limit = getattr(o, "data_limit", None)
    return Reading(**said, limit=LIMIT if limit is None else limit * 1e9)


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


def load_inputs(
    name: str, task: Task, dtype: str, how: Reading = AS_WRITTEN
) -> tuple[np.ndarray, np.ndarray | None]:
    """x (samples, features) in `dtype` for a model of `task`, and y as in a DataSet; None without one.

    An .npz without the array 'y' and a .csv with as many columns as the model has features have no y;
    where model and file have names, columns are found by them. Raises UsageError for what `load`
    refuses, and for x or y that do not fit the task.
    """
    x, y, _ = _read(name, replace(how, features=task.features, columns=task.columns))
    if x.dtype.kind not in "iufb" or x.ndim == 0 or x.size == 0:
        raise UsageError(f"--data {name}: x holds {x.dtype} in shape {x.shape}, not numbers")
    x = _rounded(x.reshape(len(x), -1), dtype, name, "x")
    if x.shape[1] != task.features:
        raise UsageError(
            f"--data {name}: x has {number_of(x.shape[1], 'features')}, the model needs {task.features}"
        )
    if y is None:
        return x, None
    y = _one_column(y) if task.classes and y.dtype.kind in "iufb" else y
    if y.dtype.kind not in "iufb" or len(y.reshape(-1)) != len(x) * (1 if task.classes else task.outputs):
        raise UsageError(f"--data {name}: y holds {y.dtype} in shape {y.shape}: does not fit x or the model")
    if not task.classes:
        return x, y.reshape(len(x), -1).astype(np.float64)
    if not ((y == np.floor(y)) & (y >= 0) & (y < task.classes)).all():
        raise UsageError(
            f"--data {name}: the model's classes go from 0 to {task.classes - 1}, those in y do not"
        )
    return x, y.reshape(-1).astype(np.int64)


def _read(name: str, how: Reading) -> Samples:
    """What the reader of the file gives; where a model's `how.features` are told, y may be None."""
    path = Path(__file__).parent / BUILT_IN[name] if name in BUILT_IN else Path(name)
    reader = READERS.get(ending(path))
    if reader is None:
        files = ", ".join(f"FILE{suffix}" for suffix in (*READERS, ".txt"))
        raise UsageError(f"--data {name}: expected {', '.join((*BUILT_IN, *TEXTS))} or one of {files}")
    try:
        return Samples(*reader(path, how))
    except OSError as error:
        raise UsageError(f"--data {name}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"--data {name}: {error}") from error


def _rounded(values: np.ndarray, dtype: str, name: str, what: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(values, dtype)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        raise UsageError(f"--data {name}: {what}[{row}, {column}] is {values[row, column]} in {dtype}")
    return values


# A file's reader by its ending: (path, how) -> x and y, and, if it has any, the names of their columns.
Reader = Callable[[Path, Reading], tuple[Any, ...]]
READERS: dict[str, Reader] = {".npz": npz_files.read, ".csv": csv_files.read}
