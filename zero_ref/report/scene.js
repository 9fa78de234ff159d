"use strict";

// The scene: what each rank keeps of the unit in use, what lies on its workbench, and what travels between
// them. Pieces are numbered by their owners, and tinted. It moves in between two events: progress is 0 to 1.

const LETTERS = { parameter: "P", gradient: "G", optimizer: "S" };
const MOST_PIECES = 16; // with more ranks only the pieces of those that are drawn

// The ranks that have a row: the chosen one and its neighbours, if there is no room for all.
function rowsOf(view, most) {
  const all = view.ranks;
  if (all.length <= most) return all;
  const first = Math.max(0, Math.min(view.chosen - 1, all.length - most));
  return all.slice(first, first + most);
}

// Pieces of a unit, or of the whole model (unit null): [place of the owner in its group, first element,
// elements]. Of very many ranks only the pieces of those that are drawn.
function piecesOf(view, unit) {
  const units = unit === null ? view.units : [view.units[unit]];
  const group = view.group;
  const add = (rows) => rows.reduce((a, b) => [a[0] + b[0], a[1] + b[1]]);
  if (group > MOST_PIECES) {
    return view.ranks.map(({ number, row }) => {
      const [first, count] = add(units.map(({ shards }) => shards[row]));
      return [number % group, units.length > 1 ? (count * number) % (count * group) : first, count];
    });
  }
  let end = 0;
  return Array.from({ length: group }, (_, place) => {
    const count = sum(units.map(({ counts }) => counts[place]));
    end += count;
    return [place, end - count, count];
  });
}

// What is going on: the call that is open or has just ended, its unit, whether it has ended.
function actOf(view) {
  const { rank, position } = view;
  const open = rank.inside[position][0];
  const [, what, name, unit] = view.event || [];
  if (open) return { name: open[0], unit: open[1], ended: false };
  return what === "end" ? { name, unit, ended: true } : { name: null, unit: null, ended: true };
}

// Who sends to whom in a call: rows of the picture, and the places of the pieces. One hop is all, or one of
// N - 1 around the ring, where `piece` depends on the hop.
function routesOf(view, rows, name) {
  const { group, run } = view;
  const ring = run.config.reduce === "ring";
  const place = (row) => rows[row].number % group;
  const inside = (a, b) => Math.floor(rows[a].number / group) === Math.floor(rows[b].number / group);
  const routes = [];
  for (let from = 0; from < rows.length; from++) {
    for (let to = 0; to < rows.length; to++) {
      if (from === to) continue;
      const next = (place(from) + 1) % group === place(to);
      if (name === "sum") routes.push({ from, to, piece: null });
      else if (name === "sum_between_groups" && place(from) === place(to)) {
        routes.push({ from, to, piece: place(from) });
      } else if (name !== "sum_between_groups" && inside(from, to) && (!ring || next)) {
        routes.push({ from, to, piece: isGather(name) ? place(from) : place(to), ring });
      }
    }
  }
  return routes;
}

// Bytes that a rank sends in the call that is open at a position, or has just ended.
function sentIn(rank, position) {
  for (let i = Math.max(0, position - 1); i < rank.events.length; i++) {
    const [, what, name, , bytes] = rank.events[i];
    if (what === "end" && !PASSES.includes(name)) return bytes;
  }
  return 0;
}

