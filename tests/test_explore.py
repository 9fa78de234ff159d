"""The page with sliders, in a browser: its numbers are the planner's, in two languages, at any width."""

import argparse
import itertools
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from launching import ROOT

from zero_ref.explore import __main__ as explore
from zero_ref.explore import palette
from zero_ref.layout import FlatLayout
from zero_ref.plan import __main__ as options
from zero_ref.plan import answer, sizing, timing
from zero_ref.plan.cells import count, size
from zero_ref.plan.formulas import Leg, bill, passes_of, transformer_parameters
from zero_ref.plan.offload import bill_of_offload
from zero_ref.plan.traffic import to_others
from zero_ref.plan.zeropp import coded_bill
from zero_ref.report.page import digest
from zero_ref.stages import STAGES

pytest_plugins = ["browser"]  # the fixture `opened`

KINDS = ("parameter", "gradient", "optimizer")
SETTINGS = [
    "",
    "k=16",
    "k=4&n=1",
    "psi=1.7226e4&n=3&micro=4&layers=1",
    "psi=1000003&n=7&bits=32&layers=5",
    "psi=1e13&n=1000&bits=64&micro=3",
    "psi=11&n=64",
    "psi=1e11&n=1024&group=16&memory=80&hsdp=1&hpz=1",
    "psi=123456789&n=12&group=4&micro=5&k=8&hsdp=1&hpz=1&ring=1&between=0.5&farther=40",
    "psi=7.5e9&n=6&group=3&bits=32&hsdp=1&latency=12.5",
    "psi=7.5e9&n=6&group=5&bits=32&hsdp=1&hpz=1&ring=1",  # 5 do not divide 6
    "shape=1&psi=1474560000&layers=48&hidden=1600&heads=25",
    "shape=1&psi=1474560000&again=1&micro=2&batch=1000&memory=7.55&layers=48&hidden=1600&heads=25",
    "shape=1&psi=1000003&layers=7&n=5&hidden=96&heads=3&sequence=200&batch=33&bits=32",
    "shape=1&psi=5&layers=12&n=4&batch=1&group=2&hsdp=1&ring=1",
    "cut=tiles&tiles=3&psi=1000003&layers=7&n=5&flops=0.125",
    "shape=1&vocab=50257&positions=1024&layers=12&hidden=768&heads=12&n=5",
    "shape=1&vocab=997&untied=1&again=1&layers=3&hidden=64&heads=4&n=6&group=3&hsdp=1&hpz=1&micro=2&bits=32&batch=33",
    "shape=1&vocab=3&layers=1&hidden=2&heads=1&n=4&sequence=5&batch=2&again=1",
    "vocab=50257&positions=1024&layers=12&hidden=768&psi=1000003&n=5",  # of no shape
]
# Choices of which the planner's command knows nothing, but its formulas do.
BEYOND = [
    "weights=8&n=12&group=4&psi=1000003&layers=5&hpz=1",
    "weights=fp8&gradients=4&n=12&group=4&psi=1000003&layers=5&hpz=1&micro=3",
    "gradients=8&n=7&psi=123457&layers=3&bits=32",
    "gradients=fp8&n=9&group=3&psi=98765&layers=2&ring=1&micro=2",
    "offload=host&psi=7.5e9&n=6",
    "offload=disk&shards=1&psi=123456789&n=7&layers=4&micro=3&shape=1&batch=50",
    "offload=host&shards=1&shape=1&psi=1000003&layers=7&n=5&hidden=96&heads=3&sequence=20&batch=33&bits=32",
    "offload=host&psi=5000011&n=3&layers=1&k=16",
    "cut=tiles&tiles=3&shape=1&psi=1000003&layers=7&n=5&hidden=96&heads=3&batch=33",
    "cut=buckets&bucket=300000&psi=1000003&layers=7&n=5&shape=1&batch=33",
    "cut=buckets&bucket=1e14&psi=1000003&layers=7&n=5&weights=8&gradients=8",
    "cut=buckets&bucket=1&psi=1000003&layers=7&n=5&offload=host",
    "cut=tiles&tiles=5&weights=8&gradients=4&offload=disk&n=6&group=2&hpz=1&psi=1e9&layers=3",
    "cut=tiles&tiles=3&shape=1&vocab=997&positions=50&layers=4&hidden=32&heads=2&n=5&batch=33",
    "cut=buckets&bucket=110000&shape=1&vocab=997&untied=1&layers=4&hidden=64&heads=2&n=5&weights=8",
    "offload=host&shape=1&vocab=50257&layers=2&hidden=64&heads=4&n=3",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "explore.html"
    explore.main([str(file)])
    return file


def numbers(window, table):
    """The numbers of a table by row, exact."""
    return window.locator(f"#{table}").evaluate(
        "t => [...t.tBodies[0].rows].map(r => [...r.querySelectorAll('data')].map(d => Number(d.value)))"
    )


def planned(line):
    o = options.parse(line.replace("\\\n", " ").removeprefix("python -m zero_ref.plan ").split())
    return o, (answer.plan_for_transformer if o.model else answer.plan_for_size)(o)


def given(setting):
    return dict(each.split("=") for each in setting.split("&") if each)


def shown_rows(made, setting):
    """Those of the planner's rows that the page shows: the others when it is asked for them."""
    asked = {"groups": "hsdp=1" in setting, "hpZ": "hpz=1" in setting}
    return [row for row in made.rows if asked.get(row.name.split()[-1], True)]


def spent(rows, o, ring):
    machine = answer.machine_of(o)
    found = []
    for row in rows:
        t = sizing.times(row, machine, o.ranks, o.group, ring)
        bandwidths = [t.bandwidth - t.between, t.between]
        found.append(pytest.approx([t.compute, *bandwidths, t.latency, t.total], rel=1e-12, abs=1e-15))
    return found


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_number_is_the_planners(setting, page, opened):
    window = opened(page, fragment=f"#{setting}&lang=en")
    o, made = planned(window.locator("#command").inner_text())
    said = given(setting)
    names = {"psi": "parameters", "n": "ranks", "micro": "micro_batches", "memory": "memory"}
    factors = {"memory": 1e9, "latency": 1e-6, "flops": 1e12, "between": 1e9}
    for name, option in {**names, "latency": "latency", "flops": "flops"}.items():
        if name in said:  # the command is that of the setting
            assert getattr(o, option) == pytest.approx(float(said[name]) * factors.get(name, 1), rel=1e-15)
    machine = int(said.get("group", 16))
    assert o.group == (machine if machine < o.ranks and o.ranks % machine == 0 else None)
    rows = shown_rows(made, setting)
    held = [[row.state[kind] for kind in KINDS] + [row.rest, row.step, row.needed] for row in rows]
    assert numbers(window, "memory-table") == held
    sent = []
    for row in rows:
        by = [
            sum(leg.inside + leg.between for leg in row.legs if leg.collective == name)
            for name in ("reduce_scatter", "all_gather")
        ]
        machine = list(to_others(row.legs, o.group)) if o.group else []
        sent.append(by + ([row.inside, row.between] if o.group else []) + [row.sent] + machine)
    assert numbers(window, "sent-table") == sent
    assert numbers(window, "time-table") == spent(rows, o, "ring=1" in setting)
    cards = window.locator("#stages label")
    for stage, row in enumerate(made.rows[:4]):
        card = cards.nth(stage)
        assert size(row.needed) == card.locator(".number").inner_text()
        fits = "✓ fits" if row.needed <= o.memory else "✗ does not fit"
        assert card.locator(".state").inner_text() == fits
        largest = sizing.most_parameters(stage, o.memory, o.ranks, made.setting.itemsize, made.setting.k)
        assert card.locator(".most").inner_text() == f"largest Ψ: {count(largest)}"
    chart = window.locator("#memory-chart svg").text_content()
    assert all(size(row.needed) in chart for row in rows)
    over = {int(row.pop(0)): row for row in over_numbers(window)}  # the same on other numbers of ranks
    assert o.ranks in over and len(over) > 10
    for ranks, values in over.items():
        there = argparse.Namespace(**{**vars(o), "ranks": ranks, "group": None})
        other = (answer.plan_for_transformer if o.model else answer.plan_for_size)(there).rows
        assert values[:4] == [row.needed for row in other[:4]]


def over_numbers(window):
    """The table over N: N, and then what each row needs, where it is shown."""
    return window.locator("#over-table").evaluate(
        """t => [...t.tBodies[0].rows].map(r => [r.cells[0].textContent.replaceAll(",", ""),
        ...[...r.querySelectorAll("data")].map(d => Number(d.value))])"""
    )


# Choices of which the planner's command knows nothing: the bills of its formulas, for the same units


def elements_of_units(said):
    """What the units have: as even as can be, in tiles, or neighbours in buckets."""
    psi, layers, first = int(float(said.get("psi", 7.5e9))), int(said.get("layers", 36)), []
    if "vocab" in said:  # embeddings, positions, the last norm and the head are one unit more
        shape = (int(said["hidden"]), int(said["vocab"]), int(said.get("positions", 0)), "untied" not in said)
        psi = transformer_parameters(layers, *shape) - transformer_parameters(0, *shape)
        first = [transformer_parameters(0, *shape)]
    number = layers * int(said.get("tiles", 4)) if said.get("cut") == "tiles" else layers
    units = first + [psi // number + (i < psi % number) for i in range(number)]
    if said.get("cut") != "buckets":
        return units
    merged = units[:1]
    for n in units[1:]:
        if merged[-1] + n <= float(said["bucket"]):
            merged[-1] += n
        else:
            merged.append(n)
    return merged


def billed(said, stage, copies=False):
    """(bill, calls of each collective, padded sizes of the units) of rank 0 with the choices of a setting."""
    n, k, e = int(said.get("n", 64)), int(said.get("micro", 1)), int(said.get("bits", 16)) // 8
    state = int(said.get("k", 12)) if e == 2 else 2 * e
    keeps, group = STAGES[stage].KEEPS, int(said.get("group", 16))
    machine = group if group < n and n % group == 0 else None
    layouts = [FlatLayout("u", {"w": (each,)}, n) for each in elements_of_units(said)]
    plain = bill(keeps, layouts, 0, e, state, k)
    weights = f"{said['weights']}/256" if "weights" in said and keeps["parameter"] == "1/N" else None
    gradients = f"{said['gradients']}/256" if "gradients" in said else None
    coded = coded_bill(plain, keeps, layouts, 0, e, k, machine, weights, gradients, copies)
    if copies:  # they are kept, and what a step holds beside them is not asked here
        more = coded.peak_bytes["parameter"] - plain.peak_bytes["parameter"]
        coded.resting_bytes["parameter"] += more
    if "offload" in said:
        shards = "shards" in said and keeps["parameter"] == "1/N"
        coded = bill_of_offload(
            coded, keeps, layouts, 0, said["offload"], 1 << 20,
            state_bytes=state, itemsize=e, micro_batches=k, shards=shards,
        )  # fmt: skip
        coded.resting_bytes["parameter"] += more if copies and shards else 0
    return coded, passes_of(keeps, k), [each.padded for each in layouts]


def legs_billed(said, found, calls, n, machine):
    """The legs of a row without hpZ: bytes of the bill, and who takes part."""
    near, sent, between = machine or n, found.sent_bytes_per_step, found.between_bytes_per_step
    inside = {name: sent[name] - between[name] for name in sent}
    gather = Leg("all_gather", calls["all_gather"], n, inside["all_gather"], between["all_gather"])
    reduce = Leg(
        "reduce_scatter", calls["reduce_scatter"], n, inside["reduce_scatter"], between["reduce_scatter"]
    )
    if "gradients" in said:
        near_leg = replace(reduce, ranks=near, between=0)
        return [gather, near_leg, replace(reduce, ranks=n // near, inside=0)]
    return [gather, reduce]


@pytest.mark.parametrize("setting", BEYOND)
def test_choices_beyond_the_command_are_the_bills(setting, page, opened):
    window = opened(page, fragment=f"#{setting}&lang=en")
    said, memory, sent = given(setting), numbers(window, "memory-table"), numbers(window, "sent-table")
    o, made = planned(window.locator("#command").inner_text())
    machine, seconds = answer.machine_of(o), numbers(window, "time-table")
    assert len(memory) == 4 + ("hpz" in said and o.group is not None)
    for row, stage in enumerate([0, 1, 2, 3, 3][: len(memory)]):
        found, calls, sizes = billed(said, stage, copies=row == 4)
        assert memory[row][:3] == [found.resting_bytes[kind] for kind in KINDS]
        whole = (1 + (stage == 3)) * made.setting.itemsize * max(sizes) if "shape" in said else 0
        step = made.setting.activation + whole
        step = max(step, found.peak_bytes["optimizer"]) if "offload" in said else step
        rest = sum(found.resting_bytes.values())
        assert memory[row][3:6] == [rest, step, rest + step]
        if "offload" in said:
            moved = sum(found.moved_bytes_per_step.values())
            assert memory[row][6:8] == [found.away_bytes[said["offload"]], moved]
        by = [found.sent_bytes_per_step[name] for name in ("reduce_scatter", "all_gather")]
        assert sent[row][:2] == by
        if o.group:
            across = found.between_bytes_per_step
            assert sent[row][3] == across["reduce_scatter"] + across["all_gather"]
            assert sent[row][2] == sum(by) - sent[row][3]
        if row < 4:
            legs = legs_billed(said, found, calls, o.ranks, o.group)
            spent = timing.by_link(legs, len(sizes), machine, o.group or o.ranks)
            expected = [made.rows[0].work.flop / machine.flops, *spent]
            if "offload" in said:
                expected.append(sum(found.moved_bytes_per_step.values()) / 16e9)
            assert seconds[row] == pytest.approx([*expected, sum(expected)], rel=1e-12)
    options_said = window.locator("#beyond").inner_text()
    for name, option in (
        ("weights", "--code-weights"),
        ("gradients", "--code-gradients"),
        ("offload", "--offload"),
    ):
        assert (option in options_said) == (name in said)


@pytest.mark.parametrize(
    "setting",
    [
        *("", "memory=20&layers=1", "psi=97&layers=5&memory=0.000001&bits=64", "psi=11&memory=0.000001"),
        "psi=123457&layers=3&memory=0.001&shape=1&hidden=8&heads=1&sequence=7&batch=100",
        "psi=1e7&memory=0.02&layers=7&hsdp=1&hpz=1&group=6",
        "psi=3e7&memory=0.05&layers=3&offload=host&hsdp=1&hpz=1&group=3",
        "psi=1e7&memory=0.005&offload=disk&shards=1&layers=9&cut=tiles",
        "shape=1&vocab=997&layers=3&hidden=32&heads=2&sequence=20&batch=33&memory=0.01",
    ],
)
def test_it_fits_from_the_first_number_of_ranks_that_does(setting, page, opened):
    """All up to 800 are tried."""
    window = opened(page, fragment=f"#{setting}&lang=en")
    tried = window.evaluate(
        """() => { const found = {};
        for (let n = 1; n <= 800; n++) for (const r of plan(s, n).rows) if (r.fits) found[r.name] ??= n;
        return found }"""
    )
    found = window.evaluate(
        """() => Object.fromEntries(plan(s, 2 * s.group).rows.concat(plan(s, 1).rows)
        .map(r => [r.name, fitsFrom(s, r.name)]))"""
    )
    assert tried, "some fit"
    for name, ranks in found.items():
        assert ranks == tried.get(name) or (name not in tried and (ranks is None or ranks > 800))
    card = window.locator("#stages .from").nth(3).inner_text()
    assert card == (f"fits from N = {found['3']:,}" if found["3"] else "fits at no N")


def test_models_known_by_name_have_the_parameters_of_their_shapes(page, opened):
    models = opened(page).evaluate("MODELS")

    def llama(layers, hidden, inner, keys, vocab):
        """Grouped keys and values, SwiGLU, two norms a block, and an output matrix of its own."""
        block = 2 * hidden**2 + 2 * hidden * keys + 3 * hidden * inner + 2 * hidden
        return layers * block + 2 * vocab * hidden + hidden

    counted = {
        "GPT-2 124M": transformer_parameters(12, 768, 50257, 1024),
        "GPT-2 XL 1.5B": transformer_parameters(48, 1600, 50257, 1024),
        "GPT-3 175B": transformer_parameters(96, 12288, 50257, 2048),
        "Llama 2 7B": llama(32, 4096, 11008, 4096, 32000),
        "Llama 3 8B": llama(32, 4096, 14336, 1024, 128256),
        "Llama 3 70B": llama(80, 8192, 28672, 1024, 128256),
        "Llama 3 405B": llama(126, 16384, 53248, 1024, 128256),
    }
    assert {name: model["psi"] for name, model in models.items()} == counted
    assert all(model["hidden"] % model["heads"] == 0 for model in models.values())


def test_a_vocabulary_says_how_many_parameters_there_are(page, opened):
    window = opened(page, fragment="#lang=en")
    window.locator("#model").select_option("GPT-2 124M")
    assert window.locator("#psi").input_value() == "124439808" and window.locator("#psi").is_disabled()
    assert "--vocab 50257 --positions 1024" in window.locator("#command").inner_text()
    assert "39,385,344 of them are embeddings" in window.locator("#vocab-hint").inner_text()
    window.locator("#layers").fill("24")
    larger = transformer_parameters(24, 768, 50257, 1024)
    assert window.locator("#psi").input_value() == str(larger)
    window.locator("#untied").check()
    assert window.locator("#psi").input_value() == str(larger + 50257 * 768)
    assert "psi=" not in window.evaluate("location.hash")
    again = opened(page, fragment=window.evaluate("location.hash"))
    assert again.evaluate("plan(s).rows.map(r => r.needed)") == window.evaluate(
        "plan(s).rows.map(r => r.needed)"
    )
    again.locator("#hidden").fill("1000000")
    assert "Nothing is shown while Parameters" in again.locator("#problem").inner_text(), "no exact number"
    again.locator("#hidden").fill("768")
    assert not again.locator("#problem").is_visible()
    again.locator("#vocab").fill("0")
    assert not again.locator("#psi").is_disabled() and again.locator("#positions").is_hidden()


def test_a_model_and_a_device_by_name(page, opened):
    window = opened(page, fragment="#lang=en")
    assert window.locator("#device").input_value() == "V100 32 GB"
    window.locator("#model").select_option("Llama 3 8B")
    window.locator("#device").select_option("H100 80 GB")
    assert window.locator("#psi").input_value() == "8030261248" and window.locator("#shape").is_checked()
    said = window.locator("#command").inner_text().replace("\\\n", " ")
    for part in ("--layers 32 --hidden 4096 --heads 32", "--memory 80GB", "--flops 9.89e14", "--group 8"):
        assert part in re.sub(" +", " ", said)
    again = opened(page, fragment=window.evaluate("location.hash"))
    assert again.locator("#model").input_value() == "Llama 3 8B"
    assert again.locator("#device").input_value() == "H100 80 GB"
    again.locator("#heads").fill("16")
    assert (
        again.locator("#model").input_value() == "" and again.locator("#device").input_value() == "H100 80 GB"
    )


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
    for name in explore.SCRIPTS:
        assert (explore.PAGES / f"{name}.js").read_text(encoding="utf-8") in explore.script("en")
    assert {f"{name}.js" for name in explore.SCRIPTS} == {each.name for each in explore.PAGES.glob("*.js")}
    assert (explore.PAGES / "explore.css").read_text(encoding="utf-8") in explore.style()
    for body in (explore.style(), explore.script("en")):
        assert digest(body) in policy and body in text
        assert digest(body + " ") not in policy
    opened(page)  # and it runs under that policy


def test_a_setting_is_kept_in_the_address(page, opened):
    window = opened(page)
    window.locator("#psi").fill("1.5B")
    window.locator("#n").fill("1000")
    window.locator("#group").select_option("8")
    window.locator("#bits").select_option("32")
    window.locator("#hsdp").check()
    window.locator("#gradients").select_option("4")
    window.locator("#ring").select_option("1")
    window.locator("#latency").fill("2.5")
    window.locator("#stages label").nth(1).click()
    window.locator("#chinese").click()
    fragment = window.evaluate("location.hash")
    assert set(fragment.lstrip("#").split("&")) == {
        "psi=1.5e9",
        "n=1000",
        "group=8",
        "bits=32",
        "hsdp=1",
        "gradients=4",
        "ring=1",
        "latency=2.5",
        "stage=1",
        "lang=zh",
    }
    again = opened(page, fragment=fragment)
    for place in ("#memory-table", "#sent-table", "#time-table", "#formulas", "#command", "#verdict", "h1"):
        assert again.locator(place).inner_text() == window.locator(place).inner_text()
    again.locator("#reset").click()
    assert again.evaluate("location.hash") == "#lang=zh"
    again.evaluate("location.hash = '#n=4'")  # as by the back button
    again.wait_for_function("document.querySelector('#n').value === '4'")


@pytest.mark.parametrize("first, lang, html", [("english", "zh", "zh-CN"), ("chinese", "en", "en")])
def test_the_language_is_switched_as_on_the_reports_pages(first, lang, html, page, opened):
    switches = re.compile(r'<div class="languages".*?</div>', re.DOTALL)
    own, reports = (switches.search(text)[0] for text in (explore.page(), palette.of_report("page.html")))
    assert re.sub(r"\s*\n\s*", "", own) == re.sub(r"\s*\n\s*", "", reports)
    window, other = opened(page, fragment="#n=4"), {"english": "chinese", "chinese": "english"}[first]
    for name in (first, other, other):  # a second press of the same changes nothing
        window.locator(f"#{name}").click()
        assert window.locator('.languages [aria-pressed="true"]').get_attribute("id") == name
        assert window.locator('.languages [aria-pressed="false"]').count() == 1
    assert window.evaluate("document.documentElement.lang") == html
    assert window.evaluate("location.hash") == f"#n=4&lang={lang}"


PANELS = ("machine", "others", "results", "more")
WIDE, PHONE = list(PANELS), ["machine", "results", "others", "more"]
FOCUSED = """() => {
  const e = document.activeElement, shown = e.closest(".cards label") || e, ring = getComputedStyle(shown);
  const b = shown.getBoundingClientRect(), table = e.closest("section")?.querySelector("table");
  return {
    part: e.closest("header, #machine, #others, #results, #more")?.id || e.tagName,
    name: e.id || e.name || e.tagName + (table ? table.id : ""), top: b.top + scrollY,
    seen: b.bottom > 0 && b.top < innerHeight && b.left >= 0 && b.right <= innerWidth,
    ring: ring.outlineStyle !== "none" && parseFloat(ring.outlineWidth) >= 2,
  };
}"""


@pytest.mark.parametrize("width, order", [(1280, WIDE), (390, PHONE)])
def test_tab_goes_as_the_eye_does(width, order, page, opened):
    """Forwards and backwards, and nothing traps; what has the focus is seen, and that it has it."""
    setting = "#shape=1&vocab=50257&hsdp=1&hpz=1&offload=disk&cut=tiles"
    window, reached = opened(page, width=width, height=844, fragment=setting), []
    window.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    while len(reached) < 120:
        window.keyboard.press("Tab")
        now = window.evaluate(FOCUSED)
        if now["name"] == "BODY":
            break
        assert now["seen"] and now["ring"], now
        reached.append(now)
    names = [each["name"] for each in reached]
    assert now["name"] == "BODY", "it ends"
    assert len(names) == len(set(names)) and names[1:4] == ["english", "chinese", "theme"]
    assert [
        part for part, _ in itertools.groupby(each["part"] for each in reached) if part in PANELS
    ] == order
    controls = window.locator("button, select, input:not([type=radio]), summary, .scroll")
    count = controls.evaluate_all("all => all.filter(e => !e.disabled && e.checkVisibility()).length")
    assert len(names) == count + 2, "all of them, the link over them and the chosen card"
    for part in PANELS if width == 390 else PANELS[2:]:  # at the left the panels scroll
        tops = [each["top"] for each in reached if each["part"] == part]
        assert all(b > a - 20 for a, b in itertools.pairwise(tops)), part
    for name in reversed(names):
        window.keyboard.press("Shift+Tab")
        assert window.evaluate(FOCUSED)["name"] == name


def test_the_link_to_the_results_keeps_the_setting(page, opened):
    window = opened(page, fragment="#n=4&lang=en")
    window.keyboard.press("Tab")
    window.keyboard.press("Enter")
    window.keyboard.press("Tab")
    assert window.evaluate("document.activeElement.name") == "stage"
    assert window.evaluate("location.hash") == "#n=4&lang=en" and window.locator("#n").input_value() == "4"
    assert not window.locator("#address-problem").is_visible()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_on_a_phone_a_slider_changes_cards_that_are_seen_with_it(lang, page, opened):
    window = opened(page, width=390, height=844, fragment=f"#lang={lang}")
    cards, controls = window.locator("#stages label"), ("#device", "#n-range", "#memory-range", "#group")
    for place in [*map(window.locator, controls), *cards.all()]:
        box = place.bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 844
    before = cards.all_inner_texts()
    box = window.locator("#n-range").bounding_box()
    window.mouse.click(box["x"] + 5, box["y"] + box["height"] / 2)
    assert all(a != b for a, b in zip(before[1:], cards.all_inner_texts()[1:], strict=True))
    assert window.evaluate("scrollY") == 0


def test_the_panels_go_where_the_width_asks_and_keep_what_they_have(page, opened):
    window = opened(page, width=1280)
    window.locator("#psi").fill("7e9")
    parts = window.locator(", ".join(f"#{name}" for name in PANELS))
    for width, order in ((390, PHONE), (1280, WIDE)):
        window.set_viewport_size({"width": width, "height": 844})
        window.wait_for_selector(f"#{order[order.index('others') - 1]} + #others")
        assert parts.evaluate_all("all => all.map(e => e.id)") == order
        assert window.evaluate("document.activeElement.id") == "psi"
        assert window.locator("#psi").input_value() == "7e9"


def test_a_language_alone_is_an_address_as_on_the_other_pages(page, opened):
    window = opened(page, fragment="#zh")
    assert window.evaluate("document.documentElement.lang") == "zh-CN"
    assert not window.locator("#address-problem").is_visible()


WRONG = ["psi=0", "psi=x", "n=1.5", "n=-3", "k=13", "group=x", "stage=9", "lang=xx", "%", "memory="]
WRONG += ["constructor=1", "weights=4", "shape=2", "ring=constructor", "bucket=0", "lang=toString"]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_address_is_not_believed_and_this_is_said(wrong, page, opened):
    window = opened(page, fragment=f"#{wrong}")
    assert window.locator("#stages .number").first.inner_text() == "120.0 GB"
    assert wrong.split("=")[0] in window.locator("#address-problem").inner_text()
    window.locator("#n-range").fill("3")
    assert not window.locator("#address-problem").is_visible()
    assert not opened(page, fragment="#n=4&lang=en").locator("#address-problem").is_visible()


@pytest.mark.parametrize(
    "lang, words", [("en", "is not a whole number from 1 to 1e6"), ("zh", "不是 1 到 1e6 之间的整数")]
)
def test_what_is_wrong_is_said_beside_the_field_and_no_result_stays(lang, words, page, opened):
    window = opened(page, fragment=f"#lang={lang}")
    error, problem = window.locator("#n-error"), window.locator("#problem")
    results = window.locator(".cards, .verdict, .chart, table, #formulas, #command")
    shown = "all => all.filter(e => e.checkVisibility({ visibilityProperty: true })).length"
    there = results.evaluate_all(shown)
    assert there >= 8 and not error.is_visible()
    for wrong in ("0", "many", "1.5", "-4", "1e99", "7b"):
        window.locator("#n").fill(wrong)
        assert window.locator("#n").get_attribute("aria-invalid") == "true"
        assert words in error.inner_text() and wrong in error.inner_text()
        assert results.evaluate_all(shown) == 0 and "N" in problem.inner_text()
        assert "n=" not in window.evaluate("location.hash")
    window.locator("#n").fill("")
    assert "1e6" in error.inner_text() and "“" not in error.inner_text()
    window.locator("#n").fill("<b>7")
    window.locator("#psi").fill("1.5.5")  # another one; the first stays as it was typed
    assert window.locator("#n").input_value() == "<b>7" and "<b>7" in error.inner_text()
    window.locator("#psi").fill("1.557B")
    assert error.is_visible() and not window.locator("#psi-error").is_visible()
    window.locator("#n").fill("5")
    assert not error.is_visible() and not problem.is_visible() and results.evaluate_all(shown) == there
    assert window.locator("#n").get_attribute("aria-invalid") == "false"
    assert "n=5" in window.evaluate("location.hash") and "psi=1.557e9" in window.evaluate("location.hash")
    window.locator("#n").fill("x")
    window.locator("#reset").click()
    assert window.locator("#n").input_value() == "64" and not error.is_visible()


def test_sliders_and_fields_agree(page, opened):
    window = opened(page)
    window.locator("#n-range").fill("3")
    assert window.locator("#n").input_value() == "8"
    window.locator("#psi").fill("1e9")
    assert window.locator("#psi-range").input_value() == "300"
    window.locator("#psi-range").fill("301")
    assert window.locator("#psi").input_value() == "1.02e9"
    window.locator("#psi-range").fill("350")
    assert window.locator("#psi").input_value() == "3.16e9"
    stuck = window.evaluate(  # steps of a slider that an arrow key would not leave
        """() => Object.entries(FIELDS).flatMap(([name, f]) => [...Array(f.steps + 1).keys()]
        .filter(x => x >= (f.first || 0) && Math.round(f.place(f.at(x))) !== x).map(x => `${name} ${x}`))"""
    )
    assert stuck == []
    window.locator("#n").fill("32")  # two machines
    window.locator("#offload").select_option("host")
    for name, place in (
        ("flops", "200"),
        ("bandwidth", "150"),
        ("latency", "7"),
        ("between", "10"),
        ("farther", "70"),
        ("outside", "3"),
    ):
        before = numbers(window, "time-table")
        window.locator(f"#{name}-range").fill(place)
        assert numbers(window, "time-table") != before
        assert window.locator(f"#{name}-range").input_value() == place
    window.locator("#memory-range").fill("24")
    assert "24.00 GB" in window.locator("#verdict").inner_text()


def test_machines_that_do_not_divide_the_ranks_are_told(page, opened):
    window = opened(page, fragment="#n=64&group=16&hsdp=1&hpz=1&lang=en")
    assert len(numbers(window, "memory-table")) == 8
    window.locator("#n").fill("63")
    assert len(numbers(window, "memory-table")) == 4
    assert "16 ranks a machine do not divide 63" in window.locator("#machine-hint").inner_text()
    assert window.locator("#group option").count() == 1 + 1 + 4  # all, 16, and 3, 7, 9 and 21
    assert window.locator("#machines-hint").is_visible()
    window.locator("#n").fill("16")
    assert "16 ranks fit on one machine" in window.locator("#machine-hint").inner_text()
    window.locator("#n").fill("32")  # it was not forgotten
    assert len(numbers(window, "memory-table")) == 8 and not window.locator("#machine-hint").is_visible()


def test_a_press_in_the_picture_chooses_n(page, opened):
    window = opened(page, fragment="#lang=en")
    window.locator("#over-chart svg").scroll_into_view_if_needed()
    box = window.locator("#over-chart svg").bounding_box()
    window.mouse.click(box["x"] + box["width"] * 0.52, box["y"] + 100)
    chosen = window.locator("#n").input_value()
    assert chosen in ("16", "32") and chosen in window.locator("#over-table tr.chosen th").text_content()
    marks = window.locator("#over-chart circle").evaluate_all("all => all.map(c => c.getAttribute('class'))")
    assert len(marks) == 4 and "mark out" in marks and "mark in" in marks


def test_the_keyboard_reaches_and_changes_everything(page, opened):
    window = opened(page, fragment="#shape=1&offload=host&cut=tiles")
    reached = []
    for _ in range(120):
        window.keyboard.press("Tab")
        reached.append(window.evaluate("(e => e.id || e.name || e.tagName)(document.activeElement)"))
    controls = window.locator("button, select, input[type=text], input[type=range], input[type=checkbox]")
    ids = controls.evaluate_all("all => all.filter(e => !e.disabled && e.checkVisibility()).map(e => e.id)")
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
    window = opened(
        page, fragment=f"#lang={lang}&group=8&shape=1&hsdp=1&hpz=1&offload=disk&cut=buckets&memory=400"
    )
    text = window.locator("body").inner_text()
    assert own in text and "undefined" not in text and "NaN" not in text and "[object" not in text
    assert bool(re.search(r"[一-鿿]", text.replace("中文", ""))) == (lang == "zh")
    assert window.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-CN"}[lang]
    labels = window.locator("select, input").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label') || [...e.labels].map(l => l.textContent).join(''))"
    )
    assert all(labels), "every control has a name"
    for picture in ("memory", "over", "time", "sent"):
        chart, caption = f"#{picture}-chart", f"#{picture}-caption"
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


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_field_stays_where_somebody_types_what_is_wrong(lang, page, opened):
    """On a phone the pictures stand above it."""
    window = opened(page, width=390, height=844, fragment=f"#lang={lang}")
    field = window.locator("#psi")
    field.scroll_into_view_if_needed()
    before = field.bounding_box()["y"]
    for text in ("", "1e15", "7e9"):
        field.fill(text)
        window.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert field.bounding_box()["y"] == pytest.approx(before, abs=2), text


MIXTURES = [
    *("", "n=1", "n=1e6&psi=1e13", "psi=1e14", "psi=4321&n=3&memory=0.00001", "n=63&group=16&hsdp=1"),
    *("hsdp=1&hpz=1&group=8", "weights=8&gradients=4&hpz=1", "offload=disk&shards=1", "shape=1&again=1"),
    "shape=1&again=1&hsdp=1&hpz=1&group=8&weights=fp8&gradients=fp8&offload=host&shards=1&cut=tiles&vocab=50257",
    "shape=1&cut=buckets&memory=400",
]
ON_CURVES = """() => {
  const svg = document.querySelector("#over-chart svg"), found = [];
  const boxes = [...svg.querySelectorAll("text")].map(e => [e, e.getBBox()]);
  for (const [e, b] of boxes) {
    for (const [other, c] of boxes)
      if (e !== other && Math.min(b.x + b.width, c.x + c.width) - Math.max(b.x, c.x) > 1
        && Math.min(b.y + b.height, c.y + c.height) - Math.max(b.y, c.y) > 3.5)
        found.push([e, other].map(x => x.textContent));
    for (const path of svg.querySelectorAll("path.line"))
      for (let i = 0; i <= path.getTotalLength(); i += 3) {
        const { x, y } = path.getPointAtLength(i);
        if (x > b.x && x < b.x + b.width && y > b.y + 3 && y < b.y + b.height - 3) {
          found.push(`${e.textContent} on ${path.dataset.name}`);
          break;
        }
      }
  }
  return found;
}"""


@pytest.mark.parametrize("width, height", [(1280, 800), (390, 844)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_no_mixture_is_wider_than_the_window_and_no_label_lies_on_a_curve(
    width, height, scheme, lang, page, opened
):
    window = opened(page, width=width, height=height, color_scheme=scheme)
    for i, setting in enumerate(MIXTURES):
        said = f"#{setting}&stage={(3, 1)[i % 2]}&lang={lang}"
        window.evaluate("said => { location.hash = said; readAddress(); refresh(); }", said)
        assert not window.locator("#address-problem").is_visible()
        assert window.evaluate("document.documentElement.scrollWidth") == width, said
        if scheme == "light":
            assert window.evaluate(ON_CURVES) == [], said
    window.locator("#psi").fill("1e15")
    window.locator("#n").fill("1048576")
    assert window.locator("#n-error").is_visible() and window.locator("#psi-error").is_visible()
    assert window.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("width", [1280, 390, 320])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_no_label_leaves_its_card(width, lang, page, opened):
    window = opened(page, width=width)
    for psi in ("1e13&memory=1e6", "9.9e13&bits=64&micro=3", "4321", "1e14&offload=disk&weights=8"):
        said = f"#lang={lang}&n=1000&group=8&shape=1&hsdp=1&hpz=1&psi={psi}"
        window.evaluate("said => { location.hash = said; readAddress(); refresh(); }", said)
        window.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert window.evaluate("document.documentElement.scrollWidth") <= width
        outside = window.evaluate(
            """() => [...document.querySelectorAll(
            '.chart text, .cards span, .formulas dd, .legend li, .verdict')].filter(e => {
            const card = e.closest('section, label, .first').getBoundingClientRect();
            const range = document.createRange();
            range.selectNodeContents(e);
            const b = range.getBoundingClientRect();
            return b.left < card.left - 0.5 || b.right > card.right + 0.5 || b.bottom > card.bottom + 0.5;
            }).map(e => e.textContent)"""
        )
        assert outside == []
        ends = window.evaluate(
            """() => [...document.querySelectorAll('#over-chart .end')]
            .map(e => e.getBoundingClientRect().top).sort((a, b) => a - b)"""
        )
        assert len(ends) == 8 and all(b - a > 11 for a, b in itertools.pairwise(ends))


def test_every_name_is_of_one_element(page, opened):
    names = opened(page).evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(names) > 100 and len(names) == len(set(names))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(scheme, page, opened):
    window = opened(page, color_scheme=scheme)

    def contrast():
        colors = window.evaluate(
            """() => { const s = getComputedStyle(document.documentElement);
            return Object.fromEntries(["ground","panel","ink","soft","good","bad","band"]
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
            for text in ("ink", "soft", "good", "bad")
            for ground in ("ground", "panel", "band")
        )

    assert contrast() >= 4.5
    before = window.evaluate("getComputedStyle(document.body).backgroundColor")
    window.locator("#theme").click()
    assert window.evaluate("getComputedStyle(document.body).backgroundColor") != before
    assert contrast() >= 4.5


def test_a_page_in_the_dark_is_printed_in_the_light(page, opened):
    window = opened(page, color_scheme="dark")
    ink = "getComputedStyle(document.documentElement).getPropertyValue('--%s').trim()"
    dark = [window.evaluate(ink % name) for name in ("ink", "good")]
    for theme in ("light", "dark"):  # by the button, and so that it is not the system's
        window.locator("#theme").click()
        assert window.evaluate("document.documentElement.dataset.theme") == theme
    assert [window.evaluate(ink % name) for name in ("ink", "good")] == dark
    window.emulate_media(media="print", color_scheme="dark")
    assert window.evaluate(ink % "ink") in palette.both()[0] and dark[0] in palette.both()[1]
    assert window.evaluate(ink % "good") != dark[1] and not window.locator("#machine").is_visible()


def test_kinds_differ_without_color(page, opened):
    window = opened(page, fragment="#shape=1")
    for chart, kinds in (("memory", 6), ("sent", 2), ("time", 4)):
        fills = window.locator(f"#{chart}-chart .piece").evaluate_all(
            "all => all.map(e => e.getAttribute('fill'))"
        )
        assert len(set(fills)) == kinds
        known = set(
            window.locator(f"#{chart}-legend .piece").evaluate_all(
                "all => all.map(e => e.getAttribute('fill'))"
            )
        )
        assert set(fills) == known
        for name in known:
            assert window.locator(f"pattern#{name[5:-1]} > *").count() >= 1, name
    dashes = window.locator("#over-chart path.line").evaluate_all(
        "all => all.map(e => getComputedStyle(e).strokeDasharray)"
    )
    assert len(set(dashes)) == 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_meaning_has_one_color_and_pattern_on_all_pages(scheme, page, opened, tmp_path):
    report = palette.of_report("page.css")
    light, dark = (dict(re.findall(r"--([a-z]+): (#\w+);", each)) for each in report.split("@media", 2)[:2])
    window = opened(page, color_scheme=scheme)
    for name in (*KINDS, "activation", "compute", "transfer", "waiting", "ink", "soft", "focus"):
        shown = f"getComputedStyle(document.documentElement).getPropertyValue('--{name}').trim()"
        assert window.evaluate(shown) == (dark if scheme == "dark" else light)[name]
    window.locator("#theme").click()
    other = window.evaluate(
        "getComputedStyle(document.documentElement).getPropertyValue('--gradient').trim()"
    )
    assert other == (light if scheme == "dark" else dark)["gradient"]
    fill = "getComputedStyle(document.querySelector('pattern#gradient .gradient')).fill"
    r, g, b = map(int, re.findall(r"\d+", window.evaluate(fill))[:3])
    assert f"#{r:02x}{g:02x}{b:02x}" == other
    spent = [f"spent-{name}" for name in ("compute", "inside", "between", "latency", "outside", "waiting")]
    drawn = set()
    for kind in (*KINDS, "activation", "gathered", "full_gradient", *spent):
        pattern = re.search(rf'<pattern id="{kind}".*?</pattern>', palette.of_report("page.html"), re.DOTALL)
        assert pattern[0] in explore.page()
        drawn.add(re.sub(r"^.*?>", "", pattern[0]))
        assert window.locator(f"pattern#{kind}").count() == 1, "it is written in one place"
    assert len(drawn) == len(KINDS) + 3 + len(spent), "no two are drawn alike"


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
