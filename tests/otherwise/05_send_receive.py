"""The solution written in other ways: all of them are right."""

RIGHT = (
    """import numpy as np

def ring_shift(x, comm):
    def send(): comm.send(x, (comm.rank + 1) % comm.size)
    def recv(): found.append(comm.recv((comm.rank - 1) % comm.size))
    found = []
    if comm.size > 1:
        [step() for step in ((send, recv) if comm.rank < comm.size - 1 else (recv, send))]
    return found[0] if found else np.array(x)
""",
    """def ring_shift(x, comm):
    n, me = comm.size, comm.rank
    if n == 1:
        return +x
    to, source = (me + 1) % n, (me + n - 1) % n
    got = comm.recv(source) if me == 0 else None
    comm.send(x, to)
    return got if me == 0 else comm.recv(source)
""",
    """def ring_shift(x, comm):
    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    steps = [lambda: comm.send(x, right), lambda: comm.recv(left)]
    if comm.size == 1:
        return x * 1
    if comm.rank & 1:
        steps.reverse()
    return [result for step in steps if (result := step()) is not None][0]
""",
)
