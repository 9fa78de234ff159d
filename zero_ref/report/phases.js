"use strict";

// One step as phases: forward 0 1 2, loss, backward 2 1 0, norm, update. A phase is a pass through a unit with
// the collectives that belong to it, as positions from..to of a rank's events.

const PASSES = ["forward", "backward", "update"];
const INITIALS = { all_gather: "AG", start_all_gather: "AG", finish_all_gather: "AG", start_second_copy: "2G",
  await_second_copy: "2G", reduce_scatter: "RS", start_reduce_scatter: "RS", finish_reduce_scatter: "RS",
  reduce_inside: "RI", await_reduce_inside: "RI", reduce_between: "RB", sum_between_groups: "GS", sum: "Σ" };
const isGather = (name) => ["AG", "2G"].includes(INITIALS[name]);
const isReduce = (name) => ["RS", "RI", "RB", "GS"].includes(INITIALS[name]);

// Calls that are in no other one: name, unit, and the positions at which each has begun and ended.
function callsOf(rank) {
  const calls = [];
  for (const [i, [, what, name, unit]] of rank.events.entries()) {
    if (what === "begin" && !rank.inside[i].length) calls.push({ name, unit, from: i + 1, to: i + 1 });
    if (what === "end" && !rank.inside[i + 1].length) calls.at(-1).to = i + 1;
  }
  return calls;
}

// Whether a backward pass ends with the reduce-scatter of its own gradient: the first one tells.
function reducesInBackward(calls) {
  const first = calls.findIndex(({ name }) => name === "backward");
  const after = calls[first + 1];
  return first >= 0 && isReduce(after?.name) && after.unit === calls[first].unit;
}

// The phase of a collective, as [name, unit], between the passes before and after it.
function phaseOfCollective({ name, unit }, before, after, inBackward) {
  const follows = before && before.unit === unit;
  if (isGather(name)) {
    const ahead = name.startsWith("start"); // of a unit that comes later
    if (after && after.name !== "update" && (ahead || after.unit === unit)) return [after.name, after.unit];
    return follows && before.name === "update" ? ["update", unit] : ["reduce", unit];
  }
  if (unit === null) return [after?.name === "update" && before?.name !== "update" ? "norm" : "sum_loss", null];
  if (inBackward && before) return [before.name, before.unit];
  return ["reduce", unit];
}

function phasesOf(rank) {
  const calls = callsOf(rank);
  const inBackward = reducesInBackward(calls);
  const next = calls.map((_, i) => calls.slice(i).find(({ name }) => PASSES.includes(name)));
  const phases = [];
  let before = null;
  let micro = 1;
  for (const [i, call] of calls.entries()) {
    const pass = PASSES.includes(call.name);
    const [name, unit] = pass
      ? [call.name, call.unit]
      : phaseOfCollective(call, before, next[i], inBackward);
    const last = phases.at(-1);
    if (name === "forward" && last && last.name !== "forward") micro += 1;
    if (name === "backward" && last?.name === "forward") {
      const to = call.from - 1; // what dies before belongs to the pass before
      const first = rank.events.findIndex(([, what], i) => i >= last.to && what !== "died");
      const from = first >= 0 && first < to ? first + 1 : last.to + 1;
      phases.push({ name: "loss", unit: null, micro, from, to, calls: [] });
    }
    if (pass) before = call;
    const same = last && last.name === name && last.unit === unit && last.micro === micro;
    if (same) {
      last.to = call.to;
      last.calls.push(call);
    } else phases.push({ name, unit, micro, from: call.from, to: call.to, calls: [call] });
  }
  for (const phase of phases) if (!["forward", "loss", "backward"].includes(phase.name)) phase.micro = 0;
  return phases;
}

// The phase at a position: between two of them the one before. null before the first.
const phaseAt = (phases, position) => phases.findLast(({ from }) => from <= position) || null;

// Neighbours of one name and micro-batch together.
function groupsOf(phases) {
  const groups = [];
  for (const phase of phases) {
    const last = groups.at(-1);
    if (last && last[0].name === phase.name && last[0].micro === phase.micro) last.push(phase);
    else groups.push([phase]);
  }
  return groups;
}

// "0–2" or "2–0" of units in a row, "0" of one.
function rangeOf(units) {
  const known = units.filter((unit) => unit !== null);
  if (!known.length) return "";
  return known.length === 1 ? `${known[0]}` : `${known[0]}–${known.at(-1)}`;
}

