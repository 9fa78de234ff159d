"use strict";

// The data: runs (records), compared and differences (of losses), words (key -> language -> text).
const DATA = JSON.parse(document.getElementById("data").textContent);
const KEPT = ["parameter", "gradient", "optimizer"];
const KINDS = ["parameter", "gradient", "optimizer", "gathered", "full_gradient", "activation", "buffer"];
const COLLECTIVES = ["reduce_scatter", "all_gather", "other"];
const MOST_UNITS = 48;  // that are drawn
const MOST_SHOWN = 8;   // ranks with bars of their own
const find = (id) => document.getElementById(id);
const widthOf = (element) => Math.max(240, element.clientWidth);

// ---- Words and numbers

let language = chosenLanguage();

function chosenLanguage() {
  const inAddress = location.hash.slice(1);
  if (inAddress === "en" || inAddress === "zh") return inAddress;
  return DATA.language || (navigator.language.startsWith("zh") ? "zh" : "en");
}

function say(key, values = {}) {
  return DATA.words[key][language].replace(/\{(\w+)\}/g, (whole, name) => name in values ? values[name] : whole);
}

const sentences = (...all) => all.filter((each) => each).join(language === "zh" ? "" : " ");
const exact = (number) => number.toLocaleString("en-US");
const signed = (number) => (number < 0 ? "−" : "+") + exact(Math.abs(number));
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const total = (byKind) => sum(Object.values(byKind));

function short(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let power = 0;
  while (bytes >= 999.5 && power < units.length - 1) { bytes /= 1000; power += 1; }
  return (power === 0 || bytes >= 99.95 ? Math.round(bytes) : bytes.toPrecision(3)) + " " + units[power];
}

function loss(value) {
  if (value === null) return say("not_finite");
  return value === 0 ? "0" : Math.abs(value) >= 1e-3 && Math.abs(value) < 1e5 ? value.toFixed(4) : value.toExponential(2);
}

// ---- Elements. Text becomes text and never markup, whatever it says.

function make(space, name, attributes, children) {
  const element = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}
const h = (name, attributes, ...children) => make(null, name, attributes, children);
const s = (name, attributes, ...children) => make("http://www.w3.org/2000/svg", name, attributes, children);

function svg(width, height, description, ...children) {
  return s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": description }, ...children);
}

function table(header, rows, wordColumns = []) {
  const kind = (i) => wordColumns.includes(i) ? "words" : null;
  return h("table", {},
    h("thead", {}, h("tr", {}, header.map((cell, i) => h("th", { scope: "col", class: kind(i) }, cell)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, i) => h("td", { class: kind(i) }, cell))))));
}

// A table that is made when it is opened: it may be long.
function tableIn(details, build) {
  const fill = () => {
    details.querySelector(".scrolls")?.remove();
    if (details.open) details.append(h("div", { class: "scrolls", tabindex: "0", role: "group", "aria-label": say("table") }, build()));
  };
  details.ontoggle = fill;
  fill();
}

function swatch(kind) {
  return s("svg", { width: 28, height: 16, "aria-hidden": "true" }, s("rect", { class: "outline", width: 28, height: 16, rx: 2 }),
    s("rect", { width: 28, height: 16, rx: 2, fill: `url(#${kind})` }));
}

// A picture as a slider: pointer and arrow keys choose one of `count` places.
function slider(picture, { label, count, at, set, place, text }) {
  for (const [key, value] of Object.entries({ role: "slider", tabindex: "0", "aria-label": label, "aria-valuemin": 0,
    "aria-valuemax": count - 1, "aria-valuenow": at(), "aria-valuetext": text() })) picture.setAttribute(key, value);
  const go = (to) => {
    set(Math.max(0, Math.min(count - 1, to)));
    picture.setAttribute("aria-valuenow", at());
    picture.setAttribute("aria-valuetext", text());
  };
  const point = (event) => go(place(event.clientX - picture.getBoundingClientRect().left));
  picture.onpointermove = point;
  picture.onpointerdown = point;
  picture.onkeydown = (event) => {
    const far = event.shiftKey ? 10 : 1;
    const to = { ArrowLeft: at() - far, ArrowRight: at() + far, Home: 0, End: count - 1,
      PageUp: at() - Math.ceil(count / 10), PageDown: at() + Math.ceil(count / 10) }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    go(to);
  };
}

// ---- One step of one rank. A position is a number of events that have happened: 0 is before the step.

class Rank {
  constructor(run, number) {
    const step = run.recorded_step;
    Object.assign(this, { number, step, ...step.ranks[number] });
    const live = Object.fromEntries(KINDS.map((kind) => [kind, 0]));
    for (const unit of this.kept) for (const kind of KEPT) live[kind] += unit[kind][0];
    this.live = [{ ...live }];   // bytes by kind at each position
    this.calls = [0];            // calls that have begun or ended, at each position
    this.inside = [[]];          // calls that are open, at each position
    let calls = 0, inside = [];
    for (const event of this.events) {
      for (const [kind, , bytes] of changes(event)) live[kind] += bytes;
      if (event[1] === "begin") { calls += 1; inside = [...inside, [event[2], event[3]]]; }
      if (event[1] === "end") { calls += 1; inside = inside.slice(0, -1); }
      if (event[1] === "several") inside = event[8];
      this.live.push({ ...live });
      this.calls.push(calls);
      this.inside.push(inside);
    }
    this.total = this.live.map(total);
    this.peakAt = this.total.indexOf(Math.max(...this.total));
  }

  // Bytes that visit: [kind][unit], at a position.
  visiting(position) {
    const found = { gathered: {}, full_gradient: {}, gradient: {} };
    for (const event of this.events.slice(0, position)) {
      for (const [kind, unit, bytes] of changes(event)) {
        if (kind in found && unit !== null) found[kind][unit] = (found[kind][unit] || 0) + bytes;
      }
    }
    return found;
  }

