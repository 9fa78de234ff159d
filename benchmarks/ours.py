"""One run of zero_ref for bench.py: `mpirun -n N python benchmarks/ours.py [options of zero_ref.train]`.

Prints one line of JSON: milliseconds per step (the median, on rank 0), and MiB of resident memory that
a rank needed beyond its imports, or on a GPU of its memory (the most of any rank).
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from memory import peak, pool

import zero_ref  # before numpy, see its docstring
from zero_ref.comm import Comm
from zero_ref.train import options
from zero_ref.train.run import train

assert zero_ref.__version__
before = peak()
record = train(options.parse([*sys.argv[1:], "--quiet"]))
comm = Comm()
mine = pool() if record["config"]["device"] == "gpu" else (peak() - before) / 1024
mib = max(comm.everyone(mine))
if comm.rank == 0:
    print(json.dumps({"ms": 1e3 * record["seconds_per_step"], "mib": mib}))
