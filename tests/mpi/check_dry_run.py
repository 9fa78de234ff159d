"""A dry run is the ledger to the byte, and so is the bill, whatever is chosen together.

check_bytes.py has every stage with every rule, with AdamW in float32 and 16 bits. Here any two settings meet.
"""

import itertools
import random

import pytest
from check_bytes import RULES, small
from compared import compare

from zero_ref.comm import REDUCE
from zero_ref.train.dry_run import forecast
from zero_ref.train.options import DTYPES, NARROW

OPTIMIZERS = {
    "sgd": ("sgd", {"lr": 0.1}),
    "momentum": ("sgd", {"lr": 0.1, "momentum": 0.9}),
    "adam": ("adam", {"lr": 0.01}),
    "adamw": ("adamw", {"lr": 0.01, "weight_decay": 0.1}),
}
SETTINGS = {
    "stage": [*range(4), "3, prefetch"],
    "rule": RULES,
    "reduce": tuple(REDUCE),
    "dtype": DTYPES,
    "optimizer": tuple(OPTIMIZERS),
    "accumulate": (None, "float32"),
    "micro_batches": (1, 3),
    "batch_size": (12, 2),  # 2 leaves some ranks, and with 3 micro-batches some parts, without samples
    "shard_data": ("contiguous", "random", "hash"),
    "clip_norm": (None, 0.4),
    "classes": (True, False),
    "hidden": ((7, 5), ()),
}


NEVER = [{"reduce": "ring", "dtype": dtype} for dtype in NARROW]  # sums of 16 bits do not go around a ring
NEVER += [{"accumulate": "float32", "dtype": dtype} for dtype in set(DTYPES) - set(NARROW)]  # nothing gained
NEVER += [{"accumulate": "float32", "reduce": "ring"}]  # which is of 16 bits


def may_be(chosen):
    return not any(never.items() <= dict(chosen).items() for never in NEVER)


def covering(together):
    """Rows of settings, the same on every rank: any values of so many settings meet in one, that may."""
    draw, rows = random.Random(0), []
    wanted = (
        frozenset(zip(names, values))
        for names in itertools.combinations(SETTINGS, together)
        for values in itertools.product(*(SETTINGS[name] for name in names))
    )
    left = dict.fromkeys(filter(may_be, wanted))

    def new_in(row):
        return left.keys() & set(map(frozenset, itertools.combinations(row.items(), together)))

    while left:
        missing = dict(next(iter(left)))
        drawn = [{name: draw.choice(SETTINGS[name]) for name in SETTINGS} | missing for _ in range(40)]
        rows.append(max(filter(may_be, drawn), key=lambda row: len(new_in(row))))
        for met in new_in(rows[-1]):
            del left[met]
    return rows


@pytest.mark.parametrize("row", covering(2), ids=lambda row: " ".join(map(str, row.values())))
def test_a_dry_run_is_the_ledger_to_the_byte(row, comm):
    optimizer, settings = OPTIMIZERS[row["optimizer"]]
    chosen = row | {"optimizer": optimizer, "settings": settings}
    stage, rule = str(chosen.pop("stage")), chosen.pop("rule")
    run = small(int(stage[0]), rule, comm.size, prefetch="prefetch" in stage, **chosen).run()
    if comm.size > 2 and row["batch_size"] == 2:
        assert sum(comm.everyone(0 in map(sum, run.sizes))) > 0, "nobody has nothing to do"
    compare(run)


@pytest.mark.parametrize("stage", range(4))
def test_each_rank_is_predicted_wherever_the_dry_run_is_made(stage, comm):
    """Shards differ, and so do samples: here rank r looks at rank r + 1."""
    run = small(stage, "hash", comm.size, reduce="ring", shard_data="hash", micro_batches=3).run()
    next_rank = (comm.rank + 1) % comm.size
    sizes = comm.everyone(sorted(set(run.sizes)))[next_rank]
    said = forecast(run.options(), run.task, next_rank, comm.size, map(tuple, sizes))
    measured = [run.resting, run.peak, run.peak_total, run.sent, run.calls, run.between]
    measured += [run.away, run.moved]
    assert list(vars(said).values()) == comm.everyone(measured)[next_rank]
