"""What `--offload` saves and costs: resident memory of rank 0, bytes moved in a step, and its time.

    python benchmarks/offload.py [DIR]

Each row is a run of its own on two ranks: stage 3, an MLP of 8.2 million parameters, Adam in float32, batch
64. Resident is what the process has more between steps than before the model was set up, with freed memory
given back. DIR, where the files lie: better on a disk than in memory (default: here).
"""

import os
import statistics
import subprocess
import sys
import time

ROWS = ("", "--offload host", "--offload disk:{}", "--offload disk:{} --offload-shards")
LINE = "--stage 3 --hidden 2826,2826 --batch-size 64 --quiet"
STEPS = 15


def resident() -> int:
    """Bytes of this process in memory (Linux)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(line: str) -> None:
    """Train as the options say; rank 0 prints bytes more than before, read, written, mapped, milliseconds."""
    from zero_ref import launch, model
    from zero_ref.ledger import ledger
    from zero_ref.train import choose, options

    o = options.parse(line.split())
    world = choose.connect()
    data, comm = choose.data_set(o), choose.comm(o)
    batches, units, stage = (
        choose.batches(o, data, world),
        choose.units(o, data.task, comm.size),
        choose.stage(o),
    )
    launch.give_back_freed_memory()
    before = resident()
    stage.setup(units, comm, choose.optimizer(o))
    guard, seconds = choose.guard(o, units), []
    for step in range(STEPS):
        ledger.forget_sent()
        loss_grad = model.loss_grad(True, o.batch_size)
        world.sum(0.0)
        start = time.perf_counter()
        stage.step(units, comm, batches.arrays(batches.parts(0, step)), loss_grad, guard)
        seconds.append(time.perf_counter() - start)
    launch.give_back_freed_memory()
    if world.rank == 0:
        moved = (f"{ledger.moved[way]:,}" for way in ("read", "written", "mapped"))
        print(f"{resident() - before:,}", *moved, f"{1e3 * statistics.median(seconds):.1f}", sep=" | ")


if __name__ == "__main__":
    if "PMI_RANK" in os.environ or "OMPI_COMM_WORLD_RANK" in os.environ:
        measure(sys.argv[1])
    else:
        folder = os.path.abspath(sys.argv[1] if sys.argv[1:] else ".")
        print("options | resident | read | written | mapped | ms a step")
        for row in ROWS:
            command = ["mpirun", "-n", "2", sys.executable, __file__, f"{LINE} {row.format(folder)}"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            print(row.format("DIR"), done.stdout.strip(), sep=" | ", flush=True)