// The collectives of some phases: "AG 0–2 · RS 2–0", or without units if so many pixels do not hold that.
function collectivesOf(phases, room) {
  const units = {};
  for (const { name, unit } of phases.flatMap(({ calls }) => calls)) {
    if (PASSES.includes(name) || name.startsWith("start")) continue;
    (units[INITIALS[name]] ||= []).push(unit);
  }
  const whole = Object.entries(units).map(([name, all]) => `${name} ${rangeOf(all)}`.trim()).join(" · ");
  return 5.6 * whole.length <= room ? whole : Object.keys(units).join("·");
}

// ---- The ribbon

const NARROWEST = 22; // pixels of a phase with a button of its own
const NARROWEST_GROUP = 58;

// Buttons for the phases in `width` pixels; where they have no room, one for a group of phases, or one for a
// micro-batch. go(position) is called when one is chosen; names: of the units, which count from 0.
function drawRibbon(phases, position, width, go, names = []) {
  const groups = groupsOf(phases);
  const now = phaseAt(phases, position);
  const cells = width / phases.length >= NARROWEST;
  const batches = [...new Set(groups.map((group) => group[0].micro))];
  const each = width / (cells ? phases.length : groups.length); // pixels
  const level = cells ? "cells" : width / groups.length >= NARROWEST_GROUP ? "groups" : "batches";
  return batches.map((micro) => {
    const mine = groups.filter((group) => group[0].micro === micro);
    const inside = level === "batches" && micro ? [mine.flat()] : mine;
    const boxes = inside.map((group) => ribbonGroup(group, now, position, level, go, cells ? each * group.length : each, names));
    const several = batches.filter((each) => each).length > 1 && micro > 0;
    const title = several && level !== "batches" ? h("span", { class: "micro" }, say("micro_batch", { micro })) : [];
    const grow = level === "cells" ? mine.flat().length : inside.length;
    const batch = h("div", { class: "batch" }, title, h("div", { class: "boxes" }, boxes));
    batch.style.flexGrow = grow; // by the script: the page's policy forbids style attributes
    return batch;
  });
}

// "1 · h.0" of a unit, or "1" where so many pixels do not hold that.
function nameIn(names, unit, room) {
  const both = `${unit} · ${names[unit]}`;
  return names[unit] && 6.6 * both.length + 10 <= room ? both : String(unit);
}

// Put a ribbon into a place; the button that has the focus keeps it.
function putRibbon(id, ...drawn) {
  const place = find(id);
  const focused = place.contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
  put(id, drawRibbon(...drawn));
  if (focused) [...place.querySelectorAll("button")].find((button) => button.getAttribute("aria-label") === focused)?.focus();
}

function ribbonGroup(group, now, position, level, go, room, names) {
  const [first] = group;
  const active = group.includes(now);
  const whole = level === "batches" && first.micro > 0;
  const name = whole ? say("micro_batch", { micro: first.micro }) : say(`phase_${first.name}`);
  const units = group.map(({ unit }) => unit);
  const words = (phase) => `${say(`phase_${phase.name}`)} ${phase.unit ?? ""}`.trim();
  const button = (phase, text, target, label) => {
    const current = level === "cells" ? phase === now : active;
    const made = h("button", { type: "button", "aria-label": label, "aria-current": current ? "step" : null }, text);
    made.onclick = () => go(target);
    return made;
  };
  if (level === "cells") {
    const buttons = group.map((phase) => button(phase, `${phase.unit ?? "·"}`, phase.from, words(phase)));
    const box = h("div", { class: "group" }, h("span", {}, name), h("div", { class: "cells" }, buttons),
      h("small", {}, collectivesOf(group, room)));
    box.style.flexGrow = group.length;
    return box;
  }
  // One button for all: each press goes to the next of its phases.
  const next = group.find(({ from }) => from > position) || first;
  const at = active && now.unit !== null ? nameIn(names, now.unit, room) : whole ? "·" : rangeOf(units) || "·";
  const label = whole ? name : `${name} ${rangeOf(units)}`.trim();
  return h("div", { class: "group" }, h("span", {}, name),
    h("div", { class: "cells" }, button(first, at, active ? next.from : first.from, label)),
    h("small", {}, collectivesOf(group, room)));
}
