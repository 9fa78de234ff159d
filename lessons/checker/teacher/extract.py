"""Of a student's file the functions that are asked for, and what they refer to; nothing else of it is run.

What stands at the top level beside functions, classes, imports and constants is what a student tries out:
output, a test, a call of check(). It has no place in a grading, and it could hurt.
"""

import ast
import builtins
import copy
import hashlib
import symtable
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

# What a constant may be made of, and whom it may call.
SIMPLE = (
    *(ast.Constant, ast.Name, ast.Attribute, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Subscript),
    *(ast.Slice, ast.Starred, ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.JoinedStr),
    *(ast.FormattedValue, ast.Call, ast.keyword),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context),
)
MAKERS = {"bool", "complex", "dict", "float", "frozenset", "int", "len", "list", "max", "min", "range", "set"}
MAKERS |= {"slice", "str", "sum", "tuple"}
LIBRARIES = {"collections", "fractions", "functools", "itertools", "math", "numpy", "operator", "typing"}

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)


@dataclass
class Extract:
    """What was taken of a file.

    text: to be checked, with every line where it was; parsed: False where Python cannot read the file,
    whose text is then all of it; left_out: (name, line) of statements that bind a name in use and would
    have to be run for it; project: what the code imports of this project; functions: asked for -> node
    """

    text: str
    parsed: bool = True
    left_out: list[tuple[str, int]] = field(default_factory=list)
    project: list[str] = field(default_factory=list)
    functions: dict[str, ast.AST] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


def take(text: str, functions: Sequence[str]) -> Extract:
    """The functions, with all that they refer to at the top level."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
            kept, left_out = find_needed(tree, functions)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Extract(text, parsed=False)
    found = {n.name: n for n, _ in kept if isinstance(n, DEFINITIONS) and n.name in functions}
    clean = lay_out(text, kept)
    return Extract(clean, True, left_out, project_imports(ast.parse(clean)), found)


Kept = list[tuple[ast.stmt, set[str]]]  # statements, and of imports which of their names


def find_needed(tree: ast.Module, functions: Sequence[str]) -> tuple[Kept, list[tuple[str, int]]]:
    """The statements to keep, in their order; (name, line) of needed ones that would run something."""
    stars = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.names[0].name == "*"]
    trusted = trusted_names(tree)
    wanted: dict[ast.stmt, set[str]] = {n: set() for n in tree.body if is_always_kept(n)}
    left_out: set[tuple[str, int]] = set()
    seen, waiting = set(), list(functions)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        binders = [n for n in tree.body if name in bound_names(n)]
        if not binders and not hasattr(builtins, name):
            wanted |= {n: set() for n in stars}
        for node in binders:
            if isinstance(node, IMPORTS):
                if (
                    name not in functions
                ):  # who asks _exercise for the function to be written has written none
                    wanted.setdefault(node, set()).add(name)
            elif is_safe(node, trusted):
                wanted.setdefault(node, set())
                waiting += used_names(node)
            else:
                left_out.add((name, node.lineno))
    return [(n, wanted[n]) for n in tree.body if n in wanted], sorted(left_out, key=lambda pair: pair[1])


def is_always_kept(node: ast.stmt) -> bool:
    """Kept in any case: what changes how the rest is read, and what the checker refuses at home, too."""
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
    return any(name.split(".")[0] in ("__future__", "mpi4py") for name in names)


def bound_names(node: ast.stmt) -> set[str]:
    """The names that a statement at the top level gives a value."""
    if isinstance(node, DEFINITIONS):
        return {node.name}
    if isinstance(node, IMPORTS):
        return {alias.asname or alias.name.split(".")[0] for alias in node.names}
    found = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            found.add(part.id)
        elif isinstance(part, (*DEFINITIONS, *IMPORTS)):
            found |= bound_names(part)
    return found


def trusted_names(tree: ast.Module) -> set[str]:
    """Names whose calls may stand in a constant: some builtins, and what comes from a few libraries."""
    found = set(MAKERS)
    for node in tree.body:
        if isinstance(node, ast.Import):
            roots = {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names}
            found |= {name for name, module in roots.items() if module.split(".")[0] in LIBRARIES}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
            found |= bound_names(node)
    return found


def is_safe(node: ast.stmt, trusted: set[str]) -> bool:
    """Whether a statement is a definition, or a constant that runs nothing of the student's."""
    if isinstance(node, DEFINITIONS):
        return True
    if isinstance(node, ast.Assign):
        targets = [part for target in node.targets for part in ast.walk(target)]
        names = (ast.Name, ast.Tuple, ast.List, ast.Starred, ast.expr_context)
        return all(isinstance(part, names) for part in targets) and is_simple(node.value, trusted)
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.value is not None and is_simple(node.value, trusted)
    return False


