// The formulas, under the names that they have in zero_ref/plan/formulas.py and zero_ref/plan/sizing.py. Numbers are
// whole and below 2^53, so they are exact as long as psi/N is computed before it is multiplied. KEEPS comes from the
// stage files: by stage "all" or "1/N" of each kind (see __main__.py).

const inShards = (stage, kind) => KEEPS[stage][kind] === "1/N";

const padded = (n, ranks) => Math.ceil(n / ranks) * ranks;

const passes = (stage, k) => ({
  reduce_scatter: inShards(stage, "gradient") ? k : 1, all_gather: inShards(stage, "parameter") ? 2 * k : 1,
});

const modelStateBytes = (stage, psi, ranks, bytes) => Object.fromEntries(
  Object.keys(KEEPS[stage]).map((kind) => [kind, bytes[kind] * (inShards(stage, kind) ? psi / ranks : psi)]));

// Elements that a rank sends to its own group and to others, by collective.
function legs(stage, psi, ranks, k, group) {
  return Object.entries(passes(stage, k)).map(([collective, n]) => ({
    collective, inside: n * (psi / ranks) * (group - 1), between: n * (psi / ranks) * (ranks - group),
  }));
}

function legsInGroups(stage, psi, ranks, group, k) {
  const across = (psi / ranks) * (ranks / group - 1);
  return legs(stage, psi, group, k, group).concat(
    ["reduce_scatter", "all_gather"].map((collective) => ({ collective, inside: 0, between: across })));
}

function legsHpz(psi, ranks, group, k) {
  const forward = legs(2, psi, ranks, k, group)[0];
  return [forward, { ...forward, collective: "all_gather" },
    { collective: "all_gather", inside: k * (psi / group) * (group - 1), between: 0 }];
}

function activationBytes(s, samples, itemsize) {
  const tokens = samples * s.sequence, given = itemsize * s.hidden * tokens;
  const block = tokens * ((16 * itemsize + 2) * s.hidden + (2 * itemsize + 1) * s.heads * s.sequence);
  return (s.layers - 1) * (s.again ? given : block) + block;
}

const capacity = (s) => Math.round(s.memory * 1e9);

// Every way to run the model: what a rank holds and sends.
function plan(s) {
  const itemsize = s.bits / 8, units = s.shape ? s.layers : 1;
  const bytes = { parameter: itemsize, gradient: itemsize, optimizer: s.bits === 16 ? s.k : 2 * itemsize };
  const smaller = Math.floor(s.psi / units), larger = s.psi % units;
  const psi = (units - larger) * padded(smaller, s.n) + larger * padded(smaller + 1, s.n);
  const unit = padded(Math.ceil(s.psi / units), s.n);
  const samples = Math.ceil(s.batch / (s.n * s.micro));
  const activation = s.shape ? activationBytes(s, samples, itemsize) : 0;
  function row(name, stage, shards, elements) {
    const wholeUnits = s.shape ? (inShards(stage, "parameter") ? 2 : 1) * itemsize * unit : 0;
    return {
      name, stage, state: modelStateBytes(stage, psi, shards, bytes), step: activation + wholeUnits,
      legs: elements.map((leg) => ({ ...leg, inside: itemsize * leg.inside, between: itemsize * leg.between })),
    };
  }
  const rows = [0, 1, 2, 3].map((stage) => row(String(stage), stage, s.n, legs(stage, psi, s.n, s.micro, s.group || s.n)));
  if (s.group) {
    for (const stage of [1, 2, 3])
      rows.push(row(`${stage} in groups`, stage, s.group, legsInGroups(stage, psi, s.n, s.group, s.micro)));
    const hpz = row("hpZ", 3, s.n, legsHpz(psi, s.n, s.group, s.micro));
    hpz.state.parameter += itemsize * psi / s.group;
    rows.push(hpz);
  }
  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
  for (const r of rows) {
    r.rest = sum(Object.values(r.state));
    r.needed = r.rest + r.step;
    r.fits = r.needed <= capacity(s);
    for (const collective of ["reduce_scatter", "all_gather"])
      r[collective] = sum(r.legs.filter((leg) => leg.collective === collective).map((leg) => leg.inside + leg.between));
    r.inside = sum(r.legs.map((leg) => leg.inside));
    r.between = sum(r.legs.map((leg) => leg.between));
    r.sent = r.inside + r.between;
  }
  return { rows, bytes, psi, samples, activation, unit: itemsize * unit };
}

