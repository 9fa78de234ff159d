"""Written by hand, with what must be told; "" is a pass. A function that is missing is the solution's."""

ANSWERS = (
    (
        "kept_state",
        """import numpy as np


loads = {}


def assign(shapes, size):
    mine, owner = loads.setdefault(size, [0] * size), {}
    for name in sorted(shapes, key=lambda n: -shapes[n][0] * shapes[n][1]):
        r = mine.index(min(mine))
        owner[name] = r
        mine[r] += shapes[name][0] * shapes[name][1]
    return owner
""",
    ),
    (
        "uneven",
        """import numpy as np


def assign(shapes, size):
    total = sum(r * c for r, c in shapes.values())
    owner, seen = {}, 0
    for name, (r, c) in shapes.items():
        owner[name] = min(size - 1, seen * size // total)
        seen += r * c
    return owner
""",
    ),
    (
        "uneven",
        """import numpy as np


def assign(shapes, size):
    loads, owner = [0] * size, {}
    for name in sorted(shapes, key=lambda n: -sum(shapes[n])):
        r = loads.index(min(loads))
        owner[name] = r
        loads[r] += sum(shapes[name])
    return owner
""",
    ),
    (
        "in_turn",
        """import numpy as np


def assign(shapes, size):
    names = sorted(shapes, key=lambda n: -shapes[n][0] * shapes[n][1])
    order = list(range(size)) + list(range(size))[::-1]
    return {name: order[i % len(order)] for i, name in enumerate(names)}
""",
    ),
    (
        "not_sorted",
        """import numpy as np


def assign(shapes, size):
    loads, owner = [0] * size, {}
    for name in sorted(shapes):
        r = loads.index(min(loads))
        owner[name] = r
        loads[r] += shapes[name][0] * shapes[name][1]
    return owner
""",
    ),
    (
        "changed_input",
        """import numpy as np


def assign(shapes, size):
    loads, owner = [0] * size, {}
    while shapes:
        name = max(shapes, key=lambda n: shapes[n][0] * shapes[n][1])
        a, b = shapes.pop(name)
        r = loads.index(min(loads))
        owner[name] = r
        loads[r] += a * b
    return owner
""",
    ),
    (
        "never_called",
        """import numpy as np


def turn(shapes, owner, momenta, orthogonal, comm):
    out = {}
    for name in sorted(shapes):
        if name in momenta:
            m = momenta[name]
            u, _, v = np.linalg.svd(m, full_matrices=False)
            out[name] = u @ v
            for r in range(comm.size):
                if r != comm.rank:
                    comm.send(out[name], r)
        else:
            out[name] = comm.recv(owner[name]).reshape(shapes[name])
    return out
""",
    ),
    (
        "others_not_turned",
        """import numpy as np


def turn(shapes, owner, momenta, orthogonal, comm):
    out = {}
    for name in shapes:
        if owner[name] == comm.rank:
            out[name] = orthogonal(momenta[name])
            for r in range(comm.size):
                if r != comm.rank:
                    comm.send(momenta[name], r)
        else:
            out[name] = comm.recv(owner[name]).reshape(shapes[name])
    return out
""",
    ),
    (
        "",
        """import numpy as np


import heapq


def assign(shapes, size):
    heap = [(0, r) for r in range(size)]
    owner = {}
    for n, name in sorted(((a * b, name) for name, (a, b) in shapes.items()), reverse=True):
        load, r = heap[0]
        owner[name] = r
        heapq.heapreplace(heap, (load + n, r))
    return owner
""",
    ),
    (
        "",
        """import numpy as np


def turn(shapes, owner, momenta, orthogonal, comm):
    N, me = comm.size, comm.rank
    own = lambda r: [n for n in sorted(shapes) if owner[n] == r]
    out = {n: orthogonal(momenta[n]) for n in own(me)}
    pack = np.concatenate([out[n].ravel() for n in own(me)] + [np.zeros(0)])
    for hop in range(N - 1):
        pack = comm.sendrecv(pack, (me + 1) % N, (me - 1) % N)
        src, at = (me - 1 - hop) % N, 0
        for n in own(src):
            k = shapes[n][0] * shapes[n][1]
            out[n] = pack[at : at + k].reshape(shapes[n])
            at += k
    return out
""",
    ),
    (
        "",
        """import numpy as np


def turn(shapes, owner, momenta, orthogonal, comm):
    N, me = comm.size, comm.rank
    mine = {n: orthogonal(m) for n, m in momenta.items()}
    names = [[n for n in shapes if owner[n] == r] for r in range(N)]
    out = dict(mine)
    flat = np.hstack([np.empty(0)] + [mine[n].ravel() for n in names[me]])
    for d in range(1, N):
        got = comm.sendrecv(flat, (me + d) % N, (me - d) % N)
        src = (me - d) % N
        cuts = np.cumsum([shapes[n][0] * shapes[n][1] for n in names[src]])[:-1]
        for n, p in zip(names[src], np.split(got, cuts)):
            out[n] = p.reshape(shapes[n])
    return {n: out[n] for n in shapes}
""",
    ),
)
