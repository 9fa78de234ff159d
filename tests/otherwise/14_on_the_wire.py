"""The solution written in other ways: all of them are right."""

RIGHT = (
    """def bytes_sent(psi, size, stage, micro_batches, itemsize):
    once = itemsize * -(-psi // size) * (size - 1)
    times = {0: (1, 1), 1: (1, 1), 2: (micro_batches, 1), 3: (micro_batches, 2 * micro_batches)}[stage]
    return dict(zip(("reduce_scatter", "all_gather"), (n * once for n in times)))

def peak_gathered(units, size, ahead):
    most = 0
    for i, _ in enumerate(units):
        most = max(most, sum(-(-unit // size) * size for unit in units[i : i + 1 + ahead]))
    return most
""",
    """import math

def bytes_sent(psi, size, stage, micro_batches, itemsize):
    shard = math.ceil(psi / size)
    others = [rank for rank in range(1, size)]
    one_pass = sum(shard * itemsize for _ in others)
    counts = {"reduce_scatter": 0, "all_gather": 0}
    for _ in range(micro_batches if stage > 1 else 1):
        counts["reduce_scatter"] += one_pass
    for _ in range(micro_batches * 2 if stage > 2 else 1):
        counts["all_gather"] += one_pass
    return counts

def peak_gathered(units, size, ahead):
    padded = [math.ceil(n / size) * size for n in units]
    windows = zip(*[padded[k:] + [0] * k for k in range(ahead + 1)])
    return max(map(sum, windows))
""",
)
