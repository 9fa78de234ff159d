"""On a rank: a student's file as a module, or why it cannot be one."""

import ast
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any


class NotLoaded(Exception):
    """A student's file that cannot be used: a diagnosis's key and parameters."""

    def __init__(self, key: str, line: tuple[str, int] | None = None, **params: Any) -> None:
        super().__init__(key)
        self.key, self.line, self.params = key, line, params


def load(path: Path, functions: Sequence[str]) -> ModuleType:
    """A student's file as a module. Raises NotLoaded."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        tree = ast.parse(text)
        code = compile(text, str(path), "exec", dont_inherit=True)  # finds errors that parse() does not
    except SyntaxError as error:
        line = error.lineno and (path.name, error.lineno)  # an earlier exercise's file has a line, too
        raise NotLoaded("syntax", line, text=str(error.msg)) from None
    except (RecursionError, MemoryError) as error:
        raise NotLoaded("syntax", text=str(error) or type(error).__name__) from None
    except (OSError, UnicodeError, ValueError) as error:
        raise NotLoaded("unreadable", text=str(error)) from None
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        module = getattr(node, "module", None) or ""
        if any(name.split(".")[0] == "mpi4py" for name in [*names, module]):
            raise NotLoaded("imports_mpi", (path.name, node.lineno))
    spec = importlib.util.spec_from_file_location(f"student_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass looks for its own
    exec(code, module.__dict__)
    for name in functions:
        if not callable(getattr(module, name, None)):
            raise NotLoaded("no_function", name=name)
    return module
