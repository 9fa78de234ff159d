"""The planted bugs still fit the package; `make planted` shows that the tests find them."""

from pathlib import Path

import pytest
from planted.bugs import GROUPS, plant

PACKAGE = Path(__file__).parent.parent / "zero_ref"
BUGS = {f"{group}: {bug.name}": bug for group in GROUPS for bug in GROUPS[group]}


def test_every_bug_has_a_name_of_its_own():
    assert len(BUGS) == sum(map(len, GROUPS.values()))


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_fits_and_compiles(name):
    compile(plant(BUGS[name], PACKAGE), BUGS[name].file, "exec")