def is_simple(value: ast.AST, trusted: set[str]) -> bool:
    """Whether a value is made of SIMPLE parts; a lambda is a function, whatever it holds."""
    if isinstance(value, ast.Lambda):
        return True
    if not isinstance(value, SIMPLE):
        return False
    if isinstance(value, ast.Call):
        root = value.func
        while isinstance(root, ast.Attribute):
            root = root.value
        if not (isinstance(root, ast.Name) and root.id in trusted):
            return False
    return all(is_simple(part, trusted) for part in ast.iter_child_nodes(value))


def used_names(node: ast.stmt) -> set[str]:
    """The names of the top level that a statement refers to."""
    text = ast.unparse(ast.Module([node], []))
    return set(globals_in(symtable.symtable(text, "student", "exec"), top=True))


def globals_in(table: symtable.SymbolTable, top: bool = False) -> Iterator[str]:
    for symbol in table.get_symbols():
        if (symbol.is_referenced() and (top or symbol.is_global())) or symbol.is_declared_global():
            yield symbol.get_name()
    for child in table.get_children():
        yield from globals_in(child)


def lay_out(text: str, kept: Kept) -> str:
    """The statements of a file that are kept, each in its line: a diagnosis names the student's own lines."""
    lines = [line.encode("utf-8", "surrogatepass") for line in text.split("\n")]
    out, line = [], 1
    for node, names in kept:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        if first > line or not out:
            out.append(b"\n" * (first - line))
            line = first
        else:
            out.append(b"; ")
        if names and isinstance(node, IMPORTS):
            out.append(ast.unparse(narrow_import(node, names)).encode())
            continue
        start = node.col_offset if first == node.lineno else 0
        part = lines[first - 1 : node.end_lineno]
        part[-1] = part[-1][: node.end_col_offset]
        part[0] = part[0][start:]
        out.append(b"\n".join(part))
        line = node.end_lineno or line
    return b"".join(out).decode("utf-8", "surrogatepass") + "\n"


def narrow_import(node: ast.stmt, names: set[str]) -> ast.stmt:
    """An import with some of its names."""
    less = copy.copy(node)
    less.names = [a for a in node.names if (a.asname or a.name.split(".")[0]) in names]
    return less


def project_imports(tree: ast.AST) -> list[str]:
    """What a program imports of this project, where the reference and the expected results are, too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return sorted(name for name in found if name.split(".")[0] in ("lessons", "zero_ref", "_exercise"))


class Normal(ast.NodeTransformer):
    """Names become numbers in the order in which they come; docstrings and annotations go."""

    def __init__(self) -> None:
        self.numbers: dict[str, str] = {}

    def number(self, name: str) -> str:
        return name if hasattr(builtins, name) else self.numbers.setdefault(name, f"n{len(self.numbers)}")

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self.number(node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg, node.annotation = self.number(node.arg), None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return self.visit(ast.Assign([node.target], node.value))

    def definition(self, node: ast.AST) -> ast.AST:
        node.name = self.number(node.name)
        node.returns = None
        first = node.body[0]
        if len(node.body) > 1 and isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            node.body = node.body[1:]
        return self.generic_visit(node)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = definition


def fingerprint(node: ast.AST) -> tuple[str, int]:
    """A hash that equal programs share, whatever their names; and of how many parts the program is."""
    normal = Normal().visit(copy.deepcopy(node))
    return hashlib.sha256(ast.dump(normal).encode()).hexdigest(), sum(1 for _ in ast.walk(normal))
