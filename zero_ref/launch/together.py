"""The ranks come to one end: what fails on one of them fails on all, with one message."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zero_ref.launch import CleanEnd, UsageError

if TYPE_CHECKING:
    from zero_ref.comm import Comm


def agree(comm: Comm, attempt: Callable[[], Any]) -> Any:
    """attempt() on every rank; if it raises CleanEnd on any of them, raise that on all."""
    value, problem = None, None
    try:
        value = attempt()
    except CleanEnd as error:
        problem = [error.code, str(error)]
    problems = [p for p in comm.everyone(problem) if p]
    if problems:
        code = max(code for code, _ in problems)
        text = "; ".join(dict.fromkeys(text for _, text in problems))
        raise UsageError(text) if code == UsageError.code else CleanEnd(text)
    return value


def on_rank_0(comm: Comm, action: Callable[[], None]) -> None:
    """action() on rank 0; if it raises CleanEnd, raise that on all ranks."""
    agree(comm, action if comm.rank == 0 else lambda: None)
