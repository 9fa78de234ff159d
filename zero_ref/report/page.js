"use strict";

// The page: fills page.html with the pictures and tables of one run, or of several side by side.

const FIRST = DATA.runs[0];
const ALONE = DATA.runs.length === 1;
const views = DATA.runs.map((run) => (run.recorded_step ? new View(run) : null));
const view = ALONE ? views[0] : null; // of one run: everything follows it
let followMemory = () => {};
let playing = null;

const put = (id, ...children) => find(id).replaceChildren(...children.flat());
const tell = (id, ...words) => (find(id).textContent = sentences(...words));
const leftOut = (key, drawn, all) => drawn < all && say(key, { drawn: exact(drawn), all: exact(all) });

// [measured, formula] of the rank with the most: bytes at rest, at most, sent in a step.
function mostOf(run) {
  const of = (bytes) => {
    const rank = run.ranks.reduce((best, each) => (bytes(each) > bytes(best) ? each : best));
    return [bytes(rank), bytes(rank.predicted)];
  };
  const [rest, sent] = [(rank) => total(rank.resting_bytes), (rank) => total(rank.sent_bytes_per_step)];
  return { at_rest: of(rest), peak: of((rank) => rank.peak_total_bytes), sent_per_step: of(sent) };
}

const hashOf = (run) => run.weights_sha256.slice(0, 16);

function about(run) {
  const c = run.config;
  const widths = (c.hidden || []).join("-");
  return say("about", {
    model: c.model + (widths ? ` (${widths})` : ""),
    parameters: exact(run.parameters),
    data: c.data,
    optimizer: c.optimizer,
    dtype: c.dtype,
    batch: exact(c.batch_size || 0),
    micro: exact(c.micro_batches || 1),
    steps: exact(run.steps),
    rule: [c.shard_model].flat().join(","),
    reduce: c.reduce,
  });
}

// ---- One run

function drawNumbers(run) {
  const tiles = Object.entries(mostOf(run)).map(([key, [measured, formula]]) => {
    const words = measured === formula ? say("as_formula") : say("formula_says", { bytes: exact(formula) });
    return [key, exact(measured), words];
  });
  const scores = Object.entries(run.test || {}).filter(([, value]) => value !== null);
  const nameOf = (score) => (`test_${score}` in DATA.words ? say(`test_${score}`) : score);
  const test = scores.map(([score, value]) => `${nameOf(score)} ${value.toFixed(4)}`);
  const losses = [run.loss[0], run.loss.at(-1)].map(([, value]) => lossInWords(value));
  tiles.push(["loss", losses.join(" → "), test.length ? list(test) : say("no_test")]);
  tiles.push(["weights", hashOf(run), say("weights_about")]);
  const tile = ([key, number, words]) =>
    h("div", {}, h("dt", {}, say(key)), h("dd", { class: key }, number), h("dd", { class: "about" }, words));
  put("numbers", tiles.map(tile));
}

function ranksTable(run) {
  const facts = ["at_rest", "peak", "sent_per_step"];
  const header = ["rank", ...["samples", ...KEPT, ...facts].map((key) => say(key))];
  return table(header, run.ranks.map((rank, number) => [
    String(number),
    exact(rank.samples),
    ...KEPT.map((kind) => exact(rank.resting_bytes[kind])),
    beside(total(rank.resting_bytes), total(rank.predicted.resting_bytes)),
    beside(rank.peak_total_bytes, rank.predicted.peak_total_bytes),
    beside(total(rank.sent_bytes_per_step), total(rank.predicted.sent_bytes_per_step)),
  ]));
}

function trafficTables(run) {
  const rows = run.ranks.flatMap((rank, number) => COLLECTIVES.map((name) => [
    `rank ${number}`,
    say(`collective_${name}`),
    exact(rank.calls_per_step[name]),
    exact(rank.sent_bytes_per_step[name]),
    exact(rank.predicted.sent_bytes_per_step[name]),
  ]));
  const columns = ["collective", "calls_head", "sent_bytes", "formula"].map((key) => say(key));
  const sent = table(["rank", ...columns], rows, [1]);
  if (!run.traffic) return sent;
  const header = [say("from_to"), ...run.traffic.map((_, rank) => `rank ${rank}`)];
  const cells = (row, i) => row.map((bytes, j) => (i === j ? "" : exact(bytes)));
  const map = run.traffic.map((row, i) => [`rank ${i}`, ...cells(row, i)]);
  return h("div", {}, sent, h("p", {}), table(header, map));
}

