"use strict";

// The pictures. Each function gives an SVG for a width in pixels; what a pattern means is in page.html.

const MOST_UNITS = 48; // that are drawn
const MOST_BARS = 8; // ranks with bars of their own
const MOST_CELLS = 16; // ranks in the map of traffic

// ---- Who holds what

function unitsDrawn(view) {
  const all = view.units.map((_, number) => number);
  if (all.length <= MOST_UNITS) return all;
  return [...all.slice(0, MOST_UNITS / 2), ...all.slice(-MOST_UNITS / 2)];
}

// Pixels: of the bar of what is kept, of the bar of what visits, from rank to rank.
function heights(view) {
  return view.ranks.length <= 4 ? { up: 32, down: 18, row: 92 } : { up: 22, down: 14, row: 70 };
}

// Which kinds a call works on. What is gathered is parameters; the summed gradient only where every rank
// updates all of them.
function worksOn(keeps, call) {
  if (call === "all_gather") return keeps.optimizer === "all" ? ["gradient"] : ["parameter"];
  const passes = { forward: ["parameter"], backward: ["parameter", "gradient"], update: KEPT };
  const ahead = { start_all_gather: ["parameter"], finish_all_gather: ["parameter"] };
  Object.assign(ahead, { start_second_copy: ["parameter"], await_second_copy: ["parameter"] });
  const sums = ["reduce_scatter", "start_reduce_scatter", "finish_reduce_scatter", "sum_between_groups"];
  sums.push("reduce_inside", "await_reduce_inside", "reduce_between");
  if (sums.includes(call)) return ["gradient"];
  return { ...ahead, ...passes }[call] || [];
}

// The pattern of what travels in a collective: parameters, gradients, or a number.
function travelling(keeps, call) {
  const [kind] = worksOn(keeps, call);
  return { parameter: "gathered", gradient: "full_gradient" }[kind] || "buffer";
}

// Where the units lie in a bar from x to x + width: [number, x, width] of each. Small ones are widened.
function placesOfUnits(view, x, width) {
  const units = unitsDrawn(view);
  const gap = units.length > 20 ? 1 : 3;
  const room = width - gap * (units.length - 1);
  const psi = units.map((unit) => view.units[unit].padded);
  const least = Math.min(24, room / units.length / 2);
  const wanted = psi.map((n) => Math.max(least, (room * n) / (sum(psi) || 1)));
  const places = [];
  for (const [i, unit] of units.entries()) {
    const wide = (wanted[i] * room) / sum(wanted);
    places.push([unit, x, wide]);
    x += wide + gap;
  }
  return places;
}

// Where a shard lies in its unit, and how wide it is: wide enough to be seen.
function placeOfShard([first, count], left, wide, scale) {
  const reach = count ? Math.min(wide, Math.max(3, scale * count)) : 0;
  return [Math.min(left + scale * first, left + wide - reach), reach];
}

