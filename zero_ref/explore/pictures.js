// Numbers in words, elements, and the pictures: bars, lines, tables.

const $ = (id) => document.getElementById(id);

const exact = (x) => x.toLocaleString("en-US", { maximumFractionDigits: 0 });
function significant(x) {
  const digits = x ? Math.max(0, 3 - Math.floor(Math.log10(Math.abs(x)))) : 0;
  return x.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
// As the planner prints them.
function size(x) {
  if (x < 1e7) return `${exact(x)} B`;
  const [unit, of] = x >= 1e15 ? ["PB", 1e15] : x >= 1e12 ? ["TB", 1e12] : ["GB", 1e9];
  return `${significant(x / of)} ${unit}`;
}
function duration(x) {
  if (x >= 1) return `${significant(x)} s`;
  return x >= 1e-3 ? `${significant(x * 1e3)} ms` : `${significant(x * 1e6)} µs`;
}
function count(x) {
  const [unit, of] = [["T", 1e12], ["B", 1e9], ["M", 1e6], ["K", 1e3]].find(([, each]) => x >= each) || ["", 1];
  return unit ? significant(x / of) + unit : exact(Math.floor(x));
}
const ratio = (x) => (x >= 100 ? Math.round(x) : Number(x.toPrecision(3))).toLocaleString("en-US");
const percent = (x) => `${Math.round(100 * x)}%`;
// A round size: 1 GB, 100 TB.
function round(x) {
  const [unit, of] = [["PB", 1e15], ["TB", 1e12], ["GB", 1e9], ["MB", 1e6], ["kB", 1e3]].find(([, each]) => x >= each) || ["B", 1];
  return `${Number((x / of).toPrecision(3))} ${unit}`;
}

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Which pattern a part of a bar has: those of the report, where a reduce-scatter brings gradients and an all-gather
// parameters. Blocks of state that come back are optimizer state.
const PATTERNS = {
  parameter: "parameter", gradient: "gradient", optimizer: "optimizer", activation: "activation", gathered: "gathered",
  full_gradient: "full_gradient", blocks: "optimizer", reduce_scatter: "gradient", all_gather: "parameter",
  compute: "spent-compute", inside: "spent-inside", between: "spent-between", latency: "spent-latency", outside: "spent-outside",
};
const piece = (kind, x, y, width, height) => svg("rect", { class: "piece", fill: `url(#${PATTERNS[kind]})`, x, y, width, height });

function legend(list, kinds, names, more = []) {
  list.replaceChildren(...kinds.map((kind) => element("li", {},
    svg("svg", { width: 28, height: 16, "aria-hidden": "true" }, piece(kind, 0.5, 0.5, 27, 15)), names[kind])), ...more);
}

// Bars, one for each row: {label, parts: {kind: number}, text, mark, good, under}. limit: {value, text}, or null; under: how
// much of the bar a line below it marks.
function bars(place, rows, kinds, limit, title) {
  const width = Math.max(240, place.clientWidth), narrow = width < 620;
  const left = narrow ? 0 : 122, right = narrow ? 0 : 200, bar = narrow ? 18 : 24, step = narrow ? 52 : 42;
  const top = limit ? 26 : 4, height = top + rows.length * step + 2;
  const total = (r) => sum(kinds.map((kind) => r.parts[kind] || 0));
  const most = Math.max(...rows.map(total), limit ? limit.value * 1.02 : 0) || 1;
  const scale = (x) => (x / most) * (width - left - right);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": title });
  rows.forEach((r, i) => {
    const y = top + i * step, barY = narrow ? y + 26 : y + (step - bar) / 2, middle = narrow ? y + 17 : y + step / 2 + 5;
    if (r.chosen) picture.append(svg("rect", { class: "band", x: -8, y: y + 1, width: width + 16, height: step - 2, rx: 6 }));
    picture.append(svg("text", { x: 0, y: middle, class: r.chosen ? "strong" : "" }, r.label));
    picture.append(svg("rect", { class: "track", x: left, y: barY, width: width - left - right, height: bar }));
    let x = left;
    for (const kind of kinds) {
      const part = r.parts[kind] || 0, long = scale(part);
      if (part > 0) picture.append(piece(kind, x, barY, Math.max(long, 0.75), bar));
      x += long;
    }
    if (r.under) picture.append(svg("line", { class: "under", x1: left, x2: left + scale(r.under), y1: barY + bar + 3.5, y2: barY + bar + 3.5 }));
    const words = svg("text", narrow ? { x: width, y: middle, "text-anchor": "end" } : { x: width - right + 14, y: middle });
    words.append(svg("tspan", { class: "strong" }, r.text));
    if (r.mark) words.append(svg("tspan", { class: r.good === undefined ? "soft" : r.good ? "good" : "bad", dx: 8 }, r.mark));
    picture.append(words);
  });
  if (limit) {
    const x = left + scale(limit.value), end = x > left + (width - left - right) * 0.55;
    const line = (y1, y2) => picture.append(svg("line", { class: "limit", x1: x, x2: x, y1, y2 }));
    if (narrow) rows.forEach((_, i) => line(top + i * step + 23, top + i * step + 26 + bar + 3)); // not over the words
    else line(18, height);
    picture.append(svg("text", { class: "small", x, y: 12, "text-anchor": end ? "end" : "start" }, limit.text));
  }
  place.replaceChildren(picture);
}

// Lines over N, both axes logarithmic: [{label, short, chosen, points: [[n, value]]}]. at: the chosen N, with a mark on each
// line; limit: {value, text, short}; from: {n, text}, where the chosen line comes below the limit, or null.
function lines(place, rows, { at, limit, from, title, choose }) {
  const width = Math.max(240, place.clientWidth), narrow = width < 620;
  const [left, right, top, height] = [narrow ? 56 : 62, width - (narrow ? 34 : 40), 12, narrow ? 300 : 330];
  const bottom = height - 34;
  const values = rows.flatMap((r) => r.points.map(([, value]) => value)).filter((value) => value > 0).concat(limit.value);
  const last = Math.log2(Math.max(...rows.flatMap((r) => r.points.map(([n]) => n)), 2));
  const low = Math.floor(Math.log10(Math.min(...values)) - 0.05), high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values)) + 0.05));
  const x = (n) => left + ((right - left) * Math.log2(n)) / last;
  const y = (value) => bottom - ((bottom - top) * (Math.log10(Math.max(value, 10 ** low)) - low)) / (high - low);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": title, class: "lines" });
  picture.append(svg("rect", { class: "room", x: left, y: y(limit.value), width: right - left, height: bottom - y(limit.value) }));
  const each = Math.ceil((high - low) / 6);
  for (let power = high; power >= low; power -= each) {
    const at_y = y(10 ** power);
    picture.append(svg("line", { class: "grid", x1: left, x2: right, y1: at_y, y2: at_y }));
    picture.append(svg("text", { class: "small", x: left - 8, y: at_y + 4, "text-anchor": "end" }, round(10 ** power)));
  }
  const ticks = Math.ceil(last / (narrow ? 4 : 10));
  for (let power = 0; power <= last; power += ticks) {
    picture.append(svg("line", { class: "grid", x1: x(2 ** power), x2: x(2 ** power), y1: top, y2: bottom }));
    picture.append(svg("text", { class: "small", x: x(2 ** power), y: bottom + 17, "text-anchor": "middle" }, exact(2 ** power)));
  }
  picture.append(svg("text", { class: "small", x: left - 14, y: bottom + 17, "text-anchor": "end", "font-style": "italic" }, "N ="));
  picture.append(svg("line", { class: "limit", x1: left, x2: right, y1: y(limit.value), y2: y(limit.value) }));
  picture.append(svg("line", { class: "cursor", x1: x(at), x2: x(at), y1: top, y2: bottom }));
  const ends = [];
  for (const r of [...rows].sort((a, b) => a.chosen - b.chosen)) {
    const d = r.points.map(([n, value], i) => `${i ? "L" : "M"}${x(n).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    picture.append(svg("path", { class: `line line${r.style}${r.chosen ? " chosen" : ""}`, d, "data-name": r.name }));
    const here = r.points.find(([n]) => n === at);
    if (here) picture.append(svg("circle", { class: `mark ${here[1] <= limit.value ? "in" : "out"}`, cx: x(at), cy: y(here[1]), r: 4.5 }));
    ends.push({ r, x: x(r.points.at(-1)[0]), y: y(r.points.at(-1)[1]) });
  }
  for (const [{ r, x: end }, at_y] of apart(ends, 14, top + 4, bottom + 4))
    picture.append(svg("text", { class: r.chosen ? "end strong" : "end", x: end + 6, y: at_y + 4 }, r.short));
  place.replaceChildren(picture); // from here on words have a width
  const along = (x0, y0, x1, y1) => Array.from({ length: 201 }, (_, i) => [x0 + ((x1 - x0) * i) / 200, y0 + ((y1 - y0) * i) / 200]);
  const cursor = along(x(at), top, x(at), bottom), limit_y = y(limit.value);
  const taken = rows.flatMap((r) => r.points.slice(1).flatMap(([n, value], i) => along(x(r.points[i][0]), y(r.points[i][1]), x(n), y(value))));
  const write = (text, styles, room, places) => { // not on a curve; on the line of N where there is no other place
    const label = svg("text", { class: `small halo ${styles}` }, text);
    picture.append(label);
    const wide = label.getComputedTextLength(), all = places(wide).map(([px, py]) => [px, py - 11, px + wide, py + 3]);
    const boxes = all.filter((b) => b[0] > left - 4 && b[2] < right - 3 && b[1] > top && b[3] < bottom - 2);
    const [free, most] = clearest(boxes, [...taken, ...cursor], room);
    const [x0, y0, x1, y1] = (most < 3 ? clearest(boxes, taken, room)[0] : free) || all[0];
    label.setAttribute("x", x0);
    label.setAttribute("y", y1 - 3);
    taken.push(...along(x0, (y0 + y1) / 2, x1, (y0 + y1) / 2));
  };
  if (from) { // the line falls to the right, so there is most often room on its left, below
    const px = x(from.n), downs = [17, -8, 31, -22, 45, -36];
    picture.append(svg("path", { class: "from", d: `M${px} ${limit_y - 5}L${px + 5} ${limit_y + 4}H${px - 5}Z` }));
    write(from.text, "strong", 5, (wide) => downs.flatMap((down) => [px - 8 - wide, px + 8, px - 32 - wide, px + 32].map((start) => [start, limit_y + down])));
  }
  const starts = Array.from({ length: Math.ceil((right - left) / 12) }, (_, i) => left + 6 + 12 * i);
  write(narrow ? limit.short : limit.text, "", 24, () => [-7, 16, -14, 23, -21].flatMap((down) => starts.map((start) => [start, limit_y + down])));
  picture.addEventListener("pointerdown", (event) => {
    const part = (event.clientX - picture.getBoundingClientRect().left - left) / (right - left);
    if (part > -0.05 && part < 1.05) choose(2 ** Math.round(Math.min(1, Math.max(0, part)) * last));
  });
}

// The box [x0, y0, x1, y1] that is farthest from all points, and how far; of those that are `room` away the first.
function clearest(boxes, points, room) {
  let best, most = -1;
  for (const box of boxes) {
    let near = room;
    for (const [px, py] of points) near = Math.min(near, Math.max(box[0] - px, px - box[2], box[1] - py, py - box[3], 0));
    if (near > most) [best, most] = [box, near];
  }
  return [best, most];
}

// Labels pushed from each other until `room` is between any two of those that end at the same place.
function apart(ends, room, low, high) {
  const found = [];
  for (const end of new Set(ends.map((each) => Math.round(each.x)))) {
    const there = ends.filter((each) => Math.round(each.x) === end).sort((a, b) => a.y - b.y);
    const places = there.map((each) => each.y);
    for (let i = 1; i < places.length; i++) places[i] = Math.max(places[i], places[i - 1] + room);
    for (let i = places.length - 1, most = high; i >= 0; i--, most -= room) places[i] = Math.min(places[i], most);
    there.forEach((each, i) => found.push([each, Math.max(low, places[i])]));
  }
  return found;
}

// rows: {label, cells, chosen}; a number has its exact value in <data>, and is shown by `as`.
function table(place, caption, header, rows, as = exact) {
  place.replaceChildren(
    element("thead", {}, element("tr", {}, ...header.map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...rows.map((row) => {
      const line = element("tr", row.chosen ? { class: "chosen" } : {}, element("th", { scope: "row" }, row.label));
      for (const cell of row.cells)
        line.append(element("td", {}, typeof cell === "number" ? element("data", { value: String(cell) }, as(cell)) : cell));
      return line;
    })));
  place.setAttribute("aria-label", caption);
}