// The picture for a width, and move(progress).
function drawScene(view, width, most) {
  const narrow = width < 520;
  const rows = rowsOf(view, narrow ? Math.min(4, most) : most);
  const tall = Math.max(38, Math.min(62, Math.floor((narrow ? 216 : 250) / rows.length)));
  const [names, keptWide] = narrow ? [56, width * 0.27] : [96, width * 0.26];
  const bench = names + keptWide + width * (narrow ? 0.13 : 0.2);
  const place = { names: 0, kept: names + 14, keptWide, bench, benchWide: width - bench - 1, head: 20, tall };
  const phase = phaseAt(view.phases, view.position);
  const act = actOf(view);
  const unit = act.unit ?? phase?.unit ?? null;
  const collective = act.name && !PASSES.includes(act.name) ? act.name : null;
  const scene = { view, rows, place, unit, act, collective, pieces: piecesOf(view, unit) };
  scene.padded = unit === null ? sum(view.units.map((each) => each.padded)) : view.units[unit].padded;
  const title = unit === null ? say("scene_model") : say("scene_unit", { unit: view.units[unit].name });
  const parts = [
    text(place.kept, 12, say(narrow ? "scene_keeps_short" : "scene_keeps", { what: title }), { class: "small" }),
    text(bench, 12, say(narrow ? "scene_bench_short" : "scene_bench"), { class: "small" }),
  ];
  scene.arriving = [];
  scene.badges = [];
  const benches = rows.map((rank, row) => drawBench(scene, row, rank));
  const [paths, tokens] = drawRoutes(scene);
  parts.push(...benches.flat(), ...paths);
  for (const [row, rank] of rows.entries()) parts.push(...drawRow(scene, row, rank));
  const more = view.run.world_size - rows.length;
  const bottom = place.head + rows.length * (tall + 6);
  if (more > 0) parts.push(text(0, bottom + 8, say("scene_more", { number: exact(more) }), { class: "small" }));
  const picture = svg(width, bottom + (more > 0 ? 14 : 0), sentences(title, inWords(view)), parts, tokens.map(({ shape }) => shape),
    scene.badges.map(({ shape }) => shape));
  const move = (progress) => moveScene(scene, tokens, act.ended ? 1 : progress);
  return [picture, move, collective && !act.ended];
}

const topOf = ({ head, tall }, row) => head + row * (tall + 6);
const barOf = ({ tall }) => (tall - 8) / 3;
const kindAt = (place, row, kind) => topOf(place, row) + KEPT.indexOf(kind) * (barOf(place) + 4);
const lineAt = (place, row, kind) => topOf(place, row) + (kind === "parameter" ? 0 : (place.tall - 4) / 2 + 4);

// Where piece `owner` lies in a bar from x, so many pixels wide.
function pieceIn(scene, owner, x, wide) {
  const found = scene.pieces.find(([place]) => place === owner);
  if (!found) return [x, 0];
  return placeOfShard([found[1], found[2]], x, wide, wide / (scene.padded || 1));
}

function drawRow(scene, row, rank) {
  const { view, place, unit, pieces } = scene;
  const { keeps } = view.run;
  const at = rank.asFarAs(view.rank, view.position);
  const mine = rank.number % view.group;
  const y = topOf(place, row);
  const chosen = rank === view.rank;
  const parts = [text(0, y + 12, `${chosen ? "▸ " : ""}rank ${rank.number}`, { class: chosen ? "strong" : null })];
  const sent = scene.collective ? sentIn(rank, at) : 0;
  if (sent) parts.push(text(0, y + 27, say("scene_sends"), { class: "tiny" }), text(0, y + 40, `${exact(sent)} B`, { class: "tiny" }));
  const updated = (each) => rank.events.slice(0, at).some(([, what, name, u]) => what === "end" && name === "update" && u === each);
  const fresh = unit === null ? view.units.every((_, each) => updated(each)) : updated(unit);
  for (const kind of KEPT) {
    const top = kindAt(place, row, kind);
    const bytes = sum(rank.kept.map((each, u) => (unit === null || u === unit ? each[kind][0] : 0)));
    const letter = LETTERS[kind] + (fresh && kind !== "gradient" ? "′" : "");
    parts.push(text(place.kept - 13, top + barOf(place) / 2 + 4, letter, { class: "tiny" }));
    parts.push(rect(place.kept, top, place.keptWide, barOf(place), { class: "outline" }));
    for (const [owner] of pieces) {
      if (!bytes || (keeps[kind] === "1/N" && owner !== mine)) continue;
      const [x, wide] = pieceIn(scene, owner, place.kept, place.keptWide);
      parts.push(rect(x, top, wide, barOf(place), { ...patternOf(kind), class: "edge" }));
    }
    const room = place.bench - place.kept - place.keptWide > 90;
    const under = top + barOf(place) / 2 + 4;
    const badge = kind === "gradient" && scene.collective === "reduce_scatter"; // stands there
    const name = { class: "tiny halo" };
    if (room && !badge) parts.push(text(place.kept + place.keptWide + 4, under, short(bytes), name));
  }
  return parts;
}