// Words.

const KINDS = ["parameter", "gradient", "optimizer", "step"];
const WORDS = {
  en: {
    title: "ZeRO: what fits on one device",
    lead: "Move a slider and see what one rank holds and sends at each stage. The formulas are the paper's (arXiv 1910.02054), with padding and (N−1)/N: exact to the byte.",
    skip: "To the results", other: "中文", dark: "Dark", light: "Light", themeLabel: "Colors", reset: "Reset",
    model: "Model", preset: "Example", own: "—", bits: "Numbers", bits16: "16 bits, mixed precision", bits32: "32 bits", bits64: "64 bits",
    k: "Optimizer state", psi: ["Parameters ", "Ψ"],
    kBytes: (k) => `${k} bytes a parameter`,
    kOptions: { 4: "K = 4: SGD", 8: "K = 8: SGD, momentum", 12: "K = 12: Adam", 16: "K = 16: + fp32 gradients" },
    kHint: {
      4: "4 for the float32 master of each parameter.",
      8: "4 each for the float32 master and the momentum.",
      12: "4 each for the float32 master, momentum and variance (the paper's K).",
      16: "As 12, and 4 for float32 gradients, which DeepSpeed keeps. With 2 + 2 that is 20 in all.",
      adam: (n) => `Adam's momentum and variance, ${n} each; no master is needed.`,
    },
    ranks: "Ranks and devices", n: ["Ranks ", "N"], memory: "Memory of a device, GB", group: "Groups", micro: "Micro-batches a step",
    noGroups: "none", ofGroup: (g, n) => `${n / g} groups of ${g}`,
    activations: "Activations", shape: "Include transformer activations",
    batch: "Batch, all ranks", sequence: "Sequence, tokens", layers: "Layers", hidden: "Hidden size", heads: "Attention heads",
    again: "Checkpointing: keep each block's input, compute the rest again",
    shapeHint: (samples, bytes, unit) => `${samples} ${samples === "1" ? "sequence" : "sequences"} a rank and micro-batch: ${bytes}, an estimate. One block's whole gradients (${unit}) come on top, and at stage 3 its gathered parameters.`,
    stages: "Stage to explain", stage: (name) => (name === "hpZ" ? "hpZ" : `Stage ${name}`),
    names: { 0: "data parallel: all of it on every rank", 1: "optimizer state in shards", 2: "+ gradients", 3: "+ parameters" },
    fits: "fits", fitsNot: "does not fit",
    groupHint: "Stage n in groups: sharded inside a group, replicated over the groups (hybrid shard, MiCS). hpZ: stage 3 over all ranks, and a second copy of the parameters in each group for the backward pass (ZeRO++).",
    memoryTitle: "What a rank needs", sentTitle: "What a rank sends in one step", table: "The numbers as a table, in bytes",
    limit: (m) => `device: ${m}`,
    kinds: { parameter: "parameters", gradient: "gradients", optimizer: "optimizer state", step: "activations and whole units" },
    sends: { reduce_scatter: "reduce-scatter", all_gather: "all-gather", inside: "inside its group", between: "to other groups" },
    head: { stage: "stage", rest: "at rest", step: "in a step", needed: "needed", fits: "fits", sent: "total", parameter: "parameters", gradient: "gradients", optimizer: "optimizer state" },
    yes: "yes", no: "no",
    several: (first, last) => `Stages ${first}–${last}`,
    and: (labels) => (labels.length > 1 ? `${labels.slice(0, -1).join(", ")} and ${labels.at(-1)}` : labels[0]),
    none: (memory, label, more) => `Nothing fits in ${memory}: the smallest, ${label}, is ${more} over.`,
    every: (memory, label, left) => `Everything fits in ${memory}; ${label} has ${left} to spare.`,
    some: (memory, labels, many, label, more) => `${labels} ${many ? "fit" : "fits"} in ${memory}; ${label} is ${more} over.`,
    memoryCaption: (a, b, times, fit, all, m) => `A rank needs ${a} at stage 0, ${times} ${b} of stage 3; ${fit} of ${all} fit in ${m}.`,
    sentCaption: (a, b, times) => `In one step a rank sends ${b} at stage 3, ${times} ${a} of stage 0.`,
    times: (x) => (x === "1" ? "as much as the" : `${x} times the`),
    nothing: "One rank has nobody to send to.",
    why: (stage) => `Stage ${stage}: where its numbers come from`,
    held: "at rest", moved: "sent in a step", with: "with", paper: "as the paper counts",
    psiPadded: (psi, n, k, itemsize) => `Ψ = ${psi} (with padding), N = ${n}, ${itemsize} + ${itemsize} + ${k} bytes a parameter`,
    passes: (a, b) => `${a} reduce-scatter${a > 1 ? "s" : ""} and ${b} all-gather${b > 1 ? "s" : ""} of the whole model`,
    paperSent: (x) => `${x} sent: (N−1)/N left out`,
    commandTitle: "The same in the terminal",
    notes: "GB are 1e9 bytes. Model state is exact; activations are an estimate: in 16 bits 34 h + 5 a s bytes for each token and layer, with hidden size h, a heads and sequences of s tokens (arXiv 2205.05198), with checkpointing the inputs of the blocks and all of one block. Not counted: other buffers, fragmented memory, the libraries.",
    presets: { figure1: "The paper's figure 1: 7.5B on 64", gpt2: "GPT-2 1.5B, sequences of 1024", t1: "1T on 1024 (table 1)", groups: "100B, groups of 16 (ZeRO++)" },
    bad: (low, high) => `a number from ${low} to ${high}`,
  },
  zh: {
    title: "ZeRO：一台设备放得下多大的模型",
    lead: "拖动滑块，看每个阶段下一个 rank 要存多少、每步要发多少。公式出自论文（arXiv 1910.02054），计入 padding 和 (N−1)/N，精确到字节。",
    skip: "跳到结果", other: "English", dark: "深色", light: "浅色", themeLabel: "配色", reset: "恢复初始设置",
    model: "模型", preset: "示例", own: "—", bits: "数值精度", bits16: "16 位（混合精度）", bits32: "32 位", bits64: "64 位",
    k: "优化器状态", psi: ["参数量 ", "Ψ"],
    kBytes: (k) => `每个参数 ${k} 字节`,
    kOptions: { 4: "K = 4：SGD", 8: "K = 8：SGD + 动量", 12: "K = 12：Adam", 16: "K = 16：另存 fp32 梯度" },
    kHint: {
      4: "每个参数一份 float32 主副本，4 字节。",
      8: "float32 主副本和动量，各 4 字节。",
      12: "float32 主副本、动量、方差，各 4 字节，即论文中的 K。",
      16: "在 12 的基础上再存一份 float32 梯度（4 字节），DeepSpeed 就是这样做的；连同 2 + 2，一共 20 字节。",
      adam: (n) => `Adam 的动量和方差，各 ${n} 字节；不需要主副本。`,
    },
    ranks: "rank 与设备", n: ["rank 数 ", "N"], memory: "单台设备内存（GB）", group: "分组", micro: "每步的 micro-batch 数",
    noGroups: "不分组", ofGroup: (g, n) => `${n / g} 组，每组 ${g} 个 rank`,
    activations: "激活", shape: "计入 Transformer 的激活",
    batch: "batch（所有 rank 合计）", sequence: "序列长度（token）", layers: "层数", hidden: "隐藏维度", heads: "注意力头数",
    again: "激活检查点：每个 block 只留输入，其余反向时重算",
    shapeHint: (samples, bytes, unit) => `每个 rank 每个 micro-batch ${samples} 条序列，激活约 ${bytes}。另加一个 block 的完整梯度（${unit}）；阶段 3 还要加上临时收集的参数。`,
    stages: "查看哪个阶段", stage: (name) => (name === "hpZ" ? "hpZ" : name.endsWith("groups") ? `分组阶段 ${name[0]}` : `阶段 ${name}`),
    names: { 0: "数据并行：每个 rank 都存全部", 1: "切分优化器状态", 2: "再切分梯度", 3: "再切分参数" },
    fits: "放得下", fitsNot: "放不下",
    groupHint: "分组阶段 n：组内切分，组间复制（hybrid shard、MiCS）。hpZ：阶段 3 在所有 rank 上切分，每组另存一份参数供反向传播使用（ZeRO++）。",
    memoryTitle: "每个 rank 需要的内存", sentTitle: "每个 rank 每步的发送量", table: "数据表（字节）",
    limit: (m) => `设备：${m}`,
    kinds: { parameter: "参数", gradient: "梯度", optimizer: "优化器状态", step: "激活和完整的 unit" },
    sends: { reduce_scatter: "reduce-scatter", all_gather: "all-gather", inside: "组内", between: "组间" },
    head: { stage: "阶段", rest: "常驻", step: "步内另需", needed: "共需", fits: "放得下", sent: "合计", parameter: "参数", gradient: "梯度", optimizer: "优化器状态" },
    yes: "是", no: "否",
    several: (first, last) => `阶段 ${first}–${last}`,
    and: (labels) => labels.join("、"),
    none: (memory, label, more) => `${memory} 全都放不下：最省的${label} 也还差 ${more}。`,
    every: (memory, label, left) => `${memory} 全都放得下，${label} 还剩 ${left}。`,
    some: (memory, labels, many, label, more) => `${memory} 放得下${labels}；${label} 还差 ${more}。`,
    memoryCaption: (a, b, times, fit, all, m) => `每个 rank 在阶段 0 需要 ${a}，是阶段 3（${b}）的 ${times} 倍；${all} 种方案中有 ${fit} 种放得进 ${m}。`,
    sentCaption: (a, b, times) => `每个 rank 每步在阶段 3 发送 ${b}，是阶段 0（${a}）的 ${times} 倍。`,
    times: (x) => x,
    nothing: "只有一个 rank，没有可以发送的对象。",
    why: (stage) => `阶段 ${stage}：这些数字怎么来的`,
    held: "常驻", moved: "每步发送", with: "条件", paper: "论文的口径",
    psiPadded: (psi, n, k, itemsize) => `Ψ = ${psi}（含 padding），N = ${n}，每个参数 ${itemsize} + ${itemsize} + ${k} 字节`,
    passes: (a, b) => `整个模型做 ${a} 次 reduce-scatter、${b} 次 all-gather`,
    paperSent: (x) => `发送 ${x}：略去 (N−1)/N`,
    commandTitle: "在终端里得到同样的结果",
    notes: "GB 指 1e9 字节。模型状态是精确值；激活是估计值：16 位时每层每个 token 占 34h + 5as 字节，h 为隐藏维度，a 为注意力头数，s 为序列长度（arXiv 2205.05198）；启用激活检查点时为各 block 的输入，加上一个 block 的全部激活。未计入：其他缓冲区、内存碎片、库自身的占用。",
    presets: { figure1: "论文图 1：7.5B，64 个 rank", gpt2: "GPT-2 1.5B，序列长 1024", t1: "1T，1024 个 rank（表 1）", groups: "100B，每组 16 个（ZeRO++）" },
    bad: (low, high) => `请输入 ${low} 到 ${high} 之间的数`,
  },
};

