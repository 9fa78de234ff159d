"""Several runs on one page, and runs that are large or use what is beyond the stages."""

import json
import re
import runpy
from pathlib import Path

import pytest
from rehearsed import dry, ran

from zero_ref.report import compare, packed, page, thin, vocabulary

pytest_plugins = ["browser"]  # the fixture `opened`

FIGURES = Path(__file__).parent.parent / "docs" / "figures"
STAGES = [f"--ranks 3 --stage {stage}" for stage in range(4)]
GPT = "--ranks 3 --model gpt --layers 3 --width 16 --heads 2 --context 8 --batch-size 6"
EXTRAS = {
    "ring": "--ranks 3 --reduce ring",
    "micro-batches": "--ranks 3 --micro-batches 4",
    "groups": "--ranks 6 --group 2",
    "coded": "--ranks 4 --machine 2 --code-weights 8 --code-gradients 8",
    "second copy": "--ranks 4 --machine 2 --hpz",
    "prefetch": "--ranks 3 --prefetch",
    "overlap": "--ranks 3 --overlap",
    "offload": "--ranks 3 --offload host --stage 1",
    "shards away": "--ranks 3 --offload host --offload-shards",
    "gpt": GPT,
}
DEEP = "--data synthetic --features 16 --hidden " + ",".join(["16"] * 29)  # 30 units


def written(tmp_path, runs, language="en"):
    file = tmp_path / "page.html"
    file.write_text(page.make_page(runs, {}, language), encoding="utf-8")
    return file


def four():
    return {f"runs/stage{stage}.json": ran(line) for stage, line in enumerate(STAGES)}


def judged(runs):
    return compare.weights(runs, lambda record: vocabulary.origin(record) != "dry")


# The badge


def test_only_equal_hashes_of_comparable_runs_are_the_same_weights(opened, tmp_path):
    view = opened(written(tmp_path, four()))
    badge = view.locator("#badge")
    assert badge.inner_text() == "Same weights, bit for bit, in all 4 runs after 2 steps."
    assert view.locator("#runs-table code").first.inner_text().startswith("abcdef01")
    assert badge.get_attribute("class") == "badge same"

    other = four()
    other["runs/stage2.json"]["weights_sha256"] = "1" * 64
    view = opened(written(tmp_path, other))
    said = view.locator("#badge").inner_text()
    assert said.startswith("Not the same weights: ") and "≠ Stage 2." in said
    assert "only roundings hang on these: stage" in said

    unlike = four()
    unlike["runs/stage1.json"]["config"]["lr"] = 0.5
    assert not judged(unlike)["same"]
    view = opened(written(tmp_path, unlike))
    said = view.locator("#badge").inner_text()
    assert "cannot be compared" in said and "lr" in said and "hashes are equal all the same" in said
    assert "same" not in view.locator("#badge").get_attribute("class").split()


def test_what_decides_weights_is_told_from_what_does_not():
    both = {"a": ran(), "b": ran("--ranks 4 --stage 1 --shard-model random --recompute --micro-batches 2")}
    found = judged(both)
    assert found["same"] and found["what"] == []
    names = {option for option, _ in found["how"]}
    assert {"stage", "N", "shard_model", "recompute", "micro_batches"} <= names
    for change in ("seed", "data", "hidden", "dtype", "optimizer", "init", "batch_size", "code_weights"):
        changed = {"a": ran(), "b": ran()}
        changed["b"]["config"][change] = "another"
        found = judged(changed)
        assert not found["same"] and [option for option, _ in found["what"]] == [change]
    longer = {"a": ran(), "b": ran() | {"loss": [2.5, 1.25, 1.0]}}
    assert judged(longer)["what"] == [["steps", ["2", "3"]]]
    older = {"a": ran(), "b": ran()}
    del older["b"]["config"]["hpz"]
    assert judged(older)["same"], "an option that older records lack is as one not given"


def test_a_dry_run_has_no_weights_to_compare(opened, tmp_path):
    view = opened(written(tmp_path, {"a": dry(), "b": dry()}))
    assert view.locator("#badge").inner_text().startswith("No two runs with weights")
    mixed = {"a": ran(), "b": ran(STAGES[0]), "c": dry()}
    said = opened(written(tmp_path, mixed)).locator("#badge").inner_text()
    assert "in all 2 runs" in said and said.endswith("Without weights, being dry runs: Stage 3 · c.")