// The unit that is worked on: its parameters above, its whole gradient below.
function drawBench(scene, row, rank) {
  const at = rank.asFarAs(scene.view.rank, scene.view.position);
  const { view, place, unit, pieces, collective, act } = scene;
  if (unit === null) return [];
  const { keeps } = view.run;
  const visiting = rank.visiting(at);
  const tall = (place.tall - 4) / 2;
  const gathering = isGather(collective || "") && keeps.optimizer === "1/N";
  const parts = [];
  const whole = {
    parameter: keeps.parameter === "all" || visiting.gathered[unit] > 0 || gathering,
    gradient: visiting.full_gradient[unit] > 0 || (keeps.gradient === "all" && act.name !== "forward" && rank.kept[unit].gradient[0] > 0),
  };
  for (const kind of ["parameter", "gradient"]) {
    const y = lineAt(place, row, kind);
    parts.push(rect(place.bench, y, place.benchWide, tall, { class: "outline" }));
    if (!whole[kind]) continue;
    for (const [owner] of pieces) {
      const [x, wide] = pieceIn(scene, owner, place.bench, place.benchWide);
      const box = rect(x, y, wide, tall, { class: `owner owner${owner % 8} edge` });
      const name = `${LETTERS[kind]}${owner}`;
      const label = wide > 7 * name.length + 2 ? text(x + 4, y + tall / 2 + 4, name, { class: "tiny" }) : null;
      const group = s("g", {}, box, label);
      const comes = kind === (keeps.optimizer === "all" ? "gradient" : "parameter") && isGather(collective || "");
      if (comes && owner !== rank.number % view.group) scene.arriving.push({ group, owner, row });
      parts.push(group);
    }
    if (pieces.length < view.group) parts.push(rect(place.bench, y, place.benchWide, tall, { class: "owner faint" }));
  }
  if (act.name === "forward" || act.name === "backward") {
    parts.push(rect(place.bench - 2, topOf(place, row) - 2, place.benchWide + 4, place.tall + 4, { class: "busy", rx: 3 }));
  }
  if (act.name === "update") {
    parts.push(rect(place.kept - 2, topOf(place, row) - 2, place.keptWide + 4, place.tall + 4, { class: "busy", rx: 3 }));
  }
  return parts;
}

// Where a token of a route starts and ends.
function endsOf(scene, { from, to, piece, ring }) {
  const { place, collective, view } = scene;
  const gather = isGather(collective);
  const kind = collective === "sum" ? "gradient" : gather && view.run.keeps.optimizer !== "all" ? "parameter" : "gradient";
  const middle = barOf(place) / 2;
  const kept = (row) => [place.kept + place.keptWide, kindAt(place, row, kind) + middle];
  const bench = (row) => {
    const [x, wide] = piece === null ? [place.bench, 0] : pieceIn(scene, piece, place.bench, place.benchWide);
    return [x + wide / 2, lineAt(place, row, kind) + (place.tall - 4) / 4];
  };
  if (collective === "sum" || collective === "sum_between_groups") return [kept(from), kept(to)];
  if (ring) return [bench(from), bench(to)];
  return gather ? [kept(from), bench(to)] : [bench(from), kept(to)];
}

