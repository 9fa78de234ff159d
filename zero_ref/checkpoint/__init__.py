"""What a checkpoint is, and reading one, without MPI. saving.py has the ranks write it.

A checkpoint is a folder step-00000690: one safetensors file per rank that wrote it, each with that
rank's shard of every vector, padding left out, and manifest.json, which says where every element
belongs. So any number of ranks, any rule and any stage can take up any checkpoint.

Nothing is believed. The manifest ends with its own SHA-256, and has size and SHA-256 of every other
file; the folder holds just these files; the shards must tile every vector exactly. All of it is
checked before the first number is used, and whatever is wrong becomes one UsageError.
"""

import bisect
import hashlib
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import ml_dtypes  # noqa: F401  makes "bfloat16" a type that NumPy knows
import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open

from zero_ref import launch
from zero_ref.data import Task
from zero_ref.launch import UsageError

MANIFEST = "manifest.json"
MOST_MANIFEST_BYTES = 1 << 29  # far more than any manifest; a longer one is not read into memory
FOLDER = re.compile(r"step-(\d{8,18})")
BEST = "best"  # a folder beside them that holds one: the run's best, see best.py
CODES = {"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64"}  # of safetensors

FORMAT: Literal["zero_ref checkpoint 1"] = "zero_ref checkpoint 1"
Natural = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
DType = Literal["float16", "bfloat16", "float32", "float64"]
Vector = str  # "param", and the names of the optimizer's vectors of state


class File(msgspec.Struct, forbid_unknown_fields=True):
    """One rank's file. ranges: unit -> slices [start, stop) of its flat vector in model order, which
    one after another are each of that unit's vectors in this file."""

    name: str
    bytes: Natural
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    ranges: dict[str, list[tuple[Natural, Natural]]]


class Scale(msgspec.Struct, forbid_unknown_fields=True):
    """The state of precision.LossScale."""

    scale: Annotated[float, msgspec.Meta(gt=0)]
    good: Natural
    skipped: Natural