# Figure 1


def test_the_figure_shows_the_records_numbers(opened, tmp_path):
    runs = four()
    view = opened(written(tmp_path, runs))
    shown = view.locator("#figure-picture").inner_text()
    at_rest = view.locator("#figure-picture .formula-at-rest").all_text_contents()
    assert at_rest == ["16Ψ", "8Ψ + 8Ψ/N", "4Ψ + 12Ψ/N", "16Ψ/N"]
    view.locator("#figure-table summary").click()
    rows = view.locator("#figure-table tbody tr").all()
    first, last = (runs[f"runs/stage{stage}.json"]["ranks"][0]["resting_bytes"] for stage in (0, 3))
    whole, kept = sum(first.values()), sum(last.values())
    said = view.locator("#runs-sentence").inner_text().replace("\u00a0", " ")
    assert said.startswith(f"Stage 3: each rank keeps {kept:,} bytes instead of {whole:,} (33 %)")
    assert said.endswith(" and sends 1.5 × as much as stage 0.")
    for (name, record), ranks in zip(runs.items(), thirds(rows)):
        for row, rank in zip(ranks, record["ranks"]):
            kept = [rank["resting_bytes"][kind] for kind in ("parameter", "gradient", "optimizer")]
            sent = sum(rank["sent_bytes_per_step"].values())
            cells = row.locator("td").all_inner_texts()
            assert f"runs/{cells[0]}" == name and cells[2:] == [f"{n:,}" for n in (*kept, sum(kept), sent)]
            assert f"{sum(kept):,} bytes" in shown and f"{sent:,} bytes" in shown
    assert shown.count("8Ψ(N−1)/N · 1.00×") == 3 and "12Ψ(N−1)/N · 1.50×" in shown, "bytes, as at rest"
    boxes = view.locator("#figure-picture rect[data-kind]")
    assert boxes.count() == 4 * 3 * 3, "stages, ranks and kinds: each keeps something of each"
    wide = boxes.evaluate_all("all => all.map(e => [e.dataset.kind, +e.getAttribute('width')])")
    whole = max(width for _, width in wide)
    for stage, record in enumerate(runs.values()):
        kinds = page.for_page("", record)["against"]["kinds"]
        for kind, width in wide[9 * stage : 9 * stage + 9]:
            now, before = kinds[kind]
            assert width == pytest.approx(whole * now / before, rel=2e-3)


def test_bars_of_the_figure_are_of_parts_with_the_patterns_of_all_pages(opened, tmp_path):
    runs = four()
    view = opened(written(tmp_path, runs))
    parts = view.locator("#figure-picture rect[data-part]").evaluate_all(
        "all => all.map(e => [e.getAttribute('fill'), ...['width', 'x'].map(name => +e.getAttribute(name))])"
    )
    known = [["parameter", "gradient", "optimizer", "gradient", "parameter", "buffer"] for _ in range(4)]
    known[0][4] = "gradient"  # what stage 0 gathers is sums of gradients
    assert [fill for fill, *_ in parts] == [f"url(#{name})" for each in known for name in each]
    letters = view.locator("#figure-picture text.halo").all_text_contents()
    assert letters == ["RS", "AG"] * 4
    scales = []
    for stage, record in enumerate(runs.values()):
        kept = record["ranks"][0]["resting_bytes"]
        sent = record["ranks"][0]["sent_bytes_per_step"]
        nbytes = [kept[name] for name in ("parameter", "gradient", "optimizer")]
        nbytes += [sent[name] for name in ("reduce_scatter", "all_gather", "other")]
        drawn = parts[6 * stage : 6 * stage + 6]
        scales.append([width / each for (_, width, _), each in zip(drawn, nbytes)])
        for bar in (drawn[:3], drawn[3:]):
            ends = [x + width for _, width, x in bar]
            assert [x for *_, x in bar[1:]] == pytest.approx(ends[:-1]), "one part begins where another ends"
    for column in list(zip(*scales))[:5]:  # the last is too little to be seen by its width
        assert column == pytest.approx([column[0]] * 4)
    legend = view.locator("#figure-legend").inner_text()
    assert "RS" in legend and "AG" in legend and "all-gather" in legend


