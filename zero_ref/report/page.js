"use strict";

// The page: fills page.html with the pictures and tables of one run, or of several side by side.

const FIRST = DATA.runs[0];
const ALONE = DATA.runs.length === 1;
const DRY = [...DATA.runs, ...DATA.compared].filter((run) => run.origin === "dry");
const CURVES = [...DATA.runs, ...DATA.compared].filter((run) => run.loss.length);
// Words about all runs: those of their origin, if it is one.
const SAME = DATA.runs.every((run) => run.origin === FIRST.origin) ? FIRST : { origin: "run" };
const views = DATA.runs.map((run) => (run.recorded_step ? new View(run) : null));
const view = ALONE ? views[0] : null; // of one run: everything follows it

const put = (id, ...children) => find(id).replaceChildren(...children.flat());
const tell = (id, ...words) => (find(id).textContent = sentences(...words));
const leftOut = (key, drawn, all) => drawn < all && say(key, { drawn: exact(drawn), all: exact(all) });

// [measured, expected] of the rank with the most: bytes at rest and sent in a step beside the formulas', and
// at most beside the dry run's.
function mostOf(run) {
  const of = (bytes, source) => {
    const rank = run.ranks.reduce((best, each) => (bytes(each) > bytes(best) ? each : best));
    return [bytes(rank), bytes(rank[source])];
  };
  return {
    at_rest: of((rank) => total(rank.resting_bytes), "formula"),
    peak: of((rank) => rank.peak_total_bytes, "predicted"),
    sent_per_step: of((rank) => total(rank.sent_bytes_per_step), "formula"),
  };
}

// Of the kinds whose peak has a formula, those that a rank has another peak of.
function missed({ peak_bytes, formula }) {
  const said = formula.peak_bytes;
  return KINDS.filter((kind) => kind in said && said[kind] !== peak_bytes[kind]);
}

const namesOf = (kinds) => list(kinds.map((kind) => say(kind)));

// The names of those that some rank of a run has missed.
function missedByAny(run) {
  const kinds = run.ranks.flatMap(missed);
  return namesOf(KINDS.filter((kind) => kinds.includes(kind)));
}

// The peaks of some runs, kind by kind, beside the formulas.
function peaksByKind(runs) {
  const known = runs.filter((run) => run.origin !== "old");
  if (!known.length) return "";
  const differ = known.filter((run) => missedByAny(run));
  const words = (run) => (ALONE ? "" : `${run.name}: `) + missedByAny(run);
  if (differ.length) return say("kinds_differ", { kinds: clauses(...differ.map(words)) });
  const said = known[0].ranks[0].formula.peak_bytes;
  return say("kinds_agree", { kinds: namesOf(KINDS.filter((kind) => kind in said)) });
}

// "25 %" of what stage 0 keeps.
function shareInWords({ against: { kept, kept_0 } }) {
  const percent = (100 * kept) / Math.max(1, kept_0);
  return say("percent", { number: String(percent < 1 ? Number(percent.toPrecision(2)) : Math.round(percent)) });
}

// " and sends 1.5 × as much as stage 0"; same: what is said where it is as much.
function sentInWords(run, same = sayOf(run, "sent_same")) {
  const times = String(Number(run.against.sent.toFixed(2)));
  return times === "1" ? same : sayOf(run, "sent_times", { times });
}

const timeOf = ({ seconds_per_step: each }) => (each >= 1 ? `${each.toFixed(2)} s` : `${(1000 * each).toFixed(2)} ms`);
const hashOf = (run) => run.weights_sha256.slice(0, 16);

function about(run) {
  const c = run.config;
  const widths = run.model || (c.hidden || []).join("-");
  return sayOf(run, "about", {
    model: c.model + (widths ? ` (${widths})` : ""),
    parameters: exact(run.parameters),
    data: c.data,
    optimizer: c.optimizer,
    dtype: c.accumulate ? say("added_up", { dtype: c.dtype, wider: c.accumulate }) : c.dtype,
    batch: exact(run.samples_per_step),
    micro: exact(c.micro_batches || 1),
    steps: exact(run.steps),
    rule: [c.shard_model].flat().join(","),
    reduce: c.reduce,
  });
}

// ---- One run

function besideFormula([measured, formula]) {
  return measured === formula ? say("as_formula") : say("formula_says", { bytes: exact(formula) });
}

// A peak: the dry run says the whole, the formulas each kind.
function besideBoth(run, [measured, dry]) {
  if (run.origin === "old") return besideFormula([measured, dry]);
  const whole = measured === dry ? say("as_dry_run") : say("dry_run_says", { bytes: exact(dry) });
  const kinds = missedByAny(run);
  const each = say(kinds ? "kinds_not_as_formula" : "kinds_as_formula", { kinds });
  return clauses(run.origin === "run" && whole, each);
}

