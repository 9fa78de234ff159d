"""The bytes of a run of small.py beside what is said of them, for the tests under mpirun."""

import numpy as np

from zero_ref import optim
from zero_ref.plan.formulas import state_bytes
from zero_ref.report import record
from zero_ref.train import dry_run

# Written out once more: what a stage says of itself is not what it is held against.
WHOLE = {"parameter": "all", "gradient": "all", "optimizer": "all"}
KEEPS = {0: WHOLE, 1: WHOLE | {"optimizer": "1/N"}, 2: WHOLE | {"gradient": "1/N", "optimizer": "1/N"}}
KEEPS[3] = dict.fromkeys(WHOLE, "1/N")
WORDS = {"adam": 2, "adamw": 2, "muon": 1}  # of state, of an element; of Muon see plan/muon.py


def compare(run):
    """What was measured is what the formulas say, which know no stage file, and what a dry run says."""
    o, nouns, itemsize = run.options(), run.nouns(), np.dtype(run.dtype).itemsize
    assert KEEPS[run.stage] | ({"gradient": "all"} if run.reduce_once else {}) == nouns.stage.KEEPS
    words = WORDS.get(run.optimizer, 1 if run.settings.get("momentum") else 0)
    each = 4 * words + 4 if itemsize == 2 else itemsize * words
    assert state_bytes(optim.KINDS[run.optimizer], itemsize, momentum=o.momentum) == each

    if o.reduce == "ring" and itemsize == 2:  # which go from each to each, and are no option of the command
        o.reduce = "ordered"
    said = record.bill(o, nouns)
    assert run.resting == dict.fromkeys(run.resting, 0) | said.resting_bytes
    assert {kind: run.peak[kind] for kind in said.peak_bytes} == said.peak_bytes
    assert (run.sent, run.between) == (said.sent_bytes_per_step, said.between_bytes_per_step)
    assert (run.away, run.moved) == (said.away_bytes, said.moved_bytes_per_step)

    found = dry_run.forecast(o, run.task, run.world.rank, run.world.size, sorted(set(run.sizes)))
    assert (found.resting_bytes, found.peak_bytes) == (run.resting, run.peak)
    assert found.peak_total_bytes == run.peak_total
    assert (found.sent_bytes_per_step, found.calls_per_step) == (run.sent, run.calls)
    assert found.between_bytes_per_step == run.between
    assert (found.away_bytes, found.moved_bytes_per_step) == (run.away, run.moved)