class Manifest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What the shards mean, and the rest of the state of a run.

    arguments: the options that a resumed run goes on with. data_sha256: of the data set; features,
    outputs, classes, columns, alphabet: what it asks of the model (see data.Task). step: steps done, which
    with the options is the position in the data; optimizer_steps: those that were not left out. vectors:
    what there is of every unit (its parameters, and the optimizer's state), and its type. units: unit
    -> tensor -> shape, in model order. prefixes: unit -> what stands before its tensors' names in the
    whole model, where that is not the unit's own name. files: by rank. held_out: of the best of a run, its
    loss on the samples held out. owed: by rank, of what codes have lost of its gradients, and
    who_sends_what: where that fits (see owed.py).
    """

    format: Literal["zero_ref checkpoint 1"] = FORMAT
    arguments: list[str]
    data_sha256: str
    features: Natural
    outputs: Natural
    classes: Natural
    columns: list[str] | None = None
    alphabet: str | None = None
    step: Natural = 0
    optimizer_steps: Natural = 0
    loss_scale: Scale | None = None
    vectors: dict[Vector, DType] = {}
    units: dict[str, dict[str, list[Natural]]] = {}
    prefixes: dict[str, str] = {}
    files: list[File] = []
    held_out: float | None = None
    owed: list[File] = []
    who_sends_what: str | None = None

    @property
    def task(self) -> Task:
        """What the model was trained to do."""
        return Task(self.features, self.outputs, self.classes, self.columns, self.alphabet)


def encode(manifest: Manifest) -> bytes:
    """The text of manifest.json: a line per field, and at the end the SHA-256 of all before."""
    fields = msgspec.structs.asdict(manifest).items()
    return signed(b"{\n" + b",\n".join(b'"%s": ' % k.encode() + msgspec.json.encode(v) for k, v in fields))


def signed(head: bytes) -> bytes:
    """`head` with its own SHA-256 as the last field."""
    return head + b',\n"sha256": "%s"\n}\n' % hashlib.sha256(head).hexdigest().encode()


def decode(text: bytes) -> Manifest:
    """The manifest in `text`; ValueError if it is damaged or of another form."""
    head = text.rpartition(b',\n"sha256": ')[0]
    if text != signed(head):
        raise ValueError("is damaged, or no manifest: its last line is not the SHA-256 of what is before")
    try:
        return msgspec.json.decode(head + b"}", type=Manifest)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ValueError(f"is not understood: {error}") from None


def complete(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, by step; unfinished ones have other names."""
    found = [p for p in folder.iterdir() if FOLDER.fullmatch(p.name) and stat.S_ISDIR(p.lstat().st_mode)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def newest(folder: Path) -> Path | None:
    """The checkpoint of the latest step in `folder`."""
    return next(reversed(complete(folder)), None)


def find(path: str, option: str = "--resume") -> Path:
    """`path` itself if it is a checkpoint, or the newest in it. UsageError if there is none."""
    try:
        there = Path(path) if os.path.lexists(Path(path) / MANIFEST) else newest(Path(path))
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or error
        raise UsageError(f"{option} {path}: {what}{beside(Path(path))}") from None
    if there is None:
        raise UsageError(f"{option} {path}: there is no complete checkpoint{beside(Path(path))}")
    return there


def beside(path: Path) -> str:
    """Which checkpoints there are in the folder of `path`, for a message: what is asked for is not."""
    try:
        names = [there.name for there in complete(path.parent)]
    except OSError:
        return ""
    shown = [*names[:2], "...", *names[-2:]] if len(names) > 5 else names
    return f"; {path.parent} holds {', '.join(shown)}" if names else ""


class Checkpoint:
    """A checkpoint that may be read: its manifest and its files are of the right form.

    Call `verify` before the first `read`: it compares the contents with their SHA-256.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.text = self._read_manifest()
            self.manifest = decode(self.text)
            self.elements = {
                unit: sum(math.prod(shape) for shape in tensors.values())
                for unit, tensors in self.manifest.units.items()
            }
            self.places = dict(places(self.manifest))  # name of a tensor -> unit, first element, shape
            self._check_names()
        except OSError as error:
            raise self._wrong(Path(error.filename or MANIFEST).name, error.strerror) from None
        except ValueError as error:
            raise self._wrong(MANIFEST, error) from None
        self.pieces = {unit: self._tiles(unit) for unit in self.elements}
        self.files = [self._open(file) for file in self.manifest.files]
        self.everything = [*self.manifest.files, *self.manifest.owed]

    def verify(self, numbers: Iterable[int] | None = None) -> None:
        """UsageError unless the files of these ranks (None: all) are as they were written."""
        for number in range(len(self.everything)) if numbers is None else numbers:
            file = self.everything[number]
            try:
                with open(self.folder / file.name, "rb") as opened:
                    found = hashlib.file_digest(opened, "sha256").hexdigest()
            except OSError as error:
                raise self._wrong(file.name, error.strerror) from None
            if found != file.sha256:
                raise self._wrong(file.name, "is damaged: its SHA-256 is not the one in the manifest")

    def read(self, unit: str, vector: Vector, start: int, stop: int) -> np.ndarray:
        """Elements [start, stop) of a unit's vector, in model order, from whatever files have them."""
        out = np.empty(stop - start, self.manifest.vectors[vector])
        pieces = self.pieces[unit]
        for a, b, number, place in pieces[max(0, bisect.bisect(pieces, (start, stop)) - 1) :]:
            if a >= stop:
                break
            low, high = max(a, start), min(b, stop)
            if low < high:
                part = self.files[number].get_slice(f"{unit}/{vector}")[place + low - a : place + high - a]
                out[low - start : high - start] = part
        return out

    def names(self) -> Iterator[str]:
        """The names of the model's tensors, "layers.0.weight" and so on, in model order."""
        return iter(self.places)

    def tensor(self, name: str) -> np.ndarray:
        """One tensor of the model, whole."""
        unit, start, shape = self.places[name]
        return self.read(unit, "param", start, start + math.prod(shape)).reshape(shape)

    def _wrong(self, name: str, what: object) -> UsageError:
        return UsageError(f"checkpoint {self.folder}: {name} {launch.one_line(what)}")

    def _read_manifest(self) -> bytes:
        about = (self.folder / MANIFEST).lstat()
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("is not a regular file")
        if about.st_size > MOST_MANIFEST_BYTES:
            raise ValueError(f"has {about.st_size:,} bytes, more than a manifest can have")
        return (self.folder / MANIFEST).read_bytes()

    def _check_names(self) -> None:
        """The folder holds the manifest and the files that it names, and nothing else."""
        manifest = self.manifest
        everything = [*manifest.files, *manifest.owed]
        expected = [file_name(rank) for rank in range(len(manifest.files))]
        expected += [owed_name(rank) for rank in range(len(manifest.owed))]
        if [file.name for file in everything] != expected:
            raise ValueError("names files that are not rank-00000.safetensors and so on")
        for name in sorted({*expected, MANIFEST} ^ set(os.listdir(self.folder))):
            raise self._wrong(name, "is missing" if name in expected else "does not belong to it")
        for file in everything:
            about = (self.folder / file.name).lstat()
            if not stat.S_ISREG(about.st_mode):
                raise self._wrong(file.name, "is not a regular file")
            if about.st_size != file.bytes:
                raise self._wrong(file.name, f"has {about.st_size:,} bytes, not {file.bytes:,}")
        for file in manifest.files:
            if file.ranges.keys() != self.elements.keys():
                raise ValueError(f"does not give every unit's ranges in {file.name}")
        if len(self.places) != sum(map(len, manifest.units.values())):
            raise ValueError("has two tensors of one name")
        if manifest.alphabet is not None and len(manifest.alphabet) + 1 != manifest.classes:
            raise ValueError(f"has {len(manifest.alphabet)} characters for {manifest.classes} classes")
        if manifest.columns is not None and not names_fit(manifest, len(manifest.columns)):
            raise ValueError(f"names {len(manifest.columns)} columns for {manifest.features} features")
        if "param" not in manifest.vectors or not sum(self.elements.values()):
            raise ValueError("has no parameters")

    def _tiles(self, unit: str) -> list[tuple[int, int, int, int]]:
        """(start, stop, file, place in that file) of every slice of the unit's vectors, sorted."""
        pieces = []
        for number, file in enumerate(self.manifest.files):
            place = 0
            for start, stop in file.ranges[unit]:
                pieces.append((start, stop, number, place))
                place += stop - start
        pieces.sort()
        ends = [0, *(stop for _, stop, _, _ in pieces)]
        starts = [*(start for start, _, _, _ in pieces), self.elements[unit]]
        if ends != starts or any(a >= b for a, b, _, _ in pieces):
            raise self._wrong(MANIFEST, f"has shards of {unit} with gaps or overlaps")
        return pieces

    def _open(self, file: File) -> safe_open:
        """The file, once its header is what the manifest makes one expect."""
        lengths = {unit: sum(b - a for a, b in ranges) for unit, ranges in file.ranges.items()}
        expected = {
            f"{unit}/{vector}": (CODES[dtype], [length])
            for unit, length in lengths.items()
            for vector, dtype in self.manifest.vectors.items()
        }
        try:
            opened = safe_open(self.folder / file.name, framework="numpy")
            slices = {name: opened.get_slice(name) for name in opened.keys()}
            found = {name: (part.get_dtype(), list(part.get_shape())) for name, part in slices.items()}
        except (OSError, SafetensorError, TypeError) as error:
            raise self._wrong(file.name, f"is not readable as safetensors ({error})") from None
        if found != expected:
            raise self._wrong(file.name, "holds other arrays than the manifest says")
        return opened


def places(manifest: Manifest) -> Iterator[tuple[str, tuple[str, int, list[int]]]]:
    """Each tensor's name in the whole model; its unit, where it begins there, its shape. In model order."""
    for unit, tensors in manifest.units.items():
        prefix, start = manifest.prefixes.get(unit, f"{unit}."), 0
        for name, shape in tensors.items():
            yield prefix + name, (unit, start, shape)
            start += math.prod(shape)


def names_fit(manifest: Manifest, columns: int) -> bool:
    """Whether there are names for features and target: of classes one column or more, of numbers one each."""
    targets = columns - manifest.features
    return targets >= 1 if manifest.classes else targets == manifest.outputs


def file_name(rank: int) -> str:
    """The name of a rank's file."""
    return f"rank-{rank:05d}.safetensors"


def owed_name(rank: int) -> str:
    """The name of its file of what codes have lost."""
    return f"owed-{rank:05d}.safetensors"
