"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

SUM = "    grads = [comm.reduce_scatter(u.grad, u.layout) for u in units]\n"
REDUCE = "    for u in units:\n        comm.all_reduce(u.grad, u.layout)\n"
SLICE = "    grads = [comm.shard(u.grad, u.layout) for u in units]\n"
CLIP = "    norm, scale = clip(comm, grads)\n"
SHARD = "        shard = comm.shard(u.param, u.layout)\n"
UPDATE = "        u.optimizer.update(shard, grad, scale)\n"
GATHER = "        comm.all_gather(shard, u.layout, out=u.param)\n"

WRONG = {
    "not_sharded": (
        SUM + CLIP,
        REDUCE + SLICE + CLIP,
        SHARD + UPDATE + GATHER,
        "        u.optimizer.update(u.param, u.grad, scale)\n",
    ),
    "all_reduce_and_slice": (SUM, REDUCE + SLICE),
    "own_gradient": (SUM, SLICE),
    "update_before_sum": (SUM, SLICE, UPDATE, UPDATE + "        comm.reduce_scatter(u.grad, u.layout)\n"),
    "divided_by_ranks": (
        "update(shard, grad, scale)",
        "update(shard, grad / comm.size, scale)",
        "clip(comm, grads)",
        "clip(comm, [g / comm.size for g in grads])",
    ),
    "divided_by_micro_batches": ("u.grad += grad", "u.grad += grad / len(micro_batches)"),
    "last_micro_batch_only": ("u.grad += grad", "u.grad[...] = grad"),
    "not_cleared": ("        u.grad.fill(0)\n", ""),
    "reduced_twice": (SUM, REDUCE + SUM),
    "summed_again": (
        "    loss = 0.0\n",
        "    loss, grads = 0.0, [0.0 for _ in units]\n",
        SUM,
        "",
        "        loss += part\n",
        "        loss += part\n        grads = [s + comm.reduce_scatter(u.grad, u.layout) for s, u in zip(grads, units)]\n",
    ),
    "not_gathered": (GATHER, ""),
    "gathered_before_update": (UPDATE + GATHER, GATHER + UPDATE),
    "update_lost": (
        SHARD,
        "        shard = comm.shard(u.param, u.layout).copy()\n",
        "all_gather(shard,",
        "all_gather(comm.shard(u.param, u.layout),",
    ),
    "first_shard_of_parameters": (SHARD, "        shard = u.param[: len(grad)]\n"),
    "first_shard_of_gradient": (
        SUM,
        REDUCE + SLICE,
        UPDATE,
        "        u.optimizer.update(shard, u.grad[: len(shard)], scale)\n",
    ),
    "updates_too_often": (UPDATE, UPDATE + UPDATE),
    "norm_times_ranks": (SUM, REDUCE + SLICE, "clip(comm, grads)", "clip(comm, [u.grad for u in units])"),
    "norm_before_sum": (SUM + CLIP, "    norm, scale = clip(comm, [u.grad for u in units])\n" + SUM),
    "norm_of_parameters": ("clip(comm, grads)", "clip(comm, [comm.shard(u.param, u.layout) for u in units])"),
    "norm_per_unit": (CLIP, "", UPDATE, "        norm, scale = clip(comm, [grad])\n" + UPDATE),
    "clip_exchanged": ("norm, scale = clip", "scale, norm = clip"),
    "not_passed_back": ("g, grad = u.backward", "_, grad = u.backward"),
    "scale_not_used": ("grad, scale)", "grad, 1.0)"),
    "scale_used_twice": (UPDATE, "        grad *= scale\n" + UPDATE),
    "loss_of_all_ranks": ("return loss,", "return comm.sum(loss),"),
    "loss_of_last_micro_batch": ("loss += part", "loss = part"),
    "reduces_each_micro_batch": (
        "    loss = 0.0\n",
        "    loss, grads = 0.0, [0.0 for _ in units]\n",
        SUM,
        "",
        "        loss += part\n",
        "        loss += part\n        grads = [s + comm.reduce_scatter(u.grad, u.layout) for s, u in zip(grads, units)]\n"
        "        for u in units:\n            u.grad.fill(0)\n",
    ),
    "second_copy": (GATHER, "        u.param = comm.all_gather(shard, u.layout)\n"),
    "two_gradients": ("            del grad\n", ""),
    "other_bits": (SUM, SUM + "    grads = [grad / comm.size * comm.size for grad in grads]\n"),
    "hang_differs": (
        "    for u, grad in zip(units, grads):\n",
        "    for u, grad in list(zip(units, grads))[:: 1 if comm.rank else -1]:\n",
    ),
    "hang_absent": (
        "    loss = 0.0\n",
        "    loss = 0.0\n    if not sum(len(x) for x, _ in micro_batches):\n        return 0.0, 0.0\n",
    ),
    "unfit": (UPDATE, "        u.optimizer.update(u.param, grad, scale)\n"),
    "returns_nothing": ("return loss, norm", "print(loss, norm)"),
}
