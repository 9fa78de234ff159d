"""README and docs: every command is run or said not to be, both languages agree, every link leads on."""

import argparse
import re
from pathlib import Path

import pages
import pytest
from pages import ROOT

PAGES = pages.every_page()
NOT_RUN = pages.not_run()
COMMANDS = list(dict.fromkeys(command for path in PAGES for command in pages.commands(path)))
PAIRS = [(p, p.with_name(p.stem + ".zh.md")) for p in PAGES if p.name != "README.md" and ".zh" not in p.name]
PAIRS += [(ROOT / "README.md", ROOT / "README.zh.md")]
MADE = {command for path in PAGES for command in pages.made(path)}
of_each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
of_each_pair = pytest.mark.parametrize("english, chinese", PAIRS, ids=lambda path: path.name)


# Commands


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in NOT_RUN])
def test_a_command_on_a_page_runs(command, copy_of_project):
    copy_of_project.run(command)


def test_what_is_not_run_is_on_a_page_and_has_its_reason_in_both_languages():
    assert set(NOT_RUN) <= set(COMMANDS) | MADE
    assert set(COMMANDS) | set(NOT_RUN) >= MADE
    assert list(NOT_RUN) == list(pages.not_run("tests.zh.md"))


@of_each_page
def test_a_block_says_what_it_is(path):
    kinds = {language for language, _ in pages.fences(path)}
    assert kinds <= {"sh", "bash", "text", "diff", "toml", "json"}
    assert path.read_text(encoding="utf-8").count("```") == 2 * len(pages.fences(path))


def test_a_command_is_found():
    page = "```sh\n# nothing\nmake a   # why\nb \\\n  c\n```\n```text\nd\n```\n"
    path = Path("x.md")
    assert pages.FENCE.findall(page)[1] == ("text", "d\n")
    path_like = type("P", (), {"read_text": lambda self, encoding: page})()
    assert pages.commands(path_like) == ["make a", "b c"], path


def options(p: argparse.ArgumentParser) -> set[str]:
    """Every option of a parser, and of its subcommands."""
    found = set()
    for action in p._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            found |= set().union(*map(options, action.choices.values()))
    return found


@pytest.fixture(scope="module")
def known_options():
    from lessons import __main__ as course
    from lessons.checker.teacher import grade, release
    from zero_ref import predict
    from zero_ref.generate import __main__ as generate
    from zero_ref.plan import __main__ as plan
    from zero_ref.report.__main__ import parser as of_reports
    from zero_ref.train.options import parser

    known = set().union(
        *(map(options, (parser(), predict.parser(), plan.parser(), of_reports(), course.parser()))),
        options(generate.parser()),
    )
    for module in (grade, release):
        p = argparse.ArgumentParser()
        module.add_options(p, "en")
        known |= options(p)
    of_pip = {"--no-index", "--find-links", "--no-build-isolation", "--no-deps", "--editable"}
    of_docker = {"--rm", "--network", "--shm-size", "--memory", "--pids-limit", "--tmpfs"}
    of_sbatch = {"--nodes", "--ntasks-per-node", "--gpus-per-node"}
    others = {
        "--rounds",
        "--shapes",
        "--parts",
        "--load",
        "--clean",
    }  # of benchmarks, soak.py and lessons doctor
    others |= {"--part", "--quick", "--each", "--only", "--most"}  # of tests/conftest.py and planted/run.py
    others |= {"--code", "--answer"}  # of lessons
    return known | of_pip | of_docker | of_sbatch | others


@of_each_page
def test_every_option_named_exists(path, known_options):
    found = set(re.findall(r"(?<![-\w])--[a-z][a-z-]*", path.read_text(encoding="utf-8")))
    assert found <= known_options, found - known_options


def test_every_target_of_make_that_is_named_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"\.PHONY: (.*)", makefile)[1].split())
    for path in PAGES:
        named = set(re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", path.read_text(encoding="utf-8"), re.M))
        assert {a or b for a, b in named} <= targets, path


# Links


def anchors(path: Path) -> set[str]:
    """The names by which headings are reached, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", pages.FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@of_each_page
def test_every_link_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", pages.FENCE.sub("", path.read_text(encoding="utf-8"))):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("name", ["index.md", "index.zh.md"])
def test_the_map_has_every_page(name):
    linked = set(re.findall(r"\]\(([\w.]+\.md)\)", (ROOT / "docs" / name).read_text(encoding="utf-8")))
    other = name.endswith(".zh.md")
    here = {p.name for p in (ROOT / "docs").glob("*.md") if p.name.endswith(".zh.md") == other}
    assert here <= linked | {name}


# Two languages


def test_every_page_is_there_in_both_languages():
    chinese = [path for path in PAGES if path.name.endswith(".zh.md")]
    assert sorted(pair[1] for pair in PAIRS) == sorted(chinese)


@of_each_pair
def test_both_languages_show_the_same_numbers_and_code(english, chinese):
    texts = [path.read_text(encoding="utf-8") for path in (english, chinese)]
    blocks = [
        [(kind, re.sub("#.*", "", text)) for kind, text in pages.FENCE.findall(each) if kind != "text"]
        for each in texts
    ]
    assert blocks[0] == blocks[1]
    numbers = [sorted(re.findall(r"\d[\d,.]*\d|[0-9a-f]{16}", text)) for text in texts]
    assert numbers[0] == numbers[1]
    tables = [[line.count("|") for line in text.splitlines() if line.startswith("|")] for text in texts]
    assert tables[0] == tables[1]


@of_each_pair
def test_a_chinese_paragraph_is_one_line(english, chinese):
    """Markdown makes a space of a line's end, and Chinese has none there."""
    text = pages.FENCE.sub("", chinese.read_text(encoding="utf-8"))
    starts = re.compile(r"\s*([-*|#<]|\d+\.|$)")
    lines = text.splitlines()
    broken = [
        b
        for a, b in zip(lines, lines[1:])
        if a.strip() and not a.startswith(("#", "|")) and not starts.match(b)
    ]
    assert broken == []
