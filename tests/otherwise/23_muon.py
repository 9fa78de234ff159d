"""The solution written in other ways: all of them are right."""

RIGHT = (
    """import heapq
import numpy as np
def assign(shapes, size):
    heap = [(0, r) for r in range(size)]
    out = {}
    for n in sorted(shapes, key=lambda n: (shapes[n][0]*shapes[n][1], n), reverse=True):
        load, r = heapq.heappop(heap)
        out[n] = r
        heapq.heappush(heap, (load + shapes[n][0]*shapes[n][1], r))
    return out
def turn(shapes, owner, momenta, orthogonal, comm):
    out = {n: orthogonal(m) for n, m in momenta.items()}
    for hop in range(1, comm.size):
        to, source = (comm.rank + hop) % comm.size, (comm.rank - hop) % comm.size
        mine = [n for n in sorted(shapes) if owner[n] == comm.rank]
        theirs = [n for n in sorted(shapes) if owner[n] == source]
        for k in range(max(sum(1 for n in shapes if owner[n] == r) for r in range(comm.size))):
            x = out[mine[k]] if k < len(mine) else np.zeros((0, 0))
            got = comm.sendrecv(x, to, source)
            if k < len(theirs):
                out[theirs[k]] = got
    return out
""",
    """import numpy as np


def assign(shapes, size):
    ranks = [[] for _ in range(size)]
    area = {name: np.prod(shape) for name, shape in shapes.items()}
    for name in sorted(area, key=area.get)[::-1]:
        min(ranks, key=lambda own: sum(area[n] for n in own)).append(name)
    return {name: rank for rank, own in enumerate(ranks) for name in own}


def turn(shapes, owner, momenta, orthogonal, comm):
    found = {name: orthogonal(m) for name, m in momenta.items()}
    for name in shapes:
        for other in range(comm.size):
            if other == owner[name]:
                continue
            if comm.rank == owner[name]:
                comm.send(found[name], other)
            elif comm.rank == other:
                found[name] = comm.recv(owner[name])
    return found
""",
)
