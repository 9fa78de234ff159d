"""Page, chart and trace of a run that never took place; and what a formula says told apart from a dry run.

No record here is of a run under mpirun: one of a dry run that says it was computed looks the same.
"""

import copy
import json
import re
from pathlib import Path

import pytest
from rehearsed import dry, old, ran
from terminal import width

from zero_ref.explore import __main__ as explore
from zero_ref.launch import UsageError
from zero_ref.report import page, record, text, trace
from zero_ref.stages import STAGES

pytest_plugins = ["browser"]  # the fixture `opened`

BANNER = {"en": "nothing was computed or sent", "zh": "没有计算，也没有发送"}
MANY = "--data synthetic --features 512 --hidden 512,512,512 --ranks 1024"


def written(tmp_path, runs, compared=None):
    file = tmp_path / "page.html"
    file.write_text(page.make_page(runs, compared or {}), encoding="utf-8")
    return file


def row(view, number, table="ranks-table"):
    return view.locator(f"#{table} tbody tr").nth(number).locator("td").all_inner_texts()


# That nothing was computed


def test_a_page_says_first_that_nothing_was_computed(opened, tmp_path):
    file = written(tmp_path, {"a": dry()})
    assert "<title>ZeRO stage 3, N = 3, dry run</title>" in file.read_text(encoding="utf-8")
    view = opened(file, fragment="#en", width=390, color_scheme="dark")
    order = view.locator("header > *").evaluate_all("all => all.map(e => e.id)")
    assert order.index("dry") == order.index("title") + 1
    for table in ("memory", "holdings", "traffic"):
        view.locator(f"#{table}-table summary").click()
    view.keyboard.press("Shift+ArrowRight")
    for button, said, name in (("English", BANNER["en"], "a dry run"), ("中文", BANNER["zh"], "空跑")):
        view.get_by_role("button", name=button).click()
        assert view.locator("#dry").is_visible() and said in view.locator("#dry").inner_text()
        assert name in view.locator("h1").inner_text()
        assert view.evaluate("document.documentElement.scrollWidth") <= 390
        assert not view.locator("#loss").is_visible()
        assert view.locator("#numbers dt").count() == 3, "no loss and no weights"
        shown = view.locator("body").inner_text()
        assert not re.search(r"µs|\bms\b|sha256|NaN|undefined|实测 \d|: measured", shown)
        assert view.locator("line.dry-run").count() == 0 and len(row(view, 0)) == 9, "not beside itself"
    view.get_by_role("button", name="English").click()
    told = view.locator("#told-by").inner_text()
    assert told.startswith("These numbers are the dry run's") and "proves nothing" in told


def test_chart_and_trace_say_it_first():
    for language, said in BANNER.items():
        drawn = text.make_text(dry(), language)
        assert said in drawn.splitlines()[0] and max(map(width, drawn.splitlines())) <= 120
        assert said not in text.make_text(ran(), language)
        assert "|-" not in drawn and "--- " not in drawn.split("\n\n")[3], "it is not beside itself"
    made = trace.make_trace(dry())
    assert next(iter(made)) == "otherData" and BANNER["en"] in made["otherData"]["dry_run"]
    notes = [event for event in made["traceEvents"] if event["tid"] == trace.NOTE and event["ph"] == "X"]
    assert [note["pid"] for note in notes] == [0, 1, 2]
    for note in notes:
        others = [e for e in made["traceEvents"] if e["pid"] == note["pid"] and e is not note]
        assert note["dur"] == max(event["ts"] + event.get("dur", 0) for event in others)
        assert BANNER["zh"] in note["name"]
    names = {e["args"]["name"] for e in made["traceEvents"] if e["name"] == "process_name"}
    assert names == {"rank 0 (dry run)", "rank 1 (dry run)", "rank 2 (dry run)"}
    assert "dry run" not in json.dumps(trace.make_trace(ran()))


def test_beside_runs_that_took_place(opened, tmp_path):
    view = opened(written(tmp_path, {"a.json": dry(), "b.json": ran(), "c.json": old()}), fragment="#en")
    assert view.locator("#dry").inner_text().startswith("Nothing was computed or sent in a.json:")
    assert row(view, 0, "runs-table")[5:] == ["–", "137,864 =", "–", "–", "–"]
    assert row(view, 1, "runs-table")[4:8] == ["220,944", "220,944", "137,864 =", "1.2500"]
    assert row(view, 2, "runs-table")[4:6] == ["220,944 =", "–"]
    assert view.locator("#losses path.curve").count() == 2, "of the two that have one"
    legend = view.locator("#loss-legend").inner_text()
    assert legend == "Stage 3 · b, Stage 3 · c: one curve, the same in every step"
    assert "exactly 0" in view.locator("#differences").inner_text()
    for runs, compared in ((ran(), dry()), (dry(), ran()), (dry(), dry())):
        assert page.make_page({"a": runs}, {"b": compared}).count('"differences":[]') == 1


