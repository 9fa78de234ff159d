"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

SORTED = "sorted(shapes, key=lambda name: -math.prod(shapes[name]))"
LOAD = "loads[rank] += math.prod(shapes[name])"
RANK = "rank = loads.index(min(loads))"
MINE = "orthogonal(momenta[name]).reshape(-1) for name"
FOUND = "travels[start:stop].reshape(shapes[name])"
END = "    return found\n"
HOP = "            travels = comm.sendrecv(travels, right, left)\n"

WRONG = {
    "all_on_one": (RANK, "rank = 0"),
    "in_turn": (RANK, "rank = len(owner) % size"),
    "in_runs": (SORTED, "shapes", RANK, "rank = len(owner) // -(-len(shapes) // size)"),
    "not_sorted": (SORTED, "shapes"),
    "smallest_first": ("-math.prod(shapes[name]))", "math.prod(shapes[name]))"),
    "by_rows": (LOAD, "loads[rank] += shapes[name][0]", "-math.prod(shapes[name]))", "-shapes[name][0])"),
    "by_columns": (LOAD, "loads[rank] += shapes[name][1]", "-math.prod(shapes[name]))", "-shapes[name][1])"),
    "uneven": (RANK, "rank = loads.index(sorted(loads)[min(1, size - 1)])"),
    "no_rank": ("owner[name] = rank", "owner[name] = rank + 1"),
    "names": ("    return owner", "    owner.popitem()\n    return owner"),
    "ranks_differ": (
        "    return owner",
        "    import random\n    r = random.SystemRandom().randrange(10**6)\n    return {name: (rank + r) % size for name, rank in owner.items()}",
    ),
    "returns_nothing": ("    return owner", "    owner"),
    "returns_type": ("    return owner", "    return list(owner.values())"),
    "not_turned": (MINE, "momenta[name].reshape(-1) for name"),
    "others_not_turned": (
        MINE,
        "momenta[name].reshape(-1) for name",
        END,
        "    for name in momenta:\n        found[name] = orthogonal(momenta[name])\n    return found\n",
    ),
    "never_called": (MINE, "np.tanh(momenta[name]).reshape(-1) for name"),
    "turned_twice": (MINE, "orthogonal(orthogonal(momenta[name])).reshape(-1) for name"),
    "as_row": (MINE, "orthogonal(momenta[name].reshape(1, -1)).reshape(-1) for name"),
    "by_columns_read": (MINE, "orthogonal(momenta[name]).T.reshape(-1) for name"),
    "not_gathered": (HOP, "            break\n"),
    "others_empty": (
        END,
        "    for name in shapes:\n        if owner[name] != comm.rank:\n            found[name] = np.zeros(shapes[name])\n    return found\n",
    ),
    "other_order": (
        "for name in names[(comm.rank - hop) % comm.size]:",
        "for name in names[(comm.rank - hop) % comm.size][::-1]:",
    ),
    "unknown": (FOUND, "np.tanh(travels[start:stop].reshape(shapes[name]))"),
    "on_all_ranks": (MINE, "momenta[name].reshape(-1) for name", FOUND, f"orthogonal({FOUND})"),
    "too_often": ("    mine = [", "    [orthogonal(m) for m in momenta.values()]\n    mine = ["),
    "more_in_all": (END, "    comm.size > 1 and comm.sendrecv(travels, right, left)\n    return found\n"),
    "changed_input": (END, "    for m in momenta.values():\n        m *= 0\n    return found\n"),
    "returns_shape": (FOUND, "travels[start:stop]"),
    "raised": ("np.concatenate([np.zeros(0), *mine])", "np.concatenate(mine)"),
    "hang_circle": (HOP, "            comm.send(travels, right)\n            travels = comm.recv(left)\n"),
    "hang_absent": ("    right, left =", "    if not mine:\n        return {}\n    right, left ="),
}
