"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

CUTS = "for start in range(0, n, block)]"
FIRST = "    reads = [store.begin_read(*cuts[i], views[i]) for i in range(min(2, len(cuts)))]\n"
WAIT = "        reads[i]()\n"
COMPUTE = "        compute(start, stop, views[i])\n"
WRITE = "        written = store.begin_write(start, stop, views[i])\n"
NEXT = (
    "        if i + 2 < len(cuts):\n            reads.append(store.begin_read(*cuts[i + 2], views[i + 2]))\n"
)
END = "    written()\n"
VIEWS = "two[i % 2][:, : stop - start]"

WRONG = {
    "rest_lost": (CUTS, "for start in range(0, n // block * block, block)]", END, "    cuts and written()\n"),
    "not_computed": ("enumerate(cuts):\n", "enumerate(cuts[:-1] or cuts):\n"),
    "computed_twice": (COMPUTE, COMPUTE * 2),
    "not_waited": (WAIT, ""),
    "read_again": (NEXT, NEXT + "            store.begin_read(*cuts[i + 2], views[i + 2])\n"),
    "read_before_write": (WRITE + NEXT, NEXT + WRITE),
    "written_later": (WRITE, WRITE + "        views[i][...] = 0\n"),
    "read_too_early": (
        "store.begin_read(*cuts[i + 2], views[i + 2])",
        "store.begin_read(*cuts[i + 2], two[(i + 1) % 2][:, : cuts[i + 2][1] - cuts[i + 2][0]])",
    ),
    "written_before": (COMPUTE + WRITE, WRITE + COMPUTE),
    "not_written": (WRITE, "        written = store.begin_write(start, stop, views[i]) if i else reads[i]\n"),
    "not_read": (FIRST, "    reads = [lambda: None] * min(2, len(cuts))\n    two[...] = 0\n"),
    "other_block": (COMPUTE, "        compute(start, stop, two[(i + (i > 0)) % 2][:, : stop - start])\n"),
    "write_not_waited": (END, ""),
    "whole_state": (
        "two = np.empty((2, 2, block))",
        "two = np.empty((2, n))",
        VIEWS,
        "two[:, start:stop]",
    ),
    "three_blocks": (
        "np.empty((2, 2, block))",
        "np.empty((3, 2, block))",
        "i % 2",
        "i % 3",
        "min(2, len",
        "min(3, len",
        "i + 2",
        "i + 3",
    ),
    "read_twice": (FIRST, f"    store.begin_read(*cuts[0], views[0])\n{FIRST}"),
    "no_overlap": (
        FIRST,
        "    reads = []\n",
        WAIT,
        "        store.begin_read(start, stop, views[i])()\n",
        NEXT,
        "",
    ),
    "write_waited": (WRITE, WRITE + "        written()\n"),
    "unknown": (COMPUTE, COMPUTE + "        views[i][0, 0] += 1\n"),
    "raised": (VIEWS, "two[i % 2]"),
}