// The setting: what the controls show and the address ends with.

const FIELDS = {
  psi: { low: 1, high: 1e14, units: true, steps: 700, at: (x) => round2(10 ** (6 + x / 100)), place: (v) => 100 * (Math.log10(v) - 6) },
  n: { low: 1, high: 1e6, steps: 12, at: (x) => 2 ** x, place: Math.log2 },
  memory: { low: 0.000001, high: 1e6, fraction: true, steps: 192, first: 1, at: (x) => x, place: (v) => v },
  micro: { low: 1, high: 1e4, steps: 32, first: 1, at: (x) => x, place: (v) => v },
  batch: { low: 1, high: 1e7, steps: 16, at: (x) => 2 ** x, place: Math.log2 },
  sequence: { low: 1, high: 1e7, steps: 20, first: 5, at: (x) => 2 ** x, place: Math.log2 },
  layers: { low: 1, high: 1e4, steps: 160, first: 1, at: (x) => x, place: (v) => v },
  hidden: { low: 1, high: 1e6, steps: 128, first: 1, at: (x) => 128 * x, place: (v) => v / 128 },
  heads: { low: 1, high: 1e4, steps: 128, first: 1, at: (x) => x, place: (v) => v },
};
const START = { psi: 7.5e9, n: 64, bits: 16, k: 12, memory: 32, group: 0, micro: 1, shape: false, batch: 2048,
  sequence: 1024, layers: 48, hidden: 1600, heads: 25, again: false, stage: 3 };
