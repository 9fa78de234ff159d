"""The options of extras/ that change how ZeRO works, not what is trained, and which of them go together.

An extra adds its options to `add`, what it refuses to `check`, and its noun to choose.py. Who resumes a run
may choose anew: names in PASSING are not saved with a checkpoint, all others of here are.
"""

import argparse

from zero_ref.launch.cli import positive
from zero_ref.stages import STAGES

NARROW = ("float16", "bfloat16")  # numbers of 16 bits, see precision.py
PASSING = {"group", "recompute", "offload", "offload_shards"}

GROUP = "deal the model inside groups of G neighbours; each group has all of it (default: one group)"
OFFLOAD = (
    "where the optimizer's state lies, if not on the device: host, in host memory, or disk:DIR, in files "
    "without a name in the folder DIR"
)
SHARDS = "at stage 3: parameters and gradients lie there, too"
ACCUMULATE = (
    "in what the gradients of micro-batches are added up: same, the type of --dtype (default), which in 16 "
    "bits loses what is small beside the sum; or float32"
)


def add(p: argparse.ArgumentParser) -> None:
    """The options, in a part of the help of their own."""
    extra = p.add_argument_group("beyond the stages").add_argument
    extra("--group", type=positive, metavar="G", help=GROUP)
    extra("--recompute", action="store_true", help="activations once more in the backward pass, not kept")
    extra("--offload", type=place, metavar="PLACE", help=OFFLOAD)
    extra("--offload-shards", action="store_true", help=SHARDS)
    extra("--accumulate", choices=("same", "float32"), help=ACCUMULATE)


def check(p: argparse.ArgumentParser, o: argparse.Namespace) -> None:
    """Complete them; an error of the parser, in one line, where two do not go together."""
    if o.group and (o.own or o.transport == "nccl"):
        p.error("--group goes neither with --own nor with --transport nccl")
    if o.accumulate == "float32" and o.dtype not in NARROW:
        p.error(f"--accumulate float32 is for {' and '.join(NARROW)}; in {o.dtype} nothing is gained")
    check_offload(p, o)
    o.accumulate = None if o.accumulate == "same" else o.accumulate


def place(text: str) -> str:
    """What --offload takes."""
    if text != "host" and not text.partition("disk:")[2]:
        raise argparse.ArgumentTypeError(f"expected host or disk:DIR, not {text!r}")
    return text


def check_offload(p: argparse.ArgumentParser, o: argparse.Namespace) -> None:
    """An error of the parser where --offload does not go with the rest."""
    if o.offload_shards and not o.offload:
        p.error("--offload-shards needs --offload, which says where to")
    if o.offload_shards and STAGES[o.stage].KEEPS["parameter"] != "1/N":
        p.error(f"--offload-shards is for stage 3: at stage {o.stage} the parameters are no shards")
    if o.offload and o.own:
        p.error("--offload does not go with --own")
