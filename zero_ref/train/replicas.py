"""Copies that must be equal, compared: what every rank holds whole, and shards that other groups have, too.

A bit that flips in one copy of the parameters is never noticed by training: that rank computes its
gradients with other weights, and goes on. Here the ranks compare SHA-256s (`--verify-every K`).
"""

import hashlib
from collections import Counter
from typing import Any

import numpy as np

from zero_ref.array import Array, to_numpy
from zero_ref.launch import CleanEnd
from zero_ref.optim import whole_state
from zero_ref.train.choose import Run


class Diverged(CleanEnd):
    """Copies that have to be equal are not."""


def check_equal(step: int, run: Run) -> None:
    """Raise Diverged on all ranks alike unless every copy is the same on all ranks that have one.

    Parameters and optimizer state where the stage keeps all of them (see KEEPS), and always the numbers by
    which the ranks decide alike: steps done and the loss scale. Of a shard other groups have copies.
    """
    everywhere, shards, world = hashes(run), hashes_of_shards(run), run.world
    mine = [digest_of(everywhere), digest_of(shards), run.comm.rank]
    whole, parts, places = zip(*world.everyone(mine))
    if len(set(whole)) == 1 and len(set(zip(parts, places))) == run.comm.size:
        return
    every = world.everyone(everywhere | shards)
    for name in dict.fromkeys(name for theirs in every for name in theirs):
        found = {rank: theirs[name] for rank, theirs in enumerate(every) if name in theirs}
        usual, number = Counter(found.values()).most_common(1)[0]
        if number < len(found):
            odd = ", ".join(str(rank) for rank, value in found.items() if value != usual)
            like = ", ".join(str(rank) for rank, value in found.items() if value == usual)
            differ = f"on rank {odd} it is not as on rank {like}"
            raise Diverged(f"step {step}: the copies of {name} differ: {differ}")


def digest_of(found: dict[str, Any]) -> str:
    """Of all that `hashes` has found."""
    return hashlib.sha256(repr(found).encode()).hexdigest()


def sha256_of(vector: Array) -> str:
    """The SHA-256 of an array's bytes."""
    data = np.ascontiguousarray(to_numpy(vector)).reshape(-1).view(np.uint8).data
    return hashlib.sha256(data).hexdigest()


def hashes(run: Run) -> dict[str, Any]:
    """The name of everything that all ranks have -> a number or the SHA-256 of its bytes."""
    keeps, guard = run.stage.KEEPS, run.guard
    found: dict[str, Any] = {"the number of steps": guard.steps, "the loss scale": guard.scale}
    for u in run.units:
        found[f"the number of updates of {u.layout.name}"] = u.optimizer.steps
        vectors = {"": u.param} if keeps["parameter"] == "all" else {}
        if keeps["optimizer"] == "all":
            vectors |= {f"{name} of ": vector for name, vector in whole_state(u.optimizer).items()}
        for kind, vector in vectors.items():
            for name, view in u.layout.views(vector).items():
                found[f"{kind}{u.layout.prefix}{name}"] = sha256_of(view)
    return found


def hashes_of_shards(run: Run) -> dict[str, str]:
    """The same of what only this rank of its group has; its name says which shard. Nothing without groups."""
    keeps, found = run.stage.KEEPS, {}
    for u in run.units if run.comm.size < run.world.size else []:
        state = whole_state(u.optimizer) if keeps["optimizer"] == "1/N" else {}
        vectors = state | ({"parameters": u.param} if keeps["parameter"] == "1/N" else {})
        for name, vector in vectors.items():
            found[f"shard {run.comm.rank} of {name} of {u.layout.name}"] = sha256_of(vector)
    return found
