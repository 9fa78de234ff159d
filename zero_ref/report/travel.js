"use strict";

// What travels between ranks in a collective, as tokens on routes. progress is 0 to 1.

const INSIDE = ["reduce_inside", "await_reduce_inside"]; // of a machine
const COPIES = ["start_second_copy", "await_second_copy"];

// In how many bits a call sends its numbers: "8", "4" or "fp8"; "" as they are.
function codedIn({ config }, name) {
  const option = isGather(name) && !COPIES.includes(name) ? config.code_weights : isReduce(name) ? config.code_gradients : "";
  return (option || "").split("/")[0];
}

// Who sends to whom in a call: rows of the picture, and the places of the pieces. One hop is all, or one of
// N - 1 around the ring, where `piece` depends on the hop.
function routesOf(view, rows, name) {
  const { group, machine, run } = view;
  const ring = run.config.reduce === "ring";
  const place = (row) => rows[row].number % group;
  const same = (a, b, size) => Math.floor(rows[a].number / size) === Math.floor(rows[b].number / size);
  const alike = (a, b, size) => rows[a].number % size === rows[b].number % size;
  const route = (from, to) => {
    if (name === "sum") return { from, to, piece: null };
    if (name === "sum_between_groups") return alike(from, to, group) ? { from, to, piece: place(from) } : null;
    if (name === "reduce_between") return alike(from, to, machine) ? { from, to, piece: place(to) } : null;
    if (COPIES.includes(name) || INSIDE.includes(name)) {
      if (!same(from, to, machine)) return null;
      return { from, to, piece: isGather(name) ? place(from) : place(to) };
    }
    const next = (place(from) + 1) % group === place(to);
    if (!same(from, to, group) || (ring && !next)) return null;
    return { from, to, piece: isGather(name) ? place(from) : place(to), ring };
  };
  const all = rows.flatMap((_, from) => rows.map((_, to) => (from === to ? null : route(from, to))));
  return all.filter((each) => each);
}

// Bytes that a rank sends in the call that is open at a position, or has just ended.
function sentIn(rank, position) {
  for (let i = Math.max(0, position - 1); i < rank.events.length; i++) {
    const [, what, name, , bytes] = rank.events[i];
    if (what === "end" && !PASSES.includes(name)) return bytes;
  }
  return 0;
}

// Of how many ranks a sum is before and after a call that sums gradients; null of any other.
function termsOf({ collective, view }) {
  const { group, machine, run } = view;
  const known = {
    reduce_scatter: [1, group],
    finish_reduce_scatter: [1, group],
    reduce_inside: [1, machine],
    await_reduce_inside: [1, machine],
    reduce_between: [machine, group],
    sum_between_groups: [group, run.world_size],
  };
  return known[collective] || null;
}

// What travels: parameters, or gradients, which stage 0 gathers, too.
const kindSent = ({ collective, view }) => (isGather(collective) && view.run.keeps.optimizer !== "all" ? "parameter" : "gradient");

// Where a token of a route starts and ends.
function endsOf(scene, { from, to, piece, ring }) {
  const { place, collective, view } = scene;
  const gather = isGather(collective);
  const kind = kindSent(scene);
  const middle = barOf(place) / 2;
  const room = isAway(view.run, kind) ? 100 : 54; // the bytes stand there
  const beside = !place.narrow ? room : isReduce(collective) ? 38 : 0; // or how many parts of a sum have come
  const kept = (row) => [place.kept + place.keptWide + beside, kindAt(place, row, kind) + middle];
  const bench = (row) => {
    const [x, wide] = piece === null ? [place.bench, 0] : pieceIn(scene, piece, place.bench, place.benchWide);
    return [x + wide / 2, lineAt(place, row, kind) + (place.tall - 4) / 4];
  };
  if (collective === "sum" || collective === "sum_between_groups") return [kept(from), kept(to)];
  if (ring || INSIDE.includes(collective)) return [bench(from), bench(to)];
  return gather ? [kept(from), bench(to)] : [bench(from), kept(to)];
}

function drawToken(route, coded, kind) {
  const tint = route.piece === null ? "" : `owner${route.piece % 8}`;
  const name = route.piece === null ? "Σ" : String(route.piece);
  const label = s("text", { class: "tiny", "text-anchor": "middle", y: 4 }, name);
  const wide = 8 + 6 * name.length;
  const box = rect(-wide / 2, -7, wide, 14, { class: `owner${tint && ` of-${kind} ${tint}`} edge${coded ? " coded" : ""}`, rx: 3 });
  return [s("g", { class: "token" }, box, label), label];
}

