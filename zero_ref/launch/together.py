"""The ranks come to one end: what fails on one of them fails on all, with one message."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

import zero_ref
from zero_ref.launch import CleanEnd, UsageError, shared

if TYPE_CHECKING:
    from zero_ref.comm import Comm


class Patience:
    """Whether this rank waits for what others do by themselves. A disk may take its time (train/watch.py)."""

    now = False


def agree(comm: Comm, attempt: Callable[[], Any]) -> Any:
    """attempt() on every rank; if it raises CleanEnd on any of them, raise that on all.

    The ranks meet before it, so that who waits afterwards knows that all have come, and are at work.
    """
    value, problem = None, None
    comm.everyone(None)
    try:
        value = attempt()
    except CleanEnd as error:
        problem = [error.code, str(error)]
    Patience.now = True
    problems = [p for p in comm.everyone(problem) if p]
    Patience.now = False
    if problems:
        raise join_ends(problems)
    return value


def join_ends(problems: Iterable[tuple[int, str]]) -> CleanEnd:
    """One end for several (code, text): every text once, and the highest code."""
    code = max(code for code, _ in problems)
    text = "; ".join(dict.fromkeys(text for _, text in problems))
    return UsageError(text) if code == UsageError.code else CleanEnd(text)


def on_rank_0(comm: Comm, action: Callable[[], None]) -> None:
    """action() on rank 0; if it raises CleanEnd, raise that on all ranks."""
    agree(comm, action if comm.rank == 0 else lambda: None)


def each_apart(actions: Iterable[Callable[[], None]]) -> None:
    """Call all of them, also after one that fails; then raise what went wrong.

    A result that cannot be written must not take the others with it.
    """
    problems: list[tuple[int, str]] = []
    unexpected: Exception | None = None
    for action in actions:
        try:
            action()
        except CleanEnd as error:
            problems.append((error.code, str(error)))
        except Exception as error:
            unexpected = unexpected or error
    if unexpected:
        raise unexpected
    if problems:
        raise join_ends(problems)


def check_alike(comm: Comm, given: dict[str, Any]) -> None:
    """UsageError on all ranks, which names what differs and where, unless all ranks bring the same."""
    ours = {name: str(value) for name, value in given.items()}
    all_ours = comm.everyone(ours)
    problems = []
    for name in dict.fromkeys(name for theirs in all_ours for name in theirs):
        ranks: dict[str, list[int]] = {}
        for rank, theirs in enumerate(all_ours):
            ranks.setdefault(theirs.get(name, "missing"), []).append(rank)
        if len(ranks) > 1:
            found = [f"{shorten(value)} on rank {shorten(who)}" for value, who in ranks.items()]
            problems.append(f"{name} is {', '.join(found[:3])}{', ...' if len(found) > 3 else ''}")
    if problems:
        raise UsageError(f"the ranks were not started alike: {'; '.join(problems)}")


def check_started_alike(comm: Comm, o: argparse.Namespace) -> None:
    """The same of the command line and of what runs it, before the first rank does something of its own."""
    versions = {
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "zero_ref": zero_ref.__version__,
    }
    check_alike(comm, versions | {f"--{name.replace('_', '-')}": value for name, value in vars(o).items()})
    shared.drop_names()  # all have come


def shorten(value: str | list[int]) -> str:
    """A text or a list of numbers as it fits in a line."""
    if isinstance(value, list):
        return ", ".join(map(str, value[:4])) + (", ..." if len(value) > 4 else "")
    return value if len(value) <= 60 else f"{value[:60]}..."
