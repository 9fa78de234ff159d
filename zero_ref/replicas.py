"""Copies that must be equal, compared: what every rank holds whole, at the stages where it does.

A bit that flips in one copy of the parameters is never noticed by training: that rank computes its
gradients with other weights, and goes on. Here the ranks compare SHA-256s (`--verify-every K`).
"""

import hashlib
from collections import Counter
from typing import Any

import numpy as np

from zero_ref.array import to_numpy
from zero_ref.comm import Comm
from zero_ref.launch import CleanEnd
from zero_ref.model import Unit
from zero_ref.precision import Guard


class Diverged(CleanEnd):
    """Copies that have to be equal are not."""


def compare(step: int, stage: int, units: list[Unit], guard: Guard, comm: Comm) -> None:
    """Raise Diverged on all ranks alike unless every copy is the same on all ranks.

    Parameters at stages 0 to 2, the optimizer's state at stage 0, and at every stage the numbers by
    which the ranks decide alike: steps done and the loss scale. Shards have no copies.
    """
    mine = hashes(stage, units, guard)
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


def hashes(stage: int, units: list[Unit], guard: Guard) -> dict[str, Any]:
    """The name of everything that has copies -> a number or the SHA-256 of its bytes."""
    found: dict[str, Any] = {"the number of steps": guard.steps, "the loss scale": guard.scale}
    for u in units:
        found[f"the number of updates of {u.layout.name}"] = u.optimizer.steps
        vectors = {"": u.param} if stage < 3 else {}
        if stage == 0:
            vectors |= {f"{name} of ": vector for name, vector in u.optimizer.state().items()}
        for kind, vector in vectors.items():
            for name, view in u.layout.views(vector).items():
                data = np.ascontiguousarray(to_numpy(view)).reshape(-1).view(np.uint8).data
                found[f"{kind}{u.layout.name}.{name}"] = hashlib.sha256(data).hexdigest()
    return found
