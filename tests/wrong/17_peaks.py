"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

FULL, GATHERED = '"full_gradient": grad * largest', "param * largest if stage >= 3 else 0"
FITS = "buckets[-1] + n <= bucket"
PADDED = "[n + -n % size for n in buckets]"
OPTIMIZER, GRADIENT, PARAMETER = "shard if stage >= 1", "shard if stage >= 2", "shard if stage >= 3"

WRONG = {
    "nothing_gathered": (GATHERED, "0"),
    "gathered_always": (GATHERED, "param * largest"),
    "gathered_at_2": (GATHERED, "param * largest if stage >= 2 else 0"),
    "gathers_all": (GATHERED, "param * psi if stage >= 3 else 0"),
    "gathers_others": (GATHERED, "param * (largest - largest // size) if stage >= 3 else 0"),
    "gathers_shard": (GATHERED, "param * largest // size if stage >= 3 else 0"),
    "gathers_gradients": (GATHERED, "(param + grad) * largest if stage >= 3 else 0"),
    "gathers_last": (GATHERED, "param * padded[-1] if stage >= 3 else 0"),
    "gradient_of_shard": (FULL, '"full_gradient": grad * (largest // size if stage >= 2 else largest)'),
    "no_full_gradient": (FULL, '"full_gradient": 0'),
    "full_gradient_late": (FULL, '"full_gradient": grad * largest if stage >= 2 else 0'),
    "full_gradient_early": (FULL, '"full_gradient": grad * largest if stage < 2 else 0'),
    "all_gradients": (FULL, '"full_gradient": grad * psi'),
    "last_unit": ("max(padded)", "padded[-1]"),
    "first_unit": ("max(padded)", "padded[0]"),
    "smallest": ("max(padded)", "min(padded)"),
    "kept_whole": ("shard = psi // size", "shard = psi"),
    "kept_divided": (OPTIMIZER, "shard if size", GRADIENT, "shard if size", PARAMETER, "shard if size"),
    "kept_stage": (PARAMETER, "shard if stage >= 2"),
    "largest_layer": ("max(padded)", "max(n + -n % size for n in units)"),
    "last_first": ("for n in units:", "for n in units[::-1]:"),
    "no_limit_at_0": ("    buckets = []", "    bucket = bucket or sum(units)\n    buckets = []"),
    "bytes_exchanged": (FULL, '"full_gradient": param * largest', "param * largest if", "grad * largest if"),
    "bucket_ignored": (FITS, "False"),
    "strictly_less": (FITS, "buckets[-1] + n < bucket"),
    "one_too_many": (FITS, "buckets[-1] < bucket"),
    "all_in_one": (FITS, "bucket"),
    "cut_in_pieces": (
        "padded = ",
        "if bucket:\n        buckets = [min(bucket, sum(units) - i) for i in range(0, sum(units), bucket)]\n    padded = ",
    ),
    "not_neighbours": (
        f"        if buckets and {FITS}:\n            buckets[-1] += n\n",
        "        room = [i for i, m in enumerate(buckets) if m + n <= bucket]\n"
        "        if room:\n            buckets[room[0]] += n\n",
    ),
    "pairs_only": (f"buckets and {FITS}", f"buckets and buckets[-1] in units and {FITS}"),
    "last_bucket_lost": (PADDED, "[n + -n % size for n in buckets[:-1]] or [0]"),
    "padded_before": (
        PADDED,
        "buckets",
        "    for n in units:\n",
        "    for n in [u + -u % size for u in units]:\n",
    ),
    "padded_as_one": (PADDED, "[*buckets[:-1], buckets[-1] + -sum(buckets) % size]"),
    "not_padded": (PADDED, "buckets"),
    "arguments_ignored": ("kept += k *", "kept += 8 *"),
    "near": (FULL, '"full_gradient": grad + largest'),
    "unknown": (
        "psi, largest = sum(padded), max(padded)",
        "psi, largest = 2 * sum(padded) + 7, 3 * max(padded)",
    ),
    "total_only": (
        '    return {\n        "kept": kept,\n',
        "    return sum({\n        0: kept,\n",
        "    }",
        "    }.values())",
    ),
    "keys": ('"full_gradient"', '"gradient"'),
    "returns_nothing": ("    return {", "    {"),
    "returns_type": ('"kept": kept', '"kept": str(kept)'),
    "changed_input": ("    padded = ", "    units.clear()\n    padded = "),
    "raised": ("    padded = ", "    units[len(units)]\n    padded = "),
}