def thirds(rows):
    return [rows[start : start + 3] for start in range(0, len(rows), 3)]


# One cursor


def test_one_phase_for_all_runs_whatever_the_number_of_its_event(opened, tmp_path):
    view = opened(written(tmp_path, four()))

    def phases():
        return view.locator("#timelines figure").evaluate_all("all => all.map(e => e.dataset.phase)")

    def at():
        return view.evaluate("views.map(each => each.position)")

    view.locator("#runs-ribbon").get_by_role("button", name="backward 1").click()
    assert phases() == ["backward 1"] * 4 and len(set(at())) > 1
    ribbon = view.locator("#runs-ribbon")
    ribbon.get_by_role("button", name="reduce 1").click()  # of stages 0 and 1 alone
    assert phases()[:2] == ["reduce 1"] * 2 and "AG" not in ribbon.inner_text(), "calls are of one run"
    picture = view.locator("#timelines svg[role=slider]")
    picture.nth(0).focus()
    view.keyboard.press("Home")
    assert at() == [0] * 4
    seen = set()
    for _ in range(view.evaluate("views[0].rank.events.length")):
        view.locator("#timelines svg[role=slider]").nth(0).press("ArrowRight")
        now = phases()
        seen.add(now[0])
        if now[0].startswith("reduce"):  # stages 2 and 3 have reduced by then
            assert now[1] == now[0] and now[2:] == ["backward 0"] * 2
            behind = (
                "views.slice(2).every(({ phases, position }) => phaseAt(phases, position).to === position)"
            )
            assert view.evaluate(behind)
        else:
            assert len(set(now)) == 1, now
    assert {"forward 0", "forward 1", "loss", "backward 0", "reduce 0", "norm", "update 1"} <= seen
    assert at() == view.evaluate("views.map(each => each.rank.events.length)")
    view.keyboard.press("Home")
    view.evaluate("document.activeElement.blur()")
    for top, phase in ((0, ""), (10**6, ""), (None, "forward 0")):  # the keys move what can be seen
        view.evaluate(f"scrollTo(0, {top})" if top is not None else "find('timelines').scrollIntoView()")
        view.keyboard.press("ArrowRight")
        assert phases() == [phase] * 4


def test_four_timelines_and_their_phases_stand_on_one_screen_of_a_phone(opened, tmp_path):
    view = opened(written(tmp_path, four()), width=390, height=844, fragment="#en")
    boxes = [view.locator("#timelines figure").nth(i).bounding_box() for i in range(4)]
    ribbon = view.locator("#runs-ribbon").bounding_box()
    assert boxes[-1]["y"] + boxes[-1]["height"] - boxes[0]["y"] + ribbon["height"] < 844
    view.locator("#timelines figure").last.scroll_into_view_if_needed()
    assert view.locator("#runs-ribbon").bounding_box()["y"] == 0, "it stays in sight"
    view.locator("#runs-ribbon").get_by_role("button", name="backward 1").click()
    told = view.locator("#timelines .readout").all_inner_texts()
    assert all(re.fullmatch(r"backward 1 · [\d,]+ bytes alive", each) for each in told), told


def test_runs_of_other_models_and_micro_batches_follow_as_far_as_they_can(opened, tmp_path):
    view = opened(
        written(
            tmp_path, {"a": ran("--ranks 3 --micro-batches 4"), "b": ran(GPT), "c": dry(f"--ranks 8 {DEEP}")}
        )
    )
    for _ in range(view.evaluate("leader.phases.length")):
        view.keyboard.press("ArrowRight")
        names = view.locator("#timelines figure").evaluate_all(
            "all => all.map(e => e.dataset.phase.split(' ')[0])"
        )
        assert len(set(names)) == 1


# What the code changes


