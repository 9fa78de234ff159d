"""Memory of this process, for the runs that are compared."""

import resource


def peak() -> int:
    """The most resident memory so far, in KiB on Linux."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def pool() -> float:
    """MiB of device memory that CuPy's pool has taken."""
    import cupy

    return cupy.get_default_memory_pool().total_bytes() / 2**20
