"""For lesson 05: a ring of blocking calls, played through with a library that stores nothing."""


def rounds(orders: list[str]) -> int | None:
    """Rounds until each rank of a ring has sent and received in its order, "SR" or "RS"; None if they hang.

    In a round every pair is done whose left rank is at its S, and whose right one is at its R.
    """
    count, size = 0, len(orders)
    while any(orders):
        now = [order[:1] for order in orders]
        sends = [r for r in range(size) if now[r] == "S" and now[(r + 1) % size] == "R"]
        if not sends:
            return None
        done = sends + [(r + 1) % size for r in sends]
        orders = [order[1:] if r in done else order for r, order in enumerate(orders)]
        count += 1
    return count
