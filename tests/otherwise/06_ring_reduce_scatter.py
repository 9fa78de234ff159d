"""The solution written in other ways: all of them are right."""

RIGHT = (
    """import numpy as np
from zero_ref.layout import bounds

def ring_reduce_scatter(x, comm):
    ends = bounds(x.size, [1] * comm.size)
    views = [x[a:b] for a, b in zip(ends, ends[1:])]
    partial = views[comm.rank - 1].copy()
    for shard in [(comm.rank - k) % comm.size for k in range(2, comm.size + 1)]:
        partial = comm.sendrecv(partial, (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size)
        partial += views[shard]
    return partial
""",
    """import numpy as np
from zero_ref.layout import bounds

def ring_reduce_scatter(x, comm):
    n, me = comm.size, comm.rank
    cut = np.split(x, bounds(x.size, [1] * n)[1:-1])
    total = [piece.copy() for piece in cut]
    for hop in reversed(range(1, n)):
        total[(me + hop - 1) % n] += comm.sendrecv(total[(me + hop) % n], (me + 1) % n, (me - 1) % n)
    return total[me]
""",
    """import numpy as np
from zero_ref.layout import bounds

def ring_reduce_scatter(x, comm):
    ends, n = bounds(x.size, [1] * comm.size), comm.size

    def mine(s):
        return x[ends[s % n] : ends[s % n + 1]]

    def travel(partial, hop):
        if hop == n:
            return partial
        arriving = comm.sendrecv(partial, (comm.rank + 1) % n, (comm.rank - 1) % n)
        return travel(arriving + mine(comm.rank - hop - 1), hop + 1)

    return travel(np.array(mine(comm.rank - 1)), 1)
""",
    """import numpy as np
from zero_ref.layout import bounds

def ring_reduce_scatter(x, comm):
    n, me, ends = comm.size, comm.rank, bounds(x.size, [1] * comm.size)
    partial = x[slice(*ends[(me + 1) % n :][:2])].copy()
    for hop in range(1, n):
        partial = comm.sendrecv(partial, (me - 1) % n, (me + 1) % n)
        shard = (me + 1 + hop) % n
        np.add.at(partial, np.arange(len(partial)), x[ends[shard] : ends[shard + 1]])
    return partial
""",
    """import numpy as np
from zero_ref.layout import bounds

def ring_reduce_scatter(x, comm):
    n, me, ends = comm.size, comm.rank, bounds(x.size, [1] * comm.size)
    hop, partial = 0, x[ends[me - 1 + n * (me == 0)] : ends[me - 1 + n * (me == 0) + 1]].copy()
    while (hop := hop + 1) < n:
        if me % 2 == 0 and not (n % 2 and me == n - 1):
            comm.send(partial, (me + 1) % n)
            arriving = comm.recv((me - 1) % n)
        else:
            arriving = comm.recv((me - 1) % n)
            comm.send(partial, (me + 1) % n)
        shard = (me - hop - 1) % n
        partial = x[ends[shard] : ends[shard + 1]] + arriving
    return partial
""",
    """import numpy as np
from zero_ref.layout import bounds

class Shards(list):
    def __init__(self, x, n):
        ends = bounds(x.size, [1] * n)
        super().__init__(x[a:b] for a, b in zip(ends, ends[1:]))

def ring_reduce_scatter(x, comm):
    shards, n = Shards(x, comm.size), comm.size
    buffers = [shards[(comm.rank - 1) % n].copy(), None]
    for hop in range(1, n):
        buffers[hop % 2] = comm.sendrecv(buffers[(hop + 1) % 2], (comm.rank + 1) % n, (comm.rank - 1) % n)
        np.add(buffers[hop % 2], shards[(comm.rank - 1 - hop) % n], out=buffers[hop % 2])
    return buffers[(n - 1) % 2]
""",
    """import functools
import numpy as np
from zero_ref.layout import bounds

def ring_reduce_scatter(x, comm):
    n, me, ends = comm.size, comm.rank, bounds(x.size, [1] * comm.size)
    part = lambda s: x[ends[s % n] : ends[s % n + 1]]
    hop = lambda held, s: comm.sendrecv(held, (me + 1) % n, (me - 1) % n) + part(s)
    return functools.reduce(hop, range(me - 2, me - n - 1, -1), part(me - 1).copy())
""",
)
