"use strict";

// Several runs side by side: memory over a step, with one cursor for all. It is in the same phase everywhere,
// since the same event has another number at each stage.

let timelines = []; // [view, function that draws it where it is now]

const FAR_APART = 12; // times: peaks that one scale does not show together
const NARROW = 520; // pixels: below that all pictures stand in one column, and lower, so that one sees several
const ORDER = ["forward", "loss", "backward", "reduce", "norm", "update", "sum_loss"];

// Where another run is in the phase in which `from` is: as far in it, or behind the phase that comes before,
// if it has none.
function samePhase(from, to) {
  const last = to.rank.events.length;
  if (from.position === 0) return 0;
  if (from.position === from.rank.events.length) return last;
  const phase = phaseAt(from.phases, from.position);
  if (!phase) return 0;
  const micro = Math.min(phase.micro, Math.max(...to.phases.map((each) => each.micro)));
  const alike = (phases, turn) => phases.filter((each) => each.name === phase.name && each.micro === turn);
  const [mine, theirs] = [alike(from.phases, phase.micro), alike(to.phases, micro)];
  if (!theirs.length) {
    const before = (each) => ORDER.indexOf(each.name) <= ORDER.indexOf(phase.name);
    return to.phases.findLast((each) => (each.micro && phase.micro ? each.micro <= micro : true) && before(each))?.to ?? 0;
  }
  const share = mine.indexOf(phase) / Math.max(1, mine.length - 1);
  const found = theirs[Math.round(share * (theirs.length - 1))];
  const inside = Math.min(1, (from.position - phase.from) / Math.max(1, phase.to - phase.from));
  return found.from + Math.round(inside * (found.to - found.from));
}

// All cursors to where `each` is.
function follow(each) {
  leader = each;
  for (const [other, drawn] of timelines) {
    if (other !== each) other.move(samePhase(each, other));
    drawn();
  }
  const sorts = ({ phases }) => new Set(phases.map(({ name }) => name)).size;
  const shown = timelines.map(([other]) => other).reduce((best, other) => (sorts(other) > sorts(best) ? other : best), each);
  const go = (position) => {
    shown.move(position);
    follow(shown);
  };
  putRibbon("runs-ribbon", shown.phases, shown.position, widthOf("runs-ribbon"), go);
  for (const calls of find("runs-ribbon").querySelectorAll("small")) calls.remove(); // they are of one run
}

// To the next phase, or the one before.
function nextPhase(direction) {
  const { phases, position } = leader;
  const target = direction > 0 ? phases.find(({ from }) => from > position) : phases.findLast(({ from }) => from < position);
  leader.move(target ? target.from : direction > 0 ? leader.rank.events.length : 0);
  follow(leader);
}

// One run in a column: its memory over one step, on the scale of all.
function drawTimeline(place, each, most) {
  const width = Math.max(240, place.clientWidth);
  const narrow = document.body.clientWidth < NARROW;
  const readout = h("p", { class: "readout" });
  const label = `${labelOf(each.run)}: ${say("memory_description", { rank: each.rank.number })}`;
  const options = { most, small: true, tall: narrow ? 58 : 230, label, changed: () => follow(each) };
  const [picture, moveCursor] = drawMemory(each, width, options);
  const drawn = () => {
    const phase = phaseAt(each.phases, each.position);
    const name = phase ? `${say(`phase_${phase.name}`)} ${phase.unit ?? ""}`.trim() : "";
    place.setAttribute("data-phase", phase ? `${phase.name} ${phase.unit ?? ""}`.trim() : "");
    moveCursor();
    const [there, gap] = [h("strong", {}, name), name ? " · " : ""];
    const all = `rank ${each.rank.number} · ${sentences(inWords(each), inNumbers(each))}`;
    readout.replaceChildren(there, gap, narrow ? say("alive", { bytes: exact(each.rank.total[each.position]) }) : all);
    picture.setAttribute("aria-valuenow", each.position);
    picture.setAttribute("aria-valuetext", `${name}${gap}${all}`);
  };
  const resting = say("resting_formula", { bytes: exact(restingFormula(each)) });
  place.append(h("p", { class: "facts" }, peakInWords(each), h("br", {}), resting), picture, readout);
  timelines.push([each, drawn]);
}

function headingOf(run) {
  const dry = run.origin === "dry" ? h("span", { class: "dry" }, say("dry_badge")) : null;
  return h("h3", { title: run.name }, labelOf(run), dry);
}

function drawTimelines() {
  const known = views.filter((each) => each);
  const peaks = known.flatMap(({ rank }) => [rank.peak, rank.predicted.peak_total_bytes]);
  const drawn = (kind) => known.some(({ rank }) => rank.live.some((live) => live[kind]));
  put("runs-legend", legend(KINDS.filter(drawn)));
  put("timelines", DATA.runs.map((run) => h("figure", {}, headingOf(run))));
  timelines = [];
  const alone = Math.max(...peaks) > FAR_APART * Math.min(...peaks);
  tell("runs-scale", say(alone ? "runs_own_scale" : "runs_one_scale"));
  for (const [i, place] of [...find("timelines").children].entries()) {
    const mine = views[i] && [views[i].rank.peak, views[i].rank.predicted.peak_total_bytes];
    if (views[i]) drawTimeline(place, views[i], 1.14 * Math.max(...(alone ? mine : peaks)));
    else place.append(h("p", { class: "note" }, say("no_events")));
  }
  if (known.length) follow(leader || known.at(-1));
  tableIn("timelines-table", timelinesTable);
}

