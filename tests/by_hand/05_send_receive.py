"""Written by hand, with what must be told; "" is a pass. A function that is missing is the solution's."""

ANSWERS = (
    (
        "raise_left",
        """import numpy as np


def ring_shift(x, comm):
    N, r = comm.size, comm.rank
    if N == 1:
        return x.copy()
    if r % 2 == 0:
        comm.send(x, (r + 1) % N)
        return comm.recv((r - 1) % N)
    # TODO 奇数
    raise NotImplementedError
""",
    ),
    (
        "some_without",
        """import numpy as np


def ring_shift(x, comm):
    N, r = comm.size, comm.rank
    y = x.copy()
    if r % 2 == 0 and r + 1 < N:
        comm.send(x, r + 1)
    elif r % 2 == 1:
        y = comm.recv(r - 1)
    return y
""",
    ),
    (
        "in_pieces",
        """import numpy as np


def ring_shift(x, comm):
    N, r = comm.size, comm.rank
    y = np.zeros_like(x)
    if N == 1:
        return x.copy()
    for i in range(len(x)):
        if r % 2 == 0:
            comm.send(x[i : i + 1], (r + 1) % N)
            y[i] = comm.recv((r - 1) % N)[0]
        else:
            y[i] = comm.recv((r - 1) % N)[0]
            comm.send(x[i : i + 1], (r + 1) % N)
    return y
""",
    ),
    (
        "other_thread",
        """import numpy as np


import threading


def ring_shift(x, comm):
    N, r = comm.size, comm.rank
    if N == 1:
        return x.copy()
    t = threading.Thread(target=comm.send, args=(x, (r + 1) % N))
    t.start()
    y = comm.recv((r - 1) % N)
    t.join()
    return y
""",
    ),
    (
        "raised_no_call",
        """import numpy as np


def ring_shift(x, comm):
    rank = comm.Get_rank()
    size = comm.Get_size()
    y = np.empty_like(x)
    comm.Sendrecv(x, (rank + 1) % size, recvbuf=y, source=(rank - 1) % size)
    return y
""",
    ),
    (
        "raised_rank",
        """import numpy as np


def ring_shift(x, comm):
    N, r = comm.size, comm.rank
    if N == 1:
        return x.copy()
    if r % 2:
        y = comm.recv((r - 1) % N)
        comm.send((r + 1) % N, x)
    else:
        comm.send((r + 1) % N, x)
        y = comm.recv((r - 1) % N)
    return y
""",
    ),
    (
        "recursion",
        """import numpy as np


def ring_shift(x, comm):
    N, r = comm.size, comm.rank
    if N == 1:
        return x.copy()
    return ring_shift(x, comm)
""",
    ),
    (
        "",
        """import numpy as np


def ring_shift(x, comm):
    N, r = comm.size, comm.rank
    if N == 1:
        return x.copy()
    if r < N // 2:
        comm.send(x, (r + 1) % N)
        return comm.recv((r - 1) % N)
    y = comm.recv((r - 1) % N)
    comm.send(x, (r + 1) % N)
    return y
""",
    ),
    (
        "",
        """import numpy as np


def ring_shift(x, comm):
    N, r = comm.size, comm.rank
    if not N - 1:
        return +x
    order = (lambda: comm.recv((r - 1) % N), lambda: comm.send(x, (r + 1) % N))
    got = [f() for f in order[:: 1 if r == N - 1 else -1]]
    return next(g for g in got if g is not None)
""",
    ),
)
