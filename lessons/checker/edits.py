"""Single edits of a program: what a slip of the hand does to it.

A check that knows the right rule as text tries each of them on it, and so finds the one slip that explains
all numbers of a student's; tests/mutants.py makes each of them in the solutions.
"""

import ast
import copy
from collections.abc import Callable, Iterator, Sequence
from types import CodeType

OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mod,
    ast.Mod: ast.FloorDiv,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
}
COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


def mutants(source: str, names: Sequence[str] = ()) -> dict[str, str]:
    """Name of the edit, with its line -> the text with it; each text once. names: others that it may use."""
    tree, found, known = ast.parse(source), {}, {ast.unparse(ast.parse(source))}
    for number, node in enumerate(ast.walk(tree)):
        for name in edits(node, tree, names):
            changed = copy.deepcopy(tree)
            place = list(ast.walk(changed))[number]
            apply(place, name, changed)
            text = ast.unparse(ast.fix_missing_locations(changed))
            if text not in known:
                known.add(text)
                found[f"{getattr(node, 'lineno', 0)}.{number} {name}"] = text
    return found


def edits(node: ast.AST, tree: ast.Module, names: Sequence[str]) -> Iterator[str]:
    """The names of what can be done at a node."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield from ("+1", "-1")
    if isinstance(node, ast.BinOp):
        yield from ("exchange operands", "only the left operand", "only the right operand")
        if type(node.op) in OPERATORS:
            yield "other operator"
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield "other comparison"
    if isinstance(node, ast.AugAssign):
        yield "= for " + ast.unparse(node).split("=")[0].split()[-1] + "="
    if isinstance(node, ast.Call) and len(node.args) > 1:
        yield "exchange arguments"
    if isinstance(node, ast.Tuple) and len(node.elts) > 1:
        yield "exchange elements"
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        for other in {*others(node, tree), *(names if is_value(node, tree) else ())} - {node.id}:
            yield f"{other} for {node.id}"
    body = getattr(node, "body", None)
    if isinstance(body, list) and not (isinstance(node, ast.Module) and has_functions(tree)):
        for n, statement in enumerate(body):
            if not isinstance(statement, ast.Return):
                yield f"without statement {n}"
                yield f"statement {n} twice"
            if n + 1 < len(body) and not isinstance(body[n + 1], ast.Return):
                yield f"statements {n} and {n + 1} exchanged"


def has_functions(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.FunctionDef) for node in tree.body)


def is_value(node: ast.Name, tree: ast.Module) -> bool:
    """Whether a name is neither called nor indexed nor followed by a point."""
    return any(use == "value" for name, use in name_uses(list(ast.walk(tree))) if name is node)


def others(node: ast.Name, tree: ast.Module) -> list[str]:
    """Names around a node, in its function if it is in one, that are used as it is: called, indexed ..."""
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    for place in functions or [tree]:
        inside = list(ast.walk(place))
        if node in inside:
            uses = {name.id: use for name, use in name_uses(inside) if name is not node}
            mine = next(use for name, use in name_uses(inside) if name is node)
            found = sorted(name for name, use in uses.items() if use == mine and name != node.id)
            return found[:2] if functions else found
    return []


def name_uses(nodes: list[ast.AST]) -> Iterator[tuple[ast.Name, str]]:
    """Every name that is read, and what is done with it."""
    parents = {id(child): parent for parent in nodes for child in ast.iter_child_nodes(parent)}
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            parent = parents.get(id(node))
            called = isinstance(parent, ast.Call) and parent.func is node
            use = "called" if called else type(parent).__name__
            yield node, use if use in ("called", "Attribute", "Subscript") else "value"


def apply(node: ast.AST, name: str, tree: ast.Module) -> None:
    """Make an edit."""
    if name in ("+1", "-1"):
        node.value += int(name)
    elif name == "exchange operands":
        node.left, node.right = node.right, node.left
    elif name.startswith("only the"):
        put(tree, node, node.left if "left" in name else node.right)
    elif name == "other operator":
        node.op = OPERATORS[type(node.op)]()
    elif name == "other comparison":
        node.ops[0] = COMPARISONS[type(node.ops[0])]()
    elif name.startswith("= for"):
        put(tree, node, ast.Assign([node.target], node.value))
    elif name == "exchange arguments":
        node.args[0], node.args[1] = node.args[1], node.args[0]
    elif name == "exchange elements":
        node.elts[0], node.elts[1] = node.elts[1], node.elts[0]
    elif name.startswith("without statement"):
        del node.body[int(name.split()[-1])]
        node.body = node.body or [ast.Pass()]
    elif name.startswith("statements"):
        n = int(name.split()[1])
        node.body[n], node.body[n + 1] = node.body[n + 1], node.body[n]
    elif name.startswith("statement"):
        n = int(name.split()[1])
        node.body.insert(n, copy.deepcopy(node.body[n]))
    else:
        node.id = name.split()[0]


def put(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    """`new` in the place of `old`."""
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
            elif isinstance(value, list):
                setattr(parent, field, [new if one is old else one for one in value])


def explaining_edit(rule: str, names: Sequence[str], fits: Callable[[CodeType], bool]) -> str | None:
    """The changed line of the first edit of `rule` that `fits`; None where none does.

    rule: assignments, perhaps in a loop; names: what else they may use; fits: whether the rule, compiled,
    gives what a student's function gave in all trials
    """
    before = ast.unparse(ast.parse(rule)).splitlines()
    for text in mutants(rule, names).values():
        try:
            if not fits(compile(text, "rule", "exec")):
                continue
        except Exception:  # this edit stops the program, in whatever way
            continue
        return changed_line(before, ast.unparse(ast.parse(text)).splitlines())
    return None


def changed_line(before: list[str], now: list[str]) -> str:
    """What an edit makes of a rule: the line that it changes; the lines around what it leaves out."""
    begin, end = 0, 0
    while begin < min(len(before), len(now)) and before[begin] == now[begin]:
        begin += 1
    while end < min(len(before), len(now)) - begin and before[-1 - end] == now[-1 - end]:
        end += 1
    changed = now[begin : len(now) - end]
    if len(changed) < len(before) - begin - end or not changed:
        changed = now[max(0, begin - 1) : len(now) - end + 1]
    elif len(now) > len(before):  # a line twice: with the one it repeats
        changed = now[max(0, begin - len(changed)) : len(now) - end]
    return "; ".join(line.strip() for line in changed)
