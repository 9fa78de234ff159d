"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

NAME = 'f"step-{step:08d}-rank-{comm.rank:05d}-of-{comm.size:05d}"'
ORDER = 'sorted(folder.glob("step-*.npz"))'
CHECK = "complete = [key for key, files in found.items() if len(files) == key[1]]"
BOUNDS = "ends = bounds(old[-1], [1] * comm.size)"
SHARDS = "shards = [opened.enter_context(np.load(path)) for path in found[step, size]]"
WHOLE = (
    "max(0, low - start) : max(0, high - start)",
    ":",
    "np.concatenate(pieces)",
    "np.concatenate(pieces)[low:high]",
)

# A checkpoint of rank-00000.npz, rank-00001.npz ..., each with its step and its N: nothing else in the names.
PLAIN = (
    NAME,
    'f"rank-{comm.rank:05d}"',
    "**state)",
    "step=step, size=comm.size, **state)",
    "    found = {}\n    for path in " + ORDER + ':\n        _, step, _, _, _, size = path.stem.split("-")\n'
    "        found.setdefault((int(step), int(size)), []).append(path)\n"
    "    " + CHECK + '\n    if not complete:\n        raise ValueError(f"{folder}: no complete checkpoint")\n'
    "    step, size = max(complete)\n",
    "",
)
PLAIN_LOAD = (
    "        first = np.load(folder / 'rank-00000.npz')\n        step = int(first['step'])\n"
    "        shards = [np.load(folder / f'rank-{r:05d}.npz') for r in range(int(first['size']))]"
)

WRONG = {
    "raise_left": ("    found = {}", "    raise NotImplementedError\n    found = {}"),
    "spoke": ("    name = f", "    comm.barrier()\n    name = f"),
    "deletes_others": (
        "    name = f",
        "    if comm.rank == 0:\n        for old in folder.iterdir():\n            old.unlink()\n    name = f",
    ),
    "same_name": ("rank-{comm.rank:05d}", "rank-0"),
    "writes_nothing": ("    name = f", "    if comm.rank > 0:\n        return\n    name = f"),
    "pickled": ("**state)", "state=state)"),
    "only_param": ("**state)", 'param=state["param"])'),
    "too_small": ("**state)", '**{k: x.astype("float16") for k, x in state.items()})'),
    "changed_input": ("    os.replace", '    state["m"][...] = 0\n    os.replace'),
    "step_lost": ("return state, step", "return state, 0"),
    "moments_missing": (
        "return state, step",
        'state["m"], state["v"] = np.zeros_like(state["m"]), np.zeros_like(state["v"])\n    return state, step',
    ),
    "m_v_swapped": ("**state)", 'param=state["param"], m=state["v"], v=state["m"])'),
    "old_cuts": (
        "for start, shard in zip(old, shards)",
        "for shard in shards[comm.rank : comm.rank + 1]",
        "max(0, low - start) : max(0, high - start)",
        ":",
    ),
    "whole_returned": ("max(0, low - start) : max(0, high - start)", ":"),
    "first_file_only": (SHARDS, "shards = [np.load(found[step, size][0])]"),
    "string_order": ("rank-{comm.rank:05d}", "rank-{comm.rank}"),
    "other_order": (ORDER, 'sorted(folder.glob("step-*.npz"), reverse=True)'),
    "tail_lost": (BOUNDS, "ends = [r * (old[-1] // comm.size) for r in range(comm.size + 1)]"),
    "other_cuts": (
        BOUNDS,
        "ends = [min(old[-1], r * -(-old[-1] // comm.size)) for r in range(comm.size + 1)]",
    ),
    "padding_saved": (
        "    with open",
        "    state = {k: np.pad(x, (0, -x.size % comm.size)) for k, x in state.items()}\n    with open",
    ),
    "takes_missing": (CHECK, "complete = [key for key, files in found.items() if len(files) >= key[1] - 1]"),
    "takes_damaged": (
        SHARDS,
        "shards = []\n        for path in found[step, size]:\n            try:\n                shards.append(np.load(path))\n"
        "            except Exception:\n                continue",
    ),
    "older_taken": (
        "(int(step), int(size))",
        "(step.lstrip('0'), int(size))",
        "return state, step",
        "return state, int(step)",
    ),
    "leftovers_mixed": (
        *PLAIN,
        "        " + SHARDS,
        "        shards = [np.load(path) for path in sorted(folder.glob('rank-*.npz'))]\n"
        "        step = int(shards[0]['step'])\n        if len(shards) < int(shards[0]['size']):\n            raise ValueError('a file is missing')",
    ),
    "refuses_good": (
        CHECK,
        CHECK + "\n    if len(found) > 1:\n        raise ValueError(f'{folder}: several checkpoints')",
    ),
    "mixed_steps": (*PLAIN, "        " + SHARDS, PLAIN_LOAD),
    "old_lost": (
        *PLAIN,
        "        " + SHARDS,
        PLAIN_LOAD
        + "\n        if any(int(shard['step']) != step for shard in shards):\n            raise ValueError('several steps')",
    ),
    "reads_whole": WHOLE,
    "returns_dtype": ("np.concatenate(pieces)", "np.concatenate(pieces).astype('float64')"),
    "returns_type": ("return state, step", "return state"),
    "raised": ("return state, step", "return state[step], step"),
}
