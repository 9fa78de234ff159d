"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

ADD = "            u.grad += comm.reduce_scatter(grad, u.layout)\n"
CLIP = "    norm, scale = clip(comm, [u.grad for u in units])\n"
SHARD = "        shard = comm.shard(u.param, u.layout)\n"
UPDATE = "        u.optimizer.update(shard, u.grad, scale)\n"
GATHER = "        comm.all_gather(shard, u.layout, out=u.param)\n"

WRONG = {
    "not_sharded": (
        ADD,
        "            u.grad += grad\n",
        CLIP,
        "    for u in units:\n        comm.all_reduce(u.grad, u.layout)\n    norm, scale = clip(comm, [comm.shard(u.grad, u.layout) for u in units])\n",
        SHARD + UPDATE + GATHER,
        "        u.optimizer.update(u.param, u.grad, scale)\n",
    ),
    "all_reduce_and_slice": (
        ADD,
        "            comm.all_reduce(grad, u.layout)\n            u.grad += comm.shard(grad, u.layout)\n",
    ),
    "reduced_at_the_end": (
        "    loss = 0.0\n",
        "    loss, whole = 0.0, []\n",
        ADD,
        "            whole.append((u, grad))\n",
        CLIP,
        "    for u, grad in whole:\n        u.grad += comm.reduce_scatter(grad, u.layout)\n" + CLIP,
    ),
    "view_keeps_whole": (
        ADD,
        "            mine = comm.shard(grad, u.layout)\n            mine[...] = u.grad + comm.reduce_scatter(grad, u.layout)\n            u.grad = mine\n",
    ),
    "two_gradients": ("            del grad\n", ""),
    "gradients_kept": (
        "    loss = 0.0\n",
        "    loss, keep = 0.0, []\n",
        "            del grad\n",
        "            keep.append(grad)\n",
    ),
    "own_gradient": (ADD, "            u.grad += comm.shard(grad, u.layout)\n"),
    "last_micro_batch_only": ("u.grad += comm", "u.grad[...] = comm"),
    "divided_by_ranks": ("reduce_scatter(grad, u.layout)", "reduce_scatter(grad, u.layout) / comm.size"),
    "divided_by_micro_batches": (
        "reduce_scatter(grad, u.layout)",
        "reduce_scatter(grad, u.layout) / len(micro_batches)",
    ),
    "reduced_twice": (ADD, "            comm.all_reduce(grad, u.layout)\n" + ADD),
    "not_cleared": ("        u.grad.fill(0)\n", ""),
    "not_gathered": (GATHER, ""),
    "gathered_before_update": (UPDATE + GATHER, GATHER + UPDATE),
    "update_lost": (
        SHARD,
        "        shard = comm.shard(u.param, u.layout).copy()\n",
        "all_gather(shard,",
        "all_gather(comm.shard(u.param, u.layout),",
    ),
    "next_shard_of_parameters": (
        SHARD,
        "        n, k = len(u.grad), (comm.rank + 1) % comm.size\n        shard = u.param[k * n : (k + 1) * n]\n",
    ),
    "first_shard_of_parameters": (SHARD, "        shard = u.param[: len(u.grad)]\n"),
    "first_shard_of_gradient": (
        ADD,
        "            comm.all_reduce(grad, u.layout)\n            u.grad += grad[: len(u.grad)]\n",
    ),
    "norm_of_parameters": ("[u.grad for", "[comm.shard(u.param, u.layout) for"),
    "norm_per_unit": (CLIP, "", UPDATE, "        norm, scale = clip(comm, [u.grad])\n" + UPDATE),
    "norm_after_clipping": ("return loss, norm", "return loss, norm * scale"),
    "clip_exchanged": ("norm, scale = clip", "scale, norm = clip"),
    "not_passed_back": ("g, grad = u.backward", "_, grad = u.backward"),
    "scale_not_used": ("u.grad, scale)", "u.grad, 1.0)"),
    "scale_used_twice": (UPDATE, "        u.grad *= scale\n" + UPDATE),
    "loss_divided": ("return loss,", "return loss / comm.size,"),
    "loss_of_last_micro_batch": ("loss += part", "loss = part"),
    "second_copy": (GATHER, "        u.param = comm.all_gather(shard, u.layout)\n"),
    "hang_differs": (
        "    for x, y in micro_batches:\n",
        "    for x, y in micro_batches:\n        if len(x) == 0:\n            continue\n",
    ),
    "hang_absent": (
        "    loss = 0.0\n",
        "    loss = 0.0\n    if not sum(len(x) for x, _ in micro_batches):\n        return 0.0, 0.0\n",
    ),
    "unfit": (UPDATE, "        u.optimizer.update(u.param, u.grad, scale)\n"),
    "returns_type": ("return loss, norm", "return [loss]"),
}
