"""The solution written in other ways: all of them are right."""

RIGHT = (
    """import numpy as np

def attention_backward(q, k, v, g):
    t, n = q.shape
    dq, dk, dv = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    for i in range(t):
        s = k[: i + 1] @ q[i] / n**0.5
        p = np.exp(s - s.max())
        p = p / p.sum()
        dv[: i + 1] += np.outer(p, g[i])
        dp = v[: i + 1] @ g[i]
        ds = p * (dp - p @ dp) / n**0.5
        dq[i] = ds @ k[: i + 1]
        dk[: i + 1] += np.outer(ds, q[i])
    return dq, dk, dv
""",
    """import numpy as np

def attention_backward(q, k, v, g):
    root = np.sqrt(q.shape[-1])
    mask = np.triu(np.full((len(q), len(q)), -1e30), 1)
    e = np.exp((s := q @ k.T / root + mask) - s.max(-1, keepdims=True))
    p = e / e.sum(-1)[:, None]
    back = np.einsum("in,jn->ij", g, v)
    ds = p * back - p * np.einsum("ij,ij->i", p, back)[:, None]
    return ds @ k / root, ds.T @ q / root, np.einsum("ij,in->jn", p, g)
""",
)
