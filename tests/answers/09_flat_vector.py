import numpy as np


def partition(numel, size):
    chunk = -(-numel // size)
    return [(min(rank * chunk, numel), min((rank + 1) * chunk, numel)) for rank in range(size)]


def flatten(tensors, size):
    numel = sum(tensor.size for tensor in tensors.values())
    dtype = next(iter(tensors.values())).dtype
    buffer = np.zeros(numel + -numel % size, dtype)
    views, start = {}, 0
    for name, tensor in tensors.items():
        stop = start + tensor.size
        views[name] = buffer[start:stop].reshape(tensor.shape)
        views[name][...] = tensor
        start = stop
    return buffer, views
