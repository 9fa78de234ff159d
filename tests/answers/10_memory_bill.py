def model_state_bytes(psi, size, stage, *, param=2, grad=2, k=12):
    padded = psi + -psi % size
    shard = padded // size
    return {
        "parameter": param * (shard if stage >= 3 else padded),
        "gradient": grad * (shard if stage >= 2 else padded),
        "optimizer": k * (shard if stage >= 1 else padded),
    }
