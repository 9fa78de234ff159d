"""Written by hand, with what must be told; "" is a pass. A function that is missing is the solution's."""

ANSWERS = (
    (
        "kept_in_codes",
        """import numpy as np


def decode(codes, scales, block):
    for i in range(len(scales)):
        codes[i * block : (i + 1) * block] = codes[i * block : (i + 1) * block] * scales[i]
    return codes.astype(np.float32)
""",
    ),
    (
        "even_parts",
        """import numpy as np


def encode(x, block):
    parts = np.array_split(x, -(-len(x) // block))
    scales = np.array([np.abs(p).max() / 127 for p in parts], np.float32)
    codes = [np.rint(p / (s or 1)).astype(np.int8) for p, s in zip(parts, scales)]
    return np.concatenate(codes), scales
""",
    ),
    (
        "",
        """import numpy as np


def decode(codes, scales, block):
    pad = -len(codes) % block
    m = np.pad(codes, (0, pad)).reshape(-1, block)
    return np.einsum("ij,i->ij", m, scales).ravel()[: len(codes)]
""",
    ),
    (
        "",
        """import numpy as np


def encode(x, block):
    scales = (np.maximum.reduceat(np.abs(x), np.arange(0, len(x), block)) / 127).astype(np.float32)
    s = scales[np.arange(len(x)) // block]
    with np.errstate(all="ignore"):
        codes = np.rint(np.divide(x, s, out=np.zeros_like(x), where=s > 0)).astype(np.int8)
    return codes, np.where(np.isfinite(scales), scales, np.nan).astype(np.float32)
""",
    ),
    (
        "",
        """import numpy as np


def encode(x, block):
    parts = np.split(x, range(block, len(x), block))
    scales = np.array([np.abs(p).max() / 127 for p in parts], np.float32)
    codes = [np.rint(p / (s or 1)).astype(np.int8) for p, s in zip(parts, scales)]
    return np.concatenate(codes), scales
""",
    ),
)
