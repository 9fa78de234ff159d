"use strict";

// One step of a run. A position is a number of events that have happened on a rank: 0 is before the step.
// An event is a row: microseconds, what, name, unit, bytes, line, place (see zero_ref/train/events.py), or
// several events in one (see thinned_events in page.py).

class Rank {
  constructor(run, row) {
    Object.assign(this, run.recorded_step.ranks[row]); // kept, elements, predicted, places, events
    this.events = unpacked(run.recorded_step, row);
    this.row = row; // its place among the ranks that are drawn
    this.number = run.numbers[row];
    this.formula = run.ranks[row].formula;
    const live = Object.fromEntries(KINDS.map((kind) => [kind, 0]));
    for (const unit of this.kept) for (const kind of KEPT) live[kind] += unit[kind][0];
    this.live = [{ ...live }]; // bytes by kind, at each position
    this.calls = [0]; // how many calls have begun and ended, and copies were thrown away, at each position
    this.inside = [[]]; // calls that are open, as [name, unit], at each position
    for (const event of this.events) {
      const [, what, name, unit] = event;
      for (const [kind, , bytes] of changes(event)) live[kind] += bytes;
      let [calls, inside] = [this.calls.at(-1), this.inside.at(-1)];
      if (what === "begin") inside = [...inside, [name, unit]];
      if (what === "end") inside = inside.slice(0, -1);
      if (what === "several") inside = event[8];
      this.live.push({ ...live });
      this.calls.push(calls + (what === "begin" || what === "end" || isThrownAway(event) ? 1 : 0));
      this.inside.push(inside);
    }
    this.total = this.live.map(total);
    this.peak = this.total.reduce((a, b) => Math.max(a, b));
    this.peakAt = this.total.indexOf(this.peak);
    this.thinned = this.events.some((event) => event[1] === "several");
    this.kinds = KINDS.filter((kind) => this.live.some((live) => live[kind])); // that are ever here
    this.lookUp();
  }

  // What is asked at every position: when each unit was updated, and where calls and losses begin.
  lookUp() {
    this.updatedAt = new Map();
    for (const [i, [, what, name, unit]] of this.events.entries()) {
      if (what === "end" && name === "update" && !this.updatedAt.has(unit)) this.updatedAt.set(unit, i + 1);
    }
    this.firstWith = []; // by number of calls: the first position, and the last
    this.lastWith = [];
    for (const [position, calls] of this.calls.entries()) {
      this.firstWith[calls] ??= position;
      this.lastWith[calls] = position;
    }
    this.seen = { position: -1 };
    const losses = phasesOf(this).filter(({ name, from, to }) => name === "loss" && from <= to);
    this.losses = new Set(losses.map(({ from }) => from)); // the positions at which a loss begins
  }

  // Whether a unit has been updated at a position.
  updated(unit, position) {
    return this.updatedAt.get(unit) <= position;
  }

  // Bytes that are here for a while, of each unit, by kind.
  visiting(position) {
    if (this.seen.position === position) return this.seen.found;
    const found = { gathered: {}, full_gradient: {}, gradient: {} };
    for (let i = 0; i < position; i++) {
      for (const [kind, unit, bytes] of changes(this.events[i])) {
        if (kind in found && unit !== null) found[kind][unit] = (found[kind][unit] || 0) + bytes;
      }
    }
    this.seen = { position, found };
    return found;
  }

  // The position at which this rank is as far as another one is at its position.
  asFarAs(other, position) {
    if (other === this) return position;
    const calls = other.calls[position];
    const [here, there] = [this.firstWith[calls], other.firstWith[calls]];
    if (here === undefined) return Math.round((position * this.events.length) / other.events.length);
    return Math.min(here + position - there, this.lastWith[calls]);
  }

  // The next position at which a call begins that is in no other one, or a loss, or a copy is thrown away, or
  // the end.
  nextBegin(position) {
    const last = this.events.length;
    const stops = (event, i) => event[1] === "begin" || isThrownAway(event) || this.losses.has(i + 1);
    const at = this.events.findIndex((event, i) => i >= position && stops(event, i) && !this.inside[i].length);
    return at < 0 ? last : at + 1;
  }

  // Where the calls have ended that are open at a position.
  endOf(position) {
    const at = this.inside.findIndex((open, i) => i >= position && !open.length);
    return at < 0 ? this.events.length : at;
  }

