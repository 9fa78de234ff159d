// The formulas, under the names that they have in zero_ref/plan: formulas.py, sizing.py, timing.py, zeropp.py and
// offload.py. Numbers are whole and below 2^53, so they are exact as long as psi/N is computed before it is multiplied.
// KEEPS comes from the stage files: by stage "all" or "1/N" of each kind (see __main__.py).

const BLOCK = 1 << 20; // elements of the optimizer's state that come back at a time, see extras/offload.py
const MOST_RANKS = 1e6;

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

const inShards = (stage, kind) => KEEPS[stage][kind] === "1/N";

const padded = (n, ranks) => Math.ceil(n / ranks) * ranks;

const passes = (stage, k) => ({
  reduce_scatter: inShards(stage, "gradient") ? k : 1, all_gather: inShards(stage, "parameter") ? 2 * k : 1,
});

const modelStateBytes = (stage, psi, ranks, bytes) => Object.fromEntries(
  Object.keys(KEEPS[stage]).map((kind) => [kind, bytes[kind] * (inShards(stage, kind) ? psi / ranks : psi)]));

// ---- What travels: legs, each `calls` times a unit, with the elements that a rank sends to its own group and to others.

function legs(stage, psi, ranks, k, group) {
  return Object.entries(passes(stage, k)).map(([collective, n]) => ({
    collective, calls: n, ranks, inside: n * (psi / ranks) * (group - 1), between: n * (psi / ranks) * (ranks - group),
  }));
}

function legsInGroups(stage, psi, ranks, group, k) {
  const replicas = ranks / group, between = (psi / ranks) * (replicas - 1);
  return legs(stage, psi, group, k, group).concat(
    ["reduce_scatter", "all_gather"].map((collective) => ({ collective, calls: 1, ranks: replicas, inside: 0, between })));
}

function legsHpz(psi, ranks, group, k) {
  const forward = legs(2, psi, ranks, k, group)[0];
  return [forward, { ...forward, collective: "all_gather" },
    { collective: "all_gather", calls: k, ranks: group, inside: k * (psi / group) * (group - 1), between: 0 }];
}

// What a machine of `near` ranks sends to other machines, directly and around a ring.
const toOthers = (given, near) => [sum(given.map((leg) => near * leg.between)),
  sum(given.map((leg) => (leg.inside && leg.between ? leg.inside + leg.between : near * leg.between)))];

// Bytes of n numbers as a code: a float32 for each block, and bits for each number.
function codedBytes(n, code) {
  const [kind, block] = code.split("/");
  const scales = 4 * Math.ceil(n / Number(block)), codes = kind === "4" ? Math.ceil(n / 2) : n;
  return Math.ceil((scales + codes) / 4) * 4;
}

// ZeRO++: the legs over all ranks with codes in place of numbers, `coded(code)` bytes a shard. A gather goes straight to
// every rank. A reduce-scatter goes inside the group first, and then between those with the same place in theirs.
function inCodes(given, ranks, group, coded, weights, gradients) {
  return given.flatMap((leg) => {
    if (leg.ranks !== ranks) return leg;
    if (leg.collective === "all_gather" && weights) {
      const each = leg.calls * coded(weights);
      return { ...leg, inside: each * (group - 1), between: each * (ranks - group) };
    }
    if (leg.collective === "reduce_scatter" && gradients) {
      const each = leg.calls * coded(gradients), groups = ranks / group;
      return [{ ...leg, ranks: group, inside: each * (ranks - groups), between: 0 },
        { ...leg, ranks: groups, inside: 0, between: each * (groups - 1) }];
    }
    return leg;
  });
}

// ---- How long it takes

// Seconds: of the bytes inside a machine and between machines, and of the hops. A ring is as slow as its slowest link.
function byLink(row, rates, near) {
  const spent = { inside: 0, between: 0, latency: 0 }, together = near * rates.between;
  for (const leg of row.legs) {
    const calls = leg.calls * row.calls, there = leg.ranks - 1;
    if (rates.ring && leg.inside && leg.between) {
      const seconds = (leg.inside + leg.between) / Math.min(rates.bandwidth, together);
      spent[rates.bandwidth <= together ? "inside" : "between"] += seconds;
      spent.latency += calls * there * Math.max(rates.latency, rates.farther);
      continue;
    }
    spent.inside += leg.inside / rates.bandwidth;
    spent.between += leg.between / rates.between;
    const here = !leg.between ? there : leg.inside ? near - 1 : 0;
    spent.latency += calls * (here * rates.latency + (there - here) * rates.farther);
  }
  return spent;
}

const times = (row, rates, near) => ({
  compute: row.flop / rates.flops, ...byLink(row, rates, near), outside: row.moved / rates.outside,
});

// ---- What a step needs on top

