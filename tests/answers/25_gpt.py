import numpy as np


def attention_backward(q, k, v, g):
    scale = 1 / np.sqrt(q.shape[1])
    scores = np.where(np.tri(len(q), dtype=bool), q @ k.T * scale, -np.inf)
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    dp = g @ v.T
    ds = p * (dp - (p * dp).sum(axis=1, keepdims=True)) * scale
    return ds @ k, ds.T @ q, p.T @ g
