"""Diagnosis -> a wrong answer that must get it: texts of the solution, and what stands in their place."""

WRONG = {
    "printed": ("return f", "print(f", '{comm.size}"', '{comm.size}")'),
    "some_silent": ("    return", "    if comm.rank == 0:\n        return"),
    "no_f": ('f"', '"'),
    "swapped": ("{comm.rank} of {comm.size}", "{comm.size} of {comm.rank}"),
    "counts_from_one": ("{comm.rank}", "{comm.rank + 1}"),
    "last_rank": ("{comm.size}", "{comm.size - 1}"),
    "same_rank": ("{comm.rank}", "0"),
    "size_fixed": ("{comm.size}", "4"),
    "constant": ('f"rank {comm.rank} of {comm.size}"', '"rank 2 of 4"'),
    "spaces": ('{comm.size}"', '{comm.size}\\n"'),
    "other_words": ("rank {comm.rank} of ", "Rank {comm.rank}/"),
    "unknown": ("{comm.rank}", "{2 * comm.rank + 1}"),
    "returns_nothing": ("return ", ""),
    "returns_type": ('f"rank {comm.rank} of {comm.size}"', "comm.rank, comm.size"),
    "raised": ("comm.size", "comm.size // 0"),
    "raised_no_call": ("comm.size", "comm.number"),
    "imports_mpi": ("def who", "from mpi4py import MPI\n\n\ndef who"),
    "more_bytes": (
        "    return",
        "    comm.sendrecv(1, (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size)\n    return",
    ),
}
