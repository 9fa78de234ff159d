"""The command: python -m zero_ref.report OUT.html a.json b.json, or --text a.json. Needs no MPI."""

import argparse

from zero_ref import launch, report
from zero_ref.launch import UsageError
from zero_ref.launch.cli import Parser, add_language
from zero_ref.launch.files import check_writable
from zero_ref.launch.terminal import written
from zero_ref.report import page, text
from zero_ref.report.record import read


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = Parser(
        prog="zero_ref.report", description="Pictures of runs, from their records.", allow_abbrev=False
    )
    p.add_argument("files", nargs="+", metavar="FILE", help="OUT.html, and then one record or several")
    p.add_argument("--text", action="store_true", help="print one record; there is no OUT.html then")
    p.add_argument("--compare", metavar="FILE.json", help="show the difference of the loss to this record")
    add_language(p)
    return p


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    p = parser()
    o = p.parse_args(arguments)
    if o.text and o.compare:
        p.error("--compare is for a page")
    if o.text:
        for path in o.files:
            launch.say(text.make_text(read(path), o.language), styled=True)
        return
    out, *paths = o.files
    if not paths or not out.endswith((".html", ".htm")):
        p.error("expected OUT.html, and then one record or several")
    if len(set(paths)) < len(paths):
        raise UsageError("a record is named twice")
    runs = {path: read(path) for path in paths}
    check_writable({"": out}, [*paths, o.compare])
    compared = {o.compare: read(o.compare, "--compare ")} if o.compare else {}
    report.write(out, "", page.make_page(runs, compared, o.language))
    launch.say(written({"report": out}, o.language))


if __name__ == "__main__":
    launch.run(main)
