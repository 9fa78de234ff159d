"""The solution written in other ways: all of them are right."""

RIGHT = (
    """import numpy as np
from zero_ref.layout import bounds
def exchange(values, me, peers, comm):
    '''direct: values[i] to peers[i]; return list'''
    n = len(peers); got = [None]*n; got[me] = values[me]
    for hop in range(1, n):
        t, s = (me+hop)%n, (me-hop)%n
        got[s] = comm.sendrecv(values[t], peers[t], peers[s])
    return got
def group_reduce_scatter(x, group, comm):
    g, i = divmod(comm.rank, group)
    inside = [g*group + j for j in range(group)]
    between = list(range(i, comm.size, group))
    e = bounds(len(x), [1]*group)
    shard = sum(exchange([x[a:b] for a, b in zip(e, e[1:])], i, inside, comm)) + 0
    e = bounds(len(shard), [1]*len(between))
    piece = sum(exchange([shard[a:b] for a, b in zip(e, e[1:])], g, between, comm)) + 0
    return np.concatenate(exchange([piece]*len(between), g, between, comm))
def group_all_gather(shard, numel, group, comm):
    g, i = divmod(comm.rank, group)
    return np.concatenate(exchange([shard]*group, i, [g*group+j for j in range(group)], comm))
""",
    """import numpy as np
from _exercise import ring_all_gather, ring_reduce_scatter

from lessons.given.part import Part


def near(comm, group):
    return Part(comm, [r for r in range(comm.size) if r // group == comm.rank // group])


def group_reduce_scatter(x, group, comm):
    same_place = Part(comm, [r for r in range(comm.size) if (r - comm.rank) % group == 0])
    shard = ring_reduce_scatter(x, near(comm, group))
    if same_place.size == 1:
        return shard
    return ring_all_gather(ring_reduce_scatter(shard, same_place), len(shard), same_place)


group_all_gather = lambda shard, numel, group, comm: ring_all_gather(shard, numel, near(comm, group))
""",
)
