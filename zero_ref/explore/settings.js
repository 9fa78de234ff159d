// The setting: what the controls show and the address ends with; and models and devices that are known by name.

const round3 = (x) => Number(x.toPrecision(3)); // finer than a step of any slider, or an arrow key would change nothing
const logarithmic = (low, high, steps) => ({
  low, high, fraction: true, steps, at: (x) => round3(low * (high / low) ** (x / steps)), place: (v) => (steps * Math.log(v / low)) / Math.log(high / low),
});
const linear = (low, high, steps, first = 0) => ({ low, high, steps, first, at: (x) => x, place: (v) => v });
const doubling = (high, steps, first = 0) => ({ low: 1, high, steps, first, at: (x) => 2 ** x, place: Math.log2 });

const FIELDS = {
  psi: { low: 1, high: 1e14, units: true, steps: 800, at: (x) => round3(10 ** (6 + x / 100)), place: (v) => 100 * (Math.log10(v) - 6) },
  layers: linear(1, 1e4, 160, 1),
  hidden: { low: 1, high: 1e6, steps: 160, first: 1, at: (x) => 128 * x, place: (v) => v / 128 },
  heads: linear(1, 1e4, 128, 1),
  vocab: { low: 0, high: 1e7, steps: 256, at: (x) => 1024 * x, place: (v) => v / 1024 },
  positions: { low: 0, high: 1e7, steps: 128, at: (x) => 256 * x, place: (v) => v / 256 },
  sequence: doubling(1e7, 20, 5),
  batch: doubling(1e7, 16),
  n: doubling(1e6, 19),
  memory: { ...linear(0.000001, 1e6, 192, 1), fraction: true },
  micro: linear(1, 1e4, 32, 1),
  tiles: linear(1, 64, 64, 1),
  bucket: { low: 1, high: 1e14, units: true, steps: 600, at: (x) => round3(10 ** (5 + x / 100)), place: (v) => 100 * (Math.log10(v) - 5) },
  flops: logarithmic(0.001, 1e5, 400),
  bandwidth: logarithmic(0.01, 1e4, 300),
  between: logarithmic(0.01, 1e4, 300),
  latency: { ...linear(0, 1e6, 100), fraction: true },
  farther: { ...linear(0, 1e6, 100), fraction: true },
  outside: logarithmic(0.01, 1e4, 300),
};
const CHOICES = {
  bits: [16, 32, 64], k: [4, 8, 12, 16], stage: [0, 1, 2, 3], weights: ["", "8", "fp8"], gradients: ["", "8", "4", "fp8"],
  offload: ["", "host", "disk"], cut: ["", "tiles", "buckets"],
};
// 7.5B on 64 V100 of 32 GB is the paper's figure 1, which says nothing of a shape; this one has 7.2e9 parameters.
const START = {
  psi: 7.5e9, layers: 36, bits: 16, k: 12, shape: false, hidden: 4096, heads: 32, vocab: 0, positions: 0, untied: false,
  sequence: 1024, batch: 2048,
  n: 64, memory: 32, group: 16, micro: 1, stage: 3,
  again: false, hsdp: false, hpz: false, weights: "", gradients: "", offload: "", shards: false, cut: "", tiles: 4, bucket: 5e8,
  flops: 125, bandwidth: 150, between: 6.25, latency: 5, farther: 10, outside: 16, ring: false,
};
const SWITCHES = Object.keys(START).filter((name) => typeof START[name] === "boolean");
const TICKED = SWITCHES.filter((name) => name !== "ring"); // which is a list
const PRESETS = {
  figure1: {},
  gpt2: { psi: 12 * 48 * 1600 ** 2, shape: true, layers: 48, hidden: 1600, heads: 25 },
  t1: { psi: 1e12, n: 1024 },
  groups: { psi: 1e11, n: 1024, memory: 80, hsdp: true, hpz: true },
};

// All parameters, counted from the published shapes: blocks, embeddings, norms. Batches are of the papers, in sequences.
// GPTs are counted from their vocabulary on; Llama's blocks are built otherwise, so that theirs are given.
const model = (psi, layers, hidden, heads, sequence, batch, vocab = 0, positions = 0) => (
  { psi, layers, hidden, heads, sequence, batch, vocab, positions, untied: false });
