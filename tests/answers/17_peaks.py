def peak_bytes(units, size, stage, *, bucket=0, param=4, grad=4, k=8):
    buckets = []
    for n in units:
        if buckets and buckets[-1] + n <= bucket:
            buckets[-1] += n
        else:
            buckets.append(n)
    padded = [n + -n % size for n in buckets]
    psi, largest = sum(padded), max(padded)
    shard = psi // size
    kept = param * (shard if stage >= 3 else psi)
    kept += grad * (shard if stage >= 2 else psi)
    kept += k * (shard if stage >= 1 else psi)
    return {
        "kept": kept,
        "full_gradient": grad * largest,
        "gathered": param * largest if stage >= 3 else 0,
    }