function drawRun(run) {
  drawNumbers(run);
  put("ranks-table", ranksTable(run));
  put("traffic-picture", drawTraffic(run, widthOf("traffic-picture")));
  tell("traffic-caption", say("traffic_caption"), leftOut("ranks_left_out", MOST_BARS, run.world_size));
  put("map-picture", run.traffic ? drawMap(run, widthOf("map-picture")) : []);
  const way = run.config.reduce === "ring" ? "map_ring" : "map_direct";
  if (run.traffic) tell("map-caption", say(way), leftOut("ranks_left_out", MOST_CELLS, run.world_size));
  else tell("map-caption", say("no_events"));
  tableIn("traffic-table", () => trafficTables(run));
}

// ---- Its recorded step

function holdingsTables() {
  const rows = view.ranks.flatMap((rank) => KEPT.map((kind) => {
    const bytes = bytesOf(rank, rank.asFarAs(view.rank, view.position), kind);
    return [`rank ${rank.number}`, say(kind), ...bytes.map(exact)];
  }));
  const units = view.units.map((unit) => [
    unit.name,
    list(Object.entries(unit.shapes).map(([name, shape]) => `${name} ${shape.join("×")}`)),
    exact(unit.elements),
    exact(sum(unit.counts) - unit.elements),
    unit.counts.map(exact).join(" + "),
  ]);
  return h("div", {},
    table(["rank", say("kind"), say("kept_bytes"), say("whole_bytes"), say("shard_bytes")], rows, [1]),
    h("p", {}),
    table(["unit", say("tensors"), say("elements"), say("padding"), say("counts")], units, [1]));
}

function memoryTable() {
  const rank = view.rank;
  const rows = rank.events.map(([time, what, name, unit, bytes, number, place], i) => [
    exact(i + 1),
    exact(time),
    say(what === "begin" || what === "end" ? what : `${what}_table`),
    name in DATA.words ? say(name) : name,
    unit === null ? "" : view.units[unit].name,
    { born: signed, died: signed, end: exact }[what]?.(bytes) ?? "",
    exact(rank.total[i + 1]),
    number ? String(number) : "",
    rank.places[place],
  ]);
  const header = ["what", "name", "unit", "bytes", "alive_bytes", "line", "place"].map((key) => say(key));
  return table(["", "µs", ...header], rows, [2, 3, 4, 8]);
}

function memoryLegend() {
  const rank = view.rank;
  const row = (bytes, ...name) => h("li", {}, name, h("span", { class: "value" }, exact(bytes)));
  const kinds = [...KINDS].reverse().filter((kind) => rank.live.some((live) => live[kind]));
  const all = row(rank.total[view.position], say("total"));
  all.classList.add("total");
  return [...kinds.map((kind) => row(rank.live[view.position][kind], swatch(kind), say(kind))), all];
}

function markSource() {
  const panel = find("source");
  panel.querySelector(".now")?.classList.remove("now");
  panel.querySelector("[aria-current]")?.removeAttribute("aria-current");
  if (!view.line) return;
  const now = panel.children[view.line - 1];
  now.classList.add("now");
  now.setAttribute("aria-current", "true");
  const [top, bottom] = [panel.scrollTop + 40, panel.scrollTop + panel.clientHeight - 40];
  if (now.offsetTop < top || now.offsetTop > bottom) panel.scrollTop = now.offsetTop - panel.clientHeight / 2;
}

// What follows the position.
function show() {
  put("holdings-picture", drawHoldings(view, widthOf("holdings-picture")));
  tell("now-words", inWords(view));
  tell("now-numbers", inNumbers(view));
  fill(find("position"), { max: view.rank.events.length, "aria-valuetext": inWords(view) }, []);
  find("position").value = view.position;
  markSource();
  followMemory();
  put("memory-legend", memoryLegend());
  if (find("holdings-table").open) tableIn("holdings-table", holdingsTables);
}

