"""The solution written in other ways: all of them are right."""

RIGHT = (
    """import numpy as np

def to_bfloat16(x):
    bits = x.view("<u4").astype(np.uint64)
    low, high = bits & 0xFFFF, bits >> 16
    up = (low > 0x8000) | ((low == 0x8000) & (high % 2 == 1))
    found = (high + up).astype(np.uint16)
    found[np.isnan(x)] = 0x7FC0
    return found

def scaled_step(grad, master, scaler, update, comm):
    if comm.sum(float(not np.isfinite(grad).all())):
        scaler.update(scale=scaler["scale"] / 2, good=0)
        return False
    update(master, np.float32(1 / scaler["scale"]) * grad.astype("f4"))
    good = scaler["good"] + 1
    full = good >= scaler["every"]
    scaler.update(scale=scaler["scale"] * (2 if full else 1), good=0 if full else good)
    return True
""",
    """import numpy as np

def to_bfloat16(x):
    bits = np.frombuffer(x.tobytes(), np.uint32)
    half, odd = np.uint32(0x7FFF), bits >> np.uint32(16) & np.uint32(1)
    with np.errstate(over="ignore"):
        found = (bits + half + odd) >> np.uint32(16)
    return np.array([0x7FC0 if np.isnan(a) else b for a, b in zip(x, found)], np.uint16)

def scaled_step(grad, master, scaler, update, comm):
    good = comm.sum(int(bool(np.all(np.isfinite(grad))))) == comm.size
    if good:
        update(master, np.divide(grad, scaler["scale"], dtype=np.float32))
    scaler["good"] = scaler["good"] + 1 if good else 0
    if not good:
        scaler["scale"] *= 0.5
    elif scaler["good"] % scaler["every"] == 0:
        scaler["scale"], scaler["good"] = scaler["scale"] * 2, 0
    return good
""",
)
