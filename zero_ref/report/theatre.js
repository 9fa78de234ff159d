"use strict";

// The theatre: a sentence, the ribbon of phases, the scene, the line of code and memory, all at one position.

const MOST_ROWS = 8; // of the scene
let playing = false;
let frame = 0; // of what moves
let timer = 0; // of what is played
let details = false; // whether the buttons of single events are shown
const UNDER_WAY = 0.6; // where what travels rests at the begin of a call: it has not arrived before its end
let speed = 1;
let axis = "memory"; // or "time"
let followMemory = () => {};
const still = matchMedia("(prefers-reduced-motion: reduce)");

// Bytes in a sentence: the exact ones of more than a billion are in the tables.
const amount = (bytes) => (bytes >= 1e9 ? short(bytes).replace(" ", "\u00a0") : say("in_bytes", { bytes: exact(bytes) }));

function drawSentence(run) {
  const { kept, kept_0, sent, kinds, away: outside } = run.against;
  const share = shareInWords(run);
  const away = outside ? say(outside === kept ? "sentence_away_all" : "sentence_away", { bytes: amount(outside), tier: say(`tier_${tierOf(run)}`) }) : "";
  const values = { ranks: exact(run.world_size), kept: amount(kept), whole: amount(kept_0), share, away };
  const same = run.keeps.optimizer === "all" ? say("sentence_sums") : undefined;
  const times = sent === null ? "" : sentInWords(run, same);
  const sentence = run.world_size === 1 ? "sentence_alone" : kept === kept_0 ? "sentence_whole" : "sentence";
  tell("sentence", sayOf(run, sentence, values) + times + say("full_stop"));
  tell("why", whyInWords(run));
  put("against", KEPT.map((kind) => {
    const [now, before] = kinds[kind];
    const bar = svg(100, 12, say(kind), rect(0.5, 0.5, 99, 11, { class: "outline" }),
      rect(0.5, 0.5, (99 * now) / Math.max(1, before), 11, patternOf(kind)));
    bar.setAttribute("preserveAspectRatio", "none");
    const number = before >= 1e9 ? short : exact; // the exact ones are in the table
    const words = now === before ? number(now) : say("of_stage_0", { now: number(now), before: number(before) });
    return h("div", {}, h("span", {}, say(kind)), bar, h("small", {}, words));
  }), run.world_size > 1 ? h("p", {}, say("against_sent", { bytes: amount(mostOf(run).sent_per_step[0]) })) : []);
}

// Why so much is sent, where it is what the stage by itself sends: twice the model, or three times.
function whyInWords(run) {
  const { keeps, against, config, ranks } = run;
  const micro = config.micro_batches || 1;
  const near = (times) => against.sent !== null && Math.abs(against.sent / times - 1) < 0.03;
  const bytes = (name) => amount(Math.max(...ranks.map((rank) => rank.sent_bytes_per_step[name])));
  const once = (against.kinds.parameter[1] * (run.world_size - 1)) / run.world_size; // each shard to all others
  const values = { gathered: bytes("all_gather"), reduced: bytes("reduce_scatter"), twice: amount(Math.round(2 * once)), micro, times: 1.5 * micro };
  if (keeps.parameter === "1/N") return near(1.5 * micro) ? say(micro > 1 ? "why_three_micro" : "why_three", values) : "";
  if (!near(1)) return "";
  return say(keeps.optimizer === "1/N" ? "why_two" : "why_all_reduce", values);
}

function markSource() {
  const panel = find("source");
  panel.querySelector(".now")?.classList.remove("now");
  panel.querySelector("[aria-current]")?.removeAttribute("aria-current");
  if (!view.line) return;
  const now = panel.children[view.line - 1];
  now.classList.add("now");
  now.setAttribute("aria-current", "true");
  const [top, bottom] = [panel.scrollTop + 24, panel.scrollTop + panel.clientHeight - 24];
  if (now.offsetTop < top || now.offsetTop + now.offsetHeight > bottom) {
    panel.scrollTop = now.offsetTop - panel.clientHeight / 2;
  }
}

let ribboned = []; // the phase and what else the ribbon was drawn for

