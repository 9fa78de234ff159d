"""Copies that must be equal, compared: what every rank holds whole, at the stages where it does.

A bit that flips in one copy of the parameters is never noticed by training: that rank computes its
gradients with other weights, and goes on. Here the ranks compare SHA-256s (`--verify-every K`).
"""

import hashlib
from collections import Counter
from typing import Any

import numpy as np

from zero_ref.array import to_numpy
from zero_ref.launch import CleanEnd
from zero_ref.train.choose import Run


class Diverged(CleanEnd):
    """Copies that have to be equal are not."""


def check_equal(step: int, run: Run) -> None:
    """Raise Diverged on all ranks alike unless every copy is the same on all ranks.

    Parameters and optimizer state where the stage keeps all of them (see KEEPS), and always the numbers by
    which the ranks decide alike: steps done and the loss scale. Shards have no copies.
    """
    mine, comm = hashes(run), run.comm
    if len(set(comm.everyone(hashlib.sha256(repr(mine).encode()).hexdigest()))) == 1:
        return
    every = comm.everyone(mine)
    for name in mine:
        found = [theirs[name] for theirs in every]
        usual, number = Counter(found).most_common(1)[0]
        if number < comm.size:
            odd = ", ".join(str(rank) for rank, value in enumerate(found) if value != usual)
            like = ", ".join(str(rank) for rank, value in enumerate(found) if value == usual)
            differ = f"on rank {odd} it is not as on rank {like}"
            raise Diverged(f"step {step}: the copies of {name} differ: {differ}")


def hashes(run: Run) -> dict[str, Any]:
    """The name of everything that has copies -> a number or the SHA-256 of its bytes."""
    keeps, guard = run.stage.KEEPS, run.guard
    found: dict[str, Any] = {"the number of steps": guard.steps, "the loss scale": guard.scale}
    for u in run.units:
        found[f"the number of updates of {u.layout.name}"] = u.optimizer.steps
        vectors = {"": u.param} if keeps["parameter"] == "all" else {}
        if keeps["optimizer"] == "all":
            vectors |= {f"{name} of ": vector for name, vector in u.optimizer.state().items()}
        for kind, vector in vectors.items():
            for name, view in u.layout.views(vector).items():
                data = np.ascontiguousarray(to_numpy(view)).reshape(-1).view(np.uint8).data
                found[f"{kind}{u.layout.prefix}{name}"] = hashlib.sha256(data).hexdigest()
    return found
