"""The solution written in other ways: all of them are right."""

RIGHT = (
    """import numpy as np

def global_norm(shards, comm):
    own = np.concatenate([np.zeros(0), *(s.astype(float) for s in shards)])
    return float(np.sqrt(comm.sum(float(np.dot(own, own)))))

def clip_scale(norm, max_norm):
    return max_norm / norm if norm > max_norm else 1.0

def loss_weights(counts, rank):
    table = np.array(counts)
    return (table[rank] / table.sum()).tolist()
""",
    """def global_norm(shards, comm):
    return comm.sum(sum(float(e) ** 2 for s in shards for e in s)) ** 0.5

def clip_scale(norm, max_norm):
    return 1.0 / max(1.0, norm / max_norm)

def loss_weights(counts, rank):
    tokens = 0
    for row in counts:
        for n in row:
            tokens += n
    return list(map(lambda n: n / tokens, counts[rank]))
""",
    """import math
import numpy as np

def global_norm(shards, comm):
    return math.sqrt(comm.sum(math.fsum(float(np.linalg.norm(s.astype(np.float64))) ** 2 for s in shards)))

def clip_scale(norm, max_norm):
    if norm <= max_norm:
        return 1.0
    return max_norm / (norm + 1e-6)

def loss_weights(counts, rank):
    everything = sum(map(sum, counts))
    weights = []
    for k in range(len(counts[rank])):
        weights.append(counts[rank][k] / everything)
    return weights
""",
)