// The ribbon, which is the same for all events of a phase.
function showRibbon() {
  const width = widthOf("ribbon");
  const now = [phaseAt(view.phases, view.position), view.rank, width, language];
  if (now.every((each, i) => each === ribboned[i])) return;
  ribboned = now;
  putRibbon("ribbon", view.phases, view.position, width, choose, view.units.map(({ name }) => name));
  showUnits(now[0], width / view.phases.length < NARROWEST);
}

// A list of the units, where the ribbon has no button for each: to its phase in the pass that is looked at.
function showUnits(phase, many) {
  find("unit-place").hidden = !many;
  if (!many) return;
  const list = find("unit");
  if (!list.options.length) {
    list.append(h("option", { value: "" }, "–"), ...view.units.map(({ name }, unit) => h("option", { value: unit }, `${unit} · ${name}`)));
  }
  list.value = phase?.unit ?? "";
}

// To where a unit is in use, in the pass and micro-batch of the phase that is looked at, or in the first one.
function goToUnit(unit) {
  const now = phaseAt(view.phases, view.position);
  const uses = view.phases.filter((phase) => phase.unit === unit);
  const found = uses.find((phase) => phase.name === now?.name && phase.micro === now.micro) || uses[0];
  if (found) choose(found.from);
}

// What follows the position. Returns the scene's move, and whether something travels in it.
function show() {
  markSource(); // first: it asks where its lines lie
  showRibbon();
  const [scene, moveTo, travels] = drawScene(view, widthOf("scene-picture"), MOST_ROWS);
  put("scene-picture", scene);
  moveTo(UNDER_WAY);
  const wide = widthOf("holdings-picture");
  put("holdings-picture", isCoarse(view, wide) ? drawTotals(view, wide) : drawHoldings(view, wide));
  tell("now-words", inWords(view));
  tell("now-numbers", inNumbers(view));
  fill(find("position"), { max: view.rank.events.length, "aria-valuetext": inWords(view) }, []);
  find("position").value = view.position;
  followMemory();
  put("memory-legend", axis === "time" ? lanesLegend(view.run.lanes) : memoryLegend());
  tell("scene-notes", ...notesOf(view, widthOf("scene-picture"), MOST_ROWS));
  if (find("holdings-table").open) tableIn("holdings-table", holdingsTables);
  return [moveTo, travels];
}

function move(position) {
  stop();
  view.move(position);
  animate(...show(), UNDER_WAY, () => {});
}

// Choose a place by hand: what plays, stops.
function choose(position) {
  if (playing) play(false);
  move(position);
}

function stop() {
  cancelAnimationFrame(frame);
  clearTimeout(timer);
}

// Let what travels travel until there, and then go on. Without motion it stands still, half way.
function animate(moveTo, travels, until, after) {
  const length = (travels ? 1300 : 500) / speed;
  if (still.matches || !travels) {
    timer = setTimeout(after, length);
    return;
  }
  const began = performance.now();
  const next = (now) => {
    const progress = Math.max(0, Math.min(1, (now - began) / length));
    moveTo(until * progress);
    if (progress < 1) frame = requestAnimationFrame(next);
    else after();
  };
  moveTo(0);
  frame = requestAnimationFrame(next);
}

// Play from call to call: each is shown where it begins, and what has travelled also where it has arrived.
function play(on) {
  stop();
  playing = on;
  if (on) {
    if (view.position === view.rank.events.length) view.move(0);
    const next = () => {
      if (view.position === view.rank.events.length) return play(false);
      view.move(view.rank.nextBegin(view.position));
      const [moveTo, travels] = show();
      return animate(moveTo, travels, 1, travels ? arrive : next);
    };
    const arrive = () => {
      view.move(view.rank.endOf(view.position));
      show();
      timer = setTimeout(next, 500 / speed);
    };
    next();
  }
  drawButtons();
}

