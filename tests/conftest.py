import os
import sys
from pathlib import Path

import pytest

os.environ["LC_ALL"] = "C.UTF-8"  # what is printed is English, wherever tests run
sys.path.insert(0, str(Path(__file__).parent))  # tests share helpers: launching, serial

import pages
import parts

# A thousand commands and ranks would each compile the package anew: a fifth of what a short run takes.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Three ranks on two cores: who waits leaves its core to who computes, or to another test.
os.environ.setdefault("MPIR_CVAR_ENABLE_HEAVY_YIELD", "1")


def pytest_addoption(parser):
    parser.addoption("--part", choices=parts.PARTS, help="which tests: see tests/parts.py")


def pytest_report_header(config):
    part = parts.part_of(config)
    return f"part {part}: {parts.PARTS[part]}"


@pytest.hookimpl(trylast=True)  # when tests/mpi/conftest.py has chosen for the number of ranks
def pytest_collection_modifyitems(config, items):
    parts.keep(config, items)


@pytest.fixture(scope="session")
def copy_of_project(tmp_path_factory):
    """Where the commands of README and docs are run."""
    return pages.Copy(tmp_path_factory.mktemp("pages"))
