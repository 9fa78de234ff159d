"""The options of extras/ that change how ZeRO works, not what is trained, and which of them go together.

An extra adds its options to `add`, what it refuses to `check`, and its noun to choose.py. Who resumes a run
may choose anew: names in PASSING are not saved with a checkpoint, all others of here are.
"""

import argparse
from collections.abc import Container
from typing import Any

from zero_ref import optim
from zero_ref.extras import codes, feedback
from zero_ref.extras.muon import Muon
from zero_ref.launch.cli import positive
from zero_ref.stages import STAGES

optim.KINDS.setdefault("muon", Muon)
NARROW = ("float16", "bfloat16")  # numbers of 16 bits, see precision.py
ZEROPP = ("code_weights", "code_gradients", "error_feedback", "hpz", "machine")
VARYING = ("prefetch", "overlap", "keep_after_forward", "reduce_once")  # a stage's file: see its VARIANTS
PASSING = {"group", "recompute", "bucket", "tiles", "offload", "offload_shards", *VARYING}
PASSING |= {"machine", "hpz"}

GROUP = "deal the model inside groups of G neighbours; each group has all of it (default: one group)"
BUCKET = "merge neighbouring units into one of so many elements at most (default: each is one)"
TILES = "cut a wide layer into T units: the largest; others so that no tile is longer (default: whole)"
OFFLOAD = (
    "where the optimizer's state lies, if not on the device: host, in host memory, or disk:DIR, in files "
    "without a name in the folder DIR"
)
SHARDS = "at stage 3: parameters and gradients lie there, too"
ACCUMULATE = (
    "in what the gradients of micro-batches are added up: same, the type of --dtype (default), which in 16 "
    "bits loses what is small beside the sum; or float32"
)

MACHINE = "ZeRO++: how many neighbouring ranks share a machine (default: all)"
CODE_WEIGHTS = (
    "stage 3 gathers codes of 8 bits, or fp8, and a scale for each block of B numbers (256); or none"
)
CODE_GRADIENTS = (
    "gradients are reduced as codes of 8 or 4 bits or fp8, inside a machine and then between machines"
)
FEEDBACK = (
    "what codes of gradients lose is kept, as a moving average with BETA, and sent with the next ones; "
    "dropped every T steps (LoCo's example: 0.8/1024); or none"
)
HPZ = "stage 3 keeps a second copy in each machine from the forward to the backward pass; needs --machine"
OVERLAP = "stage 2 or 3 reduces a unit's gradient while the next one computes; stage 3 with --prefetch"
KEEP = "stage 3 keeps what it gathers until the backward pass, and gathers once a micro-batch"


def add(p: argparse.ArgumentParser, without: Container[str] = ()) -> None:
    """The options, in a part of the help of their own. without: those that another command has otherwise."""
    group = p.add_argument_group("beyond the stages").add_argument

    def extra(name: str, **about: Any) -> None:
        if name not in without:
            group(name, **about)

    extra("--group", type=positive, metavar="G", help=GROUP)
    extra("--bucket", type=positive, metavar="ELEMENTS", help=BUCKET)
    extra("--tiles", type=positive, metavar="T", help=TILES)
    extra("--recompute", action="store_true", help="activations once more in the backward pass, not kept")
    extra("--machine", type=positive, metavar="G", help=MACHINE)
    extra("--code-weights", type=codes.named, metavar="8|fp8[/B]", help=CODE_WEIGHTS)
    extra("--code-gradients", type=codes.named, metavar="8|4|fp8[/B]", help=CODE_GRADIENTS)
    extra("--error-feedback", type=feedback.named, metavar="BETA[/T]", help=FEEDBACK)
    extra("--hpz", action="store_true", help=HPZ)
    extra("--offload", type=place, metavar="PLACE", help=OFFLOAD)
    extra("--offload-shards", action="store_true", help=SHARDS)
    extra("--overlap", action="store_true", help=OVERLAP)
    extra("--keep-after-forward", action="store_true", help=KEEP)
    extra("--reduce-once", action="store_true", help="stage 3 adds up whole gradients, reduced once a step")
    extra("--accumulate", choices=("same", "float32"), help=ACCUMULATE)


def check_muon(p: argparse.ArgumentParser, o: argparse.Namespace) -> None:
    """Muon needs matrices of hidden layers, and a stage that tells it of them."""
    if o.optimizer == "muon" and (o.own or o.model == "linear"):
        p.error("--optimizer muon goes neither with --own nor with --model linear, which has no hidden layer")


