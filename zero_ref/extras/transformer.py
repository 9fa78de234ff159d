"""What a transformer needs beside the ops of autograd.py: embedding, layer norm and causal attention.

As there, a closure holds nodes and never a parameter's array. An op of several steps is one op where its
backward pass can do with less memory than that of its steps.
"""

import math

from zero_ref.array import Array, empty, track, xp
from zero_ref.autograd import Tensor, at_least_float32, matmul, narrowed, rounded, rows, sum_rows


def embedding(table: Tensor, ids: Array) -> Tensor:
    """The rows of `table` (symbols, width) that `ids` (...) name: (..., width)."""

    def add_up(g: Array, out: Array) -> Array:
        # A symbol that stands at several places gets the sum of their gradients. As a product with rows of
        # zeros and ones the order of that sum is fixed, on a GPU, too, where a scatter-add has none.
        symbols = track("buffer", xp.arange(len(out)))[:, None]
        chosen = track("buffer", xp.equal(symbols, ids.reshape(-1)).astype(g.dtype))  # (symbols, tokens)
        return matmul(chosen, rows(g), out)

    def backward(g: Array) -> None:
        table.add_grad(add_up, g)

    return Tensor(track("activation", table.data[ids]), (table,), backward)


def add_rows(x: Tensor, table: Tensor) -> Tensor:
    """x (s, t, n) plus the first t rows of `table` (at least t, n), which every sample shares."""
    t = x.data.shape[1]

    def add_up(g: Array, out: Array) -> Array:
        out[t:] = 0
        summed = track("buffer", at_least_float32(g).sum(axis=0))
        return rounded(summed, out[:t])

    def backward(g: Array) -> None:
        table.add_grad(add_up, g)
        x.add_grad(xp.multiply, g, 1)

    return Tensor(track("activation", x.data + table.data[:t]), (x, table), backward)


def layer_norm(x: Tensor, w: Tensor, b: Tensor, epsilon: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * w + b over the last axis (arXiv 1607.06450).

    x (..., n), w and b (n,). Numbers of 16 bits are normed in float32, and rounded once.
    """
    normed = at_least_float32(x.data)
    normed = track("activation", normed - normed.mean(axis=-1, keepdims=True))  # (..., n)
    scale = track("activation", xp.square(normed).mean(axis=-1, keepdims=True))  # (..., 1)
    scale += epsilon
    xp.sqrt(scale, out=scale)
    normed /= scale
    y = track("activation", normed * w.data)
    y += b.data

    def backward(g: Array) -> None:
        g = at_least_float32(g)
        b.add_grad(sum_rows, rows(g))
        w.add_grad(sum_rows, rows(track("activation", g * normed)))
        # With h = dL/d normed: dL/dx = (h - mean(h) - normed mean(h normed)) / sqrt(variance + epsilon).
        h = track("activation", g * w.data)
        along = track("activation", (h * normed).mean(axis=-1, keepdims=True))
        h -= h.mean(axis=-1, keepdims=True)
        h -= normed * along
        h /= scale
        x.add_grad(rounded, h)

    return Tensor(narrowed(y, x.data.dtype), (x, w, b), backward)


def causal_attention(qkv: Tensor, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(n)) v in each head, where a token sees itself and those before it: (s, t, width).

    qkv (s, t, 3 width): queries, keys and values of s samples with t tokens; a head has n = width / heads
    of each. The probabilities (s, heads, t, t) are kept for the backward pass. Scores and softmax of
    16-bit numbers are in float32 (arXiv 1706.03762, section 3.2.1).
    """
    s, t, width = len(qkv.data), qkv.data.shape[1], qkv.data.shape[2] // 3
    scale = 1 / math.sqrt(width // heads)

    def split(a: Array) -> Array:  # (s, t, parts width) -> (parts, s, heads, t, n), a view
        return a.reshape(s, t, a.shape[2] // width, heads, width // heads).transpose(2, 0, 3, 1, 4)

    def turned(a: Array) -> Array:  # the last two axes
        return a.transpose(0, 1, 3, 2)

    wide = at_least_float32(qkv.data)
    q, k, v = (split(wide)[i] for i in range(3))
    p = empty((s, heads, t, t), wide.dtype, "activation")
    xp.matmul(q, turned(k), out=p)
    p *= scale
    places = track("buffer", xp.arange(t))
    hidden = p.dtype.type(-math.inf)
    p += track("buffer", xp.where(places[:, None] < places, hidden, p.dtype.type(0)))
    p -= p.max(axis=-1, keepdims=True)
    xp.exp(p, out=p)
    p /= p.sum(axis=-1, keepdims=True)
    y = empty((s, t, width), wide.dtype, "activation")
    xp.matmul(p, v, out=split(y)[0])

    def backward(g: Array) -> None:
        g = at_least_float32(g)
        wide = at_least_float32(qkv.data)
        q, k, v = (split(wide)[i] for i in range(3))
        whole = empty(wide.shape, wide.dtype, "activation")
        gq, gk, gv = (split(whole)[i] for i in range(3))
        xp.matmul(turned(p), split(g)[0], out=gv)
        # With h = dL/dp: dL/d scores = p (h - sum of h p over a row), and that sum is the one of g y.
        h = empty(p.shape, p.dtype, "activation")
        xp.matmul(split(g)[0], turned(v), out=h)
        h -= split(track("activation", g * y))[0].sum(axis=-1)[..., None]
        h *= p
        h *= scale
        xp.matmul(h, k, out=gq)
        xp.matmul(turned(h), q, out=gk)
        qkv.add_grad(rounded, whole)

    return Tensor(narrowed(y, qkv.data.dtype), (qkv,), backward)
