"""The page with sliders, in a browser: its numbers are the planner's, in two languages, at any width."""

import re
import subprocess
import sys

import pytest
from launching import ROOT

from zero_ref.explore import __main__ as explore
from zero_ref.plan import __main__ as options
from zero_ref.plan import answer
from zero_ref.report.page import digest

pytest_plugins = ["browser"]  # the fixture `opened`

KINDS = ("parameter", "gradient", "optimizer")
SETTINGS = [
    "",
    "k=16",
    "k=4&n=1",
    "psi=1.7226e4&n=3&micro=4",
    "psi=1000003&n=7&bits=32",
    "psi=1e13&n=1000&bits=64&micro=3",
    "psi=11&n=64",
    "psi=1e11&n=1024&group=16&memory=80",
    "psi=123456789&n=12&group=4&micro=5&k=8",
    "psi=7.5e9&n=6&group=3&bits=32",
    "shape=1&psi=1474560000",
    "shape=1&psi=1474560000&again=1&micro=2&batch=1000&memory=7.55",
    "shape=1&psi=1000003&layers=7&n=5&hidden=96&heads=3&sequence=200&batch=33&bits=32",
    "shape=1&psi=5&layers=12&n=4&batch=1&group=2",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "explore.html"
    explore.main([str(file)])
    return file


def numbers(window, table):
    """The numbers of a table by row, exact."""
    rows = window.locator(f"#{table} tbody tr")
    return [
        [int(c) for c in row.locator("data").evaluate_all("all => all.map(d => d.value)")]
        for row in rows.all()
    ]


def planned(line):
    o = options.parse(line.replace("\\\n", " ").removeprefix("python -m zero_ref.plan ").split())
    return o, (answer.plan_for_transformer if o.model else answer.plan_for_size)(o)


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_number_is_the_planners(setting, page, opened):
    window = opened(page, fragment=f"#{setting}&lang=en")
    o, made = planned(window.locator("#command").inner_text())
    for name in ("psi", "n", "micro", "group", "memory"):  # the command is that of the setting
        given = re.search(rf"\b{name}=([^&]*)", setting)
        option = {"psi": "parameters", "n": "ranks", "micro": "micro_batches"}.get(name, name)
        if given:
            assert getattr(o, option) == float(given[1]) * (1e9 if name == "memory" else 1)
    held = [[row.state[kind] for kind in KINDS] + [row.rest, row.step, row.needed] for row in made.rows]
    assert numbers(window, "memory-table") == held
    sent = []
    for row in made.rows:
        by = [
            sum(leg.inside + leg.between for leg in row.legs if leg.collective == name)
            for name in ("reduce_scatter", "all_gather")
        ]
        sent.append(by + ([row.inside, row.between] if o.group else []) + [row.sent])
    assert numbers(window, "sent-table") == sent
    cards = window.locator("#stages label")
    for stage, row in enumerate(made.rows[:4]):
        assert answer.size(row.needed) == cards.nth(stage).locator(".number").inner_text()
        fits = "✓ fits" if row.needed <= o.memory else "✗ does not fit"
        assert cards.nth(stage).locator(".state").inner_text() == fits
    chart = window.locator("#memory-chart svg").text_content()
    assert all(answer.size(row.needed) in chart for row in made.rows)


def test_the_papers_figure_1_comes_first(page, opened):
    window = opened(page)
    shown = window.locator("#stages .number").all_inner_texts()
    assert shown == ["120.0 GB", "31.41 GB", "16.64 GB", "1.875 GB"]
    assert window.locator("#preset").input_value() == "figure1"
    assert "64 times the 1.875 GB of stage 3" in window.locator("#memory-caption").inner_text()
    assert "1.5 times the 29.53 GB of stage 0" in window.locator("#sent-caption").inner_text()


def test_nothing_can_be_loaded_or_run_from_elsewhere(page, opened):
    text = page.read_text(encoding="utf-8")
    assert not re.search("{{[A-Z]+}}", text) and "http://" not in re.sub(
        r"http://www\.w3\.org/2000/svg", "", text
    )
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert "default-src 'none'" in policy and "unsafe" not in policy and policy.count("sha256-") == 2
    assert "http" not in policy and "'self'" not in policy and "src=" not in text
    style, script = (
        (explore.PAGES / f"explore.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")
    )
    assert script in explore.script("en")
    for body in (style, explore.script("en")):
        assert digest(body) in policy and body in text
        assert digest(body + " ") not in policy
    opened(page)  # and it runs under that policy


def test_a_setting_is_kept_in_the_address(page, opened):
    window = opened(page)
    window.locator("#psi").fill("1.5B")
    window.locator("#n").fill("1000")
    window.locator("#group").select_option("8")
    window.locator("#bits").select_option("32")
    window.locator("#stages label").nth(1).click()
    window.locator("#language").click()
    fragment = window.evaluate("location.hash")
    assert set(fragment.lstrip("#").split("&")) == {
        "psi=1.5e9",
        "n=1000",
        "group=8",
        "bits=32",
        "stage=1",
        "lang=zh",
    }
    again = opened(page, fragment=fragment)
    for place in ("#memory-table", "#sent-table", "#formulas", "#command", "#verdict", "h1"):
        assert again.locator(place).inner_text() == window.locator(place).inner_text()
    again.locator("#reset").click()
    assert again.evaluate("location.hash") == "#lang=zh"
    again.evaluate("location.hash = '#n=4'")  # as by the back button
    again.wait_for_function("document.querySelector('#n').value === '4'")


@pytest.mark.parametrize(
    "wrong", ["psi=0", "psi=x", "n=1.5", "n=-3", "k=13", "group=5", "stage=9", "lang=xx", "%", "memory="]
)
def test_a_wrong_address_is_not_believed(wrong, page, opened):
    window = opened(page, fragment=f"#{wrong}")
    assert window.locator("#stages .number").first.inner_text() == "120.0 GB"


def test_a_wrong_number_is_marked_and_changes_nothing(page, opened):
    window = opened(page)
    for wrong in ("0", "many", "1.5", "-4", "", "1e99"):
        window.locator("#n").fill(wrong)
        assert window.locator("#n").get_attribute("aria-invalid") == "true"
        assert "from 1 to 1e6" in window.locator("#n").get_attribute("title")
        assert window.locator("#stages .number").nth(3).inner_text() == "1.875 GB"
    window.locator("#psi").focus()
    assert window.locator("#n").input_value() == "64"
    assert window.locator("#n").get_attribute("aria-invalid") == "false"


def test_sliders_and_fields_agree(page, opened):
    window = opened(page)
    window.locator("#n-range").fill("3")
    assert window.locator("#n").input_value() == "8"
    window.locator("#psi").fill("1e9")
    assert window.locator("#psi-range").input_value() == "300"
    window.locator("#psi-range").fill("301")
    assert window.locator("#psi").input_value() == "1e9"  # two digits are enough for a slider
    window.locator("#psi-range").fill("350")
    assert window.locator("#psi").input_value() == "3.2e9"
    window.locator("#memory-range").fill("24")
    assert "24.00 GB" in window.locator("#verdict").inner_text()


def test_a_group_that_does_not_divide_goes(page, opened):
    window = opened(page, fragment="#n=64&group=16")
    assert len(numbers(window, "memory-table")) == 8
    window.locator("#n").fill("63")
    assert window.locator("#group").input_value() == "0" and len(numbers(window, "memory-table")) == 4
    assert window.locator("#group option").count() == 1 + 4  # 3, 7, 9 and 21


def test_the_keyboard_reaches_and_changes_everything(page, opened):
    window = opened(page, fragment="#shape=1")
    reached = []
    for _ in range(60):
        window.keyboard.press("Tab")
        reached.append(window.evaluate("(e => e.id || e.name || e.tagName)(document.activeElement)"))
    controls = window.locator("button, select, input[type=text], input[type=range], input[type=checkbox]")
    ids = controls.evaluate_all("all => all.filter(e => !e.disabled).map(e => e.id)")
    assert set(ids) <= set(reached) and {"stage", "SUMMARY"} <= set(reached)
    window.locator("#n-range").focus()
    window.keyboard.press("ArrowRight")
    assert window.locator("#n").input_value() == "128"
    window.locator("#stages input").nth(3).focus()
    window.keyboard.press("ArrowLeft")
    assert window.locator("#stages input").nth(2).is_checked()
    assert "Stage 2" in window.locator("#why-title").inner_text()
    window.locator("summary").first.focus()
    window.keyboard.press("Enter")
    assert window.locator("#memory-table").is_visible()


@pytest.mark.parametrize("lang, own", [("en", "Stage 3"), ("zh", "阶段 3")])
def test_both_languages_say_everything(lang, own, page, opened):
    window = opened(page, fragment=f"#lang={lang}&group=8&shape=1")
    text = window.locator("body").inner_text()
    assert own in text and "undefined" not in text and "NaN" not in text and "[object" not in text
    assert bool(re.search(r"[一-鿿]", text.replace("中文", ""))) == (lang == "zh")
    assert window.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-CN"}[lang]
    labels = window.locator("select, input").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label') || [...e.labels].map(l => l.innerText).join(''))"
    )
    assert all(labels), "every control has a name"
    for chart, caption in (("#memory-chart", "#memory-caption"), ("#sent-chart", "#sent-caption")):
        name = window.locator(f"{chart} svg").get_attribute("aria-label")
        assert name == window.locator(caption).inner_text() and len(name) > 20
    assert window.locator("[data-t]").evaluate_all("all => all.every(e => e.textContent.length)")


