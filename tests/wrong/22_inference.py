"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

LOOP = "        for u in units:\n            full = comm.all_gather(u.param, u.layout)\n"

WRONG = {
    "shard_as_whole": ("full = comm.all_gather(u.param, u.layout)", "full = u.param"),
    "layers_reversed": ("for u in units", "for u in reversed(units)"),
    "not_passed_on": ("u.forward(full, x)", "u.forward(full, batches[number])"),
    "layer_missing": ("for u in units", "for u in units[:-1]"),
    "first_layer_only": (
        "            del full\n        if here:",
        "            del full\n            break\n        if here:",
    ),
    "outputs_reversed": ("outputs.append(x)", "outputs.insert(0, x)"),
    "empty_outputs": (
        "        if here:\n            outputs",
        "        if here or True:\n            outputs",
        "if here else None",
        "if here else batches[0][:0] if batches else __import__('numpy').zeros((0, 5))",
    ),
    "last_missing": ("range(rounds)", "range(rounds - 1)"),
    "first_batch_only": ("    return outputs", "        return outputs"),
    "last_batch_only": ("range(rounds):\n", "range(rounds):\n        outputs = []\n"),
    "returns_type": ("return outputs", "return x"),
    "changed_input": (
        "        if here:\n            outputs",
        "        if here:\n            batches[number] *= 0\n            outputs",
    ),
    "whole_gathered": (
        "    for number",
        "    fulls = [comm.all_gather(u.param, u.layout) for u in units]\n    for number",
        "for u in units:\n            full = comm.all_gather(u.param, u.layout)",
        "for u, full in zip(units, fulls):",
    ),
    "kept_alive": (
        "    outputs = []",
        "    outputs, fulls = [], []",
        "            del full",
        "            fulls.append(full)",
    ),
    "two_alive": ("            del full\n", ""),
    "not_forgotten": ("                u.forget()\n", ""),
    "forgets_late": (
        "                u.forget()\n",
        "",
        "        if here:\n            outputs",
        "        if here:\n            for u in units:\n                u.forget()\n            outputs",
    ),
    "extra_gathers": (
        "            del full",
        "            del full\n            comm.all_gather(u.param, u.layout)",
    ),
    "layer_by_layer": (
        "    for number in range(rounds):",
        "    xs = list(batches)\n    for u in units:\n        full = comm.all_gather(u.param, u.layout)\n"
        "        for i, x in enumerate(xs):\n            xs[i] = u.forward(full, x)\n            u.forget()\n        del full\n    return xs\n    for number in range(rounds):",
    ),
    "extra_work": (
        "            if here:\n                x = u.forward(full, x)\n                u.forget()",
        "            if x is not None:\n                x = u.forward(full, x)\n                u.forget()",
        "if here else None",
        "if here else batches[0] if batches else None",
    ),
    "hang_absent": ("range(rounds)", "range(len(batches))"),
    "hang_differs": ("for u in units", "for u in units if here else units[::-1]"),
    "raised": ("if here else None", "if True else None"),
    "unfit": ("            if here:\n                x =", "            if True:\n                x ="),
    "returns_nothing": ("return outputs", "print(len(outputs))"),
}
