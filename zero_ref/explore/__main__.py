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
from zero_ref.launch.cli import Parser, add_language
from zero_ref.launch.files import in_one_piece
from zero_ref.launch.terminal import written
from zero_ref.report.page import digest
from zero_ref.stages import STAGES

PAGES = Path(__file__).parent


def page(language: str = "") -> str:
    """The whole page. It begins in `language`; "": in the browser's."""
    html, style, code = template("html"), template("css"), script(language)
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"style-src '{digest(style)}'; script-src '{digest(code)}'"
    )
    for place, text in (("POLICY", policy), ("STYLE", style), ("SCRIPT", code)):
        html = html.replace(f"{{{{{place}}}}}", text)
    return html


def script(language: str = "") -> str:
    """All of it: first, by stage, what a rank keeps (see stages/__init__.py), and the language."""
    keeps = {stage: module.KEEPS for stage, module in STAGES.items()}
    given = f"const KEEPS = {json.dumps(keeps)}, LANGUAGE = {json.dumps(language)};"
    return f'"use strict";\n\n{given}\n\n{template("js")}'


def template(kind: str) -> str:
    return (PAGES / f"explore.{kind}").read_text(encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    p = Parser(prog="zero_ref.explore", description="Write the planner's page.", allow_abbrev=False)
    p.add_argument("file", nargs="?", default="explore.html", metavar="FILE.html", help="(explore.html)")
    add_language(p)
    o: argparse.Namespace = p.parse_args(arguments)
    if Path(o.file).suffix != ".html":
        raise UsageError(f"{o.file}: expected FILE.html")
    with in_one_piece(o.file, "FILE.html") as part:
        Path(part).write_text(page(o.language or launch.language()), encoding="utf-8", newline="\n")
    launch.say(written({"report": o.file}, o.language))


if __name__ == "__main__":
    launch.run(main)