// One kind on one rank: what it keeps (above) and what visits it (below), unit by unit.
function drawCell(view, rank, position, kind, x, y, width) {
  const { up, down } = heights(view);
  const visiting = rank.visiting(position);
  const below = y + up + 3;
  const parts = [];
  for (const [unit, left, wide] of placesOfUnits(view, x, width)) {
    const { counts, padded, shards } = view.units[unit];
    const scale = wide / (padded || 1);
    const own = shards[rank.row][1];
    const [shardAt, shardWide] = placeOfShard(shards[rank.row], left, wide, scale);
    const [bytes, length] = rank.kept[unit][kind];
    const all = bytes > 0 && (length !== own || own === padded); // or only its shard
    const [heldAt, heldWide] = all ? [left, wide] : [shardAt, shardWide];

    parts.push(rect(left, y, wide, up, { class: "outline" }));
    if (bytes) parts.push(rect(heldAt, y, heldWide, up, patternOf(kind)));
    for (const owner of view.ranks) {
      const padding = shards[owner.row][1] - owner.elements[unit];
      if (padding && bytes && (all || owner === rank)) {
        const [at, reach] = placeOfShard(shards[owner.row], left, wide, scale);
        const thick = Math.max(1.5, scale * padding);
        parts.push(rect(at + reach - thick, y, thick, up, patternOf("padding")));
      }
    }
    let end = left;
    for (const count of wide > 3 * counts.length ? counts.slice(0, -1) : []) {
      end += scale * count;
      parts.push(line(end, y, end, y + up, all ? "divider" : "divider empty"));
    }
    if (kind !== "optimizer") {
      parts.push(rect(left, below, wide, down, { class: "outline", opacity: 0.6 }));
      const whole = kind === "parameter" ? "gathered" : "full_gradient";
      if (visiting[whole][unit] > 0) parts.push(rect(left, below, wide, down, patternOf(whole)));
      if (kind === "gradient" && visiting.gradient[unit] > 0) {
        parts.push(rect(shardAt, below, shardWide, down, { ...patternOf("gradient"), class: "edge" }));
      }
    }
    const calls = rank.inside[position].filter(([, u]) => u === unit).map(([name]) => name);
    if (calls.some((name) => worksOn(view.run.keeps, name).includes(kind))) {
      const updates = calls.includes("update"); // each rank what it has optimizer state of
      const summed = updates && kind === "gradient" && visiting.gradient[unit] > 0; // at stage 1
      const [from, tall] = summed ? [below, down] : [y, updates ? up : up + 3 + down];
      const [at, reach] = updates && view.run.keeps.optimizer === "1/N" ? [shardAt, shardWide] : [left, wide];
      parts.push(rect(at - 1, from - 1, reach + 2, tall + 2, { class: "busy", rx: 2 }));
    }
  }
  return parts;
}

// What one rank holds of a kind: bytes kept, whole units that visit, its own shard that visits.
function bytesOf(rank, position, kind) {
  const kept = sum(rank.kept.map((unit) => unit[kind][0]));
  const visiting = rank.visiting(position);
  if (kind === "parameter") return [kept, total(visiting.gathered), 0];
  return kind === "gradient" ? [kept, total(visiting.full_gradient), total(visiting.gradient)] : [kept, 0, 0];
}

// Letters of "rank 1023".
const longestName = (run) => Math.max(...run.numbers.slice(0, MOST_CELLS).map((n) => `rank ${n}`.length));

// Columns for the three kinds, in so many pixels: from the left of each, and how wide they are.
function columnsIn(view, width) {
  const narrow = width < 480;
  const left = narrow ? 0 : Math.max(68, 22 + 7 * longestName(view.run));
  const gap = narrow ? 12 : 22;
  const column = (width - left - 2 * gap) / 3;
  return { narrow, column, starts: KEPT.map((_, i) => left + i * (column + gap)) };
}

const NARROWEST_SHARD = 5; // pixels, of a shard that is drawn by itself

// Whether shards of units would be too narrow: then a rank has one bar for all of them.
function isCoarse(view, width) {
  const pieces = view.group * Math.min(view.units.length, MOST_UNITS);
  return columnsIn(view, width).column / pieces < NARROWEST_SHARD;
}

function bytesInWords([kept, ...more]) {
  return sum(more) ? `${short(kept)} + ${short(sum(more))}` : short(kept);
}

// "▸ rank 1" beside or above a row.
function drawName(view, rank, y) {
  const chosen = rank === view.rank && view.ranks.length > 1;
  const name = text(12, y, `rank ${rank.number}`, { class: chosen ? "strong" : null });
  return chosen ? [name, text(0, y, "▸", { class: "strong" })] : [name];
}

