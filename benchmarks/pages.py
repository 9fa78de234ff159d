"""How long a page takes for a step from event to event, in CPU time of the browser's main thread.

    python benchmarks/pages.py PAGE.html [PAGE.html ...]

Needs Playwright and a Chromium (see tests/browser.py). Script, style, layout and painting are counted, as
Chromium measures them. Other processes do not lengthen it: this is what a step takes on an idle machine.
"""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from browser import CHROMIUM, FLAGS

STEPS = 60
PARTS = ("TaskDuration", "ScriptDuration", "LayoutDuration", "RecalcStyleDuration")


def measure(page, devtools) -> dict[str, float]:
    """Milliseconds a step, in all and in parts, over STEPS events from the middle of the step on."""
    page.evaluate("choose(Math.floor(view.rank.events.length / 3))")
    before = read(devtools)
    for _ in range(STEPS):
        page.evaluate("choose(view.position + 1)")
        page.evaluate("new Promise(requestAnimationFrame)")
    after = read(devtools)
    return {name: 1000 * (after[name] - before[name]) / STEPS for name in PARTS}


def read(devtools) -> dict[str, float]:
    metrics = devtools.send("Performance.getMetrics")["metrics"]
    return {each["name"]: each["value"] for each in metrics}


def main(paths: list[str]) -> None:
    """Print a line for each page."""
    with sync_playwright() as api:
        browser = api.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for path in paths:
            page = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
            devtools = page.context.new_cdp_session(page)
            devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.goto(Path(path).resolve().as_uri())
            found = measure(page, devtools)
            events = page.evaluate("view.rank.events.length")
            said = ", ".join(f"{name.removesuffix('Duration')} {ms:.1f}" for name, ms in found.items())
            print(f"{path}: {events} events; milliseconds a step: {said}")
            page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
