"""What a step cannot do without: `mpirun -n N python benchmarks/floor.py WIDTHS BATCH cpu|gpu`.

The matrix products of a rank's samples with the shapes of the model, on all ranks at once, and the fewest
bytes: Adam reads gradient, parameter, m and v of the rank's 1/N and writes the last three; a reduce-scatter
reads what the others send for this rank, an all-gather writes what they have. Bytes go at the rate of a
copy of arrays that no cache holds. Prints one line of JSON: ms of products, of bytes, and of both.
"""

import json
import math
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import zero_ref  # noqa: I001  before numpy, see its docstring
import numpy as np
from zero_ref.array import finish, xp
from zero_ref.comm import Comm
from zero_ref.train.choose import device

assert zero_ref.__version__
comm = Comm()
device(sys.argv[3], comm)


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


def products(widths: list[int], samples: int):
    """One training step's matrix products as a function, on arrays that exist."""
    random = np.random.default_rng(comm.rank)
    new = lambda *shape: xp.asarray(random.standard_normal(shape, np.float32))  # noqa: E731
    w = [new(outputs, inputs) for inputs, outputs in zip(widths, widths[1:])]
    dw = [xp.empty(weight.shape, weight.dtype) for weight in w]
    a = [new(samples, width) for width in widths]

    def step() -> None:
        for i, weight in enumerate(w):
            xp.matmul(a[i], weight.T, out=a[i + 1])
        for i in reversed(range(len(w))):
            xp.matmul(a[i + 1].T, a[i], out=dw[i])
            if i:
                xp.matmul(a[i + 1], w[i], out=a[i])

    return step


widths, batch = [int(width) for width in sys.argv[1].split(",")], int(sys.argv[2])
psi = sum(math.prod(pair) + pair[1] for pair in zip(widths, widths[1:]))
computed = milliseconds(products(widths, batch // comm.size))
source, target = (xp.empty(16 << 20, np.float32) for _ in range(2))
source.fill(1)
per_byte = milliseconds(lambda: target.__setitem__(..., source)) / (2 * source.nbytes)
least = 4 * psi / comm.size * (7 + 2 * (comm.size - 1))
ms = [max(comm.everyone(value)) for value in (computed, least * per_byte)]
if comm.rank == 0:
    print(json.dumps({"products": ms[0], "bytes": ms[1], "ms": sum(ms)}))
