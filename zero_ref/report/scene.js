"use strict";

// The scene: what each rank keeps of the unit in use, what lies on its workbench, and what travels between
// them (travel.js). Pieces are numbered by their owners, and tinted.

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

// Where things lie in so many pixels.
function placesIn(view, width, ranks) {
  const narrow = width < 520;
  const long = longestName(view.run) > 7; // "rank 1023"
  const room = (narrow ? 208 : 250) - (view.run.origin === "dry" ? 58 : 0); // for the words above that it is one
  const tall = Math.max(28, Math.min(narrow ? 62 : 92, Math.floor(room / ranks)));
  const [names, keptWide] = narrow ? [long ? 70 : 56, width * 0.25] : [96, width * 0.26];
  const bench = names + keptWide + width * (narrow ? 0.13 : 0.2);
  return { narrow, kept: names + 14, keptWide, bench, benchWide: width - bench - 1, head: 20, tall };
}

const drawnRows = (view, width, most) => rowsOf(view, width < 520 ? Math.min(4, most) : most);

// The picture for a width, move(progress), and whether something travels.
function drawScene(view, width, most) {
  const rows = drawnRows(view, width, most);
  const place = placesIn(view, width, rows.length);
  const act = actOf(view);
  const unit = act.unit ?? phaseAt(view.phases, view.position)?.unit ?? null;
  const collective = act.name && !PASSES.includes(act.name) ? act.name : null;
  const scene = { view, rows, place, unit, act, collective, pieces: piecesOf(view, unit), arriving: [], badges: [] };
  scene.padded = unit === null ? sum(view.units.map((each) => each.padded)) : view.units[unit].padded;
  const benches = rows.map((rank, row) => drawBench(scene, row, rank));
  const [paths, tokens] = drawRoutes(scene);
  const kept = rows.flatMap((rank, row) => drawRow(scene, row, rank));
  const height = place.head + rows.length * (place.tall + 6);
  const moving = [...tokens, ...scene.badges].map(({ shape }) => shape);
  const label = clauses(titleOf(scene), view.run.origin === "dry" && say("dry_badge"), inWords(view));
  const picture = svg(width, height, label, drawHeads(scene), benches.flat(), paths, kept, moving);
  const move = (progress) => moveScene(scene, tokens, act.ended ? 1 : progress);
  return [picture, move, collective && !act.ended];
}

const titleOf = ({ unit, view }) => (unit === null ? say("scene_model") : say("scene_unit", { unit: view.units[unit].name }));

// What stands above the two columns, and that nothing was computed.
function drawHeads(scene) {
  const { view, place, unit, rows } = scene;
  const [keeps, bench] = place.narrow ? ["scene_keeps_short", "scene_bench_short"] : ["scene_keeps", unit === null ? "scene_bench" : "scene_bench_of"];
  const { kinds, padded } = view.run.against;
  const whole = { unit: cut(titleOf(scene), 14), bytes: short(Math.round((scene.padded * kinds.parameter[1]) / (padded || 1))) };
  const parts = [
    text(place.kept, 12, say(keeps, { what: cut(titleOf(scene), place.narrow ? 11 : 18) }), { class: "small" }),
    text(place.bench, 12, say(bench, whole), { class: "small" }),
  ];
  if (view.run.origin === "dry") parts.push(...dryBadge(0, 0));
  if (unit === null && !place.narrow) {
    const words = say(view.position ? "bench_empty" : "bench_waits", { ranks: exact(view.run.world_size) }).split("\n");
    const middle = topOf(place, 0) + (rows.length * (place.tall + 6)) / 2 - 9 * words.length;
    for (const [i, each] of words.entries()) parts.push(text(place.bench, middle + 18 * i, each, {}));
  }
  return parts;
}

