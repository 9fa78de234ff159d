"""The solution written in other ways: all of them are right."""

RIGHT = (
    """import math
import numpy as np

def partition(numel, size):
    chunk = math.ceil(numel / size)
    ends = np.minimum(np.arange(size + 1) * chunk, numel).tolist()
    return list(zip(ends, ends[1:]))

def flatten(tensors, size):
    flat = np.concatenate([t.ravel() for t in tensors.values()])
    buffer = np.pad(flat, (0, -len(flat) % size))
    ends = np.cumsum([0] + [t.size for t in tensors.values()])
    return buffer, {n: buffer[a:b].reshape(t.shape) for (n, t), a, b in zip(tensors.items(), ends, ends[1:])}
""",
    """import numpy as np

def partition(numel, size):
    found, start = [], 0
    for _ in range(size):
        stop = min(numel, start + (numel + size - 1) // size)
        found.append((start, stop))
        start = stop
    return found

def flatten(tensors, size):
    numel = sum(map(np.size, tensors.values()))
    while numel % size:
        numel += 1
    buffer, views, at = np.zeros(numel, [*tensors.values()][0].dtype), {}, 0
    for name in tensors:
        views[name] = np.ndarray(tensors[name].shape, buffer.dtype, buffer, at * buffer.itemsize)
        views[name].flat = tensors[name].flat
        at += tensors[name].size
    return buffer, views
""",
    """import itertools
import numpy as np

def partition(numel, size):
    step = 1 + (numel - 1) // size
    return [(min(numel, r * step), min(numel, r * step + step)) for r in range(size)]

def flatten(tensors, size):
    lengths = {name: tensor.size for name, tensor in tensors.items()}
    ends = list(itertools.accumulate(lengths.values(), initial=0))
    kind = np.result_type(*tensors.values())
    buffer = np.zeros((ends[-1] + size - 1) // size * size, dtype=kind)
    views = {}
    for (name, tensor), start in zip(tensors.items(), ends):
        view = buffer[start : start + tensor.size]
        view.shape = tensor.shape
        np.copyto(view, tensor)
        views[name] = view
    return buffer, views
""",
)
