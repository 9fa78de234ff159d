"""The planted bugs still fit the package; `make planted` shows that the tests find them."""

from pathlib import Path

import pytest
from planted import run
from planted.bugs import GROUPS, plant

PACKAGE = Path(__file__).parent.parent / "zero_ref"
BUGS = {f"{group}: {bug.name}": bug for group in GROUPS for bug in GROUPS[group]}


def test_every_bug_has_a_name_of_its_own():
    assert len(BUGS) == sum(map(len, GROUPS.values()))


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_fits_and_compiles(name):
    planted = plant(BUGS[name], PACKAGE)
    if BUGS[name].file.endswith(".py"):
        compile(planted, BUGS[name].file, "exec")


def test_a_sample_is_spread_over_its_group():
    assert run.spread(list(range(10)), 3) == [0, 3, 6]
    assert run.spread([1, 2], 3) == [1, 2]


def test_quick_has_every_check_at_three_ranks_and_the_groups_own_come_first():
    assert set(run.checks_of("all")) - set(run.checks_of("quick")) == {"aware"}
    assert run.checks_of("quick", ["predict", "aware"])[:2] == ["predict", "reference"]
    assert sorted(run.checks_of("all", ["predict"])) == sorted(run.CHECKS)
