"""mpirun, and the environment in which it is started: the same for checks, for the doctor and for lessons.

Only the standard library is needed here: what is missing may be NumPy.
"""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

# What a launcher has set here would make the new ranks believe that they are the old ones.
# OMPI_ALLOW_RUN_AS_ROOT stays.
LAUNCHED = ("PMI_", "PMIX_", "HYDI_", "OMPI_COMM", "OMPI_MCA_ess", "MPI_LOCAL")


def environment(started: Mapping[str, str] = os.environ) -> dict[str, str]:
    """This process's, without what a launcher has set; this Python's programs are found first.

    started: in its place that of another time.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), started.get("PATH", "")])
    return {k: v for k, v in started.items() if not k.startswith(LAUNCHED)} | {"PATH": path}


def find_mpirun() -> str | None:
    """The path of mpirun: the one beside this Python, else the first that PATH has."""
    return shutil.which("mpirun", path=environment()["PATH"])
