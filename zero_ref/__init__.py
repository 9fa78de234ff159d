"""zero_ref: ZeRO (Zero Redundancy Optimizer, arXiv 1910.02054) written to be read.

Importing the package sets the environment that BLAS and MPI read once, when they are loaded;
so `import zero_ref` comes before `import numpy` in a script that wants these settings.
"""

from zero_ref.launch import prepare_environment
from zero_ref.launch.start import open_post

__version__ = "0.2.0"

prepare_environment()
open_post()
