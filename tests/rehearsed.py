"""Records for tests of pages, of runs that never took place: no mpirun, and a second each at most.

`ran` and `old` are dry runs that say they were computed, with made-up losses, weights and times.
"""

import functools
import json
from unittest import mock

from zero_ref.report import record
from zero_ref.train import options, rehearsal


@functools.cache
def rehearsed(line, every_rank):
    o = options.parse(["--quiet", "--chart", "--device", "meta", *line.split()])
    with mock.patch.object(
        rehearsal, "ranks_to_look_at", all_ranks if every_rank else rehearsal.ranks_to_look_at
    ):
        return json.dumps(record.finite(rehearsal.rehearse(o)))


def all_ranks(run):
    return list(range(run.world.size))


def dry(line="--ranks 3"):
    """The record of a dry run, as it is read from a file."""
    return json.loads(rehearsed(line, False))


def ran(line="--ranks 3"):
    """The record of a run, of all its ranks, which has losses, weights and times."""
    result = json.loads(rehearsed(line, True))
    del result["shown_ranks"]
    result["config"]["device"] = "cpu"
    return result | {"loss": [2.5, 1.25], "weights_sha256": "abcdef0123456789" * 4, "seconds_per_step": 0.5}


def old(line="--ranks 3"):
    """The same by older code, whose `predicted` was by formulas."""
    result = ran(line)
    for name in ("model", "task", "owned", "units"):
        del result[name]
    for rank in result["ranks"]:
        del rank["formula"]
    return result
