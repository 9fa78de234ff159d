"""What `make test` runs and what it leaves to `make test-all`, by rule; docs/tests.md says it in words.

    python -m pytest --part quick    what `make test` runs; the same as `python -m pytest`
    python -m pytest --part rest     what it leaves out
    python -m pytest --part all      both; so does naming a file, -k or -m

1. A test marked `rest("why")` is in the rest, and so is one that asks for a fixture of REST; of one marked
   `rest("why", every=n)` each nth case is in quick, from the first.
2. Of all other cases as few are in quick as have everything that follows: of one parameter each value,
   of two each value of either, and of more any two values of any two; of a test marked
   `rest("why", each="value")` each value of each parameter, however many there are.
"""

import itertools
from collections import defaultdict

import pytest

REST = {  # fixture: why a test that asks for it is in the rest
    "chromium": "a browser",
    "copy_of_project": "the commands of the pages",
    "others": "six runs beside the one that a file looks at",
    "school": "the work of a class, graded",
    "student_tree": "a tree for students, made and looked through",
}
FIRST = ("test_under_mpirun.py", "test_docs.py")  # the longest files, while others run beside them
PARTS = {
    "quick": "every mechanism once, at 3 ranks, in some minutes on two idle cores; make test-all: more",
    "rest": "what make test leaves out: all other combinations and numbers of ranks, pages in a browser ...",
    "all": "everything that was named",
}


def part_of(config: pytest.Config) -> str:
    """The part that was asked for: whoever names files or tests gets all of them."""
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    named = named or config.option.keyword or config.option.markexpr
    return config.getoption("part") or ("all" if named else "quick")


def keep(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave in `items` those of the part that was asked for; the others are told to pytest as deselected."""
    part, chosen = part_of(config), quick(items)
    kept = [i for i in items if part == "all" or (i.nodeid in chosen) == (part == "quick")]
    config.hook.pytest_deselected(items=list(set(items) - set(kept)))
    items[:] = sorted(kept, key=lambda item: item.path.name not in FIRST)


def quick(items: list[pytest.Item]) -> set[str]:
    """The names of the cases that `make test` runs."""
    cases = defaultdict(list)  # of each test
    for item in items:
        cases[item.nodeid.partition("[")[0]].append(item)
    return {item.nodeid for each in cases.values() for item in of_one_test(each)}


def of_one_test(cases: list[pytest.Item]) -> list[pytest.Item]:
    marks = [mark_of(item) for item in cases]
    if any(REST.keys() & set(item.fixturenames) for item in cases):
        return []
    nth = [item for n, item in enumerate(cases) if marks[n] and taken(n, marks[n])]
    others = [item for n, item in enumerate(cases) if marks[n] is None or "each" in marks[n].kwargs]
    alone = any(mark and "each" in mark.kwargs for mark in marks)
    return nth + [others[n] for n in covering([parameters(item) for item in others], alone)]


def mark_of(item: pytest.Item) -> pytest.Mark | None:
    """The mark of a case, or that of its test: a case of such a test may be left out by its own."""
    return min(item.iter_markers("rest"), key=lambda mark: "each" in mark.kwargs, default=None)


def taken(n: int, mark: pytest.Mark) -> bool:
    return "every" in mark.kwargs and n % mark.kwargs["every"] == 0


def parameters(item: pytest.Item) -> dict[str, str]:
    """Name -> text of the value, of each parameter of a case."""
    call = getattr(item, "callspec", None)
    return {name: repr(value) for name, value in call.params.items()} if call else {}


def covering(cases: list[dict[str, str]], alone: bool = False) -> list[int]:
    """The numbers of as few cases as a greedy choice finds; see 2. above. alone: no two values need meet."""
    if not any(cases):
        return list(range(len(cases)))
    together = 1 if alone or max(map(len, cases)) < 3 else 2
    met = [set(itertools.combinations(sorted(case.items()), together)) for case in cases]
    left, chosen = set().union(*met), []
    while left:
        chosen.append(max(range(len(cases)), key=lambda n: len(met[n] & left)))
        left -= met[chosen[-1]]
    return sorted(chosen)
