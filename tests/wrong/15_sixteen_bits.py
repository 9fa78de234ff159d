"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

ROUNDED = "(bits + 0x7FFF + last) >> 16"
RETURN = "return np.where(np.isnan(x), 0x7FC0, rounded).astype(np.uint16)"
NAN = "np.where(np.isnan(x), 0x7FC0, rounded)"
UPDATE = 'update(master, grad.astype(np.float32) / scaler["scale"])'
GRAD = 'grad.astype(np.float32) / scaler["scale"]'
HALVE = '        scaler["scale"] /= 2\n'
RESET = '        scaler["good"] = 0\n        return False\n'
GROW = '        scaler["scale"] *= 2\n        scaler["good"] = 0\n'

WRONG = {
    # to_bfloat16
    "returns_dtype": (RETURN, "return np.where(np.isnan(x), 0x7FC0, rounded)"),
    "returns_shape": (RETURN, "return x.view(np.uint16)"),
    "low_half": (ROUNDED, "bits & 0xFFFF"),
    "float16_bits": (RETURN, "return x.astype(np.float16).view(np.uint16)"),
    "values_cast": (RETURN, "return x.astype(np.uint16)"),
    "sign_lost": ("x.view(np.uint32)", "abs(x).view(np.uint32)"),
    "truncated": (ROUNDED, "bits >> 16"),
    "always_up": (ROUNDED, "(bits + 0xFFFF) >> 16"),
    "carry_lost": (ROUNDED, "(bits >> 23 << 7) | ((bits & 0x7FFFFF) + 0x7FFF + last >> 16 & 0x7F)"),
    "half_up": (ROUNDED, "(bits + 0x8000) >> 16"),
    "half_down": (ROUNDED, "(bits + 0x7FFF) >> 16"),
    "ties_to_odd": (ROUNDED, "(bits + 0x8000 - last) >> 16"),
    "saturates": (
        NAN,
        "np.where(np.isfinite(x) & (rounded & 0x7FFF == 0x7F80), rounded - 1, np.where(np.isnan(x), 0x7FC0, rounded))",
    ),
    "inf_to_nan": ("np.isnan(x)", "~np.isfinite(x)"),
    "nan_lost": (NAN, "rounded"),
    "nan_truncated": ("np.isnan(x), 0x7FC0", "np.isnan(x), bits >> 16"),
    "by_library": (
        "import numpy as np",
        "import ml_dtypes\nimport numpy as np",
        RETURN,
        "return x.astype(ml_dtypes.bfloat16).view(np.uint16)",
    ),
    "raise_left": ("    bad = not np", "    raise NotImplementedError\n    bad = not np"),
    # scaled_step
    "returns_nothing": ("return True", "pass"),
    "returns_type": ("return True", "return master"),
    "local_overflow": ("if comm.sum(bad) > 0:", "comm.sum(bad)\n    if bad:"),
    "all_must_overflow": ("comm.sum(bad) > 0", "comm.sum(bad) == comm.size"),
    "inf_overlooked": ("not np.isfinite(grad).all()", "np.isnan(grad).any()"),
    "nan_overlooked": ("not np.isfinite(grad).all()", "np.isinf(grad).any()"),
    "never_looks": ("comm.sum(bad) > 0", "comm.sum(0) > 0"),
    "never_steps": ("comm.sum(bad) > 0", "comm.sum(bad) >= 0"),
    "false_overflow": ("not np.isfinite(grad).all()", "not np.isfinite(grad.sum())"),
    "steps_on_overflow": ("comm.sum(bad) > 0", "comm.sum(bad) == 0"),
    "updates_anyway": (f"    {UPDATE}\n", "", "    if comm", f"    {UPDATE}\n    if comm"),
    "no_update": (UPDATE, f"master - {GRAD}"),
    "returns_opposite": ("return True", "return bool(bad)", "return False", "return True"),
    "returns_always": ("return False", "return True"),
    "updated_twice": (UPDATE, f"{UPDATE}\n    {UPDATE}"),
    "stays_float16": (GRAD, 'grad / scaler["scale"]'),
    "update_dtype": ("grad.astype(np.float32)", "grad.astype(np.float64)"),
    "not_unscaled": (GRAD, "grad.astype(np.float32)"),
    "multiplied": ("np.float32) /", "np.float32) *"),
    "unscaled_twice": (GRAD, f'{GRAD} / scaler["scale"]'),
    "averaged": (GRAD, f"{GRAD} / comm.size"),
    "new_scale": (f"    {UPDATE}\n", "", "    return True", f"    {UPDATE}\n    return True"),
    "divided_in_float16": (GRAD, '(grad / scaler["scale"]).astype(np.float32)'),
    "half_master": (
        UPDATE,
        f"half = master.astype(np.float16)\n    update(half, {GRAD})\n    master[...] = half",
    ),
    "master_untouched": ("update(master,", "update(master.copy(),"),
    "scaler_untouched": ("    bad = not np", "    scaler = dict(scaler)\n    bad = not np"),
    "not_halved": (HALVE, ""),
    "doubled_on_overflow": (HALVE, HALVE.replace("/=", "*=")),
    "halves_always": (
        HALVE,
        "",
        "    if comm",
        '    scale = scaler["scale"]\n    scaler["scale"] /= 2\n    if comm',
        GRAD,
        "grad.astype(np.float32) / scale",
    ),
    "good_not_reset": (RESET, "        return False\n"),
    "skip_counted": (
        '    scaler["good"] += 1\n',
        "",
        RESET,
        "        return False\n",
        "    if comm",
        '    scaler["good"] += 1\n    if comm',
    ),
    "grows_always": ('if scaler["good"] == scaler["every"]', "if True"),
    "good_not_counted": ('    scaler["good"] += 1\n', ""),
    "growth_not_reset": (GROW, GROW.splitlines()[0] + "\n"),
    "never_grows": (GROW, "        pass\n"),
    "grows_late": ('scaler["good"] == scaler["every"]', 'scaler["good"] > scaler["every"]'),
    "grows_early": ('scaler["good"] == scaler["every"]', 'scaler["good"] == scaler["every"] - 1'),
    "changed_input": (UPDATE, f"{UPDATE}\n    grad[...] = 0"),
    "more_sums": ("    if comm", "    comm.sum(bad)\n    if comm"),
    "hang_absent": (
        "    if comm",
        '    if bad:\n        scaler["scale"] /= 2\n        scaler["good"] = 0\n        return False\n    if comm',
    ),
    "raised": ("comm.sum(bad)", "comm.sum(grad)"),
}