// What stands below: how many ranks are not drawn, what a shelf is, and what codes are.
function notesOf(view, width, most) {
  const more = view.run.world_size - drawnRows(view, width, most).length;
  const tier = tierOf(view.run);
  return [
    more > 0 && say("scene_more", { number: exact(more) }),
    tier && say("scene_shelf", { tier: say(`tier_${tier}`) }),
    (view.run.config.code_weights || view.run.config.code_gradients) && say("scene_codes"),
  ];
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

const MOST_PARTS = 8; // units whose shards are drawn one by one where all of the model is

// The shards of an owner in a bar from x: of the unit, or of every unit of the model, since each is dealt by itself.
function shardsOf(scene, owner, x, wide) {
  const { view: { units }, unit, padded } = scene;
  if (unit !== null || units.length > MOST_PARTS || units.some(({ counts }) => !counts.length)) return [pieceIn(scene, owner, x, wide)];
  const scale = wide / (padded || 1);
  let first = 0;
  return units.map(({ counts, padded: length }) => {
    const at = first + sum(counts.slice(0, owner));
    first += length;
    return [x + scale * at, counts[owner] ? Math.max(1.5, scale * counts[owner]) : 0];
  });
}

// ---- What a rank keeps

// "host" or "disk": where --offload has put something, "" without.
const tierOf = ({ config }) => (config.offload || "").split(":")[0];

// Whether a kind lies on the shelf outside of the device.
function isAway({ config }, kind) {
  return Boolean(config.offload) && (kind === "optimizer" || Boolean(config.offload_shards));
}

// Bytes of a kind that a rank keeps of a unit, or of all: on the device, or on the shelf.
function keptOf(view, rank, unit, kind) {
  const units = unit === null ? view.units.map((_, u) => u) : [unit];
  if (!isAway(view.run, kind)) return sum(units.map((u) => rank.kept[u][kind][0]));
  const { kinds, padded } = view.run.against;
  return sum(units.map((u) => view.units[u].shards[rank.row][1])) * (kinds[kind][1] / (padded || 1));
}

function drawRow(scene, row, rank) {
  const { view, place, unit } = scene;
  const at = rank.asFarAs(view.rank, view.position);
  const chosen = rank === view.rank;
  const fresh = unit === null ? view.units.every((_, u) => rank.updated(u, at)) : rank.updated(unit, at);
  const name = text(0, topOf(place, row) + 12, `${chosen ? "▸ " : ""}rank ${rank.number}`, { class: chosen ? "strong" : null });
  return [name, ...drawSent(scene, row, rank, at), ...KEPT.flatMap((kind) => drawKept(scene, row, rank, kind, fresh))];
}

// What the rank sends in the call that is under way.
function drawSent({ collective, place, view }, row, rank, at) {
  const sent = collective ? sentIn(rank, at) : 0;
  if (!sent) return [];
  const y = topOf(place, row);
  const how = codedIn(view.run, collective);
  const words = how ? say("scene_sends_codes", { bits: how }) : say("scene_sends");
  const bytes = place.narrow && sent >= 1e6 ? short(sent) : `${exact(sent)} B`;
  if (place.tall < 38) return [text(0, y + 25, `→ ${bytes}${how && `, ${how}`}`, { class: "tiny" })]; // no room for words
  return [text(0, y + 27, words, { class: "tiny" }), text(0, y + 40, bytes, { class: "tiny" })];
}

function drawKept(scene, row, rank, kind, fresh) {
  const { view, place, unit, pieces } = scene;
  const { keeps } = view.run;
  const [top, high] = [kindAt(place, row, kind), barOf(place)];
  const bytes = keptOf(view, rank, unit, kind);
  const away = isAway(view.run, kind);
  const letter = LETTERS[kind] + (fresh && kind !== "gradient" ? "′" : "");
  const parts = [
    text(place.kept - 13, top + high / 2 + 4, letter, { class: "tiny" }),
    rect(place.kept, top, place.keptWide, high, { class: away ? "outline shelf" : "outline" }),
  ];
  for (const [owner] of pieces) {
    if (!bytes || (keeps[kind] === "1/N" && owner !== rank.number % view.group)) continue;
    for (const [x, wide] of shardsOf(scene, owner, place.kept, place.keptWide)) {
      parts.push(rect(x, top, wide, high, { ...patternOf(kind), class: away ? "edge away" : "edge" }));
    }
  }
  if (away) parts.push(line(place.kept - 4, top + high + 1.5, place.kept + place.keptWide + 4, top + high + 1.5, "plank"));
  const room = place.bench - place.kept - place.keptWide > 90;
  const badge = kind === "gradient" && termsOf(scene); // stands there
  const words = short(Math.round(bytes)) + (away ? ` · ${say(`tier_${tierOf(view.run)}`)}` : "");
  if (room && !badge) parts.push(text(place.kept + place.keptWide + 6, top + high / 2 + 4, words, { class: "tiny halo" }));
  return parts;
}

// ---- The workbench: the unit that is worked on, its parameters above, its whole gradient below

function drawBench(scene, row, rank) {
  const { view, place, unit } = scene;
  if (unit === null) return [];
  const at = rank.asFarAs(view.rank, view.position);
  const whole = wholeOn(scene, rank, at);
  return [...["parameter", "gradient"].flatMap((kind) => drawUnit(scene, row, rank, kind, whole[kind])), ...drawBusy(scene, row)];
}

// Whether the unit's parameters and its gradient lie there whole.
function wholeOn({ view, unit, act, collective }, rank, at) {
  const { keeps } = view.run;
  const visiting = rank.visiting(at);
  const gathering = isGather(collective) && keeps.optimizer === "1/N";
  return {
    parameter: keeps.parameter === "all" || visiting.gathered[unit] > 0 || gathering,
    gradient: visiting.full_gradient[unit] > 0 || (keeps.gradient === "all" && act.name !== "forward" && rank.kept[unit].gradient[0] > 0),
  };
}

function drawUnit(scene, row, rank, kind, whole) {
  const { view, place, pieces, collective } = scene;
  const [y, tall] = [lineAt(place, row, kind), (place.tall - 4) / 2];
  const parts = [rect(place.bench, y, place.benchWide, tall, { class: "outline" })];
  if (!whole) return parts;
  if (pieces.length < view.group) {
    const words = say("scene_others", { kind: LETTERS[kind], number: exact(view.group - pieces.length) });
    parts.push(rect(place.bench, y, place.benchWide, tall, { ...patternOf(kind === "parameter" ? "gathered" : "full_gradient"), class: "others" }));
    parts.push(text(place.bench + place.benchWide / 2, y + tall / 2 + 4, words, { class: "tiny halo", "text-anchor": "middle" }));
  }
  const comes = isGather(collective) && kind === (view.run.keeps.optimizer === "all" ? "gradient" : "parameter");
  for (const [owner] of pieces) {
    const [x, wide] = pieceIn(scene, owner, place.bench, place.benchWide);
    const box = rect(x, y, wide, tall, { class: `owner of-${kind} owner${owner % 8} edge` });
    const name = `${LETTERS[kind]}${owner}`;
    const label = wide > 7 * name.length + 2 ? text(x + 4, y + tall / 2 + 4, name, { class: "tiny" }) : null;
    const group = s("g", {}, box, label);
    if (comes && owner !== rank.number % view.group) scene.arriving.push({ group, owner, row });
    parts.push(group);
  }
  return parts;
}

// A frame around what computes.
function drawBusy({ place, act }, row) {
  const frames = { forward: ["bench", "benchWide"], backward: ["bench", "benchWide"], update: ["kept", "keptWide"] };
  if (!(act.name in frames)) return [];
  const [x, wide] = frames[act.name].map((name) => place[name]);
  return [rect(x - 2, topOf(place, row) - 2, wide + 4, place.tall + 4, { class: "busy", rx: 3 })];
}