const PRESETS = {
  figure1: {},
  gpt2: { psi: 12 * 48 * 1600 ** 2, shape: true },
  t1: { psi: 1e12, n: 1024 },
  groups: { psi: 1e11, n: 1024, group: 16, memory: 80 },
};
const CHOICES = { bits: [16, 32, 64], k: [4, 8, 12, 16], stage: [0, 1, 2, 3] };
let s = { ...START }, lang = /^zh/i.test(LANGUAGE || navigator.language) ? "zh" : "en";

const round2 = (x) => Number(x.toPrecision(2));
const $ = (id) => document.getElementById(id);

function readNumber(text, field) {
  const found = /^\s*([0-9.]+(?:e[+]?[0-9]+)?)\s*([kmbt]?)\s*$/i.exec(text.replaceAll(",", ""));
  if (!found || (found[2] && !field.units)) return NaN;
  const value = Number(found[1]) * { "": 1, k: 1e3, m: 1e6, b: 1e9, t: 1e12 }[found[2].toLowerCase()];
  return value >= field.low && value <= field.high && (field.fraction || Number.isInteger(value)) ? value : NaN;
}

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1)), read = { ...START };
  for (const [name, text] of given) {
    if (name === "lang" && WORDS[text]) lang = text;
    else if (name in FIELDS && !Number.isNaN(readNumber(text, FIELDS[name]))) read[name] = readNumber(text, FIELDS[name]);
    else if (name in CHOICES && CHOICES[name].includes(Number(text))) read[name] = Number(text);
    else if (name === "shape" || name === "again") read[name] = text === "1";
    else if (name === "group") read.group = Number(text);
  }
  s = read;
}