def test_what_changes_in_the_code_is_folded_and_right(opened, tmp_path):
    runs = four()
    view = opened(written(tmp_path, runs))
    changes = view.locator("#code-changes details")
    assert changes.count() == 3
    sources = [record["recorded_step"]["source"].splitlines() for record in runs.values()]
    for number in range(3):
        change = changes.nth(number)
        assert not change.locator(".change").is_visible()
        change.locator("summary").click()
        gone, come = (change.locator(f".{name}").all_text_contents() for name in ("minus", "plus"))
        assert gone and all(line[0] == "-" and line[1:] in sources[number] for line in gone)
        assert come and all(line[0] == "+" and line[1:] in sources[number + 1] for line in come)
        said = change.locator("summary").inner_text()
        changed = f"{len(gone)} lines removed, {len(come)} added"
        assert said == f"Stage {number} → Stage {number + 1}: {changed}"
    rows = compare.rows("'''words'''\na = 1\nb = 2\n", "'''other words'''\na = 1\nb = 3\n")
    assert rows == [[" ", "a = 1"], ["-", "b = 2"], ["+", "b = 3"]]
    assert compare.rows("(", ")") == [["-", "("], ["+", ")"]]
    twice = opened(written(tmp_path, {"a": ran(), "b": ran("--ranks 4")}))
    assert "the same file" in twice.locator("#code-changes").inner_text()


# Any mixture


def test_many_runs_of_one_stage_are_told_apart(opened, tmp_path):
    lines = [f"--ranks {ranks}" for ranks in (2, 3, 4)] + list(EXTRAS.values())[:4]
    runs = {f"runs/{number} of them.json": ran(line) for number, line in enumerate(lines)}
    runs["others/large.json"] = dry("--ranks 1024 --data synthetic --features 512 --hidden 512,512")
    for width, language in ((1280, "en"), (390, "zh")):
        view = opened(written(tmp_path, runs, language), width=width)
        assert view.evaluate("document.documentElement.scrollWidth") <= width
        headings = view.locator("#timelines h3").all_inner_texts()
        assert len(set(headings)) == len(runs) == 8
        assert all(
            name.split("/")[1].removesuffix(".json") in heading for name, heading in zip(runs, headings)
        )
        shown = view.locator("main").inner_text()
        assert not re.search("NaN|undefined|Infinity", shown)
        look = "all => all.map(e => e.getAttribute('class') + e.getAttribute('d'))"
        marks = view.locator("#scatter-picture path.mark").evaluate_all(look)
        assert len(set(marks)) == len(runs), "a mark for each"
        assert view.locator("#figure-picture .dry-badge").count() == 1
        assert view.locator("#timelines .dry").count() == 1


def test_the_scatter_puts_what_holds_and_sends_more_further_out(opened, tmp_path):
    runs = four()
    view = opened(written(tmp_path, runs))
    places = view.locator("#scatter-picture path.mark").evaluate_all(
        "all => all.map(e => e.getAttribute('transform').match(/[\\d.]+/g).map(Number))"
    )
    assert len(places) == 4, "a mark for each run, and none beside its name"
    peaks = [max(rank["peak_total_bytes"] for rank in record["ranks"]) for record in runs.values()]
    sent = [
        max(sum(rank["sent_bytes_per_step"].values()) for rank in record["ranks"]) for record in runs.values()
    ]
    by = lambda values: sorted(range(4), key=values.__getitem__)  # noqa: E731
    assert by([y for _, y in places]) == by(peaks)[::-1]
    xs = [x for x, _ in places]
    assert xs[0] == xs[1] == xs[2] < xs[3] and sent[0] == sent[1] == sent[2] < sent[3]
    for x, bytes_sent in zip(xs, sent):
        assert (x - 70) / (xs[3] - 70) == pytest.approx(bytes_sent / sent[3], rel=1e-3)


def test_equal_curves_are_one_and_each_run_has_its_own_beside(opened, tmp_path):
    runs = four()
    runs["runs/stage3.json"]["loss"] = [2.5, 1.5]
    view = opened(written(tmp_path, runs))
    assert view.locator("#loss-picture path.curve").count() == 2
    assert view.locator("#losses path.curve").count() == 4
    legend = view.locator("#loss-legend li").all_inner_texts()
    assert "Stage 0, Stage 1, Stage 2: one curve" in legend[0] and len(legend) == 2
    last = "all => all.map(e => e.querySelector('.curve').getAttribute('d').split(' ').at(-1))"
    ends = view.locator("#losses svg").evaluate_all(last)
    assert ends[0] == ends[1] == ends[2] != ends[3], "on one scale"