function drawHoldings(view, width) {
  const { narrow, column, starts } = columnsIn(view, width);
  const { position, ranks } = view;
  const [head, above] = [44, narrow ? 20 : 0]; // above: for the rank's name
  const { up, down, row } = heights(view);
  const parts = [];
  for (const [i, kind] of KEPT.entries()) {
    parts.push(text(starts[i], 12, say(kind), { class: "strong" }));
    for (const [unit, at, wide] of placesOfUnits(view, starts[i], column)) {
      const name = view.units[unit].name;
      const fits = wide > 6.4 * name.length ? name : name.replace(/^layers/, "");
      if (wide > 6.4 * fits.length) parts.push(text(at, 32, fits, { class: "small" }));
    }
    for (const rank of ranks) {
      const y = head + rank.row * (row + above) + above;
      const at = rank.asFarAs(view.rank, position);
      parts.push(...drawCell(view, rank, at, kind, starts[i], y, column));
      parts.push(text(starts[i], y + up + down + 17, bytesInWords(bytesOf(rank, at, kind)), { class: "small" }));
    }
  }
  for (const rank of ranks) {
    parts.push(...drawName(view, rank, head + rank.row * (row + above) + above + (narrow ? -6 : up / 2 + 4)));
  }
  const about = say("holdings_description", { stage: view.run.stage, ranks: ranks.length });
  return svg(width, head + ranks.length * (row + above) - 6, about, parts);
}

// ---- The same of a large run: a bar a rank, and the units of the rank that is looked at

// Bytes of a whole unit of one kind, kept by somebody.
const wholeOf = (view) => Math.max(1, view.units.reduce((all, { padded }) => all + padded, 0));

// A kind on one rank: the share that it keeps, and below it what visits, where it lies in the model.
function drawTotal(view, rank, at, kind, x, y, width) {
  const whole = wholeOf(view);
  const scale = width / whole;
  const kept = sum(rank.kept.map((unit) => unit[kind][0]));
  const parts = [rect(x, y, width, 16, { class: "outline" })];
  if (kept) {
    const own = sum(view.units.map(({ shards }) => shards[rank.row][1]));
    const part = view.run.keeps[kind] === "1/N";
    const [from, wide] = part ? placeOfShard([((whole - own) * (rank.number % view.group)) / Math.max(1, view.group - 1), own], x, width, scale) : [x, width];
    parts.push(rect(from, y, wide, 16, patternOf(kind)));
  }
  if (kind === "optimizer") return parts;
  const visitor = kind === "parameter" ? "gathered" : "full_gradient";
  const visiting = rank.visiting(at)[visitor];
  parts.push(rect(x, y + 19, width, 9, { class: "outline", opacity: 0.6 }));
  let before = 0;
  for (const [unit, { padded }] of view.units.entries()) {
    if (visiting[unit] > 0) {
      const [from, wide] = placeOfShard([before, padded], x, width, scale);
      parts.push(rect(from, y + 19, wide, 9, patternOf(visitor)));
    }
    before += padded;
  }
  return parts;
}

// Every unit of the rank that is looked at, one beside the other: whole parameters above, whole gradient below;
// framed what is worked on.
function drawUnits(view, y, width) {
  const { rank, position } = view;
  const visiting = rank.visiting(position);
  const all = view.run.keeps.parameter === "all";
  const wide = width / view.units.length;
  const busy = rank.inside[position].map(([, unit]) => unit);
  const parts = [text(0, y + 10, say("units_of", { rank: rank.number }), { class: "strong" })];
  for (const [unit, { name }] of view.units.entries()) {
    const x = unit * wide;
    const inner = Math.max(1, wide - (wide > 6 ? 2 : 0.5));
    const title = s("title", {}, name);
    parts.push(s("rect", { x, y: y + 18, width: inner, height: 26, class: "outline" }, title));
    if (all || visiting.gathered[unit] > 0) parts.push(rect(x, y + 18, inner, 13, patternOf(all ? "parameter" : "gathered")));
    if (visiting.full_gradient[unit] > 0) parts.push(rect(x, y + 31, inner, 13, patternOf("full_gradient")));
    if (!busy.includes(unit)) continue;
    parts.push(rect(x - 1, y + 17, inner + 2, 28, { class: "busy", rx: 2 }));
    const end = x > width / 2;
    parts.push(text(end ? x + inner : x, y + 58, name, { class: "small strong", "text-anchor": end ? "end" : "start" }));
  }
  return parts;
}