function move(position) {
  view.move(position);
  show();
}

function play(on) {
  clearInterval(playing);
  playing = null;
  if (on) {
    if (view.position === view.rank.events.length) move(0);
    playing = setInterval(() => {
      if (view.position < view.rank.events.length) move(view.position + 1);
      else play(false);
    }, 220);
  }
  drawButtons();
}

function drawButtons() {
  const focused = document.activeElement?.id;
  const button = (id, attributes, words, action) => {
    const made = h("button", { type: "button", id, ...attributes }, words);
    made.onclick = action;
    return made;
  };
  const act = (id, key, action) => button(id, { title: say(`${key}_title`) }, say(key), action);
  put("buttons",
    act("call-back", "call_back", () => move(view.rank.nextCall(view.position, -1))),
    act("event-back", "event_back", () => move(view.position - 1)),
    act("event-on", "event_on", () => move(view.position + 1)),
    act("call-on", "call_on", () => move(view.rank.nextCall(view.position, 1))),
    act("play", playing ? "pause" : "play", () => play(!playing)));
  put("ranks", h("span", { class: "label" }, say("look_at")), view.ranks.map((_, number) => {
    const attributes = { "aria-pressed": String(number === view.chosen), "aria-label": `rank ${number}` };
    return button(`rank-${number}`, attributes, String(number), () => {
      view.choose(number);
      drawStep();
    });
  }));
  if (focused) find(focused)?.focus();
}

function drawStep() {
  const { run, step, rank } = view;
  drawButtons();
  find("position").setAttribute("aria-label", say("position"));
  const most = 1.12 * Math.max(...view.ranks.flatMap((each) => [each.peak, each.predicted.peak_total_bytes]));
  const label = say("memory_description", { rank: view.chosen });
  const [picture, follow] = drawMemory(view, widthOf("memory-picture"), { most, changed: show, label });
  followMemory = follow;
  put("memory-picture", picture);
  const whole = run.ranks[view.chosen].peak_total_bytes;
  tell("memory-caption", say("memory_axis"), !rank.thinned && say("memory_lanes"),
    say("resting_sentence", { bytes: exact(restingFormula(view)) }),
    say(whole === rank.peak ? "peak_of_run_same" : "peak_of_run", { bytes: exact(whole) }));

  const rule = run.config.shard_model;
  const moved = ["random", "hash"].includes(rule);
  const visitors = run.stage === 3 ? ["gathered", "full_gradient"] : ["full_gradient"];
  put("holdings-legend", legend([...KEPT, ...visitors, "padding"]));
  tell("holdings-caption", say("holdings_caption", { step: exact(step.step) }),
    moved && say("rank_order", { rule }),
    leftOut("units_left_out", unitsDrawn(view).length, step.units.length),
    leftOut("ranks_left_out", view.ranks.length, run.world_size),
    leftOut("events_left_out", step.events_drawn, step.events_recorded));
  tableIn("holdings-table", holdingsTables);
  tableIn("memory-table", memoryTable);

  const source = find("source");
  find("source-file").textContent = `zero_ref/${step.file}`;
  source.setAttribute("aria-label", `zero_ref/${step.file}`);
  if (!source.children.length) {
    source.append(...drawSource(step.source));
    const begin = step.source.split("\n").findIndex((code) => code.startsWith("def step"));
    source.scrollTop = (source.children[begin]?.offsetTop ?? 0) - 12;
  }
  show();
}

// ---- Several runs side by side

// Options in which a run differs from the first; its stage has a column of its own.
function differs(run) {
  const names = ["model", "hidden", "data", "seed", "dtype", "batch_size", "micro_batches", "no_shuffle"];
  names.push("optimizer", "lr", "momentum", "weight_decay", "clip_norm");
  names.push("shard_data", "shard_model", "reduce", "device");
  const value = (which, name) => JSON.stringify(which.config[name] ?? null);
  const found = names.filter((name) => value(run, name) !== value(FIRST, name));
  return found.length ? ` (${found.map((name) => `${name} ${value(run, name)}`).join(", ")})` : "";
}

