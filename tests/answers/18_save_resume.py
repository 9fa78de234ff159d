import os
from contextlib import ExitStack

import numpy as np

from zero_ref.layout import bounds


def save_sharded(folder, state, step, comm):
    name = f"step-{step:08d}-rank-{comm.rank:05d}-of-{comm.size:05d}"
    with open(folder / f"{name}.part", "wb") as file:
        np.savez(file, **state)
    os.replace(folder / f"{name}.part", folder / f"{name}.npz")


def load_resharded(folder, comm):
    found = {}
    for path in sorted(folder.glob("step-*.npz")):
        _, step, _, _, _, size = path.stem.split("-")
        found.setdefault((int(step), int(size)), []).append(path)
    complete = [key for key, files in found.items() if len(files) == key[1]]
    if not complete:
        raise ValueError(f"{folder}: no complete checkpoint")
    step, size = max(complete)
    state = {}
    with ExitStack() as opened:
        shards = [opened.enter_context(np.load(path)) for path in found[step, size]]
        old = [0]
        for shard in shards:
            old.append(old[-1] + shard["param"].size)
        ends = bounds(old[-1], [1] * comm.size)
        low, high = ends[comm.rank], ends[comm.rank + 1]
        for name in ("param", "m", "v"):
            pieces = []
            for start, shard in zip(old, shards):
                pieces.append(shard[name][max(0, low - start) : max(0, high - start)].copy())
            state[name] = np.concatenate(pieces)
    return state, step