function drawNumbers(run) {
  const most = mostOf(run);
  const words = (key) => (key === "peak" ? besideBoth(run, most.peak) : besideFormula(most[key]));
  const tiles = Object.keys(most).map((key) => [key, exact(most[key][0]), words(key)]);
  if (run.origin !== "dry") tiles.push(...tilesOfTraining(run));
  const tile = ([key, number, about]) =>
    h("div", {}, h("dt", {}, say(key)), h("dd", { class: number.length > 14 ? `${key} long` : key }, number), h("dd", { class: "about" }, about));
  put("numbers", tiles.map(tile));
}

function tilesOfTraining(run) {
  const scores = Object.entries(run.test || {}).filter(([, value]) => value !== null);
  const nameOf = (score) => (`test_${score}` in DATA.words ? say(`test_${score}`) : score);
  const test = scores.map(([score, value]) => `${nameOf(score)} ${value.toFixed(4)}`);
  const losses = [run.loss[0][1], run.last_loss].map(lossInWords);
  return [
    ["first_and_last_loss", losses.join(" → "), test.length ? list(test) : say("no_test")],
    ["weights", hashOf(run), say("weights_about")],
  ];
}

function ranksTable(run) {
  const peaks = peakColumns(run);
  const keys = [...KEPT, "at_rest", ...Object.keys(peaks), "sent_per_step"];
  const header = ["rank", sayOf(run, "samples"), ...keys.map((key) => say(key))];
  return table(header, run.ranks.map((rank, row) => [
    String(run.numbers[row]),
    exact(rank.samples),
    ...KEPT.map((kind) => exact(rank.resting_bytes[kind])),
    beside(total(rank.resting_bytes), total(rank.formula.resting_bytes)),
    ...Object.values(peaks).map((cell) => cell(rank)),
    beside(total(rank.sent_bytes_per_step), total(rank.formula.sent_bytes_per_step)),
  ]));
}

// What a table says of a rank's peak: heading -> cell. A "=" is always a formula's.
function peakColumns({ origin }) {
  const [measured, dry] = [(rank) => rank.peak_total_bytes, (rank) => rank.predicted.peak_total_bytes];
  if (origin === "old") return { peak: (rank) => beside(measured(rank), dry(rank)) };
  const columns = { peak: (rank) => exact(measured(rank)), peak_by_kind: missedInWords };
  return origin === "dry" ? columns : { ...columns, dry_run: (rank) => exact(dry(rank)) };
}

function missedInWords(rank) {
  const words = (kind) => `${say(kind)} ${beside(rank.peak_bytes[kind], rank.formula.peak_bytes[kind])}`;
  return clauses(...missed(rank).map(words)) || "=";
}

