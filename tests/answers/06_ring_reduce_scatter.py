from zero_ref.layout import bounds


def ring_reduce_scatter(x, comm):
    ends = bounds(x.size, [1] * comm.size)
    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    partial = x[ends[left] : ends[left + 1]].copy()
    for hop in range(1, comm.size):
        arriving = comm.sendrecv(partial, right, left)
        shard = (comm.rank - hop - 1) % comm.size
        partial = arriving + x[ends[shard] : ends[shard + 1]]
    return partial
