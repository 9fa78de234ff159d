// The page: what is shown of a setting, and the controls that change it.

let s = { ...START }, lang = /^zh/i.test(LANGUAGE || navigator.language) ? "zh" : "en";
let unread = []; // parts of the address
const wrong = new Map(); // fields whose text is not a number of theirs -> the text

const nameOf = (t, r) => ({ ...r, label: t.stage(r.name), chosen: r.name === String(s.stage) });

function show() {
  const t = WORDS[lang];
  complain(t);
  if (wrong.size) return;
  const units = unitsOf(s), found = plan(s, s.n, units);
  const rows = found.rows.map((r) => nameOf(t, r));
  for (const r of rows) {
    r.mark = r.fits ? `✓ ${t.fits}` : `✗ ${t.fitsNot}`;
    r.from = fitsFrom(s, r.name, units);
    r.most = mostParameters(s, r, found.group);
  }
  showCards(t, rows);
  showMemory(t, found, rows);
  showOver(t, rows, units);
  showSent(t, found, rows);
  showTime(t, rows);
  explain(t, found, rows[s.stage]);
  $("command").textContent = command(found);
  const beyond = beyondPlanner();
  $("beyond").replaceChildren(t.beyond, ...beyond.flatMap((option) => [element("code", { class: "whole" }, option), " "]));
  $("beyond").hidden = !beyond.length;
  $("k-hint").textContent = s.bits === 16 ? t.kHint[s.k] : t.kHint.adam(s.bits / 8);
  $("vocab-hint").textContent = isCounted(s) ? t.vocabHint(exact(s.psi), exact(embeddingsOf(s))) : t.vocabNone;
  $("shape-hint").textContent = t.shapeHint(exact(found.samples), size(found.activation), size(found.unit));
}

// What cannot be read is said, and no result of an earlier setting stays.
function complain(t) {
  for (const place of document.querySelectorAll(".shown")) place.hidden = wrong.size > 0;
  const names = [...wrong.keys()].map((name) => [t[name]].flat().join("").trim());
  $("problem").hidden = !wrong.size;
  $("problem").textContent = wrong.size ? t.stale(t.and(names)) : "";
  $("address-problem").hidden = !unread.length;
  $("address-problem").textContent = unread.length ? t.address(unread.join(lang === "zh" ? "、" : ", ")) : "";
}

function showCards(t, rows) {
  rows.slice(0, 4).forEach((r, i) => {
    const card = $("stages").children[i], put = (name, text) => { card.querySelector(`.${name}`).textContent = text; };
    put("name", r.label);
    put("number", size(r.needed));
    put("state", r.mark);
    card.querySelector(".state").className = `state ${r.fits ? "fits" : "fits-not"}`;
    put("from", r.from === null ? t.fitsNever : t.fitsFrom(exact(r.from)));
    put("most", t.largest(r.most === Infinity ? t.noEnd : count(r.most)));
    put("what", t.names[i]);
    card.querySelector("input").checked = r.chosen;
  });
  $("state-only").hidden = s.shape;
  $("verdict").textContent = verdict(t, rows, size(capacity(s)));
}

function verdict(t, rows, memory) {
  const good = rows.filter((r) => r.fits), limit = capacity(s);
  const best = rows.reduce((a, b) => (b.needed < a.needed ? b : a)), worst = rows.reduce((a, b) => (b.needed > a.needed ? b : a));
  if (!good.length) return t.none(memory, best.label, size(best.needed - limit));
  if (good.length === rows.length) return t.every(memory, worst.label, size(limit - worst.needed));
  const numbers = good.map((r) => r.name), only = numbers.every((name) => /^\d$/.test(name)) && good.length > 1;
  const row = only && Number(numbers.at(-1)) - Number(numbers[0]) === good.length - 1;
  const labels = row ? t.several(numbers[0], numbers.at(-1)) : t.and(good.map((r) => r.label));
  return t.some(memory, labels, good.length > 1, worst.label, size(worst.needed - limit));
}

const KINDS = ["parameter", "gradient", "optimizer", "blocks", "activation", "gathered", "full_gradient"];

