"""The page, the trace and the terminal's chart: numbers, words, keys, hostile names, sizes."""

import copy
import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from launching import mpirun
from terminal import ONE, width

from zero_ref import launch, report
from zero_ref.launch import UsageError
from zero_ref.launch.terminal import table
from zero_ref.ledger import COLLECTIVES, KINDS
from zero_ref.report import compare, meetings, page, summary, text, thin, trace, vocabulary
from zero_ref.report.__main__ import main
from zero_ref.report.record import read
from zero_ref.train import options

pytest_plugins = ["browser"]  # the fixture `opened`

HOSTILE = "</script><script>document.title='attacked'</script><img src=x onerror=alert(1)>"
PACKAGE = Path(report.__file__).parent


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with a run at 3 ranks: record, page and trace; the name of its data is markup."""
    folder = tmp_path_factory.mktemp("run")
    random = np.random.default_rng(0)
    (folder / "a<").mkdir()
    np.savez(folder / "a<" / "script>.npz", x=random.normal(size=(41, 6)), y=np.arange(41) % 3)
    line = "--hidden 7,5 --batch-size 12 --steps 9 --stage 3 --data a</script>.npz --report run.html"
    train(folder, 3, f"{line} --record run.json --trace trace.json")
    return folder


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Records of 3 ranks: stages 0 to 2, stage 3 around the ring by another rule, and uneven shards."""
    folder = tmp_path_factory.mktemp("others")
    for stage in range(3):
        train(folder, 3, f"--hidden 7 --steps 5 --stage {stage} --record {stage}.json --chart")
    train(folder, 3, "--hidden 7 --steps 5 --reduce ring --shard-model hash --record 3.json --chart")
    uneven = "--shard-model weights=3,2,1 --stage 2 --record uneven.json"
    train(folder, 3, f"--hidden 7 --steps 3 {uneven} --chart")
    wide = "--stage 1 --shard-model weights=3,2,1 --dtype bfloat16 --micro-batches 4 --accumulate float32"
    train(folder, 3, f"--hidden 7 --steps 3 {wide} --record wide.json --chart")
    return folder


