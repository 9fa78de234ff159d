"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

ADD = "u.grad += comm.reduce_scatter(full, u.layout)"
ZERO3 = '{"after forward": [drop], "before backward": [gather]}'

WRONG = {
    "wrong_table": ('"gradient ready"', '"gradient_ready"'),
    "kept_after_forward": (ZERO3, '{"before backward": [gather]}'),
    "no_gather_backward": (ZERO3, '{"after forward": [drop]}'),
    "no_gather_forward": ('"before forward": [gather], ', ""),
    "not_lent": ('lend(u, "data", comm', 'setattr(u, "whole", comm', "u.layout))\n", "u.layout))\n"),
    "zero2_drops": ("if stage == 3", "if stage"),
    "gathers_more": ("    if stage == 3:", '    table |= {"before backward": [gather]}\n    if stage == 3:'),
    "reduce_too_early": (
        '"gradient ready": [reduce, drop]',
        '"before backward": [reduce], "gradient ready": [drop]',
    ),
    "own_only": (ADD, "u.grad += comm.shard(full, u.layout)"),
    "no_reduce": ("[reduce, drop]", "[drop]"),
    "reduces_twice": (
        "[reduce, drop]",
        "[reduce, again, drop]",
        "    table =",
        "    def again(u):\n        comm.reduce_scatter(np.zeros(u.layout.padded), u.layout)\n\n    table =",
    ),
    "reduces_late": (
        "    def gather",
        "    waiting = []\n\n    def gather",
        ADD,
        "waiting.append((u, full))\n        while waiting and u.first:\n            one, vector = waiting.pop(0)\n            one.grad += comm.reduce_scatter(vector, one.layout)",
    ),
    "not_cleared": ("            u.tensors[name].grad = None\n", ""),
    "kept_after_backward": ("[reduce, drop]", "[reduce]"),
    "still_alive": (
        'lend(u, "data", comm.all_gather(u.param, u.layout))',
        'u.whole = comm.all_gather(u.param, u.layout)\n        lend(u, "data", u.whole)',
    ),
    "padding": ("np.zeros(", "np.empty("),
    "grad_length": (ADD, "comm.reduce_scatter(full, u.layout)\n        u.grad = full"),
    "overwrites": ("u.grad += ", "u.grad[...] = "),
    "averaged": (ADD, ADD + " / comm.size"),
    "not_kept": ("u.grad += comm", "comm"),
    "bias_missing": (
        "            view[...] =",
        '            if name == "weight":\n                view[...] =',
    ),
    "later_steps": (
        ADD,
        ADD + "\n        seen.append(u)\n        u.grad *= 1 + (len(seen) > 2 + 2 * (comm.size < 3))",
        "    def gather",
        "    seen = []\n\n    def gather",
    ),
    "other_bits": (ADD, "u.grad += comm.reduce_scatter(full * 0.7, u.layout) / 0.7"),
    "hang_absent": ("    def drop", "    if comm.rank == 1:\n        return {}\n\n    def drop"),
    "hang_differs": (
        '"before forward": [gather]',
        '"before forward": [gather] if comm.rank == 0 else [early]',
        "    table =",
        "    def early(u):\n        comm.reduce_scatter(np.zeros(u.layout.padded), u.layout)\n\n    table =",
    ),
    "raised": ("view[...] = u.tensors[name].grad", "view[...] = u.tensors[name].grad[name]"),
}