def test_the_language_of_who_wrote_the_page_is_the_first(opened, tmp_path):
    for language, shown in (("zh", "zh-CN"), ("en", "en")):
        file = tmp_path / f"{language}.html"
        explore.main([str(file), "--language", language])
        assert opened(file, locale="zh-CN").locator("html").get_attribute("lang") == shown
        assert opened(file, locale="en-GB").locator("html").get_attribute("lang") == shown


def test_a_page_without_a_language_asks_the_browser(opened, tmp_path):
    (tmp_path / "e.html").write_text(explore.page(), encoding="utf-8")
    for locale, shown in (("zh-CN", "zh-CN"), ("de-DE", "en")):
        window = opened(tmp_path / "e.html", locale=locale)
        assert window.locator("html").get_attribute("lang") == shown


def test_the_languages_have_the_same_words(page, opened):
    keys = opened(page).evaluate("[WORDS.en, WORDS.zh].map(w => Object.keys(w).sort().join())")
    assert keys[0] == keys[1]


@pytest.mark.parametrize("width", [1280, 390, 320])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_no_page_is_wider_than_its_window(width, lang, page, opened):
    window = opened(page, width=width, fragment=f"#lang={lang}&psi=1e13&n=1000&group=8&shape=1")
    window.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert window.evaluate("document.documentElement.scrollWidth") <= width
    boxes = window.locator("#memory-chart text, #sent-chart text").evaluate_all(
        "all => all.map(e => e.getBoundingClientRect()).map(b => [b.left, b.right])"
    )
    assert all(left >= 0 and right <= width for left, right in boxes)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(scheme, page, opened):
    window = opened(page, color_scheme=scheme)

    def contrast():
        colors = window.evaluate(
            """() => { const s = getComputedStyle(document.documentElement);
            return Object.fromEntries(["page","card","text","soft","accent","good","bad","accent-soft"]
              .map(n => [n, s.getPropertyValue("--" + n).trim()])) }"""
        )

        def light(color):
            parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
            r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
            return 0.2126 * r + 0.7152 * g + 0.0722 * b

        def ratio(a, b):
            high, low = sorted((light(colors[a]), light(colors[b])), reverse=True)
            return (high + 0.05) / (low + 0.05)

        return min(
            ratio(text, ground)
            for text in ("text", "soft", "accent", "good", "bad")
            for ground in ("page", "card", "accent-soft")
        )

    assert contrast() >= 4.5
    before = window.evaluate("getComputedStyle(document.body).backgroundColor")
    window.locator("#theme").click()
    assert window.evaluate("getComputedStyle(document.body).backgroundColor") != before
    assert contrast() >= 4.5


def test_kinds_differ_without_color(page, opened):
    window = opened(page, fragment="#shape=1")
    fills = window.locator("#memory-chart svg > g").first.locator("xpath=..").locator("g rect[fill]")
    assert len(set(fills.evaluate_all("all => all.map(e => e.getAttribute('fill'))"))) == 3  # and a plain one
    assert window.locator("#memory-legend li").count() == 4


def test_the_command_writes_the_page_and_says_where(tmp_path):
    command = [sys.executable, "-m", "zero_ref.explore"]
    found = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert found.returncode == 0 and f" {tmp_path / 'explore.html'}\n" in found.stdout
    assert "open it in a browser" in found.stdout
    assert (tmp_path / "explore.html").read_text(encoding="utf-8") == explore.page("en")
    found = subprocess.run(
        [*command, "no/such.html"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 2 and found.stderr.count("\n") == 1 and found.stdout == ""
    assert [file.name for file in tmp_path.iterdir()] == ["explore.html"]


def test_the_readme_command_exists():
    assert "explore: setup" in (ROOT / "Makefile").read_text()