  // The position at which this rank is as far as another one is at its position.
  asFarAs(other, position) {
    if (other === this) return position;
    const calls = other.calls[position];
    const here = this.calls.indexOf(calls), there = other.calls.indexOf(calls);
    if (here < 0) return Math.round(position * this.events.length / other.events.length);
    const last = this.calls.lastIndexOf(calls);
    return Math.min(here + position - there, last);
  }

  // The next position at which a call begins or ends, in direction 1 or -1.
  nextCall(position, direction) {
    let next = position + direction;
    while (next > 0 && next < this.events.length && this.calls[next] === this.calls[next - 1]) next += direction;
    return Math.max(0, Math.min(this.events.length, next));
  }
}

function changes(event) {
  const [, what, name, unit, bytes] = event;
  if (what === "several") return bytes;
  return what === "born" || what === "died" ? [[name, unit, bytes]] : [];
}

// ---- What is shown: one rank's position, from which all pictures of the step follow

class View {
  constructor(run) {
    this.run = run;
    this.ranks = run.recorded_step.ranks.map((_, number) => new Rank(run, number));
    this.units = run.recorded_step.units;
    this.chosen = 0;
    this.position = 0;
  }
  get rank() { return this.ranks[this.chosen]; }
  get event() { return this.position === 0 ? null : this.rank.events[this.position - 1]; }
  get line() { return this.event ? this.event[5] : 0; }  // of the stage's file, 0 outside of it
}

const nameOf = (view, unit) => unit === null ? say("no_unit") : view.units[unit].name;

function inWords(view) {
  const event = view.event;
  if (!event) return say("before_the_step");
  const [, what, name, unit, bytes] = event;
  const values = { unit: nameOf(view, unit), rank: view.chosen, ranks: view.run.world_size };
  if (what === "several") return say("several", { ...values, number: exact(event[7]) });
  if (what === "born" || what === "died") {
    return say(unit === null ? what : what + "_of", { ...values, kind: say(name), bytes: exact(Math.abs(bytes)) });
  }
  const key = `${what}_${name}` + (what === "begin" && name === "update" && view.run.stage === 0 ? "_all" : "");
  return key in DATA.words ? say(key, { ...values, bytes: exact(bytes) }) : `${name} (${what}) ${values.unit}`;
}

function inNumbers(view) {
  const event = view.event, rank = view.rank;
  const parts = [say("event_of", { number: exact(view.position), all: exact(rank.events.length) })];
  if (event) {
    parts.push(say("microseconds", { number: exact(event[0]) }));
    parts.push(rank.places[event[6]]);
  }
  parts.push(say("alive", { bytes: exact(rank.total[view.position]) }));
  return parts.join(" · ");
}

// ---- Who holds what

function unitsDrawn(view) {
  const all = view.units.map((_, number) => number);
  return all.length <= MOST_UNITS ? all : [...all.slice(0, MOST_UNITS / 2), ...all.slice(-MOST_UNITS / 2)];
}

// Of the bar of what is kept, and of what visits; and from rank to rank.
function heights(view, small) {
  if (small) return { up: 14, down: 0, row: 20 };
  return view.ranks.length <= 4 ? { up: 32, down: 18, row: 92 } : { up: 22, down: 14, row: 70 };
}

// One kind on one rank: what it keeps (above) and what visits it (below), unit by unit.
function cell(view, rank, position, kind, x, y, width, small) {
  const units = unitsDrawn(view), gap = units.length > 20 ? 1 : 3;
  const psi = units.map((u) => sum(view.units[u].counts)), all = sum(psi) || 1;
  const room = width - gap * (units.length - 1), least = Math.min(24, room / units.length / 2);
  const wide = psi.map((n) => Math.max(least, room * n / all));
  const scale = room / sum(wide);
  const { up, down } = heights(view, small);
  const visiting = rank.visiting(position), inside = rank.inside[position];
  const parts = [];
  let left = x;
  units.forEach((unit, i) => {
    const w = wide[i] * scale;
    if (!small && rank.number === 0 && w >= 14) {
      const name = view.units[unit].name;
      parts.push(s("text", { class: "small", x: left, y: 32 }, w > 6.4 * name.length ? name : name.replace(/^layers/, "")));
    }
    const counts = view.units[unit].counts, padded = sum(counts) || 1;
    const offset = sum(counts.slice(0, rank.number)), own = counts[rank.number];
    const shard = { x: left + w * offset / padded, width: Math.max(own ? 1 : 0, w * own / padded) };
    const whole = { x: left, width: w };
    const [bytes, length] = rank.kept[unit][kind];
    const held = !bytes ? null : length === own && own !== padded ? shard : whole;
    parts.push(s("rect", { class: "outline", ...whole, y, height: up }));
    if (held) parts.push(s("rect", { ...held, y, height: up, fill: `url(#${kind})` }));
    let edge = left;
    counts.forEach((count, owner) => {
      const end = edge + w * count / padded;
      const padding = count - view.run.recorded_step.ranks[owner]?.elements[unit];
      if (padding > 0 && held && (held === whole || owner === rank.number)) {
        const thick = Math.max(1.5, w * padding / padded);
        parts.push(s("rect", { x: end - thick, width: thick, y, height: up, fill: "url(#padding)" }));
      }
      if (owner + 1 < counts.length && w > 3 * counts.length) {
        parts.push(s("line", { class: held === whole ? "divider" : "divider empty", x1: end, x2: end, y1: y, y2: y + up }));
      }
      edge = end;
    });
    if (!small && kind !== "optimizer") {
      const below = { y: y + up + 3, height: down };
      parts.push(s("rect", { class: "outline", ...whole, ...below, opacity: 0.6 }));
      if (kind === "parameter" && visiting.gathered[unit] > 0) parts.push(s("rect", { ...whole, ...below, fill: "url(#gathered)" }));
      if (kind === "gradient" && visiting.full_gradient[unit] > 0) parts.push(s("rect", { ...whole, ...below, fill: "url(#full_gradient)" }));
      if (kind === "gradient" && visiting.gradient[unit] > 0) {
        parts.push(s("rect", { ...shard, ...below, fill: "url(#gradient)", class: "edge" }));
      }
    }
    if (inside.some(([name, u]) => u === unit && busy(view.run.stage, name).includes(kind))) {
      const reach = kind === "optimizer" || small ? up : up + 3 + down;
      const box = inside.some(([name]) => name === "update") && held ? held : whole;
      parts.push(s("rect", { class: "busy", x: box.x - 1, width: box.width + 2, y: y - 1, height: (box === held ? up : reach) + 2, rx: 2 }));
    }
    left += w + gap;
  });
  return parts;
}

