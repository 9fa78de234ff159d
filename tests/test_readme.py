"""The README shows the difference between neighbouring stage files, output and a figure: the real ones."""

import json
import re
import runpy

import pages
import pytest
from pages import READMES, ROOT

LANGUAGES = pytest.mark.parametrize("language", READMES)
DRAW = runpy.run_path(str(ROOT / "docs" / "figures" / "draw.py"))


def shown(language: str, kind: str) -> list[str]:
    return [text.rstrip("\n") for each, text in pages.fences(READMES[language]) if each == kind]


@LANGUAGES
def test_the_differences_shown_are_the_real_ones(language):
    assert shown(language, "diff") == [pages.difference(stage) for stage in range(3)]


@LANGUAGES
def test_the_output_shown_is_that_of_real_runs(language, copy_of_project):
    real = pages.outputs(copy_of_project, language)
    for block, expected in zip(shown(language, "text"), real, strict=True):
        assert pages.alike(block, expected), f"make readme:\n{expected}"


def test_what_another_machine_may_change_is_left_out():
    a = "690 steps, 2.50 ms each\nloss 2.2942, 0.1066\nsha256 b04f74b5646070f0... 68,912"
    assert pages.alike(a, a.replace("2.50", "11.00").replace("0.1066", "0.1064").replace("b04f", "0000"))
    assert not pages.alike(a, a.replace("0.1066", "0.1266"))
    assert not pages.alike(a, a.replace("68,912", "68,916"))
    assert pages.renew(f"```text\n{a}\n```", {"text": [a.replace("2.50", "3.00")]}) == f"```text\n{a}\n```"
    assert pages.renew("```text\nold\n```\n", {"text": ["new"]}) == "```text\nnew\n```\n"


def test_the_readme_stays_short():
    prose = pages.FENCE.sub("", READMES["en"].read_text(encoding="utf-8"))
    assert len(prose.split()) < 1100, "docs/ has a page per task"


@pytest.fixture(scope="module")
def records(copy_of_project):
    copy_of_project.run("make compare")
    runs = copy_of_project.root / "runs"
    return [json.loads((runs / f"stage{s}.json").read_text(encoding="utf-8")) for s in range(4)]


@pytest.mark.parametrize("language, name", [("en", "stages.svg"), ("zh", "stages.zh.svg")])
def test_the_figure_is_that_of_real_runs(language, name, records):
    drawn = (ROOT / "docs" / "figures" / name).read_text(encoding="utf-8")
    assert drawn == DRAW["draw"](records, language), "make figures"
    for record in records:
        for what in ("resting_bytes", "sent_bytes_per_step"):
            number = f"{sum(record['ranks'][0][what].values()):,}"
            assert number in drawn and number in READMES[language].read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in drawn and "<title" in drawn and "<desc" in drawn
    assert name in READMES[language].read_text(encoding="utf-8")
    assert re.findall(r"(?:href|src|url)\W(?!#)", drawn) == []  # nothing is fetched
    patterns = set(re.findall(r"url\(#([^)]+)\)", drawn))
    assert patterns <= set(re.findall(r'id="([^"]+)"', drawn)), "a pattern that is not in the file"


def test_a_figure_of_what_is_not_so_is_not_drawn(records):
    wrong = json.loads(json.dumps(records))
    wrong[2]["ranks"][1]["resting_bytes"]["gradient"] += 4
    with pytest.raises(ValueError, match="stage 2, resting_bytes: not as the formula says"):
        DRAW["draw"](wrong, "en")
    with pytest.raises(ValueError, match="the weights differ"):
        DRAW["draw"]([*records[:3], records[3] | {"weights_sha256": "0"}], "en")
