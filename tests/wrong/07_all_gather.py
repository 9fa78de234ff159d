"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

GATHER = "    shard = ring_reduce_scatter(x, comm)\n    return ring_all_gather(shard, x.size, comm)"

WRONG = {
    "own_slot_empty": ("    full[ends[comm.rank] : ends[comm.rank + 1]] = shard\n", ""),
    "one_hop_short": ("range(1, comm.size)", "range(1, comm.size - 1)"),
    "nothing_gathered": ("full[ends[source] : ends[source + 1]] = piece", "pass", "np.empty", "np.zeros"),
    "own_everywhere": (
        "full[ends[source] : ends[source + 1]] = piece",
        "full[ends[source] : ends[source + 1]] = shard[: ends[source + 1] - ends[source]]",
    ),
    "arrival_order": (
        "    full = np.empty(numel, shard.dtype)\n    full[ends[comm.rank] : ends[comm.rank + 1]] = shard\n",
        "    full = [shard]\n",
        "full[ends[source] : ends[source + 1]] = piece",
        "full.append(piece)",
        "return full",
        "return np.concatenate(full)",
    ),
    "rotated": ("(comm.rank - hop) % comm.size", "(comm.rank - hop + 1) % comm.size"),
    "backwards": ("(comm.rank - hop) % comm.size", "(comm.rank + hop) % comm.size"),
    "sends_its_own": ("comm.sendrecv(piece, right, left)", "comm.sendrecv(shard, right, left)"),
    "adds": (
        "piece = comm.sendrecv(piece, right, left)",
        "piece = shard + comm.sendrecv(piece, right, left)",
    ),
    "tail_lost": (
        "ends = bounds(numel, [1] * comm.size)",
        "n = numel // comm.size\n    ends = [r * n for r in range(comm.size + 1)]",
        "ends[comm.rank + 1]] = shard",
        "ends[comm.rank + 1]] = shard[:n]",
        "ends[source + 1]] = piece",
        "ends[source + 1]] = piece[:n]",
    ),
    "returns_shape": ("np.empty(numel, ", "np.empty(numel + 1, "),
    "returns_dtype": ("np.empty(numel, shard.dtype)", "np.empty(numel)"),
    "part_of_input": (
        "    ends = bounds(numel",
        "    if comm.size == 1:\n        return shard\n    ends = bounds(numel",
    ),
    "changed_input": ("    return full\n", "    shard[:] = 0\n    return full\n"),
    "one_hop_too_many": ("range(1, comm.size)", "range(1, comm.size + 1)"),
    "root_bytes": (
        "    for hop",
        "    if comm.rank == 0:\n        full[ends[1] :] = np.concatenate([full[:0], *(comm.recv(r) for r in range(1, comm.size))])\n"
        "        for r in range(1, comm.size):\n            comm.send(full, r)\n        return full\n    comm.send(shard, 0)\n    return comm.recv(0)\n    for hop",
    ),
    "more_bytes": (
        "piece = comm.sendrecv(piece, right, left)",
        "piece = comm.sendrecv(piece, right, left)\n        comm.sendrecv(full, right, left)",
    ),
    "not_a_ring": (
        "comm.sendrecv(piece, right, left)",
        "comm.sendrecv(shard, (comm.rank + hop) % comm.size, (comm.rank - hop) % comm.size)",
    ),
    "hang_circle": (
        "piece = comm.sendrecv(piece, right, left)",
        "comm.send(piece, right)\n        piece = comm.recv(left)",
    ),
    "hang_absent": ("    for hop", "    if comm.rank == 2:\n        return full\n    for hop"),
    "raised": (
        "ends = bounds(numel, [1] * comm.size)",
        "n = shard.size\n    ends = [r * n for r in range(comm.size + 1)]",
    ),
    "not_gathered": ("return ring_all_gather(shard, x.size, comm)", "return shard"),
    "averaged": (
        "return ring_all_gather(shard, x.size, comm)",
        "return ring_all_gather(shard / comm.size, x.size, comm)",
    ),
    "n_times": (
        GATHER,
        "    shard = ring_reduce_scatter(x, comm)\n    return ring_all_gather(shard * comm.size, x.size, comm)",
    ),
    "own_x": (
        "return ring_all_gather(shard, x.size, comm)",
        "ring_all_gather(shard, x.size, comm)\n    return x.copy()",
    ),
    "own_part_missing": (
        "return ring_all_gather(shard, x.size, comm)",
        "return ring_all_gather(shard, x.size, comm) - x",
    ),
    "own_part_twice": (
        "return ring_all_gather(shard, x.size, comm)",
        "return ring_all_gather(shard, x.size, comm) + x",
    ),
    "part_missing": (
        GATHER,
        "    total, piece = x.copy(), x\n    for _ in range(comm.size - 2):\n"
        "        piece = comm.sendrecv(piece, (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size)\n        total = total + piece\n    return total",
    ),
    "not_reduced": (
        GATHER,
        "    ends = bounds(x.size, [1] * comm.size)\n    return ring_all_gather(x[ends[comm.rank] : ends[comm.rank + 1]], x.size, comm)",
    ),
    "ranks_differ": (
        GATHER,
        "    total, piece = x.copy(), x\n    for _ in range(comm.size - 1):\n"
        "        piece = comm.sendrecv(piece, (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size)\n        total = total + piece\n    return total",
    ),
    "gathers_all": (
        GATHER,
        "    parts, piece = {comm.rank: x}, x\n    for hop in range(1, comm.size):\n"
        "        piece = comm.sendrecv(piece, (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size)\n        parts[(comm.rank - hop) % comm.size] = piece\n"
        "    return sum((parts[r] for r in range(comm.size)), 0 * x)",
    ),
    "rounded": (
        "return ring_all_gather(shard, x.size, comm)",
        'return ring_all_gather(shard.astype("float32"), x.size, comm).astype("float64")',
    ),
}