function drawTotals(view, width) {
  const { narrow, column, starts } = columnsIn(view, width);
  const above = narrow ? 20 : 0;
  const [top, row] = [96, 48 + above];
  const parts = drawUnits(view, 0, width);
  for (const [i, kind] of KEPT.entries()) {
    parts.push(text(starts[i], top - 12, say(kind), { class: "strong" }));
    for (const rank of view.ranks) {
      const y = top + rank.row * row + above;
      const at = rank.asFarAs(view.rank, view.position);
      parts.push(...drawTotal(view, rank, at, kind, starts[i], y, column));
      parts.push(text(starts[i], y + 40, bytesInWords(bytesOf(rank, at, kind)), { class: "small" }));
    }
  }
  for (const rank of view.ranks) parts.push(...drawName(view, rank, top + rank.row * row + above + (narrow ? -6 : 13)));
  const about = say("holdings_description", { stage: view.run.stage, ranks: view.ranks.length });
  return svg(width, top + view.ranks.length * row, about, parts);
}

// ---- The stage's file

// Code that may go on in the next line behind each "(".
const broken = (code) => code.split(/(?<=\()(?=.)/).flatMap((part, i) => (i ? [h("wbr", {}), part] : [part]));

function drawSource(source) {
  let inText = false; // between """ and """
  return source.trimEnd().split("\n").map((code, i) => {
    const quotes = code.split('"""').length - 1;
    const isText = inText || quotes > 0;
    if (quotes === 1) inText = !inText;
    const hash = isText ? 0 : code.indexOf("#");
    const [before, comment] = hash < 0 ? [code, ""] : [code.slice(0, hash), code.slice(hash)];
    const words = before.split(/\b(def|for|in|return|del|from|import)\b/);
    const drawn = h("div", { "data-line": i + 1 }, h("span", { class: "number" }, String(i + 1)),
      words.flatMap((word, j) => (j % 2 ? h("b", {}, word) : broken(word))), h("span", { class: "comment" }, comment));
    drawn.style.setProperty("--hang", `${code.search(/\S|$/) + 2}ch`); // where a line that is too long goes on
    return drawn;
  });
}

// ---- Memory over one step

// Numbers from 0 to `most` for an axis, about so many of them.
function ticks(most, about) {
  const rough = most / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, i) => i * step);
}

function peakInWords({ run, rank }) {
  const expected = rank.predicted.peak_total_bytes;
  const values = { measured: exact(rank.peak), expected: exact(expected) };
  return sayOf(run, rank.peak === expected ? "peak_equal" : "peak_differs", values);
}

const restingFormula = (view) => total(view.rank.formula.resting_bytes);

const BESIDE = { left: 62, right: 4 }; // pixels beside the stack: for numbers, and for the end of the last event