// A vocabulary says that everything is counted from the shape: embeddings, learned positions, the last norm and the head.
const isCounted = (s) => s.shape && s.vocab > 0;
const embeddingsOf = (s) => (isCounted(s) ? ((s.untied ? 2 : 1) * s.vocab + s.positions + 2) * s.hidden : 0);
const parametersOf = (s) => (isCounted(s) ? s.layers * (12 * s.hidden ** 2 + 13 * s.hidden) + embeddingsOf(s) : s.psi);
const lookedUp = (s) => (isCounted(s) ? s.hidden * (s.positions + (s.untied ? s.vocab : 0)) : 0); // and not multiplied with

function activationBytes(s, samples, itemsize) {
  const tokens = samples * s.sequence, given = itemsize * s.hidden * tokens;
  const block = tokens * ((16 * itemsize + 2) * s.hidden + (2 * itemsize + 1) * s.heads * s.sequence);
  const [mask, output] = isCounted(s) ? [tokens * s.hidden, tokens * (2 * itemsize * s.hidden + 4 * s.vocab)] : [0, 0];
  return s.again ? mask + (s.layers - 1) * given + Math.max(block, given + output) : mask + s.layers * block + output;
}

// Elements whose optimizer's state is on the device at most while n are updated: two blocks, and a shorter rest.
const inMemory = (n) => Math.min(Math.floor(n / BLOCK), 2) * BLOCK + (n % BLOCK);

// Units as pairs [elements, how many]: as even as can be, cut into tiles, or neighbours merged into buckets; embeddings are
// one unit more.
function unitsOf(s) {
  const number = s.layers * (s.cut === "tiles" ? s.tiles : 1), embeddings = embeddingsOf(s), alike = s.psi - embeddings;
  const smaller = Math.floor(alike / number), larger = alike % number;
  const pairs = [[embeddings, Number(embeddings > 0)], [smaller + 1, larger], [smaller, number - larger]].filter(([, times]) => times);
  return s.cut === "buckets" ? merged(pairs, s.bucket) : pairs;
}

// A bucket has `most` elements at most; a unit of more stays what it is.
function merged(pairs, most) {
  const found = new Map();
  let bucket = 0;
  const close = () => bucket && found.set(bucket, (found.get(bucket) || 0) + 1);
  for (const [elements, times] of pairs) {
    for (let i = 0; i < times; i++) {
      if (bucket && bucket + elements <= most) bucket += elements;
      else {
        close();
        bucket = elements;
      }
    }
  }
  close();
  return [...found];
}

// ---- Every way to run the model

const capacity = (s) => Math.round(s.memory * 1e9);
const bytesOf = (s) => ({ parameter: s.bits / 8, gradient: s.bits / 8, optimizer: s.bits === 16 ? s.k : s.bits / 4 });

// Ranks in a group, which share a machine: all of them, where the groups would not be even.
const groupOf = (s, ranks) => (s.group > 1 && s.group < ranks && ranks % s.group === 0 ? s.group : ranks);
const ratesOf = (s) => ({
  flops: s.flops * 1e12, bandwidth: s.bandwidth * 1e9, between: s.between * 1e9, outside: s.outside * 1e9,
  latency: s.latency / 1e6, farther: (s.farther || s.latency) / 1e6,
  ring: s.ring && !s.weights && !s.gradients,
});

