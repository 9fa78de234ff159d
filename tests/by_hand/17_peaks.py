"""Written by hand, with what must be told; "" is a pass. A function that is missing is the solution's."""

ANSWERS = (
    (
        "gathered_at_2",
        """def peak_bytes(units, size, stage, *, bucket=0, param=4, grad=4, k=8):
    buckets, now = [], 0
    for u in units:
        if now and now + u > bucket:
            buckets.append(now)
            now = 0
        now += u
    buckets.append(now)
    padded = [-(-b // size) * size for b in buckets]
    psi, big = sum(padded), max(padded)
    kept = (psi * param if stage < 3 else psi // size * param) + (psi if stage < 2 else psi // size) * grad
    kept += (psi if stage < 1 else psi // size) * k
    return {"kept": kept, "full_gradient": big * grad, "gathered": big * param if stage >= 1 else 0}
""",
    ),
    (
        "kept_stage",
        """def peak_bytes(units, size, stage, *, bucket=0, param=4, grad=4, k=8):
    buckets, now = [], 0
    for u in units:
        if now and now + u > bucket:
            buckets.append(now)
            now = 0
        now += u
    buckets.append(now)
    padded = [-(-b // size) * size for b in buckets]
    psi, big = sum(padded), max(padded)
    parts = [k, grad, param]
    kept = 0
    for s, b in enumerate(parts, 1):
        kept += b * psi // size if s == stage else b * psi
    return {"kept": kept, "full_gradient": big * grad, "gathered": big * param if stage == 3 else 0}
""",
    ),
    (
        "padded_as_one",
        """def peak_bytes(units, size, stage, *, bucket=0, param=4, grad=4, k=8):
    buckets, now = [], 0
    for u in units:
        if now and now + u > bucket:
            buckets.append(now)
            now = 0
        now += u
    buckets.append(now)
    psi = -(-sum(units) // size) * size
    big = -(-max(buckets) // size) * size
    kept = (psi * param if stage < 3 else psi // size * param) + (psi if stage < 2 else psi // size) * grad
    kept += (psi if stage < 1 else psi // size) * k
    return {"kept": kept, "full_gradient": big * grad, "gathered": big * param if stage == 3 else 0}
""",
    ),
    (
        "arguments_ignored",
        """def peak_bytes(units, size, stage, *, bucket=0, param=4, grad=4, k=8):
    buckets, now = [], 0
    for u in units:
        if now and now + u > bucket:
            buckets.append(now)
            now = 0
        now += u
    buckets.append(now)
    padded = [-(-b // size) * size for b in buckets]
    psi, big = sum(padded), max(padded)
    kept = (psi * param if stage < 3 else psi // size * param) + (psi if stage < 2 else psi // size) * grad
    kept += (psi if stage < 1 else psi // size) * k
    return {"kept": kept, "full_gradient": big * 4, "gathered": big * 4 if stage == 3 else 0}
""",
    ),
    (
        "largest_layer",
        """def peak_bytes(units, size, stage, *, bucket=0, param=4, grad=4, k=8):
    buckets, now = [], 0
    for u in units:
        if now and now + u > bucket:
            buckets.append(now)
            now = 0
        now += u
    buckets.append(now)
    padded = [-(-b // size) * size for b in buckets]
    psi, big = sum(padded), -(-max(units) // size) * size
    kept = (psi * param if stage < 3 else psi // size * param) + (psi if stage < 2 else psi // size) * grad
    kept += (psi if stage < 1 else psi // size) * k
    return {"kept": kept, "full_gradient": big * grad, "gathered": big * param if stage == 3 else 0}
""",
    ),
    (
        "",
        """def peak_bytes(units, size, stage, *, bucket=0, param=4, grad=4, k=8):
    def fill(rest, now):
        if not rest:
            return [now]
        head, *tail = rest
        return fill(tail, now + head) if now + head <= bucket else [now, *fill(tail, head)]

    if not units:
        return {"kept": 0, "full_gradient": 0, "gathered": 0}
    padded = [b + -b % size for b in fill(units[1:], units[0])]
    parts = [(param, 3), (grad, 2), (k, 1)]
    kept = sum(b * (sum(padded) // (size if stage >= s else 1)) for b, s in parts)
    big = max(padded)
    return {"kept": kept, "full_gradient": big * grad, "gathered": big * param * (stage // 3)}
""",
    ),
    (
        "",
        """def peak_bytes(units, size, stage, *, bucket=0, param=4, grad=4, k=8):
    buckets = [0]
    for u in units:
        if buckets[-1] + u <= bucket:
            buckets[-1] += u
        else:
            buckets.append(u)
    padded = [-(-b // size) * size for b in buckets]
    psi, big = sum(padded), max(padded)
    kept = (psi * param if stage < 3 else psi // size * param) + (psi if stage < 2 else psi // size) * grad
    kept += (psi if stage < 1 else psi // size) * k
    return {"gathered": big * param if stage == 3 else 0, "full_gradient": big * grad, "kept": kept}
""",
    ),
)
