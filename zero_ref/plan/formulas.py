"""What a rank should hold and send: the papers' formulas. The ledger says what it did.

First for a model of psi parameters, then, in `bill`, for the units of one run, to the byte. Nothing here
runs a stage or reads one, but for what it KEEPS: so these numbers prove something about the stage files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from zero_ref.layout import FlatLayout, bounds
from zero_ref.ledger import TIERS, WAYS
from zero_ref.stages import STAGES


def model_state_bytes(
    stage: int, psi: float, ranks: int, parameter: float = 4, gradient: float = 4, optimizer: float = 8
) -> dict[str, float]:
    """Bytes that one of `ranks` ranks keeps between steps, by kind, for psi (padded) parameters.

    parameter, gradient, optimizer: bytes per parameter. The defaults are Adam in float32: 16 psi,
    8 psi + 8 psi/N, 4 psi + 12 psi/N, 16 psi/N. The paper's mixed precision is 2, 2 and 12 (K):
    16 psi, 4 psi + 12 psi/N, 2 psi + 14 psi/N, 16 psi/N (arXiv 1910.02054, section 5, figure 1).
    """
    each = {"parameter": parameter, "gradient": gradient, "optimizer": optimizer}
    keeps = STAGES[stage].KEEPS
    return {kind: each[kind] * psi / (ranks if keeps[kind] == "1/N" else 1) for kind in each}


def sent_elements(stage: int, psi: float, ranks: int, micro_batches: int = 1) -> dict[str, float]:
    """Elements that one rank sends in one step, by collective, for psi (padded) parameters.

    In all 2 psi (N-1)/N at stages 0 and 1, (k + 1) psi (N-1)/N at stage 2 and 3k psi (N-1)/N at
    stage 3 with k micro-batches (the paper, section 7, leaves (N-1)/N out and has k = 1).
    """
    once = psi * (ranks - 1) / ranks
    return {name: once * times for name, times in passes(stage, micro_batches).items()}


def state_bytes(kind: type, itemsize: int, **settings: float) -> int:
    """Bytes of state per parameter of an optimizer of optim.KINDS with these settings.

    Its vectors; beside 16-bit parameters they are of float32, and one more is the master.
    """
    vectors = len(kind.vectors(**settings))  # type: ignore[attr-defined]
    return 4 * (vectors + 1) if itemsize == 2 else itemsize * vectors


def passes(stage: int, micro_batches: int = 1) -> dict[str, int]:
    """How often the whole model goes through each collective in one step; a unit is one call of each."""
    return passes_of(STAGES[stage].KEEPS, micro_batches)


def passes_of(keeps: dict[str, str], micro_batches: int = 1, gathered_until: str = "used") -> dict[str, int]:
    """The same by what a stage keeps: who has a shard of the gradient reduces in every backward pass; who
    has a shard of the parameters gathers in every forward and every backward pass, others once a step.

    gathered_until: what was gathered for a pass is dropped when it is "used", or stays until "backward".
    """
    gathers = 2 if gathered_until == "used" else 1
    return {
        "reduce_scatter": micro_batches if keeps["gradient"] == "1/N" else 1,
        "all_gather": gathers * micro_batches if keeps["parameter"] == "1/N" else 1,
    }


@dataclass(frozen=True)
class Leg:
    """One sort of collective in one step: `calls` of it for each unit, among `ranks` ranks, and the
    elements that one rank sends in all of them, to ranks of its own group and to others."""

    collective: str
    calls: float
    ranks: int
    inside: float
    between: float


def legs(stage: int, psi: float, ranks: int, micro_batches: int = 1, group: int | None = None) -> list[Leg]:
    """Sharded over all ranks. To each of the N-1 others a rank sends as much; G-1 are in its group."""
    group = group or ranks
    return [
        Leg(name, n, ranks, n * psi / ranks * (group - 1), n * psi / ranks * (ranks - group))
        for name, n in passes(stage, micro_batches).items()
    ]


def legs_in_groups(stage: int, psi: float, ranks: int, group: int, micro_batches: int = 1) -> list[Leg]:
    """Sharded inside each group of G ranks, replicated over the R = N/G groups.

    The ranks with the same shard all-reduce its gradient once a step: 2 psi/G (R-1)/R (hybrid shard of
    PyTorch FSDP, arXiv 2304.11277, whose formula 2 psi (N-1)/(GN) is a little too high; MiCS, arXiv
    2205.00119).
    """
    replicas = ranks // group
    across = sent_elements(0, psi / group, replicas)
    return legs(stage, psi, group, micro_batches) + [Leg(n, 1, replicas, 0, x) for n, x in across.items()]


def legs_hpz(psi: float, ranks: int, group: int, micro_batches: int = 1) -> list[Leg]:
    """hpZ: stage 3 over all ranks, where each group keeps a second copy of the 16-bit parameters.

    The copy, psi/G on each rank, is kept after the forward pass; the backward pass gathers it inside the
    group (ZeRO++, arXiv 2306.10209).
    """
    k, inside = micro_batches, sent_elements(0, psi, group)["all_gather"]
    forward = legs(2, psi, ranks, k, group)[0]  # k times over all ranks, as the gather of the forward pass
    return [forward, replace(forward, collective="all_gather"), Leg("all_gather", k, group, k * inside, 0)]


def transformer_block_parameters(hidden: int) -> int:
    """12 h^2 + 13 h: of one block the matrices, 3 + 1 + 4 + 4 times h^2, with biases and two norms."""
    return 12 * hidden**2 + 13 * hidden


def transformer_parameters(
    layers: int, hidden: int, vocab: int = 0, positions: int = 0, tied: bool = True
) -> int:
    """Parameters of a transformer as GPT-2 is built; without `vocab` of the blocks' matrices alone.

    12 l h^2 is what papers count: the blocks without biases, norms and embeddings (reported of arXiv
    2104.07857). With `vocab` everything: 12 l h^2 + 13 l h, the last norm 2 h, V h for the embedding (as much
    again for the output, unless it is `tied` to it) and P h for learned positions. So GPT-2 small has
    124,439,808 with 50,257 tokens and 1,024 positions.
    """
    if not vocab:
        return 12 * layers * hidden**2
    tables = vocab * (1 if tied else 2) + positions
    return layers * transformer_block_parameters(hidden) + 2 * hidden + tables * hidden


def transformer_activation_bytes(
    samples: int,
    sequence: int,
    layers: int,
    hidden: int,
    heads: int,
    itemsize: int,
    checkpointing: bool,
    vocab: int = 0,
) -> int:
    """Bytes of activations of one micro-batch of `samples` sequences of s tokens, an estimate.

    Of a block 16 h numbers a token and 2 a s for the attention of a heads to s tokens; of dropout masks a
    byte each, 2 h + a s: in 16 bits s b h (34 + 5 a s/h) a layer, arXiv 2205.05198, section 4.1 (an attention
    that keeps no scores, as FlashAttention, has 34 alone). With checkpointing each block's input, h numbers
    a token, and all of the one block that is computed again, among it its input: never more than without.
    With `vocab` the mask of the embedding, the last norm and the output, 2 h numbers, and logits in float32;
    with checkpointing they are dropped before a block is computed again.
    arXiv 1910.02054, section 3.2, counts 12 h numbers and leaves the scores out: 60 GB for GPT-2 of 1.5B
    parameters, sequences of 1024, batch 32, where this is 287 GB.
    """
    tokens = samples * sequence
    block = tokens * ((16 * itemsize + 2) * hidden + (2 * itemsize + 1) * heads * sequence)
    given = itemsize * hidden * tokens  # a block's input
    mask, output = (tokens * hidden, tokens * (2 * itemsize * hidden + 4 * vocab)) if vocab else (0, 0)
    if not checkpointing:
        return mask + layers * block + output
    return mask + (layers - 1) * given + max(block, given + output)


@dataclass
class Bill:
    """What one rank holds and sends by the formulas, as far as they say it: bytes, by kind and collective.

    peak_bytes: of each kind alone, at its own moment. Activations and buffers have no formula; a dry run
    knows them (train/dry_run.py).
    """

    resting_bytes: dict[str, int]
    peak_bytes: dict[str, int]
    sent_bytes_per_step: dict[str, int]
    between_bytes_per_step: dict[str, int]  # of those, what goes to other groups
    away_bytes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TIERS, 0))  # see plan/offload.py
    moved_bytes_per_step: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WAYS, 0))


def between_groups(shard: int, groups: int, group: int, ring: bool) -> tuple[int, int]:
    """Elements that a rank of a group sends to sum its shard with other groups: reduced, and gathered."""
    ends = bounds(shard, [1] * groups)
    parts = [b - a for a, b in zip(ends, ends[1:])]
    own, next_has = parts[group], parts[(group + 1) % groups]
    return shard - own, shard - next_has if ring else own * (groups - 1)


def bill(
    keeps: dict[str, str],
    layouts: Sequence[FlatLayout],
    rank: int,
    itemsize: int,
    state_bytes: int,
    micro_batches: int = 1,
    *,
    accumulate: int | None = None,
    prefetch: bool = False,
    overlap: bool = False,
    gathered_until: str = "used",
    ring: bool = False,
    groups: int = 1,
    group: int = 0,
) -> Bill:
    """The bill of a rank of stages 0 to 3, for any rule. It knows no stage file, only what it KEEPS.

    layouts: of each unit, in one of `groups` groups of ranks (see extras/groups.py), which has number
    `group`; rank: in it; itemsize: bytes of a parameter and of its gradient; state_bytes: of the optimizer,
    per parameter; accumulate: bytes of a number of the gradient that is kept, where it is added up in another
    type, and of what is reduced and gathered of it, where that comes after; prefetch: the next unit is
    gathered while one computes; overlap: a gradient travels while the next is computed; gathered_until: see
    passes_of; ring: in an all-gather a rank sends on what it gets, all but what its right
    neighbour began with.
    """
    size = len(layouts[0].counts)
    whole = [each.padded for each in layouts]
    own = [each.counts[rank] for each in layouts]
    next_has = [each.counts[(rank + 1) % size] for each in layouts]
    psi = {"all": sum(whole), "1/N": sum(own)}
    state = {name: psi[kept] for name, kept in keeps.items()}
    kept = accumulate or itemsize
    reduced = kept if keeps["gradient"] == "all" else itemsize  # after adding up, or before
    gathers_gradient = keeps["optimizer"] == "all"
    rest = {"parameter": itemsize * state["parameter"], "gradient": kept * state["gradient"]}
    rest["optimizer"] = state_bytes * state["optimizer"]

    peak = rest | peaks(keeps, layouts, itemsize, prefetch, overlap, gathered_until)
    # Beside what is kept: the sum of one unit, or of all units where they are reduced before the update.
    reduced_at_the_end = keeps["gradient"] == "all" and keeps["optimizer"] == "1/N"
    peak["gradient"] += reduced * (sum(own) if reduced_at_the_end else max(own))

    times = passes_of(keeps, micro_batches, gathered_until)
    gathered = sum(whole) - sum(next_has) if ring else sum(own) * (size - 1)
    sent = {
        "reduce_scatter": reduced * (sum(whole) - sum(own)) * times["reduce_scatter"],
        "all_gather": (kept if gathers_gradient else itemsize) * gathered * times["all_gather"],
        # the norm inside a group, and the loss, a float64 each, to each of the others
        "other": 8 * (size - 1) + 8 * (size * groups - 1),
    }
    hops = [between_groups(n, groups, group, ring) for n in own]
    reduces, gathers = (reduced * sum(each) * times["reduce_scatter"] for each in zip(*hops))
    between = {"reduce_scatter": reduces, "all_gather": gathers, "other": 0}
    return Bill(rest, peak, {name: sent[name] + between[name] for name in sent}, between)


def peaks(
    keeps: dict[str, str],
    layouts: Sequence[FlatLayout],
    itemsize: int,
    prefetch: bool,
    overlap: bool,
    gathered_until: str,
) -> dict[str, int]:
    """Bytes of whole units alive at once, at most: of gradients, and of gathered parameters. See `bill`."""
    whole = [each.padded for each in layouts]
    pairs = [a + b for a, b in zip(whole, whole[1:])] or whole  # neighbours, one of them on its way
    peak = {"full_gradient": itemsize * max(whole), "gathered": 0}
    if overlap:  # where blocks move, what travels is a copy: a buffer
        travels = [0 if each.blocks is not None else each.padded for each in layouts]
        peak["full_gradient"] = itemsize * max(map(sum, zip(whole, [*travels[1:], 0])))
    if keeps["parameter"] == "1/N":
        at_once = [sum(whole)] if gathered_until == "backward" else pairs if prefetch else whole
        peak["gathered"] = itemsize * max(at_once)
    return peak