function trafficTables(run) {
  const rows = run.ranks.flatMap((rank, row) => COLLECTIVES.map((name) => [
    `rank ${run.numbers[row]}`,
    say(`collective_${name}`),
    exact(rank.calls_per_step[name]),
    exact(rank.sent_bytes_per_step[name]),
    exact(rank.formula.sent_bytes_per_step[name]),
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
  tell("ranks-peaks", peaksByKind([run]));
  const [known, all] = [run.ranks.length, run.world_size];
  const bars = leftOut("ranks_left_out", Math.min(MOST_BARS, known), all);
  put("traffic-picture", drawTraffic(run, widthOf("traffic-picture")));
  tell("traffic-caption", sayOf(run, "traffic_caption"), bars);
  put("map-picture", run.traffic ? drawMap(run, widthOf("map-picture")) : []);
  const way = run.config.reduce === "ring" ? "map_ring" : "map_direct";
  if (run.traffic) tell("map-caption", say(way), leftOut("ranks_left_out", MOST_CELLS, all));
  else tell("map-caption", leftOut("map_left_out", known, all) || say("no_events"));
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
    exact(unit.padded - unit.elements),
    countsInWords(unit),
  ]);
  return h("div", {},
    table(["rank", say("kind"), say("kept_bytes"), say("whole_bytes"), say("shard_bytes")], rows, [1]),
    h("p", {}),
    table(["unit", say("tensors"), say("elements"), say("padding"), say("counts")], units, [1]));
}

// Elements of every rank's shard; of many ranks, how many they are.
function countsInWords({ counts, least, most }) {
  if (counts.length) return counts.map(exact).join(" + ");
  const values = { ranks: exact(view.run.world_size), least: exact(least), most: exact(most) };
  return say(least === most ? "counts_equal" : "counts_between", values);
}

function memoryTable() {
  const { rank, run } = view;
  const timed = run.origin !== "dry";
  const rows = rank.events.map(([time, what, name, unit, bytes, number, place], i) => [
    exact(i + 1),
    ...(timed ? [exact(time)] : []),
    say(what === "begin" || what === "end" ? what : `${what}_table`),
    name in DATA.words ? say(name) : name,
    unit === null ? "" : view.units[unit].name,
    { born: signed, died: signed, end: exact }[what]?.(bytes) ?? "",
    exact(rank.total[i + 1]),
    number ? String(number) : "",
    rank.places[place],
  ]);
  const header = ["what", "name", "unit", "bytes", "alive_bytes", "line", "place"].map((key) => say(key));
  if (!timed) return table(["", ...header], rows, [1, 2, 3, 7]);
  return table(["", "µs", ...header], rows, [2, 3, 4, 8]);
}

function memoryLegend() {
  const rank = view.rank;
  const row = (bytes, ...name) => h("li", {}, name, h("span", { class: "value" }, exact(bytes)));
  const kinds = [...rank.kinds].reverse();
  const all = row(rank.total[view.position], say("total"));
  all.classList.add("total");
  return [...kinds.map((kind) => row(rank.live[view.position][kind], swatch(kind), say(kind))), all];
}

// ---- Loss

// Runs side by side are called by their stages, others by their files.
function shownName(name) {
  const run = ALONE ? null : DATA.runs.find((each) => each.name === name);
  return run ? labelOf(run) : name;
}

// Runs that do not differ at all share one sentence.
function grouped(differences) {
  const equal = (a, b) => a.most === 0 && b.most === 0 && a.same_weights === b.same_weights;
  const same = (a, b) => equal(a, b) && a.steps === b.steps;
  const groups = [];
  for (const difference of differences) {
    const group = groups.find((other) => same(other, difference));
    const name = shownName(difference.name);
    if (group) group.name = list([group.name, name]);
    else groups.push({ ...difference, name });
  }
  return groups;
}

function drawDifference({ name, steps, most, same_weights, so_far }) {
  const highest = most === null ? say("not_finite") : most.toExponential(3);
  const values = { name, first: shownName(FIRST.name), steps: exact(steps), most: highest };
  const weights = say(same_weights ? "same_weights" : "other_weights");
  if (steps === 0) return h("p", { class: "note" }, say("no_common_step", values));
  if (most === 0) return h("p", { class: "equal" }, sentences(say(ALONE ? "exactly_0" : "exactly_0_among", values), weights));
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
  const rows = curves[0].loss.map(([step, value]) => [exact(step), words(value), ...theirs(step)]);
  return table([say("step"), say("loss"), ...curves.slice(1).map((curve) => shownName(curve.name))], rows);
}

// Curves that are the same share a place: [number of the first, its curve, names of all].
function distinctCurves() {
  const found = new Map();
  for (const [number, curve] of CURVES.entries()) {
    const key = JSON.stringify([curve.loss, curve.held_out]);
    if (found.has(key)) found.get(key)[2].push(shownName(curve.name));
    else found.set(key, [number, curve, [shownName(curve.name)]]);
  }
  return [...found.values()];
}

function lossLegend(distinct, held_out) {
  const line = (number) => s("svg", { width: 36, height: 12, "aria-hidden": "true" }, s("path", { class: penOf(number), d: "M0 6H36" }));
  const words = (names) => (names.length > 1 ? say("one_curve", { names: list(names) }) : names[0]);
  const several = CURVES.length > 1 || CURVES[0] !== FIRST;
  const names = several ? distinct.map(([number, , all]) => h("li", {}, line(number), words(all))) : [];
  if (!held_out.length) return names;
  const ring = s("circle", { class: "held-out", cx: 18, cy: 6, r: 4 });
  return [...names, h("li", {}, s("svg", { width: 36, height: 12, "aria-hidden": "true" }, ring), say("held_out"))];
}

// Each run's curve by itself, all on one scale.
function drawLosses() {
  const places = CURVES.length > 1 ? CURVES.map(({ name }) => h("figure", {}, h("h3", {}, shownName(name)))) : [];
  put("losses", places);
  const around = CURVES.map((curve) => curve.loss);
  for (const [number, place] of places.entries()) {
    const description = `${shownName(CURVES[number].name)}: ${say("loss_description")}`;
    place.append(drawCurves([around[number]], Math.max(240, place.clientWidth), 130, { description, around, pens: [number] }));
  }
}

function drawLoss() {
  find("loss").hidden = !CURVES.length;
  if (!CURVES.length) return;
  const width = widthOf("loss-picture");
  const { held_out } = CURVES[0];
  const distinct = distinctCurves();
  put("loss-legend", lossLegend(distinct, held_out));
  const tested = new Map(held_out);
  const told = (step, value) => {
    const thinned = leftOut("points_left_out", CURVES[0].loss.length, CURVES[0].steps);
    const there = tested.has(step) && say("held_out_at", { loss: lossInWords(tested.get(step)) });
    tell("loss-caption", say("loss_at", { step: exact(step), loss: lossInWords(value) }), there, thinned);
  };
  const words = () => find("loss-caption").textContent;
  const pens = distinct.map(([number]) => number);
  const options = { description: say("loss_description"), told, words, rings: held_out, pens };
  const points = distinct.map(([, curve]) => curve.loss);
  put("loss-picture", drawCurves(points, width, width < 500 ? 200 : 260, options));
  drawLosses();
  put("differences", grouped(DATA.differences).map(drawDifference));
  tableIn("loss-table", () => lossTable(CURVES));
}

// ---- All of it

// That nothing was computed, and which ranks the page tells of; of several runs, which are dry.
function dryInWords() {
  if (!DRY.length) return [];
  if (!ALONE || FIRST !== DRY[0]) return [say("dry_among", { names: list(DRY.map((run) => run.name)) })];
  const { numbers, world_size } = FIRST;
  const values = { ranks: list(numbers.map(String)), all: exact(world_size) };
  return [say("dry_banner"), numbers.length < world_size && say("dry_of_some", values)];
}

// The dark colors are those of a medium until the button decides.
const darkRule = [...document.styleSheets[0].cssRules].find((rule) => rule.media?.mediaText.includes("dark"));
const isDark = () => matchMedia(darkRule.media.mediaText).matches;

// The button's name is what it makes of the page.
function nameTheme() {
  find("theme").textContent = say(isDark() ? "theme_light" : "theme_dark");
  find("theme").setAttribute("aria-label", say(isDark() ? "theme_named_light" : "theme_named_dark"));
}

function draw() {
  widths.clear();
  nameTheme();
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const button of document.querySelectorAll(".languages button")) {
    button.setAttribute("aria-pressed", String(button.lang === language));
  }
  for (const element of document.querySelectorAll("[data-word]")) {
    const { word } = element.dataset;
    if (word in DATA.words || `${word}_${SAME.origin}` in DATA.words) element.textContent = sayOf(SAME, word);
  }
  find("ribbon").setAttribute("aria-label", say("ribbon"));
  find("runs-ribbon").setAttribute("aria-label", say("ribbon"));
  for (const id of ["runs-table", "ranks-table"]) find(id).setAttribute("aria-label", say("table"));
  const key = ALONE ? (FIRST.world_size === 1 ? "title_alone" : "title") : "title_of_several";
  const stages = list(DATA.runs.map((run) => run.stage));
  document.title = sayOf(SAME, key, { stage: FIRST.stage, ranks: exact(FIRST.world_size), stages });
  tell("title", document.title);
  tell("dry", ...dryInWords());
  find("dry").hidden = !DRY.length;
  if (!ALONE) find("figure-table").after(find("about")); // first what was found
  tell("about", about(FIRST), ALONE && FIRST.origin !== "dry" && say("each_step", { time: timeOf(FIRST) }));
  for (const id of ["numbers", "told-by", "ranks-held", "traffic"]) find(id).hidden = !ALONE;
  if (SAME.origin === "old") for (const id of ["told-by", "runs-told-by"]) find(id).hidden = true;
  for (const id of ["theatre", "holdings"]) find(id).hidden = !view;
  for (const id of ["runs", "badge"]) find(id).hidden = ALONE;
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
find("theme").onclick = () => {
  const dark = !isDark();
  darkRule.media.mediaText = dark ? "all" : "not all";
  document.documentElement.style.colorScheme = dark ? "dark" : "light";
  nameTheme();
};
window.addEventListener("hashchange", () => chosenLanguage() !== language && speak(chosenLanguage()));
find("unit").onchange = (event) => event.target.value && goToUnit(Number(event.target.value));
find("position").oninput = (event) => choose(Number(event.target.value));

// Whether a picture that follows the keys can be seen.
function isInSight(place) {
  const { top, bottom } = place.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

// Arrow keys and the space bar anywhere on the page, unless what has the focus uses them itself.
document.addEventListener("keydown", (event) => {
  const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, .scrolls")) return;
  if (event.key === " " && view && isInSight(find("theatre")) && !event.target.closest("button, summary")) {
    event.preventDefault();
    play(!playing);
  }
  if (!direction || !(view || (leader && isInSight(find("runs-memory"))))) return;
  event.preventDefault();
  if (view) choose(event.shiftKey ? view.position + direction : view.rank.nextCall(view.position, direction));
  else nextPhase(direction);
});

draw();
let drawnWidth = document.body.clientWidth;
new ResizeObserver(() => {
  if (document.body.clientWidth === drawnWidth) return;
  drawnWidth = document.body.clientWidth;
  draw();
}).observe(document.body);
