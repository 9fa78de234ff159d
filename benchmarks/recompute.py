"""What --recompute costs and saves: steps without and with it, in turns.

    mpirun -n 2 python benchmarks/recompute.py [options of zero_ref.train]

At stages 0 and 3 of a GPT of 4 blocks of 128 numbers (or as the options say): milliseconds of a step, the
median of 15, and of 15 ratios of two steps that follow one another; and the most bytes of activations, and of
all together, that rank 0 held.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from zero_ref import launch, model  # noqa: I001  before numpy, see its docstring
import statistics
import time

from zero_ref.ledger import ledger
from zero_ref.train import choose, options

DEFAULT = "--model gpt --layers 4 --width 128 --test-fraction 0.1 --device cpu"
TIMES, WARM = 15, 2


def steps(line: list[str]) -> Iterator[tuple[float, dict[str, int]]]:
    """Each step of a run: its seconds, and what it has held at most. Every run has a ledger of its own."""
    o = options.parse([*DEFAULT.split(), *line])
    comm, data, stage = choose.comm(o), choose.data_set(o), choose.stage(o)
    with ledger.set_aside():
        units, batches = choose.units(o, data.task, comm.size), choose.batches(o, data, comm)
        stage.setup(units, comm, choose.optimizer(o))
        book = dict(vars(ledger))
    guard = choose.guard(o, units)
    for number in range(WARM + TIMES):
        parts = batches.parts(0, number)
        loss_grad = guard.listen(model.loss_grad(data.classes > 0, o.batch_size, guard.scale))
        with ledger.set_aside():
            vars(ledger).update(book)
            ledger.forget_peaks()
            comm.mpi.Barrier()
            start = time.perf_counter()
            stage.step(units, comm, batches.arrays(parts), loss_grad, guard)
            seconds = time.perf_counter() - start
            peak = {"activation": ledger.peak["activation"], "all": ledger.peak_total}
        yield seconds, peak


def main() -> None:
    """Print two lines for each stage."""
    world = choose.connect()
    for number in (0, 3):
        line = [f"--stage={number}", *sys.argv[1:]]
        found = list(zip(steps(line), steps([*line, "--recompute"])))[WARM:]
        ratio = statistics.median(again[0] / plain[0] for plain, again in found)
        for which, name in enumerate(("all kept", "--recompute")):
            each = [pair[which] for pair in found]
            peak = {kind: max(peak[kind] for _, peak in each) for kind in each[0][1]}
            text = f"stage {number}  {name:12}{1e3 * statistics.median(t for t, _ in each):8.0f} ms"
            text += f"{peak['activation']:14,} of {peak['all']:,} bytes"
            if world.rank == 0:
                launch.say(text + (f"  {ratio:.2f} times as long" if which else ""))


if __name__ == "__main__":
    launch.run(main)