function runsTable() {
  const header = [say("stage"), say("file"), "N", say("at_rest"), say("peak"), say("sent_per_step")];
  const rows = DATA.runs.map((run) => [
    String(run.stage),
    run.name + differs(run),
    String(run.world_size),
    ...Object.values(mostOf(run)).map(([measured, formula]) => beside(measured, formula)),
    lossInWords(run.loss.at(-1)[1]),
    h("code", {}, hashOf(run) + (run !== FIRST && run.weights_sha256 === FIRST.weights_sha256 ? " =" : "")),
  ]);
  return table([...header, say("last_loss"), say("weights")], rows, [1, 7]);
}

function timelinesTable() {
  const most = (run, bytes, kind) => exact(Math.max(...run.ranks.map((rank) => rank[bytes][kind])));
  const both = (run, kind) => ["resting_bytes", "peak_bytes"].map((bytes) => most(run, bytes, kind));
  const rows = DATA.runs.flatMap((run) => KINDS.map((kind) => [run.name, say(kind), ...both(run, kind)]));
  return table([say("file"), say("kind"), say("at_rest"), say("peak")], rows, [1]);
}

// One run in a column: what it keeps, and its memory over one step, on the scale of all.
function drawTimeline(place, each, most) {
  const width = Math.max(240, place.clientWidth);
  const readout = h("p", { class: "readout" });
  const stage = say("stage_number", { stage: each.run.stage });
  const label = `${stage}: ${say("memory_description", { rank: each.chosen })}`;
  const changed = () => {
    follow();
    readout.textContent = `rank ${each.chosen} · ${sentences(inWords(each), inNumbers(each))}`;
  };
  const [picture, follow] = drawMemory(each, width, { most, small: true, label, changed });
  const resting = say("resting_formula", { bytes: exact(restingFormula(each)) });
  const facts = h("p", { class: "facts" }, peakInWords(each.rank), h("br", {}), resting);
  place.append(drawHoldings(each, width, true, 0), facts, picture, readout);
  changed();
}

function drawRuns() {
  put("runs-table", runsTable());
  const known = views.filter((each) => each);
  for (const each of known) {
    if (each.position) continue;
    each.chosen = each.ranks.reduce((best, rank) => (rank.peak > best.peak ? rank : best)).number;
    each.position = each.rank.peakAt;
  }
  const peaks = known.flatMap(({ rank }) => [rank.peak, rank.predicted.peak_total_bytes]);
  const drawn = (kind) => known.some(({ rank }) => rank.live.some((live) => live[kind]));
  put("runs-legend", legend(KINDS.filter(drawn)));
  const heading = (run) => h("h3", {}, say("stage_number", { stage: run.stage }));
  put("timelines", DATA.runs.map((run) => h("figure", {}, heading(run))));
  for (const [i, place] of [...find("timelines").children].entries()) {
    if (views[i]) drawTimeline(place, views[i], 1.14 * Math.max(...peaks));
    else place.append(h("p", { class: "note" }, say("no_events")));
  }
  tableIn("timelines-table", timelinesTable);
}

// ---- Loss

// Runs that do not differ at all share one sentence.
function grouped(differences) {
  const equal = (a, b) => a.most === 0 && b.most === 0 && a.same_weights === b.same_weights;
  const same = (a, b) => equal(a, b) && a.steps === b.steps;
  const groups = [];
  for (const difference of differences) {
    const group = groups.find((other) => same(other, difference));
    if (group) group.name = list([group.name, difference.name]);
    else groups.push({ ...difference });
  }
  return groups;
}

