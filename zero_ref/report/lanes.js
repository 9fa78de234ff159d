"use strict";

// Lanes of time: one a rank, with its passes, and its collectives as waiting and transfer. All by one clock.

// Collectives that are started and waited for later: [unit, from the start to the end of waiting] of a lane.
function underWay(lane) {
  const started = new Map();
  const found = [];
  for (const [name, unit, begin, end] of lane) {
    const what = name.replace(/^(start|finish|await)_/, "");
    if (name.startsWith("start_")) started.set(`${what} ${unit}`, begin);
    else if (name !== what && started.has(`${what} ${unit}`)) found.push([unit, started.get(`${what} ${unit}`), end]);
  }
  return found;
}

// Collectives that go from one group, or machine, to others.
const BETWEEN = ["sum_between_groups", "reduce_between"];

// The pattern of a call, once nobody is waited for: see page.html.
const lookOf = (name) => `spent-${PASSES.includes(name) ? name : BETWEEN.includes(name) ? "between" : "inside"}`;

// What the looks of a lane mean.
function lanesLegend(lanes) {
  const key = (look, words) => h("li", {}, swatch(look), words);
  const keys = PASSES.map((name) => key(lookOf(name), say("lane_computes", { pass: say(name) })));
  const away = lanes.flat().some(([name]) => BETWEEN.includes(name));
  keys.push(key("spent-waiting", say("lane_waiting")), key("spent-inside", say(away ? "lane_travelling_inside" : "lane_travelling")));
  if (away) keys.push(key("spent-between", say("lane_travelling_between")));
  if (lanes.some((lane) => underWay(lane).length)) {
    const thin = s("svg", { width: 28, height: 16, "aria-hidden": "true" }, rect(0, 11, 28, 3, { class: "flight" }));
    keys.push(h("li", {}, thin, say("lane_under_way")));
  }
  return keys;
}

// What stands under the lanes.
function lanesInWords(view) {
  const { run: { lanes }, run, step } = view;
  const time = inTime(Math.max(...lanes.flat().map(([, , , end]) => end)), true);
  const ahead = lanes.some((lane) => underWay(lane).length);
  return [say("lanes_about"), ahead && say("lanes_ahead"), say("lanes_step", { step: exact(step.step), time, mean: timeOf(run) })];
}

function drawLanes(view, width, { label, changed, tall }) {
  const { lanes } = view.run;
  const calls = lanes.flat();
  const last = Math.max(...calls.map(([, , , end]) => end));
  const [left, right, top] = [56, width - 4, 18];
  const height = Math.max(9, Math.min(26, Math.floor((tall + 40) / lanes.length) - 3));
  const x = (time) => left + ((right - left) * time) / last;
  const bottom = top + lanes.length * (height + 3);
  const parts = [];
  for (const tick of ticks(last, width < 520 ? 3 : 6)) {
    parts.push(line(x(tick), top - 4, x(tick), bottom, "axis"));
    parts.push(text(x(tick), bottom + 12, inTime(Math.round(tick), last >= 1e4), { class: "small", "text-anchor": !tick ? "start" : x(tick) > right - 36 ? "end" : "middle" }));
  }
  for (const [row, lane] of lanes.entries()) {
    const y = top + row * (height + 3);
    const rank = view.ranks[row];
    const strong = rank === view.rank ? "strong" : "small";
    parts.push(text(0, y + height / 2 + 4, `rank ${rank.number}`, { class: strong }));
    for (const [name, unit, begin, end, until] of lane) {
      const title = `${say(name)} ${unit === null ? "" : view.units[unit].name}: ${exact(begin)} – ${exact(end)} µs`;
      const pass = PASSES.includes(name);
      const box = (from, to, look) => s("rect", { x: x(from), y, width: Math.max(0.6, x(to) - x(from)), height, class: "lane", ...patternOf(look) },
        s("title", {}, title));
      const starts = pass ? begin : until; // and before that it waits
      if (starts > begin) parts.push(box(begin, starts, "spent-waiting"));
      if (end > starts) parts.push(box(starts, end, lookOf(name)));
      const word = pass ? `${name[0].toUpperCase()}${unit}` : `${INITIALS[name]} ${unit ?? ""}`.trim();
      if (x(end) - x(begin) > 7 * word.length + 4) parts.push(text((x(begin) + x(end)) / 2, y + height / 2 + 4, word, { class: "tiny halo", "text-anchor": "middle" }));
    }
    for (const [unit, begin, end] of underWay(lane)) {
      const title = s("title", {}, `${say("lane_under_way")}: ${view.units[unit].name}`);
      const turn = (unit % 2) * 2; // neighbours overlap
      parts.push(s("rect", { x: x(begin), y: y + height - 3 - turn, width: Math.max(1, x(end) - x(begin)), height: 2.5, class: "flight" }, title));
    }
  }
  const cursor = line(0, top - 4, 0, bottom, "cursor");
  const timeAt = (position) => (position ? view.rank.events[position - 1][0] : 0);
  const follow = () => {
    const at = x(Math.min(last, timeAt(view.position)));
    fill(cursor, { x1: at, x2: at }, []);
  };
  const picture = svg(width, bottom + 18, label, parts, cursor);
  slider(picture, {
    label: say("lanes_description"),
    arrows: false,
    count: view.rank.live.length,
    at: () => view.position,
    set: (position) => {
      view.move(position);
      changed();
    },
    nearest: (pixels) => {
      const time = ((pixels - left) / (right - left)) * last;
      const later = view.rank.events.findIndex((event) => event[0] > time);
      return later < 0 ? view.rank.events.length : later;
    },
    words: () => sentences(inWords(view), inNumbers(view)),
  });
  follow();
  return [picture, follow];
}

// Per rank: microseconds of computing, waiting and transfer in the step.
function lanesTable() {
  const spent = (lane, of) => exact(Math.round(sum(lane.map(of))));
  const pass = (name) => PASSES.includes(name);
  const rows = view.run.lanes.map((lane, row) => [
    `rank ${view.ranks[row].number}`,
    spent(lane, ([name, , begin, end]) => (pass(name) ? end - begin : 0)),
    spent(lane, ([name, , begin, , until]) => (pass(name) ? 0 : until - begin)),
    spent(lane, ([name, , , end, until]) => (pass(name) ? 0 : end - until)),
  ]);
  return table(["rank", ...["lane_compute", "lane_waits", "lane_travels"].map((key) => say(key))], rows);
}
