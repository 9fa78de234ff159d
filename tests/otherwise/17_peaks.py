"""The solution written in other ways: all of them are right."""

RIGHT = (
    """def peak_bytes(units, size, stage, *, bucket=0, param=4, grad=4, k=8):
    sums, now = [], 0
    for n in units:
        if now and now + n > bucket:
            sums.append(now); now = 0
        now += n
    sums.append(now)
    shards = [(n + size - 1) // size for n in sums]
    own, psi, big = sum(shards), sum(shards) * size, max(shards) * size
    have = [psi, own]
    kept = param * have[stage > 2] + grad * have[stage > 1] + k * have[stage > 0]
    return dict(kept=kept, full_gradient=grad * big, gathered=[0, param * big][stage == 3])
""",
    """from itertools import accumulate


def merge(units, bucket):
    if not units:
        return []
    count = max([i for i, total in enumerate(accumulate(units), 1) if total <= bucket], default=1)
    return [sum(units[:count]), *merge(units[count:], bucket)]


def peak_bytes(units, size, stage, *, bucket=0, param=4, grad=4, k=8):
    padded = [-(-n // size) * size for n in merge(list(units), bucket)]
    each = {"param": (param, 3), "grad": (grad, 2), "k": (k, 1)}
    kept = sum(b * sum(padded) // (size if stage >= s else 1) for b, s in each.values())
    big = sorted(padded)[-1]
    return {"gathered": param * big * (stage == 3), "full_gradient": big * grad, "kept": kept}
""",
)
