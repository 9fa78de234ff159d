"""The options of extras/ that change how ZeRO works, not what is trained, and which of them go together.

An extra adds its options to `add`, what it refuses to `check`, and its noun to choose.py. Who resumes a run
may choose anew: names in PASSING are not saved with a checkpoint, all others of here are.
"""

import argparse

from zero_ref.extras import codes
from zero_ref.launch.cli import positive

NARROW = ("float16", "bfloat16")  # numbers of 16 bits, see precision.py
ZEROPP = ("code_weights", "code_gradients", "hpz", "machine")
PASSING = {"group", "recompute", "machine", "hpz"}

GROUP = "deal the model inside groups of G neighbours; each group has all of it (default: one group)"
ACCUMULATE = (
    "in what the gradients of micro-batches are added up: same, the type of --dtype (default), which in 16 "
    "bits loses what is small beside the sum; or float32"
)

MACHINE = "ZeRO++: how many neighbouring ranks share a machine (default: all)"
CODE_WEIGHTS = (
    "stage 3 gathers codes of 8 bits, or fp8, and a scale for each block of B numbers (256); or none"
)
CODE_GRADIENTS = "gradients are reduced as codes of 8 or 4 bits, inside a machine and then between machines"
HPZ = "stage 3 keeps a second copy in each machine from the forward to the backward pass; needs --machine"


def add(p: argparse.ArgumentParser) -> None:
    """The options, in a part of the help of their own."""
    extra = p.add_argument_group("beyond the stages").add_argument
    extra("--group", type=positive, metavar="G", help=GROUP)
    extra("--recompute", action="store_true", help="activations once more in the backward pass, not kept")
    extra("--machine", type=positive, metavar="G", help=MACHINE)
    extra("--code-weights", type=codes.named, metavar="8[/B]", help=CODE_WEIGHTS)
    extra("--code-gradients", type=codes.named, metavar="8|4[/B]", help=CODE_GRADIENTS)
    extra("--hpz", action="store_true", help=HPZ)
    extra("--accumulate", choices=("same", "float32"), help=ACCUMULATE)


def check(p: argparse.ArgumentParser, o: argparse.Namespace) -> None:
    """Complete them; an error of the parser, in one line, where two do not go together."""
    if o.group and (o.own or o.transport == "nccl"):
        p.error("--group goes neither with --own nor with --transport nccl")
    check_zeropp(p, o)
    if o.accumulate == "float32" and o.dtype not in NARROW:
        p.error(f"--accumulate float32 is for {' and '.join(NARROW)}; in {o.dtype} nothing is gained")
    o.accumulate = None if o.accumulate == "same" else o.accumulate


def check_zeropp(p: argparse.ArgumentParser, o: argparse.Namespace) -> None:
    """The options of extras/zeropp.py."""
    o.code_weights = None if o.code_weights == "none" else o.code_weights
    o.code_gradients = None if o.code_gradients == "none" else o.code_gradients
    asked = [f"--{name.replace('_', '-')}" for name in ZEROPP if getattr(o, name)]
    if not asked:
        return
    if o.code_weights and o.code_weights.startswith("4"):
        p.error("--code-weights: 8 or fp8; weights of 4 bits would not train")
    if o.stage < 3 and (o.code_weights or o.hpz):
        p.error("--code-weights and --hpz are for --stage 3: no other gathers what it computes with")
    if o.hpz and not o.machine:
        p.error("--hpz needs --machine G: the copy is dealt to the ranks of a machine")
    if o.group:
        p.error(f"{asked[0]} deals the model to all ranks, and --group to those of a group")
    if o.own or o.transport == "nccl" or o.reduce == "ring":
        p.error(f"{asked[0]} goes neither with --own nor with --transport nccl nor with --reduce ring")