const MODELS = {
  "GPT-2 124M": model(124439808, 12, 768, 12, 1024, 512, 50257, 1024), // Radford et al. 2019, and github.com/openai/gpt-2
  "GPT-2 XL 1.5B": model(1557611200, 48, 1600, 25, 1024, 512, 50257, 1024),
  "GPT-3 175B": model(174604259328, 96, 12288, 96, 2048, 1600, 50257, 2048), // arXiv 2005.14165, tables 2.1 and D.1; 3.2M tokens a batch
  "Llama 2 7B": model(6738415616, 32, 4096, 32, 4096, 1024), // arXiv 2307.09288, section 2.2; 4M tokens a batch
  "Llama 3 8B": model(8030261248, 32, 4096, 32, 8192, 1024), // arXiv 2407.21783, table 3; 8M tokens as for 405B
  "Llama 3 70B": model(70553706496, 80, 8192, 64, 8192, 1024),
  "Llama 3 405B": model(405853388800, 126, 16384, 128, 8192, 1024), // section 3.4.1
};

// Dense 16-bit peak, links in one direction a device. H100 and H200: NVIDIA's data sheets of the SXM modules, half of
// the 1,979 with sparsity, NVLink 900 GB/s in both directions, DGX H100 with 400 Gb/s a GPU. A100: data sheet and DGX A100,
// 312, 600 GB/s, 200 Gb/s. V100: data sheet, 125, 300 GB/s, and DGX-2 with 8 times 100 Gb/s for 16 GPUs, as in the paper.
// RTX 4090: NVIDIA's Ada white paper, 165 with sums in float32; 10 Gb/s Ethernet assumed. To and from the host: PCIe x16 of
// their generation, 5.0, 4.0 and 3.0. The laptop's numbers are assumed, and so are all latencies.
const device = (memory, flops, bandwidth, between, latency, farther, outside, group) => (
  { memory, flops, bandwidth, between, latency, farther, outside, group });
const DEVICES = {
  "H200 141 GB": device(141, 989, 450, 50, 5, 10, 64, 8),
  "H100 80 GB": device(80, 989, 450, 50, 5, 10, 64, 8),
  "A100 80 GB": device(80, 312, 300, 25, 5, 10, 32, 8),
  "A100 40 GB": device(40, 312, 300, 25, 5, 10, 32, 8),
  "V100 32 GB": device(32, 125, 150, 6.25, 5, 10, 16, 16),
  "RTX 4090 24 GB": device(24, 165, 32, 1.25, 10, 30, 32, 4),
  "Laptop 16 GB": device(16, 1, 10, 0.125, 5, 200, 3, 0),
};

// A number that was typed; NaN if it is none of the field.
function readNumber(text, field) {
  const found = /^\s*([0-9]*\.?[0-9]+|[0-9]+\.)(e[+-]?[0-9]+)?\s*([kmbt]?)\s*$/i.exec(text.replaceAll(",", ""));
  if (!found || (found[3] && !field.units)) return NaN;
  const times = { "": 1, k: 1e3, m: 1e6, b: 1e9, t: 1e12 }[found[3].toLowerCase()];
  const value = Number((Number(found[1] + (found[2] || "")) * times).toPrecision(15)); // 1.557B is a whole number
  return value >= field.low && value <= field.high && (field.fraction || Number.isInteger(value)) ? value : NaN;
}

// The setting in an address, and the parts of it that say nothing.
function settingIn(address) {
  const read = { ...START }, wrong = [];
  if (Object.hasOwn(WORDS, address)) return [read, wrong]; // "zh" alone, as the report's pages have it
  for (const [name, text] of new URLSearchParams(address)) {
    const value = valueOf(name, text);
    if (value === undefined) wrong.push(`${name}=${text}`.slice(0, 40));
    else if (name !== "lang") read[name] = value;
  }
  return [read, wrong];
}

function valueOf(name, text) {
  if (name === "lang") return Object.hasOwn(WORDS, text) ? text : undefined;
  if (Object.hasOwn(FIELDS, name)) {
    const number = readNumber(text, FIELDS[name]);
    return Number.isNaN(number) ? undefined : number;
  }
  if (Object.hasOwn(CHOICES, name)) return CHOICES[name].find((each) => String(each) === text);
  if (SWITCHES.includes(name)) return text === "1" || (text === "0" ? false : undefined);
  if (name === "group" && /^\d{1,4}$/.test(text)) return Number(text);
  return undefined;
}

// What differs from the start, as an address ends.
const addressOf = (s, lang) => [...Object.keys(START).filter((name) => s[name] !== START[name] && !(name === "psi" && isCounted(s)))
  .map((name) => `${name}=${typeof s[name] === "boolean" ? Number(s[name]) : plain(s[name])}`), `lang=${lang}`].join("&");

// A number as it is typed: 7.5e9, 17226.
function plain(x) {
  const short = x >= 1e6 ? x.toExponential().replace("e+", "e") : String(x);
  return short.length < String(x).length ? short : String(x);
}
