"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

WRONG = {
    "unseeded": ("np.random.default_rng([seed, epoch]).permutation", "np.random.permutation"),
    "out_of_range": ("return order[rank::size]", "return order[rank::size] + 1"),
    "all_samples": ("return order[rank::size]", "return order"),
    "same_share_for_all": ("order[rank::size]", "order[: samples // size]"),
    "processes_differ": ("[seed, epoch]", 'hash(f"{seed}/{epoch}") % 2**32'),
    "rank_in_seed": ("[seed, epoch]", "[seed, epoch, rank]"),
    "tail_dropped": ("order[rank::size]", "order[rank * (samples // size) : (rank + 1) * (samples // size)]"),
    "padded": ("order[rank::size]", "np.resize(order, -(-samples // size) * size)[rank::size]"),
    "unread": ("order[rank::size]", "order[rank + 1 :: size]"),
    "read_twice": (
        "order[rank::size]",
        "np.append(order[rank::size], order[1:2] if rank == 0 else [])".replace("[])", "order[:0])"),
    ),
    "uneven": (
        "order[rank::size]",
        "order[rank * (samples // size) : (rank + 1) * (samples // size) if rank < size - 1 else samples]",
    ),
    "not_shuffled": ("np.random.default_rng([seed, epoch]).permutation(samples)", "np.arange(samples)"),
    "one_order": ("[seed, epoch]", "0"),
    "same_every_epoch": ("[seed, epoch]", "seed"),
    "seed_ignored": ("[seed, epoch]", "epoch"),
    "shuffled_inside": (
        "np.random.default_rng([seed, epoch]).permutation(samples)",
        "np.arange(samples)",
        "return order[rank::size]",
        "return np.random.default_rng([seed, epoch]).permutation(order[rank * samples // size : (rank + 1) * samples // size])",
    ),
    "seed_plus_epoch": ("[seed, epoch]", "seed + epoch"),
    "global_random": (
        "    order = np.random.default_rng([seed, epoch]).permutation(samples)",
        "    np.random.seed(1000 * seed + epoch)\n    order = np.random.permutation(samples)",
    ),
    "owner_changes": (
        'int.from_bytes(digest, "little") % size',
        "int(np.random.default_rng().integers(size))",
    ),
    "owner_range": (" % size\n", "\n"),
    "owner_salted": ('int.from_bytes(digest, "little") % size', "hash(name) % size"),
    "owner_order": (
        'int.from_bytes(digest, "little") % size',
        "SEEN.setdefault(name, len(SEEN)) % size",
        "def owner",
        "SEEN = {}\n\n\ndef owner",
    ),
    "owner_none": ('"little") % size', '"little") % max(1, size - 1)'),
    "owner_few": ('int.from_bytes(digest, "little") % size', 'int.from_bytes(name.encode(), "big") % size'),
    "raised": ("name.encode()", "name"),
    "returns_type": ("return order[rank::size]", "return list(order[rank::size])"),
    "returns_nothing": ("return order[rank::size]", "print(order[rank::size])"),
    "returns_dtype": ("return order[rank::size]", "return np.isin(np.arange(samples), order[rank::size])"),
}
