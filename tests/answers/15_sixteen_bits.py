import numpy as np


def to_bfloat16(x):
    bits = x.view(np.uint32)
    last = bits >> 16 & 1
    rounded = (bits + 0x7FFF + last) >> 16
    return np.where(np.isnan(x), 0x7FC0, rounded).astype(np.uint16)


def scaled_step(grad, master, scaler, update, comm):
    bad = not np.isfinite(grad).all()
    if comm.sum(bad) > 0:
        scaler["scale"] /= 2
        scaler["good"] = 0
        return False
    update(master, grad.astype(np.float32) / scaler["scale"])
    scaler["good"] += 1
    if scaler["good"] == scaler["every"]:
        scaler["scale"] *= 2
        scaler["good"] = 0
    return True
