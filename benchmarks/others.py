"""How much of the machine others used while something ran: what disturbs a measurement."""

import os
import resource
import time
from pathlib import Path
from typing import Self

STAT = Path("/proc/stat")


def busy() -> float | None:
    """Seconds that all cores together have worked since the machine started; None where nobody tells."""
    if not STAT.exists():
        return None
    user, nice, system, _idle, _iowait, irq, soft_irq, steal = map(int, STAT.read_text().split()[1:9])
    return (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")


def our_own() -> float:
    """Seconds that this process and its children that have ended have worked."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


class Others:
    """`with Others() as others: ...`; then others.cores: how many cores others kept busy meanwhile.

    None where the system does not tell. The clocks tick in 1/100 s, so a few hundredths are nothing.
    """

    cores: float | None = None

    def __enter__(self) -> Self:
        self.start = time.monotonic(), busy(), our_own()
        return self

    def __exit__(self, *_: object) -> None:
        since, before, ours = self.start
        now = busy()
        if before is not None and now is not None:
            self.cores = max(0.0, (now - before - (our_own() - ours)) / (time.monotonic() - since))
