"""Colors and patterns that mean the same on every page: of parameters, of gradients and so on.

They are written in one place, page.css and page.html of the report, and read from there. A page that chooses
its theme by a button, and not by the system alone, needs them under other selectors, which `colors` writes.
"""

import re
from importlib import resources


def of_report(name: str) -> str:
    """A file of the report's page."""
    return resources.files("zero_ref.report").joinpath(name).read_text(encoding="utf-8")


def colors() -> str:
    """CSS: --parameter, --ink and so on, light and dark, by the system or by <html data-theme>."""
    light, dark = both()
    by_system = f'@media (prefers-color-scheme: dark) {{ :root:not([data-theme="light"]) {{ {dark} }} }}'
    return f':root {{ {light} }}\n{by_system}\n:root[data-theme="dark"] {{ {dark} }}'


def on_paper() -> str:
    """CSS, after `colors`: printed, also a page in the dark has the light ones."""
    return f"@media print {{ :root:root {{ {both()[0]} }} }}"


def both() -> list[str]:
    """The light colors and the dark."""
    return re.findall(r":root[^{}]*\{\s*(--ground:[^}]*?)\s*\}", of_report("page.css"))[:2]


def patterns() -> str:
    """The <svg> with a pattern for each kind, to be named as url(#parameter)."""
    found = re.search(r'<svg id="patterns".*?</svg>', of_report("page.html"), re.DOTALL)
    assert found, "page.html of the report has the patterns"
    return found[0]


def strokes() -> str:
    """CSS of what the patterns are made of."""
    names = {name for each in re.findall(r'class="([^"]*)"', patterns()) for name in each.split()}
    lines = of_report("page.css").splitlines()
    return "\n".join(line for line in lines if (m := re.match(r"\.(\w+) \{", line)) and m[1] in names)
