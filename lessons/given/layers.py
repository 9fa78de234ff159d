"""The layers of exercise 26: y = max(w x + b, 0), number by number, with notes for the way back."""

import numpy as np


class Notes:
    """What the way back through a layer needs: its input, and where its output is not 0. Both (n,)."""

    def __init__(self, x: np.ndarray, positive: np.ndarray) -> None:
        self.x, self.positive = x, positive


class Layer:
    """One layer with the two parameters w and b.

    run(x)          (y, notes), the output for x, and notes that are as large as two activations
    back(notes, g)  dL/dx from g = dL/dy; dL/dw and dL/db are added to `grad`
    """

    def __init__(self, w: float, b: float) -> None:
        self.w, self.b = w, b
        self.grad = np.zeros(2)  # dL/dw, dL/db

    def run(self, x: np.ndarray) -> tuple[np.ndarray, Notes]:
        z = self.w * x + self.b
        return np.maximum(z, 0), Notes(x, z > 0)

    def back(self, notes: Notes, g: np.ndarray) -> np.ndarray:
        g = g * notes.positive
        self.grad += [g @ notes.x, g.sum()]
        return g * self.w
