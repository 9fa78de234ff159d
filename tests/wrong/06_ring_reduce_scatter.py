"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

WRONG = {
    "averaged": ("return partial", "return partial / comm.size"),
    "own_part_only": (
        "range(1, comm.size)",
        "range(1, 1)",
        "ends[left] : ends[left + 1]",
        "ends[comm.rank] : ends[comm.rank + 1]",
    ),
    "shard_of_right": (
        "ends[left] : ends[left + 1]",
        "ends[comm.rank] : ends[comm.rank + 1]",
        "(comm.rank - hop - 1)",
        "(comm.rank - hop)",
    ),
    "one_hop_short": ("range(1, comm.size)", "range(1, comm.size - 1)"),
    "one_hop_too_many": ("range(1, comm.size)", "range(1, comm.size + 1)"),
    "overwrites": ("arriving + x[ends[shard] : ends[shard + 1]]", "arriving"),
    "sends_its_original": (
        "comm.sendrecv(partial, right, left)",
        "comm.sendrecv(x[ends[(comm.rank - hop) % comm.size] : ends[(comm.rank - hop) % comm.size + 1]], right, left)",
    ),
    "backwards": (
        "right, left = (comm.rank + 1) % comm.size, (comm.rank - 1)",
        "right, left = (comm.rank - 1) % comm.size, (comm.rank + 1)",
        "x[ends[left] : ends[left + 1]].copy()",
        "x[ends[right] : ends[right + 1]].copy()",
    ),
    "tail_lost": (
        "bounds(x.size, [1] * comm.size)",
        "[r * (x.size // comm.size) for r in range(comm.size + 1)]",
    ),
    "rest_on_last": (
        "bounds(x.size, [1] * comm.size)",
        "[r * (x.size // comm.size) for r in range(comm.size)] + [x.size]",
    ),
    "parts_mixed": ("(comm.rank - hop - 1)", "(comm.rank - hop)"),
    "parts_missing": (
        "partial = arriving + x[ends[shard] : ends[shard + 1]]",
        "partial = arriving + x[ends[shard] : ends[shard + 1]] * (hop != 2)",
    ),
    "parts_twice": (
        "return partial",
        "return partial + x[ends[comm.rank] : ends[comm.rank + 1]]",
    ),
    "not_a_ring": (
        "    partial =",
        "    total = x[ends[comm.rank] : ends[comm.rank + 1]].copy()\n"
        "    for hop in range(1, comm.size):\n"
        "        to, source = (comm.rank + hop) % comm.size, (comm.rank - hop) % comm.size\n"
        "        total += comm.sendrecv(x[ends[to] : ends[to + 1]], to, source)\n"
        "    return total\n    partial =",
    ),
    "changed_input": (
        "partial = arriving + x[ends[shard] : ends[shard + 1]]",
        "x[ends[shard] : ends[shard + 1]] += arriving\n        partial = x[ends[shard] : ends[shard + 1]]",
    ),
    "part_of_input": ("].copy()", "]"),
    "rounded": ("return partial", 'return partial.astype("float32").astype("float64")'),
    "more_bytes": (
        "return partial",
        "for _ in range(comm.size - 1):\n        comm.sendrecv(x, right, left)\n    return partial",
    ),
    "root_bytes": (
        "    for hop",
        "    if comm.rank == 0:\n        total = x + sum((comm.recv(r) for r in range(1, comm.size)), 0 * x)\n"
        "        for r in range(1, comm.size):\n            comm.send(total, r)\n        return total[: ends[1]].copy()\n"
        "    comm.send(x, 0)\n    return comm.recv(0)[ends[comm.rank] : ends[comm.rank + 1]].copy()\n    for hop",
    ),
    "hang_circle": (
        "arriving = comm.sendrecv(partial, right, left)",
        "comm.send(partial, right)\n        arriving = comm.recv(left)",
    ),
    "hang_absent": ("    for hop", "    if comm.rank == 2:\n        return partial\n    for hop"),
    "raised": ("ends[shard + 1]]", "ends[shard + 2]]", "x[ends[shard]", "x[ends[shard - 1]"),
    "endless": ("    for hop", "    while comm.size > 1:\n        pass\n    for hop"),
    "returns_nothing": ("return partial", "print(partial)"),
    "returns_dtype": ("return partial", 'return partial.astype("float16")'),
    "imports_mpi": ("from zero_ref.layout", "from mpi4py import MPI\nfrom zero_ref.layout"),
    "syntax": ("return partial", "return partial)"),
}
