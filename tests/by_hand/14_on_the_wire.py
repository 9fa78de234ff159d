"""Written by hand, with what must be told; "" is a pass. A function that is missing is the solution's."""

ANSWERS = (
    (
        "gathered_after_update",
        """def bytes_sent(psi, size, stage, micro_batches, itemsize):
    psi = -(-psi // size) * size
    one = psi * (size - 1) // size * itemsize
    k = micro_batches
    return {"reduce_scatter": one * (k if stage >= 2 else 1), "all_gather": one * (2 * k + 1 if stage == 3 else 1)}
""",
    ),
    (
        "pads_remainder",
        """def bytes_sent(psi, size, stage, micro_batches, itemsize):
    psi = psi + psi % size
    one = psi * (size - 1) // size * itemsize
    k = micro_batches
    return {"reduce_scatter": one * (k if stage >= 2 else 1), "all_gather": one * (2 * k if stage == 3 else 1)}
""",
    ),
    (
        "pads_bytes",
        """def bytes_sent(psi, size, stage, micro_batches, itemsize):
    nbytes = psi * itemsize
    nbytes = -(-nbytes // size) * size
    one = nbytes * (size - 1) // size
    k = micro_batches
    return {"reduce_scatter": one * (k if stage >= 2 else 1), "all_gather": one * (2 * k if stage == 3 else 1)}
""",
    ),
    (
        "around",
        """def peak_gathered(units, size, ahead):
    p = [-(-u // size) * size for u in units]
    n = len(p)
    return max(sum(p[(i + j) % n] for j in range(ahead + 1)) for i in range(n))
""",
    ),
    (
        "from_largest",
        """def peak_gathered(units, size, ahead):
    p = [-(-u // size) * size for u in units]
    i = p.index(max(p))
    return sum(p[i : i + ahead + 1])
""",
    ),
    (
        "recursion",
        """def peak_gathered(units, size, ahead):
    return max(sum(u + -u % size for u in units[: ahead + 1]), peak_gathered(units[1:], size, ahead))
""",
    ),
    (
        "",
        """import numpy as np


def bytes_sent(psi, size, stage, micro_batches, itemsize):
    shard = np.ceil(psi / size).astype(int)
    k = micro_batches
    rs, ag = np.array([[1, 1], [1, 1], [k, 1], [k, 2 * k]])[stage] * shard * (size - 1) * itemsize
    return dict(reduce_scatter=rs, all_gather=ag)
""",
    ),
    (
        "",
        """import numpy as np


def peak_gathered(units, size, ahead):
    p = -(-np.array(units) // size) * size
    return int(np.convolve(p, np.ones(ahead + 1, int)).max())
""",
    ),
    (
        "",
        """from collections import deque


def peak_gathered(units, size, ahead):
    alive, peak, waiting = deque(), 0, iter(units)
    while True:
        while len(alive) <= ahead and (u := next(waiting, None)) is not None:
            alive.append(u + -u % size)
        if not alive:
            return peak
        peak = max(peak, sum(alive))
        alive.popleft()
""",
    ),
    (
        "",
        """def peak_gathered(units, size, ahead):
    if not units:
        return 0
    return max(sum(u + -u % size for u in units[: ahead + 1]), peak_gathered(units[1:], size, ahead))
""",
    ),
)
