def ring_shift(x, comm):
    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    if comm.size == 1:
        return x.copy()
    if comm.rank % 2 == 0:
        comm.send(x, right)
        return comm.recv(left)
    arriving = comm.recv(left)
    comm.send(x, right)
    return arriving