function showMemory(t, found, rows) {
  const memory = size(capacity(s)), parts = (r) => ({ ...r.state, ...r.visits });
  const kinds = KINDS.filter((kind) => rows.some((r) => parts(r)[kind] > 0));
  const times = t.times(ratio(rows[0].needed / rows[3].needed));
  const caption = t.memoryCaption(size(rows[0].needed), size(rows[3].needed), times, rows.filter((r) => r.fits).length, rows.length, memory);
  legend($("memory-legend"), kinds.filter((kind) => kind !== "blocks"), t.kinds);
  bars($("memory-chart"), rows.map((r) => ({ ...r, parts: parts(r), text: size(r.needed), good: r.fits })),
    kinds, { value: capacity(s), text: t.limit(memory) }, caption);
  $("memory-caption").textContent = caption;
  $("group-hint").textContent = t.groupHint;
  $("group-hint").hidden = rows.length === 4;
  const chosen = rows[s.stage];
  $("outside-hint").hidden = !s.offload;
  $("outside-hint").textContent = s.offload
    ? t.outsideHint(chosen.label, size(chosen.outside), size(chosen.outside * found.group), t.outsidePlaces[s.offload]) : "";
  const columns = ["parameter", "gradient", "optimizer", "rest", "step", "needed"], away = s.offload ? ["outside", "moved"] : [];
  table($("memory-table"), t.memoryTitle, ["stage", ...columns, ...away, "fits", "from", "largest"].map((name) => t.head[name]),
    rows.map((r) => ({ ...r, cells: [
      ...columns.map((name) => (name in r.state ? r.state[name] : r[name])), ...away.map((name) => r[name]), r.fits ? t.yes : t.no,
      r.from === null ? "–" : exact(r.from), r.most === Infinity ? t.noEnd : exact(Math.floor(r.most)),
    ] })));
}

// Numbers of ranks at which the lines have points: powers of two, of which a batch has most often an equal part for each,
// without activations what lies between, and groups.
function ranksShown(rows) {
  const wanted = [256, 4 * s.n, ...rows.slice(0, 4).map((r) => r.from || 1)].map((n) => Math.ceil(Math.log2(n)));
  const last = Math.min(19, Math.max(10, ...wanted)), found = new Set([s.n]);
  for (let i = 0; i <= 2 * last; i += s.shape ? 2 : 1) found.add(Math.round(2 ** (i / 2)));
  for (let n = 2 * s.group; n && n <= 2 ** last; n *= 2) found.add(n);
  return [...found].sort((a, b) => a - b);
}

const SHORT = (name) => (name === "hpZ" ? "hpZ" : name.endsWith("groups") ? `${name[0]}H` : name);
const STYLE = (name) => (name === "hpZ" ? "hpz" : name.endsWith("groups") ? `${name[0]} inside` : name);

function showOver(t, rows, units) {
  const all = ranksShown(rows).map((n) => [n, plan(s, n, units).rows]), memory = size(capacity(s));
  const series = rows.map((r) => ({
    ...r, short: SHORT(r.name), style: STYLE(r.name).replace(" ", " line-"),
    points: all.flatMap(([n, there]) => there.filter((each) => each.name === r.name).map((each) => [n, each.needed])),
  }));
  const chosen = rows[s.stage], caption = t.overCaption(rows.slice(0, 4).map((r) => t.overPart(r.label, r.from && exact(r.from))), memory);
  const sample = (r) => element("li", {}, svg("svg", { width: 34, height: 12, "aria-hidden": "true" },
    svg("path", { class: `line line${r.style}${r.chosen ? " chosen" : ""}`, d: "M1 6H33" })), `${r.short} ${r.short === r.label ? "" : r.label}`.replace(/^\d /, "").trim());
  $("over-legend").replaceChildren(...series.map(sample));
  const from = chosen.from > 1 && chosen.from <= all.at(-1)[0] ? { n: chosen.from, text: `N = ${exact(chosen.from)}` } : null;
  lines($("over-chart"), series, { at: s.n, limit: { value: capacity(s), text: t.limit(memory), short: memory }, from, title: caption, choose: (n) => change({ n }) });
  $("over-caption").textContent = caption;
  const listed = all.filter(([n]) => n === s.n || Number.isInteger(Math.log2(n)));
  table($("over-table"), t.overTitle, [t.head.ranks, ...rows.map((r) => r.label)], listed.map(([n, there]) => ({
    label: exact(n), chosen: n === s.n, cells: rows.map((r) => there.find((each) => each.name === r.name)?.needed ?? "–"),
  })));
}

