"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

SUM = "    for u in units:\n        comm.all_reduce(u.grad, u.layout)\n"
CLIP = "    norm, scale = clip(comm, [comm.shard(u.grad, u.layout) for u in units])\n"
UPDATE = "        u.optimizer.update(u.param, u.grad, scale)\n"

WRONG = {
    "own_gradient": (SUM, ""),
    "update_before_sum": (SUM, "", UPDATE, UPDATE + "        comm.all_reduce(u.grad, u.layout)\n"),
    "averages_weights": (
        SUM,
        "",
        UPDATE,
        UPDATE + "        comm.all_reduce(u.param, u.layout)\n        u.param /= comm.size\n",
    ),
    "divided_by_ranks": (SUM, SUM + "        u.grad /= comm.size\n"),
    "divided_by_micro_batches": ("u.grad += grad", "u.grad += grad / len(micro_batches)"),
    "last_micro_batch_only": ("u.grad += grad", "u.grad[...] = grad"),
    "not_cleared": ("        u.grad.fill(0)\n", ""),
    "reduced_twice": (SUM, SUM + "        comm.all_reduce(u.grad, u.layout)\n"),
    "summed_again": (
        SUM,
        "",
        "        loss += part\n",
        "        loss += part\n        for u in units:\n            comm.all_reduce(u.grad, u.layout)\n",
    ),
    "updates_too_often": (
        SUM + CLIP + "    for u in units:\n" + UPDATE + "        u.grad.fill(0)\n",
        "",
        "        loss += part\n",
        "        loss += part\n"
        + (SUM + CLIP + "    for u in units:\n" + UPDATE + "        u.grad.fill(0)")
        .replace("    ", "        ", 1)
        .replace("\n    ", "\n        ")
        + "\n",
    ),
    "not_updated": (UPDATE, ""),
    "clip_not_called": (CLIP, "    norm, scale = 0.0, 1.0\n"),
    "norm_times_ranks": ("[comm.shard(u.grad, u.layout) for u in units]", "[u.grad for u in units]"),
    "norm_before_sum": (SUM + CLIP, CLIP + SUM),
    "norm_of_parameters": ("comm.shard(u.grad, u.layout) for", "comm.shard(u.param, u.layout) for"),
    "norm_per_unit": (
        CLIP,
        "",
        UPDATE,
        "        norm, scale = clip(comm, [comm.shard(u.grad, u.layout)])\n" + UPDATE,
    ),
    "norm_after_clipping": ("return loss, norm", "return loss, norm * scale"),
    "clip_exchanged": ("norm, scale = clip", "scale, norm = clip"),
    "not_passed_back": ("g, grad = u.backward", "_, grad = u.backward"),
    "scale_not_used": ("u.grad, scale)", "u.grad, 1.0)"),
    "scale_used_twice": (UPDATE, "        u.grad *= scale\n" + UPDATE),
    "loss_of_last_micro_batch": ("loss += part", "loss = part"),
    "loss_divided": ("return loss,", "return loss / len(micro_batches),"),
    "loss_of_all_ranks": ("return loss,", "return comm.sum(loss),"),
    "reduces_each_micro_batch": (
        SUM,
        "",
        "            u.grad += grad\n",
        "            comm.all_reduce(grad, u.layout)\n            u.grad += grad\n",
    ),
    "sums_too_often": ("    return", "    comm.sum(loss)\n    return"),
    "two_gradients": ("            del grad\n", ""),
    "gradients_kept": (
        "    loss = 0.0\n",
        "    loss, keep = 0.0, []\n",
        "            del grad\n",
        "            keep.append(grad)\n",
    ),
    "cleared_late": (
        "        u.grad.fill(0)\n",
        "",
        "    loss = 0.0\n",
        "    loss = 0.0\n    for u in units:\n        u.grad.fill(0)\n",
    ),
    "other_bits": (SUM, SUM + "        u.grad /= comm.size\n        u.grad *= comm.size\n"),
    "hang_differs": (
        "    for u in units:\n        comm.all_reduce",
        "    for u in units if comm.rank else reversed(units):\n        comm.all_reduce",
    ),
    "hang_absent": (
        "    loss = 0.0\n",
        "    loss = 0.0\n    if not sum(len(x) for x, _ in micro_batches):\n        return 0.0, 0.0\n",
    ),
    "unfit": ("u.forward(u.param, x)", "u.forward(x, u.param)"),
    "returns_nothing": ("return loss, norm", "print(loss, norm)"),
    "returns_type": ("return loss, norm", "return loss"),
}