function drawButtons() {
  const focused = document.activeElement?.id;
  const button = (id, attributes, words, action) => {
    const made = h("button", { type: "button", id, ...attributes }, words);
    made.onclick = action;
    return made;
  };
  const act = (id, key, action) => button(id, { title: say(`${key}_title`) }, say(key), action);
  const toggle = () => {
    details = !details;
    drawButtons();
  };
  put("buttons",
    act("call-back", "call_back", () => choose(view.rank.nextCall(view.position, -1))),
    act("play", playing ? "pause" : "play", () => play(!playing)),
    act("call-on", "call_on", () => choose(view.rank.nextCall(view.position, 1))),
    button("speed", { title: say("speed_title") }, `${speed} ×`, () => {
      speed = { 1: 2, 2: 4, 4: 0.5, 0.5: 1 }[speed];
      drawButtons();
    }),
    button("details", { "aria-expanded": String(details), title: say("details_title") }, say("details"), toggle));
  put("event-buttons",
    act("event-back", "event_back", () => choose(view.position - 1)),
    act("event-on", "event_on", () => choose(view.position + 1)));
  find("events").hidden = !details;
  put("ranks", h("span", { class: "label" }, say("look_at")), view.ranks.map(({ number, row }) => {
    const attributes = { "aria-pressed": String(row === view.chosen), "aria-label": `rank ${number}` };
    return button(`rank-${number}`, attributes, String(number), () => {
      view.choose(row);
      drawStep();
    });
  }));
  if (focused) find(focused)?.focus();
}

// Below the scene: memory over events, or the lanes of all ranks over time.
function drawAxis() {
  const timed = view.run.lanes.length > 0;
  const button = (id) => {
    const made = h("button", { type: "button", id: `axis-${id}`, "aria-pressed": String(axis === id) }, say(`axis_${id}`));
    made.onclick = () => {
      axis = id;
      drawStep();
      find(made.id).focus();
    };
    return made;
  };
  if (!timed) axis = "memory";
  put("axis", timed ? ["memory", "time"].map(button) : []);
  const width = widthOf("memory-picture");
  const most = 1.12 * Math.max(...view.ranks.flatMap((each) => [each.peak, each.predicted.peak_total_bytes]));
  const label = say("memory_description", { rank: view.rank.number });
  const changed = () => {
    if (playing) play(false);
    stop();
    show();
  };
  const options = { most, changed, label, tall: width < 520 ? 84 : 108 };
  const [picture, follow] = axis === "time" ? drawLanes(view, width, options) : drawMemory(view, width, options);
  followMemory = follow;
  put("memory-picture", picture);
}

function drawStep() {
  const { run, step, rank } = view;
  drawButtons();
  drawSentence(run);
  find("position").setAttribute("aria-label", say("position"));
  drawAxis();
  const whole = run.ranks[view.chosen].peak_total_bytes;
  const [same, bytes] = [whole === rank.peak, exact(whole)];
  const dense = isDense(rank, widthOf("memory-picture") - BESIDE.left - BESIDE.right);
  const lines = { peak: exact(rank.predicted.peak_total_bytes), bytes: exact(restingFormula(view)) };
  const ofRun = !(same && run.origin === "dry") && say(same ? "peak_of_run_same" : "peak_of_run", { bytes });
  const ofMemory = () => [say("memory_about"), say("memory_axis"), dense && say("memory_columns"), !rank.thinned && say("memory_lanes"),
    sayOf(run, "resting_sentence", lines), ofRun];
  tell("memory-caption", ...(axis === "time" ? lanesInWords(view) : ofMemory()));

  const rule = run.config.shard_model;
  const moved = ["random", "hash"].includes(rule);
  const coarse = isCoarse(view, widthOf("holdings-picture"));
  const visitors = run.keeps.parameter === "1/N" ? ["gathered", "full_gradient"] : ["full_gradient"];
  put("holdings-legend", legend([...KEPT, ...visitors, ...(coarse ? [] : ["padding"])]));
  tell("holdings-caption", sayOf(run, "holdings_caption", { step: exact(step.step) }),
    moved && say("rank_order", { rule }),
    coarse ? say("holdings_coarse") : leftOut("units_left_out", unitsDrawn(view).length, step.units.length),
    leftOut("ranks_left_out", view.ranks.length, run.world_size),
    leftOut("events_left_out", step.events_drawn, step.events_recorded));
  tableIn("holdings-table", holdingsTables);
  tableIn("memory-table", memoryTable);
  if (run.lanes.length) tableIn("lanes-table", lanesTable);
  find("lanes-table").hidden = !run.lanes.length;

  const source = find("source");
  find("source-file").textContent = `zero_ref/${step.file}`;
  source.setAttribute("aria-label", `zero_ref/${step.file}`);
  if (!source.children.length) {
    source.append(...drawSource(step.source));
    const begin = step.source.split("\n").findIndex((code) => code.startsWith("def step"));
    source.scrollTop = (source.children[begin]?.offsetTop ?? 0) - 12;
  }
  show();
}
