"""Pictures of a run, made from its record: a page, a trace for Perfetto, a chart for the terminal.

    python -m zero_ref.report OUT.html RECORD.json [RECORD.json ...]
    python -m zero_ref.report --text RECORD.json

Needs no MPI. page.py puts the records into page.html; there the pictures are drawn: step.js follows a step
event by event, pictures.js draws. words.json has every word of page and terminal in both languages.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from zero_ref import launch
from zero_ref.checkpoint import BEST
from zero_ref.launch.files import in_one_piece


def draw_trace(o: argparse.Namespace, result: dict[str, Any]) -> None:
    """Write --trace of zero_ref.train, of a run's record."""
    from zero_ref.report import trace

    write(o.trace, "--trace", json.dumps(trace.make_trace(result)))


def draw_page(o: argparse.Namespace, result: dict[str, Any]) -> None:
    """Write --report, the same."""
    from zero_ref.report import page, record

    runs = {o.report: result}
    compared = {o.compare: record.read(o.compare, "--compare ")} if o.compare else {}
    write(o.report, "--report", page.make_page(runs, compared, o.language))


def draw_chart(o: argparse.Namespace, result: dict[str, Any]) -> None:
    """Print --chart, the same, below the summary."""
    from zero_ref.report import text

    launch.say("\n" + text.make_text(result, o.language, below_summary=True), styled=True)


def tell(o: argparse.Namespace, result: dict[str, Any]) -> None:
    """Print the summary."""
    from zero_ref.report.summary import summary

    launch.say(summary(result, o.language))


def tell_where(o: argparse.Namespace, result: dict[str, Any]) -> None:
    """Print where each result lies that the options ask for, and what opens it."""
    from zero_ref.launch.terminal import written

    drawn = ("record", "trace", "report") if result["loss"] or not result["first_step"] else ()
    files = {name: path for name in (*drawn, "export") if (path := getattr(o, name))}
    if o.save and o.device != "meta":
        files["save"] = o.save
        files |= {"best": str(Path(o.save, BEST))} if result.get("best") else {}
    if files:
        launch.say("\n" + written(files, o.language))


def write(path: str, option: str, text: str) -> None:
    """Write a file of UTF-8 in one piece; UsageError, which begins with `option`, if that fails."""
    with in_one_piece(path, option) as part:
        Path(part).write_text(text, encoding="utf-8")
