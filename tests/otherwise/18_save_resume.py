"""The solution written in other ways: all of them are right."""

RIGHT = (
    """import re
import numpy as np
from zero_ref.layout import bounds

def save_sharded(folder, state, step, comm):
    end = f"{step}_{comm.rank}_{comm.size}.npy"
    for name in state:
        with open(folder / f"tmp_{name}_{end}", "wb") as file:
            np.save(file, state[name])
    for name in state:
        (folder / f"tmp_{name}_{end}").rename(folder / f"{name}_{end}")

def load_resharded(folder, comm):
    found = {}
    for path in folder.iterdir():
        if match := re.fullmatch(r"(param|m|v)_(\\d+)_(\\d+)_(\\d+).npy", path.name):
            name, step, rank, size = match[1], *map(int, match.groups()[1:])
            found.setdefault((step, size), {})[name, rank] = path
    step, size = max(key for key, files in found.items() if len(files) == 3 * key[1])
    files, state = found[step, size], {}
    for name in ("param", "m", "v"):
        old = [np.load(files[name, rank], mmap_mode="r") for rank in range(size)]
        starts = np.cumsum([0, *map(len, old)])
        low, high = bounds(int(starts[-1]), [1] * comm.size)[comm.rank :][:2]
        state[name] = np.concatenate(
            [np.array(a[max(low - s, 0) : max(high - s, 0)]) for s, a in zip(starts, old)]
        )
    return state, step
""",
)
