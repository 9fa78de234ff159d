"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

NORM = "return math.sqrt(comm.sum(squares))"
WIDE = "wide = shard.astype(np.float64)"
ADD = "squares += float(wide @ wide)"
FACTOR = "return min(1.0, max_norm / (norm + 1e-6))"
WEIGHTS = "return [count / total for count in counts[rank]]"


def weights(formula):
    return WEIGHTS, f"n, m = len(counts), len(counts[0])\n    return [{formula} for k in range(m)]"


WRONG = {
    # global_norm
    "returns_nothing": (NORM, "math.sqrt(comm.sum(squares))"),
    "returns_type": (NORM, "return [math.sqrt(comm.sum(squares))]"),
    "local_norm": (NORM, "comm.sum(squares)\n    return math.sqrt(squares)"),
    "sum_of_norms": (NORM, "return comm.sum(math.sqrt(squares))"),
    "shards_added": (ADD, "squares += math.sqrt(wide @ wide)", NORM, "return comm.sum(squares)"),
    "norms_not_squared": (NORM, "return math.sqrt(comm.sum(math.sqrt(squares)))"),
    "no_root": (NORM, "return comm.sum(squares)"),
    "averaged": (NORM, "return math.sqrt(comm.sum(squares) / comm.size)"),
    "by_elements": (
        NORM,
        "both = comm.sum(squares), comm.sum(sum(map(len, shards)))\n    return math.sqrt(both[0] / both[1])",
    ),
    "summed_twice": (NORM, "return math.sqrt(comm.sum(comm.sum(squares)))"),
    "one_shard": ("squares +=", "squares ="),
    "largest_element": (ADD, "squares = max([squares, *abs(wide)])", NORM, "comm.sum(0)\n    return squares"),
    "not_squared": (ADD, "squares += float(abs(wide).sum())", NORM, "return comm.sum(squares)"),
    "narrow_squares": (WIDE, "wide = shard"),
    "ranks_disagree": (
        NORM,
        "norm = math.sqrt(comm.sum(squares))\n    return norm if comm.rank == 0 else 0.0",
    ),
    "changed_input": (ADD, f"{ADD}\n        shard *= shard"),
    "more_sums": (ADD, "squares += comm.sum(wide @ wide)", "comm.sum(squares)", "squares"),
    "hang_absent": (
        "    squares = 0.0",
        "    squares = 0.0\n    if not sum(map(len, shards)):\n        return 0.0",
    ),
    "raised": (ADD, f"first = wide[0]\n        {ADD}"),
    # clip_scale
    "to_do": (FACTOR, "raise NotImplementedError"),
    "enlarges": (FACTOR, "return max_norm / (norm + 1e-6)"),
    "upside_down": (FACTOR, "return min(1.0, norm / max_norm)"),
    "max_for_min": ("min(1.0", "max(1.0"),
    "returns_norm": (FACTOR, "return min(norm, max_norm)"),
    "never_clips": (FACTOR, "return 1.0"),
    "zero_when_short": (FACTOR, "return max_norm / norm if norm > max_norm else 0.0"),
    "squared_factor": (FACTOR, "return min(1.0, max_norm / (norm + 1e-6) ** 2)"),
    "divides_by_norm": (" + 1e-6", ""),
    # loss_weights
    "mean_of_means": weights("1 / (n * m)"),
    "by_micro_batches_only": weights("1 / m"),
    "by_ranks_only": weights("1 / n"),
    "own_total": weights("counts[rank][k] / sum(counts[rank])"),
    "mean_of_ranks": weights("counts[rank][k] / (sum(counts[rank]) or 1) / n"),
    "micro_batch_total": weights("counts[rank][k] / sum(row[k] for row in counts)"),
    "mean_of_micro_batches": weights("counts[rank][k] / sum(row[k] for row in counts) / m"),
    "also_by_ranks": weights("counts[rank][k] / total / n"),
    "also_by_micro_batches": weights("counts[rank][k] / total / m"),
    "also_by_both": weights("counts[rank][k] / total / (n * m)"),
    "times_ranks": weights("counts[rank][k] / total * n"),
    "times_micro_batches": weights("counts[rank][k] / total * m"),
    "for_sums": weights("1 / total"),
    "not_divided": weights("counts[rank][k]"),
    "rank_total": weights("sum(counts[rank]) / total"),
    "weights_upside_down": weights("total / counts[rank][k]"),
    "transposed": weights("counts[k][rank] / total"),
    "of_rank_0": weights("counts[0][k] / total"),
    "reversed": weights("counts[rank][m - 1 - k] / total"),
    "divides_by_count": weights("1 / (total / counts[rank][k])"),
    "empty_left_out": ("in counts[rank]]", "in counts[rank] if count]"),
    "weights_length": (WEIGHTS, "return [count / total for row in counts for count in row]"),
}
