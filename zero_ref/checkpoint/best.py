"""The checkpoint with the least loss on the samples held out: DIR/best of `--save DIR --eval-every K`.

DIR/best is a folder of checkpoints like any other, which holds one. So whatever takes DIR takes it, too;
and --keep, and who looks for the newest in DIR, sees none of it. The new one is whole before the old goes.
"""

import math
from pathlib import Path

import msgspec

from zero_ref.checkpoint import BEST, Checkpoint, Manifest, complete, saving
from zero_ref.launch import CleanEnd, UsageError
from zero_ref.launch.together import on_rank_0
from zero_ref.train.choose import Run

Found = tuple[float, int]  # loss and step


def find(folder: str, manifest: Manifest) -> Found | None:
    """The best that DIR holds of a run that goes on; None without one. On one rank.

    UsageError if it is damaged, or of other data or another model than `manifest` says.
    """
    found = []
    for path in complete(Path(folder) / BEST) if (Path(folder) / BEST).exists() else []:
        there = Checkpoint(path).manifest
        if (there.data_sha256, there.units) != (manifest.data_sha256, manifest.units):
            raise UsageError(f"--save {folder}: holds {BEST}/{path.name} of another run")
        found.append((math.inf if there.held_out is None else there.held_out, there.step))
    return min(found, default=None)


def keep(folder: str, manifest: Manifest, loss: float, step: int, run: Run) -> None:
    """Write the checkpoint of `step` as the best so far, all ranks together, and delete any other there."""
    path = Path(folder) / BEST / f"step-{step:08d}"

    def drop_others(others: bool) -> None:
        try:
            for whole in complete(path.parent) if path.parent.exists() else []:
                if (whole != path) == others:
                    saving.drop(whole)
        except OSError as error:
            raise CleanEnd(f"--save {folder}: {BEST} of step {step}: {error}") from error

    on_rank_0(
        run.world, lambda: drop_others(False)
    )  # of a run that was killed, and makes this step once more
    saving.save(str(path.parent), None, msgspec.structs.replace(manifest, held_out=loss), step, run)
    on_rank_0(run.world, lambda: drop_others(True))