// Which kinds a call works on. Stage 0 gathers the summed gradient; the others gather parameters.
function busy(stage, name) {
  return { all_gather: stage === 0 ? ["gradient"] : ["parameter"], reduce_scatter: ["gradient"], forward: ["parameter"],
    backward: ["parameter", "gradient"], update: KEPT }[name] || [];
}

function bytesIn(view, rank, position, kind) {
  const kept = sum(rank.kept.map((unit) => unit[kind][0])), visiting = rank.visiting(position);
  const of = (name) => sum(Object.values(visiting[name]));
  if (kind === "parameter") return [kept, of("gathered"), 0];
  return kind === "gradient" ? [kept, of("full_gradient"), of("gradient")] : [kept, 0, 0];
}

function drawHoldings(view, width, small = false, position = view.position) {
  const labels = small || width < 480 ? 0 : 68, gap = small ? 12 : width < 480 ? 12 : 22;
  const column = (width - labels - 2 * gap) / 3;
  const head = small ? 18 : 44, above = labels || small ? 0 : 20;
  const { up, down, row: high } = heights(view, small), row = high + above;
  const parts = KEPT.map((kind, i) =>
    s("text", { class: "strong", x: labels + i * (column + gap), y: 12 }, say(small ? kind + "_short" : kind)));
  const shown = small ? view.ranks.slice(0, MOST_SHOWN) : view.ranks;
  shown.forEach((rank, r) => {
    const y = head + r * row + above, at = rank.asFarAs(view.rank, position);
    const mark = r === view.chosen && view.ranks.length > 1 ? "strong" : null, line = labels ? y + up / 2 + 4 : y - 6;
    if (!small) parts.push(s("text", { class: mark, x: 12, y: line }, `rank ${r}`));
    if (!small && mark) parts.push(s("text", { class: mark, x: 0, y: line }, "▸"));
    KEPT.forEach((kind, i) => {
      const x = labels + i * (column + gap);
      parts.push(...cell(view, rank, at, kind, x, y, column, small));
      if (small) return;
      const [kept, whole, shard] = bytesIn(view, rank, at, kind), more = whole + shard;
      parts.push(s("text", { class: "small", x, y: y + up + down + 17 }, more ? `${short(kept)} + ${short(more)}` : short(kept)));
    });
  });
  return svg(width, head + shown.length * row - (small ? 4 : 6), say("holdings_description", { stage: view.run.stage, ranks: view.run.world_size }), parts);
}

function holdingsTable(view) {
  const rows = view.ranks.flatMap((rank) => KEPT.map((kind) => {
    const [kept, whole, shard] = bytesIn(view, rank, rank.asFarAs(view.rank, view.position), kind);
    return [`rank ${rank.number}`, say(kind), exact(kept), exact(whole), exact(shard)];
  }));
  const header = ["rank", say("kind"), say("kept_bytes"), say("whole_bytes"), say("shard_bytes")];
  const units = view.units.map((unit, number) => [unit.name,
    Object.entries(unit.shapes).map(([name, shape]) => `${name} ${shape.join("×")}`).join(", "),
    exact(unit.elements), exact(sum(unit.counts) - unit.elements), unit.counts.map(exact).join(", ")]);
  return h("div", {}, table(header, rows, [1]), h("p", {}), table(
    ["unit", say("tensors"), say("elements"), "padding", say("counts")], units, [1]));
}

function drawSource(view) {
  const code = /\b(def|for|in|return|del|from|import)\b/;
  let inText = false;
  const lines = view.run.recorded_step.source.split("\n");
  if (lines.at(-1) === "") lines.pop();
  return lines.map((line, i) => {
    const quotes = line.split('"""').length - 1, text = inText || quotes > 0;
    if (quotes === 1) inText = !inText;
    const hash = text ? -1 : line.indexOf("#");
    const [before, comment] = hash < 0 ? [line, ""] : [line.slice(0, hash), line.slice(hash)];
    const pieces = text ? [h("span", { class: "comment" }, line)]
      : before.split(code).map((piece, j) => j % 2 ? h("b", {}, piece) : piece);
    return h("div", { "data-line": i + 1 }, h("span", { class: "number" }, String(i + 1)), pieces,
      comment ? h("span", { class: "comment" }, comment) : null);
  });
}

function markSource(view) {
  const panel = find("source");
  const before = panel.querySelector(".now"), now = view.line ? panel.children[view.line - 1] : null;
  if (before !== now) {
    before?.classList.remove("now");
    before?.removeAttribute("aria-current");
    now?.classList.add("now");
    now?.setAttribute("aria-current", "true");
  }
  if (!now) return;
  const top = now.offsetTop, bottom = top + now.offsetHeight;
  if (top < panel.scrollTop + 40 || bottom > panel.scrollTop + panel.clientHeight - 40) panel.scrollTop = top - panel.clientHeight / 2;
}

// ---- Memory over one step

