"""Loaded by every Python that tests/launching.py starts: after the time limit, write all stacks."""

import faulthandler
import os

if "ZERO_REF_STACKS" in os.environ:
    rank = os.environ.get("PMI_RANK", "0")
    file = open(os.path.join(os.environ["ZERO_REF_STACKS"], f"rank {rank}"), "w")  # noqa: SIM115
    faulthandler.dump_traceback_later(float(os.environ["ZERO_REF_STACKS_AFTER"]), file=file)