function drawDifference({ name, steps, most, same_weights, so_far }) {
  const highest = most === null ? say("not_finite") : most.toExponential(3);
  const values = { name, steps: exact(steps), most: highest };
  const weights = say(same_weights ? "same_weights" : "other_weights");
  if (steps === 0) return h("p", { class: "note" }, say("no_common_step", values));
  if (most === 0) return h("p", { class: "equal" }, sentences(say("exactly_0", values), weights));
  const options = { log: true, description: say("difference_description", values) };
  const known = so_far.some(([, value]) => value > 0);
  return h("figure", {}, h("h3", {}, say("difference", values)),
    known ? drawCurves([so_far], widthOf("loss-picture"), 180, options) : [],
    h("figcaption", {}, sentences(say("difference_about", values), weights)));
}

function lossTable(curves) {
  const others = curves.slice(1).map((curve) => new Map(curve.loss));
  const words = (value) => (value === null ? say("not_finite") : String(value ?? ""));
  const theirs = (step) => others.map((other) => words(other.get(step)));
  const rows = FIRST.loss.map(([step, value]) => [exact(step), words(value), ...theirs(step)]);
  return table([say("step"), say("loss"), ...curves.slice(1).map((curve) => curve.name)], rows);
}

function drawLoss() {
  const curves = [...DATA.runs, ...DATA.compared];
  const width = widthOf("loss-picture");
  const pen = (number) => s("path", { class: `curve curve${number % 4}`, d: "M0 6H36" });
  const names = curves.map((curve, number) =>
    h("li", {}, s("svg", { width: 36, height: 12, "aria-hidden": "true" }, pen(number)), curve.name));
  put("loss-legend", curves.length > 1 ? names : []);
  const told = (step, value) => {
    const thinned = leftOut("points_left_out", FIRST.loss.length, FIRST.steps);
    tell("loss-caption", say("loss_at", { step: exact(step), loss: lossInWords(value) }), thinned);
  };
  const words = () => find("loss-caption").textContent;
  const options = { description: say("loss_description"), told, words };
  put("loss-picture", drawCurves(curves.map((curve) => curve.loss), width, width < 500 ? 200 : 260, options));
  put("differences", grouped(DATA.differences).map(drawDifference));
  tableIn("loss-table", () => lossTable(curves));
}

// ---- All of it

function draw() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const button of document.querySelectorAll(".languages button")) {
    button.setAttribute("aria-pressed", String(button.lang === language));
  }
  for (const element of document.querySelectorAll("[data-word]")) {
    element.textContent = say(element.dataset.word);
  }
  for (const id of ["runs-table", "ranks-table"]) find(id).setAttribute("aria-label", say("table"));
  const key = ALONE ? (FIRST.world_size === 1 ? "title_alone" : "title") : "title_of_several";
  const stages = list(DATA.runs.map((run) => run.stage));
  document.title = say(key, { stage: FIRST.stage, ranks: FIRST.world_size, stages });
  tell("title", document.title);
  const milliseconds = (1000 * FIRST.seconds_per_step).toFixed(2);
  tell("about", about(FIRST), ALONE && say("each_step", { milliseconds }));
  for (const id of ["numbers", "ranks-held", "traffic"]) find(id).hidden = !ALONE;
  for (const id of ["holdings", "memory"]) find(id).hidden = !view;
  find("runs").hidden = ALONE;
  if (ALONE) drawRun(FIRST);
  else drawRuns();
  if (view) drawStep();
  drawLoss();
}

function speak(chosen) {
  language = chosen;
  if (location.hash.slice(1) !== chosen) location.hash = chosen;
  draw();
}

for (const button of document.querySelectorAll(".languages button")) {
  button.onclick = () => speak(button.lang);
}
window.addEventListener("hashchange", () => chosenLanguage() !== language && speak(chosenLanguage()));
find("position").oninput = (event) => move(Number(event.target.value));

// Arrow keys anywhere on the page, unless what has the focus uses them itself.
document.addEventListener("keydown", (event) => {
  const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!view || !direction || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, .scrolls")) return;
  event.preventDefault();
  move(event.shiftKey ? view.rank.nextCall(view.position, direction) : view.position + direction);
});

draw();
let drawnWidth = document.body.clientWidth;
new ResizeObserver(() => {
  if (document.body.clientWidth === drawnWidth) return;
  drawnWidth = document.body.clientWidth;
  draw();
}).observe(document.body);