// Rows: what a rank holds, sends and takes at each stage; with groups also inside them, if the setting asks for that.
function plan(s, ranks = s.n, units = unitsOf(s)) {
  const bytes = bytesOf(s), e = bytes.parameter, group = groupOf(s, ranks), k = s.micro;
  const sized = units.map(([elements, times]) => [padded(elements, ranks), times]);
  const psi = sum(sized.map(([n, times]) => n * times)), calls = sum(sized.map(([, times]) => times));
  const unit = Math.max(...sized.map(([n]) => n));
  const samples = Math.ceil(s.batch / (ranks * k));
  const activation = s.shape ? activationBytes(s, samples, e) : 0;
  const tokens = s.shape ? samples * s.sequence : Math.ceil((s.batch * s.sequence) / (ranks * k));
  const flop = (s.shape && s.again ? 8 : 6) * (s.psi - lookedUp(s)) * tokens * k;
  const coded = (code) => sum(sized.map(([n, times]) => times * codedBytes(n / ranks, `${code}/256`)));

  function row(name, stage, shards, elements) {
    const made = { name, stage, state: modelStateBytes(stage, psi, shards, bytes), outside: 0, moved: 0, flop, calls };
    const gathers = inShards(stage, "parameter");
    made.visits = { activation, gathered: s.shape && gathers ? e * unit : 0, full_gradient: s.shape ? e * unit : 0 };
    if (s.offload) offload(made, gathers, inShards(stage, "optimizer") ? shards : 1);
    made.legs = elements.map((leg) => ({ ...leg, inside: e * leg.inside, between: e * leg.between }));
    if (shards === ranks) made.legs = inCodes(made.legs, ranks, group, coded, gathers && s.weights, s.gradients);
    return made;
  }

  // The optimizer's state lies outside, and comes in blocks: its update needs them after the backward pass.
  function offload(made, gathers, shards) {
    const { state, visits } = made, k_state = bytes.optimizer;
    made.outside = state.optimizer;
    made.moved = 2 * state.optimizer;
    state.optimizer = 0;
    const blocks = k_state * Math.max(...sized.map(([n]) => inMemory(n / shards)));
    if (s.shards && gathers) {
      made.outside += state.parameter + state.gradient;
      made.moved += (passes(made.stage, k).all_gather + 1) * state.parameter + (k + 3) * state.gradient;
      state.parameter = state.gradient = 0;
    }
    if (blocks > sum(Object.values(visits))) made.visits = { activation: 0, gathered: 0, full_gradient: 0, blocks };
  }

  const rows = [0, 1, 2, 3].map((stage) => row(String(stage), stage, ranks, legs(stage, psi, ranks, k, group)));
  if (group < ranks && s.hsdp)
    for (const stage of [1, 2, 3]) rows.push(row(`${stage} in groups`, stage, group, legsInGroups(stage, psi, ranks, group, k)));
  if (group < ranks && s.hpz) {
    const hpz = row("hpZ", 3, ranks, legsHpz(psi, ranks, group, k));
    hpz.state.parameter += e * (psi / group);
    rows.push(hpz);
  }
  for (const r of rows) {
    r.rest = sum(Object.values(r.state));
    r.step = sum(Object.values(r.visits));
    r.needed = r.rest + r.step;
    r.fits = r.needed <= capacity(s);
    for (const collective of ["reduce_scatter", "all_gather"])
      r[collective] = sum(r.legs.filter((leg) => leg.collective === collective).map((leg) => leg.inside + leg.between));
    r.inside = sum(r.legs.map((leg) => leg.inside));
    r.between = sum(r.legs.map((leg) => leg.between));
    r.sent = r.inside + r.between;
    [r.direct, r.ring] = toOthers(r.legs, group);
    r.times = times(r, ratesOf(s), group);
    r.seconds = sum(Object.values(r.times));
  }
  return { rows, bytes, psi, samples, activation, unit: e * unit, calls, group, flop };
}

// The largest psi whose model state fits: as Table 2 of the paper. Without end, where nothing of it is on the device.
function mostParameters(s, row, group) {
  const state = modelStateBytes(row.stage, 1, row.name.endsWith("groups") ? group : s.n, bytesOf(s));
  if (s.offload) state.optimizer = 0;
  if (s.offload && s.shards && inShards(row.stage, "parameter")) state.parameter = state.gradient = 0;
  if (row.name === "hpZ") state.parameter += bytesOf(s).parameter / group;
  return capacity(s) / sum(Object.values(state));
}

// The smallest number of ranks at which a row fits; null if it is more than MOST_RANKS. Without padding a rank never needs
// more because there are more ranks. So a bisection finds where it could fit at the earliest, and from there all are tried.
function fitsFrom(s, name, units = unitsOf(s)) {
  const of = (ranks) => plan(s, ranks, units).rows.find((r) => r.name === name);
  const each = /groups|hpZ/.test(name) ? s.group : 1, first = each > 1 ? 2 : 1, last = Math.floor(MOST_RANKS / each);
  const row = of(first * each), could = (i) => leastNeeded(s, row, i * each, units) <= capacity(s);
  let [low, high] = [first, last];
  if (!could(last)) return null;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (could(middle)) high = middle;
    else low = middle + 1;
  }
  for (let i = low; i <= last; i = i < low + 4096 ? i + 1 : 2 * i) if (of(i * each).fits) return i * each;
  return null;
}

// What a row needs on so many ranks at the least: without padding, and with as few blocks of state as can be.
function leastNeeded(s, row, ranks, units) {
  const bytes = bytesOf(s), e = bytes.parameter, shards = row.name.endsWith("groups") ? s.group : ranks;
  const state = modelStateBytes(row.stage, s.psi, shards, bytes), unit = Math.max(...units.map(([n]) => n));
  const activation = s.shape ? activationBytes(s, Math.ceil(s.batch / (ranks * s.micro)), e) : 0;
  const gathers = inShards(row.stage, "parameter");
  let step = activation + (s.shape ? (gathers ? 2 : 1) * e * unit : 0);
  if (s.offload) {
    const own = unit / (inShards(row.stage, "optimizer") ? shards : 1);
    state.optimizer = 0;
    step = Math.max(step, bytes.optimizer * Math.min(own, 2 * BLOCK));
    if (s.shards && gathers) state.parameter = state.gradient = 0;
  }
  if (row.name === "hpZ") state.parameter += (e * s.psi) / s.group;
  return sum(Object.values(state)) + step;
}
