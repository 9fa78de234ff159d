"""Memory of this process, for the runs that are compared."""

import resource


def peak() -> int:
    """The most resident memory so far, in KiB on Linux."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