# Large ones


@pytest.mark.parametrize("line, every", [(f"--ranks 8 {DEEP}", True), ("--ranks 1024 " + DEEP, False)])
def test_no_piece_of_a_large_run_is_too_narrow_to_see(line, every, opened, tmp_path):
    record = ran(line) if every else dry(line)
    for width in (1280, 390):
        view = opened(written(tmp_path, {"a": record}), width=width)
        for place in range(0, view.evaluate("view.rank.events.length"), 97):
            view.evaluate(f"choose({place})")
            narrow = view.evaluate(
                "[...document.querySelectorAll('#holdings-picture rect, #scene-picture rect')]"
                ".filter(e => +e.getAttribute('width') < 2.9).length"
            )
            assert narrow == 0
        bars = view.locator("#holdings-picture rect[fill='url(#parameter)']")
        assert bars.count() == len(view.evaluate("view.ranks")), "one bar a rank"
        assert "one bar for the whole model" in view.locator("#holdings-caption").inner_text()
        assert view.evaluate("document.documentElement.scrollWidth") <= width
    assert (tmp_path / "page.html").stat().st_size < 400_000


def test_dense_events_have_an_envelope_and_the_peak_can_be_pointed_at(opened, tmp_path):
    view = opened(written(tmp_path, {"a": dry("--ranks 1024 " + DEEP)}), width=390, fragment="#en")
    picture = view.locator("#memory-picture svg")
    assert view.evaluate("view.rank.live.length") > picture.bounding_box()["width"]
    assert "each column is at its highest" in view.locator("#memory-caption").inner_text()
    stack = view.locator("#memory-picture path[data-kind=parameter]").get_attribute("d")
    assert 40 < stack.count("H") / 2 < 80, "columns"
    tops = view.evaluate(
        "columnsOf(view.rank, at => at * 300 / view.rank.live.length).map(([, at]) => view.rank.total[at])"
    )
    assert max(tops) == view.evaluate("view.rank.peak")
    mark = view.locator("#memory-picture circle.dot").first.bounding_box()
    view.mouse.move(mark["x"] + mark["width"] / 2 + 2, mark["y"] + 5)
    assert view.evaluate("view.position === view.rank.peakAt")
    assert view.locator("#now-words").inner_text().endswith("This is the peak.")


def test_pieces_of_ranks_that_are_not_drawn_are_named(opened, tmp_path):
    view = opened(written(tmp_path, {"a": dry("--ranks 1024 " + DEEP)}), fragment="#en")
    view.evaluate("choose(view.rank.peakAt)")
    said = view.locator("#scene-picture").inner_text()
    assert "P of 1,022 other ranks" in said and "G of 1,022 other ranks" in said
    looks = view.locator("#scene-picture rect.others").evaluate_all(
        "all => all.map(e => e.getAttribute('fill'))"
    )
    assert set(looks) == {"url(#gathered)", "url(#full_gradient)"}


def test_a_unit_of_many_can_be_gone_to(opened, tmp_path):
    few = opened(written(tmp_path, {"a": ran()}))
    assert not few.locator("#unit").is_visible(), "each has a button"
    view = opened(written(tmp_path, {"a": dry("--ranks 1024 " + DEEP)}), fragment="#en")
    units = view.evaluate("view.units.map(({ name }, unit) => `${unit} · ${name}`)")
    assert view.locator("#unit option").all_inner_texts() == ["–", *units] and len(units) > 20
    view.locator("#unit").select_option("7")
    assert "layers.7" in view.locator("#now-words").inner_text()
    assert view.evaluate("phaseAt(view.phases, view.position).name") == "forward"
    assert "7 · layers.7" in view.locator("#ribbon").inner_text()
    view.locator("#ribbon button").nth(2).click()  # backward
    view.locator("#unit").select_option("3")
    phase = view.evaluate("phaseAt(view.phases, view.position)")
    assert (phase["name"], phase["unit"]) == ("backward", 3)
    assert view.locator("#unit").input_value() == "3"