function drawMemory(view, width, { most, small = false, changed, label }) {
  const rank = view.rank, places = rank.live.length;
  const lanes = rank.events.some((event) => event[1] === "several") ? 0 : 2;
  const left = small ? 46 : 62, right = 4, top = 30, tall = small ? 230 : 300;
  const bottom = top + tall, laneHeight = small ? 12 : 20, height = bottom + (lanes ? 14 + lanes * (laneHeight + 4) : 10);
  const x = (position) => left + (width - left - right) * position / places;
  const y = (bytes) => bottom - tall * bytes / most;
  const parts = [];
  for (const bytes of ticks(most, small ? 3 : 5)) {
    parts.push(s("line", { class: "axis", x1: left, x2: width - right, y1: y(bytes), y2: y(bytes) }));
    parts.push(s("text", { class: "small", x: left - 8, y: y(bytes) + 4, "text-anchor": "end" }, short(bytes)));
  }
  let below = rank.live.map(() => 0);
  for (const kind of KINDS) {
    const above = rank.live.map((live, p) => below[p] + live[kind]);
    if (rank.live.some((live) => live[kind])) {
      let path = `M${x(0)} ${y(below[0])}`;
      above.forEach((bytes, p) => { path += `V${y(bytes).toFixed(2)}H${x(p + 1).toFixed(2)}`; });
      for (let p = places - 1; p >= 0; p--) path += `V${y(below[p]).toFixed(2)}H${x(p).toFixed(2)}`;
      parts.push(s("path", { d: path + "Z", fill: `url(#${kind})`, "data-kind": kind }));
    }
    below = above;
  }
  const measured = view.run.ranks[rank.number], predicted = rank.predicted.peak_total_bytes;
  const resting = total(measured.predicted.resting_bytes), peak = rank.total[rank.peakAt];
  const line = (bytes) => s("line", { class: "formula", x1: left, x2: width - right, y1: y(bytes), y2: y(bytes) });
  parts.push(line(predicted), line(resting));
  if (!small) {
    parts.push(s("text", { class: "strong halo", x: left + 4, y: y(predicted) - 8 }, peakInWords(peak, predicted)));
    if (width > 520) parts.push(s("text", { class: "strong halo", x: width - right - 2, y: y(resting) - 7, "text-anchor": "end" }, say("resting_formula", { bytes: exact(resting) })));
  }
  parts.push(s("circle", { class: "dot", cx: x(rank.peakAt + 0.5), cy: y(peak), r: 4 }));
  if (lanes) parts.push(...drawLanes(view, x, bottom + 12, laneHeight, small));
  const cursor = s("line", { class: "cursor", y1: top - 6, y2: height });
  const dot = s("circle", { class: "dot", r: 4.5 });
  const picture = svg(width, height, "", parts, cursor, dot);
  const follow = () => {
    const at = x(view.position + 0.5);
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
    dot.setAttribute("cx", at);
    dot.setAttribute("cy", y(view.rank.total[view.position]));
  };
  slider(picture, { label, count: places, at: () => view.position, text: () => sentences(inWords(view), inNumbers(view)),
    place: (px) => Math.floor((px - left) / (width - left - right) * places), set: (to) => { view.position = to; changed(); } });
  follow();
  return [picture, follow];
}

function peakInWords(measured, formula) {
  return say(measured === formula ? "peak_equal" : "peak_differs", { measured: exact(measured), formula: exact(formula) });
}

// Under the picture: passes through units above, collectives below.
function drawLanes(view, x, top, height, small) {
  const parts = [], open = [];
  const initials = { forward: "F", backward: "B", update: "U", all_gather: "AG", reduce_scatter: "RS", sum: "Σ" };
  view.rank.events.forEach(([, what, name, unit], i) => {
    if (what === "begin") open.push(i);
    if (what !== "end") return;
    const begin = open.pop(), lane = ["forward", "backward", "update"].includes(name) ? 0 : 1;
    const from = x(begin + 0.4), to = x(i + 1.6), text = (initials[name] || name) + (unit === null ? "" : unit);
    parts.push(s("rect", { class: lane ? "block collective" : "block", x: from, width: Math.max(1, to - from), y: top + lane * (height + 4), height, rx: 2 },
      s("title", {}, `${name} ${unit === null ? "" : view.units[unit].name}`)));
    const word = [text, initials[name] || ""].find((each) => each && to - from > 6.3 * each.length + 2);
    if (!small && word) {
      parts.push(s("text", { class: "tiny", x: (from + to) / 2, y: top + lane * (height + 4) + 14, "text-anchor": "middle" }, word));
    }
  });
  return parts;
}

function ticks(most, about) {
  const rough = most / about, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
}

function legendOf(view) {
  const rank = view.rank, live = rank.live[view.position];
  const rows = [...KINDS].reverse().filter((kind) => rank.live.some((at) => at[kind])).map((kind) =>
    h("li", {}, swatch(kind), h("span", {}, say(kind)), h("span", { class: "value" }, exact(live[kind]))));
  return [...rows, h("li", { class: "total" }, h("span", {}, say("total")), h("span", { class: "value" }, exact(rank.total[view.position])))];
}

function memoryTable(view) {
  const rank = view.rank;
  const rows = rank.events.map(([time, what, name, unit, bytes, line, place], i) => [
    exact(i + 1), exact(time), say(what in { begin: 1, end: 1 } ? what : what + "_table"), DATA.words[name] ? say(name) : name, unit === null ? "" : view.units[unit].name,
    what === "several" ? "" : what === "begin" ? "" : what === "end" ? exact(bytes) : signed(bytes),
    exact(rank.total[i + 1]), line ? String(line) : "", rank.places[place]]);
  return table(["", "µs", say("what"), say("name"), "unit", say("bytes"), say("alive_bytes"), say("line"), say("place")], rows, [2, 3, 4, 8]);
}

