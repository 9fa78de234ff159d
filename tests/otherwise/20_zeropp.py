"""The solution written in other ways: all of them are right."""

RIGHT = (
    """import numpy as np
def encode(x, block):
    codes = np.zeros(len(x), "int8"); scales = []
    for i in range(0, len(x), block):
        part = x[i:i+block].astype("float64")
        s = max(abs(float(v)) if v == v else float("nan") for v in part) / 127
        if not np.isfinite(part).all():
            s = np.nan
        scales.append(s)
        if s > 0:
            for j, v in enumerate(part):
                codes[i + j] = round(v / s)
    return codes, np.array(scales, "float32")
def decode(codes, scales, block):
    return np.array([c * scales[i // block] for i, c in enumerate(codes)], dtype=np.float32)
""",
    """import numpy as np


def encode(x, block):
    starts = np.arange(0, x.size, block)
    scales = np.maximum.reduceat(np.abs(x), starts) / np.float32(127)
    each = scales[np.arange(x.size) // block]
    codes = np.divide(x, each, out=np.zeros_like(x), where=np.isfinite(each) & (each > 0))
    return np.round(codes).clip(-127, 127).astype("int8"), scales


def decode(codes, scales, block):
    return codes.astype("float32") * scales[[i // block for i in range(len(codes))]]
""",
)