# Which ranks


def test_ranks_have_their_own_numbers_and_the_page_stays_small(opened, tmp_path):
    file = written(tmp_path, {"a": dry(MANY)})
    assert file.stat().st_size < 150_000
    view = opened(file, fragment="#en", width=390)
    assert "Of 1,024 ranks only these were looked at: 0, 1023." in view.locator("#dry").inner_text()
    assert "1,024 ranks" in view.title()
    assert [row(view, number)[0] for number in range(2)] == ["0", "1023"]
    assert view.locator("#ranks button").all_inner_texts() == ["0", "1023"]
    view.locator("#rank-1023").click()
    assert "on rank 1023" in view.locator("#memory-picture svg").get_attribute("aria-label")
    assert view.locator("#holdings-picture rect[fill='url(#parameter)']").count() == 2, "one bar a rank"
    for table in ("holdings", "traffic"):
        view.locator(f"#{table}-table summary").click()
    for place in ("#holdings-picture", "#traffic-picture", "#holdings-table", "#traffic-table"):
        assert "rank 1023" in view.locator(place).text_content()
    assert "257 on each of 1,024" in view.locator("#holdings-table").inner_text()
    assert "a map needs all of them" in view.locator("#map-caption").inner_text()
    assert view.locator("#map-picture svg").count() == 0
    assert view.evaluate("document.documentElement.scrollWidth") <= 390
    shown = view.locator("main").inner_text() + text.make_text(dry(MANY), "en")
    assert not re.search(r"rank 1\b", shown) and "on rank 1023, each column at its highest" in shown
    assert {event["pid"] for event in trace.make_trace(dry(MANY))["traceEvents"]} == {0, 1023}


def test_the_map_is_of_all_ranks_or_there_is_none():
    few = dry("--ranks 3 --shard-model weights=3,2,1")
    sent = [sum(rank["sent_bytes_per_step"].values()) for rank in few["ranks"]]
    assert list(map(sum, page.traffic(few))) == sent and len(set(sent)) == 3
    assert page.traffic(few) == page.traffic(few | {"shown_ranks": None})
    turned = copy.deepcopy(few)
    for ranks in (turned["ranks"], turned["recorded_step"]["ranks"], turned["shown_ranks"]):
        ranks.reverse()
    assert page.traffic(turned) == page.traffic(few)
    assert page.traffic(dry(MANY)) is None


# Formulas and dry run


def test_the_formulas_and_the_dry_run_are_told_apart(opened, tmp_path):
    result = ran()
    result["ranks"][0]["formula"]["sent_bytes_per_step"]["all_gather"] += 16
    result["ranks"][0]["formula"]["resting_bytes"]["gradient"] -= 4
    result["ranks"][1]["formula"]["peak_bytes"]["gathered"] += 8
    result["ranks"][2]["predicted"]["peak_total_bytes"] = 220_000
    result["recorded_step"]["ranks"][2]["predicted"]["peak_total_bytes"] = 210_000
    view = opened(written(tmp_path, {"a": result}), fragment="#en")
    sent, kinds = "137,864, formula 137,880", "gathered parameters 33,288, formula 33,296"
    assert row(view, 0)[5:] == ["91,888, formula 91,884", "218,080", "=", "218,080", sent]
    assert row(view, 1)[5:] == ["91,888 =", "218,080", kinds, "218,080", "137,864 ="]
    assert row(view, 2)[5:] == ["91,888 =", "220,944", "=", "220,000", "137,864 ="]
    about = view.locator("#numbers .peak + .about").inner_text()
    assert about == "the dry run says 220,000; the formulas say otherwise of: gathered parameters"
    assert "not what the formulas say: gathered parameters." in view.locator("#ranks-peaks").inner_text()
    assert "91,888, formula 91,904" in view.locator("#traffic-picture").text_content()
    told = view.locator("#told-by").inner_text()
    assert told.startswith("Two checks stand beside what was measured") and "proves nothing" in told

    view.locator("#rank-2").click()
    assert "peak: measured 220,944, dry run 210,000" in view.locator("#memory-picture").text_content()
    assert "line is the peak by the dry run, 210,000 bytes" in view.locator("#memory-caption").inner_text()
    upper, lower = (view.locator(f"#memory-picture line.{name}") for name in ("dry-run", "formula"))
    assert upper.count() == lower.count() == 1
    dot = float(view.locator("#memory-picture circle").first.get_attribute("cy"))
    assert dot < float(upper.get_attribute("y1")) < float(lower.get_attribute("y1"))

    said = text.make_text(result, "en")
    assert "Peak 220,944 bytes, dry run 210,000" in said and "--- peak by the dry run" in said
    assert re.search(r"91,888 = +220,944 ! ", said) and "91,888 (91,884)" in said
    assert "rank 2: peak, bytes 220,944; peak, dry run 220,000\n" in said
    assert "gathered parameters 33,288 (33,296)" in said and "91,888 (91,904)" in said
    assert "know no stage file" in said and "proves nothing" in said


