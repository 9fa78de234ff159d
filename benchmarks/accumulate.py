"""What adding up micro-batches in 16 bits loses: the gradient of one batch of digits, cut ever finer.

    mpirun -n 2 python benchmarks/accumulate.py

At stages 1 and 3, with --accumulate same and then float32, the relative error |sum - exact| / |exact| of
the gradient that the optimizers get. "exact" adds up the same 16-bit gradients of micro-batches in float64.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from zero_ref import launch, model  # noqa: I001  before numpy, see its docstring
import numpy as np
from zero_ref.train import choose, options

BATCH = 1024
SCALES = {"float16": 2.0**10, "bfloat16": 1.0}  # of the loss: nothing overflows, and little is too small


class Counted:
    """A unit's backward pass that also adds its gradients up in float64, in `exact` (padded,)."""

    def __init__(self, unit: model.Unit) -> None:
        self.backward, self.exact = unit.backward, np.zeros(unit.layout.padded)
        unit.backward = self

    def __call__(self, param, g):
        g, grad = self.backward(param, g)
        self.exact += grad
        return g, grad


def error(stage: int, dtype: str, micro_batches: int, accumulate: str) -> float:
    """The relative error of one step's gradient, over all ranks together."""
    line = f"--stage {stage} --dtype {dtype} --micro-batches {micro_batches} --accumulate {accumulate}"
    o = options.parse([*line.split(), f"--batch-size={BATCH}", "--device=cpu"])
    comm, data, module = choose.comm(o), choose.data_set(o), choose.stage(o)
    units, batches = choose.units(o, data.task, comm.size), choose.batches(o, data, comm)
    module.setup(units, comm, choose.optimizer(o))
    counted = [Counted(u) for u in units]
    squares = [0.0, 0.0]

    def compare(comm, shards):
        for u, each, shard in zip(units, counted, shards):
            whole = np.empty_like(each.exact)
            comm.mpi.Allreduce(each.exact, whole)
            right = comm.shard(whole, u.layout)
            squares[0] += float(((shard - right) ** 2).sum())
            squares[1] += float((right**2).sum())
        return 0.0, 0.0  # no update

    loss_grad = model.loss_grad(True, BATCH, SCALES[dtype])
    module.step(units, comm, batches.arrays(batches.parts(0, 0)), loss_grad, compare)
    return (comm.sum(squares[0]) / comm.sum(squares[1])) ** 0.5


def main() -> None:
    """Print a line for each type and number of micro-batches."""
    world = choose.connect()
    for dtype in SCALES:
        for micro_batches in (1, 8, 64, 512):
            columns = [(stage, wider) for wider in ("same", "float32") for stage in (1, 3)]
            found = [error(stage, dtype, micro_batches, wider) for stage, wider in columns]
            if world.rank == 0:
                launch.say(f"{dtype:9}{micro_batches:4}" + "".join(f"{each:10.1e}" for each in found))


if __name__ == "__main__":
    launch.run(main)
