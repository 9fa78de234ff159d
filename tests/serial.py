"""The reference that the stages are held against: one process, whole arrays, no autograd, no shards.

Written from the definitions (chain rule by hand; update rules as PyTorch documents them), on purpose
without anything of zero_ref.
"""

import math

import numpy as np


def outputs(weights: list, x: np.ndarray) -> list[np.ndarray]:
    """The input, and the output of every layer, of an MLP with weights [(w, b), ...]."""
    values = [x]
    for i, (w, b) in enumerate(weights):
        y = values[-1] @ w.T + b
        values.append(y if i == len(weights) - 1 else np.maximum(y, 0))
    return values


def loss_and_gradients(weights: list, x: np.ndarray, y: np.ndarray, classes: bool):
    """Mean loss over the batch and dL/d(w, b) for every layer."""
    values, n = outputs(weights, x), len(x)
    if classes:
        e = np.exp(values[-1] - values[-1].max(1, keepdims=True))
        p = e / e.sum(1, keepdims=True)
        loss = -np.log(p[np.arange(n), y]).mean()
        g = (p - np.eye(p.shape[1])[y]) / n
    else:
        difference = values[-1] - y
        loss = (difference**2).mean()
        g = 2 * difference / difference.size
    gradients = []
    for i in reversed(range(len(weights))):
        gradients.insert(0, (g.T @ values[i], g.sum(0)))
        g = (g @ weights[i][0]) * (values[i] > 0)
    return loss, gradients


def train(weights, batches, classes, optimizer, **settings):
    """Train an MLP on the whole batches; return final weights, losses and gradient norms."""

    def gradients_of(p, x, y):
        loss, gradients = loss_and_gradients(list(zip(p[::2], p[1::2])), x, y, classes)
        return loss, [a for pair in gradients for a in pair]

    return descend([a for pair in weights for a in pair], batches, gradients_of, optimizer, **settings)


def descend(start, batches, gradients_of, optimizer, lr, momentum=0.0, weight_decay=0.0, clip_norm=None):
    """The same of any model: gradients_of(weights, x, y) -> loss and a gradient for each of the weights."""
    p = [a.astype(np.float64) for a in start]
    m, v = [np.zeros_like(a) for a in p], [np.zeros_like(a) for a in p]
    losses, norms = [], []
    for t, (x, y) in enumerate(batches, 1):
        loss, g = gradients_of(p, x, y)
        norm = math.sqrt(sum((a**2).sum() for a in g))
        if clip_norm is not None:
            g = [a * min(1, clip_norm / (norm + 1e-6)) for a in g]
        for i in range(len(p)):
            if optimizer == "sgd":
                m[i] = momentum * m[i] + g[i] + weight_decay * p[i]
                p[i] = p[i] - lr * m[i]
                continue
            if optimizer == "adamw":
                p[i] = p[i] - lr * weight_decay * p[i]
            else:
                g[i] = g[i] + weight_decay * p[i]
            m[i] = 0.9 * m[i] + 0.1 * g[i]
            v[i] = 0.999 * v[i] + 0.001 * g[i] ** 2
            p[i] = p[i] - lr * (m[i] / (1 - 0.9**t)) / (np.sqrt(v[i] / (1 - 0.999**t)) + 1e-8)
        losses.append(loss)
        norms.append(norm)
    return p, losses, norms