function showSent(t, found, rows) {
  const kinds = ["reduce_scatter", "all_gather"], many = found.group < s.n, chosen = rows[s.stage];
  const caption = s.n === 1 ? t.nothing
    : t.sentCaption(size(rows[0].sent), size(rows[3].sent), t.times(ratio(rows[3].sent / rows[0].sent)))
      + (many ? t.sentOut(chosen.label, size(chosen.direct), size(chosen.ring), ratesOf(s).ring) : "");
  const under = element("li", {}, svg("svg", { width: 28, height: 16, "aria-hidden": "true" }, svg("line", { class: "under", x1: 0, x2: 28, y1: 8, y2: 8 })), t.sends.between);
  legend($("sent-legend"), kinds, t.sends, many ? [under] : []);
  bars($("sent-chart"), rows.map((r) => ({ ...r, mark: "", parts: r, text: size(r.sent), under: many ? r.between : 0 })), kinds, null, caption);
  $("sent-caption").textContent = caption;
  const columns = [...kinds, ...(many ? ["inside", "between"] : [])], machine = many ? ["direct", "ring"] : [];
  table($("sent-table"), t.sentTitle, [t.head.stage, ...columns.map((name) => t.sends[name]), t.head.sent, ...machine.map((name) => t.sends[name])],
    rows.map((r) => ({ ...r, cells: [...columns.map((name) => r[name]), r.sent, ...machine.map((name) => r[name])] })));
}

// The largest of what a step is spent on, where all bandwidth is one.
function largestOf(r) {
  const { inside, between, ...others } = r.times;
  return Object.entries({ compute: 0, bandwidth: inside + between, ...others }).reduce((a, b) => (b[1] > a[1] ? b : a));
}

function showTime(t, rows) {
  const kinds = ["compute", "inside", "between", "latency", "outside"].filter((kind) => kind === "compute" || rows.some((r) => r.times[kind] > 0));
  const there = rows.filter((r) => r.fits);
  const best = there.length ? there.reduce((a, b) => (b.seconds < a.seconds || (b.seconds === a.seconds && b.needed < a.needed) ? b : a)) : null;
  const share = (r) => percent(r.seconds ? largestOf(r)[1] / r.seconds : 0);
  const caption = best ? t.timeCaption(best.label, duration(best.seconds), share(best), t.spends[largestOf(best)[0]]) : t.timeNone;
  legend($("time-legend"), kinds, t.spends);
  bars($("time-chart"), rows.map((r) => ({ ...r, parts: r.times, text: duration(r.seconds), mark: `${share(r)} ${t.spends[largestOf(r)[0]]}`, good: undefined })),
    kinds, null, caption);
  $("time-caption").textContent = caption;
  const columns = ["compute", "inside", "between", "latency", ...(s.offload ? ["outside"] : [])];
  table($("time-table"), t.timeTitle, [t.head.stage, ...columns.map((name) => t.spends[name]), t.head.seconds],
    rows.map((r) => ({ ...r, cells: [...columns.map((name) => r.times[name]), r.seconds] })), (x) => x.toLocaleString("en-US", { maximumSignificantDigits: 5 }));
}