def train(folder, ranks, line):
    result = mpirun(ranks, "-m", "zero_ref.train", "--quiet", *line.split(), cwd=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout == result.stderr == ""


def record_of(folder, name="run"):
    return read(str(folder / f"{name}.json"))


def table_of(view, name):
    """A table of the page, opened; it is made when it is opened."""
    view.locator(f"#{name}-table summary").click()
    table = view.locator(f"#{name}-table table").first
    table.wait_for()
    return table


def written(tmp_path, runs, compared=None, language=None):
    file = tmp_path / "page.html"
    file.write_text(page.make_page(runs, compared or {}, language), encoding="utf-8")
    return file


# Words


def test_every_word_exists_in_both_languages():
    for key, texts in vocabulary.words().items():
        assert list(texts) == ["en", "zh"] and all(texts.values()), key
        places = [sorted(set(re.findall(r"\{\w+\}", text))) for text in texts.values()]
        assert places[0] == places[1], key
        assert texts["en"].isascii() or not re.search("[\u4e00-\u9fff]", texts["en"]), key


def test_every_word_that_is_asked_for_exists():
    script = "".join(file.read_text(encoding="utf-8") for file in PACKAGE.glob("*.js"))
    html = (PACKAGE / "page.html").read_text(encoding="utf-8")
    asked = set(re.findall(r"""say\("(\w+)"[,)]""", script)) | set(re.findall(r'data-word="(\w+)"', html))
    asked |= {"title", "title_alone", "title_of_several", "same_weights", "other_weights", "map_ring"}
    terminal = (PACKAGE / "text.py").read_text(encoding="utf-8")
    asked |= set(re.findall(r"""word\[['"](\w+)['"]\]""", terminal)) | {*KINDS, "begin", "end"}
    asked |= {f"collective_{name}" for name in COLLECTIVES}
    for name in ("forward", "backward", "update", "all_gather", "reduce_scatter", "sum"):
        asked |= {name, f"begin_{name}", f"end_{name}"}
    for name in ("call_back", "event_back", "event_on", "call_on", "play", "pause"):
        asked |= {name, f"{name}_title"}
    assert asked <= vocabulary.words().keys()


# The page


def test_shift_and_the_arrow_keys_go_event_by_event(run, opened):
    view = opened(run / "run.html")
    record = record_of(run)
    assert view.locator("#now-numbers").inner_text().startswith("event 0 of")
    assert "Before the step" in view.locator("#now-words").inner_text()
    pictures, lines = set(), set()
    events = record["recorded_step"]["ranks"][0]["events"]
    for number, event in enumerate(events, 1):
        view.keyboard.press("Shift+ArrowRight")
        assert view.locator("#now-numbers").inner_text().startswith(f"event {number} of {len(events)}")
        pictures.add(view.locator("#holdings-picture").inner_html())
        marked = view.locator("#source .now")
        assert marked.count() == (1 if event[5] else 0)
        if event[5]:
            lines.add(event[5])
            assert marked.get_attribute("data-line") == str(event[5])
            shown = marked.inner_text().partition("\t")[0]
            source = record["recorded_step"]["source"].splitlines()[event[5] - 1]
            assert source.strip() in shown
    assert len(pictures) > 30 and len(lines) > 5
    view.keyboard.press("Shift+ArrowRight")
    assert f"event {len(events)} of" in view.locator("#now-numbers").inner_text(), "the end is the end"
    view.keyboard.press("Shift+ArrowLeft")
    assert f"event {len(events) - 1} of" in view.locator("#now-numbers").inner_text()


def test_arrows_and_the_buttons_go_from_call_to_call(run, opened):
    view = opened(run / "run.html")
    events = record_of(run)["recorded_step"]["ranks"][0]["events"]
    stops = (["died", "gathered"],)  # a copy is thrown away
    calls = [i for i, event in enumerate(events, 1) if event[1] in ("begin", "end") or event[1:3] in stops]
    thrown = next(i for i, event in enumerate(events, 1) if event[1:3] in stops)
    assert thrown in calls[:6]
    for number in calls[:5]:
        view.keyboard.press("ArrowRight")
        assert view.locator("#now-numbers").inner_text().startswith(f"event {number} of")
        if number == thrown:
            assert "is thrown away" in view.locator("#now-words").inner_text()
    view.locator("#call-on").click()
    assert view.locator("#now-numbers").inner_text().startswith(f"event {calls[5]} of")
    assert not view.locator("#event-back").is_visible()
    view.locator("#details").click()
    view.locator("#event-back").click()
    assert view.locator("#now-numbers").inner_text().startswith(f"event {calls[5] - 1} of")
    view.locator("#rank-2").click()
    assert view.locator("#rank-2").get_attribute("aria-pressed") == "true"


def test_the_space_bar_plays_and_the_buttons_come_first(run, opened):
    view = opened(run / "run.html", fragment="#en")
    for _ in range(5):  # two languages, the theme, back
        view.keyboard.press("Tab")
    assert view.evaluate("document.activeElement.id") == "play"
    view.evaluate("document.activeElement.blur()")
    view.keyboard.press("Space")
    assert view.locator("#play").inner_text() == "pause" and view.evaluate("scrollY") == 0
    view.keyboard.press("Space")
    assert view.locator("#play").inner_text() == "play"
    view.locator("#memory-table summary").focus()
    view.keyboard.press("Space")  # opens what has the focus
    assert view.locator("#memory-table").get_attribute("open") is not None
    assert view.locator("#play").inner_text() == "play"


def test_a_phase_keeps_the_focus_when_it_is_chosen(run, opened):
    view = opened(run / "run.html", fragment="#en")
    view.locator("#ribbon button").nth(1).focus()
    for name in ("forward 1", "forward 2"):
        view.keyboard.press("Enter")
        assert view.evaluate("document.activeElement.getAttribute('aria-label')") == name
        assert view.locator("#ribbon [aria-current]").get_attribute("aria-label") == name
        view.keyboard.press("Tab")
    assert view.evaluate("document.activeElement.getAttribute('aria-label')") == "loss"


def test_what_travels_has_an_arrow_where_it_goes(run, opened):
    """In a reduce-scatter from the workbench to the owner, in an all-gather the other way."""
    view = opened(run / "run.html", fragment="#en")
    ends = (
        "all => all.map(e => e.getAttribute('d').match(/-?[0-9.]+/g).map(Number)).map(n => n.at(-2) - n[0])"
    )
    for name, rightwards in (("forward 0", True), ("backward 1", False)):
        view.locator(f"#ribbon [aria-label='{name}']").click()
        for _ in range(0 if rightwards else 8):  # to the reduce-scatter that follows
            if "Reduce-scatter" in view.locator("#now-words").inner_text():
                break
            view.keyboard.press("ArrowRight")
        paths = view.locator("#scene-picture path.route")
        assert paths.count() == 6
        assert {path.get_attribute("marker-end") for path in paths.all()} == {"url(#arrow)"}
        assert all((reach > 0) == rightwards for reach in paths.evaluate_all(ends))


def test_under_the_time_stands_what_is_seen_there(run, opened):
    view = opened(run / "run.html", fragment="#en")
    assert "Every array counts" in view.locator("#memory-caption").inner_text()
    view.locator("#axis-time").click()
    said = view.locator("#memory-caption").inner_text()
    assert "Every array" not in said and "formula" not in said and "started ahead" not in said
    step, mean = record_of(run)["recorded_step"]["step"], record_of(run)["seconds_per_step"]
    assert (
        f"This is step {step}, which took" in said
        and f"the mean of all steps is {1000 * mean:.2f} ms" in said
    )


def test_the_peak_says_that_it_is_one(run, opened):
    view = opened(run / "run.html", fragment="#en")
    view.evaluate("choose(view.rank.peakAt)")
    assert view.locator("#now-words").inner_text().endswith("This is the peak.")
    view.keyboard.press("Shift+ArrowRight")
    assert "peak" not in view.locator("#now-words").inner_text()


def test_arrows_mean_the_same_where_the_picture_has_the_focus(run, opened):
    view = opened(run / "run.html", fragment="#en")
    calls = [call - 1 for call in view.evaluate("[1, 2, 3].map(n => view.rank.firstWith[n] + 1)")]
    view.locator("#memory-picture svg").focus()
    for position in calls:
        view.keyboard.press("ArrowRight")
        assert view.evaluate("view.position") == position
    view.keyboard.press("Shift+ArrowLeft")
    assert view.evaluate("view.position") == calls[-1] - 1


@pytest.mark.parametrize("system, others", (("light", "Dark"), ("dark", "Light")))
def test_the_theme_is_the_systems_until_the_button_decides(system, others, run, opened):
    view = opened(run / "run.html", fragment="#en", color_scheme=system)
    ground = "getComputedStyle(document.body).backgroundColor + getComputedStyle(document.body).colorScheme"
    seen = [view.evaluate(ground)]
    for name in (others, system.title()):
        assert view.locator("#theme").inner_text() == name
        view.locator("#theme").click()
        seen.append(view.evaluate(ground))
    assert seen[0].startswith(seen[2].partition(")")[0]) and seen[0][:12] != seen[1][:12]
    assert seen[1].endswith(others.lower()) and seen[2].endswith(system)


def test_what_travels_shows_in_the_collectives_under_the_memory(run, others, opened, tmp_path):
    def looks(view):
        return set(
            view.locator("#memory-picture rect.collective").evaluate_all(
                "all => all.map(e => e.getAttribute('fill'))"
            )
        )

    for wide in (1280, 390):
        shown = looks(opened(run / "run.html", width=wide))
        assert shown == {"url(#gathered)", "url(#full_gradient)", "url(#buffer)"}
    stage_0 = looks(opened(written(tmp_path, {"0.json": record_of(others, "0")})))
    assert stage_0 == {"url(#full_gradient)", "url(#buffer)"}, "sums of gradients are gathered"


def test_the_losses_are_told_apart(run, opened):
    record, view = record_of(run), opened(run / "run.html", fragment="#en")
    tile = view.locator("#numbers div", has=view.locator("dd.first_and_last_loss")).inner_text().split("\n")
    assert tile[0] == "loss: first step → mean of the last epoch"
    assert tile[1] == f"{record['loss'][0]:.4f} → {record['last_epoch']['loss']:.4f}"
    assert record["last_epoch"]["loss"] != record["loss"][-1]
    assert (
        f"loss {record['loss'][-1]:.4f}, of this step's batch alone"
        in view.locator("#loss-caption").inner_text()
    )


def test_the_loss_is_a_stop_between_the_passes(run, opened):
    view = opened(run / "run.html")
    step = record_of(run)["recorded_step"]
    events = step["ranks"][0]["events"]
    ended = max(i for i, event in enumerate(events) if event[1:3] == ["end", "forward"])
    born = next(i for i, event in enumerate(events) if i > ended and event[1] == "born")
    assert any(event[1:3] == ["died", "gathered"] for event in events[ended:born]), "before it, the copy goes"
    at = f"event {born + 1} of"
    view.locator("#ribbon button", has_text="·").first.click()
    for way in ("ArrowLeft", "ArrowRight"):
        assert view.locator("#now-numbers").inner_text().startswith(at)
        assert "computes the loss of its own samples" in view.locator("#now-words").inner_text()
        line = int(view.locator("#source .now").get_attribute("data-line"))
        assert "loss_grad(x, y)" in step["source"].splitlines()[line - 1]
        view.keyboard.press(way)
        assert not view.locator("#now-numbers").inner_text().startswith(at)
        view.keyboard.press("ArrowRight" if way == "ArrowLeft" else "ArrowLeft")


def test_what_a_unit_inflates_to_is_drawn(run, opened):
    """While a unit is gathered a striped bar stands on every rank, and the gradient's after its pass."""
    view = opened(run / "run.html")
    drawn = set()
    for event in record_of(run)["recorded_step"]["ranks"][0]["events"]:
        view.keyboard.press("Shift+ArrowRight")
        if event[1:3] in (["born", "gathered"], ["born", "full_gradient"]):
            kind = event[2]
            assert view.locator(f"#holdings-picture rect[fill='url(#{kind})']").count() == 3
            drawn.add(kind)
        if event[1:3] == ["died", "gathered"]:
            assert view.locator("#holdings-picture rect[fill='url(#gathered)']").count() == 0
    assert drawn == {"gathered", "full_gradient"}
    view.keyboard.press("Shift+ArrowRight")
    shards = view.locator("#holdings-picture rect[fill='url(#parameter)']")
    assert shards.count() == 3 * 3, "three ranks keep a shard of three units"


def test_the_numbers_on_the_page_are_the_records(run, opened):
    record, view = record_of(run), opened(run / "run.html", fragment="#en")
    rows = view.locator("#ranks-table tbody tr").all()
    assert len(rows) == 3
    for row, rank in zip(rows, record["ranks"]):
        cells = row.locator("td").all_inner_texts()
        assert cells[1] == f"{rank['samples']:,}"
        kept = [f"{rank['resting_bytes'][kind]:,}" for kind in ("parameter", "gradient", "optimizer")]
        assert cells[2:5] == kept
        assert cells[5] == f"{sum(rank['resting_bytes'].values()):,} ="
        assert cells[6] == f"{rank['peak_total_bytes']:,}" == cells[8], "measured, and by the dry run"
        assert cells[7] == "=", "each kind of it by the formulas"
        assert cells[9] == f"{sum(rank['sent_bytes_per_step'].values()):,} =" and len(cells) == 10
    assert record["weights_sha256"][:16] in view.locator("#numbers").inner_text()
    for name in ("memory", "traffic", "loss", "holdings"):
        table_of(view, name)
    events = record["recorded_step"]["ranks"][0]["events"]
    assert view.locator("#memory-table tbody tr").count() == len(events)
    for i in range(0, len(events), 7):
        alive = sum(record["ranks"][0]["resting_bytes"].values()) + sum(
            e[4] for e in events[: i + 1] if e[1] in ("born", "died")
        )
        assert view.locator("#memory-table tbody tr").nth(i).locator("td").nth(6).inner_text() == f"{alive:,}"
    losses = view.locator("#loss-table tbody tr td:nth-child(2)").all_inner_texts()
    assert [float(shown) for shown in losses] == record["loss"]
    sent = view.locator("#traffic-table table").first.locator("tbody tr").all()
    for i, row in enumerate(sent):
        rank, name = record["ranks"][i // 3], COLLECTIVES[i % 3]
        assert row.locator("td").nth(3).inner_text() == f"{rank['sent_bytes_per_step'][name]:,}"


def test_a_formula_or_dry_run_that_is_missed_is_shown(run, opened, tmp_path):
    record = record_of(run)
    rank = record["ranks"][1]
    rank["peak_total_bytes"] += 12345
    rank["peak_bytes"]["gathered"] += 12345
    rank["resting_bytes"]["gradient"] += 12345
    rank["sent_bytes_per_step"]["all_gather"] += 12345
    view = opened(written(tmp_path, {"a": record}), fragment="#en")
    cells = view.locator("#ranks-table tbody tr").nth(1).locator("td").all_inner_texts()
    dry, formula = rank["predicted"]["peak_total_bytes"], rank["formula"]
    assert (cells[6], cells[8]) == (f"{dry + 12345:,}", f"{dry:,}")
    gathered = formula["peak_bytes"]["gathered"]
    assert cells[7] == f"gathered parameters {gathered + 12345:,}, formula {gathered:,}"
    for cell, name in ((cells[5], "resting_bytes"), (cells[9], "sent_bytes_per_step")):
        said = sum(formula[name].values())
        assert cell == f"{said + 12345:,}, formula {said:,}"
    shown = view.locator("#numbers").inner_text()
    assert f"the dry run says {dry:,}; the formulas say otherwise of: gathered parameters" in shown
    assert f"the formula says {sum(formula['resting_bytes'].values()):,}" in shown


def test_the_language_is_switched_and_remembered_in_the_address(run, opened):
    view = opened(run / "run.html", locale="en-GB")
    assert "Who holds what" in view.locator("main").inner_text()
    view.get_by_role("button", name="中文").click()
    assert view.url.endswith("#zh") and view.locator("html").get_attribute("lang") == "zh-CN"
    shown = view.locator("main").inner_text()
    assert "谁保存什么" in shown and "Who holds what" not in shown
    view.reload()
    assert "谁保存什么" in view.locator("main").inner_text()
    for fragment, shown in (("", "Who holds"), ("#en", "Who holds"), ("#zh", "谁保存什么")):  # run in English
        view = opened(run / "run.html", locale="zh-CN", fragment=fragment)
        assert shown in view.locator("main").inner_text()


@pytest.mark.parametrize("width", (1280, 390))
@pytest.mark.parametrize("language", ("en", "zh"))
@pytest.mark.parametrize("name", ("one", "four"))
def test_nothing_is_wider_than_the_window(width, language, name, run, others, opened, tmp_path):
    runs = {"run.json": record_of(run)}
    if name == "four":
        runs = {f"{i}.json": record_of(others, str(i)) for i in range(4)}
    view = opened(written(tmp_path, runs, language=language), width=width, color_scheme="dark")
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    assert view.locator("h1").inner_text().startswith("ZeRO")


def test_the_pictures_can_be_walked_through_by_keyboard(run, opened):
    view = opened(run / "run.html", fragment="#en")
    picture = view.locator("#memory-picture svg")
    picture.focus()
    view.keyboard.press("End")
    events = len(record_of(run)["recorded_step"]["ranks"][0]["events"])
    assert picture.get_attribute("aria-valuenow") == str(events)
    assert f"event {events} of {events}" in picture.get_attribute("aria-valuetext")
    view.keyboard.press("Shift+ArrowLeft")
    assert f"event {events - 1} of" in view.locator("#now-numbers").inner_text()
    view.locator("#loss-picture svg").focus()
    view.keyboard.press("Home")
    assert view.locator("#loss-caption").inner_text().startswith("Step 1: loss")
    for _ in range(40):
        view.keyboard.press("Tab")
        outline = view.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        on_the_page = view.evaluate("document.activeElement !== document.body")
        assert outline == "solid" or not on_the_page, "the focus can be seen"


def test_markup_in_names_is_text(run, opened, tmp_path):
    record = record_of(run)
    assert record["config"]["data"].endswith("a</script>.npz")
    record = json.loads(json.dumps(record).replace("layers.1", HOSTILE.replace('"', "")))
    record["recorded_step"]["source"] = HOSTILE + "\n" + record["recorded_step"]["source"]
    record["recorded_step"]["file"] = HOSTILE
    for rank in record["recorded_step"]["ranks"]:
        rank["places"] = [HOSTILE for _ in rank["places"]]
    record["config"]["optimizer"] = record["config"]["data"] = HOSTILE
    file = written(tmp_path, {HOSTILE: record, "b": record_of(run)}, {HOSTILE: record_of(run)})
    view = opened(file, fragment="#en")
    assert view.title() == "ZeRO stages 3, 3 side by side" and HOSTILE in view.locator("body").inner_text()
    view = opened(written(tmp_path, {HOSTILE: record}, {HOSTILE: record_of(run)}), fragment="#en")
    view.keyboard.press("Shift+ArrowRight")
    assert HOSTILE in view.locator("#source").inner_text()
    assert HOSTILE in view.locator("#now-numbers").inner_text()
    assert HOSTILE in view.locator("#about").inner_text()
    for name in ("memory", "holdings", "loss"):
        table_of(view, name)
        assert HOSTILE in view.locator(f"#{name}-table").inner_text()
    assert view.locator("img").count() == 0 and view.title() == "ZeRO stage 3 on 3 ranks"


def test_the_page_may_load_nothing_and_run_nothing_else(run):
    html = (run / "run.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href|@import|url\()\s*=?\s*[\"']?(https?:|//|data:)", html)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html).group(1)
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert html.count("<script") == 2 and html.count("</script") == 2


def test_a_script_that_somebody_adds_does_not_run(run, chromium, tmp_path):
    html = (run / "run.html").read_text(encoding="utf-8")
    (tmp_path / "a.html").write_text(
        html.replace("</body>", "<script>document.title = 'ran'</script></body>"), "utf-8"
    )
    view, said = chromium.new_page(), []
    view.on("console", lambda message: said.append(message.text))
    view.goto((tmp_path / "a.html").as_uri())
    assert "ran" not in view.title().split() and "Content Security Policy" in said[0] and len(said) == 1
    view.close()


@pytest.mark.parametrize("width, height, language", [(1280, 800, "en"), (390, 844, "zh")])
def test_the_theatre_fits_a_window_and_its_numbers_are_the_records(width, height, language, run, opened):
    view, record = (
        opened(run / "run.html", width=width, height=height, fragment=f"#{language}"),
        record_of(run),
    )
    assert view.locator(".stage .below").evaluate("e => e.getBoundingClientRect().bottom") <= height
    kept = max(sum(rank["resting_bytes"].values()) for rank in record["ranks"])
    assert f"{kept:,}" in view.locator("#sentence").inner_text()
    gather = view.locator("#ribbon button").nth(1)
    gather.click()  # forward of unit 1 begins with its all-gather
    events = record["recorded_step"]["ranks"][0]["events"]
    sent = next(e[4] for e in events if e[1:4] == ["end", "all_gather", 1])
    assert view.locator("#scene-picture text", has_text=f"{sent:,} B").count() >= 1
    assert view.locator("#scene-picture .token").count() == 3 * 2, "from each owner to all others"
    assert view.locator("#ribbon [aria-current]").inner_text() == "1"


def test_lanes_have_a_pattern_for_each_meaning(run, opened):
    view = opened(run / "run.html", fragment="#en")
    lanes = page.for_page("", record_of(run))["lanes"]
    view.locator("#axis-time").click()
    fills = "all => all.map(e => e.getAttribute('fill'))"
    drawn = view.locator("#memory-picture .lane").evaluate_all(fills)
    told = view.locator("#memory-legend svg rect:last-child").evaluate_all(fills)
    spent = [f"url(#spent-{name})" for name in ("forward", "backward", "update", "waiting", "inside")]
    assert told == spent and set(drawn) <= set(told)
    for name in ("forward", "backward", "update"):
        calls = [call for lane in lanes for call in lane if call[0] == name]
        assert drawn.count(f"url(#spent-{name})") == len(calls) > 0
    others = [call for lane in lanes for call in lane if call[0] not in ("forward", "backward", "update")]
    assert drawn.count(spent[3]) == sum(until > begin for _, _, begin, _, until in others) > 0
    assert drawn.count(spent[4]) == sum(end > until for *_, end, until in others) > 0
    for name in told:
        assert view.locator(f"pattern#{name[5:-1]} > *").count() >= 1


# Several runs


def test_four_stages_stand_side_by_side_on_one_scale(others, opened, tmp_path):
    runs = {f"{i}.json": record_of(others, str(i)) for i in range(4)}
    view = opened(written(tmp_path, runs, language="en"))
    rows = view.locator("#runs-table tbody tr").all()
    for row, (name, record) in zip(rows, runs.items()):
        cells = row.locator("td").all_inner_texts()
        peak = max(rank["peak_total_bytes"] for rank in record["ranks"])
        differs = ' (shard_model "hash", reduce "ring")' if name == "3.json" else ""
        assert cells[:2] == [str(record["stage"]), name + differs] and cells[4] == f"{peak:,}" == cells[5]
        assert cells[3].endswith(" =") and cells[6].endswith(" =")
        assert record["weights_sha256"][:16] in cells[9]
    pictures = view.locator("#timelines svg[role=slider]")
    assert pictures.count() == 4
    scales = {" ".join(pictures.nth(i).locator("text").all_text_contents()) for i in range(4)}
    assert len(scales) == 1, "the numbers beside all four are the same"
    ground = [pictures.nth(i).locator("line.dry-run").get_attribute("y1") for i in range(4)]
    peaks = [
        max(r["predicted"]["peak_total_bytes"] for r in record["recorded_step"]["ranks"])
        for record in runs.values()
    ]
    assert sorted(range(4), key=lambda i: float(ground[i])) == sorted(range(4), key=lambda i: -peaks[i])
    assert "exactly 0 in each of 5 steps" in view.locator("#differences").inner_text()


def test_the_difference_to_another_run(run, opened, tmp_path):
    ours, theirs = record_of(run), record_of(run)
    theirs["loss"][3] += 1e-7
    theirs["loss"][5] -= 3e-3
    theirs["weights_sha256"] = "0" * 64
    found = compare.difference("b", ours, theirs)
    assert found["steps"] == 9 and found["most"] == pytest.approx(3e-3)
    assert [step for step, _ in found["so_far"]] == [1, 4, 6, 9]
    view = opened(written(tmp_path, {"a": ours}, {"b": theirs}, "en"))
    shown = view.locator("#differences").inner_text()
    assert "Difference from b" in shown and "3.000e-3 after 9 steps" in shown and "weights differ" in shown
    same = opened(written(tmp_path, {"a": ours}, {"b": record_of(run)}, "en"))
    assert "exactly 0 in each of 9 steps" in same.locator("#differences").inner_text()
    later = record_of(run) | {"first_step": 100}
    assert (
        "no step in common"
        in opened(written(tmp_path, {"a": ours}, {"b": later}, "en")).locator("#differences").inner_text()
    )


def test_steps_are_compared_by_their_number(run):
    ours, resumed = record_of(run), record_of(run)
    resumed |= {"first_step": 4, "loss": resumed["loss"][4:]}
    found = compare.difference("b", ours, resumed)
    assert (found["steps"], found["most"]) == (5, 0.0)
    assert compare.difference("a", resumed, ours)["most"] == 0.0


def test_a_loss_that_is_not_finite_is_shown(run, opened, tmp_path):
    ours = record_of(run)
    ours["loss"][4] = None
    view = opened(written(tmp_path, {"a": ours}, {"b": record_of(run)}, "en"))
    assert table_of(view, "loss").locator("tbody tr").nth(4).inner_text().split("\t")[1] == "not finite"
    assert compare.difference("b", ours, record_of(run))["most"] is None


def test_what_was_held_out_is_drawn_beside_the_loss(run, opened, tmp_path):
    record = record_of(run)
    record["held_out"] = [[3, 2.5, 0.25], [6, None, None], [9, 1.25, 0.5]]
    view = opened(written(tmp_path, {"a": record}, language="en"))
    rings = view.locator("#loss-picture .held-out")
    heights = [float(rings.nth(i).get_attribute("cy")) for i in range(rings.count())]
    assert len(heights) == 2 and heights[0] < heights[1], (
        "the higher loss lies higher; none where it is no number"
    )
    assert "held out" in view.locator("#loss-legend").inner_text()
    assert "On the samples held out: loss 1.2500." in view.locator("#loss-caption").inner_text()
    view.locator("#loss-picture svg").press("ArrowLeft")
    assert "held out" not in view.locator("#loss-caption").inner_text()
    view = opened(written(tmp_path, {"a": record_of(run)}, language="en"))
    assert view.locator("#loss-picture .held-out").count() == 0 and record_of(run)["held_out"] == []


def test_a_record_without_events_has_a_page_without_them(run, opened, tmp_path):
    record = record_of(run)
    del record["recorded_step"]
    view = opened(written(tmp_path, {"a": record}, language="en"))
    assert not view.locator("#holdings").is_visible() and view.locator("#loss-picture svg").is_visible()
    assert "no events" in view.locator("#map-caption").inner_text()
    view = opened(written(tmp_path, {"a": record, "b": record_of(run)}, language="en"))
    assert "no events" in view.locator("#timelines").inner_text()


def test_one_rank_and_one_step_are_told_in_the_singular(opened, tmp_path):
    """All that the page says, at each event of the step."""
    line = "--data synthetic --model linear --samples 1 --features 1 --test-fraction 0 --steps 1"
    train(tmp_path, 0, f"{line} --record one.json --report one.html")
    view = opened(tmp_path / "one.html", fragment="#en")
    assert "The only rank keeps all" in view.locator("#sentence").inner_text()
    for _ in record_of(tmp_path, "one")["recorded_step"]["ranks"][0]["events"]:
        assert ONE.findall(view.locator("body").inner_text()) == []
        view.keyboard.press("Shift+ArrowRight")


# What is too long


def test_a_usual_run_is_far_below_a_megabyte(run):
    record = record_of(run)
    record["loss"] = [1 / (i + 1.7) for i in range(690)]
    for ranks in (record["ranks"], record["recorded_step"]["ranks"]):
        ranks.append(copy.deepcopy(ranks[0]))
    for unit in record["recorded_step"]["units"]:
        unit["counts"].append(unit["counts"][0])
    record["world_size"] = 4
    assert len(page.make_page({"a": record}, {}).encode()) < 400_000


def longer(record, times):
    """The recorded step so many times over, as of a model with as many times the units."""
    step = record["recorded_step"]
    for rank in step["ranks"]:
        last = rank["events"][-1][0]
        rank["events"] = [
            [round(event[0] + i * last, 1), *event[1:]] for i in range(times) for event in rank["events"]
        ]
    return record


def test_many_events_are_thinned_out_without_losing_a_byte_or_a_peak(run):
    record = longer(record_of(run), 200)
    assert sum(len(rank["events"]) for rank in record["recorded_step"]["ranks"]) > 60_000
    for rank in record["recorded_step"]["ranks"]:
        whole = [dict(live) for live in thin.levels(rank)]
        alive = [sum(at.values()) for at in whole]
        live, peak = dict(whole[0]), 0
        fewer = thin.thinned_events(rank, 1000)
        assert len(fewer) <= 1000
        number = 0
        for event in fewer:
            changes = event[4] if event[1] == "several" else [[event[2], event[3], event[4]]]
            for kind, _, nbytes in changes if event[1] not in ("begin", "end") else []:
                live[kind] += nbytes
            before, number = number, number + (event[7] if event[1] == "several" else 1)
            assert live == whole[number]
            assert max(alive[before : number + 1]) == max(alive[before], alive[number]), "a peak is hidden"
            peak = max(peak, sum(live.values()))
        assert number == len(rank["events"]) and peak == max(alive)


def test_the_page_says_which_events_are_taken_together(run, opened, tmp_path):
    record = longer(record_of(run), 200)
    text_of_page = page.make_page({"a": record}, {}, "en")
    assert len(text_of_page.encode()) < 1_000_000
    (tmp_path / "long.html").write_text(text_of_page, encoding="utf-8")
    view = opened(tmp_path / "long.html")
    assert (
        f"stand for the {3 * len(record['recorded_step']['ranks'][0]['events']):,} recorded"
        in view.locator("#holdings-caption").inner_text()
    )
    for _ in range(5):
        view.keyboard.press("Shift+ArrowRight")
    assert "taken together" in view.locator("#now-words").inner_text()
    measured = max(sum(live.values()) for live in thin.levels(record["recorded_step"]["ranks"][0]))
    assert f"measured {measured:,}, also in the dry run" in view.locator("#memory-picture").text_content()


def test_a_long_curve_keeps_its_ends_and_its_extremes(run, opened, tmp_path):
    record = record_of(run)
    record["loss"] = [1.0 + (i % 7) / 10 for i in range(100_000)]
    record["loss"][54_321], record["loss"][77_777] = 9.0, 0.25
    drawn = page.losses("a", record)["loss"]
    assert len(drawn) <= thin.MOST_POINTS + 3 and (drawn[0][0], drawn[-1][0]) == (1, 100_000)
    assert (54_322, 9.0) in drawn and (77_778, 0.25) in drawn
    view = opened(written(tmp_path, {"a": record}, language="en"))
    assert "of 100,000 steps are drawn" in view.locator("#loss-caption").inner_text()


def test_many_units_and_ranks_are_named_as_left_out(run, opened, tmp_path):
    record, ranks = record_of(run), 20
    step = record["recorded_step"]
    for each in (record["ranks"], step["ranks"]):
        each += [copy.deepcopy(each[0]) for _ in range(ranks - 3)]
    record["world_size"] = ranks
    for unit in step["units"]:
        unit["counts"] += [unit["counts"][0]] * (ranks - 3)
    more = 80
    step["units"] += [step["units"][2] | {"name": f"more.{i}"} for i in range(more)]
    for rank in step["ranks"]:
        rank["kept"] += [rank["kept"][2]] * more
        rank["elements"] += [rank["elements"][2]] * more
    view = opened(written(tmp_path, {"a": record}, language="en"))
    caption = view.locator("#holdings-caption").inner_text()
    assert "one bar for the whole model" in caption and "16 of 20 ranks" in caption
    assert "8 of 20 ranks" in view.locator("#traffic-caption").inner_text()


# Traffic


def adds_up(record):
    sent = page.traffic(record)
    for rank, row in enumerate(sent):
        assert sum(row) == sum(record["ranks"][rank]["sent_bytes_per_step"].values()) and row[rank] == 0
    received = [sum(column) for column in zip(*sent)]
    assert sum(received) == sum(map(sum, sent))


def test_the_map_of_traffic_adds_up_to_what_was_sent(run):
    adds_up(record_of(run))


def test_a_part_of_a_sum_goes_to_its_owner_and_adds_up():
    """Shards of 1, 2 and 3 elements; rank 4 is the middle one of the second group of three."""
    to = functools.partial(page.receivers, counts=[1, 2, 3])
    for name in ("reduce_scatter", "finish_reduce_scatter"):
        assert to(name, 1, ranks=3, ring=False) == {0: 1, 1: 2, 2: 3}
        assert to(name, 4, ranks=6, ring=False) == {3: 1, 4: 2, 5: 3}
    assert len(set(to("all_gather", 4, ranks=6, ring=False).values())) == 1, "its own shard, to each alike"
    assert to("all_gather", 4, ranks=6, ring=False).keys() == {3, 4, 5}
    assert to("sum_between_groups", 4, ranks=6, ring=False) == {1: 2, 4: 2}, "an element, there and back"
    assert [*to("reduce_scatter", 5, ranks=6, ring=True)] == [3]
    assert [*to("sum_between_groups", 5, ranks=6, ring=True)] == [2]


def test_the_map_of_others_adds_up_and_a_ring_sends_to_the_right_only(others):
    for name in ("uneven", "wide", *"0123"):
        adds_up(record_of(others, name))
    ring = page.traffic(record_of(others, "3"))
    assert all(ring[r][(r + 2) % 3] == 2 * 8 < ring[r][(r + 1) % 3] for r in range(3)), "to the right only"


def test_gradients_that_are_added_up_in_another_type_are_told(others, tmp_path, opened):
    wide, plain = record_of(others, "wide"), record_of(others, "1")
    assert "bfloat16, gradients added up in float32\n" in summary.summary(wide, "en")
    assert "added up" not in summary.summary(plain, "en")
    told = {"en": "gradients of micro-batches added up in float32", "zh": "梯度用 float32 累加"}
    for language, words in told.items():
        text = opened(written(tmp_path, {"wide": wide}, language=language)).locator("body").inner_text()
        assert words in text
    both = opened(written(tmp_path, {"plain": plain, "wide": wide}, language="en"))
    assert 'accumulate "float32"' in both.locator("body").inner_text()


# The trace


def test_the_trace_is_what_perfetto_reads(run):
    record, found = record_of(run), json.loads((run / "trace.json").read_text())
    assert found == json.loads(json.dumps(trace.make_trace(record)))
    events = found["traceEvents"]
    names = {e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert names == {"rank 0", "rank 1", "rank 2"}
    for event in events:
        assert {"ph", "name", "pid", "tid", "ts"} <= event.keys() and event["ph"] in "MXCsf"
        assert event["ts"] >= 0 and event.get("dur", 0) >= 0
    for rank, measured in enumerate(record["ranks"]):
        mine = [e for e in events if e["pid"] == rank and e["ph"] != "M"]
        times = [e["ts"] for e in mine]
        assert times == sorted(times)
        for track in (trace.COMPUTE, trace.COLLECTIVE):
            spans = [e for e in mine if e["ph"] == "X" and e["tid"] == track]
            assert spans
            for a, b in zip(spans, spans[1:]):
                assert a["ts"] + a["dur"] <= b["ts"], "one after another"
        both = [[e["args"] for e in mine if e["ph"] == "C" and ("total" in e["name"]) == t] for t in (0, 1)]
        counters = both[0]
        assert [sum(c.values()) for c in counters] == [c["total"] for c in both[1]]
        assert counters[0] == counters[-1] == measured["resting_bytes"]
        peak = record["recorded_step"]["ranks"][rank]["predicted"]["peak_total_bytes"]
        assert max(sum(c.values()) for c in counters) == peak
        for name in COLLECTIVES:
            calls = [e for e in mine if e["ph"] == "X" and e["cat"] == {"other": "sum"}.get(name, name)]
            assert sum(e["args"]["sent_bytes"] for e in calls) == measured["sent_bytes_per_step"][name]
            assert len(calls) == measured["calls_per_step"][name]


def ends_when_all_have_begun(record):
    """All ranks of a host read one clock: with a zero of its own on each, ends came first by milliseconds."""
    found = meetings.meetings(record)
    calls = sum(sum(rank["calls_per_step"].values()) for rank in record["ranks"])
    assert sum(len(meeting.ends) for meeting in found) == calls > 0
    for meeting in found:
        assert sorted(span.row for span in meeting.begins) == [0, 1, 2]
        assert min(span.end for span in meeting.ends) >= max(span.begin for span in meeting.begins)
    first = min(rank["events"][0][0] for rank in record["recorded_step"]["ranks"])
    assert first >= 0 and record["recorded_step"]["clocks"] == [[0, 0.0]] * 3
    begun, ended = (
        {e["id"]: (e["ts"], e["pid"]) for e in trace.make_trace(record)["traceEvents"] if e["ph"] == kind}
        for kind in "sf"
    )
    assert begun.keys() == ended.keys() and len(begun) == 2 * len(found)
    for arrow, (ts, rank) in begun.items():
        begins = found[int(arrow.partition(".")[0])].begins
        assert ts == max(span.begin for span in begins) <= ended[arrow][0]
        assert rank != ended[arrow][1]


def test_no_collective_ends_before_every_rank_has_begun_it(run):
    ends_when_all_have_begun(record_of(run))


def test_none_of_others_either_ends_before_every_rank_has_begun_it(others):
    for name in ("uneven", "wide", *"0123"):
        ends_when_all_have_begun(record_of(others, name))


def test_ranks_whose_clocks_differ_are_not_compared(run):
    record = record_of(run)
    del record["recorded_step"]["clocks"]  # as older versions wrote it
    assert meetings.meetings(record) == []
    assert {e["ph"] for e in trace.make_trace(record)["traceEvents"]} == set("MXC")


def test_who_has_no_shard_is_not_waited_for(run):
    """An all-gather needs nothing of such a rank, and it needs nothing of a reduce-scatter."""
    record = record_of(run)
    for unit in record["recorded_step"]["units"]:
        unit["counts"][1] = 0
    for meeting in meetings.meetings(record):
        name, unit = meeting.ends[0].name, meeting.ends[0].unit
        assert len(meeting.begins) == (2 if name == "all_gather" else 3)
        assert len(meeting.ends) == (2 if name == "reduce_scatter" else 3), unit


# The terminal


def test_the_chart_shows_every_kind_and_the_right_numbers(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    record = record_of(run)
    said = text.make_text(record, "en")
    word = vocabulary.words()["text_traffic"]["en"]
    peaks = [
        max(sum(live.values()) for live in thin.levels(rank)) for rank in record["recorded_step"]["ranks"]
    ]
    assert f"Peak {max(peaks):,} bytes, dry run {max(peaks):,}." in said
    drawn = "".join(line.partition("|")[2] for line in said.splitlines() if "|" in line)
    assert set(drawn) - set(" -") <= {letter for letter, _ in text.LETTERS.values()}
    assert {"P", "G", "S", "p", "g", "a"} <= set(drawn)
    for rank in record["ranks"]:
        rest, peak = f"{sum(rank['resting_bytes'].values()):,}", f"{rank['peak_total_bytes']:,}"
        sent = f"{sum(rank['sent_bytes_per_step'].values()):,}"
        assert re.search(f" {rest} = +{peak} = +{sent} =\n", said)
        assert f"{sent} =" in said.partition(word)[2]
    assert "\033" not in said


@pytest.mark.parametrize("language", ["en", "zh"])
def test_eighty_columns_hold_everything(run, language, monkeypatch):
    for columns, most in (("40", 80), ("80", 80), ("200", 120)):
        monkeypatch.setenv("COLUMNS", columns)
        record = record_of(run)
        said = [text.make_text(record, language), summary.summary(record, language)]
        for rank in record["ranks"]:  # of a large model, and with another number on every rank
            for name in ("resting_bytes", "peak_bytes", "sent_bytes_per_step"):
                rank[name] = {kind: n * 10**6 for kind, n in rank[name].items()}
            rank["peak_total_bytes"] *= 10**6
        record["parameters"] = record["parameters_padded"] = 10**15
        said += [text.make_text(record, language), summary.summary(record, language)]
        widths = [width(line) for each in said for line in each.splitlines()]
        assert max(widths) <= most and max(widths) > most - 20


def test_colours_take_no_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    painted = "\033[34m" + "x" * 50 + "\033[0m"
    assert text.wrapped([painted, "空" * 14, "z"]) == [painted + "  " + "空" * 14, "z"]


EACH = {"summary_each": "each of {ranks}", "summary_among": "{first}, ... ({ranks} ranks)"}


def test_ranks_with_equal_rows_share_one():
    def names(rows, size, shown=None):
        found = summary.grouped(shown or range(len(rows)), [[row] for row in rows], size, EACH)
        return [(name, list(group)) for name, group in found]

    assert names("aaaa", 4) == [("each of 4", [0, 1, 2, 3])]
    assert names("a", 1) == [("0", [0])]
    assert names("abaa", 4) == [("0, 2-3", [0, 2, 3]), ("1", [1])]
    assert names("aa", 1024, [0, 1023]) == [("0, 1023", [0, 1])]
    assert names("ababababab", 10) == [
        ("0, ... (5 ranks)", [0, 2, 4, 6, 8]),
        ("1, ... (5 ranks)", [1, 3, 5, 7, 9]),
    ]


def test_a_number_that_is_not_as_predicted_is_marked_and_told(run):
    record = record_of(run)
    rank = record["ranks"][1]
    peak = rank["peak_total_bytes"]
    rank["predicted"]["peak_total_bytes"] -= 8
    rank["formula"]["peak_bytes"]["gathered"] = 1
    rank["formula"]["resting_bytes"]["gradient"] += 4
    said = summary.holdings(record, summary.words_for(record, "en"))
    gathered, rest = rank["peak_bytes"]["gathered"], sum(rank["resting_bytes"].values())
    told = f"rank 1: peak, bytes {peak:,}; gathered parameters {gathered:,} (1); peak, dry run {peak - 8:,}"
    assert f"{peak:,} !" in said and told in said and f"{rest:,} ({rest + 4:,})" in said
    assert said.count("!") == 1


def test_where_samples_and_shares_differ_they_have_columns(run):
    record = record_of(run) | {"owned": [1, 2, 5]}
    for samples, rank in zip((10, 20, 30), record["ranks"]):
        rank["samples"] = samples
    said = summary.summary(record, "en")
    assert "each computed" not in said
    for cells in (("0", "10", "12.5%"), ("1", "20", "25.0%"), ("2", "30", "62.5%")):
        assert re.search(r"^ *" + " +".join(map(re.escape, cells)) + " ", said, re.M)


def test_what_is_written_says_where_and_what_opens_it(tmp_path, capsys):
    o = options.parse(["--record", "r.json", "--save", "ck", "--language", "en"])
    report.tell_where(o, {"loss": [1.0], "first_step": 0})
    said = capsys.readouterr().out
    assert f"record   {os.path.abspath('r.json')}\n" in said and f"saved    {os.path.abspath('ck')}\n" in said
    report.tell_where(options.parse([]), {"loss": [1.0], "first_step": 0})
    report.tell_where(o, {"loss": [], "first_step": 3})  # the run that did the steps has written them
    assert "record" not in capsys.readouterr().out


def test_each_column_of_the_chart_is_at_its_highest():
    assert text.highest_in_each([5, 1, 9, 2, 2, 7], 3) == [0, 2, 5]
    assert text.highest_in_each([4, 8], 50) == [0, 1]


@pytest.mark.parametrize("language", ("en", "zh"))
def test_tables_are_straight_in_both_languages(language, run):
    for block in text.make_text(record_of(run), language).split("\n\n"):
        if set(block.splitlines()[-1]) <= set("0123456789,= ()"):
            assert len({width(line) for line in block.splitlines()}) == 1, block
    assert table([["1"]], ["rank 字节"]).splitlines() == ["rank 字节", "-" * 9, "        1"]


def test_colours_only_on_a_terminal_and_never_with_no_color(run, monkeypatch):
    record = record_of(run)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\033" not in text.make_text(record, "en")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    plain = re.sub("\033\\[\\d+m", "", text.make_text(record, "en"))
    assert "\033[34mP" in text.make_text(record, "en")
    monkeypatch.setenv("NO_COLOR", "1")
    assert text.make_text(record, "en") == plain
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert text.make_text(record, "en") == plain


@pytest.mark.parametrize(
    "environment, language",
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW.UTF-8"}, "zh"),
        ({"LANG": "C"}, "en"),
        ({}, "en"),
    ],
)
def test_the_environment_says_which_language(environment, language, monkeypatch):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launch.language() == language


def test_a_terminal_that_cannot_show_chinese_shows_something(run):
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-m", "zero_ref.report", "--text", "--language", "zh", str(run / "run.json")]
    done = subprocess.run(command, env=environment, capture_output=True)
    assert done.returncode == 0 and b"reduce-scatter" in done.stdout and done.stderr == b""


def test_the_command_prints_the_chart(tmp_path):
    line = "--hidden 7 --steps 2 --chart --language zh"
    result = mpirun(3, "-m", "zero_ref.train", *line.split(), cwd=tmp_path)
    assert result.returncode == 0 and "一步发送的字节数" in result.stdout and "\033" not in result.stdout


# Errors


def damaged(record):
    """Records that are none."""
    without = {key: value for key, value in record.items() if key != "ranks"}
    yield "missing field", without
    yield "array", [record]
    yield "wrong stage", record | {"stage": 4}
    yield "no loss", record | {"loss": []}
    yield "too few ranks", record | {"ranks": record["ranks"][:2]}
    yield (
        "negative bytes",
        json.loads(json.dumps(record).replace('"peak_total_bytes": ', '"peak_total_bytes": -')),
    )
    for name, path, value in [
        ("unit", 3, 99),
        ("place", 6, 10_000),
        ("kind", 2, "__proto__"),
        ("what", 1, "several"),
        ("bytes", 4, "many"),
    ]:
        changed = copy.deepcopy(record)
        changed["recorded_step"]["ranks"][1]["events"][0][path] = value
        yield name, changed
    changed = copy.deepcopy(record)
    changed["recorded_step"]["units"][0]["counts"].append(1)
    yield "counts", changed


def test_what_is_no_record_is_refused_in_one_line(run, tmp_path, capsys):
    file = tmp_path / "bad.json"
    for name, record in damaged(record_of(run)):
        file.write_text(json.dumps(record))
        with pytest.raises(UsageError, match=r"bad\.json: is not a record"):
            read(str(file))
            pytest.fail(name)
    for content in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null", b'"text"', b"1e999"):
        file.write_bytes(content)
        with pytest.raises(UsageError, match="is not a record"):
            read(str(file))
    with pytest.raises(UsageError, match="No such file"):
        read(str(tmp_path / "missing.json"))


def test_the_command_makes_pages_and_needs_no_mpi(run, tmp_path):
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py" / "__init__.py").write_text("raise ImportError('there is no MPI here')\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()])}
    out, record = tmp_path / "out.html", str(run / "run.json")
    command = [sys.executable, "-m", "zero_ref.report", str(out), record, "--compare", record]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"page     {out}\n         open it in a browser\n"
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "out.html",
        "run.json run.json",
        "out.html run.json run.json",
        "out.html missing.json",
        "out.html trace.json",
        "nowhere/out.html run.json",
        "--text run.json --compare run.json",
        "--text trace.json",
        "out.html run.json --language fr",
        "out.html run.json --compare trace.json",
    ],
)
def test_an_error_of_the_command_is_one_line(line, run, monkeypatch):
    monkeypatch.chdir(run)
    before = sorted(run.iterdir())
    with pytest.raises((UsageError, SystemExit)):
        main(line.split())
    assert sorted(run.iterdir()) == before


