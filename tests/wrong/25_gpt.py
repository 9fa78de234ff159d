"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

DS = "p * (dp - (p * dp).sum(axis=1, keepdims=True)) * scale"

WRONG = {
    "returns_nothing": ("return ds", "ds"),
    "returns_type": ("return ds @ k, ds.T @ q, p.T @ g", "return p.T @ g"),
    "returns_shape": ("return ds @ k, ds.T @ q, p.T @ g", "return ds, ds, p"),
    "not_scaled": (" * scale\n    return", "\n    return"),
    "scaled_twice": (" * scale\n    return", " * scale**2\n    return"),
    "scores_not_scaled": ("q @ k.T * scale", "q @ k.T"),
    "sees_the_future": ("np.where(np.tri(len(q), dtype=bool), q @ k.T * scale, -np.inf)", "q @ k.T * scale"),
    "no_sum": (DS, "p * dp * scale"),
    "dp_alone": (DS, "dp * scale"),
    "diagonal": (DS, "p * (1 - p) * dp * scale"),
    "sum_of_columns": ("(p * dp).sum(axis=1", "(p * dp).sum(axis=0"),
    "sum_of_all": ("(p * dp).sum(axis=1, keepdims=True)", "(p * dp).sum()"),
    "sum_without_p": ("(p * dp).sum", "dp.sum"),
    "softmax_of_columns": (
        "scores.max(axis=1, keepdims=True)",
        "scores.max(axis=0, keepdims=True)",
        "p.sum(axis=1",
        "p.sum(axis=0",
    ),
    "turned_q": ("ds @ k", "ds.T @ k"),
    "turned_k": ("ds.T @ q", "ds @ q"),
    "turned_v": ("p.T @ g", "p @ g"),
    "exchanged": ("ds @ k, ds.T @ q, p.T @ g", "ds.T @ q, ds @ k, p.T @ g"),
    "v_is_g": ("p.T @ g", "g.copy()"),
    "output": ("return ds @ k, ds.T @ q, p.T @ g", "return p @ v, p @ v, p @ v"),
    "changed_input": ("    dp = g", "    q *= 2\n    dp = g", "ds.T @ q", "ds.T @ q / 2"),
    "near": ("dp = g @ v.T", "dp = -g @ v.T"),
    "unknown": ("return ds @ k", "return ds @ k + 0.37 * g * q"),
    "raised": ("dp = g @ v.T", "dp = g @ v[:, :-1].T"),
}
