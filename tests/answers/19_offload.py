import numpy as np


def update(n, block, store, compute):
    two = np.empty((2, 2, block))
    cuts = [(start, min(start + block, n)) for start in range(0, n, block)]
    views = [two[i % 2][:, : stop - start] for i, (start, stop) in enumerate(cuts)]
    reads = [store.begin_read(*cuts[i], views[i]) for i in range(min(2, len(cuts)))]
    for i, (start, stop) in enumerate(cuts):
        reads[i]()
        compute(start, stop, views[i])
        written = store.begin_write(start, stop, views[i])
        if i + 2 < len(cuts):
            reads.append(store.begin_read(*cuts[i + 2], views[i + 2]))
    written()
