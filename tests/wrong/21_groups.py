"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

RING = "    shard = ring_reduce_scatter(x, inside)\n"
PIECE = "    piece = ring_reduce_scatter(shard, between)\n"
END = "    return ring_all_gather(piece, shard.size, between)\n"
GATHER = "    return ring_all_gather(shard, numel, parts(group, comm)[0])\n"
CIRCLES = "    inside, between = parts(group, comm)\n"
SLICE = "from zero_ref.layout import bounds\n\n\n"
CUT = "    ends = bounds(x.size, [1] * group)\n    r = comm.rank % group\n"
ROOT = """    total = shard
    if between.rank:
        between.send(shard, 0)
        return between.recv(0)
    for source in range(1, between.size):
        total = total + between.recv(source)
    for to in range(1, between.size):
        between.send(total, to)
    return total
"""
DIRECT = """    total = shard.copy()
    for hop in range(1, between.size):
        to, source = (between.rank + hop) % between.size, (between.rank - hop) % between.size
        total += between.sendrecv(shard, to, source)
    return total
"""
PARTS = "    return Part(comm, inside), Part(comm, between)"

WRONG = {
    "inside_only": (PIECE + END, "    return shard\n"),
    "between_only": (
        RING,
        f"    from zero_ref.layout import bounds\n{CUT}    shard = x[ends[r] : ends[r + 1]].copy()\n",
    ),
    "own_only": (
        RING + PIECE + END,
        f"    from zero_ref.layout import bounds\n{CUT}    return x[ends[r] : ends[r + 1]].copy()\n",
    ),
    "both_inside": (PARTS, "    return Part(comm, inside), Part(comm, inside)"),
    "both_between": (PARTS, "    return Part(comm, between), Part(comm, between)"),
    "other_groups_only": (END, "    return ring_all_gather(piece, shard.size, between) - shard\n"),
    "too_often": (END, "    return ring_all_gather(piece, shard.size, between) * group\n"),
    "averaged": (END, "    return ring_all_gather(piece, shard.size, between) / comm.size\n"),
    "whole_vector": (
        END,
        "    return ring_all_gather(ring_all_gather(piece, shard.size, between), x.size, inside)\n",
    ),
    "of_all": (RING + PIECE + END, "    return ring_reduce_scatter(x, comm)\n"),
    "exchanged": (PARTS, "    return Part(comm, between), Part(comm, inside)"),
    "group_number": (
        END,
        "    full = ring_all_gather(ring_all_gather(piece, shard.size, between), x.size, inside)\n"
        "    from zero_ref.layout import bounds\n"
        "    ends, r = bounds(x.size, [1] * group), comm.rank // group % group\n"
        "    return full[ends[r] : ends[r + 1]].copy()\n",
    ),
    "not_gathered": (END, "    return piece\n"),
    "whole_between": (
        RING + PIECE + END,
        "    piece = ring_reduce_scatter(x, between)\n"
        "    return ring_reduce_scatter(ring_all_gather(piece, x.size, between), inside)\n",
    ),
    "more_between": (PIECE + END, DIRECT),
    "more_inside": (RING, f"{RING}    ring_all_gather(shard, x.size, inside)\n"),
    "one_does_all": (PIECE + END, ROOT),
    "gathers_between": (GATHER, f"{CIRCLES}    return ring_all_gather(shard, numel, between)\n"),
    "own_shard": (GATHER, "    return shard.copy()\n"),
    "own_first": (
        GATHER,
        f"{CIRCLES}    import numpy as np\n\n"
        "    found, travels = [shard], shard\n"
        "    for _ in range(inside.size - 1):\n"
        "        right, left = (inside.rank + 1) % inside.size, (inside.rank - 1) % inside.size\n"
        "        travels = inside.sendrecv(travels, left, right)\n"
        "        found.append(travels)\n"
        "    return np.concatenate(found)\n",
    ),
    "gathers_all_ranks": (GATHER, "    return ring_all_gather(shard, shard.size * comm.size, comm)\n"),
    "gather_leaves": (
        GATHER,
        f"{CIRCLES}    between.sendrecv(shard, between.rank - 1 if between.rank else between.size - 1, (between.rank + 1) % between.size)\n{GATHER}",
    ),
    "changed_input": (RING, f"{RING}    x *= 2\n"),
    "returns_nothing": (END, "    ring_all_gather(piece, shard.size, between)\n"),
    "returns_dtype": (
        GATHER,
        "    return ring_all_gather(shard, numel, parts(group, comm)[0]).astype('float32')\n",
    ),
    "raised": ("range(first, first + group)", "range(first + 1, first + group + 1)"),
    "hang_circle": (
        PIECE + END,
        "    between.send(shard, (between.rank + 1) % between.size)\n    return shard + between.recv((between.rank - 1) % between.size)\n",
    ),
}
