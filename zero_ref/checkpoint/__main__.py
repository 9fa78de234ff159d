"""Look into a checkpoint, or take its model out; no MPI needed.

python -m zero_ref.checkpoint inspect DIR
python -m zero_ref.checkpoint export DIR FILE.safetensors
"""

import math
import os
import tempfile
from pathlib import Path

import numpy as np

from zero_ref import launch
from zero_ref.checkpoint import Checkpoint, find, weights
from zero_ref.launch import UsageError
from zero_ref.launch.cli import Parser, add_language
from zero_ref.launch.files import check_writable, in_one_piece
from zero_ref.launch.terminal import fold, words_of, written

LABEL = 9  # columns of what a line begins with


def export(folder: str, path: str) -> None:
    """Write the model of a checkpoint to `path` as one safetensors file.

    One tensor at a time is in memory; the rest of the new file lies in a mapped file beside it.
    """
    check_writable({"export": path})
    checkpoint = Checkpoint(find(folder, "checkpoint"))
    checkpoint.verify()
    dtype = np.dtype(checkpoint.manifest.vectors["param"])
    target = Path(path).resolve()
    if target.is_relative_to(checkpoint.folder.resolve()):
        raise UsageError(f"export {path}: lies in the checkpoint, which would be spoilt")
    with in_one_piece(path, "export") as part, tempfile.TemporaryFile(dir=os.path.dirname(part)) as scratch:
        shapes = {}
        for name in checkpoint.names():
            values = checkpoint.tensor(name)
            shapes[name] = values.shape
            scratch.write(values.tobytes())
        scratch.flush()
        mapped, start, tensors = np.memmap(scratch, dtype, "r"), 0, {}
        for name, shape in shapes.items():
            stop = start + math.prod(shape)
            tensors[name] = mapped[start:stop].reshape(shape)
            start = stop
        weights.save(part, tensors)


def inspect(folder: str, language: str | None = None) -> str:
    """What is in a checkpoint, as text, once all of it is verified."""
    checkpoint, word = Checkpoint(find(folder, "checkpoint")), words_of(__package__, language)
    checkpoint.verify()
    m, total = checkpoint.manifest, sum(checkpoint.elements.values())
    size = sum(file.bytes for file in checkpoint.everything) + len(checkpoint.text)
    vectors = (word["vector"].format(name=name, dtype=dtype) for name, dtype in m.vectors.items())
    lines = [
        word["folder"].format(folder=checkpoint.folder.absolute()),
        f"{'':{LABEL}}{word['complete']}",
        word["step"].format(step=f"{m.step:,}", skipped=f"{m.step - m.optimizer_steps:,}"),
        word["model_classes" if m.classes else "model_numbers"].format(
            parameters=f"{total:,}",
            units=len(m.units),
            features=m.features,
            outputs=m.outputs,
            classes=m.classes,
        ),
        word["vectors"].format(vectors=word["comma"].join(vectors)),
        word["files"].format(ranks=len(m.files), size=f"{size:,}"),
        word["options"].format(options=" ".join(m.arguments)),
    ]
    if m.loss_scale:
        lines.append(word["scale"].format(scale=f"{m.loss_scale.scale:g}", good=m.loss_scale.good))
    if m.owed:
        lines.append(word["owed"].format(ranks=len(m.owed), size=f"{sum(file.bytes for file in m.owed):,}"))
    for unit, tensors in m.units.items():
        for name, shape in tensors.items():
            lines.append(word["tensor"].format(name=f"{unit}.{name}", shape="x".join(map(str, shape))))
    for rank, file in enumerate(m.files):
        own = sum(b - a for ranges in file.ranges.values() for a, b in ranges)
        pieces = sum(len(ranges) for ranges in file.ranges.values())
        share = f"{own / total if total else 0:.1%}"
        name = f"{f'rank {rank}':{LABEL - 2}}"
        lines.append(word["rank"].format(rank=name, parameters=f"{own:,}", share=share, pieces=pieces))
        lines.append(f"{'':{LABEL}}sha256 {file.sha256}")
    return fold("\n".join(lines))


def main() -> None:
    """The command."""
    p = Parser(prog="zero_ref.checkpoint", description="Look into a checkpoint; no MPI needed.")
    actions = p.add_subparsers(dest="action", required=True)
    look = actions.add_parser("inspect", help="verify a checkpoint and say what is inside")
    take = actions.add_parser("export", help="write its model as one safetensors file")
    for action in (look, take):
        action.add_argument("dir", metavar="DIR", help="a checkpoint, or a folder of them: the newest")
        add_language(action)
    take.add_argument("file", metavar="FILE.safetensors")
    o = p.parse_args()
    if o.action == "export":
        export(o.dir, o.file)
        launch.say(written({"export": o.file}, o.language))
    else:
        launch.say(inspect(o.dir, o.language))


if __name__ == "__main__":
    launch.run(main)
