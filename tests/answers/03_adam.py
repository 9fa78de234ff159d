import numpy as np


def adam_step(w, g, m, v, t, *, lr, b1, b2, eps, wd):
    m[:] = b1 * m + (1 - b1) * g
    v[:] = b2 * v + (1 - b2) * g**2
    m_hat = m / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    w *= 1 - lr * wd
    w -= lr * m_hat / (np.sqrt(v_hat) + eps)