function explain(t, found, r) {
  const { parameter: e, optimizer: k } = found.bytes, n = s.n, psi = found.psi;
  const each = { parameter: e, gradient: e, optimizer: s.offload ? 0 : k };
  if (s.offload && s.shards && inShards(s.stage, "parameter")) each.parameter = each.gradient = 0;
  const add = (kept) => sum(Object.keys(each).map((kind) => (KEEPS[s.stage][kind] === kept ? each[kind] : 0)));
  const whole = add("all"), shared = add("1/N");
  const terms = [whole && `${whole}Ψ`, shared && `${shared}Ψ/N`].filter(Boolean);
  const values = [whole && size(whole * psi), shared && size(shared * (psi / n))].filter(Boolean);
  const p = passes(s.stage, s.micro), all = p.reduce_scatter + p.all_gather;
  const codes = s.gradients || (s.weights && inShards(s.stage, "parameter"));
  const moved = codes ? t.inCodes(size(r.sent)) : `${e} B × ${all}Ψ(N−1)/N = ${size(r.sent)}`;
  const lines = [
    [t.with, t.psiPadded(exact(psi), exact(n), k, e, exact(found.calls))],
    [t.held, [terms.join(" + "), values.length > 1 && values.join(" + "), size(r.rest)].filter(Boolean).join(" = ") + (s.offload ? t.apartFrom(s.shards && inShards(s.stage, "parameter")) : "")],
    [t.moved, `${moved}${lang === "zh" ? "：" : ": "}${t.passes(p.reduce_scatter, p.all_gather)}`],
    [t.paper, t.paperSent(`${e} B × ${all}Ψ = ${size(e * all * s.psi)}`)],
    [t.takes, `${t.timeOf(r.flop.toExponential(3).replace("e+", "e"), ...[r.times.compute, r.times.inside + r.times.between, r.times.latency].map(duration), s.offload && duration(r.times.outside))} = ${duration(r.seconds)}`],
  ];
  $("why-title").textContent = t.why(s.stage);
  $("formulas").replaceChildren(...lines.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
}

// The planner's command for the same, as far as it has the choices.
function command(found) {
  const parts = [], many = found.group < s.n;
  if (s.shape) {
    parts.push(`--model transformer --layers ${s.layers} --hidden ${s.hidden} --heads ${s.heads}`);
    parts.push(`--sequence ${s.sequence} --batch-size ${s.batch}${s.again ? " --checkpointing" : ""}`);
    if (s.vocab) parts.push(`--vocab ${s.vocab}${s.positions ? ` --positions ${s.positions}` : ""}${s.untied ? " --untied" : ""}`);
  } else parts.push(`--layers ${s.layers * (s.cut === "tiles" ? s.tiles : 1)} --batch-size ${s.batch * s.sequence}`);
  parts.push(`${isCounted(s) ? "" : `--parameters ${plain(s.psi)} `}--ranks ${s.n} --dtype ${{ 16: "float16", 32: "float32", 64: "float64" }[s.bits]}`);
  const more = [s.bits === 16 && `--k ${s.k}`, s.micro > 1 && `--micro-batches ${s.micro}`, many && `--group ${s.group}`];
  parts.push([...more.filter(Boolean), `--memory ${plain(s.memory)}GB`].join(" "));
  const rates = ratesOf(s), farther = many ? [`--bandwidth-between ${plain(rates.between)}`, rates.farther && `--latency-between ${plain(rates.farther)}`] : [];
  parts.push([`--flops ${plain(rates.flops)}`, `--bandwidth ${plain(rates.bandwidth)}`, `--latency ${plain(rates.latency)}`].join(" "));
  if (many) parts.push(farther.filter(Boolean).join(" "));
  const lines = $("memory-chart").clientWidth < 480 ? parts.flatMap((part) => part.split(/ (?=--)/)) : parts;
  return `python -m zero_ref.plan ${lines.join(" \\\n    ")}`;
}

function beyondPlanner() {
  const found = [s.weights && `--code-weights ${s.weights}`, s.gradients && `--code-gradients ${s.gradients}`];
  if (s.offload) found.push(`--offload ${s.offload === "disk" ? "disk:DIR" : s.offload}${s.shards ? " --offload-shards" : ""}`);
  if (s.cut === "tiles" && s.shape) found.push(`--tiles ${s.tiles}`);
  if (s.cut === "buckets") found.push(`--bucket ${plain(s.bucket)}`);
  return found.filter(Boolean).flatMap((options) => options.split(/ (?=--)/));
}

// ---- Controls

function groupsOf(n) {
  const found = [];
  for (let g = 2; g <= n / 2 && g <= 4096; g++) if (n % g === 0) found.push(g);
  return found;
}

function words() {
  const t = WORDS[lang];
  document.documentElement.lang = lang === "zh" ? "zh-CN" : "en";
  document.title = t.title;
  for (const place of document.querySelectorAll("[data-t]")) place.textContent = t[place.dataset.t];
  for (const place of [...document.querySelectorAll(".slider label"), $("group-label")]) {
    const [before, letter] = [t[place.htmlFor]].flat();
    place.replaceChildren(before, ...(letter ? [element("i", {}, letter)] : []));
  }
  for (const button of document.querySelectorAll(".languages button")) button.setAttribute("aria-pressed", String(button.lang === lang));
  $("stages").setAttribute("aria-label", t.stages);
  $("theme").setAttribute("aria-label", t.theme(dark() ? t.light : t.dark));
  $("theme").textContent = dark() ? t.light : t.dark;
}

// The name of that of `presets` which the setting is; "" if none.
const presetIn = (presets, of) => Object.keys(presets).find((name) => Object.entries(of(presets[name])).every(([key, value]) => s[key] === value)) || "";

function controls() {
  const t = WORDS[lang];
  const options = (name, values, chosen) => {
    $(name).replaceChildren(...values.map(([value, text]) => element("option", { value }, text)));
    $(name).value = String(chosen);
  };
  const named = (presets) => Object.keys(presets).map((name) => [name, name]);
  options("preset", [["", t.own], ...Object.entries(t.presets)], presetIn(PRESETS, (p) => ({ ...START, ...p, stage: s.stage })));
  options("model", [["", t.own], ...named(MODELS)], presetIn(MODELS, (p) => p));
  options("device", [["", t.own], ...named(DEVICES)], presetIn(DEVICES, (p) => p));
  const groups = groupsOf(s.n), odd = s.group > 1 && !groups.includes(s.group);
  options("group", [["0", t.noGroups], ...(odd ? [[String(s.group), s.n <= s.group ? String(s.group) : t.apart(s.group)]] : []),
    ...groups.map((g) => [String(g), t.ofGroup(g, s.n)])], s.group);
  $("machine-hint").hidden = !odd;
  $("machine-hint").textContent = odd ? (s.n <= s.group ? t.alone : t.uneven)(s.group, s.n) : "";
  const one = groupOf(s, s.n) === s.n;
  $("machines-hint").hidden = !(one && (s.hsdp || s.hpz));
  $("machines-hint").textContent = t.needsMachines;
  options("k", s.bits === 16 ? Object.entries(t.kOptions) : [["adam", t.kBytes(s.bits / 4)]], s.bits === 16 ? s.k : "adam");
  $("k").disabled = s.bits !== 16;
  options("bits", [16, 32, 64].map((bits) => [bits, t[`bits${bits}`]]), s.bits);
  for (const name of ["weights", "gradients"]) options(name, CHOICES[name].map((code) => [code, t.codes[code]]), s[name]);
  options("offload", Object.entries(t.places), s.offload);
  options("cut", Object.entries(t.cuts), s.cut);
  options("ring", Object.entries(t.paths), Number(s.ring));
  $("ring-hint").hidden = !(s.ring && !ratesOf(s).ring);
  $("ring-hint").textContent = t.codesGoDirectly;
  for (const name of TICKED) $(name).checked = s[name];
  $("shape-fields").hidden = !s.shape;
  $("again").disabled = !s.shape;
  $("again-hint").hidden = s.shape;
  $("psi").disabled = $("psi-range").disabled = isCounted(s);
  $("positions").closest(".slider").hidden = $("untied").closest(".check").hidden = !s.vocab;
  $("shards-row").hidden = !s.offload;
  $("outside").closest(".slider").hidden = !s.offload;
  for (const name of ["tiles", "bucket"]) $(name).closest(".slider").hidden = s.cut !== (name === "bucket" ? "buckets" : name);
  $("cut-hint").hidden = !s.cut || s.shape;
  $("cut-hint").textContent = t.needsShape;
  for (const [name, field] of Object.entries(FIELDS)) control(t, name, field);
}

// A field with its slider. What somebody types stays, right or wrong.
function control(t, name, field) {
  const text = $(name), range = $(`${name}-range`), error = $(`${name}-error`), bad = wrong.has(name);
  if (document.activeElement !== text && !bad) text.value = plain(s[name]);
  text.setAttribute("aria-invalid", String(bad));
  error.hidden = !bad;
  if (bad) {
    const given = wrong.get(name).trim().slice(0, 24), ends = [plain(field.low), plain(field.high)];
    error.textContent = given ? t.bad[field.fraction ? "number" : "whole"](given, ...ends) : t.bad.empty(...ends);
  }
  range.value = String(field.place(s[name]));
  range.setAttribute("aria-valuetext", name === "psi" ? exact(s[name]) : plain(s[name]));
  range.setAttribute("aria-label", $(`${name}-label`).textContent);
}

function refresh() {
  words();
  controls();
  show();
}

function change(values) {
  for (const name of Object.keys(values)) wrong.delete(name);
  Object.assign(s, values);
  countParameters();
  unread = [];
  refresh();
  writeAddress();
}

// With a vocabulary the shape says how many parameters there are; of too many no number would be exact.
function countParameters() {
  if (!isCounted(s)) return;
  s.psi = parametersOf(s);
  wrong.delete("psi");
  if (s.psi > FIELDS.psi.high) wrong.set("psi", plain(s.psi));
}

function writeAddress() {
  history.replaceState(null, "", `#${addressOf(s, lang)}`);
}

function readAddress() {
  const address = location.hash.slice(1);
  [s, unread] = settingIn(address);
  lang = valueOf("lang", address) || valueOf("lang", new URLSearchParams(address).get("lang")) || lang;
  wrong.clear();
  countParameters();
}

const narrow = matchMedia("(max-width: 900px)");
const dark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function typed(name) {
  const value = readNumber($(name).value, FIELDS[name]);
  if (!Number.isNaN(value)) return change({ [name]: value });
  wrong.set(name, $(name).value);
  return refresh();
}

// On a narrow page the first pictures stand between the panel of ranks and the others; Tab goes as the eye does.
function arrange() {
  const focused = document.activeElement;
  $(narrow.matches ? "results" : "machine").after($("others"));
  $(narrow.matches ? "state-only" : "lead").after($("source"));
  if (focused !== document.activeElement) focused.focus();
}

function build() {
  for (const place of document.querySelectorAll(".slider")) {
    const name = place.dataset.name, field = FIELDS[name];
    const text = element("input", { type: "text", id: name, inputmode: "decimal", spellcheck: "false", "aria-describedby": `${name}-error` });
    const range = element("input", { type: "range", id: `${name}-range`, min: field.first || 0, max: field.steps, step: 1 });
    text.addEventListener("input", () => typed(name));
    text.addEventListener("blur", controls);
    range.addEventListener("input", () => change({ [name]: field.at(Number(range.value)) }));
    place.append(element("div", { class: "pair" }, element("label", { for: name, id: `${name}-label` }), text),
      element("p", { class: "error", id: `${name}-error`, role: "alert", hidden: "" }), range);
  }
  for (const i of [0, 1, 2, 3]) {
    const radio = element("input", { type: "radio", name: "stage", value: i });
    radio.addEventListener("change", () => change({ stage: i }));
    $("stages").append(element("label", {}, radio, ...["name", "number", "state", "from", "most", "what"].map((part) => element("span", { class: part }))));
  }
  const on = (name, made) => $(name).addEventListener("change", (event) => change(made(event.target)));
  on("preset", ({ value }) => (value ? { ...START, stage: s.stage, ...PRESETS[value] } : {}));
  on("model", ({ value }) => (value ? { ...MODELS[value], shape: true } : {}));
  on("device", ({ value }) => DEVICES[value] || {});
  for (const name of ["bits", "k", "group"]) on(name, ({ value }) => ({ [name]: Number(value) }));
  for (const name of ["weights", "gradients", "offload", "cut"]) on(name, ({ value }) => ({ [name]: value }));
  on("ring", ({ value }) => ({ ring: value === "1" }));
  for (const name of TICKED) on(name, ({ checked }) => ({ [name]: checked }));
  document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); $("results").focus(); }); // the address is the setting's
  $("reset").addEventListener("click", () => { wrong.clear(); change({ ...START }); });
  for (const form of document.forms) form.addEventListener("submit", (event) => event.preventDefault());
  for (const button of document.querySelectorAll(".languages button"))
    button.addEventListener("click", () => { lang = button.lang; refresh(); writeAddress(); });
  $("theme").addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; words(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", words);
  addEventListener("hashchange", () => { readAddress(); refresh(); });
  narrow.addEventListener("change", arrange);
  let width = 0; // drawn for
  new ResizeObserver(([{ contentRect }]) => { if (contentRect.width !== width) { width = contentRect.width; show(); } }).observe($("memory-chart"));
}

build();
arrange();
readAddress();
refresh();
