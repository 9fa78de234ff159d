"""The solution written in other ways: all of them are right."""

RIGHT = (
    """import numpy as np

def linear_backward(x, w, dy):
    return np.einsum("so,of->sf", dy, w), np.einsum("so,sf->of", dy, x), np.ones(len(dy)) @ dy
""",
    """import numpy as np

def linear_backward(x, w, dy):
    dw, db, rows = np.zeros_like(w), np.zeros(w.shape[0]), []
    for one, back in zip(x, dy):
        rows.append(w.T @ back)
        dw += np.outer(back, one)
        db += back
    return np.array(rows), dw, db
""",
    """def linear_backward(x, w, dy):
    return tuple(f() for f in (lambda: dy.dot(w), lambda: (x.T @ dy).T, lambda: sum(dy)))
""",
    """import numpy as np

def linear_backward(x, w, dy):
    dx = np.zeros(x.shape)
    np.matmul(dy, w, out=dx)
    return dx, np.tensordot(dy, x, axes=(0, 0)), np.add.reduce(dy)
""",
)
