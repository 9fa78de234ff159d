def bytes_sent(psi, size, stage, micro_batches, itemsize):
    padded = psi + -psi % size
    once = padded // size * (size - 1) * itemsize
    reduces = micro_batches if stage >= 2 else 1
    gathers = 2 * micro_batches if stage == 3 else 1
    return {"reduce_scatter": reduces * once, "all_gather": gathers * once}


def peak_gathered(units, size, ahead):
    full = [unit + -unit % size for unit in units]
    return max(sum(full[i : i + ahead + 1]) for i in range(len(full)))
