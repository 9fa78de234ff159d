"""Lines of the student's file: where a rank is, where it failed, where a variable gets its value."""

import ast
from collections.abc import Container, Iterator
from pathlib import Path
from types import FrameType, ModuleType, TracebackType

Place = tuple[str, int]  # the file's name, the line


def line_of_frame(frame: FrameType | None, files: Container[str]) -> Place | None:
    """The innermost line of `frame` and its callers that lies in one of `files`."""
    while frame is not None and frame.f_code.co_filename not in files:
        frame = frame.f_back
    return None if frame is None else (Path(frame.f_code.co_filename).name, frame.f_lineno)


def line_of_error(error: BaseException, files: Container[str]) -> Place | None:
    """The innermost line in one of `files` that an exception came through."""
    trace = trace_of_error(error, files)
    return trace and (Path(trace.tb_frame.f_code.co_filename).name, trace.tb_lineno)


def function_of_error(error: BaseException, files: Container[str]) -> str:
    """The name of the function in which that line stands; "" where there is none."""
    trace = trace_of_error(error, files)
    return trace.tb_frame.f_code.co_name if trace else ""


def trace_of_error(error: BaseException, files: Container[str]) -> TracebackType | None:
    """The innermost step of an exception's way that lies in one of `files`."""
    found, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in files:
            found = trace
        trace = trace.tb_next
    return found


def assigned_lines(student: ModuleType, function: str, first: bool = False) -> dict[str, int]:
    """Name -> the last line of a student's function that assigns to it or into it, or the first."""
    tree = ast.parse(Path(str(student.__file__)).read_text(encoding="utf-8-sig"))
    lines: dict[str, int] = {}
    for node in (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function):
        for statement in ast.walk(node):
            for name in assigned_names(statement):
                known = lines.get(name, statement.lineno)
                lines[name] = (min if first else max)(statement.lineno, known)
    return lines


def assigned_names(node: ast.AST) -> Iterator[str]:
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
