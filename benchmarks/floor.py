"""What a step cannot do without: `mpirun -n N python benchmarks/floor.py SHAPE cpu|gpu`.

The matrix products of a rank's samples with the shapes of the model, its attention among them, on all ranks
at once, and the fewest bytes: Adam reads gradient, parameter, m and v of the rank's 1/N and writes the last
three; a reduce-scatter reads what the others send for this rank, an all-gather writes what they have. Bytes
go at the rate of a copy of arrays that no cache holds. Prints one line of JSON: ms of products, of bytes, and
of both.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import zero_ref  # noqa: I001  before numpy, see its docstring
import numpy as np
from shapes import SHAPES
from zero_ref.array import finish, xp
from zero_ref.comm import Comm
from zero_ref.train.choose import device

assert zero_ref.__version__
comm = Comm()
device(sys.argv[2], comm)


def milliseconds(action, times: int = 9) -> float:
    """The median time of action() while all ranks do it."""
    action()
    finish()
    found = []
    for _ in range(times):
        comm.mpi.Barrier()
        start = time.perf_counter()
        action()
        finish()  # a GPU works on while Python goes ahead
        found.append(time.perf_counter() - start)
    return 1e3 * sorted(found)[times // 2]


def new(*shape: int):
    return xp.asarray(np.random.default_rng(comm.rank).standard_normal(shape, np.float32))


def linear_products(shape, samples: int):
    """The products of the linear layers in one training step, as a function, on arrays that exist."""
    layers = shape.products(samples)
    w = [new(outputs, inputs) for _, inputs, outputs in layers]
    dw = [xp.empty(weight.shape, weight.dtype) for weight in w]
    x = [new(rows, inputs) for rows, inputs, _ in layers]
    y = [new(rows, outputs) for rows, _, outputs in layers]
    dx = [xp.empty_like(a) for a in x]  # or what is multiplied would grow from step to step, to infinity

    def step() -> None:
        for a, weight, b in zip(x, w, y):
            xp.matmul(a, weight.T, out=b)
        for i in reversed(range(len(w))):
            xp.matmul(y[i].T, x[i], out=dw[i])
            if i or shape.attention(samples)[0]:
                xp.matmul(y[i], w[i], out=dx[i])

    return step


def attention_products(shape, samples: int):
    """Those of the attention: two products forward and four backward in each layer."""
    layers, heads, tokens, n = shape.attention(samples)
    q, k, v, g = (new(heads, tokens, n) for _ in range(4))
    p, out = new(heads, tokens, tokens), xp.empty_like(q)
    turned = lambda a: a.transpose(0, 2, 1)  # noqa: E731

    def step() -> None:
        for _ in range(layers):
            xp.matmul(q, turned(k), out=p)
            for left, right in ((p, v), (turned(p), g), (p, k), (turned(p), q)):
                xp.matmul(left, right, out=out)
            xp.matmul(g, turned(v), out=p)

    return step


shape = SHAPES[sys.argv[1]]
samples, psi = shape.batch // comm.size, shape.parameters()
computed = milliseconds(linear_products(shape, samples)) + milliseconds(attention_products(shape, samples))
source, target = (xp.empty(16 << 20, np.float32) for _ in range(2))
source.fill(1)
per_byte = milliseconds(lambda: target.__setitem__(..., source)) / (2 * source.nbytes)
least = 4 * psi / comm.size * (7 + 2 * (comm.size - 1))
ms = [max(comm.everyone(value)) for value in (computed, least * per_byte)]
if comm.rank == 0:
    print(json.dumps({"products": ms[0], "bytes": ms[1], "ms": sum(ms)}))
