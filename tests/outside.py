"""What a user adds without touching zero_ref: an optimizer, a unit with its op, two Comms, a rule, a reader.

    mpirun -n 3 python tests/outside.py "--optimizer lion --stage 1" "--model residual"

trains once for each line of options.
"""

import sys

import numpy as np

from zero_ref import comm, datasets, launch, layout, model, optim
from zero_ref.array import empty, track, xp, zeros
from zero_ref.autograd import Tensor, add, linear
from zero_ref.comm import AutoComm
from zero_ref.layout import FlatLayout
from zero_ref.model import Unit


class Lion:
    """p = p - lr (sign(b1 m + (1 - b1) g) + weight_decay p);  m = b2 m + (1 - b2) g (arXiv 2302.06675)."""

    def __init__(self, n, dtype, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        self.lr, self.betas, self.weight_decay, self.steps = lr, betas, weight_decay, 0
        self.momentum = zeros(n, dtype, "optimizer")

    @staticmethod
    def vectors(**settings):
        return ("momentum",)

    def state(self):
        return {"momentum": self.momentum}

    def update(self, param, grad, scale):
        if scale == 0:
            return
        self.steps += 1
        b1, b2 = self.betas
        g = track("buffer", grad.astype(param.dtype) * scale)
        direction = track("buffer", xp.sign(b1 * self.momentum + (1 - b1) * g))
        param -= self.lr * (direction + self.weight_decay * param)
        self.momentum *= b2
        self.momentum += (1 - b2) * g


optim.KINDS["lion"] = Lion


def tanh(x):
    """An op."""
    y = track("activation", xp.tanh(x.data))

    def backward(g):
        slope = track("activation", 1 - y * y)
        x.add_grad(xp.multiply, g, slope)

    return Tensor(y, (x,), backward)


def residual(x, t):
    """x + tanh(x w^T + b)."""
    return add(x, tanh(linear(x, t["weight"], t["bias"])))


def build_residual(o, task, layout_of, load=None):
    """A layer in, two residual ones, a layer out."""
    width = 12
    shapes = [(width, task.features), (width, width), (width, width), (task.outputs, width)]
    units = []
    for i, (outputs, inputs) in enumerate(shapes):
        tensors = {"weight": (outputs, inputs), "bias": (outputs,)}
        names = [f"layers.{i}.{name}" for name in tensors]

        def start(i=i, tensors=tensors, names=names):
            if load is not None:
                return [load(name) for name in names]
            random = np.random.default_rng([o.seed, i])
            return [random.normal(size=shape, scale=0.2) for shape in tensors.values()]

        compute = residual if 0 < i < 3 else model.dense
        units.append(Unit(layout_of(f"layers.{i}", tensors), compute, start, o.dtype, i == 0))
    return units


model.MODELS["residual"] = build_residual


class Twice(AutoComm):
    """Sends what it gathers twice."""

    def _all_gather(self, wire, layout):
        super()._all_gather(wire, layout)
        return 2 * super()._all_gather(wire, layout)


class Short(AutoComm):
    """Gathers in 16 bits: half the bytes, and rounded parameters. For stage 3."""

    def wire_like(self, vector, layout):
        if vector.size != layout.padded:
            return super().wire_like(vector, layout)
        return empty(vector.size, "float16", "buffer")

    def encode(self, wire, vector):
        if wire is not vector:
            wire[...] = vector

    def decode(self, vector, wire, layout):
        if wire is not vector:
            vector[...] = wire

    def _reduce_scatter(self, send, receive, layout):
        wide = empty(send.size, receive.dtype, "buffer")
        wide[...] = send
        return super()._reduce_scatter(wide, receive, layout) // 2


class Checked(AutoComm):
    """Sends with each gathered shard its sum, and compares it where it arrives: one element more a rank."""

    def wire_layout(self, layout):
        counts = [count + 1 for count in layout.counts]
        return FlatLayout(layout.name, {"": (sum(counts),)}, self.size, shares=counts)

    def wire_like(self, vector, layout):
        return (
            vector
            if vector.size != layout.padded - self.size
            else empty(layout.padded, vector.dtype, "buffer")
        )

    def encode(self, wire, vector):
        if wire is not vector:
            wire[: vector.size] = vector
            wire[vector.size :] = vector.sum()

    def decode(self, vector, wire, layout):
        if wire is vector:
            return
        for rank, place in enumerate(map(layout.slice_of, range(self.size))):
            coming = wire[self.wire_layout(layout).slice_of(rank)]
            assert float(coming[:-1].sum()) == float(coming[-1:].sum())
            vector[place] = coming[:-1]


comm.REDUCE |= {"twice": Twice, "short": Short, "checked": Checked}
layout.RULES["round_robin"] = lambda blocks, size, seed, name: np.arange(blocks) % size


def read_tsv(path, how):
    """Numbers with tabs between them, a whole number last."""
    table = np.loadtxt(path, delimiter="\t", ndmin=2)
    return (table, None) if table.shape[1] == how.features else (table[:, :-1], table[:, -1].astype(int))


datasets.READERS[".tsv"] = read_tsv


def main():
    from zero_ref.train.__main__ import main

    for line in sys.argv[1:]:
        main(line.split())


if __name__ == "__main__":
    launch.run(main)