def check_tiles(p: argparse.ArgumentParser, o: argparse.Namespace) -> None:
    """Tiles are of a layer that is a unit by itself, and part what others would have whole."""
    if o.tiles and o.model not in ("linear", "mlp"):
        p.error(f"--tiles is for --model linear and mlp: a unit of {o.model} is more than a linear layer")
    if o.tiles and o.bucket:
        p.error("--tiles cuts what --bucket merges: give one of them")
    if o.tiles and (o.optimizer == "muon" or o.own):
        p.error("--tiles goes neither with --optimizer muon, which needs matrices whole, nor with --own")


def check_variants(p: argparse.ArgumentParser, o: argparse.Namespace) -> None:
    """The same of the options that choose another file of a stage; --overlap has --prefetch in its file."""
    if o.overlap and o.stage not in (2, 3):
        p.error(f"--overlap is for --stage 2 and 3: stage {o.stage} reduces after the backward pass")
    if o.overlap and (o.own or o.transport == "nccl" or o.reduce not in ("auto", "ordered")):
        p.error("--overlap adds in rank order: it goes with --reduce auto or ordered, not with --own or nccl")
    for name, what in (
        ("keep_after_forward", "stage {} gathers nothing to compute with"),
        ("reduce_once", "stages 0 and 1 reduce once a step, and stage 2 that does so is stage 1"),
    ):
        option = f"--{name.replace('_', '-')}"
        if getattr(o, name) and o.stage != 3:
            p.error(f"{option} is for --stage 3: {what.format(o.stage)}")
        if getattr(o, name) and (o.own or o.prefetch or o.overlap):
            p.error(f"{option} goes with none of --prefetch, --overlap and --own")
    if o.keep_after_forward and o.reduce_once:
        p.error("--keep-after-forward and --reduce-once together hold what --stage 1 holds, which sends less")
    o.prefetch = o.prefetch or (o.overlap and o.stage == 3)


def check(p: argparse.ArgumentParser, o: argparse.Namespace) -> None:
    """Complete them; an error of the parser, in one line, where two do not go together."""
    if o.group and (o.own or o.transport == "nccl"):
        p.error("--group goes neither with --own nor with --transport nccl")
    check_zeropp(p, o)
    check_muon(p, o)
    check_tiles(p, o)
    if o.accumulate == "float32" and o.dtype not in NARROW:
        p.error(f"--accumulate float32 is for {' and '.join(NARROW)}; in {o.dtype} nothing is gained")
    check_variants(p, o)
    check_offload(p, o)
    o.accumulate = None if o.accumulate == "same" else o.accumulate


def check_zeropp(p: argparse.ArgumentParser, o: argparse.Namespace) -> None:
    """The options of extras/zeropp.py."""
    for name in ("code_weights", "code_gradients", "error_feedback"):
        setattr(o, name, None if getattr(o, name) == "none" else getattr(o, name))
    asked = [f"--{name.replace('_', '-')}" for name in ZEROPP if getattr(o, name)]
    if not asked:
        return
    if o.code_weights and o.code_weights.startswith("4"):
        p.error("--code-weights: 8 or fp8; weights of 4 bits would not train")
    if STAGES[o.stage].KEEPS["parameter"] != "1/N" and (o.code_weights or o.hpz):
        p.error("--code-weights and --hpz are for --stage 3: no other gathers what it computes with")
    if o.hpz and not o.machine:
        p.error("--hpz needs --machine G: the copy is dealt to the ranks of a machine")
    if o.hpz and o.keep_after_forward:
        p.error("--hpz is of use in a second gather, and --keep-after-forward gathers once")
    if o.group and o.machine:
        p.error("--machine and --hpz do not go with --group, whose groups are what shares a machine")
    if o.own or o.transport == "nccl" or o.reduce == "ring":
        p.error(f"{asked[0]} goes neither with --own nor with --transport nccl nor with --reduce ring")
    if o.error_feedback and not o.code_gradients:
        p.error("--error-feedback needs --code-gradients: without codes nothing is lost")
    if o.error_feedback and o.dtype == "float16":
        p.error("--error-feedback does not go with float16: its loss scale changes between two gradients")


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
    if o.offload_shards and o.reduce_once:
        p.error("--offload-shards needs a gradient in shards, and --reduce-once adds up a whole one")
    if o.offload and (o.own or o.optimizer == "muon"):
        p.error("--offload goes neither with --own nor with --optimizer muon, which needs whole matrices")