def test_an_old_record_is_shown_as_it_was(opened, tmp_path):
    file = tmp_path / "old.json"
    result = old()
    result["ranks"][1]["predicted"]["peak_total_bytes"] = 218_000
    file.write_text(json.dumps(result), encoding="utf-8")
    assert record.read(str(file)) == result
    view = opened(written(tmp_path, {"a": result}), fragment="#en")
    assert row(view, 2)[5:] == ["91,888 =", "220,944 =", "137,864 ="]
    assert row(view, 1)[6] == "218,080, formula 218,000"
    assert view.locator("#numbers .peak + .about").inner_text() == "exactly what the formula says"
    assert view.locator("#memory-picture line.formula").count() == 2
    assert "measured 218,080 = formula" in view.locator("#memory-picture").text_content()
    said = view.locator("body").inner_text() + text.make_text(result, "en")
    assert "dry run" not in said and "Peak 220,944 bytes, formula 220,944" in said
    assert "rank 1: peak, bytes 218,080; formula 218,000" in said
    assert not view.locator("#told-by").is_visible()


# What a stage keeps


def test_pages_ask_the_stages_what_they_keep(opened, tmp_path, monkeypatch):
    package = Path(page.__file__).parent.parent
    scripts = [file.read_text(encoding="utf-8") for file in package.glob("*/*.js")]
    report = {file.stem for file in Path(page.__file__).parent.glob("*.js")}
    assert (
        report == set(page.SCRIPTS)
        and len(scripts) > len(report)
        and not any(re.search(r"stage *([<>]=?|[!=]==?) *\d", each) for each in scripts)
    )
    for stage, module in STAGES.items():
        assert page.for_page("a", dry(f"--ranks 2 --stage {stage}"))["keeps"] == module.KEEPS
    monkeypatch.setattr(STAGES[3], "KEEPS", STAGES[0].KEEPS)
    monkeypatch.setattr(STAGES[0], "KEEPS", {"parameter": "1/N", "gradient": "1/N", "optimizer": "1/N"})
    view = opened(written(tmp_path, {"a": ran()}), fragment="#en")
    legend = view.locator("#holdings-legend").inner_text()
    assert "gathered parameters" not in legend and "whole gradient" in legend
    (tmp_path / "explore.html").write_text(explore.page(), encoding="utf-8")
    view = opened(tmp_path / "explore.html")
    shown = view.locator("#stages .number").all_inner_texts()
    assert shown == ["1.875 GB", "31.41 GB", "16.64 GB", "120.0 GB"]


def test_the_planners_policy_covers_what_stages_keep():
    html, keeps = explore.page(), {str(stage): module.KEEPS for stage, module in STAGES.items()}
    assert json.loads(re.search(r"const KEEPS = (.*), LANGUAGE = .*;\n", html)[1]) == keeps
    script = html.partition("<script>")[2].partition("</script>")[0]
    assert script == explore.script() and f"script-src '{page.digest(script)}'" in html
    assert "const KEEPS" in script and script.startswith('"use strict";')


# Reading


def damaged():
    good = dry(MANY)
    yield "two of one number", good | {"shown_ranks": [1023, 1023]}
    yield "no such rank", good | {"shown_ranks": [0, 1024]}
    yield "negative", good | {"shown_ranks": [-1, 0]}
    yield "too few numbers", good | {"shown_ranks": [0]}
    yield "all of them", good | {"shown_ranks": None}
    yield "none at all", good | {"shown_ranks": [], "ranks": []}
    for where, change in (("ranks", []), ("units", [])):
        changed = copy.deepcopy(good)
        changed["recorded_step"][where] = change
        yield f"no {where}", changed
    for name, formula in (("no formula", None), ("no kinds", {})):
        changed = copy.deepcopy(good)
        changed["ranks"][1]["formula"] = formula
        yield name, changed
    changed = copy.deepcopy(good)
    changed["ranks"][1]["formula"]["peak_bytes"]["__proto__"] = 1
    yield "no such kind", changed


def test_a_record_of_few_of_many_ranks_is_read_and_a_wrong_one_refused(tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps(dry(MANY)), encoding="utf-8")
    assert record.read(str(file)) == dry(MANY)
    for name, wrong in damaged():
        file.write_text(json.dumps(wrong), encoding="utf-8")
        with pytest.raises(UsageError, match=r"a\.json: is not a record"):
            record.read(str(file))
            pytest.fail(name)
