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
from zero_ref.launch.cli import Parser
from zero_ref.launch.files import check_writable, in_one_piece


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


def inspect(folder: str) -> str:
    """What is in a checkpoint, as text, once all of it is verified."""
    checkpoint = Checkpoint(find(folder, "checkpoint"))
    checkpoint.verify()
    m = checkpoint.manifest
    total = sum(checkpoint.elements.values())
    size = sum(file.bytes for file in m.files) + len(checkpoint.text)
    lines = [
        f"{checkpoint.folder}: complete, every SHA-256 is right",
        f"step     {m.step:,}, of which {m.step - m.optimizer_steps:,} were left out",
        f"model    {total:,} parameters in {len(m.units)} units: {m.features} features to {m.outputs} "
        + (f"outputs, {m.classes} classes" if m.classes else "numbers"),
        "vectors  " + ", ".join(f"{name} ({dtype})" for name, dtype in m.vectors.items()),
        f"files    {len(m.files)} ranks, {size:,} bytes",
        f"options  {' '.join(m.arguments)}",
    ]
    if m.loss_scale:
        lines.append(f"scale    {m.loss_scale.scale:g}, {m.loss_scale.good} good steps since it changed")
    for unit, tensors in m.units.items():
        lines += [f"tensor   {unit}.{name} {'x'.join(map(str, s))}" for name, s in tensors.items()]
    for rank, file in enumerate(m.files):
        own = sum(b - a for ranges in file.ranges.values() for a, b in ranges)
        pieces = sum(len(ranges) for ranges in file.ranges.values())
        share = own / total if total else 0
        lines.append(
            f"rank {rank:<4}{own:,} parameters ({share:.1%}) in {pieces} pieces, sha256 {file.sha256}"
        )
    return "\n".join(lines)


def main() -> None:
    """The command."""
    p = Parser(prog="zero_ref.checkpoint", description="Look into a checkpoint; no MPI needed.")
    actions = p.add_subparsers(dest="action", required=True)
    look = actions.add_parser("inspect", help="verify a checkpoint and say what is inside")
    take = actions.add_parser("export", help="write its model as one safetensors file")
    for action in (look, take):
        action.add_argument("dir", help="a checkpoint, or a folder of checkpoints: its newest")
    take.add_argument("file", metavar="FILE.safetensors")
    o = p.parse_args()
    if o.action == "export":
        export(o.dir, o.file)
    else:
        launch.say(inspect(o.dir))


if __name__ == "__main__":
    launch.run(main)
