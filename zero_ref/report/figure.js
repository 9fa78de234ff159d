"use strict";

// Several runs at a glance: whether they end in the same weights, what every rank keeps and sends (the papers'
// first figure), what is held at most against what is sent, and what their code changes.

const MOST_BOXES = 8; // ranks with a box of their own

// What tells runs apart: their names, without what all have in common before the last "/".
const NAMES = (() => {
  const last = DATA.runs.map(({ name }) => name.split("/").at(-1).replace(/\.json$/, ""));
  return new Set(last).size === last.length ? last : DATA.runs.map(({ name }) => name);
})();

// "Stage 3 · three ranks", or "Stage 3" of a run that is named so.
function labelOf(run) {
  const [stage, name] = [say("stage_number", { stage: run.stage }), NAMES[DATA.runs.indexOf(run)]];
  return name.toLowerCase() === `stage${run.stage}` ? stage : `${stage} · ${name}`;
}


// ---- The badge

// "batch_size 64 (a, b), 32 (c)".
function optionInWords([option, values], names) {
  const by = new Map();
  for (const [i, value] of values.entries()) by.set(value, [...(by.get(value) || []), names[i]]);
  const each = [...by].map(([value, who]) => `${value} (${list(who)})`);
  return `${option} ${list(each)}`;
}

// [class, sentences] of the badge over several runs.
function verdict({ names, dry, groups, steps, what, how, same }, runs) {
  const inWords = (option) => (names.length > 4 ? option[0] : optionInWords(option, names));
  const optionsOf = (options) => clauses(...options.map(inWords));
  const without = dry.length ? say("badge_dry", { names: list(dry) }) : "";
  if (names.length < 2) return ["none", [say("badge_none"), without]];
  if (same) {
    return ["same", [say("badge_same", { number: names.length, steps: exact(steps) }), without]];
  }
  if (what.length) {
    const equal = groups.length === 1 && say("badge_equal_anyway");
    return ["unlike", [say("badge_unlike", { options: optionsOf(what) }), equal, without]];
  }
  const apart = groups.map((group) => list(group)).join(" ≠ ");
  const order = runs.some(({ config }) => config.micro_batches > 1) && how.some(([option]) => option === "stage");
  const reason = how.length ? say("badge_how", { options: optionsOf(how) }) : say("badge_no_reason");
  return ["other", [say("badge_other", { groups: apart }), reason, order && say("badge_order"), without]];
}

function drawBadge() {
  const { names, dry, groups } = DATA.weights;
  const called = { names: names.map(shownName), dry: dry.map(shownName), groups: groups.map((group) => group.map(shownName)) };
  const [name, words] = verdict({ ...DATA.weights, ...called }, DATA.runs);
  const badge = find("badge");
  badge.className = `badge ${name}`;
  badge.textContent = sentences(...words);
}

// ---- Figure 1

// "8Ψ + 8Ψ/N": bytes at rest by what the stage keeps, with the bytes of a parameter in each kind.
function formulaAtRest({ keeps, against, config }) {
  const each = (share) => sum(KEPT.filter((kind) => keeps[kind] === share).map((kind) => against.kinds[kind][1] / against.padded));
  const [all, part] = [each("all"), each("1/N")].map((bytes) => Number(bytes.toFixed(2)));
  return [all && `${all}Ψ`, part && `${part}Ψ/${config.group ? "G" : "N"}`].filter((term) => term).join(" + ");
}

// "12Ψ(N−1)/N · 1.5×", in bytes; without the first part where the model is sent no whole number of times.
function formulaSent({ against }) {
  if (against.sent === null) return "";
  const times = 2 * against.sent;
  const whole = Math.abs(times - Math.round(times)) < 0.02 && times > 0.5;
  const each = against.kinds.parameter[1] / against.padded;
  return (whole ? `${Number((each * Math.round(times)).toFixed(2))}Ψ(N−1)/N · ` : "") + `${against.sent.toFixed(2)}×`;
}

const heldBy = (rank) => sum(KEPT.map((kind) => rank.resting_bytes[kind]));
const sends = (rank) => total(rank.sent_bytes_per_step);
const mostBy = (run, bytes) => run.ranks.reduce((best, rank) => (bytes(rank) > bytes(best) ? rank : best));
const keptBy = (run) => heldBy(mostBy(run, heldBy));
const sentBy = (run) => sends(mostBy(run, sends));

// Rows of the ranks with a box: all, or the first and the last of them.
function boxesOf(run, most) {
  const all = run.ranks.map((_, row) => row);
  if (all.length <= most) return all;
  return [...all.slice(0, most - 2), ...all.slice(-2)];
}

// What a rank keeps: the outline is all of stage 0, of each kind a layer, of a layer its shard.
function drawBox(run, row, x, y, wide, tall) {
  const { kinds, kept_0, padded, shards } = run.against;
  const [first, own] = shards[row];
  const parts = [rect(x, y, wide, tall, { class: "outline" })];
  let bottom = y + tall;
  for (const kind of KEPT) {
    const whole = kinds[kind][1];
    const high = (tall * whole) / Math.max(1, kept_0);
    bottom -= high;
    const bytes = kinds[kind][0];
    if (!bytes) continue;
    const part = run.keeps[kind] === "1/N";
    const [at, reach] = part ? placeOfShard([first, own], x, wide, wide / (padded || 1)) : [x, wide];
    parts.push(rect(at, bottom, reach, high, { ...patternOf(kind), class: "edge", "data-kind": kind, "data-row": row }));
  }
  return parts;
}