// ---- Per rank, beside the formulas

function beside(measured, formula) {
  return measured === formula ? `${exact(measured)} =` : say("not_equal", { measured: exact(measured), formula: exact(formula) });
}

function ranksTable(run) {
  const header = ["rank", say("samples"), ...KEPT.map((kind) => say(kind)), say("at_rest"), say("peak"), say("sent_per_step")];
  return table(header, run.ranks.map((rank, number) => [String(number), exact(rank.samples),
    ...KEPT.map((kind) => exact(rank.resting_bytes[kind])),
    beside(total(rank.resting_bytes), total(rank.predicted.resting_bytes)),
    beside(rank.peak_total_bytes, rank.predicted.peak_total_bytes),
    beside(total(rank.sent_bytes_per_step), total(rank.predicted.sent_bytes_per_step))]));
}

// ---- Traffic

function drawTraffic(run, width) {
  const shown = run.ranks.slice(0, MOST_SHOWN), bar = 16, left = 56, right = 150;
  const most = Math.max(1, ...run.ranks.flatMap((rank) => COLLECTIVES.flatMap((name) =>
    [rank.sent_bytes_per_step[name], rank.predicted.sent_bytes_per_step[name]])));
  const length = (bytes) => (width - left - right) * bytes / most;
  const parts = [];
  let y = 0;
  for (const name of COLLECTIVES) {
    parts.push(s("text", { class: "strong", x: 0, y: y + 14 },
      `${say("collective_" + name)} · ${say("calls", { number: exact(shown[0].calls_per_step[name]) })}`));
    y += 24;
    shown.forEach((rank, number) => {
      const measured = rank.sent_bytes_per_step[name], formula = rank.predicted.sent_bytes_per_step[name];
      const end = left + length(formula);
      parts.push(s("text", { class: "small", x: 0, y: y + 12 }, `rank ${number}`));
      parts.push(s("rect", { x: left, y: y + 2, width: Math.max(measured ? 1 : 0, length(measured)), height: bar - 4,
        fill: `url(#${{ reduce_scatter: "gradient", all_gather: "parameter", other: "buffer" }[name]})` }));
      parts.push(s("path", { class: "cursor", fill: "none", d: `M${end} ${y}V${y + bar}` }));
      parts.push(s("text", { class: "small", x: left + Math.max(length(measured), length(formula)) + 8, y: y + 12 }, beside(measured, formula)));
      y += bar + 2;
    });
    y += 18;
  }
  return svg(width, y - 12, say("traffic_description"), parts);
}

function drawMap(run, width) {
  const all = run.traffic, n = Math.min(all.length, 16), left = 58, top = 44;
  const size = Math.min(76, (width - left) / n), most = Math.max(1, ...all.flat());
  const parts = [s("text", { class: "strong", x: left, y: 12 }, say("to_rank")), s("text", { class: "small", x: 0, y: top - 10 }, say("from_rank"))];
  for (let i = 0; i < n; i++) {
    parts.push(s("text", { class: "small", x: left + (i + 0.5) * size, y: top - 10, "text-anchor": "middle" }, String(i)));
    parts.push(s("text", { class: "small", x: left - 10, y: top + (i + 0.5) * size + 4, "text-anchor": "end" }, `rank ${i}`));
    for (let j = 0; j < n; j++) {
      const bytes = all[i][j], share = bytes / most, x = left + j * size, y = top + i * size;
      parts.push(s("rect", { class: "outline", x, y, width: size - 3, height: size - 3, rx: 3 }));
      if (i === j) parts.push(s("line", { class: "axis", x1: x + 8, y1: y + size - 11, x2: x + size - 11, y2: y + 8 }));
      else if (bytes) {
        // The area says how much, not the colour alone.
        const side = (size - 3) * Math.sqrt(share);
        parts.push(s("rect", { class: "parameter", opacity: 0.3, x, y: y + size - 3 - side, width: side, height: side, rx: 3 }));
      }
      if (i !== j && size > 48) parts.push(s("text", { class: "small strong", x: x + (size - 3) / 2, y: y + size / 2 + 3, "text-anchor": "middle" }, short(bytes)));
    }
  }
  return svg(width, top + n * size, say("map_description"), parts);
}

function trafficTable(run) {
  const rows = run.ranks.flatMap((rank, number) => COLLECTIVES.map((name) => [`rank ${number}`, say("collective_" + name),
    exact(rank.calls_per_step[name]), exact(rank.sent_bytes_per_step[name]), exact(rank.predicted.sent_bytes_per_step[name])]));
  const parts = [table(["rank", say("collective"), say("calls_head"), say("sent_bytes"), say("formula")], rows, [1])];
  if (run.traffic) {
    parts.push(h("p", {}), table([say("from_to"), ...run.traffic.map((_, rank) => `rank ${rank}`)],
      run.traffic.map((row, rank) => [`rank ${rank}`, ...row.map((bytes, to) => to === rank ? "" : exact(bytes))])));
  }
  return h("div", {}, parts);
}

// ---- Loss

