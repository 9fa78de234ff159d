"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

KEEP = "        kept.append(x)\n"
RUN = "        x = layer.run(x)[0]\n"
LOOP = "for layer, x in zip(reversed(layers), reversed(kept)):"
AGAIN = "        _, notes = layer.run(x)\n"
BACK = "        g = layer.back(notes, g)\n"
ALL = """    notes = [layer.run(x)[1] for layer, x in zip(layers, kept)]
    while notes:
        g = layers[len(notes) - 1].back(notes.pop(), g)
    return g
"""

WRONG = {
    "no_pair": ("return x, kept", "return x"),
    "returns_x": (RUN, "        x = layer.run(x)[0]\n", "return x, kept", "return kept[0], kept"),
    "stops_early": ("return x, kept", "return kept[-1], kept"),
    "first_layer": ("return x, kept", "return layers[0].run(kept[0])[0], kept"),
    "returns_nothing": ("    return g", "    g"),
    "nothing_back": (BACK, ""),
    "returns_g": (LOOP, f"given = g\n    {LOOP}", "return g", "return given"),
    "last_only": (BACK, f"{BACK}        break\n"),
    "first_to_last": (LOOP, "for layer, x in zip(layers, kept):"),
    "same_g": (LOOP, f"given = g\n    {LOOP}", BACK, "        g = layer.back(notes, given)\n"),
    "sums_g": (BACK, "        g = g + layer.back(notes, g)\n"),
    "own_output": (KEEP + RUN, RUN + KEEP),
    "first_input": ("layer.run(x)\n        g", "layer.run(kept[0])\n        g"),
    "other_input": ("reversed(kept)", "kept"),
    "twice": (BACK, f"        layer.back(notes, g)\n{BACK}"),
    "spoils": (BACK, f"{BACK}    kept[0] *= 0\n"),
    "keeps_notes": (
        "kept.append(x)\n        x = layer.run(x)[0]",
        "y, notes = layer.run(x)\n        kept.append(notes)\n        x = y",
        AGAIN,
        "",
        "layer.back(notes, g)",
        "layer.back(x, g)",
    ),
    "runs_twice": (RUN, f"        layer.run(x)\n{RUN}"),
    "from_the_start": (
        LOOP,
        "for i in reversed(range(len(layers))):\n        x = kept[0]\n"
        "        for layer in layers[:i]:\n            x = layer.run(x)[0]\n        layer = layers[i]",
    ),
    "runs_more": (AGAIN, f"        layer is layers[-1] and layer.run(x)\n{AGAIN}"),
    "all_at_once": (f"    {LOOP}\n{AGAIN}{BACK}    return g\n", ALL),
    "keeps_outputs": (
        "    return x, kept",
        "    return x, [*kept, x]",
        "reversed(kept)",
        "reversed(kept[:-1])",
    ),
    "unknown": ("        g = layer.back(notes, g)", "        g = -layer.back(notes, g)"),
    "raised": ("_, notes = layer.run(x)", "notes = layer.run(x)"),
}
