"""The README shows the difference between neighbouring stage files; it must be the real one."""

import difflib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def code(stage: int) -> list[str]:
    """The lines of a stage file after its opening docstring and imports."""
    text = (ROOT / "zero_ref" / "stages" / f"zero{stage}.py").read_text()
    return text[text.index("def setup") :].splitlines()


def difference(stage: int) -> str:
    """Changed lines from one stage to the next, with one line around them."""
    lines = list(difflib.unified_diff(code(stage), code(stage + 1), n=1, lineterm=""))[2:]
    return "\n".join("..." if line.startswith("@@") else line for line in lines[1:])


@pytest.mark.parametrize("readme", ["README.md", "README.zh.md"])
def test_the_differences_shown_are_the_real_ones(readme):
    shown = re.findall(r"```diff\n(.*?)\n```", (ROOT / readme).read_text(encoding="utf-8"), re.DOTALL)
    assert shown == [difference(stage) for stage in range(3)]


@pytest.mark.parametrize("readme", ["README.md", "README.zh.md"])
def test_every_option_and_file_named_exists(readme):
    from zero_ref import predict
    from zero_ref.plan import __main__ as plan
    from zero_ref.report.__main__ import parser as of_reports
    from zero_ref.train.options import parser

    text = (ROOT / readme).read_text(encoding="utf-8")
    parsers = (parser(), predict.parser(), plan.parser(), of_reports())
    actions = [action for each in parsers for action in each._actions]
    options = {name for action in actions for name in action.option_strings}
    assert set(re.findall(r"(?<![-\w])--[a-z][a-z-]*", text)) <= options
    for path in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / path).exists(), path


def test_both_languages_show_the_same_numbers_and_code():
    texts = [(ROOT / readme).read_text(encoding="utf-8") for readme in ("README.md", "README.zh.md")]
    blocks = [re.findall(r"```(?:diff)?\n(.*?)\n```", text, re.DOTALL) for text in texts]
    assert [re.sub("#.*", "", b) for b in blocks[0]] == [re.sub("#.*", "", b) for b in blocks[1]]
    numbers = [sorted(re.findall(r"\d[\d,.]*\d|[0-9a-f]{16}", text)) for text in texts]
    assert numbers[0] == numbers[1]
