def who(comm):
    return f"rank {comm.rank} of {comm.size}"