@pytest.mark.rest("a run for each", every=3)
@pytest.mark.parametrize(
    "line, said",
    [
        ("--report nowhere/a.html", "--report nowhere/a.html: cannot be written"),
        ("--trace .", "--trace .: cannot be written"),
        ("--report a.html --trace a.html", "--trace a.html: is another file"),
        ("--report a.html --record a.html", "--report a.html: is another file"),
        ("--report a.html --compare trace.json", "--compare trace.json: is not a record"),
        ("--report run.json --compare run.json", "--report run.json: is another file"),
        ("--compare run.json", "--compare needs --report"),
    ],
)
def test_files_are_checked_before_training(line, said, run):
    before = (run / "run.json").read_bytes()
    result = mpirun(3, "-m", "zero_ref.train", *line.split(), cwd=run)
    assert result.returncode == 2 and result.stderr.count("\n") == 1, result.stderr
    assert said in result.stderr and result.stdout == ""
    assert (run / "run.json").read_bytes() == before and not (run / "a.html").exists()


def test_the_options_are_those_of_the_training_command():
    o = options.parse(["--report", "a.html", "--compare", "b.json", "--language", "zh"])
    assert (o.report, o.compare, o.language) == ("a.html", "b.json", "zh")
    assert not {"report", "compare", "trace", "chart", "language"} - options.PASSING


def test_a_step_of_more_than_a_second_is_told_in_seconds():
    assert [summary.duration(s) for s in (0.0025, 0.9994, 1.3645)] == ["2.50 ms", "999.40 ms", "1.36 s"]