  // The next position at which a call begins or ends, or a loss begins, or a copy is thrown away, in direction
  // 1 or -1.
  nextCall(position, direction) {
    const last = this.events.length;
    let next = position + direction;
    const stops = (at) => this.calls[at] !== this.calls[at - 1] || this.losses.has(at);
    while (next > 0 && next < last && !stops(next)) next += direction;
    return Math.max(0, Math.min(last, next));
  }
}

// The events of a row of a step (see packed.py), which may be those of another row.
function unpacked({ ranks, rows }, row) {
  const { events } = ranks[row];
  const mine = Array.isArray(events) ? events : ranks[events].events;
  return mine.map(([time, first, number]) => {
    const [what, name, unit, bytes, line, place, ...more] = rows[number];
    const from = (away) => (away === null ? null : first + away);
    if (what !== "several") return [time, what, name, from(unit), bytes, line, place];
    const changed = bytes.map(([kind, each, size]) => [kind, from(each), size]);
    const [merged, calls] = more;
    return [time, what, name, null, changed, line, place, merged, calls.map(([call, each]) => [call, from(each)])];
  });
}

// Whether a unit's gathered parameters are dropped: what stage 3 is for, and why it gathers again.
const isThrownAway = ([, what, name]) => what === "died" && name === "gathered";

// What an event changes in memory, as rows of kind, unit, bytes.
function changes([, what, name, unit, bytes]) {
  if (what === "several") return bytes;
  return what === "born" || what === "died" ? [[name, unit, bytes]] : [];
}

// What is looked at: a rank, and a position in its step. All pictures of the step follow it.
class View {
  constructor(run) {
    this.run = run;
    this.step = run.recorded_step;
    this.units = this.step.units;
    this.ranks = this.step.ranks.map((_, row) => new Rank(run, row));
    this.chosen = 0; // the row of a rank
    this.position = 0;
    this.group = run.config.group || run.world_size; // ranks among whom the model is dealt
    this.machine = run.config.machine || this.group; // ranks of a machine, of ZeRO++
    this.phasesBy = new Map();
  }

  // The phases of the rank that is looked at.
  get phases() {
    if (!this.phasesBy.has(this.chosen)) this.phasesBy.set(this.chosen, phasesOf(this.rank));
    return this.phasesBy.get(this.chosen);
  }

  get rank() {
    return this.ranks[this.chosen];
  }

  get event() {
    return this.position === 0 ? null : this.rank.events[this.position - 1];
  }

  // The line of the stage's file, 0 outside of it.
  get line() {
    return this.event ? this.event[5] : 0;
  }

  move(position) {
    this.position = Math.max(0, Math.min(this.rank.events.length, position));
  }

  choose(row) {
    this.position = this.ranks[row].asFarAs(this.rank, this.position);
    this.chosen = row;
  }
}

let leader = null; // of several runs: the view whose cursor was moved last (see runs.js)

// What has happened, and whether that is the peak.
const inWords = (view) => sentences(whatHappened(view), view.event && view.position === view.rank.peakAt && say("peak_here"));

function whatHappened(view) {
  if (!view.event) return say("before_the_step");
  if (view.rank.losses.has(view.position)) return say("the_loss", { rank: view.rank.number });
  const [, what, name, unit, bytes, , , number] = view.event;
  const values = { rank: view.rank.number, unit: unit === null ? say("no_unit") : view.units[unit].name };
  if (what === "several") return say("several", { number: exact(number) });
  values.bytes = exact(Math.abs(bytes));
  if (what === "born" || what === "died") {
    const own = `${what}_${name}`; // of what matters most
    return say(unit === null ? what : own in DATA.words ? own : `${what}_of`, { ...values, kind: say(name) });
  }
  const all = view.run.keeps.optimizer === "all";
  const everywhere = what === "begin" && name === "update" && all ? "_all" : "";
  const phase = what === "begin" && name === "sum" && phaseAt(view.phases, view.position)?.name;
  const key = phase ? `sum_for_${phase}` : `${what}_${name}${everywhere}`;
  return key in DATA.words ? say(key, values) : `${name} (${what}) ${values.unit}`;
}

const inTime = (us, long = us >= 1e4) => (long ? say("milliseconds", { number: exact(Number((us / 1000).toFixed(1))) }) : say("microseconds", { number: exact(us) }));

function inNumbers(view) {
  const { event, rank, position, run } = view;
  const parts = [say("event_of", { number: exact(position), all: exact(rank.events.length) })];
  if (event && run.origin !== "dry") parts.push(inTime(event[0]));
  if (event) parts.push(rank.places[event[6]]);
  parts.push(say("alive", { bytes: exact(rank.total[position]) }));
  return parts.join(" · ");
}