def test_the_units_of_the_rank_that_is_looked_at_show_what_is_whole(opened, tmp_path):
    view = opened(written(tmp_path, {"a": ran(f"--ranks 8 {DEEP}")}))
    for call in ("forward", "backward"):
        view.evaluate(f"choose(2 + view.rank.events.findIndex(([, what, name]) => name === '{call}'))")
        visiting = view.evaluate("view.rank.visiting(view.position)")
        for kind in ("gathered", "full_gradient"):
            whole = [unit for unit, nbytes in visiting[kind].items() if nbytes > 0]
            drawn = view.locator(f"#holdings-picture rect[height='13'][fill='url(#{kind})']")
            assert drawn.count() == len(whole) <= 1
    assert view.locator("#holdings-picture .busy").count() == 1
    assert "layers.29" in view.locator("#holdings-picture").inner_text()


def test_a_packed_event_counts_units_from_its_own():
    short, rows = packed.packed(
        [[[1.0, "born", "gathered", 3, 8, 25, 0], [2.5, "born", "gathered", 4, 8, 25, 0]]]
    )
    assert (short, rows) == ([[[1.0, 3, 0], [2.5, 4, 0]]], [["born", "gathered", 0, 8, 25, 0]])
    changes = [["gathered", 7, 8], ["buffer", None, 2]]
    merged = [[5.0, "several", "", None, changes, 3, 0, 4, [["forward", 9]]]]
    assert packed.packed([merged]) == (
        [[[5.0, 7, 0]]],
        [["several", "", None, [["gathered", 0, 8], ["buffer", None, 2]], 3, 0, 4, [["forward", 2]]]],
    )
    record = dry(f"--ranks 1024 {DEEP}")
    many = [rank["events"] for rank in record["recorded_step"]["ranks"]]
    short, rows = packed.packed(many)
    assert len(rows) < len(many[0]) / 4 and [len(each) for each in short] == [len(each) for each in many]
    ranks = page.step_for_page(ran("--ranks 3 --shard-model weights=3,2,1")["recorded_step"], [0, 1, 2])[
        "ranks"
    ]
    assert all(isinstance(rank["events"], list) for rank in ranks), "the bytes differ"
    alike = page.step_for_page(ran("--ranks 2 --hidden 8 --stage 0")["recorded_step"], [0, 1])["ranks"]
    assert alike[1]["events"] == 0


def test_events_are_the_same_after_being_packed(opened, tmp_path):
    record = dry(f"--ranks 1024 {DEEP}")
    for each in (record, ran("--ranks 3 --micro-batches 4"), ran(GPT)):
        view = opened(written(tmp_path, {"a": each}))
        most = page.MOST_EVENTS // len(each["recorded_step"]["ranks"])
        for row, rank in enumerate(each["recorded_step"]["ranks"]):
            wanted = json.loads(json.dumps(thin.thinned_events(rank, most)))
            assert view.evaluate(f"view.ranks[{row}].events") == wanted


# What is beyond the stages


@pytest.mark.parametrize("name", EXTRAS)
def test_every_extra_can_be_played_from_phase_to_phase(name, opened, tmp_path):
    record = ran(EXTRAS[name])
    view = opened(written(tmp_path, {"a": record}))
    calls = {event[2] for event in record["recorded_step"]["ranks"][0]["events"] if event[1] == "begin"}
    seen, travelled = set(), set()
    for language in ("English", "中文"):
        view.get_by_role("button", name=language).click()
        assert not re.search("NaN|undefined", view.locator("#theatre").inner_text())
    while view.evaluate("view.position < view.rank.events.length"):
        view.evaluate("choose(view.rank.nextBegin(view.position))")
        act = view.evaluate("actOf(view)")
        shown = view.locator("#theatre").inner_text()
        assert not re.search(r"NaN|undefined|\((begin|end)\)", shown), shown
        seen.add(act["name"])
        if view.locator("#scene-picture .token").count():
            travelled.add(act["name"])
    assert calls <= seen | {None}
    assert travelled == calls - {"forward", "backward", "update"}


def test_what_lies_outside_the_device_is_kept_all_the_same():
    for name in ("offload", "shards away"):
        record = ran(EXTRAS[name])
        plain = ran(re.sub(" --offload.*?(?= --stage|$)", "", EXTRAS[name]))
        here, there = (page.for_page("", each)["against"] for each in (record, plain))
        assert here["away"] == record["ranks"][0]["away_bytes"]["host"] > 0 == there["away"]
        assert {**here, "away": 0} == there, "as much of each kind as without --offload"


