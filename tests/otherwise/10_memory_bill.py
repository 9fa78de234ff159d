"""The solution written in other ways: all of them are right."""

RIGHT = (
    """def model_state_bytes(psi, size, stage, *, param=2, grad=2, k=12):
    whole = (psi + size - 1) // size * size
    each = {"optimizer": (k, 1), "gradient": (grad, 2), "parameter": (param, 3)}
    return {name: n * whole // (size if stage >= first else 1) for name, (n, first) in each.items()}
""",
    """import math

def model_state_bytes(psi, size, stage, *, param=2, grad=2, k=12):
    shard = math.ceil(psi / size)
    lengths = [shard if stage > n else shard * size for n in (2, 1, 0)]
    names = "parameter", "gradient", "optimizer"
    return dict(zip(names, map(lambda a, b: a * b, lengths, (param, grad, k))))
""",
    """def model_state_bytes(psi, size, stage, *, param=2, grad=2, k=12):
    padded = next(n for n in range(psi, psi + size) if n % size == 0)
    match stage:
        case 0:
            cuts = 1, 1, 1
        case 1:
            cuts = 1, 1, size
        case 2:
            cuts = 1, size, size
        case _:
            cuts = size, size, size
    return {
        "parameter": param * padded / cuts[0],
        "gradient": grad * padded / cuts[1],
        "optimizer": k * padded / cuts[2],
    }
""",
)
