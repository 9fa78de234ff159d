"""A headless Chromium for the tests of pages, and what such a page must never do.

    pytest_plugins = ["browser"]

    def test_...(opened):
        page = opened("/tmp/run.html", width=390)
        ...

Skipped where Playwright or a Chromium is missing: requirements-browser.txt, apt-get install chromium.
"""

import shutil
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


@pytest.fixture(scope="session")
def chromium():
    """The browser, one for all tests."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as api:
        browser = api.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium):
    """A function that opens a file in a new window of `width` pixels, with other settings of Playwright's
    new_page (color_scheme, locale ...). At the end of the test: no error, no request but for the file.
    """
    pages, problems = [], []

    def open_file(path: str | Path, width: int = 1280, height: int = 900, fragment: str = "", **settings):
        address = Path(path).resolve().as_uri()
        page = chromium.new_page(viewport={"width": width, "height": height}, **settings)
        pages.append(page)
        page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda r: None if r.url.partition("#")[0] == address else problems.append(f"asked for {r.url}"),
        )
        page.goto(address + fragment)
        return page

    yield open_file
    for page in pages:
        page.close()
    assert problems == []
