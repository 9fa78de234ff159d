"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

START = "    loss = 0.0\n"
FORWARD = "            x = u.forward(comm.all_gather(u.param, u.layout), x)\n"
BACKWARD = "            g, grad = u.backward(comm.all_gather(u.param, u.layout), g)\n"
ADD = "            u.grad += comm.reduce_scatter(grad, u.layout)\n"
CLIP = "    norm, scale = clip(comm, [u.grad for u in units])\n"
UPDATE = "        u.optimizer.update(u.param, u.grad, scale)\n"
KEEP = (
    START
    + "    for u in units:\n        if not hasattr(u, 'whole'):\n            u.whole = comm.all_gather(u.param, u.layout)\n"
)
PASSES = (
    FORWARD,
    "            x = u.forward(u.whole, x)\n",
    BACKWARD,
    "            g, grad = u.backward(u.whole, g)\n",
)

WRONG = {
    "not_sharded": (  # stage 0
        FORWARD,
        "            x = u.forward(u.param, x)\n",
        BACKWARD,
        "            g, grad = u.backward(u.param, g)\n",
        ADD,
        "            u.grad += grad\n",
        CLIP,
        "    for u in units:\n        comm.all_reduce(u.grad, u.layout)\n    norm, scale = clip(comm, [comm.shard(u.grad, u.layout) for u in units])\n",
    ),
    "data_parallel": (  # a replica that is kept, all-reduced gradients, and the shard for show
        START,
        KEEP + "    sums = {u: 0.0 for u in units}\n",
        *PASSES,
        ADD,
        "            sums[u] = sums[u] + grad\n",
        CLIP,
        "    for u in units:\n        comm.all_reduce(sums[u], u.layout)\n    norm, scale = clip(comm, [comm.shard(sums[u], u.layout) for u in units])\n",
        UPDATE,
        "        u.optimizer.update(u.whole, sums[u], scale)\n        u.param[...] = comm.shard(u.whole, u.layout)\n",
    ),
    "model_kept": (
        START,
        KEEP,
        *PASSES,
        UPDATE,
        UPDATE + "        comm.all_gather(u.param, u.layout, out=u.whole)\n",
    ),
    "whole_model_first": (
        "        for u in units:\n            x =",
        "        whole = {u: comm.all_gather(u.param, u.layout) for u in units}\n        for u in units:\n            x =",
        "u.forward(comm.all_gather(u.param, u.layout), x)",
        "u.forward(whole[u], x)",
        "u.backward(comm.all_gather(u.param, u.layout), g)",
        "u.backward(whole[u], g)",
    ),
    "kept_for_backward": (
        FORWARD,
        "            u.whole = comm.all_gather(u.param, u.layout)\n            x = u.forward(u.whole, x)\n",
        BACKWARD,
        "            g, grad = u.backward(u.whole, g)\n            del u.whole\n",
    ),
    "two_units": (
        FORWARD,
        "            full = comm.all_gather(u.param, u.layout)\n            x = u.forward(full, x)\n",
    ),
    "gathers_after_update": (UPDATE, UPDATE + "        comm.all_gather(u.param, u.layout)\n"),
    "stale_backward": (
        BACKWARD,
        "            if not hasattr(u, 'whole'):\n                u.whole = comm.all_gather(u.param, u.layout)\n            g, grad = u.backward(u.whole, g)\n",
    ),
    "stale_copy": (START, KEEP, *PASSES),
    "one_step_behind": (
        START,
        KEEP,
        *PASSES,
        UPDATE,
        "        comm.all_gather(u.param, u.layout, out=u.whole)\n" + UPDATE,
    ),
    "update_lost": (
        UPDATE,
        "        full = comm.all_gather(u.param, u.layout)\n        u.optimizer.update(comm.shard(full, u.layout), u.grad, scale)\n",
    ),
    "view_keeps_whole": (
        UPDATE,
        "        full = comm.all_gather(u.param, u.layout)\n        u.param = comm.shard(full, u.layout)\n"
        + UPDATE,
    ),
    "all_reduce_and_slice": (
        ADD,
        "            comm.all_reduce(grad, u.layout)\n            u.grad += comm.shard(grad, u.layout)\n",
    ),
    "reduced_at_the_end": (
        START,
        "    loss, whole = 0.0, []\n",
        ADD,
        "            whole.append((u, grad))\n",
        CLIP,
        "    for u, grad in whole:\n        u.grad += comm.reduce_scatter(grad, u.layout)\n" + CLIP,
    ),
    "two_gradients": ("            del grad\n", ""),
    "own_gradient": (ADD, "            u.grad += comm.shard(grad, u.layout)\n"),
    "last_micro_batch_only": ("u.grad += comm", "u.grad[...] = comm"),
    "divided_by_ranks": ("reduce_scatter(grad, u.layout)", "reduce_scatter(grad, u.layout) / comm.size"),
    "reduced_twice": (ADD, "            comm.all_reduce(grad, u.layout)\n" + ADD),
    "not_cleared": ("        u.grad.fill(0)\n", ""),
    "norm_of_parameters": ("[u.grad for", "[u.param for"),
    "norm_per_unit": (CLIP, "", UPDATE, "        norm, scale = clip(comm, [u.grad])\n" + UPDATE),
    "clip_exchanged": ("norm, scale = clip", "scale, norm = clip"),
    "not_passed_back": ("g, grad = u.backward", "_, grad = u.backward"),
    "scale_not_used": ("u.grad, scale)", "u.grad, 1.0)"),
    "scale_used_twice": (UPDATE, "        u.grad *= scale\n" + UPDATE),
    "loss_of_all_ranks": ("return loss,", "return comm.sum(loss) / comm.size,"),
    "cleared_late": (
        "        u.grad.fill(0)\n",
        "",
        START,
        START + "    for u in units:\n        u.grad.fill(0)\n",
    ),
    "hang_differs": (
        "    for x, y in micro_batches:\n",
        "    for x, y in micro_batches:\n        if len(x) == 0:\n            continue\n",
    ),
    "hang_absent": (
        START,
        START + "    if not sum(len(x) for x, _ in micro_batches):\n        return 0.0, 0.0\n",
    ),
    "unfit": (FORWARD, "            x = u.forward(u.param, x)\n"),
    "raised": (UPDATE, "        u.optimizer.update(u.grad, scale)\n"),
    "returns_nothing": ("return loss, norm", "print(loss, norm)"),
}
