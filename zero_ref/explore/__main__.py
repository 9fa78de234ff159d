"""The planner as a page with sliders: python -m zero_ref.explore [FILE.html]

The page is one file that loads nothing. Its formulas are those of zero_ref/plan in JavaScript (formulas.js),
and what a stage keeps it is told by the stage files; a test holds its numbers equal to the planner's. Its
colors and patterns are the report's (palette.py). The content-security policy names the style and the script
by their hashes, so that nothing else can run or be loaded, not even from the same folder.
"""

import argparse
import json
from pathlib import Path

from zero_ref import launch
from zero_ref.explore import palette
from zero_ref.launch import UsageError
from zero_ref.launch.cli import Parser, add_language
from zero_ref.launch.files import in_one_piece
from zero_ref.launch.terminal import written
from zero_ref.report.page import digest
from zero_ref.stages import STAGES

PAGES = Path(__file__).parent
SCRIPTS = ("formulas", "words", "settings", "pictures", "explore")


def page(language: str = "") -> str:
    """The whole page. It begins in `language`; "": in the browser's."""
    html, code = template("explore.html"), script(language)
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"style-src '{digest(style())}'; script-src '{digest(code)}'"
    )
    parts = {"POLICY": policy, "STYLE": style(), "SCRIPT": code, "PATTERNS": palette.patterns()}
    for place, text in parts.items():
        html = html.replace(f"{{{{{place}}}}}", text)
    return html


def style() -> str:
    """The colors of all pages, and this one's own style."""
    return "\n".join([palette.colors(), palette.on_paper(), palette.strokes(), template("explore.css")])


def script(language: str = "") -> str:
    """All of it: first, by stage, what a rank keeps (see stages/__init__.py), and the language."""
    keeps = {stage: module.KEEPS for stage, module in STAGES.items()}
    given = f"const KEEPS = {json.dumps(keeps)}, LANGUAGE = {json.dumps(language)};"
    return "\n\n".join(['"use strict";', given, *(template(f"{name}.js") for name in SCRIPTS)])


def template(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


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
