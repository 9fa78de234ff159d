"""Results of several arrays: each is looked at by itself, with the line of the student's that wrote it."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from lessons.checker.evidence import Trial


def written(student: ModuleType, function: str, first: bool = False) -> dict[str, int]:
    """Name -> the last line of a student's function that assigns to it or into it, or the first."""
    tree = ast.parse(Path(str(student.__file__)).read_text(encoding="utf-8-sig"))
    lines: dict[str, int] = {}
    for node in (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function):
        for statement in ast.walk(node):
            for name in targets(statement):
                known = lines.get(name, statement.lineno)
                lines[name] = (min if first else max)(statement.lineno, known)
    return lines


def targets(node: ast.AST) -> Iterator[str]:
    """The names that a statement writes: x of `x = `, `x += `, `x[0] = ` and `x, y = `."""
    if isinstance(node, ast.Assign):
        waiting = list(node.targets)
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        waiting = [node.target]
    else:
        return
    while waiting:
        target = waiting.pop()
        if isinstance(target, ast.Name):
            yield target.id
        elif isinstance(target, ast.Subscript | ast.Starred):
            waiting.append(target.value)
        elif isinstance(target, ast.Tuple | ast.List):
            waiting += target.elts


def part(trials: Sequence[Trial], number: int, name: str) -> list[Trial]:
    """The trials as if only the number-th of the values had been returned, at the line that wrote `name`."""
    found = []
    for trial in trials:
        ranks = []
        for report in trial.ranks:
            (values,) = report["value"].values()  # of a tuple or list
            line = report["lines"].get(name, report["line"])
            ranks.append(report | {"value": values[number], "line": line})
        found.append(Trial(trial.case, ranks))
    return found