// One or more curves [{ name, points: [[step, value], ...] }] over steps; linear, or logarithmic where `log`.
function drawCurves(curves, width, height, { log = false, description, readout }) {
  const left = 62, right = 8, top = 10, bottom = height - 28;
  const known = curves.flatMap((curve) => curve.points).filter(([, value]) => value !== null && (!log || value > 0));
  const values = known.map(([, value]) => value), steps = curves.flatMap((curve) => curve.points.map(([step]) => step));
  const [first, last] = [Math.min(...steps), Math.max(...steps)];
  let low = log ? Math.floor(Math.log10(Math.min(...values))) : Math.min(0, ...values);
  let high = log ? Math.ceil(Math.log10(Math.max(...values)) + 1e-9) : Math.max(...values);
  if (!known.length) [low, high] = [0, 1];
  if (high <= low) high = low + 1;
  const x = (step) => left + (width - left - right) * (last === first ? 0.5 : (step - first) / (last - first));
  const y = (value) => bottom - (bottom - top) * ((log ? Math.log10(value) : value) - low) / (high - low);
  const parts = [];
  const marks = log ? Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i)).filter((_, i, all) => i % Math.ceil(all.length / 6) === 0)
    : ticks(high - low, 4).map((t) => t + low);
  for (const value of marks) {
    parts.push(s("line", { class: "axis", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    parts.push(s("text", { class: "small", x: left - 8, y: y(value) + 4, "text-anchor": "end" }, log ? value.toExponential(0) : String(+value.toPrecision(4))));
  }
  const marked = ticks(last - first || 1, width < 500 ? 3 : 6), every = Math.max(1, marked[1] || 1);
  const between = [first, ...ticks(last, Math.max(1, last / every)).filter((t) => Number.isInteger(t) && t > first + every / 3 && t <= last)];
  for (const step of between) {
    parts.push(s("text", { class: "small", x: x(step), y: bottom + 18, "text-anchor": step === first ? "start" : "middle" }, exact(step)));
  }
  curves.forEach((curve, number) => {
    let path = "", pen = "M";
    for (const [step, value] of curve.points) {
      if (value === null || (log && value <= 0)) { pen = "M"; continue; }
      const across = x(step).toFixed(1), up = y(value).toFixed(1);
      path += pen === "M" ? `M${across} ${up}` : log ? `H${across}V${up}` : `L${across} ${up}`;  // "so far" goes by steps
      pen = "L";
    }
    parts.push(s("path", { class: number ? "curve other" : "curve", d: path }));
  });
  const picture = svg(width, height, description, parts);
  if (!readout) return picture;
  const points = curves[0].points, cursor = s("line", { class: "cursor", y1: top, y2: bottom }), dot = s("circle", { class: "dot", r: 4 });
  picture.append(cursor, dot);
  let at = points.length - 1;
  const set = (to) => {
    at = to;
    const [step, value] = points[at];
    cursor.setAttribute("x1", x(step));
    cursor.setAttribute("x2", x(step));
    dot.setAttribute("cx", x(step));
    dot.setAttribute("cy", value === null ? bottom : y(value));
    readout(step, value);
  };
  const nearest = (px) => points.reduce((best, [step], i) => Math.abs(x(step) - px) < Math.abs(x(points[best][0]) - px) ? i : best, 0);
  slider(picture, { label: description, count: points.length, at: () => at, set, place: nearest, text: () => find("loss-caption").textContent });
  set(at);
  return picture;
}

// Runs that do not differ at all share one sentence.
function grouped(differences) {
  const same = (a, b) => a.most === 0 && b.most === 0 && a.steps === b.steps && a.same_weights === b.same_weights;
  const groups = [];
  for (const difference of differences) {
    const group = groups.find((other) => same(other, difference));
    if (group) group.name += ", " + difference.name; else groups.push({ ...difference });
  }
  return groups;
}

function drawLoss() {
  const width = widthOf(find("loss-picture"));
  const curves = [...DATA.runs, ...DATA.compared].map((run) => ({ name: run.name, points: run.loss }));
  const others = curves.slice(1);
  find("loss-about").textContent = sentences(say("loss_about"), others.length && say("loss_others", { names: others.map((c) => c.name).join(", ") }));
  const run = DATA.runs[0], drawn = run.loss.length < run.steps && say("points_left_out", { drawn: exact(run.loss.length), all: exact(run.steps) });
  find("loss-picture").replaceChildren(drawCurves(curves, width, width < 500 ? 200 : 260, {
    description: say("loss_description"),
    readout: (step, value) => { find("loss-caption").textContent = sentences(say("loss_at", { step: exact(step), loss: loss(value) }), drawn); },
  }));
  find("differences").replaceChildren(...grouped(DATA.differences).map((difference) => {
    const values = { name: difference.name, steps: exact(difference.steps), most: difference.most === null ? say("not_finite") : difference.most.toExponential(3) };
    const weights = say(difference.same_weights ? "same_weights" : "other_weights");
    if (!difference.steps) return h("p", { class: "note" }, say("no_common_step", values));
    if (difference.most === 0) return h("p", { class: "equal" }, sentences(say("exactly_0", values), weights));
    return h("figure", {}, h("h3", {}, say("difference", values)),
      drawCurves([{ points: difference.so_far }], width, 180, { log: true, description: say("difference_description", values) }),
      h("figcaption", {}, sentences(say("difference_about", values), weights)));
  }));
  tableIn(find("loss-table"), () => {
    const rows = run.loss.map(([step, value], i) => [exact(step), value === null ? say("not_finite") : String(value),
      ...others.map((other) => { const point = other.points.find(([theirs]) => theirs === step); return point ? String(point[1]) : ""; })]);
    return table([say("step"), say("loss"), ...others.map((other) => other.name)], rows);
  });
}

// ---- Several runs side by side

const views = DATA.runs.map((run) => run.recorded_step ? new View(run) : null);

function worst(run, of) {
  return run.ranks.reduce((best, rank) => of(rank) > of(best) ? rank : best);
}

function drawRuns() {
  const first = DATA.runs[0];
  find("runs-table").replaceChildren(table(
    [say("stage"), say("file"), "N", say("at_rest"), say("peak"), say("sent_per_step"), say("last_loss"), say("weights")],
    DATA.runs.map((run) => {
      const rest = worst(run, (r) => total(r.resting_bytes)), peak = worst(run, (r) => r.peak_total_bytes);
      const sent = worst(run, (r) => total(r.sent_bytes_per_step));
      return [String(run.stage), run.name, String(run.world_size),
        beside(total(rest.resting_bytes), total(rest.predicted.resting_bytes)),
        beside(peak.peak_total_bytes, peak.predicted.peak_total_bytes),
        beside(total(sent.sent_bytes_per_step), total(sent.predicted.sent_bytes_per_step)),
        loss(run.loss.at(-1)[1]),
        h("code", {}, run.weights_sha256.slice(0, 16) + (run !== first && run.weights_sha256 === first.weights_sha256 ? " =" : ""))];
    }), [1, 7]));
  const known = views.filter((view) => view);
  for (const view of known) view.chosen = view.ranks.reduce((best, rank, i) => rank.total[rank.peakAt] > view.ranks[best].total[view.ranks[best].peakAt] ? i : best, 0);
  const most = 1.14 * Math.max(...known.map((view) => Math.max(view.rank.total[view.rank.peakAt], view.rank.predicted.peak_total_bytes)));
  const legend = document.querySelector("[data-legend]");
  legend.replaceChildren(...KINDS.filter((kind) => known.some((view) => view.rank.live.some((live) => live[kind])))
    .map((kind) => h("li", {}, swatch(kind), say(kind))));
  const places = find("timelines");
  places.replaceChildren(...DATA.runs.map((run) => h("figure", {}, h("h3", {}, say("stage_number", { stage: run.stage })))));
  tableIn(find("timelines-table"), () => table([say("file"), say("kind"), say("at_rest"), say("peak")],
    DATA.runs.flatMap((run) => KINDS.map((kind) => [run.name, say(kind), exact(Math.max(...run.ranks.map((r) => r.resting_bytes[kind]))),
      exact(Math.max(...run.ranks.map((r) => r.peak_bytes[kind])))])), [1]));
  views.forEach((view, i) => {
    const run = DATA.runs[i];
    const place = places.children[i], width = widthOf(place);
    if (!view) return place.append(h("p", { class: "note" }, say("no_events")));
    if (view.position === 0) view.position = view.rank.peakAt;
    const readout = h("p", { class: "readout" }), rank = view.rank;
    const lines = [peakInWords(rank.total[rank.peakAt], rank.predicted.peak_total_bytes),
      say("resting_formula", { bytes: exact(total(run.ranks[view.chosen].predicted.resting_bytes)) })];
    const [picture, follow] = drawMemory(view, width, { most, small: true, label: say("memory_description", { rank: view.chosen }) + " " + say("stage_number", { stage: view.run.stage }),
      changed: () => changed() });
    const changed = () => {
      follow();
      readout.textContent = `rank ${view.chosen} · ${sentences(inWords(view), inNumbers(view))}`;
    };
    place.append(drawHoldings(view, width, true, 0), h("p", { class: "facts" }, lines[0], h("br"), lines[1]), picture, readout);
    changed();
  });
}

// ---- One run: its pictures follow one position

let view = DATA.runs.length === 1 ? views[0] : null;
let followMemory = () => {};
let playing = null;

function move(position) {
  view.position = Math.max(0, Math.min(view.rank.events.length, position));
  show();
}

function show() {
  find("holdings-picture").replaceChildren(drawHoldings(view, widthOf(find("holdings-picture"))));
  find("now-words").textContent = inWords(view);
  find("now-numbers").textContent = inNumbers(view);
  const range = find("position");
  range.max = view.rank.events.length;
  range.value = view.position;
  range.setAttribute("aria-valuetext", inWords(view));
  markSource(view);
  followMemory();
  find("memory-legend").replaceChildren(...legendOf(view));
  if (find("holdings-table").open) tableIn(find("holdings-table"), () => holdingsTable(view));
}

function choose(rank) {
  const other = view.ranks[rank];
  view.position = other.asFarAs(view.rank, view.position);
  view.chosen = rank;
  drawStep();
}

function play(on) {
  clearInterval(playing);
  playing = on ? setInterval(() => {
    if (view.position >= view.rank.events.length) return play(false);
    move(view.position + 1);
  }, 220) : null;
  find("play").textContent = say(on ? "pause" : "play");
}

function drawButtons() {
  const act = (id, key, action) => {
    const button = h("button", { type: "button", id, title: say(key + "_title") }, say(key));
    button.onclick = action;
    return button;
  };
  const focused = document.activeElement?.id;
  find("buttons").replaceChildren(
    act("call-back", "call_back", () => move(view.rank.nextCall(view.position, -1))),
    act("event-back", "event_back", () => move(view.position - 1)),
    act("event-on", "event_on", () => move(view.position + 1)),
    act("call-on", "call_on", () => move(view.rank.nextCall(view.position, 1))),
    act("play", playing ? "pause" : "play", () => {
      if (!playing && view.position >= view.rank.events.length) move(0);
      play(!playing);
    }));
  find("ranks").replaceChildren(h("span", { class: "label" }, say("look_at")), ...view.ranks.slice(0, MOST_SHOWN).map((_, number) => {
    const button = h("button", { type: "button", id: `rank-${number}`, "aria-pressed": String(number === view.chosen), "aria-label": `rank ${number}` }, String(number));
    button.onclick = () => choose(number);
    return button;
  }));
  if (focused) find(focused)?.focus();
}

function drawStep() {
  const run = view.run, step = run.recorded_step;
  drawButtons();
  find("position").setAttribute("aria-label", say("position"));
  const most = 1.12 * Math.max(...view.ranks.map((rank) => Math.max(rank.total[rank.peakAt], rank.predicted.peak_total_bytes)));
  const [picture, follow] = drawMemory(view, widthOf(find("memory-picture")), { most, changed: show, label: say("memory_description", { rank: view.chosen }) });
  followMemory = follow;
  find("memory-picture").replaceChildren(picture);
  const notes = [say("holdings_caption", { step: exact(step.step) })];
  if (run.config.shard_model === "random" || run.config.shard_model === "hash") notes.push(say("rank_order", { rule: run.config.shard_model }));
  if (step.units.length > MOST_UNITS) notes.push(say("units_left_out", { drawn: MOST_UNITS, all: exact(step.units.length) }));
  if (run.world_size > view.ranks.length) notes.push(say("ranks_left_out", { drawn: view.ranks.length, all: exact(run.world_size) }));
  if (step.events_drawn < step.events_recorded) notes.push(say("events_left_out", { drawn: exact(step.events_drawn), all: exact(step.events_recorded) }));
  find("holdings-caption").textContent = sentences(...notes);
  const whole = run.ranks[view.chosen].peak_total_bytes, here = view.rank.total[view.rank.peakAt];
  const thinned = view.rank.events.some((event) => event[1] === "several");
  find("memory-caption").textContent = sentences(say("memory_axis"), !thinned && say("memory_lanes"),
    say("resting_formula", { bytes: exact(total(run.ranks[view.chosen].predicted.resting_bytes)) }) + say("stop"),
    say(whole === here ? "peak_of_run_same" : "peak_of_run", { bytes: exact(whole) }));
  find("source-file").textContent = "zero_ref/" + step.file;
  find("source").setAttribute("aria-label", "zero_ref/" + step.file);
  if (!find("source").children.length) {
    find("source").replaceChildren(...drawSource(view));
    const line = step.source.split("\n").findIndex((text) => text.startsWith("def step"));
    find("source").scrollTop = find("source").children[Math.max(0, line)].offsetTop - 12;
  }
  tableIn(find("holdings-table"), () => holdingsTable(view));
  tableIn(find("memory-table"), () => memoryTable(view));
  show();
}

function drawNumbers(run) {
  const rest = worst(run, (r) => total(r.resting_bytes)), peak = worst(run, (r) => r.peak_total_bytes);
  const sent = worst(run, (r) => total(r.sent_bytes_per_step));
  const against = (measured, formula) => measured === formula ? say("as_formula") : say("formula_says", { bytes: exact(formula) });
  const test = Object.entries(run.test || {}).filter(([, value]) => value !== null).map(([name, value]) => `${DATA.words["test_" + name] ? say("test_" + name) : name} ${value.toFixed(4)}`);
  const tiles = [
    ["at_rest", exact(total(rest.resting_bytes)), against(total(rest.resting_bytes), total(rest.predicted.resting_bytes))],
    ["peak", exact(peak.peak_total_bytes), against(peak.peak_total_bytes, peak.predicted.peak_total_bytes)],
    ["sent_per_step", exact(total(sent.sent_bytes_per_step)), against(total(sent.sent_bytes_per_step), total(sent.predicted.sent_bytes_per_step))],
    ["loss", `${loss(run.loss[0][1])} → ${loss(run.loss.at(-1)[1])}`, test.length ? test.join(language === "zh" ? "，" : ", ") : say("no_test")],
    ["weights", run.weights_sha256.slice(0, 16), say("weights_about")],
  ];
  find("numbers").replaceChildren(...tiles.map(([key, number, about]) => h("div", {}, h("dt", {}, say(key)), h("dd", {}, number), h("dd", { class: "about" }, about))));
}

function drawRun(run) {
  drawNumbers(run);
  find("ranks-table").replaceChildren(ranksTable(run));
  find("ranks-table").setAttribute("aria-label", say("table"));
  find("traffic-picture").replaceChildren(drawTraffic(run, widthOf(find("traffic-picture"))));
  const several = run.world_size > MOST_SHOWN && say("ranks_left_out", { drawn: MOST_SHOWN, all: exact(run.world_size) });
  find("traffic-caption").textContent = sentences(say("traffic_caption"), several);
  find("map-picture").replaceChildren(...(run.traffic ? [drawMap(run, widthOf(find("map-picture")))] : []));
  const ring = run.config.reduce === "ring" ? "map_ring" : "map_direct";
  find("map-caption").textContent = run.traffic ? sentences(say(ring), run.world_size > 16 && say("ranks_left_out", { drawn: 16, all: exact(run.world_size) })) : say("no_events");
  tableIn(find("traffic-table"), () => trafficTable(run));
}

function about(run) {
  const c = run.config, widths = (c.hidden || []).join("-");
  return say("about", { model: c.model + (widths ? ` (${widths})` : ""), parameters: exact(run.parameters), data: c.data, optimizer: c.optimizer,
    dtype: c.dtype, batch: exact(c.batch_size || 0), micro: exact(c.micro_batches || 1), steps: exact(run.steps), rule: [c.shard_model].flat().join(","), reduce: c.reduce,
    milliseconds: (1000 * run.seconds_per_step).toFixed(2) });
}

function draw() {
  const one = DATA.runs.length === 1, run = DATA.runs[0];
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const button of document.querySelectorAll(".languages button")) button.setAttribute("aria-pressed", String(button.lang === language));
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = say(element.dataset.word);
  const title = one ? say("title", { stage: run.stage, ranks: run.world_size }) : say("title_of_several", { stages: DATA.runs.map((r) => r.stage).join(", ") });
  document.title = title;
  find("title").textContent = title;
  find("about").textContent = about(run);
  find("numbers").hidden = find("ranks-held").hidden = find("traffic").hidden = !one;
  find("holdings").hidden = find("memory").hidden = !view;
  find("runs").hidden = one;
  find("runs-table").setAttribute("aria-label", say("table"));
  if (one) drawRun(run); else drawRuns();
  if (view) drawStep();
  drawLoss();
}

function speak(chosen) {
  language = chosen;
  if (location.hash.slice(1) !== chosen) location.hash = chosen;
  draw();
}

for (const button of document.querySelectorAll(".languages button")) button.onclick = () => speak(button.lang);
find("position").oninput = (event) => move(Number(event.target.value));
window.addEventListener("hashchange", () => { if (chosenLanguage() !== language) speak(chosenLanguage()); });

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