// A bar of parts, [pattern, bytes, letters], with their sum above it and words below.
function drawBar(x, y, wide, parts, most, words) {
  const bytes = sum(parts.map(([, each]) => each));
  const scale = wide / Math.max(1, most);
  const drawn = [text(x, y + 10, say("in_bytes", { bytes: exact(bytes) }), { class: "strong" }), text(x, y + 47, words, { class: "small" })];
  let left = x;
  for (const [pattern, each, letters = ""] of parts) {
    const reach = scale * each;
    if (each) drawn.push(rect(left, y + 16, Math.max(0.75, reach), 16, { ...patternOf(pattern), class: "edge", "data-part": pattern }));
    if (letters && reach > 24) drawn.push(text(left + reach / 2, y + 28, letters, { class: "tiny halo", "text-anchor": "middle" }));
    left += reach;
  }
  return drawn;
}

function drawFigureRow(run, y, at, most) {
  const { against } = run;
  const parts = [text(0, y + 14, cut(labelOf(run), at.letters), { class: "strong" }, s("title", {}, run.name))];
  if (!against) return [...parts, text(0, y + 32, say("figure_unknown"), { class: "small" })];
  parts.push(text(0, y + 32, formulaAtRest(run), { class: "small formula-at-rest" }));
  if (run.origin === "dry") parts.push(...dryBadge(140, y + 20));
  const rows = boxesOf(run, at.most);
  const step = Math.min(80, at.boxesWide / rows.length);
  for (const [i, row] of rows.entries()) {
    const x = at.boxes + i * step;
    const top = y + at.boxesDown;
    parts.push(...drawBox(run, row, x, top, step * 0.78, 76));
    parts.push(text(x + step * 0.39, top + 88, `rank ${run.numbers[row]}`, { class: "tiny", "text-anchor": "middle" }));
  }
  const left = run.world_size - rows.length;
  if (left > 0) parts.push(text(at.boxes, y + at.boxesDown + 101, say("figure_more", { number: exact(left) }), { class: "tiny" }));
  const percent = Number(((100 * against.kept) / Math.max(1, against.kept_0)).toPrecision(3));
  const away = Math.max(...run.ranks.map((rank) => total(rank.away_bytes || {})));
  const outside = away ? ` ${say("figure_away", { bytes: exact(away) })}` : "";
  const share = say("figure_share", { share: percent }) + outside;
  const kept = KEPT.map((kind) => [kind, mostBy(run, heldBy).resting_bytes[kind]]);
  const sent = COLLECTIVES.map((name) => [sentAs(run, name), mostBy(run, sends).sent_bytes_per_step[name], INITIALS[name] || ""]);
  parts.push(...drawBar(at.kept, y + at.barsDown, at.barsWide, kept, most.kept, share));
  parts.push(...drawBar(at.sent, y + at.barsDown, at.barsWide, sent, most.sent, formulaSent(run)));
  return parts;
}

function drawFigure(runs, width) {
  const narrow = width < 800;
  const boxesWide = narrow ? width : Math.min(420, width * 0.36);
  const bars = 230 + boxesWide + 24;
  const half = (width - bars) / 2;
  const wide = { letters: 32, boxes: 230, boxesWide, boxesDown: 0, kept: bars, sent: bars + half + 12, barsWide: half - 24, barsDown: 14, most: MOST_BOXES };
  const small = { letters: 46, boxes: 0, boxesWide, boxesDown: 44, kept: 0, sent: width / 2 + 8, barsWide: width / 2 - 16, barsDown: 156, most: 5 };
  const at = narrow ? small : wide;
  const row = narrow ? 226 : 110;
  const most = { kept: Math.max(...runs.map(keptBy)), sent: Math.max(...runs.map(sentBy)) };
  const head = narrow ? 0 : 26;
  const parts = [];
  if (!narrow) {
    for (const [x, key] of [[at.boxes, "figure_boxes"], [at.kept, "figure_kept"], [at.sent, "figure_sent"]]) {
      parts.push(text(x, 10, say(key), { class: "small" }));
    }
  }
  for (const [i, run] of runs.entries()) {
    parts.push(...drawFigureRow(run, head + i * row, at, most));
    if (i) parts.push(line(0, head + i * row - 10, width, head + i * row - 10, "axis"));
  }
  return svg(width, head + runs.length * row - 6, say("figure_description"), parts);
}

function figureTable() {
  const rows = DATA.runs.flatMap((run) => run.ranks.map((rank, row) => [
    run.name, `rank ${run.numbers[row]}`, ...KEPT.map((kind) => exact(rank.resting_bytes[kind])),
    exact(heldBy(rank)), exact(total(rank.sent_bytes_per_step)),
  ]));
  return table([say("file"), "rank", ...[...KEPT, "at_rest", "sent_per_step"].map((key) => say(key))], rows, [1]);
}

