"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

RECURSIVE = """    def visit(node, g):
        for parent, slope in node.parents:
            {body}

    root.grad = 1.0
    visit(root, 1.0)
    return
    below, to_visit"""

WRONG = {
    "starts_at_zero": ("    root.grad = 1.0\n", ""),
    "starts_at_value": ("root.grad = 1.0", "root.grad = root.value"),
    "slope_left_out": ("slope * node.grad", "node.grad"),
    "slope_alone": ("slope * node.grad", "slope"),
    "one_level": ("sorted(below, reverse=True)", "sorted(below)"),
    "one_parent": ("slope * node.grad\n", "slope * node.grad\n            break\n"),
    "assigns": ("parent.grad += slope", "parent.grad = slope"),
    "too_early": ("sorted(below, reverse=True)", "below", "to_visit.pop()", "to_visit.pop(0)"),
    "counts_twice": (
        "    below, to_visit",
        RECURSIVE.format(body="parent.grad += slope * node.grad\n            visit(parent, g)"),
    ),
    "stale": ("        if node.parents:\n            node.grad = 0.0\n", ""),
    "leaves_cleared": (
        "    root.grad = 1.0",
        "    for node in below.values():\n        node.grad = 0.0\n    root.grad = 1.0",
    ),
    "remembers": (
        "def backward(root):",
        "seen = set()\n\n\ndef backward(root):",
        "        node = below[number]",
        "        node = below[number]\n        if number in seen:\n            continue\n        seen.add(number)",
    ),
    "never_ends": ("to_visit.pop()", "to_visit[-1]"),
    "every_path": (
        "    below, to_visit",
        RECURSIVE.format(
            body="visit(parent, slope * g)\n            parent.grad += 0.0 if parent.parents else slope * g"
        ),
    ),
    "again_and_again": (
        "    for number in sorted(below, reverse=True):\n        node = below[number]\n",
        "    while below:\n        used = [parent for node in below.values() for parent, _ in node.parents]\n"
        "        node = next(n for n in below.values() if n not in used)\n        del below[node.number]\n",
    ),
    "changed_nodes": ("            node.grad = 0.0\n", "            node.grad = node.value = 0.0\n"),
    "recursion": (
        "    below, to_visit = {root.number: root}, [root]\n    while to_visit:\n        for parent, _ in to_visit.pop().parents:\n"
        "            if parent.number not in below:\n                below[parent.number] = parent\n                to_visit.append(parent)\n",
        "    below = {}\n\n    def collect(node):\n        below[node.number] = node\n        for parent, _ in node.parents:\n"
        "            if parent.number not in below:\n                collect(parent)\n\n    collect(root)\n",
    ),
    "keeps_graph": ("def backward(root):", "kept = []\n\n\ndef backward(root):\n    kept.append(root)"),
    "all_times": ("slope * node.grad", "2 * slope * node.grad"),
    "raised": ("for parent, slope in node.parents", "for parent in node.parents"),
    "endless": ("    root.grad = 1.0", "    while to_visit == []:\n        pass\n    root.grad = 1.0"),
}