// The picture, and a function that moves its cursor to view.position. most: bytes at the upper end of
// the scale; changed() is called when somebody moves the cursor.
function drawMemory(view, width, { most, small = false, changed, label, tall = 230 }) {
  const rank = view.rank;
  const places = rank.live.length;
  const [left, right, top, bottom] = [small ? 46 : BESIDE.left, width - BESIDE.right, small && tall < 120 ? 10 : small ? 30 : 22, 22 + tall];
  const lane = small || tall < 120 ? 12 : 20;
  const height = bottom + (rank.thinned ? 10 : 22 + 2 * lane);
  const x = (position) => left + ((right - left) * position) / places;
  const y = (bytes) => bottom - ((bottom - top) * bytes) / most;
  const parts = [];
  for (const bytes of ticks(most, small ? 3 : 5)) {
    parts.push(line(left, y(bytes), right, y(bytes), "axis"));
    parts.push(text(left - 8, y(bytes) + 4, short(bytes), { class: "small", "text-anchor": "end" }));
  }
  parts.push(...drawStack(rank, x, y));
  // The upper line is the dry run's, where the picture itself is not; the lower one is the formulas'.
  const [upper, lower] = [y(rank.predicted.peak_total_bytes), y(restingFormula(view))];
  const drawn = { run: "dry-run", old: "formula" }[view.run.origin];
  if (drawn) parts.push(line(left, upper, right, upper, drawn));
  parts.push(line(left, lower, right, lower, "formula"));
  if (!small) {
    const name = { class: "strong halo" };
    const same = view.run.origin === "run" && rank.peak === rank.predicted.peak_total_bytes;
    const peak = width < 420 && same ? say("peak_short", { measured: exact(rank.peak) }) : peakInWords(view);
    parts.push(text(left + 4, upper - 8, peak, name));
    const words = sayOf(view.run, "lower_line", { bytes: exact(restingFormula(view)) });
    if (width > 640) parts.push(text(right, lower - 6, words, { ...name, "text-anchor": "end" }));
  }
  parts.push(s("circle", { class: "dot", cx: x(rank.peakAt + 0.5), cy: y(rank.peak), r: 4 }));
  if (!rank.thinned) parts.push(...drawCalls(view, x, bottom + 12, lane, small));

  const cursor = line(0, top - 6, 0, height, "cursor");
  const dot = s("circle", { class: "dot", r: 4.5 });
  const band = small ? rect(0, bottom, 0, 8, { class: "band" }) : null; // the phase, which is that of all runs
  const moveTo = () => {
    const at = x(view.position + 0.5);
    const phase = small && phaseAt(view.phases, view.position);
    const [from, to] = phase ? [x(phase.from), x(phase.to + 1)] : [left, left];
    if (band) fill(band, { x: from, width: Math.min(right, to) - from }, []);
    fill(cursor, { x1: at, x2: at }, []);
    fill(dot, { cx: at, cy: y(view.rank.total[view.position]) }, []);
  };
  const picture = svg(width, height, label, parts, band, cursor, dot);
  slider(picture, {
    label,
    arrows: small,
    count: places,
    at: () => view.position,
    set: (position) => {
      view.move(position);
      changed();
    },
    nearest: (pixels) => {
      const atPeak = isDense(rank, right - left) && Math.abs(pixels - x(rank.peakAt)) < 5; // its mark can be pointed at
      return atPeak ? rank.peakAt : Math.floor(((pixels - left) / (right - left)) * places);
    },
    words: () => sentences(inWords(view), inNumbers(view)),
  });
  moveTo();
  return [picture, moveTo];
}

// Whether events are narrower than a pixel, in so many of them.
const isDense = (rank, pixels) => rank.live.length > pixels;

const COLUMN = 6; // pixels, of events that are too narrow to be drawn each

// The positions that are drawn, as [first, the highest of them], up to the next one's first.
function columnsOf(rank, x) {
  if (!isDense(rank, x(rank.live.length) - x(0))) return rank.live.map((_, position) => [position, position]);
  const columns = [];
  for (const position of rank.live.keys()) {
    const last = columns.at(-1);
    if (!last || x(position) - x(last[0]) >= COLUMN) columns.push([position, position]);
    else if (rank.total[position] > rank.total[last[1]]) last[1] = position;
  }
  return columns;
}

// Bytes by kind, one upon the other: each column is a step.
function drawStack(rank, x, y) {
  const parts = [];
  const columns = columnsOf(rank, x);
  const starts = [...columns.map(([first]) => first), rank.live.length];
  let below = columns.map(() => 0);
  for (const kind of KINDS) {
    const above = columns.map(([, highest], p) => below[p] + rank.live[highest][kind]);
    if (rank.kinds.includes(kind)) {
      const there = above.map((bytes, p) => `V${y(bytes).toFixed(2)}H${x(starts[p + 1]).toFixed(2)}`);
      const back = below.map((bytes, p) => `V${y(bytes).toFixed(2)}H${x(starts[p]).toFixed(2)}`).reverse();
      const d = `M${x(0)} ${y(below[0])}${there.join("")}${back.join("")}Z`;
      parts.push(s("path", { d, "data-kind": kind, ...patternOf(kind) }));
    }
    below = above;
  }
  return parts;
}