// ---- The most that is held against what is sent

// A mark of its own for each run.
function markAt(i, x, y, dry) {
  const paths = ["M-6 0A6 6 0 1 0 6 0A6 6 0 1 0 -6 0Z", "M-5.5 -5.5H5.5V5.5H-5.5Z", "M0 -7L7 5.5H-7Z", "M0 -7.5L7.5 0L0 7.5L-7.5 0Z",
    "M0 7L7 -5.5H-7Z", "M-7 -2.5H-2.5V-7H2.5V-2.5H7V2.5H2.5V7H-2.5V2.5H-7Z"];
  const name = `mark curve${i % CURVE_STYLES}${dry ? " hollow" : ""}`;
  return s("path", { class: name, d: paths[i % paths.length], transform: `translate(${x} ${y})` });
}

// Heights of labels, `least` from one to the next and none below `bottom`, near to where they are wanted.
function apart(wanted, least, bottom) {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b]);
  const found = [...wanted];
  for (const [turn, i] of order.entries()) {
    if (turn) found[i] = Math.max(found[i], found[order[turn - 1]] + least);
  }
  for (const [turn, i] of [...order.entries()].reverse()) {
    const next = order[turn + 1];
    found[i] = Math.min(found[i], next === undefined ? bottom : found[next] - least);
  }
  return found;
}

function drawScatter(runs, width) {
  const [left, right, top] = [70, width < 520 ? 20 : 250, 14];
  const bottom = Math.max(240, 18 * runs.length);
  const [xs, ys] = [runs.map(sentBy), runs.map((run) => mostOf(run).peak[0])];
  const axis = (values, from, to) => {
    const [least, most] = [Math.min(...values.filter((value) => value > 0)), Math.max(1, ...values)];
    if (most < 50 * least) return [(value) => from + ((to - from) * value) / (1.1 * most), ticks(1.1 * most, 4)];
    const [low, high] = [Math.floor(Math.log10(least)), Math.ceil(Math.log10(most))]; // far apart: by powers
    const every = Math.ceil((high - low) / 5);
    const marks = Array.from({ length: Math.floor((high - low) / every) + 1 }, (_, i) => 10 ** (low + i * every));
    return [(value) => from + ((to - from) * (Math.log10(Math.max(value, 10 ** low)) - low)) / (high - low || 1), marks];
  };
  const [x, across] = axis(xs, left, width - right);
  const [y, up] = axis(ys, bottom, top);
  const parts = [text(left, 8, say("scatter_peak"), { class: "small" })];
  for (const bytes of up) {
    parts.push(line(left, y(bytes), width - right, y(bytes), "axis"));
    parts.push(text(left - 8, y(bytes) + 4, short(bytes), { class: "small", "text-anchor": "end" }));
  }
  for (const bytes of across) {
    parts.push(line(x(bytes), top, x(bytes), bottom, "axis"));
    parts.push(text(x(bytes), bottom + 16, short(bytes), { class: "small", "text-anchor": "middle" }));
  }
  parts.push(text(width - right, bottom + 32, say("scatter_sent"), { class: "small", "text-anchor": "end" }));
  const beside = width < 520; // labels: in a column to the right, or under the picture
  const heights = beside ? runs.map((_, i) => bottom + 52 + 18 * i) : apart(ys.map((bytes) => y(bytes) + 4), 16, bottom);
  for (const [i, run] of runs.entries()) {
    const dry = run.origin === "dry";
    const words = cut(labelOf(run), beside ? 44 : 34) + (dry ? ` (${say("dry_badge")})` : "");
    const at = beside ? 22 : x(xs[i]) + 12;
    if (!beside && Math.abs(heights[i] - 4 - y(ys[i])) > 3) parts.push(line(x(xs[i]) + 8, y(ys[i]), at, heights[i] - 4, "leader"));
    parts.push(markAt(i, x(xs[i]), y(ys[i]), dry));
    if (beside) parts.push(markAt(i, at - 10, heights[i] - 4, dry));
    parts.push(text(at + 2, heights[i], words, { class: "small strong halo" }));
  }
  const height = beside ? bottom + 48 + 18 * runs.length : bottom + 36;
  return svg(width, height, say("scatter_description"), parts);
}

// ---- What the code changes

function drawChange({ from, to, files, rows }) {
  const [a, b] = [DATA.runs[from], DATA.runs[to]].map(labelOf);
  if (!rows.length) return h("p", { class: "note" }, say("code_same", { a, b, file: files[1] }));
  const lines = (sign) => exact(rows.filter(([each]) => each === sign).length);
  const words = say("code_change", { a, b, less: lines("-"), more: lines("+") });
  const names = { "-": "minus", "+": "plus", "…": "gap" };
  const code = rows.map(([sign, line]) => h("div", { class: names[sign] || null }, h("span", { class: "number" }, sign), line));
  const box = h("div", { class: "scrolls change", tabindex: "0", role: "group", "aria-label": words }, code);
  return h("details", {}, h("summary", {}, words), h("p", { class: "file" }, files.join(" → ")), box);
}
