"""The solution written in other ways: all of them are right."""

RIGHT = (
    """import numpy as np
def update(n, block, store, compute):
    spare = [np.zeros((2, block)), np.zeros((2, block))]
    starts = list(range(0, n, block))
    def cut(k): return starts[k], min(n, starts[k] + block)
    def buf(k):
        a, b = cut(k)
        return spare[k % 2][:, :b - a]
    ready = store.begin_read(*cut(0), buf(0))
    writes = []
    for k in range(len(starts)):
        ready()
        if k + 1 < len(starts):
            ready = store.begin_read(*cut(k + 1), buf(k + 1))
        compute(*cut(k), buf(k))
        writes.append(store.begin_write(*cut(k), buf(k)))
    for w in writes: w()
""",
    """import numpy as np


def update(n, block, store, compute):
    free = [np.empty((2, block)), np.empty((2, block))]
    later = iter([(a, min(n, a + block)) for a in range(0, n, block)])

    def begin(memory):
        for start, stop in later:
            view = memory[:, : stop - start]
            return start, stop, view, memory, store.begin_read(start, stop, view)

    queue = [begin(memory) for memory in free]
    ends = []
    while queue and (turn := queue.pop(0)):
        start, stop, view, memory, arrived = turn
        arrived()
        compute(start, stop, view)
        ends.append(store.begin_write(start, stop, view))
        queue.append(begin(memory))
    [end() for end in ends]
""",
)