function writeAddress() {
  const parts = Object.keys(START).filter((name) => s[name] !== START[name])
    .map((name) => `${name}=${typeof s[name] === "boolean" ? Number(s[name]) : plain(s[name])}`);
  history.replaceState(null, "", `#${[...parts, `lang=${lang}`].join("&")}`);
}

// A number as it is typed: 7.5e9, 17226.
function plain(x) {
  const short = x >= 1e6 ? x.toExponential().replace("e+", "e") : String(x);
  return short.length < String(x).length ? short : String(x);
}

// Numbers with their units, as plan.py prints them.

const exact = (x) => x.toLocaleString("en-US", { maximumFractionDigits: 0 });
function significant(x) {
  const digits = x ? Math.max(0, 3 - Math.floor(Math.log10(Math.abs(x)))) : 0;
  return x.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
const size = (x) => (x < 1e7 ? `${exact(x)} B` : `${significant(x / 1e9)} GB`);
const ratio = (x) => (x >= 100 ? Math.round(x) : Number(x.toPrecision(3))).toLocaleString("en-US");

// Building elements.

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Four fills that differ without color: plain, slanted lines, dots, upright lines.
function piece(i, x, y, width, height, id) {
  const group = svg("g", {}, svg("rect", { class: `f${i}`, x, y, width, height }));
  if (i) group.append(svg("rect", { fill: `url(#${id}-p${i})`, x, y, width, height }));
  return group;
}
function patterns(id) {
  const made = (i, content) => svg("pattern", { id: `${id}-p${i}`, width: 8, height: 8, patternUnits: "userSpaceOnUse" }, ...content);
  return svg("defs", {},
    made(1, [svg("path", { class: "hatch", d: "M-2 2L2-2M0 8L8 0M6 10L10 6", "stroke-width": 2 })]),
    made(2, [svg("circle", { class: "dot", cx: 2, cy: 2, r: 1.4 }), svg("circle", { class: "dot", cx: 6, cy: 6, r: 1.4 })]),
    made(3, [svg("path", { class: "hatch", d: "M2 0V8M6 0V8", "stroke-width": 1.6 })]));
}

function legend(list, names, fills) {
  list.replaceChildren(...names.map((name, i) => {
    const id = `${list.id}-${i}`;
    return element("li", {}, svg("svg", { width: 20, height: 14, "aria-hidden": "true" }, patterns(id), piece(fills[i], 0, 0, 20, 14, id)), name);
  }));
}

// Bars, one for each row: [{label, note, parts: [numbers], text, good}]; limit: {value, text} or null.
function bars(place, id, rows, fills, limit, title) {
  const width = Math.max(260, place.clientWidth), narrow = width < 620;
  const left = narrow ? 0 : 142, right = narrow ? 0 : 178, bar = narrow ? 20 : 26, step = narrow ? 54 : 46;
  const top = limit ? 26 : 4, height = top + rows.length * step + 2;
  const most = Math.max(...rows.map((r) => r.parts.reduce((a, b) => a + b, 0)), limit ? limit.value * 1.02 : 0) || 1;
  const scale = (x) => (x / most) * (width - left - right);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": title }, patterns(id));
  rows.forEach((r, i) => {
    const y = top + i * step, barY = narrow ? y + 26 : y + (step - bar) / 2, middle = narrow ? y + 17 : y + step / 2 + 5;
    if (r.chosen) picture.append(svg("rect", { class: "band", x: -8, y: y + 1, width: width + 16, height: step - 2, rx: 6 }));
    picture.append(svg("text", { x: 0, y: middle, class: r.chosen ? "strong" : "" }, r.label));
    picture.append(svg("rect", { class: "track", x: left, y: barY, width: width - left - right, height: bar }));
    let x = left;
    r.parts.forEach((part, j) => {
      const long = scale(part);
      if (part > 0) picture.append(piece(fills[j], x, barY, Math.max(long, .75), bar, id));
      x += long;
    });
    const words = svg("text", narrow ? { x: width, y: middle, "text-anchor": "end" } : { x: width - right + 14, y: middle });
    words.append(svg("tspan", { class: "strong" }, r.text));
    if (r.mark) words.append(svg("tspan", { class: r.good ? "good" : "bad", dx: 8 }, r.mark));
    picture.append(words);
  });
  if (limit) {
    const x = left + scale(limit.value);
    const end = x > left + (width - left - right) * .55;
    picture.append(svg("line", { class: "limit", x1: x, x2: x, y1: 18, y2: height }));
    picture.append(svg("text", { class: "small", x, y: 12, "text-anchor": end ? "end" : "start" }, limit.text));
  }
  place.replaceChildren(picture);
}

function table(place, caption, header, rows) {
  place.replaceChildren(
    element("thead", {}, element("tr", {}, ...header.map((text) => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...rows.map((row) => {
      const line = element("tr", row.chosen ? { class: "chosen" } : {}, element("th", { scope: "row" }, row.label));
      for (const cell of row.cells)
        line.append(element("td", {}, typeof cell === "number" ? element("data", { value: String(cell) }, exact(cell)) : cell));
      return line;
    })));
  place.setAttribute("aria-label", caption);
}

// Showing everything.

function verdict(t, rows, memory) {
  const good = rows.filter((r) => r.fits), limit = capacity(s);
  const best = rows.reduce((a, b) => (b.needed < a.needed ? b : a)), worst = rows.reduce((a, b) => (b.needed > a.needed ? b : a));
  if (!good.length) return t.none(memory, best.label, size(best.needed - limit));
  if (good.length === rows.length) return t.every(memory, worst.label, size(limit - worst.needed));
  const stages = good.every((r) => /^\d$/.test(r.name)) && good.length > 1;
  const labels = stages ? t.several(good[0].name, good.at(-1).name) : t.and(good.map((r) => r.label));
  return t.some(memory, labels, good.length > 1, worst.label, size(worst.needed - limit));
}

function show() {
  const t = WORDS[lang], found = plan(s), memory = size(capacity(s));
  const rows = found.rows.map((r) => ({ ...r, label: t.stage(r.name), chosen: r.name === String(s.stage) }));
  for (const r of rows) r.mark = r.fits ? `✓ ${t.fits}` : `✗ ${t.fitsNot}`;

  rows.slice(0, 4).forEach((r, i) => {
    const card = $("stages").children[i];
    card.querySelector(".name").textContent = r.label;
    card.querySelector(".number").textContent = size(r.needed);
    card.querySelector(".state").textContent = r.mark;
    card.querySelector(".state").className = `state ${r.fits ? "fits" : "fits-not"}`;
    card.querySelector(".what").textContent = t.names[i];
    card.querySelector("input").checked = r.chosen;
  });
  $("verdict").textContent = verdict(t, rows, memory);

  const kinds = s.shape ? KINDS : KINDS.slice(0, 3);
  const part = (r, kind) => (kind === "step" ? r.step : r.state[kind]);
  const times = t.times(ratio(rows[0].needed / rows[3].needed));
  const memoryCaption = t.memoryCaption(size(rows[0].needed), size(rows[3].needed), times, rows.filter((r) => r.fits).length, rows.length, memory);
  legend($("memory-legend"), kinds.map((kind) => t.kinds[kind]), [0, 1, 2, 3]);
  bars($("memory-chart"), "m", rows.map((r) => ({ ...r, parts: kinds.map((kind) => part(r, kind)), text: size(r.needed), good: r.fits })),
    [0, 1, 2, 3], { value: capacity(s), text: t.limit(memory) }, memoryCaption);
  $("memory-caption").textContent = memoryCaption;
  $("group-hint").textContent = t.groupHint;
  $("group-hint").hidden = !s.group;
  table($("memory-table"), t.memoryTitle,
    ["stage", "parameter", "gradient", "optimizer", "rest", "step", "needed", "fits"].map((name) => t.head[name]),
    rows.map((r) => ({ ...r, cells: [r.state.parameter, r.state.gradient, r.state.optimizer, r.rest, r.step, r.needed, r.fits ? t.yes : t.no] })));

  const sends = s.group ? ["inside", "between"] : ["reduce_scatter", "all_gather"];
  const sentCaption = s.n === 1 ? t.nothing
    : t.sentCaption(size(rows[0].sent), size(rows[3].sent), t.times(ratio(rows[3].sent / rows[0].sent)));
  legend($("sent-legend"), sends.map((name) => t.sends[name]), [1, 3]);
  bars($("sent-chart"), "s", rows.map((r) => ({ ...r, mark: "", parts: sends.map((name) => r[name]), text: size(r.sent) })), [1, 3], null, sentCaption);
  $("sent-caption").textContent = sentCaption;
  const columns = ["reduce_scatter", "all_gather", ...(s.group ? ["inside", "between"] : [])];
  table($("sent-table"), t.sentTitle, [t.head.stage, ...columns.map((name) => t.sends[name]), t.head.sent],
    rows.map((r) => ({ ...r, cells: [...columns.map((name) => r[name]), r.sent] })));

  explain(t, found, rows[s.stage]);
  $("command").textContent = command();
  $("k-hint").textContent = s.bits === 16 ? t.kHint[s.k] : t.kHint.adam(s.bits / 8);
  $("shape-hint").textContent = t.shapeHint(exact(found.samples), size(found.activation), size(found.unit));
}

function explain(t, found, r) {
  const { parameter: e, optimizer: k } = found.bytes, n = s.n, psi = found.psi;
  const each = { parameter: e, gradient: e, optimizer: k };
  const add = (kept) => Object.keys(each).reduce((total, kind) => total + (KEEPS[s.stage][kind] === kept ? each[kind] : 0), 0);
  const whole = add("all"), shared = add("1/N");
  const terms = [whole && `${whole}Ψ`, shared && `${shared}Ψ/N`].filter(Boolean);
  const values = [whole && size(whole * psi), shared && size(shared * (psi / n))].filter(Boolean);
  const p = passes(s.stage, s.micro), all = p.reduce_scatter + p.all_gather;
  const lines = [
    [t.with, t.psiPadded(exact(psi), exact(n), k, e)],
    [t.held, `${terms.join(" + ")} = ${values.length > 1 ? `${values.join(" + ")} = ` : ""}${size(r.rest)}`],
    [t.moved, `${e} B × ${all}Ψ(N−1)/N = ${size(r.sent)}: ${t.passes(p.reduce_scatter, p.all_gather)}`],
    [t.paper, t.paperSent(`${e} B × ${all}Ψ = ${size(e * all * s.psi)}`)],
  ];
  $("why-title").textContent = t.why(s.stage);
  $("formulas").replaceChildren(...lines.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
}

function command() {
  const parts = [];
  if (s.shape) {
    parts.push(`--model transformer --layers ${s.layers} --hidden ${s.hidden} --heads ${s.heads}`);
    parts.push(`--sequence ${s.sequence} --batch-size ${s.batch}${s.again ? " --checkpointing" : ""}`);
  }
  parts.push(`--parameters ${plain(s.psi)} --ranks ${s.n} --dtype ${{ 16: "float16", 32: "float32", 64: "float64" }[s.bits]}`);
  const last = [s.bits === 16 && `--k ${s.k}`, s.micro > 1 && `--micro-batches ${s.micro}`, s.group && `--group ${s.group}`];
  parts.push([...last.filter(Boolean), `--memory ${plain(s.memory)}GB`].join(" "));
  return `python -m zero_ref.plan ${parts.join(" \\\n    ")}`;
}

// Controls.

function groupsOf(n) {
  const found = [];
  for (let g = 2; g <= n / 2 && g <= 4096; g++) if (n % g === 0) found.push(g);
  return found;
}

function words() {
  const t = WORDS[lang];
  document.documentElement.lang = lang === "zh" ? "zh-CN" : "en";
  document.title = t.title;
  for (const place of document.querySelectorAll("[data-t]")) place.textContent = t[place.dataset.t];
  for (const place of document.querySelectorAll(".slider label")) {
    const [before, letter] = [t[place.htmlFor]].flat();
    place.replaceChildren(before, ...(letter ? [element("i", {}, letter)] : []));
  }
  $("language").textContent = t.other;
  $("language").lang = lang === "zh" ? "en" : "zh-CN";
  $("stages").setAttribute("aria-label", t.stages);
  $("theme").setAttribute("aria-label", `${t.themeLabel}: ${dark() ? t.light : t.dark}`);
  $("theme").textContent = dark() ? t.light : t.dark;
}

function controls() {
  const t = WORDS[lang];
  if (!groupsOf(s.n).includes(s.group)) s.group = 0;
  const options = (select, values, chosen) => {
    select.replaceChildren(...values.map(([value, text]) => element("option", { value }, text)));
    select.value = String(chosen);
  };
  const same = (preset) => Object.keys(START).every((name) => name === "stage" || s[name] === { ...START, ...preset }[name]);
  const shown = Object.keys(PRESETS).find((name) => same(PRESETS[name])) || "";
  options($("preset"), [["", t.own], ...Object.entries(t.presets)], shown);
  options($("group"), [["0", t.noGroups], ...groupsOf(s.n).map((g) => [String(g), t.ofGroup(g, s.n)])], s.group);
  const ks = s.bits === 16 ? Object.entries(t.kOptions) : [["adam", t.kBytes(s.bits / 4)]];
  options($("k"), ks, s.bits === 16 ? s.k : "adam");
  $("k").disabled = s.bits !== 16;
  $("bits").value = String(s.bits);
  $("shape").checked = s.shape;
  $("again").checked = s.again;
  $("shape-fields").hidden = !s.shape;
  for (const [name, field] of Object.entries(FIELDS)) {
    const text = $(name), range = $(`${name}-range`);
    if (document.activeElement !== text) {
      text.value = plain(s[name]);
      text.setAttribute("aria-invalid", "false");
      text.title = "";
    }
    range.value = String(field.place(s[name]));
    range.setAttribute("aria-valuetext", name === "psi" ? exact(s[name]) : plain(s[name]));
    range.setAttribute("aria-label", $(`${name}-label`).textContent);
  }
}

function refresh() {
  words();
  controls();
  show();
}

function change(values) {
  Object.assign(s, values);
  refresh();
  writeAddress();
}

const dark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function build() {
  for (const place of document.querySelectorAll(".slider")) {
    const name = place.dataset.name, field = FIELDS[name];
    const text = element("input", { type: "text", id: name, inputmode: "decimal", spellcheck: "false" });
    const range = element("input", { type: "range", id: `${name}-range`, min: field.first || 0, max: field.steps, step: 1 });
    text.addEventListener("input", () => {
      const value = readNumber(text.value, field), bad = Number.isNaN(value);
      text.setAttribute("aria-invalid", String(bad));
      text.title = bad ? WORDS[lang].bad(plain(field.low), plain(field.high)) : "";
      if (!bad) change({ [name]: value });
    });
    text.addEventListener("blur", controls);
    range.addEventListener("input", () => change({ [name]: field.at(Number(range.value)) }));
    place.append(element("div", { class: "pair" }, element("label", { for: name, id: `${name}-label` }), text), range);
  }
  for (const i of [0, 1, 2, 3]) {
    const radio = element("input", { type: "radio", name: "stage", value: i });
    radio.addEventListener("change", () => change({ stage: i }));
    $("stages").append(element("label", {}, radio, element("span", { class: "name" }), element("span", { class: "number" }),
      element("span", { class: "state" }), element("span", { class: "what" })));
  }
  $("preset").addEventListener("change", (event) => { if (event.target.value) change({ ...START, stage: s.stage, ...PRESETS[event.target.value] }); });
  $("bits").addEventListener("change", (event) => change({ bits: Number(event.target.value) }));
  $("k").addEventListener("change", (event) => change({ k: Number(event.target.value) }));
  $("group").addEventListener("change", (event) => change({ group: Number(event.target.value) }));
  $("shape").addEventListener("change", (event) => change({ shape: event.target.checked }));
  $("again").addEventListener("change", (event) => change({ again: event.target.checked }));
  $("reset").addEventListener("click", () => change({ ...START }));
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("language").addEventListener("click", () => { lang = lang === "zh" ? "en" : "zh"; refresh(); writeAddress(); });
  $("theme").addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; words(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", words);
  addEventListener("hashchange", () => { readAddress(); refresh(); });
  new ResizeObserver(() => show()).observe($("memory-chart"));
}

build();
readAddress();
refresh();