// Paths and tokens of what travels; badges for the sums that grow go into the scene.
function drawRoutes(scene) {
  const { view, rows, collective, place } = scene;
  if (!collective) return [[], []];
  const paths = [];
  const tokens = routesOf(view, rows, collective).map((route) => {
    const [[x1, y1], [x2, y2]] = endsOf(scene, route);
    const bend = Math.abs(x1 - x2) < 1 ? x1 + 50 : (x1 + x2) / 2;
    const tint = route.piece === null ? "" : `owner${route.piece % 8}`;
    paths.push(s("path", { class: `route ${tint}`, "marker-end": "url(#arrow)", d: `M${x1} ${y1}C${bend} ${y1} ${bend} ${y2} ${x2} ${y2}` }));
    const [shape, label] = drawToken(route, codedIn(view.run, collective), kindSent(scene));
    return { route, shape, label, from: [x1, y1], to: [x2, y2], bend };
  });
  for (const [row, rank] of termsOf(scene) ? rows.entries() : []) {
    const y = kindAt(place, row, "gradient") + barOf(place) / 2 + 4;
    const shape = text(place.kept + place.keptWide + 6, y, "", { class: "tiny strong halo badge" });
    scene.badges.push({ shape, row, rank });
  }
  return [paths, tokens];
}

// ---- Motion

// How far a token is on its way: those to near neighbours set out first; around the ring all go at once.
function partOf({ route: { from, to, ring } }, rows, progress, hops) {
  if (ring) return progress === 1 ? 1 : progress * hops - hopAt(progress, hops);
  const order = (to - from + rows.length) % rows.length;
  return Math.max(0, Math.min(1, 1.6 * progress - (0.6 * (order - 1)) / Math.max(1, rows.length - 2)));
}

// Which of the hops around the ring.
const hopAt = (progress, hops) => Math.min(hops - 1, Math.floor(progress * hops));

// Put a token where it is on its curve.
function putToken({ shape, from: [x1, y1], to: [x2, y2], bend }, part) {
  const rest = 1 - part;
  const [a, b, c, d] = [rest ** 3, 3 * rest * rest * part, 3 * rest * part * part, part ** 3];
  const [x, y] = [a * x1 + (b + c) * bend + d * x2, (a + b) * y1 + (c + d) * y2];
  shape.setAttribute("transform", `translate(${x} ${y})`);
  shape.setAttribute("opacity", part === 1 ? 0 : 1); // it is there
}

// The number on a token of the ring: in each hop it is another piece.
function ringPiece(scene, { route: { from } }, hop) {
  const { group } = scene.view;
  const offset = isGather(scene.collective) ? 0 : -1; // a sum goes around once before it is home
  return (((scene.rows[from].number % group) - hop + offset) % group + group) % group;
}

// Whether a piece that is gathered has come to a row.
function hasArrived(scene, tokens, parts, progress, { owner, row }) {
  const { rows, view: { group, machine } } = scene;
  const me = rows[row].number % group;
  if (tokens.some(({ route }) => route.ring)) return progress * (group - 1) >= (me - owner + group) % group;
  const copy = COPIES.includes(scene.collective); // of which each rank of a machine has as many pieces
  const sends = (number) => (copy ? number % machine === Math.floor((owner * machine) / group) : number % group === owner);
  if (copy && sends(rows[row].number)) return true;
  const token = tokens.findIndex(({ route }) => route.to === row && sends(rows[route.from].number));
  return token < 0 ? progress === 1 : parts[token] === 1;
}

// Put everything where it is at `progress`.
function moveScene(scene, tokens, progress) {
  const { rows, view: { group } } = scene;
  const hops = Math.max(1, group - 1);
  const ring = tokens.some(({ route }) => route.ring);
  const parts = tokens.map((token) => partOf(token, rows, progress, hops));
  for (const [i, token] of tokens.entries()) {
    putToken(token, parts[i]);
    if (token.route.ring) token.label.textContent = String(ringPiece(scene, token, hopAt(progress, hops)));
  }
  for (const arriving of scene.arriving) {
    arriving.group.setAttribute("opacity", progress === 1 || hasArrived(scene, tokens, parts, progress, arriving) ? 1 : 0.15);
  }
  const [first, last] = termsOf(scene) || [1, 1];
  for (const { shape, row } of scene.badges) {
    const coming = tokens.flatMap(({ route }, i) => (route.to === row ? [parts[i]] : []));
    const share = ring ? hopAt(progress, hops) / hops : coming.filter((part) => part === 1).length / Math.max(1, coming.length);
    const terms = progress === 1 ? last : first + Math.floor(share * (last - first));
    shape.textContent = `Σ ${exact(terms)}/${exact(scene.view.run.world_size)}`;
  }
}