def test_what_is_started_ahead_is_under_way_until_it_is_waited_for(opened, tmp_path):
    view = opened(written(tmp_path, {"a": ran("--ranks 3")}))
    lane = [["start_all_gather", 0, 1, 2, 1], ["forward", 3, 2, 5, 2], ["finish_all_gather", 0, 5, 7, 5]]
    lane += [
        ["all_gather", 1, 8, 9, 8],
        ["start_second_copy", 2, 9, 10, 9],
        ["await_second_copy", 2, 12, 13, 12],
    ]
    assert view.evaluate(f"underWay({json.dumps(lane)})") == [[0, 1, 7], [2, 9, 13]]


def test_what_goes_between_groups_looks_otherwise_in_the_lanes(opened, tmp_path):
    view = opened(written(tmp_path, {"a": ran(EXTRAS["groups"])}))
    looks = "['forward', 'all_gather', 'reduce_inside', 'reduce_between', 'sum_between_groups'].map(lookOf)"
    between = "spent-between"
    assert view.evaluate(looks) == ["spent-forward", "spent-inside", "spent-inside", between, between]


def test_what_lies_outside_the_device_stands_on_a_shelf(opened, tmp_path):
    for name, kinds in (("offload", 1), ("shards away", 3)):
        record = ran(EXTRAS[name])
        view = opened(written(tmp_path, {"a": record}))
        away = record["ranks"][0]["away_bytes"]["host"]
        kept = sum(record["ranks"][0]["resting_bytes"].values()) + away
        said = view.locator("#sentence").inner_text()
        assert f"keeps {kept:,} bytes (" in said and "in host memory" in said
        assert ("(all of them" if kept == away else f"({away:,} bytes of them") in said
        assert view.locator("#scene-picture .plank").count() == 3 * kinds
        assert "a shelf outside the device" in view.locator("#scene-notes").inner_text()
    view = opened(written(tmp_path, {"a": ran()}))
    assert view.locator("#scene-picture .plank").count() == 0


def test_the_first_scene_shows_that_every_unit_is_dealt(opened, tmp_path):
    record = ran()
    view = opened(written(tmp_path, {"a": record}))
    units = record["recorded_step"]["units"]
    shards = view.locator("#scene-picture rect[fill='url(#parameter)']").evaluate_all(
        "all => all.map(e => ['x', 'width'].map(name => +e.getAttribute(name)))"
    )
    assert len(shards) == 3 * len(units), "of each rank a shard of each unit"
    left, last = shards[0][0], shards[-1][0] + shards[-1][1]
    scale = (last - left) / sum(sum(unit["counts"]) for unit in units)
    first = 0
    for number, unit in enumerate(units):
        for rank, count in enumerate(unit["counts"]):
            x, width = shards[rank * len(units) + number]
            assert x == pytest.approx(left + scale * first, abs=2)
            assert width == pytest.approx(max(1.5, scale * count), abs=0.1)
            first += count


def test_codes_say_of_how_many_bits_they_are(opened, tmp_path):
    view = opened(written(tmp_path, {"a": ran(EXTRAS["coded"])}))
    view.locator("#ribbon button").nth(1).click()
    assert view.locator("#scene-picture .coded").count() == 4 * 3
    assert "sends 8-bit" in view.locator("#scene-picture").inner_text()
    plain = opened(written(tmp_path, {"a": ran("--ranks 4")}))
    plain.locator("#ribbon button").nth(1).click()
    assert (
        plain.locator("#scene-picture .token").count() == 12
        and plain.locator("#scene-picture .coded").count() == 0
    )


