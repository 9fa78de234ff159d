"""The GPT that the stages are held against: one process, sample by sample, head by head, float64.

Written from the definitions (GPT-2's architecture, the chain rule by hand), on purpose without anything of
zero_ref, and with nothing kept: the backward pass of an operation computes what it needs once more.
"""

import math

import numpy as np


def norm(x, w, b):
    """Layer norm of rows."""
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * w + b


def norm_back(g, x, w):
    """dL/dx, dL/dw, dL/db."""
    deviation = np.sqrt(x.var(1, keepdims=True) + 1e-5)
    n = (x - x.mean(1, keepdims=True)) / deviation
    h = g * w
    dx = (h - h.mean(1, keepdims=True) - n * (h * n).mean(1, keepdims=True)) / deviation
    return dx, (g * n).sum(0), g.sum(0)


def softmax(scores):
    e = np.exp(scores - scores.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def attend(q, k, v):
    """One head of one sample: rows are tokens. Its outputs and its probabilities."""
    scores = q @ k.T / math.sqrt(q.shape[1])
    scores[np.triu_indices(len(q), 1)] = -np.inf
    p = softmax(scores)
    return p @ v, p


def attend_back(g, q, k, v):
    _, p = attend(q, k, v)
    dp = g @ v.T
    ds = p * (dp - (dp * p).sum(1, keepdims=True)) / math.sqrt(q.shape[1])
    return ds @ k, ds.T @ q, p.T @ g


def gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_back(g, x):
    c = math.sqrt(2 / math.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * c * (1 + 3 * 0.044715 * x**2))


def heads_of(qkv, heads):
    """(q, k, v) of each head."""
    q, k, v = np.split(qkv, 3, axis=1)
    return list(zip(*(np.split(a, heads, axis=1) for a in (q, k, v))))


def block(t, x, heads):
    """The values on the way through a block, by name."""
    at = {"x": x}
    at["n1"] = norm(x, t["ln_1.weight"], t["ln_1.bias"])
    at["qkv"] = at["n1"] @ t["attn.c_attn.weight"].T + t["attn.c_attn.bias"]
    at["seen"] = np.concatenate([attend(*one)[0] for one in heads_of(at["qkv"], heads)], axis=1)
    at["mid"] = x + at["seen"] @ t["attn.c_proj.weight"].T + t["attn.c_proj.bias"]
    at["n2"] = norm(at["mid"], t["ln_2.weight"], t["ln_2.bias"])
    at["up"] = at["n2"] @ t["mlp.c_fc.weight"].T + t["mlp.c_fc.bias"]
    at["out"] = at["mid"] + gelu(at["up"]) @ t["mlp.c_proj.weight"].T + t["mlp.c_proj.bias"]
    return at


def block_back(t, at, g, heads):
    """dL/dx and the gradient of each tensor."""
    d = {"mlp.c_proj.weight": g.T @ gelu(at["up"]), "mlp.c_proj.bias": g.sum(0)}
    up = gelu_back(g @ t["mlp.c_proj.weight"], at["up"])
    d |= {"mlp.c_fc.weight": up.T @ at["n2"], "mlp.c_fc.bias": up.sum(0)}
    back, d["ln_2.weight"], d["ln_2.bias"] = norm_back(up @ t["mlp.c_fc.weight"], at["mid"], t["ln_2.weight"])
    g = g + back
    d |= {"attn.c_proj.weight": g.T @ at["seen"], "attn.c_proj.bias": g.sum(0)}
    seen = np.split(g @ t["attn.c_proj.weight"], heads, axis=1)
    parts = zip(*(attend_back(part, *one) for part, one in zip(seen, heads_of(at["qkv"], heads))))
    qkv = np.concatenate([np.concatenate(part, axis=1) for part in parts], axis=1)
    d |= {"attn.c_attn.weight": qkv.T @ at["n1"], "attn.c_attn.bias": qkv.sum(0)}
    back, d["ln_1.weight"], d["ln_1.bias"] = norm_back(
        qkv @ t["attn.c_attn.weight"], at["x"], t["ln_1.weight"]
    )
    return g + back, d


def loss_and_gradients(tensors, x, y, layers, heads):
    """Mean loss over all tokens, and its gradient for every tensor (name -> array)."""
    total, sums = 0.0, {name: np.zeros_like(value) for name, value in tensors.items()}
    of_block = [
        {k.removeprefix(f"h.{i}."): v for k, v in tensors.items() if k.startswith(f"h.{i}.")}
        for i in range(layers)
    ]
    for tokens, targets in zip(x, y):
        h = tensors["wte.weight"][tokens] + tensors["wpe.weight"][: len(tokens)]
        passed = []
        for t in of_block:
            passed.append(block(t, h, heads))
            h = passed[-1]["out"]
        n = norm(h, tensors["ln_f.weight"], tensors["ln_f.bias"])
        p = softmax(n @ tensors["lm_head.weight"].T)
        total += -np.log(p[np.arange(len(targets)), targets]).sum()
        p[np.arange(len(targets)), targets] -= 1
        g = p / y.size
        sums["lm_head.weight"] += g.T @ n
        g, w, b = norm_back(g @ tensors["lm_head.weight"], h, tensors["ln_f.weight"])
        sums["ln_f.weight"] += w
        sums["ln_f.bias"] += b
        for i in reversed(range(layers)):
            g, d = block_back(of_block[i], passed[i], g, heads)
            for name, value in d.items():
                sums[f"h.{i}.{name}"] += value
        sums["wpe.weight"][: len(tokens)] += g
        for place, token in enumerate(tokens):
            sums["wte.weight"][token] += g[place]
    return total / y.size, sums
