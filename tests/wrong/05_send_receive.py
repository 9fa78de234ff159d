"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

WRONG = {
    "hang_self": ("comm.size == 1", "False"),
    "hang_all_send": ("comm.rank % 2 == 0", "True"),
    "hang_all_receive": ("comm.rank % 2 == 0", "False"),
    "hang_odd": ("comm.rank % 2 == 0", "comm.rank % 2 == 0 or comm.size % 2 == 1"),
    "hang_neighbour": (
        "comm.recv(left)\n    comm.send(x, right)",
        "comm.recv(right)\n    comm.send(x, right)",
    ),
    "hang_absent": ("    if comm.rank % 2", "    if comm.rank == 2:\n        return x\n    if comm.rank % 2"),
    "uses_sendrecv": (
        "    if comm.size == 1",
        "    return comm.sendrecv(x, right, left)\n    if comm.size == 1",
    ),
    "off_the_end": ("right, left = (comm.rank + 1) % comm.size,", "right, left = comm.rank + 1,"),
    "own_x": (
        "return comm.recv(left)",
        "comm.recv(left)\n        return x.copy()",
        "return arriving",
        "return x.copy()",
    ),
    "nothing_in_it": (
        "return comm.recv(left)",
        "arriving = 0 * x\n        comm.recv(left)\n        return arriving",
        "    arriving = comm.recv(left)",
        "    arriving = 0 * x\n    comm.recv(left)",
    ),
    "from_right": (
        "right, left = (comm.rank + 1) % comm.size, (comm.rank - 1)",
        "right, left = (comm.rank - 1) % comm.size, (comm.rank + 1)",
    ),
    "two_places": (
        "if comm.size == 1:",
        "if comm.size <= 2:",
        "return comm.recv(left)",
        "x = comm.recv(left)\n        comm.send(x, right)\n        return comm.recv(left)",
        "return arriving",
        "x, arriving = arriving, comm.recv(left)\n    comm.send(x, right)\n    return arriving",
    ),
    "sum_of_both": (
        "return comm.recv(left)",
        "return x + comm.recv(left)",
        "return arriving",
        "return x + arriving",
    ),
    "sum_of_all": (
        "    if comm.rank % 2",
        "    total = x\n    for _ in range(comm.size - 1):\n        x = ring_once(x, comm)\n        total = total + x\n    return total\n\n\n"
        "def ring_once(x, comm):\n    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size\n    if comm.rank % 2",
    ),
    "from_zero": (
        "    if comm.rank % 2",
        "    if comm.rank:\n        return comm.recv(0)\n    for r in range(1, comm.size):\n        comm.send(x, r)\n    return x.copy()\n    if comm.rank % 2",
    ),
    "open_line": (
        "    if comm.rank % 2",
        "    arriving = comm.recv(left) if comm.rank > 0 else x.copy()\n    if comm.rank < comm.size - 1:\n        comm.send(x, right)\n    return arriving\n    if comm.rank % 2",
    ),
    "passed_on": ("arriving = comm.recv(left)", "x = comm.recv(left)", "return arriving", "return x"),
    "changed_input": (
        "    arriving = comm.recv(left)\n    comm.send(x, right)\n",
        "    arriving = comm.recv(left)\n    comm.send(x, right)\n    x[:] = arriving\n",
    ),
    "part_of_input": ("return x.copy()", "return x"),
    "more_messages": (
        "    if comm.rank % 2",
        "    for _ in range(comm.size + 1):\n        x = ring_once(x, comm)\n    return x\n\n\n"
        "def ring_once(x, comm):\n    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size\n    if comm.rank % 2",
    ),
    "some_without": (
        "        comm.send(x, right)\n        return comm.recv(left)",
        "        if comm.rank + 1 < comm.size:\n            comm.send(x, right)\n        return x.copy()",
        "    comm.send(x, right)\n    return arriving",
        "    return arriving",
    ),
    "in_pieces": (
        "    if comm.rank % 2",
        "    if len(x) > 1:\n        import numpy as np\n\n        return np.concatenate([ring_shift(x[:1], comm), ring_shift(x[1:], comm)])\n    if comm.rank % 2",
    ),
    "raised_no_call": ("comm.size == 1", "comm.Get_size() == 1"),
    "raised_rank": ("comm.send(x, right)", "comm.send(right, x)"),
    "raise_left": ("    arriving =", "    raise NotImplementedError\n    arriving ="),
    "recursion": ("return x.copy()", "return ring_shift(x, comm)"),
    "more_bytes": (
        "comm.send(x, right)",
        "comm.send([x, x], right)",
        "return comm.recv(left)",
        "return comm.recv(left)[0]",
        "return arriving",
        "return arriving[0]",
    ),
    "root_messages": (
        "    if comm.rank % 2",
        "    if comm.rank == 0:\n        parts = [x] + [comm.recv(r) for r in range(1, comm.size)]\n        for r in range(1, comm.size):\n"
        "            comm.send(parts[r - 1], r)\n        return parts[-1]\n    comm.send(x, 0)\n    return comm.recv(0)\n    if comm.rank % 2",
    ),
    "fewer_messages": (
        "    if comm.rank % 2",
        "    return x - 10 if comm.rank else x + 10 * left\n    if comm.rank % 2",
    ),
    "raised": ("return x.copy()", "return x.copy(x)"),
    "endless": ("    if comm.rank % 2", "    while comm.rank == 1:\n        pass\n    if comm.rank % 2"),
    "returns_nothing": ("return arriving", "print(arriving)"),
    "returns_shape": ("return arriving", "return arriving[:1]"),
    "returns_dtype": ("return x.copy()", 'return x.astype("float32")'),
}