// Under the stack: passes through units in the first row, collectives in the second.
function drawCalls(view, x, top, height, small) {
  const passes = { forward: "F", backward: "B", update: "U" };
  const gathers = { all_gather: "AG", start_all_gather: "ag", finish_all_gather: "AG" };
  const reduces = { reduce_scatter: "RS", start_reduce_scatter: "rs", finish_reduce_scatter: "RS" };
  Object.assign(gathers, { start_second_copy: "2g", await_second_copy: "2G" });
  Object.assign(reduces, { reduce_inside: "RI", await_reduce_inside: "RI", reduce_between: "RB" });
  const initials = { ...passes, ...gathers, ...reduces, sum_between_groups: "GS", sum: "Σ" };
  const middle = { class: "tiny halo", "text-anchor": "middle" };
  const parts = [];
  const open = [];
  for (const [i, [, what, name, unit]] of view.rank.events.entries()) {
    if (what === "begin") open.push(i);
    if (what !== "end") continue;
    const [from, to] = [x(open.pop() + 0.4), x(i + 1.6)];
    const collective = !(name in passes);
    const y = top + (collective ? height + 4 : 0);
    const title = s("title", {}, unit === null ? name : `${name} ${view.units[unit].name}`);
    const look = collective ? patternOf(travelling(view.run.keeps, name)) : {};
    const block = { class: collective ? "block collective" : "block", rx: 2, ...look };
    parts.push(s("rect", { ...block, x: from, y, width: Math.max(1, to - from), height }, title));
    const initial = initials[name] || "";
    const fits = [initial + (unit ?? ""), initial].find((word) => word && to - from > 6.3 * word.length + (collective ? 6 : 1));
    if (!small && fits) parts.push(text((from + to) / 2, y + height / 2 + 4, fits, middle));
  }
  return parts;
}

// ---- Traffic

// The pattern of what a collective sends: who updates the whole model gathers the sums of gradients.
function sentAs(run, name) {
  if (name === "all_gather") return run.keeps.optimizer === "all" ? "gradient" : "parameter";
  return name === "reduce_scatter" ? "gradient" : "buffer";
}

function drawTraffic(run, width) {
  const both = run.ranks.flatMap((rank) => [rank, rank.formula]);
  const sent = both.flatMap((each) => Object.values(each.sent_bytes_per_step));
  const [left, right] = [Math.max(56, 10 + 6.2 * longestName(run)), 150];
  const x = (bytes) => left + ((width - left - right) * bytes) / Math.max(1, ...sent);
  const parts = [];
  let y = 0;
  for (const name of COLLECTIVES) {
    const calls = say("calls", { number: exact(run.ranks[0].calls_per_step[name]) });
    parts.push(text(0, y + 14, `${say(`collective_${name}`)} · ${calls}`, { class: "strong" }));
    y += 24;
    for (const [row, rank] of run.ranks.slice(0, MOST_BARS).entries()) {
      const [measured, formula] = [rank, rank.formula].map((each) => each.sent_bytes_per_step[name]);
      parts.push(text(0, y + 12, `rank ${run.numbers[row]}`, { class: "small" }));
      parts.push(rect(left, y + 2, x(measured) - left, 12, patternOf(sentAs(run, name))));
      parts.push(line(x(formula), y, x(formula), y + 16, "cursor"));
      const end = x(Math.max(measured, formula)) + 8;
      parts.push(text(end, y + 12, beside(measured, formula), { class: "small" }));
      y += 18;
    }
    y += 18;
  }
  return svg(width, y - 12, say("traffic_description"), parts);
}

// Bytes from each rank to each other: the area says how many, and the number.
function drawMap(run, width) {
  const n = Math.min(run.traffic.length, MOST_CELLS);
  const [left, top] = [58, 44];
  const size = Math.min(76, (width - left) / n);
  const inner = size - 3;
  const most = Math.max(1, ...run.traffic.flat());
  const parts = [text(left, 12, say("to_rank"), { class: "strong" })];
  parts.push(text(0, top - 10, say("from_rank"), { class: "small" }));
  for (let i = 0; i < n; i++) {
    const y = top + i * size;
    const [middle, end] = ["middle", "end"].map((anchor) => ({ class: "small", "text-anchor": anchor }));
    parts.push(text(left + (i + 0.5) * size, top - 10, String(i), middle));
    parts.push(text(left - 10, y + size / 2 + 4, `rank ${i}`, end));
    for (let j = 0; j < n; j++) {
      const x = left + j * size;
      const bytes = run.traffic[i][j];
      const side = inner * Math.sqrt(bytes / most);
      parts.push(rect(x, y, inner, inner, { class: "outline", rx: 3 }));
      if (i === j) parts.push(line(x + 8, y + inner - 8, x + inner - 8, y + 8, "axis"));
      else parts.push(rect(x, y + inner - side, side, side, { class: "parameter", opacity: 0.3, rx: 3 }));
      const strong = { ...middle, class: "small strong" };
      if (i !== j && size > 48) parts.push(text(x + inner / 2, y + size / 2 + 3, short(bytes), strong));
    }
  }
  return svg(width, top + n * size, say("map_description"), parts);
}

