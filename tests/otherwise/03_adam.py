"""The solution written in other ways: all of them are right."""

RIGHT = (
    """import numpy as np

def adam_step(w, g, m, v, t, *, lr, b1, b2, eps, wd):
    m += (1 - b1) * (g - m)
    v += (1 - b2) * (np.square(g) - v)
    w -= lr * wd * w
    w -= lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
""",
    """import numpy as np

def blend(old, new, b):
    np.multiply(old, b, out=old)
    np.add(old, (1 - b) * new, out=old)
    return old

def adam_step(w, g, m, v, t, *, lr, b1, b2, eps, wd):
    hats = [blend(vector, new, b) / (1 - b**t) for vector, new, b in ((m, g, b1), (v, g * g, b2))]
    w[...] = w * (1 - lr * wd) - lr * hats[0] / (hats[1] ** 0.5 + eps)
""",
    """import math

def adam_step(w, g, m, v, t, *, lr, b1, b2, eps, wd):
    for i in range(len(w)):
        m[i] = b1 * m[i] + (1 - b1) * g[i]
        v[i] = b2 * v[i] + (1 - b2) * g[i] ** 2
        up, down = m[i] / (1 - b1**t), math.sqrt(v[i] / (1 - b2**t)) + eps
        w[i] = w[i] - lr * wd * w[i] - lr * up / down
""",
)
