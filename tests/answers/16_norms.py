import math

import numpy as np


def global_norm(shards, comm):
    squares = 0.0
    for shard in shards:
        wide = shard.astype(np.float64)
        squares += float(wide @ wide)
    return math.sqrt(comm.sum(squares))


def clip_scale(norm, max_norm):
    return min(1.0, max_norm / (norm + 1e-6))


def loss_weights(counts, rank):
    total = sum(sum(row) for row in counts)
    return [count / total for count in counts[rank]]
