import numpy as np

from lessons.given.hooks import lend


def hooks(stage, comm):
    def gather(u):
        lend(u, "data", comm.all_gather(u.param, u.layout))

    def drop(u):
        for tensor in u.tensors.values():
            tensor.data = None

    def reduce(u):
        full = np.zeros(u.layout.padded)
        for name, view in u.layout.views(full).items():
            view[...] = u.tensors[name].grad
            u.tensors[name].grad = None
        u.grad += comm.reduce_scatter(full, u.layout)

    table = {"before forward": [gather], "gradient ready": [reduce, drop]}
    if stage == 3:
        table |= {"after forward": [drop], "before backward": [gather]}
    return table