// ---- The tables

// Options in which a run differs from the first; its stage has a column of its own.
function differs(run) {
  const names = ["model", "hidden", "data", "seed", "dtype", "batch_size", "micro_batches", "no_shuffle"];
  names.push("accumulate", "optimizer", "lr", "momentum", "weight_decay", "clip_norm");
  names.push("shard_data", "shard_model", "reduce", "device", "group", "prefetch", "overlap", "recompute", "bucket", "tiles");
  names.push("machine", "code_weights", "code_gradients", "hpz", "offload", "offload_shards", "keep_after_forward", "reduce_once");
  const value = (which, name) => JSON.stringify(which.config[name] || null);
  const found = names.filter((name) => value(run, name) !== value(FIRST, name));
  return found.length ? ` (${found.map((name) => `${name} ${value(run, name)}`).join(", ")})` : "";
}

function runsTable() {
  const header = [say("stage"), say("file"), "N"];
  const rows = DATA.runs.map((run) => [String(run.stage), run.name + differs(run), String(run.world_size)]);
  const words = [1];
  const most = DATA.runs.map(mostOf);
  const add = (key, cell) => {
    header.push(say(key));
    for (const [i, run] of DATA.runs.entries()) rows[i].push(cell(run, most[i]));
  };
  add("at_rest", (run, { at_rest }) => beside(...at_rest));
  add("peak", (run, { peak }) => (run.origin === "old" ? beside(...peak) : exact(peak[0])));
  const ran = (run) => run.origin === "run";
  if (DATA.runs.some(ran)) add("dry_run", (run, { peak }) => (ran(run) ? exact(peak[1]) : "–"));
  add("sent_per_step", (run, { sent_per_step }) => beside(...sent_per_step));
  if (CURVES.length) {
    add("last_loss", (run) => (run.loss.length ? lossInWords(run.last_loss) : "–"));
    add("step_time", (run) => (run.origin === "dry" ? "–" : timeOf(run)));
    words.push(header.length);
    add("weights", (run) => (run.loss.length ? h("code", {}, hashOf(run) + sameWeights(run)) : "–"));
  }
  return table(header, rows, words);
}

function sameWeights(run) {
  return run !== CURVES[0] && run.weights_sha256 === CURVES[0].weights_sha256 ? " =" : "";
}

function timelinesTable() {
  const most = (run, bytes, kind) => exact(Math.max(...run.ranks.map((rank) => rank[bytes][kind])));
  const both = (run, kind) => ["resting_bytes", "peak_bytes"].map((bytes) => most(run, bytes, kind));
  const rows = DATA.runs.flatMap((run) => KINDS.map((kind) => [run.name, say(kind), ...both(run, kind)]));
  return table([say("file"), say("kind"), say("at_rest"), say("peak")], rows, [1]);
}

// Of the run that keeps least: how much, and what that costs.
function leastInWords() {
  const known = DATA.runs.filter(({ against }) => against && against.sent !== null);
  if (!known.length) return [];
  const run = known.reduce((best, each) => (each.against.kept < best.against.kept ? each : best));
  const { kept, kept_0 } = run.against;
  if (kept === kept_0) return [];
  return [sayOf(run, "runs_sentence", { name: labelOf(run), kept: exact(kept), whole: exact(kept_0), share: shareInWords(run) }) + sentInWords(run) + say("full_stop")];
}

function drawRuns() {
  drawBadge();
  const letters = COLLECTIVES.slice(0, 2).map((name) => h("li", {}, h("b", {}, INITIALS[name]), say(`collective_${name}`)));
  put("figure-legend", legend(KEPT), letters);
  tell("runs-sentence", ...leastInWords());
  put("figure-picture", drawFigure(DATA.runs, widthOf("figure-picture")));
  const dearer = DATA.runs.some(({ keeps, against }) => keeps.parameter === "1/N" && against && Math.abs(against.sent - 1.5) < 0.05);
  tell("figure-caption", dearer && say("figure_why"), say("figure_caption"));
  tableIn("figure-table", figureTable);
  put("runs-table", runsTable());
  tell("runs-peaks", peaksByKind(DATA.runs));
  for (const each of views.filter((known) => known && !known.position)) {
    each.chosen = each.ranks.reduce((best, rank) => (rank.peak > best.peak ? rank : best)).row;
    each.position = each.rank.peakAt;
  }
  drawTimelines();
  put("scatter-picture", drawScatter(DATA.runs, widthOf("scatter-picture")));
  put("code-changes", DATA.changes.map(drawChange));
  find("code-part").hidden = !DATA.changes.length;
}