function drawRoutes(scene) {
  const { view, rows, collective } = scene;
  if (!collective) return [[], []];
  const routes = routesOf(view, rows, collective);
  const paths = [];
  const tokens = routes.map((route) => {
    const [[x1, y1], [x2, y2]] = endsOf(scene, route);
    const bend = x1 === x2 ? x1 + 50 : (x1 + x2) / 2;
    const tint = route.piece === null ? "" : `owner${route.piece % 8}`;
    paths.push(s("path", { class: `route ${tint}`, d: `M${x1} ${y1}C${bend} ${y1} ${bend} ${y2} ${x2} ${y2}` }));
    const name = route.piece === null ? "Σ" : String(route.piece);
    const label = s("text", { class: "tiny", "text-anchor": "middle", y: 4 }, name);
    const wide = 8 + 6 * name.length;
    const shape = s("g", { class: "token" }, rect(-wide / 2, -7, wide, 14, { class: `owner ${tint} edge`, rx: 3 }), label);
    return { route, shape, label, from: [x1, y1], to: [x2, y2], bend };
  });
  if (collective === "reduce_scatter") {
    for (const [row, rank] of rows.entries()) {
      const { place } = scene;
      const y = kindAt(place, row, "gradient") + barOf(place) / 2 + 4;
      const shape = text(place.kept + place.keptWide + 6, y, "", { class: "tiny strong halo badge" });
      scene.badges.push({ shape, row, rank });
    }
  }
  return [paths, tokens];
}

// Put everything where it is at `progress`.
function moveScene(scene, tokens, progress) {
  const { view, rows } = scene;
  const group = view.group;
  const hops = group - 1;
  const hop = Math.min(hops - 1, Math.floor(progress * hops)); // of the ring
  const arrived = new Map(rows.map((_, row) => [row, 0]));
  for (const token of tokens) {
    const { from, to, ring, piece } = token.route;
    const order = (to - from + rows.length) % rows.length;
    let part = Math.max(0, Math.min(1, 1.6 * progress - (0.6 * (order - 1)) / Math.max(1, rows.length - 2)));
    if (ring) part = progress === 1 ? 1 : progress * hops - hop;
    const rest = 1 - part;
    const [[x1, y1], [x2, y2], bend] = [token.from, token.to, token.bend];
    const [a, b, c, d] = [rest ** 3, 3 * rest * rest * part, 3 * rest * part * part, part ** 3];
    token.shape.setAttribute("transform", `translate(${a * x1 + (b + c) * bend + d * x2} ${(a + b) * y1 + (c + d) * y2})`);
    token.shape.setAttribute("opacity", part === 1 ? 0.25 : 1);
    if (ring) {
      const place = rows[from].number % group;
      const offset = isGather(scene.collective) ? 0 : -1; // a sum goes around once before it is home
      token.label.textContent = String((place - hop + offset + 2 * group) % group);
    }
    if (part === 1 && piece !== null) arrived.set(to, arrived.get(to) + 1);
  }
  for (const { group: shape, owner, row } of scene.arriving) {
    const me = rows[row].number % group;
    const away = (me - owner + group) % group;
    const ring = tokens.some(({ route }) => route.ring);
    const sender = rows.findIndex(({ number }) => number % group === owner);
    const token = tokens.find(({ route }) => route.from === sender && route.to === row);
    const there = ring ? progress * hops >= away : token ? token.shape.getAttribute("opacity") !== "1" : progress === 1;
    shape.setAttribute("opacity", there || progress === 1 ? 1 : 0.15);
  }
  for (const { shape, row } of scene.badges) {
    const ring = tokens.some(({ route }) => route.ring);
    const part = ring ? hop / hops : arrived.get(row) / Math.max(1, rows.length - 1);
    const terms = progress === 1 ? group : 1 + Math.floor(part * (group - 1));
    shape.textContent = `Σ ${exact(terms)}/${exact(group)}`;
  }
}
