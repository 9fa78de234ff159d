"use strict";

// Words, numbers, elements. The data: runs (records), compared (losses of others), differences (of losses),
// words (key -> language -> text) and singular (plural -> singular).

const DATA = JSON.parse(document.getElementById("data").textContent);
const KEPT = ["parameter", "gradient", "optimizer"];
const KINDS = [...KEPT, "gathered", "full_gradient", "activation", "buffer"];
const COLLECTIVES = ["reduce_scatter", "all_gather", "other"];

let language = chosenLanguage();

function chosenLanguage() {
  const inAddress = location.hash.slice(1);
  if (inAddress === "en" || inAddress === "zh") return inAddress;
  return DATA.language || (navigator.language.startsWith("zh") ? "zh" : "en");
}

// "{ranks} ranks" of one is "1 rank": see launch/singular.py, whose nouns these are.
const COUNTED = new RegExp(`\\{(\\w+)\\} (${Object.keys(DATA.singular).join("|")})\\b`, "g");

function say(key, values = {}) {
  const one = (whole, name, noun) => (String(values[name]) === "1" ? `{${name}} ${DATA.singular[noun]}` : whole);
  const fill = (whole, name) => (name in values ? values[name] : whole);
  return DATA.words[key][language].replace(COUNTED, one).replace(/\{(\w+)\}/g, fill);
}

// The words for a run, by where its numbers come from: "run", "dry", or "old" (see vocabulary.py).
function sayOf(run, key, values) {
  const own = `${key}_${run.origin}`;
  return say(own in DATA.words ? own : key, values);
}

const sentences = (...all) => all.filter((each) => each).join(language === "zh" ? "" : " ");
const clauses = (...all) => all.filter((each) => each).join(language === "zh" ? "；" : "; ");
const list = (all) => all.join(language === "zh" ? "、" : ", ");
const cut = (words, most) => (words.length > most ? `${words.slice(0, most - 1)}…` : words);
const exact = (number) => number.toLocaleString("en-US");
const signed = (number) => (number < 0 ? "−" : "+") + exact(Math.abs(number));
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const total = (byKind) => sum(Object.values(byKind));

function short(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let power = 0;
  while (bytes >= 999.5 && power < units.length - 1) {
    bytes /= 1000;
    power += 1;
  }
  const digits = power === 0 || bytes >= 99.95 ? Math.round(bytes) : bytes.toPrecision(3);
  return `${digits} ${units[power]}`;
}

function lossInWords(value) {
  if (value === null) return say("not_finite");
  if (value === 0) return "0";
  return Math.abs(value) >= 1e-3 && Math.abs(value) < 1e5 ? value.toFixed(4) : value.toExponential(2);
}

function beside(measured, formula) {
  if (measured === formula) return `${exact(measured)} =`;
  return say("not_equal", { measured: exact(measured), formula: exact(formula) });
}

// ---- Elements. Text becomes text and never markup, whatever it says.

const find = (id) => document.getElementById(id);
const widths = new Map(); // until all is drawn anew: to ask in the midst of changes lays out the page each time

function widthOf(id) {
  if (!widths.has(id)) widths.set(id, Math.max(240, find(id).clientWidth));
  return widths.get(id);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

const h = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);

function s(name, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

const rect = (x, y, width, height, more) => s("rect", { x, y, width, height, ...more });
const line = (x1, y1, x2, y2, name) => s("line", { x1, y1, x2, y2, class: name });
const text = (x, y, words, more) => s("text", { x, y, ...more }, words);
const patternOf = (kind) => ({ fill: `url(#${kind})` });

function svg(width, height, description, ...children) {
  const size = { width, height, viewBox: `0 0 ${width} ${height}` };
  return s("svg", { ...size, role: "img", "aria-label": description }, ...children);
}

// rows of cells, texts or elements; columns in `words` are to the left, the others to the right.
function table(header, rows, words = []) {
  const side = (i) => (words.includes(i) ? "words" : null);
  const cells = (name, row) => row.map((cell, i) => h(name, { class: side(i) }, cell));
  const head = h("thead", {}, h("tr", {}, cells("th", header)));
  return h("table", {}, head, h("tbody", {}, rows.map((row) => h("tr", {}, cells("td", row)))));
}

// A table that is made when it is opened: it may be long.
function tableIn(id, build) {
  const details = find(id);
  const attributes = { class: "scrolls", tabindex: "0", role: "group", "aria-label": say("table") };
  details.ontoggle = () => {
    details.querySelector(".scrolls")?.remove();
    if (details.open) details.append(h("div", attributes, build()));
  };
  details.ontoggle();
}

function swatch(kind) {
  const outline = rect(0, 0, 28, 16, { class: "outline", rx: 2 });
  const filled = rect(0, 0, 28, 16, { ...patternOf(kind), rx: 2 });
  return s("svg", { width: 28, height: 16, "aria-hidden": "true" }, outline, filled);
}

// A mark beside what nobody has computed.
function dryBadge(x, y) {
  const words = say("dry_badge");
  const wide = 12 + (language === "zh" ? 12 : 6.4) * words.length;
  return [rect(x + 0.5, y + 0.5, wide, 17, { class: "dry-badge", rx: 3 }), text(x + 6, y + 13, words, { class: "small strong" })];
}

const legend = (kinds) => kinds.map((kind) => h("li", {}, swatch(kind), say(kind)));

// Make a picture a slider: pointer and arrow keys choose one of `count` places.
// at() and set(number): the place; nearest(pixels from the left) -> number; words(): what is there; arrows: false,
// where the page itself follows them.
function slider(picture, { label, count, at, set, nearest, words, arrows = true }) {
  const tell = () => {
    picture.setAttribute("aria-valuenow", at());
    picture.setAttribute("aria-valuetext", words());
  };
  const go = (to) => {
    set(Math.max(0, Math.min(count - 1, to)));
    tell();
  };
  const range = { "aria-valuemin": 0, "aria-valuemax": count - 1 };
  fill(picture, { role: "slider", tabindex: "0", "aria-label": label, ...range }, []);
  tell();
  const point = (event) => go(nearest(event.clientX - picture.getBoundingClientRect().left));
  picture.onpointermove = point;
  picture.onpointerdown = point;
  picture.onkeydown = (event) => {
    const near = event.shiftKey ? 10 : 1;
    const far = Math.ceil(count / 10);
    const steps = arrows ? { ArrowLeft: at() - near, ArrowRight: at() + near } : {};
    const jumps = { PageUp: at() - far, PageDown: at() + far, Home: 0, End: count - 1 };
    const to = { ...steps, ...jumps }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    go(to);
  };
}