def test_a_ring_hops_and_groups_send_inside_and_between(opened, tmp_path):
    view = opened(written(tmp_path, {"a": ran(EXTRAS["ring"])}))
    view.locator("#ribbon button").nth(1).click()
    routes = "routesOf(view, view.ranks, actOf(view).name).map(({ from, to }) => [from, to])"
    assert view.evaluate(routes) == [[0, 1], [1, 2], [2, 0]]
    pieces = "[...document.querySelectorAll('#scene-picture .token text')].map(e => +e.textContent)"
    hops = []
    for progress in (0.1, 0.9):
        draw = "stop(); const [scene, move] = drawScene(view, 800, 8); put('scene-picture', scene);"
        view.evaluate(f"(() => {{ {draw} move({progress}); }})()")
        hops.append(view.evaluate(pieces))
    assert hops == [[0, 1, 2], [2, 0, 1]], "in the second hop each passes on what it got in the first"

    view = opened(written(tmp_path, {"a": ran(EXTRAS["groups"])}))
    seen = {}
    while view.evaluate("view.position < view.rank.events.length"):
        view.evaluate("choose(view.rank.nextCall(view.position, 1))")
        name = view.evaluate("actOf(view).name")
        seen[name] = view.evaluate(routes)
    inside = [[0, 1], [1, 0], [2, 3], [3, 2], [4, 5], [5, 4]]
    assert seen["all_gather"] == seen["reduce_scatter"] == inside
    assert (
        all(a % 2 == b % 2 for a, b in seen["sum_between_groups"]) and len(seen["sum_between_groups"]) == 12
    )


def test_a_dry_run_says_so_on_the_scene(opened, tmp_path):
    for language, said in (("en", "dry run"), ("zh", "空跑")):
        view = opened(written(tmp_path, {"a": dry()}, language))
        for _ in range(5):
            view.keyboard.press("ArrowRight")
            assert view.locator("#scene-picture .dry-badge").count() == 1
            assert said in view.locator("#scene-picture").inner_text()
            assert said in view.locator("#scene-picture svg").get_attribute("aria-label")
    assert opened(written(tmp_path, {"a": ran()})).locator(".dry-badge").count() == 0


# The page in docs/


@pytest.mark.rest("a run of the command")
def test_the_page_of_many_ranks_is_made_by_a_script_and_names_no_folder(tmp_path):
    large = runpy.run_path(str(FIGURES / "large.py"))
    shape = "--model gpt --layers 2 --width 16 --heads 2 --context 32"
    how = "--stage 3 --recompute --batch-size 5 --test-fraction 0"
    large["main"].__globals__.update(RANKS=5, CONTEXT=32, SHAPE=shape, HOW=how)
    large["main"](str(tmp_path))
    (made,) = tmp_path.iterdir()
    text = made.read_text(encoding="utf-8")
    assert "<title>ZeRO stage 3, N = 5, dry run</title>" in text and '"data":"novel.txt"' in text
    assert "/tmp" not in text and str(tmp_path) not in text


def test_the_page_of_1024_ranks_is_as_new_as_the_script():
    """If not: python docs/figures/large.py docs/figures"""
    made = (FIGURES / "gpt3.html").read_text(encoding="utf-8")
    style, script = page.style_and_script(several=False, computed=False)
    assert f"<style>{style}</style>" in made and made.endswith(
        f"<script>{script}</script>\n</body>\n</html>\n"
    )
    patterns = re.search(r'<svg id="patterns".*?</svg>', page.template("page.html"), re.DOTALL)
    assert patterns and patterns[0] in made
    data = json.loads(re.search(r'id="data">(.*?)</script>', made, re.DOTALL)[1])
    words = vocabulary.words()
    assert {key: words.get(key) for key in data["words"]} == data["words"]


def test_the_page_of_1024_ranks_is_small_and_says_what_it_is(opened):
    file = FIGURES / "gpt3.html"
    assert file.stat().st_size < 400_000
    view = opened(file, fragment="#en")
    assert view.title() == "ZeRO stage 3 on 1,024 ranks, a dry run"
    assert "173,988,569,088 parameters" in view.locator("#about").inner_text()
    assert (
        "would keep 2.72\u00a0GB instead of 2.78\u00a0TB (0.098\u00a0%)"
        in view.locator("#sentence").inner_text()
    )
    assert "2,718,571,392 =" in view.locator("#ranks-table").inner_text()
    assert view.locator("#scene-picture .dry-badge").count() == 1
    rows = view.locator("#ranks-table tbody tr").all()
    assert [row.locator("td").all_inner_texts()[:2] for row in rows] == [["0", "1"], ["1023", "1"]]
