"""For lesson 09: who owns each position of a flat vector."""

import numpy as np

from zero_ref.layout import FlatLayout


def owners(layout: FlatLayout) -> np.ndarray:
    """The rank that owns each position of the padded vector, (padded,): there is exactly one.

    That `shard` and `ranges` mean the same positions is asserted, too.
    """
    owner, times = np.zeros((2, layout.padded), int)
    for r in range(len(layout.counts)):
        own = layout.shard(np.arange(layout.padded), r)  # the positions that are rank r's
        owner[own], times[own] = r, times[own] + 1
        assert len(own) == layout.counts[r]
        assert [i for a, b in layout.ranges(r) for i in range(a, b)] == own[own < layout.elements].tolist()
    assert (times == 1).all()
    return owner
