"""How the package hangs together: no circle of imports, few files at its top, no MPI where none is needed."""

import ast
import graphlib
import re
import subprocess
import sys

import pytest
from launching import ROOT

PACKAGE = ROOT / "zero_ref"
MOST_AT_THE_TOP = 14
WITHOUT_MPI = {
    "zero_ref.plan.__main__": "",
    "zero_ref.report.__main__": "",
    "zero_ref.explore.__main__": "; m.page()",
    "zero_ref.checkpoint.__main__": "",
    "zero_ref.meta": "",
    "zero_ref.train.options": "; m.parse([])",
    "zero_ref.train.dry_run": "; from zero_ref.train.options import parse; from zero_ref.data import Task"
    "; m.forecast(parse(['--stage=1']), Task(4, 3, 3), 5, 9, [(2,)])",
}


def modules(package):
    """The modules of a package by their names."""
    found = {}
    for file in sorted(package.rglob("*.py")):
        parts = (package.name, *file.relative_to(package).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def ancestors(name):
    parts = name.split(".")
    return {".".join(parts[:n]) for n in range(1, len(parts))}


def named_in(node, names, here):
    """The modules, of those called `names`, that a node of a syntax tree imports. here: its package."""
    if isinstance(node, ast.Import):
        asked = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        base = here.split(".")[: len(here.split(".")) + 1 - node.level] if node.level else []
        start = ".".join([*base, *filter(None, [node.module])])
        asked = [f"{start}.{alias.name}" for alias in node.names] + [start]
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        asked = [node.value]  # for importlib
    else:
        return set()
    return {name for name in asked if name in names}


def nodes(tree):
    """All nodes but those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            children = node.orelse
        else:
            yield node
            children = [node]
        for child in children:
            yield from nodes(child)


def imports(package):
    """Module -> those that have to be loaded for it, wherever in it they are imported.

    Of a package whose module is imported, __init__.py is loaded, too; not by modules of the same package, as
    it is there already.
    """
    files, found = modules(package), {}
    for name, file in files.items():
        here = name if file.name == "__init__.py" else name.rpartition(".")[0]
        asked = set()
        for node in nodes(ast.parse(file.read_text(encoding="utf-8"))):
            asked |= named_in(node, files, here)
        mine = ancestors(name) | {name}
        found[name] = set().union(asked, *map(ancestors, asked)) - mine
        found[name] |= {package for package in asked & ancestors(name) if files[package].stat().st_size}
    return found


def circle(graph):
    """The names of a circle, each of which imports the next; empty if there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1][::-1]
    return []


def test_no_module_imports_itself_over_others():
    graph = imports(PACKAGE)
    assert len(graph) > 40 and "zero_ref.ledger" in graph["zero_ref.array"]
    assert circle(graph) == []


@pytest.mark.parametrize(
    "back, there_is_one",
    [
        ("from p.sub import a", True),
        ("def f():\n    import p.sub.a", True),
        ("from .sub.a import x", True),
        ("import importlib\ndef f():\n    return importlib.import_module('p.sub.a')", True),
        ("import typing\nif typing.TYPE_CHECKING:\n    from p.sub import a", False),
        ("from p.sub import c", False),
        ("from p import sub", False),
    ],
)
def test_a_circle_would_be_found(back, there_is_one, tmp_path):
    (tmp_path / "p" / "sub").mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "sub/__init__": "",
        "sub/a": "from p import b\nfrom p.sub import c\nx = 1",
        "sub/c": "",
        "b": back,
    }.items():
        (tmp_path / "p" / f"{name}.py").write_text(text)
    found = circle(imports(tmp_path / "p"))
    assert (found != []) == there_is_one and set(found) <= {"p.b", "p.sub.a"}


def test_what_a_package_loads_is_part_of_the_circle(tmp_path):
    (tmp_path / "p" / "sub").mkdir(parents=True)
    (tmp_path / "p" / "__init__.py").write_text("")
    (tmp_path / "p" / "sub" / "__init__.py").write_text("import p.b")
    (tmp_path / "p" / "sub" / "a.py").write_text("")
    (tmp_path / "p" / "b.py").write_text("import p.sub.a")
    assert set(circle(imports(tmp_path / "p"))) == {"p.b", "p.sub"}


def test_few_files_are_at_the_top():
    files = [file.name for file in PACKAGE.glob("*.py")]
    assert len(files) <= MOST_AT_THE_TOP, sorted(files)


@pytest.mark.parametrize("module", WITHOUT_MPI)
def test_mpi_is_not_started(module):
    program = f"import sys, importlib\nm = importlib.import_module({module!r}){WITHOUT_MPI[module]}\n"
    program += "sys.exit('MPI has started' if 'mpi4py.MPI' in sys.modules else 0)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# What a stage is, its own file says: what it KEEPS. Others ask for that, pages too, and compare no numbers.
MAY_COMPARE = {"extras/own.py"}
COMPARED = re.compile(r"""\bstage\b["']?\]?\s*(?:<|>)|(?<![-=])[<>]=?\s*(?:\w+(?:\.|\[["']))*stage\b""")

OPERAND = (ast.Name, ast.Attribute, ast.Subscript)


def compares_stages(file):
    text = file.read_text(encoding="utf-8")
    found = [line for line in text.splitlines() if COMPARED.search(line)]
    for node in ast.walk(ast.parse(text)) if file.suffix == ".py" else ():
        if isinstance(node, ast.Compare) and any(
            isinstance(op, (ast.Lt, ast.LtE, ast.Gt, ast.GtE)) for op in node.ops
        ):
            sides = [side for side in (node.left, *node.comparators) if isinstance(side, OPERAND)]
            found += [ast.unparse(node) for s in sides if re.search(r"\bstage\b", ast.unparse(s))]
    return found


def test_nobody_compares_the_numbers_of_stages():
    for file in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.js")]):
        where = file.relative_to(PACKAGE).as_posix()
        if not where.startswith("stages/") and where not in MAY_COMPARE:
            assert compares_stages(file) == [], where


@pytest.mark.parametrize(
    "line, compares",
    [
        ("if stage >= 2: pass", True),
        ("x = 1 if 0 < o.stage else 2", True),
        ("x = config['stage'] < 3", True),
        ("x = self.stage<3", True),
        ("x = 3 > config['stage']", True),
        ("x = size(stage, 7) < 3", False),
        ("x = o.stage != 3", False),
        ("def f() -> stage: pass", False),
    ],
)
def test_a_comparison_would_be_found(line, compares, tmp_path):
    (tmp_path / "a.py").write_text(line)
    assert bool(compares_stages(tmp_path / "a.py")) == compares


MOST_LINES = {"of a file": 350, "of a function": 60}
LISTS = {"zero_ref/train/options.py parser"}  # a line for each option, and nothing to follow


def functions(file):
    """Each function of a file, its name and its length in lines."""
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    kinds = ast.FunctionDef, ast.AsyncFunctionDef
    return [(n.name, n.end_lineno - n.lineno + 1) for n in nodes if isinstance(n, kinds)]


def test_files_and_functions_are_short():
    files = sorted(PACKAGE.rglob("*.py"))
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {file: n for file, n in lengths.items() if n > MOST_LINES["of a file"]} == {}
    long = {
        f"{file.relative_to(ROOT)} {name}"
        for file in files
        for name, n in functions(file)
        if n > MOST_LINES["of a function"]
    }
    assert long == LISTS
