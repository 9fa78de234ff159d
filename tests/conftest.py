import os
import sys
from pathlib import Path

import pytest

os.environ["LC_ALL"] = "C.UTF-8"  # what is printed is English, wherever tests run
sys.path.insert(0, str(Path(__file__).parent))  # tests share helpers: launching, serial

import pages


@pytest.fixture(scope="session")
def copy_of_project(tmp_path_factory):
    """Where the commands of README and docs are run."""
    return pages.Copy(tmp_path_factory.mktemp("pages"))
