"""The planner as a page with sliders: python -m zero_ref.explore [FILE.html]

The page is one file that loads nothing. Its formulas are those of plan/formulas.py in JavaScript, and what
a stage keeps it is told by the stage files; a test holds every number on the page equal to the planner's.
The content-security policy names the style and the script by their hashes, so that nothing else can run or
be loaded, not even from the same folder.
"""

import argparse
import json
from pathlib import Path

from zero_ref import launch
from zero_ref.launch import UsageError
from zero_ref.launch.cli import Parser
from zero_ref.launch.files import in_one_piece
from zero_ref.report.page import digest
from zero_ref.stages import STAGES

PAGES = Path(__file__).parent


def page() -> str:
    """The whole page."""
    html, style = template("html"), template("css")
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"style-src '{digest(style)}'; script-src '{digest(script())}'"
    )
    for place, text in (("POLICY", policy), ("STYLE", style), ("SCRIPT", script())):
        html = html.replace(f"{{{{{place}}}}}", text)
    return html


def script() -> str:
    """All of it: first, by stage, what a rank keeps (see stages/__init__.py)."""
    keeps = {stage: module.KEEPS for stage, module in STAGES.items()}
    return f'"use strict";\n\nconst KEEPS = {json.dumps(keeps)};\n\n{template("js")}'


def template(kind: str) -> str:
    return (PAGES / f"explore.{kind}").read_text(encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    p = Parser(prog="zero_ref.explore", description="Write the planner's page.", allow_abbrev=False)
    p.add_argument("file", nargs="?", default="explore.html", metavar="FILE.html", help="(explore.html)")
    o: argparse.Namespace = p.parse_args(arguments)
    if Path(o.file).suffix != ".html":
        raise UsageError(f"{o.file}: expected FILE.html")
    with in_one_piece(o.file, "FILE.html") as part:
        Path(part).write_text(page(), encoding="utf-8", newline="\n")
    launch.say(f"{Path(o.file).resolve()}: open it in a browser; it needs no network")


if __name__ == "__main__":
    launch.run(main)
