"""`python failing.py MODULE FUNCTION RANK CALL STATEMENT [options of zero_ref.train ...]`

Trains, but on rank RANK the CALLth call (from 0) of the function runs STATEMENT instead.
"""

import importlib
import sys

from zero_ref import launch
from zero_ref.train.__main__ import main


def plant(module: str, function: str, rank: int, call: int, statement: str) -> None:
    owner = importlib.import_module(module)
    *path, name = function.split(".")
    for part in path:
        owner = getattr(owner, part)
    original, calls = getattr(owner, name), iter(range(10**9))

    def planted(*args, **kwargs):
        if launch.rank_by_launcher() == rank and next(calls) == call:
            exec(statement)
        return original(*args, **kwargs)

    setattr(owner, name, planted)


def train() -> None:
    plant(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
    main(sys.argv[6:])


launch.run(train)