// ---- Loss

const CURVE_STYLES = 8; // of page.css
const penOf = (number) => `curve curve${number % CURVE_STYLES}`;

// Curves over steps: each a list of [step, value], null where it is not finite. On a logarithmic scale
// (`log`) they go by steps. told(step, value) makes the first curve a slider and is told what is chosen.
// rings: points of the first curve beside it.
// around: the curves that the scale has room for; pens: the number of the style of each.
function drawCurves(curves, width, height, { log = false, description, told, words, rings = [], around = curves, pens }) {
  const [left, right, top, bottom] = [62, width - 8, 10, height - 28];
  const drawable = (value) => value !== null && (!log || value > 0);
  const steps = around.flat().map(([step]) => step);
  const values = [...around.flat(), ...rings].map(([, value]) => value).filter(drawable);
  const [first, last] = [Math.min(...steps), Math.max(...steps)];
  const scale = log ? Math.log10 : (value) => value;
  let [low, high] = [Math.min(0, ...values), Math.max(0, ...values) || 1];
  if (log) [low, high] = [Math.floor(scale(Math.min(...values))), Math.ceil(scale(Math.max(...values)))];
  if (log && low === high) high += 1;
  const x = (step) => left + ((right - left) * (step - first)) / (last - first || 1);
  const y = (value) => bottom - ((bottom - top) * (scale(value) - low)) / (high - low);
  const parts = [];

  const marks = ticks(high - low, log ? 6 : 4).map((tick) => tick + low);
  for (const value of log ? marks.filter(Number.isInteger).map((power) => 10 ** power) : marks) {
    const mark = log ? value.toExponential(0) : String(+value.toPrecision(4));
    parts.push(line(left, y(value), right, y(value), "axis"));
    parts.push(text(left - 8, y(value) + 4, mark, { class: "small", "text-anchor": "end" }));
  }
  const between = Math.max(1, ticks(last - first || 1, width < 500 ? 3 : 6)[1]); // steps from mark to mark
  for (let step = first; step <= last; step = step - (step % between) + between) {
    if (step !== first && step - first < between / 3) continue;
    const anchor = step === first ? "start" : "middle";
    parts.push(text(x(step), bottom + 18, exact(step), { class: "small", "text-anchor": anchor }));
  }

  for (const [number, points] of curves.entries()) {
    let d = "";
    let pen = false;
    for (const [step, value] of points) {
      if (drawable(value)) {
        const [across, up] = [x(step).toFixed(1), y(value).toFixed(1)];
        d += !pen ? `M${across} ${up}` : log ? `H${across}V${up}` : `L${across} ${up}`;
      }
      pen = drawable(value);
    }
    parts.push(s("path", { class: penOf(pens ? pens[number] : number), d }));
  }

  for (const [step, value] of rings.filter(([, value]) => drawable(value)))
    parts.push(s("circle", { class: "held-out", cx: x(step), cy: y(value), r: 4 }));

  const picture = svg(width, height, description, parts);
  if (!told) return picture;
  const points = curves[0];
  const cursor = line(0, top, 0, bottom, "cursor");
  const dot = s("circle", { class: "dot", r: 4 });
  picture.append(cursor, dot);
  let at = points.length - 1;
  const set = (to) => {
    at = to;
    const [step, value] = points[at];
    fill(cursor, { x1: x(step), x2: x(step) }, []);
    fill(dot, { cx: x(step), cy: value === null ? bottom : y(value) }, []);
    told(step, value);
  };
  const nearest = (pixels) => {
    const distances = points.map(([step]) => Math.abs(x(step) - pixels));
    return distances.indexOf(Math.min(...distances));
  };
  set(at);
  slider(picture, { label: description, count: points.length, at: () => at, set, nearest, words });
  return picture;
}
